"""Where files go, and writing without half-written ones."""

import json
import os
from collections.abc import Mapping
from pathlib import Path


def cache_folder() -> Path:
    """SER_CACHE in the environment, else ~/.cache/speechbrain-ser."""
    return Path(os.environ.get("SER_CACHE") or "~/.cache/speechbrain-ser").expanduser()


def write_atomically(path: str | Path, text: str) -> None:
    """Write beside the file, then rename over it: a reader sees the old or the new file, whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def as_json(values: Mapping) -> str:
    """JSON with a line per key: to be read by people too, confusion matrices included."""
    lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"
