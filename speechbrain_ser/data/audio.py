"""Audio files: headers, and the one reader that training, evaluation and inference share."""

import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import soundfile
import torch
import torchaudio

from speechbrain_ser.data import seeds
from speechbrain_ser.errors import InputError

SAMPLE_RATE = 16_000  # Hz, of every encoder in this package
STREAMED = 0xFFFFFFFF  # bytes: a wav written to a pipe promises this, and is whole
# Beyond these a header is broken. Speech needs more than 2 kHz, half of the lowest rate (telephones
# have 8,000 Hz), and resampling makes a file at 1 Hz 16,000 times as large.
LEAST_HERTZ, MOST_HERTZ, MOST_CHANNELS = 4_000, 1_000_000, 64
BREAKS_OFF = "breaks off while decoding"
BLOCK = 1 << 22  # samples decoded at a time: a broken header may promise billions
LARGEST_KERNEL = 400_000_000  # weights of a resampling filter, 1.6 GB
SHORTEST = 0.025  # seconds: the receptive field of one wav2vec 2.0 frame


@contextmanager
def _naming(path: str | Path, fault: str) -> Iterator[None]:
    """Whatever libsndfile says of a file becomes an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} {fault} ({reason}): fetch it again") from None


class Header(NamedTuple):
    """What a file's first bytes promise."""

    frames: int  # samples of each channel
    rate: int  # Hz
    channels: int


def header(path: str | Path) -> Header:
    """A file's header, without decoding.

    Raises InputError if the file is missing, empty, truncated, not audio or not plausible.
    """
    with _naming(path, "cannot be opened"):
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file")
        size = Path(path).stat().st_size
    with _naming(path, f"({size} bytes) is not an audio file that libsndfile reads"):
        info = soundfile.info(str(path), verbose=True)
    # libsndfile shortens a RIFF whose data chunk claims more bytes than the file has, and says so
    promised = re.search(r"^data : (\d+) \(should be", info.extra_info, flags=re.MULTILINE)
    if promised and int(promised[1]) < STREAMED:
        raise InputError(f"{path} is truncated: its header promises more audio, fetch it again")
    if not LEAST_HERTZ <= info.samplerate <= MOST_HERTZ or info.channels > MOST_CHANNELS:
        raise InputError(
            f"{path} claims {info.channels} channels at {info.samplerate} Hz: its header is "
            f"broken, fetch it again ({LEAST_HERTZ:,} to {MOST_HERTZ:,} Hz are read)"
        )
    if info.frames <= 0:
        raise InputError(f"{path} holds no audio (0 samples): remove it or fetch it again")
    return Header(info.frames, info.samplerate, info.channels)


def duration(path: str | Path) -> float:
    """Seconds of audio by the file's header; InputError as there."""
    frames, rate, _ = header(path)
    return frames / rate


