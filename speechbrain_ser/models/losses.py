"""Losses of the papers: logits and targets in, a scalar out."""

import torch
from speechbrain.nnet.losses import AdditiveAngularMargin
from torch import nn

from speechbrain_ser.errors import InputError


class ArcFace(nn.Module):
    """Cross-entropy of cosines with an additive angular margin (Park 2023, eq. 4).

    In training the target's angle is widened by `margin` (radians) and all cosines are scaled;
    in evaluation it is the cross-entropy of the bare cosines, by which Park 2023's code stops.
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


class SupervisedContrastive(nn.Module):
    """Pulls embeddings of one class together and others apart (Wang 2023, eq. 1).

    For each view as anchor: the mean over the other views of its class of minus the logarithm of
    their softmax among all other views, by inner product over `temperature` (Khosla et al. 2020,
    L_out). A view that has no other one of its class is no anchor. Float32 in any precision.

    Arguments
    ---------
    temperature : the paper's tau
    normalise : embeddings to length 1 first; the paper does not say, and its temperature is that of
        length 1
    reduction : "mean" over the anchors, as usual, or "sum", as the paper prints it
    projection : a module [view, dim] -> [view, other dim] for this loss alone, or None
    """

    def __init__(
        self,
        temperature: float = 0.07,
        normalise: bool = True,
        reduction: str = "mean",
        projection: nn.Module | None = None,
    ):
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise InputError(f"reduction is {reduction!r}: use mean or sum")
        if not temperature > 0:
            raise InputError(f"temperature is {temperature}: give a number above 0")
        self.temperature = temperature
        self.normalise = normalise
        self.reduction = reduction
        self.projection = projection

    def forward(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """embeddings [view, dim], targets [view] (class numbers) -> loss."""
        if self.projection is not None:
            embeddings = self.projection(embeddings)
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            if self.normalise:
                embeddings = nn.functional.normalize(embeddings, dim=1)
            similarities = embeddings @ embeddings.T / self.temperature  # [view, view]
            itself = torch.eye(len(targets), dtype=torch.bool, device=targets.device)
            positive = (targets.unsqueeze(1) == targets) & ~itself
            among = similarities.masked_fill(itself, torch.finfo(similarities.dtype).min)
            log_probs = similarities - among.logsumexp(dim=1, keepdim=True)
            positives = positive.sum(dim=1)  # [view]
            per_anchor = -(log_probs * positive).sum(dim=1) / positives.clamp(min=1)
            total = per_anchor.sum()
            return total if self.reduction == "sum" else total / (positives > 0).sum().clamp(min=1)
