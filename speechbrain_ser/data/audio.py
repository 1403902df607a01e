"""Audio files and their parts: headers, and the one reader of training, evaluation and inference.

Wherever a path is taken it may be a place, see speechbrain_ser.data.segments.
"""

import contextlib
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from speechbrain_ser.data import containers, seeds, segments
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
# Samples of two frames of mp3: begun there its decoder rounds as from the start of the file, from
# 32 kHz on; at lower rates samples may differ in their last bit.
PERIOD = 2304


class Silence(InputError):
    """A recording is silent throughout."""


class Header(NamedTuple):
    """How much a place holds."""

    frames: int  # samples of each channel
    rate: int  # Hz
    channels: int


def header(path: str | Path) -> Header:
    """A place's header, without decoding; of mp3 the frames are counted.

    Raises InputError if the file is missing, empty, truncated, not audio or not plausible, or does
    not hold the place.
    """
    file = segments.split(path)[0]
    whole = _header(file) if file == str(path) else _header_once(file)
    first, last = segments.bounds(path, whole.frames, whole.rate)
    return whole._replace(frames=last - first)


def _header(path: str) -> Header:
    with containers.opened(path) as file:
        return Header(file.frames, file.samplerate, file.channels)


_header_once = segments.once(_header)


def duration(path: str | Path) -> float:
    """Seconds of audio by the file's header; InputError as there."""
    frames, rate, _ = header(path)
    return frames / rate


def decode(path: str | Path, start: int = 0, stop: int | None = None) -> tuple[torch.Tensor, int]:
    """place -> samples [time, channel] from start to stop (None: the end), and their rate in Hz.

    start and stop are samples of the place. A part has the samples that it has in the whole. Raises
    InputError for a file that breaks off, be it behind the part, and for several recordings joined.
    """
    with _opened(path) as (file, first, last):
        last = last if stop is None else min(first + stop, last)
        samples = torch.cat(list(_blocks(path, file, first + start, last)))
        if last < file.frames and file.can_seek:
            file.seek(file.frames - 1)
            _read(path, file, 1)
        return samples, file.samplerate


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[containers.Recording, int, int]]:
    """A file to be decoded, and of a place in it the first sample and the one behind the last."""
    name = segments.split(path)[0]
    with containers.opened(name) as file, containers.naming(name, BREAKS_OFF):
        containers.refuse_joined(name, file)
        yield file, *segments.bounds(path, file.frames, file.samplerate)


def _blocks(
    path: str | Path, file: containers.Recording, start: int, stop: int
) -> Iterator[torch.Tensor]:
    """The samples of a file just opened from start to stop, [time, channel], in parts."""
    _go(path, file, start)
    size = _block_size(file)
    for at in range(start, stop, size):
        yield _read(path, file, min(size, stop - at))


def _go(path: str | Path, file: containers.Recording, start: int) -> None:
    """Move a file just opened to a sample; those that it may be made of are decoded before."""
    at = 0
    if start > LEAD and file.can_seek:
        at = file.seek((start - LEAD) // PERIOD * PERIOD)
    while at < start:
        at += len(_read(path, file, min(_block_size(file), start - at)))


def _block_size(file: containers.Recording) -> int:
    return max(1, BLOCK // file.channels)


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

    Of each its start in seconds of the place, samples [time, channel], and their rate in Hz. Raises
    InputError for a file that breaks off.
    """
    with _opened(path) as (file, first, last):
        rate, frames = file.samplerate, last - first
        size, step = round(window * rate), max(1, round(hop * rate))
        _go(path, file, first)
        samples = torch.zeros(0, file.channels)
        for start in range(0, max(1, frames - size + step), step):
            # each sample is decoded once: seeking is slow in some formats and inexact in mp3
            more = min(size, frames - start) - len(samples)
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
            if sample_rate is None:
                speech = self._read(recording, training=False)
            else:
                speech = self._cut(recording, sample_rate, False, name)
        except Silence:
            return None
        return None if is_silent(speech) else self._normalised(speech, training=False)

    def _read(self, path: str | Path, training: bool) -> torch.Tensor:
        """The speech of one file, not normalised; Silence for one that is silent throughout."""
        frames, rate, _ = header(path)
        length = resampled_length(frames, rate, self.sample_rate, str(path))
        if length < self._shortest or not self._is_cut(length):
            samples, rate = decode(path)
            return self._cut(samples.T, rate, training, str(path))
        start = self._start(length, training, lambda: _content(path))
        return self._window(path, start, frames, rate)

    def _cut(
        self, samples: torch.Tensor, sample_rate: int, training: bool, name: str
    ) -> torch.Tensor:
        """The speech of samples, not normalised; Silence where all of them are silent."""
        speech = mono(samples, name)
        refuse_no_numbers(speech, name)
        if is_silent(speech):
            raise Silence(f"{name} {SILENT}")
        resampled_length(len(speech), sample_rate, self.sample_rate, name)
        speech = resample(speech, sample_rate, self.sample_rate)
        if len(speech) < self._shortest:
            speech = speech.repeat(self.tiling(self._shortest / len(speech)))
        if self._is_cut(len(speech)):
            start = self._start(
                len(speech), training, lambda: zlib.crc32(samples.contiguous().numpy())
            )
            speech = speech[start : start + self._longest]
        return speech

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

        Raises Silence for a file that is silent throughout.
        """
        stop = start + self._longest
        first, last, skipped = span(start, stop, rate, self.sample_rate)
        samples, _ = decode(path, first, min(last, frames))
        speech = mono(samples.T, str(path))
        refuse_no_numbers(speech, str(path))
        if is_silent(speech) and _is_silent_throughout(path):
            raise Silence(f"{path} {SILENT}")
        return resample(speech, rate, self.sample_rate)[skipped : skipped + self._longest]

    def _normalised(self, speech: torch.Tensor, training: bool) -> torch.Tensor:
        if self.normalise and not (training and self.raw_in_training):
            return standardise(speech)
        return speech


def _is_silent_throughout(path: str | Path) -> bool:
    with _opened(path) as (file, first, last):
        return all(is_silent(mono(part.T, str(path))) for part in _blocks(path, file, first, last))


def _content(path: str | Path) -> int:
    """The checksum of a place's samples, channel by channel; one block is in memory.

    Raises InputError for samples that are no numbers.
    """
    content = 0
    for channel in range(header(path).channels):
        with _opened(path) as (file, first, last):
            for part in _blocks(path, file, first, last):
                refuse_no_numbers(part, str(path))
                content = zlib.crc32(part[:, channel].contiguous().numpy(), content)
    return content
