"""Speech emotion recognition with SpeechBrain: five papers as recipes."""

from speechbrain_ser.inference import Emotion, EmotionRecognizer

__all__ = ["Emotion", "EmotionRecognizer"]
__version__ = "0.1.0"
