"""Corpora: each module's `prepare(data_folder, **options)` returns a manifest.

A manifest is {utt_id: {"wav", "duration", "emotion", "speaker", "session", "gender", "style",
"words", ...}}, sorted by utt_id: absolute path of a file or a part of it (speechbrain_ser.data.
segments), seconds, then texts ("" where unknown). It holds neither folds nor splits, except the
"split" (train, valid or test) that a list or table states. A run adds the "content" mark of each
file, see speechbrain_ser.data.manifests.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from pathlib import Path

from tqdm import tqdm

from speechbrain_ser.data import folders, manifests
from speechbrain_ser.data.decoding import duration
from speechbrain_ser.data.unreadable import Unreadable
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)

AUDIO = folders.endings() | folders.UNREAD  # known as such also where no row of a manifest names it
LOSSLESS = (".wav", ".flac")
NOT_READ = "in a format that is not read"  # a reason of LeftOut
MANY = 2_000  # files: fewer headers are read before a progress bar would be seen


def row(
    wav: str | Path,
    speaker: str,
    emotion: str = "",
    session: str = "",
    gender: str = "",
    style: str = "",
    words: str = "",
    **more: object,
) -> dict:
    """One utterance's entry of a manifest, its duration not yet measured."""
    return {
        "wav": str(wav),
        "duration": 0.0,
        "emotion": emotion,
        "speaker": speaker,
        "session": session,
        "gender": gender,
        "style": style,
        "words": words,
        **more,
    }


def measure(paths: Iterable[str | Path]) -> list[float | InputError]:
    """Seconds of each file by its header, or why it cannot be read, in the order of paths."""
    paths = list(paths)
    bar = tqdm(paths, desc="reading audio headers", disable=None if len(paths) > MANY else True)
    return [_seconds(path) for path in bar]


def finish(rows: dict[str, dict]) -> dict[str, dict]:
    """Rows without durations -> the manifest: durations measured, sorted by utt_id.

    Raises Unreadable with all the files whose header cannot be read.
    """
    faults = {}
    durations = measure(entry["wav"] for entry in rows.values())
    for (utt_id, entry), seconds in zip(rows.items(), durations, strict=True):
        entry["duration"] = seconds
        if isinstance(seconds, InputError):
            faults[utt_id] = str(seconds)
    if faults:
        raise Unreadable("the corpus", faults, rows)
    return dict(sorted(rows.items()))


def existing_path(data_folder: str | Path | None, variable: str, expected: str) -> Path:
    """The absolute path, or InputError saying what is `expected` and how to give it."""
    if not data_folder:
        raise InputError(f"no data_folder given, expected {expected}: {how_to_give(variable)}")
    path = Path(data_folder).expanduser().absolute()
    if not path.exists():
        raise InputError(f"{path} does not exist, expected {expected}: {how_to_give(variable)}")
    return path


def existing_folder(data_folder: str | Path | None, variable: str, expected: str) -> Path:
    """The absolute folder, or InputError saying what is `expected` and how to give it."""
    folder = existing_path(data_folder, variable, expected)
    if not folder.is_dir():
        raise InputError(f"{folder} is a file, expected {expected}: {how_to_give(variable)}")
    return folder


def wrong_folder(folder: Path, variable: str, expected: str) -> InputError:
    """The error for a folder that holds something else; it names what was found."""
    names = sorted(path.name for path in folder.iterdir())
    there = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return InputError(
        f"{folder} holds {there or 'nothing'}, expected {expected}: {how_to_give(variable)}"
    )


def check_options(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """InputError if one of the `given` values of option `name` is not `known`."""
    known = list(known)
    unknown = [value for value in given if value not in known]
    if unknown:
        raise InputError(f"{name} holds {unknown[0]!r}, which is none of {', '.join(known)}")


def check_files(missing: list[Path], source: str) -> None:
    """InputError with the count and the first of the files that `source` lists in vain."""
    if missing:
        raise InputError(
            f"{len(missing)} files that {source} lists are missing, the first is {missing[0]}: "
            "complete the corpus"
        )


class LeftOut:
    """What a corpus holds and its manifest does not, counted by reason, with an example of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def add(self, reason: str, name: str | Path) -> None:
        """One more utterance or file; `reason` follows a count: "3 without audio"."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, str(name))

    def tell(self, corpus: str, count: int) -> None:
        """Log the size of the manifest, and what is not in it."""
        logger.info("%s: %s utterances%s", corpus, f"{count:,}", f"; {self}" if self.counts else "")

    def __str__(self) -> str:
        reasons = (
            f"{count:,} {reason} (such as {self.examples[reason]})"
            for reason, count in self.counts.most_common()
        )
        return f"left out: {', '.join(reasons)}" if self.counts else ""


def recordings(
    folder: Path, left_out: LeftOut, name: Callable[[Path], str] = attrgetter("stem")
) -> Iterator[Path]:
    """The recordings of a folder, at any depth, sorted; of one name the wav or flac file."""
    found = folders.listing(folder)
    names = {path: name(path) for path in found.recordings if not path.name.startswith(".")}
    whole = {names[path] for path in names if path.suffix.lower() in LOSSLESS}
    for path in names:
        if names[path] in whole and path.suffix.lower() not in LOSSLESS:
            left_out.add("beside a wav or flac file of their name", path)
        else:
            yield path
    for path in found.others:
        if path.suffix.lower() in folders.UNREAD:
            left_out.add(NOT_READ, path)
    for path in found.leftovers:
        left_out.add("left by macOS", path)


def keep_one(
    files: dict[str, Path], path: Path, left_out: LeftOut, name: str | None = None
) -> None:
    """Keep a file under its name (by default its stem).

    A second copy is left out, another recording refused.
    """
    first = files.setdefault(name or path.stem, path)
    if first is path:
        return
    if manifests.content(first) != manifests.content(path):
        raise InputError(f"{first} and {path} differ under one name: remove one of them")
    left_out.add("second copies", path)


def check_count(
    count: int, expected: int | None, name: str, corpus: str, left_out: LeftOut
) -> None:
    """InputError if `count` utterances are not the `expected` ones of the complete corpus.

    name : of its fragment, which a command line with another recipe's corpus must repeat
    """
    if expected is not None and count != expected:
        raise InputError(
            f"{count} utterances found, {expected} expected: is {corpus}? To use what is there, "
            f"--corpus '{{name: {name}, expected: null}}'"
            f"{f'; {left_out}' if left_out.counts else ''}"
        )


def how_to_give(variable: str) -> str:
    """The end of a sentence about a missing or wrong data_folder."""
    return f"give it with --data_folder PATH or the environment variable {variable}"


def _seconds(path: str | Path) -> float | InputError:
    try:
        return duration(path)
    except InputError as error:
        return error
