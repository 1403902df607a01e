"""Two corpora as one: their folders, their labels, and each tested by the other."""

import pytest
import soundfile

from speechbrain_ser.data import splits
from speechbrain_ser.data.corpora import joined
from speechbrain_ser.errors import InputError

LABELS = ["sad", "angry"]
MERGES = {"ravdess": {}, "nemo": {"sadness": "sad", "anger": "angry"}}
FILES = (
    *("ravdess/03-01-04-01-01-01-01", "ravdess/03-01-05-01-01-01-02"),
    *("ravdess/03-01-02-01-01-01-02", "nemo/SM0_anger_1", "nemo/EB0_sadness_2"),
)


@pytest.fixture
def both(tmp_path):
    for name in FILES:
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, [0.1] * 1600, 16_000)
    return tmp_path


def test_ids_speakers_sessions_and_emotions(both):
    manifest = joined.prepare(both, LABELS, MERGES)
    told = {key: (e["session"], e["speaker"], e["emotion"]) for key, e in manifest.items()}
    assert told == {
        "nemo/EB0_sadness_2": ("nemo", "nemo/EB0", "sad"),
        "nemo/SM0_anger_1": ("nemo", "nemo/SM0", "angry"),
        "ravdess/03-01-04-01-01-01-01": ("ravdess", "ravdess/Actor_01", "sad"),
        "ravdess/03-01-05-01-01-01-02": ("ravdess", "ravdess/Actor_02", "angry"),
    }
    assert list(manifest) == sorted(manifest)
    assert all(entry["duration"] == 0.1 for entry in manifest.values())


def test_each_corpus_is_tested_by_the_other(both):
    manifest = joined.prepare(both, LABELS, MERGES)
    parts = splits.given_session(manifest, test="nemo")
    assert {entry["session"] for entry in parts["train"].values()} == {"ravdess"}
    assert {entry["session"] for entry in parts["test"].values()} == {"nemo"}
    assert parts["valid"] is parts["test"] and len(parts["train"] | parts["test"]) == 4
    assert splits.protocol(parts) == "session-independent"
    assert splits.given_session(manifest, test=["nemo"]) == parts
    with pytest.raises(InputError, match="session 'nemo' cannot be tested by the others"):
        splits.given_session(manifest, test=["nemo", "ravdess"])


def test_what_does_not_fit_is_named(both):
    with pytest.raises(InputError, match="labels names 'sad', and the corpus has angry, fear, .*:"):
        joined.prepare(both, LABELS, MERGES | {"nemo": {"anger": "angry"}})
    manifest = joined.prepare(both, LABELS, MERGES)
    with pytest.raises(
        InputError, match="sessions nemo, ravdess: session 'emodb' cannot be tested"
    ):
        splits.given_session(manifest, test="emodb")
    with pytest.raises(InputError, match=r"fold is 2: use 1 \(session nemo\)"):
        splits.given_session(manifest, 2, test="nemo")
    (both / "nemo").rename(both / "NEMO")
    with pytest.raises(
        InputError, match="expected folders, or links to them, named ravdess and nem"
    ):
        joined.prepare(both, LABELS, MERGES)
