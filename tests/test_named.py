"""Corpora by their names: what is read from each one's own, and what a folder may hold beside."""

import json
import os
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from benchmarks.common import TINY
from conftest import RECIPES, run

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import corpora
from speechbrain_ser.data import splits
from speechbrain_ser.data.corpora import known, named
from speechbrain_ser.errors import InputError
from speechbrain_ser.sharing import card
from speechbrain_ser.training import command_line

LINEAR = RECIPES / "RAVDESS/hparams/linear.yaml"
# corpus: path: utt_id, emotion, speaker, gender, language, and what else its row has
NAMES = {
    "aesdd": {
        "AESDD/anger/a01 (1).wav": ("a01 (1)", "angry", "1", "", "el", {"statement": "01"}),
        "AESDD/fear/f12 (01).wav": ("f12 (01)", "fearful", "1", "", "el", {"statement": "12"}),
        "AESDD/sadness/s04 (5)b.wav": (
            *("s04 (5)b", "sad", "5", "", "el"),
            {"statement": "04", "repetition": "b"},
        ),
        "AESDD/disgust/d20 (6).wav": ("d20 (6)", "disgust", "6", "", "el", {}),
        "AESDD/happiness/h20 (3).wav": ("h20 (3)", "happy", "3", "", "el", {}),
    },
    "cafe": {
        "Colère/Fort/01-C-2-1.wav": (
            *("01-C-2-1", "angry", "01", "M", "fr"),
            {
                "intensity": "high",
                "statement": "1",
                "words": "UN CHEVAL FOU DANS MON JARDIN",
            },
        ),
        "Neutre/12-N-1-2.wav": (
            *("12-N-1-2", "neutral", "12", "F", "fr"),
            {"intensity": "low", "words": "DEUX ÂNES AIGRIS AU PELAGE BRUN"},
        ),
        "Joie/Faible/02-J-1-6.wav": ("02-J-1-6", "happy", "02", "F", "fr", {}),
        "Peur/Faible/03-P-1-6.aiff": ("03-P-1-6", "fearful", "03", "M", "fr", {}),
        "Dégoût/Faible/04-D-1-6.wav": ("04-D-1-6", "disgust", "04", "F", "fr", {}),
        "Surprise/Faible/05-S-1-6.wav": ("05-S-1-6", "surprised", "05", "M", "fr", {}),
        "Tristesse/Faible/06-T-1-6.wav": ("06-T-1-6", "sad", "06", "F", "fr", {}),
    },
    "crema_d": {
        "AudioWAV/1001_DFA_ANG_XX.wav": (
            *("1001_DFA_ANG_XX", "angry", "1001", "M", "en"),
            {"statement": "DFA", "intensity": "", "words": "DON'T FORGET A JACKET"},
        ),
        "AudioWAV/1091_IEO_FEA_HI.wav": (
            *("1091_IEO_FEA_HI", "fearful", "1091", "F", "en"),
            {"intensity": "high", "words": "IT'S ELEVEN O'CLOCK"},
        ),
        "AudioWAV/1040_ITH_SAD_X.wav": ("1040_ITH_SAD_X", "sad", "1040", "M", "en", {}),
        "AudioWAV/1002_IEO_DIS_LO.wav": ("1002_IEO_DIS_LO", "disgust", "1002", "F", "en", {}),
        "AudioWAV/1002_IEO_HAP_MD.wav": ("1002_IEO_HAP_MD", "happy", "1002", "F", "en", {}),
        "AudioWAV/1016_WSI_NEU_XX.wav": ("1016_WSI_NEU_XX", "neutral", "1016", "M", "en", {}),
    },
    "emodb": {
        "wav/03a01Fa.wav": (
            *("03a01Fa", "happy", "03", "M", "de"),
            {"statement": "a01", "words": "DER LAPPEN LIEGT AUF DEM EISSCHRANK"},
        ),
        "wav/08b10Wd.wav": ("08b10Wd", "angry", "08", "F", "de", {"repetition": "d"}),
        "wav/09a02La.wav": ("09a02La", "bored", "09", "F", "de", {}),
        "wav/10a04Ea.wav": ("10a04Ea", "disgust", "10", "M", "de", {}),
        "wav/11a05Ad.wav": ("11a05Ad", "fearful", "11", "M", "de", {}),
        "wav/13a07Ta.wav": ("13a07Ta", "sad", "13", "F", "de", {}),
        "wav/16b09Nb.wav": ("16b09Nb", "neutral", "16", "F", "de", {}),
    },
    "emovo": {
        "EMOVO/f1/dis-f1-b1.wav": (
            *("dis-f1-b1", "disgust", "f1", "F", "it"),
            {"statement": "b1"},
        ),
        "EMOVO/m3/gio-m3-d2.wav": ("gio-m3-d2", "happy", "m3", "M", "it", {}),
        "EMOVO/m3/neu-m3-n5.wav": ("neu-m3-n5", "neutral", "m3", "M", "it", {}),
        "EMOVO/m2/pau-m2-l4.wav": ("pau-m2-l4", "fearful", "m2", "M", "it", {}),
        "EMOVO/f2/rab-f2-l4.wav": ("rab-f2-l4", "angry", "f2", "F", "it", {}),
        "EMOVO/f2/sor-f2-l4.wav": ("sor-f2-l4", "surprised", "f2", "F", "it", {}),
        "EMOVO/f3/tri-f3-l4.wav": ("tri-f3-l4", "sad", "f3", "F", "it", {}),
    },
    "esd": {
        "ESD/0001/Angry/0001_000351.wav": ("0001_000351", "angry", "0001", "F", "zh", {}),
        "ESD/0010/Surprise/test/0010_001421.wav": (
            *("0010_001421", "surprised", "0010", "M", "zh"),
            {},
        ),
        "ESD/0011/Sad/evaluation/0011_001051.wav": ("0011_001051", "sad", "0011", "M", "en", {}),
        "ESD/0019/Happy/train/0019_000721.wav": ("0019_000721", "happy", "0019", "F", "en", {}),
        "ESD/0020/Neutral/0020_000001.wav": ("0020_000001", "neutral", "0020", "M", "en", {}),
    },
    "jl": {
        "JL(wav+txt)/male1_angry_10a_1.wav": (
            *("male1_angry_10a_1", "angry", "male1", "M", "en"),
            {"statement": "10a", "repetition": "1"},
        ),
        "JL(wav+txt)/female2_apologetic_5b_2.wav": (
            *("female2_apologetic_5b_2", "apologetic", "female2", "F", "en"),
            {},
        ),
        "JL(wav+txt)/male2_excited_1a_2.wav": (
            *("male2_excited_1a_2", "excited", "male2", "M", "en"),
            {},
        ),
    },
    "mesd": {
        "MESD/Anger_C_A_abajo.wav": (
            *("Anger_C_A_abajo", "angry", "C", "", "es"),
            {"statement": "abajo"},
        ),
        "MESD/Fear_M_A_basta_ya.wav": (
            *("Fear_M_A_basta_ya", "fearful", "M", "M", "es"),
            {"statement": "basta_ya"},
        ),
        "MESD/Happiness_F_B_fresco.wav": ("Happiness_F_B_fresco", "happy", "F", "F", "es", {}),
        "MESD/Sadness_F_B_fresco.wav": ("Sadness_F_B_fresco", "sad", "F", "F", "es", {}),
        "MESD/Disgust_F_B_fresco.wav": ("Disgust_F_B_fresco", "disgust", "F", "F", "es", {}),
        "MESD/Neutral_F_B_fresco.wav": ("Neutral_F_B_fresco", "neutral", "F", "F", "es", {}),
    },
    "savee": {
        "ALL/DC_a01.wav": ("DC_a01", "angry", "DC", "M", "en", {"repetition": "01"}),
        "AudioData/DC/sa01.wav": ("DC_sa01", "sad", "DC", "M", "en", {}),
        "AudioData/JE/sa01.wav": ("JE_sa01", "sad", "JE", "M", "en", {}),
        "AudioData/JK/su15.wav": ("JK_su15", "surprised", "JK", "M", "en", {}),
        "AudioData/KL/n30.wav": ("KL_n30", "neutral", "KL", "M", "en", {}),
        "AudioData/KL/d03.wav": ("KL_d03", "disgust", "KL", "M", "en", {}),
        "AudioData/KL/f03.wav": ("KL_f03", "fearful", "KL", "M", "en", {}),
        "AudioData/KL/h03.wav": ("KL_h03", "happy", "KL", "M", "en", {}),
    },
    "shemo": {
        "female/F01A01.wav": ("F01A01", "angry", "F01", "F", "fa", {}),
        "male/M55N105.wav": ("M55N105", "neutral", "M55", "M", "fa", {}),
        "male/M12W07.wav": ("M12W07", "surprised", "M12", "M", "fa", {}),
        "male/M21F01.wav": ("M21F01", "fearful", "M21", "M", "fa", {}),
        "male/M28H02.wav": ("M28H02", "happy", "M28", "M", "fa", {}),
        "male/M36S02.wav": ("M36S02", "sad", "M36", "M", "fa", {}),
    },
    "subesco": {
        "F_01_OISHI_S_1_ANGRY_1.wav": (
            *("F_01_OISHI_S_1_ANGRY_1", "angry", "F_01", "F", "bn"),
            {"statement": "1", "repetition": "1"},
        ),
        "M_10_EVAN_S_10_SURPRISE_3.wav": (
            *("M_10_EVAN_S_10_SURPRISE_3", "surprised", "M_10", "M", "bn"),
            {"statement": "10"},
        ),
        "M_10_EVAN_S_10_FEAR_3.wav": (
            *("M_10_EVAN_S_10_FEAR_3", "fearful", "M_10", "M", "bn"),
            {},
        ),
    },
    "tess": {
        "TESS/OAF_angry/OAF_back_angry.wav": (
            *("OAF_back_angry", "angry", "OAF", "F", "en"),
            {"words": "SAY THE WORD BACK"},
        ),
        "TESS/OAF_neutral/OA_bite_neutral.wav": (
            *("OA_bite_neutral", "neutral", "OAF", "F", "en"),
            {"words": "SAY THE WORD BITE"},
        ),
        "TESS/OAF_Pleasant_surprise/OAF_back_ps.wav": (
            *("OAF_back_ps", "surprised", "OAF", "F", "en"),
            {},
        ),
        "TESS/YAF_pleasant_surprised/YAF_dog_ps.wav": (
            *("YAF_dog_ps", "surprised", "YAF", "F", "en"),
            {},
        ),
        "YAF_dog_fear.wav": ("YAF_dog_fear", "fearful", "YAF", "F", "en", {}),
        "YAF_dog_disgust.wav": ("YAF_dog_disgust", "disgust", "YAF", "F", "en", {}),
    },
    "urdu": {
        "Angry/SM1_F10_A010.wav": ("SM1_F10_A010", "angry", "SM1", "M", "ur", {}),
        "Happy/SF10_F1_H04.wav": ("SF10_F1_H04", "happy", "SF10", "F", "ur", {}),
        "Neutral/SM20_F8_N012.wav": ("SM20_F8_N012", "neutral", "SM20", "M", "ur", {}),
        "Sad/SM24_F99_S0100.wav": ("SM24_F99_S0100", "sad", "SM24", "M", "ur", {}),
    },
}


