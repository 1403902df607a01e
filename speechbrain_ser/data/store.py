"""Features of recordings on disk: computed once, read in every epoch, fold and seed.

A store holds what one frozen frontend makes of recordings that one reader reads. Its folder is
named by all that decides the features; in it, recordings are known by their content, so that a
changed weight, setting or file is never served old features.
"""

import functools
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock
import safetensors
import safetensors.torch
import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from speechbrain_ser.data import segments
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.decoding import duration
from speechbrain_ser.data.frontend import Frontend
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import as_json, cache_folder, write_atomically

logger = logging.getLogger(__name__)

VERSION = 3  # of the layout on disk, and of what the reader gives
DTYPES = {"float16": torch.float16, "float32": torch.float32}


class FeatureStore:
    """The features of recordings, memory-mapped; see the module.

    A shard is a safetensors file named by the digest of its bytes: damage is found when it is
    opened, and only whole shards ever get their name. One process at a time writes.

    Arguments
    ---------
    frontend : of models.frontends, or any module that does what a Frontend does
    reader : reads the recordings, as in evaluation
    dtype : "float16" or "float32", on disk
    folder : where stores lie; None: features/ in SER_CACHE or ~/.cache/speechbrain-ser
    shard_bytes : about the size of a shard
    batch_seconds : of padded speech per batch of the frontend

    Raises InputError for a dtype or a reader that cannot be stored.
    """

    def __init__(
        self,
        frontend: Frontend,
        reader: SpeechReader,
        dtype: str = "float16",
        folder: str | Path | None = None,
        shard_bytes: int = 256 * 2**20,
        batch_seconds: float = 60.0,
    ):
        if dtype not in DTYPES:
            raise InputError(f"dtype is {dtype!r}: use {' or '.join(DTYPES)}")
        if reader.test_window == "random":
            raise InputError("features are computed once: set test_window to start or centre")
        self.frontend = frontend
        self.reader = reader
        self.dtype = DTYPES[dtype]
        self.shard_bytes = shard_bytes
        self.batch_seconds = batch_seconds
        settings = describe(frontend, reader) | {"dtype": dtype, "version": VERSION}
        key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
        self.folder = Path(folder or cache_folder() / "features").expanduser() / key[:16]
        self.settings = settings
        self.shard_of: dict[str, Path] = {}  # digest of a recording -> its shard
        self.checked: set[Path] = set()

    def fill(
        self,
        paths: Iterable[str | Path],
        device: str | torch.device = "cpu",
        progress: bool = True,
    ) -> None:
        """Compute what is missing of these recordings; an interrupted call is continued.

        Raises InputError for a recording that the reader refuses, features that are not finite in
        the store's dtype, or too little space on the disk.
        """
        digests: dict[str, Path] = {}  # -> one path of each content
        for path in tqdm(paths, desc="reading files", disable=not progress, leave=False):
            digests.setdefault(digest_of(path), Path(path))
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            logger.info("Another process is computing features in %s: waiting ...", self.folder)
            lock.acquire()
        with lock:
            for left_over in self.folder.glob("*.part"):  # of a killed process
                left_over.unlink()
            write_atomically(self.folder / "settings.json", as_json(self.settings))
            self._open(progress)
            missing = [digest for digest in digests if digest not in self.shard_of]
            if missing:
                self._compute({digest: digests[digest] for digest in missing}, device, progress)

    def read(self, path: str | Path, first: int | None = None) -> torch.Tensor:
        """A recording's features, [frame, ...] in the store's dtype; its `first` frames, if given.

        Raises InputError for a recording that was never filled.
        """
        return self._slice(path)[:first]

    def frames(self, path: str | Path) -> int:
        """How many frames a recording has."""
        return self._slice(path).get_shape()[0]

    def statistics(self, paths: Iterable[str | Path]) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation (of the population) over all frames of these recordings.

        Each has the shape of one frame, float32.
        """
        count, mean, squares = 0, *torch.zeros(2, dtype=torch.float64)
        for path in paths:
            frames = self.read(path).float()
            variance, own = torch.var_mean(frames, dim=0, correction=0)
            variance, own = variance.double(), own.double()
            total = count + len(frames)
            step = own - mean  # Chan's update of the sum of squares
            squares = squares + len(frames) * (variance + step**2 * count / total)
            mean = mean + step * len(frames) / total
            count = total
        return mean.float(), (squares / count).sqrt().float()

    def __getstate__(self) -> dict:
        """Workers of a loader read; they need no network."""
        return self.__dict__ | {"frontend": None}

    def _slice(self, path: str | Path):
        shard = self.shard_of.get(digest := digest_of(path))
        if shard is None:
            raise InputError(f"{path} has no stored features: it was changed after the run began")
        return opened(shard).get_slice(digest)

    def _open(self, progress: bool) -> None:
        """Learn what the shards hold that this process has not seen; drop damaged ones."""
        shards = sorted(self.folder.glob("*.safetensors"))
        unchecked = [path for path in shards if path not in self.checked]
        for path in tqdm(
            unchecked, desc="checking features", disable=not progress or len(unchecked) < 4
        ):
            if file_digest(path) != path.stem:
                logger.warning("%s is damaged: its features are computed again", path)
                path.unlink()
                continue
            self.checked.add(path)
            self.shard_of |= dict.fromkeys(opened(path).keys(), path)

    def _compute(self, recordings: dict[str, Path], device, progress: bool) -> None:
        """digest -> path of what is missing: compute and write it."""
        seconds = {digest: duration(path) for digest, path in recordings.items()}
        self._tell_size(seconds, len(recordings))
        kept: dict[str, torch.Tensor] = {}
        training = self.frontend.training
        self.frontend.to(device).eval()
        try:
            with tqdm(total=len(recordings), desc="features", disable=not progress) as bar:
                for batch in batches(seconds, self.batch_seconds):
                    kept |= self._features({d: recordings[d] for d in batch}, device)
                    bar.update(len(batch))
                    if sum(t.nbytes for t in kept.values()) >= self.shard_bytes:
                        self._write(kept)
                        kept = {}
        finally:
            self.frontend.train(training)
            if kept:
                self._write(kept)

    def _tell_size(self, seconds: dict[str, float], missing: int) -> None:
        rate = self.reader.sample_rate
        samples = torch.tensor([round(s * rate) for s in seconds.values()])
        if self.reader.max_seconds:
            samples = samples.clamp(max=round(self.reader.max_seconds * rate))
        frames = int(self.frontend.num_frames(samples).sum())
        size = frames * torch.Size(self.frontend.shape).numel() * self.dtype.itemsize
        free = shutil.disk_usage(self.folder).free
        logger.info(
            "Features of %s recordings are missing: %s will be written to %s",
            f"{missing:,}",
            in_words(size),
            self.folder,
        )
        if size > free:
            raise InputError(
                f"{self.folder} has {in_words(free)} free, and the features need {in_words(size)}: "
                "make space, or set SER_CACHE to a folder on a larger disk"
            )

    @torch.no_grad()
    def _features(self, recordings: dict[str, Path], device) -> dict[str, torch.Tensor]:
        """digest -> path of one batch -> digest -> features [frame, ...] in the store's dtype."""
        speech = [self.reader(path) for path in recordings.values()]
        lengths = torch.tensor([len(item) for item in speech])
        lens = (lengths / lengths.max()).to(device)
        features, frames = self.frontend(pad_sequence(speech, batch_first=True).to(device), lens)
        read = {}
        for (digest, path), item, n in zip(
            recordings.items(), features, frames.tolist(), strict=True
        ):
            stored = item[:n].to("cpu", self.dtype)
            if not torch.isfinite(stored).all():
                hint = "use dtype float32" if torch.isfinite(item[:n]).all() else "check the file"
                raise InputError(f"{path} has features that {self.dtype} cannot hold: {hint}")
            read[digest] = stored.contiguous()
        return read

    def _write(self, features: dict[str, torch.Tensor]) -> None:
        """One shard: written aside, named by its digest."""
        part = self.folder / f"{os.getpid()}.part"
        safetensors.torch.save_file(features, part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        path = self.folder / f"{file_digest(part)}.safetensors"
        part.replace(path)
        self.checked.add(path)
        self.shard_of |= dict.fromkeys(features, path)


def describe(frontend: Frontend, reader: SpeechReader) -> dict:
    """All that decides the features of a recording, weights as a digest."""
    weights = hashlib.sha256()
    for name, tensor in sorted(frontend.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    unused = ("draw", "train_window")  # of training alone
    settings = {key: value for key, value in vars(reader).items() if key not in unused}
    return {
        "frontend": f"{type(frontend).__module__}.{type(frontend).__name__}",
        "settings": frontend.describe(),
        "weights": weights.hexdigest(),
        "reader": {key: getattr(value, "__name__", value) for key, value in settings.items()}
        | {"class": type(reader).__name__},
    }


def digest_of(path: str | Path) -> str:
    """The digest of the content of a file or a part of it, which is read anew when it has changed.

    Raises InputError if there is no such file.
    """
    file, start, end = segments.split(path)
    try:
        digest = _digest(file)
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}): is the corpus there?"
        ) from None
    if file == str(path):
        return digest
    return hashlib.sha256(f"{digest} {start} {end}".encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


_digest = segments.once(file_digest)


@functools.cache
def opened(shard: Path):
    """A shard's memory map, one per process."""
    return safetensors.safe_open(shard, framework="pt")


def batches(seconds: dict[str, float], most: float) -> Iterator[list[str]]:
    """Names of similar length together, at most `most` seconds with padding; longer ones alone."""
    batch: list[str] = []
    for name in sorted(seconds, key=lambda name: (seconds[name], name)):
        if batch and (len(batch) + 1) * seconds[name] > most:
            yield batch
            batch = []
        batch.append(name)
    if batch:
        yield batch


def in_words(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
