"""EmoBox's corpora, in folders of its clone's shape written here, and every oddity of theirs."""

import json
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RECIPES, run, ser

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import splits
from speechbrain_ser.data.corpora import LeftOut, Unreadable, emobox, emobox_lists, nemo, ravdess
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json

MAP = {"wut": "Angry", "Ruhe": "Neutral", "glück": "Happy"}  # the data say ruhe
EMOTIONS = ("wut", "ruhe", "glück")
SPEAKERS = ("anna", "bert", "carl", "dora")
REAL = {"SER_EMOBOX", "SER_RAVDESS"} <= {*os.environ}


def record(path, seconds=0.3, pitch=200.0):
    """A readable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.sin(np.arange(round(seconds * 16_000)) * pitch / 2_500)
    soundfile.write(path, samples, 16_000, subtype="PCM_16")
    return path


def line(key, wav, emotion, **more):
    """A line of a list."""
    facts = {"type": "raw", "sample_rate": 16_000, "num_frame": 4_800.0, "task": "category"}
    return {"key": key, "dataset": "toy", "wav": wav, **facts, "length": 0.3, "emo": emotion} | more


def write_list(path, lines, ending=".jsonl"):
    """A list as jsonl, or as the json that EmoBox has beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(own, ensure_ascii=False) + "\n" for own in lines)
    if ending == ".json":
        fields = ("wav", "length", "emo", "dataset", "channel")
        entries = {own["key"]: {f: own[f] for f in fields if f in own} for own in lines}
        text = json.dumps(entries, ensure_ascii=False)
    path.with_suffix(ending).write_text(text, encoding="utf-8")


def toy_lines():
    """Four speakers who say two sentences in each emotion; names have blanks and accents."""
    return [
        line(f"toy-{who}-{emotion}-{n}", f"downloads/toy/{who}/{emotion} {n}.wav", emotion)
        for who in SPEAKERS
        for emotion in EMOTIONS
        for n in (1, 2)
    ]


def by_speaker(lines, fold):
    """train, test: fold k tests the speaker of number k."""
    own = [entry for entry in lines if SPEAKERS[fold - 1] in entry["key"]]
    return {"train": [entry for entry in lines if entry not in own], "test": own}


def by_sentence(lines, fold):
    """train, test: fold k tests everyone's sentence k."""
    own = [entry for entry in lines if entry["key"].endswith(f"-{fold}")]
    return {"train": [entry for entry in lines if entry not in own], "test": own}


def clone(root, name="toy", lines=None, folds=by_speaker, count=4, ending=".jsonl"):
    """A clone with a corpus' lists; returns the corpus' folder."""
    lines = toy_lines() if lines is None else lines
    folder = root / "data" / name
    write_list(folder / name, lines, ending)
    (folder / "label_map.json").write_text(json.dumps(MAP), encoding="utf-8")
    stm = (
        f"{e['key']} 1 x 0 0.3 <id={e['key']},lang=en,spk={e['key'].split('-')[1]},"
        f"emotion={e['emo']}> {e['emo']}\n"
        for e in lines
    )
    (folder / "data.seg.wrd.stm").write_text("".join(stm), encoding="utf-8")
    for fold in range(1, count + 1):
        for part, own in folds(lines, fold).items():
            write_list(folder / f"fold_{fold}" / f"{name}_{part}_fold_{fold}", own, ending)
    return folder


def with_audio(root, lines=None):
    for own in toy_lines() if lines is None else lines:
        record(root / own["wav"], pitch=200 + sum(map(ord, own["key"])) % 100)
    return root


def test_a_clone_is_read_from_any_of_its_folders(tmp_path, caplog):
    folder = clone(with_audio(tmp_path))
    manifest = emobox.prepare(tmp_path, "toy")
    assert len(manifest) == 24 and list(manifest) == sorted(manifest)
    assert manifest["toy-anna-glück-1"] == {
        "wav": str(tmp_path / "downloads/toy/anna/glück 1.wav"),
        "duration": 0.3,
        "emotion": "happy",
        "speaker": "anna",
        **dict.fromkeys(("session", "gender", "style", "words"), ""),
        "split": ["test", "train", "train", "train"],
    }
    assert Counter(e["emotion"] for e in manifest.values()) == {
        "angry": 8,
        "neutral": 8,
        "happy": 8,
    }
    for place in (tmp_path / "data", folder):
        assert emobox.prepare(place, "toy") == manifest
    assert splits.number_of_folds(splits.official, manifest) == 4
    own = emobox.prepare(tmp_path, "toy", original_labels=True)
    assert {entry["emotion"] for entry in own.values()} == {*EMOTIONS}
    kept = emobox.prepare(tmp_path, "toy", labels=["calm", "angry"], merge={"neutral": "calm"})
    assert Counter(e["emotion"] for e in kept.values()) == {"angry": 8, "calm": 8}


