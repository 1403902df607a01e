"""Views of speech for training: noise, volume, reverberation and pitch (Wang 2023, section 3.3.2).

Every augmentation is called as `augmentation(speech, lens, seeds)` with speech [batch, time], lens
[batch] and a text per item, and gives speech of the same shape. What an item becomes depends on its
own samples and seed alone, not on its batch-mates, the device or what was computed before: a
resumed run sees the views that it would have seen. The paper names the four kinds and none of
their parameters.
"""

import functools
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import torch
import torchaudio
from torch.nn.utils.rnn import pad_sequence

from speechbrain_ser.data import folders
from speechbrain_ser.data.audio import SAMPLE_RATE, SpeechReader, standardise
from speechbrain_ser.data.lengths import num_samples
from speechbrain_ser.errors import InputError

DECAY = 6.9078  # the exponent of 60 dB: ln(10 ** 3)
Range = Sequence[float]  # lowest and highest value of a uniform draw


class Augmentation:
    """What all have in common; a subclass says in `apply` what it does to speech."""

    def __call__(
        self, speech: torch.Tensor, lens: torch.Tensor, seeds: Sequence[str]
    ) -> torch.Tensor:
        """speech [batch, time], lens [batch], a seed per item -> speech [batch, time]."""
        samples = num_samples(speech, lens)  # [batch]
        draws = [random.Random(seed) for seed in seeds]
        return self.apply(speech * within(speech, samples), samples, draws)

    def apply(
        self, speech: torch.Tensor, samples: torch.Tensor, draws: Sequence[random.Random]
    ) -> torch.Tensor:
        """speech [batch, time], zero behind its samples [batch] -> the same shape, zero there."""
        raise NotImplementedError


class Noise(Augmentation):
    """Adds noise at a signal-to-noise ratio drawn per item.

    snr_db : lowest and highest, in dB
    folder : of noise recordings, each looped or cut at random to the item's length; white
        Gaussian noise if None
    """

    def __init__(self, snr_db: Range = (10, 30), folder: str | None = None):
        self.snr_db = checked("snr_db", snr_db)
        self.recordings = recordings(folder)

    def apply(self, speech, samples, draws):
        ratios = torch.tensor([draw.uniform(*self.snr_db) for draw in draws])
        noise = pad_sequence(
            [self.noise(n, draw) for n, draw in zip(samples.tolist(), draws, strict=True)],
            batch_first=True,
        )  # [batch, longest]
        noise = fitted(noise, speech.shape[1]).to(speech)
        noisy = torchaudio.functional.add_noise(speech, noise, ratios.to(speech))
        return torch.where(noise.any(dim=1, keepdim=True), noisy, speech)  # a gap in a recording

    def noise(self, samples: int, draw: random.Random) -> torch.Tensor:
        if not self.recordings:
            return gaussian(samples, draw)
        return excerpt(read(draw.choice(self.recordings)), samples, draw)


class Volume(Augmentation):
    """Amplifies, and clips at full scale.

    To an encoder that normalises its input (GroupNorm in the first layer, or the reader's
    `normalise`) the view equals the original, up to clipping.

    gain_db : lowest and highest, in dB
    """

    def __init__(self, gain_db: Range = (-6, 6)):
        self.gain_db = checked("gain_db", gain_db)

    def apply(self, speech, samples, draws):
        gains = torch.tensor([10 ** (draw.uniform(*self.gain_db) / 20) for draw in draws])
        return (speech * gains.to(speech).unsqueeze(1)).clamp(-1, 1)


