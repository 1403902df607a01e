"""Pooling over time: frames [batch, frame, dim], valid [batch, frame] -> embedding [batch, dim]."""

import torch
from torch import nn

from speechbrain_ser.errors import InputError
from speechbrain_ser.models.padding import may_be_padded


def check_dim(encoder: nn.Module, pooling: nn.Module) -> None:
    """Raise InputError unless the pooling takes frames of the encoder's size."""
    if encoder.dim != pooling.dim:
        raise InputError(f"the encoder's dim is {encoder.dim}, not {pooling.dim}: set it so")


def valid_mean(frames: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """frames [batch, frame, dim], valid [batch, frame, 1] -> their mean [batch, dim]."""
    return (frames * valid).sum(dim=1) / valid.sum(dim=1)


class MeanPooling(nn.Module):
    """The mean over an item's valid frames.

    masked : False takes padding's frames for speech, so that an answer depends on batch-mates, as
        in the notebook that Gavali & Verma followed
    """

    def __init__(self, dim: int, masked: bool = True):
        super().__init__()
        self.dim = dim
        self.masked = masked

    def forward(self, frames: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        valid = valid if self.masked else torch.ones_like(valid)
        return self.pool(frames, valid.unsqueeze(2))  # of [batch, frame, 1]

    def pool(self, frames: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return valid_mean(frames, valid)


class NormalisedMeanPooling(MeanPooling):
    """The mean over an item's valid frames, once all its values have mean 0 and variance 1.

    SpeechBrain's wav2vec2 with output_norm, here over valid frames alone.
    """

    def pool(self, frames: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        count = valid.sum(dim=(1, 2), keepdim=True) * frames.shape[2]
        mean = (frames * valid).sum(dim=(1, 2), keepdim=True) / count  # [batch, 1, 1]
        variance = ((frames - mean).square() * valid).sum(dim=(1, 2), keepdim=True) / count
        return valid_mean((frames - mean) / (variance + 1e-5).sqrt(), valid)


class SumPooling(MeanPooling):
    """The sum over an item's valid frames; see MeanPooling."""

    def pool(self, frames: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return (frames * valid).sum(dim=1)


class MaxPooling(MeanPooling):
    """The maximum over an item's valid frames; see MeanPooling."""

    def pool(self, frames: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return frames.masked_fill(~valid, -torch.inf).max(dim=1).values


class AttentionMaxPooling(nn.Module):
    """One bare self-attention (no residual, norm or feed-forward), then the maximum over time.

    Park 2023, section 3.1, in the authors' form; 4 dim (dim + 1) parameters.

    Arguments
    ---------
    dim : size of frames and embedding
    heads : attention heads; the weights' shapes do not depend on it
    dropout : on the attention probabilities
    """

    def __init__(self, dim: int, heads: int = 4, dropout: float = 0.1):
        super().__init__()
        self.dim = dim
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)

    def set_heads(self, heads: int) -> None:
        """Use the same weights with another number of heads (Park 2023 trains 1 and uses 4)."""
        if heads < 1 or self.attention.embed_dim % heads:
            raise InputError(f"{heads} heads do not divide {self.attention.embed_dim} dimensions")
        self.attention.num_heads = heads
        self.attention.head_dim = self.attention.embed_dim // heads

    def forward(self, frames: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        mask = ~valid if may_be_padded(~valid) else None  # [batch, frame]
        attended, _ = self.attention(
            frames, frames, frames, key_padding_mask=mask, need_weights=False
        )  # [batch, frame, dim]
        if mask is not None:
            attended = attended.masked_fill(mask.unsqueeze(2), -torch.inf)
        return attended.max(dim=1).values  # [batch, dim]


class ParallelAttentionPooling(nn.Module):
    """ReLU, Linear, then k parallel attention blocks, each pooled: -> rows [batch, k, dim].

    Park 2023, section 3.1: every block reads the same frames.
    """

    def __init__(self, dim: int, blocks: int = 4, heads: int = 4, dropout: float = 0.1):
        super().__init__()
        self.dim = dim
        self.linear = nn.Linear(dim, dim)
        self.blocks = nn.ModuleList(AttentionMaxPooling(dim, heads, dropout) for _ in range(blocks))

    def forward(self, frames: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        frames = self.linear(torch.relu(frames))  # [batch, frame, dim]
        return torch.stack([block(frames, valid) for block in self.blocks], dim=1)
