"""Temperature, calibration error and when to be unsure, on answers of which these are known."""

import math

import numpy as np
import pytest
import torch

from speechbrain_ser.errors import InputError
from speechbrain_ser.models.heads import CosineHead, DenseHead, LinearHead, TargetsHead
from speechbrain_ser.models.multitask import PooledHead
from speechbrain_ser.results import calibration


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_the_temperature_undoes_a_factor(factor):
    """Targets are drawn by the probabilities of logits, which are then multiplied."""
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(20_000, 4))
    targets = np.array([draw.choice(4, p=row) for row in softmax(logits)])
    found = calibration.temperature(factor * logits, targets)
    assert found == pytest.approx(factor, rel=0.04)
    cooled = calibration.cooled(factor * logits, found)
    np.testing.assert_allclose(cooled, softmax(factor * logits / found), atol=1e-9)
    assert calibration.expected_error(cooled, targets) < 0.02


def test_the_calibration_error_by_hand():
    """Of 0.9 half are right, of 0.6 all: 0.4 of four, 0.4 of two utterances."""
    probs = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2)
    assert calibration.expected_error(probs, np.array([0, 0, 1, 1, 1, 1])) == pytest.approx(0.4)


@pytest.mark.parametrize("kind", [LinearHead, DenseHead, CosineHead, PooledHead])
def test_a_head_s_temperature_is_for_probabilities_alone(kind):
    """In training and evaluation the head gives the same; the softmax is of it by temperature."""
    head = kind(3, ["a", "b"], temperature=2.0).eval()
    embedding = torch.randn(5, 3)
    logits = head(embedding)
    scale = getattr(head, "scale", 1.0)
    torch.testing.assert_close(head.probs(logits), (scale * logits / 2).softmax(dim=1))
    head.temperature = 1.0
    torch.testing.assert_close(head(embedding), logits)
    torch.testing.assert_close(head.probs(logits), (scale * logits).softmax(dim=1))


def test_numbers_beside_classes_have_no_temperature():
    targets = {"emotion": ["a", "b"], "valence": {"low": 1, "high": 5}}
    head = TargetsHead(3, targets, temperature=2.0).eval()
    outputs = head(torch.randn(5, 3))
    torch.testing.assert_close(head.probs(outputs), (outputs[:, :2] / 2).softmax(dim=1))
    warm = head.values(outputs)
    head.temperature = 1.0
    torch.testing.assert_close(head.values(outputs), warm)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "2", True])
def test_a_temperature_is_a_number_above_0(value):
    with pytest.raises(InputError, match="temperature is .*: give a number above 0"):
        LinearHead(3, ["a", "b"], temperature=value)


def test_a_few_answers_without_a_mistake_are_not_certain():
    """20 of 20 right: as if an answer of 22 were unknown, whatever the logits."""
    logits = np.tile([4.0, 0.0], (20, 1)) + np.random.default_rng(0).normal(0, 0.1, (20, 2))
    found = calibration.temperature(logits, np.zeros(20, int))
    assert calibration.cooled(logits, found).max(axis=1).mean() == pytest.approx(1 - 0.5 / 22, 0.01)
    assert calibration.temperature(logits, np.tile([0.75, 0.25], (20, 1))) > 3 * found


def test_the_likelihood_by_a_loop():
    probs = np.array([[0.9, 0.1], [0.4, 0.6], [1.0, 0.0]])
    expected = -(math.log(0.9) + math.log(0.6) + math.log(1e-12)) / 3
    assert calibration.likelihood(probs, np.array([0, 1, 1])) == pytest.approx(expected)
    shares = np.array([[1, 0], [0.5, 0.5], [1, 0]])
    expected = -(math.log(0.9) + (math.log(0.4) + math.log(0.6)) / 2) / 3
    assert calibration.likelihood(probs, shares) == pytest.approx(expected)


def threshold_by_a_loop(probs, targets, error):
    """The least of all confidences, as thresholds, at which errors are few enough."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    for limit in sorted({*confidence.tolist()}):
        answered = confidence >= limit
        if (~right)[answered].sum() <= error * answered.sum() + 1e-9:
            return answered
    return None


@pytest.mark.parametrize("error", [0.0, 0.1, 0.25, 0.6])
@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_by_a_loop(error, seed):
    draw = np.random.default_rng(seed)
    probs = softmax(draw.normal(size=(40, 3)) * 2).round(1 + seed % 2)  # some equally sure
    targets = np.where(draw.random(40) < 0.7, probs.argmax(axis=1), draw.integers(3, size=40))
    found = calibration.threshold(probs, targets, error)
    expected = threshold_by_a_loop(probs, targets, error)
    if expected is None:
        assert found is None
    else:
        np.testing.assert_array_equal(probs.max(axis=1) >= found, expected)
        assert found == 0 or not expected.all()


def test_a_threshold_that_is_never_or_always_reached():
    probs = np.array([[0.9, 0.1], [0.6, 0.4]])
    assert calibration.threshold(probs, np.array([1, 0]), 0.1) is None  # the surest is wrong
    assert calibration.threshold(probs, np.array([0, 0]), 0.1) == 0
    assert calibration.threshold(probs, np.array([0, 1]), 0.1) == pytest.approx(0.75)
    told = calibration.unsure(probs, np.array([0, 1]), 0.75)
    assert told == {"below": 0.75, "coverage": 50, "error": 0}
    assert calibration.unsure(probs, np.array([0, 1]), 0.95)["error"] is None


@pytest.mark.parametrize(("utterances", "count"), [(1, 1), (20, 1), (45, 2), (400, 10)])
def test_bins_are_equally_full_and_few_for_few(utterances, count):
    draw = np.random.default_rng(0)
    probs = softmax(draw.normal(size=(utterances, 3)))
    targets = draw.integers(3, size=utterances)
    found = calibration.bins(probs, targets)
    sizes = [size for size, _, _ in found]
    assert len(found) == count and sum(sizes) == utterances and max(sizes) - min(sizes) <= 1
    right = sum(size * accuracy for size, _, accuracy in found) / utterances
    assert right == pytest.approx(100 * (probs.argmax(axis=1) == targets).mean())
