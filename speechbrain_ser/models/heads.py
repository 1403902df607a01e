"""Heads: embedding [batch, dim] -> logits [batch, class], or numbers beside them."""

import math
from collections.abc import Mapping, Sequence

import torch
from speechbrain.lobes.models.ECAPA_TDNN import Classifier
from torch import nn

from speechbrain_ser.data import targets as kinds
from speechbrain_ser.errors import InputError


class SoftmaxHead:
    """Of a head that names classes, and numbers beside them where the targets have some.

    What it gives, [batch, output], are the classes' logits (or cosines), then the numbers. The
    probabilities are the softmax of the logits divided by a temperature, which is found on
    validation, so that a probability is the share of right answers (Guo et al. 2017); it changes no
    answer, and no loss knows it. A number is a linear layer's output through a sigmoid, scaled to
    the number's range, so that no answer lies outside.

    Attributes
    ----------
    num_classes : how many it names
    ranges : number -> lowest and highest, of those that it answers
    """

    num_classes: int
    ranges: Mapping[str, tuple[float, float]]
    numbers: nn.Linear | None
    _temperature = 1.0

    def answer_numbers(self, dim: int, targets: Mapping[str, kinds.Spec] | None) -> None:
        """Make the layer of the numbers among the targets, if there are any."""
        found = kinds.numbers_of(kinds.of(targets or {}))
        self.ranges = {field: (number.low, number.high) for field, number in found.items()}
        self.numbers = nn.Linear(dim, len(found)) if found else None

    def beside(self, logits: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """logits [batch, class], embedding [batch, dim] -> with the numbers, [batch, output]."""
        return logits if self.numbers is None else torch.cat([logits, self.numbers(embedding)], 1)

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

    def of_classes(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the head gives, [batch, output] -> without the numbers, [batch, class]."""
        return outputs[:, : outputs.shape[1] - len(self.ranges)]

    def logits(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the head gives, [batch, output] -> what the softmax is of, [batch, class]."""
        return self.of_classes(outputs)

    def probs(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the head gives, [batch, output] -> probabilities [batch, class], adding up to 1."""
        return (self.logits(outputs) / self.temperature).softmax(dim=-1)

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the head gives, [batch, output] -> numbers [batch, number], each in its range."""
        low, high = outputs.new_tensor(list(self.ranges.values())).reshape(-1, 2).T
        shares = outputs[:, outputs.shape[1] - len(self.ranges) :].sigmoid()
        return low + (high - low) * shares


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
    temperature, targets : see SoftmaxHead; of the targets, the numbers
    """

    def __init__(
        self,
        dim: int,
        labels: Sequence[str],
        dropout: float = 0.0,
        temperature: float = 1.0,
        targets: Mapping[str, kinds.Spec] | None = None,
    ):
        super().__init__(dim, len(kinds.labels_of(labels)))
        self.num_classes = self.out_features
        self.dropout = nn.Dropout(dropout)
        self.temperature = temperature
        self.answer_numbers(dim, targets)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        embedding = self.dropout(embedding)
        return self.beside(super().forward(embedding), embedding)


class DenseHead(SoftmaxHead, nn.Sequential):
    """embedding [batch, dim] -> logits [batch, class]: a linear layer, tanh, another one.

    Gavali & Verma's, after the soxan notebook: dropout before each of the two. Numbers read what
    the second one reads.
    """

    def __init__(
        self,
        dim: int,
        labels: Sequence[str],
        dropout: float = 0.1,
        temperature: float = 1.0,
        targets: Mapping[str, kinds.Spec] | None = None,
    ):
        last = LinearHead(dim, labels, dropout, targets=targets)
        super().__init__(nn.Dropout(dropout), nn.Linear(dim, dim), nn.Tanh(), last)
        self.num_classes, self.ranges = last.num_classes, last.ranges
        self.temperature = temperature


class CosineHead(SoftmaxHead, nn.Module):
    """embedding [batch, dim] -> cosines [batch, class] to one centre per class, in [-1, 1].

    ArcFace's head (Park 2023, eq. 4); its loss is losses.ArcFace. The centres, [class, dim], are
    those of SpeechBrain's ECAPA-TDNN Classifier; `scale` is the loss's.
    """

    def __init__(
        self,
        dim: int,
        labels: Sequence[str],
        scale: float = 30.0,
        temperature: float = 1.0,
        targets: Mapping[str, kinds.Spec] | None = None,
    ):
        super().__init__()
        self.temperature = temperature
        self.scale = scale
        self.num_classes = len(kinds.labels_of(labels))
        self.centres = Classifier(dim, lin_blocks=0, out_neurons=self.num_classes)
        self.answer_numbers(dim, targets)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        cosines = self.centres(embedding.unsqueeze(1)).squeeze(1).clamp(-1, 1)
        return self.beside(cosines, embedding)

    def logits(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the head gives, [batch, output] -> cosines [batch, class] at training's scale."""
        return self.scale * self.of_classes(outputs)


class TargetsHead(SoftmaxHead, nn.Module):
    """embedding [batch, dim] -> outputs [batch, output], of whatever the targets are.

    The classes of one field by a LinearHead, numbers alone, or both.

    Arguments
    ---------
    dim : of the embedding
    targets : of the yaml, see speechbrain_ser.data.targets
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
        named = {field: own.labels for field, own in kinds.of(targets).items() if own.labels}
        if len(named) > 1:
            raise InputError(
                f"this network names classes of one field and numbers, and targets has the classes "
                f"of {' and '.join(named)}: leave one of them out"
            )
        self.dropout = nn.Dropout(dropout)
        self.answer_numbers(dim, targets)
        labels = next(iter(named.values()), [])
        self.num_classes = len(labels)
        self.classes = LinearHead(dim, labels, dropout) if labels else None

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        logits = embedding[:, :0] if self.classes is None else self.classes(embedding)
        return self.beside(logits, self.dropout(embedding))