def test_json_alone_and_another_map_and_none(tmp_path):
    expected = emobox.prepare(clone(with_audio(tmp_path / "a")), "toy", audio=tmp_path / "a")
    folder = clone(tmp_path / "b", ending=".json")
    assert emobox.prepare(folder, "toy", audio=tmp_path / "a") == expected
    (folder / "label_map.json").rename(folder / "label_dict.json")
    assert emobox.prepare(folder, "toy", audio=tmp_path / "a") == expected
    (folder / "label_dict.json").unlink()
    manifest = emobox.prepare(folder, "toy", audio=tmp_path / "a")
    assert {entry["emotion"] for entry in manifest.values()} == {*EMOTIONS}
    stm = folder / "data.seg.wrd.stm"
    told = stm.read_text(encoding="utf-8")
    for who in ("unknown", lambda match: f"file-{match.start()}"):  # the latter: of one utterance
        stm.write_text(re.sub("(?<=spk=)[a-z]+", who, told), encoding="utf-8")
        manifest = emobox.prepare(folder, "toy", audio=tmp_path / "a")
        assert {entry["speaker"] for entry in manifest.values()} == {""}
    stm.unlink()
    assert emobox.prepare(folder, "toy", audio=tmp_path / "a") == manifest


def test_lists_of_other_names_are_counted_and_other_words_for_fields_read(tmp_path, caplog):
    lines = toy_lines()
    folder = clone(with_audio(tmp_path))
    expected = emobox.prepare(folder, "toy")
    for fold in (1, 2):  # of an earlier draw, which would test everything
        for part in ("train", "test"):
            write_list(folder / f"fold_{fold}/toy_{part}_fold{fold}", lines)
    write_list(folder / "fold_1/toy_test2_fold_1", lines)
    write_list(folder / "fold_1/toy_train_fold_1", by_speaker(lines, 1)["train"], ".json")
    renamed = [
        {k: v for k, v in own.items() if k not in ("wav", "emo")}
        | {"audio": own["wav"], "label": own["emo"]}
        for own in by_speaker(lines, 1)["test"]
    ]
    write_list(folder / "fold_1/toy_test_fold_1", renamed)
    rest = [own for own in lines if own not in by_speaker(lines, 1)["test"]]
    write_list(folder / "toy", [*renamed, *rest, rest[0]])
    with caplog.at_level("INFO"):
        assert emobox.prepare(folder, "toy") == expected
    assert (
        "EmoBox's toy: 24 utterances; left out: 5 lists of other names (such as fold_1/toy_te"
        in (caplog.text)
    )
    assert "1 lines that come twice" in caplog.text


def test_a_valid_list_validates_and_an_utterance_of_no_list_is_in_no_part(tmp_path):
    lines = toy_lines()

    def folds(lines, fold):
        parts = by_speaker(lines, fold)
        valid = [own for own in parts["train"] if "dora" in own["key"]]
        train = [own for own in parts["train"] if own not in valid]
        return {"train": train[1:], "valid": valid, "test": parts["test"]}

    folder = clone(with_audio(tmp_path), lines=lines, folds=folds, count=1)
    manifest = emobox.prepare(folder, "toy")
    parts = splits.official(manifest, 1, valid_by="speaker")
    assert [len(parts[part]) for part in splits.PARTS] == [11, 6, 6]
    assert {entry["speaker"] for entry in parts["valid"].values()} == {"dora"}
    assert manifest["toy-bert-wut-1"]["split"] == [""]


