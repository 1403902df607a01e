"""The feature store against a plain loop over reader and frontend; damage, kills, two writers."""

import logging
import multiprocessing
import os
import signal
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import forked
from torch import nn
from torch.utils.data import DataLoader, Dataset

from speechbrain_ser.data import store as features
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.lengths import num_samples
from speechbrain_ser.data.store import FeatureStore
from speechbrain_ser.errors import InputError

HOP = 320


class Frames(nn.Module):
    """Mean and maximum of every 320 samples, scaled: padding cannot matter. Counts its work."""

    shape = (1, 2)

    def __init__(self, scale: float = 1.0, log: Path | None = None, kill_at: int | None = None):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.dropout = nn.Dropout(0.5)
        self.settings = {"hop": HOP}
        self.batches = []
        self.log, self.kill_at = log, kill_at

    def describe(self) -> dict:
        return self.settings

    def num_frames(self, samples: torch.Tensor) -> torch.Tensor:
        return samples // HOP

    def forward(self, speech, lens):
        frames = self.num_frames(num_samples(speech, lens))
        self.batches.append(len(speech))
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{len(speech)}\n")
        if len(self.batches) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        cut = speech[:, : speech.shape[1] // HOP * HOP].unflatten(1, (-1, HOP))
        both = torch.stack([cut.mean(dim=2), cut.amax(dim=2)], dim=2)  # [batch, frame, 2]
        return self.dropout(self.scale * both).unsqueeze(2), frames


def make_recordings(folder: Path, count: int = 7) -> list[Path]:
    draw = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.wav")
        samples = 0.2 * draw.standard_normal(8_000 + 3_217 * (number * 3 % count))
        soundfile.write(paths[-1], samples, 16_000, subtype="PCM_16")
    return paths


@pytest.fixture
def recordings(tmp_path):
    return make_recordings(tmp_path / "wav")


@pytest.fixture
def make(tmp_path):
    def make(frontend=None, reader=None, **settings) -> FeatureStore:
        settings = {"dtype": "float32", "folder": tmp_path / "store"} | settings
        return FeatureStore(frontend or Frames(), reader or SpeechReader(), **settings)

    return make


def expected(path, frontend=None, reader=None) -> torch.Tensor:
    """One recording by itself."""
    speech = (reader or SpeechReader())(path)
    with torch.no_grad():
        return (frontend or Frames()).eval()(speech[None], torch.ones(1))[0][0]


def shards(store: FeatureStore) -> list[Path]:
    return sorted(store.folder.glob("*.safetensors"))


@pytest.mark.parametrize("batch_seconds", [0.1, 1.5, 60])
def test_features_are_those_of_a_loop(recordings, make, batch_seconds):
    store = make(batch_seconds=batch_seconds)
    store.frontend.train()
    store.fill(recordings)
    assert store.frontend.training  # as it was, but dropout was off
    assert sum(store.frontend.batches) == len(recordings)
    assert len(store.frontend.batches) == {0.1: 7, 1.5: 7, 60: 1}[batch_seconds] or (
        batch_seconds == 1.5 and max(store.frontend.batches) > 1
    )
    for path in recordings:
        found = store.read(path)
        assert torch.equal(found, expected(path))
        assert store.frames(path) == len(found) and found.dtype == torch.float32
        assert torch.equal(store.read(path, first=4), found[:4])


def test_half_precision(recordings, make):
    store = make(dtype="float16")
    store.fill(recordings)
    found, exact = store.read(recordings[0]), expected(recordings[0])
    assert found.dtype == torch.float16 and torch.equal(found, exact.half())
    wide = make(dtype="float32")
    wide.fill(recordings)
    assert shards(wide)[0].stat().st_size > 1.5 * shards(store)[0].stat().st_size


def test_a_second_fill_computes_nothing(recordings, make):
    make().fill(recordings)
    again = make()
    again.fill(recordings)
    again.fill(recordings)
    assert again.frontend.batches == []
    assert torch.equal(again.read(recordings[2]), expected(recordings[2]))


def test_what_decides_the_features_names_the_store(make):
    def folder(**settings):
        return make(**settings).folder

    described = Frames()
    described.settings = {"hop": 160}
    others = [
        folder(frontend=Frames(scale=2.0)),
        folder(frontend=described),
        folder(reader=SpeechReader(normalise=True)),
        folder(reader=SpeechReader(max_seconds=1)),
        folder(reader=SpeechReader(tiling="ceil")),
        folder(reader=SpeechReader(sample_rate=8_000)),
        folder(dtype="float16"),
    ]
    assert len({folder(), *others}) == 1 + len(others)
    reader = SpeechReader(train_window="start")  # of training alone
    reader.draw = (1, 7)
    assert folder(reader=reader) == folder()


def test_a_changed_file_is_computed_anew(recordings, make):
    store = make()
    store.fill(recordings)
    before = store.read(recordings[0])
    soundfile.write(recordings[0], np.sin(np.arange(9_000) / 9), 16_000)
    with pytest.raises(InputError, match="0.wav has no stored features"):
        store.read(recordings[0])
    store.fill(recordings)
    assert store.frontend.batches[1:] == [1]
    assert not torch.equal(store.read(recordings[0])[:20], before[:20])
    assert torch.equal(store.read(recordings[0]), expected(recordings[0]))


def test_the_same_content_is_stored_once(recordings, make):
    twin = recordings[0].with_name("twin.wav")
    twin.write_bytes(recordings[0].read_bytes())
    store = make()
    store.fill([*recordings, twin])
    assert sum(store.frontend.batches) == len(recordings)
    assert torch.equal(store.read(twin), store.read(recordings[0]))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
    ],
    ids=["a flipped bit", "truncated", "empty"],
)
def test_damage_is_found_and_mended(recordings, make, caplog, damage):
    first = make(shard_bytes=1, batch_seconds=2.0)
    first.fill(recordings)
    damaged = shards(first)[1]
    lost = sum(shard == damaged for shard in first.shard_of.values())
    assert 1 <= lost < len(recordings)
    damage(damaged)
    store = make(shard_bytes=1, batch_seconds=2.0)
    store.fill(recordings)
    assert f"{damaged} is damaged" in caplog.text
    assert sum(store.frontend.batches) == lost
    for path in recordings:
        assert torch.equal(store.read(path), expected(path))
    caplog.clear()
    make().fill(recordings)
    assert "damaged" not in caplog.text


