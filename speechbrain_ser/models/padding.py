"""What keeps the padding of a batch out of an answer."""

import torch
from torch import nn


def valid_mask(counts: torch.Tensor, longest: int) -> torch.Tensor:
    """counts [batch] -> bool [batch, longest], True before each item's end."""
    return torch.arange(longest, device=counts.device) < counts.unsqueeze(1)


def pad_items(items: list[torch.Tensor], longest: int) -> torch.Tensor:
    """Items of [1, frame, dim] -> [batch, longest, dim], zeros in the padding."""
    return torch.cat([nn.functional.pad(x, (0, 0, 0, longest - x.shape[1])) for x in items])


class ValidGroupNorm(nn.Module):
    """A GroupNorm of one channel per group, over each item's valid frames only.

    `valid_frames` ([batch], or None for all) is set by Encoder around each call. On a CPU the items
    are normalised one by one, so that each sees the arithmetic that it would see alone; elsewhere,
    where that would wait for the lengths, all at once with a mask.
    """

    def __init__(self, norm: nn.GroupNorm):
        super().__init__()
        self.weight = norm.weight
        self.bias = norm.bias
        self.groups = norm.num_groups
        self.eps = norm.eps
        self.valid_frames: torch.Tensor | None = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """features [batch, channel, frame] -> the same shape; zeros behind the valid frames."""
        if self.valid_frames is None:
            return self._norm(features)
        if must_not_wait(features):
            return self._masked(features, self.valid_frames)
        total = features.shape[-1]
        return torch.cat(
            [
                nn.functional.pad(self._norm(item[:, :, :frames]), (0, total - frames))
                for item, frames in zip(features.split(1), self.valid_frames.tolist(), strict=True)
            ]
        )

    def _norm(self, features: torch.Tensor) -> torch.Tensor:
        return nn.functional.group_norm(features, self.groups, self.weight, self.bias, self.eps)

    def _masked(self, features: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        count = frames[:, None, None]  # [batch, 1, 1]
        valid = valid_mask(frames, features.shape[-1]).unsqueeze(1)
        exact = features.float()
        mean = (exact * valid).sum(dim=2, keepdim=True) / count  # [batch, channel, 1]
        centred = (exact - mean) * valid
        variance = centred.square().sum(dim=2, keepdim=True) / count
        normal = centred * (variance + self.eps).rsqrt()
        return ((normal * self.weight[:, None] + self.bias[:, None]) * valid).to(features.dtype)


def must_not_wait(tensor: torch.Tensor) -> bool:
    """Whether reading a value of it would stall a GPU's queue, or cannot be put into a graph."""
    return tensor.is_cuda or torch.compiler.is_compiling()


def may_be_padded(padding: torch.Tensor) -> bool:
    """Whether there is padding, by a bool tensor that marks it; True where asking would wait."""
    return must_not_wait(padding) or bool(padding.any())
