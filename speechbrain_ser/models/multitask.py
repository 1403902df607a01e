"""Gao 2023, sections 2 and 3: one encoder, a head per task, in one phase or in two."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from speechbrain_ser.data.targets import Spec
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.classifier import EncoderNetwork
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.losses import reverse_gradient
from speechbrain_ser.models.pooling import valid_mean

NO_INNER = "an encoder of one block has no inner one; use a deeper one, or a head without skip"


class PooledHead(LinearHead):
    """Classifies an utterance by its mean over time: [batch, dim], or [batch, 2 dim] with skip.

    Arguments
    ---------
    dim : of the frames
    labels : classes
    skip : whether the mean of an inner block's frames stands beside the last block's
    dropout, temperature, targets : see LinearHead
    """

    def __init__(
        self,
        dim: int,
        labels: Sequence[str],
        skip: bool = False,
        dropout: float = 0.1,
        temperature: float = 1.0,
        targets: Mapping[str, Spec] | None = None,
    ):
        super().__init__(dim * (1 + skip), labels, dropout, temperature, targets)
        self.skip = skip


class AsrHead(nn.Linear):
    """Names a token per frame: dropout and a linear layer; trained with CTC.

    tokenizer : of speechbrain_ser.data.text; it stays with the head
    """

    def __init__(self, dim: int, tokenizer, dropout: float = 0.1):
        super().__init__(dim, len(tokenizer))
        self.tokenizer = tokenizer
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """frames [batch, frame, dim] -> logits [batch, frame, token]."""
        return super().forward(self.dropout(frames))


class MultitaskNetwork(EncoderNetwork):
    """encoder -> a head for each of the tasks.

    Arguments
    ---------
    encoder : an Encoder, or CnnLstm
    heads : task -> its head, AsrHead for "asr" and PooledHead for others; those of other tasks
        than `tasks` are left out
    tasks : in the order of their losses
    adversarial : tasks whose gradient is reversed between the means and their head
    reversal : the factor of a reversed gradient
    skip_block : the block that heads with `skip` read beside the last one

    Raises InputError for a task without a head, or a skip without a block.
    """

    def __init__(
        self,
        encoder: nn.Module,
        heads: Mapping[str, nn.Module],
        tasks: Sequence[str],
        adversarial: Sequence[str] = (),
        reversal: float = 1.0,
        skip_block: int | None = None,
    ):
        super().__init__()
        for task in (*tasks, *adversarial):
            if task not in heads:
                raise InputError(f"there is no task {task!r}: use some of {', '.join(heads)}")
        for task in adversarial:
            if task not in tasks or task in ("asr", "emotion"):
                raise InputError(f"adversarial is {task!r}: name gender or style, and in tasks too")
        self.encoder = encoder
        self.heads = nn.ModuleDict({task: heads[task] for task in tasks})
        self.adversarial = tuple(adversarial)
        self.reversal = reversal
        self.skip_block = skip_block
        skips = [task for task, head in self.heads.items() if getattr(head, "skip", False)]
        if skips:
            if skip_block is None:
                raise InputError(
                    f"the {skips[0]} head has a skip: set skip_block to one of the blocks"
                )
            inner = len(self.encoder.blocks) - 1
            if not 1 <= skip_block <= inner:
                raise InputError(
                    f"skip_block is {skip_block}: "
                    + (f"use one of the inner blocks, 1 to {inner}" if inner else NO_INNER)
                )
        self.has_skip = bool(skips)

    @property
    def head(self) -> nn.Module:
        """The emotion head. Raises InputError for a model that has none."""
        if "emotion" not in self.heads:
            raise InputError(
                f"this model knows {', '.join(self.heads)}, no emotions: it is a first phase, give "
                "the best/ of the second one"
            )
        return self.heads["emotion"]

    def encode(self, speech: torch.Tensor, lens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> layers [layer, batch, frame, dim], counts [batch].

        The layers are the skip block's, if a head reads it, and the last block's.
        """
        counts = self.encoder.count_frames(speech, lens)
        if self.has_skip:
            return self.encoder.layers(speech, lens, (self.skip_block, -1)), counts
        return self.encoder(speech, lens).unsqueeze(0), counts

    def encode_stored(
        self, stored: torch.Tensor, counts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the encoder's frozen_part gave -> as encode."""
        if self.has_skip:
            return self.encoder.trained_layers(stored, counts, (self.skip_block, -1)), counts
        return self.encoder.trained_part(stored, counts).unsqueeze(0), counts

    def pool(self, layers: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """What encode gives -> embedding [batch, dim]: the last block's mean over time."""
        return self.mean(layers[-1], counts)

    def mean(self, frames: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """frames [batch, frame, dim], counts [batch] -> their mean over time [batch, dim]."""
        return valid_mean(frames, self.encoder.mask(counts, frames.shape[1]).unsqueeze(2))

    def task_logits(
        self, layers: torch.Tensor, counts: torch.Tensor, embedding: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """What encode and pool give -> the logits of each task."""
        inner = self.mean(layers[0], counts) if self.has_skip else None
        logits = {}
        for task, head in self.heads.items():
            if task == "asr":
                logits[task] = head(layers[-1])
                continue
            seen = (
                torch.cat([inner, embedding], 1) if inner is not None and head.skip else embedding
            )
            if task in self.adversarial:
                seen = reverse_gradient(seen, self.reversal)
            logits[task] = head(seen)
        return logits

    def outputs(self, speech: torch.Tensor, lens: torch.Tensor) -> dict[str, torch.Tensor]:
        """speech [batch, time], lens [batch] -> the logits of each task."""
        encoded = self.encode(speech, lens)
        return self.task_logits(*encoded, self.pool(*encoded))


class TwoStageNetwork(MultitaskNetwork):
    """The second phase: the encoder of a first one, frozen below, and its heads where they serve.

    Arguments
    ---------
    pretrained : the MultitaskNetwork of the first phase, whose skip block stays
    heads : new heads of the tasks that the first phase did not have
    tasks, adversarial, reversal : see MultitaskNetwork
    frozen : of the encoder, see Encoder
    time_mask : of the encoder's SpecAugment in this phase; None: as in the first

    Raises InputError for a time_mask where the first phase had none.
    """

    def __init__(
        self,
        pretrained: MultitaskNetwork,
        heads: Mapping[str, nn.Module],
        tasks: Sequence[str],
        adversarial: Sequence[str] = (),
        reversal: float = 1.0,
        frozen: int | str = 4,
        time_mask: float | None = None,
    ):
        pretrained.encoder.freeze(frozen)
        if time_mask is not None:
            set_time_mask(pretrained.encoder.model, time_mask)
        super().__init__(
            pretrained.encoder,
            {**heads, **pretrained.heads},
            tasks,
            adversarial,
            reversal,
            pretrained.skip_block,
        )


def set_time_mask(model: Any, share: float) -> None:
    """Another probability of SpecAugment's masks in time than Hugging Face's encoder was made with.

    Raises InputError where it has no embedding to mask with.
    """
    if share and not hasattr(model, "masked_spec_embed"):
        raise InputError(
            f"time_mask is {share}, and the encoder of the first phase has no SpecAugment: set "
            "time_mask to null, or give the first phase one above 0"
        )
    model.config.mask_time_prob = share
    model.config.apply_spec_augment = share + model.config.mask_feature_prob > 0
