"""Emotions of files, long recordings and command lines."""

import copy
import csv
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import soundfile
import torch
from conftest import ser

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.commands import classify
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved, seen
from speechbrain_ser.sharing.inference import DEFAULT, Emotion

RATE = 16_000


@pytest.fixture(scope="module")
def best(runs):
    return runs / "emotion/fold1/1000/best"


@pytest.fixture(scope="module")
def recognizer(best):
    return EmotionRecognizer.from_hparams(best)


@pytest.fixture
def files(tmp_path):
    """Eleven recordings of different lengths, rates, channels and formats."""
    chance = np.random.default_rng(0)
    paths = []
    for number in range(11):
        rate = (8_000, 16_000, 44_100)[number % 3]
        samples = 0.1 * chance.standard_normal((int(rate * chance.uniform(0.3, 5)), 1 + number % 2))
        path = tmp_path / f"{number:02d}.{('wav', 'flac', 'ogg', 'mp3')[number % 4]}"
        soundfile.write(path, samples, rate)
        paths.append(path)
    return paths


def test_a_file_s_result_does_not_depend_on_the_others(recognizer, files):
    together = recognizer.classify_files(files, batch_size=4)
    for path, emotion in zip(files, together, strict=True):
        alone = recognizer.classify_file(path)
        assert emotion.label == alone.label == max(alone.probs, key=alone.probs.get)
        assert emotion.probs == pytest.approx(alone.probs, abs=1e-5)
        assert sum(emotion.probs.values()) == pytest.approx(1, abs=1e-5)
        info = soundfile.info(path)
        assert (emotion.start, emotion.end) == (0, pytest.approx(info.frames / info.samplerate))


def test_a_bad_file_does_not_lose_the_others(recognizer, files, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    paths = [files[0], tmp_path / "text.wav", tmp_path / "silent.wav", tmp_path / "absent.wav"]
    found = dict(recognizer.each([*paths, files[1]], batch_size=2))
    assert isinstance(found[0], Emotion) and isinstance(found[4], Emotion)
    for position, words in ((1, "not an audio file"), (3, "no such file")):
        assert isinstance(found[position], InputError) and words in str(found[position])
    assert found[2] == Emotion(None, {}, 0.0, 1.0)  # silence is no fault
    with pytest.raises(InputError, match="text.wav"):
        recognizer.classify_files([*paths, files[1]])
    assert recognizer.classify_files([]) == []


def windowed(recognizer, where: str):
    """The recognizer with a reader that cuts a second out of longer recordings."""
    reader = SpeechReader(max_seconds=1, test_window=where, normalise=True)
    other = Loudness(reader)
    other.hparams.labels = ["quiet", "loud"]
    return other


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize(
    ("where", "level", "silent"),
    [("centre", 0, True), ("centre", 1e-5, True), ("centre", 1e-3, False), ("start", 0, False)],
)
def test_silence_where_the_model_hears_it_is_no_emotion(
    recognizer, tmp_path, rate, where, level, silent
):
    """Noise with silence, or nearly so, in its middle; as a file, as bytes and as samples."""
    chance = np.random.default_rng(0)
    samples = 0.2 * chance.uniform(-1, 1, 4 * rate)
    samples[rate : 3 * rate] = 0.1 + level * chance.uniform(-1, 1, 2 * rate)
    path = tmp_path / "gap.wav"
    soundfile.write(path, samples, rate, "FLOAT")
    heard = windowed(recognizer, where)
    found = heard.classify_files([path, path.read_bytes(), path], batch_size=2)
    found.append(heard.classify(samples.astype("float32"), rate))
    for emotion in found:
        assert (emotion.label is None) == silent and emotion.end == pytest.approx(4)
        assert (emotion.probs == {}) == silent


def test_a_silent_recording_has_no_label_however_it_is_given(recognizer, tmp_path, capsys, best):
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(2 * RATE), RATE)
    nothing = Emotion(None, {}, 0.0, 2.0)
    assert (
        recognizer.classify_file(path) == recognizer.classify(np.zeros(2 * RATE), RATE) == nothing
    )
    assert recognizer.classify_long(path) == [nothing]
    assert ser("classify", best, "--json", path) == ser("classify", best, "--csv", path) == 0
    line, header, row = capsys.readouterr().out.splitlines()
    assert json.loads(line)["label"] is None and json.loads(line)["probs"] == {}
    assert row.endswith(",0.000,2.000,,,,,") and header.count(",") == row.count(",")
    with pytest.raises(InputError, match="is silent"):
        recognizer.embed(path)


