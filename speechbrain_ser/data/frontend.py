"""What features are stored of: a frozen network, or a computation without weights."""

import torch
from torch import nn


class Frontend(nn.Module):
    """speech [batch, time], lens [batch] -> [batch, frame, ...], frames [batch]; padding-exact.

    shape : of a frame: (layer, dim) for models.probe, which also reads
    downsample : how many of its frames make one of 20 ms
    """

    shape: tuple[int, ...]
    downsample: int

    def num_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples -> frames."""
        raise NotImplementedError

    def describe(self) -> dict:
        """What, beside the weights, decides the features: a store of them is named by it."""
        raise NotImplementedError
