"""Several processes: shares of batches, gathered scores, and a torchrun that equals one process."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import RECIPES, ROOT, TINY, run, thinned
from torch import nn

from speechbrain_ser import parallel
from speechbrain_ser.data.corpora import iemocap, mini
from speechbrain_ser.data.datasets import ShuffledBatches
from speechbrain_ser.errors import InputError
from speechbrain_ser.training import experiment

SCRIPT = "recipes/IEMOCAP/train_multitask.py"
FOLDER = "multitask_few/fold1/1000"
STILL = "{hidden_dropout: 0, attention_dropout: 0, projection_dropout: 0}"
WORDS = [SCRIPT, "hparams/multitask.yaml", "--corpus", "table", "--max_epochs", "2"]
WORDS += ["--batch_size", "17", "--test_batch_size", "32", "--noprogressbar", "--workers", "0"]
WORDS += ["--encoder", str(TINY), "--dim", "16", "--dropout", "0", "--time_mask", "0"]
WORDS += ["--network", STILL, "--tasks", "[emotion, gender, asr]"]


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """A few recordings of each speaker."""
    manifest = thinned(iemocap.prepare(mini.make("iemocap")))
    path = tmp_path_factory.mktemp("corpus") / "few.csv"
    columns = ("wav", "emotion", "speaker", "gender", "words")
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*columns[:-1], "transcript"])
        rows.writerows([row[column] for column in columns] for row in manifest.values())
    return path


def start(results: Path, table: Path) -> subprocess.Popen:
    """A run on two processes, with one thread each."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*torchrun, "--nproc_per_node", "2", *words(results, table)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def words(results: Path, table: Path) -> list[str]:
    return [*WORDS, "--data_folder", str(table), "--results", str(results)]


def finished(process: subprocess.Popen) -> str:
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def history_of(folder: Path) -> list[dict]:
    """The epochs' rows from the counter's newest checkpoint."""
    (newest,) = sorted(folder.glob("save/CKPT*epoch0002*/epochs.ckpt"))
    return json.loads(newest.read_text())["history"]


@pytest.fixture(scope="module")
def one(table, tmp_path_factory) -> Path:
    """The run of one process: this one."""
    results = tmp_path_factory.mktemp("one")
    run(RECIPES / "IEMOCAP" / WORDS[1], words(results, table)[1:], whole=True)
    return results / FOLDER


def assert_same(one: Path, two: Path) -> None:
    for alone, together in zip(history_of(one), history_of(two), strict=True):
        assert together == pytest.approx(alone, rel=1e-5)
    results = [json.loads((folder / "results.json").read_text()) for folder in (one, two)]
    same = ("confusion", "WA", "UA", "F1", "UA_gender", "WER", "best_epoch", "parameters")
    assert {k: results[1][k] for k in same} == {k: results[0][k] for k in same}
    rows = [
        list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))
        for folder in (one, two)
    ]
    for alone, together in zip(*rows, strict=True):
        for name, value in alone.items():
            if name in results[0]["labels"]:
                assert float(together[name]) == pytest.approx(float(value), abs=1e-5)
            else:
                assert together[name] == value


def test_two_processes_do_what_one_does_and_a_killed_worker_leaves_a_run_that_goes_on(
    one, table, tmp_path
):
    """Batches of 17, the last smaller: shares of unequal size; both epochs, and the test."""
    folder = tmp_path / FOLDER
    process = start(tmp_path, table)
    deadline = time.monotonic() + 120
    while not list(folder.glob("save/CKPT*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    asked = ["pgrep", "-f", "--", f"{WORDS[0]}.*{tmp_path}"]
    workers = subprocess.run(asked, capture_output=True, text=True).stdout.split()
    workers = [int(pid) for pid in workers if int(pid) != process.pid]
    os.kill(max(workers), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (folder / "results.json").exists()
    said = finished(start(tmp_path, table))
    assert said.count("table, fold 1\n") == 1  # the first process speaks for both
    assert_same(one, folder)


def test_what_only_one_process_can_do_is_refused(monkeypatch):
    settings = {"experiment": "knn", "max_epochs": 0, "contrastive": None, "contrastive_weight": 0}
    experiment.refuse_alone_only(settings)
    monkeypatch.setattr(parallel, "size", lambda: 2)
    with pytest.raises(InputError, match="knn trains nothing: start it without torchrun"):
        experiment.refuse_alone_only(settings)
    settings |= {"max_epochs": 3, "contrastive": {}, "contrastive_weight": 0.1}
    with pytest.raises(InputError, match="compares all utterances of a batch"):
        experiment.refuse_alone_only(settings)
    experiment.refuse_alone_only(settings | {"contrastive_weight": 0})


@pytest.mark.parametrize(("items", "size"), [(10, 3), (7, 2), (5, 4), (2, 3)])
def test_weighted_means_of_shares_are_the_mean_of_the_batch(monkeypatch, items, size):
    monkeypatch.setattr(parallel, "size", lambda: size)
    losses = torch.rand(items, dtype=torch.float64)
    whole = ShuffledBatches(["a"] * items, batch_size=4, seed=0)
    own = {}
    for rank in range(size):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        batches = parallel.SharedBatches(whole)
        for step, batch in enumerate(batches, start=1):
            own.setdefault(step, []).append(batches.weight(step) * losses[batch].mean())
    for step, batch in enumerate(whole, start=1):
        assert sum(own[step]) / size == pytest.approx(losses[batch].mean().item())


def test_one_process_has_it_all():
    assert (parallel.size(), parallel.rank(), parallel.is_first()) == (1, 0, True)
    assert parallel.share([3, 1, 2]) == [3, 1, 2]
    assert parallel.gather("x") == ["x"]
    with parallel.first_alone():
        parallel.wait()


def test_gradients_are_averaged_and_what_none_used_has_none(monkeypatch):
    """all_reduce of two processes, of which the other has the gradients 3 and none."""
    model = nn.ParameterList([nn.Parameter(torch.zeros(2)) for _ in range(3)])
    model[0].grad = torch.ones(2)
    other = {torch.int32: torch.tensor([1, 1, 0]), torch.float32: torch.tensor([3.0, 3, 5, 5])}
    monkeypatch.setattr(parallel, "size", lambda: 2)
    monkeypatch.setattr(
        parallel.distributed, "all_reduce", lambda own, group=None: own.add_(other[own.dtype])
    )
    parallel.average_gradients(model)
    assert model[0].grad.tolist() == [2, 2]
    assert model[1].grad.tolist() == [2.5, 2.5]
    assert model[2].grad is None


def test_every_recipe_that_trains_may_be_shared():
    """No yaml has a contrastive loss or no epochs but those that say so."""
    alone = {"knn", "ensemble", "supcon", "verification"}
    for path in RECIPES.glob("*/hparams/*.yaml"):
        text = path.read_text()
        assert ("contrastive: !new" in text or "max_epochs: 0" in text) == (path.stem in alone)
