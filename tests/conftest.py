"""Recipes run in the test process, with a network of a few thousand weights."""

import importlib.util
import multiprocessing
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
import torch
from benchmarks.common import TINY

from speechbrain_ser import __main__
from speechbrain_ser.campaign import launchers, plan
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import curves, plots, reliability
from speechbrain_ser.training import experiment, source

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
SMALL = {"encoder": str(TINY), "dim": "16", "width": "16", "updates_per_epoch": "2"}
PHASES = ("emotion", "fusion", "asr_gender", "two_stage", "supcon", "knn")
YAMLS = sorted(RECIPES.glob("*/hparams/*.yaml"))
# the files that take longest start first, so that no process has one left when the others are done
LONGEST = (
    "results",
    "experiment",
    "families",
    "campaign",
    "parallel",
    "spawn",
    "probe",
    "multitask",
)


def script_of(yaml: Path) -> Path:
    """The script that a yaml's header names."""
    return ROOT / re.search(r"recipes/\w+/\w+\.py", yaml.read_text())[0]


def tiny(yaml: Path, results: Path, *overrides: str) -> list[str]:
    """A command line for the mini corpora: 2 epochs of a few batches."""
    words = [str(yaml), "--mini", "True", "--results", str(results), "--max_epochs", "2"]
    words += ["--batch_size", "64", "--test_batch_size", "32", "--noprogressbar"]
    for key, value in SMALL.items():
        if re.search(f"^{key}:", yaml.read_text(), flags=re.MULTILINE):
            words += [f"--{key}", value]
    if "FeatureStore" in yaml.read_text():
        words += ["--store", f"{{folder: {os.environ['SER_TEST_FEATURES']}}}"]
    return [*words, *overrides]


def earlier(yaml: Path, runs: Path) -> list[str]:
    """Words that name the runs from which a yaml's run starts, of the fixture `runs`."""
    if yaml.stem == "ensemble":
        return ["--members", f"{{only: {runs}/member/fold1/42}}"]
    experiments = {"pretrained": "asr_gender", "trained": "supcon"}
    words = []
    for name in re.findall(r"^(\w+)_best:", yaml.read_text(), flags=re.MULTILINE):
        words += [f"--{name}_best", f"{runs}/{experiments.get(name, name)}/fold1/1000/best"]
    return words


def script_module(script: Path):
    """A recipe's script as a module."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(yaml: Path, arguments: list[str], whole: bool = False, figures: bool = False) -> None:
    """Run a recipe in this process, as its script would, on a tenth of its corpus or all.

    Without its figures, which take a fifth of its time.
    """
    script, prepare = script_of(yaml), source.prepare
    with pytest.MonkeyPatch.context() as patch:
        if not whole:
            patch.setattr(source, "prepare", lambda *call: thinned(prepare(*call)))
        if not figures:
            patch.setattr(plots, "confusion_matrix", lambda *_, **__: None)
            patch.setattr(curves, "training", lambda *_: None)
            patch.setattr(reliability, "of_run", lambda *_: None)
        experiment.run_once(plan.brain_of(script), script, arguments)


def thinned(manifest: dict[str, dict]) -> dict[str, dict]:
    """The first tenth of what each speaker says in each emotion, style and part, rounded up."""
    fields = ("speaker", "emotion", "style", "split")
    groups: dict[tuple, list[str]] = {}
    for utt_id, entry in manifest.items():
        groups.setdefault(tuple(entry.get(field) for field in fields), []).append(utt_id)
    kept = {utt_id for ids in groups.values() for utt_id in ids[: -(-len(ids) // 10)]}
    return {utt_id: entry for utt_id, entry in manifest.items() if utt_id in kept}


@pytest.fixture
def in_this_process(monkeypatch):
    """A campaign makes its runs here, one after the other: to start Python takes seconds."""

    def execute(words, _, log, *__) -> int:
        script, *arguments = words
        try:
            experiment.run_once(plan.brain_of(Path(script)), Path(script), arguments)
        except InputError as error:
            Path(log).parent.mkdir(parents=True, exist_ok=True)
            Path(log).write_text(str(error))
            return 2
        return 0

    monkeypatch.setattr(launchers, "execute", execute)


def forked(function: Callable, *arguments) -> multiprocessing.process.BaseProcess:
    """A process that calls a function; it begins as a copy of this one, which imported all."""

    def alone() -> None:
        os.setsid()
        torch.set_num_threads(1)  # OpenMP's others are not copied
        function(*arguments)

    process = multiprocessing.get_context("fork").Process(target=alone)
    process.start()
    return process


def ser(*words) -> int:
    """The exit status of a command, called in this process."""
    return __main__.main([str(word) for word in words])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}": position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def shared_folder(tmp_path_factory) -> Path:
    """A folder of this session of tests, the same in all of its processes."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def stored_features(tmp_path_factory):
    """What tiny runs store of the mini corpora (eGeMAPS above all) is computed once a session.

    A store's folder is named by all that decides the features, and one process at a time writes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SER_TEST_FEATURES", str(shared_folder(tmp_path_factory) / "features"))
        yield


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """Tiny runs of fold 1: Park's three phases, Gao's two, Wang's two and a member.

    Of several test processes one makes them, and the others get copies that name their own folder.
    """
    results = tmp_path_factory.mktemp("results")
    first = shared_folder(tmp_path_factory) / "runs.txt"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        make_runs(results)
        return results
    with filelock.FileLock(first.with_suffix(".lock")):
        if not first.is_file():
            make_runs(results)
            kept = shutil.copytree(results, first.with_suffix(""))
            first.write_text(f"{results}\n{kept}")
            return results
    made_in, kept = first.read_text().splitlines()
    shutil.copytree(kept, results, dirs_exist_ok=True)
    for path in results.rglob("*"):
        if path.suffix in (".yaml", ".json", ".txt"):
            path.write_text(path.read_text().replace(made_in, str(results)))
    return results


def make_runs(results: Path) -> None:
    names = ("VoxCeleb1/hparams/speaker", "RAVDESS/hparams/member")
    names += tuple(f"IEMOCAP/hparams/{name}" for name in PHASES)
    for name in names:
        yaml = RECIPES / f"{name}.yaml"
        run(yaml, tiny(yaml, results))


@pytest.fixture
def without_corpora(monkeypatch):
    """No corpus is named by the environment."""
    for variable in list(os.environ):
        if re.fullmatch("SER_(IEMOCAP|NEMO|RAVDESS|VOXCELEB1|TABLE|EMOBOX)", variable):
            monkeypatch.delenv(variable)
