"""Several channels as one, and what is silence."""

import logging

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.decoding import windows
from speechbrain_ser.data.waveforms import SILENCE, is_silent, mono
from speechbrain_ser.errors import InputError

RATE = 16_000


def voice(seconds=2.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 150 * time) * (1 + np.sin(20 * time)) / 2).astype("float32")


def write(path, *channels, subtype="PCM_16"):
    soundfile.write(path, np.stack(channels, axis=1), RATE, subtype=subtype)
    return path


def warnings(caplog, path) -> list[str]:
    return [record.getMessage() for record in caplog.records if str(path) in record.getMessage()]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("gain", [-1.0, -0.999, -0.95])
def test_channels_of_opposite_polarity_are_read_as_one_of_them(tmp_path, caplog, subtype, gain):
    path = write(tmp_path / "a.wav", voice(), gain * voice(), subtype=subtype)
    expected = torch.from_numpy(voice())
    reader = SpeechReader()
    for _ in range(3):
        torch.testing.assert_close(reader(path), expected, atol=1e-4, rtol=0)
    window = SpeechReader(max_seconds=0.5, test_window="start")(path)
    torch.testing.assert_close(window, expected[:8000], atol=1e-4, rtol=0)
    (said,) = warnings(caplog, path)
    assert "cancel each other when averaged" in said


def test_the_complement_of_16_bits_is_an_opposite_polarity_too(tmp_path, caplog):
    samples = np.round(32767 * voice()).astype("int16")
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([samples, ~samples], axis=1), RATE)  # their sum is -1
    torch.testing.assert_close(
        SpeechReader()(path), torch.from_numpy(samples / 32768).float(), atol=1e-6, rtol=0
    )
    assert len(warnings(caplog, path)) == 1


def test_other_channels_are_averaged_without_a_word(tmp_path, caplog):
    other = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE).astype("float32")
    nothing = np.zeros_like(other)
    for number, channels in enumerate(
        (
            (voice(), voice()),
            (voice(), nothing),
            (voice(), other),
            (voice(), -0.7 * voice()),
            (nothing,) * 7 + (voice(),),
            (voice() + 0.3, voice() - 0.3),
        )
    ):
        path = write(tmp_path / f"{number}.wav", *channels, subtype="FLOAT")
        expected = torch.from_numpy(np.mean(channels, axis=0))
        torch.testing.assert_close(SpeechReader()(path), expected, atol=1e-6, rtol=0)
        assert warnings(caplog, path) == []


def test_the_loudest_of_channels_that_cancel_is_read():
    one, other = torch.from_numpy(voice()), torch.randn(2 * RATE) * 0.01
    samples = torch.stack([other - one / 2, one, -one / 2 - other])
    assert torch.equal(mono(samples, "loudest"), one)
    assert torch.equal(mono(one, "alone"), one)
    assert torch.equal(mono(one[None], "alone"), one)


def test_every_window_of_a_file_is_of_one_channel_and_the_file_is_named_once(tmp_path, caplog):
    path = write(tmp_path / "a.wav", voice(4), -voice(4))
    for start, samples, rate in windows(path, 1, 0.5):
        speech = mono(samples.T, str(path))
        first = round(start * rate)
        expected = torch.from_numpy(voice(4))[first : first + rate]
        torch.testing.assert_close(speech, expected, atol=1e-4, rtol=0)
    assert len(warnings(caplog, path)) == 1


def dither(seconds=2.0) -> np.ndarray:
    """The last bit of 16, at random."""
    return (np.random.default_rng(0).integers(-1, 2, round(seconds * RATE)) / 32768).astype("f4")


@pytest.mark.parametrize("reader", [SpeechReader(), SpeechReader(max_seconds=1)])
def test_a_dither_is_silence(tmp_path, caplog, reader):
    for name, channels in (
        ("one.wav", [dither()]),
        ("level.wav", [0.2 + dither()]),
        ("two.wav", [dither(), dither()[::-1]]),
        ("opposite.wav", [dither(), -dither()]),
    ):
        path = write(tmp_path / name, *channels)
        with pytest.raises(InputError, match=f"{name} is silent .* of full scale.: remove it"):
            reader(path)
        assert warnings(caplog, path) == []
    quiet = write(tmp_path / "quiet.wav", 10 * dither())
    assert len(reader(quiet)) in (RATE, 2 * RATE)


def test_silence_is_a_difference():
    for level in (0.0, -0.7):
        assert is_silent(level + torch.tensor([0.0, 0.9 * SILENCE]))
        assert not is_silent(level + torch.tensor([0.0, 1.1 * SILENCE]))
    for speech in (torch.zeros(0), torch.tensor([0.0, torch.nan]), torch.full((2,), torch.inf)):
        assert not is_silent(speech)


def test_a_recognizer_calls_the_same_recordings_silent(tmp_path, caplog):
    from test_inference import Loudness

    caplog.set_level(logging.WARNING)
    recognizer = Loudness(SpeechReader())
    recognizer.unsure_below = 0.0
    path = write(tmp_path / "dither.wav", dither(6))
    (segment,) = recognizer.classify_long(path)
    assert segment.label is None
    assert recognizer.classify_file(path).label is None
    path = write(tmp_path / "opposite.wav", 3 * voice(6), -3 * voice(6))
    assert [segment.label for segment in recognizer.classify_long(path)] == ["loud"]
    assert len(warnings(caplog, path)) == 1
