"""Where files go, and writing without half-written ones."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechbrain_ser.errors import InputError, in_words


def cache_folder() -> Path:
    """SER_CACHE in the environment, else ~/.cache/speechbrain-ser."""
    return Path(os.environ.get("SER_CACHE") or "~/.cache/speechbrain-ser").expanduser()


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write beside the file, then rename over it: a reader sees the old or the new file, whole.

    It is on the disk when this returns. Raises InputError for a full disk or a folder that cannot
    be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        settle(temporary)
        temporary.replace(path)
        settle(path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {in_words(error)}") from None


def settle(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # where folders have no such thing
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path, remedy: str = "delete that run's folder and run it again") -> Any:
    """The content of a json file of ours; InputError if it is damaged, with the remedy."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {in_words(error)}") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:100] or "it is empty"
        raise InputError(f"{path} is damaged ({reason}): {remedy}") from None


def as_json(values: Mapping) -> str:
    """JSON with a line per key: to be read by people too, confusion matrices included."""
    lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"
