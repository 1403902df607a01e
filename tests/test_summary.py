"""Means over folds and seeds, intervals, comparisons, from runs made by hand; and their pages."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, ser
from sklearn.metrics import balanced_accuracy_score

from speechbrain_ser.campaign import headlines, rows
from speechbrain_ser.commands import summarize
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import metrics, summary

LABELS = ["a", "b"]


def made(root: Path, fold: int, seed: int, rows: list[tuple[str, str, str]], complete=True) -> Path:
    """A run's folder: rows of speaker, target, answer."""
    folder = root / f"fold{fold}/{seed}"
    folder.mkdir(parents=True)
    numbers = [[LABELS.index(row[column]) for row in rows] for column in (1, 2)]
    results = metrics.score(*numbers, LABELS)
    results |= {"corpus": "ravdess", "fold": fold, "seed": seed, "commit": f"c{seed}" * 5}
    results |= {"seconds": 60.0, "epochs": 3, "UA_oracle": 88.0, "protocol": "honest"}
    (folder / "results.json").write_text(json.dumps(results))
    ids = [f"u{fold}-{number}" for number in range(len(rows))]
    manifest = {utt_id: {"speaker": row[0]} for utt_id, row in zip(ids, rows, strict=True)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with open(folder / "predictions.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "target", "prediction"])
        writer.writerows([utt_id, *row[1:]] for utt_id, row in zip(ids, rows, strict=True))
    if complete:
        (folder / ".complete").touch()
    return folder


def turns(speakers: str, targets: str, answers: str) -> list[tuple[str, str, str]]:
    return list(zip(speakers, targets, answers, strict=True))


RUNS = [  # fold, seed, rows, complete; recalls of seed 1: 75 100, then 50 50, of seed 2 all 100
    (1, 1, turns("ppppqqqq", "aaaabbbb", "aaabbbbb"), True),
    (2, 1, turns("rrss", "aabb", "abab"), True),
    (1, 2, turns("ppppqqqq", "aaaabbbb", "aaaabbbb"), True),
    (2, 2, turns("rrss", "aabb", "aabb"), True),
    (3, 2, turns("tt", "ab", "ba"), False),
]


@pytest.fixture
def experiment(tmp_path) -> Path:
    for fold, seed, own, complete in RUNS:
        made(tmp_path / "emotion_ravdess", fold, seed, own, complete)
    return tmp_path / "emotion_ravdess"


def test_over_folds_and_seeds(experiment):
    runs = summary.runs_of(experiment)
    assert [(run["seed"], run["fold"]) for run in runs] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert summary.runs_of(experiment, "iemocap") == []
    over = summary.over_runs(runs)
    assert over["UA"] == {
        "mean": pytest.approx((68.75 + 100) / 2),
        "sd": pytest.approx(np.std([68.75, 100], ddof=1)),
    }
    assert over["UA_pooled"]["mean"] == pytest.approx((75 + 100) / 2)  # seed 1: 4/6 and 5/6
    assert over["WA_pooled"]["mean"] == pytest.approx((100 * 9 / 12 + 100) / 2)
    assert over["UA_oracle"] == {"mean": 88.0, "sd": 0.0}
    with pytest.raises(InputError, match="seed 1: 1; seed 2: 1 2.: run the missing ones first"):
        summary.over_runs([runs[0], *runs[2:]])
    text = summary.table(runs)
    assert [line.split()[0] for line in text.splitlines()[:5]] == ["fold", "1", "2", "1", "2"]
    assert "84.38" in text and "4 speakers drawn again" in text


def test_pooled_predictions_and_their_interval(experiment):
    runs = summary.runs_of(experiment)
    found = summary.predictions_of(runs)
    assert found.ids == [*(f"u1-{i}" for i in range(8)), *(f"u2-{i}" for i in range(4))]
    assert "".join(found.speakers) == "ppppqqqqrrss"
    assert found.answers.shape == (2, 12)
    assert (found.answers[1] == found.targets).all()
    # the same bootstrap, drawn and scored by scikit-learn
    draws = np.random.default_rng(0).multinomial(4, [0.25] * 4, size=1000)
    expected = []
    for drawn in draws:
        index = [
            i
            for k, count in enumerate(drawn)
            for _ in range(count)
            for i in np.flatnonzero(found.speakers == "pqrs"[k])
        ]
        own = [balanced_accuracy_score(found.targets[index], a[index]) for a in found.answers]
        expected.append(100 * np.mean(own))
    low, high = np.quantile(expected, [0.025, 0.975])
    assert summary.interval(found) == pytest.approx((low, high))
    few = summary.predictions_of([run for run in runs if run["fold"] == 1])
    assert summary.interval(few) is None  # 2 speakers


def test_folds_that_test_an_utterance_twice_are_refused(experiment):
    runs = summary.runs_of(experiment)
    with pytest.raises(InputError, match="u1-0 is tested by two folds"):
        summary.predictions_of([runs[0], {**runs[0], "fold": 2}])
    with pytest.raises(InputError, match="its seeds tested different utterances"):
        summary.predictions_of([runs[0], runs[3]])
    assert summary.predictions_of([runs[0], {**runs[1], "labels": ["c"]}]) is None


def test_two_rows_are_compared_on_the_same_draws(tmp_path):
    chance = np.random.default_rng(3)
    speakers = "".join(letter * 10 for letter in "abcdefgh")
    targets = "".join("ab"[i % 2] for i in range(80))
    flip = {"a": "b", "b": "a"}
    worse = "".join(flip[t] if chance.random() < 0.5 else t for t in targets)
    better = "".join(flip[t] if chance.random() < 0.1 else t for t in targets)
    one, other = (
        summary.predictions_of(
            summary.runs_in([made(tmp_path / name, 1, 1, turns(speakers, targets, answers))])
        )
        for name, answers in (("one", worse), ("other", better))
    )
    found = summary.compare(one, other)
    wrong = [
        sum(a != t for a, t in zip(answers, targets, strict=True)) for answers in (worse, better)
    ]
    expected = [
        balanced_accuracy_score(list(targets), list(answers)) for answers in (worse, better)
    ]
    assert found["UA"] == pytest.approx([100 * value for value in expected])
    assert found["difference"] == pytest.approx(found["UA"][1] - found["UA"][0])
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["p"] < 0.01 and found["mcnemar"][0] < 0.01 and wrong[0] > wrong[1]
    assert (found["utterances"], found["speakers"]) == (80, 8)
    same = summary.compare(one, one)
    assert (same["difference"], same["p"], same["mcnemar"]) == (0, 1, [1])
    back = summary.compare(other, one)
    assert (back["low"], back["high"]) == pytest.approx((-found["high"], -found["low"]))


def test_different_test_utterances_are_not_compared(experiment, tmp_path):
    whole = summary.predictions_of(summary.runs_of(experiment))
    part = summary.predictions_of(summary.runs_of(experiment)[:1])
    with pytest.raises(InputError, match="12 and 8 utterances, 8 in common"):
        summary.compare(whole, part)


def test_a_row_is_filled_from_its_complete_runs(experiment, tmp_path):
    command = ["recipes/IEMOCAP/train_emotion.py", "hparams/emotion.yaml"]
    header = "script hparams overrides corpus paper_UA WA UA UA_sd F1 WA_pooled UA_pooled UA_low "
    header += "UA_high folds seeds commit UA_oracle WER"
    path = tmp_path / "RESULTS.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split())
        writer.writerow([*command, "--corpus ravdess", "ravdess", "80", *[""] * 13])
        writer.writerow([*command, "--variant _other", "ravdess", "80", *[""] * 13])
    for _ in range(2):  # the second time nothing changes
        summarize.collect(path, tmp_path)
        filled, other = rows.read(path)
        assert not any(list(other.values())[5:])
        assert (filled["UA"], filled["UA_sd"]) == ("84.38", "22.10")
        assert (filled["UA_pooled"], filled["WA_pooled"]) == ("87.50", "87.50")
        assert (filled["folds"], filled["seeds"], filled["WER"]) == ("1 2", "1 2", "")
        assert filled["commit"] == "c1c1c1c1c1 c2c2c2c2c2"
        interval = summary.interval(summary.predictions_of(summary.runs_of(experiment)))
        assert (filled["UA_low"], filled["UA_high"]) == tuple(f"{b:.2f}" for b in interval)
    shown = summarize.with_computed(filled)
    assert (shown["difference"], shown["commit"]) == ("+4.38", "c1c1c1c c2c2c2c")
    assert summarize.with_computed(other)["difference"] == ""


def test_minutes_by_hand():
    run = {"seconds": 840.0, "epochs": 14, "best_epoch": 9, "megabytes": 380.0}
    told = {name: value(run) for name, value in summarize.TOLD.items()}
    whole = {"minutes": 14.0, "minutes_100": 1.0, "minutes_checkpoint": 9.0, "gigabytes": 0.38}
    assert told == pytest.approx(whole)


def lines_of(page: str) -> list[str]:
    """The rows of a first page's table, which is up to date."""
    text = (ROOT / page).read_text()
    assert summarize.with_table(page, text) == text
    mark = summarize.BEGIN.format(summarize.FIRST_PAGES[page][0])
    table = text.split(mark)[1].split(summarize.END)[0]
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


def test_the_first_pages_show_the_rows(capsys):
    shown = [row for row in rows.named().values() if row["headline"] and row["UA"]]
    lines = lines_of("docs/results.md")
    assert 0 < len(lines) == len(shown) <= 10
    for line, row in zip(lines, shown, strict=True):
        assert line.startswith(f"| {row['headline']} | {row['corpus']} |") and row["UA"] in line
    papers = ["Gao 2023", "Gavali & Verma", "Park 2023", "Pepino 2021", "Wang 2023"]
    lines = lines_of("README.md")
    assert sorted(line.split(" | ")[0].removeprefix("| ") for line in lines) == papers
    page = (ROOT / "README.md").read_text()
    for line, (name, (*_, row, _)) in zip(lines, headlines.ideas().items(), strict=True):
        assert f"\nser cross-validate --row {name}\n" in page
        without = rows.find(row["against"])[1]
        assert f"| {without['UA_pooled']} | {row['UA_pooled']} | {row['gain']} (" in line
    ser("summarize", "--check")
    assert capsys.readouterr().out.count("up to date") == 2 + len(rows.files())
    with pytest.raises(InputError, match="README.md has no <!-- results: ideas -->"):
        summarize.with_table("README.md", "no marks")


def test_every_idea_is_a_row_held_against_one_without_it():
    for name in headlines.IDEAS:
        assert rows.find(name)[1]["against"], name


def test_rows_are_compared_by_name(tmp_path, capsys, monkeypatch):
    names = ["park2023/T3/emotion-arcface-k1", "park2023/T3/emotion-arcface-k2"]
    for folder, answers in (("emotion_k1", "aaabbbba"), ("emotion_k2", "aaaabbbb")):
        made(tmp_path / folder, 1, 1, turns("ppppqqqq", "aaaabbbb", answers))
    for results in tmp_path.glob("*/*/*/results.json"):
        results.write_text(results.read_text().replace("ravdess", "iemocap"))
    ser("summarize", "--compare", *names, "--results", tmp_path)
    said = capsys.readouterr().out
    assert f"{names[1]}: UA 100.00" in said and "difference +25.00" in said and "McNemar" in said
    assert (
        ser("summarize", "--compare", names[0], "T3/emotion-arcface-k3", "--results", tmp_path) == 2
    )
    assert "no complete run of park2023/T3/emotion-arcface-k3" in capsys.readouterr().err
