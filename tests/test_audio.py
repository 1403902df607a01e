"""The one reader: lengths, windows, formats, and what it refuses."""

import itertools
import math
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_ser.data import decoding
from speechbrain_ser.data.audio import SAMPLE_RATE, SpeechReader
from speechbrain_ser.data.decoding import duration
from speechbrain_ser.errors import InputError


def tone(seconds, rate=SAMPLE_RATE, hertz=440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        "float32"
    )


def ramp(seconds) -> torch.Tensor:
    """Speech in which a sample's value is its position, in seconds."""
    return torch.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def write(path, samples, rate=SAMPLE_RATE, **settings) -> Path:
    soundfile.write(path, samples, rate, **settings)
    return path


# tiling and windows


@pytest.mark.parametrize(
    ("seconds", "floor", "ceil"),
    [
        (0.5, 3.0, 3.0),
        (0.7, 2.8, 3.5),
        (1.0, 3.0, 3.0),
        (1.4, 2.8, 4.2),
        (1.5, 3.0, 3.0),
        (1.6, 1.6, 3.2),
        (2.9, 2.9, 5.8),
        (3.0, 3.0, 3.0),
        (3.1, 3.1, 3.1),
        (14.0, 14.0, 14.0),
    ],
)
def test_tiling(seconds, floor, ceil):
    speech = ramp(seconds)
    for tiling, expected in (("floor", floor), ("ceil", ceil)):
        tiled = SpeechReader(min_seconds=3, tiling=tiling, max_seconds=15).prepare(speech)
        assert len(tiled) == round(expected * SAMPLE_RATE)
        assert torch.equal(tiled, speech.repeat(round(expected / seconds)))
    assert torch.equal(SpeechReader().prepare(speech), speech)


def test_floor_tiling_of_any_length():
    reader = SpeechReader(min_seconds=3)
    for samples in random.Random(0).choices(range(400, 50_000), k=200):
        times = 1 if samples >= 48_000 else 48_000 // samples
        assert len(reader.prepare(ramp(samples / SAMPLE_RATE))) == times * samples


def test_windows():
    speech = ramp(20)
    start = SpeechReader(max_seconds=15, test_window="start").prepare(speech)
    assert torch.equal(start, speech[: 15 * SAMPLE_RATE])
    centre = SpeechReader(max_seconds=15, test_window="centre").prepare(speech)
    assert torch.equal(centre, speech[int(2.5 * SAMPLE_RATE) : int(17.5 * SAMPLE_RATE)])
    for seconds in (15, 14.9999, 3):
        for window in ("start", "centre", "random"):
            reader = SpeechReader(max_seconds=15, train_window=window, test_window=window)
            for training in (True, False):
                assert torch.equal(reader.prepare(ramp(seconds), training=training), ramp(seconds))


def test_training_and_evaluation_have_windows_of_their_own():
    reader = SpeechReader(max_seconds=1, train_window="start", test_window="centre")
    assert float(reader.prepare(ramp(3), training=True)[0]) == 0
    assert float(reader.prepare(ramp(3))[0]) == 1


def test_a_random_window_in_evaluation_belongs_to_the_recording():
    """To its samples: neither its name nor its folder, the epoch nor other draws move it."""
    reader = SpeechReader(max_seconds=1, test_window="random")
    starts = set()
    for number in range(50):
        speech = ramp(3).clone()
        speech[-1] = number  # another recording
        first = reader.prepare(speech, name="/one/00001.wav")
        random.random()
        reader.draw = (number, 7)
        assert torch.equal(first, reader.prepare(speech, name="/other/2.wav"))
        assert len(first) == SAMPLE_RATE
        assert torch.equal(
            first[:-1], ramp(3)[round(float(first[0]) * SAMPLE_RATE) :][: len(first) - 1]
        )
        starts.add(float(first[0]))
    assert len(starts) > 40
    assert min(starts) < 0.3 and max(starts) > 1.7


def test_random_windows_in_training_cover_the_recording():
    reader = SpeechReader(max_seconds=1, train_window="random")
    starts = {}
    for draw in itertools.product(range(20), range(20)):
        reader.draw = draw  # seed and epoch
        starts[draw] = float(reader.prepare(ramp(2), training=True)[0])
    assert all(0 <= start <= 1 for start in starts.values())
    assert min(starts.values()) < 0.02 and max(starts.values()) > 0.98
    assert sum(starts.values()) / 400 == pytest.approx(0.5, abs=0.06)
    assert starts[1, 2] != starts[2, 1], "a sum of seed and epoch would be the same"


