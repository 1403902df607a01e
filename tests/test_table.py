"""Tables as people have them: segments, annotators, names of columns, and folders that moved."""

import json
import logging

import pytest
from conftest import RECIPES, run, tiny
from test_manifests import noise

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import manifests
from speechbrain_ser.data.corpora import Unreadable, table
from speechbrain_ser.errors import InputError
from speechbrain_ser.training.claims import placeless

EMOTION = RECIPES / "IEMOCAP/hparams/emotion.yaml"


@pytest.fixture
def make(tmp_path):
    """A table of these lines beside talk.wav, of 8 s, and b/other.wav; what prepare makes of it."""
    (tmp_path / "b").mkdir()
    noise(tmp_path / "talk.wav", 8)
    noise(tmp_path / "b/other.wav", 1, seed=1)

    def make(*lines, **options):
        (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
        return table.prepare(tmp_path / "mine.csv", **options)

    return make


def places(manifest, folder):
    return {utt_id: row["wav"].removeprefix(f"{folder}/") for utt_id, row in manifest.items()}


def test_rows_are_segments(make, tmp_path):
    manifest = make(
        "path,emotion,speaker,start,end",
        "talk.wav,sad,A,1.50,3.25",
        "talk.wav,happy,A,3,4",  # overlaps the one before
        "talk.wav,sad,B,6.00001,",
        "talk.wav,sad,B,,0.5",
        "b/other.wav,sad,B,,",
    )
    assert places(manifest, tmp_path) == {
        "b/other": "b/other.wav",
        "talk_0_0.5": "talk.wav#t=0,0.5",
        "talk_1.5_3.25": "talk.wav#t=1.5,3.25",
        "talk_3_4": "talk.wav#t=3,4",
        "talk_6": "talk.wav#t=6",
    }
    assert [row["duration"] for row in manifest.values()] == [1, 0.5, 1.75, 1, 2]


@pytest.mark.parametrize(
    "columns, times, place",
    [
        ("Start_Time,END_TIME", "1,2", "1,2"),
        ("begin,stop", "1,2", "1,2"),
        ("onset,offset", "1,2", "1,2"),
        ("segment_start,segment_end", "1,2", "1,2"),
        ("start_ms,end_ms", "1500,2250.5", "1.5,2.2505"),
        ("Start (ms),end [s]", "1500,2", "1.5,2"),
        ("start time sec,end_seconds", "1,2", "1,2"),
        ("start,duration", "1,2", "1"),
        ("end,length", "1,2", "0,1"),
    ],
)
def test_columns_of_times(make, tmp_path, columns, times, place):
    manifest = make(f"path,emotion,speaker,{columns}", f"talk.wav,sad,A,{times}")
    assert [*places(manifest, tmp_path).values()] == [f"talk.wav#t={place}"]


def test_a_duration_that_is_not_read_is_said(make, caplog):
    make("path,emotion,speaker,start,duration", "talk.wav,sad,A,1,2")
    assert "mine.csv has no column end" in caplog.text and "duration is not read" in caplog.text


@pytest.mark.parametrize(
    "columns, times, sentence",
    [
        ("start,end", "x,2", "line 2: start is 'x', use seconds such as 1.5"),
        ("start,end_ms", "1,-2", "line 2: end_ms is '-2', use milliseconds"),
        ("start,end", "nan,2", "line 2: start is 'nan'"),
        ("start,end", "2,2", "line 2: .*talk.wav#t=2,2 ends where it starts or before"),
        ("start,end", "9,10", "line 2: .*talk.wav#t=9,10 is no part of its file, which lasts 8.00"),
        ("start,begin", "1,2", "mine.csv has two columns that say start, start and begin: rename"),
        ("start,start_ms", "1,2", "mine.csv has two columns that say start, start and start_ms"),
        ("offset,x", "1,2", "mine.csv has the column offset without a start"),
    ],
)
def test_times_that_are_refused(make, columns, times, sentence):
    with pytest.raises(InputError, match=sentence):
        make(f"path,emotion,speaker,{columns}", f"talk.wav,sad,A,{times}")


def test_a_segment_twice_is_refused(make):
    with pytest.raises(InputError, match="line 3: its utt_id talk_1_2 is that of line 2 already"):
        make("path,emotion,speaker,start,end", "talk.wav,sad,A,1,2", "talk.wav,sad,A,1.0,2.0")


def test_a_path_may_be_a_place_itself(make, tmp_path):
    manifest = make("path,emotion,speaker", '"talk.wav#t=1.5,2.5",sad,A')
    assert places(manifest, tmp_path) == {"talk_1.5_2.5": "talk.wav#t=1.5,2.5"}
    with pytest.raises(InputError, match="line 2: its path talk.wav#t=1,2 names times, and so do"):
        make("path,emotion,speaker,end", '"talk.wav#t=1,2",sad,A,3')


def test_a_language_where_the_table_has_one(make):
    manifest = make("path,emotion,speaker,Language", "talk.wav,sad,A,pl", "b/other.wav,sad,A,")
    assert [row["language"] for row in manifest.values()] == ["", "pl"]


RATINGS = [
    ("talk.wav", "sad", "sad", "happy"),
    ("b/other.wav", "calm", "", "calm"),
]


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_annotators_in_columns(make, tmp_path, ending):
    rows = [
        dict(zip(("path", "emotion_1", "emotion_ann", "emotion_2"), row, strict=True))
        | {"speaker": "A"}
        for row in RATINGS
    ]
    if ending == "csv":
        manifest = make(",".join(rows[0]), *(",".join(row.values()) for row in rows))
    else:
        (tmp_path / "mine.json").write_text(json.dumps(rows).replace('""', "null"))
        manifest = table.prepare(tmp_path / "mine.json")
    found = {utt_id: (row["emotion"], row["ratings"]) for utt_id, row in manifest.items()}
    assert found == {"talk": ("sad", {"happy": 1, "sad": 2}), "b/other": ("calm", {"calm": 2})}
    assert list(found["talk"][1]) == ["happy", "sad"]


def test_annotators_in_rows(make, tmp_path):
    manifest = make(
        "path,emotion,speaker,Rater,gender,start,end",
        "talk.wav,sad,A,r1,F,1,2",
        "talk.wav,happy,A,r1,F,2,3",
        "talk.wav,happy,A,r2,,1,2",
        "talk.wav,Happy,A,r3,F,1,2",
        "talk.wav,sad,A,r4,F,1,2",
        "talk.wav,happy,A,r5,F,1,2",
    )
    assert places(manifest, tmp_path) == {
        "talk_1_2": "talk.wav#t=1,2",
        "talk_2_3": "talk.wav#t=2,3",
    }
    first, second = manifest.values()
    assert (first["emotion"], first["ratings"], first["gender"]) == (
        "happy",
        {"happy": 3, "sad": 2},
        "F",
    )
    assert second["ratings"] == {"happy": 1}


def test_a_tie_is_left_out_and_counted(make, caplog):
    caplog.set_level(logging.INFO, "speechbrain_ser")
    columns = "path,speaker,emotion_1,emotion_2"
    manifest = make(columns, "talk.wav,A,sad,happy", "b/other.wav,A,sad,sad")
    assert list(manifest) == ["b/other"]
    assert "1 without a majority of annotators (such as talk)" in caplog.text
    manifest = make(
        f"{columns},emotion", "talk.wav,A,sad,happy,happy", "b/other.wav,A,sad,sad,calm"
    )
    assert manifest["talk"]["emotion"] == "happy" and manifest["b/other"]["emotion"] == "calm"
    assert manifest["talk"]["ratings"] == {"happy": 1, "sad": 1}


def test_what_an_emotion_is_besides_is_no_annotator(make):
    (row,) = make("path,emotion,speaker,emotion_intensity", "talk.wav,sad,A,strong").values()
    assert "ratings" not in row


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("talk.wav,sad,B,r2,F,train,u", "its speaker is 'B', and 'A' in line 2 of the same"),
        ("talk.wav,sad,A,r2,M,train,u", "its gender is 'M', and 'F' in line 2"),
        ("talk.wav,sad,A,r2,F,test,u", "its split is 'test', and 'train' in line 2"),
        ("talk.wav,sad,A,r2,F,train,v", "its utt_id is v, and u in line 2"),
        ("talk.wav,sad,A,r1,F,train,u", "annotator r1 rates the recording of line 2 again"),
        ("talk.wav,sad,A,,F,train,u", "annotator is empty"),
        ("talk.wav,,A,r2,F,train,u", "emotion is empty"),
        ("b/other.wav,sad,A,r2,F,train,u", "its utt_id u is that of line 2 already"),
    ],
)
def test_annotators_rows_that_contradict_each_other(make, line, sentence):
    columns = "path,emotion,speaker,annotator,gender,split,utt_id"
    with pytest.raises(InputError, match=f"1 bad rows: line 3: {sentence}"):
        make(columns, "talk.wav,sad,A,r1,F,train,u", line)


