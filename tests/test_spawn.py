"""Workers that are spawned, as on macOS and Windows: all that they need can be pickled."""

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from benchmarks.common import recordings
from conftest import RECIPES, ROOT, YAMLS, earlier, run, script_of, tiny

from speechbrain_ser.campaign import plan
from speechbrain_ser.data import datasets
from speechbrain_ser.data import store as features

EMOTION = RECIPES / "IEMOCAP/hparams/emotion.yaml"
CACHED = [RECIPES / f"IEMOCAP/hparams/{name}.yaml" for name in ("emotion", "fusion", "two_stage")]
KINDS = [(yaml, []) for yaml in YAMLS] + [(yaml, ["--cache", "float16"]) for yaml in CACHED]
IDS = [f"{yaml.parts[-3]}-{yaml.stem}{'-cached' if words else ''}" for yaml, words in KINDS]


class Made(Exception):
    """A run has come as far as its datasets."""


@pytest.mark.parametrize(("yaml", "words"), KINDS, ids=IDS)
def test_the_datasets_of_every_recipe_pickle(yaml, words, runs, tmp_path, monkeypatch):
    made = []

    def keep(dataset, *_):
        made.append(dataset)
        if len(made) == 3:
            raise Made

    plan.brain_of(script_of(yaml))  # its script, imported later, would hold on to `keep`
    monkeypatch.setattr(datasets, "make_loader", keep)
    monkeypatch.setattr(features, "cache_folder", lambda: tmp_path)
    with pytest.raises(Made):
        run(yaml, tiny(yaml, tmp_path, *earlier(yaml, runs), *words))
    for dataset in made:  # training, validation, test
        copy = pickle.loads(pickle.dumps(dataset))
        assert list(copy.data_ids) == list(dataset.data_ids)
        item, other = dataset[0], copy[0]
        assert item.keys() == other.keys()
        for key, value in item.items():
            same = torch.equal if isinstance(value, torch.Tensor) else value.__class__.__eq__
            assert same(value, other[key]), key


SPAWNING = """
import multiprocessing, runpy, sys
multiprocessing.set_start_method("spawn")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_a_recipe_trains_with_spawned_workers(tmp_path):
    rows = ["path,emotion,speaker"]
    for number, entry in enumerate(recordings(tmp_path, 40, 0.3).values()):
        rows.append(f"{entry['wav']},{entry['emotion']},speaker{number // 8}")
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    words = tiny(EMOTION, tmp_path, "--corpus", "table", "--data_folder", f"{tmp_path}/mine.csv")
    words[words.index("--mini") + 1] = "False"
    done = subprocess.run(
        [sys.executable, "-c", SPAWNING, str(script_of(EMOTION)), *words]
        + ["--max_epochs", "1", "--workers", "1"],  # for each of the three parts
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "emotion_mine/fold1/1000/results.json").read_text())
    assert results["epochs"] == 1
