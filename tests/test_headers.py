"""A large corpus is opened once: what is kept of its headers, and when it is not believed."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from benchmarks.manifest import lay_out

from speechbrain_ser import corpora
from speechbrain_ser.audio import duration
from speechbrain_ser.corpora import headers, voxceleb1
from speechbrain_ser.errors import InputError

KILLED = """
import os, signal, sys
from speechbrain_ser import corpora
from speechbrain_ser.corpora import headers, voxceleb1
corpora.MANY, corpora.CHUNK, headers.EVERY = 1, 4, 8
chunks, add = iter(range(7)), headers.Known.add
def fatal(known, rows):
    if next(chunks, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    add(known, rows)
headers.Known.add = fatal
voxceleb1.prepare(sys.argv[1], expected_speakers=None)
"""


@pytest.fixture(params=[float("inf"), 0], ids=["quick disk", "slow disk"])
def opened(monkeypatch, tmp_path, request):
    """How often each file is opened; a few files count as many."""
    calls = Counter()

    def counting(path):
        calls[path] += 1
        return duration(path)

    monkeypatch.setattr(corpora, "duration", counting)
    for name, value in (("MANY", 1), ("CHUNK", 4), ("THREADS", 2), ("SLOW", request.param)):
        monkeypatch.setattr(corpora, name, value)
    monkeypatch.setattr(headers, "EVERY", 8)
    monkeypatch.setenv("SER_CACHE", str(tmp_path / "cache"))
    return calls


@pytest.fixture
def paths(tmp_path):
    """Fifty recordings of 25 ms and more, each of another length, as VoxCeleb1 has them."""
    return [str(path) for path in lay_out(tmp_path / "corpus", 50)]


def test_a_second_preparation_opens_nothing_and_gives_the_same(paths, opened, tmp_path):
    expected = [duration(path) for path in paths]
    assert len(set(expected)) == 50
    manifest = voxceleb1.prepare(tmp_path / "corpus", expected_speakers=None)
    assert {row["wav"]: row["duration"] for row in manifest.values()} == dict(
        zip(paths, expected, strict=True)
    )
    assert opened == Counter(paths)
    again = voxceleb1.prepare(tmp_path / "corpus", expected_speakers=None)
    assert (list(again.items()), opened.total()) == (list(manifest.items()), 50)
    assert corpora.measure(reversed(paths)) == expected[::-1]
    assert opened.total() == 50


def test_a_changed_file_is_opened_again_and_a_removed_one_missed(paths, opened):
    expected = corpora.measure(paths)
    os.utime(paths[3], ns=(1, 1))
    with open(paths[7], "wb") as longer, open(paths[8], "rb") as other:
        longer.write(other.read())
    os.remove(paths[9])
    opened.clear()
    found = corpora.measure(paths)
    assert opened == Counter([paths[3], paths[7], paths[9]])
    assert found[3] == expected[3] and found[7] == expected[8] != expected[7]
    assert str(found[9]) == f"{paths[9]}: no such file"
    assert found[:9] + found[10:] == [*expected[:7], expected[8], expected[8], *expected[10:]]


def test_what_cannot_be_read_is_not_kept(paths, opened):
    with open(paths[5], "r+b") as file:
        file.truncate(100)
    sentence = f"{paths[5]} is truncated: its header promises more audio, fetch it again"
    for count in (1, 2):
        found = corpora.measure(paths)
        assert isinstance(found[5], InputError) and str(found[5]) == sentence
        assert opened[paths[5]] == count and opened.total() == 49 + count
    rows = {path: corpora.row(path, speaker="1") for path in paths}
    with pytest.raises(InputError) as error:
        corpora.finish(rows)
    assert str(error.value) == sentence


def test_an_interrupted_preparation_goes_on(paths, opened, monkeypatch):
    class Interrupted(Exception):
        pass

    def interrupted(path):
        if path == paths[30]:
            raise Interrupted
        return counting(path)

    counting = corpora.duration
    monkeypatch.setattr(corpora, "duration", interrupted)
    with pytest.raises(Interrupted):
        corpora.measure(paths)
    monkeypatch.setattr(corpora, "duration", counting)
    opened.clear()
    assert corpora.measure(paths) == [duration(path) for path in paths]
    assert opened == Counter(paths[28:])  # from the chunk of four that did not end


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_after_a_kill_the_rest_is_read(paths, opened, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "corpus")]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    manifest = voxceleb1.prepare(tmp_path / "corpus", expected_speakers=None)
    assert [row["duration"] for row in manifest.values()] == [
        duration(row["wav"]) for row in manifest.values()
    ]
    assert opened.total() == 50 - 24  # seven chunks of four were read, and three times eight kept


def test_without_a_database_every_header_is_read(paths, opened, caplog):
    cache = headers.cache_folder()
    cache.mkdir()
    (cache / f"headers-{headers.VERSION}.sqlite").write_text("no database " * 100)
    expected = [duration(path) for path in paths]
    for count in (1, 2):
        assert corpora.measure(paths) == expected
        assert opened.total() == 50 * count
        assert "cannot be used (file is not a database): headers are read again" in caplog.text


def test_a_full_disk_costs_only_what_would_be_kept(paths, opened, monkeypatch, caplog):
    def full(self, *_):
        raise sqlite3.OperationalError("database or disk is full")

    database = type("Database", (sqlite3.Connection,), {"executemany": full})
    connect = sqlite3.connect
    monkeypatch.setattr(
        headers.sqlite3, "connect", lambda *args, **kw: connect(*args, factory=database, **kw)
    )
    assert corpora.measure(paths) == [duration(path) for path in paths]
    assert caplog.text.count("(database or disk is full)") == 1


def test_small_corpora_are_not_kept(paths, opened, monkeypatch):
    monkeypatch.setattr(corpora, "MANY", 51)
    assert corpora.measure(paths) == [duration(path) for path in paths]
    assert not headers.cache_folder().exists()


def test_threads_begin_with_the_first_slow_chunk(paths, opened, monkeypatch):
    def slow(path):
        threads.append(threading.current_thread())
        if path == paths[13]:
            time.sleep(0.5)
        return duration(path)

    threads = []
    monkeypatch.setattr(corpora, "duration", slow)
    monkeypatch.setattr(corpora, "SLOW", 0.1)
    assert corpora.measure(paths) == [duration(path) for path in paths]
    mine = [thread is threading.main_thread() for thread in threads]
    assert mine == [True] * 16 + [False] * 34
