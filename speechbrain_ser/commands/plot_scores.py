"""Draw WA and UA of experiments side by side (Park 2023, Figure 7).

    ser plot scores results/emotion results/fusion --output fusion
    ser plot scores --figure park7 results/fusion results/fusion_arcface_beta0.5 \\
        results/fusion_arcface_beta1 results/fusion_arcface_beta1.5 results/fusion_all_beta0.5 \\
        results/fusion_all_beta1 results/fusion_all_beta1.5 --output figure_park7

Every folder is an experiment: the complete runs in it, averaged over folds, then mean and sample
standard deviation over seeds. The paper's figure has seven, in this order: the fused network with
the speaker network frozen, with ArcFace fine-tuned at beta 0.5, 1 and 1.5, and with all
fine-tuned at these. Leaves OUTPUT.png (pdf, svg with --format) and OUTPUT.csv (panel, experiment,
metric, mean, sd).
"""

import argparse
from pathlib import Path

from speechbrain_ser import output
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically
from speechbrain_ser.results import bars, canvas, summary

BETAS = ("beta 0.5", "beta 1", "beta 1.5")
FIGURES = {  # name -> panel -> what its bars are called
    "park7": {
        "(a) all frozen": ("beta 0",),
        "(b) ArcFace fine-tuned": BETAS,
        "(c) all fine-tuned": BETAS,
    }
}


def scores_of(folder: Path) -> tuple[str, dict[str, bars.Spread]]:
    """An experiment's corpus, and WA and UA: mean and deviation over seeds.

    Raises InputError where there is no complete run, or none that names classes.
    """
    runs = summary.runs_of(folder)
    if not runs:
        raise InputError(f"{folder} holds no complete run: give results/<experiment><variant>")
    if any("UA" not in run for run in runs):
        raise InputError(f"{folder} holds runs that name no classes: WA and UA are not theirs")
    means = summary.over_runs(runs)
    corpora = ", ".join(sorted({run["corpus"] for run in runs}))
    spreads = {}
    for name in bars.SHOWN:
        mean, sd = means[name]["mean"], means[name]["sd"]
        assert mean is not None  # sd alone can be
        spreads[name] = mean, sd
    return corpora, spreads


def panels_of(options: argparse.Namespace) -> dict[str, dict[str, Path]]:
    """panel -> name of a bar -> folder; InputError for too few, or one that is named twice."""
    folders = options.folders
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("a folder is named twice: each pair of bars needs one of its own")
    if not options.figure:
        for length in range(1, 99):  # as short as they are told apart
            names = ["\n".join(folder.resolve().parts[-length:]) for folder in folders]
            if len({*names}) == len(names):
                break
        return {"": dict(zip(names, folders, strict=True))}
    figure = FIGURES[options.figure]
    needed = [f"{panel}: {name}" for panel, names in figure.items() for name in names]
    if len(needed) != len(folders):
        raise InputError(
            f"figure {options.figure} shows {len(needed)} experiments ({'; '.join(needed)}), but "
            f"{len(folders)} folders are named"
        )
    rest = iter(folders)
    return {panel: {name: next(rest) for name in names} for panel, names in figure.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folders", nargs="+", type=Path, help="results/<experiment>, a pair of bars each")
    add("--output", default="scores", help="PATH of PATH.png and PATH.csv")
    add("--figure", choices=sorted(FIGURES), help="of Park 2023; see above")
    canvas.add_arguments(parser)


def run(options: argparse.Namespace) -> None:
    size = canvas.size_of(options)
    found = {
        panel: {name: scores_of(folder) for name, folder in own.items()}
        for panel, own in panels_of(options).items()
    }
    corpora = {corpus for own in found.values() for corpus, _ in own.values()}
    if len(corpora) > 1:
        raise InputError(
            f"the folders hold runs on {' and '.join(sorted(corpora))}: scores of different "
            "corpora are not comparable, so name folders of one"
        )
    panels = {panel: {name: of for name, (_, of) in own.items()} for panel, own in found.items()}
    path, title = f"{options.output}.{options.format}", f"WA and UA on {corpora.pop()}"
    bars.scores(panels, path, canvas.title_of(options, title), size)
    rows = [
        [panel, name.replace("\n", "/"), metric, f"{mean:.4f}", "" if sd is None else f"{sd:.4f}"]
        for panel, own in panels.items()
        for name, of in own.items()
        for metric, (mean, sd) in of.items()
    ]
    table = output.as_csv(["panel", "experiment", "metric", "mean", "sd"], rows)
    write_atomically(Path(f"{options.output}.csv"), table)
    print(f"{path}\n{options.output}.csv")
