"""Conditions of noise, room and codec: what each does, measured, and how a reader applies one."""

import hashlib
import io
import json
import math

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_ser.data import codecs, mpeg, store
from speechbrain_ser.data.audio import SAMPLE_RATE, SpeechReader
from speechbrain_ser.data.conditions import (
    Clean,
    Degraded,
    Mp3,
    Noise,
    Reverb,
    Telephone,
    parse,
)
from speechbrain_ser.errors import InputError
from speechbrain_ser.sharing.inference import EmotionRecognizer

NAMES = ["clean", "snr10", "snr-5", "snr2.5", "white5", "telephone", "mp3-32", "reverb0.5"]


def utterance(seconds: float = 2.0, seed: int = 0, rate: int = SAMPLE_RATE) -> torch.Tensor:
    """Words of harmonics and a little hiss between pauses that are as good as silent, [time]."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 30 * draw.random() + 15 * np.sin(2 * np.pi * 1.5 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(h * phase) / h for h in range(1, 40)) + draw.standard_normal(len(time)) / 9
    words = np.clip(3 * np.sin(2 * np.pi * 1.3 * time + draw.random()), 0, 1)
    return torch.from_numpy(0.1 * voice * words + 1e-5 * draw.standard_normal(len(time))).float()


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    return utterance()


@pytest.fixture
def talkers(tmp_path):
    paths = [tmp_path / f"talker{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        loudness = 10**-number  # which is evened out
        soundfile.write(path, loudness * utterance(1.0, 10 + number).numpy(), SAMPLE_RATE)
    return paths


def level(values) -> float:
    """Root of the mean square in dB."""
    return 10 * math.log10(np.mean(np.square(np.asarray(values, dtype=float))))


def lag(heard, original) -> int:
    """Samples by which one comes after the other: where they correlate most."""
    size = 2 * len(original)
    spectra = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(original, size))
    at = int(np.fft.irfft(spectra, size).argmax())
    return at - size if at > size // 2 else at


def in_band(values, low, high) -> float:
    """The share of the energy between two frequencies in Hz."""
    energy = np.abs(np.fft.rfft(np.asarray(values, dtype=float))) ** 2
    hertz = np.fft.rfftfreq(len(values), 1 / SAMPLE_RATE)
    return energy[(hertz >= low) & (hertz < high)].sum() / energy.sum()


@pytest.mark.parametrize("name", NAMES)
def test_a_condition_depends_on_the_speech_alone(name):
    condition = parse(name)
    for samples in (400, 4001, 32_000):  # 25 ms, the least that is classified
        speech = utterance(samples / SAMPLE_RATE)
        before = speech.clone()
        torch.manual_seed(samples)
        heard = condition(speech)
        assert torch.equal(speech, before)
        assert heard.shape == speech.shape and heard.dtype == torch.float32
        assert torch.isfinite(heard).all()
        assert torch.equal(heard, speech) == (name == "clean")
        torch.manual_seed(1)
        assert torch.equal(parse(name)(speech), heard)


@pytest.mark.parametrize("name", NAMES)
def test_names_come_back(name):
    condition = parse(name)
    assert condition.name == name
    assert parse(condition.name) == condition


def test_names_are_what_they_say(talkers):
    assert parse("snr10") == Noise(10) and parse("snr10") != Noise(20)
    assert parse("white5") == Noise(5, "white") != Noise(5)
    assert parse("babble-5", talkers) == Noise(-5, "babble", talkers)
    assert Noise(-5, "babble", talkers).name == "babble-5"
    assert parse("telephone") == Telephone() and parse("clean") == Clean()
    assert parse("mp3-32") == Mp3(32) and parse("reverb0.5") == Reverb(0.5)


@pytest.mark.parametrize("name", ["", "snr", "snr1e3", "noise10", "mp3", "Telephone", "mp332"])
def test_an_unknown_name_lists_the_known(name):
    with pytest.raises(
        InputError, match=f"'{name}' is no condition: use such as snr10, white5, telephone, mp3-32"
    ):
        parse(name)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: parse("snr1000"), "snr_db is 1000: give -60 to 60 dB"),
        (lambda: Noise(10, "brown"), "noise is 'brown': use pink, white, babble"),
        (lambda: parse("babble10"), "babble is made of recordings, and none are given"),
        (lambda: Noise(10, "babble", ["none.wav"]), "none.wav cannot be read"),
        (lambda: Noise(10, "pink", ["some.wav"]), "pink noise is made of no recordings"),
        (lambda: parse("mp3-33"), "mp3 at 16 kHz has no 33 kbit/s: use 16, 24, 32"),
        (lambda: parse("mp3-8"), "has no 8 kbit/s"),
        (lambda: parse("reverb0"), "rt60 is 0: give 0.05 to 10 seconds"),
        (lambda: parse("reverb-1"), "rt60 is -1"),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.parametrize("snr_db", [-5, 0, 10, 20])
@pytest.mark.parametrize("kind", ["pink", "white", "babble"])
def test_noise_is_as_loud_as_it_says_beside_what_is_spoken(kind, snr_db, speech, talkers):
    offset = 0.02  # which is no speech
    noise = Noise(snr_db, kind, talkers if kind == "babble" else ())
    added = (noise(speech + offset) - speech - offset).numpy().astype(float)
    frames = np.array_split(speech.numpy().astype(float), len(speech) // 320)  # 20 ms each
    loudest = max(level(frame) for frame in frames)
    spoken = np.concatenate([frame for frame in frames if level(frame) > loudest - 30])
    assert 0.3 < len(spoken) / len(speech) < 0.8  # pauses do not count
    assert level(spoken) - level(added) == pytest.approx(snr_db, abs=0.02)
    assert level(added[:8000]) == pytest.approx(level(added), abs=4)  # it is there in pauses, too


def test_an_utterance_has_the_same_noise_at_any_ratio_and_another_by_seed(speech):
    soft, loud = (Noise(db)(speech) - speech for db in (10, 0))
    torch.testing.assert_close(loud, soft * 10**0.5, rtol=1e-3, atol=1e-5)
    for other in (Noise(0, seed=1)(speech) - speech, Noise(0)(2 * speech) - 2 * speech):
        assert abs(torch.nn.functional.cosine_similarity(loud, other, dim=0)) < 0.1


@pytest.mark.parametrize(("kind", "slope"), [("pink", -10), ("white", 0)])
def test_the_colour_of_noise(kind, slope):
    speech = utterance(10)
    added = (Noise(0, kind)(speech) - speech).numpy().astype(float)
    energy = np.abs(np.fft.rfft(added)) ** 2
    hertz = np.fft.rfftfreq(len(added), 1 / SAMPLE_RATE)
    edges = np.geomspace(25, 7500, 12)
    bands = [
        energy[(hertz >= a) & (hertz < b)].mean()
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    middles = np.log10(np.sqrt(edges[1:] * edges[:-1]))
    assert np.polyfit(middles, 10 * np.log10(bands), 1)[0] == pytest.approx(slope, abs=0.7)
    below = energy[hertz < 19].sum() / energy.sum()
    assert (below < 1e-6) == (kind == "pink")


def test_babble_is_the_sum_of_its_recordings(talkers):
    """Each as loud as the others, without pauses, from a place of its own."""
    speech = utterance(3)
    added = (Noise(0, "babble", talkers)(speech) - speech).numpy().astype(float)
    assert min(level(part) for part in np.array_split(added, 30)) > level(added) - 8
    peaks = []
    for path in talkers:
        own = soundfile.read(path)[0]
        own = own[len(own) // 4 :][: len(own) // 8]  # some of a word
        size = 2 * len(added)
        product = np.fft.rfft(added, size) * np.conj(np.fft.rfft(own, size))
        peaks.append(np.abs(np.fft.irfft(product, size)).max() / np.linalg.norm(own))
    assert max(peaks) < 2 * min(peaks)
    one = (Noise(0, "babble", talkers[:1])(speech) - speech).numpy()
    assert not np.allclose(one, added, atol=1e-3)


def test_of_many_recordings_six_talk_at_once(talkers, speech, monkeypatch):
    from speechbrain_ser.data import conditions

    heard = []
    talker = conditions.talker
    monkeypatch.setattr(conditions, "talker", lambda path: heard.append(path) or talker(path))
    Noise(0, "babble", talkers * 4)(speech)
    assert len(heard) == 6


def test_a_telephone_s_band():
    speech = utterance(4) + 0.05 * torch.randn(64_000, generator=torch.Generator().manual_seed(0))
    heard = Telephone()(speech)
    assert in_band(speech, 4000, 8001) > 0.1 and in_band(heard, 4000, 8001) < 1e-5
    assert in_band(speech, 0, 250) > 0.1 and in_band(heard, 0, 250) < 1e-3
    time = torch.arange(32_000) / SAMPLE_RATE
    for hertz, gain in ((400, 0), (1000, 0), (3000, 0), (100, -30), (3800, -30), (6000, -30)):
        tone = 0.1 * torch.sin(2 * torch.pi * hertz * time) * torch.hann_window(32_000)
        # a tone that alone would be brought to the coder's level, beside one that is heard
        beside = 0.1 * torch.sin(2 * torch.pi * 2000 * time)
        kept = in_band(Telephone()(tone + beside), hertz - 50, hertz + 50)
        change = 10 * math.log10(kept / in_band(tone + beside, hertz - 50, hertz + 50))
        assert change == pytest.approx(gain, abs=0.3) if gain == 0 else change < gain


def test_a_telephone_keeps_the_level_and_the_place(speech):
    time = torch.arange(32_000) / SAMPLE_RATE
    for amplitude in (1.0, 0.1, 0.001):
        tone = amplitude * torch.sin(2 * torch.pi * 1000 * time)
        assert level(Telephone()(tone)) == pytest.approx(level(tone), abs=0.1)
        assert lag(Telephone()(amplitude * speech), amplitude * speech) == 0


def test_what_a_telephone_sends(speech, monkeypatch):
    sent = []
    encoded = codecs.encoded
    monkeypatch.setattr(
        codecs, "encoded", lambda *a, **k: sent.append(encoded(*a, **k)) or sent[-1]
    )
    Telephone()(speech)
    file = soundfile.SoundFile(io.BytesIO(sent[0]))
    assert (file.subtype, file.samplerate, file.frames) == ("ULAW", 8000, len(speech) // 2)
    samples = file.read()
    frames = samples.reshape(-1, 160)  # 20 ms each
    powers = np.mean(frames**2, axis=1)
    assert level(frames[powers > powers.max() / 1000]) == pytest.approx(-26, abs=0.5)


def test_mu_law_has_256_levels(speech):
    """G.711 by its formula: a sign, three bits of exponent, four of mantissa."""
    form = {"format": "AU", "subtype": "ULAW"}
    heard = codecs.decoded(speech, 8000, **form)
    assert 50 < len(heard.unique()) <= 256
    values = torch.linspace(-1.2, 1.2, 100_001)
    read = soundfile.read(io.BytesIO(codecs.encoded(values, 8000, **form)))[0]
    levels = [
        sign * (((2 * step + 33) << exponent) - 33) / 8192  # of 14 bits
        for sign in (-1, 1)
        for exponent in range(8)
        for step in range(16)
    ]
    assert set(read) <= set(levels) and len(set(read)) == 255  # +0 is -0


@pytest.mark.parametrize("kbps", codecs.MP3_RATES)
def test_mp3_has_its_bit_rate_and_keeps_the_place(kbps):
    speech = utterance(2.0, seed=1)
    short, long = (
        codecs.encoded(part, SAMPLE_RATE, **codecs.mp3_form(kbps))
        for part in (speech, utterance(4.0))
    )
    assert mpeg.frame(short[:4])[1] == 72 * kbps * 1000 // SAMPLE_RATE  # bytes of 576 samples
    assert (len(long) - len(short)) * 8 / 2.0 / 1000 == pytest.approx(kbps, rel=0.02)
    heard = Mp3(kbps)(speech)
    assert heard.shape == speech.shape and lag(heard, speech) == 0
    assert level(heard) == pytest.approx(level(speech), abs=1)
    lost = level(heard - speech) - level(speech)
    assert lost < (-5 if kbps < 32 else -10)


def test_less_of_mp3_is_more_lost(speech):
    lost = [level(Mp3(kbps)(speech) - speech) for kbps in (16, 32, 64, 128)]
    assert lost == sorted(lost, reverse=True)


@pytest.mark.parametrize("condition", [Telephone(), Mp3(32)], ids=["telephone", "mp3"])
def test_a_recording_s_level_changes_nothing_for_a_codec(condition, speech):
    soft = condition(speech / 1024)
    torch.testing.assert_close(1024 * soft, condition(speech), rtol=1e-4, atol=1e-5)
    click = torch.zeros(8000)
    click[4000] = 0.9
    heard = condition(click)
    assert 3950 < int(heard.abs().argmax()) < 4050 and heard.abs().max() < 1


def test_a_libsndfile_without_mp3_is_refused(monkeypatch):
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "WAV (Microsoft)"})
    with pytest.raises(InputError, match="writes no mp3 of a chosen bit rate: install soundfile"):
        parse("mp3-32")


def test_a_soundfile_that_sets_no_bit_rate_is_refused(monkeypatch):
    monkeypatch.setattr(soundfile, "SoundFile", lambda file, mode="r": None)
    with pytest.raises(InputError, match="writes no mp3 of a chosen bit rate"):
        Mp3(64)


@pytest.mark.parametrize("rt60", [0.3, 0.8])
def test_a_room_s_echo_falls_by_60_db_in_its_time(rt60):
    click = torch.zeros(24_000)
    click[2000] = 0.5
    heard = Reverb(rt60)(click).double()
    assert heard.abs().argmax() == 2000 and heard[:2000].abs().max() < 1e-5
    assert level(heard) == pytest.approx(level(click), abs=0.01)
    echo = heard[2001:].square()
    assert float(echo.sum()) == pytest.approx(float(heard[2000] ** 2), rel=0.01)
    left = 10 * torch.log10(echo.flip(0).cumsum(0).flip(0) / echo.sum())  # Schroeder's integral
    first, last = (int((left < db).nonzero()[0]) for db in (-5, -25))
    assert 3 * (last - first) / SAMPLE_RATE == pytest.approx(rt60, rel=0.15)


READERS = {
    "as it is": SpeechReader(),
    "normalised": SpeechReader(normalise=True),
    "cut": SpeechReader(max_seconds=1.0, test_window="centre"),
    "repeated": SpeechReader(min_seconds=5.0, tiling="floor"),
    "repeated and cut": SpeechReader(min_seconds=3, tiling="ceil", max_seconds=3, normalise=True),
    "drawn": SpeechReader(max_seconds=1.0, test_window="random"),
}


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, utterance(2.0, rate=22_050).numpy(), 22_050, subtype="FLOAT")
    return path


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_clean_is_what_the_reader_reads(reader, wav):
    assert torch.equal(Degraded(reader, Clean())(wav), reader(wav))
    samples, rate = soundfile.read(wav, dtype="float32")
    samples = torch.from_numpy(np.stack([samples, samples]))  # [channel, time]
    degraded = Degraded(reader, Clean())
    assert torch.equal(degraded.prepare(samples, rate), reader.prepare(samples, rate))
    assert torch.equal(degraded.hear(wav), reader.hear(wav))
    assert torch.equal(degraded.hear(samples, rate), reader.hear(samples, rate))


def test_the_window_is_cut_before_and_the_rest_comes_after(wav):
    noise = Noise(5)
    whole = SpeechReader()(wav)
    torch.testing.assert_close(Degraded(READERS["as it is"], noise)(wav), noise(whole))
    window = noise(SpeechReader(max_seconds=1.0)(wav))
    torch.testing.assert_close(Degraded(READERS["cut"], noise)(wav), window)
    torch.testing.assert_close(Degraded(READERS["repeated"], noise)(wav), noise(whole).repeat(2))
    twice = noise(whole).repeat(2)[8000 : 8000 + 48_000]
    expected = (twice - twice.mean()) / twice.std(correction=0)
    heard = Degraded(READERS["repeated and cut"], noise)(wav)
    torch.testing.assert_close(heard, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(Degraded(READERS["repeated and cut"], noise).hear(wav), heard)
    drawn = Degraded(READERS["drawn"], noise)
    assert torch.equal(drawn(wav), drawn(wav))


def test_a_reader_of_another_rate_is_refused():
    with pytest.raises(InputError, match="this model reads 48000 Hz"):
        Degraded(SpeechReader(sample_rate=48_000), Clean())


def test_nothing_left_under_a_condition_is_said_of_the_condition(tmp_path):
    hum = torch.sin(2 * torch.pi * 30 * torch.arange(16_000) / SAMPLE_RATE) / 100
    hum *= torch.hann_window(16_000)
    soundfile.write(tmp_path / "hum.wav", hum.numpy(), SAMPLE_RATE)
    with pytest.raises(InputError, match="hum.wav under telephone is silent"):
        Degraded(SpeechReader(), Telephone())(tmp_path / "hum.wav")
    assert Degraded(SpeechReader(), Telephone()).hear(tmp_path / "hum.wav") is None
    assert Degraded(SpeechReader(), Clean()).hear(tmp_path / "hum.wav") is not None


def test_a_silent_window_is_silent_under_noise_too(tmp_path):
    late = torch.cat([torch.zeros(16_000), utterance(1.0)])
    soundfile.write(tmp_path / "late.wav", late.numpy(), SAMPLE_RATE)
    reader = Degraded(SpeechReader(max_seconds=0.9, test_window="start"), Noise(10))
    assert reader.hear(tmp_path / "late.wav") is None


class Loudness(torch.nn.Module):
    """A network whose logits are the mean square of speech, and what is left to 1."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Module()
        self.head.probs = torch.nn.Identity()

    def forward(self, speech, lens):
        loud = speech.square().sum(dim=1) / (lens * speech.shape[1])
        return torch.stack([loud, 1 - loud], dim=1)


