"""mp3: which frames a file holds, whatever its header says of them.

libsndfile decodes as many frames as the header counts (Xing, Info or VBRI), and estimates them
where there is none: of two files joined, and of a variable bit rate without a header, it reads a
part and says nothing. So the frames are counted here, and a file whose header does not count them
is given to libsndfile under a header that does.
"""

import contextlib
import functools
import io
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import soundfile

from speechbrain_ser.data import segments
from speechbrain_ser.errors import InputError

KBPS = {  # of a layer III frame, by its bit rate index; 0 and 15 are no frames that are counted
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
}
HERTZ = (44_100, 48_000, 32_000)
LEAST = 64  # bytes of a header's frame: four, side information, tag, flags and count
VBRI = 36  # where that tag stands in its frame; for the others see Kind.tag
SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # how a layer III frame begins
CHAIN = 3  # frames in a row that are no chance
REMEMBERED = 4096  # files that libsndfile reads as they are


class Kind(NamedTuple):
    """What is the same in all frames of a recording."""

    version: int  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    rate: int  # Hz
    mono: bool

    @property
    def samples(self) -> int:
        """Of each channel, in a frame."""
        return 1152 if self.version == 3 else 576

    @property
    def tag(self) -> int:
        """Where the header's tag stands in its frame: behind an empty side information."""
        side = {True: (32, 17), False: (17, 9)}[self.version == 3]
        return 4 + side[self.mono]


def named(path: str | Path) -> str | bytes:
    """A path as libsndfile is to have it: by its bytes, which may be no text, where names are."""
    return str(path) if os.name == "nt" else os.fsencode(path)


@functools.lru_cache(maxsize=4096)
def frame(head: bytes) -> tuple[Kind, int] | None:
    """A frame's kind and its bytes, by its first four; None if they are no layer III frame's."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, index, of_rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or index in (0, 15) or of_rate == 3:
        return None
    rate = HERTZ[of_rate] >> (0, 1, 2)[(3, 2, 0).index(version)]
    kind = Kind(version, rate, head[3] >> 6 == 3)
    size = kind.samples // 8 * 1000 * KBPS[version == 3][index] // rate + (head[2] >> 1 & 1)
    return kind, size


@dataclass
class Part:
    """One of the recordings that are joined to a file; most files hold one."""

    kind: Kind
    promised: int | None  # frames by its header, if it has one
    frames: int = 0  # that are there
    runs: list[list[int]] = field(default_factory=list)  # their bytes: from, to


def source(path: str | Path) -> str | io.BytesIO:
    """What libsndfile is to open: the file, or its frames under a header that counts them.

    Raises InputError for a file that holds fewer frames than its header counts, and for recordings
    of different rates or channels joined to one.
    """
    return str(path) if _is_well(str(path)) else _counted(path)


def _counted(path: str | Path) -> str | io.BytesIO:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        parts = _parts(data)
        if len({part.kind for part in parts}) > 1:
            raise InputError(
                f"{path} holds recordings of different sampling rates or channels joined: split it "
                "into its parts"
            )
        for part in parts:
            _check(path, part, data)
        if not any(part.frames for part in parts) or _is_true(path, parts):
            return str(path)
        runs = [run for part in parts for run in part.runs]
        content = b"".join(data[start:end] for start, end in runs)
    count = sum(part.frames for part in parts)
    return io.BytesIO(_header(content[:4], parts[0].kind.tag, count) + content)


# counting the frames of a long file takes longer than reading one of its segments
_is_well = segments.once(lambda path: isinstance(_counted(path), str), most=REMEMBERED)


def _check(path: str | Path, part: Part, data: mmap.mmap) -> None:
    """Raise InputError if frames are missing."""
    end = part.runs[-1][1] if part.runs else len(data)
    found = frame(data[end : end + 4])
    # some writers count the header's frame, too; of a torn file that would be a frame lost
    torn = found is not None and end + found[1] > len(data)
    if part.promised is not None and part.frames + (not torn) < part.promised:
        seconds = [n * part.kind.samples / part.kind.rate for n in (part.promised, part.frames)]
        raise InputError(
            f"{path} is truncated: its header promises {seconds[0]:.2f} s and {seconds[1]:.2f} s "
            "are there, fetch it again"
        )


def _is_true(path: str | Path, parts: list[Part]) -> bool:
    """Whether libsndfile reads all frames of the file as it is."""
    if len(parts) > 1 or len(parts[0].runs) > 1:
        return False
    if parts[0].promised is not None:
        return parts[0].promised == parts[0].frames
    with contextlib.suppress(soundfile.SoundFileError):
        return soundfile.info(named(path)).frames == parts[0].frames * parts[0].kind.samples
    return False


def _parts(data: mmap.mmap) -> list[Part]:
    """What a file holds, parted at headers' frames, which hold no audio, and where kinds differ."""
    tags = {match.start(): match[0] for match in re.finditer(b"Xing|Info|VBRI", data)}
    parts: list[Part] = []
    for kind, start, size in _frames(data):
        # two bytes of a checksum may precede it
        at = next((at for at in (kind.tag, kind.tag + 2, VBRI) if start + at in tags), None)
        if at is not None:
            parts.append(Part(kind, _promised(data[start + at : start + at + 18])))
            continue
        if not parts or parts[-1].kind != kind:
            parts.append(Part(kind, None))
        part = parts[-1]
        part.frames += 1
        if part.runs and part.runs[-1][1] == start:
            part.runs[-1][1] += size
        else:
            part.runs.append([start, start + size])
    return parts


def _frames(data: mmap.mmap) -> Iterator[tuple[Kind, int, int]]:
    """Kind, place and length of each whole frame."""
    at, last, expected = 0, None, -1
    while at + 4 <= len(data):
        found = frame(data[at : at + 4])
        if found and (at == expected and found[0] == last or _is_chain(data, at)):
            last, size = found
            expected = at + size
            if expected <= len(data):
                yield last, at, size
            at = expected
        elif data[at : at + 3] == b"ID3":
            sizes = data[at + 6 : at + 10]  # seven bits each
            at += 10 + functools.reduce(lambda size, byte: size << 7 | byte & 127, sizes, 0)
        else:
            match = SYNC.search(data, at + 1)
            at = match.start() if match else len(data)


def _is_chain(data: mmap.mmap, at: int) -> bool:
    """Whether frames follow each other from here on, to the end of the recording if it is near."""
    first = None
    for _ in range(CHAIN):
        if at >= len(data) or data[at : at + 3] in (b"ID3", b"TAG", b"APE"):
            return True
        found = frame(data[at : at + 4])
        if found is None or first and found[0] != first:
            return False
        first, at = found[0], at + found[1]
    return True


def _promised(tag: bytes) -> int | None:
    """The frames that a header counts, by its tag and what follows."""
    if tag[:4] == b"VBRI":
        return int.from_bytes(tag[14:18], "big")
    return int.from_bytes(tag[8:12], "big") if int.from_bytes(tag[4:8], "big") & 1 else None


def _header(head: bytes, tag: int, count: int) -> bytes:
    """A frame that says how many follow; `head`, four bytes of one of them, `tag`, its place."""
    plain = bytearray(head)
    plain[1] |= 1  # no checksum
    for index in range(1, 15):
        plain[2] = index << 4 | plain[2] & 0x0C
        made = frame(bytes(plain))
        assert made is not None  # any of these bit rates makes a frame
        size = made[1]
        if size >= LEAST:
            break
    says = b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
    return (bytes(plain) + bytes(tag - 4) + says).ljust(size, b"\0")