def test_an_ensemble_s_member_that_hears_silence_has_no_say(recognizer, tmp_path):
    """Its reader cuts the centre out of what the ensemble reads whole."""
    samples = noise((1, 0.2), (2, 0.0), (1, 0.2))
    soundfile.write(path := tmp_path / "gap.wav", samples, RATE, "FLOAT")
    ensemble = Loudness(SpeechReader())
    assert ensemble.classify_file(path).label == "quiet"
    ensemble.members_read = [SpeechReader(), SpeechReader(max_seconds=1)]
    assert ensemble.classify_file(path).label is None
    ensemble.members_read = [SpeechReader(), SpeechReader(max_seconds=1, test_window="start")]
    assert ensemble.classify_file(path).label == "quiet"


def test_some_of_the_labels(best, recognizer, files, capsys):
    """The softmax over the chosen logits, in the order that is asked for."""
    all_of_them = recognizer.classify_file(files[0]).probs
    some = EmotionRecognizer.from_hparams(best, labels=["sad", "happy"])
    emotion = some.classify_file(files[0])
    total = all_of_them["sad"] + all_of_them["happy"]
    expected = {label: all_of_them[label] / total for label in ("sad", "happy")}
    assert emotion.probs == pytest.approx(expected, abs=1e-6)
    assert list(emotion.probs) == ["sad", "happy"] == some.hparams.labels
    assert emotion.label == max(expected, key=expected.get)
    assert {*some.classify_long(files[2])[0].probs} == {"sad", "happy"}
    assert ser("classify", best, "--labels", "sad, happy", "--csv", files[0]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "file,start,end,label,sad,happy"


def test_labels_that_are_next_to_impossible_are_told_apart(recognizer):
    """Of logits 200 below the others', which single precision would make 0."""
    some = copy.copy(recognizer)
    some.chosen = [0, 2]
    logits = torch.tensor([[-200.0, 0.0, -201.0, 3.0]])
    head = recognizer.mods.model.head
    fixed = SimpleNamespace(model=Fixed(head, logits / head.scale))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(some.__dict__, "mods", fixed)
        probs = EmotionRecognizer.classify_batch(some, torch.zeros(1, 100))
    expected = (logits[:, [0, 2]].double() / head.temperature).softmax(dim=1).float()
    torch.testing.assert_close(probs, expected)


class Fixed:
    """A model that always gives these logits."""

    def __init__(self, head, logits):
        self.head, self.logits = head, logits

    def __call__(self, speech, lens):
        return self.logits


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["happy", "bored"], "labels has 'bored': this model knows angry, happy, sad, neutral"),
        ("happy", "labels is happy: give two or more of angry, happy, sad, neutral, each once"),
        (["happy", "happy"], "labels is happy, happy: give two or more"),
        ([], "labels is empty: give two or more"),
    ],
)
def test_labels_that_a_model_cannot_choose_among(best, labels, sentence):
    with pytest.raises(InputError, match=sentence):
        EmotionRecognizer.from_hparams(best, labels=labels)


def test_embeddings_are_what_the_head_reads(recognizer, files):
    model = recognizer.mods.model
    embedding = recognizer.embed(files[:3])
    assert embedding.shape == (3, 16)
    with torch.no_grad():
        probs = model.head.probs(model.head(embedding))
    expected = [list(emotion.probs.values()) for emotion in recognizer.classify_files(files[:3])]
    torch.testing.assert_close(probs, torch.tensor(expected), atol=1e-5, rtol=0)


def test_an_ensemble_has_no_embedding(recognizer, files, monkeypatch):
    monkeypatch.setattr(recognizer.mods, "model", torch.nn.Identity())
    with pytest.raises(InputError, match="a Identity has no embedding of its own"):
        recognizer.embed(files[:1])


class Loudness(EmotionRecognizer):
    """Names a window by its loudness, so that the right segments are known."""

    most_samples = float("inf")

    def __init__(self, reader, labels=("quiet", "loud")):
        self.hparams = type("H", (), {"reader": staticmethod(reader), "labels": labels})()
        self.hparams.reader = reader
        self.most = 0
        self.device = "cpu"

    def classify_batch(self, speech, lens):
        self.most = max(self.most, speech.numel())
        loud = (speech.abs().mean(dim=1) > 0.1).float()
        return torch.stack([1 - loud, loud], dim=1)


