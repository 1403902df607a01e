"""ser corpora list: every corpus that --corpus takes, and all of one."""

import pytest
from conftest import RECIPES, ser

from speechbrain_ser import hparams as hp
from speechbrain_ser.commands import corpora_list
from speechbrain_ser.data.corpora import known


def said_of(capsys, *words) -> str:
    assert ser("corpora", "list", *words) == 0
    return capsys.readouterr().out


def test_a_line_for_each_that_can_be_chosen(capsys):
    said = said_of(capsys)
    lines = said.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["name", "speakers", "utterances", "emotions", "language", "licence"]
    names = [line.split()[0] for line in lines[1 : lines.index("")]]
    assert sorted(names) == sorted(hp.fragments(RECIPES / "common"))
    (crema_d,) = (line for line in lines if line.startswith("crema_d "))
    assert crema_d.split() == "crema_d 91 7,442 6 en Open Database License 1.0".split()
    (ravdess,) = (line for line in lines if line.startswith("ravdess "))
    assert ravdess.split()[:5] == ["ravdess", "24", "1,440", "8", "en"]


def test_all_of_one(capsys):
    said = said_of(capsys, "crema_d")
    for told in (
        "crema_d: CREMA-D, Crowd-sourced Emotional Multimodal Actors Dataset",
        "angry, disgust, fearful, happy, neutral, sad",
        "Open Database License 1.0",
        "Cao, Cooper, Keutmann, Gur, Nenkova and Verma 2014",
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "hparams/combined.yaml --data_folder PATH",
        "--corpus crema_d\n",
        "SER_CREMA_D=PATH",
    ):
        assert told in said
    assert "--corpus tess --split '!name:speechbrain_ser.data.splits.stratified {}'" in said_of(
        capsys, "tess"
    )
    assert "not stated" in said_of(capsys, "emodb")
    assert "en, zh" in said_of(capsys, "esd")


@pytest.mark.parametrize("name", corpora_list.entries())
def test_what_is_told_fits_a_terminal_and_the_recipe_exists(name, capsys):
    lines = said_of(capsys, name).splitlines()
    assert max(map(len, lines)) <= 100
    script, yaml = lines[-3].split()[1:3]
    assert (RECIPES.parent / script).is_file()
    assert ((RECIPES.parent / script).parent / yaml).is_file()


def test_an_unknown_one(capsys):
    assert ser("corpora", "list", "emo_db") == 2
    said = capsys.readouterr().err
    assert said.startswith("ser corpora list: corpus 'emo_db' is unknown: use one of iemocap, ")
    assert said.endswith("; did you mean emodb?\n")


def test_licences_are_those_of_the_model_cards():
    entries = corpora_list.entries()
    for name, corpus in known.CORPORA.items():
        assert (entries[name].licence, entries[name].citation) == (corpus.licence, corpus.citation)