def test_times_of_a_line_are_a_part_of_its_file(tmp_path):
    lines = [
        line(
            f"toy-anna-{n}",
            "downloads/toy/all.wav",
            "wut",
            start_time=n / 10,
            end_time=n / 10 + 0.1,
        )
        for n in range(4)
    ]
    record(tmp_path / "downloads/toy/all.wav", 0.4)
    folder = clone(tmp_path, lines=lines, folds=lambda own, _: {"train": own[:3], "test": own[3:]})
    manifest = emobox.prepare(folder, "toy")
    wav = tmp_path / "downloads/toy/all.wav"
    assert manifest["toy-anna-2"]["wav"] == f"{wav}#t=0.2,0.3"
    assert manifest["toy-anna-0"]["duration"] == pytest.approx(0.1)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_audio_elsewhere_in_other_folders_and_formats_and_letters(form, tmp_path):
    folder = clone(tmp_path / "clone")
    for own in toy_lines():
        stem = unicodedata.normalize(form, Path(own["wav"]).stem)
        who = Path(own["wav"]).parent.name
        record(tmp_path / f"audio/deep/{who}/{stem}.flac", pitch=150 + len(who))
    (tmp_path / "linked").symlink_to(tmp_path / "audio")
    manifest = emobox.prepare(folder, "toy", audio=tmp_path / "linked")
    for key, entry in manifest.items():
        path = Path(entry["wav"])
        assert path.suffix == ".flac" and path.parent.name == key.split("-")[1]  # of its namesakes


def test_a_name_that_may_be_two_files_is_refused(tmp_path):
    lines = [own for own in toy_lines() if "anna" in own["key"]]
    folder = clone(tmp_path, lines=lines, folds=by_sentence, count=2)
    with_audio(tmp_path / "one", lines)
    with_audio(tmp_path / "two", lines)
    assert len(emobox.prepare(folder, "toy", audio=tmp_path)) == 6  # copies are one
    record(tmp_path / "two/downloads/toy/anna/wut 1.wav", 0.5)
    with pytest.raises(InputError, match=r"one/down.* and .*two/down.*wut 1.wav differ, and both"):
        emobox.prepare(folder, "toy", audio=tmp_path)


def test_a_namesake_does_not_stand_for_a_file_that_is_missing(tmp_path):
    folder = clone(tmp_path)
    for own in toy_lines():
        if "bert" not in own["key"]:  # his names are everyone's
            record(tmp_path / own["wav"])
    with pytest.raises(Unreadable) as error:
        emobox.prepare(folder, "toy")
    assert len(error.value.faults) == 6 and len(error.value.rest) == 18
    assert "6 of 24 recordings of" in str(error.value)
    assert (
        "downloads/toy/bert/wut 1.wav is missing (if they lie elsewhere: --corpus '{name: "
        in str(error.value)
    )
    assert all(entry["duration"] == 0.3 for entry in error.value.rest.values())


def test_without_audio_a_sentence_says_how_to_give_it(tmp_path):
    folder = clone(tmp_path)
    with pytest.raises(InputError) as error:
        emobox.prepare(folder, "toy")
    said = str(error.value)
    assert said.startswith("24 of 24 recordings of toy are not in any downloads in or above ")
    assert said.endswith(
        "say where they are, --corpus '{name: emobox, corpus: toy, audio: FOLDER}'"
    )
    with pytest.raises(InputError, match="audio is .*nowhere, and there is no such folder"):
        emobox.prepare(folder, "toy", audio=tmp_path / "nowhere")
    for own in toy_lines():
        film = tmp_path / "films" / Path(own["wav"]).with_suffix(".mp4")
        film.parent.mkdir(parents=True, exist_ok=True)
        film.touch()
    with pytest.raises(InputError, match="glück 1.mp4 is not read: convert it to wav beside it"):
        emobox.prepare(folder, "toy", labels=["happy"], audio=tmp_path / "films")


