"""mp3: all frames that are there are read, whatever the header says of them, or none."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_audio_windows import decode

from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.decoding import duration, header, windows
from speechbrain_ser.data.mpeg import Kind, frame
from speechbrain_ser.errors import InputError

DELAY = 1105  # samples before the first of the speech, where no header tells to drop them
DECODER = 529  # of them are the decoder's
FRAME = {16_000: 576, 44_100: 1152}  # samples


def tones(seconds, rate=16_000, hertz=150.0) -> np.ndarray:
    """A voice-like sound whose loudness changes, so that its bit rate may."""
    time = np.arange(round(seconds * rate)) / rate
    sound = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 15))
    return (0.1 * sound * (0.1 + (time % 1))).astype("float32")


def mp3(samples, rate=16_000, mode="CONSTANT", level=0.0) -> bytes:
    """What an encoder writes: a frame with a header (Xing or Info), then those of the audio."""
    content = Path(f"{mp3.folder}/encoded.mp3")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(
        content, "w", rate, channels, "MPEG_LAYER_III", bitrate_mode=mode, compression_level=level
    ) as file:
        file.write(samples)
    return content.read_bytes()


@pytest.fixture(autouse=True)
def folder(tmp_path):
    mp3.folder = tmp_path


def frames(content: bytes) -> list[int]:
    """Where the frames of a file begin, and where the last one ends."""
    starts, at = [], 0
    while found := frame(content[at : at + 4]):
        starts.append(at)
        at += found[1]
    assert len(starts) > 10 and at == len(content)
    return [*starts, at]


def without_header(content: bytes) -> bytes:
    starts = frames(content)
    assert re.search(b"Xing|Info", content[: starts[1]])
    return content[starts[1] :]


def kept(path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def whole(path) -> np.ndarray:
    """The samples of a file; its header says how many, and so do its windows."""
    samples = decode(path)
    assert duration(path) == len(samples) / header(path).rate
    parts = [part for _, part, _ in windows(path, 0.5, 0.5)]
    torch.testing.assert_close(torch.cat(parts), samples, atol=1e-6, rtol=0)
    return samples[:, 0].numpy()


MODES = [("CONSTANT", 0.0), ("CONSTANT", 0.6), ("VARIABLE", 0.0), ("VARIABLE", 0.5)]


def test_a_frame_s_length_is_where_the_next_one_begins():
    assert frame(b"\xff\xfb\x90\x00") == (Kind(3, 44_100, False), 417)
    assert frame(b"\xff\xfb\x92\xc0") == (Kind(3, 44_100, True), 418)
    assert frame(b"\xff\xf3\x18\xc4") == (Kind(2, 16_000, True), 36)
    assert frame(b"\xff\xe3\x18\xc4") == (Kind(0, 8_000, True), 72)
    for other in (b"RIFF", b"\xff\xfb", b"\xff\xfd\x90\x00", b"\xff\xf1\x50\x80", b"\xff" * 4):
        assert frame(other) is None  # two bytes, layer II, AAC, no bit rate


@pytest.mark.parametrize(("mode", "level"), MODES)
@pytest.mark.parametrize("rate", FRAME)
def test_a_header_that_counts_its_frames_is_believed(tmp_path, rate, mode, level):
    samples = tones(2, rate)
    path = kept(tmp_path / "a.mp3", mp3(samples, rate, mode, level))
    with soundfile.SoundFile(path) as file:
        expected, expected_rate = file.read(dtype="float32"), file.samplerate
    decoded = whole(path)
    if expected_rate == rate:  # the encoder may choose a lower rate at low bit rates
        assert len(decoded) == len(samples)
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize(("mode", "level"), MODES)
@pytest.mark.parametrize("rate", FRAME)
def test_without_a_header_all_frames_are_read(tmp_path, rate, mode, level):
    content = mp3(tones(3, rate), rate, mode, level)
    expected = whole(kept(tmp_path / "a.mp3", content))
    bare = without_header(content)
    decoded = whole(kept(tmp_path / "b.mp3", bare))
    kind = frame(bare[:4])[0]
    count = len(frames(bare)) - 1
    assert count * kind.samples - len(decoded) in (0, DECODER)
    delay = DELAY - (count * kind.samples - len(decoded))
    np.testing.assert_allclose(decoded[delay:][: len(expected)], expected, atol=1e-4)


def test_recordings_joined_are_read_to_the_end(tmp_path):
    one, other = tones(2), tones(3, hertz=220)
    for first, second in (
        (mp3(one), mp3(other)),
        (mp3(one, mode="VARIABLE"), mp3(other, level=0.9)),
        (without_header(mp3(one)), mp3(other)),
        (mp3(one), without_header(mp3(other, mode="VARIABLE"))),
        (mp3(one) + b"TAG" + bytes(125), b"ID3\4\0\0\0\0\1\0" + bytes(128) + mp3(other)),
    ):
        decoded = whole(kept(tmp_path / "a.mp3", first + second))
        expected = [soundfile.read(kept(tmp_path / "b.mp3", mp3(part)))[0] for part in (one, other)]
        assert 5 < len(decoded) / 16_000 < 5.3
        for part, near in zip(expected, (0, len(decoded) - len(other) - 2400), strict=True):
            # the part is there, wherever its encoder's delay put it
            place = decoded[near : near + len(part) + 2400]
            match = np.correlate(place, part[: len(part)], mode="valid").max()
            assert match > 0.9 * np.sum(part**2)


def test_a_stream_recorded_from_the_middle_is_read(tmp_path):
    content = mp3(tones(4, 44_100), 44_100)
    starts = frames(content)
    middle = (starts[30] + starts[31]) // 2
    end = (starts[-9] + starts[-10]) // 2
    expected = whole(kept(tmp_path / "a.mp3", content))
    decoded = whole(kept(tmp_path / "b.mp3", content[middle:end]))
    count = len(starts) - 1 - 31 - 9
    assert len(decoded) == count * 1152 - DECODER
    there = 30 * 1152 - DELAY + DECODER  # a header's frame and 30 others precede
    inside = slice(2 * 1152, -1152)  # the first frames need earlier ones
    np.testing.assert_allclose(
        decoded[inside], expected[there : there + len(decoded)][inside], atol=1e-4
    )


def test_parts_of_a_joined_file_are_those_of_the_whole(tmp_path):
    content = mp3(tones(40), level=0.99) + mp3(tones(30, hertz=220), mode="VARIABLE")
    path = kept(tmp_path / "a.mp3", content)
    samples = decode(path)
    for start in (0, 1, 70_001, 640_000, 900_000, len(samples) - 16_000):
        part = decode(path, start, start + 16_000)
        torch.testing.assert_close(part, samples[start : start + 16_000], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("mode", "level"), MODES)
def test_fewer_frames_than_the_header_counts_are_refused(tmp_path, mode, level):
    content = mp3(tones(3), mode=mode, level=level)
    other = mp3(tones(1))
    starts = frames(content)
    for cut in (content[:-7], content[: starts[-3]], content[: len(content) // 2]):
        for joined in (cut, other + cut, cut + other):
            if joined == cut + other and len(cut) == len(content) - 7:
                continue  # a frame is missing in the middle: some writers count so
            path = kept(tmp_path / "a.mp3", joined)
            for read in (duration, decode, SpeechReader(max_seconds=0.1)):
                with pytest.raises(InputError, match=r"a\.mp3 is truncated: its header promises"):
                    read(path)


def test_a_header_that_counts_itself_is_forgiven(tmp_path):
    content = bytearray(mp3(tones(2)))
    at = re.search(b"Xing|Info", content).start() + 8
    count = int.from_bytes(content[at : at + 4], "big")
    assert count == len(frames(bytes(content))) - 2
    content[at : at + 4] = (count + 1).to_bytes(4, "big")
    assert len(whole(kept(tmp_path / "a.mp3", content))) == count * 576 - DECODER
    content[at : at + 4] = bytes(4)
    assert len(whole(kept(tmp_path / "a.mp3", content))) == count * 576 - DECODER


def test_different_rates_or_channels_joined_are_refused(tmp_path):
    one = mp3(tones(1))
    stereo = mp3(np.stack([tones(1), tones(1, hertz=99)], axis=1))
    for other in (mp3(tones(1, 44_100), 44_100), stereo, without_header(stereo)):
        path = kept(tmp_path / "a.mp3", one + other)
        with pytest.raises(
            InputError, match=r"a\.mp3 holds recordings of different sampling rates"
        ):
            duration(path)


def test_tags_and_dirt_are_no_frames(tmp_path):
    content = mp3(tones(2))
    expected = whole(kept(tmp_path / "a.mp3", content))
    picture = np.random.default_rng(0).bytes(5000)
    tag = b"ID3\4\0\0\0\0" + bytes([5000 >> 7, 5000 & 127]) + picture
    for dirty in (tag + content, content + b"TAG" + bytes(125), tag + content + picture[:300]):
        np.testing.assert_array_equal(whole(kept(tmp_path / "b.mp3", dirty)), expected)
    starts = frames(content)
    dirty = content[: starts[20]] + picture + content[starts[20] :]  # libsndfile would end there
    assert len(whole(kept(tmp_path / "b.mp3", dirty))) == (len(starts) - 2) * 576 - DECODER


def test_libsndfile_says_nothing_of_its_own(tmp_path):
    path = kept(tmp_path / "a.mp3", mp3(tones(1)) * 3)
    code = f"from speechbrain_ser.data.audio import SpeechReader; SpeechReader()({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Xing" not in done.stderr