def recording(path: Path) -> Path:
    """0.1 s of a tone that only files of this name have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pitch = 100 + zlib.crc32(path.stem.encode()) % 3000  # Hz
    time = np.arange(1600) / 16_000
    kind = "AIFF" if path.suffix == ".aiff" else path.suffix[1:].upper()
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * pitch * time), 16_000, format=kind)
    return path


def folder_of(folder: Path, corpus: str) -> Path:
    for name in NAMES[corpus]:
        recording(folder / name)
    return folder


def test_each_corpus_is_here_and_in_the_fragment():
    text = (RECIPES / "common/named.yaml").read_text()
    assert list(known.CORPORA) == hp.load_tree(text)["names"] == sorted(NAMES)


@pytest.mark.parametrize("corpus", NAMES)
def test_names_tell(corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    manifest = named.prepare(folder_of(tmp_path / "any folder", corpus), corpus)
    assert len(manifest) == len(NAMES[corpus]) and list(manifest) == sorted(manifest)
    for name, (utt_id, emotion, speaker, gender, language, more) in NAMES[corpus].items():
        row = manifest[utt_id]
        assert row["wav"] == str(tmp_path / "any folder" / name) and row["duration"] == 0.1
        told = (row["emotion"], row["speaker"], row["gender"], row["language"])
        assert told == (emotion, speaker, gender, language), name
        assert {key: row[key] for key in more} == more, name
    assert f"{len(manifest)} of the " in caplog.text and "left out" not in caplog.text


@pytest.mark.parametrize("corpus", NAMES)
def test_no_corpus_is_taken_for_another(corpus):
    for name in NAMES[corpus]:
        place = Path("/data", name).with_suffix("").as_posix()
        matching = [other for other, shape in named.SHAPES.items() if shape.fullmatch(place)]
        assert matching == [corpus], name
    for example in re.split(" or ", known.CORPORA[corpus].example):
        place = Path("/data", example).with_suffix("").as_posix()
        assert named.SHAPES[corpus].fullmatch(place), example


def test_genders_of_the_complete_corpora():
    """As published: 43 of CREMA-D's 91 actors are women, half of each of the others."""
    for corpus, women in {"crema_d": 43, "emodb": 5, "cafe": 6, "esd": 10}.items():
        assert len(set(known.CORPORA[corpus].women)) == women


