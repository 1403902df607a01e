"""The synthesised corpora: the real parsers read them, and an emotion can be heard in them."""

import filecmp
import itertools
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import forked
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import recall_score

from speechbrain_ser.data.corpora import iemocap, mini, ravdess, studio, voxceleb1
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import cache_folder

pytest.importorskip("espeakng_loader")
FOUR = {"neutral": 150, "happy": 130, "angry": 100, "sad": 100}


@pytest.fixture(scope="module")
def cache():
    """Where the other tests' corpora are: they are made once."""
    return cache_folder()


@pytest.fixture(scope="module")
def folder(cache):
    return mini.make("iemocap", cache)


@pytest.fixture(scope="module")
def manifest(folder):
    return iemocap.prepare(folder, expected=480)


def test_iemocap_counts(folder, manifest):
    assert Counter(row["emotion"] for row in manifest.values()) == FOUR
    speakers = {f"Ses0{session}{gender}" for session in "12345" for gender in "FM"}
    per_class = Counter((row["speaker"], row["emotion"]) for row in manifest.values())
    assert set(per_class) == set(itertools.product(speakers, FOUR))
    assert min(per_class.values()) == 8
    assert Counter(row["raw_emotion"] for row in manifest.values())["excited"] == 60
    assert {row["style"] for row in manifest.values()} == {"impro", "script"}
    assert all(0.9 < row["duration"] < 4 for row in manifest.values())
    everything = iemocap.prepare(
        folder, labels=[*set(iemocap.EMOTIONS.values()) - {"other"}], merge=None
    )
    assert len(everything) == 560
    assert len(list(folder.glob("Session*/sentences/wav/*/*.wav"))) == 561
    agreed = iemocap.prepare(folder, full_agreement=True)
    assert 100 < len(agreed) < 300


def test_iemocap_oddities_of_the_release(folder, manifest):
    labels = [*set(iemocap.EMOTIONS.values()) - {"other"}]
    everything = iemocap.prepare(folder, labels=labels, merge=None)
    evaluations = folder / "Session1/dialog/EmoEvaluation"
    assert (evaluations / "._Ses01F_impro01.txt").is_file()
    assert {path.name for path in evaluations.iterdir() if path.is_dir()} == {
        "Attribute",
        "Categorical",
        "Self-evaluation",
    }
    content = (evaluations / "Ses01F_impro01.txt").read_text()
    assert content.startswith("% [START_TIME - END_TIME]") and "\nC-E2:\t" in content
    # whoever wears the markers, both speak
    sides = defaultdict(set)
    for row in manifest.values():
        sides[row["dialog_side"]].add(row["speaker"])
    assert sides["Ses02M"] == {"Ses02F", "Ses02M"} and len(sides) == 10
    transcripts = [path.read_text() for path in folder.glob("Session*/dialog/transcriptions/*")]
    for oddity in ("_MXX0 [", "\nF: (laughs)", "[LAUGHTER]", "{breathing}"):
        assert any(oddity in transcript for transcript in transcripts)
    spoken = {iemocap.clean(sentence) for sentence in studio.SENTENCES}
    assert len(spoken) == 25
    assert {row["words"] for row in everything.values()} == spoken | {""}
    wordless = [utt_id for utt_id, row in everything.items() if not row["words"]]
    assert [utt_id[:-4] for utt_id in wordless] == ["Ses01F_impro01_", "Ses01F_impro02_"]
    transcripts = folder / "Session2/dialog/transcriptions/Ses02F_impro01.txt"
    assert transcripts.read_bytes().endswith(b"\r\n"), "Windows line ends"
    scenes = {utt_id.rsplit("_", 1)[0] for utt_id in everything}
    assert {"Ses03M_impro05a", "Ses03M_impro05b", "Ses05F_script01_1b"} <= scenes
    assert "Ses04F_impro03" not in scenes


def test_iemocap_sentences_do_not_tell_the_emotion(manifest):
    emotions = defaultdict(set)
    for row in manifest.values():
        emotions[row["words"]].add(row["emotion"])
    assert all(len(heard) >= 3 for words, heard in emotions.items() if words)


