"""Audio files: headers, and the one reader that training, evaluation and inference share."""

import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from speechbrain_ser.data import containers, seeds
from speechbrain_ser.data.waveforms import (
    SILENT,
    is_silent,
    mono,
    refuse_no_numbers,
    resample,
    resampled_length,
    span,
    standardise,
)
from speechbrain_ser.errors import InputError

SAMPLE_RATE = 16_000  # Hz, of every encoder in this package
BREAKS_OFF, AGAIN = "breaks off while decoding", "fetch it again"
BLOCK = 1 << 22  # samples decoded at a time: a broken header may promise billions
# Samples decoded before those that are asked for: an mp3's frame is made of earlier ones, too, of
# some twenty at the lowest bit rates. In other formats libsndfile seeks exactly, or not at all.
LEAD = 1 << 16


class Header(NamedTuple):
    """How much a file holds."""

    frames: int  # samples of each channel
    rate: int  # Hz
    channels: int


def header(path: str | Path) -> Header:
    """A file's header, without decoding; of mp3 the frames are counted.

    Raises InputError if the file is missing, empty, truncated, not audio or not plausible.
    """
    with containers.opened(path) as file:
        return Header(file.frames, file.samplerate, file.channels)


def duration(path: str | Path) -> float:
    """Seconds of audio by the file's header; InputError as there."""
    frames, rate, _ = header(path)
    return frames / rate


def decode(path: str | Path, start: int = 0, stop: int | None = None) -> tuple[torch.Tensor, int]:
    """path -> samples [time, channel] from start to stop (None: the end), and their rate in Hz.

    A part has the samples that it has in the whole. Raises InputError for a file that breaks off,
    be it behind the part, and for several recordings joined.
    """
    with containers.opened(path) as file, containers.naming(path, BREAKS_OFF):
        containers.refuse_joined(path, file)
        samples = torch.cat(list(_blocks(path, file, start, stop)))
        if stop is not None and stop < file.frames and file.can_seek:
            file.seek(file.frames - 1)
            _read(path, file, 1)
        return samples, file.samplerate


def _blocks(
    path: str | Path, file: containers.Recording, start: int = 0, stop: int | None = None
) -> Iterator[torch.Tensor]:
    """The samples of a file just opened from start to stop, [time, channel], in parts."""
    stop = file.frames if stop is None else stop
    size = max(1, BLOCK // file.channels)
    at = file.seek(start - LEAD) if start > LEAD and file.can_seek else 0
    while at < stop:
        block = _read(path, file, min(size, stop - at))
        at += len(block)
        if at > start:
            yield block[max(0, len(block) - (at - start)) :]


def _read(path: str | Path, file: containers.Recording, count: int) -> torch.Tensor:
    """The next `count` samples, [time, channel]."""
    block = file.read(count, dtype="float32", always_2d=True)
    if len(block) < count:
        raise InputError(f"{path} at {file.tell() / file.samplerate:.1f} s {BREAKS_OFF}: {AGAIN}")
    return torch.from_numpy(block)


def windows(
    path: str | Path, window: float, hop: float
) -> Iterator[tuple[float, torch.Tensor, int]]:
    """Windows of `window` seconds every `hop` seconds, read one by one; the last may be shorter.

    Of each its start in seconds, samples [time, channel], and their rate in Hz. Raises InputError
    for a file that breaks off.
    """
    with containers.opened(path) as file, containers.naming(path, BREAKS_OFF):
        containers.refuse_joined(path, file)
        rate = file.samplerate
        size, step = round(window * rate), max(1, round(hop * rate))
        samples = torch.zeros(0, file.channels)
        for start in range(0, max(1, file.frames - size + step), step):
            # each sample is decoded once: seeking is slow in some formats and inexact in mp3
            more = min(size, file.frames - start) - len(samples)
            samples = torch.cat([samples, _read(path, file, more)])
            yield start / rate, samples, rate
            samples = samples[step:]


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
        frames, rate, _ = header(path)
        length = resampled_length(frames, rate, self.sample_rate, str(path))
        if length < self._shortest or not self._is_cut(length):
            samples, rate = decode(path)
            return self.prepare(samples.T, rate, training, name=str(path))
        start = self._start(length, training, lambda: _content(path))
        speech = self._window(path, start, frames, rate)
        return self._normalised(speech, training)

    def prepare(
        self,
        samples: torch.Tensor,
        sample_rate: int = SAMPLE_RATE,
        training: bool = False,
        name: str = "the recording",
    ) -> torch.Tensor:
        """samples [time] or [channel, time] at any rate -> speech [time] at the reader's rate."""
        speech = mono(samples, name)
        refuse_no_numbers(speech, name)
        if is_silent(speech):
            raise InputError(f"{name} {SILENT}")
        resampled_length(len(speech), sample_rate, self.sample_rate, name)
        speech = resample(speech, sample_rate, self.sample_rate)
        if len(speech) < self._shortest:
            speech = speech.repeat(self.tiling(self._shortest / len(speech)))
        if self._is_cut(len(speech)):
            start = self._start(
                len(speech), training, lambda: zlib.crc32(samples.contiguous().numpy())
            )
            speech = speech[start : start + self._longest]
        return self._normalised(speech, training)

    @property
    def _shortest(self) -> int:
        return round(self.min_seconds * self.sample_rate)

    @property
    def _longest(self) -> int:
        return round(self.max_seconds * self.sample_rate)

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

    def _window(self, path: str | Path, start: int, frames: int, rate: int) -> torch.Tensor:
        """The window of a file from `start` on, as it is in the whole speech, [time].

        Raises InputError for a file that is silent throughout.
        """
        stop = start + self._longest
        first, last, skipped = span(start, stop, rate, self.sample_rate)
        samples, _ = decode(path, first, min(last, frames))
        speech = mono(samples.T, str(path))
        refuse_no_numbers(speech, str(path))
        if is_silent(speech) and _is_silent_throughout(path):
            raise InputError(f"{path} {SILENT}")
        return resample(speech, rate, self.sample_rate)[skipped : skipped + self._longest]

    def _normalised(self, speech: torch.Tensor, training: bool) -> torch.Tensor:
        if self.normalise and not (training and self.raw_in_training):
            return standardise(speech)
        return speech


def _is_silent_throughout(path: str | Path) -> bool:
    with containers.opened(path) as file, containers.naming(path, BREAKS_OFF):
        return all(is_silent(mono(part.T, str(path))) for part in _blocks(path, file))


def _content(path: str | Path) -> int:
    """The checksum of a file's samples, channel by channel; one block is in memory.

    Raises InputError for samples that are no numbers.
    """
    content = 0
    for channel in range(header(path).channels):
        with containers.opened(path) as file, containers.naming(path, BREAKS_OFF):
            for part in _blocks(path, file):
                refuse_no_numbers(part, str(path))
                content = zlib.crc32(part[:, channel].contiguous().numpy(), content)
    return content
