"""Lengths of a padded batch."""

from typing import TypeVar

import torch

Length = TypeVar("Length", int, torch.Tensor)  # of one recording, or [batch] of several


def num_samples(speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
    """speech [batch, time], lens [batch] in (0, 1] -> whole samples of each item, [batch]."""
    return torch.round(lens * speech.shape[1]).long()


def trim(speech: torch.Tensor, samples: torch.Tensor) -> list[torch.Tensor]:
    """speech [batch, time], samples [batch] -> each item without its padding, [1, time]."""
    return [item[:, :n] for item, n in zip(speech.split(1), samples.tolist(), strict=True)]