def features(row):
    """Pitch, its spread, five bands relative to the whole, their spread, seconds per letter."""
    samples, _ = soundfile.read(row["wav"])
    starts = range(0, len(samples) - 640, 320)
    windows = np.stack([samples[start : start + 640] for start in starts]) * np.hanning(640)
    power = np.abs(np.fft.rfft(windows[(windows**2).mean(axis=1) > 2e-4])) ** 2  # [frame, bin]
    edges = [3, 20, 40, 80, 160, 320]  # bins of 25 Hz
    bands = np.stack([power[:, a:b].sum(1) for a, b in itertools.pairwise(edges)], axis=1)
    bands = np.log(bands / power.sum(axis=1, keepdims=True))
    lags = np.fft.irfft(power)[:, 32:250].argmax(axis=1) + 32
    pitch = np.log(lags)
    letters = np.log(len(samples) / len(row["words"]))
    return [np.median(pitch), pitch.std(), *bands.mean(axis=0), bands.std(axis=0).mean(), letters]


def test_iemocap_emotion_is_heard_across_speakers(manifest):
    rows = [row for row in manifest.values() if row["words"]]
    measured = np.array([features(row) for row in rows])
    emotion = np.array([row["emotion"] for row in rows])
    session = np.array([row["session"] for row in rows])
    heard = np.empty_like(emotion)
    for held_out in "12345":
        seen = session != held_out
        classifier = LinearDiscriminantAnalysis().fit(measured[seen], emotion[seen])
        heard[~seen] = classifier.predict(measured[~seen])
    assert 0.7 < recall_score(emotion, heard, average="macro") < 0.97


def test_iemocap_loudness_does_not_tell_the_emotion(manifest):
    levels = defaultdict(list)
    for row in manifest.values():
        samples, rate = soundfile.read(row["wav"], dtype="int16")
        assert rate == 16_000 and samples.ndim == 1
        levels[row["emotion"]].append(20 * np.log10(np.sqrt(np.mean(samples.astype(float) ** 2))))
    means = {emotion: np.mean(values) for emotion, values in levels.items()}
    assert max(means.values()) - min(means.values()) < 0.5  # dB
    assert all(0.3 < np.std(values) < 1.5 for values in levels.values())


def test_voxceleb1(cache):
    manifest = voxceleb1.prepare(mini.make("voxceleb1", cache), expected_speakers=20)
    parts = Counter((row["speaker"], row["split"]) for row in manifest.values())
    expected = {"train": 8, "valid": 2, "test": 2}
    assert len(parts) == 60 and all(expected[part] == count for (_, part), count in parts.items())
    assert Counter(row["gender"] for row in manifest.values()) == {"F": 120, "M": 120}
    contents = {Path(row["wav"]).read_bytes() for row in manifest.values()}
    assert len(contents) == len(manifest) == 240


def test_ravdess(cache):
    manifest = ravdess.prepare(mini.make("ravdess", cache), expected=384)
    assert Counter(row["emotion"] for row in manifest.values()) == dict.fromkeys(
        ravdess.EMOTIONS.values(), 48
    )
    assert Counter(row["speaker"] for row in manifest.values()) == {
        f"Actor_{actor:02d}": 16 for actor in range(1, 25)
    }
    assert Counter(row["gender"] for row in manifest.values()) == {"F": 192, "M": 192}


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def few(root: Path, record) -> None:
    """A corpus of some sentences."""
    for number, text in enumerate(mini.SENTENCES[:8]):
        who = mini.voice("FM"[number % 2], number)
        record(root / f"{number % 2}/{number}.wav", text, who, "happy")


def test_two_processes_at_once_make_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setitem(mini.LAYOUTS, "voxceleb1", (few, 8))
    racers = [forked(mini.make, "voxceleb1", tmp_path / "race") for _ in range(2)]
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0]
    (made,) = (tmp_path / "race/mini").iterdir()  # no draft is left
    first = mini.make("voxceleb1", tmp_path)
    assert first.name == made.name and files(first) == files(made) and len(files(made)) == 8
    _, different, unread = filecmp.cmpfiles(first, made, files(first), shallow=False)
    assert not different and not unread


def test_made_once(folder, cache, monkeypatch):
    stamp = folder.stat().st_mtime_ns
    monkeypatch.setenv("SER_CACHE", str(cache))
    assert mini.make("iemocap") == folder and folder.stat().st_mtime_ns == stamp


def test_nothing_is_left_of_an_interrupted_one(tmp_path, monkeypatch):
    def interrupted(root, record):
        (root / "half").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setitem(mini.LAYOUTS, "ravdess", (interrupted, 1))
    with pytest.raises(KeyboardInterrupt):
        mini.make("ravdess", tmp_path)
    assert list((tmp_path / "mini").iterdir()) == []


def test_mistakes(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no mini corpus 'timit': use iemocap, ravdess, voxceleb1"):
        mini.make("timit", tmp_path)
    monkeypatch.setattr(mini.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"need espeakng-loader: pip install 'speechbrain-ser\[mi"):
        mini.make("iemocap", tmp_path)
