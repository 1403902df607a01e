"""Losses of the papers: logits and targets in, a scalar out."""

import math
from collections.abc import Sequence

import torch
from speechbrain.nnet.losses import AdditiveAngularMargin
from torch import nn

from speechbrain_ser.errors import InputError


class ArcFace(nn.Module):
    """Cross-entropy of cosines with an additive angular margin (Park 2023, eq. 4).

    In training the target's angle is widened by `margin` (radians) and all cosines are scaled;
    in evaluation it is the cross-entropy of the bare cosines, by which Park 2023's code stops. Of
    shares it is the mean of the classes' losses, each weighted by its share, as cross-entropy is.
    """

    def __init__(self, margin: float = 0.3, scale: float = 30.0):
        super().__init__()
        self.penalise = AdditiveAngularMargin(margin, scale)

    def forward(self, cosines: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """cosines [batch, class], targets [batch] or shares [batch, class] -> mean loss."""
        cosines = cosines.float()
        if not targets.is_floating_point():
            return nn.functional.cross_entropy(self.widened(cosines, targets), targets)
        total = cosines.new_zeros(())
        for number, shares in enumerate(targets.T):
            own = torch.full_like(shares, number, dtype=torch.long)
            widened = self.widened(cosines, own)
            losses = nn.functional.cross_entropy(widened, own, reduction="none")
            total = total + (shares * losses).mean()
        return total

    def widened(self, cosines: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """What the softmax is of, [batch, class]: with scale and margin, or the bare cosines."""
        if not self.training:
            return cosines
        return self.penalise(cosines, nn.functional.one_hot(targets, cosines.shape[1]).float())


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


class ByFrequency(nn.Module):
    """A loss that has to know how many training utterances each class has.

    The run counts them before training, see `count`. They are no part of a checkpoint. A class
    without any is treated as if it had one, so that nothing becomes infinite.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("counts", None, persistent=False)  # [class]

    def count(self, utterances: Sequence[int]) -> None:
        """Take the training utterances of each class, in the order of the labels."""
        self.counts = torch.tensor(utterances, dtype=torch.float32)

    def counted(self, logits: torch.Tensor) -> torch.Tensor:
        """The utterances of each class, [class]; InputError if they are not those of the logits."""
        name = type(self).__name__
        if self.counts is None:
            raise InputError(
                f"{name} does not know how many training utterances each class has: a run tells it "
                "if the yaml has it among modules and the target has classes; elsewhere call count"
            )
        if len(self.counts) != logits.shape[1]:
            raise InputError(
                f"{name} was told of {len(self.counts)} classes, and the network names "
                f"{logits.shape[1]}: it is the loss of another target"
            )
        return self.counts.clamp(min=1)


class ClassBalancedCrossEntropy(ByFrequency):
    """Cross-entropy in which an utterance of a rare class counts more (Cui et al. 2019, eq. 2).

    The weight of a class of n training utterances is (1 - beta) / (1 - beta^n), over the mean
    weight of the classes that training has; the loss is the mean over the batch. It is the same in
    evaluation.

    beta : 0 gives all classes the same weight, near 1 the weight becomes that of null, 1 / n
    """

    def __init__(self, beta: float | None = 0.999):
        super().__init__()
        if beta is not None and not 0 <= beta < 1:
            raise InputError(f"beta is {beta}: give a number from 0 to below 1, or null for 1 / n")
        self.beta = beta

    def weights(self, logits: torch.Tensor) -> torch.Tensor:
        """logits [batch, class] -> weight of each class, [class]."""
        effective = self.counted(logits)  # 1 / weight
        if self.beta is not None:  # 1 - beta^n by expm1: float32 rounds beta near 1 to 1
            log_beta = math.log(self.beta) if self.beta else -math.inf
            effective = -torch.expm1(effective * log_beta) / (1 - self.beta)
        trained = self.counts > 0
        return (1 / effective / (1 / effective[trained]).mean()).to(logits.dtype)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """logits [batch, class], targets [batch] or shares [batch, class] -> mean loss."""
        logits = _single(logits)
        weight = self.weights(logits)
        return nn.functional.cross_entropy(logits, targets, weight, reduction="none").mean()


class LogitAdjusted(ByFrequency):
    """Cross-entropy of logits plus tau times the logarithm of the class's share of training.

    Menon et al. 2021, eq. 10: what training says about how frequent a class is goes into that sum,
    and the bare logits, which are all that answers are made of, treat the classes alike. It is the
    same in evaluation.
    """

    def __init__(self, tau: float = 1.0):
        super().__init__()
        self.tau = tau

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """logits [batch, class], targets [batch] or shares [batch, class] -> mean loss."""
        counts = self.counted(logits)
        adjusted = _single(logits) + self.tau * (counts / counts.sum()).log()
        return nn.functional.cross_entropy(adjusted, targets)


class Focal(nn.Module):
    """Cross-entropy in which an utterance that is recognised well counts little (Lin et al. 2017).

    -(1 - p)^gamma log p, p being the target's probability (eq. 4); the mean over the batch.

    gamma : 0 is the cross-entropy
    class_weights : the factor of each class in the order of the labels (eq. 5), or None
    """

    class_weights: torch.Tensor | None

    def __init__(self, gamma: float = 2.0, class_weights: Sequence[float] | None = None):
        super().__init__()
        if not gamma >= 0:
            raise InputError(f"gamma is {gamma}: give a number from 0")
        self.gamma = gamma
        weights = None if class_weights is None else torch.tensor(class_weights).float()
        self.register_buffer("class_weights", weights, persistent=False)  # [class]

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """logits [batch, class], targets [batch] or shares [batch, class] -> mean loss."""
        log_probs = _single(logits).log_softmax(dim=1)
        # 1 - p; of a sure answer it is 0, where a power below 1 has no slope
        others = (-log_probs.expm1()).clamp(min=torch.finfo(log_probs.dtype).tiny)
        terms = -(others**self.gamma) * log_probs  # [batch, class]
        if self.class_weights is not None:
            if len(self.class_weights) != logits.shape[1]:
                raise InputError(
                    f"class_weights has {len(self.class_weights)} numbers for {logits.shape[1]} "
                    "classes: give one for each label, in their order"
                )
            terms = terms * self.class_weights
        if targets.ndim == 1:
            return terms.gather(1, targets.unsqueeze(1)).mean()
        return (terms * targets).sum(dim=1).mean()


class Concordance(nn.Module):
    """One minus the concordance correlation coefficient of a batch (Lin 1989); 0 is the best.

    The coefficient is 2 cov / (var + var' + (mean - mean')^2), the variances being those of the
    batch itself. Of a batch without any spread it is 0, and there is no gradient. Float32 at least,
    in any precision.
    """

    def forward(self, predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """predictions [batch], targets [batch] (numbers) -> loss, from 0 to 2."""
        if predictions.shape != targets.shape:
            raise InputError(
                f"predictions of shape {list(predictions.shape)} and targets of "
                f"{list(targets.shape)} do not pair: give both as [batch]"
            )
        predictions = _single(predictions)
        targets = targets.to(predictions.dtype)
        # deviations first: the difference of squares would lose small spreads around a large mean
        own, other = predictions - predictions.mean(), targets - targets.mean()
        apart = (predictions.mean() - targets.mean()) ** 2
        total = (own**2).mean() + (other**2).mean() + apart
        # what is left of equal numbers by rounding is no spread: its gradient would be huge
        precision = torch.finfo(total.dtype)
        largest = torch.cat([predictions.detach(), targets]).abs().max()
        least = (8 * precision.eps * largest) ** 2 + precision.tiny
        coefficient = 2 * (own * other).mean() / total.clamp(min=least)
        return 1 - torch.where(total > least, coefficient, torch.zeros_like(coefficient))


def _single(values: torch.Tensor) -> torch.Tensor:
    """In float32, or in float64 where they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
