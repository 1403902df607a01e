"""Frozen features (Pepino 2021, section 2.2): speech -> features [batch, frame, layer, dim].

Each is a data.frontend.Frontend. None of them lets an utterance depend on its batch-mates.
"""

import functools
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torchaudio
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.data.frontend import Frontend
from speechbrain_ser.data.lengths import Length, num_samples, trim
from speechbrain_ser.data.waveforms import ratio
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.padding import valid_mask

logger = logging.getLogger(__name__)
LARGEST_FILTER = 1 << 22  # weights, 16 MB: enough for all speeds of three digits


class EncoderLayers(Frontend):
    """Layers of a frozen encoder, 50 frames per second.

    Arguments
    ---------
    encoder : an Encoder; it is frozen here, whatever it was
    layers : "all", "middle" (three around the half), or numbers: 0 is the feature projection
        before the positional convolution ("local encoder"), i the output of block i, -1 that of
        the last ("contextual encoder")

    Raises InputError for a layer that the encoder does not have.
    """

    downsample = 1

    def __init__(self, encoder: Encoder, layers: str | Sequence[int] = "all"):
        super().__init__()
        total = 1 + len(encoder.blocks)
        half = (total - 1) // 2
        named = {"all": range(total), "middle": range(max(0, half - 1), min(total, half + 2))}
        numbers = list(named.get(layers, ())) if isinstance(layers, str) else layers
        if not numbers:
            raise InputError(f"layers is {layers!r}: use all, middle, or a list, as [0] or [-1]")
        for number in numbers:
            if not -total <= number < total:
                raise InputError(f"there is no layer {number}: the encoder has 0 to {total - 1}")
        encoder.freeze("all")
        self.encoder = encoder
        self.layers = [number % total for number in numbers]
        self.shape = (len(self.layers), encoder.dim)

    def num_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples -> frames."""
        return self.encoder.num_frames(samples)

    def describe(self) -> dict:
        """What, beside the weights, decides the features."""
        config = self.encoder.describe()
        return {"layers": self.layers, "padding": self.encoder.padding, "encoder": config}

    def forward(
        self, speech: torch.Tensor, lens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> [batch, frame, layer, dim], frames [batch]."""
        stack = self.encoder.layers(speech, lens, self.layers)  # [layer, batch, frame, dim]
        return stack.permute(1, 2, 0, 3), self.num_frames(num_samples(speech, lens))


class PooledLayers(EncoderLayers):
    """Mean and standard deviation over time of layers, of a recording and copies of it.

    A copy is what is heard when the recording is played `speed` times as fast: above 1 shorter
    and higher, below 1 longer and lower, as if by another speaker. Here a
    copy is a frame: features are [batch, copy, layer, 2 dim].

    Arguments
    ---------
    speeds : of the copies; 1 is the recording itself
    deviation : False leaves out the deviation: [batch, copy, layer, dim]

    Raises InputError for speeds that are none.
    """

    def __init__(
        self,
        encoder: Encoder,
        layers: str | Sequence[int] = "all",
        speeds: Sequence[float] = (1.0,),
        deviation: bool = True,
    ):
        super().__init__(encoder, layers)
        if not speeds or not all(isinstance(s, int | float) and 0.5 <= s <= 2 for s in speeds):
            raise InputError(f"speeds is {speeds!r}: give numbers from 0.5 to 2, such as [1.0]")
        self.speeds = [float(speed) for speed in speeds]
        self.deviation = deviation
        self.shape = (len(self.layers), encoder.dim * (1 + deviation))
        if encoder.most_samples is not None:
            self.most_samples = int(encoder.most_samples * min(self.speeds))
        self.players = nn.ModuleList(Player(speed) for speed in self.speeds)

    def num_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples -> copies."""
        return torch.full_like(samples, len(self.speeds))

    def describe(self) -> dict:
        """What, beside the weights, decides the features."""
        return super().describe() | {"speeds": self.speeds, "deviation": self.deviation}

    def forward(
        self, speech: torch.Tensor, lens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> [batch, copy, layer, dim], copies [batch]."""
        samples = num_samples(speech, lens)
        copies = [self._of_copy(*player(speech, samples)) for player in self.players]
        return torch.stack(copies, dim=1), self.num_frames(samples)

    def _of_copy(self, speech: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], samples [batch] of each -> [batch, layer, dim] of one copy."""
        features, _ = super().forward(speech, samples / speech.shape[1])
        frames = self.encoder.num_frames(samples)
        valid = valid_mask(frames, features.shape[1])[:, :, None, None]
        count = frames[:, None, None]
        mean = (features * valid).sum(dim=1) / count  # [batch, layer, dim]
        if not self.deviation:
            return mean
        variance = ((features - mean.unsqueeze(1)).square() * valid).sum(dim=1) / count
        return torch.cat([mean, variance.sqrt()], dim=2)


class Player(nn.Module):
    """Plays recordings faster or slower: torchaudio's resampling, of a whole batch at once.

    What a recording gives does not depend on the others, or on the padding behind it. The filter
    is part of no checkpoint.
    """

    kernel: torch.Tensor  # [new, 1, time]

    def __init__(self, speed: float):
        super().__init__()
        rate = round(speed * SAMPLE_RATE)
        self.old, self.new = ratio(rate, SAMPLE_RATE)
        if self.old * self.new > LARGEST_FILTER:
            raise InputError(f"speeds has {speed}: round it to {speed:.2f}, of a small filter")
        self.is_needed = self.old != self.new
        if self.is_needed:
            with torch.device("cpu"):  # which torchaudio cannot make on the meta device
                made = torchaudio.transforms.Resample(rate, SAMPLE_RATE, dtype=torch.float32)
            self.width = made.width
            self.register_buffer("kernel", made.kernel, persistent=False)

    def forward(
        self, speech: torch.Tensor, samples: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], samples [batch] of each -> the same of what is heard."""
        if not self.is_needed:
            return speech, samples
        time, around = speech.shape[1], (self.width, self.width + self.old)
        speech = speech * valid_mask(samples, time)
        periods = nn.functional.conv1d(  # [batch, new, period]
            nn.functional.pad(speech, around).unsqueeze(1), self.kernel, stride=self.old
        )
        samples, longest = self._length(samples), self._length(time)
        played = periods.transpose(1, 2).flatten(1).narrow(1, 0, longest)
        return played * valid_mask(samples, longest), samples

    def _length(self, samples: Length) -> Length:
        """Samples -> those that are heard; ONNX rounds a negative quotient to 0, not down."""
        return (samples * self.new + self.old - 1) // self.old


