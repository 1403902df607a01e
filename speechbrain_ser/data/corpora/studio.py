"""Speakers and manners of speaking for the mini corpora: espeak-ng, then simple filters.

An emotion is pitch, pitch range, rate and voice quality (spectral tilt, breath, tremor), with
chance added per utterance, at one loudness for all.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.data.corpora.espeak import Espeak

SENTENCES = """I told you that I would come.|Where did you put the letter?
It is a very long way back home.|We should go now, all of us.|They are waiting outside.
Why did you never call your brother?|The train leaves at nine.|Look at what you did.
I - I do not believe you.|You said it was over.|I have got the job, can you believe it!
She never wrote to me again.|Come in and sit down.|That's all I wanted to say.
What's the matter with you?|I can hear the sea from here.|We were married in the middle of June.
Nobody asked me about it.|Give me the keys, please.|You're going to be a father.
He left the house this morning.|How long have you been here?|I'll see you on Monday.
There is nothing else to do.|My bags were lost again this week.""".replace("\n", "|").split("|")


class Manner(NamedTuple):
    """How to speak: offsets from the speaker's neutral voice, then chance (standard deviations)."""

    pitch: float  # espeak-ng's scale, about 0.15 semitones each
    range: float  # espeak-ng's scale
    rate: float  # words per minute
    tilt: float  # dB per octave
    breath: float  # dB, noise below speech
    tremor: float  # depth of a slow modulation
    tract: float  # factor: a smile shortens the vocal tract, all formants rise


MANNERS = {
    "neutral": Manner(0, 45, 165, 0.0, -34, 0.0, 1.0),
    "angry": Manner(8, 75, 205, 4.5, -40, 0.0, 1.0),
    "happy": Manner(30, 90, 180, 1.0, -32, 0.0, 1.08),
    "sad": Manner(-16, 20, 130, -3.5, -18, 0.1, 0.96),
    "calm": Manner(-6, 28, 145, -1.2, -30, 0.0, 0.98),
    "excited": Manner(33, 95, 190, 1.3, -32, 0.0, 1.09),
    "frustrated": Manner(2, 60, 180, 1.4, -36, 0.0, 1.0),
    "fearful": Manner(20, 35, 200, -0.6, -24, 0.35, 1.02),
    "surprised": Manner(32, 99, 165, 0.4, -34, 0.0, 1.05),
    "disgust": Manner(-12, 60, 130, 1.2, -36, 0.05, 0.95),
    "undecided": Manner(3, 50, 165, 0.0, -32, 0.0, 1.0),
}
CHANCE = Manner(6, 10, 12, 0.9, 3, 0.03, 0.01)


class Voice(NamedTuple):
    """Who speaks: an espeak-ng voice, its pitch (0-99), length of vocal tract, tilt (dB/octave)."""

    name: str
    pitch: float
    tract: float
    tilt: float


FEMALE = ["f2", "Alicia", "f5", "linda", "f1", "Andrea", "f4", "belinda", "anika", "steph"]
MALE = ["m3", "Diogo", "m1", "ed", "m7", "Hugo", "max", "m5", "Alex", "Denis"]


def voice(gender: str, number: int, accent: str = "en-us") -> Voice:
    """The number-th voice of a gender: the names repeat after ten, the other properties do not."""
    chance = random.Random(f"{gender}{number}{accent}")
    names = FEMALE if gender == "F" else MALE
    name = f"{accent}+{names[number % len(names)]}"
    pitch = 38 + chance.uniform(-6, 6)
    return Voice(name, pitch, chance.uniform(0.93, 1.07), chance.gauss(0, 0.4))


class Studio:
    """Records: a take is spoken, coloured, brought to one loudness and written as 16-bit wav."""

    def __init__(self, synthesiser: Espeak, after_take: Callable[[], object]):
        self.synthesiser = synthesiser
        self.after_take = after_take

    def __call__(
        self, path: Path, text: str, who: Voice, emotion: str, pause: float = 0.1
    ) -> float:
        """Write the file; return its seconds. `pause` is the silence at both ends, in seconds."""
        chance = random.Random("/".join(path.parts[-2:]))
        manner = Manner(
            *(chance.gauss(*pair) for pair in zip(MANNERS[emotion], CHANCE, strict=True))
        )
        pitch, spread = (
            round(min(max(value, 0), 99)) for value in (who.pitch + manner.pitch, manner.range)
        )
        samples = self.synthesiser.say(text, who.name, round(manner.rate), pitch, spread)
        rate = self.synthesiser.sample_rate * who.tract * manner.tract
        noise = np.random.RandomState(chance.getrandbits(32))  # its stream never changes
        speech = colour(samples, rate, manner, who.tilt, noise)
        silence = np.zeros(round(pause * chance.uniform(0.7, 1.3) * SAMPLE_RATE))
        speech = np.concatenate([silence, speech, silence])
        speech *= 0.05 * 10 ** (chance.gauss(0, 0.7) / 20) / np.sqrt(np.mean(speech**2))
        speech += 1e-4 * noise.standard_normal(len(speech))
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(speech, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        self.after_take()
        return len(speech) / SAMPLE_RATE


def colour(
    samples: np.ndarray, rate: float, manner: Manner, tilt: float, noise: np.random.RandomState
) -> np.ndarray:
    """samples [time] at `rate` Hz -> speech [time] at 16 kHz with the manner's voice quality."""
    seconds = len(samples) / rate
    spectrum = np.fft.rfft(samples)[: round(seconds * SAMPLE_RATE / 2) + 1]
    hertz = np.arange(len(spectrum)) / seconds
    octaves = np.log2(np.maximum(hertz, 100) / 500)
    spectrum *= 10 ** ((manner.tilt + tilt) * octaves / 20)
    speech = np.fft.irfft(spectrum)  # [time]
    time = np.arange(len(speech)) / SAMPLE_RATE
    level = np.sqrt(np.convolve(speech**2, np.ones(320) / 320, mode="same"))
    speech += 10 ** (manner.breath / 20) * level * noise.standard_normal(len(speech))
    return speech * (1 + manner.tremor * np.sin(2 * np.pi * 5.5 * time + noise.uniform(0, 6.3)))
