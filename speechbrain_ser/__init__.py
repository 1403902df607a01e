"""Speech emotion recognition with SpeechBrain: five papers as recipes."""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechbrain_ser.sharing.inference import Emotion, EmotionRecognizer

# A thread that waits for the others soon sleeps: by default it would keep a core busy that other
# processes need. To sleep at once (OMP_WAIT_POLICY=PASSIVE) doubles a small step's time on an idle
# machine. GNU's OpenMP reads this when torch is imported, which is after this package.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__all__ = ["Emotion", "EmotionRecognizer"]
__version__ = "1.0.0"


def __getattr__(name: str):
    """What __all__ names is imported when it is used: its parts take seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("speechbrain_ser.sharing.inference"), name)
