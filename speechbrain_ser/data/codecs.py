"""Codecs in memory, by libsndfile: what a telephone line and mp3 leave of speech."""

import functools
import inspect
import io

import numpy as np
import scipy.signal
import soundfile
import torch

from speechbrain_ser.data.waveforms import power
from speechbrain_ser.errors import InputError

LEVEL = 10 ** (-26 / 20)  # of full scale: at -26 dB ITU-T tests codecs (P.830)
RATE = 16_000  # Hz, of speech here
TELEPHONE_RATE, TELEPHONE_BAND = 8_000, (300, 3_400)  # Hz
TAPS = 511  # of the band's filter: its edges are 170 Hz wide
# kbit/s of MPEG-2 layer III, that of 16 kHz; libsndfile does not write its lowest, 8 kbit/s
MP3_RATES = (16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
MP3_DELAY = 576 + 529  # samples, of LAME and of any decoder; below 40 kbit/s no header tells of it


def telephone(speech: torch.Tensor) -> torch.Tensor:
    """speech [time] at 16 kHz -> [time]: 300 to 3,400 Hz, at 8 kHz in 8 bits of G.711's mu-law."""
    sent = _in_band(speech)[::2]  # at 8 kHz, of which the band needs no more
    heard = torch.zeros(2 * len(sent))
    heard[::2] = 2 * decoded(sent, TELEPHONE_RATE, format="AU", subtype="ULAW")
    return _in_band(heard)[: len(speech)]


def _in_band(speech: torch.Tensor) -> torch.Tensor:
    """speech [time] -> what the telephone's band lets pass, undelayed."""
    return torch.from_numpy(scipy.signal.oaconvolve(speech.numpy(), _band(), mode="same"))


@functools.cache
def _band() -> np.ndarray:
    """A filter, [time]."""
    taps = scipy.signal.firwin(TAPS, TELEPHONE_BAND, window="blackman", pass_zero=False, fs=RATE)
    return taps.astype(np.float32)


def mp3(speech: torch.Tensor, kbps: int) -> torch.Tensor:
    """speech [time] at 16 kHz -> [time], aligned; kbps: one of MP3_RATES."""
    heard = decoded(speech, RATE, **mp3_form(kbps))
    first = MP3_DELAY if len(heard) > len(speech) else 0  # the reader of a header has taken it off
    return heard[first : first + len(speech)]


def mp3_form(kbps: int) -> dict[str, object]:
    """What soundfile is to write: layer III at a constant bit rate."""
    # libsndfile's scale: at 16 kHz 0 is the highest rate, 160 kbit/s, and 1 the lowest, 8
    level = 1 - (kbps - 8) / (160 - 8)
    form = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    return form | {"compression_level": level}


def refuse_no_mp3() -> None:
    """InputError where soundfile or its libsndfile cannot write mp3 at a bit rate."""
    can_set_rate = "bitrate_mode" in inspect.signature(soundfile.SoundFile).parameters
    if not can_set_rate or "MP3" not in soundfile.available_formats():
        raise InputError(
            f"soundfile {soundfile.__version__} with libsndfile "
            f"{soundfile.__libsndfile_version__} writes no mp3 of a chosen bit rate: install "
            "soundfile 0.13 or newer with libsndfile 1.1 or newer"
        )


def encoded(speech: torch.Tensor, rate: int, **form: object) -> bytes:
    """speech [time] as the content of a file; `form` is what soundfile is to write."""
    file = io.BytesIO()
    soundfile.write(file, speech.clamp(-1, 1).numpy(), rate, **form)
    return file.getvalue()


def decoded(speech: torch.Tensor, rate: int, **form: object) -> torch.Tensor:
    """speech [time] after a codec, [time], perhaps longer.

    The codec hears it at -26 dB of full scale where it is active, or softer where its peak would be
    clipped; then the level is given back. So a recording's own level changes nothing.
    """
    tiny = torch.finfo(speech.dtype).tiny
    level = power(speech, rate).sqrt().clamp(min=tiny)
    gain = torch.minimum(LEVEL / level, 1 / speech.abs().max().clamp(min=tiny))
    samples, _ = soundfile.read(io.BytesIO(encoded(speech * gain, rate, **form)), dtype="float32")
    return torch.from_numpy(samples) / gain
