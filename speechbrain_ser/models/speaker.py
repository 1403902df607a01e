"""Park 2023, section 3.1: the speaker identification network, and ECAPA-TDNN in its place."""

import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from speechbrain.processing.features import InputNormalization
from torch import nn

from speechbrain_ser.data.lengths import num_samples, trim
from speechbrain_ser.models.classifier import EncoderNetwork, UtteranceNetwork
from speechbrain_ser.models.pooling import AttentionMaxPooling, check_dim


class SpeakerNetwork(EncoderNetwork):
    """encoder -> attention and max over time -> head; its embedding represents the speaker."""

    def __init__(self, encoder: nn.Module, pooling: AttentionMaxPooling, head: nn.Module):
        super().__init__()
        check_dim(encoder, pooling)
        self.encoder = encoder
        self.pooling = pooling
        self.head = head
        self.dim: int = self.encoder.dim

    def pool(self, frames: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """frames [batch, frame, dim], counts [batch] -> embedding [batch, dim]."""
        return self.pooling(frames, self.encoder.mask(counts, frames.shape[1]))


class EcapaNetwork(UtteranceNetwork):
    """SpeechBrain's ECAPA-TDNN on 80 log-mel bands: the same interface as SpeakerNetwork.

    Its convolutions reflect-pad the end of the batch, so evaluation runs one utterance at a time:
    an utterance's embedding does not depend on its batch-mates.

    Arguments
    ---------
    head : embedding [batch, dim] -> logits
    dim : embedding size; fusion needs the emotion encoder's size
    channels, kernel_sizes, dilations, attention_channels : as in ECAPA_TDNN
    """

    def __init__(
        self,
        head: nn.Module,
        dim: int = 192,
        channels: tuple[int, ...] = (1024, 1024, 1024, 1024, 3072),
        kernel_sizes: tuple[int, ...] = (5, 3, 3, 3, 1),
        dilations: tuple[int, ...] = (1, 2, 3, 4, 1),
        attention_channels: int = 128,
    ):
        super().__init__()
        self.dim = dim
        self.features = Fbank(n_mels=80)
        self.normalisation = InputNormalization(norm_type="sentence", std_norm=False)
        self.encoder = ECAPA_TDNN(
            80,
            lin_neurons=dim,
            channels=list(channels),
            kernel_sizes=list(kernel_sizes),
            dilations=list(dilations),
            attention_channels=attention_channels,
        )
        self.head = head

    def encode(self, speech: torch.Tensor, lens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> one frame, [batch, 1, dim], counts [batch] of 1."""
        samples = num_samples(speech, lens)
        counts = torch.ones_like(samples)
        if not self.encoder.training and (len(speech) > 1 or samples[0] < speech.shape[1]):
            alone = lens.new_ones(1)
            items = trim(speech, samples)
            return torch.cat([self.encode(item, alone)[0] for item in items]), counts
        bands = self.normalisation(self.features(speech), lens)  # [batch, frame, 80]
        return self.encoder(bands, lens), counts

    def pool(self, frames: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """What encode gives -> embedding [batch, dim]."""
        return frames.squeeze(1)
