"""Answers as Parquet: the same as JSON and CSV tell, and whole or not there."""

import importlib.util
import json
import os

import numpy as np
import pytest
import soundfile
from conftest import ser

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.errors import InputError
from speechbrain_ser.sharing import parquet


@pytest.fixture(scope="module")
def best(runs):
    return runs / "emotion/fold1/1000/best"


@pytest.fixture
def collection(tmp_path):
    """Three recordings, the second of them no audio, the third silent."""
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "0.wav", 0.1 * np.sin(np.arange(16_000) ** 1.1), 16_000)
    (folder / "1.wav").write_text("no audio")
    soundfile.write(folder / "2.wav", np.zeros(16_000), 16_000)
    return folder


def table(path) -> list[dict]:
    return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()


def test_classify_writes_what_json_says(best, collection, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    assert ser("classify", best, collection, "--json") == 1
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ser("classify", best, collection, "--parquet", tmp_path / "a.parquet") == 1
    labels = EmotionRecognizer.from_hparams(best).labels
    found = table(tmp_path / "a.parquet")
    assert len(found) == len(said) == 2 and said[1]["label"] is None
    for row, facts in zip(found, said, strict=True):
        assert list(row) == ["file", "label", "start", "end", *labels]
        probs = facts.pop("probs")
        assert row == facts | {label: probs.get(label) for label in labels}


def test_annotate_writes_the_lines_as_rows(best, collection, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    words = ["annotate", best, collection, "--shard_size", "2", "--out"]
    assert ser(*words, tmp_path / "lines") == 0
    assert ser(*words, tmp_path / "rows", "--parquet") == 0
    parts = sorted((tmp_path / "rows").glob("part-*"))
    assert [part.name for part in parts] == ["part-000000.parquet", "part-000001.parquet"]
    rows = [row for part in parts for row in table(part)]
    assert len({tuple(row) for row in rows}) == 1  # all parts are of one form
    for number, row in enumerate(rows):
        part = tmp_path / f"lines/part-{number // 2:06d}.jsonl"
        line = json.loads(part.read_text().splitlines()[number % 2])
        line |= line.pop("probs", {})
        assert row == dict.fromkeys(row) | line
    capsys.readouterr()
    assert ser(*words, tmp_path / "rows", "--parquet") == 0
    assert "0 parts to do" in capsys.readouterr().out
    assert ser(*words, tmp_path / "rows") == 2
    assert "holds parts of another form" in capsys.readouterr().err


def test_a_name_that_is_no_utf_8_is_text(tmp_path):
    pytest.importorskip("pyarrow")
    parquet.write(tmp_path / "a.parquet", ["file"], ["x"], [{"file": os.fsdecode(b"a\xff")}])
    assert table(tmp_path / "a.parquet") == [{"file": "a\\udcff", "x": None}]


@pytest.mark.parametrize(
    "words", [["classify", "--parquet", "a"], ["annotate", "--parquet", "--out", "a"]]
)
def test_without_pyarrow_it_is_said_first(words, best, collection, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *r: None if n == "pyarrow" else find(n, *r)
    )
    command, *rest = words
    assert ser(command, best, collection, *rest) == 2
    assert "Parquet needs the package pyarrow: pip install" in capsys.readouterr().err
    assert not os.path.exists("a")


def test_a_run_s_folder_will_do(best, collection):
    wav = str(collection / "0.wav")
    own, ran = (EmotionRecognizer.from_hparams(folder) for folder in (best, best.parent))
    assert own.classify_file(wav) == ran.classify_file(wav)
    assert own.labels == ran.labels == list(own.hparams.labels)
    with pytest.raises(InputError, match="is not a model folder: it has no"):
        EmotionRecognizer.from_hparams(collection)
