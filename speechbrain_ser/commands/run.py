"""One run, with bars and its results: a row of a paper's table, or a recipe.

ser run park2023/T6/fused-arcface-k4 --fold 2 --data_folder IEMOCAP_full_release
ser run park2023/T6/fused-arcface-k4 --mini True         cut short, on synthesised speech
ser run recipes/IEMOCAP/train_fusion.py hparams/fusion.yaml

ROW is the name of a row of a RESULTS.csv, or an unmistakable part of it; ser reproduce --list shows
them. What follows are the recipe's settings; python SCRIPT --help shows those. A run that was
interrupted goes on, one that is complete shows its results. An earlier phase that the row starts
from must be there; ser cross-validate --row runs it first.
"""

import argparse
import runpy
import shlex
import sys
from pathlib import Path

from speechbrain_ser.campaign import rows
from speechbrain_ser.errors import InputError

USAGE = "ser run ROW [--setting VALUE ...]\n       ser run SCRIPT YAML [--setting VALUE ...]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("row", metavar="ROW")


def run(options: argparse.Namespace) -> None:
    words = [options.row, *options.settings]
    if not options.row.endswith(".py"):
        name, row = rows.find(options.row)
        words = [*rows.command(row), *options.settings]
        print(f"{name}: {shlex.join(['python', *words])}", flush=True)
    sys.argv = [rows.script(words[0]), *words[1:]]
    if not Path(sys.argv[0]).is_file():
        raise InputError(f"there is no script {words[0]}: give a row, or one of recipes/*/*.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
