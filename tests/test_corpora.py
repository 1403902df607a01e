"""The parsers of the real corpora, on small trees made by hand, and every sentence they say."""

import hashlib
import http.server
import json
import os
import re
import threading
import zipfile
from collections import Counter
from pathlib import Path

import iemocap_release
import numpy as np
import pytest
import soundfile

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import targets
from speechbrain_ser.data.corpora import download, iemocap, measure, nemo, ravdess, table, voxceleb1
from speechbrain_ser.errors import InputError
from speechbrain_ser.training import command_line

KEYS = ["wav", "duration", "emotion", "speaker", "session", "gender", "style", "words"]
RECIPES = Path(__file__).parents[1] / "recipes"
REAL_RAVDESS = os.environ.get("SER_RAVDESS")


def wav(path, seconds=0.5, rate=16_000):
    """A readable file of `seconds`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.sin(np.arange(round(seconds * rate)) / 20)
    soundfile.write(path, samples, rate, subtype="PCM_16", format=path.suffix[1:].upper())
    return path


def text(path, content, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding=encoding)
    return path


def test_measure_keeps_the_order_and_returns_what_cannot_be_read(tmp_path):
    paths = [wav(tmp_path / f"{number}.wav", number / 10) for number in (3, 1, 2)]
    (tmp_path / "empty.wav").touch()
    *seconds, error = measure([*paths, tmp_path / "empty.wav"])
    assert seconds == [0.3, 0.1, 0.2]
    assert isinstance(error, InputError) and "empty.wav" in str(error)


# (utt_id, code, opinions of the raters); the last token tells who speaks
UTTERANCES = {
    "Ses0{}F_impro01_F000": ("neu", ["Neutral;", "Neutral;", "Neutral;"]),
    "Ses0{}F_impro01_M000": ("exc", ["Excited;", "Happiness; Excited;", "Excited;"]),
    "Ses0{}F_impro01_M001": ("ang", ["Anger;", "Anger;", "Anger;", "Sadness;"]),
    "Ses0{}F_script01_1_F001": ("hap", ["Happiness;", "Neutral;", "Happiness;"]),
    "Ses0{}F_script01_1_M007": ("sad", ["Sadness;", "Sadness;"]),
    "Ses0{}F_script01_1_M008": ("fru", ["Frustration;", "Frustration;", "Frustration;"]),
    "Ses0{}F_script01_1_M009": ("xxx", ["Neutral;", "Anger;", "Other;"]),
}


@pytest.fixture
def release(tmp_path):
    """A release of five sessions with seven utterances each."""
    root = tmp_path / "IEMOCAP_full_release"
    for session in "12345":
        dialogs = {}
        for pattern, (code, raters) in UTTERANCES.items():
            utt_id = pattern.format(session)
            dialog = utt_id.rsplit("_", 1)[0]
            lines = dialogs.setdefault(dialog, ["% [START_TIME - END_TIME] TURN_NAME EMOTION\n"])
            lines.append(f"\n[6.2901 - 8.2357]\t{utt_id}\t{code}\t[2.5000, 3.5000, 1.6667]\n")
            lines += [f"C-E{n}:\t{opinion}\t(a (b))\n" for n, opinion in enumerate(raters, 2)]
            lines.append(f"C-{utt_id[5]}1:\tDisgust;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n")
            wav(root / f"Session{session}/sentences/wav/{dialog}/{utt_id}.wav", 0.25)
        dialog_folder = root / f"Session{session}/dialog"
        for dialog, lines in dialogs.items():
            text(dialog_folder / f"EmoEvaluation/{dialog}.txt", "".join(lines))
            first = (
                f"{dialog}_F000 [006.2901-008.2357]: Well-known [LAUGHTER] caf\u00e9s, don\u2019t"
            )
            transcript = f"{first} {{breathing}} you?\nM: unheard\n{dialog}_MXX0 [1.0-2.0]: Hm.\n"
            text(dialog_folder / f"transcriptions/{dialog}.txt", transcript)
        text(dialog_folder / "EmoEvaluation/._Ses01F_impro01.txt", "\0\5\26\7")
        text(dialog_folder / "EmoEvaluation/Categorical/Ses01F_impro01_e2.txt", "[1 - 2]\tbad")
    return root


def test_iemocap_four_classes(release):
    manifest = iemocap.prepare(release)
    assert len(manifest) == 25 and list(manifest) == sorted(manifest)
    row = manifest["Ses03F_impro01_M000"]
    assert list(row)[: len(KEYS)] == KEYS
    path = release / "Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_M000.wav"
    assert row == {
        "wav": str(path),
        "duration": 0.25,
        "emotion": "happy",
        "speaker": "Ses03M",
        "session": "3",
        "gender": "M",
        "style": "impro",
        "words": "",
        "raw_emotion": "excited",
        "dialog_side": "Ses03F",
        "aligned": "",  # the release has no alignments
        "valence": "2.5000",
        "arousal": "3.5000",
        "dominance": "1.6667",
        "ratings": {"happy": 3},
        "valence_by_rater": [3],
        "arousal_by_rater": [2],
        "dominance_by_rater": [2],
    }
    assert manifest["Ses03F_impro01_F000"]["words"] == "WELL KNOWN CAFES DON'T YOU"
    assert manifest["Ses03F_script01_1_F001"]["style"] == "script"
    assert iemocap.prepare(release.parent) == manifest


def test_iemocap_other_label_sets(release):
    def count(**options):
        return Counter(row["emotion"] for row in iemocap.prepare(release, **options).values())

    five = ("angry", "happy", "excited", "sad", "neutral")
    assert count(labels=five, merge=None) == dict.fromkeys(five, 5)
    assert count(labels=["frustrated", "undecided"]) == {"frustrated": 5, "undecided": 5}
    assert count(labels=["negative"], merge={"angry": "negative", "sad": "negative"}) == {
        "negative": 10
    }
    impro = ("angry", "happy", "neutral")
    assert count(labels=impro, styles=["impro"]) == dict.fromkeys(impro, 5)
    # two labels by one rater, two of three raters, or only two raters: no full agreement;
    # what the fourth rater says does not matter
    assert count(labels=["angry", "neutral"], full_agreement=True) == {"angry": 5, "neutral": 5}
    for label in ("happy", "sad"):
        with pytest.raises(InputError, match=f"leave no utterance labelled {label}"):
            count(labels=["angry", label], full_agreement=True)


def test_iemocap_full_agreement_of_improvised_speech(release):
    """Pepino 2021: the first three raters give the same single raw label, before any merging."""
    opinions = {  # utterance -> code and raters; F000 to F003 agree
        "F000": ("exc", ["Excited;", "Excited;", "Excited;"]),
        "F001": ("hap", ["Happiness;", "Happiness;", "Happiness;", "Neutral;"]),
        "F002": ("ang", ["Anger; ", "Anger;", "Anger;"]),
        "F003": ("neu", ["Neutral;", "Neutral;", "Neutral;", "Neutral; Sadness;"]),
        "M000": ("hap", ["Happiness;", "Happiness;", "Excited;"]),
        "M001": ("exc", ["Happiness; Excited;"] * 3),
        "M002": ("ang", ["Neutral;", "Anger;", "Anger;", "Anger;"]),
        "M003": ("neu", ["Neutral;", "Neutral;"]),  # who spoke is no rater
    }
    dialog = "Ses01F_impro01"
    blocks = []
    for turn, (code, raters) in opinions.items():
        blocks.append(f"\n[6.2901 - 8.2357]\t{dialog}_{turn}\t{code}\t[2.5, 2.5, 2.5]\n")
        blocks += [f"C-E{n}:\t{opinion}\t(yes; no)\n" for n, opinion in enumerate(raters, 1)]
        blocks.append("C-F1:\tNeutral;\t()\nA-E1:\tval 3; act 2; dom  2;\t()\n")
        wav(release / f"Session1/sentences/wav/{dialog}/{dialog}_{turn}.wav", 0.25)
    text(release / f"Session1/dialog/EmoEvaluation/{dialog}.txt", "".join(blocks))
    manifest = iemocap.prepare(
        release, labels=["angry", "happy", "neutral"], styles=["impro"], full_agreement=True
    )
    own = {utt_id[-4:]: row for utt_id, row in manifest.items() if row["session"] == "1"}
    assert {turn: (row["raw_emotion"], row["emotion"]) for turn, row in own.items()} == {
        "F000": ("excited", "happy"),
        "F001": ("happy", "happy"),
        "F002": ("angry", "angry"),
        "F003": ("neutral", "neutral"),
    }
    assert {row["style"] for row in manifest.values()} == {"impro"}
    rated = iemocap.prepare(release, labels=["angry", "happy", "neutral"])
    found = {turn: rated[f"{dialog}_{turn}"]["ratings"] for turn in opinions}
    assert found == {
        "F000": {"happy": 3},
        "F001": {"happy": 3, "neutral": 1},
        "F002": {"angry": 3},
        "F003": {"neutral": 4, "sad": 1},
        "M000": {"happy": 3},
        "M001": {"happy": 3},  # who named two that count as one named it once
        "M002": {"angry": 3, "neutral": 1},
        "M003": {"neutral": 2},
    }
    apart = iemocap.prepare(release, labels=["excited"], merge=None)
    assert apart[f"{dialog}_M001"]["ratings"] == {"excited": 3, "happy": 3}
    shares = targets.Shares("emotion", ["angry", "happy", "neutral", "sad"])
    item = shares.items("", rated[f"{dialog}_F003"])
    assert item["emotion_shares"].tolist() == pytest.approx([0, 0, 0.8, 0.2])


def test_iemocap_alignments(release, monkeypatch):
    with pytest.raises(InputError, match="no sentences/ForcedAlignment in any session"):
        iemocap.prepare(release, aligned=True)
    header, end = "    SFrm  EFrm  SegAScr Word\r\n", " Total score:    -178\n"
    silence = "       0     33  -164520 <s>\n      34     60    -11 <sil>\n"
    contents = {
        "Ses01F_impro01_F000": silence + "      61    99   -402310 WELL(2)\r\n" + end,
        "Ses01F_impro01_M000": silence + "  61  99  -40 ++LAUGHTER++\n 100 110 -9 </s>\n" + end,
        "Ses01F_script01_1_F001": "",
        "Ses03F_impro01_F000": header + "61\t99\t-5\t'cause\n",
        "Ses03F_script01_1_F001": silence + "  61  99  -40\n  WORD\n" + end,  # a broken line
        "Ses03F_script01_1_M008": silence + "  61  99  -40 FRUSTRATED\n" + end,  # not kept
    }
    for utt_id, content in contents.items():
        dialog = utt_id.rsplit("_", 1)[0]
        folder = release / f"Session{utt_id[4]}/sentences/ForcedAlignment/{dialog}"
        text(folder / f"{utt_id}.wdseg", header + content)
        text(folder / f"._{utt_id}.wdseg", " 1 2 3 WORD")
    folder = release / "Session1/sentences/ForcedAlignment/Ses01F_impro01"
    text(folder / "._Ses01F_impro01_M001.wdseg", " 1 2 3 WORD")  # it has no alignment of its own
    read, read_text = [], Path.read_text

    def noted(path, *args, **kwargs):
        read.append(path.name)
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", noted)
    flags = {utt_id: row["aligned"] for utt_id, row in iemocap.prepare(release).items()}
    assert sorted(name for name in read if name.endswith(".wdseg")) == sorted(
        f"{utt_id}.wdseg" for utt_id in contents if utt_id in flags
    ), "of the kept utterances alone"
    kept = ["Ses01F_impro01_F000", "Ses03F_impro01_F000"]
    assert flags == {utt_id: utt_id in kept for utt_id in flags} and len(flags) == 25
    options = {"labels": sorted({iemocap.prepare(release)[utt_id]["emotion"] for utt_id in kept})}
    assert list(iemocap.prepare(release, aligned=True, **options)) == kept

    folder = release / "Session1/sentences/ForcedAlignment/Ses01F_impro01"
    text(folder / "Ses01F_impro01_F000.syseg", "    SFrm  EFrm  SegAScr Syl\n 61 99 -40 W EH L\n")
    assert iemocap.prepare(release)["Ses01F_impro01_F000"]["aligned"]
    text(folder / "Ses01F_impro01_F000.syseg", "    SFrm  EFrm  SegAScr Syl\n")
    assert not iemocap.prepare(release)["Ses01F_impro01_F000"]["aligned"], "MMHMM: no syllable"


def test_iemocap_transcripts_that_are_not_utf8(release):
    path = release / "Session1/dialog/transcriptions/Ses01F_impro01.txt"
    text(path, "Ses01F_impro01_F000 [1.0-2.0]: I can\u2019t.\n", encoding="cp1252")
    assert iemocap.prepare(release)["Ses01F_impro01_F000"]["words"] == "I CAN'T"


def test_iemocap_clean():
    assert iemocap.clean("[GARBAGE] {scream}\tOh- no...  WHAT'S 'that', eh?") == (
        "OH NO WHAT'S 'THAT' EH"
    )
    assert iemocap.clean(" [LAUGHTER] ") == ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A corpus with the names and sizes of the complete release."""
    return iemocap_release.write(tmp_path_factory.mktemp("iemocap"))


