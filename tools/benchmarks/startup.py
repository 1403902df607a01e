"""Start-up: seconds from the command to its first output, and to a recipe's first update.

Every command is a process of its own; the update is that of a mini preset, whose corpus is there.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.common import machine, print_table
from speechbrain_ser.corpora import mini
from speechbrain_ser.errors import InputError

ROOT = Path(__file__).parents[2]
RECIPE = "recipes/IEMOCAP/train_emotion.py"
FIRST_UPDATE = f"""
import os, runpy, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: os._exit(0))
sys.argv[0] = {RECIPE!r}
runpy.run_path(sys.argv[0], run_name="__main__")
sys.exit("it made no update")
"""
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "import speechbrain_ser": ["-c", "import speechbrain_ser"],
    "import a recipe's parts": ["-c", "import speechbrain_ser.experiment"],
    "python -m speechbrain_ser --help": ["-m", "speechbrain_ser", "--help"],
    "train_fusion.py --help": ["recipes/IEMOCAP/train_fusion.py", "--help"],
    "train_emotion.py, first update": [
        *("-c", FIRST_UPDATE, "hparams/emotion.yaml", "--mini", "True", "--noprogressbar")
    ],
}


def seconds(words: list[str], checkout: Path) -> float:
    """Of a command of a checkout; InputError with what it said if it fails."""
    with tempfile.TemporaryDirectory() as results:
        if "--mini" in words:
            words = [*words, "--results", results]
        began = time.perf_counter()
        ended = subprocess.run(
            [sys.executable, *words],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
        )
        took = time.perf_counter() - began
    if ended.returncode:
        said = (ended.stderr.strip() or "nothing").splitlines()[-1]
        raise InputError(f"a command of {checkout} ended with {ended.returncode}: {said}")
    return took


def run(options: argparse.Namespace) -> None:
    """Print seconds of each command, and of another checkout's beside them."""
    checkouts = [ROOT, *([options.beside.resolve()] if options.beside else [])]
    mini.make("iemocap")
    rounds = 1 if options.quick else options.repeats
    taken: dict[tuple[str, Path], list[float]] = {}
    with tqdm(total=(rounds + 1) * len(COMMANDS) * len(checkouts), desc="startup") as bar:
        for number in range(rounds + 1):  # the first fills the caches; checkouts take turns
            for name, words in COMMANDS.items():
                for checkout in checkouts:
                    took = seconds(words, checkout)
                    if number:
                        taken.setdefault((name, checkout), []).append(took)
                    bar.update()
    rows = [["", "s", *(["beside, s", "ratio"] if options.beside else [])]]
    for name in COMMANDS:
        here, *beside = (statistics.median(taken[name, checkout]) for checkout in checkouts)
        rows.append([name, f"{here:.2f}", *(f"{v:.2f}" for b in beside for v in (b, b / here))])
    print(machine(torch.device("cpu")))
    print(f"Median of {rounds} after one that fills the caches.\n")
    print_table(rows)


def add_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--repeats", type=int, default=5, help="timed runs of each; their median is shown")
    add("--beside", type=Path, help="another checkout, as of a git worktree, measured in turns")
    add("--quick", action="store_true", help="one run of each")