def fill(folder: Path, kill_at: int | None = None, ready: Callable = lambda: None) -> None:
    """What a process does that fills a store."""
    frontend = Frames(log=folder / "log", kill_at=kill_at)
    store = FeatureStore(frontend, SpeechReader(), "float32", folder / "store", 1, 1.5)
    ready()
    store.fill(sorted((folder / "wav").glob("*.wav")), progress=False)


def computed(folder: Path) -> int:
    return sum(map(int, (folder / "log").read_text().split()))


def test_two_processes_share_the_work(recordings, make, tmp_path):
    both = multiprocessing.get_context("fork").Barrier(2)
    processes = [forked(fill, tmp_path, None, both.wait) for _ in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert computed(tmp_path) == len(recordings)
    store = make()
    store.fill(recordings)
    assert store.frontend.batches == []


def test_kill_9_loses_no_shard_and_leaves_no_half_one(recordings, make, tmp_path):
    process = forked(fill, tmp_path, 3)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    kept = {path.name for path in shards(make())}
    assert len(kept) == 2  # two batches, each a shard of its own
    (make().folder / "999.part").write_bytes(b"half a shard")
    store = make(shard_bytes=1, batch_seconds=1.5)
    store.fill(recordings)
    before = computed(tmp_path)
    lost = int((tmp_path / "log").read_text().split()[-1])  # the batch that was being computed
    assert sum(store.frontend.batches) == len(recordings) - before + lost
    assert kept < {path.name for path in shards(store)}
    assert not list(store.folder.glob("*.part"))
    assert all(torch.equal(store.read(path), expected(path)) for path in recordings)


def test_a_bad_recording_keeps_what_was_computed(recordings, make):
    recordings[3].write_bytes(b"no audio")
    soundfile.write(recordings[6], np.zeros(9_000_0), 16_000)  # the longest, silent
    store = make(batch_seconds=1.5)
    with pytest.raises(InputError, match=r"3\.wav .* is not an audio file"):
        store.fill(recordings)
    good = [path for path in recordings if path != recordings[3]]
    with pytest.raises(InputError, match=r"6\.wav is silent"):
        store.fill(good)
    done = sum(store.frontend.batches)
    assert done == 5
    store.fill(good[:-1])
    assert sum(store.frontend.batches) == done


def test_features_that_cannot_be_stored(recordings, make):
    with pytest.raises(InputError, match="float16 cannot hold: use dtype float32"):
        make(Frames(scale=1e6), dtype="float16").fill(recordings)
    make(Frames(scale=1e6), dtype="float32").fill(recordings)
    with pytest.raises(InputError, match=r"\d\.wav has features .* cannot hold: check the file"):
        make(Frames(scale=float("nan"))).fill(recordings)


def test_the_size_is_told_and_must_fit(recordings, make, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    store = make()
    store.fill(recordings)
    size = sum(store.frames(path) for path in recordings) * 2 * 4
    assert f"Features of 7 recordings are missing: {size / 1e6:.1f} MB" in caplog.text
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: usage(size - 1))
    with pytest.raises(InputError, match="set SER_CACHE to a folder on a larger disk"):
        make(Frames(scale=2.0)).fill(recordings)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: usage(size))
    make(Frames(scale=2.0)).fill(recordings)


def test_statistics_by_numpy(recordings, make):
    store = make(Frames(scale=100.0))
    store.fill(recordings)
    frames = np.concatenate([expected(p, Frames(scale=100.0)).double() for p in recordings[1:5]])
    mean, deviation = store.statistics(recordings[1:5])
    assert mean.shape == deviation.shape == (1, 2) and mean.dtype == torch.float32
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, frames.std(axis=0), rtol=1e-6)


class Stored(Dataset):
    def __init__(self, store, paths):
        self.store, self.paths = store, paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.store.read(self.paths[index], first=20)


@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_the_same(recordings, make, start_method):
    store = make()
    store.fill(recordings)
    loader = DataLoader(
        Stored(store, recordings), num_workers=2, multiprocessing_context=start_method
    )
    for path, (item,) in zip(recordings, loader, strict=True):
        assert torch.equal(item, expected(path)[:20])


def test_settings_that_cannot_be_stored(make, recordings):
    with pytest.raises(InputError, match="set test_window to start or centre"):
        make(reader=SpeechReader(max_seconds=1, test_window="random"))
    with pytest.raises(InputError, match="dtype is 'int8': use float16 or float32"):
        make(dtype="int8")
    with pytest.raises(InputError, match="absent.wav cannot be read"):
        make().fill([recordings[0].with_name("absent.wav")])
