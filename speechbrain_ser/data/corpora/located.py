"""Recordings that a list names by paths of elsewhere, found on this disk."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from speechbrain_ser.data import folders, manifests
from speechbrain_ser.data.corpora import LOSSLESS
from speechbrain_ser.errors import InputError


class Recordings:
    """The recordings below some folders, whatever their endings and the folders above them.

    A file is found by its name without the ending; of several the one whose folders are the listed
    ones farthest up, then a wav or flac file. Names are equal in any Unicode normalisation.

    Arguments
    ---------
    roots : folders, searched at any depth, also behind links
    listed : all paths that will be asked for: of two with one file name the nearer has the file
    """

    def __init__(self, roots: Iterable[Path], listed: Iterable[str]):
        self.files: dict[str, list[Path]] = defaultdict(list)
        self.unread: dict[str, Path] = {}
        self.namesakes: dict[str, set[str]] = defaultdict(set)
        for name in listed:
            self.namesakes[_stem(name)].add(name)
        for root in roots:
            found = folders.listing(root)
            for path in found.recordings:
                self.files[_stem(path)].append(path)
            self.unread |= {_stem(path): path for path in found.others}

    def find(self, listed: str) -> Path | None:
        """The file of a listed path, None if there is none.

        Raises InputError for two that are equally near and differ.
        """
        stem = _stem(listed)
        ranked = sorted(self.files.get(stem, ()), key=lambda path: _rank(path, listed))
        if not ranked:
            return None
        first, *others = ranked
        nearness = _nearness(first, listed)
        if any(_nearness(first, other) > nearness for other in self.namesakes[stem]):
            return None  # it is another one's
        for other in others:
            alike = _rank(other, listed) == _rank(first, listed)
            if alike and manifests.content(other) != manifests.content(first):
                raise InputError(
                    f"{first} and {other} differ, and both may be {listed}: remove one of them, or "
                    "name the folder of one as audio"
                )
        return first

    def why_not(self, listed: str) -> str:
        """What to say of a listed path that has no file."""
        there = self.unread.get(_stem(listed))
        if there is None:
            return f"{listed} is missing"
        return f"{there} is not read: convert it to wav beside it with ffmpeg"


def _stem(path: str | Path) -> str:
    """The name without the ending, in one normalisation."""
    name = os.path.basename(path)
    return unicodedata.normalize("NFC", os.path.splitext(name)[0])


def _nearness(path: Path, listed: str) -> int:
    """How many folders above a file are those of the list, counted from the file."""
    count = 0
    above = reversed(PurePosixPath(unicodedata.normalize("NFC", listed)).parts[:-1])
    for own, other in zip(path.parts[-2::-1], above, strict=False):
        if unicodedata.normalize("NFC", own) != other:
            break
        count += 1
    return count


def _rank(path: Path, listed: str) -> tuple[int, bool]:
    """The least is the best."""
    return -_nearness(path, listed), path.suffix.lower() not in LOSSLESS
