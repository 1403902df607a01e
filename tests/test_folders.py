"""Folders and lists of recordings: each file has its answer, under the very name that it has."""

import csv
import io
import json
import os
import sys

import numpy as np
import pytest
import soundfile
from conftest import ser

from speechbrain_ser.data import augment, folders
from speechbrain_ser.data.corpora import nemo, ravdess, voxceleb1
from speechbrain_ser.errors import InputError
from speechbrain_ser.sharing.inference import Emotion, EmotionRecognizer

GBK = "测试".encode("gbk")  # as an archive from another system leaves it
NAMES = (
    *("plain", "测试", "a b#1%20", " blank", "-dash", "semi;colon,comma", 'quote"', "'"),
    *("new\nline", "return\r", "ls\u2028", "nel\x85", "vt\x0b", "fs\x1c", "\x1b[2J", "=1+1"),
    os.fsdecode(GBK),
)


class Heard:
    """In the place of a recognizer: happy is heard in every file, in the last one first."""

    ranges = {}

    def __init__(self, most: int = 1000):
        self.labels = ["happy", "sad"]
        self.left = most  # files before somebody presses Ctrl-C

    def each(self, paths, batch_size=None, readers=1):
        for position in reversed(range(len(paths))):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield position, Emotion("happy", {"happy": 0.75, "sad": 0.25}, end=1.5)


@pytest.fixture
def model(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("hyperparams.yaml", "model.safetensors"):
        (folder / name).write_text("")
    monkeypatch.setattr(EmotionRecognizer, "from_hparams", lambda *_, **__: Heard())
    return folder


@pytest.fixture
def named(tmp_path):
    """A folder with a file of each name."""
    folder = tmp_path / "named"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.wav").touch()
    return folder


def paths_of(folder) -> list[str]:
    return sorted(str(folder / f"{name}.wav") for name in NAMES)


def answers(out) -> list[dict]:
    parts = sorted(out.glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().split("\n")[:-1]]


def recording(path, seconds=0.1):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.sin(np.arange(round(seconds * 16_000)) / 20)
    if path.suffix in (".opus", ".oga"):
        soundfile.write(path, samples, 16_000, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, samples, 16_000)
    return path


def test_every_name_survives_json(model, named, capsysbinary):
    assert ser("classify", model, named, "--json") == 0
    said = capsysbinary.readouterr().out.split(b"\n")[:-1]
    assert [json.loads(line)["file"] for line in said] == paths_of(named)
    assert all(line.isascii() for line in said)


def test_every_name_survives_csv(model, named, capsysbinary):
    assert ser("classify", model, named, "--csv") == 0
    said = capsysbinary.readouterr().out
    assert GBK in said
    text = said.decode("utf-8", "surrogateescape")
    _, *rows = csv.reader(io.StringIO(text, newline=""))
    assert [row[0].removeprefix("'") for row in rows] == paths_of(named)
    assert {tuple(row[1:]) for row in rows} == {("0.000", "1.500", "happy", "0.75", "0.25")}


def test_a_table_says_unsure_and_silence(model, named, monkeypatch, capsys):
    told = [Emotion("unsure", {"happy": 0.5, "sad": 0.5}), Emotion(None, {})]
    monkeypatch.setattr(Heard, "each", lambda *_, **__: iter(enumerate(told)))
    assert ser("classify", model, named / "plain.wav", named / "测试.wav") == 0
    header, unsure, silence = capsys.readouterr().out.splitlines()
    assert unsure.split()[2:5] == ["unsure", "0.500", "0.500"] and silence.split()[2] == "-"
    assert header.index("file") == unsure.index("/") == silence.index("/")


@pytest.mark.parametrize("words", [[], ["--csv"], ["--json"]])
def test_a_terminal_obeys_no_name(words, model, named, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert ser("classify", model, named, *words) == 0
    lines = capsys.readouterr().out.split("\n")[:-1]
    assert len(lines) == len(NAMES) + (words != ["--json"])  # a header
    assert "".join(lines).isprintable()


def test_a_table_says_names_that_the_terminal_s_encoding_lacks(model, named, monkeypatch):
    for words in ([], ["--json"], ["--csv"]):
        terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", terminal)
        assert ser("classify", model, named, *words) == 0
        terminal.flush()
        assert terminal.buffer.getvalue().count(b"happy") >= len(NAMES)


def test_every_name_survives_parts_and_an_interruption(model, named, tmp_path, monkeypatch, capsys):
    out = tmp_path / os.fsdecode(b"parts \xb2")
    words = ["annotate", model, named, "--out", out, "--shard_size", "4"]
    monkeypatch.setattr(EmotionRecognizer, "from_hparams", lambda *_, **__: Heard(most=10))
    assert ser(*words) == 130
    assert [line["file"] for line in answers(out)] == paths_of(named)[:8]
    monkeypatch.setattr(EmotionRecognizer, "from_hparams", lambda *_, **__: Heard())
    assert ser(*words) == 0
    assert f"{len(NAMES)} files; 3 parts to do" in capsys.readouterr().out
    assert [line["file"] for line in answers(out)] == paths_of(named)
    assert all(line["label"] == "happy" for line in answers(out))


def test_a_list_of_another_length_is_not_annotated(model, named, tmp_path, capsys):
    out = tmp_path / "parts"
    assert ser("annotate", model, named, "--out", out, "--shard_size", "4") == 0
    (out / "part-000001.jsonl").unlink()
    whole = (out / "files.jsonl").read_text().split("\n")
    for lines, sentence in (
        (whole[1:], f"files.jsonl lists {len(NAMES) - 1} files, {len(NAMES)} were noted: delete"),
        ([*whole[:2], '{"file": '], "files.jsonl is damaged: delete that folder"),
    ):
        (out / "files.jsonl").write_text("\n".join(lines))
        capsys.readouterr()
        assert ser("annotate", model, named, "--out", out, "--shard_size", "4") == 2
        assert sentence in capsys.readouterr().err
        assert not (out / "part-000001.jsonl").exists()


def test_a_list_holds_names_as_they_are(model, named, tmp_path, monkeypatch, capsys):
    kept = [path for path in paths_of(named) if "\n" not in path]
    content = b"\xef\xbb\xbf" + os.fsencode("\n\n".join(kept)) + b"\r\n \n"
    listing = tmp_path / "files.txt"
    listing.write_bytes(content)
    assert ser("annotate", model, listing, "--out", tmp_path / "parts") == 0
    assert [line["file"] for line in answers(tmp_path / "parts")] == kept
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    assert ser("classify", model, "-", "--json") == 0
    said = capsys.readouterr().out.split("\n")[:-1]
    assert [json.loads(line)["file"] for line in said] == kept
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("a.wav".encode("utf-16"))))
    assert ser("classify", model, "-") == 2
    assert "standard input is no text: give a path per line" in capsys.readouterr().err


