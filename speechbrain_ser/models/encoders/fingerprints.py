"""What an encoder answers to one second of sound: by that it is known again.

A float16 copy of float32 weights is the same encoder. Of three Whispers (base, tiny) its numbers
differ by at most 1.1e-3 of their length, those of a bfloat16 copy by 5.8e-3 and more; after one
update of all blocks (Adam, 1e-5) they differ by 8e-3 and more, with the last block as the one below
by 0.17 and more, and those of two of these Whispers by more than 1. What is not noticed is one
update of a single block, 2.7e-3 at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.encoders.pretrained import ENCODERS, in_encoders

if TYPE_CHECKING:
    from speechbrain_ser.models.encoders import Encoder

NUMBERS = 32
TOLERANCE = 4e-3  # of the numbers' length


def signal() -> torch.Tensor:
    """[1, time]: a second of a tone that rises from 100 to 4,000 Hz, in noise of arithmetic."""
    sample = torch.arange(SAMPLE_RATE, dtype=torch.float64)
    time = sample / SAMPLE_RATE
    tone = torch.sin(2 * torch.pi * (100 + 1950 * time) * time)
    noise = (sample.square() * (5**0.5 - 1) / 2) % 1 - 0.5
    return (0.3 * tone + 0.1 * noise).float().unsqueeze(0)


@torch.no_grad()
def measure(encoder: Encoder) -> list[float]:
    """NUMBERS mixtures of the layers' means over time, each layer's standardised over dim.

    On the CPU: a GPU may round more than float16 does.
    """
    training, padding, device = encoder.training, encoder.padding, next(encoder.parameters()).device
    encoder.eval().cpu()
    encoder.padding = "exact"
    try:
        layers = encoder.layers(signal(), torch.ones(1))  # [layer, 1, frame, dim]
    finally:
        encoder.padding = padding
        encoder.train(training).to(device)
    means = layers.double().mean(dim=(1, 2))  # [layer, dim]
    deviation, mean = torch.std_mean(means, dim=1, keepdim=True)
    numbers = torch.arange(1, NUMBERS + 1, dtype=torch.float64)
    waves = [torch.outer(numbers, torch.arange(n, dtype=torch.float64)).cos() for n in means.shape]
    mixed = torch.einsum("ld,nl,nd->n", (means - mean) / deviation.clamp(min=1e-9), *waves)
    return [round(number, 3) for number in mixed.tolist()]


def distance(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Between two fingerprints, of the second one's length; infinite if they are of two kinds."""
    if len(found) != len(wanted):
        return float("inf")
    goal = torch.tensor(wanted)
    return float((torch.tensor(found) - goal).norm() / goal.norm())


def check(encoder: Encoder, wanted: Sequence[float], name: str) -> None:
    """Raise InputError unless the encoder, found by this name, answers as the one wanted."""
    differ = distance(measure(encoder), wanted)
    if not differ <= TOLERANCE:
        raise InputError(
            f"{in_encoders(name) or f'{name} on the Hub'} is not the {name} that the model was "
            f"trained on (answers that differ by {differ:.2g}, where {TOLERANCE} is allowed): set "
            f"{ENCODERS} to a folder that holds the right one"
        )
