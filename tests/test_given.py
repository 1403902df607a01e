"""What a recognizer takes beside files: content, open files, pipes, samples; and nothing at all."""

import io
import json
import os
import pathlib
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
from conftest import ser
from test_safety import GOOD

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import seen
from speechbrain_ser.sharing import given

RATE = 16_000


def write_model(folder, text=GOOD):
    """An untrained model's folder."""
    folder.mkdir(parents=True)
    (folder / "hyperparams.yaml").write_text(text)
    torch.manual_seed(0)
    network = hp.build(hp.load_tree(text))["model"]
    safetensors.torch.save_file(network.state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "best")


@pytest.fixture(scope="module")
def recognizer(best):
    return EmotionRecognizer.from_hparams(best)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where copies are made, to see that none is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def noise(seconds=1.5, channels=2, rate=RATE, seed=0):
    """[time, channel]."""
    chance = np.random.default_rng(seed)
    return (0.1 * chance.standard_normal((int(seconds * rate), channels))).astype(np.float32)


def piped(path, content: bytes):
    """A named pipe into which content is written once."""
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return path


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_content_is_classified_as_its_file(recognizer, tmp_path, temporary, ending):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, noise(), RATE)
    expected, raw = recognizer.classify_file(path), path.read_bytes()
    for recording in (path, str(path), raw, bytearray(raw), memoryview(raw), io.BytesIO(raw)):
        assert recognizer.classify(recording) == expected
        if hasattr(recording, "seek"):
            recording.seek(0)
        assert recognizer.classify_files([recording, path]) == [expected] * 2
    with open(path, "rb") as file:
        assert recognizer.classify(file) == expected
    (tmp_path / "more").write_bytes(b"read before" + raw)
    with open(tmp_path / "more", "rb") as file:
        file.read(len(b"read before"))
        assert recognizer.classify(file) == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_read_once_by_whatever_reads_it(recognizer, tmp_path, temporary, capsys):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(), RATE)
    raw, calls = (
        path.read_bytes(),
        (
            lambda given: recognizer.classify(given),
            lambda given: recognizer.classify_file(given),
            lambda given: recognizer.classify_files([path, given])[1],
            lambda given: recognizer.classify_long(given, window=1, hop=1),
            lambda given: recognizer.embed([given]).tolist(),
        ),
    )
    for number, call in enumerate(calls):
        pipe = piped(tmp_path / f"pipe{number}", raw)
        answer, file = call(pipe), call(path)
        assert (answer[0] if isinstance(answer, list) else answer) == (
            file[0] if isinstance(file, list) else file
        )
    pipe = piped(tmp_path / "bad", raw[:200])
    with pytest.raises(InputError, match=f"^{pipe} is truncated"):
        recognizer.classify(pipe)
    pipe = piped(tmp_path / "late", soundfile_of(noise(1.5) * np.nan))
    with pytest.raises(InputError, match=f"^{pipe} at 0.0 s holds NaN"):
        recognizer.classify_long(pipe)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_the_command_reads_a_named_pipe(best, tmp_path, temporary, capsys):
    pipe = piped(tmp_path / "pipe", soundfile_of(noise()))
    assert ser("classify", best, "--csv", pipe) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{pipe},0.000,1.500,")


def soundfile_of(samples, subtype="FLOAT") -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format="WAV", subtype=subtype)
    return content.getvalue()


@pytest.mark.parametrize("rate", [8_000, RATE, 44_100])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_samples_are_classified_as_their_file(recognizer, tmp_path, channels, rate):
    samples = noise(channels=channels, rate=rate)
    soundfile.write(tmp_path / "a.wav", samples, rate, "FLOAT")
    expected = recognizer.classify_file(tmp_path / "a.wav")
    doubles = torch.from_numpy(samples).double().requires_grad_()
    forms = [samples, samples.T, samples.astype(">f8"), np.asfortranarray(samples)]
    forms += [torch.from_numpy(samples), torch.from_numpy(samples).T, doubles]
    forms += [samples[:, 0], samples[::-1, 0][::-1]] if channels == 1 else []
    for form in forms:
        for given_rate in (rate, float(rate), np.int64(rate)):
            assert recognizer.classify(form, given_rate) == expected