def test_a_corpus_that_is_not_named_or_not_there(tmp_path):
    clone(tmp_path, "toy")
    clone(tmp_path, "toy2")
    (tmp_path / "data/results.json").write_text("{}")
    with pytest.raises(InputError, match=r"no corpus is named, and .* has toy, toy2: name one of"):
        emobox.prepare(tmp_path, None)
    with pytest.raises(InputError, match=r"no corpus 'Toy2', .* toy, toy2: .*, corpus: toy2}'"):
        emobox.prepare(tmp_path, "Toy2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds nothing, expected a clone of EmoBox, its f"):
        emobox.prepare(tmp_path / "empty", "toy")
    with pytest.raises(InputError, match="no data_folder given, .* SER_EMOBOX"):
        emobox.prepare(None, "toy")
    clone(tmp_path / "copy", "toy2")
    with pytest.raises(InputError, match="both hold lists of toy2: name one"):
        emobox.corpora_in(tmp_path)


def spoil(folder, fault):
    """Put one fault into a corpus' lists."""
    lines = toy_lines()
    test = folder / "fold_2/toy_test_fold_2.jsonl"
    if fault == "strange":
        write_list(test, [*by_speaker(lines, 2)["test"], line("toy-new-wut-1", "x.wav", "wut")])
    elif fault == "no emotion":
        write_list(folder / "toy", [lines[0] | {"emo": None}, lines[1] | {"emo": ""}, *lines[2:]])
    elif fault == "unmapped":
        write_list(folder / "toy", [lines[0] | {"emo": "neid"}, *lines[1:]])
    elif fault == "both":
        write_list(test, [*by_speaker(lines, 2)["test"], lines[0]])
    elif fault == "no path":
        write_list(folder / "toy", [lines[0] | {"wav": ""}, *lines[1:]])
    elif fault == "times":
        write_list(folder / "toy", [lines[0] | {"start_time": "soon"}, *lines[1:]])
    elif fault == "twice":
        write_list(folder / "toy", [*lines, lines[0] | {"emo": "ruhe"}])
    elif fault == "no test":
        test.unlink()
    elif fault == "gap":
        (folder / "fold_2").rename(folder / "fold_5")
    elif fault == "empty":
        write_list(folder / "toy", [])


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            "strange",
            r"1 of 7 utterances of .*toy_test_fold_2.jsonl are not in toy.jsonl, the first",
        ),
        ("no emotion", r"2 of 24 utterances of .*toy.jsonl have no emotion, the first is toy-anna"),
        ("unmapped", r"1 of 24 utterances .* an emotion that label_map.json lacks.* \(neid\)"),
        ("both", r"1 utterances of toy are in train and test of fold 2, the first is toy-anna-wut"),
        ("no path", r"toy.jsonl, line 1 has no key or no path"),
        ("times", r"toy.jsonl, line 1 has times that are no numbers"),
        ("twice", r"toy.jsonl, line 25: toy-anna-wut-1 stands there twice, with other values"),
        ("no test", r"fold_2 has no toy_test_fold_2.jsonl and no .json"),
        ("gap", r"has the folds 1, 3, 4, 5, which should count from 1"),
        ("empty", r"toy.jsonl lists no utterance"),
    ],
)
def test_lists_that_contradict_each_other_are_a_sentence(fault, sentence, tmp_path):
    folder = clone(with_audio(tmp_path))
    spoil(folder, fault)
    with pytest.raises(InputError, match=sentence):
        emobox.prepare(folder, "toy")


def test_a_run_is_named_after_the_corpus_and_says_that_speakers_are_shared(
    tmp_path, capsys, caplog
):
    clone(with_audio(tmp_path), folds=by_sentence, count=2)
    yaml = RECIPES / "RAVDESS/hparams/linear.yaml"
    mini = hp.load_tree((RECIPES / "common/mini.yaml").read_text())["linear"]
    words = [str(yaml), "--corpus", "{name: emobox, corpus: toy}", "--data_folder", str(tmp_path)]
    words += ["--results", str(tmp_path / "results"), "--noprogressbar", "--dim", "96"]
    words += ["--encoder", hp.inline(mini["encoder"]), "--layers", "[1]"]
    words += ["--store", f"{{folder: {tmp_path}/features}}"]
    with caplog.at_level("WARNING"):
        run(yaml, words, whole=True)
    sentence = (
        "3 of 4 test speakers also train (9 of 12 test utterances): scores tell little of new"
    )
    assert sentence in caplog.text
    assert f"speakers: {sentence}" in capsys.readouterr().out
    results = read_json(tmp_path / "results/linear_emobox-toy/fold1/1000/results.json")
    assert results["corpus"] == "emobox-toy"
    assert results["protocol"] == "honest, speaker-dependent"
    assert results["shared_speakers"] == {
        "speakers": 3,  # the fourth validates
        "of": 4,
        "utterances": 9,
        "of_utterances": 12,
    }


