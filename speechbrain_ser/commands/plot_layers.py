"""Draw how a probe weighs its encoder's layers (Pepino 2021, Figure 2), with bars over seeds.

    ser plot layers results/probe results/probe_ravdess --output weights
    ser plot layers --figure pepino2 results/probe results/probe_asr OTHER/probe OTHER/probe_asr

Every folder is a curve: the complete runs in it, averaged over folds, then mean and sample standard
deviation over seeds. The paper's figure has four, in this order: of IEMOCAP pretrained (solid) and
fine-tuned for ASR (dashed), then of RAVDESS. Leaves OUTPUT.png (pdf, svg with --format) and
OUTPUT.csv (curve, seed, layer, weight and the raw value that training moved from 1).
"""

import argparse
from pathlib import Path

import numpy as np

from speechbrain_ser import output
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json, write_atomically
from speechbrain_ser.results import canvas, plots, report

FIGURES = {  # name -> colour and line of each curve
    "pepino2": {
        f"{corpus}, {kind}": {"color": canvas.COLOURS[number], "marker": "os"[number], "ls": line}
        for number, corpus in enumerate(("IEMOCAP", "RAVDESS"))
        for kind, line in (("pretrained", "-"), ("ASR-finetuned", "--"))
    }
}


def weights_of(folder: Path) -> tuple[list[int], dict[int, dict[str, np.ndarray]]]:
    """layers, and seed -> {"share", "raw"} [layer], means over the folds of complete runs.

    Raises InputError where no complete run has weights, or their layers differ.
    """
    runs = [
        read_json(path)
        for path in sorted(folder.rglob("results.json"))
        if report.is_complete(path.parent)
    ]
    probes = [run for run in runs if "layer_weights" in run]
    if not probes:
        raise InputError(
            f"{folder} holds no complete run of a probe with several layers: train "
            "recipes/IEMOCAP/train_probe.py first"
        )
    layers = probes[0]["layer_weights"]["layers"]
    if any(run["layer_weights"]["layers"] != layers for run in probes):
        raise InputError(f"{folder} holds runs with different layers: give one folder per curve")
    by_seed = {
        seed: {
            kind: np.mean(
                [run["layer_weights"][kind] for run in probes if run["seed"] == seed], axis=0
            )
            for kind in ("share", "raw")
        }
        for seed in sorted({run["seed"] for run in probes})
    }
    return layers, by_seed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, help="results/<experiment>, a curve each")
    parser.add_argument("--output", default="layer_weights", help="PATH of PATH.png and PATH.csv")
    parser.add_argument("--figure", choices=sorted(FIGURES), help="of Pepino 2021; see above")
    canvas.add_arguments(parser)


def named(options: argparse.Namespace) -> dict[str, Path]:
    """name of a curve -> its folder; InputError for too few of a figure, or two of one name."""
    looks = FIGURES.get(options.figure)
    if looks and len(looks) != len(options.folders):
        raise InputError(
            f"figure {options.figure} has {len(looks)} curves ({'; '.join(looks)}), but "
            f"{len(options.folders)} folders are named"
        )
    if looks:
        return dict(zip(looks, options.folders, strict=True))
    for length in range(1, 99):  # as short as they are told apart
        names = ["/".join(folder.resolve().parts[-length:]) for folder in options.folders]
        if len({*names}) == len(names):
            return dict(zip(names, options.folders, strict=True))
    raise InputError("a folder is named twice: a curve needs a folder of its own")


def run(options: argparse.Namespace) -> None:
    size = canvas.size_of(options)
    curves = {name: weights_of(folder) for name, folder in named(options).items()}
    layers = next(iter(curves.values()))[0]
    shares = {
        name: [seed["share"] for seed in by_seed.values()] for name, (_, by_seed) in curves.items()
    }
    path, title = f"{options.output}.{options.format}", "Weights of the layers"
    looks = FIGURES.get(options.figure)
    plots.layer_weights(layers, shares, path, canvas.title_of(options, title), size, looks)
    rows = [
        [name, seed, *row]
        for name, (_, by_seed) in curves.items()
        for seed, kinds in by_seed.items()
        for row in zip(layers, kinds["share"].tolist(), kinds["raw"].tolist(), strict=True)
    ]
    table = output.as_csv(["curve", "seed", "layer", "weight", "raw"], rows)
    write_atomically(Path(f"{options.output}.csv"), table)
    print(f"{path}\n{options.output}.csv")
