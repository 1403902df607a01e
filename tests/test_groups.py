"""Scores of each gender, speaker or corpus."""

import json
import random
import statistics

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


def drawn(size=240, speakers=6, seed=0):
    """Answers of which women's are right more often; speakers 0, 2, 4 are women."""
    draw = random.Random(seed)
    targets = [draw.randrange(3) for _ in range(size)]
    who = [draw.randrange(speakers) for _ in range(size)]
    answers = [
        t if draw.random() < (0.6, 0.3)[s % 2] else 2 - t for t, s in zip(targets, who, strict=True)
    ]
    entries = [
        {"gender": "FM"[s % 2], "speaker": f"s{s}", "language": ("de", "en")[s > 2]} for s in who
    ]
    return targets, answers, entries


def recall_of(rows) -> float:
    """UA of [(target, answer)] by loops."""
    classes = {target for target, _ in rows}
    of = [[answer == k for target, answer in rows if target == k] for k in classes]
    return 100 * statistics.mean(sum(own) / len(own) for own in of)


def test_fairness_by_loops():
    targets, answers, entries = drawn()
    found = groups.fairness(targets, answers, entries, ["a", "b", "c"])

    def of(field, value):
        rows = zip(targets, answers, entries, strict=True)
        return recall_of([(t, a) for t, a, entry in rows if entry[field] == value])

    assert set(found) == {"gender", "gap", "language", "speaker"}
    for field, values in (("gender", "FM"), ("language", ("de", "en"))):
        assert found[field] == pytest.approx({value: of(field, value) for value in values})
    speakers = [of("speaker", f"s{number}") for number in range(6)]
    assert found["speaker"] == pytest.approx(
        {
            "worst": min(speakers),
            "best": max(speakers),
            "mean": statistics.mean(speakers),
            "sd": statistics.stdev(speakers),
        }
    )
    gap = found["gap"]
    assert gap["of"] == ["F", "M"] and gap["speakers"] == [3, 3]
    assert gap["UA"] == pytest.approx(of("gender", "F") - of("gender", "M"))
    assert gap["interval"][0] < gap["UA"] < gap["interval"][1]
    assert json.loads(json.dumps(found)) == found
    assert not any(f"s{number}" in json.dumps(found) for number in range(6))  # nobody is named


def test_the_gap_s_interval_draws_each_gender_s_speakers_among_themselves():
    targets, answers, entries = drawn(speakers=8, seed=3)
    gap = groups.fairness(targets, answers, entries, ["a", "b", "c"])["gap"]
    draw, differences = random.Random(9), []
    own = {f"s{number}": [] for number in range(8)}
    for target, answer, entry in zip(targets, answers, entries, strict=True):
        own[entry["speaker"]].append((target, answer))
    for _ in range(2000):
        sides = [
            recall_of([row for s in draw.choices(range(first, 8, 2), k=4) for row in own[f"s{s}"]])
            for first in (0, 1)
        ]
        differences.append(sides[0] - sides[1])
    ends = statistics.quantiles(differences, n=40)
    assert gap["interval"] == pytest.approx([ends[0], ends[-1]], abs=2)
    again = groups.fairness(targets, answers, entries, ["a", "b", "c"])["gap"]
    assert again == gap


def test_what_is_not_known_twice_is_not_compared():
    targets, answers, entries = drawn()
    women = [{**entry, "gender": "F", "language": ""} for entry in entries]
    assert set(groups.fairness(targets, answers, women, ["a", "b", "c"])) == {"speaker"}
    nobody = [{**entry, "speaker": ""} for entry in entries]
    found = groups.fairness(targets, answers, nobody, ["a", "b", "c"])
    assert "speaker" not in found and found["gap"]["interval"] is None
    alone = [{**e, "speaker": "x" if e["gender"] == "F" else e["speaker"]} for e in entries]
    found = groups.fairness(targets, answers, alone, ["a", "b", "c"])
    assert found["gap"]["interval"] is None and found["gap"]["speakers"] == [1, 3]
    assert groups.fairness([0], [0], [{"wav": "x"}], ["a"]) == {}


def test_a_class_that_one_gender_lacks_is_no_part_of_the_gap():
    entries = [{"gender": gender} for gender in "FFFMM"]
    found = groups.fairness([0, 1, 2, 0, 1], [0, 1, 0, 0, 0], entries, ["a", "b", "c"])
    assert found["gender"] == pytest.approx({"F": 200 / 3, "M": 50})
    assert found["gap"]["UA"] == pytest.approx(100 - 50)
    only = groups.fairness([0, 1], [0, 1], entries[2:4], ["a", "b"])
    assert "gap" not in only and only["gender"] == {"F": 100, "M": 100}


def test_what_people_read():
    gap = {"of": ["F", "M"], "UA": 4.0, "speakers": [3, 2], "interval": [-1.5, 9.25]}
    found = {"gender": {"F": 62.0, "M": 58.0}, "gap": gap}
    found["speaker"] = {"worst": 50.0, "best": 70.0, "mean": 60.0, "sd": 8.25}
    assert groups.told(found) == [
        "UA by gender: F 62.00, M 58.00",
        "UA of F above that of M: +4.00 (95 % over 3 and 2 speakers -1.50 to +9.25)",
        "UA by speaker: 50.00 to 70.00, mean 60.00, sd 8.25",
    ]
    gap["interval"] = None
    assert "(too few speakers for an interval)" in groups.told(found)[1]
    assert groups.told({}) == []
