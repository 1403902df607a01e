"""A user's own corpus, described by a table: csv, tsv, json or jsonl."""

import logging
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechbrain_ser.data import corpora, segments
from speechbrain_ser.data.corpora import ratings
from speechbrain_ser.data.corpora.columns import Columns, plain
from speechbrain_ser.data.corpora.rows import columns, read, refuse_lacking, stripped
from speechbrain_ser.data.labels import Merge, choose
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)

VARIABLE = "SER_TABLE"
REQUIRED = ("path", "emotion", "speaker")
OPTIONAL = (
    *("session", "gender", "transcript", "split", "utt_id"),
    *("start", "end", "language", "annotator"),
)
EXPECTED = (
    f"a .csv, .tsv, .json or .jsonl file with {', '.join(REQUIRED)} "
    f"(and, if known, {', '.join(OPTIONAL)}) of each recording"
)
SPLITS = ("train", "valid", "test")
GENDERS = {"f": "F", "female": "F", "m": "M", "male": "M", "": ""}
SHOWN = 5  # bad rows in one message
ELSEWHERE = (
    "(if the recordings lie elsewhere, say where: --corpus '{name: table, audio_folder: FOLDER}')"
)


def prepare(
    data_folder: str | Path,
    labels: Sequence[str] = (),
    merge: Merge | None = None,
    fields: Sequence[str] = (),
    shares: Sequence[str] = (),
    audio_folder: str | Path | None = None,
) -> dict[str, dict]:
    """The manifest of a table; `data_folder` is the table's file.

    Columns are known by their names in any case, and by some synonyms, see Columns; others are
    ignored. utt_id is the path without its ending, and the times of a segment, if the table gives
    none. A json file is a list of objects, or one object {utt_id: object}.

    - start and end, in seconds, make a row a part of its file; an empty end is the file's.
    - Annotators who rated the same recordings are told apart by a column annotator, in a row each,
      or have a column each, emotion_<annotator>. Rows then have "ratings", {emotion: annotators}.
      Their emotion is that of the column emotion beside such columns, where it is not empty, else
      the majority's; without one the utterance is left out. Of a number that they rate beside it
      the mean counts.
    - One column for each of the `shares` is how many named that emotion, or their share, and makes
      such ratings, too.

    Audio that lies beside the named files and is in no row is counted and logged.

    Arguments
    ---------
    labels, merge : the emotions that are kept, and what each counts as, see labels.choose
    fields : columns that must be there, and that rows have as texts: numbers such as valence, or
        emotion, which is needed if nothing else is named
    shares : emotions that may have a column each
    audio_folder : where relative paths start; None: at the table's own folder

    Raises InputError that names the bad rows by line (of a json file, by entry), up to five.
    """
    table = corpora.existing_path(data_folder, VARIABLE, EXPECTED)
    if not table.is_file():
        how = corpora.how_to_give(VARIABLE)
        raise InputError(f"{table} is a folder, expected {EXPECTED}: {how}")
    folder = Path(audio_folder).expanduser().absolute() if audio_folder else table.parent
    if not folder.is_dir():
        raise InputError(f"audio_folder is {folder}, and there is no such folder: correct it")
    entries = read(table, (), EXPECTED)
    found = _Utterances(_columns(table, entries, fields or ("emotion",), shares), folder)
    faults: dict[int, str] = {}
    for number, (place, said) in enumerate(entries):
        try:
            found.add(number, place, stripped(said))
        except InputError as error:
            faults[number] = str(error)
    left_out = corpora.LeftOut()
    rows = found.rows
    if found.columns.are_rated and "emotion" in found.columns.required:
        rows = ratings.decide(rows, found.heard, left_out)
    if found.counted:
        rows = ratings.by_most(rows, found.counted, left_out)
    for utt_id, entry in rows.items():
        entry |= {name: ratings.mean(texts) for name, texts in found.rated[utt_id].items()}
    rows = choose(rows, labels, merge, left_out)
    unreadable = _measure(rows, None if audio_folder else folder)
    if faults:
        faults |= {found.numbers[utt_id]: why for utt_id, why in unreadable.items()}
        shown = [f"{entries[number][0]}: {faults[number]}" for number in sorted(faults)[:SHOWN]]
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise InputError(f"{table} has {len(faults)} bad rows: {'; '.join(shown)}{more}")
    named = {Path(segments.split(entry["wav"])[0]) for entry in found.rows.values()}
    for parent in sorted({path.parent for path in named}):
        for file in sorted(parent.glob("[!.]*")):
            if file.suffix.lower() in corpora.AUDIO and file not in named:
                left_out.add("beside them and in no row", file)
    left_out.tell(table.name, len(rows) - len(unreadable))
    if unreadable:
        said = {utt_id: f"{found.places[utt_id]}: {why}" for utt_id, why in unreadable.items()}
        raise corpora.Unreadable(table, said, rows)
    return dict(sorted(rows.items()))


