"""Any Hugging Face speech encoder of the wav2vec 2.0 family, padding-exact."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.data.lengths import num_samples, trim
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import fast_path
from speechbrain_ser.models.padding import (
    ValidGroupNorm,
    may_be_padded,
    must_not_wait,
    pad_items,
    valid_mask,
)
from speechbrain_ser.models.pretrained import first, load_model

# their only dependence on padding is what Encoder handles; others are run one by one
BATCHED = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
MASKS_PADDING = ("hubert", "sew", "sew-d")  # their SpecAugment does not ask what is padding
RESUMED = ("wav2vec2", "hubert", "unispeech", "unispeech-sat")  # a block needs its input alone


class Encoder(nn.Module):
    """speech [batch, time], lens [batch] -> frames [batch, frame, dim], about 50 per second.

    With padding "exact" an utterance's frames do not depend on its batch-mates: wav2vec 2.0 base
    and its like (GroupNorm over time in the first layer) included. Architectures outside BATCHED
    reach that by running one utterance at a time. "as_published" passes no lengths at all, as the
    authors of several papers did.

    Arguments
    ---------
    source : a hub id or local folder with weights; or random weights from a config: the path of
        a config.json, or its content as a mapping
    frozen : "none"; "cnn", the convolutional feature encoder; a number m, everything up to and
        including the m lowest transformer blocks; or "all". Frozen parts stay in eval mode and
        build no graph
    frozen_dropout : keep the frozen parts' dropout and LayerDrop alive in training (as_published)
    hidden_dropout, attention_dropout, activation_dropout, projection_dropout, layerdrop,
    time_mask, feature_mask : every regulariser, whatever the config says; None is what the config
        says. The masks are SpecAugment probabilities
    padding : "exact" or "as_published"
    checkpoint_gradients : compute the blocks anew in the backward pass instead of keeping what
        they made: a third slower, for a fraction of the memory

    Raises InputError for a source that does not exist or holds no such encoder.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        source: str | Mapping,
        frozen: str | int = "cnn",
        frozen_dropout: bool = False,
        hidden_dropout: float | None = 0.1,
        attention_dropout: float | None = 0.1,
        activation_dropout: float | None = 0.0,
        projection_dropout: float | None = 0.1,
        layerdrop: float | None = 0.0,
        time_mask: float | None = 0.0,
        feature_mask: float | None = 0.0,
        padding: str = "exact",
        checkpoint_gradients: bool = False,
        cpu_fast_path: bool = True,
    ):
        super().__init__()
        if padding not in ("exact", "as_published"):
            raise InputError(f"padding is {padding!r}: use exact or as_published")
        self.source = source
        self.frozen_dropout = frozen_dropout
        self.padding = padding
        masked = time_mask is None or feature_mask is None or time_mask + feature_mask > 0
        self.model = load_model(
            source,
            hidden_dropout=hidden_dropout,
            attention_dropout=attention_dropout,
            activation_dropout=activation_dropout,
            feat_proj_dropout=projection_dropout,
            conformer_conv_dropout=hidden_dropout,
            layerdrop=layerdrop,
            apply_spec_augment=masked,
            mask_time_prob=time_mask,
            mask_feature_prob=feature_mask,
        )
        config = self.model.config
        self.dim = config.hidden_size
        # Hugging Face's would drop frozen blocks too; see _drop
        self.layerdrop = getattr(config, "layerdrop", 0.0)
        config.layerdrop = 0.0
        if checkpoint_gradients:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.one_by_one = padding == "exact" and (
            config.model_type not in BATCHED or getattr(config, "conv_pos_batch_norm", False)
        )
        self.cpu_fast_path = cpu_fast_path
        if cpu_fast_path:
            fast_path.install(self.model)
        if getattr(self.model.config, "feat_extract_norm", "layer") == "group":
            lowest = self.model.feature_extractor.conv_layers[0]
            lowest.layer_norm = ValidGroupNorm(lowest.layer_norm)
        for block in self.blocks:
            block.register_forward_hook(self._drop)
        self.freeze(frozen)

    def freeze(self, frozen: str | int) -> None:
        """Choose the frozen parts anew; see the class."""
        encoder = self.model.encoder
        below = [self.model.feature_projection, encoder.pos_conv_embed, encoder.dropout]
        if frozen == "none":
            parts = []
        elif frozen == "cnn":
            parts = [self.model.feature_extractor]
        elif frozen == "all":
            parts = [self.model]
        elif type(frozen) is int and 0 <= frozen <= len(self.blocks):  # True is none
            parts = [self.model.feature_extractor, *below, *self.blocks[:frozen]]
            if hasattr(self.model, "layer_norm"):  # SEW's, below its projection
                parts.append(self.model.layer_norm)
            if not self.norm_on_top:
                parts.append(encoder.layer_norm)
        else:
            raise InputError(
                f"frozen is {frozen!r}: use none, cnn, all, or 0 to {len(self.blocks)} blocks"
            )
        self.frozen_parts = parts
        self.requires_grad_(True)
        for part in parts:
            part.requires_grad_(False)
        if type(frozen) is int and hasattr(self.model, "masked_spec_embed"):
            self.model.masked_spec_embed.requires_grad_(False)
        # Hugging Face makes the convolutions' input require a gradient unless told so
        self.model.feature_extractor._requires_grad = self.model.feature_extractor not in parts
        if self.is_frozen:
            self.model.feature_extractor._requires_grad = False
        self.train(self.training)

    @property
    def blocks(self) -> nn.ModuleList:
        return self.model.encoder.layers

    @property
    def norm_on_top(self) -> bool:
        """Whether the encoder's own norm follows the last block, rather than precede the first."""
        config = self.model.config
        conformer = config.model_type == "wav2vec2-conformer"
        return conformer or getattr(config, "do_stable_layer_norm", False)

    @property
    def is_frozen(self) -> bool:
        return self.model in self.frozen_parts

    def train(self, mode: bool = True) -> "Encoder":
        super().train(mode)
        for part in self.frozen_parts:
            keep_frozen(part, dropout=self.frozen_dropout)
        return self

    def _drop(self, block: nn.Module, inputs: tuple, output: torch.Tensor | tuple):
        """LayerDrop: now and then a trained block's output is its input."""
        if block.training and self.layerdrop > 0 and torch.rand([]) < self.layerdrop:
            return (inputs[0], *output[1:]) if isinstance(output, tuple) else inputs[0]

    @property
    def depth(self) -> int:
        """How far what is frozen can be computed once: -1, not at all; 0, the CNN; i, block i.

        Below it nothing depends on chance or on padding.
        """
        if self.model.feature_extractor not in self.frozen_parts and not self.is_frozen:
            return -1
        if self.padding != "exact" or self.has_adapter:
            return -1
        frozen = 0
        for block in self.blocks if self.resumes else ():
            if not (self.is_frozen or block in self.frozen_parts):
                break
            frozen += 1
        return 0 if self.frozen_dropout or self.is_masked or self.one_by_one else frozen

    @property
    def resumes(self) -> bool:
        """Whether a block needs the output of the one below, and nothing else."""
        return self.model.config.model_type in RESUMED

    @property
    def is_masked(self) -> bool:
        """Whether SpecAugment is on."""
        config = self.model.config
        return getattr(config, "apply_spec_augment", True) and (
            config.mask_time_prob + config.mask_feature_prob > 0
        )

    def cnn_frames(self, samples: torch.Tensor | int) -> torch.Tensor | int:
        """Samples -> frames of the CNN, by its own arithmetic."""
        config = self.model.config
        return strided(samples, config.conv_kernel, config.conv_stride)

    def num_frames(self, samples: torch.Tensor | int) -> torch.Tensor | int:
        """Samples -> frames."""
        return self.adapted(self.cnn_frames(samples))

    def adapted(self, frames: torch.Tensor | int) -> torch.Tensor | int:
        """Frames of the CNN -> frames behind the adapter, if there is one."""
        config = self.model.config
        layers = config.num_adapter_layers if self.has_adapter else 0
        return strided(frames, [1] * layers, [config.adapter_stride] * layers) if layers else frames

    @property
    def has_adapter(self) -> bool:
        """Whether convolutions above the blocks shorten the frames."""
        return getattr(self.model.config, "add_adapter", False)

    def count_frames(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> frames [batch]."""
        return self.num_frames(num_samples(speech, lens))

    def mask(self, counts: torch.Tensor, longest: int) -> torch.Tensor:
        """counts [batch] of frames -> bool [batch, longest], True for what pooling may read."""
        valid = valid_mask(counts, longest)
        return torch.ones_like(valid) if self.padding == "as_published" else valid

    def valid_frames(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> bool [batch, frame], True for speech."""
        return self.mask(self.count_frames(speech, lens), self.num_frames(speech.shape[1]))

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> frames [batch, frame, dim] of the last block."""
        with self._graph():
            counts = self.cnn_frames(num_samples(speech, lens))
            return self._above(0, self._cnn(speech, lens), counts)

    @torch.no_grad()
    def frozen_part(
        self, speech: torch.Tensor, lens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> stored [batch, frame, dim], frames [batch].

        Stored is the output of block `depth`, or the CNN's where that is 0.
        """
        counts = self.count_frames(speech, lens)
        if self.depth > 0:
            return self.layers(speech, lens, [self.depth])[0], counts
        return self._cnn(speech, lens), counts

    def trained_part(self, stored: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """What frozen_part gave -> frames [batch, frame, dim] of the last block, as forward."""
        with self._graph():
            return self._above(max(0, self.depth), stored.float(), counts)

    def _graph(self):
        """Autograd, unless everything is frozen; no autocast where it would be wrong."""
        stack = contextlib.ExitStack()
        if self.is_frozen:
            stack.enter_context(torch.no_grad())
        if self.is_thin:
            stack.enter_context(torch.autocast("cpu", enabled=False))
        return stack

    @property
    def is_thin(self) -> bool:
        """Whether a group of the positional convolution has fewer than 16 channels.

        Then oneDNN's bfloat16 kernels for AMX give wrong numbers (torch 2.11). Published encoders
        have 32 and more.
        """
        convolutions = self.model.encoder.pos_conv_embed.modules()
        groups = [c for c in convolutions if isinstance(c, nn.Conv1d) and c.groups > 1]
        return any(1 < c.in_channels // c.groups < 16 for c in groups)

    def _cnn(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> the CNN's output [batch, frame, channel]."""
        cnn = self.model.feature_extractor
        if self.padding == "as_published":
            return cnn(speech).transpose(1, 2)
        samples = num_samples(speech, lens)  # [batch]
        if self.one_by_one or self.is_packed(speech):
            items = [cnn(item).transpose(1, 2) for item in trim(speech, samples)]
            return pad_items(items, self.cnn_frames(speech.shape[1]))
        with self._first_norm_over(samples, speech.shape[1]):
            return cnn(speech * valid_mask(samples, speech.shape[1])).transpose(1, 2)

    def _above(self, depth: int, inputs: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """The output of block `depth`, the CNN's for 0 -> frames of the last block.

        inputs [batch, frame, dim], counts [batch] of frames
        """
        longest = inputs.shape[1]
        if depth == len(self.blocks):
            return inputs
        if self.is_packed(inputs):
            return self.unpack(self._above_packed(depth, inputs, counts), counts, longest)
        if self.padding == "as_published":
            return self._above_cnn(inputs, None)
        if self.one_by_one:
            alone = [self._above_cnn(item, None) for item in trim(inputs, counts)]
            return pad_items(alone, self.adapted(longest))
        valid = valid_mask(counts, longest)
        if depth == 0:
            return self._above_cnn(inputs, valid)
        mask = create_bidirectional_mask(self.model.config, inputs, valid)
        for block in self.blocks[depth:]:
            inputs = first(block(inputs, attention_mask=mask))
        return self.model.encoder.layer_norm(inputs) if self.norm_on_top else inputs

    def _above_cnn(self, features: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        """The CNN's output [batch, frame, channel], valid [batch, frame] -> frames."""
        model = self.model
        if hasattr(model, "layer_norm"):  # SEW's, below its projection
            features = model.layer_norm(features)
        hidden = first(model.feature_projection(features))
        if hasattr(model, "feature_dropout"):
            hidden = model.feature_dropout(hidden)
        within = None if model.config.model_type in MASKS_PADDING else valid
        hidden = model._mask_hidden_states(hidden, attention_mask=within)
        frames = model.encoder(hidden, attention_mask=valid).last_hidden_state
        return model.adapter(frames) if self.has_adapter else frames

    def is_packed(self, inputs: torch.Tensor) -> bool:
        """Whether a batch on this tensor's device is computed as one row without padding.

        Then cpu_fast_path lets utterances follow each other, [1, frames of all, dim].
        """
        return (
            self.cpu_fast_path
            and inputs.device.type == "cpu"
            and not must_not_wait(inputs)
            and self.padding == "exact"
            and self.resumes
            and not (self.one_by_one or self.is_masked)
            and not self.has_adapter
        )

    def _above_packed(self, depth: int, inputs: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """As _above -> [1, frames of all utterances, dim]."""
        transformer = self.model.encoder
        frames = torch.cat(trim(inputs, counts), dim=1)
        sizes = counts.tolist()
        if depth == 0:
            frames = first(self.model.feature_projection(frames))
            positions = [transformer.pos_conv_embed(item) for item in frames.split(sizes, dim=1)]
            frames = frames + torch.cat(positions, dim=1)
            if not self.norm_on_top:
                frames = transformer.layer_norm(frames)
            frames = transformer.dropout(frames)
        for block in self.blocks[depth:]:
            frames = first(block(frames, attention_mask=sizes))
        return transformer.layer_norm(frames) if self.norm_on_top else frames

    @staticmethod
    def unpack(frames: torch.Tensor, counts: torch.Tensor, longest: int) -> torch.Tensor:
        """[1, frames of all utterances, dim], counts [batch] -> [batch, longest, dim]."""
        return pad_items(list(frames.split(counts.tolist(), dim=1)), longest)

    def layers(
        self, speech: torch.Tensor, lens: torch.Tensor, chosen: Sequence[int] | None = None
    ) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> layers [1 + block, batch, frame, dim].

        chosen : numbers of the layers to give, in this order; None gives all

        Layer 0 is the feature projection, before the positional convolution; the last one is what
        forward returns. LayerDrop is off here: a dropped layer would leave a gap in the stack.
        """
        samples = num_samples(speech, lens)
        if self.one_by_one and (len(speech) > 1 or samples[0] < speech.shape[1]):
            whole = torch.ones(1, device=speech.device)
            alone = [self.layers(item, whole, chosen) for item in trim(speech, samples)]
            longest = self.num_frames(speech.shape[1])
            padded = [pad_items(list(layer), longest) for layer in zip(*alone, strict=True)]
            return torch.stack(padded)
        counts, longest = self.num_frames(samples), self.num_frames(speech.shape[1])
        collected = self._collect(lambda: self.forward(speech, lens), counts, longest)
        return torch.stack(collected if chosen is None else [collected[i] for i in chosen])

    def trained_layers(
        self, stored: torch.Tensor, counts: torch.Tensor, chosen: Sequence[int]
    ) -> torch.Tensor:
        """What frozen_part gave -> the chosen layers, as `layers`.

        Raises InputError for a layer below the stored one.
        """
        depth = self.depth
        if any(0 <= number < depth for number in chosen):
            raise InputError(f"layers below block {depth} are cached: set cache to null")
        run = functools.partial(self.trained_part, stored, counts)
        collected = self._collect(run, counts, stored.shape[1])
        if depth > 0:
            collected = [None] * depth + [stored.float(), *collected]
        return torch.stack([collected[i] for i in chosen])

    def _collect(self, run: Callable, counts: torch.Tensor, longest: int) -> list[torch.Tensor]:
        """The layers that a pass computes, [batch, frame, dim] each."""
        collected = []

        def collect(_: nn.Module, __: tuple, output: torch.Tensor | tuple) -> None:
            frames = first(output)
            packed = self.is_packed(frames)
            collected.append(self.unpack(frames, counts, longest) if packed else frames)

        hooks = [
            module.register_forward_hook(collect)
            for module in (self.model.feature_projection, *self.blocks)
        ]
        layerdrop, self.layerdrop = self.layerdrop, 0.0
        try:
            frames = run()
        finally:
            self.layerdrop = layerdrop
            for hook in hooks:
                hook.remove()
        if collected:
            collected[-1] = frames  # behind the norm on top, if there is one
        return collected

    @contextlib.contextmanager
    def _first_norm_over(self, samples: torch.Tensor, time: int):
        """Tell the first GroupNorm, if there is one, how many of its frames are speech."""
        layer = self.model.feature_extractor.conv_layers[0]
        if not isinstance(getattr(layer, "layer_norm", None), ValidGroupNorm):
            yield
            return
        frames = (samples - layer.conv.kernel_size[0]) // layer.conv.stride[0] + 1
        layer.layer_norm.valid_frames = frames if may_be_padded(samples < time) else None
        try:
            yield
        finally:
            layer.layer_norm.valid_frames = None

    def describe(self) -> dict:
        """The config as plain values: what `source` may be to build this network anew."""
        config = self.model.config.to_diff_dict() | {"layerdrop": self.layerdrop}
        dropped = ("transformers_version", "architectures", "dtype", "torch_dtype")
        return {"model_type": self.model.config.model_type} | {
            key: value
            for key, value in config.items()
            if key not in dropped and not key.startswith("_")
        }

    def cnn_config(self) -> dict:
        """The part of `describe` that decides what the CNN computes."""
        kept = ("model_type", "conv_", "feat_extract_", "squeeze")
        return {key: value for key, value in self.describe().items() if key.startswith(kept)}


def strided(
    length: torch.Tensor | int, kernels: Sequence[int], strides: Sequence[int]
) -> torch.Tensor | int:
    """A length behind convolutions without padding."""
    for kernel, stride in zip(kernels, strides, strict=True):
        length = (length - kernel) // stride + 1
    return length


def keep_frozen(part: nn.Module, dropout: bool) -> None:
    """Eval mode for a frozen part in training; with `dropout`, for its batch statistics only."""
    for module in part.modules() if dropout else [part]:
        if not dropout or isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
