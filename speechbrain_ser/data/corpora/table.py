"""A user's own corpus, described by a table: csv, tsv, json or jsonl."""

import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechbrain_ser.data import corpora
from speechbrain_ser.errors import InputError

VARIABLE = "SER_TABLE"
REQUIRED = ("path", "emotion", "speaker")
OPTIONAL = ("session", "gender", "transcript", "split", "utt_id")
EXPECTED = (
    f"a .csv, .tsv, .json or .jsonl file with {', '.join(REQUIRED)} "
    f"(and, if known, {', '.join(OPTIONAL)}) of each recording"
)
DELIMITERS = {".csv": ",", ".tsv": "\t"}
SPLITS = ("train", "valid", "test")
GENDERS = {"f": "F", "female": "F", "m": "M", "male": "M", "": ""}
SEGMENT = re.compile(
    r"(segment_?)?(start|end|begin|stop|onset|offset)([_ ]?(time|s|sec|seconds|ms))?"
)
SHOWN = 5  # bad rows in one message


def prepare(data_folder: str | Path) -> dict[str, dict]:
    """The manifest of a table; `data_folder` is the table's file.

    Relative paths start at the table's folder. utt_id is the path without its ending, if the table
    gives none. A json file is a list of objects, or one object {utt_id: object}. Other columns
    are ignored, but for those of segments (start, end_time, ...), which are refused. Audio that
    lies beside the named files and is in no row is counted and logged.

    Raises InputError that names the bad rows by line (of a json file, by entry), up to five.
    """
    table = corpora.existing_path(data_folder, VARIABLE, EXPECTED)
    if not table.is_file():
        how = corpora.how_to_give(VARIABLE)
        raise InputError(f"{table} is a folder, expected {EXPECTED}: {how}")
    entries = read(table, REQUIRED, EXPECTED)
    refuse_segments(table, entries)
    has_split = any("split" in fields for _, fields in entries)
    rows: dict[str, dict] = {}
    places: dict[str, int] = {}  # utt_id -> number of its entry
    faults: dict[int, str] = {}
    for number, (_, fields) in enumerate(entries):
        try:
            utt_id, entry = _row(fields, table.parent, has_split)
            if utt_id in rows:
                first = entries[places[utt_id]][0]
                raise InputError(f"its utt_id {utt_id} is that of {first} already")
            rows[utt_id], places[utt_id] = entry, number
        except InputError as error:
            faults[number] = str(error)
    durations = corpora.measure(entry["wav"] for entry in rows.values())
    unreadable = {}
    for (utt_id, entry), seconds in zip(rows.items(), durations, strict=True):
        entry["duration"] = seconds
        if isinstance(seconds, InputError):
            unreadable[utt_id] = f"{entries[places[utt_id]][0]}: {seconds}"
    if unreadable and not faults:
        raise corpora.Unreadable(table, unreadable, rows)
    faults |= {places[utt_id]: said.partition(": ")[2] for utt_id, said in unreadable.items()}
    if faults:
        shown = [f"{entries[number][0]}: {faults[number]}" for number in sorted(faults)[:SHOWN]]
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise InputError(f"{table} has {len(faults)} bad rows: {'; '.join(shown)}{more}")
    left_out = corpora.LeftOut()
    named = {Path(entry["wav"]) for entry in rows.values()}
    for folder in sorted({path.parent for path in named}):
        for path in sorted(folder.glob("[!.]*")):
            if path.suffix.lower() in corpora.AUDIO and path not in named:
                left_out.add("beside them and in no row", path)
    left_out.tell(table.name, len(rows))
    return dict(sorted(rows.items()))


def read(table: Path, required: Sequence[str], expected: str) -> list[tuple[str, dict]]:
    """(where it stands, its fields) of each recording; InputError if a column is absent."""
    entries = list(_entries(table))
    columns = dict.fromkeys(name for _, fields in entries for name in fields)
    absent = [name for name in required if name not in columns]
    if absent:
        lacking = f"{', '.join(absent)}: it holds {', '.join(map(str, columns)) or 'no row'}"
        raise InputError(f"{table} lacks {lacking}, expected {expected}")
    return entries


def refuse_segments(table: Path, entries: Sequence[tuple[str, dict]]) -> None:
    """InputError for columns that say where in a file an utterance lies: files are read whole."""
    names = dict.fromkeys(str(name) for _, fields in entries for name in fields)
    if marks := [name for name in names if SEGMENT.fullmatch(name.strip().lower())]:
        raise InputError(
            f"{table} has the column {marks[0]}, as if its rows were parts of longer files, and "
            "here a row is a whole file: cut the files, or leave out the column"
        )


def stripped(fields: dict) -> dict[str, str]:
    """An entry's fields as texts without blanks around them, "" where there is none."""
    if None in fields:
        raise InputError("it has more fields than the first line names")
    return {name: str("" if value is None else value).strip() for name, value in fields.items()}


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


def _row(fields: dict, folder: Path, split_required: bool) -> tuple[str, dict]:
    """utt_id and row of one entry; InputError says what is wrong with it."""
    given = stripped(fields)
    for name in REQUIRED:
        if not given.get(name):
            raise InputError(f"{name} is empty")
    split = given.get("split", "")
    if split_required and split not in SPLITS:
        raise InputError(f"split is {split!r}, use {', '.join(SPLITS)}")
    entry = corpora.row(
        folder / Path(given["path"]).expanduser(),
        speaker=given["speaker"],
        emotion=given["emotion"],
        session=given.get("session", ""),
        gender=gender(given.get("gender", "")),
        words=words(given.get("transcript", "")),
        **({"split": split} if split_required else {}),
    )
    return given.get("utt_id") or os.path.splitext(given["path"])[0], entry


def _entries(table: Path) -> Iterator[tuple[str, dict]]:
    """(where it stands, its fields) of each recording."""
    kind = table.suffix.lower()
    if kind not in (*DELIMITERS, ".json", ".jsonl"):
        raise InputError(f"{table} ends in {kind!r}, expected {EXPECTED}")
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{table} is not UTF-8 text ({error}): save it as UTF-8") from None
    if kind in DELIMITERS:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=DELIMITERS[kind])
        try:
            yield from ((f"line {reader.line_num}", fields) for fields in reader)
        except csv.Error as error:
            raise InputError(f"{table} breaks after line {reader.line_num} ({error})") from None
    elif kind == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield f"line {number}", _object(_parsed(line, table, f"line {number}"), table)
    else:
        content = _parsed(text, table, "the file")
        if isinstance(content, dict):
            for name, fields in content.items():
                yield f"entry {name}", {**_object(fields, table), "utt_id": name}
        elif isinstance(content, list):
            for number, fields in enumerate(content, start=1):
                yield f"entry {number}", _object(fields, table)
        else:
            raise InputError(f"{table} is neither a list nor an object of recordings")


def _parsed(text: str, table: Path, place: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except ValueError as error:
        raise InputError(f"{table}: {place} is not valid json ({error})") from None


def _unique(pairs: list[tuple[str, object]]) -> dict:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a name comes twice in one object")
    return fields


def _object(fields: object, table: Path) -> dict:
    if not isinstance(fields, dict):
        raise InputError(f"{table}: {fields!r} is not an object with {', '.join(REQUIRED)}")
    return fields
