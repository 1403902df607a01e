"""Runs of one experiment, over folds and seeds: their means, spread and bootstrap interval."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_ser import output
from speechbrain_ser.data import manifests
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.results import metrics, report

FEWEST = 4  # speakers that an interval takes
# what else some runs measure
MEANS = ("UA_gender", "WER", "WER_known", "WER_new", "EER", "WA_oracle", "UA_oracle")


def runs_of(folder: Path, corpus: str | None = None) -> list[dict]:
    """The results of an experiment's complete runs, <folder>/fold<k>/<seed>.

    corpus : leave out runs on others
    """
    complete = runs_in(path.parent for path in folder.glob("fold*/*/results.json"))
    return [run for run in complete if corpus in (None, run["corpus"])]


def runs_in(folders: Iterable[Path]) -> list[dict]:
    """The results of those of the run folders that are complete, by seed and fold."""
    complete = [
        read_json(folder / "results.json") | {"folder": folder}
        for folder in folders
        if report.is_complete(folder)
    ]
    return sorted(complete, key=lambda run: (run["seed"], run["fold"]))


def over_runs(runs: Sequence[dict]) -> dict[str, dict[str, float | None]]:
    """Results of folds and seeds -> {metric: {"mean", "sd"}}.

    WA, UA, F1 are means over folds, "..._pooled" of all the folds' test utterances together; both
    are then averaged over seeds, "sd" being the sample deviation over them, None for one seed.

    Raises InputError if the seeds have different folds (their spread would be the folds'), or the
    runs read different states of the corpus.
    """
    first, *others = runs
    for run in others:
        if manifests.same_source(first, run) is False:
            one, other = (read_json(r["folder"] / "manifest.json") for r in (first, run))
            raise InputError(
                f"{first['folder']} and {run['folder']} read different states of the corpus "
                f"({manifests.differences(one, other)}): delete the older and run it again"
            )
    by_seed = {run["seed"]: [r for r in runs if r["seed"] == run["seed"]] for run in runs}
    folds = {seed: [run["fold"] for run in own] for seed, own in by_seed.items()}
    if len({tuple(sorted(own)) for own in folds.values()}) > 1:
        listed = "; ".join(f"seed {s}: {' '.join(map(str, own))}" for s, own in folds.items())
        raise InputError(f"the seeds have different folds ({listed}): run the missing ones first")
    return metrics.over_seeds([over_folds(own) for own in by_seed.values()])


def over_folds(runs: Sequence[dict]) -> dict[str, float]:
    """metrics.over_folds; of folds with labels of their own (speakers) the means alone."""
    names = [name for name in ("WA", "UA", "F1", *MEANS) if name in runs[0]]
    means = {name: float(np.mean([run[name] for run in runs])) for name in names}
    if "labels" in runs[0] and len({tuple(run["labels"]) for run in runs}) == 1:
        return means | metrics.over_folds(runs)
    return means


@dataclass(frozen=True)
class Predictions:
    """What an experiment's runs answered: arrays of [seed, utterance], and of [utterance]."""

    ids: list[str]
    targets: np.ndarray  # class numbers
    answers: np.ndarray  # [seed, utterance]
    speakers: np.ndarray
    labels: list[str]

    def where(self, own: np.ndarray) -> "Predictions":
        """Those of some utterances; own [utterance] is a mask."""
        ids = [utt_id for utt_id, kept in zip(self.ids, own, strict=True) if kept]
        return Predictions(
            ids, self.targets[own], self.answers[:, own], self.speakers[own], self.labels
        )


def predictions_of(runs: Sequence[dict]) -> Predictions | None:
    """The test utterances of all folds, in the order of their ids; None if labels differ by fold.

    Raises InputError if a seed lacks utterances of another, or a fold tests one a second time.
    """
    if "labels" not in runs[0] or len({tuple(run["labels"]) for run in runs}) > 1:
        return None
    labels = runs[0]["labels"]
    by_seed: dict[int, dict[str, tuple[str, str]]] = {}
    speakers: dict[str, str] = {}
    for run in runs:
        own = by_seed.setdefault(run["seed"], {})
        manifest = read_json(run["folder"] / "manifest.json")
        for row in output.read_csv(run["folder"] / "predictions.csv"):
            if row["id"] in own:
                raise InputError(
                    f"{row['id']} is tested by two folds of {run['folder'].parents[1]}: its "
                    "folds are of different splits"
                )
            own[row["id"]] = row["target"], row["prediction"]
            speakers[row["id"]] = str(manifest[row["id"]]["speaker"])
    first, *others = by_seed.values()
    ids = sorted(first)
    if any(set(own) != set(first) for own in others):
        raise InputError(f"{runs[0]['folder'].parents[1]}: its seeds tested different utterances")
    number = {label: position for position, label in enumerate(labels)}
    return Predictions(
        ids,
        np.array([number[first[utt_id][0]] for utt_id in ids]),
        np.array([[number[own[utt_id][1]] for utt_id in ids] for own in by_seed.values()]),
        np.array([speakers[utt_id] for utt_id in ids]),
        labels,
    )


def table(runs: Sequence[dict]) -> str:
    """A line per run and the means over folds and seeds, in columns."""
    names = [n for n in ("WA", "UA", "F1", *MEANS) if n in runs[0]]
    lines = [["fold", "seed", "epochs", "minutes", *names]]
    for run in runs:
        facts = [run["fold"], run["seed"], run["epochs"], f"{run['seconds'] / 60:.1f}"]
        lines.append([*map(str, facts), *(f"{run[name]:.2f}" for name in names)])
    summary = over_runs(runs)
    for title, suffix, key in (
        ("mean of folds", "", "mean"),
        ("sd of seeds", "", "sd"),
        ("pooled folds", "_pooled", "mean"),
        ("sd of seeds", "_pooled", "sd"),
    ):
        values = [summary.get(f"{name}{suffix}", {}).get(key) for name in names]
        if any(value is not None for value in values):
            cells = ["" if value is None else f"{value:.2f}" for value in values]
            lines.append([title, "", "", "", *cells])
    text = in_columns(lines)
    predictions = predictions_of(runs)
    bounds = interval(predictions) if predictions is not None else None
    if bounds is not None:
        low, high = bounds
        text += (
            f"\nUA of the pooled folds, 95 % interval over {len(set(predictions.speakers))} "
            f"speakers drawn again: {low:.2f} to {high:.2f}"
        )
    return text


def in_columns(lines: Sequence[Sequence[str]]) -> str:
    """Cells as text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def interval(predictions: Predictions, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of the pooled UA, the mean over seeds, when speakers are drawn again.

    None for fewer than FEWEST speakers, of which there are too few different draws.
    """
    if len(set(predictions.speakers)) < FEWEST:
        return None
    draws = metrics.bootstrap_speakers(
        predictions.targets, predictions.answers, predictions.speakers
    )
    low, high = np.nanquantile(draws.mean(axis=0), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(one: Predictions, other: Predictions) -> dict:
    """Two experiments on the same utterances: the difference of their UA, and whether it is chance.

    Returns {"UA": [one's, other's], "difference", "low", "high", "p", "mcnemar", "utterances",
    "speakers"}: the 95 % interval of the difference when the same speakers are drawn again for
    both, the two-sided bootstrap p of no difference, and McNemar's exact p for each pair of seeds.

    Raises InputError if utterances, targets or the number of seeds differ.
    """
    if one.labels != other.labels or one.ids != other.ids:
        raise InputError(
            f"the two rows tested {len(one.ids)} and {len(other.ids)} utterances, "
            f"{len(set(one.ids) & set(other.ids))} in common: compare rows of the same folds"
        )
    if (one.targets != other.targets).any():
        raise InputError("the two rows disagree about the utterances' true labels")
    draws = [
        metrics.bootstrap_speakers(one.targets, side.answers, one.speakers).mean(axis=0)
        for side in (one, other)
    ]
    gain = draws[1] - draws[0]
    gain = gain[~np.isnan(gain)]
    low, high = np.quantile(gain, [0.025, 0.975])
    beyond = min((gain <= 0).sum(), (gain >= 0).sum())
    means = []
    for side in (one, other):
        scores = [metrics.score(side.targets, row, side.labels)["UA"] for row in side.answers]
        means.append(float(np.mean(scores)))
    pairs = list(zip(one.answers, other.answers, strict=False))
    return {
        "UA": means,
        "difference": means[1] - means[0],
        "low": float(low),
        "high": float(high),
        "p": min(1.0, 2 * float(beyond + 1) / (len(gain) + 1)),
        "mcnemar": [metrics.mcnemar(one.targets, *pair) for pair in pairs],
        "utterances": len(one.ids),
        "speakers": len(set(one.speakers)),
    }
