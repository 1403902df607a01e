"""The table of networks tested on other corpora."""

import numpy as np
import pytest

from speechbrain_ser.results import metrics, transfer
from speechbrain_ser.results.summary import Predictions

LABELS = ["angry", "happy"]


@pytest.fixture
def heard():
    """Two corpora of two seeds: a of 6 speakers, b of 2, whose genders and languages are known."""
    draw = np.random.default_rng(3)
    manifest = {}
    for corpus, speakers, language in (("a", 6, "en"), ("b", 2, "pl")):
        for number in range(10 * speakers):
            manifest[f"{corpus}/{number:02d}"] = {
                "session": corpus,
                "speaker": f"{corpus}/s{number % speakers}",
                "gender": "FM"[number % 2],
                "language": language,
            }
    ids = sorted(manifest)
    predictions = Predictions(
        ids,
        draw.integers(0, 2, len(ids)),
        draw.integers(0, 2, (2, len(ids))),
        np.array([manifest[utt_id]["speaker"] for utt_id in ids]),
        LABELS,
    )
    return predictions, manifest


def by_hand(predictions, kept):
    """UA of each seed, by a loop over the utterances."""
    values = []
    for answers in predictions.answers:
        recalls = []
        for label in (0, 1):
            own = [i for i, utt_id in enumerate(predictions.ids) if kept(utt_id)]
            own = [i for i in own if predictions.targets[i] == label]
            recalls.append(100 * sum(answers[i] == label for i in own) / len(own))
        values.append(sum(recalls) / 2)
    return sum(values) / len(values)


def test_cells_by_hand(heard):
    predictions, manifest = heard
    first, second = transfer.cells(predictions, manifest)
    assert (first["test"], first["utterances"], first["speakers"]) == ("a", 60, 6)
    assert (second["test"], second["utterances"], second["speakers"]) == ("b", 20, 2)
    assert first["UA"] == pytest.approx(by_hand(predictions, lambda i: i.startswith("a")))
    for gender in "FM":
        kept = {i for i in predictions.ids if i[0] == "a" and manifest[i]["gender"] == gender}
        assert first["gender"][gender] == pytest.approx(by_hand(predictions, kept.__contains__))
    assert first["language"] == pytest.approx({"en": first["UA"]})
    assert first["interval"][0] < first["UA"] < first["interval"][1]
    assert second["interval"] is None  # of two speakers
    speakers = {
        name: by_hand(predictions, lambda i, name=name: manifest[i]["speaker"] == name)
        for name in {entry["speaker"] for entry in manifest.values()} - {"b/s0", "b/s1"}
    }
    assert first["speaker"]["worst"][1] == pytest.approx(min(speakers.values()))
    assert first["speaker"]["best"][0] in speakers
    assert np.sum(first["confusion"]) == 120 and first["conditions"] == {}


def test_answers_under_a_condition_are_scored_beside(heard):
    predictions, manifest = heard
    right = np.stack([predictions.targets, predictions.targets])
    perfect = Predictions(predictions.ids, predictions.targets, right, predictions.speakers, LABELS)
    first, _ = transfer.cells(predictions, manifest, {"snr10": perfect})
    assert first["conditions"]["snr10"]["UA"] == 100.0
    assert first["UA"] < 100.0


def test_where_keeps_what_belongs_together(heard):
    predictions, _ = heard
    own = np.array([utt_id.startswith("b") for utt_id in predictions.ids])
    part = predictions.where(own)
    assert part.ids == [utt_id for utt_id in predictions.ids if utt_id.startswith("b")]
    whole = metrics.score(predictions.targets[own], predictions.answers[1][own], LABELS)
    assert metrics.score(part.targets, part.answers[1], LABELS) == whole


def test_page(heard):
    predictions, manifest = heard
    cells = [cell | {"train": "c"} for cell in transfer.cells(predictions, manifest)]
    lines = transfer.page(cells, ["one", "two"]).splitlines()
    assert lines[:3] == ["one", "two", ""]
    assert lines[3].startswith("| trained on | tested on | utterances | speakers | WA | UA |")
    first = [cell.strip() for cell in lines[5].strip("|").split("|")]
    assert first[:4] == ["c", "a", "60", "6"] and first[5] == f"{cells[0]['UA']:.2f}"
    assert [cell.strip() for cell in lines[6].strip("|").split("|")][6] == ""  # no interval
    assert "noise" not in "".join(lines)
    cells[0]["conditions"] = cells[1]["conditions"] = {"snr10": {"UA": 31.25}}
    assert "| c | a | " in (text := transfer.page(cells, [])) and "31.25" in text
