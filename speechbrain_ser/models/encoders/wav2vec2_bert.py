"""w2v-BERT 2.0 (Barrault et al. 2023): conformer blocks on a filterbank, from the waveform on."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from transformers.audio_utils import mel_filter_bank, window_function
from transformers.masking_utils import create_bidirectional_mask

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.data.lengths import Length, num_samples, trim
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.encoders.pretrained import first
from speechbrain_ser.models.encoders.waveform import WaveformEncoder, load_regularised
from speechbrain_ser.models.padding import pad_items, valid_mask

WINDOW, HOP, FFT, BINS = 400, 160, 512, 80  # samples (25 and 10 ms), mel bins
STACKED = 2  # columns of the filterbank in a frame
PREEMPHASIS = 0.97


class Wav2Vec2BertEncoder(Encoder):
    """An Encoder of the w2v-BERT family.

    Its filterbank is Kaldi's, each bin normalised over the recording, as the Hub's
    SeamlessM4TFeatureExtractor computes it (AutoFeatureExtractor may name another one). It stands
    in the place of the CNN and has no weights: frozen "cnn" trains all.

    Layer 0 is the feature projection.
    """

    filters: torch.Tensor  # [frequency, mel]
    window: torch.Tensor  # [400]
    waves: torch.Tensor  # [2 frequency, 1, 400]
    PADDINGS = ("exact",)
    REGULARISERS = WaveformEncoder.REGULARISERS
    lora_targets = ("linear_q", "linear_v")
    has_fast_path = False  # its attention has a bias by distance

    def load(self, source: str | Mapping, regularisers: Mapping[str, float | None]) -> float:
        self.model = load_regularised(source, regularisers, self.weights_of)
        config = self.model.config
        if config.add_adapter or config.use_intermediate_ffn_before_adapter:
            raise InputError(f"encoder {source} has an adapter above its blocks, which is not read")
        if config.feature_projection_input_dim != STACKED * BINS:
            raise InputError(
                f"encoder {source} reads {config.feature_projection_input_dim} values a frame, not "
                f"{STACKED} columns of {BINS} bins"
            )
        self.normalised = None  # the filterbank normalises for itself
        self.dim = config.hidden_size
        filters = mel_filter_bank(
            num_frequency_bins=1 + FFT // 2,
            num_mel_filters=BINS,
            min_frequency=20,
            max_frequency=SAMPLE_RATE // 2,
            sampling_rate=SAMPLE_RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        # computed, not learnt: they are in no checkpoint
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)
        window = window_function(WINDOW, "povey", periodic=False)
        self.register_buffer("window", torch.from_numpy(window), persistent=False)
        steps = np.outer(np.arange(1 + FFT // 2), np.arange(WINDOW)) * 2 * np.pi / FFT
        whole = np.eye(WINDOW)
        before = np.concatenate([whole[:1], whole[:-1]])  # of each sample the one before it
        window = window[:, None] * (whole - PREEMPHASIS * before) @ (whole - 1 / WINDOW)
        waves = np.concatenate([np.cos(steps), np.sin(steps)]) @ window  # [2 frequency, 400]
        parts = torch.from_numpy(waves).float().unsqueeze(1)
        self.register_buffer("waves", parts, persistent=False)
        layerdrop, config.layerdrop = config.layerdrop, 0.0
        return layerdrop

    @property
    def blocks(self) -> nn.ModuleList:
        return self.model.encoder.layers

    @property
    def cnn(self) -> list[nn.Module]:
        return []

    @property
    def cnn_dim(self) -> int:
        return STACKED * BINS

    @property
    def entrance(self) -> nn.Module:
        return self.model.feature_projection

    @property
    def below(self) -> list[nn.Module]:
        return [self.model.feature_projection, self.model.encoder.dropout]

    @property
    def is_masked(self) -> bool:
        """Whether SpecAugment is on."""
        config = self.model.config
        return config.apply_spec_augment and config.mask_time_prob + config.mask_feature_prob > 0

    def cnn_frames(self, samples: Length) -> Length:
        """Samples -> frames, of two columns each."""
        return ((samples - WINDOW) // HOP + 1) // STACKED

    def filterbank(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [1, time] without padding -> [1, frame, 160], in double precision inside."""
        frames = speech.double().mul(2**15).unfold(1, WINDOW, HOP)  # [1, column, 400]
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        frames = (frames - PREEMPHASIS * before) * self.window.double()
        power = torch.fft.rfft(frames, n=FFT).abs().square()  # [1, column, 257]
        logs = (power @ self.filters.double()).clamp(min=1.192092955078125e-07).log()
        spread = (logs.var(dim=1, keepdim=True) + 1e-7).sqrt()
        columns = (logs - logs.mean(dim=1, keepdim=True)) / spread  # [1, column, 80]
        even = columns[:, : columns.shape[1] // STACKED * STACKED]
        return even.reshape(1, -1, STACKED * BINS).to(speech.dtype)

    def _filterbank_graph(self, speech: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
        """As filterbank, of a padded batch, in operations that a graph may have.

        Mean, pre-emphasis, window and Fourier transform of a window are one matrix.
        """
        parts = nn.functional.conv1d(2**15 * speech.unsqueeze(1), self.waves, stride=HOP)
        power = parts.square().unflatten(1, (2, -1)).sum(dim=1)  # [batch, frequency, column]
        logs = (self.filters.float().T @ power).clamp(min=1.192092955078125e-07).log()
        count = ((samples - WINDOW) // HOP + 1)[:, None, None]
        valid = valid_mask(count[:, 0, 0], logs.shape[2]).unsqueeze(1)  # [batch, 1, column]
        centred = (logs - (logs * valid).sum(dim=2, keepdim=True) / count) * valid
        spread = (centred.square().sum(dim=2, keepdim=True) / (count - 1) + 1e-7).sqrt()
        columns = (centred / spread).transpose(1, 2)  # [batch, column, 80]
        frames = self.cnn_frames(speech.shape[1])
        return columns[:, : STACKED * frames].reshape(len(speech), frames, STACKED * BINS)

    def _cnn(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():
            return self._filterbank_graph(speech, num_samples(speech, lens))
        items = [self.filterbank(item) for item in trim(speech, num_samples(speech, lens))]
        return pad_items(items, self.cnn_frames(speech.shape[1]))

    def _above(self, depth: int, inputs: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        if depth == len(self.blocks):
            return inputs
        encoder = self.model.encoder
        valid = valid_mask(counts, inputs.shape[1])
        frames = inputs
        if depth == 0:
            frames = first(self.model.feature_projection(frames))
            frames = self.model._mask_hidden_states(frames, attention_mask=valid)
            frames = encoder.dropout(frames * valid.unsqueeze(2))
        context = {
            "attention_mask": create_bidirectional_mask(self.model.config, frames, valid),
            "conv_attention_mask": valid,
            "relative_position_embeddings": (
                encoder.embed_positions(frames) if encoder.embed_positions is not None else None
            ),
        }
        for block in self.blocks[depth:]:
            frames = first(block(frames, **context))
        return frames

    def is_packed(self, inputs: torch.Tensor) -> bool:
        return False

    def cnn_config(self) -> dict:
        return {"filterbank": "kaldi"}