def test_iemocap_complete_release(whole, caplog):
    caplog.set_level("INFO")
    manifest = iemocap.prepare(whole, expected=5531)

    def count(field):
        return Counter(row[field] for row in manifest.values())

    assert count("emotion") == {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084}
    assert count("session") == {"1": 1085, "2": 1023, "3": 1151, "4": 1031, "5": 1241}
    assert count("style") == {"impro": 2943, "script": 2588}
    in_parts = [utt_id for utt_id in manifest if re.match(r"Ses03M_impro0\d[ab]_", utt_id)]
    assert Counter(manifest[utt_id]["raw_emotion"] for utt_id in in_parts) == {
        "neutral": 95,
        "angry": 54,
        "excited": 1,
    }
    for told in ("5,531 utterances", "1,849 labelled frustrated (such as Ses01F_", "have no words"):
        assert told in caplog.text
    raw = iemocap.prepare(whole, labels=[*iemocap.EMOTIONS.values()], merge=None)
    assert len(raw) == 10_039


def test_iemocap_speaker_and_style_come_from_the_name(release):
    dialog = "Ses03F_script03_2"
    for turn in ("M007", "F001"):
        wav(release / f"Session3/sentences/wav/{dialog}/{dialog}_{turn}.wav", 0.25)
    lines = (f"[1.0 - 2.0]\t{dialog}_{turn}\tsad\t[2.5, 2.5, 2.5]\r\n" for turn in ("M007", "F001"))
    text(release / f"Session3/dialog/EmoEvaluation/{dialog}.txt", "".join(lines))
    text(release / f"Session3/dialog/transcriptions/{dialog}.txt", "")
    manifest = iemocap.prepare(release)
    rows = [manifest[f"{dialog}_{turn}"] for turn in ("M007", "F001")]
    assert [(row["speaker"], row["gender"], row["style"]) for row in rows] == [
        ("Ses03M", "M", "script"),
        ("Ses03F", "F", "script"),
    ]


