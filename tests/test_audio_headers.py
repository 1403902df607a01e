"""Headers that promise what is not there, or do not say how much is."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_ser.data.audio import SAMPLE_RATE, SpeechReader
from speechbrain_ser.data.decoding import duration, windows
from speechbrain_ser.errors import InputError

SPEECH = np.random.default_rng(0).uniform(-0.3, 0.3, 2 * SAMPLE_RATE).astype("float32")
NOTE = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.76.100\0"


def wav(path, riff, data, behind=b"", order="<", samples=SPEECH) -> Path:
    """A wav whose header claims these lengths, in bytes, of the whole and of its samples."""
    name, kind = {"<": (b"RIFF", "<i2"), ">": (b"RIFX", ">i2")}[order]
    content = (samples * 32767).astype(kind).tobytes()
    form = struct.pack(f"{order}IHHIIHH", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    lengths = [struct.pack(f"{order}I", length) for length in (riff, data)]
    head = name + lengths[0] + b"WAVEfmt " + form + b"data" + lengths[1]
    path.write_bytes(head + content + behind)
    return path


def written(form, samples=SPEECH, subtype=None) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, SAMPLE_RATE, format=form, subtype=subtype)
    return content.getvalue()


def refused(path, match) -> None:
    for read in (duration, SpeechReader(), SpeechReader(max_seconds=0.5)):
        with pytest.raises(InputError, match=match) as error:
            read(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0x7FFF_F024, 0x7FFF_F000),  # sox, espeak
        (0x7FFF_FFFF, 0x7FFF_FFFF),
        (0x8000_0024, 0x8000_0000),  # arecord
        (0xFFFF_FFFF, 0xFFFF_FFFF),  # ffmpeg
        (0xFFFF_FFFF, 0xFFFF_FFDB),
        (0xFFFF_FFFE, 0xFFFF_FFDA),
        (0, 0),
        (36, 0),
        (2 * len(SPEECH) + 36, 0),
    ],
)
def test_a_wav_from_a_pipe_is_what_is_there(tmp_path, riff, data, order):
    whole = wav(tmp_path / "whole.wav", 2 * len(SPEECH) + 36, 2 * len(SPEECH), order=order)
    path = wav(tmp_path / "piped.wav", riff, data, order=order)
    assert duration(path) == 2
    assert torch.equal(SpeechReader()(path), SpeechReader()(whole))
    reader = SpeechReader(max_seconds=0.5)
    assert torch.equal(reader(path), reader(whole))
    parts = [samples for _, samples, _ in windows(path, 0.5, 0.5)]
    assert torch.equal(torch.cat(parts)[:, 0], SpeechReader()(whole))


def test_a_wav_from_a_pipe_may_begin_with_silence_or_not_be_whole(tmp_path):
    quiet = np.concatenate([np.zeros(3 * SAMPLE_RATE, "float32"), SPEECH])
    assert duration(wav(tmp_path / "quiet.wav", 0, 0, samples=quiet)) == 5
    odd = wav(tmp_path / "odd.wav", 0, 0, behind=b"\1")  # killed in the middle of a sample
    assert len(SpeechReader()(odd)) == len(SPEECH)


def test_a_wav_without_samples_holds_none(tmp_path):
    for name, behind in (("empty", b""), ("note", NOTE), ("notes", NOTE + NOTE), ("byte", b"\0")):
        path = wav(tmp_path / f"{name}.wav", 36 + len(behind), 0, behind, samples=SPEECH[:0])
        refused(path, r"holds no audio \(0 samples\)")


def test_a_length_that_no_pipe_promises_is_a_broken_download(tmp_path):
    for data in (2 * len(SPEECH) + 2, 0x4000_0000, 0x7FFF_E000, 0xC000_0000):
        refused(wav(tmp_path / "a.wav", 36, data), "is truncated: its header promises more audio")


@pytest.mark.parametrize("missing", [7, 20_000])
@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"])
def test_truncated_files_of_other_kinds(tmp_path, form, missing):
    whole = written(form)
    path = tmp_path / f"a.{form.lower()}"
    path.write_bytes(whole)
    assert len(SpeechReader()(path)) == len(SPEECH)
    path.write_bytes(whole[:-missing])
    refused(path, "truncated|not an audio file")


def test_an_aiff_from_a_pipe_is_what_is_there(tmp_path):
    whole = written("AIFF")
    path = tmp_path / "a.aiff"
    at = whole.index(b"SSND") + 4
    for length in (0, 0x7F00_0008, 0xFFFF_FFFF):
        path.write_bytes(whole[:at] + struct.pack(">I", length) + whole[at + 4 :])
        assert duration(path) == 2 and len(SpeechReader()(path)) == len(SPEECH)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_that_breaks_off_is_refused(tmp_path, subtype):
    path = tmp_path / "a.ogg"
    path.write_bytes(whole := written("OGG", subtype=subtype))
    assert len(SpeechReader()(path)) == len(SPEECH)
    for content in (whole[:-7], whole[: 5 * len(whole) // 6], whole[: len(whole) // 10]):
        path.write_bytes(content)
        refused(path, "breaks off in the middle of a page, or|not an audio file")


@pytest.mark.parametrize("form", ["WAV", "FLAC", "VORBIS", "OPUS"])
def test_recordings_joined_are_refused_where_the_first_alone_would_be_read(tmp_path, form):
    kind, subtype = (form, None) if form in ("WAV", "FLAC") else ("OGG", form)
    path = tmp_path / f"a.{kind.lower()}"
    long, short = written(kind, SPEECH, subtype), written(kind, SPEECH[:4000], subtype)
    for joined in (long + long, long + short, short + long):
        path.write_bytes(joined)
        for settings in ({}, {"max_seconds": 0.1, "test_window": "start"}):
            with pytest.raises(InputError, match="a.* holds several recordings joined"):
                SpeechReader(**settings)(path)
        with pytest.raises(InputError, match="several recordings joined"):
            list(windows(path, 0.1, 0.1))


def test_a_flac_that_does_not_say_how_long_it_is(tmp_path):
    content = bytearray(written("FLAC"))
    content[21] &= 0xF0  # the upper bits of 36 that count the samples
    content[22:26] = bytes(4)
    path = tmp_path / "piped.flac"
    path.write_bytes(content)
    refused(path, "does not say how long it is .*: convert it, such as by ffmpeg")


def test_a_header_without_samples_in_a_large_file_is_not_called_empty(tmp_path):
    content = bytearray(written("AU"))
    content[8:12] = bytes(4)
    path = tmp_path / "a.au"
    path.write_bytes(content)
    refused(path, r"\(64024 bytes\) promises no audio by its header: convert it")


def test_a_name_that_is_not_utf_8_is_read_like_another(tmp_path):
    plain, odd = tmp_path / "plain.wav", tmp_path / os.fsdecode(b"caf\xe9.wav")
    soundfile.write(plain, np.linspace(-0.5, 0.5, 8_000), 16_000)
    try:
        odd.write_bytes(plain.read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert duration(odd) == 0.5
    assert torch.equal(SpeechReader()(odd), SpeechReader()(plain))
