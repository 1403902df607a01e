"""The plainest network for utterances, of Wang 2023, section 2.2: encoder, pooling, head."""

import torch
from torch import nn

from speechbrain_ser.models.pooling import check_dim


class HiddenLayer(nn.Sequential):
    """embedding [batch, dim] -> [batch, width], by a linear layer and ReLU."""

    def __init__(self, dim: int, width: int = 256):
        super().__init__(nn.Linear(dim, width), nn.ReLU())


class Classifier(nn.Module):
    """encoder -> pooling -> hidden layer, if there is one -> head.

    What the head reads is the embedding: of the contrastive loss and of nearest neighbours, too.
    """

    def __init__(
        self,
        encoder: nn.Module,
        pooling: nn.Module,
        head: nn.Module,
        hidden: nn.Module | None = None,
    ):
        super().__init__()
        check_dim(encoder, pooling)
        self.encoder = encoder
        self.pooling = pooling
        self.hidden = hidden if hidden is not None else nn.Identity()
        self.head = head

    def embed(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> embedding [batch, dim]."""
        frames = self.encoder(speech, lens)  # [batch, frame, dim]
        return self.hidden(self.pooling(frames, self.encoder.valid_frames(speech, lens)))

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> logits [batch, class]."""
        return self.head(self.embed(speech, lens))