@pytest.fixture
def loudness(recognizer):
    return Loudness(recognizer.hparams.reader)


def noise(*parts: tuple[float, float]) -> np.ndarray:
    """(seconds, amplitude) ... -> uniform noise."""
    chance = np.random.default_rng(0)
    return np.concatenate([a * chance.uniform(-1, 1, int(s * RATE)) for s, a in parts])


def test_segments_of_a_long_recording(loudness, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, noise((10, 0.1), (10, 0.9), (8, 0.0), (6.5, 0.1)), RATE, "FLOAT")
    found = loudness.classify_long(path, window=2, hop=0.5, smooth=1)
    assert [segment.label for segment in found] == ["quiet", "loud", None, "quiet"]
    assert found[0].start == 0 and found[-1].end == pytest.approx(34.5)
    for before, after in zip(found, found[1:], strict=False):
        assert before.end == after.start  # without gaps
    for segment, end in zip(found, (10, 20, 28), strict=False):
        assert segment.end == pytest.approx(end, abs=2)  # a window
    assert found[2].probs == {}
    smoothed = loudness.classify_long(path, window=2, hop=0.5, smooth=5)
    assert [segment.label for segment in smoothed] == ["quiet", "loud", None, "quiet"]


def test_a_flicker_is_smoothed_away(loudness, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, noise((5, 0.1), (1, 0.9), (5, 0.1)), RATE, "FLOAT")
    assert len(loudness.classify_long(path, window=1, hop=1, smooth=1)) == 3
    assert len(loudness.classify_long(path, window=1, hop=1, smooth=3)) == 1


def test_memory_does_not_grow_with_the_recording(loudness, tmp_path):
    found = []
    for seconds in (20, 200):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, noise((seconds, 0.1)), RATE)
        loudness.most = 0
        (segment,) = loudness.classify_long(path, window=4, hop=2, batch_size=3)
        assert segment.end == seconds
        found.append(loudness.most)
    assert found[0] == found[1] == 3 * 4 * RATE


@pytest.mark.parametrize("seconds", [0.5, 4.0, 4.01, 7.3])
def test_short_and_odd_lengths_are_covered(loudness, tmp_path, seconds):
    path = tmp_path / "x.wav"
    soundfile.write(path, noise((seconds, 0.1)), RATE)
    (segment,) = loudness.classify_long(path)
    assert (segment.start, segment.end) == (0, pytest.approx(seconds))
    assert segment.probs == {"quiet": 1, "loud": 0}


def test_long_recordings_refuse_in_one_sentence(loudness, tmp_path):
    path = tmp_path / "x.wav"
    samples = noise((9, 0.1))
    samples[7 * RATE] = np.nan
    soundfile.write(path, samples, RATE, "FLOAT")
    with pytest.raises(InputError, match=r"x.wav at 4.0 s holds NaN"):
        loudness.classify_long(path)
    with pytest.raises(InputError, match="give 0.01 <= hop <= window"):
        loudness.classify_long(path, window=1, hop=2)
    with pytest.raises(InputError, match="window inf"):
        loudness.classify_long(path, window=float("inf"))
    with pytest.raises(InputError, match="no such file"):
        loudness.classify_long(tmp_path / "absent.wav")


KINDS = ("wav", "flac", "ogg", "mp3", "aiff", "au", "w64", "caf")


def spoiled(whole: bytes, how: int, other: bytes, chance: np.random.Generator) -> bytes:
    """A file cut, partly zeroed, with random bytes, or with the header of another one."""
    data = bytearray(whole)
    start = int(chance.integers(len(data)))
    if how == 0:
        return bytes(data[:start])
    if how == 1:
        data[start : start + 400] = bytes(len(data[start : start + 400]))
    elif how == 2:
        for position in chance.integers(len(data), size=20):
            data[position] = chance.integers(256)
    else:
        data[:44] = other[:44]
    return bytes(data)


