"""ser results: a line for each experiment, and a page."""

import json
import os
import re

import browser
import numpy as np
import pytest
import soundfile
from conftest import ser
from test_summary import made, turns

RIGHT = turns("ppqq", "aabb", "aabb")
HALF = turns("ppqq", "aabb", "abab")


@pytest.fixture
def folder(tmp_path):
    """good and poor on the same folds; one in a folder of its own; one that is not complete."""
    for fold in (1, 2, 3):
        made(tmp_path / "good", fold, 1, RIGHT)
        made(tmp_path / "poor", fold, 1, HALF)
    made(tmp_path / "mini/one", 1, 1, RIGHT)
    made(tmp_path / "begun", 1, 1, RIGHT, complete=False)
    for age, name in enumerate(("good", "mini/one", "poor")):
        for path in (tmp_path / name).rglob("results.json"):
            os.utime(path, (1e9 - age, 1e9 - age))
    return tmp_path


def test_newest_first_and_the_best_of_a_kind_marked(folder, capsys):
    assert ser("results", folder) in (0, None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["*", "*", "poor"]
    assert lines[1].split()[1] == "good"
    assert lines[2].split()[1] == "mini/one"  # the only one of its folds
    assert "begun" not in "".join(lines)
    head = lines[0].split()
    assert head[:6] == ["experiment", "corpus", "protocol", "folds", "seeds", "WA"]
    good = lines[1].split()[1:]
    assert good[:7] == ["good", "ravdess", "honest", "1-3", "1", "100.00", "100.00"]


def test_order_by_score(folder, capsys):
    ser("results", folder, "--by", "UA")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split()[0] == "poor"


def test_another_corpus_and_nothing_at_all(folder, tmp_path, capsys):
    assert ser("results", folder, "--corpus", "emodb") == 2
    assert "no run is on emodb: use one of ravdess" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert ser("results", tmp_path / "empty") == 2
    assert "holds no complete run: ser train mine.csv" in capsys.readouterr().err


def test_seeds_with_different_folds_are_told_and_not_averaged(folder, capsys):
    made(folder / "good", 1, 2, RIGHT)
    ser("results", folder)
    text = capsys.readouterr().out
    assert "good: the seeds have different folds (seed 1: 1 2 3; seed 2: 1)" in text
    assert "100.00" in text  # of the others


@pytest.fixture
def heard(folder, tmp_path):
    """As after real runs: recordings, of which one is gone, probabilities and a figure."""
    for run in (path.parent for path in folder.rglob("predictions.csv")):
        manifest = json.loads((run / "manifest.json").read_text())
        for utt_id, entry in manifest.items():
            entry["wav"] = str(tmp_path / f"{utt_id}.wav")
        (run / "manifest.json").write_text(json.dumps(manifest))
        lines = (run / "predictions.csv").read_text().splitlines()
        surest = 0.7 if run.match("poor/fold2/1") else 0.6
        odds = [f"{surest},{1 - surest:.1f}" if x.endswith("a") else "0.4,0.6" for x in lines[1:]]
        told = [f"{line},{p}" for line, p in zip(lines[1:], odds, strict=True)]
        (run / "predictions.csv").write_text("\n".join([f"{lines[0]},a,b", *told]) + "\n")
    for number in (1, 3):
        name = tmp_path / f"u1-{number}.wav"
        soundfile.write(name, 0.1 * np.sin(np.arange(8000)), 16_000)
    (folder / "poor/fold1/1/curves.png").write_bytes(b"not looked into")
    return folder


def test_a_page_with_all_in_it(heard, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert ser("results", heard, "--html", page) in (0, None)
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", text)  # nothing is fetched
    assert text.count("<details") == 3 and 'id="mini/one"' in text
    assert text.count("data:audio/ogg;base64,") == 1 and text.count("data:image/png;base64,") == 1
    assert text.count(f"{tmp_path}/u2-2.wav") == 1  # why it cannot be heard
    wrong = re.findall(r"(\w), heard as <b>(\w)</b> \((\d+) %\)</div>\s+<div .*>(\S+), sp", text)
    assert wrong == [("b", "a", "70", "u2-2"), ("a", "b", "60", "u1-1"), ("b", "a", "60", "u1-2")]
    poor = text[text.index('id="poor"') :]
    cells = re.findall(r'title="(\d+) utterances">(\d*)</td>', poor)
    assert cells == [("3", "50")] * 4


def test_names_are_text_on_the_page(heard, tmp_path):
    made(heard / "<b>x", 1, 1, RIGHT)
    ser("results", heard, "--html", tmp_path / "page.html")
    assert "<b>x" not in (tmp_path / "page.html").read_text()


@pytest.mark.skipif(browser.found() is None, reason="no Chromium")
def test_the_page_in_a_browser(heard, tmp_path):
    ser("results", heard, "--html", tmp_path / "page.html")
    tab = browser.Browser(tmp_path)
    try:
        size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        tab.send("Emulation.setDeviceMetricsOverride", **size)
        tab.open(f"file://{tmp_path / 'page.html'}#poor")
        tab.wait("document.querySelector('#poor') && document.querySelector('#poor').open")
        assert not tab.run("document.querySelector('#good').open")
        tab.wait("document.readyState == 'complete'")
        assert tab.run("document.documentElement.scrollWidth") <= 390
        assert all(address.startswith(("file:", "data:", "about:")) for address in tab.requests)
    finally:
        tab.close()
