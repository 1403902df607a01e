"""The emotions of a large collection of recordings.

ser annotate results/fusion/fold1/1000/best recordings/ --out parts/
ser annotate user/model files.txt --out parts/ --device cuda:0 --readers 8
ser annotate user/model files.txt --out parts/ --launcher ray --workers 16

COLLECTION is a folder, all audio files in and below it, linked folders too, or a text file with a
path per line. Each shard of files becomes one part-NNNNNN.jsonl in --out, a line per file: label,
probabilities and seconds, or the error of a bad file; with --parquet, part-NNNNNN.parquet. In a
path, bytes that are not UTF-8 stand as \\udcXX, from which, in JSON lines, Python's os.fsencode
makes them. A part is whole or not there; the same command again does what is missing. With Ray Data
(pip install 'speechbrain-ser[ray]') the workers of a cluster share the work; its machines share the
file system.
"""

import argparse
import os
import time
from pathlib import Path

from tqdm import tqdm

from speechbrain_ser import parallel
from speechbrain_ser.campaign import launchers
from speechbrain_ser.commands.classify import files_of
from speechbrain_ser.data import folders
from speechbrain_ser.errors import InputError
from speechbrain_ser.output import printable
from speechbrain_ser.sharing import annotation, parquet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a best/ folder or a Hub id")
    parser.add_argument("collection", metavar="COLLECTION", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the parts")
    parser.add_argument("--shard_size", type=int, default=1000, help="files per part")
    parser.add_argument("--parquet", action="store_true", help="parts as Parquet, not JSON lines")
    parser.add_argument("--batch_size", type=int, help="8 on CUDA, 1 on a CPU")
    parser.add_argument("--readers", type=int, default=2, help="threads that read audio ahead")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16 or, on a GPU, fp16")
    parser.add_argument("--launcher", choices=("local", "ray"), default="local")
    parser.add_argument("--address", default="auto", help="ray: of the cluster")
    parser.add_argument("--workers", type=int, default=1, help="ray: models at a time")


def run(options: argparse.Namespace) -> int | None:
    began, out = time.monotonic(), printable(str(options.out))
    if options.parquet:
        parquet.check()
    paths = listed(options.collection)
    parallel.refuse_precision("precision", options.precision, options.device)
    form = options.parquet, options.precision
    missing = annotation.begin(options.out, options.model, paths, options.shard_size, *form)
    print(f"{len(paths)} files; {len(missing)} parts to do in {out}")
    work = on_ray if options.launcher == "ray" else here
    files = bad = 0
    bar = tqdm(total=len(missing), unit="part", disable=None)
    for done in work(missing, options):
        files, bad = files + done["files"], bad + done["bad"]
        bar.update()
    bar.close()
    seconds = time.monotonic() - began
    print(
        f"{files} files in {seconds:.0f} s, {files / seconds:.1f} per second; {bad} of them are bad"
    )
    if bad:
        told = "column error of" if options.parquet else "grep -h '\"error\"'"
        ending = "parquet" if options.parquet else "jsonl"
        print(f"their reasons: {told} {out}/part-*.{ending}")
    return 0


def listed(collection: Path) -> list[str]:
    """The files of a folder, or of a list; InputError if there is neither."""
    if collection.is_dir():
        return files_of([str(collection)])
    if not collection.is_file():
        raise InputError(f"{collection} is neither a folder nor a list of files")
    return folders.listed(os.fsdecode(collection.read_bytes()), str(collection))


def arguments(options: argparse.Namespace) -> tuple:
    out = str(options.out.resolve())
    work = options.batch_size, options.readers, options.device, options.precision
    return options.model, out, *work


def here(shards: list[int], options: argparse.Namespace):
    """The shards, one after the other, in this process."""
    if shards:
        annotator = annotation.Annotator(*arguments(options))
        yield from (annotator({"item": shard}) for shard in shards)


def on_ray(shards: list[int], options: argparse.Namespace):
    """The shards, by Ray Data on a cluster."""
    launchers.Ray(options.address)
    import ray.data

    if shards:
        yield from (
            ray.data.from_items(shards, override_num_blocks=len(shards))
            .map(
                annotation.Annotator,  # type: ignore[arg-type]  # it takes classes, too
                fn_constructor_args=arguments(options),
                concurrency=options.workers,
                num_gpus=1 if options.device != "cpu" else 0,
            )
            .iter_rows()
        )
    ray.shutdown()
