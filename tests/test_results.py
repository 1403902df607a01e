"""RESULTS.csv: every row is a command that resolves and builds, and the paper's own number."""

import csv
import importlib.util
import shlex
from functools import cache
from pathlib import Path

import pytest
import speechbrain as sb
import torch
from conftest import RECIPES, ROOT, TINY

from speechbrain_ser import experiment, phases
from speechbrain_ser import hparams as hp
from speechbrain_ser.data import ShuffledBatches, UnderSampledBatches
from speechbrain_ser.errors import InputError
from speechbrain_ser.losses import ArcFace
from speechbrain_ser.models.heads import CosineHead, LinearHead

FILES = sorted(RECIPES.glob("*/RESULTS.csv"))
COLUMNS = (
    "paper item row script hparams overrides protocol corpus paper_WA paper_UA paper_sd "
    "WA UA UA_sd WA_pooled UA_pooled folds seeds commit note"
).split()
PARK = [
    row
    for name in ("IEMOCAP", "VoxCeleb1")
    for row in csv.DictReader((RECIPES / name / "RESULTS.csv").read_text().splitlines())
    if row["paper"] == "Park 2023"
]
IDS = [f"{row['item']}-{row['row']}-{row['protocol']}" for row in PARK]


def resolve(script: Path, words: list[str]) -> dict:
    """The resolved settings of a command line of a recipe, as a run with a corpus makes them."""
    hparams_file, _, given = sb.parse_arguments(words)
    path = experiment.find_yaml(hparams_file, script)
    return hp.resolve(experiment.read_settings(path, hp.command_line(given)), path)


@cache
def _settings(script: str, hparams: str, overrides: str):
    return resolve(ROOT / script, [hparams, *shlex.split(overrides)])


def settings_of(row: dict):
    return _settings(row["script"], row["hparams"], row["overrides"])


def paper(item: str, row: str, protocol: str = "honest") -> tuple[str, str]:
    """The one row's WA and UA of the paper."""
    (found,) = [
        r for r in PARK if (r["item"], r["row"], r["protocol"]) == (item, row, protocol)
    ]
    return found["paper_WA"], found["paper_UA"]


def row_with_best(best: str) -> dict:
    """The row whose run exports that best/ folder."""
    found = [row for row in PARK if f"{settings_of(row)['output_folder']}/best" == best]
    assert found, f"no row leaves {best}"
    return found[0]


@pytest.fixture(autouse=True)
def corpora_named(monkeypatch):
    """With a corpus named, settings are the paper's own; nothing is read from it here."""
    for corpus in ("IEMOCAP", "VOXCELEB1"):
        monkeypatch.setenv(f"SER_{corpus}", f"/corpora/{corpus}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_columns_and_cells(path):
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert rows
    for row in rows:
        assert set(COLUMNS) <= set(row) and None not in row, row
        assert row["protocol"] in ("honest", "replication")
        assert (ROOT / row["script"]).is_file()
        assert (ROOT / row["script"]).parent.joinpath(row["hparams"]).is_file()
    keys = [(r["paper"], r["item"], r["row"], r["protocol"], r["overrides"]) for r in rows]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("row", PARK, ids=IDS)
def test_every_row_resolves_and_says_its_corpus_and_protocol(row):
    settings = settings_of(row)
    assert not settings["mini"]
    assert settings["corpus"]["name"] == row["corpus"]
    assert settings["protocol"] == row["protocol"]


@pytest.mark.parametrize("overrides", ["--block 1", "--reader '{test_windw: random}' --betta 1"])
def test_an_unknown_setting_would_be_noticed(overrides):
    with pytest.raises(InputError, match="there is no setting"):
        _settings("recipes/IEMOCAP/train_emotion.py", "hparams/emotion.yaml", overrides)


def test_an_output_folder_has_one_setting_and_a_seed_and_fold_of_its_own():
    folders: dict[str, dict] = {}
    for row in PARK:
        settings = settings_of(row)
        known = folders.setdefault(settings["output_folder"], hp.plain(settings))
        assert hp.differences(known, hp.plain(settings)) == [], row
        assert settings["output_folder"].endswith("/fold1/1000")
    assert len(folders) == 32


@pytest.mark.parametrize("row", PARK, ids=IDS)
def test_the_phases_that_a_row_starts_from_are_rows(row):
    """What a run with a missing phase tells the user to run makes exactly the row's settings."""
    settings = settings_of(row)
    overrides = hp.command_line(sb.parse_arguments([row["hparams"], *words_of(row)])[2])
    for phase in settings["phases"].values():
        earlier = row_with_best(phase["best"])
        assert earlier["protocol"] == row["protocol"] or not earlier["overrides"], row
        script, *words = phases.command(phase, settings, overrides, ROOT / row["script"])
        told = resolve((RECIPES / phase["recipe"].split()[0]).resolve(), words)
        assert script.endswith(phase["recipe"].split()[0])
        assert hp.differences(hp.plain(settings_of(earlier)), hp.plain(told)) == []


def words_of(row: dict) -> list[str]:
    return shlex.split(row["overrides"])


def small(row: dict):
    """The row's settings with a network of a few thousand weights and all targets known."""
    settings = settings_of(row)
    tree = hp.load_tree(hp.dump(settings))
    text = (ROOT / row["script"]).parent.joinpath(row["hparams"]).read_text()
    tree = experiment.read_settings(
        experiment.find_yaml(row["hparams"], ROOT / row["script"]),
        hp.command_line(sb.parse_arguments([row["hparams"], *words_of(row)])[2]),
    )
    changes = {"dim": 16, "channels": [16] * 5, "attention_channels": 8, "encoder": TINY}
    hp.override(tree, {key: value for key, value in changes.items() if f"\n{key}:" in text})
    named = {"emotion": ["angry", "happy", "sad", "neutral"], "speaker": ["a", "b", "c"]}
    hp.override(tree, {"targets": {field: named[field] for field in settings["targets"]}})
    networks = {
        name: small(row_with_best(phase["best"]))["model"]
        for name, phase in settings["phases"].items()
    }
    hp.override(tree, {name: hp.bare(network) for name, network in networks.items()})
    return hp.resolve(tree, experiment.find_yaml(row["hparams"], ROOT / row["script"]))
