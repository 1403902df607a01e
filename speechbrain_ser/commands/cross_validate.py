"""All folds and seeds of a recipe, with the earlier phases that it starts from.

ser cross-validate recipes/IEMOCAP/train_fusion.py hparams/fusion.yaml --seeds 1,2,3
ser cross-validate recipes/IEMOCAP/train_emotion.py hparams/emotion.yaml \\
    --variant _k2 --blocks 2 --folds 1,2 --jobs 2
ser cross-validate --row park2023/T6/fused-arcface-k4 --launcher slurm \\
    --slurm '{timeout_min: 600, slurm_partition: gpu, gpus_per_node: 1}'

Whatever is not an option below goes to the recipe. Runs that are done are skipped, interrupted ones
go on, and a failure stops only what needs it: the same command again does the rest. A row is one
of a RESULTS.csv; ser reproduce --list shows them.
"""

import argparse
import shlex
import time
from pathlib import Path

from speechbrain_ser.campaign import launchers, plan, rows
from speechbrain_ser.campaign import run as campaign
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import summary

USAGE = "ser cross-validate SCRIPT YAML [--setting VALUE ...] [options]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--row", help="a row of RESULTS.csv in place of SCRIPT YAML")
    parser.add_argument("--folds", default="all", help="all (default), or numbers: 1,3")
    parser.add_argument("--seeds", help="numbers: 1,2,3; the yaml's own by default")
    launchers.add_options(parser)


def run(options: argparse.Namespace) -> int:
    rest = list(options.settings)
    if options.row:
        name, row = rows.find(options.row)
        print(f"{name}: {shlex.join(['python', *rows.command(row)])}")
        rest = [*rows.command(row), *rest]
    if len(rest) < 2 or rest[0].startswith("-"):
        raise InputError("give a recipe's SCRIPT and YAML first, or --row; --help shows how")
    rest[0] = rows.script(rest[0])
    folds = None if options.folds == "all" else numbers(options.folds, "--folds")
    seeds = numbers(options.seeds, "--seeds") if options.seeds else None
    runs: plan.Plan = {}
    own = plan.cross_validation([*rest, "--noprogressbar"], folds, seeds, runs)
    return execute(runs, own, options)


def execute(runs: plan.Plan, own: list[Path], options: argparse.Namespace) -> int:
    """Run the plan, and show the table of its own runs; 1 if some failed."""
    began = time.monotonic()
    logs = runs[own[0]].results / "logs"
    done = sum(job.there for job in runs.values())
    print(f"{len(runs)} runs, {done} done; their output: {logs}/")
    outcomes = campaign.run(runs, launchers.of_options(options, logs), logs)
    complete = summary.runs_in(own)
    if complete:
        print(f"\n{own[0].parents[1].name} on {complete[0]['corpus']}")
        print(f"protocol: {complete[0]['protocol']}")
        try:
            print(summary.table(complete))
        except InputError as error:  # a fold of one seed is missing
            print(f"no table yet: {error}")
    print(f"{time.monotonic() - began:.0f} s in all")
    if failed := campaign.failures(outcomes):
        print(f"{len(failed)} of {len(runs)} runs are not done:")
        print("\n".join(f"  {outcome}" for outcome in failed))
    return int(bool(failed))


def numbers(text: str, option: str) -> list[int]:
    """1,2,3 -> [1, 2, 3]."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"{option} is {text!r}: give numbers, as 1,2,3") from None