class PerUtterance(Frontend):
    """A frontend that computes each utterance by itself, `features_of(speech [time])`."""

    def forward(
        self, speech: torch.Tensor, lens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """speech [batch, time], lens [batch] -> [batch, frame, 1, dim], frames [batch]."""
        items = [item[0] for item in trim(speech, num_samples(speech, lens))]
        features = self.compute(items)
        frames = torch.tensor([len(item) for item in features], device=speech.device)
        return pad_sequence(features, batch_first=True).unsqueeze(2), frames

    def compute(self, items: list[torch.Tensor]) -> list[torch.Tensor]:
        """Utterances, [time] each -> their features, [frame, dim] each."""
        raise NotImplementedError


class Spectrogram(PerUtterance):
    """Linear magnitudes of a short-time Fourier transform, centred Hann windows.

    Pepino 2021, authors' code: windows of 400 samples every 320, whatever the sampling rate, and
    one mean and deviation over all bins (`scalar`). The paper: every 160 (10 ms), of which it
    averages two (`downsample` 2), and a mean and deviation per bin.
    """

    def __init__(
        self,
        window: int = 400,
        hop: int = 320,
        n_fft: int = 512,
        scalar: bool = True,
        downsample: int = 1,
    ):
        super().__init__()
        self.downsample = downsample
        self.settings = {"window": window, "hop": hop, "n_fft": n_fft}
        self.transform = torchaudio.transforms.Spectrogram(
            n_fft=n_fft, win_length=window, hop_length=hop, power=1
        )
        self.scalar = scalar
        self.shape = (1, n_fft // 2 + 1)

    def num_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples -> frames."""
        return samples // self.settings["hop"] + 1

    def describe(self) -> dict:
        """What decides the features."""
        return self.settings

    def compute(self, items: list[torch.Tensor]) -> list[torch.Tensor]:
        """Utterances, [time] each -> their features, [frame, bin] each."""
        return [self.transform(item).T for item in items]


class Egemaps(PerUtterance):
    """The 25 low-level descriptors of eGeMAPS v02, every 10 ms, by openSMILE.

    openSMILE is free for private, research and teaching use, not for commercial products: said
    in the log once. Raises InputError if the package is not installed.

    sample_rate : Hz, of the speech that the reader gives
    """

    downsample = 2
    shape = (1, 25)
    shortest = 0.06  # seconds: below it openSMILE gives no descriptors

    def __init__(self, sample_rate: int = SAMPLE_RATE):
        super().__init__()
        self.sample_rate = sample_rate
        try:
            import opensmile
        except ImportError:
            raise InputError(
                "eGeMAPS needs openSMILE: pip install 'speechbrain-ser[egemaps]' (free for "
                "research, not for commercial products)"
            ) from None
        tell_licence()
        self.version = opensmile.__version__
        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.LowLevelDescriptors,
        )

    def num_frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples -> frames."""
        return (samples - self.sample_rate // 20) // (self.sample_rate // 100) + 1

    def describe(self) -> dict:
        """What decides the features."""
        return {"opensmile": self.version, "sample_rate": self.sample_rate}

    def compute(self, items: list[torch.Tensor]) -> list[torch.Tensor]:
        """Utterances, [time] each -> their descriptors, [frame, 25] each."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self._descriptors, items))

    def _descriptors(self, speech: torch.Tensor) -> torch.Tensor:
        shortest = round(self.shortest * self.sample_rate)
        padded = nn.functional.pad(speech, (0, max(0, shortest - len(speech))))
        table = self.smile.process_signal(padded.cpu().numpy(), self.sample_rate)
        return torch.tensor(table.to_numpy("float32"), device=speech.device)


@functools.cache
def tell_licence() -> None:
    """Say once per process what openSMILE's licence asks."""
    logger.info("eGeMAPS by openSMILE (audEERING): free for research, not for commercial products")
