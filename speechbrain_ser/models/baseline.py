"""A network without pretraining, in the place of an Encoder."""

import torch
from speechbrain.lobes.features import Fbank
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.data.lengths import num_samples, trim
from speechbrain_ser.models.padding import valid_mask


class CnnLstm(nn.Module):
    """speech [batch, time], lens [batch] -> frames [batch, frame, dim], 100 per second.

    Log-mel bands, their mean over the utterance removed, two convolutions over time and a
    bidirectional LSTM. Gao 2023 compares with a CNN-LSTM without describing it: this one is ours.

    Arguments
    ---------
    dim : of the frames; half per direction
    bands : of the mel scale
    channels, kernel : of the convolutions
    dropout : behind each convolution
    """

    sample_rate = SAMPLE_RATE
    hop = SAMPLE_RATE // 100

    def __init__(
        self,
        dim: int = 256,
        bands: int = 80,
        channels: int = 128,
        kernel: int = 5,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.dim = dim
        self.blocks = nn.ModuleList()  # none that a head could skip to
        self.bands = Fbank(n_mels=bands)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, channels, kernel, padding=kernel // 2) for size in (bands, channels)
        )
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(channels, dim // 2, batch_first=True, bidirectional=True)

    def num_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples -> frames."""
        return samples // self.hop + 1

    def count_frames(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> frames [batch]."""
        return self.num_frames(num_samples(speech, lens))

    def mask(self, counts: torch.Tensor, longest: int) -> torch.Tensor:
        """counts [batch] of frames -> bool [batch, longest], True for speech."""
        return valid_mask(counts, longest)

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> frames [batch, frame, dim]."""
        items = [self.bands(item)[0] for item in trim(speech, num_samples(speech, lens))]
        bands = pad_sequence([item - item.mean(dim=0) for item in items], batch_first=True)
        valid = valid_mask(self.count_frames(speech, lens), bands.shape[1]).unsqueeze(1)
        hidden = bands.transpose(1, 2)
        for convolution in self.convolutions:
            hidden = self.dropout(convolution(hidden).relu()) * valid
        packed = pack_padded_sequence(
            hidden.transpose(1, 2),
            valid.sum(dim=2).squeeze(1).cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
