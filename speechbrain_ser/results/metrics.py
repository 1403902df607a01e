"""Metrics of classification, all from the confusion matrix; percentages, rounded only for display.

WA is the accuracy over utterances, UA the mean of the classes' recalls, F1 the mean of the
classes' F1. Small folds lack classes. As in scikit-learn, UA averages the classes that have a
target (balanced_accuracy_score), and F1 those that have a target or a prediction (f1_score with
average="macro" and its default labels).
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from speechbrain_ser.errors import InputError

METRICS = ("WA", "UA", "F1")


def score(targets: ArrayLike, predictions: ArrayLike, labels: Sequence[str]) -> dict:
    """Class numbers of each utterance -> WA, UA, F1 and recalls in percent, and the confusion.

    Returns {"WA", "UA", "F1": float, "recall": {label: float, or None without a target},
    "confusion": [[int]] with the target in the row and the prediction in the column, "labels"}.
    """
    return score_confusion(_confusion(targets, predictions, labels), labels)


def score_confusion(confusion: ArrayLike, labels: Sequence[str]) -> dict:
    """confusion [target, prediction] -> the same dict as `score`."""
    counts = np.asarray(confusion, dtype=np.int64)  # [class, class]
    if counts.shape != (len(labels), len(labels)):
        raise InputError(f"the confusion is {counts.shape}, but there are {len(labels)} labels")
    if not counts.any():
        raise InputError("there is no utterance to score")
    correct, recall, f1 = _per_class(counts)
    return {
        "WA": float(100 * correct.sum() / counts.sum()),
        "UA": float(np.nanmean(recall)),
        "F1": float(np.nanmean(f1)),
        "recall": {
            label: None if np.isnan(value) else float(value)
            for label, value in zip(labels, recall, strict=True)
        },
        "confusion": counts.tolist(),
        "labels": list(labels),
    }


def over_folds(scores: Sequence[dict]) -> dict[str, float]:
    """Scores of the folds -> {"WA", "UA", "F1": mean of the folds, "WA_pooled", ...: of all
    utterances together}.

    Papers use either, often without saying so. Raises InputError if the labels differ.
    """
    if not scores:
        raise InputError("there is no fold to average")
    labels = scores[0]["labels"]
    for fold in scores:
        if fold["labels"] != labels:
            raise InputError(
                f"the folds have different labels, {', '.join(labels)} and "
                f"{', '.join(fold['labels'])}: average folds of one experiment"
            )
    pooled = score_confusion(np.sum([fold["confusion"] for fold in scores], axis=0), labels)
    means = {name: float(np.mean([fold[name] for fold in scores])) for name in METRICS}
    return means | {f"{name}_pooled": pooled[name] for name in METRICS}


def over_seeds(results: Sequence[dict]) -> dict[str, dict[str, float | None]]:
    """Dicts of `over_folds` or `score`, one per seed -> {key: {"mean", "sd"}} of each number.

    "sd" is the sample standard deviation (n - 1), None for a single seed.
    """
    if not results:
        raise InputError("there is no seed to average")
    # the keys that hold one number; recalls, confusion and labels do not
    keys = [[k for k, v in result.items() if isinstance(v, Real)] for result in results]
    if any(set(others) != set(keys[0]) for others in keys):
        raise InputError("the seeds have different metrics: average results of one experiment")
    summary = {}
    for key in keys[0]:
        values = [result[key] for result in results]
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        summary[key] = {"mean": float(np.mean(values)), "sd": sd}
    return summary


def most_answered(scores: Mapping) -> dict:
    """Of a dict of `score`: {"label": the answer given most often, "answers", "targets": percent}.

    "answers" is the share of utterances that are answered so, "targets" of those that are so.
    """
    counts = np.asarray(scores["confusion"])  # [target, prediction]
    number = int(counts.sum(axis=0).argmax())
    return {
        "label": scores["labels"][number],
        "answers": float(100 * counts[:, number].sum() / counts.sum()),
        "targets": float(100 * counts[number].sum() / counts.sum()),
    }


def concordance(targets: ArrayLike, predictions: ArrayLike) -> float:
    """The concordance correlation coefficient of numbers, from -1 to 1 (Lin 1989).

    2 cov / (var + var' + (mean - mean')^2), with the variances of the utterances themselves (over
    n, as Lin prints them), in float64. It is 0 where either side is constant, and NaN, for it is
    undefined, where both are the same constant. Raises InputError for what is not finite.
    """
    own, other = np.asarray(targets, np.float64), np.asarray(predictions, np.float64)
    if own.shape != other.shape or own.ndim != 1:
        raise InputError(f"{own.shape} targets and {other.shape} predictions do not pair")
    if own.size == 0:
        raise InputError("there is no utterance to score")
    for name, numbers in (("target", own), ("prediction", other)):
        if not np.isfinite(numbers).all():
            raise InputError(f"a {name} is NaN or infinite: concordance needs numbers")
    constant = [numbers.min() == numbers.max() for numbers in (own, other)]
    if any(constant):  # told by the numbers: the variance of equal ones may be rounded, not 0
        return math.nan if all(constant) and own[0] == other[0] else 0.0
    covariance = ((own - own.mean()) * (other - other.mean())).mean()
    return float(2 * covariance / (own.var() + other.var() + (own.mean() - other.mean()) ** 2))


def bootstrap_interval(
    targets: ArrayLike,
    predictions: ArrayLike,
    labels: Sequence[str],
    metric: str = "UA",
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of WA, UA or F1 when the utterances are drawn again with replacement.

    It tells the chance of the test utterances only: other speakers and other seeds vary more.
    """
    if metric not in METRICS:
        raise InputError(f"metric is {metric!r}: use {', '.join(METRICS)}")
    if not 0 < level < 1:
        raise InputError(f"level is {level}: it must lie between 0 and 1")
    confusion = _confusion(targets, predictions, labels)
    # drawing utterances is drawing cells: what else an utterance is does not matter here
    cells = np.nonzero(confusion)
    total = int(confusion.sum())
    drawn = np.random.default_rng(seed).multinomial(total, confusion[cells] / total, size=draws)
    values = []
    for counts in drawn:
        again = np.zeros_like(confusion)
        again[cells] = counts
        correct, recall, f1 = _per_class(again)
        values.append(
            {"WA": 100 * correct.sum() / total, "UA": np.nanmean(recall), "F1": np.nanmean(f1)}[
                metric
            ]
        )
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_speakers(
    targets: ArrayLike,
    answers: ArrayLike,
    speakers: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """UA of each system when whole speakers are drawn again with replacement: [system, draw].

    answers [system, utterance]. The systems share the draws, so that their differences are paired;
    a draw without an utterance of some class averages the others.
    """
    wanted, answered = np.asarray(targets), np.asarray(answers)
    names, of = np.unique(np.asarray(speakers), return_inverse=True)
    classes = wanted.max() + 1
    correct = np.zeros((len(answered), len(names), classes))  # [system, speaker, class]
    support = np.zeros((len(names), classes))
    np.add.at(support, (of, wanted), 1)
    for system, own in enumerate(answered):
        np.add.at(correct[system], (of, wanted), own == wanted)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=draws
    )  # [draw, speaker]: how often each was drawn
    with np.errstate(invalid="ignore"):
        recall = 100 * (drawn @ correct) / (drawn @ support)  # [system, draw, class]
    return np.nanmean(recall, axis=2)