def test_check_gives_a_verdict_for_each_corpus(tmp_path, capsys):
    clone(tmp_path, "apart")
    clone(tmp_path, "shared", folds=by_sentence, count=2)
    spoil(clone(tmp_path, "toy"), "both")
    assert ser("corpora", "check", tmp_path, "--json", tmp_path / "all.json") == 0
    out = capsys.readouterr().out
    assert all(len(row) <= 100 for row in out.splitlines())
    pages = out.split("\n\n")
    head = "24 utterances, 4 speakers, 3 classes (angry 8, happy 8, neutral 8); audio not looked at"
    assert pages[0].startswith(f"apart: {head}\n") and pages[0].endswith("\nspeaker-independent")
    assert pages[1].endswith("\nspeaker-DEPENDENT: 4 of 4 test speakers train in every fold")
    assert "1 utterances are in train and test" in pages[2]
    assert (
        pages[2].splitlines()[-1].startswith("speaker-DEPENDENT: 1 of 2 test speakers train in 1")
    )
    assert "apart " in pages[3] and "shared " in pages[3]
    apart, shared, both = json.loads((tmp_path / "all.json").read_text())["corpora"]
    assert [fold["shared_speakers"]["speakers"] for fold in apart["folds"]] == [0, 0, 0, 0]
    assert shared["folds"][1]["shared_speakers"] == {
        "speakers": 4,
        "of": 4,
        "utterances": 12,
        "of_utterances": 12,
    }
    assert [fold["in_both"] for fold in both["folds"]] == [0, 1, 0, 0]


def test_check_counts_missing_files_and_names_absent_classes(tmp_path, capsys):
    def folds(lines, fold):
        parts = by_speaker(lines, fold)
        return parts | {"test": [own for own in parts["test"] if own["emo"] != "wut"]}

    folder = clone(tmp_path, folds=folds)
    with_audio(tmp_path, toy_lines()[:-2])
    assert ser("corpora", "check", folder) == 0
    out = capsys.readouterr().out
    assert "2 files missing" in out and "fold 3: no angry in test" in out
    assert "speaker-independent; test lacks a class in 4 of 4 folds" in out
    (folder / "data.seg.wrd.stm").unlink()
    assert ser("corpora", "check", folder) == 0
    assert "not known: 22 utterances name no speaker" in capsys.readouterr().out


def test_check_tells_what_cannot_be_used_and_goes_on(tmp_path, capsys):
    clone(tmp_path, "apart")
    spoil(clone(tmp_path, "toy"), "strange")
    assert ser("corpora", "check", tmp_path) == 2
    out = capsys.readouterr().out
    assert "are not in toy.jsonl" in out and "speaker-independent" in out
    assert ser("corpora", "check", tmp_path / "data/toy") == 2
    assert "ser corpora check: 1 of 7 utterances of" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert ser("corpora", "check", tmp_path / "empty") == 2
    assert "empty is no table and holds no lists of EmoBox: say what" in capsys.readouterr().err
    assert ser("corpora", "check", tmp_path / "none") == 2
    assert "none does not exist" in capsys.readouterr().err


def test_check_of_a_table_and_of_another_corpus(tmp_path, capsys):
    lines = toy_lines()
    with_audio(tmp_path, lines)
    rows = [f"{own['wav']},{own['emo']},{own['key'].split('-')[1]}" for own in lines]
    table = tmp_path / "mine.csv"
    parts = ["test" if row.endswith("anna") else "train" for row in rows]
    told = [f"{row},{part}" for row, part in zip(rows, parts, strict=True)]
    table.write_text("\n".join(["path,emotion,speaker,split", *told]), encoding="utf-8")
    assert ser("corpora", "check", table) == 0
    out = capsys.readouterr().out
    assert out.startswith("table: 24 utterances") and "0 of 1" in out
    assert out.endswith("speaker-independent\n\n")
    told = [f"{row},{'train' if n % 2 else 'test'}" for n, row in enumerate(rows)]
    table.write_text("\n".join(["path,emotion,speaker,split", *told]), encoding="utf-8")
    assert ser("corpora", "check", table) == 0
    assert "speaker-DEPENDENT: 4 of 4 test speakers train\n" in capsys.readouterr().out
    clone(tmp_path)
    corpus = "{name: emobox, corpus: toy}"
    assert ser("corpora", "check", tmp_path, "--corpus", corpus) == 0
    assert "emobox-toy: 24 utterances" in capsys.readouterr().out
    assert ser("corpora", "check", tmp_path, "--corpus", "voxceleb1") == 2
    assert "voxceleb1 has no emotions" in capsys.readouterr().err


