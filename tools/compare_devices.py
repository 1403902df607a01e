"""What tools/check_cuda.py does: recipes on two devices, the benchmarks, and a table of both.

As a program, `python tools/compare_devices.py SCRIPT WORDS`, it runs a recipe without chance.
"""

import argparse
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from benchmarks import common
from torch.nn import functional

from speechbrain_ser import campaign, command_line, launchers, output, plan
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import fast_path

ROOT = Path(__file__).parents[1]
TOLERANCES = {"fp32": 1e-3, "bf16": 5e-2}  # of the CPU's fp32
SIZES = {  # of a run, where its yaml has them and its command does not give them
    "encoder": str(common.TINY),
    "dim": "16",
    "width": "16",
    "batch_size": "64",
    "test_batch_size": "32",
    "passes": "1",
    "updates_per_epoch": "2",
}
BENCHMARKS = {
    "training": ["--batches", "30"],
    "latency": ["--quick"],
    "memory": [],
    "probe": ["--recordings", "24"],
    "augment": ["--batches", "1"],
    "knn": ["--keys", "5531", "100000"],
    "inference": ["--recordings", "32"],
}


class TimeIsOver(Exception):
    """The minutes that were given have passed."""


def run(options: argparse.Namespace) -> int:
    """Run all of it, print the table and write it to a file; 1 if something is not ok."""
    try:
        return check(options)
    except InputError as error:
        print(f"check_cuda.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def check(options: argparse.Namespace) -> int:
    began = time.monotonic()
    deadline = began + 60 * options.minutes
    device = common.device_of(argparse.Namespace(device=options.device, threads=0))
    yamls = chosen(options.recipes)
    (options.out / "logs").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = recipes(yamls, options, Path(folder), deadline) if yamls else []
    rows += [benchmark(name, options, deadline) for name in options.benchmarks]
    kinds = [f"{options.device} {precision}, off" for precision in TOLERANCES]
    columns = ["", "cpu, loss", *kinds, "s", "state"]
    lines = [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)]
    good = sum(row[-1] == "ok" for row in rows)
    text = (
        f"{common.machine(device)}\nMean training loss of an epoch; off: the device's, relative "
        f"to the CPU's.\n\n{chr(10).join(lines)}\n\n"
        f"{good} of {len(rows)} are ok, {time.monotonic() - began:.0f} s in all.\n"
    )
    (options.out / "check_cuda.md").write_text(text)
    print(f"\n{text}logs: {options.out / 'logs'}/")
    return int(good < len(rows))


def chosen(names: Sequence[str] | None) -> list[Path]:
    """The yamls that are named, all by default; InputError for an unknown one."""
    known = {
        f"{path.parts[-3]}/{path.stem}": path
        for path in sorted(ROOT.glob("recipes/*/hparams/*.yaml"))
    }
    if names is None:
        return list(known.values())
    for name in names:
        if not any(name in (key, path.stem) for key, path in known.items()):
            raise InputError(f"there is no recipe {name}: use {', '.join(known)}")
    return [path for key, path in known.items() if {key, path.stem} & set(names)]


