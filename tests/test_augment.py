"""Augmentation: what each kind does, measured; and that views depend on item and seed alone."""

import math
import random

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.data.augment import Mixed, Noise, Pitch, Reverberation, Volume
from speechbrain_ser.errors import InputError

SECONDS = torch.tensor([1.0, 0.5, 0.75])
SEEDS = ["1001 a", "1001 b", "1001 c"]
KINDS = [
    Noise(),
    Volume(),
    Reverberation(),
    Pitch(),
    Mixed([Pitch(), Reverberation(), Noise(), Volume()]),
]
NAMES = ["noise", "volume", "reverberation", "pitch", "mixed"]


@pytest.fixture(scope="module")
def speech():
    """Three voiced-like items, [3, 16000]: harmonics with a slow envelope, zero padded."""
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    items = []
    for number, seconds in enumerate(SECONDS):
        pitch = 120 + 60 * number
        tone = sum(torch.sin(2 * torch.pi * h * pitch * time) / h for h in range(1, 8))
        tone = 0.2 * tone * (1.2 + torch.sin(2 * torch.pi * 3 * time))
        items.append(tone * (time < seconds))
    return torch.stack(items)


def energy(values):
    return (values.double() ** 2).sum(dim=-1)


@pytest.mark.parametrize("augmentation", KINDS, ids=NAMES)
def test_a_view_depends_on_item_and_seed_alone(augmentation, speech):
    before = speech.clone()
    views = augmentation(speech, SECONDS, SEEDS)
    assert torch.equal(speech, before)
    assert views.shape == speech.shape and torch.isfinite(views).all()
    assert not torch.equal(views, speech)
    assert torch.equal(augmentation(speech, SECONDS, SEEDS), views)
    others = augmentation(speech, SECONDS, ["1002 a", "1002 b", "1002 c"])  # the next epoch
    assert all(not torch.equal(view, other) for view, other in zip(views, others, strict=True))
    for item in range(3):
        samples = round(float(SECONDS[item]) * SAMPLE_RATE)
        assert (views[item, samples:] == 0).all()
        alone = augmentation(speech[[item], :samples], torch.ones(1), [SEEDS[item]])
        torch.testing.assert_close(alone[0], views[item, :samples], atol=2e-5, rtol=0)
        torch.manual_seed(item)  # nor on the state of anybody's generator
    assert torch.equal(augmentation(speech, SECONDS, SEEDS), views)


@pytest.mark.parametrize("snr_db", [0, 10, 25])
@pytest.mark.parametrize("folder", [False, True])
def test_noise_reaches_its_ratio(snr_db, folder, speech, tmp_path):
    draw = np.random.default_rng(0)
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", draw.uniform(-0.5, 0.5, 5000), SAMPLE_RATE)
    noise = Noise([snr_db, snr_db], str(tmp_path) if folder else None)
    added = noise(speech, SECONDS, SEEDS) - speech
    reached = 10 * torch.log10(energy(speech) / energy(added))
    assert reached.tolist() == pytest.approx([snr_db] * 3, abs=0.01)


def test_noise_recordings_are_looped_and_a_gap_in_one_adds_nothing(speech, tmp_path):
    recording = np.zeros(4000)
    recording[:1000] = np.random.default_rng(0).uniform(-0.5, 0.5, 1000)
    soundfile.write(tmp_path / "hum.flac", recording, SAMPLE_RATE)
    noise = Noise([10, 10], str(tmp_path))
    added = noise(speech, SECONDS, SEEDS)[0] - speech[0]
    assert torch.nn.functional.cosine_similarity(added[:12_000], added[4000:], dim=0) > 0.999
    samples = torch.full((40,), 1000)
    some = speech[:1, :1000].repeat(40, 1)
    views = noise(some, samples / 1000, [str(seed) for seed in range(40)])
    silent = [torch.equal(view, item) for view, item in zip(views, some, strict=True)]
    assert 0 < sum(silent) < 40 and torch.isfinite(views).all()


def test_volume_amplifies_and_clips(speech):
    views = Volume([6, 6])(speech, SECONDS, SEEDS)
    torch.testing.assert_close(views, (speech * 10 ** (6 / 20)).clamp(-1, 1))
    quiet = Volume([-20, -20])(speech, SECONDS, SEEDS)
    torch.testing.assert_close(quiet, speech / 10)
    gains = [
        float(Volume()(torch.full((1, 8), 0.1), torch.ones(1), [str(seed)])[0, 0] / 0.1)
        for seed in range(200)
    ]
    decibels = [20 * math.log10(gain) for gain in gains]
    assert -6 <= min(decibels) < -5 and 5 < max(decibels) <= 6


def test_reverberation_keeps_energy_and_the_direct_sound(speech):
    views = Reverberation()(speech, SECONDS, SEEDS)
    assert energy(views).tolist() == pytest.approx(energy(speech).tolist(), rel=1e-5)
    click = torch.zeros(1, SAMPLE_RATE)
    click[0, 4000] = 0.5
    for seed in range(10):
        answer = Reverberation()(click, torch.ones(1), [str(seed)])[0]
        assert (answer[:4000].abs() < 1e-6).all() and answer.abs().argmax() == 4000
        assert answer[4001:].abs().sum() > 1


