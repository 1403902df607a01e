"""Classification heads: embedding [batch, dim] -> logits [batch, class]."""

from collections.abc import Sequence

import torch
from speechbrain.lobes.models.ECAPA_TDNN import Classifier
from torch import nn


class LinearHead(nn.Linear):
    """embedding [batch, dim] -> logits [batch, class], by one linear layer with bias.

    dropout : before it
    temperature : what a trained network's logits are divided by, so that its probabilities are the
        shares of right answers (Guo et al. 2017); training does not know it
    """

    def __init__(
        self, dim: int, labels: Sequence[str], dropout: float = 0.0, temperature: float = 1.0
    ):
        super().__init__(dim, len(labels))
        self.dropout = nn.Dropout(dropout)
        self.temperature = temperature

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        logits = super().forward(self.dropout(embedding))
        return logits if self.training else logits / self.temperature

    def probs(self, logits: torch.Tensor) -> torch.Tensor:
        """logits [batch, class] -> probabilities that add up to 1."""
        return logits.softmax(dim=-1)


class DenseHead(nn.Sequential):
    """embedding [batch, dim] -> logits [batch, class]: a linear layer, tanh, another one.

    Gavali & Verma's, after the soxan notebook: dropout before each of the two.
    """

    probs = LinearHead.probs

    def __init__(self, dim: int, labels: Sequence[str], dropout: float = 0.1):
        super().__init__(
            nn.Dropout(dropout),
            nn.Linear(dim, dim),
            nn.Tanh(),
            LinearHead(dim, labels, dropout),
        )


class CosineHead(nn.Module):
    """embedding [batch, dim] -> cosines [batch, class] to one centre per class, in [-1, 1].

    ArcFace's head (Park 2023, eq. 4); its loss is losses.ArcFace. The centres, [class, dim], are
    those of SpeechBrain's ECAPA-TDNN Classifier; `scale` is the loss's.
    """

    def __init__(self, dim: int, labels: Sequence[str], scale: float = 30.0):
        super().__init__()
        self.scale = scale
        self.centres = Classifier(dim, lin_blocks=0, out_neurons=len(labels))

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        return self.centres(embedding.unsqueeze(1)).squeeze(1).clamp(-1, 1)

    def probs(self, logits: torch.Tensor) -> torch.Tensor:
        """cosines [batch, class] -> probabilities that add up to 1, at the scale of training."""
        return (self.scale * logits).softmax(dim=-1)
