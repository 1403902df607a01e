"""Speech emotion recognition with SpeechBrain: five papers as recipes."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechbrain_ser.sharing.inference import Emotion, EmotionRecognizer

__all__ = ["Emotion", "EmotionRecognizer"]
__version__ = "1.0.0"


def __getattr__(name: str):
    """What __all__ names is imported when it is used: its parts take seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("speechbrain_ser.sharing.inference"), name)
