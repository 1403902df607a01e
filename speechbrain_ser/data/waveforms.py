"""Samples in memory: one channel of several, silence, level, unit variance, other rates."""

import functools
import logging
import math

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


def mono(samples: torch.Tensor, name: str) -> torch.Tensor:
    """samples [channel, time] or [time] -> their mean [time].

    Where channels cancel each other (a reversed polarity) it is one of the loudest alone, and a
    warning says so, once of each name.
    """
    if samples.dim() == 1:
        return samples
    speech = samples.mean(dim=0)
    if len(samples) == 1:
        return speech
    powers = samples.var(dim=1, correction=0)  # [channel], of whatever offset
    loudest = samples[int((powers > 0.9 * powers.max()).int().argmax())]  # the first one of them
    alone = powers.max() / len(samples) ** 2
    if not speech.var(correction=0) < CANCELLED**2 * alone or is_silent(loudest):
        return speech
    _tell_of_polarity(name)
    return loudest


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
    return (speech - speech.mean()) / (speech.var(correction=0) + 1e-7).sqrt()


def refuse_no_numbers(samples: torch.Tensor, name: str) -> None:
    """InputError for NaN and infinite samples."""
    if not torch.isfinite(samples).all():
        raise InputError(f"{name} holds NaN or infinite samples: export it again")


def resample(speech: torch.Tensor, rate: int, to: int) -> torch.Tensor:
    """speech [time] at one rate -> at another."""
    return speech if rate == to else torchaudio.functional.resample(speech, rate, to)


def resampled_length(samples: int, rate: int, to: int, name: str) -> int:
    """How many samples `resample` makes of as many at another rate.

    Raises InputError for too few to classify, and for a rate that cannot be resampled.
    """
    old, new = _ratio(rate, to)
    if old * new > LARGEST_KERNEL:
        raise InputError(
            f"{name} has {rate} Hz, which have no small ratio to {to}: "
            "resample it with another program"
        )
    # torchaudio counts in 24 bits: some samples more or less, after 17 minutes
    counted = samples if old == new else int(torch.tensor(new * samples / old).ceil())
    length = min(counted, new * (samples // old + 1))
    if length < SHORTEST * to:
        raise InputError(f"{name} lasts {1000 * length / to:.1f} ms: at least 25 ms are needed")
    return length


def span(start: int, stop: int, rate: int, to: int) -> tuple[int, int, int]:
    """Which samples are to be resampled for the samples from start to stop at the other rate.

    Their first and last, and how many resampled ones precede `start`. They are whole periods of
    the filter, so that it meets each sample in the same phase as in the whole recording.
    """
    old, new = _ratio(rate, to)
    reach = math.ceil(REACH * max(1, old / new) / old)  # periods
    first = max(0, start // new - reach)
    last = stop // new + 1 + reach
    return first * old, last * old, start - first * new


def _ratio(rate: int, to: int) -> tuple[int, int]:
    common = math.gcd(rate, to)
    return rate // common, to // common
