"""Temperature and calibration error, on answers whose calibration is known."""

import numpy as np
import pytest
import torch

from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.results import calibration


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_the_temperature_undoes_a_factor(factor):
    """Targets are drawn by the probabilities of logits, which are then multiplied."""
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(20_000, 4))
    targets = np.array([draw.choice(4, p=row) for row in softmax(logits)])
    found = calibration.temperature(softmax(factor * logits), targets)
    assert found == pytest.approx(factor, rel=0.04)
    cooled = calibration.cooled(softmax(factor * logits), found)
    np.testing.assert_allclose(cooled, softmax(factor * logits / found), atol=1e-9)
    assert calibration.expected_error(cooled, targets) < 0.02


def test_the_calibration_error_by_hand():
    """Of 0.9 half are right, of 0.6 all: 0.4 of four, 0.4 of two utterances."""
    probs = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2)
    assert calibration.expected_error(probs, np.array([0, 0, 1, 1, 1, 1])) == pytest.approx(0.4)


def test_a_head_s_temperature_is_for_answers_alone():
    head = LinearHead(3, "ab", temperature=2.0)
    embedding = torch.randn(5, 3)
    plain = embedding @ head.weight.T + head.bias
    torch.testing.assert_close(head(embedding), plain)
    torch.testing.assert_close(head.eval()(embedding), plain / 2)