def spoiled_files(folder, count: int) -> list:
    """`count` spoiled recordings of all kinds, made with a fixed seed."""
    chance = np.random.default_rng(0)
    samples = 0.1 * chance.standard_normal(20_000)
    whole = {}
    for kind in KINDS:
        soundfile.write(folder / f"whole.{kind}", samples, RATE)
        whole[kind] = (folder / f"whole.{kind}").read_bytes()
    paths = []
    for number in range(count):
        kind, how = KINDS[number % len(KINDS)], number // len(KINDS) % 4
        other = chance.bytes(44) if number % 3 else whole[KINDS[(number + 1) % len(KINDS)]]
        paths.append(folder / f"{number:03d}-{how}.{kind}")
        paths[-1].write_bytes(spoiled(whole[kind], how, other, chance))
    return paths


def test_spoiled_files_lose_nothing_however_they_are_read(loudness, tmp_path):
    """Each gets a result or a sentence with its name; no other exception, none missing."""
    paths = spoiled_files(tmp_path, 480)
    found = dict(loudness.each(paths, batch_size=8))
    assert sorted(found) == list(range(480))
    bad = {paths[i]: str(result) for i, result in found.items() if isinstance(result, InputError)}
    # a wav with another header, or cut, is never taken for whole
    assert all(path in bad for path in paths if path.name.endswith(("3.wav", "0.wav")))
    assert 150 < len(bad) < 480
    late = 0
    for path in paths:
        try:
            list(loudness.each_hop(path, window=0.2, hop=0.1))
        except InputError as error:
            bad.setdefault(path, str(error))
            late += "breaks off while decoding" in str(error)
    assert late > 10
    assert all(str(path) in sentence and len(sentence) < 500 for path, sentence in bad.items())
    assert loudness.classify_file(tmp_path / "whole.flac").label == "quiet"


class Overflown(Loudness):
    """Gives the last of a batch a probability that is no number."""

    value = float("nan")

    def classify_batch(self, speech, lens):
        probs = torch.full((len(speech), 2), 0.5)
        probs[-1, 0] = self.value
        return probs


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_probabilities_that_are_no_numbers_are_never_labelled(value, recognizer, files):
    overflown = Overflown(recognizer.hparams.reader)
    overflown.value = value
    found = dict(overflown.each(files[:4], batch_size=2))
    assert sum(isinstance(result, Emotion) for result in found.values()) == 2
    for position, result in found.items():
        if isinstance(result, InputError):
            assert str(result).startswith(f"{files[position]}: the model gives probabilities that")
    with pytest.raises(InputError, match="NaN or infinite"):
        overflown.classify_long(files[1])


def test_the_command_line_names_every_file_and_every_fault(best, files, tmp_path, capsys):
    (tmp_path / "broken.wav").write_bytes(files[0].read_bytes()[:60])
    assert ser("classify", best, tmp_path, "--json") == 1
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["file"] for line in lines] == [str(path) for path in files]
    assert "broken.wav" in said.err and "1 of 12 files could not be classified" in said.err
    expected = EmotionRecognizer.from_hparams(best).classify_files(files)
    for line, emotion in zip(lines, expected, strict=True):
        assert line["label"] == emotion.label
        assert line["probs"] == pytest.approx(emotion.probs, abs=1e-5)


def test_a_list_from_standard_input_and_a_csv(best, files, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(str, files[:3])) + "\n\n"))
    assert ser("classify", best, "--csv", "-") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == [str(path) for path in files[:3]]
    assert list(rows[0]) == ["file", "start", "end", "label", "angry", "happy", "sad", "neutral"]
    assert sum(float(rows[0][label]) for label in list(rows[0])[4:]) == pytest.approx(1, abs=1e-5)


def test_names_of_files_start_no_formula_and_no_escape_sequence(best, files, tmp_path, capsys):
    """In each form of output, good files and bad ones; a csv that is no terminal's is exact."""
    folder = tmp_path / "names"
    folder.mkdir()
    for name in ("=cmd()", "\x1b[2J", "a\rb", "\u202egpj"):
        (folder / f"{name}.wav").write_bytes(files[0].read_bytes())
    (folder / "\x1b]0;bad.wav").write_text("no audio")
    (folder / "odd\udcff.wav").write_text("no audio")
    for words in (["--csv"], ["--json"], [], ["--csv", "--long"], ["--long"]):
        assert ser("classify", best, *words, folder) == 1
        said = capsys.readouterr()
        for_terminals = said.err if "--csv" in words else said.out + said.err
        assert for_terminals.replace("\n", "").isprintable(), words
        assert "2 of 6 files could not be classified" in said.err
        assert said.err.count("is not an audio file") == 2


