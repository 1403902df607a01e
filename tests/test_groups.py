"""Scores of each gender, speaker or corpus."""

import pytest

from speechbrain_ser.results import groups, metrics

LABELS = ["a", "b"]
TARGETS = [0, 0, 1, 1, 0, 1, 0]
ANSWERS = [0, 1, 1, 1, 0, 0, 1]
NAMES = ["F", "F", "F", "M", "M", "M", ""]


def test_each_group_is_scored_alone():
    own = groups.scores(TARGETS, ANSWERS, NAMES, LABELS)
    assert list(own) == ["F", "M"]
    assert own["F"]["recall"] == {"a": 50.0, "b": 100.0} and own["F"]["UA"] == 75.0
    assert own["M"]["recall"] == {"a": 100.0, "b": 50.0} and own["M"]["utterances"] == 3
    assert own["F"]["confusion"] == [[1, 1], [0, 1]]
    assert own["F"]["WA"] == metrics.score([0, 0, 1], [0, 1, 1], LABELS)["WA"]


def test_a_class_that_a_group_lacks_is_not_averaged():
    own = groups.scores([0, 0, 1], [0, 1, 1], ["x", "x", "y"], LABELS)
    assert own["x"]["UA"] == 50.0 and own["y"]["UA"] == 100.0


def test_spread():
    own = {name: {"UA": value} for name, value in (("s1", 50.0), ("s2", 80.0), ("s3", 80.0))}
    said = groups.spread(own)
    assert said["worst"] == ["s1", 50.0] and said["best"] == ["s2", 80.0]
    assert said["mean"] == 70.0 and said["sd"] == pytest.approx(17.3205, abs=1e-4)
    assert groups.spread({"s1": {"UA": 50.0}}) is None
