"""Draw the confusion matrix of an experiment over all its folds (Wang 2023, Figure 3).

    ser plot confusion results/supcon_ce results/supcon results/knn

Every folder is a figure: the utterances of all complete runs in it, counted together. Leaves
FOLDER_confusion.png (pdf, svg with --format) for each in --output_folder.
"""

import argparse
from pathlib import Path

import numpy as np

from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.results import canvas, plots, report


def pooled(folder: Path) -> tuple[np.ndarray, list[str], str]:
    """Counts [target, prediction] over the folder's runs, their labels, and a title.

    Raises InputError where there is no complete run, or their labels or corpora differ.
    """
    runs = [
        read_json(path)
        for path in sorted(folder.glob("fold*/*/results.json"))
        if report.is_complete(path.parent)
    ]
    if not runs:
        raise InputError(f"{folder} holds no complete run: give results/<experiment><variant>")
    first = runs[0]
    if any("confusion" not in run for run in runs):
        raise InputError(f"{folder} holds runs that name no classes: their figures lie with them")
    if any((run["labels"], run["corpus"]) != (first["labels"], first["corpus"]) for run in runs):
        raise InputError(f"{folder} holds runs of different labels or corpora: give one experiment")
    counts = np.sum([run["confusion"] for run in runs], axis=0)
    of = [(key, sorted({run[key] for run in runs})) for key in ("fold", "seed")]
    recalls = 100 * counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    wa = 100 * counts.trace() / counts.sum()
    which = [f"{kind}{'s' * (len(some) > 1)} {' '.join(map(str, some))}" for kind, some in of]
    title = (
        f"{folder.resolve().name} on {first['corpus']}, {', '.join(which)}: "
        f"WA {wa:.1f}, UA {recalls[counts.sum(axis=1) > 0].mean():.1f}"
    )
    return counts, first["labels"], title


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, help="results/<experiment>, a figure each")
    parser.add_argument("--output_folder", type=Path, default=Path("figures"), metavar="FOLDER")
    canvas.add_arguments(parser)


def run(options: argparse.Namespace) -> None:
    size = canvas.size_of(options)
    names = [folder.resolve().name for folder in options.folders]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(
            f"two folders are called {twice.pop()}: draw them into two --output_folder"
        )
    figures = {folder: pooled(folder) for folder in options.folders}
    for folder, (counts, labels, title) in figures.items():
        path = options.output_folder / f"{folder.resolve().name}_confusion.{options.format}"
        plots.confusion_matrix(counts, labels, path, canvas.title_of(options, title), size)
        print(path)
