"""Parts of files: read, marked, stored and classified as files that were cut."""

import builtins
import json
import os

import numpy as np
import pytest
import soundfile
import torch
from conftest import ser
from test_audio_windows import decode, sound, write
from test_features import Frames
from test_given import piped, write_model

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.data import decoding, manifests, segments, store
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.decoding import duration, header
from speechbrain_ser.errors import InputError

FORMS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III")}
RATE = 22_050


@pytest.fixture
def talk(tmp_path):
    """A stereo file of 6 s."""
    return write(tmp_path / "talk.wav", sound(6, RATE, 2), RATE)


def cut(path, start, end):
    """The samples from start to end in a file of their own."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    part = samples[round(start * rate) : None if end is None else round(end * rate)]
    soundfile.write(path.with_name("cut.wav"), part, rate, subtype="FLOAT")
    return path.with_name("cut.wav")


@pytest.mark.parametrize(
    "times, place",
    [
        ((1.5, 3.25), "a.wav#t=1.5,3.25"),
        ((0, 3), "a.wav#t=0,3"),
        ((2,), "a.wav#t=2"),
        ((1 / 3, 10.00001), "a.wav#t=0.3333,10"),
        ((0,), "a.wav"),
    ],
)
def test_a_place_is_a_text_and_back(times, place):
    assert segments.at("a.wav", *times) == place
    start, end = (*times, None)[:2]
    assert segments.split(place) == ("a.wav", round(start, 4), end and round(end, 4))


def test_other_forms_and_no_places():
    assert segments.split("a.wav#t=,2.") == ("a.wav", 0, 2)
    assert segments.split("a#t=1.wav#t=2,3") == ("a#t=1.wav", 2, 3)
    for name in ("a.wav", "a#t=1,2.wav", "a.wav#t=", "a.wav#t=x", "a.wav#t=-1,2", "#t=1"):
        assert segments.split(name) == (name, 0, None)


@pytest.mark.parametrize("times", [(2, 2), (2, 1), (0, 0), (-1, 2), (0, float("nan"))])
def test_times_that_are_none_are_refused(times):
    with pytest.raises(InputError, match="a.wav"):
        segments.at("a.wav", *times)


@pytest.mark.parametrize("name", ["a#t=1,2.wav", "a.wav#t=1,2"])
def test_a_file_of_that_name_is_read_whole(tmp_path, name):
    with open(tmp_path / name, "wb") as file:
        soundfile.write(file, sound(3, 16_000), 16_000, format="WAV")
    assert duration(tmp_path / name) == 3
    assert duration(f"{tmp_path / name}#t=1,2.5") == 1.5


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("ending", FORMS)
def test_samples_are_those_of_the_whole(tmp_path, ending, rate, channels):
    path = write(tmp_path / f"a.{ending}", sound(12, rate, channels), rate, *FORMS[ending])
    whole = decode(path)
    last_bit = 2e-7 if ending == "mp3" and rate == 16_000 else 0
    for start, end in ((0, 0.5), (4.3333, 8.1), (7.77, 9.9), (11.5, None), (0.01, 12)):
        place = segments.at(path, start, end)
        first, last = round(start * rate), len(whole) if end is None else round(end * rate)
        samples = decode(place)
        torch.testing.assert_close(samples, whole[first:last], atol=last_bit, rtol=0)
        assert header(place) == (last - first, rate, channels)
        part = decode(place, 100, 900)
        torch.testing.assert_close(part, samples[100:900], atol=last_bit, rtol=0)


@pytest.mark.parametrize("ending", FORMS)
def test_a_part_is_sought_and_not_decoded_to(tmp_path, monkeypatch, ending):
    path = write(tmp_path / f"a.{ending}", sound(60, 16_000), 16_000, *FORMS[ending])
    decoded, read = [], decoding._read
    monkeypatch.setattr(decoding, "_read", lambda *call: decoded.append(call[-1]) or read(*call))
    place = segments.at(path, 50, 52)
    assert len(decode(place)) == 32_000
    assert sum(decoded) <= decoding.LEAD + decoding.PERIOD + 32_001
    decoded.clear()
    assert len(list(decoding.windows(place, 1, 0.5))) == 3
    assert sum(decoded) <= decoding.LEAD + decoding.PERIOD + 32_000


@pytest.mark.parametrize("times", [(1.2, 4.7), (2.5, None), (0, 3)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_seconds": 1, "normalise": True},
        {"max_seconds": 0.7, "test_window": "random"},
        {"max_seconds": 3.4, "test_window": "start"},
        {"min_seconds": 8, "tiling": "ceil"},
    ],
)
def test_speech_is_that_of_a_file_that_was_cut(talk, settings, times):
    reader = SpeechReader(**settings)
    place, alone = segments.at(talk, *times), cut(talk, *(*times, None)[:2])
    assert duration(place) == duration(alone)
    for training in (True, False):
        assert torch.equal(reader(place, training), reader(alone, training))
    for of_place, of_file in zip(
        decoding.windows(place, 1, 0.3), decoding.windows(alone, 1, 0.3), strict=True
    ):
        assert of_place[0] == of_file[0] and torch.equal(of_place[1], of_file[1])


def test_silence_is_of_the_part(tmp_path):
    samples = sound(4, 16_000)
    samples[16_000:48_000] = 0
    path = write(tmp_path / "a.wav", samples, 16_000)
    reader = SpeechReader(max_seconds=0.5)
    with pytest.raises(InputError, match="a.wav#t=1,3 is silent"):
        reader(f"{path}#t=1,3")
    assert reader(f"{path}#t=1,3.5").abs().max() == 0, "its window, as in any recording"


@pytest.mark.parametrize("times", ["6", "7,8", "5,6.06", "3,2", "0.00001,0.00002"])
def test_what_is_no_part_of_its_file_is_refused(talk, times):
    readers = header, duration, decode, SpeechReader(), lambda p: next(decoding.windows(p, 1, 1))
    for read in readers:
        with pytest.raises(InputError, match=f"^{talk}#t={times} .*: correct the times$"):
            read(f"{talk}#t={times}")


def test_an_end_that_was_rounded_is_the_file_s(talk):
    assert duration(f"{talk}#t=5,6.04") == 1


def test_a_broken_file_is_named(tmp_path):
    with pytest.raises(InputError, match="none.wav: no such file"):
        duration(tmp_path / "none.wav#t=1,2")


def test_marks_and_digests_hold_times_and_content(tmp_path, talk):
    copy = tmp_path / "copy.wav"
    copy.write_bytes(talk.read_bytes())
    other = write(tmp_path / "other.wav", 0.5 * sound(6, RATE, 2), RATE)
    for mark in (manifests.content, store.digest_of):
        marks = [mark(p) for p in (talk, f"{talk}#t=1,2", f"{talk}#t=1", f"{other}#t=1,2")]
        assert len({*marks}) == 4 and len({len(text) for text in marks}) == 1
        assert mark(f"{copy}#t=1,2") == marks[1] == mark(f"{talk}#t=1.0,2.00")
    before = manifests.content(f"{talk}#t=1,2"), store.digest_of(f"{talk}#t=1,2")
    write(talk, sound(5, RATE, 2), RATE)
    after = manifests.content(f"{talk}#t=1,2"), store.digest_of(f"{talk}#t=1,2")
    assert before[0] != after[0] and before[1] != after[1]


def test_many_parts_read_their_file_once(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp3", sound(3, 16_000), 16_000, *FORMS["mp3"])
    opened, real = [], builtins.open
    monkeypatch.setattr(
        builtins, "open", lambda *call, **k: opened.append(call) or real(*call, **k)
    )
    counts = []
    for function in (manifests.content, store.digest_of, duration):
        for places in ((1, 2), range(3, 30)):
            opened.clear()
            assert len({function(f"{path}#t=0,{place / 10}") for place in places}) == len(places)
            counts.append(len(opened))
    assert counts[1::2] == [0, 0, 0] and min(counts[::2]) > 0


def test_an_mp3_s_frames_are_counted_once(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp3", sound(3, 16_000), 16_000, *FORMS["mp3"])
    counted, frames = [], decoding.containers.mpeg._parts
    monkeypatch.setattr(
        decoding.containers.mpeg, "_parts", lambda data: counted.append(1) or frames(data)
    )
    for end in (1, 2, 2.5):
        decode(f"{path}#t=0,{end}")
    assert len(counted) == 1


def test_features_of_two_parts_differ(tmp_path, talk):
    places = [f"{talk}#t=1,2", f"{talk}#t=2,3", str(talk)]
    features = store.FeatureStore(Frames(), SpeechReader(), "float32", tmp_path / "store")
    features.fill(places)
    alone = [Frames().eval()(SpeechReader()(p)[None], torch.ones(1))[0][0] for p in places]
    for place, expected in zip(places, alone, strict=True):
        torch.testing.assert_close(features.read(place), expected.detach())
    assert features.frames(places[0]) == 50 and not torch.equal(alone[0], alone[1])


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "best")


def test_a_part_is_classified_under_its_own_name(best, talk, capsys):
    place, alone = f"{talk}#t=1.5,3", cut(talk, 1.5, 3)
    assert ser("classify", best, "--json", place, alone, f"{talk}#t=9") == 1
    found = capsys.readouterr()
    part, file = map(json.loads, found.out.splitlines())
    assert part == file | {"file": place} and (part["start"], part["end"]) == (0, 1.5)
    assert f"ser classify: {talk}#t=9 is no part of its file" in found.err
    recognizer = EmotionRecognizer.from_hparams(best)
    assert recognizer.classify_long(place, 1, 0.5) == recognizer.classify_long(alone, 1, 0.5)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_part_of_a_named_pipe(best, talk):
    recognizer = EmotionRecognizer.from_hparams(best)
    pipe = piped(talk.with_name("pipe"), talk.read_bytes())
    assert recognizer.classify(f"{pipe}#t=1.5,3") == recognizer.classify(cut(talk, 1.5, 3))
    pipe = piped(talk.with_name("again"), talk.read_bytes())
    with pytest.raises(InputError, match=f"^{pipe}#t=9 is no part of its file"):
        recognizer.classify(f"{pipe}#t=9")


def test_a_part_alone_is_no_model(talk, monkeypatch):
    from speechbrain_ser.commands import classify

    for word in (f"{talk}#t=1,2", "gone.wav#t=1,2.5"):
        assert classify.model_and_files([word]) == (None, [word])


def test_noise_is_the_same_in_any_block(talk, monkeypatch):
    reader, place = SpeechReader(), f"{talk}#t=1,5"
    whole = reader(place)
    monkeypatch.setattr(decoding, "BLOCK", 999)
    monkeypatch.setattr(decoding, "LEAD", 100)
    assert torch.equal(reader(place), whole)
    assert np.isfinite(whole).all()
