"""Which files of a folder are recordings: for commands, corpora and augmentation alike."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import soundfile

from speechbrain_ser.errors import InputError, in_words
from speechbrain_ser.output import printable

# endings that files of libsndfile's formats have beside the format's own name
FURTHER = {
    "AIFF": ("aif", "aifc"),
    "AU": ("snd",),
    "MP3": ("mp1", "mp2", "mpga"),
    "NIST": ("sph",),
    "OGG": ("oga", "opus"),
    "SVX": ("8svx", "iff"),
    "WAV": ("wave",),
}
UNREAD = {".aac", ".amr", ".m4a", ".mp4", ".webm", ".wma"}  # audio that libsndfile does not read
MOST_KINDS = 5  # that a line names


MACOS = "__MACOSX"  # the folder that its archives hold beside the true ones


class Listing(NamedTuple):
    """The files of a folder at any depth, sorted; leftovers are what macOS put there."""

    recordings: list[Path]
    others: list[Path]
    leftovers: list[Path]


def endings() -> set[str]:
    """Of the audio files that this machine's libsndfile reads, in lower case: .wav, .opus ..."""
    names = soundfile.available_formats().keys() - {"RAW"}  # without a header nothing is known
    further = (ending for name in names for ending in FURTHER.get(name, ()))
    return {f".{ending.lower()}" for ending in (*names, *further)}


def files(folder: str | Path) -> Iterator[Path]:
    """All files at any depth, also behind linked folders, each folder once.

    What macOS leaves beside others, ._ files and __MACOSX folders, is passed over. Raises
    InputError for a folder that cannot be listed.
    """
    return (path for path in _all(folder) if not _of_macos(path, folder))


def _of_macos(path: Path, folder: str | Path) -> bool:
    return path.name.startswith("._") or MACOS in path.relative_to(folder).parts[:-1]


def _all(folder: str | Path) -> Iterator[Path]:
    seen: set[str] = set()
    starts = [str(folder)]
    for start in starts:  # links last: what is also there by itself keeps its own path
        for place, inner, names in os.walk(start, onerror=_refuse):
            real = os.path.realpath(place)
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            here = [os.path.join(place, name) for name in sorted(inner)]
            starts += filter(os.path.islink, here)
            yield from (Path(place, name) for name in names)


def listing(folder: str | Path) -> Listing:
    """A folder's recordings, known by their endings, and its other files; InputError as there."""
    known = endings()
    found = Listing([], [], [])
    for path in sorted(_all(folder)):
        if _of_macos(path, folder):
            found.leftovers.append(path)
        else:
            (found.recordings if path.suffix.lower() in known else found.others).append(path)
    return found


def passed_over(others: Iterable[Path]) -> str:
    """One line: passed over: 3 of other kinds (.txt 2, .jpg 1); and what to do with audio."""
    kinds = Counter(path.suffix.lower() or "without an ending" for path in others)
    named = [f"{printable(kind)} {count:,}" for kind, count in kinds.most_common(MOST_KINDS)]
    more = [f"{len(kinds) - MOST_KINDS} more kinds"] if len(kinds) > MOST_KINDS else []
    unread = ", ".join(sorted(kinds.keys() & UNREAD))
    remedy = f"; convert {unread} to wav with ffmpeg" if unread else ""
    return f"passed over: {kinds.total():,} of other kinds ({', '.join(named + more)}){remedy}"


def listed(text: str, source: str) -> list[str]:
    """The paths of a list, one in each line as it stands there; blank lines are none.

    text : decoded as names of files are, so that bytes that are not UTF-8 survive

    Raises InputError for what is no text; it names the source.
    """
    if "\0" in text:
        raise InputError(f"{source} is no text: give a path per line, in UTF-8")
    # not splitlines(): a name may hold U+2028, U+0085 and the like
    lines = (line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n"))
    return [line for line in lines if line.strip()]


def _refuse(error: OSError) -> None:
    raise InputError(f"a folder cannot be listed: {in_words(error)}")
