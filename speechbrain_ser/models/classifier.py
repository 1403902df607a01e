"""What networks for utterances share, and the plainest one, of Wang 2023, section 2.2."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from speechbrain_ser.models.pooling import check_dim


class UtteranceNetwork(nn.Module):
    """speech -> frames by `encode`, frames -> logits by `classify`; subclasses say how.

    A subclass has a head, and beside the methods here

    encode(speech [batch, time], lens [batch]) : gives what a batch is pooled from
    encode_stored : gives the same from a store of what the encoder's frozen part gives
    pool : makes of what they give an embedding [batch, dim]
    """

    encode: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]
    encode_stored: Callable[..., tuple[torch.Tensor, ...]]
    pool: Callable[..., torch.Tensor]

    def classify(self, *encoded: torch.Tensor) -> torch.Tensor:
        """What encode gives -> logits [batch, class]."""
        head: Any = self.head  # a part, or a property of the subclass
        return head(self.pool(*encoded))

    def embed(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> embedding [batch, dim]."""
        return self.pool(*self.encode(speech, lens))

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> logits [batch, class]."""
        return self.classify(*self.encode(speech, lens))


class EncoderNetwork(UtteranceNetwork):
    """An UtteranceNetwork on an encoder of its own."""

    encoder: Any  # an Encoder, or what has the methods that are used of one, such as CnnLstm

    def encode(self, speech: torch.Tensor, lens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> frames [batch, frame, dim], counts [batch]."""
        return self.encoder(speech, lens), self.encoder.count_frames(speech, lens)

    def encode_stored(
        self, stored: torch.Tensor, counts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the encoder's frozen_part gave -> as encode."""
        return self.encoder.trained_part(stored, counts), counts


class HiddenLayer(nn.Sequential):
    """embedding [batch, dim] -> [batch, width], by a linear layer and ReLU."""

    def __init__(self, dim: int, width: int = 256):
        super().__init__(nn.Linear(dim, width), nn.ReLU())


class Classifier(EncoderNetwork):
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

    def pool(self, frames: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """frames [batch, frame, dim], counts [batch] -> embedding [batch, dim]."""
        return self.hidden(self.pooling(frames, self.encoder.mask(counts, frames.shape[1])))