def test_a_folder_as_it_comes(tmp_path, caplog):
    """A second copy, macOS' leftovers, other formats and files, a loop of links."""
    caplog.set_level("INFO")
    folder = folder_of(tmp_path / "in", "crema_d")
    shutil.copytree(folder / "AudioWAV", folder / "cremad/AudioWAV")
    recording(folder / "AudioMP3/1001_DFA_ANG_XX.mp3")
    for name in ("__MACOSX/AudioWAV/._1001_DFA_ANG_XX.wav", "__MACOSX/1001_DFA_SAD_XX.wav"):
        recording(folder / name)
    recording(folder / "AudioWAV/._1002_IEO_DIS_LO.wav")
    recording(folder / "AudioWAV/noise.wav")
    (folder / "SentenceFilenames.csv").write_text("a,b\n")
    (folder / "clip.m4a").touch()
    (folder / "cremad/loop").symlink_to(folder)
    manifest = named.prepare(folder, "crema_d")
    assert sorted(manifest) == sorted(told[0] for told in NAMES["crema_d"].values())
    assert Path(manifest["1001_DFA_ANG_XX"]["wav"]).suffix == ".wav"
    for said in (
        "6 second copies (such as ",
        "3 left by macOS (such as ",
        f"1 of other names (such as {folder}/AudioWAV/noise.wav)",
        "1 beside a wav or flac file of their name (such as ",
        "1 in a format that is not read (such as ",
        "6 of the 7,442 recordings",
    ):
        assert said in caplog.text