class _Utterances:
    """The utterances of a table, row by row.

    Attributes
    ----------
    rows : utt_id -> entry, without durations
    heard : utt_id -> annotator -> emotion
    rated : utt_id -> number -> its texts in all rows of the utterance
    counted : utt_id -> emotion -> how many named it, where columns say that
    numbers, places : utt_id -> its first row
    """

    def __init__(self, columns: Columns, folder: Path):
        self.columns = columns
        self.folder = folder
        self.rows: dict[str, dict] = {}
        self.heard: dict[str, dict[str, str]] = {}
        self.rated: dict[str, dict[str, list[str]]] = {}
        self.counted: dict[str, dict[str, float]] = {}
        self.numbers: dict[str, int] = {}
        self.places: dict[str, str] = {}
        self.first: dict[str, str] = {}  # file or part of it -> utt_id

    def add(self, number: int, place: str, fields: Mapping[str, str]) -> None:
        """One more row; InputError says what is wrong with it."""
        given = self.columns.given(fields)
        utt_id, entry = self._entry(fields, given)
        heard = self.columns.heard(fields)
        told = heard or self.columns.shares or entry["emotion"]
        if not told and "emotion" in self.columns.required:
            raise InputError("emotion is empty")
        by_rows = "annotator" in given
        first = self.first.setdefault(entry["wav"], utt_id) if by_rows else utt_id
        if first not in self.rows:
            self.rows[utt_id], self.heard[utt_id] = entry, heard
            self.rated[utt_id] = {name: [given[plain(name)]] for name in self.columns.kept}
            if self.columns.shares:
                self.counted[utt_id] = self.columns.counts(fields)
            self.numbers[utt_id], self.places[utt_id] = number, place
            return
        where = self.places[first]
        if not by_rows or self.rows[first]["wav"] != entry["wav"]:
            raise InputError(f"its utt_id {utt_id} is that of {where} already")
        if given.get("utt_id", first) != first:
            raise InputError(
                f"its utt_id is {utt_id}, and {first} in {where} of the same recording"
            )
        if again := heard.keys() & self.heard[first].keys():
            raise InputError(f"annotator {again.pop()} rates the recording of {where} again")
        self.rows[first] = ratings.repeated(entry, self.rows[first], where)
        self.heard[first] |= heard
        for name, texts in self.rated[first].items():
            texts.append(given[plain(name)])

    def _entry(self, fields: Mapping[str, str], given: Mapping[str, str]) -> tuple[str, dict]:
        """utt_id and row."""
        by_rows = "annotator" in given
        for name in self.columns.required:
            told = name == "emotion" and (self.columns.raters or self.columns.shares)
            if not given.get(plain(name)) and not told:
                raise InputError(f"{name} is empty")
        split = given.get("split", "")
        if "split" in given and split not in SPLITS:
            raise InputError(f"split is {split!r}, use {', '.join(SPLITS)}")
        times = [self.columns.seconds(fields, name) for name in ("start", "end")]
        name, wav = _placed(given["path"], self.folder, times)
        entry = corpora.row(
            wav,
            speaker=given["speaker"],
            emotion="" if by_rows else given.get("emotion", ""),
            session=given.get("session", ""),
            gender=gender(given.get("gender", "")),
            words=words(given.get("transcript", "")),
            **{name: given[name] for name in ("split", "language") if name in given},
        )
        return given.get("utt_id") or name, entry


def gender(given: str) -> str:
    """F, M or "" for how people write them."""
    if given.lower() not in GENDERS:
        raise InputError(f"gender is {given!r}, use F or M or leave it empty")
    return GENDERS[given.lower()]


def words(transcript: str) -> str:
    """Upper-case words without punctuation, in any script."""
    text = transcript.upper().replace("\u2019", "'")
    kept = (c if c == "'" or unicodedata.category(c)[0] in "LM" else " " for c in text)
    return " ".join("".join(kept).split())


def _columns(
    table: Path, entries: Sequence[tuple[str, dict]], fields: Sequence[str], shares: Sequence[str]
) -> Columns:
    """What the columns mean; one line says which are taken for others."""
    names = columns(entries)
    try:
        known = Columns(names, fields, shares)
    except InputError as error:
        raise InputError(f"{table} {error}") from None
    refuse_lacking(table, known.lacking, names, EXPECTED)
    if known.taken:
        logger.info("%s: %s", table.name, ", ".join(known.taken))
    if known.unused_length:
        logger.warning(
            "%s has no column end: its segments reach to the ends of their files, and %s is not "
            "read",
            table.name,
            known.unused_length,
        )
    return known


def _placed(path: str, folder: Path, times: Sequence[float | None]) -> tuple[str, str]:
    """A name for an utterance, by its path and times, and its file or part of one."""
    if "\\" in path and not os.path.exists(segments.split(folder / path)[0]):
        slashed = path.replace("\\", "/")  # as Windows writes it
        path = slashed if os.path.exists(segments.split(folder / slashed)[0]) else path
    whole = str(folder / Path(path).expanduser())
    file, start, end = segments.split(whole)
    stem = os.path.splitext(path.removesuffix(whole[len(file) :]))[0]
    if times != [None, None]:
        if file != whole:
            raise InputError(f"its path {path} names times, and so do its start and end: use one")
        start, end = times[0] or 0.0, times[1]
    place = segments.at(file, start, end)
    own = (time for time in (start, end) if time is not None)
    marks = map(segments.written, own) if place != file else ()
    return "_".join([stem, *marks]), place


def _measure(rows: Mapping[str, dict], beside: Path | None) -> dict[str, str]:
    """Put the durations into the rows; utt_id -> what is wrong with its file.

    beside : the folder of the table, if relative paths start there
    """
    unreadable: dict[str, str] = {}
    durations = corpora.measure(entry["wav"] for entry in rows.values())
    for (utt_id, entry), seconds in zip(rows.items(), durations, strict=True):
        entry["duration"] = seconds
        if isinstance(seconds, InputError):
            unreadable[utt_id] = str(seconds)
            file = Path(segments.split(entry["wav"])[0])
            if beside and file.is_relative_to(beside) and not file.exists():
                unreadable[utt_id] += f" {ELSEWHERE}"
                beside = None  # once is enough
    return unreadable
