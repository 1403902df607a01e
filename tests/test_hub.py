"""Sharing a model: the card, the check before, the upload, and loading what was uploaded."""

import json
import os
import shutil
import subprocess
import sys

import huggingface_hub
import pytest
import safetensors.torch
from conftest import ROOT, ser
from hub_server import Hub

from speechbrain_ser import EmotionRecognizer, output
from speechbrain_ser import hparams as hp
from speechbrain_ser.models import seen


@pytest.fixture(scope="module")
def run(runs):
    return runs / "emotion/fold1/1000"


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    made = huggingface_hub.HfApi(endpoint=server.address, token="hf_test")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    yield server
    server.shutdown()


def test_an_exported_folder_is_complete_and_says_what_it_is(run, tmp_path, capsys):
    folder = tmp_path / "shared"
    (run / "best/.env").write_text("TOKEN=private")
    try:
        assert ser("push", run, "--export", folder) == 0
    finally:
        (run / "best/.env").unlink()
    said = capsys.readouterr().out
    assert "probabilities differ by" in said and f"left out of {run / 'best'}: .env\n" in said
    manifest = json.loads((run / "manifest.json").read_text())
    private = {str(run), "private", *manifest, *(entry["speaker"] for entry in manifest.values())}
    for path in folder.iterdir():
        text = path.read_bytes().decode(errors="ignore")
        assert not [word for word in private if word in text], path
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "config.json", "hyperparams.yaml", "model.safetensors"),
        *("results.json", "trained_on.json"),
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "angry", "1": "happy", "2": "sad", "3": "neutral"}
    results = json.loads((run / "results.json").read_text())
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    expected = {"accuracy": results["WA"], "recall": results["UA"], "f1": results["F1"]}
    assert found == pytest.approx(expected, abs=0.005)
    assert {result.dataset_type for result in card.data.eval_results} == {"mini-iemocap"}
    assert "A trial on synthesised speech" in card.text and results["protocol"] in card.text
    women, men = (f"{results['groups']['gender'][gender]:.2f}" for gender in "FM")
    assert "## Fairness\n" in card.text and f"- UA by gender: F {women}, M {men}\n" in card.text
    settings = hp.load_tree((run / "hyperparams.yaml").read_text())
    parts = hp.build({"split": settings["split"]})["split"](manifest, fold=settings["fold"])
    trained, validated = len(parts["train"]), len(parts["valid"])
    assert "Park et al. 2023" in card.text and f"{trained} utterances of 8 speakers;" in card.text
    assert f"validated, not trained, on {validated} other utterances of the same" in card.text
    assert ser("push", run, "--export", folder) == 2
    assert "is there already" in capsys.readouterr().err


def test_an_uploaded_model_loads_from_the_hub(run, hub, tmp_path, capsys):
    assert ser("push", run, "--repo", "user/name", "--private") == 0
    assert f"{hub.address}/user/name" in capsys.readouterr().out
    (created,) = hub.created
    assert (created["organization"], created["name"]) == ("user", "name")
    assert "private" in json.dumps(created)
    assert len(hub.files) - (".gitattributes" in hub.files) == 6
    assert hub.files["model.safetensors"] == (run / "best/model.safetensors").read_bytes()
    assert any(path.startswith("/lfs/") for path in hub.log)
    manifest = json.loads((run / "manifest.json").read_text())
    wav = next(iter(manifest.values()))["wav"]
    environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "speechbrain_ser", "classify", "user/name", "--json", wav]
    said = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    local = EmotionRecognizer.from_hparams(run / "best").classify_file(wav)
    assert json.loads(said.stdout)["probs"] == pytest.approx(local.probs, abs=1e-5)


def test_a_hub_that_refuses_is_a_sentence(run, hub, capsys):
    hub.refuse = True
    assert ser("push", run, "--repo", "user/name") == 2
    assert "the Hub did not take user/name" in capsys.readouterr().err
    assert hub.files == {}


def test_a_model_that_answers_otherwise_is_not_uploaded(run, hub, tmp_path, capsys):
    changed = tmp_path / "run"
    shutil.copytree(run, changed, ignore=shutil.ignore_patterns("save"))
    weights = safetensors.torch.load_file(run / "best/model.safetensors")
    name = next(name for name in weights if name.startswith("head"))
    safetensors.torch.save_file(
        weights | {name: weights[name] + 0.1}, changed / "best/model.safetensors"
    )
    assert ser("push", changed, "--repo", "user/name") == 2
    assert "so it is not uploaded" in capsys.readouterr().err
    assert hub.created == [] and hub.files == {}


def test_what_cannot_be_shared_is_refused(run, tmp_path, capsys):
    assert ser("push", run) == 2
    assert "give --repo user/name to upload, or --export" in capsys.readouterr().err
    assert ser("push", tmp_path, "--export", tmp_path / "x") == 2
    assert "holds no complete run" in capsys.readouterr().err
    people = tmp_path / "people"
    shutil.copytree(run, people, ignore=shutil.ignore_patterns("save"))
    results = json.loads((run / "results.json").read_text()) | {"corpus": "table"}
    (people / "results.json").write_text(json.dumps(results))
    known = [seen.entry("table", "salt", ["angry", "sad"], ["a"])]
    (people / "best/trained_on.json").write_text(json.dumps(known))
    assert ser("push", people, "--export", tmp_path / "z") == 2
    assert "names speakers of table (2)" in capsys.readouterr().err
    (people / "results.json").write_text(json.dumps(results | {"corpus": "voxceleb1"}))
    assert ser("push", people, "--export", tmp_path / "z") == 2
    assert "names speakers of voxceleb1 (2)" in capsys.readouterr().err
    assert not (tmp_path / "z").exists()
    gone = tmp_path / "run"
    shutil.copytree(run, gone, ignore=shutil.ignore_patterns("save"))
    manifest = json.loads((run / "manifest.json").read_text())
    for entry in manifest.values():
        entry["wav"] = "/nowhere.wav"
    (gone / "manifest.json").write_text(json.dumps(manifest))
    assert ser("push", gone, "--export", tmp_path / "y") == 2
    count = len(output.read_csv(run / "predictions.csv"))
    assert f"{count} of {count} test files are gone (/nowhere.wav ...)" in capsys.readouterr().err