@pytest.mark.parametrize("rt60", [0.3, 0.8])
def test_the_echo_falls_by_60_db_in_its_time(rt60):
    drops = []
    for seed in range(20):
        echo = Reverberation([rt60, rt60]).echo(random.Random(seed))
        left = echo.double().pow(2).flip(0).cumsum(0).flip(0)  # Schroeder's backward integral
        level = 10 * torch.log10(left / left[0])
        first, last = (int((level < db).nonzero()[0]) for db in (-5, -25))
        drops.append(3 * (last - first) / SAMPLE_RATE)
    assert sum(drops) / len(drops) == pytest.approx(rt60, rel=0.05)


def test_recorded_responses_are_aligned_at_their_direct_sound(speech, tmp_path):
    response = np.zeros(3000)
    response[700], response[1500] = 0.9, 0.45  # late direct sound and one echo, 800 samples on
    soundfile.write(tmp_path / "hall.wav", response, SAMPLE_RATE)
    click = torch.zeros(1, 4000)
    click[0, 100] = 0.5
    answer = Reverberation(wet=[0.5, 0.5], folder=str(tmp_path))(click, torch.ones(1), ["x"])[0]
    assert answer.abs().topk(2).indices.sort().values.tolist() == [100, 900]


@pytest.mark.parametrize("semitones", [-2, -0.7, 0.5, 1, 2])
def test_pitch_is_shifted_and_duration_is_not(semitones):
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = 0.5 * torch.sin(2 * torch.pi * 440 * time).unsqueeze(0)
    view = Pitch([semitones, semitones])(tone, torch.ones(1), ["x"])[0]
    middle = view[2000:14_000] * torch.hann_window(12_000)
    peak = torch.fft.rfft(middle, n=2**20).abs().argmax() * SAMPLE_RATE / 2**20
    assert 12 * math.log2(float(peak) / 440) == pytest.approx(semitones, abs=0.05)
    assert float(energy(view)) == pytest.approx(float(energy(tone)), rel=1e-5)
    onset = torch.zeros(1, SAMPLE_RATE)
    onset[0, 8000:] = tone[0, 8000:]
    late = Pitch([semitones, semitones])(onset, torch.ones(1), ["x"])[0]
    assert 7600 < int((late.abs() > 0.1).nonzero()[0]) < 8400


def test_speech_shorter_than_a_vocoder_frame_stays():
    short = torch.randn(1, 400) / 10
    assert torch.equal(Pitch([2, 2])(short, torch.ones(1), ["x"]), short)


def test_mixed_applies_each_with_its_chance_and_at_least_one():
    parts = [Volume([db, db]) for db in (-6, -3, 3, 6)]
    draws = [Mixed(parts).choose(random.Random(seed)) for seed in range(4000)]
    assert all(any(chosen) for chosen in draws)
    shares = np.mean(draws, axis=0)
    assert shares == pytest.approx([8 / 15] * 4, abs=0.03)  # of the 15 choices that are not none
    assert np.mean(np.sum(draws, axis=1) == 1) == pytest.approx(4 / 15, abs=0.03)
    only = [Mixed(parts, one_of=True).choose(random.Random(seed)) for seed in range(1000)]
    assert {sum(chosen) for chosen in only} == {1}
    assert np.mean(only, axis=0) == pytest.approx([0.25] * 4, abs=0.05)


def test_mixed_applies_in_order():
    item = torch.full((1, 8), 0.5)
    louder, softer = Volume([12, 12]), Volume([-12, -12])
    clipped = Mixed([louder, softer], chance=1)(item, torch.ones(1), ["x"])
    torch.testing.assert_close(clipped, torch.full((1, 8), 10 ** (-12 / 20)))
    torch.testing.assert_close(
        Mixed([softer, louder], chance=1)(item, torch.ones(1), ["x"]), item, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda _: Noise([30, 10]), r"snr_db is \[30, 10\]: give \[lowest, highest\]"),
        (lambda _: Volume(3), "gain_db is 3"),
        (lambda _: Pitch(["low", "high"]), "semitones is"),
        (lambda _: Reverberation(wet=[0.3, 1.7]), "wet is"),
        (lambda _: Reverberation(rt60_seconds=[-1, 1]), "rt60_seconds is"),
        (lambda _: Mixed([]), "Mixed has 0 parts"),
        (lambda _: Mixed([Volume()], chance=0), "chance 0"),
        (lambda folder: Noise(folder=str(folder)), "holds no recordings to augment with"),
        (lambda folder: Reverberation(folder=str(folder / "none")), "holds no recordings"),
    ],
)
def test_mistakes_in_the_settings_are_named(build, message, tmp_path):
    with pytest.raises(InputError, match=message):
        build(tmp_path)