class Reverberation(Augmentation):
    """Adds the echo of a room, at the same energy and with the direct sound in its place.

    rt60_seconds : lowest and highest time in which a synthetic room's echo (white noise that
        decays exponentially) falls by 60 dB
    wet : lowest and highest share of the echo, of 1
    folder : of recorded impulse responses, taken instead of synthetic ones
    """

    def __init__(
        self, rt60_seconds: Range = (0.2, 0.8), wet: Range = (0.3, 0.7), folder: str | None = None
    ):
        self.rt60_seconds = checked("rt60_seconds", rt60_seconds, above=0)
        self.wet = checked("wet", wet, above=0, below=1)
        self.recordings = recordings(folder)

    def apply(self, speech, samples, draws):
        echoes = pad_sequence([self.echo(draw) for draw in draws], batch_first=True).to(speech)
        wet = torch.tensor([draw.uniform(*self.wet) for draw in draws]).to(speech).unsqueeze(1)
        echoing = torchaudio.functional.fftconvolve(speech, echoes)[:, : speech.shape[1]]
        mixed = ((1 - wet) * speech + wet * echoing) * within(speech, samples)
        return scaled(mixed, speech)

    def echo(self, draw: random.Random) -> torch.Tensor:
        """What follows the direct sound, [time], of energy 1."""
        if self.recordings:
            response = read(draw.choice(self.recordings))
            response = response[response.abs().argmax() :].clone()  # from the direct sound on
        else:
            length = round(draw.uniform(*self.rt60_seconds) * SAMPLE_RATE)
            time = torch.arange(length) / length  # in units of RT60
            response = gaussian(length, draw) * torch.exp(-DECAY * time)
        response[0] = 0
        return response / response.norm().clamp(min=torch.finfo(response.dtype).tiny)


class Pitch(Augmentation):
    """Shifts the pitch and keeps duration and energy: a phase vocoder, then resampling.

    The formants move along, as with torchaudio's pitch_shift, which takes whole semitones. The
    vocoder's phases lose about half the energy of speech, which is given back.

    semitones : lowest and highest shift
    n_fft : samples of a vocoder frame, of which a quarter is the hop
    """

    def __init__(self, semitones: Range = (-2, 2), n_fft: int = 512):
        self.semitones = checked("semitones", semitones)
        self.n_fft = n_fft
        self.hop = n_fft // 4

    def apply(self, speech, samples, draws):
        shifted = torch.zeros_like(speech)
        for item, (n, draw) in enumerate(zip(samples.tolist(), draws, strict=True)):
            # a ratio of small numbers, within 5 cents: resampling is by a bank of few filters
            ratio = Fraction(2 ** (draw.uniform(*self.semitones) / 12)).limit_denominator(200)
            shifted[item, :n] = self.shift(speech[item, :n], ratio)
        return scaled(shifted, speech)

    def shift(self, speech: torch.Tensor, ratio: Fraction) -> torch.Tensor:
        """speech [time] -> [time], frequencies times `ratio`."""
        if ratio == 1 or len(speech) <= self.n_fft:
            return speech
        window = torch.hann_window(self.n_fft, device=speech.device)
        spectrum = torch.stft(speech, self.n_fft, self.hop, window=window, return_complex=True)
        bins = torch.linspace(0, torch.pi * self.hop, spectrum.shape[0], device=speech.device)
        slower = torchaudio.functional.phase_vocoder(
            spectrum, float(1 / ratio), bins.unsqueeze(1)
        )  # [bin, frame]
        length = round(len(speech) * ratio)
        longer = torch.istft(slower, self.n_fft, self.hop, window=window, length=length)
        shifted = torchaudio.functional.resample(longer, ratio.numerator, ratio.denominator)
        return fitted(shifted, len(speech))


