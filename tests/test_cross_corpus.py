"""Networks trained on some corpora and tested on others."""

import json
import re

import numpy as np
import pytest
import soundfile
from benchmarks.common import TINY
from conftest import RECIPES, ser

from speechbrain_ser import EmotionRecognizer, output
from speechbrain_ser.campaign import cross_corpus
from speechbrain_ser.errors import InputError

DIMENSIONS = [RECIPES / "RAVDESS/train_dimensions.py", "hparams/dimensions.yaml"]


def manifest(emotions, speakers="AB", **more):
    return {
        f"u{number}": {
            "wav": f"/corpus/{number}.wav",
            "duration": 1.0,
            "emotion": emotion,
            "speaker": speakers[number % len(speakers)],
            "session": "",
            "gender": "F",
            "style": "",
            "words": "YES",
            **more,
        }
        for number, emotion in enumerate(emotions)
    }


@pytest.fixture
def english():
    return cross_corpus.corpus(
        "english", manifest(["happy", "sad", "calm", "angry", "sad"], language="en")
    )


@pytest.fixture
def polish():
    emotions = ["happiness", "anger", "sadness", "Sadness"]
    return cross_corpus.corpus("polish", manifest(emotions, language="pl"))


def test_nouns_and_adjectives_are_one(english, polish):
    assert polish.emotions == ["angry", "happy", "sad"]
    assert polish.words["Sadness"] == "sad" and english.words["calm"] == "calm"
    assert cross_corpus.common_emotions([english, polish]) == ["angry", "happy", "sad"]


def test_merge_overrules_the_label_map(polish):
    own = cross_corpus.corpus("polish", polish.manifest, {"anger": None, "happiness": "joy"})
    assert own.emotions == ["joy", "sad"]
    with pytest.raises(InputError, match="merge names 'joy'"):
        cross_corpus.corpus("polish", polish.manifest, {"joy": "happy"})


def test_corpora_that_share_too_little_are_refused(english):
    other = cross_corpus.corpus("other", manifest(["happy", "bored"]))
    with pytest.raises(InputError, match=r"share happy \(english: .*; other: bored, happy\): say"):
        cross_corpus.common_emotions([english, other])


def test_the_table_holds_both_and_says_which_trains(english, polish, tmp_path):
    path = tmp_path / "a.jsonl"
    cross_corpus.write_table(path, [english], [polish], ["angry", "sad"])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = [(r["utt_id"], r["session"], r["split"], r["emotion"], r["speaker"]) for r in rows]
    assert told == [
        ("english/u1", "english", "train", "sad", "english/B"),
        ("english/u3", "english", "train", "angry", "english/B"),
        ("english/u4", "english", "train", "sad", "english/A"),
        ("polish/u1", "polish", "test", "angry", "polish/B"),
        ("polish/u2", "polish", "test", "sad", "polish/A"),
        ("polish/u3", "polish", "test", "sad", "polish/B"),
    ]
    assert rows[0]["path"] == "/corpus/1.wav" and rows[0]["transcript"] == "YES"
    assert {row["language"] for row in rows} == {"en", "pl"}
    before = path.stat().st_mtime_ns
    cross_corpus.write_table(path, [english], [polish], ["angry", "sad"])
    assert path.stat().st_mtime_ns == before  # an unchanged corpus is no new one


@pytest.fixture
def two_corpora(tmp_path):
    """Two tables of 4 speakers with tones for emotions, which each calls otherwise."""
    for name, words in (("one", ("happy", "sad", "calm")), ("other", ("joy", "sadness", "anger"))):
        lines = ["path,emotion,speaker,gender,language"]
        for number in range(16):
            wav = f"{name}{number}.wav"
            tone = 0.1 * np.sin(np.arange(4800) * (0.03 + 0.2 * (number % 3)) + number)
            soundfile.write(tmp_path / wav, tone, 16_000)
            lines.append(f"{wav},{words[number % 3]},{number % 4},{'FM'[number % 2]},{name[:2]}")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    return tmp_path


def test_a_table_of_both_directions(two_corpora, monkeypatch, capsys, in_this_process):
    monkeypatch.chdir(two_corpora)
    words = ["--train", "one=one.csv,other=other.csv", "--test", "one,other"]
    words += ["--conditions", "telephone", "--output", "page.md"]
    words += ["--encoder", TINY, "--layers", "[1]", "--max_epochs", 2]
    assert ser("cross-corpus", *words) == 0
    said = capsys.readouterr().out
    assert "- other: anger left out, joy is happy, sadness is sad" in said
    folder = two_corpora / "results/cross-corpus"
    table = json.loads((folder / "table.json").read_text())
    assert table["labels"] == ["happy", "sad"]
    first, second = table["cells"]
    assert (first["train"], first["test"]) == ("one", "other")
    assert (second["train"], second["test"]) == ("other", "one")
    run = two_corpora / "results/combined_one-to-other/fold1/1000"
    results = json.loads((run / "results.json").read_text())
    assert results["labels"] == ["happy", "sad"] and first["UA"] == pytest.approx(results["UA"])
    assert first["utterances"] == sum(map(sum, results["confusion"])) == 11
    rows = output.read_csv(run / "conditions/telephone.csv")
    tested = output.read_csv(run / "predictions.csv")
    assert [row["id"] for row in rows] == [row["id"] for row in tested]
    right = {row["id"]: row["target"] for row in tested}
    hits = sum(row["prediction"] == right[row["id"]] for row in rows)
    assert first["conditions"]["telephone"]["WA"] == pytest.approx(100 * hits / len(rows))
    assert (folder / "one-to-other.png").is_file()
    assert (two_corpora / "page.md").read_text() == (folder / "table.md").read_text()
    # what is there is not computed again
    monkeypatch.setattr(EmotionRecognizer, "each", None)
    assert ser("cross-corpus", *words) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train", "one=one.csv", "--test", "one"], "every corpus of --test is in the training"),
        (["--train", "one=one.csv", "--test", "no=no.csv"], "no.csv does not exist"),
        (
            ["--train", "one=one.csv", "--test", "other=other.csv", "--merge", "{two: {a: b}}"],
            "--merge names two, which is none of one, other",
        ),
        (
            ["--train", "one=one.csv", "--test", "other=other.csv", "--merge", "[1]"],
            "--merge is .*: give it as",
        ),
        (
            ["--train", "one=one.csv", "--test", "other=other.csv", "--conditions", "fog"],
            "'fog' is no condition",
        ),
        (
            [*DIMENSIONS, "--train", "one=one.csv", "--test", "other=other.csv"],
            "dimensions.yaml learns intensity as numbers: take a recipe of emotions",
        ),
    ],
)
def test_mistakes_are_named(words, message, two_corpora, monkeypatch, capsys):
    monkeypatch.chdir(two_corpora)
    assert ser("cross-corpus", *words) == 2
    assert re.search(message, capsys.readouterr().err)
