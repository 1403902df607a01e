"""What a run's validation tells of its answers, kept with the model and worth on the test part."""

import csv
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import RECIPES, run, ser, tiny
from torch import nn

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import safety, saved
from speechbrain_ser.models.ensemble import Member
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.knn import NearestNeighbours
from speechbrain_ser.results import calibration
from speechbrain_ser.training import experiment

LINEAR = RECIPES / "RAVDESS/hparams/linear.yaml"
WITHOUT = "!name:speechbrain_ser.data.splits.without_validation"
UNSEEN = f'{WITHOUT} {{outer: !ref "<corpus[emotion_split]>"}}'


def trained(results: Path, *words: str) -> Path:
    """The folder of a run of the linear baseline, a second long."""
    run(LINEAR, tiny(LINEAR, results, "--max_epochs", "1", *words), figures=True)
    (folder,) = results.glob("linear*/fold1/*")
    return folder


def results_of(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def answers(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """probs [utterance, class] and targets [utterance] of predictions.csv."""
    labels = results_of(folder)["labels"]
    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    probs = np.array([[float(row[label]) for label in labels] for row in rows])
    return probs, np.array([labels.index(row["target"]) for row in rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("trust"), "--unsure_error", "0.7")


def validation(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The trained model's own logs of probabilities on validation, computed anew, and targets."""
    settings = hp.load_tree((folder / "hyperparams.yaml").read_text())
    built = hp.build({key: settings[key] for key in ("split", "fold")})
    manifest = json.loads((folder / "manifest.json").read_text())
    valid = built["split"](manifest, fold=built["fold"])["valid"]
    recognizer = EmotionRecognizer.from_hparams(folder / "best", unsure_below=0)
    recognizer.mods.model.head.temperature = 1.0
    found = recognizer.classify_files([entry["wav"] for entry in valid.values()])
    labels = recognizer.hparams.labels
    probs = np.array([[emotion.probs[label] for label in labels] for emotion in found])
    return calibration.logs(probs), np.array([labels.index(e["emotion"]) for e in valid.values()])


def test_the_temperature_is_validation_s(folder):
    results, (logits, targets) = results_of(folder), validation(folder)
    assert results["calibration"] == "validation"
    expected = calibration.temperature(logits, targets)
    assert results["temperature"] == pytest.approx(expected, rel=1e-3) != 1
    head = saved.description(folder / "best")["model"]["head"]
    assert head["temperature"] == results["temperature"]
    probs = calibration.cooled(logits, results["temperature"])
    below = calibration.threshold(probs, targets, 0.7)
    assert results["unsure"]["below"] == pytest.approx(below, abs=1e-5)


def test_results_tell_what_it_is_worth_on_the_test_part(folder, capsys):
    """Computed anew from predictions.csv alone; no answer is another one."""
    results, (probs, targets) = results_of(folder), answers(folder)
    assert results["WA"] == pytest.approx(100 * (probs.argmax(axis=1) == targets).mean())
    logits = np.log(probs) * results["temperature"]
    before = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert (before.argmax(axis=1) == probs.argmax(axis=1)).all()
    for end, own in (("", probs), ("_before", before)):
        rows = np.arange(len(targets))
        assert results[f"NLL{end}"] == pytest.approx(-np.log(own[rows, targets]).mean(), rel=1e-4)
        expected = 100 * calibration.expected_error(own, targets)
        assert results[f"ECE{end}"] == pytest.approx(expected, abs=0.01)
    unsure = results["unsure"]
    answered = probs.max(axis=1) >= unsure["below"]
    assert unsure["wanted_error"] == 70
    assert unsure["coverage"] == pytest.approx(100 * answered.mean())
    wrong = probs.argmax(axis=1) != targets
    assert unsure["error"] == pytest.approx(100 * wrong[answered].mean())
    assert (folder / "reliability.png").read_bytes().startswith(b"\x89PNG")
    experiment.report.show(folder)
    said = capsys.readouterr().out
    assert f"(without the temperature of {results['temperature']:.3f}: " in said
    assert f"unsure below {unsure['below']:.3f}, chosen for 70 % errors: " in said
    assert "reliability.png" in said


def test_a_model_says_unsure_by_itself(folder):
    """best/ and the folder that goes to the Hub; a number of the user's goes before, 0 is never."""
    manifest = json.loads((folder / "manifest.json").read_text())
    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wavs = [manifest[row["id"]]["wav"] for row in rows]
    results, (probs, _) = results_of(folder), answers(folder)
    sure = probs.max(axis=1) >= results["unsure"]["below"]
    assert 0 < sure.sum() < len(sure)
    for given, answered in ((None, sure), (0, sure | True), (1.0, probs.max(axis=1) >= 1)):
        recognizer = EmotionRecognizer.from_hparams(folder / "best", unsure_below=given)
        found = recognizer.classify_files(wavs)
        expected = [
            row["prediction"] if s else "unsure" for row, s in zip(rows, answered, strict=True)
        ]
        assert [emotion.label for emotion in found] == expected
        for emotion, row in zip(found, rows, strict=True):
            own = [emotion.probs[label] for label in results["labels"]]
            assert own == pytest.approx([float(row[n]) for n in results["labels"]], abs=1e-5)


def test_what_goes_to_the_hub_holds_both(folder, tmp_path):
    assert ser("push", folder, "--export", tmp_path / "shared") == 0  # compares probabilities
    recognizer = EmotionRecognizer.from_hparams(tmp_path / "shared")
    results = results_of(folder)
    assert recognizer.unsure_below == results["unsure"]["below"]
    assert recognizer.mods.model.head.temperature == results["temperature"]
    card = (tmp_path / "shared/README.md").read_text()
    assert f"without the temperature of {results['temperature']:.3f}" in card


def test_an_interrupted_run_has_the_same(folder, tmp_path):
    """After training, before the test: what validation told is in the checkpoint."""
    words = ("--unsure_error", "0.7")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.report, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trained(tmp_path, *words)
    again = results_of(trained(tmp_path, *words))
    kept = ("temperature", "unsure", "ECE", "NLL", "ECE_before", "NLL_before")
    assert {key: again[key] for key in kept} == {key: results_of(folder)[key] for key in kept}


def test_without_a_validation_there_is_no_temperature(tmp_path):
    folder = trained(tmp_path, "--split", UNSEEN)
    results = results_of(folder)
    assert results["calibration"] == "none" and {"ECE", "NLL"} <= results.keys()
    assert not {"temperature", "ECE_before", "unsure"} & results.keys()
    description = saved.description(folder / "best")
    assert "temperature" not in description["model"]["head"] and "unsure_below" not in description


def test_a_threshold_that_nothing_reaches_is_said(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(calibration, "threshold", lambda *_: None)
    with caplog.at_level(logging.WARNING, "speechbrain_ser"):
        folder = trained(tmp_path, "--unsure_error", "0.1")
    assert results_of(folder)["unsure"] == {"wanted_error": 10, "below": None}
    assert "even of the answers that are surest more are wrong in validation" in caplog.text
    assert "unsure_below" not in saved.description(folder / "best")


@pytest.mark.parametrize(
    ("yaml", "words", "sentence"),
    [
        (LINEAR, ["--split", UNSEEN], "this split has no validation of its own: leave it at null"),
        (LINEAR, ["--unsure_error", "1"], "unsure_error is 1: use a number from 0 to 1"),
        (RECIPES / "IEMOCAP/hparams/asr_gender.yaml", [], "learned here has no classes"),
    ],
)
def test_where_no_threshold_can_be_chosen_it_is_refused(yaml, words, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        run(yaml, tiny(yaml, tmp_path, "--unsure_error", "0.1", *words))
    assert not list(tmp_path.glob("*/*/*/results.json"))


def test_what_trains_nothing_chooses_nothing(runs, tmp_path):
    yaml = RECIPES / "IEMOCAP/hparams/knn.yaml"
    words = ["--trained_best", f"{runs}/supcon/fold1/1000/best", "--unsure_error", "0.1"]
    words += ["--max_epochs", "0"]  # as in the yaml
    with pytest.raises(InputError, match="knn trains nothing: its networks' own runs choose"):
        run(yaml, tiny(yaml, tmp_path, *words))


@pytest.mark.parametrize("name", ["emotion", "fusion", "two_stage", "supcon"])
def test_every_recipe_keeps_it_where_its_head_is_described(name, runs):
    """A fused network's head is its second phase's, with a temperature of the third."""
    folder = runs / name / "fold1/1000"
    results = results_of(folder)
    model = saved.load(folder / "best")["model"]
    assert model.head.temperature == results["temperature"] != 1
    tree = saved.description(folder / "best")["model"]
    assert saved.head_of(tree, model)["temperature"] == results["temperature"]


def test_neighbours_are_mixed_with_the_paper_s_own_probabilities(runs):
    """Without the temperature of the network's run; the mixture has none."""
    results = results_of(runs / "knn/fold1/1000")
    assert results["calibration"] == "none" and "temperature" not in results
    model = saved.load(runs / "knn/fold1/1000/best")["model"]
    assert model.model.head.temperature == 1
    assert saved.load(runs / "supcon/fold1/1000/best")["model"].head.temperature != 1


class Plain(nn.Module):
    """speech [batch, time] -> its first samples, through a head."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, speech, lens):
        return self.head(speech[:, :3])


def test_an_ensemble_hears_calibrated_members():
    head = LinearHead(3, ["a", "b"], temperature=3.0).eval()
    speech = torch.rand(1, 16_000)
    logits = head(speech[:, :3])
    found = Member(SpeechReader(), Plain(head)).probs(speech, torch.ones(1))
    torch.testing.assert_close(found, (logits / 3).softmax(dim=1))
    NearestNeighbours(Plain(head), ["a", "b"], 4, 3)
    assert head.temperature == 1


def test_a_head_that_a_class_makes_itself_is_not_described():
    tree = hp.new("own.Network", head=hp.new("own.Head"))
    head = LinearHead(3, ["a", "b"])
    assert saved.head_of(tree, Plain(head)) is tree["head"]
    assert saved.head_of(hp.new("own.Network"), Plain(head)) is None


def test_an_older_model_has_the_temperature_1(folder, tmp_path):
    older = shutil.copytree(folder / "best", tmp_path / "older")
    path = older / saved.HYPERPARAMS
    lines = path.read_text().splitlines()
    kept = [line for line in lines if "temperature" not in line and "unsure_below" not in line]
    assert len(kept) == len(lines) - 2
    path.write_text("\n".join(kept))
    recognizer = EmotionRecognizer.from_hparams(older)
    assert recognizer.mods.model.head.temperature == 1 and recognizer.unsure_below == 0


@pytest.mark.parametrize("value", ["2", "-0.1", "true", "high", "[0.5]", ".nan"])
def test_a_stranger_s_threshold_is_a_probability(value, folder):
    text = (folder / "best" / saved.HYPERPARAMS).read_text().splitlines()
    text = [line for line in text if not line.startswith("unsure_below")]
    with pytest.raises(InputError, match="unsure_below|is allowed"):
        safety.read("\n".join([*text, f"unsure_below: {value}"]), "stranger.yaml")
