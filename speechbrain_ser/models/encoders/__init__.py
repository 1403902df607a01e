"""Speech encoders of Hugging Face behind one interface, a file per family.

`Encoder(source)` is of the family that the config's model_type names.
"""

import contextlib
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.data.lengths import Length, num_samples
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.encoders import fast_path, fingerprints
from speechbrain_ser.models.encoders import lora as low_rank
from speechbrain_ser.models.encoders.family import Family
from speechbrain_ser.models.encoders.pretrained import (
    first,
    is_normalised,
    model_type_of,
    name_of,
)
from speechbrain_ser.models.padding import must_not_wait, pad_items, valid_mask

FAMILIES = {  # model_type of a config: file and class
    **dict.fromkeys(("wav2vec2", "hubert", "wavlm"), "waveform.WaveformEncoder"),
    **dict.fromkeys(("unispeech", "unispeech-sat", "sew"), "waveform.WaveformEncoder"),
    **dict.fromkeys(("data2vec-audio", "wav2vec2-conformer"), "waveform.WaveformEncoder"),
    "whisper": "whisper.WhisperEncoder",
    "wav2vec2-bert": "wav2vec2_bert.Wav2Vec2BertEncoder",
}
REGULARISERS = (  # of some family; those that another lacks may be null or 0 there
    *("hidden_dropout", "attention_dropout", "activation_dropout", "projection_dropout"),
    *("layerdrop", "time_mask", "feature_mask"),
)


class Enough(Exception):
    """Ends a pass whose last layers nobody asked for."""


