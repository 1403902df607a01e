"""Frozen parts of a network computed once per recording, kept in a feature store.

`cache: float16` (or float32) in a yaml or on the command line. In training and validation a batch
then holds, instead of speech, what the encoder's frozen part made of it; the test reads speech.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from speechbrain_ser import parallel
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.frontend import Frontend
from speechbrain_ser.data.lengths import num_samples
from speechbrain_ser.data.store import FeatureStore
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved


class FrozenPart(Frontend):
    """The frozen part of an encoder, as a store's frontend: [batch, frame, dim]."""

    def __init__(self, encoder: Any):
        super().__init__()
        # their weights name the store; those that are trained, in a list, do not
        self.parts = nn.ModuleList(encoder.frozen_parts if encoder.depth else encoder.cnn)
        self.encoder = [encoder]
        self.shape = (encoder.dim if encoder.depth else encoder.cnn_dim,)
        self.training = False

    def num_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples -> frames."""
        return self.encoder[0].num_frames(samples)

    def describe(self) -> dict:
        """What, beside the weights, decides the features."""
        encoder = self.encoder[0]
        config = encoder.describe() if encoder.depth else encoder.cnn_config()
        return {"depth": encoder.depth, "encoder": config}

    def forward(
        self, speech: torch.Tensor, lens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> [batch, frame, dim], frames [batch]."""
        encoder = self.encoder[0]
        training = encoder.training
        encoder.eval()
        features = encoder.frozen_part(speech, lens)
        encoder.train(training)
        return features


class FrozenEmbedding(Frontend):
    """Park 2023's frozen speaker network as a store's frontend: one frame, [batch, 1, dim].

    model : a FusionNetwork. Raises InputError if its speaker network is not all frozen
    """

    def __init__(self, model: Any):
        super().__init__()
        if model.regime != "frozen" or model.frozen_dropout:
            raise InputError(
                "the speaker network is trained, or its dropout is alive, so that its embedding "
                "changes: set cache to null, or regime to frozen and frozen_dropout to False"
            )
        self.network: Any = model.speaker
        self.shape = (self.network.dim,)
        self.training = False

    def num_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples -> frames."""
        return torch.ones_like(samples)

    def describe(self) -> dict:
        """What, beside the weights, decides the features."""
        pooling = getattr(self.network, "pooling", None)
        heads = getattr(getattr(pooling, "attention", None), "num_heads", None)
        known = saved.encoders_in(self.network)
        config = known[0].describe() if known else str(self.network.encoder)
        return {"heads": heads, "encoder": config, "network": type(self.network).__name__}

    def forward(
        self, speech: torch.Tensor, lens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> [batch, 1, dim], frames [batch]."""
        embedding = self.network.embed(speech, lens)  # [batch, dim]
        return embedding.unsqueeze(1), torch.ones_like(num_samples(speech, lens))


def filled(
    frontend: Frontend,
    hparams,
    parts: Mapping[str, Mapping[str, dict]],
    device: str | torch.device,
    progress: bool,
) -> Callable[[str | Path], torch.Tensor]:
    """path -> what a frontend makes of that training or validation recording.

    Raises InputError where a recording's features would change from epoch to epoch.
    """
    reader = hparams.reader
    refuse_chance(reader, hparams.augment, parts["train"])
    store = FeatureStore(frontend, reader, hparams.cache)
    wavs = [entry["wav"] for part in ("train", "valid") for entry in parts[part].values()]
    with parallel.first_alone():
        store.fill(wavs, device, progress)
    return store.read


def refuse_chance(reader: SpeechReader, augment, train: Mapping[str, dict]) -> None:
    """Raise InputError if what training reads of a recording depends on the epoch."""
    if augment is not None:
        raise InputError("augmented speech is new in each epoch: set cache or augment to null")
    longest = reader.max_seconds
    if longest is None or reader.train_window == reader.test_window != "random":
        return
    cut = [utt_id for utt_id, entry in train.items() if entry["duration"] > longest]
    if cut:
        raise InputError(
            f"{len(cut)} training utterances ({cut[0]} ...) are longer than {longest} s, and "
            f"training cuts them at {reader.train_window}, evaluation at {reader.test_window}: "
            "with a cache both must be the same, --reader '{train_window: centre, test_window: "
            "centre}'; or set cache to null"
        )


def encoder_of(model: nn.Module) -> Any:
    """The encoder that reads a network's speech; InputError if nothing of it is frozen."""
    encoder = getattr(model, "encoder", None)
    if encoder not in saved.encoders_in(model) or encoder.depth < 0:
        raise InputError(
            f"nothing of this {type(model).__name__} can be computed once: cache needs an encoder "
            "with a frozen CNN and padding exact; set cache to null"
        )
    return encoder
