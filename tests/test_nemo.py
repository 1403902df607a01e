"""The nEMO corpus: names, data.tsv, and what contradicts them."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import splits
from speechbrain_ser.data.corpora import nemo
from speechbrain_ser.errors import InputError
from speechbrain_ser.sharing import card
from speechbrain_ser.training import command_line

RECIPES = Path(__file__).parents[1] / "recipes"
REAL = os.environ.get("SER_NEMO")
real = pytest.mark.skipif(not REAL, reason="SER_NEMO names no folder")
COLUMNS = ["file_id", "emotion", "raw_text", "normalized_text", "speaker_id", "gender", "age"]
# as published, with the blanks before a speaker_id
ROWS = [
    "SM0_anger_10.wav|anger|Kupiłem szafę.|kupiłem szafę|        SM0|male|24",
    "EB0_fear_2.wav|fear|„Ród smoka” to serial.|„ród smoka” to serial|        EB0|female|27",
    "EB0_surprised_2.wav|surprised|Nie, wie.|nie wie|        EB0|female|27",
]


def recording(path, seconds=0.2):
    """A readable file of `seconds`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.sin(np.arange(round(seconds * 24_000)) / 20)
    soundfile.write(path, samples, 24_000, subtype="PCM_16", format=path.suffix[1:].upper())
    return path


def write_tsv(folder, rows, columns=COLUMNS):
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(columns), *(row.replace("|", "\t") for row in rows)]
    (folder / "data.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def clone(tmp_path):
    """The published layout, of three recordings."""
    write_tsv(tmp_path / "nEMO", ROWS)
    for row in ROWS:
        recording(tmp_path / "nEMO/samples" / row.partition("|")[0])
    return tmp_path / "nEMO"


def test_a_clone(clone):
    manifest = nemo.prepare(clone, expected=3)
    assert list(manifest) == ["EB0_fear_2", "EB0_surprised_2", "SM0_anger_10"]
    assert manifest["SM0_anger_10"] == {
        "wav": str(clone / "samples/SM0_anger_10.wav"),
        "duration": 0.2,
        "emotion": "anger",
        "speaker": "SM0",
        "session": "",
        "gender": "M",
        "style": "",
        "words": "KUPIŁEM SZAFĘ",
        "statement": "10",
        "language": "pl",
        "age": "24",
    }
    other = manifest["EB0_fear_2"]
    assert (other["gender"], other["words"], other["age"]) == ("F", "RÓD SMOKA TO SERIAL", "27")


def test_it_is_found_below_the_folder_and_at_any_depth(clone):
    (clone / "samples/EB0_fear_2.wav").unlink()
    recording(clone / "samples/EB0/x/EB0_fear_2.flac")
    (clone / "samples/SM0_anger_10.wav").rename(clone.parent / "SM0_anger_10.WAV")
    manifest = nemo.prepare(clone.parent)
    assert [Path(row["wav"]).name for row in manifest.values()] == [
        "EB0_fear_2.flac",
        "EB0_surprised_2.wav",
        "SM0_anger_10.WAV",
    ]
    assert all(row["words"] for row in manifest.values())


def test_a_file_id_needs_no_ending_and_an_age_no_column(clone):
    rows = [row.replace(".wav", "").rpartition("|")[0] for row in ROWS]
    write_tsv(clone, rows, COLUMNS[:-1])
    manifest = nemo.prepare(clone)
    assert len(manifest) == 3 and not any("age" in row for row in manifest.values())


def test_an_unknown_gender_and_age_are_empty(clone):
    write_tsv(clone, ["SM0_anger_10|anger|||SM0"])
    row = nemo.prepare(clone)["SM0_anger_10"]
    assert (row["gender"], row["words"], row["age"]) == ("", "", "")


def test_without_its_table_the_names_tell(clone, caplog):
    caplog.set_level("INFO")
    (clone / "data.tsv").unlink()
    manifest = nemo.prepare(clone)
    assert manifest["SM0_anger_10"] == {
        "wav": str(clone / "samples/SM0_anger_10.wav"),
        "duration": 0.2,
        "emotion": "anger",
        "speaker": "SM0",
        "session": "",
        "gender": "",
        "style": "",
        "words": "",
        "statement": "10",
        "language": "pl",
    }
    sentence = f"nEMO: genders and transcripts are unknown, {clone} has no data.tsv"
    assert caplog.messages == [sentence, "nEMO: 3 utterances"]


def test_what_is_left_out_is_counted(clone, caplog):
    caplog.set_level("INFO")
    (clone / "samples/SM0_anger_10.wav").unlink()
    for name in ("SM0_anger_11.wav", "take 1.wav", "copy/EB0_fear_2.wav"):
        recording(clone / "samples" / name)
    for name in ("take.m4a", "._EB0_fear_2.wav", "notes.txt"):
        (clone / name).write_text("")
    assert list(nemo.prepare(clone)) == ["EB0_fear_2", "EB0_surprised_2"]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("nEMO: 2 utterances; left out: ")
    for told in (
        "2 in no row of data.tsv (such as ",
        "1 rows of data.tsv without a recording (such as SM0_anger_10)",
        "1 second copies (such as ",
        "1 in a format that is not read (such as ",
    ):
        assert told in caplog.text


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("SM0_anger_10.wav|fear|||SM0|male|24", "SM0_anger_10.wav is SM0 fear by its row and SM0 "),
        ("SM0_anger_10.wav|anger|||KS0|male|24", "is KS0 anger by its row and SM0 anger by its na"),
        ("SM0_anger_10.wav|anger|||SM0|x|24", "gender is 'x', use F or M or leave it empty"),
        ("SM0_joy_10.wav|joy|||SM0|male|24", "file_id 'SM0_joy_10.wav' is not speaker_emotion_sen"),
        (
            "|anger|||SM0|male|24",
            "file_id '' is not speaker_emotion_sentence with an emotion of an",
        ),
        ("EB0_fear_2|fear|||EB0|female|27", "EB0_fear_2 comes twice"),
        ("EB0_fear_2|fear|||EB0|female|27|9", "it has more fields than the first line names"),
    ],
)
def test_a_bad_row_is_named_by_its_line(clone, row, sentence):
    write_tsv(clone, [*ROWS[1:], row])
    with pytest.raises(InputError) as caught:
        nemo.prepare(clone)
    message = str(caught.value)
    assert message.startswith(f"{clone / 'data.tsv'}, line 4: ") and sentence in message
    assert message.endswith("; correct it or fetch it again") and "\n" not in message


