"""Writing without half-written files."""

import json
from collections.abc import Mapping
from pathlib import Path


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