def recipes(
    yamls: Iterable[Path], options: argparse.Namespace, folder: Path, deadline: float
) -> list[list[str]]:
    """A row per recipe and earlier phase, after running them on the CPU and on the device.

    What trains nothing starts from the CPU's models everywhere: their device's weights differ in
    the last digits, and a neighbour or a vote would jump.
    """
    runs: plan.Plan = {}
    paths: dict[str, dict[str, Path]] = {}  # experiment -> way -> the run's folder
    for way in ("cpu", *TOLERANCES):
        device, precision = ("cpu", "fp32") if way == "cpu" else (options.device, way)
        results = folder / way
        given = ["--mini", "True", "--results", str(results), "--noprogressbar"]
        given += ["--device", device, "--precision", precision]
        jobs: plan.Plan = {}
        for yaml in yamls:
            script = ROOT / re.search(r"recipes/\w+/\w+\.py", yaml.read_text())[0]
            plan.add(jobs, str(script), [str(yaml), *given])
        for path, job in jobs.items():
            words = shortened(job, device, precision, store=results / "features")
            needs = job.needs
            if job.epochs == 0:
                words += ["--results", str(folder / "cpu"), "--output_folder", str(path)]
                needs = tuple(folder / "cpu" / need.relative_to(results) for need in needs)
            words = (__file__, *words)
            runs[path] = replace(job, words=words, needs=needs, results=folder)
            paths.setdefault(path.relative_to(results).parts[0], {})[way] = path
    launcher = launchers.Local(options.jobs or max(1, (os.cpu_count() or 1) // 2))
    print(f"{len(runs)} runs: {len(paths)} recipes and earlier phases, three ways")
    signal.signal(signal.SIGALRM, time_is_over)
    left = deadline - time.monotonic()
    try:
        if left <= 0:
            raise TimeIsOver
        signal.setitimer(signal.ITIMER_REAL, left)
        ended = campaign.run(runs, launcher, options.out / "logs")
    except TimeIsOver:
        ended = [campaign.Outcome(job, "done") for job in runs.values() if job.done]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    outcomes = {outcome.job.folder: outcome for outcome in ended}

    def outcome(path: Path) -> campaign.Outcome:
        over = campaign.Outcome(runs[path], "failed", reason="not done when the time was over")
        return outcomes.get(path, over)

    return [
        row(name, {way: outcome(path) for way, path in ways.items()})
        for name, ways in paths.items()
    ]


def time_is_over(*_) -> None:
    raise TimeIsOver


def shortened(job: plan.Job, device: str, precision: str, store: Path) -> list[str]:
    """A run's command with a tiny network and few updates; the same device for earlier phases."""
    script, *given = job.words
    yaml = command_line.parse(Path(script), given).path.read_text()
    sizes = SIZES if job.epochs == 0 else SIZES | {"max_epochs": "1"}
    more = {key: v for key, v in sizes.items() if re.search(f"^{key}:", yaml, flags=re.MULTILINE)}
    more |= {"device": device, "precision": precision}
    if "FeatureStore" in yaml:
        more["store"] = f"{{folder: {store}}}"
    absent = (key for key in more if f"--{key}" not in given)
    return [script, *given, *(word for key in absent for word in (f"--{key}", more[key]))]


def row(name: str, outcomes: Mapping[str, campaign.Outcome]) -> list[str]:
    """A row of the table: the CPU's loss, how far each way is off, seconds, and what is wrong."""
    wrong = {way: o.reason for way, o in outcomes.items() if o.state not in campaign.GOOD}
    cells = dict.fromkeys(outcomes, "")
    if "cpu" not in wrong:
        expected = numbers(outcomes["cpu"].job.folder)
        cells["cpu"] = f"{expected[0]:.4f}" if len(expected) == 1 else "(probabilities)"
        for way in [way for way in TOLERANCES if way not in wrong]:
            found = numbers(outcomes[way].job.folder)
            off = float(np.abs(found - expected).max() / np.abs(expected).max())
            cells[way] = f"{off:.1e}"
            if not off <= TOLERANCES[way]:  # nan is none
                wrong[way] = f"off by more than {TOLERANCES[way]:g}"
    seconds = sum(outcome.seconds for outcome in outcomes.values())
    state = "; ".join(f"{way}: {wrong[way]}" for way in outcomes if way in wrong)
    known = f"{seconds:.0f}" if seconds else ""  # not of what was cut off
    return [name, *cells.values(), known, in_a_cell(state) or "ok"]


def numbers(folder: Path) -> np.ndarray:
    """What is compared of a run: [1], its training loss, or all probabilities if it has none."""
    log = folder / "train_log.txt"
    if log.is_file():
        return np.array([float(re.search(r"train loss: ([^\s,]+)", log.read_text())[1])])
    labels = json.loads((folder / "results.json").read_text())["labels"]
    rows = output.read_csv(folder / "predictions.csv")
    return np.array([float(entry[label]) for entry in rows for label in labels])


def benchmark(name: str, options: argparse.Namespace, deadline: float) -> list[str]:
    """A benchmark's row, after running it in the time that is left; its table is in its log."""
    left, began = deadline - time.monotonic(), time.monotonic()
    log = options.out / "logs" / f"benchmark-{name}.txt"
    words = ["tools/benchmark.py", name, "--device", options.device, *BENCHMARKS[name]]
    words += ["--small"] if options.device == "cpu" else []
    try:
        with open(log, "w", encoding="utf-8") as file:
            status = subprocess.run(
                [sys.executable, *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                timeout=max(1e-3, left),
            ).returncode
        state = "ok" if status == 0 else last_line(log)
    except subprocess.TimeoutExpired:
        state = "its time was over"
    print(f"benchmark {name}: {state}")
    seconds = f"{time.monotonic() - began:.0f}"
    return [f"benchmark {name}", "", *("" for _ in TOLERANCES), seconds, in_a_cell(state)]


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it failed without a word"


def in_a_cell(text: str) -> str:
    return text.replace("|", "\\|")


def run_without_chance(script: str, words: Iterable[str]) -> None:
    """A recipe's script as python runs it, but without dropout and TF32."""
    attention = functional.scaled_dot_product_attention

    def undisturbed(query, key, value, attn_mask=None, dropout_p=0.0, *more, **options):
        return attention(query, key, value, attn_mask, 0.0, *more, **options)

    functional.scaled_dot_product_attention = undisturbed
    functional.dropout = lambda input, p=0.5, training=True, inplace=False: input
    fast_path.keep_mask = lambda shape, p: torch.ones(shape, dtype=torch.bool)
    fast_path.gain = lambda p: 1.0
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    sys.argv = [script, *words]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    run_without_chance(sys.argv[1], sys.argv[2:])
