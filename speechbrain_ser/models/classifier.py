"""What networks for utterances share, and the plainest one, of Wang 2023, section 2.2."""

import torch
from torch import nn

from speechbrain_ser.models.pooling import check_dim


class UtteranceNetwork(nn.Module):
    """speech -> frames by `encode`, frames -> logits by `classify`; subclasses say how to `pool`.

    Children of a subclass: an encoder and a head. Training from a store of what the encoder's
    frozen part gives enters at `encode_stored`, which gives what `encode` gives.
    """

    def encode(self, speech: torch.Tensor, lens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> frames [batch, frame, dim], counts [batch]."""
        return self.encoder(speech, lens), self.encoder.count_frames(speech, lens)

    def encode_stored(
        self, stored: torch.Tensor, counts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the encoder's frozen_part gave -> as encode."""
        return self.encoder.trained_part(stored, counts), counts

    def pool(self, frames: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """frames [batch, frame, dim], counts [batch] -> embedding [batch, dim]."""
        raise NotImplementedError

    def classify(self, *encoded: torch.Tensor) -> torch.Tensor:
        """What encode gives -> logits [batch, class]."""
        return self.head(self.pool(*encoded))

    def embed(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> embedding [batch, dim]."""
        return self.pool(*self.encode(speech, lens))

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> logits [batch, class]."""
        return self.classify(*self.encode(speech, lens))


class HiddenLayer(nn.Sequential):
    """embedding [batch, dim] -> [batch, width], by a linear layer and ReLU."""

    def __init__(self, dim: int, width: int = 256):
        super().__init__(nn.Linear(dim, width), nn.ReLU())


class Classifier(UtteranceNetwork):
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
