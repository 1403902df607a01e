"""ser results: a line for each experiment."""

import os

import pytest
from conftest import ser
from test_summary import made, turns

RIGHT = turns("ppqq", "aabb", "aabb")
HALF = turns("ppqq", "aabb", "abab")


@pytest.fixture
def folder(tmp_path):
    """good and poor on the same folds; one in a folder of its own; one that is not complete."""
    for fold in (1, 2, 3):
        made(tmp_path / "good", fold, 1, RIGHT)
        made(tmp_path / "poor", fold, 1, HALF)
    made(tmp_path / "mini/one", 1, 1, RIGHT)
    made(tmp_path / "begun", 1, 1, RIGHT, complete=False)
    for age, name in enumerate(("good", "mini/one", "poor")):
        for path in (tmp_path / name).rglob("results.json"):
            os.utime(path, (1e9 - age, 1e9 - age))
    return tmp_path


def test_newest_first_and_the_best_of_a_kind_marked(folder, capsys):
    assert ser("results", folder) in (0, None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["*", "*", "poor"]
    assert lines[1].split()[1] == "good"
    assert lines[2].split()[1] == "mini/one"  # the only one of its folds
    assert "begun" not in "".join(lines)
    head = lines[0].split()
    assert head[:6] == ["experiment", "corpus", "protocol", "folds", "seeds", "WA"]
    good = lines[1].split()[1:]
    assert good[:7] == ["good", "ravdess", "honest", "1-3", "1", "100.00", "100.00"]


def test_order_by_score(folder, capsys):
    ser("results", folder, "--by", "UA")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split()[0] == "poor"


def test_another_corpus_and_nothing_at_all(folder, tmp_path, capsys):
    assert ser("results", folder, "--corpus", "emodb") == 2
    assert "no run is on emodb: use one of ravdess" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert ser("results", tmp_path / "empty") == 2
    assert "holds no complete run: ser train mine.csv" in capsys.readouterr().err


def test_seeds_with_different_folds_are_told_and_not_averaged(folder, capsys):
    made(folder / "good", 1, 2, RIGHT)
    ser("results", folder)
    text = capsys.readouterr().out
    assert "good: the seeds have different folds (seed 1: 1 2 3; seed 2: 1)" in text
    assert "100.00" in text  # of the others
