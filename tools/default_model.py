"""Make the package's own model and its card from the runs of its row.

    ser cross-validate --row combined/RAVDESS-and-nEMO/whisper-base-layers-averaged-width-192
    python tools/default_model.py results/combined_shipped

The model is that of fold 1, with the temperature that its validation found; what it does not answer
below is said here. Every number of the card is computed here.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

from speechbrain_ser import hparams as hp
from speechbrain_ser import output
from speechbrain_ser.files import read_json
from speechbrain_ser.models import saved, seen
from speechbrain_ser.results import calibration, metrics, summary
from speechbrain_ser.sharing.inference import DEFAULT

UNSURE_BELOW = 0.5
CARD = Path(__file__).with_suffix(".md")


def answers(run: dict) -> tuple[np.ndarray, np.ndarray]:
    """A run's test probabilities [utterance, class] and targets [utterance]."""
    rows = output.read_csv(run["folder"] / "predictions.csv")
    probs = np.array([[float(row[label]) for label in run["labels"]] for row in rows])
    return probs, np.array([run["labels"].index(row["target"]) for row in rows])


def scores(runs: list[dict]) -> str:
    """A line of the card per corpus and for both."""
    found = summary.predictions_of(runs)
    lines = []
    for title, of in (("RAVDESS", "ravdess/"), ("nEMO", "nemo/"), ("both", "")):
        own = np.array([speaker.startswith(of) for speaker in found.speakers])
        part = summary.Predictions(
            [name for name, kept in zip(found.ids, own, strict=True) if kept],
            found.targets[own],
            found.answers[:, own],
            found.speakers[own],
            found.labels,
        )
        score = metrics.score(part.targets, part.answers[0], part.labels)
        low, high = summary.interval(part)
        count = len(set(part.speakers))
        ua = f"{score['UA']:.1f} ({low:.1f} to {high:.1f})"
        lines.append(f"| {title} | {count} | {score['WA']:.1f} | {ua} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="the row's folder of runs")
    folder = parser.parse_args().runs
    runs = summary.runs_of(folder)
    if [run["fold"] for run in runs] != list(range(1, 7)):
        parser.error(f"{folder} does not hold six folds of one seed: run the row first, see --help")
    first = runs[0]
    probs, targets = answers(first)
    unsure = calibration.unsure(probs, targets, UNSURE_BELOW)
    shutil.rmtree(DEFAULT, ignore_errors=True)
    shutil.copytree(first["folder"] / "best", DEFAULT)
    tree = hp.load_tree((DEFAULT / saved.HYPERPARAMS).read_text())
    tree["unsure_below"] = UNSURE_BELOW
    (DEFAULT / saved.HYPERPARAMS).write_text(saved.HEADER + hp.dump(hp.bare(tree)))
    transfer = [
        summary.over_runs(summary.runs_of(folder.with_name(f"combined_{name}")))["UA"]["mean"]
        for name in ("to_nemo", "to_ravdess")
    ]
    manifest = read_json(first["folder"] / "manifest.json")
    rows = output.read_csv(first["folder"] / "predictions.csv")
    trained, validated = seen.counts(saved.trained_on(DEFAULT)[0])
    card = CARD.read_text().format(
        labels=", ".join(first["labels"]),
        kilobytes=(DEFAULT / saved.WEIGHTS).stat().st_size / 1000,
        commit=first["commit"][:7],
        trained=trained,
        validated=validated,
        tested=len({manifest[row["id"]]["speaker"] for row in rows}),
        scores=scores(runs),
        transfer=" and ".join(f"{value:.1f}" for value in transfer),
        temperature=first["temperature"],
        error=first["ECE"],
        error_before=first["ECE_before"],
        unsure=UNSURE_BELOW,
        share=100 - unsure["coverage"],
        right=100 - unsure["error"],
    )
    (DEFAULT / "README.md").write_text(card)
    print(card)


if __name__ == "__main__":
    main()
