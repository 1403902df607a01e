"""The same corpus or another state of it: marks, differences, and the runs that notice."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
import soundfile
from conftest import RECIPES, run, tiny

from speechbrain_ser.data import manifests
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import summary

EMOTION = RECIPES / "IEMOCAP/hparams/emotion.yaml"


def noise(path, seconds: float = 0.5, seed: int = 0) -> None:
    draw = np.random.default_rng(seed).uniform(-0.5, 0.5, round(16_000 * seconds))
    soundfile.write(path, draw, 16_000)


def test_a_mark_is_of_the_content_and_not_of_its_place_or_time(tmp_path):
    noise(tmp_path / "a.wav", seed=1)
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    os.utime(tmp_path / "b.wav", (0, 0))
    noise(tmp_path / "c.wav", seed=2)
    marks = [manifests.content(tmp_path / f"{name}.wav") for name in "abc"]
    assert marks[0] == marks[1] != marks[2] and len(marks[0]) == 16


@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_mark_of_a_long_file_sees_start_middle_and_end(place, tmp_path):
    noise(tmp_path / "long.wav", seconds=10)
    mark = manifests.content(tmp_path / "long.wav")
    content = bytearray((tmp_path / "long.wav").read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    (tmp_path / "long.wav").write_bytes(content)
    assert manifests.content(tmp_path / "long.wav") != mark


def test_differences_by_hand():
    there = {
        "a": {"wav": "/x/a", "emotion": "sad", "content": "1"},
        "b": {"wav": "/x/b", "emotion": "sad", "content": "2"},
        "c": {"wav": "/x/c", "emotion": "sad", "content": "3"},
    }
    moved = {utt_id: entry | {"wav": f"/y/{utt_id}"} for utt_id, entry in there.items()}
    assert manifests.differences(there, moved) == ""
    assert manifests.digest(there) == manifests.digest(moved)
    here = {
        "a": there["a"] | {"emotion": "happy"},
        "b": there["b"] | {"content": "9"},
        "d": there["c"],
    }
    assert manifests.differences(there, here) == (
        "1 gone: c; 1 new: d; "
        "2 changed: a (emotion 'sad' there, 'happy' here), b (another recording)"
    )
    assert manifests.digest(there) != manifests.digest(here)
    unmarked = {i: {k: v for k, v in e.items() if k != "content"} for i, e in there.items()}
    assert manifests.differences(unmarked, there) == "", "a run of an earlier version goes on"


def test_the_same_source_or_not_or_unknown():
    one = {"corpus": "x", "manifest": "1"}
    assert manifests.same_source(one, one) is True
    assert manifests.same_source(one, one | {"manifest": "2"}) is False
    assert manifests.same_source(one, {"corpus": "y", "manifest": "2"}) is None
    assert manifests.same_source(one, {"corpus": "x"}) is None


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder with a corpus of four sessions and its finished run of fold 1."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "corpus").mkdir()
    rows = ["path,emotion,speaker,session"]
    for number in range(96):
        name = f"{number:02}.wav"
        noise(folder / "corpus" / name, seed=number)
        emotion, session = ("sad", "happy")[number % 2], number // 24
        rows.append(f"{name},{emotion},s{session}{number % 4 // 2},{session}")
    (folder / "corpus/mine.csv").write_text("\n".join(rows) + "\n")
    run(EMOTION, words(folder))
    return folder


def words(folder, *more, corpus="corpus"):
    words = tiny(EMOTION, folder / "results", "--corpus", "table", "--max_epochs", "1")
    words[words.index("--mini") + 1] = "False"
    return [*words, "--data_folder", str(folder / corpus / "mine.csv"), *more]


def copy_of(mine, tmp_path):
    shutil.copytree(mine, tmp_path / "here")
    for path in (tmp_path / "here/results").rglob("hyperparams.yaml"):
        path.write_text(path.read_text().replace(str(mine), str(tmp_path / "here")))
    return tmp_path / "here"


def results_of(folder):
    return json.loads((folder / "results/emotion_mine/fold1/1000/results.json").read_text())


def corrected(folder, change):
    """The table with its rows changed by a function of the list of dicts."""
    path = folder / "corpus/mine.csv"
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    rows = change(rows)
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def kept(folder):
    """The names that the run kept of its corpus: the tests' runs read a tenth of it."""
    manifest = json.loads((folder / "results/emotion_mine/fold1/1000/manifest.json").read_text())
    return sorted(manifest)


@pytest.mark.parametrize("fold", ["1", "2"])
def test_a_corrected_label_is_no_old_answer(mine, tmp_path, fold):
    folder = copy_of(mine, tmp_path)
    name = kept(folder)[0]

    def relabel(rows):
        return [r | ({"emotion": "happy"} if r["path"] == f"{name}.wav" else {}) for r in rows]

    corrected(folder, relabel)
    said = "began with another state" if fold == "1" else "read another state of the corpus"
    with pytest.raises(InputError, match=f"{said}.*1 changed: {name} .emotion 'sad' there"):
        run(EMOTION, words(folder, "--fold", fold))
    run(EMOTION, words(folder, "--fold", fold, "--variant", "_corrected"))


def test_a_row_less_or_another_recording_is_no_old_answer(mine, tmp_path):
    folder = copy_of(mine, tmp_path)
    first, second, *_ = kept(folder)
    noise(folder / f"corpus/{second}.wav", seed=99)
    corrected(folder, lambda rows: [row for row in rows if row["path"] != f"{first}.wav"])
    with pytest.raises(InputError, match=f"1 gone: {first};.*1 changed: {second} .another record"):
        run(EMOTION, words(folder))


def test_a_corpus_that_moved_is_the_same(mine, tmp_path, capsys):
    folder = copy_of(mine, tmp_path)
    (folder / "corpus").rename(folder / "moved")
    before = results_of(folder)
    run(EMOTION, words(folder, corpus="moved"))
    assert results_of(folder) == before, "it was complete"
    run(EMOTION, words(folder, "--fold", "2", corpus="moved"))
    runs = summary.runs_of(folder / "results/emotion_mine")
    assert len(runs) == 2 and len({r["manifest"] for r in runs}) == 1


def test_folds_of_different_states_are_not_pooled(mine, tmp_path):
    folder = copy_of(mine, tmp_path)
    experiment = folder / "results/emotion_mine"
    other = experiment / "fold2/1000"
    shutil.copytree(experiment / "fold1/1000", other)
    manifest = json.loads((other / "manifest.json").read_text())
    first = next(iter(manifest))
    manifest[first]["emotion"] = "angry"
    (other / "manifest.json").write_text(json.dumps(manifest))
    results = json.loads((other / "results.json").read_text()) | {"fold": 2, "manifest": "x"}
    (other / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=f"different states of the corpus .1 changed: {first}"):
        summary.over_runs(summary.runs_of(experiment))