def test_a_copy_under_another_name(tmp_path, caplog):
    """Of the same label it is none; of another one both stay, and that is told."""
    caplog.set_level("INFO")
    first = recording(tmp_path / "1001_DFA_ANG_XX.wav")
    for name in ("1001_DFA_ANG_HI", "1001_DFA_SAD_XX"):
        shutil.copy(first, tmp_path / f"{name}.wav")
    assert list(named.prepare(tmp_path, "crema_d")) == ["1001_DFA_ANG_HI", "1001_DFA_SAD_XX"]
    assert "1 second copies" in caplog.text
    assert (
        "1 recordings have two names that say different emotions or speakers, such as "
        "1001_DFA_ANG_HI and 1001_DFA_SAD_XX: both are kept"
    ) in caplog.text


def test_of_one_stem_by_speakers_in_folders_each_keeps_its_own_format(tmp_path):
    recording(tmp_path / "DC/a01.mp3")
    recording(tmp_path / "JE/a01.wav")
    assert list(named.prepare(tmp_path, "savee")) == ["DC_a01", "JE_a01"]


def test_emotions_are_chosen_and_merged(tmp_path):
    folder = folder_of(tmp_path, "emodb")
    manifest = named.prepare(
        folder, "emodb", labels=["happy", "negative"], merge={"angry": "negative", "bored": None}
    )
    assert {name: row["emotion"] for name, row in manifest.items()} == {
        "03a01Fa": "happy",
        "08b10Wd": "negative",
    }
    with pytest.raises(InputError, match="merge names 'surprised', and the corpus has angry, bor"):
        named.prepare(folder, "emodb", merge={"surprised": "happy"})


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="corpus holds 'cremad', which is none of aesdd, cafe, c"):
        named.prepare(tmp_path, "cremad")
    with pytest.raises(InputError, match=r"no data_folder given, expected EMO-DB.*03a01Fa.wav: g"):
        named.prepare(None, "emodb")
    with pytest.raises(InputError, match="nowhere does not exist, .* variable SER_CREMA_D"):
        named.prepare(tmp_path / "nowhere", "crema_d")
    with pytest.raises(InputError, match="holds nothing, expected TESS, .*OAF_back_angry.wav: giv"):
        named.prepare(tmp_path, "tess")
    recording(tmp_path / "a/take 1.wav")
    with pytest.raises(InputError) as caught:
        named.prepare(tmp_path, "urdu")
    assert str(caught.value) == (
        f"{tmp_path} holds 1 recordings such as a/take 1.wav, expected URDU recordings such as "
        "Angry/SM1_F10_A010.wav: give it with --data_folder PATH or the environment variable "
        "SER_URDU"
    )
    with pytest.raises(InputError, match="6 utterances found, 7442 expected: is .* the complete C"):
        named.prepare(folder_of(tmp_path / "c", "crema_d"), "crema_d", expected=7442)
    other = recording(tmp_path / "c/x/1001_DFA_ANG_XX.wav")
    samples, rate = soundfile.read(other)
    soundfile.write(other, -samples, rate)  # of the same size
    with pytest.raises(InputError, match="1001_DFA_ANG_XX.wav and .*XX.wav differ under one name"):
        named.prepare(tmp_path / "c", "crema_d")


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (NAMES["tess"], "these look like TESS: --corpus tess"),
        (["03-01-05-01-02-01-01.wav"], "these look like RAVDESS: --corpus ravdess"),
        (["SM0_anger_10.wav", "x.wav"], "expected EMO-DB"),  # half of them are no corpus
    ],
)
def test_another_corpus_is_recognised(names, hint, tmp_path):
    for name in names:
        recording(tmp_path / name)
    with pytest.raises(InputError, match=re.escape(hint)) as caught:
        named.prepare(tmp_path, "emodb")
    assert ("look like" in str(caught.value)) == ("look like" in hint)


