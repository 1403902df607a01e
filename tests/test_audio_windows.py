"""The window of a long file: decoded alone, and the same as when all of the file is."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_ser.data import decoding, seeds
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.waveforms import resampled_length, span
from speechbrain_ser.errors import InputError

FORMS = {  # name -> container, subtype
    "a.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "gsm.wav": ("WAV", "GSM610"),  # that libsndfile does not seek
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.ogg": ("OGG", "VORBIS"),
    "a.opus": ("OGG", "OPUS"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.aiff": ("AIFF", "PCM_24"),
}


def sound(seconds, rate, channels=1) -> np.ndarray:
    """Noise over tones: no two places are alike."""
    time = np.arange(round(seconds * rate)) / rate
    noise = 0.05 * np.random.default_rng(0).standard_normal((len(time), channels))
    tones = 0.2 * np.sin(2 * np.pi * (100 + 5 * time) * time)[:, None]
    return (noise + tones * np.linspace(1, 0.3, channels)).astype("float32")


def write(path, samples, rate, form="WAV", subtype="PCM_16") -> Path:
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], subtype, format=form) as file:
        for start in range(0, len(samples), 10_000):
            file.write(samples[start : start + 10_000])
    return path


def decode(path, start=0, stop=None) -> torch.Tensor:
    """Samples of a place, [time, channel]."""
    return torch.cat([*decoding.blocks(path, start, stop)])


def whole(reader, path, training=False) -> torch.Tensor:
    """What the reader gives of a file that is decoded and resampled whole."""
    with soundfile.SoundFile(path) as file:
        samples = file.read(file.frames, dtype="float32", always_2d=True)
        return reader.prepare(torch.from_numpy(samples).T, file.samplerate, training)


@pytest.mark.parametrize("window", ["start", "centre", "random"])
@pytest.mark.parametrize("name", FORMS)
def test_a_window_is_that_of_the_whole_file(tmp_path, name, window):
    rate = 8_000 if "gsm" in name else 16_000
    path = write(tmp_path / name, sound(20.3, rate), rate, *FORMS[name])
    reader = SpeechReader(max_seconds=1.5, train_window=window, test_window=window)
    reader.draw = (3, 4)
    for training in (True, False):
        expected = whole(reader, path, training)
        assert len(expected) == 24_000
        torch.testing.assert_close(reader(path, training), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 32_000])
@pytest.mark.parametrize("to", [16_000, 48_000])
def test_a_window_at_any_rate_is_that_of_the_whole_file(tmp_path, rate, to, channels):
    path = write(tmp_path / "a.flac", sound(3.37, rate, channels), rate, "FLAC")
    for settings in (
        {"test_window": "start", "max_seconds": 0.5},
        {"test_window": "centre", "max_seconds": 0.7, "normalise": True},
        {"test_window": "random", "max_seconds": 1.1, "min_seconds": 1.0},
        {"test_window": "centre", "max_seconds": 3.36},
    ):
        reader = SpeechReader(sample_rate=to, **settings)
        torch.testing.assert_close(reader(path), whole(reader, path), atol=2e-6, rtol=0)


def test_a_random_window_is_drawn_from_seed_epoch_and_all_samples(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", sound(3, 16_000, 2), 16_000)
    monkeypatch.setattr(decoding, "BLOCK", 999)
    samples, _ = soundfile.read(path, dtype="float32")
    content = zlib.crc32(np.ascontiguousarray(samples.T))
    reader = SpeechReader(max_seconds=1, train_window="random", test_window="random")
    mean = torch.from_numpy(samples.mean(axis=1))
    for draw in ((0, 0), (1, 2)):
        reader.draw = draw
        for training, key in ((True, draw), (False, ())):
            start = seeds.stream(*key, "window", content).randint(0, 32_000)
            torch.testing.assert_close(reader(path, training), mean[start : start + 16_000])


def test_short_speech_is_tiled_before_it_is_cut(tmp_path):
    path = write(tmp_path / "a.wav", sound(1, 16_000), 16_000)
    reader = SpeechReader(min_seconds=2.5, tiling="ceil", max_seconds=0.9, test_window="centre")
    assert torch.equal(reader(path), whole(reader, path))
    assert len(reader(path)) == 14_400


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_window_alone_is_decoded(tmp_path, monkeypatch, name):
    path = write(tmp_path / name, sound(60, 16_000), 16_000, *FORMS[name])
    decoded = []
    read = decoding._read

    def counted(*arguments):
        decoded.append(arguments[-1])
        return read(*arguments)

    monkeypatch.setattr(decoding, "_read", counted)
    reader = SpeechReader(max_seconds=2)
    assert len(reader(path)) == 32_000
    assert sum(decoded) < 33_000 + decoding.LEAD + decoding.PERIOD < 0.2 * 60 * 16_000
    decoded.clear()
    expected = whole(reader, path)
    monkeypatch.setattr(decoding, "BLOCK", 5_000)  # blocks of a file that cannot be sought
    torch.testing.assert_close(reader(path), expected, atol=1e-6, rtol=0)
    assert max(decoded) <= 5_000


def test_parts_of_a_file_are_those_of_the_whole(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", sound(1, 16_000, 2), 16_000)
    samples = decode(path)
    assert samples.shape == (16_000, 2)
    monkeypatch.setattr(decoding, "BLOCK", 1_001)
    monkeypatch.setattr(decoding, "LEAD", 300)
    for start, stop in ((0, None), (0, 1), (299, 301), (777, 15_000), (15_999, 16_000)):
        assert torch.equal(decode(path, start, stop), samples[start:stop])


def test_a_file_that_breaks_off_behind_its_window_is_refused(tmp_path):
    path = write(tmp_path / "a.flac", sound(20, 16_000), 16_000, "FLAC")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 7])
    for window in ("start", "centre", "random"):
        with pytest.raises(InputError, match="a.flac breaks off while decoding"):
            SpeechReader(max_seconds=1, test_window=window)(path)


def test_samples_that_are_no_numbers_in_the_window(tmp_path):
    samples = sound(4, 16_000)
    samples[100] = np.nan
    path = write(tmp_path / "a.wav", samples, 16_000, "WAV", "FLOAT")
    for window in ("start", "random"):  # a random window may hold it in another epoch
        with pytest.raises(InputError, match="a.wav holds NaN or infinite samples"):
            SpeechReader(max_seconds=1, test_window=window)(path)
    assert torch.isfinite(SpeechReader(max_seconds=1)(path)).all()


def test_a_window_may_be_silent_if_the_file_is_not(tmp_path):
    samples = sound(4, 16_000)
    samples[20_000:50_000] = 0
    path = write(tmp_path / "a.wav", samples, 16_000)
    assert SpeechReader(max_seconds=1)(path).abs().max() == 0
    with pytest.raises(InputError, match="a.wav is silent"):
        SpeechReader(max_seconds=1)(write(path, np.zeros((64_000, 1)), 16_000))


def test_windows_of_a_format_that_cannot_be_sought(tmp_path):
    path = write(tmp_path / "a.wav", sound(5, 8_000), 8_000, "WAV", "GSM610")
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    found = list(decoding.windows(path, 2, 0.75))
    assert [start for start, _, _ in found] == [0, 0.75, 1.5, 2.25, 3, 3.75]
    for start, part, rate in found:
        first = round(start * rate)
        np.testing.assert_array_equal(part, samples[first : first + 16_000])


def test_lengths_and_spans_of_resampling():
    for rate, to in ((48_000, 16_000), (44_100, 16_000), (8_000, 16_000), (22_050, 48_000)):
        for samples in (20_000, 20_001, 20_159, 20_160, 99_991):
            made = len(SpeechReader(sample_rate=to).prepare(torch.rand(samples), rate))
            assert resampled_length(samples, rate, to, "a") == made
    # 35 minutes, which torchaudio counts in single precision
    assert resampled_length(92_610_001, 44_100, 16_000, "a") == 33_600_001
    assert span(0, 16_000, 16_000, 16_000)[::2] == (0, 0)
    first, last, before = span(100_000, 116_000, 48_000, 16_000)
    assert first % 3 == 0 and first + 3 * before == 300_000 and last > 348_000 + 24