def test_iemocap_what_is_left_out_is_counted(release, caplog):
    caplog.set_level("INFO")
    wavs = release / "Session2/sentences/wav"
    (wavs / "Ses02F_impro01/Ses02F_impro01_F000.wav").unlink()  # evaluated, neutral
    wav(wavs / "Ses02F_impro01/Ses02F_impro01_M055.wav")
    wav(wavs / "Ses02M_impro04/Ses02M_impro04_F000.wav")  # nothing of that dialog is evaluated
    text(wavs / "Ses02F_impro01/._Ses02F_impro01_M055.wav", "\0")
    assert len(iemocap.prepare(release, styles=["impro"], labels=["neutral", "happy"])) == 9
    for told in (
        "IEMOCAP: 9 utterances; left out:",
        "5 labelled angry (such as Ses01F_impro01_M001)",
        "5 of style script",
        "2 without an evaluation (such as Ses02F_impro01_M055)",
        "1 evaluated, but without audio (such as Ses02F_impro01_F000)",
    ):
        assert told in caplog.text
    with pytest.raises(InputError, match="24 utterances .*25 expected|1 files that .*F000.wav"):
        iemocap.prepare(release, expected=25)


@pytest.mark.parametrize(
    "utt_id, fault",
    [
        ("Ses01F_improv01_F000", "neither its style nor its speaker"),
        ("Ses01F_read01_F000", "neither its style nor its speaker"),
        ("Ses01F_05a_F000", "neither its style nor its speaker"),
        ("Ses01F_impro01_X000", "neither its style nor its speaker"),
        ("impro01_F000", "neither its style nor its speaker"),
        ("Ses01F_impro01_F000", "is evaluated twice"),
    ],
)
def test_iemocap_a_line_that_cannot_be_placed_is_refused(release, utt_id, fault):
    path = release / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    path.write_text(f"{path.read_text()}\n[6.2901 - 8.2357]\t{utt_id}\tneu\t[2.5, 2.5, 2.5]\n")
    with pytest.raises(InputError, match=f"Ses01F_impro01.txt: {utt_id} .*{fault}"):
        iemocap.prepare(release)