def settings_of(*given: str):
    """Of a command line with the linear baseline, resolved."""
    tree = command_line.read(LINEAR, hp.command_line("\n".join(given)))
    return tree, hp.resolve(tree, LINEAR)


def test_the_command_line_takes_the_name(tmp_path, monkeypatch):
    monkeypatch.setenv("SER_CREMA_D", str(folder_of(tmp_path, "crema_d")))
    tree, settings = settings_of("corpus: crema_d")
    assert hp.corpus_stem(tree) == "crema_d" and settings["variant"] == "_crema_d"
    assert settings["data_folder"] == str(tmp_path) and settings["mini"] is False
    corpus = hp.build({"corpus": settings["corpus"]})["corpus"]
    assert corpus["name"] == "crema_d" and corpus["names"] == ["crema_d"]
    assert len(corpus["prepare"](tmp_path)) == 6
    _, settings = settings_of("corpus: {name: crema_d, labels: [sad], expected: 3}")
    with pytest.raises(InputError, match="6 utterances found, 3 expected"):
        hp.build({"corpus": settings["corpus"]})["corpus"]["prepare"](tmp_path)
    with pytest.raises(InputError, match="there is no setting corpus.lables: did you mean labels"):
        settings_of("corpus: {name: crema_d, lables: [sad]}")
    for name, hint in {"cremad": "; did you mean crema_d?", "named": "", "qx": "$"}.items():
        unknown = f"corpus '{name}' is unknown: use one of aesdd, cafe, .*, voxceleb1"
        with pytest.raises(InputError, match=f"^{unknown}.*{hint}"):
            settings_of(f"corpus: {name}")