def test_other_sampling_rates_than_16_khz(tmp_path):
    samples = tone(4.0, rate=48_000)
    path = write(tmp_path / "48k.wav", samples, 48_000, subtype="FLOAT")
    own = SpeechReader(sample_rate=48_000)(path)
    assert torch.equal(own, torch.from_numpy(samples).float())
    assert len(SpeechReader()(path)) == 4 * SAMPLE_RATE
    assert len(SpeechReader(sample_rate=8_000)(path)) == 4 * 8_000
    inside = slice(500, -500)  # the resampling filter reaches over the ends
    expected = torch.from_numpy(tone(4.0))
    torch.testing.assert_close(SpeechReader()(path)[inside], expected[inside], atol=1e-2, rtol=0)
    back = SpeechReader(sample_rate=48_000).prepare(expected, 16_000)
    assert back.shape == own.shape
    torch.testing.assert_close(back[1500:-1500], own[1500:-1500], atol=1e-2, rtol=0)


def test_windows_and_tiling_are_in_seconds_at_48_khz():
    speech = torch.arange(4 * 48_000) / 48_000  # a sample's value is its position in seconds

    def at_48_khz(seconds=4.0, **settings):
        reader = SpeechReader(sample_rate=48_000, **settings)
        return reader.prepare(speech[: round(seconds * 48_000)], 48_000, name="a.wav")

    start = at_48_khz(max_seconds=1.5, test_window="start")
    assert torch.equal(start, speech[:72_000])
    centre = at_48_khz(max_seconds=1.5, test_window="centre")
    assert torch.equal(centre, speech[60_000:132_000])  # 1.25 s to 2.75 s
    drawn = at_48_khz(max_seconds=1.5, test_window="random")
    first = round(float(drawn[0]) * 48_000)
    assert 0 < first <= 120_000 and torch.equal(drawn, speech[first : first + 72_000])
    assert torch.equal(at_48_khz(max_seconds=4.0), speech)
    for tiling, times in (("floor", 2), ("ceil", 3)):
        tiled = at_48_khz(min_seconds=9, tiling=tiling)
        assert torch.equal(tiled, speech.repeat(times))
    with pytest.raises(InputError, match="a.wav lasts 20.0 ms: at least 25 ms"):
        at_48_khz(seconds=0.02)
    assert len(at_48_khz(seconds=0.025)) == 1_200


def test_normalise_over_the_speech_s_own_samples():
    speech = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.3
    reader = SpeechReader(max_seconds=0.03, normalise=True, test_window="start")
    own = speech[:480].double()
    expected = (own - own.mean()) / ((own - own.mean()) ** 2).mean().sqrt()
    torch.testing.assert_close(reader.prepare(speech).double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tiling": "round"}, "tiling is 'round': use floor or ceil"),
        ({"train_window": "end"}, "window is 'end': use start, centre or random"),
        ({"test_window": "middle"}, "window is 'middle': use start, centre or random"),
        ({"sample_rate": 0}, "sample_rate is 0: use whole Hz, such as 16000"),
        ({"sample_rate": "48e3"}, "sample_rate is '48e3': use whole Hz"),
        ({"sample_rate": 22_050.5}, "sample_rate is 22050.5: use whole Hz"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SpeechReader(**settings)


# formats


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_any_rate_and_channels(tmp_path, rate):
    left, right = tone(1, rate), 0.4 * tone(1, rate, 200)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1), rate, subtype="FLOAT")
    speech = SpeechReader()(path)
    assert duration(path) == 1
    assert speech.shape == (SAMPLE_RATE,)
    assert speech.dtype == torch.float32
    expected = torch.from_numpy((tone(1) + 0.4 * tone(1, hertz=200)) / 2)
    inside = slice(500, -500)  # the resampling filter reaches over the ends
    torch.testing.assert_close(speech[inside], expected[inside], atol=2e-2, rtol=0)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE"])
def test_samples_are_between_minus_one_and_one(tmp_path, subtype):
    path = write(tmp_path / "a.wav", tone(0.5), subtype=subtype)
    tolerance = 1 / 127 if subtype == "PCM_U8" else 1e-4
    expected = torch.from_numpy(tone(0.5))
    torch.testing.assert_close(SpeechReader()(path), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3", "a.aiff", "a.WAV"])
def test_other_formats(tmp_path, name):
    path = write(tmp_path / name, tone(2))
    speech = SpeechReader()(path)
    assert len(speech) == pytest.approx(2 * SAMPLE_RATE, abs=2400)
    assert len(speech) / SAMPLE_RATE == pytest.approx(duration(path), abs=1e-6)
    middle = speech[8000:24000].double()
    spectrum = torch.fft.rfft(middle).abs()
    assert int(spectrum.argmax()) == 440
    assert float(middle.pow(2).mean().sqrt()) == pytest.approx(0.5 / 2**0.5, rel=0.02)


def test_paths_may_be_text_and_hold_spaces(tmp_path):
    path = write(tmp_path / "Grüße und Küsse.wav", tone(0.5))
    assert torch.equal(SpeechReader()(path), SpeechReader()(str(path)))


# what is refused


def refused(path, match, reader=None) -> None:
    with pytest.raises(InputError, match=match) as error:
        (reader or SpeechReader())(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "no.wav", "no such file")
    refused(tmp_path, "no such file")
    refused(tmp_path / ("n" * 300), "cannot be opened")


def test_empty_files(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    refused(tmp_path / "empty.wav", "0 bytes")
    refused(write(tmp_path / "none.wav", tone(0)), "holds no audio")


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "txt", "raw"])
def test_bytes_that_are_no_audio(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(random.Random(0).randbytes(5000))
    refused(path, "not an audio file")


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.1])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_truncated_files(tmp_path, suffix, kept):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000).astype("float32")
    path = write(tmp_path / f"a.{suffix}", noise)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    refused(path, "truncated|breaks off|fetch it again")