def test_the_fragment_offers_folds_without_shared_speakers(tmp_path):
    clone(with_audio(tmp_path), folds=by_sentence, count=2)
    path = RECIPES / "RAVDESS/hparams/linear.yaml"
    tree = hp.read(path, hp.load_tree("{name: emobox, corpus: toy}"))
    assert tree["variant"] == "_emobox-toy"
    corpus = hp.build({"corpus": hp.resolve(tree, path)["corpus"]})["corpus"]
    manifest = corpus["prepare"](tmp_path)
    assert splits.shared_speakers(corpus["emotion_split"](manifest, fold=1))["speakers"] == 3
    parts = corpus["speaker_disjoint"](manifest, fold=1, n_folds=4)
    assert splits.protocol(parts) == "speaker-independent"


@pytest.mark.skipif(not REAL, reason="SER_EMOBOX and SER_RAVDESS name no folders")
def test_emobox_s_ravdess_is_ours():
    own = ravdess.prepare(os.environ["SER_RAVDESS"])
    theirs = emobox.prepare(os.environ["SER_EMOBOX"], "ravdess", audio=os.environ["SER_RAVDESS"])
    theirs = {key.removeprefix("ravdess-"): entry for key, entry in theirs.items()}
    assert list(theirs) == list(own)
    for field in ("wav", "duration"):
        assert [e[field] for e in theirs.values()] == [e[field] for e in own.values()]
    words = {"fear": "fearful", "surprise": "surprised"}
    for key, entry in theirs.items():
        assert words.get(entry["emotion"], entry["emotion"]) == own[key]["emotion"]
        assert f"Actor_{entry['speaker']}" == own[key]["speaker"]
    fragment = hp.load_tree((RECIPES / "common/ravdess.yaml").read_text())["emobox_split"]
    for fold in range(1, 7):
        parts = splits.given_folds(own, fold, groups=fragment["groups"])
        official = splits.official(theirs, fold, valid_by="speaker")
        assert list(official["test"]) == list(parts["test"])
    assert splits.number_of_folds(splits.official, theirs) == 6


@pytest.mark.skipif("SER_NEMO" not in os.environ, reason="SER_NEMO names no folder")
def test_nemo_in_the_shape_of_emobox_is_ours(tmp_path):
    own = nemo.prepare(os.environ["SER_NEMO"])
    lines = [
        line(f"nemo-{entry['speaker']}-{stem}", f"downloads/nemo/{stem}.wav", entry["emotion"])
        for stem, entry in own.items()
    ]
    folder = clone(tmp_path, "nemo", lines, count=0)
    (folder / "label_map.json").unlink()
    theirs = emobox.prepare(folder, "nemo", audio=os.environ["SER_NEMO"])
    theirs = {key.split("-", 2)[2]: entry for key, entry in theirs.items()}
    assert theirs.keys() == own.keys()
    for field in ("wav", "duration", "emotion", "speaker"):
        assert {i: e[field] for i, e in theirs.items()} == {i: e[field] for i, e in own.items()}


@pytest.mark.skipif("SER_EMOBOX" not in os.environ, reason="SER_EMOBOX names no folder")
def test_real_lists_are_read():
    found = emobox.corpora_in(Path(os.environ["SER_EMOBOX"]))
    lists = {name: emobox_lists.read(folder, LeftOut()) for name, folder in found.items()}
    for own in lists.values():
        tested = [utt_id for fold in own.folds for utt_id in fold["test"]]
        assert len(own.utterances) >= len({*tested}) > 0
        assert all(entry["speaker"] for entry in own.entries().values())