def test_other_commands_find_it_by_the_same_name(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, "emovo")
    name, manifest = corpora.manifest_of("emovo", str(folder))
    assert name == "emovo" and len(manifest) == 7
    monkeypatch.delenv("SER_EMOVO", raising=False)
    with pytest.raises(InputError, match="give the folder of emovo, or set SER_EMOVO, to read it"):
        corpora.manifest_of("emovo")
    assert card.CORPORA["emovo"][2].startswith("Costantini")


def rows_of(speakers: int) -> dict[str, dict]:
    return {
        f"{speaker}{emotion}": {"speaker": f"s{speaker}", "emotion": emotion, "gender": ""}
        for speaker in range(speakers)
        for emotion in ("angry", "sad")
    }


def test_too_few_speakers_say_what_to_do_instead():
    with pytest.raises(InputError) as caught:
        splits.by_actor(rows_of(2), n_folds=5)
    assert str(caught.value).startswith("2 speakers cannot be kept apart in training, validation")
    for way in ("--split '!name:speechbrain_ser.data.splits.stratified {}'", "ser cross-corpus"):
        assert way in str(caught.value)
    with pytest.raises(InputError, match=r"by_actor \{n_folds: 4\}'$"):
        splits.by_actor(rows_of(4), n_folds=5)
    for corpus in known.CORPORA.values():  # what each says of itself is a split
        if corpus.split:
            _, settings = settings_of(f"split: !name:speechbrain_ser.data.splits.{corpus.split}")
            split = hp.build({"split": settings["split"]})["split"]
            count = 10 if corpus.speakers == 2 else 4
            assert split(rows_of(count), fold=1)["test"]


def test_a_run_on_a_corpus_by_its_name(tmp_path):
    speakers = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    for speaker in speakers:
        for emotion in "WFN":
            for text in ("a01", "b02"):
                recording(tmp_path / f"in/wav/{speaker}{text}{emotion}a.wav")
    words = [str(LINEAR), "--corpus", "emodb", "--data_folder", str(tmp_path / "in")]
    words += ["--encoder", hp.inline(TINY), "--dim", "16", "--layers", "[1]", "--noprogressbar"]
    words += ["--results", str(tmp_path / "out")]
    words += ["--store", f"{{folder: {tmp_path}/features}}"]
    run(LINEAR, words, whole=True)
    folder = tmp_path / "out/linear_emodb/fold1/1000"
    results = json.loads((folder / "results.json").read_text())
    assert results["corpus"] == "emodb" and results["labels"] == ["angry", "happy", "neutral"]
    assert results["protocol"] == "honest, speaker-independent"
    assert len((folder / "predictions.csv").read_text().splitlines()) == 1 + 12  # of 2 speakers


REAL = os.environ.get("SER_RAVDESS")


@pytest.mark.skipif(not REAL, reason="SER_RAVDESS names no folder")
def test_real_recordings_of_another_corpus_are_recognised():
    with pytest.raises(InputError, match="1,440 recordings .* look like RAVDESS: --corpus ravdess"):
        named.prepare(REAL, "crema_d")
