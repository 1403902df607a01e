"""What is written for spreadsheets and terminals: names in it are only ever names."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is computed by a spreadsheet
QUOTE = "'"  # before it: the cell is text


def printable(text: str) -> str:
    """Control characters and what is no text written as escapes: a terminal does not obey them."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cell(value):
    """A value as a cell: text that would start a formula behind a quote, the rest as it is."""
    if not isinstance(value, str) or not value.startswith((*FORMULA, QUOTE)):
        return value
    try:
        float(value)
    except ValueError:
        return QUOTE + value
    return value


def as_csv(columns: Sequence[str], rows: Iterable[Iterable]) -> str:
    """A table whose cells are values, never formulas."""
    return "".join(_line([cell(value) for value in row]) for row in (columns, *rows))


def _line(row: Sequence) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(row)  # with "\n" it leaves a "\r" unquoted
    return line.getvalue().removesuffix("\r\n") + "\n"


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table that as_csv made, {column: text}."""
    with open(path, newline="", encoding="utf-8") as file:
        columns, *rows = [[value.removeprefix(QUOTE) for value in row] for row in csv.reader(file)]
    return [dict(zip(columns, row, strict=True)) for row in rows]