@pytest.mark.parametrize(
    ("subtype", "dtype"), [("PCM_U8", "uint8"), ("PCM_16", "int16"), ("PCM_32", "int32")]
)
def test_whole_numbers_are_what_a_wav_holds(recognizer, tmp_path, subtype, dtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, 5 * noise(), RATE, subtype)
    whole, _ = soundfile.read(path, dtype="int16" if dtype == "uint8" else dtype)
    if dtype == "uint8":
        whole = (whole // 256 + 128).astype("uint8")
    answer = recognizer.classify(torch.from_numpy(whole), RATE)
    assert answer == recognizer.classify_file(path)


def test_samples_longer_than_the_reader_s_window_are_cut_as_their_file(tmp_path):
    text = GOOD.replace("max_seconds: 15", "max_seconds: 0.5\n  test_window: random")
    recognizer = EmotionRecognizer.from_hparams(write_model(tmp_path / "best", text))
    samples = noise(3, rate=44_100) * np.linspace(0.1, 1, 3 * 44_100)[:, None].astype("float32")
    soundfile.write(tmp_path / "a.wav", samples, 44_100, "FLOAT")
    answer = recognizer.classify(samples, 44_100)
    assert answer.probs == pytest.approx(recognizer.classify_file(tmp_path / "a.wav").probs, 1e-5)
    other = recognizer.classify(samples[:22_050], 44_100)
    assert answer.probs != pytest.approx(other.probs, 1e-5), "this test could not fail"


GOOD_SAMPLES = noise()


@pytest.mark.parametrize(
    ("recording", "rate", "sentence"),
    [
        (GOOD_SAMPLES, None, r"samples do not tell their rate: use classify\(samples, rate\)"),
        (torch.from_numpy(GOOD_SAMPLES), None, "samples do not tell their rate"),
        (GOOD_SAMPLES, 0, "the rate is 0: use whole Hz, 4,000 to 1,000,000"),
        (GOOD_SAMPLES, 16, "the rate is 16"),
        (GOOD_SAMPLES, 16_000.5, "the rate is 16000.5"),
        (GOOD_SAMPLES, float("nan"), "the rate is nan"),
        (GOOD_SAMPLES, float("inf"), "the rate is inf"),
        (GOOD_SAMPLES, "16000", "the rate is '16000'"),
        (GOOD_SAMPLES[:300], RATE, "the recording lasts 18.8 ms: at least 25 ms"),
        (GOOD_SAMPLES[:0], RATE, r"samples of shape \(0, 2\)"),
        (GOOD_SAMPLES[None], RATE, r"samples of shape \(1, 24000, 2\)"),
        (np.zeros((100, 100)), RATE, r"\(100, 100\): more than 64 channels"),
        (GOOD_SAMPLES * np.nan, RATE, "the recording holds NaN"),
        (GOOD_SAMPLES * np.inf, RATE, "the recording holds NaN or infinite"),
        (GOOD_SAMPLES * 32_768, RATE, r"samples reach [\d,]+: scale floats to \[-1, 1\]"),
        (GOOD_SAMPLES.astype("int64"), RATE, "samples of int64: use floats"),
        (GOOD_SAMPLES.astype("complex64"), RATE, "samples of complex64"),
        (GOOD_SAMPLES.astype(object), RATE, "samples of object"),
        (b"RIFF", RATE, "a rate belongs to samples, which a bytes is not"),
        ("a.wav", RATE, "a rate belongs to samples"),
        (None, None, "a NoneType is no recording: give a path, a file's bytes"),
        (3, None, "a int is no recording"),
        (b"", None, r"^the recording \(0 bytes\)|^the recording .*empty"),
        (b"no audio", None, r"^the recording \(8 bytes\) is not an audio file"),
        (io.BytesIO(), None, "the open file has nothing to read from where it stands: seek"),
        (io.StringIO("RIFF"), None, r"the open file is opened as text: open it with 'rb'"),
        ("https://example.org/a.wav", None, "no such file"),
    ],
)
def test_what_is_no_recording_is_a_sentence(recognizer, temporary, recording, rate, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        recognizer.classify(recording, rate)
    assert str(temporary) not in str(caught.value)


def test_a_closed_file_and_its_name(recognizer, tmp_path, temporary):
    path = tmp_path / "cut.wav"
    path.write_bytes(soundfile_of(noise())[:400])
    with open(path, "rb") as file:
        with pytest.raises(InputError, match=f"^{path} is truncated"):
            recognizer.classify(file)
    with pytest.raises(InputError, match=f"^{path} cannot be read .*closed"):
        recognizer.classify(file)


def test_bad_content_among_good_keeps_its_place_and_its_name(recognizer, tmp_path, temporary):
    good = soundfile_of(noise())
    many = [good, good[:200], *[good] * 9, io.BytesIO(good[:200]), None]
    found = dict(recognizer.each(many, batch_size=3))
    assert sorted(found) == list(range(13))
    bad = {i: str(one) for i, one in found.items() if isinstance(one, InputError)}
    assert sorted(bad) == [1, 11, 12]
    assert bad[1].startswith("the recording is truncated")
    assert bad[11].startswith("the open file is truncated")


def test_a_batch_without_lengths_is_of_whole_recordings(recognizer):
    speech = torch.from_numpy(noise().T)
    expected = recognizer.classify_batch(speech, torch.ones(2))
    assert torch.equal(recognizer.classify_batch(speech), expected)


def test_one_recording_stands_for_a_list_of_one(recognizer, tmp_path):
    path = tmp_path / "one.wav"
    soundfile.write(path, noise(), RATE)
    expected = recognizer.classify_file(path)
    for one in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert recognizer.classify_files(one) == [expected]
    assert torch.equal(recognizer.embed(str(path)), recognizer.embed([path]))
    assert dict(recognizer.each(str(path))) == {0: expected}
    assert recognizer.classify_files(name for name in [path, path]) == [expected] * 2


def test_of_nothing_there_is_nothing(recognizer, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    assert recognizer.classify_files([]) == [] == list(recognizer.each([]))
    empty, some = recognizer.embed([]), recognizer.embed([tmp_path / "a.wav"])
    assert empty.shape == (0, some.shape[1]) and empty.dtype == some.dtype
    assert torch.cat([empty, some]).shape == some.shape


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_no_file_is_refused(recognizer, best, tmp_path, size, capsys):
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    with pytest.raises(InputError, match=f"batch_size is {size}: at least 1"):
        recognizer.classify_files([tmp_path / "a.wav"], batch_size=size)
    with pytest.raises(InputError, match=f"batch_size is {size}: at least 1"):
        recognizer.classify_long(tmp_path / "a.wav", batch_size=size)
    assert ser("classify", best, tmp_path / "a.wav", "--batch_size", size) == 2
    assert f"batch_size is {size}" in capsys.readouterr().err


def test_a_path_of_any_kind_is_left_as_it_is():
    with given.Spool() as spool:
        assert spool.path("./a//b.wav") == "./a//b.wav"
        assert spool.path(Path("a.wav")) == Path("a.wav")
        assert spool.path(pathlib.PurePath("a.wav")) == Path("a.wav")


PEOPLE = [seen.entry("table", "salt", ["angry", "happy", "sad"], ["a"])]


def test_a_model_of_speakers_is_refused_wherever_it_would_name_emotions(best, tmp_path, capsys):
    folder = write_model(tmp_path / "speaker/fold1/1000/best")
    (folder / "trained_on.json").write_text(json.dumps(PEOPLE))
    said = f"{folder} names no emotions, but speakers: its labels are those of its training"
    with pytest.raises(InputError, match=f"^{said} .angry, happy.; give a model of emotions"):
        EmotionRecognizer.from_hparams(folder)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio/a.wav", noise(), RATE)
    for words in (
        ("classify", folder, tmp_path / "audio"),
        ("annotate", folder, tmp_path / "audio", "--out", tmp_path / "parts"),
        ("export", folder, "--out", tmp_path / "exported"),
        ("demo", folder),
    ):
        assert ser(*words) == 2
        assert said in capsys.readouterr().err, words
    assert {path.name for path in tmp_path.iterdir()} <= {"speaker", "audio", "parts"}
    one_of_them = [seen.entry("table", "salt", ["angry"], ["a"])]  # who happens to be called so
    (folder / "trained_on.json").write_text(json.dumps(one_of_them))
    assert EmotionRecognizer.from_hparams(folder).hparams.labels == ["angry", "happy"]
