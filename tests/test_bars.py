"""Corpora counted and scores side by side: figures of what is in manifests and runs."""

import csv
import json

import pytest
from conftest import ser
from matplotlib.backends.backend_agg import FigureCanvasAgg
from test_summary import made, turns

from speechbrain_ser.commands import plot_scores
from speechbrain_ser.results import bars, summary


@pytest.fixture
def figures(monkeypatch):
    """The figures that were printed."""
    printed, own = [], FigureCanvasAgg.print_figure
    monkeypatch.setattr(
        FigureCanvasAgg,
        "print_figure",
        lambda canvas, *args, **named: (printed.append(canvas.figure), own(canvas, *args, **named)),
    )
    return printed


@pytest.fixture
def run_folder(tmp_path):
    """Of two sessions; utterance n is by a woman where n is even."""
    emotions = {"Ses01": ["sad", "sad", "angry", "sad"], "Ses02": ["angry", "neutral"]}
    entries = [(session, label) for session, labels in emotions.items() for label in labels]
    manifest = {
        f"u{n}": {"session": session, "emotion": label, "gender": "FM"[n % 2], "speaker": f"s{n}"}
        for n, (session, label) in enumerate(entries)
    }
    folder = tmp_path / "emotion/fold1/1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "results.json").write_text('{"corpus": "iemocap"}')
    return folder


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))[1:]


def test_a_corpus_by_session_emotion_and_gender(run_folder, tmp_path, figures):
    assert ser("plot", "corpus", run_folder, "--output", tmp_path / "c") in (0, None)
    assert rows(tmp_path / "c.csv") == [
        ["session 01", "angry", "female", "1"],
        ["session 01", "sad", "female", "1"],
        ["session 01", "sad", "male", "2"],
        ["session 02", "angry", "female", "1"],
        ["session 02", "neutral", "male", "1"],
    ]
    first, second, empty = (*figures[0].axes, None)[:3]
    assert empty is None and first.get_title() == "session 01"
    names = [text.get_text() for text in second.get_xticklabels()]
    assert names == ["angry", "sad", "neutral"]  # as in every figure, and in every panel
    heights = {c.get_label(): [bar.get_height() for bar in c] for c in first.containers}
    assert heights == {"female": [1, 1, 0], "male": [0, 2, 0]}
    assert figures[0].get_suptitle() == "Emotions of iemocap, 6 utterances"


def test_a_corpus_by_another_field_or_none(run_folder, tmp_path, figures):
    words = ["plot", "corpus", run_folder, "--output", tmp_path / "c"]
    ser(*words, "--by", "gender", "--format", "svg", "--title", "mine")
    assert [axes.get_title() for axes in figures[0].axes] == ["gender F", "gender M"]
    assert (tmp_path / "c.svg").is_file() and figures[0].get_suptitle() == "mine"
    manifest = json.loads((run_folder / "manifest.json").read_text())
    for entry in manifest.values():
        del entry["session"], entry["gender"]
    (run_folder / "manifest.json").write_text(json.dumps(manifest))
    ser(*words)
    assert {tuple(row[::2]) for row in rows(tmp_path / "c.csv")} == {("", "unknown")}
    assert len(figures[1].axes) == 1


@pytest.fixture
def experiments(tmp_path):
    """Of two folds and two seeds each; the UA of the first are 75 and 100, and of the other 50."""
    for fold in (1, 2):
        for seed, answers in ((1, "abbb"), (2, "aabb")):
            made(tmp_path / "one", fold, seed, turns("ppqq", "aabb", answers))
            made(tmp_path / "other", fold, seed, turns("ppqq", "aabb", "abab"))
    return [tmp_path / "one", tmp_path / "other"]


def test_scores_are_means_over_folds_and_spread_over_seeds(experiments, tmp_path, figures):
    assert ser("plot", "scores", *experiments, "--output", tmp_path / "s") in (0, None)
    assert rows(tmp_path / "s.csv") == [
        ["", "one", "WA", "87.5000", "17.6777"],
        ["", "one", "UA", "87.5000", "17.6777"],
        ["", "other", "WA", "50.0000", "0.0000"],
        ["", "other", "UA", "50.0000", "0.0000"],
    ]
    (axes,) = figures[0].axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["one", "other"]
    assert [text.get_text() for text in axes.texts] == ["87.5", "50.0"] * 2
    low, high = axes.get_ylim()
    assert low < 50 and high == 101
    bars.scores({"": {"x": {"WA": (60.0, None), "UA": (60.1, None)}}}, tmp_path / "x.png", "")
    low, high = figures[1].axes[0].get_ylim()
    assert high - low >= 10  # 0.1 points are no trend


def test_figure_7_has_seven_experiments_in_three_panels(experiments, tmp_path, figures, capsys):
    paths = []
    for number in range(7):
        paths.append(tmp_path / f"e{number}")
        made(paths[-1], 1, 1, turns("ppqq", "aabb", "aabb" if number % 2 else "abbb"))
    words = ["plot", "scores", "--figure", "park7", "--output", tmp_path / "f"]
    assert ser(*words, *paths) in (0, None)
    panels = {axes.get_title(): len(axes.get_xticklabels()) for axes in figures[0].axes}
    assert list(panels.values()) == [1, 3, 3] and list(panels) == list(plot_scores.FIGURES["park7"])
    told = [row[3] for row in rows(tmp_path / "f.csv") if row[2] == "UA"]
    assert told == [f"{summary.runs_of(path)[0]['UA']:.4f}" for path in paths]
    capsys.readouterr()
    assert ser(*words, *paths[:6]) == 2
    assert "shows 7 experiments ((a) all frozen: beta 0;" in capsys.readouterr().err


def test_what_cannot_be_drawn_is_a_sentence(run_folder, experiments, tmp_path, capsys):
    output = ["--output", tmp_path / "no"]
    made(tmp_path / "numbers", 1, 1, turns("pq", "ab", "ab"))
    path = tmp_path / "numbers/fold1/1/results.json"
    results = json.loads(path.read_text())
    del results["UA"]
    path.write_text(json.dumps(results))
    made(tmp_path / "nemo", 1, 1, turns("pq", "ab", "ab"))
    path = tmp_path / "nemo/fold1/1/results.json"
    path.write_text(path.read_text().replace('"ravdess"', '"nemo"'))
    for words, said in (
        (["corpus"], "name a run's folder, or a corpus"),
        (["corpus", run_folder, "--corpus", "iemocap"], "name a run's folder, or a corpus"),
        (["corpus", tmp_path], "is no finished run's folder"),
        (["corpus", run_folder, "--by", "mood"], "no utterance has that field; use one of emotion"),
        (["corpus", run_folder, "--size", "0", "3"], "give 1 to 100 inches"),
        (["scores", tmp_path / "emotion"], "holds no complete run"),
        (["scores", tmp_path / "numbers"], "holds runs that name no classes"),
        (["scores", experiments[0], experiments[0]], "a folder is named twice"),
        (["scores", experiments[0], tmp_path / "nemo"], "runs on nemo and ravdess: scores of"),
    ):
        assert ser("plot", *words, *output) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"ser plot {words[0]}: ") and said in line
    assert not list(tmp_path.glob("no.*"))
