"""The rows of a table in a csv, tsv, json or jsonl file, whatever they mean."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from speechbrain_ser.errors import InputError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
ENDINGS = (*DELIMITERS, ".json", ".jsonl")


def read(table: Path, required: Sequence[str], expected: str) -> list[tuple[str, dict]]:
    """(where it stands, its fields) of each recording; InputError if a column is absent."""
    entries = list(_entries(table, expected))
    names = columns(entries)
    refuse_lacking(table, [name for name in required if name not in names], names, expected)
    return entries


def columns(entries: Iterable[tuple[str, dict]]) -> list[str]:
    """The names of all fields, in their order."""
    return list(dict.fromkeys(name for _, fields in entries for name in fields if name is not None))


def refuse_lacking(table: Path, absent: Sequence[str], names: Sequence[str], expected: str) -> None:
    """InputError that names the columns that are absent."""
    if absent:
        lacking = f"{', '.join(absent)}: it holds {', '.join(names) or 'no row'}"
        raise InputError(f"{table} lacks {lacking}, expected {expected}")


def stripped(fields: dict) -> dict[str, str]:
    """An entry's fields as texts without blanks around them, "" where there is none."""
    if None in fields:
        raise InputError("it has more fields than the first line names")
    return {name: str("" if value is None else value).strip() for name, value in fields.items()}


def _entries(table: Path, expected: str) -> Iterator[tuple[str, dict]]:
    """(where it stands, its fields) of each recording."""
    kind = table.suffix.lower()
    if kind not in ENDINGS:
        raise InputError(f"{table} ends in {kind!r}, expected {expected}")
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{table} is not UTF-8 text ({error}): save it as UTF-8") from None
    if kind in DELIMITERS:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=DELIMITERS[kind])
        try:
            _refuse_twice(table, reader.fieldnames or ())
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


def _refuse_twice(table: Path, names: Sequence[str]) -> None:
    """InputError for a column that comes twice: of its values the last alone would be seen."""
    if twice := [name for name, count in Counter(names).items() if count > 1 and name.strip()]:
        raise InputError(f"{table} has two columns {twice[0]}: rename or remove one")


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
        raise InputError(f"{table}: {fields!r} is not an object of columns and values")
    return fields