class Encoder(Family):
    """speech [batch, time], lens [batch] -> frames [batch, frame, dim], 50 per second.

    An encoder is a CNN, transformer blocks above it, and a norm. With padding "exact" an
    utterance's frames do not depend on its batch-mates. What a family makes of this: see Family.

    Arguments
    ---------
    source : a hub id or local folder with weights; or random weights from a config: the path of
        a config.json, or its content as a mapping. A folder in the folder that the environment
        names, SER_ENCODERS, goes before the Hub
    frozen : "none"; "cnn", the convolutional feature encoder; a number m, everything up to and
        including the m lowest transformer blocks; or "all". Frozen parts stay in eval mode and
        build no graph
    frozen_dropout : keep the frozen parts' dropout and LayerDrop alive in training (as_published)
    padding : "exact", or what an official implementation did instead; see the family
    checkpoint_gradients : compute the blocks anew in the backward pass instead of keeping what
        they made: a third slower, for a fraction of the memory
    cpu_fast_path : on a CPU, utterances of a batch end to end without padding, see fast_path
    lora : {rank: 8, alpha: 16, targets: [q_proj, v_proj]}, each optional: instead of the blocks'
        weights products of low rank are trained beside them; in best/ they are merged
    weights_of, fingerprint : of a light best/, where source is a config: the name in SER_ENCODERS
        or on the Hub of the encoder whose weights it gets, and that one's answers
    hidden_dropout, attention_dropout, activation_dropout, layerdrop, and more of a family : every
        regulariser, whatever the config says; None is what the config says

    Raises InputError for a source that does not exist or holds no such encoder, for weights that
    are another encoder's, and for a regulariser that the family does not have.
    """

    sample_rate = SAMPLE_RATE

    def __new__(cls, source=None, *_, **__):  # a copy gives none
        """Of the family that the source belongs to."""
        return super().__new__(family_of(source) if cls is Encoder else cls)

    def __init__(
        self,
        source: str | Mapping,
        frozen: str | int = "cnn",
        frozen_dropout: bool = False,
        padding: str = "exact",
        checkpoint_gradients: bool = False,
        cpu_fast_path: bool = True,
        lora: Mapping | None = None,
        weights_of: str | None = None,
        fingerprint: Sequence[float] = (),
        **regularisers: float | None,
    ):
        super().__init__()
        if padding not in self.PADDINGS:
            raise InputError(f"padding is {padding!r}: use {' or '.join(self.PADDINGS)}")
        absent = [
            name
            for name, value in regularisers.items()
            if name not in self.REGULARISERS and (value or name not in REGULARISERS)
        ]
        if absent:
            raise InputError(
                f"{type(self).__name__} has no {absent[0]}: set {absent[0]} to null, or use some "
                f"of {', '.join(self.REGULARISERS)}"
            )
        self.source = source
        self.weights_of = weights_of
        self.frozen_dropout = frozen_dropout
        self.padding = padding
        self.cpu_fast_path = cpu_fast_path
        self.normalised = is_normalised(source)  # what it was pretrained on; None: not known
        self.layerdrop = self.load(source, self.REGULARISERS | regularisers)  # see _drop
        if cpu_fast_path and self.has_fast_path:
            fast_path.install(self.model)
        if checkpoint_gradients:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        for block in self.blocks:
            block.register_forward_hook(self._drop)
        if lora is not None:
            targets = {"targets": self.lora_targets}
            low_rank.insert(self.blocks, **targets | low_rank.settings_of(lora))
        self.freeze(frozen)
        if weights_of is not None and not next(self.parameters()).is_meta:
            fingerprints.check(self, fingerprint, weights_of)

    def freeze(self, frozen: str | int) -> None:
        """Choose the frozen parts anew; see the class."""
        if frozen == "none":
            parts: list[nn.Module] = []
        elif frozen == "cnn":
            parts = self.cnn
        elif frozen == "all":
            parts = [self.model]
        elif type(frozen) is int and 0 <= frozen <= len(self.blocks):  # True is none
            parts = [*self.cnn, *self.below, *self.blocks[:frozen]]
        else:
            raise InputError(
                f"frozen is {frozen!r}: use none, cnn, all, or 0 to {len(self.blocks)} blocks"
            )
        self.frozen_parts = parts
        self.requires_grad_(True)
        for part in parts:
            part.requires_grad_(False)
        if low_rank.layers_of(self.model):
            low_rank.train_alone(self.model)
        self.train(self.training)

    def merge(self) -> None:
        """Make plain weights of what LoRA added."""
        low_rank.merge(self.model)

    def settle(self, dtype: torch.dtype = torch.float32) -> None:
        """Compute once what each call would, for a network that trains no more; in place.

        dtype : of the autocast under which it is used: it would round the blocks' matrices at each
            call; the answers are the same, in half of the memory. Not where the encoder refuses
            autocast
        """
        for part in self.blocks.modules():
            if type(part) is nn.Linear and dtype != torch.float32:
                part.to(dtype)

    @property
    def name(self) -> str | None:
        """What its weights are found by on another machine; None if they are this model's own."""
        if low_rank.layers_of(self.model) or any(p.requires_grad for p in self.parameters()):
            return None
        return self.weights_of or name_of(self.source)

    @property
    def is_frozen(self) -> bool:
        return self.model in self.frozen_parts

    @property
    def is_cnn_frozen(self) -> bool:
        return self.is_frozen or all(part in self.frozen_parts for part in self.cnn)

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
        if not self.is_cnn_frozen or self.padding != "exact" or self.has_adapter:
            return -1
        frozen = 0
        for block in self.blocks if self.resumes else ():
            if not (self.is_frozen or block in self.frozen_parts):
                break
            frozen += 1
        return 0 if self.frozen_dropout or self.is_masked or self.one_by_one else frozen

    def num_frames(self, samples: Length) -> Length:
        """Samples -> frames."""
        return self.cnn_frames(samples)

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
        """Autograd, unless everything is frozen."""
        return torch.no_grad() if self.is_frozen else contextlib.nullcontext()

    def _cnn(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> the CNN's output [batch, frame, channel]."""
        raise NotImplementedError

    def _above(self, depth: int, inputs: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """The output of block `depth`, the CNN's for 0 -> frames of the last block.

        inputs [batch, frame, dim], counts [batch] of frames
        """
        raise NotImplementedError

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

    def _in_batch(self, frames: torch.Tensor, counts: torch.Tensor, longest: int) -> torch.Tensor:
        """What a block gave, [1, frames of all, dim] if packed -> [batch, longest, dim]."""
        return unpack(frames, counts, longest) if self.is_packed(frames) else frames

    def layers(
        self, speech: torch.Tensor, lens: torch.Tensor, chosen: Sequence[int] | None = None
    ) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> layers [1 + block, batch, frame, dim].

        chosen : numbers of the layers to give, in this order; None gives all

        Layer 0 is what the entrance gives (see the family); the last one is what forward returns.
        LayerDrop is off here: a dropped layer would leave a gap in the stack. Blocks above the
        highest chosen layer are not computed.
        """
        counts, longest = self.count_frames(speech, lens), self.num_frames(speech.shape[1])
        every = range(1 + len(self.blocks))
        numbers = [every[number] for number in (every if chosen is None else chosen)]
        run = functools.partial(self.forward, speech, lens)
        collected = self._collect(run, counts, longest, 1 + max(numbers))
        return torch.stack([collected[number] for number in numbers])

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
            stored = stored.float()
            collected = [stored[:0]] * depth + [stored, *collected]  # nobody chooses those below
        return torch.stack([collected[i] for i in chosen])

    def _collect(
        self, run: Callable, counts: torch.Tensor, longest: int, needed: int | None = None
    ) -> list[torch.Tensor]:
        """The layers that a pass computes, [batch, frame, dim] each.

        needed : where the pass may end; None, and where a graph is made of it: nowhere
        """
        collected: list[torch.Tensor] = []
        is_whole = needed in (None, 1 + len(self.blocks))

        def collect(_: nn.Module, __: tuple, output: torch.Tensor | tuple) -> None:
            collected.append(self._in_batch(first(output), counts, longest))
            if len(collected) == needed and not is_whole and not torch.compiler.is_compiling():
                raise Enough

        hooks = [part.register_forward_hook(collect) for part in (self.entrance, *self.blocks)]
        layerdrop, self.layerdrop = self.layerdrop, 0.0
        try:
            frames = run()
        except Enough:
            return collected
        finally:
            self.layerdrop = layerdrop
            for hook in hooks:
                hook.remove()
        if collected:
            collected[-1] = frames  # behind the norm on top, if there is one
        return collected

    def describe(self) -> dict:
        """The config as plain values: what `source` may be to build this network anew.

        Not what a Hub's file says of its own classes and task.
        """
        config = self.model.config.to_diff_dict() | {"layerdrop": self.layerdrop}
        known = {*type(self.model.config)().to_dict(), "layerdrop"}
        known -= {"transformers_version", "architectures", "dtype", "torch_dtype"}
        known -= {"id2label", "label2id"}
        return {"model_type": self.model.config.model_type} | {
            key: value for key, value in config.items() if key in known and not key.startswith("_")
        }


def family_of(source: str | Mapping) -> type[Encoder]:
    """The class of the encoder that a source describes; InputError for an unknown one."""
    kind = model_type_of(source)
    if kind not in FAMILIES:
        name = "the encoder in the yaml" if isinstance(source, Mapping) else source
        raise InputError(f"{name} is a {kind}: known encoders are {', '.join(sorted(FAMILIES))}")
    module, _, name = FAMILIES[kind].partition(".")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def unpack(frames: torch.Tensor, counts: torch.Tensor, longest: int) -> torch.Tensor:
    """[1, frames of all utterances, dim], counts [batch] -> [batch, longest, dim]."""
    return pad_items(list(frames.split(counts.tolist(), dim=1)), longest)


def keep_frozen(part: nn.Module, dropout: bool) -> None:
    """Eval mode for a frozen part in training; with `dropout`, for its batch statistics only."""
    for module in part.modules() if dropout else [part]:
        if not dropout or isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