def test_iemocap_mistakes(release):
    with pytest.raises(InputError, match="25 utterances found, 5531 expected: is .* the complete"):
        iemocap.prepare(release, expected=5531)
    assert len(iemocap.prepare(release, expected=25)) == 25
    for option in ({"labels": ["joy"]}, {"styles": ["read"]}, {"merge": {"joy": "happy"}}):
        (name,) = option
        with pytest.raises(InputError, match=f"^{name} holds '(joy|read)', which is none of "):
            iemocap.prepare(release, **option)
    wavs = release / "Session2/sentences/wav/Ses02F_impro01"
    for path in wavs.iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"^3 files .* missing, the first is .*impro01_F000\.wav"):
        iemocap.prepare(release, expected=25)
    transcript = release / "Session2/dialog/transcriptions/Ses02F_impro01.txt"
    transcript.unlink()
    with pytest.raises(InputError, match="Ses02F_impro01.txt: no such transcript"):
        iemocap.prepare(release)
    evaluation = release / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    evaluation.write_text("[6.2 - 8.2]\tSes01F_impro01_F000\tjoy\t[]\n")
    with pytest.raises(InputError, match="Ses01F_impro01.txt: cannot read the line .*joy"):
        iemocap.prepare(release)
    for path in evaluation.parent.glob("Ses*.txt"):
        path.unlink()
    with pytest.raises(InputError, match="Session1/dialog/EmoEvaluation holds no evaluation"):
        iemocap.prepare(release)
    (release / "Session4").rename(release / "Session9")
    with pytest.raises(InputError, match=r"holds Session1.*expected .*\(Session4 missing\)"):
        iemocap.prepare(release)


@pytest.mark.parametrize(
    "corpus, variable",
    [
        (iemocap, "IEMOCAP"),
        (nemo, "NEMO"),
        (ravdess, "RAVDESS"),
        (voxceleb1, "VOXCELEB1"),
        (table, "TABLE"),
    ],
)
def test_wrong_data_folder(tmp_path, corpus, variable):
    how = f"give it with --data_folder PATH or the environment variable SER_{variable}$"
    with pytest.raises(InputError, match=f"^no data_folder given, expected .*{how}"):
        corpus.prepare("")
    with pytest.raises(InputError, match=f"absent does not exist, expected .*{how}"):
        corpus.prepare(tmp_path / "absent")
    if corpus is table:
        with pytest.raises(InputError, match=f"is a folder, expected .*{how}"):
            corpus.prepare(tmp_path)
        return
    with pytest.raises(InputError, match=f"holds nothing, expected .*{how}"):
        corpus.prepare(tmp_path)
    for name in "edcbaf":
        text(tmp_path / f"{name}.txt", "")
    found = "holds a.txt, b.txt, c.txt, d.txt and 2 more, expected "
    with pytest.raises(InputError, match=f"{found}.*{how}"):
        corpus.prepare(tmp_path)
    with pytest.raises(InputError, match=f"a.txt is a file, expected .*{how}"):
        corpus.prepare(tmp_path / "a.txt")


