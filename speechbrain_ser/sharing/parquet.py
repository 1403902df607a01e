"""Answers as Parquet files, for pandas, DuckDB or Spark; needs the package pyarrow."""

import importlib.util
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically


def check() -> None:
    """InputError without pyarrow."""
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            "Parquet needs the package pyarrow: pip install 'speechbrain-ser[parquet]'"
        )


def write(
    path: str | Path, texts: Sequence[str], numbers: Sequence[str], rows: Iterable[Mapping]
) -> None:
    """Write a table {column: value}; what a row lacks is null.

    texts, numbers : its columns, which are in the file also where no row has them

    A name's bytes that are no UTF-8 stand as the text \\udcXX. Raises InputError where the file
    cannot be.
    """
    import pyarrow
    from pyarrow import parquet

    rows = list(rows)
    columns = [[_text(row.get(name)) for row in rows] for name in texts]
    columns += [[row.get(name) for row in rows] for name in numbers]
    kinds = [pyarrow.string()] * len(texts) + [pyarrow.float64()] * len(numbers)
    arrays = [pyarrow.array(*column) for column in zip(columns, kinds, strict=True)]
    content = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays, names=[*texts, *numbers]), content)
    write_atomically(path, content.getvalue())


def _text(value: str | None) -> str | None:
    return value if value is None else value.encode(errors="backslashreplace").decode()