def test_a_wav_with_other_chunks_behind_its_data_is_whole(tmp_path):
    path = write(tmp_path / "a.wav", tone(0.5))
    content = bytearray(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"abcd")
    content[4:8] = struct.pack("<I", len(content) - 8)
    path.write_bytes(content)
    assert len(SpeechReader()(path)) == 8000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path, value):
    samples = tone(0.5)
    samples[4000] = value
    refused(write(tmp_path / "a.wav", samples, subtype="FLOAT"), "NaN or infinite")


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_silence(tmp_path, level):
    refused(write(tmp_path / "a.wav", np.full(16_000, level, dtype="float32")), "silent")


@pytest.mark.parametrize(("samples", "rate"), [(80, 16_000), (399, 16_000), (240, 48_000)])
def test_too_short(tmp_path, samples, rate):
    path = write(tmp_path / "a.wav", tone(1, rate)[:samples], rate)
    refused(path, rf"lasts {1000 * samples / rate:.1f} ms: at least 25 ms")
    # tiling does not make a recording of it
    refused(path, "at least 25 ms", SpeechReader(min_seconds=3))
    assert len(SpeechReader()(write(tmp_path / "b.wav", tone(0.025)))) == 400


def test_samples_in_memory_are_checked_too():
    with pytest.raises(InputError, match="the recording is silent"):
        SpeechReader().prepare(torch.zeros(16_000))
    with pytest.raises(InputError, match="the recording lasts 0.0 ms"):
        SpeechReader().prepare(torch.zeros(0))
    with pytest.raises(InputError, match="x.wav holds NaN"):
        SpeechReader().prepare(torch.full((16_000,), torch.nan), name="x.wav")
    stereo = torch.stack([ramp(1), 3 * ramp(1)])
    torch.testing.assert_close(SpeechReader().prepare(stereo), 2 * ramp(1))
    assert SpeechReader().prepare(torch.from_numpy(tone(1, 8000)), 8000).shape == (16_000,)


@pytest.mark.skipif("SER_RAVDESS" not in os.environ, reason="SER_RAVDESS is not set")
def test_a_real_recording():
    path = sorted(Path(os.environ["SER_RAVDESS"]).glob("Actor_*/03-01-*.*"))[0]
    info = soundfile.info(path)
    speech = SpeechReader()(path)
    assert duration(path) == info.frames / info.samplerate
    assert len(speech) == math.ceil(info.frames * 16_000 / info.samplerate)
    assert 2.9 < duration(path) < 5.3  # of all its speech
    assert 0.001 < float(speech.abs().max()) <= 1


def test_a_wav_written_to_a_pipe_is_whole(tmp_path):
    path = write(tmp_path / "piped.wav", tone(1))
    content = bytearray(path.read_bytes())
    start = content.index(b"data") + 4
    content[start : start + 4] = b"\xff" * 4  # its writer could not go back to fill in the size
    path.write_bytes(content)
    assert len(SpeechReader()(path)) == SAMPLE_RATE


def test_a_header_that_cannot_be_true_is_refused_without_taking_its_memory(tmp_path):
    """Rate, channels or length of a wav header, written over."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).standard_normal(2000) * 0.1, 16_000)
    whole = path.read_bytes()
    for offset, value, message in (
        (24, 2**31 - 1, "claims 1 channels at 2147483647 Hz: its header is broken"),
        (24, 1, "claims 1 channels at 1 Hz: its header is broken"),
        (24, 3_999, "claims 1 channels at 3999 Hz: its header is broken"),
        (24, 44_101, "has 44101 Hz, which have no small ratio to 16000"),
        (40, 2**30, "truncated"),
    ):
        data = bytearray(whole)
        data[offset : offset + 4] = value.to_bytes(4, "little")
        path.write_bytes(data)
        with pytest.raises(InputError, match=message):
            SpeechReader()(path)


def test_blocks_of_decoding_are_the_whole_file(tmp_path, monkeypatch):
    path = tmp_path / "a.flac"
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 2)).astype("float32")
    soundfile.write(path, samples, 16_000)
    expected, _ = soundfile.read(path, dtype="float32")
    monkeypatch.setattr(decoding, "BLOCK", 999)
    blocks = list(decoding.blocks(path))
    assert {len(block) for block in blocks[:-1]} == {499}
    assert torch.equal(torch.cat(blocks), torch.from_numpy(expected))