class Mixed(Augmentation):
    """Several augmentations, one behind the other.

    parts : in the order in which they are applied
    chance : of each part, drawn per item; at least one is applied
    one_of : exactly one part, each as likely as the others, instead
    """

    def __init__(self, parts: Sequence[Augmentation], chance: float = 0.5, one_of: bool = False):
        if not parts or not 0 < chance <= 1:
            raise InputError(
                f"Mixed has {len(parts)} parts of chance {chance}: give at least one part, and a "
                "chance above 0, at most 1"
            )
        self.parts = list(parts)
        self.chance = chance
        self.one_of = one_of

    def apply(self, speech, samples, draws):
        chosen = torch.tensor([self.choose(draw) for draw in draws])  # [batch, part]
        for number, part in enumerate(self.parts):
            items = chosen[:, number].nonzero().squeeze(1)
            if len(items):
                speech = speech.clone()
                own = [draws[i] for i in items.tolist()]
                items = items.to(speech.device)
                speech[items] = part.apply(speech[items], samples[items], own)
        return speech

    def choose(self, draw: random.Random) -> list[bool]:
        """Whether each part is applied."""
        if self.one_of:
            only = draw.randrange(len(self.parts))
            return [number == only for number in range(len(self.parts))]
        while not any(chosen := [draw.random() < self.chance for _ in self.parts]):
            pass
        return chosen


def within(speech: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
    """speech [batch, time], samples [batch] -> bool [batch, time], False for padding."""
    return torch.arange(speech.shape[1], device=speech.device) < samples.unsqueeze(1)


def scaled(view: torch.Tensor, speech: torch.Tensor) -> torch.Tensor:
    """view [batch, time] at the energy of speech [batch, time]."""
    norms = [part.norm(dim=1, keepdim=True) for part in (speech, view)]
    return view * (norms[0] / norms[1].clamp(min=torch.finfo(view.dtype).tiny))


def fitted(values: torch.Tensor, length: int) -> torch.Tensor:
    """Zeros behind the last dimension, or a cut, to reach `length`."""
    return torch.nn.functional.pad(values, (0, length - values.shape[-1]))


def gaussian(samples: int, draw: random.Random) -> torch.Tensor:
    """White noise [samples], made on the CPU: the same for every device."""
    return torch.randn(samples, generator=torch.Generator().manual_seed(draw.getrandbits(63)))


def excerpt(recording: torch.Tensor, samples: int, draw: random.Random) -> torch.Tensor:
    """A recording [time], looped or cut at random to [samples]."""
    recording = recording.repeat(-(-samples // len(recording)))
    start = draw.randint(0, len(recording) - samples)
    return recording[start : start + samples]


def checked(name: str, bounds: Range, above: float = -1e9, below: float = 1e9) -> tuple:
    """Raise InputError unless the bounds are two numbers in order and in range."""
    low, high = (*bounds, None, None)[:2] if isinstance(bounds, Sequence) else (None, None)
    if (
        not (isinstance(low, int | float) and isinstance(high, int | float))
        or len(bounds) != 2
        or not above <= low <= high <= below
    ):
        raise InputError(f"{name} is {bounds!r}: give [lowest, highest]")
    return low, high


def recordings(folder: str | None) -> list[Path]:
    """The audio files below a folder, sorted. Raises InputError if there is none."""
    if folder is None:
        return []
    paths = folders.listing(folder).recordings if Path(folder).is_dir() else []
    if not paths:
        raise InputError(f"{folder} holds no recordings to augment with: correct the folder")
    return paths


@functools.lru_cache(maxsize=256)
def read(path: Path) -> torch.Tensor:
    """A recording to augment with, [time]."""
    return SpeechReader()(path)


def second_views(
    augmentation: Augmentation,
    speech: torch.Tensor,
    lens: torch.Tensor,
    ids: Sequence[str],
    reader: SpeechReader,
) -> torch.Tensor:
    """A batch of datasets.TwoViews, speech [2 batch, time] -> its second half augmented.

    Only then is speech normalised, if the reader normalises it.
    """
    half = len(speech) // 2
    seeds = [f"{reader.draw} view {utt_id}" for utt_id in ids[half:]]
    views = augmentation(speech[half:], lens[half:], seeds)
    speech = torch.cat([speech[:half], views])
    if reader.normalise:
        for item, samples in enumerate(num_samples(speech, lens).tolist()):
            speech[item, :samples] = standardise(speech[item, :samples])
    return speech