def test_what_a_folder_holds(tmp_path, model, capsys):
    """As phones, macOS and other people leave it."""
    taken = ["B.WAV", "a.wav", "call.opus", "call.oga", "x.Mp3", "y.aifc", "z.au", "gone.flac"]
    for name in (*taken, "._a.wav", "._b.txt", "memo.m4a", "n.txt", "m.TXT", "raw.raw", "LICENSE"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "in/gone.flac").unlink()
    (tmp_path / "in/gone.flac").symlink_to("nowhere")  # listed: it will be named as missing
    (tmp_path / "in/folder.wav").mkdir()
    found = folders.listing(tmp_path / "in")
    assert found.recordings == sorted(tmp_path / "in" / name for name in taken)
    line = (
        "passed over: 5 of other kinds (.txt 2, without an ending 1, .m4a 1, .raw 1); convert "
        ".m4a to wav with ffmpeg\n"
    )
    assert folders.passed_over(found.others) + "\n" == line
    assert ser("classify", model, tmp_path / "in", "--json") == 0
    said = capsys.readouterr()
    assert said.err == line and said.out.count("\n") == len(taken)
    assert ser("annotate", model, tmp_path / "in", "--out", tmp_path / "parts") == 0
    assert capsys.readouterr().err.startswith(line)


def test_many_other_kinds_are_one_line(tmp_path):
    others = [tmp_path / f"{number}.kind{number % 9}" for number in range(28)]
    line = folders.passed_over([*others, tmp_path / "a.\x1b"])
    assert line.startswith("passed over: 29 of other kinds (.kind0 4, .kind1 3, ")
    assert line.endswith(".kind4 3, 5 more kinds)") and line.isprintable()


