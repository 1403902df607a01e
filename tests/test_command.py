"""`ser`: its commands, its help, and the wheel that has it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib import import_module

import pytest
from conftest import RECIPES, ROOT, TINY, ser

from speechbrain_ser import __main__ as command


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_s_help_shows_how_to_call_it(name, capsys):
    with pytest.raises(SystemExit) as ended:
        ser(*name.split(), "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: ser {name} ") and f"\nser {name} " in text.replace("    ", "")


def test_each_file_of_commands_is_one(capsys):
    files = {path.stem for path in (ROOT / "speechbrain_ser/commands").glob("[!_]*.py")}
    assert files == {name.translate(command.MODULE) for name in command.COMMANDS}
    for words in ([], ["--help"]):
        with pytest.raises(SystemExit) as ended:
            ser(*words)
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert all(f"  {name} " in text for name in command.COMMANDS)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["clasify", "x"], "there is no command 'clasify x': use classify, annotate"),
        (
            ["plot"],
            "there is no command 'plot': use plot confusion, plot layers, plot embedd",
        ),
        (["classify", "--jsn", "m", "f"], "unrecognized arguments: --jsn"),
        (["run"], "the following arguments are required: ROW"),
    ],
)
def test_what_is_no_command_is_told(words, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        ser(*words)
    assert ended.value.code == 2 and sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["park2023/nothing"], "there is no row park2023/nothing"),
        (["nothing.py", "hparams/x.yaml"], "there is no script nothing.py: give a row, or one of"),
    ],
)
def test_what_cannot_be_run_is_told(words, sentence, capsys):
    assert ser("run", *words) == 2
    assert capsys.readouterr().err.startswith(f"ser run: {sentence}")


def test_a_row_runs_from_any_folder_with_settings_of_its_own(tmp_path, monkeypatch, capsys):
    """The recipe's own boundary ends it: here by a setting that it refuses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    with pytest.raises(SystemExit) as ended:
        ser("run", "park2023/T3/emotion-arcface-k4", "--mini", "True", "--lr", "-1")
    assert ended.value.code == 2
    said = capsys.readouterr()
    script = RECIPES / "IEMOCAP/train_emotion.py"
    assert said.out.startswith(f"park2023/T3/emotion-arcface-k4: python {script} hparams/")
    assert "train_emotion.py: lr is -1" in said.err


def test_without_recipes_a_sentence_says_where_they_are(monkeypatch, tmp_path, capsys):
    rows = import_module("speechbrain_ser.campaign.rows")
    monkeypatch.setattr(rows, "RECIPES", tmp_path / "recipes")
    for words in (["reproduce", "--list"], ["run", "park2023/T3"], ["summarize"]):
        assert ser(*words) == 2
        assert "clone the repository" in capsys.readouterr().err


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A call of a program in an environment that has a wheel of this package and no checkout."""
    folder = tmp_path_factory.mktemp("installed")
    source, fresh = folder / "source", folder / "fresh"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("speechbrain_ser", "recipes"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}

    def call(*words, cwd=folder):
        ended = subprocess.run(
            list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    call(*pip, "wheel", *alone, "--no-build-isolation", "--wheel-dir", folder, source)
    shutil.rmtree(source)
    venv.create(fresh)
    site = next(fresh.glob("lib/python*/site-packages"))
    # what the package needs, but not the checkout, which another .pth of that folder names
    (site / "needed.pth").write_text(sysconfig.get_paths()["purelib"])
    call(*pip, "--python", fresh / "bin/python", "install", *alone, *folder.glob("*.whl"))
    found = call(fresh / "bin/python", "-c", "import speechbrain_ser as p; print(p.__file__)")
    assert found.startswith(str(site))

    def program(*words, cwd=folder):
        return call(fresh / "bin/ser", *words, cwd=cwd)

    program.site = site
    return program


def test_a_wheel_classifies_without_the_checkout(installed, runs):
    assert "classify" in installed("--help")
    best = runs / "emotion/fold1/1000/best"
    wav = next(iter(entries_of(runs)))["wav"]
    line = installed("classify", best, wav, "--csv").splitlines()[1]
    assert line.split(",")[3] in ("angry", "happy", "sad", "neutral")


def test_a_wheel_has_all_that_is_no_code(installed):
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "speechbrain_ser").rglob("*.*")}
    needed = {path for path in there if not path.endswith((".py", ".pyc"))}
    site = installed.site
    assert needed and {path for path in needed if not (site / path).is_file()} == set()


@pytest.mark.slow
def test_a_wheel_shares_a_model(installed, runs, tmp_path):
    run = runs / "emotion/fold1/1000"
    assert installed("push", run, "--export", tmp_path / "shared", "--files", "1")


@pytest.mark.slow
def test_a_wheel_has_the_recipes(installed, runs, tmp_path):
    rows = ["path,emotion,speaker"]
    rows += [f"{entry['wav']},{entry['emotion']},{entry['speaker']}" for entry in entries_of(runs)]
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    small = ["--encoder", "tiny.json", "--folds", "3", "--epochs", "1", "--width", "8"]
    said = installed("train", "mine.csv", *small, cwd=tmp_path)
    assert "pooled folds" in said and "ser classify results/combined_mine/fold1/" in said
    assert "park2023/T3/" in installed("reproduce", "park2023", "--table", "3", "--list")
    assert "combined_mine" in installed("results", "results", cwd=tmp_path)


def entries_of(runs) -> list[dict]:
    manifest = (runs / "emotion/fold1/1000/manifest.json").read_text()
    return list(json.loads(manifest).values())
