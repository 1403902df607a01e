"""Draw how a probe weighs its encoder's layers (Pepino 2021, Figure 2), with bars over seeds.

    ser plot layers results/probe results/probe_ravdess --output figure2

Every folder is a curve: the complete runs in it, averaged over folds, then mean and sample standard
deviation over seeds. Leaves OUTPUT.png and OUTPUT.csv (curve, seed, layer, weight and the raw value
that training moved from 1; the mean of a seed's folds).
"""

import argparse
from pathlib import Path

import numpy as np

from speechbrain_ser import output
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json, write_atomically
from speechbrain_ser.results import plots, report


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


def run(options: argparse.Namespace) -> int | None:
    curves = {folder.name: weights_of(folder) for folder in options.folders}
    layers = next(iter(curves.values()))[0]
    shares = {
        name: [seed["share"] for seed in by_seed.values()] for name, (_, by_seed) in curves.items()
    }
    plots.layer_weights(layers, shares, f"{options.output}.png", "Weights of the layers")
    rows = [
        [name, seed, *row]
        for name, (_, by_seed) in curves.items()
        for seed, kinds in by_seed.items()
        for row in zip(layers, kinds["share"].tolist(), kinds["raw"].tolist(), strict=True)
    ]
    table = output.as_csv(["curve", "seed", "layer", "weight", "raw"], rows)
    write_atomically(Path(f"{options.output}.csv"), table)
    print(f"{options.output}.png\n{options.output}.csv")
