"""Audio files as libsndfile opens them, where their headers can be believed.

A wav written to a pipe holds a placeholder instead of its length, an mp3's header may count other
frames than there are, and of recordings joined end to end only the first is read: here such a file
is opened under a header that is true, or refused.
"""

import contextlib
import io
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import soundfile

from speechbrain_ser.data import mpeg
from speechbrain_ser.errors import InputError

# Beyond these a header is broken. Speech needs more than 2 kHz, half of the lowest rate (telephones
# have 8,000 Hz), and resampling makes a file at 1 Hz 16,000 times as large.
LEAST_HERTZ, MOST_HERTZ, MOST_CHANNELS = 4_000, 1_000_000, 64
# Bytes that the writer to a pipe promises, the largest that it knows less a header: sox and espeak
# 0x7ffff000 (aiff 0x7f000000), ElevenLabs 0x7fffffff, arecord 0x80000000, ffmpeg 0xffffffff.
PLACEHOLDERS = (0x7F00_0000 + 64, 0x8000_0000, 0xFFFF_FFFF)
BELOW = 4096  # bytes: how far below
# What libsndfile notes of a chunk of samples that claims another length than the file leaves it;
# in wav and aiff the length of the whole (RIFF, FORM) is often wrong and not believed.
PROMISE = re.compile(
    r"^\s*(?:data|SSND|BODY|riff|Riff size|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
UNKNOWN_LENGTH = 1 << 62  # samples: libsndfile's largest number stands for it
MOST_CHUNKS = 1000  # of a wav that are looked at
LARGE = 4096  # bytes: a file of this size holds more than a header
FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
# How the first recording of a file begins, and any other; in Ogg pages of a first kind begin all
# streams of a recording, and those of the other kinds follow.
BEGINNINGS = {
    "FLAC": (FLAC, FLAC),
    "OGG": (re.compile(rb"OggS\x00[\x00\x01\x04\x05]"), re.compile(rb"OggS\x00[\x02\x06]")),
}
AHEAD = 1 << 17  # bytes of FLAC that libsndfile may have read ahead of what it decodes
JOINED = "holds several recordings joined: split it into its parts"
Order = Literal["big", "little"]  # of the bytes of a number
CONVERT = "convert it, such as by ffmpeg -i IN OUT.wav"


@contextlib.contextmanager
def naming(path: str | Path, fault: str) -> Iterator[None]:
    """Whatever libsndfile says of a file becomes an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} {fault} ({reason}): fetch it again") from None


class Recording(soundfile.SoundFile):
    """An audio file whose blocks are those of the whole.

    soundfile seeks after each block to where it is, if it can; in mp3 that spoils the next ones.
    """

    def seekable(self) -> bool:
        """What soundfile asks then."""
        return False

    @property
    def can_seek(self) -> bool:
        """Whether the format can, before the first block is read."""
        return super().seekable()


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Recording]:
    """A file at its first sample, its `frames` being as many as are there.

    Raises InputError if the file is missing, empty, truncated, not audio or not plausible; FLAC is
    only known to be truncated when it is decoded.
    """
    with naming(path, "cannot be opened"):
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file")
        size = Path(path).stat().st_size
        readable = source(path) if size else str(path)
    with naming(path, f"({size} bytes) is not an audio file that libsndfile reads"):
        file = Recording(mpeg.named(readable) if isinstance(readable, str) else readable)
    with file:
        _check(path, file, size)
        yield file


def source(path: str | Path) -> str | BinaryIO:
    """What libsndfile is to open: the file, or what it holds under a header that is true.

    Raises InputError for recordings joined to one file that cannot be decoded to the end.
    """
    with open(path, "rb") as file:
        start = file.read(12)
    if start[:4] in (b"RIFF", b"RIFX") and start[8:] == b"WAVE":
        return _wav(path)
    # libsndfile takes a file for mp3 by its name, too: a stream recorded from the middle
    if start[:3] == b"ID3" or mpeg.frame(start[:4]) or str(path).lower().endswith(".mp3"):
        return mpeg.source(path)
    return str(path)


def refuse_joined(path: str | Path, file: Recording) -> None:
    """InputError if another recording follows in the file, of which libsndfile reads the first.

    It may look at all bytes of FLAC and Ogg files: this is for who decodes, not for a header alone.
    """
    if file.format not in BEGINNINGS:
        return
    first, next_one = BEGINNINGS[file.format]
    with open(path, "rb") as content:
        with mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as data:
            begun = first.search(data)
            after = _end_of_flac(content) if file.format == "FLAC" else 0
            if begun and next_one.search(data, max(begun.end(), after)):
                raise InputError(f"{path} {JOINED}")


def _end_of_flac(content: BinaryIO) -> int:
    """A place before the end of its first stream, 0 if that is not found."""
    with contextlib.suppress(soundfile.SoundFileError), soundfile.SoundFile(content) as file:
        file.seek(file.frames - 1)  # what follows may mislead the search
        file.read(1)
        return content.tell() - AHEAD
    return 0


def _check(path: str | Path, file: soundfile.SoundFile, size: int) -> None:
    """Raise InputError for a header that cannot be true."""
    for promised, there in PROMISE.findall(file.extra_info):
        if int(promised) > int(there) and not is_placeholder(int(promised)):
            raise InputError(f"{path} is truncated: its header promises more audio, fetch it again")
    if re.search("^Ogg ?: Junk after the last page", file.extra_info, flags=re.MULTILINE):
        raise InputError(
            f"{path} breaks off in the middle of a page, or holds several recordings joined: "
            f"fetch it again, or {CONVERT}"
        )
    if not LEAST_HERTZ <= file.samplerate <= MOST_HERTZ or file.channels > MOST_CHANNELS:
        raise InputError(
            f"{path} claims {file.channels} channels at {file.samplerate} Hz: its header is "
            f"broken, fetch it again ({LEAST_HERTZ:,} to {MOST_HERTZ:,} Hz are read)"
        )
    if file.frames > UNKNOWN_LENGTH:
        raise InputError(
            f"{path} does not say how long it is (written to a pipe, or joined from several "
            f"recordings): {CONVERT}"
        )
    if file.frames <= 0 and size > LARGE:
        raise InputError(f"{path} ({size} bytes) promises no audio by its header: {CONVERT}")
    if file.frames <= 0:
        raise InputError(f"{path} holds no audio (0 samples): remove it or fetch it again")


def is_placeholder(promised: int) -> bool:
    """Whether a length in bytes only says that the writer did not know it."""
    return any(most - BELOW <= promised <= most for most in PLACEHOLDERS)


def _wav(path: str | Path) -> str | BinaryIO:
    """The file; if its data claims to be empty and is not, the file with its length written in."""
    with open(path, "rb") as file:
        order: Order = "big" if file.read(4) == b"RIFX" else "little"
        size = file.seek(0, io.SEEK_END)
        chunks = dict(_chunks(file, 12, size, order))
        if b"RIFF" in chunks or b"RIFX" in chunks:
            raise InputError(f"{path} {JOINED}")
        start, length = chunks.get(b"data", (0, 1))
        # after an empty chunk of samples others may follow, and then fill the file
        if length or start + 8 > size or _fills(_chunks(file, start, size, order), size):
            return str(path)
    there = min(size - start, 0xFFFF_FFFF)
    return _Amended(path, start - 4, there.to_bytes(4, order))


def _chunks(file: BinaryIO, at: int, size: int, order: Order) -> Iterator[tuple[bytes, tuple]]:
    """Name, start and length of each chunk of a wav from a place on, to the first of no name."""
    name = b""
    for _ in range(MOST_CHUNKS):
        if at + 8 > size or not (name.isascii() and name.decode("ascii").isprintable()):
            return
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(4), order)
        yield name, (at + 8, length)
        at += 8 + length + length % 2


def _fills(chunks: Iterator[tuple[bytes, tuple]], size: int) -> bool:
    """Whether the last of these chunks ends where the file does; samples seldom look like that."""
    *_, (_, (start, length)) = chunks
    return size - 8 < start + length <= size


class _Amended(io.FileIO):
    """A file, read with other bytes at one place."""

    def __init__(self, path: str | Path, place: int, content: bytes):
        super().__init__(path)
        self.place, self.content = place, content

    def readinto(self, buffer) -> int:
        """As of any file; libsndfile reads by this."""
        begin = self.tell()
        count = super().readinto(buffer)
        view = memoryview(buffer).cast("B")
        for at, byte in enumerate(self.content, self.place - begin):
            if 0 <= at < count:
                view[at] = byte
        return count
