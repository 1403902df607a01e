"""Runs of one experiment, over folds and seeds: their means, spread and bootstrap interval."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_ser import output
from speechbrain_ser.data import manifests
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.results import answers, dimensions, metrics, report

FEWEST = 4  # speakers that an interval takes
# what else some runs measure
MEANS = (
    *("UA_gender", "WER", "WER_known", "WER_new", "EER", "WA_oracle", "UA_oracle"),
    *("CCC", "KL", "F1_shares"),
)


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
    names += [name for name in dimensions.shown(runs[0]) if name not in names]
    means = {name: float(np.mean([run[name] for run in runs])) for name in names}
    if numbers := numbers_of(runs):
        pooled = {f"CCC_{name}": own.score(own.answers[0]) for name, own in numbers.items()}
        pooled |= {"CCC": float(np.mean(list(pooled.values())))}
        means |= {f"{name}_pooled": pooled[name] for name in dimensions.shown(runs[0])}
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
    metric = "UA"

    def where(self, own: np.ndarray) -> "Predictions":
        """Those of some utterances; own [utterance] is a mask."""
        ids = [utt_id for utt_id, kept in zip(self.ids, own, strict=True) if kept]
        kept = self.targets[own], self.answers[:, own], self.speakers[own]
        return type(self)(ids, *kept, self.labels)

    def score(self, answers: np.ndarray) -> float:
        """The metric of one seed's answers, [utterance]."""
        return metrics.score(self.targets, answers, self.labels)[self.metric]

    def draws(self, speakers: np.ndarray | None = None) -> np.ndarray:
        """The metric of each seed when speakers are drawn again: [seed, draw].

        speakers : other groups than the own speakers, [utterance]
        """
        of = self.speakers if speakers is None else speakers
        return metrics.bootstrap_speakers(self.targets, self.answers, of)


class Numbers(Predictions):
    """The same of a number: targets and answers are numbers, and there are no labels."""

    metric = "CCC"

    def score(self, answers: np.ndarray) -> float:
        """The concordance of one seed's answers, [utterance]."""
        return metrics.concordance(self.targets, answers)

    def draws(self, speakers: np.ndarray | None = None) -> np.ndarray:
        """As of Predictions."""
        of = self.speakers if speakers is None else speakers
        return dimensions.bootstrap_speakers(self.targets, self.answers, of)


def predictions_of(runs: Sequence[dict]) -> Predictions | None:
    """The test utterances of all folds, in the order of their ids; None if labels differ by fold.

    Of runs without labels those of their first number, if they have one.
    Raises InputError if a seed lacks utterances of another, or a fold tests one a second time.
    """
    if "labels" not in runs[0]:
        return next(iter(numbers_of(runs).values()), None)
    if len({tuple(run["labels"]) for run in runs}) > 1:
        return None
    labels = runs[0]["labels"]
    ids, speakers, tables = _tables(runs)
    number = {label: position for position, label in enumerate(labels)}
    targets = [number[row["target"]] for row in tables[0]]
    answered = [[number[row["prediction"]] for row in table] for table in tables]
    return Predictions(ids, np.array(targets), np.array(answered), speakers, labels)


def numbers_of(runs: Sequence[dict]) -> dict[str, Numbers]:
    """number -> its test utterances of all folds, of runs that answer numbers; else {}."""
    if not (names := dimensions.names_of(runs[0])):
        return {}
    ids, speakers, tables = _tables(runs)
    found = {}
    for name in names:
        of_seeds = [answers.pairs(table, name) for table in tables]
        predictions = np.array([own for _, own in of_seeds])
        found[name] = Numbers(ids, np.array(of_seeds[0][0]), predictions, speakers, [])
    return found


def _tables(runs: Sequence[dict]) -> tuple[list[str], np.ndarray, list[list[dict]]]:
    """Ids, speakers, and of each seed the rows of its predictions, in the order of the ids."""
    by_seed: dict[int, dict[str, dict]] = {}
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
            own[row["id"]] = row
            speakers[row["id"]] = str(manifest[row["id"]]["speaker"])
    first, *others = by_seed.values()
    ids = sorted(first)
    if any(set(own) != set(first) for own in others):
        raise InputError(f"{runs[0]['folder'].parents[1]}: its seeds tested different utterances")
    tables = [[own[utt_id] for utt_id in ids] for own in by_seed.values()]
    return ids, np.array([speakers[utt_id] for utt_id in ids]), tables


def table(runs: Sequence[dict]) -> str:
    """A line per run and the means over folds and seeds, in columns."""
    names = [n for n in ("WA", "UA", "F1", *MEANS) if n in runs[0]]
    names += [name for name in dimensions.shown(runs[0]) if name not in names]
    lines = [["fold", "seed", "epochs", "minutes", *names]]
    for run in runs:
        facts = [run["fold"], run["seed"], run["epochs"], f"{run['seconds'] / 60:.1f}"]
        lines.append([*map(str, facts), *(dimensions.told(n, run[n]) for n in names)])
    summary = over_runs(runs)
    for title, suffix, key in (
        ("mean of folds", "", "mean"),
        ("sd of seeds", "", "sd"),
        ("pooled folds", "_pooled", "mean"),
        ("sd of seeds", "_pooled", "sd"),
    ):
        values = [summary.get(f"{name}{suffix}", {}).get(key) for name in names]
        if any(value is not None for value in values):
            cells = [
                "" if value is None else dimensions.told(name, value)
                for name, value in zip(names, values, strict=True)
            ]
            lines.append([title, "", "", "", *cells])
    text = in_columns(lines)
    pooled = {"": predictions_of(runs)} if "labels" in runs[0] else {}
    pooled |= {f" of {name}": own for name, own in numbers_of(runs).items()}
    for name, own in pooled.items():
        if own is not None and (bounds := interval(own)):
            low, high = (dimensions.told(own.metric, bound) for bound in bounds)
            text += (
                f"\n{own.metric}{name} of the pooled folds, 95 % interval over "
                f"{len(set(own.speakers))} speakers drawn again: {low} to {high}"
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
    """Percentile interval of the pooled UA, or CCC, the mean over seeds, speakers drawn again.

    None for fewer than FEWEST speakers, of which there are too few different draws.
    """
    if len(set(predictions.speakers)) < FEWEST:
        return None
    draws = predictions.draws().mean(axis=0)
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(one: Predictions, other: Predictions) -> dict:
    """Two experiments on the same utterances: the difference of their UA, and whether it is chance.

    Of numbers it is that of their CCC, without McNemar's test, and "CCC" is in the place of "UA".
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
    draws = [side.draws(one.speakers).mean(axis=0) for side in (one, other)]
    gain = draws[1] - draws[0]
    gain = gain[~np.isnan(gain)]
    low, high = np.quantile(gain, [0.025, 0.975])
    beyond = min((gain <= 0).sum(), (gain >= 0).sum())
    sides = (one, other)
    means = [float(np.mean([side.score(row) for row in side.answers])) for side in sides]
    pairs = list(zip(one.answers, other.answers, strict=False)) if one.labels else []
    return {
        one.metric: means,
        "difference": means[1] - means[0],
        "low": float(low),
        "high": float(high),
        "p": min(1.0, 2 * float(beyond + 1) / (len(gain) + 1)),
        "mcnemar": [metrics.mcnemar(one.targets, *pair) for pair in pairs],
        "utterances": len(one.ids),
        "speakers": len(set(one.speakers)),
    }