def decode(path: str | Path) -> tuple[torch.Tensor, int]:
    """path -> samples [time, channel], and their rate in Hz.

    Raises InputError for a file that breaks off.
    """
    blocks = []
    with _naming(path, BREAKS_OFF), soundfile.SoundFile(str(path)) as file:
        frames = max(1, BLOCK // file.channels)
        while len(block := file.read(frames, dtype="float32", always_2d=True)):
            blocks.append(torch.from_numpy(block))
        return torch.cat(blocks or [torch.zeros(0, file.channels)]), file.samplerate


def windows(
    path: str | Path, window: float, hop: float
) -> Iterator[tuple[float, torch.Tensor, int]]:
    """Windows of `window` seconds every `hop` seconds, read one by one; the last may be shorter.

    Of each its start in seconds, samples [time, channel], and their rate in Hz. Raises InputError
    for a file that breaks off.
    """
    length, rate, _ = header(path)
    size, step = round(window * rate), max(1, round(hop * rate))
    with _naming(path, BREAKS_OFF), soundfile.SoundFile(str(path)) as file:
        for start in range(0, max(1, length - size + step), step):
            file.seek(start)
            samples = torch.from_numpy(file.read(size, dtype="float32", always_2d=True))
            if len(samples) < min(size, length - start):
                raise InputError(f"{path} at {start / rate:.1f} s {BREAKS_OFF}: fetch it again")
            yield start / rate, samples, rate


def standardise(speech: torch.Tensor) -> torch.Tensor:
    """speech [time] -> the same at zero mean and unit variance."""
    return (speech - speech.mean()) / (speech.var(correction=0) + 1e-7).sqrt()


class SpeechReader:
    """path -> speech [time], mono float32 in [-1, 1] at one sampling rate.

    Stereo is averaged and other rates are resampled. What would silently spoil a result (a
    truncated, empty, silent or non-finite file) raises InputError with the file's name.

    Arguments
    ---------
    min_seconds : shorter speech is repeated; 0 repeats nothing
    tiling : "floor" repeats floor(min / length) times, so that speech stays at or below
        min_seconds (Park 2023, authors' code); "ceil" reaches it (Park 2023, the text)
    max_seconds : longer speech is cut to a window; None cuts nothing
    train_window, test_window : where that window lies: "start", "centre" or "random"
    normalise : zero mean and unit variance over the speech's own samples
    sample_rate : Hz of the speech that it gives. Every encoder needs 16,000; Pepino 2021's
        spectrogram of RAVDESS was computed at the files' own 48,000
    """

    def __init__(
        self,
        min_seconds: float = 0.0,
        tiling: str = "floor",
        max_seconds: float | None = None,
        train_window: str = "random",
        test_window: str = "centre",
        normalise: bool = False,
        sample_rate: int = SAMPLE_RATE,
    ):
        if tiling not in ("floor", "ceil"):
            raise InputError(f"tiling is {tiling!r}: use floor or ceil")
        for window in (train_window, test_window):
            if window not in ("start", "centre", "random"):
                raise InputError(f"a window is {window!r}: use start, centre or random")
        if not isinstance(sample_rate, int) or sample_rate < 1:
            raise InputError(f"sample_rate is {sample_rate!r}: use whole Hz, such as {SAMPLE_RATE}")
        self.min_seconds = min_seconds
        self.tiling = math.floor if tiling == "floor" else math.ceil
        self.max_seconds = max_seconds
        self.train_window = train_window
        self.test_window = test_window
        self.normalise = normalise
        self.sample_rate = sample_rate
        self.raw_in_training = False  # whoever augments the speech normalises it afterwards
        self.draw = (0, 0)  # seed and epoch, on which training's random windows depend

    def __call__(self, path: str | Path, training: bool = False) -> torch.Tensor:
        """The speech of one file, [time]; `training` chooses between the two windows."""
        seconds = duration(path)
        samples, sample_rate = decode(path)
        if len(samples) != round(seconds * sample_rate):
            raise InputError(
                f"{path} is truncated: its header promises {seconds:.2f} s and "
                f"{len(samples) / sample_rate:.2f} s are there, fetch it again"
            )
        return self.prepare(samples.T, sample_rate, training, name=str(path))

    def prepare(
        self,
        samples: torch.Tensor,
        sample_rate: int = SAMPLE_RATE,
        training: bool = False,
        name: str = "the recording",
    ) -> torch.Tensor:
        """samples [time] or [channel, time] at any rate -> speech [time] at the reader's rate."""
        speech = samples.mean(dim=0) if samples.dim() == 2 else samples  # [time]
        if not torch.isfinite(speech).all():
            raise InputError(f"{name} holds NaN or infinite samples: export it again")
        if speech.numel() and speech.min() == speech.max():
            raise InputError(f"{name} is silent (every sample is the same): remove it")
        common = math.gcd(sample_rate, self.sample_rate)
        if sample_rate // common * (self.sample_rate // common) > LARGEST_KERNEL:
            raise InputError(
                f"{name} has {sample_rate} Hz, which have no small ratio to {self.sample_rate}: "
                "resample it with another program"
            )
        if sample_rate != self.sample_rate:
            speech = torchaudio.functional.resample(speech, sample_rate, self.sample_rate)
        if len(speech) < SHORTEST * self.sample_rate:
            raise InputError(
                f"{name} lasts {1000 * len(speech) / self.sample_rate:.1f} ms: "
                "at least 25 ms are needed"
            )
        speech = self._cut(self._tile(speech), training, samples)
        if self.normalise and not (training and self.raw_in_training):
            speech = standardise(speech)
        return speech

    def _tile(self, speech: torch.Tensor) -> torch.Tensor:
        shortest = round(self.min_seconds * self.sample_rate)
        if len(speech) >= shortest:
            return speech
        return speech.repeat(self.tiling(shortest / len(speech)))

    def _cut(self, speech: torch.Tensor, training: bool, samples: torch.Tensor) -> torch.Tensor:
        if self.max_seconds is None or len(speech) <= self.max_seconds * self.sample_rate:
            return speech
        longest = round(self.max_seconds * self.sample_rate)
        spare = len(speech) - longest
        window = self.train_window if training else self.test_window
        if window == "random":
            # no hidden state: the same in any process and folder, in evaluation in any epoch
            content = zlib.crc32(samples.contiguous().numpy())
            draw = self.draw if training else ()
            start = seeds.stream(*draw, "window", content).randint(0, spare)
        else:
            start = spare // 2 if window == "centre" else 0
        return speech[start : start + longest]