def test_ravdess_reads_names(tmp_path):
    wav(tmp_path / "Actor_18/03-01-02-02-02-01-18.wav", 0.3)
    wav(tmp_path / "speech/x/03-01-05-01-01-02-03.flac", 0.4)
    wav(tmp_path / "song/03-02-03-01-01-01-03.WAV", 0.2)
    wav(tmp_path / "01-01-03-01-01-01-03.wav")  # the sound of a film
    text(tmp_path / "Actor_18/._03-01-02-02-02-01-18.wav", "\0")
    text(tmp_path / "README.md", "")
    manifest = ravdess.prepare(tmp_path)
    assert list(manifest) == ["03-01-02-02-02-01-18", "03-01-05-01-01-02-03"]
    assert manifest["03-01-02-02-02-01-18"] == {
        "wav": str(tmp_path / "Actor_18/03-01-02-02-02-01-18.wav"),
        "duration": 0.3,
        "emotion": "calm",
        "speaker": "Actor_18",
        "session": "",
        "gender": "F",
        "style": "speech",
        "words": "DOGS ARE SITTING BY THE DOOR",
        "intensity": "strong",
        "statement": "02",
        "repetition": "01",
        "language": "en",
    }
    other = manifest["03-01-05-01-01-02-03"]
    assert (other["emotion"], other["gender"], other["intensity"]) == ("angry", "M", "normal")
    assert (other["words"], other["repetition"]) == ("KIDS ARE TALKING BY THE DOOR", "02")
    both = ravdess.prepare(tmp_path, channels=["speech", "song"], merge={"calm": "neutral"})
    assert Counter(row["style"] for row in both.values()) == {"speech": 2, "song": 1}
    assert both["03-01-02-02-02-01-18"]["emotion"] == "neutral"


def test_ravdess_second_copies(tmp_path):
    first = wav(tmp_path / "Actor_01/03-01-05-01-01-01-01.wav")
    wav(tmp_path / "audio_speech_actors_01-24/Actor_01/03-01-05-01-01-01-01.wav")
    assert [row["wav"] for row in ravdess.prepare(tmp_path).values()] == [str(first)]
    wav(tmp_path / "audio_speech_actors_01-24/Actor_01/03-01-05-01-01-01-01.wav", 0.6)
    with pytest.raises(InputError, match="/Actor_01/.* and .*/audio_speech.* differ under one"):
        ravdess.prepare(tmp_path)


def test_what_the_other_corpora_leave_out_is_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    folder = tmp_path / "ravdess"
    for name in ("a/03-01-05-01-01-01-01", "b/03-01-05-01-01-01-01", "03-02-05-01-01-01-01"):
        wav(folder / f"{name}.wav")
    wav(folder / "01-01-05-01-01-01-02.wav")
    for name in ("take.m4a", "._x.wav", "notes.txt"):
        text(folder / name, "")
    ravdess.prepare(folder)
    assert "RAVDESS: 1 utterances; left out: " in caplog.text
    for told in ("1 second copies (such as ", "1 of song", "1 of a film", "1 in a format that"):
        assert told in caplog.text
    assert "4 utterances" not in caplog.text and "notes" not in caplog.text

    folder = tmp_path / "vox"
    text(folder / "iden_split.txt", "1 id10001/a/00001.wav\n")
    for name in ("wav/id10001/a/00001", "wav/id10001/a/00002", "dev/wav/id10001/a/00001"):
        wav(folder / f"{name}.wav")
    voxceleb1.prepare(folder, expected_speakers=1)
    assert "VoxCeleb1: 1 utterances; left out: " in caplog.text
    assert "1 not in iden_split.txt (such as " in caplog.text
    assert caplog.text.count("1 second copies") == 2

    wav(tmp_path / "own/one.wav")
    wav(tmp_path / "own/two.wav")
    listed = text(tmp_path / "own.csv", "path,emotion,speaker\nown/one.wav,happy,A\n")
    table.prepare(listed)
    assert "own.csv: 1 utterances; left out: 1 beside them and in no row (such as " in caplog.text


def test_ravdess_mistakes(tmp_path):
    wav(tmp_path / "03-01-05-01-01-01-01.wav")
    with pytest.raises(InputError, match="holds no song: leave it out of channels"):
        ravdess.prepare(tmp_path, channels=["speech", "song"])
    with pytest.raises(InputError, match="1 utterances found, 1440 expected: is .* the complete"):
        ravdess.prepare(tmp_path, expected=1440)
    with pytest.raises(InputError, match="channels holds 'video', which is none of speech, song"):
        ravdess.prepare(tmp_path, channels=["video"])
    with pytest.raises(InputError, match="merge names 'clam', and .* angry, .*did you mean calm"):
        ravdess.prepare(tmp_path, merge={"clam": "neutral"})
    (tmp_path / "03-01-05-01-01-02-01.wav").touch()
    (tmp_path / "03-01-05-01-02-01-01.wav").touch()
    with pytest.raises(InputError, match=r"2 of 3 recordings .* be used .*01-02-01\.wav.*02-01-01"):
        ravdess.prepare(tmp_path)
    for name in ("03-01-09-01-01-01-01.wav", "03-01-05-01-01-01-25.wav", "take 1.flac"):
        path = wav(tmp_path / name)
        with pytest.raises(InputError, match=f"{name} is not named modality-channel-emotion-"):
            ravdess.prepare(tmp_path)
        path.unlink()


