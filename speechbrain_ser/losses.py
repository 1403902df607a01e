"""Losses of the papers: logits and targets in, a scalar out."""

import torch
from speechbrain.nnet.losses import AdditiveAngularMargin
from torch import nn


class ArcFace(nn.Module):
    """Cross-entropy of cosines with an additive angular margin (Park 2023, eq. 6).

    In training the target's angle is widened by `margin` (radians) and all cosines are scaled;
    in evaluation it is the cross-entropy of the bare cosines, which Park 2023 stops early by.
    """

    def __init__(self, margin: float = 0.3, scale: float = 30.0):
        super().__init__()
        self.penalise = AdditiveAngularMargin(margin, scale)

    def forward(self, cosines: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """cosines [batch, class], targets [batch] (class numbers) -> mean loss."""
        cosines = cosines.float()
        if self.training:
            one_hot = nn.functional.one_hot(targets, cosines.shape[1]).float()
            cosines = self.penalise(cosines, one_hot)
        return nn.functional.cross_entropy(cosines, targets)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, factor):
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.factor * gradient, None


def reverse_gradient(values: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """The same values; backward, their gradient times -factor (Ganin and Lempitsky 2015)."""
    return _Reversal.apply(values, factor)
