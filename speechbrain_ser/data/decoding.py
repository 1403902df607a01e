"""Audio files and their parts: headers, and samples that are decoded block by block.

Wherever a path is taken it may be a place, see speechbrain_ser.data.segments.
"""

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from speechbrain_ser.data import containers, segments
from speechbrain_ser.data.waveforms import refuse_no_numbers
from speechbrain_ser.errors import InputError

BREAKS_OFF, AGAIN = "breaks off while decoding", "fetch it again"
BLOCK = 1 << 20  # samples decoded at a time: a broken header may promise billions
# Samples decoded before those that are asked for: an mp3's frame is made of earlier ones, too, of
# some twenty at the lowest bit rates. In other formats libsndfile seeks exactly, or not at all.
LEAD = 1 << 16
# Samples of two frames of mp3: begun there its decoder rounds as from the start of the file, from
# 32 kHz on; at lower rates samples may differ in their last bit.
PERIOD = 2304


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


def blocks(path: str | Path, start: int = 0, stop: int | None = None) -> Iterator[torch.Tensor]:
    """place -> its samples from start to stop (None: the end), [time, channel], block by block.

    start and stop are samples of the place. A part has the samples that it has in the whole. Raises
    InputError for a file that breaks off, be it behind the part, and for several recordings joined.
    """
    with _opened(path) as (file, first, last):
        last = last if stop is None else min(first + stop, last)
        _go(path, file, first + start)
        size = _block_size(file)
        for at in range(first + start, last, size):
            yield _read(path, file, min(size, last - at))
        if last < file.frames and file.can_seek:
            file.seek(file.frames - 1)
            _read(path, file, 1)


def checksum(path: str | Path) -> int:
    """A number that stands for all samples of a place, channel by channel.

    Raises InputError for samples that are no numbers.
    """
    content = 0
    for channel in range(header(path).channels):
        for part in blocks(path):
            refuse_no_numbers(part, str(path))
            content = zlib.crc32(part[:, channel].contiguous().numpy().data, content)
    return content


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[containers.Recording, int, int]]:
    """A file to be decoded, and of a place in it the first sample and the one behind the last."""
    name = segments.split(path)[0]
    with containers.opened(name) as file, containers.naming(name, BREAKS_OFF):
        containers.refuse_joined(name, file)
        yield file, *segments.bounds(path, file.frames, file.samplerate)


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