def test_a_recognizer_answers_under_a_condition(wav):
    reader, noise = SpeechReader(max_seconds=1.5), Noise(-5)
    parts = {"labels": ["loud", "soft"], "reader": reader}
    recognizer = EmotionRecognizer(modules={"model": Loudness()}, hparams=parts)
    clean = recognizer.classify_file(wav).probs["loud"]
    recognizer.hparams.reader = Degraded(reader, noise)
    degraded = recognizer.classify_file(wav).probs["loud"]
    expected = float(noise(reader(wav)).square().mean())
    assert degraded == pytest.approx(expected, rel=1e-4) and degraded > 2 * clean
    samples, rate = soundfile.read(wav, dtype="float32")
    assert recognizer.classify(samples, rate).probs["loud"] == pytest.approx(degraded, rel=1e-4)
    parts = recognizer.classify_long(wav, window=1.0, hop=1.0, smooth=1)
    assert parts[0].start == 0 and parts[-1].end == pytest.approx(2)
    batch = recognizer.classify_files([wav, wav], batch_size=2)
    assert [one.probs["loud"] for one in batch] == pytest.approx([degraded] * 2, rel=1e-4)


class Frontend(torch.nn.Linear):
    def describe(self):
        return {}


def test_features_under_a_condition_are_others(talkers):
    frontend = Frontend(2, 2)

    def key(reader):
        text = json.dumps(store.describe(frontend, reader), sort_keys=True, default=str)
        assert " at 0x" not in text  # it would be another in every process
        return hashlib.sha256(text.encode()).hexdigest()

    def readers():
        yield from (READERS["as it is"], READERS["cut"])
        names = ["clean", "snr10", "snr0", "white10", "telephone", "mp3-32", "mp3-64", "reverb0.5"]
        conditions = [parse(name) for name in names] + [Noise(10, seed=1)]
        conditions += [Noise(10, "babble", talkers), Noise(10, "babble", talkers[:2])]
        yield from (Degraded(SpeechReader(), condition) for condition in conditions)
        yield Degraded(READERS["cut"], Noise(10))

    keys = [key(reader) for reader in readers()]
    assert len(set(keys)) == len(keys)
    assert [key(reader) for reader in readers()] == keys
    soundfile.write(talkers[0], utterance(1.0, 99).numpy(), SAMPLE_RATE)  # other content

    changed = [a != b for a, b in zip(keys, map(key, readers()), strict=True)]
    assert sum(changed) == 2  # those of babble
