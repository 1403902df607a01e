"""Annotating a collection: every file has its line, what is done stays, and nothing is mixed up."""

import json

import numpy as np
import pytest
import soundfile
from conftest import ser

from speechbrain_ser import EmotionRecognizer


@pytest.fixture(scope="module")
def best(runs):
    return runs / "emotion/fold1/1000/best"


@pytest.fixture
def collection(tmp_path):
    """Seven recordings, the fourth of them no audio."""
    chance = np.random.default_rng(0)
    for number in range(7):
        samples = 0.1 * chance.standard_normal(int(16_000 * chance.uniform(0.2, 1.5)))
        soundfile.write(tmp_path / f"{number}.wav", samples, 16_000)
    (tmp_path / "3.wav").write_text("no audio")
    return tmp_path


def lines(out) -> list[dict]:
    parts = sorted(out.glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def test_every_file_has_its_line(best, collection, tmp_path, capsys):
    out = tmp_path / "parts"
    words = [str(best), str(collection), "--out", str(out), "--shard_size", "3"]
    assert ser("annotate", *words) == 0
    said = capsys.readouterr().out
    assert "7 files; 3 parts to do" in said and "1 of them are bad" in said
    found = lines(out)
    paths = [str(collection / f"{number}.wav") for number in range(7)]
    assert [line["file"] for line in found] == paths
    assert "3.wav" in found[3]["error"] and "label" not in found[3]
    good = [line for line in found if "error" not in line]
    expected = EmotionRecognizer.from_hparams(best).classify_files([line["file"] for line in good])
    for line, emotion in zip(good, expected, strict=True):
        assert line["label"] == emotion.label
        assert line["probs"] == pytest.approx(emotion.probs, abs=1e-5)
        assert line["seconds"] == emotion.end


def test_a_silent_file_has_a_line_without_a_label(best, tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/silent.wav", np.zeros(16_000), 16_000)
    assert ser("annotate", best, tmp_path / "in", "--out", tmp_path / "parts") == 0
    (line,) = lines(tmp_path / "parts")
    assert line["label"] is None and line["probs"] == {} and line["seconds"] == 1
    assert "error" not in line


def test_it_goes_on_where_it_was_stopped(best, collection, tmp_path, capsys):
    out = tmp_path / "parts"
    words = [str(best), str(collection), "--out", str(out), "--shard_size", "2"]
    assert ser("annotate", *words) == 0
    whole = lines(out)
    kept = out / "part-000001.jsonl"
    written = kept.stat().st_mtime_ns
    (out / "part-000002.jsonl").unlink()
    (out / ".part-000002.jsonl.tmp").write_text("half of a li")
    assert ser("annotate", *words) == 0
    assert "7 files; 1 parts to do" in capsys.readouterr().out
    assert lines(out) == whole and kept.stat().st_mtime_ns == written


def test_parts_of_another_collection_or_model_are_not_mixed(
    best, runs, collection, tmp_path, capsys
):
    out = tmp_path / "parts"
    words = ["--out", str(out)]
    assert ser("annotate", best, collection, *words) == 0
    other = runs / "supcon/fold1/1000/best"
    assert ser("annotate", other, collection, *words) == 2
    assert "holds parts of another model: name another --out" in capsys.readouterr().err
    assert ser("annotate", best, collection, *words, "--precision", "bf16") == 2
    assert "holds parts of another precision: name another --out" in capsys.readouterr().err
    assert ser("annotate", best, collection, *words, "--precision", "half") == 2
    assert "precision is 'half': use fp32, bf16, fp16" in capsys.readouterr().err
    (collection / "0.wav").unlink()
    assert ser("annotate", best, collection, *words, "--shard_size", "5") == 2
    assert "another files and count and shard_size" in capsys.readouterr().err


def test_a_list_of_files_and_what_is_none(best, collection, tmp_path, capsys):
    listing = tmp_path / "files.txt"
    listing.write_text(f"{collection / '5.wav'}\n\n{collection / '1.wav'}\n{tmp_path / 'no.wav'}\n")
    assert ser("annotate", best, listing, "--out", tmp_path / "parts") == 0
    found = lines(tmp_path / "parts")
    names = [line["file"].rpartition("/")[2] for line in found]
    assert names == ["5.wav", "1.wav", "no.wav"]
    assert "no such file" in found[2]["error"]
    for name, sentence in (("absent", "neither a folder nor a list"), ("5.wav", "is no text")):
        assert ser("annotate", best, collection / name, "--out", tmp_path / "x") == 2
        assert sentence in capsys.readouterr().err
    listing.write_text("\n")
    assert ser("annotate", best, listing, "--out", tmp_path / "x") == 2
    assert "there is no file to annotate" in capsys.readouterr().err


@pytest.mark.slow
def test_ray_data_does_the_same(best, collection, tmp_path):
    pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    words = [str(best), str(collection), "--shard_size", "3", "--batch_size", "2", "--out"]
    assert ser("annotate", *words, tmp_path / "here") == 0
    ray = ["--launcher", "ray", "--address", "local", "--workers", "1"]
    assert ser("annotate", *words, tmp_path / "there", *ray) == 0
    for ours, rays in zip(lines(tmp_path / "here"), lines(tmp_path / "there"), strict=True):
        assert ours["file"] == rays["file"]
        assert ours.get("probs") == pytest.approx(rays.get("probs"), abs=1e-5)
        assert ours.get("error") == rays.get("error")
