"""Park 2023, sections 3.1 and 3.2: the emotion network, and its fusion with the speaker network."""

from typing import Any

import torch
from torch import nn

from speechbrain_ser.errors import InputError
from speechbrain_ser.models.classifier import EncoderNetwork, UtteranceNetwork
from speechbrain_ser.models.encoders import Encoder, keep_frozen
from speechbrain_ser.models.pooling import ParallelAttentionPooling, check_dim
from speechbrain_ser.models.speaker import EcapaNetwork, SpeakerNetwork


class EmotionNetwork(EncoderNetwork):
    """encoder -> k pooled rows -> elementwise weighted sum (tensor fusion, eq. 5) -> head."""

    def __init__(self, encoder: nn.Module, pooling: ParallelAttentionPooling, head: nn.Module):
        super().__init__()
        check_dim(encoder, pooling)
        self.encoder = encoder
        self.pooling = pooling
        self.fusion = nn.Parameter(torch.randn(1, len(pooling.blocks), self.encoder.dim))
        self.head = head

    def pool(self, frames: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """frames [batch, frame, dim], counts [batch] -> embedding [batch, dim]."""
        rows = self.pooling(frames, self.encoder.mask(counts, frames.shape[1]))  # [batch, k, dim]
        return (self.fusion * rows).sum(dim=1)


class FusionNetwork(UtteranceNetwork):
    """The speaker embedding as one more row of the emotion network's tensor fusion.

    Arguments
    ---------
    speaker : a trained SpeakerNetwork or EcapaNetwork
    emotion : a trained EmotionNetwork
    regime : what of the speaker network is frozen: "frozen", all of it; "arcface", its encoder;
        "all", only what its encoder itself freezes (the CNN)
    speaker_head : over the training speakers, for the speaker loss of the last two regimes; the
        speaker network's own head, over the speakers that it was trained on, stays as it is
    speaker_attention_heads : of the speaker network in use; None keeps as many as in training
    layerdrop : of both encoders, while training (Park 2023, authors' code: 0.05 in this phase)
    frozen_dropout : keep dropout and LayerDrop of the frozen parts alive in training, as the
        authors' code does
    share_cnn : compute the CNN once where both encoders have the same one, frozen since the same
        checkpoint, as the paper's are. No result depends on it

    Raises InputError if the two embeddings differ in size.
    """

    def __init__(
        self,
        speaker: SpeakerNetwork | EcapaNetwork,
        emotion: EmotionNetwork,
        regime: str = "frozen",
        speaker_head: nn.Module | None = None,
        speaker_attention_heads: int | None = None,
        layerdrop: float = 0.0,
        frozen_dropout: bool = False,
        share_cnn: bool = True,
    ):
        super().__init__()
        frozen: dict[str, list] = {
            "frozen": [speaker],
            "arcface": [speaker.encoder, speaker.head],
            "all": [speaker.head],
        }
        if regime not in frozen:
            raise InputError(f"regime is {regime!r}: use one of {', '.join(frozen)}")
        if speaker.dim != emotion.encoder.dim:
            raise InputError(
                f"the speaker embedding has {speaker.dim} dimensions and the emotion embedding "
                f"{emotion.encoder.dim}: train the speaker network with the same size"
            )
        self.speaker = speaker
        self.emotion = emotion
        self.fusion = nn.Parameter(torch.randn(1, speaker.dim))  # the speaker's row of eq. 5
        self.speaker_head = None if regime == "frozen" else speaker_head
        pooling: Any = getattr(speaker, "pooling", None)
        if speaker_attention_heads is not None and pooling is not None:
            pooling.set_heads(speaker_attention_heads)
        for encoder in (speaker.encoder, emotion.encoder):
            if hasattr(encoder, "model"):
                encoder.layerdrop = layerdrop
        self.share_cnn = share_cnn
        self.one_cnn = False  # until train or eval has compared the two
        self.regime = regime
        self.frozen_dropout = frozen_dropout
        self.frozen_parts = frozen[regime]
        for part in self.frozen_parts:
            part.requires_grad_(False)

    @property
    def encoder(self) -> Any:
        """The emotion network's, which is trained."""
        return self.emotion.encoder

    @property
    def head(self) -> nn.Module:
        return self.emotion.head

    def train(self, mode: bool = True) -> "FusionNetwork":
        super().train(mode)
        for part in self.frozen_parts:
            keep_frozen(part, dropout=self.frozen_dropout)
        self.one_cnn = self.share_cnn and same_cnn(self.speaker.encoder, self.encoder)
        return self

    def encode(self, speech: torch.Tensor, lens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """speech [batch, time], lens [batch] -> frames, counts and speaker embedding [batch, dim].

        Frames and counts are the emotion network's.
        """
        if not self.one_cnn:
            speaker = self.speaker.embed(speech, lens)
            return *self.emotion.encode(speech, lens), speaker
        stored, counts = self.encoder.frozen_part(speech, lens)
        speaker = self.speaker.pool(*self.speaker.encode_stored(stored, counts))
        return self.encode_stored(stored, counts, speaker)

    def encode_stored(
        self, stored: torch.Tensor, counts: torch.Tensor, speaker: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """What the emotion encoder's frozen_part gave, speaker [batch, dim] -> as encode."""
        return *self.emotion.encode_stored(stored, counts), speaker

    def pool(
        self, frames: torch.Tensor, counts: torch.Tensor, speaker: torch.Tensor
    ) -> torch.Tensor:
        """What encode gives -> fused embedding [batch, dim]."""
        return self.fusion * speaker + self.emotion.pool(frames, counts)


def same_cnn(one: nn.Module, other: nn.Module) -> bool:
    """Whether two encoders have equal CNNs, and can go on from its output."""
    if not (isinstance(one, Encoder) and isinstance(other, Encoder)):
        return False
    if one.depth != 0 or other.depth != 0 or one.cnn_config() != other.cnn_config():
        return False
    states = (nn.ModuleList(part.cnn).state_dict().values() for part in (one, other))
    return all(map(torch.equal, *states))