@pytest.mark.skipif(not REAL_RAVDESS, reason="SER_RAVDESS names no folder")
def test_ravdess_real_recordings():
    manifest = ravdess.prepare(REAL_RAVDESS, expected=1440)
    emotions = Counter(row["emotion"] for row in manifest.values())
    assert emotions.pop("neutral") == 96
    assert len(emotions) == 7 and set(emotions.values()) == {192}
    actors = Counter(row["speaker"] for row in manifest.values())
    assert len(actors) == 24 and set(actors.values()) == {60}
    assert Counter(row["gender"] for row in manifest.values()) == {"F": 720, "M": 720}
    assert all(2.9 < row["duration"] < 5.3 for row in manifest.values())


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files`; understands ranges unless told otherwise; notes what it was asked for."""

    files: dict[str, bytes] = {}
    ranges = True
    break_after = None
    asked: list = []

    def do_GET(self):
        content = self.files.get(self.path)
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if content is None or start >= len(content):
            self.send_error(404 if content is None else 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.break_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    class Fresh(Server):
        files, asked = {}, []

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Fresh.url = f"http://127.0.0.1:{running.server_port}/"
    yield Fresh
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def published(tmp_path, server, monkeypatch):
    """The server publishes a small speech archive; its checksum replaces the real one."""
    name = "Audio_Speech_Actors_01-24"
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        for actor in ("01", "02"):
            member = f"03-01-05-01-01-01-{actor}.wav"
            archive.write(wav(tmp_path / "made" / member), f"Actor_{actor}/{member}")
    server.files[f"/{name}.zip"] = (tmp_path / "made.zip").read_bytes()
    checksum = hashlib.md5(server.files[f"/{name}.zip"]).hexdigest()
    monkeypatch.setitem(ravdess.MD5, name, checksum)
    return name


def fetch_speech(folder, server):
    ravdess.download(folder, base_url=server.url)
    return ravdess.prepare(folder)


def test_download_and_unpack(tmp_path, server, published):
    folder = tmp_path / "new" / "ravdess"
    manifest = fetch_speech(folder, server)
    assert [row["speaker"] for row in manifest.values()] == ["Actor_01", "Actor_02"]
    assert sorted(path.name for path in folder.iterdir()) == [published, f"{published}.zip"]
    assert server.asked == [None]


def test_prepare_downloads_only_what_is_absent(tmp_path, server, published, monkeypatch):
    monkeypatch.setattr(ravdess, "ZENODO", server.url)
    folder = tmp_path / "new"
    manifest = ravdess.prepare(folder, download=True)
    assert len(manifest) == 2 and len(server.asked) == 1
    assert ravdess.prepare(folder, download=True) == manifest
    assert len(server.asked) == 1


def test_download_by_the_command_line_s_corpus(tmp_path, server, published, monkeypatch):
    monkeypatch.setattr(ravdess, "ZENODO", server.url)
    recipe = RECIPES / "IEMOCAP/hparams/emotion.yaml"
    given = "corpus: {name: ravdess, download: True, expected: 2}\ndata_folder: " + str(
        tmp_path / "r"
    )
    settings = hp.resolve(command_line.read(recipe, hp.command_line(given)), recipe)
    corpus = hp.build({"corpus": settings["corpus"]})["corpus"]
    assert len(corpus["prepare"](settings["data_folder"])) == 2
    assert server.asked == [None]


def test_download_resumes(tmp_path, server, published):
    folder, content = tmp_path / "new", server.files[f"/{published}.zip"]
    server.break_after = 1000
    with pytest.raises(InputError, match=f"broke off after 1000 of {len(content)} bytes.*is kept"):
        fetch_speech(folder, server)
    server.break_after = None
    assert len(fetch_speech(folder, server)) == 2
    assert server.asked == [None, "bytes=1000-"]


def test_download_starts_again_without_ranges(tmp_path, server, published):
    server.ranges = False
    folder = tmp_path / "new"
    text(folder / f"{published}.zip.part", "what an earlier call left")
    assert len(fetch_speech(folder, server)) == 2


def test_download_of_a_whole_part_checks_it(tmp_path, server, published):
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / f"{published}.zip.part").write_bytes(server.files[f"/{published}.zip"])
    assert len(fetch_speech(folder, server)) == 2
    assert server.asked == [f"bytes={len(server.files[f'/{published}.zip'])}-"]


def test_download_mistakes(tmp_path, server, published):
    folder = tmp_path / "new"
    with pytest.raises(InputError, match="archives holds 'Video'"):
        ravdess.download(folder, archives=["Video"], base_url=server.url)
    with pytest.raises(InputError, match=r"cannot fetch .*Song.*404.*unpack it in "):
        ravdess.download(folder, ["Audio_Song_Actors_01-24"], server.url)
    with pytest.raises(InputError, match="has the checksum [0-9a-f]{32} instead of 00: removed"):
        ravdess.download(folder, base_url=server.url, checksums={published: "00"})
    assert list(folder.iterdir()) == []
    with pytest.raises(InputError, match="cannot fetch http://127.0.0.1:1/"):
        ravdess.download(folder, base_url="http://127.0.0.1:1/")


def test_unpack_stays_in_its_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("Actor_01/a.wav", "")
        archive.writestr("../outside.txt", "")
    with pytest.raises(InputError, match=r"bad.zip would write outside its folder \(../outside"):
        download.unpack(tmp_path / "bad.zip", tmp_path / "to" / "folder")
    text(tmp_path / "damaged.zip", "no zip")
    with pytest.raises(InputError, match="damaged.zip is damaged"):
        download.unpack(tmp_path / "damaged.zip", tmp_path / "to" / "folder")
    assert list((tmp_path / "to").iterdir()) == []


LISTED = {"id10001/1zcIwhmdeo4/00001": 1, "id10001/_a-b/00002": 2, "id10002/x/00001": 3}


@pytest.mark.parametrize("layout", ["wav", ".", "dev/wav", "test/wav", "dev/aac"])
def test_voxceleb1_layouts(tmp_path, layout):
    text(
        tmp_path / "iden_split.txt",
        "".join(f"{part} {utt_id}.wav\n" for utt_id, part in LISTED.items()),
    )
    text(
        tmp_path / "vox1_meta.csv",
        "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\tA\tm\tUSA\tdev\n",
    )
    for seconds, utt_id in enumerate(LISTED, start=1):
        wav(tmp_path / layout / f"{utt_id}.wav", seconds / 10)
    manifest = voxceleb1.prepare(tmp_path, expected_speakers=2)
    assert list(manifest) == sorted(LISTED)
    assert [row["split"] for row in manifest.values()] == ["train", "valid", "test"]
    assert [row["duration"] for row in manifest.values()] == [0.1, 0.2, 0.3]
    assert [row["gender"] for row in manifest.values()] == ["M", "M", ""]
    row = manifest["id10001/1zcIwhmdeo4/00001"]
    assert list(row)[: len(KEYS)] == KEYS
    assert (row["speaker"], row["emotion"]) == ("id10001", "")
    assert row["wav"] == str(tmp_path / layout / "id10001/1zcIwhmdeo4/00001.wav")


def test_voxceleb1_dev_and_test_archives_share_a_speaker(tmp_path):
    listed = text(tmp_path / "lists/mine.txt", "1 id10001/a/00001.wav\n3 id10001/b/00001.wav\n")
    wav(tmp_path / "vox/dev/wav/id10001/a/00001.wav")
    wav(tmp_path / "vox/test/wav/id10001/b/00001.wav")
    manifest = voxceleb1.prepare(tmp_path / "vox", iden_split=listed, expected_speakers=None)
    assert [row["split"] for row in manifest.values()] == ["train", "test"]


def test_voxceleb1_mistakes(tmp_path):
    listed = text(tmp_path / "iden_split.txt", "1 id10001/a/00001.wav\n1 id10002/a/00001.wav\n")
    with pytest.raises(InputError, match="lists 2 speakers, 1251 expected: is it the complete"):
        voxceleb1.prepare(tmp_path)
    with pytest.raises(InputError, match="^2 files .*iden_split.txt lists .*id10001/a/00001.wav"):
        voxceleb1.prepare(tmp_path, expected_speakers=2)
    text(tmp_path / "dev/aac/id10002/a/00001.m4a", "")
    with pytest.raises(InputError, match="^1 files .* m4a only, .*id10002/a/00001.m4a.* ffmpeg -i"):
        voxceleb1.prepare(tmp_path, expected_speakers=2)
    with pytest.raises(InputError, match="none.txt: no such file, iden_split is the official"):
        voxceleb1.prepare(tmp_path, iden_split=tmp_path / "none.txt")
    for content, sentence in [
        ("1 id10001/a/00001.wav\n4 id10002/a/1.wav\n", "line 2: '4 id10002/a/1.wav' is not like"),
        ("1 id10001/a/1.wav\n\n2 id10001/a/1.wav\n", "line 3: '2 id10001/a/1.wav' comes twice"),
        ("\n", "is empty"),
    ]:
        listed.write_text(content)
        with pytest.raises(InputError, match=sentence):
            voxceleb1.prepare(tmp_path, expected_speakers=2)
    listed.write_text("1 id10001/a/00001.wav\n")
    text(tmp_path / "vox1_meta.csv", "VoxCeleb1 ID,Gender\nid10001,m\n")
    with pytest.raises(InputError, match="vox1_meta.csv lacks the tab-separated columns"):
        voxceleb1.prepare(tmp_path, expected_speakers=1)


ENTRIES = [
    {
        "path": "b/two.wav",
        "emotion": "happy",
        "speaker": "Ann",
        "session": "s1",
        "gender": "Female",
        "transcript": "Don\u2019t - well-known, \u00c9t\u00e9?",
        "split": "test",
        "note": "x",
    },
    {
        "path": "one.wav",
        "emotion": "sad",
        "speaker": "3",
        "session": "",
        "gender": "m",
        "transcript": "",
        "split": "train",
        "note": "",
    },
]


def write_table(path, entries):
    """The entries as path's ending says; of csv and tsv also with the mark that Excel writes."""
    if path.suffix in (".csv", ".tsv"):
        lines = [list(entries[0]), *(list(entry.values()) for entry in entries)]
        separator = "," if path.suffix == ".csv" else "\t"
        rows = (separator.join(f'"{value}"' for value in line) for line in lines)
        return text(path, "\r\n".join(rows) + "\r\n", encoding="utf-8-sig")
    if path.suffix == ".jsonl":
        return text(path, "\n".join(map(json.dumps, entries)))
    return text(path, json.dumps(entries))


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl"])
def test_table_formats(tmp_path, ending):
    wav(tmp_path / "b/two.wav", 0.2)
    wav(tmp_path / "one.wav", 0.1)
    manifest = table.prepare(write_table(tmp_path / f"corpus.{ending}", ENTRIES))
    assert list(manifest) == ["b/two", "one"]
    assert manifest["b/two"] == {
        "wav": str(tmp_path / "b/two.wav"),
        "duration": 0.2,
        "emotion": "happy",
        "speaker": "Ann",
        "session": "s1",
        "gender": "F",
        "style": "",
        "words": "DON'T WELL KNOWN \u00c9T\u00c9",
        "split": "test",
    }
    one = manifest["one"]
    assert (one["speaker"], one["gender"], one["session"], one["words"]) == ("3", "M", "", "")


def test_table_required_columns_suffice(tmp_path):
    path = wav(tmp_path / "elsewhere/one.wav")
    text(tmp_path / "t/t.csv", f"speaker,path,emotion\nA,{path},sad\nB,../elsewhere/one.wav,sad\n")
    manifest = table.prepare(tmp_path / "t/t.csv")
    assert list(manifest) == ["../elsewhere/one", str(path.with_suffix(""))]
    assert [row["wav"] for row in manifest.values()] == [
        str(tmp_path / "t/../elsewhere/one.wav"),
        str(path),
    ]
    assert all(list(row) == KEYS for row in manifest.values())


def test_table_json_object_and_utt_id(tmp_path):
    wav(tmp_path / "one.wav")
    entry = {"path": "one.wav", "emotion": "sad", "speaker": 7, "gender": None}
    manifest = table.prepare(text(tmp_path / "t.json", json.dumps({"u2": entry, "u1": entry})))
    assert list(manifest) == ["u1", "u2"] and manifest["u1"]["speaker"] == "7"
    entries = [{**entry, "utt_id": "u9"}]
    assert list(table.prepare(text(tmp_path / "t.json", json.dumps(entries)))) == ["u9"]


def test_table_lists_bad_rows_by_line(tmp_path):
    wav(tmp_path / "one.wav")
    (tmp_path / "empty.wav").touch()
    lines = [
        "path,emotion,speaker,gender,split",  # line 1
        "one.wav,sad,A,F,train",
        "none.wav,sad,A,F,train",
        "one.wav,sad,A,F,valid",
        "empty.wav,sad,A,F,train",
        "x.wav,,A,F,train",
        '"two\nlines.wav",sad,A,woman,train',  # ends at line 8
        "y.wav,sad,A,F,dev",
        "z.wav,sad, ,F,test",
        "v.wav,sad,A,F,test,more",
    ]
    with pytest.raises(InputError) as caught:
        table.prepare(text(tmp_path / "t.csv", "\n".join(lines)))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 't.csv'} has 8 bad rows: line 3: ")
    assert f"line 3: {tmp_path / 'none.wav'}: no such file (if the recordings lie " in message
    assert "line 4: its utt_id one is that of line 2 already; " in message
    assert "line 5: " in message and "empty.wav" in message
    assert "line 6: emotion is empty; " in message
    assert message.endswith("line 8: gender is 'woman', use F or M or leave it empty; and 3 more")
    with pytest.raises(InputError) as caught:
        table.prepare(text(tmp_path / "t.csv", "\n".join([lines[0], *lines[-3:]])))
    message = str(caught.value)
    assert "line 2: split is 'dev', use train, valid, test; " in message
    assert "line 3: speaker is empty; " in message
    assert message.endswith("line 4: it has more fields than the first line names")


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("t.csv", "file,emotion\na.wav,sad\n", "lacks speaker: it holds file, emotion, expected"),
        ("t.csv", "path,emotion,speaker\n", "it holds no row"),
        ("t.csv", "path,emotion,path\na,b,c\n", "t.csv has two columns path: rename or remove one"),
        ("t.txt", "", "ends in '.txt', expected a .csv, .tsv, .json or .jsonl file"),
        ("t.csv", 'path,emotion\n"' + 200_000 * "x", "breaks after line 1 .field larger than"),
        ("t.json", "[", "the file is not valid json"),
        ("t.json", "3", "is neither a list nor an object of recordings"),
        ("t.json", "[3]", "3 is not an object of columns and values"),
        ("t.json", '{"u": {}, "u": {}}', "a name comes twice in one object"),
        ("t.jsonl", '{"path": 1}\n\n{', "line 3 is not valid json"),
        ("t.json", '[{"path": "a.wav"}]', "lacks emotion, speaker: it holds path"),
    ],
)
def test_table_mistakes(tmp_path, name, content, sentence):
    with pytest.raises(InputError, match=sentence):
        table.prepare(text(tmp_path / name, content))


def test_table_in_another_encoding(tmp_path):
    path = text(tmp_path / "t.csv", "path,emotion,speaker\na.wav,sad,Ren\u00e9\n", "latin-1")
    with pytest.raises(InputError, match="t.csv is not UTF-8 text"):
        table.prepare(path)
