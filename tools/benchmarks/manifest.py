"""Preparation of a corpus as large as VoxCeleb1: tiny files in its folders, first and again.

The files have just been written, so no disk is waited for: what is timed is this package's part.
"""

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile
import torch
from tqdm import tqdm

from benchmarks.common import machine, print_table
from speechbrain_ser import corpora, splits
from speechbrain_ser.audio import SAMPLE_RATE, duration
from speechbrain_ser.corpora import voxceleb1

SPEAKERS, VIDEOS = 1251, 18  # of VoxCeleb1, videos per speaker
QUICK = 3_000  # files


def lay_out(folder: Path, files: int) -> list[Path]:
    """Write `files` recordings of 25 to 40 ms, their list and the speakers' table."""
    draw = np.random.default_rng(0)
    contents = []
    for samples in range(400, 640):
        wav = io.BytesIO()
        speech = 0.1 * draw.standard_normal(samples)
        soundfile.write(wav, speech, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        contents.append(wav.getvalue())
    paths, lines = [], []
    for number in tqdm(range(files), desc="writing tiny files"):
        speaker, video = number % SPEAKERS, number // SPEAKERS % VIDEOS
        name = f"id{10001 + speaker}/video{video:06}/{number // SPEAKERS // VIDEOS + 1:05}.wav"
        path = folder / "wav" / name
        if number < SPEAKERS * VIDEOS:
            path.parent.mkdir(parents=True)
        path.write_bytes(contents[number % len(contents)])
        paths.append(path)
        lines.append(f"{1 + number % 3} {name}\n")
    (folder / "iden_split.txt").write_text("".join(lines))
    return paths


class Interrupted(Exception):
    """Stands for a kill."""


def after(calls: int) -> Callable[[str], float]:
    """`duration`, which raises Interrupted from the given call on."""
    left = iter(range(calls))

    def interrupted(path: str) -> float:
        if next(left, None) is None:
            raise Interrupted
        return duration(path)

    return interrupted


def run(options: argparse.Namespace) -> None:
    """Print seconds of each way to a manifest."""
    files = QUICK if options.quick else options.files
    rows = [("", "s", "files/s")]

    def timed(name: str, call: Callable[[], object]) -> object:
        began = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - began
        rows.append((name, f"{seconds:.2f}", f"{files / seconds:.0f}"))
        return result

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "voxceleb1")
        paths = lay_out(folder, files)

        def prepare() -> dict[str, dict]:
            return voxceleb1.prepare(folder, expected_speakers=None)

        timed("headers alone, one by one", lambda: [duration(path) for path in paths])
        with mock.patch.dict(os.environ, {"SER_CACHE": f"{scratch}/first"}):
            first = timed("first preparation", prepare)
            again = timed("again, nothing changed", prepare)
        with mock.patch.dict(os.environ, {"SER_CACHE": f"{scratch}/second"}):
            with mock.patch.object(corpora, "duration", after(files // 2)):
                try:
                    prepare()
                except Interrupted:
                    pass
            rest = timed("the rest, after an interruption half way", prepare)
        text = timed("manifest.json: as text", lambda: json.dumps(first, indent=0))
        back = timed("manifest.json: read", lambda: json.loads(text))
        timed("official split", lambda: splits.official(first, target="speaker"))
    print(machine(torch.device("cpu")))
    same = "the same" if first == again == rest == back else "NOT THE SAME"
    print(f"{files:,} files in VoxCeleb1's folders; {same} manifest each time.\n")
    print_table(rows)


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--files", type=int, default=20_000, help="how many; VoxCeleb1: 153,516")
    command.add_argument("--quick", action="store_true", help=f"{QUICK:,} files")
