"""Conditions of noise, room and codec under which a model is tested.

A condition is called on speech [time], mono float32 at 16 kHz before any normalisation, and gives
speech of the same length, aligned with it. What it draws depends on the samples of that speech and
on its seed alone: a test under it has no hidden randomness. The speech is not clipped, and may
leave [-1, 1].
"""

import functools
import random
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from speechbrain_ser.data import codecs, seeds
from speechbrain_ser.data.audio import SAMPLE_RATE, SpeechReader
from speechbrain_ser.data.augment import Reverberation, excerpt, gaussian
from speechbrain_ser.data.store import digest_of
from speechbrain_ser.data.waveforms import active, power
from speechbrain_ser.errors import InputError

EXAMPLES = "snr10, white5, telephone, mp3-32, reverb0.5, clean"
NUMBER = re.compile(r"-?\d+(\.\d+)?")
KINDS = {"pink": "snr", "white": "white", "babble": "babble"}  # of noise -> how names begin
MOST_DB = 60  # of a signal-to-noise ratio, and of its opposite
LOWEST_HERTZ = 20  # that are heard
TALKERS = 6  # who talk at once in babble
ROOMS = (0.05, 10)  # seconds of RT60


class Condition:
    """What all have in common; `parse(name)` makes an equal one."""

    @property
    def name(self) -> str:
        """As `parse` reads it."""
        raise NotImplementedError

    def __call__(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [time] -> [time]."""
        raise NotImplementedError


@dataclass
class Clean(Condition):
    """The speech as it is."""

    name = "clean"

    def __call__(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [time] -> [time]."""
        return speech


@dataclass
class Noise(Condition):
    """Noise at a signal-to-noise ratio.

    The ratio is that of the speech's power, about its mean, where it is active (see
    waveforms.active), to the noise's power from beginning to end. An utterance has the same noise
    at any ratio.

    snr_db : -60 to 60
    kind : "pink" (power falls as 1/f from 20 Hz on), "white", or "babble": six of the recordings,
        drawn for each utterance, without their pauses and equally loud; all of them if fewer
    recordings : for babble alone, paths of speech that is not tested

    Raises InputError for other ratios and kinds, and for babble without recordings.
    """

    snr_db: float
    kind: str = "pink"
    recordings: Sequence[str | Path] = ()
    seed: int = 0
    contents: list[str] = field(init=False)  # digests of the recordings

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError(f"noise is {self.kind!r}: use {', '.join(KINDS)}")
        if not -MOST_DB <= self.snr_db <= MOST_DB:
            raise InputError(f"snr_db is {self.snr_db}: give {-MOST_DB} to {MOST_DB} dB")
        if self.kind == "babble" and not self.recordings:
            raise InputError("babble is made of recordings, and none are given: name some")
        if self.kind != "babble" and self.recordings:
            raise InputError(f"{self.kind} noise is made of no recordings: leave them out")
        self.recordings = [str(path) for path in self.recordings]
        self.contents = [digest_of(path) for path in self.recordings]

    @property
    def name(self) -> str:
        """snr10, white10 or babble10."""
        return KINDS[self.kind] + written(self.snr_db)

    def __call__(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [time] -> [time]."""
        draw = seeds.stream("condition", self.kind, self.seed, content(speech))
        noise = self._noise(len(speech), draw)
        factor = power(speech, SAMPLE_RATE) / (noise.square().mean() * 10 ** (self.snr_db / 10))
        return speech + factor.sqrt() * noise

    def _noise(self, samples: int, draw: random.Random) -> torch.Tensor:
        """[samples] of any level."""
        if self.kind == "babble":
            heard = draw.sample(self.recordings, min(TALKERS, len(self.recordings)))
            talkers = (excerpt(talker(path), samples, draw) for path in heard)
            return sum(talkers, torch.zeros(samples))
        white = gaussian(samples, draw)
        return pink(white) if self.kind == "pink" else white


@dataclass
class Reverb(Condition):
    """A synthetic room: half the direct sound, half its echo, at the energy of the speech.

    The echo is augment.Reverberation's, white noise that decays exponentially, of the energy of
    the direct sound, and drawn for each utterance.

    rt60 : seconds in which it falls by 60 dB, 0.05 to 10

    Raises InputError for other seconds.
    """

    rt60: float
    seed: int = 0

    def __post_init__(self):
        if not ROOMS[0] <= self.rt60 <= ROOMS[1]:
            raise InputError(f"rt60 is {self.rt60}: give {ROOMS[0]} to {ROOMS[1]} seconds")

    @property
    def name(self) -> str:
        """reverb0.5."""
        return f"reverb{written(self.rt60)}"

    def __call__(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [time] -> [time]."""
        room = Reverberation((self.rt60, self.rt60), wet=(0.5, 0.5))
        draw = f"condition reverb {self.seed} {content(speech)}"
        return room(speech.unsqueeze(0), torch.ones(1), [draw])[0]


@dataclass
class Telephone(Condition):
    """A call over a digital line: 300 to 3,400 Hz at 8 kHz, and G.711's mu-law in 8 bits.

    What is in the band keeps its level; for the coder's level see codecs.decoded.
    """

    name = "telephone"

    def __call__(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [time] -> [time]."""
        return codecs.telephone(speech)


@dataclass
class Mp3(Condition):
    """MPEG-2 layer III at 16 kHz, mono, by libsndfile's encoder (LAME) at a constant bit rate.

    The coders' delay is taken off; for their level see codecs.decoded.

    kbps : kbit/s, one of codecs.MP3_RATES

    Raises InputError for other rates, and where this libsndfile writes no mp3.
    """

    kbps: int

    def __post_init__(self):
        if self.kbps not in codecs.MP3_RATES:
            rates = ", ".join(map(str, codecs.MP3_RATES))
            raise InputError(f"mp3 at 16 kHz has no {self.kbps} kbit/s: use {rates}")
        codecs.refuse_no_mp3()

    @property
    def name(self) -> str:
        """mp3-32."""
        return f"mp3-{written(self.kbps)}"

    def __call__(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [time] -> [time]."""
        return codecs.mp3(speech, self.kbps)


class Degraded(SpeechReader):
    """A reader of the same recordings under a condition.

    The condition meets what the model hears of a recording: the window is cut before it, so that a
    signal-to-noise ratio is that of the window. Repetition of short speech (min_seconds) and
    `normalise` come after it, as for a recording that was made so.

    Raises InputError for a reader of another rate than 16 kHz.
    """

    def __init__(self, reader: SpeechReader, condition: Condition):
        if reader.sample_rate != SAMPLE_RATE:
            raise InputError(
                f"conditions are for speech at {SAMPLE_RATE} Hz, and this model reads "
                f"{reader.sample_rate} Hz: test it without"
            )
        vars(self).update(vars(reader))
        self.condition = condition

    def __call__(self, path: str | Path, training: bool = False) -> torch.Tensor:
        """The speech of one file, [time]."""
        return self._degraded(self._plain()(path, training), training, str(path))

    def prepare(self, samples, sample_rate=SAMPLE_RATE, training=False, name="the recording"):
        """samples [time] or [channel, time] at any rate -> speech [time] at 16 kHz."""
        heard = self._plain().prepare(samples, sample_rate, training, name)
        return self._degraded(heard, training, name)

    def hear(self, recording, sample_rate=None, name="the recording"):
        """What a model hears of a file, or of samples at a rate; None where that is silent."""
        heard = self._plain().hear(recording, sample_rate, name)
        return None if heard is None else super().hear(self.condition(heard), SAMPLE_RATE, name)

    def _plain(self) -> SpeechReader:
        """Reads what is degraded: the window, or all of speech that is shorter."""
        reader = SpeechReader()
        vars(reader).update(vars(self) | {"min_seconds": 0.0, "normalise": False})
        return reader

    def _degraded(self, heard: torch.Tensor, training: bool, name: str) -> torch.Tensor:
        name = f"{name} under {self.condition.name}"
        return super().prepare(self.condition(heard), SAMPLE_RATE, training, name)


def parse(name: str, recordings: Sequence[str | Path] = ()) -> Condition:
    """The condition of a name such as snr10, white5, babble0, telephone, mp3-32, reverb0.5, clean.

    recordings : of babble

    Raises InputError for an unknown name, and for a number that the condition cannot have.
    """
    for condition in (Clean(), Telephone()):
        if name == condition.name:
            return condition
    builders: dict[str, Callable[..., Condition]] = {
        "snr": Noise,
        "white": lambda snr_db: Noise(snr_db, "white"),
        "babble": lambda snr_db: Noise(snr_db, "babble", recordings),
        "mp3-": Mp3,
        "reverb": Reverb,
    }
    for start, build in builders.items():
        rest = name.removeprefix(start)
        if rest != name and NUMBER.fullmatch(rest):
            number = float(rest)
            return build(int(number) if number.is_integer() else number)
    raise InputError(f"{name!r} is no condition: use such as {EXAMPLES}")


def written(number: float) -> str:
    """A number as names hold it: 10, 0.5, -5."""
    return repr(float(number)).removesuffix(".0")


def content(speech: torch.Tensor) -> int:
    """A number that stands for the samples, [time]."""
    return zlib.crc32(speech.contiguous().numpy().data)


def pink(white: torch.Tensor) -> torch.Tensor:
    """White noise [time] -> [time] whose power falls as 1/f from 20 Hz on, and is 0 below."""
    hertz = torch.fft.rfftfreq(len(white), 1 / SAMPLE_RATE)
    shape = hertz.clamp(min=LOWEST_HERTZ).rsqrt() * (hertz >= LOWEST_HERTZ)
    return torch.fft.irfft(torch.fft.rfft(white) * shape, len(white))


@functools.lru_cache(maxsize=256)
def talker(path: str) -> torch.Tensor:
    """A recording without its pauses, at power 1, [time]."""
    speech = SpeechReader()(path)
    return (speech - speech.mean())[active(speech, SAMPLE_RATE)] / power(speech, SAMPLE_RATE).sqrt()
