"""Long recordings: read, mixed and resampled block by block, and the same as in one piece."""

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from test_audio_windows import sound, write
from torch.utils import _pytree as trees
from torch.utils._python_dispatch import TorchDispatchMode

from speechbrain_ser.data import audio, decoding, waveforms
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.waveforms import Mix, resampled, speech_of
from speechbrain_ser.errors import InputError

RATES = [(48_000, 16_000), (44_100, 16_000), (11_025, 16_000), (8_000, 16_000), (16_000, 16_000)]
RATES += [(22_050, 48_000), (16_100, 16_000)]


@pytest.fixture
def small(monkeypatch):
    """Sets how many samples a block has, of decoding, of the mean and of resampling."""

    def sizes(decoded: int, mixed: int, filtered: int) -> None:
        monkeypatch.setattr(decoding, "BLOCK", decoded)
        monkeypatch.setattr(audio, "BLOCK", mixed)
        monkeypatch.setattr(waveforms, "BLOCK", filtered)

    return sizes


def in_one_piece(samples: np.ndarray, rate: int, to: int) -> torch.Tensor:
    """samples [time, channel] -> what torchaudio makes of their mean, [time]."""
    mean = torch.from_numpy(samples).mean(dim=1)
    return torchaudio.functional.resample(mean, rate, to)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize(("rate", "to"), RATES)
def test_blocks_are_the_whole(tmp_path, small, rate, to, channels):
    for count, sizes in (
        (rate // 4, (999, 1_234, 2_000)),
        (rate // 8 + 1, (1, 10_000, 50)),
        (rate // 3 - 1, (10 * rate, 10 * rate, 700)),
        (rate // 3 + 7, (2_000, 100, 10 * rate)),
    ):
        samples = sound(0.4, rate, channels)[:count]
        path = write(tmp_path / "a.wav", samples, rate, "WAV", "FLOAT")
        if sizes[0] == 1:
            sizes = (30 * channels, *sizes[1:])
        small(*sizes)
        expected = in_one_piece(samples, rate, to)
        reader = SpeechReader(sample_rate=to)
        torch.testing.assert_close(reader(path), expected, atol=1e-6, rtol=0)
        given = reader.prepare(torch.from_numpy(samples).T, rate)
        assert torch.equal(given, reader(path)), "of a file and of samples"


@pytest.mark.parametrize(("rate", "to"), RATES)
def test_the_borders_of_parts_leave_no_trace(rate, to):
    speech = torch.from_numpy(sound(0.5, rate)[:, 0])
    expected = resampled([speech], len(speech), rate, to)
    for cuts in ([1], [1, 2, 3], [len(speech) - 1], [100, 101, len(speech) // 2]):
        parts = speech.tensor_split(cuts)
        assert torch.equal(resampled(parts, len(speech), rate, to), expected)


@pytest.mark.parametrize(("rate", "to"), RATES)
def test_a_short_recording_is_resampled_to_the_bit_as_in_one_piece(rate, to):
    samples = sound(0.5, rate)
    speech = SpeechReader(sample_rate=to).prepare(torch.from_numpy(samples.T), rate)
    assert torch.equal(speech, in_one_piece(samples, rate, to))


class Largest(TorchDispatchMode):
    """Notes the most numbers in a tensor that any operation reads or makes."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, given=(), named=None):
        made = function(*given, **(named or {}))
        for tensor in trees.tree_leaves((given, named, made)):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return made


@pytest.mark.parametrize(
    "settings", [{}, {"max_seconds": 18}, {"max_seconds": 1, "test_window": "random"}]
)
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_nothing_but_the_speech_is_whole_in_memory(tmp_path, small, rate, settings):
    path = write(tmp_path / "a.wav", sound(20, rate, 3), rate)
    small(12_000, 12_000, 12_000)
    with Largest() as largest:
        speech = SpeechReader(**settings)(path)
    # beyond a window for a filter; the filter itself
    assert largest.numbers < max(len(speech) + 1_000, 80_000)
    with Largest() as largest:
        for _ in decoding.windows(path, 1, 0.5):
            pass
    assert largest.numbers == 3 * rate


@pytest.mark.parametrize("first", ["silence", "one", "both"])
def test_channels_that_cancel_are_judged_by_the_whole_recording(tmp_path, small, first):
    voice = sound(2, 16_000)[:, 0]
    nothing = 0 * voice
    begun = {"silence": (nothing, nothing), "one": (voice, nothing), "both": (voice, voice)}[first]
    left, right = np.concatenate([begun[0], voice]), np.concatenate([begun[1], -voice])
    samples = np.stack([left, right], axis=1)
    path = write(tmp_path / f"{first}.wav", samples, 16_000, "WAV", "FLOAT")
    expected = left if first == "silence" else samples.mean(axis=1)
    for size in (700, 10**6):
        small(size, size, size)
        assert torch.equal(SpeechReader()(path), torch.from_numpy(expected))


def test_parts_tell_what_the_whole_tells():
    chance = torch.Generator().manual_seed(0)
    samples = torch.rand(4, 5_000, generator=chance) * torch.tensor([[1], [0.1], [2], [0]]) + 0.7
    parts, whole = Mix(), Mix()
    whole.add(samples)
    for part in samples.split([1, 2_000, 2_999], dim=1):
        parts.add(part)
    rows = torch.cat([samples, samples.mean(dim=0, keepdim=True)]).double()
    for mix in (parts, whole):
        torch.testing.assert_close(mix.squares / mix.count, rows.var(dim=1, correction=0))
        torch.testing.assert_close(mix.mean, rows.mean(dim=1))
        assert torch.equal(mix.high, rows.amax(dim=1).float())
        assert torch.equal(mix.low, rows.amin(dim=1).float())


def test_silence_is_of_all_blocks_and_a_number_missing_of_any(tmp_path, small):
    samples = np.zeros((20_000, 2), "float32")
    small(1_000, 1_000, 1_000)
    path = write(tmp_path / "a.wav", samples, 16_000, "WAV", "FLOAT")
    with pytest.raises(InputError, match="a.wav is silent"):
        SpeechReader()(path)
    assert SpeechReader().hear(path) is None
    samples[19_000] = 0.1
    write(path, samples, 16_000, "WAV", "FLOAT")
    assert SpeechReader()(path).max() > 0.09
    samples[19_001, 1] = np.nan
    write(path, samples, 16_000, "WAV", "FLOAT")
    with pytest.raises(InputError, match="a.wav holds NaN or infinite samples"):
        SpeechReader()(path)


def test_a_file_that_breaks_off_in_a_later_block_is_refused(tmp_path, small):
    path = tmp_path / "a.flac"
    soundfile.write(path, sound(4, 48_000), 48_000)
    path.write_bytes(path.read_bytes()[:-5_000])
    small(5_000, 5_000, 5_000)
    with pytest.raises(InputError, match="a.flac .*breaks off while decoding"):
        SpeechReader()(path)


def test_speech_knows_whether_it_is_silent():
    quiet = torch.full((1, 1_000), 0.3)
    for parts, silent in (([quiet, quiet], True), ([quiet, quiet + 1e-3], False)):
        speech, found = speech_of(lambda parts=parts: parts, 2_000, 16_000, 16_000, "a")
        assert found == silent and len(speech) == 2_000