def mcnemar(targets: ArrayLike, one: ArrayLike, other: ArrayLike) -> float:
    """The two-sided exact p of McNemar's test: that two classifiers err equally often.

    It looks at the utterances that only one of them gets right.
    """
    wanted = np.asarray(targets)
    right, other_right = np.asarray(one) == wanted, np.asarray(other) == wanted
    only_one = int((right & ~other_right).sum())
    only_other = int((~right & other_right).sum())
    if only_one + only_other == 0:
        return 1.0
    return float(binomtest(only_one, only_one + only_other).pvalue)


def _confusion(targets: ArrayLike, predictions: ArrayLike, labels: Sequence[str]) -> np.ndarray:
    """[target, prediction] counts of utterances."""
    rows, columns = np.asarray(targets), np.asarray(predictions)  # [utterance]
    if rows.shape != columns.shape or rows.ndim != 1:
        raise InputError(f"{rows.shape} targets and {columns.shape} predictions do not pair")
    if rows.size == 0:
        raise InputError("there is no utterance to score")
    for name, numbers in (("target", rows), ("prediction", columns)):
        if not np.issubdtype(numbers.dtype, np.integer):
            raise InputError(f"a {name} is not a class number but {numbers.dtype}")
        if numbers.min() < 0 or numbers.max() >= len(labels):
            raise InputError(
                f"{name}s run from {numbers.min()} to {numbers.max()}: {len(labels)} labels are "
                f"numbered 0 to {len(labels) - 1}"
            )
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (rows, columns), 1)
    return confusion


def _per_class(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """counts [target, prediction] -> correct, recall and F1 in percent, all [class].

    NaN marks a recall without targets and an F1 without targets and predictions.
    """
    correct = counts.diagonal()
    support, predicted = counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return correct, 100 * correct / support, 200 * correct / (support + predicted)
