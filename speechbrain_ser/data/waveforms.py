"""Samples in memory: one channel of several, silence, level, unit variance, other rates."""

import functools
import logging
import math
from collections.abc import Callable, Iterable, Iterator

import torch
import torchaudio

from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)

SHORTEST = 0.025  # seconds: the receptive field of one wav2vec 2.0 frame
SILENCE = 1e-4  # of full scale: samples that differ by less hold no speech, but a dither's noise
PAUSE_DB = -30  # of a frame beside the loudest one: what is below is a pause
SILENT = f"is silent (its samples differ by less than {SILENCE:g} of full scale): remove it"
CANCELLED = 0.1  # of what the loudest channel alone gives to the mean: less is no mean of speech
LARGEST_KERNEL = 400_000_000  # weights of a resampling filter, 1.6 GB
REACH = 8  # periods of the lower rate: a resampling filter reaches over fewer, to each side
BLOCK = 1 << 20  # samples resampled at a time: several times their memory is in use meanwhile


def mono(samples: torch.Tensor, name: str) -> torch.Tensor:
    """samples [channel, time] or [time] -> their mean [time].

    Where channels cancel each other (a reversed polarity) it is one of the loudest alone, and a
    warning says so, once of each name.
    """
    if samples.dim() == 1:
        return samples
    mix = Mix()
    speech = mix.add(samples)
    if mix.alone is None:
        return speech
    _tell_of_polarity(name)
    return samples[mix.alone]


def speech_of(
    parts: Callable[[], Iterable[torch.Tensor]], samples: int, rate: int, to: int, name: str
) -> tuple[torch.Tensor, bool]:
    """Parts of a recording -> one channel at another rate, [time], and whether it is silent.

    parts : gives them in order, [channel, time] each, `samples` in all; where channels cancel each
        other it is called again, for one of them

    The parts are of any sizes: of a long recording nothing else is whole in memory than its speech.
    Raises InputError for samples that are no numbers.
    """
    mix = Mix()

    def means() -> Iterator[torch.Tensor]:
        for part in parts():
            speech = mix.add(part)
            refuse_no_numbers(speech, name)
            yield speech

    speech = resampled(means(), samples, rate, to)
    if (alone := mix.alone) is not None:
        _tell_of_polarity(name)
        speech = resampled((part[alone] for part in parts()), samples, rate, to)
    return speech, mix.is_silent


class Mix:
    """The mean of a recording's channels, part by part, and what all parts say of them."""

    def __init__(self):
        self.count = 0
        # of several channels each and, last, of their mean
        self.low = self.high = self.mean = self.squares = torch.zeros(0)

    def add(self, part: torch.Tensor) -> torch.Tensor:
        """The next samples, [channel, time] -> their mean [time]."""
        speech = part.mean(dim=0)
        rows = [*part, speech] if len(part) > 1 else [speech]
        low, high = (torch.stack([row.aminmax()[end] for row in rows]) for end in (0, 1))
        found = torch.stack([torch.stack(torch.var_mean(row, correction=0)) for row in rows])
        power, mean = found.double().T
        count = self.count + part.shape[1]
        if not self.count:
            self.low, self.high, self.mean, self.squares = low, high, mean, power * count
        else:
            self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
            share, step = part.shape[1] / count, mean - self.mean
            self.squares = self.squares + power * part.shape[1] + step**2 * share * self.count
            self.mean = self.mean + share * step
        self.count = count
        return speech

    @property
    def alone(self) -> int | None:
        """The first of the loudest channels where they cancel each other, else None."""
        *powers, of_mean = (self.squares / max(1, self.count)).tolist()  # of whatever offset
        if not powers:
            return None
        if not of_mean < CANCELLED**2 * max(powers) / len(powers) ** 2:
            return None
        loudest = next(n for n, power in enumerate(powers) if power > 0.9 * max(powers))
        return None if self._is_silent(loudest) else loudest

    @property
    def is_silent(self) -> bool:
        """Whether the recording is, as mono makes it."""
        return self._is_silent(-1 if self.alone is None else self.alone)

    def _is_silent(self, row: int) -> bool:
        return bool(self.high[row] - self.low[row] < SILENCE)


