"""Places of speech: a file, or a part of one as talk.wav#t=1.5,3.25 (seconds; the end may lack).

The form is that of W3C Media Fragments. Whatever reads files understands places, so that a part is
an utterance like any other.
"""

import functools
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from speechbrain_ser.errors import InputError

T = TypeVar("T")

DIGITS = 4  # of a second
ROUNDING = 0.05  # seconds that an end may lie behind the file's: tables round
PLACE = re.compile(r"(.+)#t=(?:(\d+\.?\d*)(?:,(\d+\.?\d*))?|,(\d+\.?\d*))", re.DOTALL)


def at(path: str | Path, start: float = 0.0, end: float | None = None) -> str:
    """The place of a file from start to end in seconds (None: its end); the path if that is all.

    Times are rounded to 0.1 ms. Raises InputError for times that are none.
    """
    given = [start] if end is None else [start, end]
    if not all(math.isfinite(time) and time >= 0 for time in given):
        raise InputError(f"{path} from {start} to {end}: times are seconds, and not negative")
    times = ",".join(map(written, given))
    if times == "0":
        return str(path)
    place = f"{path}#t={times}"
    _refuse_empty(place, round(start, DIGITS), end if end is None else round(end, DIGITS))
    return place


def written(seconds: float) -> str:
    """A time as a place holds it: 1.5, 3.25, 0."""
    return f"{seconds:.{DIGITS}f}".rstrip("0").removesuffix(".")


def split(place: str | Path) -> tuple[str, float, float | None]:
    """The file of a place, and the start and end in seconds (None: the file's end).

    A file whose whole name exists is no part of another. Raises InputError for an end that is not
    behind its start.
    """
    text = os.fspath(place)
    match = PLACE.fullmatch(text) if "#t=" in text else None
    if match is None or os.path.exists(text):
        return text, 0.0, None
    path, start, end, only_end = match.groups()
    end = end or only_end
    first = round(float(start or 0), DIGITS)
    last = None if end is None else round(float(end), DIGITS)
    _refuse_empty(text, first, last)
    return path, first, last


def bounds(place: str | Path, frames: int, rate: int) -> tuple[int, int]:
    """A place's first sample and the one behind its last, in a file of `frames` at `rate` Hz.

    Raises InputError for a place that the file does not hold.
    """
    _, start, end = split(place)
    first = round(start * rate)
    last = frames if end is None else round(end * rate)
    if first >= frames or last > frames + ROUNDING * rate:
        raise InputError(
            f"{place} is no part of its file, which lasts {frames / rate:.2f} s: correct the times"
        )
    if first >= last:
        raise InputError(f"{place} is shorter than one sample: correct the times")
    return first, min(last, frames)


def once(function: Callable[[str], T], most: int | None = None) -> Callable[[str], T]:
    """A function of a file, called again only when the file's size or time has changed.

    Of a long file with many segments the whole is then looked at once.

    most : as many files are remembered; None: all
    """

    @functools.lru_cache(most)
    def remembered(path: str, size: int, changed: int) -> T:
        return function(path)

    @functools.wraps(function)
    def of(path: str) -> T:
        try:
            status = os.stat(path)
        except OSError:
            return function(path)  # which says so in its own words
        return remembered(str(path), status.st_size, status.st_mtime_ns)

    return of


def _refuse_empty(place: str, start: float, end: float | None) -> None:
    if end is not None and end <= start:
        raise InputError(f"{place} ends where it starts or before: correct the times")