def test_mistakes(clone):
    with pytest.raises(InputError) as caught:
        nemo.prepare(clone, expected=4481)
    assert str(caught.value) == (
        f"3 utterances found, 4481 expected: is {clone} the complete nEMO? To use what is there, "
        "--corpus '{name: nemo, expected: null}'"
    )
    write_tsv(clone.parent / "another", ROWS)
    with pytest.raises(InputError, match="/another/data.tsv and .*/nEMO/data.tsv are there: give "):
        nemo.prepare(clone.parent)
    write_tsv(clone, [row.rpartition("|")[0] for row in ROWS], ["path", *COLUMNS[1:-1]])
    with pytest.raises(InputError, match="data.tsv lacks file_id: it holds path, emotion, raw_te"):
        nemo.prepare(clone)
    write_tsv(clone, ["KS0_anger_1.wav|anger|||KS0|male|23"])
    with pytest.raises(InputError, match="/nEMO holds data.tsv, samples, expected nEMO recordings"):
        nemo.prepare(clone)
    (clone / "data.tsv").unlink()
    recording(clone / "SM0_anger_10.wav", 0.3)
    with pytest.raises(InputError, match="SM0_anger_10.wav differ under one name: remove one of"):
        nemo.prepare(clone)
    (clone / "SM0_anger_10.wav").unlink()
    for name in ("SM0_joy_10.wav", "SM0_anger.wav", "take 1.flac"):
        path = recording(clone / name)
        with pytest.raises(InputError, match=f"{name} is not named speaker_emotion_sentence with"):
            nemo.prepare(clone)
        path.unlink()
    (clone / "samples/EB0_fear_2.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"EB0_fear_2\.wav"):
        nemo.prepare(clone)


def fragment(*corpus, data_folder):
    """The corpus of a command line with another corpus' recipe, its objects made."""
    recipe = RECIPES / "IEMOCAP/hparams/emotion.yaml"
    given = hp.command_line("\n".join([*corpus, f"data_folder: {data_folder}"]))
    settings = hp.resolve(command_line.read(recipe, given), recipe)
    return hp.build({"corpus": settings["corpus"]})["corpus"]


def test_the_command_line_s_corpus(clone):
    corpus = fragment("corpus: {name: nemo, expected: 3}", data_folder=clone)
    assert len(corpus["prepare"](clone)) == 3
    assert corpus["labels"] == list(nemo.EMOTIONS)
    with pytest.raises(InputError, match="3 utterances found, 4481 expected"):
        fragment("corpus: nemo", data_folder=clone)["prepare"](clone)


SPEAKERS = ["EB0", "IC0", "KD0", "MK0", "KS0", "MP0", "SM0", "TP0", "WR0"]  # women first


def test_each_fold_leaves_one_speaker_out(tmp_path):
    rows = []
    for number, speaker in enumerate(SPEAKERS):
        for emotion in nemo.EMOTIONS:
            if (speaker, emotion) != ("MK0", "surprised"):  # as published
                gender = "female" if number < 4 else "male"
                rows.append(f"{speaker}_{emotion}_1|{emotion}||nie|{speaker}|{gender}|30")
                recording(tmp_path / f"{speaker}_{emotion}_1.wav")
    write_tsv(tmp_path, rows)
    corpus = fragment("corpus: {name: nemo, expected: 53}", data_folder=tmp_path)
    check_folds(corpus, corpus["prepare"](tmp_path))


def check_folds(corpus, manifest):
    """One speaker after the other is tested, the next one validates, and the others train."""
    for fold, speaker in enumerate(SPEAKERS, start=1):
        parts = corpus["emotion_split"](manifest, fold=fold)
        speakers = {part: {row["speaker"] for row in rows.values()} for part, rows in parts.items()}
        following = SPEAKERS[fold % 9]
        assert speakers["test"] == {speaker} and speakers["valid"] == {following}
        assert speakers["train"] == {*SPEAKERS} - {speaker, following}
    assert splits.protocol(parts) == "speaker-independent"


def test_a_card_tells_its_licence():
    title, licence, citation = card.CORPORA["nemo"]
    assert title == "nEMO" and licence.startswith("CC BY-NC-SA 4.0") and "Christop" in citation


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The real recordings at hand, as the whole corpus is published."""
    folder = tmp_path_factory.mktemp("published")
    with open(Path(REAL) / "nemo.csv", encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    rows = []
    (folder / "samples").mkdir()
    for row in listed:
        source = Path(REAL) / row["path"]
        (folder / "samples" / source.name).symlink_to(source)
        said, speaker = row["transcript"], row["speaker"]
        known = [f"{source.stem}.wav", row["emotion"], said, said, f"        {speaker}"]
        rows.append("|".join([*known, row["gender"], "30"]))
    write_tsv(folder, rows)
    return folder


@real
def test_real_recordings(published):
    corpus = fragment("corpus: {name: nemo, expected: 1317}", data_folder=published)
    manifest = corpus["prepare"](published)
    assert Counter(row["emotion"] for row in manifest.values()) == {
        **dict.fromkeys(("anger", "happiness", "neutral", "sadness"), 225),
        "fear": 217,
        "surprised": 200,
    }
    speakers = Counter((row["speaker"], row["gender"]) for row in manifest.values())
    assert sorted(speakers) == sorted(zip(SPEAKERS, "FFFFMMMMM", strict=True))
    assert all(row["words"] and row["words"] == row["words"].upper() for row in manifest.values())
    said = {(row["statement"], row["words"]) for row in manifest.values()}
    assert len(said) == 90  # a number is a sentence
    assert 3200 < sum(row["duration"] for row in manifest.values()) < 3300
    check_folds(corpus, manifest)


@real
def test_real_recordings_without_a_table(published, caplog):
    corpus = fragment("corpus: {name: nemo, expected: null}", data_folder=REAL)
    manifest = corpus["prepare"](REAL)
    assert "genders and transcripts are unknown" in caplog.text
    told = nemo.prepare(published)
    assert {name: row["emotion"] for name, row in manifest.items()} == {
        name: row["emotion"] for name, row in told.items()
    }
    assert {row["gender"] + row["words"] for row in manifest.values()} == {""}
    assert len({row["speaker"] for row in manifest.values()}) == 9
