"""The demo's command: which models it finds, what it refuses, the folder of a Space."""

import ast
import os
import re
import shutil
import sys

import pytest
import torch
from conftest import ser
from test_demo import model

gradio = pytest.importorskip("gradio")
from speechbrain_ser.commands import demo  # noqa: E402
from speechbrain_ser.models import seen  # noqa: E402
from speechbrain_ser.sharing import card, space  # noqa: E402


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Runs of two folds, one of speakers, and one whose model is damaged."""
    folder = tmp_path_factory.mktemp("made") / "results"
    model(folder / "fusion/fold1/1000/best")
    model(folder / "fusion/fold2/1000/best")
    known = [seen.entry("c", "salt", ["angry", "happy", "sad"], ["a"])]
    model(folder / "speaker/fold1/1000/best", known)
    (model(folder / "broken/fold1/1000/best") / "hyperparams.yaml").write_text("labels: [")
    return folder


@pytest.fixture(scope="module")
def best(results):
    return results / "fusion/fold1/1000/best"


def test_the_page_says_what_a_model_was_trained_on(best, tmp_path):
    text = card.about(best)
    assert "synthesised speech in the layout of IEMOCAP (3 recordings of 2 speakers)" in text
    assert (
        "(honest) 61.2 % got the right one of 2 emotions" in text and "guessing gets 50.0 %" in text
    )
    assert "knows nothing of people's emotions" in text
    copy = shutil.copytree(best, tmp_path / "copy")
    (copy / "trained_on.json").write_text("[]")
    assert card.about(copy) == "What it was trained on is not told."
    for facts in ('{"a": 1}', "[1]", '{"a": '):
        (copy / "trained_on.json").write_text(facts)
        assert card.about(copy).startswith("What it was trained on cannot be read")


def test_the_list_tells_scores(best, tmp_path):
    assert card.score(best) == "UA 61.2 %"
    (tmp_path / "results.json").write_text('{"CCC": 0.527, "CCC_valence": 0.527}')
    assert card.score(tmp_path) == "CCC 0.53"
    for facts in ('{"UA": "x"}', "[]", "{"):
        (tmp_path / "results.json").write_text(facts)
        assert card.score(tmp_path) == ""
    assert card.score(tmp_path / "absent") == ""


def test_the_newest_model_is_first(results, monkeypatch):
    names = [f"fusion/fold{fold}/1000" for fold in (1, 2)]
    for newest in (0, 1):
        for place, name in enumerate(names):
            seconds = 1e9 + (place == newest)
            os.utime(results / name / "best/model.safetensors", (seconds, seconds))
        assert list(demo.find([str(results)]))[0] == names[newest]


def test_models_are_found_and_named_apart(results, best, monkeypatch):
    find = demo.find
    runs = [results / f"fusion/fold{fold}/1000/best" for fold in (1, 2)]
    expected = {"fusion/fold1/1000": str(runs[0]), "fusion/fold2/1000": str(runs[1])}
    assert find([str(results)]) == expected  # neither the speakers' nor the broken one
    assert find([str(results / "fusion/fold2"), str(best)]) == dict(reversed(expected.items()))
    assert find([str(best.parent)]) == find([str(best)]) == find([str(best)] * 2)
    copy = shutil.copytree(best, results.parent / "elsewhere/fusion/fold1/1000/best")
    names = ["results/fusion/fold1/1000", "elsewhere/fusion/fold1/1000"]
    assert list(find([str(best), str(copy)])) == names
    shared = shutil.copytree(best, results.parent / "shared")
    assert find([str(shared)]) == {"shared": str(shared)}
    monkeypatch.chdir(best)
    assert list(find(["."])) == ["fusion/fold1/1000"]


def test_what_cannot_be_shown_is_a_sentence(results, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "void").mkdir()
    for words, sentence in (
        (["results"], "there is no folder results: .* bash tools/quickstart.sh"),
        (["--device", "cuda:7"], "no CUDA device"),  # the package's own model is found
        (["nothing"], "there is no folder nothing"),
        (["void"], "void is not a model folder"),
        (["user/name"], "user/name is neither a local model folder nor a Hub repository"),
        ([str(results / "speaker")], "no model in .* names no emotions, but speakers"),
        ([str(results / "broken/fold1/1000/best")], "hyperparams.yaml"),
        ([str(results / "fusion"), "--space", "void"], "void is there already"),
        ([str(results / "fusion"), "--device", "cuda:7"], "no CUDA device"),
    ):
        assert ser("demo", *words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("ser demo: ") and re.search(sentence, line)
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "speechbrain_ser.sharing.demo")
    monkeypatch.delattr("speechbrain_ser.sharing.demo")
    assert ser("demo", results / "fusion") == 2
    assert "pip install 'speechbrain-ser[demo]'" in capsys.readouterr().err


def test_a_space_s_folder_names_what_it_needs(best, tmp_path, monkeypatch):
    folder = tmp_path / "space"
    monkeypatch.setattr(space.saved, "find", lambda source: best)
    space.write({"mine": str(best), "theirs": "user/name"}, folder)
    page = (folder / "README.md").read_text()
    assert "sdk: gradio" in page and f"sdk_version: {gradio.__version__}" in page
    assert "app_file: app.py" in page and "models:\n- user/name\n" in page
    wanted = (folder / "requirements.txt").read_text()
    assert (
        wanted.startswith("torch<2.12,>=2.11\n")
        and "\nscipy\n" in wanted
        and "opensmile" not in wanted
    )
    app = (folder / "app.py").read_text()
    models = ast.literal_eval(app.partition("MODELS = ")[2].partition("\n\n")[0])
    assert models == {"mine": "models/1", "theirs": "user/name"}
    kept = [path.name for path in (folder / "models/1").iterdir()]
    assert sorted(kept) == sorted(path.name for path in best.iterdir())
    copied = folder / "speechbrain_ser"
    others = {path for path in copied.rglob("*.*") if path.suffix != ".py"}
    assert others == {
        copied / "sharing/templates" / path.name for path in space.TEMPLATES.iterdir()
    }
    assert str(tmp_path) not in app + page + wanted and not list(folder.rglob("__pycache__"))


def test_a_space_carries_nothing_but_the_models(best, tmp_path, capsys):
    """Links of a stranger's model do not lead recordings out."""
    theirs = shutil.copytree(best, tmp_path / "theirs")
    (tmp_path / "private").mkdir()
    (tmp_path / "private/me.wav").write_bytes(b"private")
    (theirs / "more").symlink_to(tmp_path / "private")
    (theirs / ".env").write_text("TOKEN=private")
    words = [str(theirs), "--space", str(tmp_path / "space")]
    assert ser("demo", *words) == 0
    assert f"left out: {theirs}/.env, {theirs}/more" in capsys.readouterr().out
    for path in (tmp_path / "space").rglob("*"):
        assert not path.is_symlink() and (path.is_dir() or b"private" not in path.read_bytes()[:99])
    assert len(list((tmp_path / "space/models/1").iterdir())) == 4
    (theirs / "results.json").unlink()
    (theirs / "results.json").symlink_to(tmp_path / "private")
    assert ser("demo", theirs, "--space", tmp_path / "other") == 2
    assert "results.json is no regular file" in capsys.readouterr().err