@functools.cache
def _tell_of_polarity(name: str) -> None:
    logger.warning(
        "%s: its channels cancel each other when averaged, one has its polarity reversed: the "
        "first of the loudest is read alone",
        name,
    )


def is_silent(speech: torch.Tensor) -> bool:
    """Whether samples, [time], are as good as constant; none at all are not."""
    return bool(len(speech)) and bool(speech.max() - speech.min() < SILENCE)


def active(speech: torch.Tensor, rate: int) -> torch.Tensor:
    """speech [time] -> bool [time]: its frames of 20 ms that are within 30 dB of the loudest."""
    size = rate // 50
    padded = torch.nn.functional.pad(speech - speech.mean(), (0, -len(speech) % size))
    powers = padded.reshape(-1, size).square().mean(dim=1)  # [frame]
    loud = powers >= powers.max() * 10 ** (PAUSE_DB / 10)
    return loud.repeat_interleave(size)[: len(speech)]


def power(speech: torch.Tensor, rate: int) -> torch.Tensor:
    """speech [time] -> its mean square, about its mean, where it is active: []."""
    return (speech - speech.mean())[active(speech, rate)].square().mean()


def standardise(speech: torch.Tensor) -> torch.Tensor:
    """speech [time] -> the same at zero mean and unit variance."""
    return (speech - speech.mean()).div_((speech.var(correction=0) + 1e-7).sqrt())


def refuse_no_numbers(samples: torch.Tensor, name: str) -> None:
    """InputError for NaN and infinite samples."""
    if not torch.isfinite(samples).all():
        raise InputError(f"{name} holds NaN or infinite samples: export it again")


def resampled(parts: Iterable[torch.Tensor], samples: int, rate: int, to: int) -> torch.Tensor:
    """Parts [time] of a recording of so many samples, in order -> the whole at another rate.

    As torchaudio resamples the whole, but for rounding: its filter, a windowed sinc, ends REACH
    periods of the lower rate away, and each block is given as many samples beyond both of its ends.
    """
    made = torch.empty(_length(samples, rate, to))
    # torchaudio's function computes this filter at each call
    resample = torchaudio.transforms.Resample(rate, to, dtype=torch.float32)
    old, new = ratio(rate, to)
    step = max(1, BLOCK // old) * new
    start, kept, at = 0, torch.zeros(0), 0  # samples from `at` on
    for part in parts:
        device = part.device
        made, resample = made.to(device), resample.to(device)
        kept = torch.cat([kept.to(device), part])
        while start < len(made):
            stop = min(start + step, len(made))
            first, last, before = span(start, stop, rate, to)
            last = min(last, samples)
            if last > at + len(kept):
                break
            made[start:stop] = resample(kept[first - at : last - at])[before:][: stop - start]
            start = stop
        first = span(start, start, rate, to)[0]
        kept, at = kept[first - at :], first
    return made


def resampled_length(samples: int, rate: int, to: int, name: str) -> int:
    """How many samples `resampled` makes of as many at another rate.

    Raises InputError for too few to classify, and for a rate that cannot be resampled.
    """
    old, new = ratio(rate, to)
    if old * new > LARGEST_KERNEL:
        raise InputError(
            f"{name} has {rate} Hz, which have no small ratio to {to}: "
            "resample it with another program"
        )
    length = _length(samples, rate, to)
    if length < SHORTEST * to:
        raise InputError(f"{name} lasts {1000 * length / to:.1f} ms: at least 25 ms are needed")
    return length


def _length(samples: int, rate: int, to: int) -> int:
    old, new = ratio(rate, to)
    return -(-samples * new // old)


def span(start: int, stop: int, rate: int, to: int) -> tuple[int, int, int]:
    """Which samples are to be resampled for the samples from start to stop at the other rate.

    Their first and last, and how many resampled ones precede `start`. They are whole periods of
    the filter, so that it meets each sample in the same phase as in the whole recording.
    """
    old, new = ratio(rate, to)
    reach = math.ceil(REACH * max(1, old / new) / old)  # periods
    first = max(0, start // new - reach)
    last = stop // new + 1 + reach
    return first * old, last * old, start - first * new


def ratio(rate: int, to: int) -> tuple[int, int]:
    common = math.gcd(rate, to)
    return rate // common, to // common
