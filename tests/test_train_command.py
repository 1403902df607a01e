"""ser train: a model of a user's own recordings."""

import argparse
import json

import numpy as np
import pytest
import soundfile
import yaml
from benchmarks.common import TINY
from conftest import ser

from speechbrain_ser.commands import train
from speechbrain_ser.data.corpora import row
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.frontends import EncoderLayers


def options(*words):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    known, rest = parser.parse_known_args([str(word) for word in words])
    known.settings = rest
    return known


def of(command, name):
    return command[command.index(name) + 1]


def test_plain_options_become_settings():
    command = train.command_of(
        options("my calls.csv", "--labels", "angry, sad", "--merge", "cross=angry", "--merge", "x=")
    )
    expected = {"name": "table", "labels": ["angry", "sad"], "merge": {"cross": "angry", "x": None}}
    assert yaml.safe_load(of(command, "--corpus")) == expected
    assert (
        of(command, "--data_folder") == "my calls.csv" and of(command, "--variant") == "_my calls"
    )
    assert of(command, "--encoder") == "openai/whisper-base" and of(command, "--layers") == "middle"
    assert "--max_epochs" not in command
    command = train.command_of(
        options("/data/x", "--corpus", "emodb", "--epochs", "7", "--run_name", "one", "--lr", "0.1")
    )
    assert of(command, "--corpus") == "{name: emodb}" and of(command, "--variant") == "_one"
    assert of(command, "--max_epochs") == "7" and of(command, "--lr") == "0.1"


def test_mistakes_are_named():
    with pytest.raises(InputError, match=r"/data/x is no table \(.csv, .*name the corpus of a fol"):
        train.command_of(options("/data/x"))
    with pytest.raises(InputError, match="--merge is 'happy': use A=B, or A= to leave A out"):
        train.command_of(options("a.csv", "--merge", "happy"))


def people(count):
    return {str(n): row("x.wav", speaker=f"s{n % count}", emotion="a") for n in range(12)}


@pytest.mark.parametrize(("speakers", "folds"), [(3, 3), (5, 5), (9, 5)])
def test_as_many_folds_as_speakers_allow(speakers, folds):
    _, split = train.split_of(people(speakers), None)
    outer = f"!name:speechbrain_ser.data.splits.by_actor {{n_folds: {folds}}}"
    assert split.endswith(f"without_validation {{outer: {outer}}}")


def test_too_few_speakers_are_told(capsys):
    _, split = train.split_of(people(2), None)
    assert "random_folds {n_folds: 5}" in split
    assert "2 speakers are too few to keep some apart" in capsys.readouterr().out


@pytest.mark.parametrize("folds", [2, 7])
def test_folds_that_leave_nobody_to_hear_are_refused(folds):
    with pytest.raises(InputError, match=f"--folds is {folds}: 6 speakers can be dealt into 3 to"):
        train.split_of(people(6), folds)


def test_the_middle_layers():
    for blocks, middle in ((1, [0, 1]), (2, [0, 1, 2]), (4, [1, 2, 3]), (6, [2, 3, 4])):
        encoder = Encoder(TINY | {"num_hidden_layers": blocks})
        assert EncoderLayers(encoder, "middle").layers == middle
    with pytest.raises(InputError, match="layers is 'top': use all, middle, or a list"):
        EncoderLayers(encoder, "top")


def test_from_a_table_to_models(tmp_path, monkeypatch, capsys, in_this_process):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(1)
    lines = ["path,emotion,speaker"]
    for speaker in "ABC":
        for number, emotion in enumerate(("low", "high", "low", "other")):
            name = f"{speaker}{number}.wav"
            tone = np.sin(np.arange(4800) * (0.05 if emotion == "low" else 0.5))
            soundfile.write(name, 0.1 * tone + 0.01 * draw.standard_normal(4800), 16_000)
            lines.append(f"{name},{emotion},{speaker}")
    (tmp_path / "tones.csv").write_text("\n".join(lines))
    words = ("train", "tones.csv", "--labels", "low,high", "--epochs", 2)
    assert ser(*words, "--encoder", TINY) == 0
    said = capsys.readouterr().out
    folder = tmp_path / "results/combined_tones"
    for fold in (1, 2, 3):
        results = json.loads((folder / f"fold{fold}/1000/results.json").read_text())
        assert results["labels"] == ["low", "high"] and results["epochs"] == 2
        assert results["protocol"] == "honest, speaker-independent"
        assert np.sum(results["confusion"]) == 3
    assert (folder / "confusion.png").is_file() and (folder / "fold1/1000/best").is_dir()
    assert (
        "3 speakers" not in said and "ser classify results/combined_tones/fold1/1000/best" in said
    )
    assert ser(*words, "--encoder", TINY) == 0  # nothing is trained twice
    assert "3 runs, 3 done" in capsys.readouterr().out
    assert ser(*words, "--encoder", TINY, "--epochs", 3) == 1
    said = capsys.readouterr().out
    assert "3 runs, 0 done" in said, "those are of 2 epochs"
    assert said.count("for the schedule warm_up depends on their number: give this run a --v") >= 3
