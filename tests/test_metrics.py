"""Metrics against scikit-learn, hand cases and published confusion counts."""

import json
import statistics
import warnings

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    recall_score,
)

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import metrics

LABELS = ["angry", "happy", "sad", "neutral"]


def draw(seed, targets=(0, 1, 2, 3), predictions=(0, 1, 2, 3), size=60):
    generator = np.random.default_rng(seed)
    drawn = generator.choice(targets, size), generator.choice(predictions, size)
    return drawn[0].tolist(), drawn[1].tolist()


@pytest.mark.parametrize(
    ("targets", "predictions"),
    [
        ((0, 1, 2, 3), (0, 1, 2, 3)),
        ((0, 1, 3), (0, 1, 2, 3)),  # sad is predicted but never the target
        ((0, 1, 2, 3), (0, 2, 3)),  # happy is never predicted
        ((0, 1), (1, 0)),  # sad and neutral are in neither
        ((2,), (0, 2)),
    ],
)
def test_score_equals_scikit_learn(targets, predictions):
    for seed in range(5):
        y, p = draw(seed, targets, predictions)
        scored = metrics.score(y, p, LABELS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of classes without a target
            assert scored["UA"] == pytest.approx(100 * balanced_accuracy_score(y, p))
        assert scored["WA"] == pytest.approx(100 * accuracy_score(y, p))
        assert scored["F1"] == pytest.approx(100 * f1_score(y, p, average="macro"))
        assert scored["confusion"] == confusion_matrix(y, p, labels=range(4)).tolist()
        recalls = recall_score(y, p, labels=range(4), average=None, zero_division=0)
        for number, label in enumerate(LABELS):
            if number in y:
                assert scored["recall"][label] == pytest.approx(100 * recalls[number])
            else:
                assert scored["recall"][label] is None


def test_score_by_hand():
    # angry 2 of 2; happy 1 of 4, the others taken for angry, angry and neutral; sad 0 of 1
    scored = metrics.score([0, 0, 1, 1, 1, 1, 2], [0, 0, 1, 0, 0, 3, 0], LABELS)
    assert scored["confusion"] == [[2, 0, 0, 0], [2, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert scored["recall"] == {"angry": 100, "happy": 25, "sad": 0, "neutral": None}
    assert scored["WA"] == pytest.approx(300 / 7)
    assert scored["UA"] == pytest.approx(125 / 3)
    assert scored["F1"] == pytest.approx((400 / 7 + 200 / 5 + 0 + 0) / 4)
    assert json.loads(json.dumps(scored)) == scored
    assert [type(scored[key]) for key in metrics.METRICS] == [float] * 3


@pytest.mark.parametrize(
    ("correct", "accuracy", "recall"),
    [  # Gavali & Verma on RAVDESS: XLSR-53, the vote of five, the vote of three
        ((34, 36, 38, 37, 37, 15, 33, 37), 92.71, 91.84),
        ((37, 38, 38, 38, 37, 18, 35, 38), 96.88, 96.74),
        ((37, 39, 38, 37, 37, 17, 35, 38), 96.53, 96.08),
    ],
)
def test_published_counts_give_the_published_scores(correct, accuracy, recall):
    support = (38, 39, 38, 39, 38, 19, 38, 39)
    confusion = np.diag(correct)
    for row, (right, size) in enumerate(zip(correct, support, strict=True)):
        confusion[row, (row + 1) % 8] = size - right
    scored = metrics.score_confusion(confusion, list("abcdefgh"))
    assert (round(scored["WA"], 2), round(scored["UA"], 2)) == (accuracy, recall)


def test_over_folds_gives_means_and_pooled_scores():
    drawn = [draw(seed, targets=range(2 + seed), size=20 * (seed + 1)) for seed in range(3)]
    folds = [metrics.score(y, p, LABELS) for y, p in drawn]
    result = metrics.over_folds(folds)
    everything = metrics.score(
        [y for fold, _ in drawn for y in fold], [p for _, fold in drawn for p in fold], LABELS
    )
    assert set(result) == {"WA", "UA", "F1", "WA_pooled", "UA_pooled", "F1_pooled"}
    for key in metrics.METRICS:
        assert result[key] == pytest.approx(statistics.mean(fold[key] for fold in folds))
        assert result[f"{key}_pooled"] == pytest.approx(everything[key])
        assert abs(result[key] - result[f"{key}_pooled"]) > 0.01


def test_over_seeds_gives_mean_and_sample_sd():
    results = [{"WA": 70.0, "UA_pooled": 61.5}, {"WA": 72.0, "UA_pooled": 60.0}]
    results.append({"WA": 71.5, "UA_pooled": 63.0})
    summary = metrics.over_seeds(results)
    for key in ("WA", "UA_pooled"):
        values = [result[key] for result in results]
        assert summary[key]["mean"] == pytest.approx(statistics.mean(values))
        assert summary[key]["sd"] == pytest.approx(statistics.stdev(values))
    scored = metrics.score(*draw(0), LABELS)
    assert metrics.over_seeds([scored]) == {
        key: {"mean": scored[key], "sd": None} for key in metrics.METRICS
    }


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_bootstrap_interval_is_that_of_drawn_utterances(metric):
    y, p = draw(3, targets=(0, 0, 0, 1, 2, 3), size=200)
    p = [target if i % 2 else other for i, (target, other) in enumerate(zip(y, p, strict=True))]
    low, high = metrics.bootstrap_interval(y, p, LABELS, metric, level=0.9, draws=2000)
    generator = np.random.default_rng(99)
    values = []
    for _ in range(2000):
        again = generator.integers(0, 200, 200)
        scored = metrics.score([y[i] for i in again], [p[i] for i in again], LABELS)
        values.append(scored[metric])
    assert (low, high) == pytest.approx(np.quantile(values, [0.05, 0.95]), abs=0.7)
    assert low < metrics.score(y, p, LABELS)[metric] < high


def test_bootstrap_interval_follows_seed_and_level():
    y, p = draw(1)
    interval = metrics.bootstrap_interval(y, p, LABELS, seed=5)
    assert interval == metrics.bootstrap_interval(y, p, LABELS, seed=5)
    assert interval != metrics.bootstrap_interval(y, p, LABELS, seed=6)
    narrow = metrics.bootstrap_interval(y, p, LABELS, level=0.5, seed=5)
    assert interval[0] < narrow[0] < narrow[1] < interval[1]
    assert metrics.bootstrap_interval(y, y, LABELS) == (100, 100)


@pytest.mark.parametrize("shift", [0, 1e6])
def test_concordance_by_lin_1989_s_two_factors(shift):
    """Pearson's correlation times the bias 2 / (v + 1 / v + u^2), with variances over n."""
    generator = np.random.default_rng(2)
    for size in (2, 5, 400):
        targets = shift + generator.normal(size=size)
        predictions = shift + 0.3 + 0.5 * (targets - shift) + generator.normal(size=size)
        sds = [statistics.pstdev(own) for own in (targets.tolist(), predictions.tolist())]
        v = sds[0] / sds[1]
        u = (statistics.mean(targets) - statistics.mean(predictions)) / (sds[0] * sds[1]) ** 0.5
        expected = np.corrcoef(targets, predictions)[0, 1] * 2 / (v + 1 / v + u**2)
        assert metrics.concordance(targets, predictions) == pytest.approx(expected, abs=1e-8)


def test_concordance_by_hand():
    targets = [1, 2, 3, 4, 5]  # variance 2
    assert metrics.concordance(targets, targets) == 1
    assert metrics.concordance(targets, [2, 3, 4, 5, 6]) == pytest.approx(2 * 2 / (2 + 2 + 1))
    assert metrics.concordance(targets, [2, 4, 6, 8, 10]) == pytest.approx(2 * 4 / (2 + 8 + 9))
    assert metrics.concordance(targets, [5, 4, 3, 2, 1]) == -1
    assert metrics.concordance(targets, [0.1] * 5) == metrics.concordance([0.1] * 5, targets) == 0
    assert metrics.concordance([0.3] * 3, [0.1] * 3) == 0
    assert np.isnan(metrics.concordance([0.1] * 3, [0.1] * 3))


def test_the_answer_given_most():
    scored = metrics.score([0, 0, 0, 1, 2], [1, 1, 0, 1, 1], LABELS)
    most = metrics.most_answered(scored)
    assert most == {"label": "happy", "answers": 80.0, "targets": 20.0}
    assert json.loads(json.dumps(most)) == most


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: metrics.score([], [], LABELS), "no utterance"),
        (lambda: metrics.score([0, 1], [0], LABELS), "do not pair"),
        (lambda: metrics.score([0, 4], [0, 1], LABELS), "targets run from 0 to 4: 4 labels"),
        (lambda: metrics.score([0, 1], [0, -1], LABELS), "predictions run from -1 to 0"),
        (lambda: metrics.score([0.5], [0], LABELS), "not a class number"),
        (lambda: metrics.score_confusion([[1, 0]], LABELS), "4 labels"),
        (lambda: metrics.score_confusion(np.zeros((4, 4)), LABELS), "no utterance"),
        (lambda: metrics.concordance([], []), "no utterance"),
        (lambda: metrics.concordance([1.0], [1.0, 2.0]), "do not pair"),
        (lambda: metrics.concordance([1, 2], [1, float("nan")]), "a prediction is NaN"),
        (lambda: metrics.over_folds([]), "no fold"),
        (lambda: metrics.over_seeds([]), "no seed"),
        (lambda: metrics.over_seeds([{"WA": 1.0}, {"UA": 1.0}]), "different metrics"),
        (lambda: metrics.bootstrap_interval([0], [0], LABELS, metric="AUC"), "'AUC': use WA"),
        (lambda: metrics.bootstrap_interval([0], [0], LABELS, level=95), "level is 95"),
        (
            lambda: metrics.over_folds(
                [metrics.score([0], [0], LABELS), metrics.score([0], [0], LABELS[::-1])]
            ),
            "different labels",
        ),
    ],
)
def test_mistakes_are_told(call, said):
    with pytest.raises(InputError, match=said):
        call()
