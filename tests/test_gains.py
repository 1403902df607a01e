"""What rows gain over others: paired on common folds and seeds, told in tables and a figure."""

import csv
import json

import numpy as np
import pytest
from conftest import ser
from PIL import Image

from speechbrain_ser.campaign import headlines, rows
from speechbrain_ser.commands import summarize
from speechbrain_ser.results import plots, report

HEADER = "paper,item,row,script,hparams,overrides,protocol,corpus,against,gain,gain_low,gain_high"
SCRIPT = "recipes/RAVDESS/train_linear.py,hparams/linear.yaml"
SPEAKERS = 8


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Two rows of two folds each: the second answers a speaker's last utterance rightly, too."""
    path = tmp_path / "RESULTS.csv"
    path.write_text(
        f"{HEADER}\nP,T,one,{SCRIPT},--variant _one,honest,c,,,,\n"
        f"P,T,two,{SCRIPT},--variant _two,honest,c,p/T/one,,,\n"
    )
    monkeypatch.setattr(rows, "files", lambda: [path])
    for name, wrong in (("one", 1), ("two", 0)):
        for fold in (1, 2):
            write_run(tmp_path / f"linear_{name}/fold{fold}/7", fold, wrong)
    return path


def write_run(folder, fold: int, wrong: int) -> None:
    folder.mkdir(parents=True)
    own = range(fold, SPEAKERS, 2) if fold == 1 else range(0, SPEAKERS, 2)
    answers = {
        f"{speaker}-{number}": ("ab"[number % 2], "ab"[(number + (number == 3) * wrong) % 2])
        for speaker in own
        for number in range(4)
    }
    manifest = {utt_id: {"speaker": utt_id.partition("-")[0]} for utt_id in answers}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with open(folder / "predictions.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "target", "prediction"])
        writer.writerows([utt_id, *answer] for utt_id, answer in answers.items())
    facts = {"corpus": "c", "fold": fold, "seed": 7, "labels": ["a", "b"]}
    (folder / "results.json").write_text(json.dumps(facts))
    report.complete(folder)


def test_a_pair_is_compared_on_what_both_have(table):
    """a is right in all, b in one of two: UA 75 against 100, for whichever speakers are drawn."""
    paired = summarize.pair(["p/T/one", "p/T/two"], table.parent)
    assert paired["UA"] == [75, 100] and paired["folds"] == [1, 2]
    assert (paired["difference"], paired["low"], paired["high"]) == (25, 25, 25)
    assert paired["utterances"] == 4 * SPEAKERS
    assert summarize.pair(["p/T/one", "p/T/two"], table.parent / "nowhere") is None


def test_the_figure_has_a_line_per_gain(table, tmp_path, capsys):
    assert ser("plot", "gains", "p/T") == 2
    assert "of 2 rows named ...p/T... none has a gain: run them" in capsys.readouterr().err
    table.write_text(table.read_text().replace("p/T/one,,,", "p/T/one,+25.00,+20.00,+30.00"))
    assert ser("plot", "gains", "p/T", "--output", tmp_path / "gains") == 0
    pixels = np.asarray(Image.open(tmp_path / "gains.png").convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 100).sum()
    assert blue > 100  # C0: a gain whose interval is above 0


def test_without_rows_the_ideas_are_drawn(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "gains", lambda gains, *_: drawn.update(gains))
    assert ser("plot", "gains", "--output", tmp_path / "ideas") == 0
    expected = {}
    for paper, idea, row, _ in headlines.ideas().values():
        values = tuple(float(row[column]) for column in ("gain", "gain_low", "gain_high"))
        expected[f"{idea}\n{paper}, on {row['corpus']}"] = values
    assert drawn == expected and len(drawn) == 5


def test_cells_of_a_page():
    row = {"gain": "+1.00", "gain_low": "-0.50", "gain_high": "+2.50"}
    assert headlines.gained(row) == "+1.00 (-0.50 to +2.50)" and headlines.gained({}) == ""