def test_what_is_read_follows_libsndfile(monkeypatch):
    assert {".wav", ".flac", ".ogg", ".oga", ".opus", ".aif", ".w64"} <= folders.endings()
    assert not {".raw", ".m4a", ".txt"} & folders.endings()
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "WAV (Microsoft)"})
    assert folders.endings() == {".wav", ".wave"}


def test_a_folder_without_audio_says_what_it_holds(tmp_path, model, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/memo.m4a").touch()
    assert ser("classify", model, tmp_path / "in") == 2
    said = capsys.readouterr().err
    assert "holds no audio files: name a folder of wav" in said and "(.m4a 1); convert" in said


def test_linked_folders_are_followed_once(tmp_path):
    for name in ("in/a/own.wav", "elsewhere/deep/1.wav", "in/z/2.wav"):
        recording(tmp_path / name)
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/again").symlink_to(tmp_path / "elsewhere/deep")
    (tmp_path / "in/a/first").symlink_to(tmp_path / "in/z")  # also there by itself
    (tmp_path / "in/z/loop").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere/loop").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "whole").symlink_to(tmp_path / "in")
    for folder in (tmp_path / "in", tmp_path / "whole"):
        found = {str(path.relative_to(folder)) for path in folders.listing(folder).recordings}
        assert found == {"a/own.wav", "z/2.wav", "again/1.wav"}


def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path, monkeypatch):
    recording(tmp_path / "closed/a.wav")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="cannot be listed: Permission denied .*closed.*ask for"):
        folders.listing(tmp_path)


def test_ravdess_of_any_format_behind_links(tmp_path, caplog):
    caplog.set_level("INFO")
    first = recording(tmp_path / "disk/Actor_01/03-01-05-01-01-01-01.opus")
    recording(first.with_name("03-01-05-01-01-02-01.ogg"))
    recording(first.with_name("03-01-05-01-02-01-01.mp3"))
    whole = recording(first.with_name("03-01-05-01-02-01-01.flac"))
    (tmp_path / "disk/Actor_01/03-01-05-01-02-02-01.m4a").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/Actor_01").symlink_to(tmp_path / "disk/Actor_01")
    manifest = ravdess.prepare(tmp_path / "in")
    names = [row["wav"].rpartition("/")[2] for row in manifest.values()]
    assert names == [first.name, "03-01-05-01-01-02-01.ogg", whole.name]
    assert "1 beside a wav or flac file of their name (such as " in caplog.text
    assert "1 in a format that is not read (such as " in caplog.text


def test_nemo_behind_a_link(tmp_path):
    recording(tmp_path / "disk/samples/SM0_anger_10.wav")
    columns = "file_id\temotion\tnormalized_text\tspeaker_id\tgender\n"
    (tmp_path / "disk/data.tsv").write_text(
        f"{columns}SM0_anger_10.wav\tanger\tdzień dobry\tSM0\tmale\n", encoding="utf-8"
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in/clone").symlink_to(tmp_path / "disk")
    (row,) = nemo.prepare(tmp_path / "in").values()
    assert row["words"] == "DZIEŃ DOBRY"


def test_voxceleb1_takes_the_wav_else_what_is_there(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "iden_split.txt").write_text("1 id1/a/1.wav\n2 id1/a/2.wav\n3 id1/a/3.wav\n")
    for name in ("wav/id1/a/1.WAV", "wav/id1/a/2.ogg", "dev/wav/id1/a/2.wav", "aac/id1/a/3.opus"):
        recording(tmp_path / name)
    for name in ("wav/id1/a/3.m4a", "wav/id1/a/1.wma"):
        (tmp_path / name).touch()
    manifest = voxceleb1.prepare(tmp_path, expected_speakers=1)
    assert [row["wav"].rpartition("/")[2] for row in manifest.values()] == [
        *("1.WAV", "2.wav", "3.opus"),
    ]
    assert "1 second copies" in caplog.text and "1 in a format that is not read" in caplog.text


def test_augmentation_takes_the_same_recordings(tmp_path):
    for name in ("a.opus", "b.oga", "c.wav"):
        recording(tmp_path / name)
    (tmp_path / "._c.wav").touch()
    assert [path.name for path in augment.recordings(tmp_path)] == ["a.opus", "b.oga", "c.wav"]
