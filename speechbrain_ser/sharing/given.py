"""What a caller gives to a recognizer: paths, content in memory, open files, pipes and samples."""

import io
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch

from speechbrain_ser.data import segments
from speechbrain_ser.data.containers import LEAST_HERTZ, MOST_CHANNELS, MOST_HERTZ
from speechbrain_ser.errors import InputError
from speechbrain_ser.output import printable

Recording = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO
Samples = np.ndarray | torch.Tensor
T = TypeVar("T")

CONTENT = (bytes, bytearray, memoryview)
NAMELESS = "the recording"
ACCEPTED = "give a path, a file's bytes, a file opened with 'rb', or classify(samples, rate)"
FULL_SCALE = {"uint8": 1 << 7, "int16": 1 << 15, "int32": 1 << 31}  # as wav files hold samples
LOUDEST = 100.0  # of full scale: floats beyond it are integers that nobody has scaled


def listed(recordings: Recording | Iterable[Recording | Samples]) -> list[Recording | Samples]:
    """Recordings as a list; one that stands alone is a list of one."""
    one: Any = recordings  # bytes and open files can be iterated over, too
    alone = isinstance(one, (str, os.PathLike, *CONTENT, np.ndarray, torch.Tensor))
    if alone or hasattr(one, "read"):
        return [one]
    try:
        return list(one)
    except TypeError:
        return [one]  # whose fault Spool.path tells


class Spool:
    """Recordings as paths: what is no file on a disk is copied to one, which is deleted on leaving.

    An InputError that leaves the context names the recording, not the copy.
    """

    def __init__(self) -> None:
        self.folder: tempfile.TemporaryDirectory | None = None
        self.names: dict[str, str] = {}  # path of a copy: what the user calls it

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if self.folder is not None:
            self.folder.cleanup()
        if isinstance(error, InputError) and self.names:
            raise self.told(error) from None

    def path(self, recording: Recording | Samples) -> str | Path:
        """The recording's own path, or its copy's.

        A named pipe and an open file are read to their end, the latter from where it stands. Raises
        InputError for what is no recording, or cannot be read.
        """
        if isinstance(recording, str | os.PathLike):
            path = Path(recording)
            file, start, end = segments.split(path)
            if not _is_pipe(Path(file)):
                return recording if isinstance(recording, str) else path
            try:
                with open(file, "rb") as pipe:
                    copy = self._copy(pipe, file)
                    return copy if file == str(path) else segments.at(copy, start, end)
            except OSError as error:
                raise InputError(f"{path} cannot be read ({error.strerror})") from None
        if isinstance(recording, CONTENT):
            return self._copy(io.BytesIO(recording), NAMELESS)
        if isinstance(recording, Samples):
            raise InputError("samples do not tell their rate: use classify(samples, rate)")
        if not hasattr(recording, "read"):
            raise InputError(f"a {type(recording).__name__} is no recording: {ACCEPTED}")
        name = getattr(recording, "name", None)  # of a file without one it is a number
        name = name if isinstance(name, str) else "the open file"
        path = self._copy(recording, name)
        if not path.stat().st_size:
            raise InputError(f"{name} has nothing to read from where it stands: seek(0) first")
        return path

    def told(self, result: T | InputError) -> T | InputError:
        """An InputError with the names of recordings in place of their copies'; the rest as is."""
        if not isinstance(result, InputError):
            return result
        sentence = str(result)
        for copy, name in self.names.items():
            sentence = sentence.replace(printable(copy), printable(name))
        return InputError(sentence)

    def _copy(self, content: BinaryIO, name: str) -> Path:
        self.folder = self.folder or tempfile.TemporaryDirectory(prefix="ser_")
        # the ending too: it tells libsndfile of a stream without a header
        path = Path(self.folder.name) / f"{len(self.names):09}{Path(name).suffix}"
        self.names[str(path)] = name
        with open(path, "wb") as copy:
            try:
                shutil.copyfileobj(content, copy)
            except TypeError:
                raise InputError(f"{name} is opened as text: open it with 'rb'") from None
            except ValueError as error:
                raise InputError(f"{name} cannot be read ({error})") from None
        return path


def _is_pipe(path: Path) -> bool:
    try:
        return path.is_fifo()
    except OSError:  # what opens it tells why
        return False


def channels(samples: Samples | Recording, rate: int) -> torch.Tensor:
    """samples [time], [time, channel] or [channel, time] -> float32 [channel, time].

    rate : Hz

    Floats are in [-1, 1]; uint8, int16 and int32 as in wav files. The shorter axis is that of the
    channels: 25 ms, the least that is classified, are more samples than the 64 channels that are
    the most. Raises InputError for other shapes, kinds and rates.
    """
    if isinstance(samples, torch.Tensor):
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    elif not isinstance(samples, np.ndarray):
        raise InputError(f"a rate belongs to samples, which a {type(samples).__name__} is not")
    whole = isinstance(rate, int | float | np.number) and float(rate).is_integer()
    if not whole or not LEAST_HERTZ <= rate <= MOST_HERTZ:
        raise InputError(f"the rate is {rate!r}: use whole Hz, {LEAST_HERTZ:,} to {MOST_HERTZ:,}")
    shape = samples.shape
    if samples.ndim not in (1, 2) or not samples.size:
        raise InputError(
            f"samples of shape {shape}: use [time], [time, channel] or their transpose"
        )
    if samples.ndim == 2 and min(shape) > MOST_CHANNELS:
        raise InputError(f"samples of shape {shape}: more than {MOST_CHANNELS} channels")
    kind = samples.dtype.name
    if kind not in FULL_SCALE and samples.dtype.kind != "f":
        raise InputError(f"samples of {kind}: use floats in [-1, 1], {', '.join(FULL_SCALE)}")
    values = samples.astype(np.float64 if kind == "int32" else np.float32)
    if kind in FULL_SCALE:
        values = (values - (FULL_SCALE[kind] if kind == "uint8" else 0)) / FULL_SCALE[kind]
    speech = torch.from_numpy(values.astype(np.float32)).reshape(-1, shape[-1])  # [?, ?]
    if (peak := float(speech.abs().max())) > LOUDEST and peak < float("inf"):
        raise InputError(f"samples reach {peak:,.0f}: scale floats to [-1, 1], or give int16")
    # in memory as a file's samples are decoded: their mean is then the same to the last bit
    return (speech if speech.shape[0] > speech.shape[1] else speech.T).contiguous().T
