"""wav2vec 2.0, HuBERT, WavLM, UniSpeech, data2vec and their like: a CNN on the waveform."""

import contextlib
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize
from transformers.masking_utils import create_bidirectional_mask

from speechbrain_ser.data.lengths import Length, num_samples, trim
from speechbrain_ser.models.encoders import Encoder, unpack
from speechbrain_ser.models.encoders.fast_cnn import FastCnn
from speechbrain_ser.models.encoders.pretrained import first, load_model
from speechbrain_ser.models.padding import ValidGroupNorm, may_be_padded, pad_items, valid_mask

# their only dependence on padding is what WaveformEncoder handles; others are run one by one
BATCHED = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
MASKS_PADDING = ("hubert", "sew", "sew-d")  # their SpecAugment does not ask what is padding
# a block needs its input alone
RESUMED = ("wav2vec2", "hubert", "unispeech", "unispeech-sat", "data2vec-audio")


class WaveformEncoder(Encoder):
    """An Encoder of the wav2vec 2.0 family.

    With padding "exact" wav2vec 2.0 base and its like (GroupNorm over time in the first layer) are
    exact too. Architectures outside BATCHED reach that by running one utterance at a time.
    "as_published" passes no lengths at all, as the authors of several papers did.

    time_mask and feature_mask are SpecAugment's probabilities.

    Layer 0 is the feature projection, before the positional convolution.
    """

    PADDINGS = ("exact", "as_published")
    REGULARISERS = {
        "hidden_dropout": 0.1,
        "attention_dropout": 0.1,
        "activation_dropout": 0.0,
        "projection_dropout": 0.1,
        "layerdrop": 0.0,
        "time_mask": 0.0,
        "feature_mask": 0.0,
    }

    @property
    def lora_targets(self) -> tuple[str, str]:
        is_conformer = self.model.config.model_type == "wav2vec2-conformer"
        return ("linear_q", "linear_v") if is_conformer else ("q_proj", "v_proj")

    def load(self, source: str | Mapping, regularisers: Mapping[str, float | None]) -> float:
        self.model = load_regularised(source, regularisers, self.weights_of)
        config = self.model.config
        self.dim = config.hidden_size
        self.one_by_one = self.padding == "exact" and (
            config.model_type not in BATCHED or getattr(config, "conv_pos_batch_norm", False)
        )
        if getattr(config, "feat_extract_norm", "layer") == "group":
            lowest = self.model.feature_extractor.conv_layers[0]
            lowest.layer_norm = ValidGroupNorm(lowest.layer_norm)
        is_fast = self.cpu_fast_path and FastCnn.suits(self.model.feature_extractor)
        self.fast_cnn = FastCnn(self.model.feature_extractor) if is_fast else None
        self.valid: torch.Tensor | None = None  # [batch, frame] of a padded batch, while it runs
        for layer in getattr(self.model.encoder.pos_conv_embed, "layers", []):  # data2vec's five
            layer.register_forward_pre_hook(self._without_padding)
        # Hugging Face's own LayerDrop would drop frozen blocks too
        layerdrop = getattr(config, "layerdrop", 0.0)
        config.layerdrop = 0.0
        return layerdrop

    @property
    def blocks(self) -> nn.ModuleList:
        return self.model.encoder.layers

    @property
    def entrance(self) -> nn.Module:
        return self.model.feature_projection

    @property
    def cnn(self) -> list[nn.Module]:
        return [self.model.feature_extractor]

    @property
    def cnn_dim(self) -> int:
        return self.model.config.conv_dim[-1]

    @property
    def below(self) -> list[nn.Module]:
        encoder = self.model.encoder
        parts = [self.model.feature_projection, encoder.pos_conv_embed, encoder.dropout]
        if hasattr(self.model, "layer_norm"):  # SEW's, below its projection
            parts.append(self.model.layer_norm)
        return parts if self.norm_on_top else [*parts, encoder.layer_norm]

    def freeze(self, frozen: str | int) -> None:
        super().freeze(frozen)
        if type(frozen) is int and hasattr(self.model, "masked_spec_embed"):
            self.model.masked_spec_embed.requires_grad_(False)
        # Hugging Face makes the convolutions' input require a gradient unless told so
        self.model.feature_extractor._requires_grad = not self.is_cnn_frozen

    @property
    def norm_on_top(self) -> bool:
        """Whether the encoder's own norm follows the last block, rather than precede the first."""
        config = self.model.config
        conformer = config.model_type == "wav2vec2-conformer"
        return conformer or getattr(config, "do_stable_layer_norm", False)

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

    def cnn_frames(self, samples: Length) -> Length:
        """Samples -> frames of the CNN, by its own arithmetic."""
        config = self.model.config
        return strided(samples, config.conv_kernel, config.conv_stride)

    def num_frames(self, samples: Length) -> Length:
        """Samples -> frames."""
        return self.adapted(self.cnn_frames(samples))

    def adapted(self, frames: Length) -> Length:
        """Frames of the CNN -> frames behind the adapter, if there is one."""
        config = self.model.config
        layers = config.num_adapter_layers if self.has_adapter else 0
        return strided(frames, [1] * layers, [config.adapter_stride] * layers) if layers else frames

    @property
    def has_adapter(self) -> bool:
        """Whether convolutions above the blocks shorten the frames."""
        return getattr(self.model.config, "add_adapter", False)

    def _graph(self):
        """Autograd, unless everything is frozen; no autocast where it would be wrong."""
        stack = contextlib.ExitStack()
        if self.is_frozen:
            stack.enter_context(torch.no_grad())
        if self.is_thin:
            stack.enter_context(torch.autocast("cpu", enabled=False))
        return stack

    def settle(self, dtype: torch.dtype = torch.float32) -> None:
        """Also the weights of the positional convolutions, from their directions and lengths."""
        for part in self.model.encoder.pos_conv_embed.modules():
            if parametrize.is_parametrized(part, "weight"):
                weight = part.weight.detach()
                parametrize.remove_parametrizations(part, "weight")
                del part.weight  # a frozen one would be no parameter, and stay on its device
                part.weight = nn.Parameter(weight, requires_grad=False)
        if not self.is_thin:
            super().settle(dtype)

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
            items = [self._cnn_alone(item) for item in trim(speech, samples)]
            return pad_items(items, self.cnn_frames(speech.shape[1]))
        with self._first_norm_over(samples, speech.shape[1]):
            return cnn(speech * valid_mask(samples, speech.shape[1])).transpose(1, 2)

    def _cnn_alone(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [1, time] without padding -> the CNN's output [1, frame, channel]."""
        if self.fast_cnn is not None and self.fast_cnn.is_for(speech):
            return self.fast_cnn(speech)
        return self.model.feature_extractor(speech).transpose(1, 2)

    def _above(self, depth: int, inputs: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """The output of block `depth`, the CNN's for 0 -> frames of the last block.

        inputs [batch, frame, dim], counts [batch] of frames
        """
        longest = inputs.shape[1]
        if depth == len(self.blocks):
            return inputs
        if self.is_packed(inputs):
            return unpack(self._above_packed(depth, inputs, counts), counts, longest)
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
        self.valid = valid
        try:
            frames = model.encoder(hidden, attention_mask=valid).last_hidden_state
        finally:
            self.valid = None
        return model.adapter(frames) if self.has_adapter else frames

    def _without_padding(self, layer: nn.Module, inputs: tuple):
        """Zeros behind an utterance's end for each positional convolution, as if alone."""
        if self.valid is not None:
            return (inputs[0] * self.valid.unsqueeze(1),)  # [batch, dim, frame]

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

    def layers(
        self, speech: torch.Tensor, lens: torch.Tensor, chosen: Sequence[int] | None = None
    ) -> torch.Tensor:
        samples = num_samples(speech, lens)
        if not self.one_by_one or len(speech) == 1 and samples[0] == speech.shape[1]:
            return super().layers(speech, lens, chosen)
        whole = torch.ones(1, device=speech.device)
        alone = [self.layers(item, whole, chosen) for item in trim(speech, samples)]
        longest = self.num_frames(speech.shape[1])
        padded = [pad_items(list(layer), longest) for layer in zip(*alone, strict=True)]
        return torch.stack(padded)

    def _in_batch(self, frames: torch.Tensor, counts: torch.Tensor, longest: int) -> torch.Tensor:
        """Also with each frame of SEW's blocks, which see some frames as one, as often as it is."""
        frames = super()._in_batch(frames, counts, longest)
        squeezed = getattr(self.model.config, "squeeze_factor", 1)
        if squeezed == 1 or frames.shape[1] >= longest:
            return frames
        frames = frames.repeat_interleave(squeezed, dim=1)[:, :longest]
        return nn.functional.pad(frames, (0, 0, 0, longest - frames.shape[1]))

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

    def cnn_config(self) -> dict:
        """The part of `describe` that decides what the CNN computes."""
        kept = ("model_type", "conv_", "feat_extract_", "squeeze")
        return {key: value for key, value in self.describe().items() if key.startswith(kept)}


def strided(length: Length, kernels: Sequence[int], strides: Sequence[int]) -> Length:
    """A length behind convolutions without padding."""
    for kernel, stride in zip(kernels, strides, strict=True):
        length = (length - kernel) // stride + 1
    return length


def load_regularised(
    source: str | Mapping, regularisers: Mapping[str, float | None], weights_of: str | None
) -> nn.Module:
    """The network of a source with WaveformEncoder.REGULARISERS in its config."""
    masks = regularisers["time_mask"], regularisers["feature_mask"]
    return load_model(
        source,
        weights_of=weights_of,
        hidden_dropout=regularisers["hidden_dropout"],
        attention_dropout=regularisers["attention_dropout"],
        activation_dropout=regularisers["activation_dropout"],
        feat_proj_dropout=regularisers["projection_dropout"],
        conformer_conv_dropout=regularisers["hidden_dropout"],
        layerdrop=regularisers["layerdrop"],
        apply_spec_augment=None in masks or sum(mask or 0.0 for mask in masks) > 0,
        mask_time_prob=masks[0],
        mask_feature_prob=masks[1],
    )