def test_annotators_in_rows_and_columns_are_refused(make):
    with pytest.raises(InputError, match="by the column rater and by emotion_1: leave out one"):
        make("path,emotion,speaker,rater,emotion_1", "talk.wav,sad,A,r,sad")
    with pytest.raises(InputError, match="line 2: emotion is empty"):
        make("path,speaker,emotion_1,emotion_2", "talk.wav,A,,")


def test_names_of_columns(make, caplog):
    caplog.set_level(logging.INFO, "speechbrain_ser")
    manifest = make("FileName , Label,Speaker ID,TEXT,note", "talk.wav,sad,A,Oh no,x")
    assert manifest["talk"]["speaker"] == "A" and manifest["talk"]["words"] == "OH NO"
    said = [record.getMessage() for record in caplog.records if "taken" in record.getMessage()]
    assert said == [
        "mine.csv: FileName  is taken for path,  Label is taken for emotion, "
        "Speaker ID is taken for speaker, TEXT is taken for transcript"
    ]
    caplog.clear()
    make(" Path,EMOTION,speaker", "talk.wav,sad,A")
    assert "taken" not in caplog.text


@pytest.mark.parametrize(
    "columns, named",
    [
        ("path,emotion,speaker,wav", "path, path and wav"),
        ("path,emotion,label,speaker", "emotion, emotion and label"),
        ("path,emotion,spk,speaker_id", "speaker, spk and speaker_id"),
        ("Path,path,emotion,speaker", "path, Path and path"),
    ],
)
def test_two_columns_of_one_meaning(make, columns, named):
    with pytest.raises(InputError, match=f"mine.csv has two columns that say {named}: rename or"):
        make(columns, "talk.wav,sad,A,B")


