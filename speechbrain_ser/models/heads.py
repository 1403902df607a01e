"""Heads: embedding [batch, dim] -> logits [batch, class], or numbers beside them."""

import math
from collections.abc import Mapping, Sequence

import torch
from speechbrain.lobes.models.ECAPA_TDNN import Classifier
from torch import nn

from speechbrain_ser.data import targets as kinds
from speechbrain_ser.errors import InputError


class SoftmaxHead:
    """Of a head whose probabilities are the softmax of its logits, divided by a temperature.

    The temperature is found on validation, so that a probability is the share of right answers
    (Guo et al. 2017); it changes no answer, and no loss knows it.
    """

    _temperature = 1.0

    @property
    def temperature(self) -> float:
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        """Raises InputError for what is no number above 0."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            raise InputError(f"temperature is {value!r}: give a number above 0")
        self._temperature = float(value)

    def logits(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the head gives, [batch, output] -> what the softmax is of, [batch, class]."""
        return outputs

    def probs(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the head gives, [batch, output] -> probabilities [batch, class], adding up to 1."""
        return (self.logits(outputs) / self.temperature).softmax(dim=-1)


def ranges_of(model: nn.Module) -> dict[str, tuple[float, float]]:
    """number -> lowest and highest of those that a network answers beside or instead of classes."""
    try:
        head = getattr(model, "head", None)
    except InputError:  # of a first phase
        return {}
    return getattr(head, "ranges", {})


def answering(model: nn.Module) -> SoftmaxHead | None:
    """The head by whose softmax a network names classes; None of a network that has no such head.

    Those are first phases, which know no emotions, mixtures with neighbours, and ensembles.
    """
    try:
        head = getattr(model, "head", None)
    except InputError:
        return None
    return head if isinstance(head, SoftmaxHead) else None


class LinearHead(SoftmaxHead, nn.Linear):
    """embedding [batch, dim] -> logits [batch, class], by one linear layer with bias.

    dropout : before it
    temperature : see SoftmaxHead
    """

    def __init__(
        self, dim: int, labels: Sequence[str], dropout: float = 0.0, temperature: float = 1.0
    ):
        super().__init__(dim, len(kinds.labels_of(labels)))
        self.dropout = nn.Dropout(dropout)
        self.temperature = temperature

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        return super().forward(self.dropout(embedding))


class DenseHead(SoftmaxHead, nn.Sequential):
    """embedding [batch, dim] -> logits [batch, class]: a linear layer, tanh, another one.

    Gavali & Verma's, after the soxan notebook: dropout before each of the two.
    """

    def __init__(
        self, dim: int, labels: Sequence[str], dropout: float = 0.1, temperature: float = 1.0
    ):
        super().__init__(
            nn.Dropout(dropout),
            nn.Linear(dim, dim),
            nn.Tanh(),
            LinearHead(dim, labels, dropout),
        )
        self.temperature = temperature


class CosineHead(SoftmaxHead, nn.Module):
    """embedding [batch, dim] -> cosines [batch, class] to one centre per class, in [-1, 1].

    ArcFace's head (Park 2023, eq. 4); its loss is losses.ArcFace. The centres, [class, dim], are
    those of SpeechBrain's ECAPA-TDNN Classifier; `scale` is the loss's.
    """

    def __init__(
        self, dim: int, labels: Sequence[str], scale: float = 30.0, temperature: float = 1.0
    ):
        super().__init__()
        self.temperature = temperature
        self.scale = scale
        self.centres = Classifier(dim, lin_blocks=0, out_neurons=len(kinds.labels_of(labels)))

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        return self.centres(embedding.unsqueeze(1)).squeeze(1).clamp(-1, 1)

    def logits(self, cosines: torch.Tensor) -> torch.Tensor:
        """cosines [batch, class] -> the same at the scale of training."""
        return self.scale * cosines


class TargetsHead(SoftmaxHead, nn.Module):
    """embedding [batch, dim] -> outputs [batch, output]: logits of the classes, then the numbers.

    A number is a linear layer's output through a sigmoid, scaled to the number's range, so that no
    answer lies outside; see `values`.

    Arguments
    ---------
    dim : of the embedding
    targets : of the yaml, see speechbrain_ser.data.targets: numbers, or classes or shares of one
        field and numbers
    dropout : before the linear layers
    temperature : see SoftmaxHead; of the classes alone

    Raises InputError for the classes of a second field.
    """

    def __init__(
        self,
        dim: int,
        targets: Mapping[str, kinds.Spec],
        dropout: float = 0.0,
        temperature: float = 1.0,
    ):
        super().__init__()
        self.temperature = temperature
        made = kinds.of(targets)
        self.ranges = {
            field: (number.low, number.high) for field, number in kinds.numbers_of(made).items()
        }
        named = [field for field, target in made.items() if target.labels]
        if len(named) > 1:
            raise InputError(
                f"this network names classes of one field and numbers, and targets has the classes "
                f"of {' and '.join(named)}: leave one of them out"
            )
        self.dropout = nn.Dropout(dropout)
        self.numbers = nn.Linear(dim, len(self.ranges)) if self.ranges else None
        # last: what a loader compares with the labels
        self.classes = LinearHead(dim, made[named[0]].labels, dropout) if named else None

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        logits = [] if self.classes is None else [self.classes(embedding)]
        numbers = [] if self.numbers is None else [self.numbers(self.dropout(embedding))]
        return torch.cat([*logits, *numbers], dim=1)

    def logits(self, outputs: torch.Tensor) -> torch.Tensor:
        """outputs [batch, output] -> logits [batch, class], of no class without labels."""
        return outputs[:, : outputs.shape[1] - len(self.ranges)]

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """outputs [batch, output] -> numbers [batch, number], each within its range."""
        low, high = outputs.new_tensor(list(self.ranges.values())).reshape(-1, 2).T
        shares = outputs[:, outputs.shape[1] - len(self.ranges) :].sigmoid()
        return low + (high - low) * shares
