"""The emotions of a large collection, shard by shard: what is written stays, the rest goes on."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json, write_atomically
from speechbrain_ser.models import saved
from speechbrain_ser.sharing import onnx, parquet
from speechbrain_ser.sharing.inference import EmotionRecognizer

FILES = "files.jsonl"  # {"file": path} in each line, which holds whatever a name holds
SETTINGS = "settings.json"


def begin(
    folder: Path,
    source: str,
    paths: Sequence[str],
    shard_size: int,
    as_parquet: bool = False,
    precision: str = "fp32",
) -> list[int]:
    """Note what the folder's parts are made of; return the shards that it still lacks.

    as_parquet : parts are Parquet files, not JSON lines

    Raises InputError if the folder holds parts of another model, collection, shard size, form or
    precision.
    """
    if not paths:
        raise InputError("there is no file to annotate")
    if shard_size < 1:
        raise InputError(f"a shard of {shard_size} files: at least 1 is needed")
    if graph := onnx.graph_of(source):
        files = [onnx.find(graph)]
    else:
        files = [saved.find(source) / name for name in (saved.HYPERPARAMS, saved.WEIGHTS)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    listing = "".join(f"{json.dumps({'file': path})}\n" for path in paths)
    settings = {
        "model": digest.hexdigest(),
        "files": hashlib.sha256(listing.encode()).hexdigest(),
        "count": len(paths),
        "shard_size": shard_size,
    }
    settings |= {"form": "parquet"} if as_parquet else {}
    settings |= {"precision": precision} if precision != "fp32" else {}
    if (folder / SETTINGS).is_file():
        there = read_json(folder / SETTINGS, "delete that folder and annotate again")
        if other := [
            name for name in {**there, **settings} if there.get(name) != settings.get(name)
        ]:
            raise InputError(
                f"{folder} holds parts of another {' and '.join(other)}: name another --out, or "
                "delete that folder"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / FILES, listing)
        write_atomically(folder / SETTINGS, json.dumps(settings, indent=1) + "\n")
    shards = range(-(-len(paths) // shard_size))
    return [shard for shard in shards if not part(folder, shard, as_parquet).is_file()]


def listed(folder: Path, count: int) -> list[str]:
    """The paths that begin() noted; InputError if they are damaged, or not `count` any more."""
    place, remedy = folder / FILES, "delete that folder and annotate again"
    try:
        with open(place, encoding="utf-8") as file:
            paths = [json.loads(line)["file"] for line in file]
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{place} is damaged: {remedy}") from None
    if len(paths) != count:
        raise InputError(f"{place} lists {len(paths)} files, {count} were noted: {remedy}")
    return paths


def part(folder: Path, shard: int, as_parquet: bool = False) -> Path:
    return folder / f"part-{shard:06d}.{'parquet' if as_parquet else 'jsonl'}"


class Annotator:
    """Annotates one shard per call; Ray Data keeps one per worker, so a model is loaded once.

    A part has a line per file, in the order of files.jsonl: label, probs and seconds, or error.
    """

    def __init__(
        self,
        source: str,
        folder: str,
        batch_size: int | None,
        readers: int,
        device: str,
        precision: str = "fp32",
    ):
        run_opts = {"device": device, "precision": precision}
        self.recognizer = EmotionRecognizer.from_hparams(source, run_opts=run_opts)
        self.folder = Path(folder)
        self.batch_size = batch_size
        self.readers = readers
        settings = json.loads((self.folder / SETTINGS).read_text())
        self.size = settings["shard_size"]
        self.as_parquet = settings.get("form") == "parquet"
        self.paths = listed(self.folder, settings["count"])

    def __call__(self, row: dict) -> dict:
        """{"item": shard} -> the shard, its number of files, and how many of them are bad."""
        shard = int(row["item"])
        paths = self.paths[shard * self.size : (shard + 1) * self.size]
        lines: dict[int, dict] = {}
        for position, result in self.recognizer.each(paths, self.batch_size, self.readers):
            line: dict = {"file": paths[position]}
            if isinstance(result, InputError):
                line["error"] = str(result)
            else:
                line |= {"label": result.label, "probs": result.probs, "seconds": result.end}
                line |= {"values": result.values} if result.values else {}
            lines[position] = line
        self.write(shard, [lines[i] for i in range(len(paths))])
        bad = sum("error" in line for line in lines.values())
        return {"shard": shard, "files": len(paths), "bad": bad}

    def write(self, shard: int, lines: Sequence[dict]) -> None:
        """A part, whole or not at all."""
        place = part(self.folder, shard, self.as_parquet)
        if self.as_parquet:
            numbers = ("seconds", *self.recognizer.labels, *self.recognizer.ranges)
            rows = (line.get("probs", {}) | line.get("values", {}) | line for line in lines)
            parquet.write(place, ("file", "label", "error"), numbers, rows)
        else:
            write_atomically(place, "".join(f"{json.dumps(line)}\n" for line in lines))
