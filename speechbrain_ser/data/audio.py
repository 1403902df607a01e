"""The one reader of training, evaluation and inference.

Wherever a path is taken it may be a place, see speechbrain_ser.data.segments.
"""

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import torch

from speechbrain_ser.data import seeds
from speechbrain_ser.data.decoding import blocks, checksum, header
from speechbrain_ser.data.waveforms import (
    BLOCK,
    SILENT,
    is_silent,
    mono,
    resampled_length,
    span,
    speech_of,
    standardise,
)
from speechbrain_ser.errors import InputError

SAMPLE_RATE = 16_000  # Hz, of every encoder in this package


class Silence(InputError):
    """A recording is silent throughout."""


class SpeechReader:
    """path -> speech [time], mono float32 in [-1, 1] at one sampling rate.

    Stereo is averaged (of channels that cancel each other the loudest is read, and a warning names
    the file) and other rates are resampled. What would silently spoil a result (a
    truncated, empty, silent or non-finite file) raises InputError with the file's name.

    Arguments
    ---------
    min_seconds : shorter speech is repeated; 0 repeats nothing
    tiling : "floor" repeats floor(min / length) times, so that speech stays at or below
        min_seconds (Park 2023, authors' code); "ceil" reaches it (Park 2023, the text)
    max_seconds : longer speech is cut to a window; None cuts nothing
    train_window, test_window : where that window lies: "start", "centre" or "random"
    normalise : zero mean and unit variance over the speech's own samples
    sample_rate : Hz of the speech that it gives. Every encoder needs 16,000; Pepino 2021's
        spectrogram of RAVDESS was computed at the files' own 48,000
    """

    def __init__(
        self,
        min_seconds: float = 0.0,
        tiling: str = "floor",
        max_seconds: float | None = None,
        train_window: str = "random",
        test_window: str = "centre",
        normalise: bool = False,
        sample_rate: int = SAMPLE_RATE,
    ):
        if tiling not in ("floor", "ceil"):
            raise InputError(f"tiling is {tiling!r}: use floor or ceil")
        for window in (train_window, test_window):
            if window not in ("start", "centre", "random"):
                raise InputError(f"a window is {window!r}: use start, centre or random")
        if not isinstance(sample_rate, int) or sample_rate < 1:
            raise InputError(f"sample_rate is {sample_rate!r}: use whole Hz, such as {SAMPLE_RATE}")
        self.min_seconds = min_seconds
        self.tiling = math.floor if tiling == "floor" else math.ceil
        self.max_seconds = max_seconds
        self.train_window = train_window
        self.test_window = test_window
        self.normalise = normalise
        self.sample_rate = sample_rate
        self.raw_in_training = False  # whoever augments the speech normalises it afterwards
        self.draw = (0, 0)  # seed and epoch, on which training's random windows depend

    def __call__(self, path: str | Path, training: bool = False) -> torch.Tensor:
        """The speech of one file, [time]; `training` chooses between the two windows.

        Of a file longer than max_seconds the window alone is decoded and kept.
        """
        return self._normalised(self._read(path, training), training)

    def prepare(
        self,
        samples: torch.Tensor,
        sample_rate: int = SAMPLE_RATE,
        training: bool = False,
        name: str = "the recording",
    ) -> torch.Tensor:
        """samples [time] or [channel, time] at any rate -> speech [time] at the reader's rate."""
        return self._normalised(self._cut(samples, sample_rate, training, name), training)

    def hear(
        self,
        recording: str | Path | torch.Tensor,
        sample_rate: int | None = None,
        name: str = "the recording",
    ) -> torch.Tensor | None:
        """What a model in use hears of a file, or of samples at a rate: None where it is silent.

        That is its window of a longer recording, be the rest silent or not.
        """
        try:
            if isinstance(recording, torch.Tensor):
                rate = SAMPLE_RATE if sample_rate is None else sample_rate
                speech = self._cut(recording, rate, False, name)
            else:
                speech = self._read(recording, training=False)
        except Silence:
            return None
        return None if is_silent(speech) else self._normalised(speech, training=False)

    def _read(self, path: str | Path, training: bool) -> torch.Tensor:
        """The speech of one file, not normalised; Silence for one that is silent throughout."""
        frames, rate, _ = header(path)
        length = resampled_length(frames, rate, self.sample_rate, str(path))
        if length < self._shortest or not self._is_cut(length):
            speech = self._decoded(path, 0, length, frames, rate)
            return self._shaped(speech, training, lambda: checksum(path))
        start = self._start(length, training, lambda: checksum(path))
        return self._decoded(path, start, start + self._longest, frames, rate)

    def _cut(
        self, samples: torch.Tensor, sample_rate: int, training: bool, name: str
    ) -> torch.Tensor:
        """The speech of samples, not normalised; Silence where all of them are silent."""
        samples = samples[None] if samples.dim() == 1 else samples  # [channel, time]
        count = samples.shape[1]
        resampled_length(count, sample_rate, self.sample_rate, name)
        speech, silent = speech_of(
            lambda: samples.split(BLOCK, dim=1), count, sample_rate, self.sample_rate, name
        )
        if silent:
            raise Silence(f"{name} {SILENT}")
        return self._shaped(speech, training, lambda: zlib.crc32(samples.contiguous().numpy().data))

    def _shaped(
        self, speech: torch.Tensor, training: bool, content: Callable[[], int]
    ) -> torch.Tensor:
        """speech [time] -> the same, repeated and cut."""
        if len(speech) < self._shortest:
            speech = speech.repeat(self.tiling(self._shortest / len(speech)))
        if self._is_cut(len(speech)):
            start = self._start(len(speech), training, content)
            speech = speech[start : start + self._longest]
        return speech

    @property
    def _shortest(self) -> int:
        return round(self.min_seconds * self.sample_rate)

    @property
    def _longest(self) -> int:
        """Samples of a window; 0 where nothing is cut."""
        return round((self.max_seconds or 0) * self.sample_rate)

    def _is_cut(self, length: int) -> bool:
        return self.max_seconds is not None and length > self.max_seconds * self.sample_rate

    def _start(self, length: int, training: bool, content: Callable[[], int]) -> int:
        """Where the window of a recording begins, in samples of speech.

        `content` is a number that stands for all its samples.
        """
        spare = length - self._longest
        window = self.train_window if training else self.test_window
        if window == "random":
            # no hidden state: the same in any process and folder, in evaluation in any epoch
            draw = self.draw if training else ()
            return seeds.stream(*draw, "window", content()).randint(0, spare)
        return spare // 2 if window == "centre" else 0

    def _decoded(
        self, path: str | Path, start: int, stop: int, frames: int, rate: int
    ) -> torch.Tensor:
        """The speech of a file from start to stop, as it is in its whole speech, [time].

        Raises Silence for a file that is silent throughout.
        """
        first, last, before = span(start, stop, rate, self.sample_rate)
        last = min(last, frames)
        speech, silent = speech_of(
            lambda: (part.T for part in blocks(path, first, last)),
            *(last - first, rate, self.sample_rate, str(path)),
        )
        if silent and (last - first == frames or _is_silent_throughout(path)):
            raise Silence(f"{path} {SILENT}")
        return speech[before : before + stop - start]

    def _normalised(self, speech: torch.Tensor, training: bool) -> torch.Tensor:
        if self.normalise and not (training and self.raw_in_training):
            return standardise(speech)
        return speech


def _is_silent_throughout(path: str | Path) -> bool:
    return all(is_silent(mono(part.T, str(path))) for part in blocks(path))