def test_audio_in_a_folder_of_its_own(make, tmp_path):
    lines = "path,emotion,speaker,end", "other.wav,sad,A,0.5", "gone.wav,sad,A,"
    hint = r"line 2: \S+other.wav: no such file \(if the recordings lie elsewhere, .*audio_folder: "
    with pytest.raises(Unreadable, match=hint) as caught:
        make(*lines)
    assert str(caught.value).count("audio_folder") == 1, "once is enough"
    manifest = make(*lines[:2], audio_folder=tmp_path / "b")
    assert places(manifest, tmp_path) == {"other_0_0.5": "b/other.wav#t=0,0.5"}
    with pytest.raises(Unreadable) as caught:
        make(*lines, audio_folder=tmp_path / "b")
    assert "audio_folder" not in str(caught.value)
    with pytest.raises(InputError, match="audio_folder is .*nowhere, and there is no such folder"):
        make(*lines, audio_folder=tmp_path / "nowhere")


def test_backslashes_where_there_is_no_such_name(make, tmp_path):
    lines = "path,emotion,speaker,end", "b\\other.wav,sad,A,0.5"
    assert places(make(*lines), tmp_path) == {"b/other_0_0.5": "b/other.wav#t=0,0.5"}
    noise(tmp_path / "b\\other.wav", 1)
    assert places(make(*lines), tmp_path) == {"b\\other_0_0.5": "b\\other.wav#t=0,0.5"}


def test_ratings_and_times_are_of_a_corpus_state(make):
    lines = "path,speaker,emotion_1,emotion_2,end", "talk.wav,A,sad,sad,2"
    there = manifests.marked(make(*lines))
    here = manifests.marked(make(lines[0], "talk.wav,A,sad,,2"))
    assert manifests.digest(there) != manifests.digest(here)
    assert manifests.differences(there, here) == (
        "1 changed: talk_0_2 (ratings {'sad': 2} there, {'sad': 1} here)"
    )
    longer = manifests.marked(make(lines[0], "talk.wav,A,sad,sad,3"))
    assert {entry["content"] for entry in there.values()}.isdisjoint(
        entry["content"] for entry in longer.values()
    )


def test_a_folder_of_audio_is_no_setting_that_may_not_change():
    trees = [hp.read(EMOTION, {"name": "table", "audio_folder": folder}) for folder in "ab"]
    settings = [hp.plain(hp.resolve(tree, EMOTION)) for tree in trees]
    assert settings[0] != settings[1] and placeless(settings[0]) == placeless(settings[1])


def test_a_recipe_trains_on_rated_segments_and_goes_on_elsewhere(tmp_path):
    lines = ["path,speaker,start,end,language,emotion_1,emotion_2,emotion_3"]
    audio = tmp_path / "audio"
    audio.mkdir()
    for speaker in range(6):
        noise(audio / f"{speaker}.wav", 13, seed=speaker)
        for part in range(12):
            heard = ("sad,sad,happy", "happy,happy,happy")[part % 2]
            lines.append(f"{speaker}.wav,s{speaker},{part},{part + 1},en,{heard}")
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")

    def words(folder, epochs="1"):
        words = tiny(EMOTION, tmp_path / "results", "--max_epochs", epochs)
        words[words.index("--mini") + 1] = "False"
        corpus = f"{{name: table, audio_folder: {folder}}}"
        return [*words, "--corpus", corpus, "--data_folder", str(tmp_path / "mine.csv")]

    run(EMOTION, words(audio), whole=True)
    folder = tmp_path / "results/emotion_mine/fold1/1000"
    before = (folder / "results.json").read_text()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["0_3_4"]["ratings"] == {"happy": 3} and len(manifest) == 72
    audio.rename(tmp_path / "moved")
    run(EMOTION, words(tmp_path / "moved"), whole=True)
    assert (folder / "results.json").read_text() == before, "it was complete"
