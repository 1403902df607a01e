"""The equal error rate of a speaker network on speakers that it does not know."""

import json

import numpy as np
import pytest
import torch
from conftest import RECIPES, run, tiny

from speechbrain_ser import output
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved

SPEAKER = RECIPES / "VoxCeleb1/hparams/speaker.yaml"
VERIFICATION = RECIPES / "VoxCeleb1/hparams/verification.yaml"
ACTORS = ["--corpus", "ravdess", "--split"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    results = tmp_path_factory.mktemp("verification")
    apart = [*ACTORS, "!ref <corpus[speaker_split]>", "--max_epochs", "1"]
    run(SPEAKER, tiny(SPEAKER, results, *apart))
    best = str(results / "speaker_ravdess/fold1/1000/best")
    apart = [*ACTORS, "!ref <corpus[emotion_split]>", "--trained_best", best]
    run(VERIFICATION, tiny(VERIFICATION, results, *apart, "--max_epochs", "0"))
    return results / "verification_ravdess/fold1/1000"


def test_the_equal_error_rate_by_a_loop_over_all_pairs(folder):
    results = json.loads((folder / "results.json").read_text())
    rows = output.read_csv(folder / "predictions.csv")
    manifest = json.loads((folder / "manifest.json").read_text())
    parts = saved.load(folder / "best")
    model, reader = parts["model"], parts["reader"]
    embeddings = []
    for row in rows:
        speech = reader(manifest[row["id"]]["wav"])
        embedding = model.embed(speech.unsqueeze(0), torch.ones(1))[0].detach().double().numpy()
        embeddings.append(embedding / np.linalg.norm(embedding))
    same, other = [], []
    for i in range(len(rows)):
        for j in range(i):
            speakers = [manifest[rows[k]["id"]]["speaker"] for k in (i, j)]
            (same if len(set(speakers)) == 1 else other).append(embeddings[i] @ embeddings[j])
    same, other = np.array(same), np.array(other)
    assert len(same) + len(other) == results["trials"]
    rates = [
        ((same <= threshold).mean(), (other > threshold).mean())
        for threshold in np.sort(np.concatenate([same, other]))
    ]
    missed, accepted = min(rates, key=lambda pair: abs(pair[0] - pair[1]))
    assert results["EER"] == pytest.approx(100 * (missed + accepted) / 2, abs=0.5)
    assert 0 < results["EER"] < 60


def test_the_test_speakers_are_unknown_to_the_network(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    tested = {manifest[row["id"]]["speaker"] for row in output.read_csv(folder / "predictions.csv")}
    assert len(tested) == 4
    results = json.loads((folder / "results.json").read_text())
    assert results["protocol"] == "honest, speaker-independent" and results["epochs"] == 0


def test_one_recording_of_each_speaker_makes_no_trial(tmp_path):
    run(SPEAKER, tiny(SPEAKER, tmp_path, "--max_epochs", "1"))  # of VoxCeleb1's list, a tenth
    with pytest.raises(InputError, match="two recordings of one of them"):
        run(VERIFICATION, tiny(VERIFICATION, tmp_path, "--max_epochs", "0"))