def test_a_table_and_segments(best, files, capsys):
    assert ser("classify", best, files[0]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["start", "end", "label"] and line.endswith(str(files[0]))
    assert ser("classify", best, "--long", "--window", "1", "--hop", "0.5", files[1]) == 0
    assert str(files[1]) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "model", "files"),
    [
        (["a.wav", "b.wav"], None, ["a.wav", "b.wav"]),
        (["-"], None, ["-"]),
        (["BEST", "a.wav"], "BEST", ["a.wav"]),
        (["FOLDER", "a.wav"], None, ["FOLDER", "a.wav"]),
        (["user/model", "a.wav"], "user/model", ["a.wav"]),
        (["exported/model.onnx", "-"], "exported/model.onnx", ["-"]),
        (["missing.flac"], None, ["missing.flac"]),
    ],
)
def test_a_first_word_that_is_a_model(best, tmp_path, words, model, files):
    places = {"BEST": str(best), "FOLDER": str(tmp_path)}
    found = classify.model_and_files([places.get(word, word) for word in words])
    assert found == (places.get(model, model), [places.get(word, word) for word in files])


@pytest.mark.parametrize(
    ("word", "sentence"), [("nothing", "no such file"), ("BEST", "a model: na")]
)
def test_a_model_without_recordings(best, word, sentence):
    with pytest.raises(InputError, match=sentence):
        classify.model_and_files([str(best) if word == "BEST" else word])


def test_what_is_not_sure_is_said(best, files):
    sure = EmotionRecognizer.from_hparams(best).classify_file(files[0])
    limit = max(sure.probs.values())
    for unsure_below, label in ((limit, sure.label), (limit + 1e-6, "unsure")):
        recognizer = EmotionRecognizer.from_hparams(best, unsure_below=unsure_below)
        emotion = recognizer.classify_file(files[0])
        assert emotion.label == label and emotion.probs == sure.probs
    with pytest.raises(InputError, match="unsure_below is 50: give a probability, 0 to 1"):
        EmotionRecognizer.from_hparams(best, unsure_below=50)


def test_the_package_s_own_model_is_light_and_says_what_it_needs(monkeypatch, capsys, files):
    """Whole without its encoder; where there is none, one sentence says what is missing."""
    assert (DEFAULT / "model.safetensors").stat().st_size < 1_000_000
    assert (DEFAULT / "README.md").is_file()
    labels = saved.checked(DEFAULT)["labels"]
    assert labels == ["neutral", "happy", "sad", "angry", "fearful", "surprised"]
    monkeypatch.delenv("SER_ENCODERS", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: 1 / 0)
    assert ser("classify", files[0]) == 2
    said = capsys.readouterr().err
    assert "No model is named: this is the package's own" in said
    assert "openai/whisper-base is not in SER_ENCODERS (not set)" in said


@pytest.mark.skipif("SER_ENCODERS" not in os.environ, reason="needs SER_ENCODERS")
def test_the_package_s_own_model_on_a_recording(files, capsys):
    assert ser("classify", "--json", files[0]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["label"] in {*said["probs"], "unsure"} and len(said["probs"]) == 6
    assert sum(said["probs"].values()) == pytest.approx(1)


@pytest.mark.skipif(not {"SER_ENCODERS", "SER_RAVDESS"} <= {*os.environ}, reason="needs real data")
def test_the_package_s_own_model_on_an_unheard_actor():
    """Of the 16 angry recordings with strong voice of two actors most are angry."""
    known = saved.trained_on(DEFAULT)
    names = [f"ravdess/Actor_{number:02}" for number in range(1, 25)]
    heard = {name for one in known for name in seen.among(names, one, "speakers")}
    unheard = [name.removeprefix("ravdess/") for name in names if name not in heard]
    assert len(unheard) >= 2
    pattern = f"{unheard[0]}/03-01-05-02-*"
    paths = sorted(p for p in Path(os.environ["SER_RAVDESS"]).glob(f"{pattern}.*"))
    found = EmotionRecognizer.from_hparams().classify_files(paths)
    assert [emotion.label for emotion in found].count("angry") > len(paths) / 2


def test_the_command_line_refuses_in_one_sentence(best, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for words, sentence in (
        ([str(tmp_path / "nowhere"), "x.wav"], "neither a local model folder nor a Hub"),
        ([str(best), str(tmp_path / "empty")], "holds no audio files"),
    ):
        assert ser("classify", *words) == 2
        assert sentence in capsys.readouterr().err
