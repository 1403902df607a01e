"""What a family of encoders says of itself, beside its computation; see Encoder."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from speechbrain_ser.data.lengths import Length


class Family(nn.Module):
    """The part of an Encoder that its family decides.

    PADDINGS, REGULARISERS : what its padding may be, its regularisers with their defaults
    most_samples : of a recording, where its positions end; None: any number
    entrance : the module whose output is layer 0, a property or a part
    """

    model: Any  # of Hugging Face, whose parts a type does not name
    dim: int
    PADDINGS: tuple[str, ...]
    REGULARISERS: dict[str, float | None]
    most_samples: int | None = None
    one_by_one = False
    has_fast_path = True

    def load(self, source: str | Mapping, regularisers: Mapping[str, float | None]) -> float:
        """Make `model`, Hugging Face's network; gives its LayerDrop."""
        raise NotImplementedError

    @property
    def blocks(self) -> nn.ModuleList:
        """Its transformer blocks."""
        raise NotImplementedError

    @property
    def cnn(self) -> list[nn.Module]:
        """The modules of the CNN."""
        raise NotImplementedError

    @property
    def cnn_dim(self) -> int:
        """The channels that the CNN gives."""
        raise NotImplementedError

    @property
    def below(self) -> list[nn.Module]:
        """The modules between CNN and blocks."""
        raise NotImplementedError

    @property
    def lora_targets(self) -> tuple[str, ...]:
        """The linear layers of a block that LoRA adapts by default."""
        return ("q_proj", "v_proj")

    @property
    def is_masked(self) -> bool:
        """Whether SpecAugment is on."""
        return False

    @property
    def has_adapter(self) -> bool:
        """Whether convolutions above the blocks shorten the frames."""
        return False

    @property
    def norm_on_top(self) -> bool:
        """Whether the encoder's own norm follows the last block, rather than precede the first."""
        return True

    @property
    def resumes(self) -> bool:
        """Whether a block needs the output of the one below, and nothing else."""
        return True

    def cnn_frames(self, samples: Length) -> Length:
        """Samples -> frames of the CNN, by its own arithmetic."""
        raise NotImplementedError

    def cnn_config(self) -> dict:
        """What of `describe` decides the CNN."""
        raise NotImplementedError
