"""Whisper (Radford et al. 2022), the encoder alone, from the waveform on."""

import logging
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.whisper.modeling_whisper import WhisperEncoder as HuggingFaceEncoder

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.data.lengths import Length, num_samples, trim
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.encoders import Encoder, fast_path, unpack
from speechbrain_ser.models.encoders.pretrained import config_of, first, load_model
from speechbrain_ser.models.padding import pad_items, valid_mask

logger = logging.getLogger(__name__)
WINDOW, HOP = 400, 160  # samples: 25 and 10 ms
STRIDE = 2  # of the second convolution: mel frames per frame
FLOOR = 8.0  # what is kept below a recording's loudest bin, in powers of ten
KEPT = (  # of a config: what the encoder is made of
    *("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "num_mel_bins"),
    *("max_source_positions", "activation_function", "scale_embedding", "dropout"),
    *("attention_dropout", "activation_dropout", "encoder_layerdrop"),
)


class WhisperEncoder(Encoder):
    """An Encoder of the Whisper family; the decoder is neither read nor kept.

    padding : "exact": a recording is computed at its own length, with as many positions, and its
        frames do not depend on its batch-mates; "thirty_seconds": as Whisper was trained, padded
        with zeros to 30 s, and pooled over its own frames; "as_published": pooled over the padding
        too, as Hugging Face's WhisperForAudioClassification does

    Layer 0 is what the first block reads, the CNN's output and its positions.

    Raises InputError also for a recording longer than its positions (30 s).
    """

    most_samples: int
    filters: torch.Tensor  # [mel, frequency]
    window: torch.Tensor  # [400]
    waves: torch.Tensor  # [2 frequency, 400]
    PADDINGS = ("exact", "thirty_seconds", "as_published")
    REGULARISERS = {  # Whisper was trained without: a tenth of its large values ruins fine-tuning
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "layerdrop": 0.0,
    }

    def load(self, source: str | Mapping, regularisers: Mapping[str, float | None]) -> float:
        self.model = load_model(
            source,
            HuggingFaceEncoder,
            r"^(model\.)?encoder\.",
            self.weights_of,
            dropout=regularisers["hidden_dropout"],
            attention_dropout=regularisers["attention_dropout"],
            activation_dropout=regularisers["activation_dropout"],
            encoder_layerdrop=regularisers["layerdrop"],
        )
        config = self.model.config
        if not isinstance(source, Mapping) and config.dropout > config_of(source).dropout:
            logger.warning(
                "%s was trained without dropout, and %s of it ruins fine-tuning: set the encoder's "
                "hidden_dropout and attention_dropout to 0.",
                source,
                config.dropout,
            )
        self.dim = config.d_model
        self.most_samples = config.max_source_positions * HOP * STRIDE
        self.entrance = fast_path.Dropout(config.dropout)
        bank = mel_filter_bank(
            num_frequency_bins=1 + WINDOW // 2,
            num_mel_filters=config.num_mel_bins,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        # computed, not learnt: they are in no checkpoint
        filters = torch.from_numpy(bank).float().T.contiguous()  # [mel, frequency]
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW, device="cpu"), persistent=False)
        steps = np.outer(np.arange(1 + WINDOW // 2), np.arange(WINDOW)) * 2 * np.pi / WINDOW
        waves = torch.from_numpy(np.concatenate([np.cos(steps), np.sin(steps)])).float()
        self.register_buffer("waves", waves, persistent=False)
        return config.encoder_layerdrop

    @property
    def blocks(self) -> nn.ModuleList:
        return self.model.layers

    @property
    def cnn(self) -> list[nn.Module]:
        return [self.model.conv1, self.model.conv2]

    @property
    def cnn_dim(self) -> int:
        return self.dim

    @property
    def below(self) -> list[nn.Module]:
        return [self.entrance]

    def freeze(self, frozen: str | int) -> None:
        super().freeze(frozen)
        self.model.embed_positions.requires_grad_(False)  # sinusoids

    def cnn_frames(self, samples: Length) -> Length:
        """Samples -> frames; of a padded recording all that are read, the padding's too."""
        if self.padding == "as_published":
            return self.most_frames + 0 * samples
        return -(-(samples // HOP) // STRIDE)

    @property
    def most_frames(self) -> int:
        return self.model.config.max_source_positions

    def log_mel(self, speech: torch.Tensor, samples: torch.Tensor | None = None) -> torch.Tensor:
        """speech [batch, time], samples [batch] of each -> [batch, mel, time / 160].

        As Hugging Face's WhisperFeatureExtractor computes it of each item alone: the windows at
        its end see it mirrored there, and what is FLOOR below its own loudest bin is cut. Columns
        behind its end are 0. samples None: all of time.
        """
        time = speech.shape[1]
        if samples is None:
            samples = torch.full((len(speech),), time, device=speech.device)
        last = samples.unsqueeze(1) - 1  # [batch, 1]
        place = torch.arange(-WINDOW // 2, time + WINDOW // 2, device=speech.device).abs()
        place = torch.where(place > last, 2 * last - place, place).clamp(min=0)
        valid = valid_mask(samples // HOP, time // HOP).unsqueeze(1)  # [batch, 1, column]
        with torch.autocast(speech.device.type, enabled=False):
            mirrored = speech.to(self.window.dtype).gather(1, place)  # [batch, time + 400]
            power = self._power(mirrored)[..., : time // HOP]  # [batch, frequency, column]
            logs = (self.filters @ power).clamp(min=1e-10).log10()
            loudest = torch.where(valid, logs, -10.0).amax(dim=(1, 2), keepdim=True)
            return (torch.maximum(logs, loudest - FLOOR) + 4) / 4 * valid

    def _power(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [batch, time] -> power spectra of its windows [batch, frequency, column]."""
        if torch.compiler.is_compiling():  # a graph has no complex numbers
            waves = self.waves * self.window  # [2 frequency, 400]
            parts = nn.functional.conv1d(speech.unsqueeze(1), waves.unsqueeze(1), stride=HOP)
            return parts.square().unflatten(1, (2, -1)).sum(dim=1)
        spectrum = torch.stft(
            speech, WINDOW, HOP, window=self.window, center=False, return_complex=True
        )
        return spectrum.abs().square()

    def _cnn(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        samples, time = num_samples(speech, lens), speech.shape[1]
        if not torch.compiler.is_compiling() and time > self.most_samples:
            most = self.most_samples / SAMPLE_RATE
            raise InputError(
                f"a recording of {time / SAMPLE_RATE:.1f} s is longer than the {most:g} s that "
                f"this Whisper reads: train with --reader '{{max_seconds: {most:g}}}', classify it "
                "with ser classify --long"
            )
        if self.padding != "exact":
            speech = torch.where(valid_mask(samples, time), speech, 0.0)
            return self._convolved(
                self.log_mel(nn.functional.pad(speech, (0, self.most_samples - time)))
            )
        if self.is_packed(speech):
            items = [self._convolved(self.log_mel(item)) for item in trim(speech, samples)]
            return pad_items(items, self.cnn_frames(time))
        frames = self._convolved(self.log_mel(speech, samples), samples // HOP)
        return frames * valid_mask(self.cnn_frames(samples), frames.shape[1]).unsqueeze(2)

    def _convolved(self, mel: torch.Tensor, counts: torch.Tensor | None = None) -> torch.Tensor:
        """mel [batch, mel, time], counts [batch] of its valid columns -> [batch, frame, dim]."""
        hidden = nn.functional.gelu(self.model.conv1(mel))
        if counts is not None:  # the second one reads zeros behind a recording's end, as if alone
            hidden = hidden * valid_mask(counts, hidden.shape[2]).unsqueeze(1)
        return nn.functional.gelu(self.model.conv2(hidden)).transpose(1, 2)

    def _above(self, depth: int, inputs: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        longest, mask = inputs.shape[1], None
        if depth == len(self.blocks):
            return inputs
        packed = self.is_packed(inputs)
        sizes = counts.tolist() if packed else [longest]
        frames = torch.cat(trim(inputs, counts), dim=1) if packed else inputs
        if depth == 0:
            positions = self.model.embed_positions.weight
            frames = self.entrance(frames + torch.cat([positions[:size] for size in sizes]))
        if packed:
            mask = sizes
        elif self.padding == "exact":
            valid = valid_mask(counts, longest)
            mask = create_bidirectional_mask(self.model.config, frames, valid)
        for block in self.blocks[depth:]:
            frames = first(block(frames, mask))
        frames = self.model.layer_norm(frames)
        return self._in_batch(frames, counts, longest)

    def _in_batch(self, frames: torch.Tensor, counts: torch.Tensor, longest: int) -> torch.Tensor:
        """Also without the frames of 30 s that are none of a recording's."""
        if self.is_packed(frames):
            return unpack(frames, counts, longest)
        return frames[:, : int(counts.max())] if self.padding == "thirty_seconds" else frames

    def describe(self) -> dict:
        config = self.model.config.to_dict()
        kept = {name: config[name] for name in KEPT} | {"encoder_layerdrop": self.layerdrop}
        return {"model_type": "whisper"} | kept

    def cnn_config(self) -> dict:
        return {name: self.model.config.to_dict()[name] for name in ("d_model", "num_mel_bins")}
