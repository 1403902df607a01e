"""The run: what it leaves, resumes, refuses; phases; and the round trip of best/."""

import csv
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import pytest
import soundfile
import torch
from conftest import RECIPES, ROOT, TINY, YAMLS, earlier, run, script_module, script_of, tiny

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.data import splits
from speechbrain_ser.errors import InputError, program
from speechbrain_ser.models import saved, seen
from speechbrain_ser.results import report
from speechbrain_ser.training import experiment as training
from speechbrain_ser.training import loop

EMOTION = RECIPES / "IEMOCAP/hparams/emotion.yaml"
FUSION = RECIPES / "IEMOCAP/hparams/fusion.yaml"
SUPCON = RECIPES / "IEMOCAP/hparams/supcon.yaml"
SPEAKER = RECIPES / "VoxCeleb1/hparams/speaker.yaml"
LEFT = (
    "hyperparams.yaml train_log.txt log.txt predictions.csv results.json "
    "curves.png manifest.json best/hyperparams.yaml best/model.safetensors best/trained_on.json"
).split()
KEYS = "corpus protocol fold seed epochs seconds parameters trainable commit".split()
SCORES = "WA UA F1 recall confusion labels".split()


def predictions(folder: Path) -> list[dict]:
    with open(folder / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


TRAINED = [path for path in YAMLS if path.stem != "verification"]  # it has tests of its own


@pytest.mark.parametrize("yaml", TRAINED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_yaml_trains_tests_and_is_left_alone_when_complete(yaml, runs, tmp_path, capsys):
    arguments = tiny(yaml, tmp_path, *earlier(yaml, runs))
    run(yaml, arguments, figures=True)
    folder = next(tmp_path.glob("*/fold1/*"))
    left = {*LEFT, script_of(yaml).name}
    if yaml.stem in ("knn", "ensemble"):  # nothing is trained
        left -= {"train_log.txt", "curves.png"}
    assert {name for name in left if not (folder / name).is_file()} == set()
    results = json.loads((folder / "results.json").read_text())
    assert set(KEYS) <= set(results)
    assert results["corpus"].startswith("mini-")
    rows = predictions(folder)
    if yaml.stem not in ("asr_gender", "dimensions"):  # a phase before emotion; numbers
        assert set(SCORES) <= set(results) and (folder / "confusion.png").is_file()
        right = sum(row["target"] == row["prediction"] for row in rows)
        assert results["WA"] == pytest.approx(100 * right / len(rows))
        assert all(
            sum(float(row[k]) for k in results["labels"]) == pytest.approx(1) for row in rows
        )
    before = {path: path.stat().st_mtime_ns for path in (folder / "best").iterdir()}
    capsys.readouterr()
    run(yaml, arguments)
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "best").iterdir()}
    name = next(name for name in ("UA", "WER", "CCC") if name in results)
    assert re.search(rf"\b{name}\b", said := capsys.readouterr().out)
    shown = results[name]
    assert f"{shown:.2f}" in said or f"{shown:.3f}" in said


def test_test_parts_are_complete_and_never_seen(runs):
    for experiment in ("emotion", "fusion"):
        folder = runs / experiment / "fold1" / "1000"
        manifest = json.loads((folder / "manifest.json").read_text())
        tested = {row["id"] for row in predictions(folder)}
        assert tested == {i for i, entry in manifest.items() if entry["session"] == "1"}
        known = next(
            one for one in saved.trained_on(folder / "best") if one["corpus"] == "mini-iemocap"
        )
        assert seen.among(manifest, known, "utterances") == set(manifest) - tested
        speakers = {entry["speaker"] for entry in manifest.values()}
        others = speakers - {manifest[i]["speaker"] for i in tested}
        assert seen.among(speakers, known, "speakers") == others
    corpora = [one["corpus"] for one in saved.trained_on(runs / "fusion/fold1/1000/best")]
    assert sorted(corpora) == ["mini-iemocap", "mini-voxceleb1"]


@pytest.mark.parametrize("experiment", ["emotion", "fusion", "supcon", "knn"])
def test_best_gives_the_same_probabilities_as_the_run(experiment, runs, tmp_path):
    folder = runs / experiment / "fold1" / "1000"
    copied = shutil.copytree(folder / "best", tmp_path / "elsewhere")  # it needs no other folder
    manifest = json.loads((folder / "manifest.json").read_text())
    rows = predictions(folder)
    recognizer = EmotionRecognizer.from_hparams(copied)
    emotions = recognizer.classify_files([manifest[row["id"]]["wav"] for row in rows])
    for row, emotion in zip(rows, emotions, strict=True):
        assert row["prediction"] == emotion.label
        for label, prob in emotion.probs.items():
            assert prob == pytest.approx(float(row[label]), abs=1e-5)
    alone = recognizer.classify_file(manifest[rows[0]["id"]]["wav"])
    assert alone.probs == pytest.approx(emotions[0].probs, abs=1e-5)


RUNS = """
import logging, os, signal, sys
from pathlib import Path
from conftest import run, tiny
from speechbrain_ser.training.brain import SerBrain
logging.basicConfig(level=logging.INFO)
yaml, method, epoch, *folders = sys.argv[1:]
if method:
    whole, calls = getattr(SerBrain, method), []
    def deadly(self, *args, **kwargs):
        calls.append(self.hparams.epochs.current)
        if calls.count(int(epoch)) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, *args, **kwargs)
    setattr(SerBrain, method, deadly)
words = ["--max_epochs", epoch, "--batch_size", "16", "--test_batch_size", "4"]
for folder in folders:
    run(Path(yaml), tiny(Path(yaml), Path(folder), *words))
"""


@pytest.mark.parametrize(
    ("yaml", "epochs", "moment"),
    [
        pytest.param(EMOTION, 3, "fit_batch", marks=pytest.mark.slow),
        (SUPCON, 2, "evaluate_batch"),
    ],
    ids=("emotion-training", "supcon-validation"),
)
def test_killed_in_its_last_epoch_the_numbers_equal_the_uninterrupted_run(
    yaml, epochs, moment, tmp_path
):
    def run_all(method, *names):
        places = (str(path) for path in (ROOT, ROOT / "tests", ROOT / "tools"))
        return subprocess.run(
            [sys.executable, "-c", RUNS, str(yaml), method, str(epochs)]
            + [str(tmp_path / name) for name in names],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
            stdout=subprocess.DEVNULL,
        ).returncode

    folder = tmp_path / f"killed/{yaml.stem}/fold1/1000"
    assert run_all(moment, "killed") == -signal.SIGKILL, "it was to be killed, not to finish"
    assert (folder / f"save/CKPT+epoch{epochs - 1:04}").is_dir()
    assert not (folder / f"save/CKPT+epoch{epochs:04}").exists()
    assert not (folder / "results.json").exists()
    assert run_all("", "killed", "whole") == 0  # goes on in a new process, as a user's would
    told = f"goes on after epoch {epochs - 1} of {epochs}"
    assert told in (folder / "log.txt").read_text()
    other = tmp_path / f"whole/{yaml.stem}/fold1/1000"
    for name in ("predictions.csv", "train_log.txt"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()
    assert (folder / "best" / saved.WEIGHTS).read_bytes() == (
        other / "best" / saved.WEIGHTS
    ).read_bytes()
    left, right = (json.loads((f / "results.json").read_text()) for f in (folder, other))
    measured = {"seconds": 0, "peak_gigabytes": 0}
    assert left | measured == right | measured
    assert left["threads"] >= 1


PARENT = """
import os, time
from speechbrain_ser import parallel
os.environ |= parallel.with_parent(os.environ)
if not os.fork():
    parallel.end_with_parent()
    print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_phase_ends_with_the_run_that_started_it():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(parent.stdout.readline())
    parent.kill()
    assert parent.wait() == -signal.SIGKILL
    assert parent.stdout.read() == "", "the pipe closes when the child, too, has ended"
    with pytest.raises(ProcessLookupError):
        for _ in range(1000):
            os.kill(child, 0)
            time.sleep(0.01)


def test_results_that_were_moved_go_on(tmp_path, capsys):
    words = tiny(EMOTION, tmp_path / "here", "--max_epochs", "1")
    run(EMOTION, words)
    shutil.move(tmp_path / "here", tmp_path / "there")
    capsys.readouterr()
    run(EMOTION, tiny(EMOTION, tmp_path / "there", "--max_epochs", "1"))
    kept = (tmp_path / "there/emotion/fold1/1000/hyperparams.yaml").read_text()
    assert str(tmp_path / "there") in kept and str(tmp_path / "here") not in kept
    with pytest.raises(InputError, match=r"lr: 0.001 there, 0.5 here"):
        run(EMOTION, tiny(EMOTION, tmp_path / "there", "--max_epochs", "1", "--lr", "0.5"))


@pytest.mark.parametrize("name", ["manifest.json", "results.json", "hyperparams.yaml"])
@pytest.mark.parametrize("content", ["", "{", "[1"])
def test_a_damaged_file_of_a_run_is_a_sentence(runs, tmp_path, name, content):
    folder = tmp_path / "emotion/fold1/1000"
    shutil.copytree(runs / "emotion/fold1/1000", folder)
    settings = folder / "hyperparams.yaml"
    settings.write_text(settings.read_text().replace(str(runs), str(tmp_path)))
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=f"{name} (is damaged|holds)|other settings"):
        run(EMOTION, tiny(EMOTION, tmp_path))


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (OSError(28, "No space left on device", "/disk/a"), 2, "No space left on device (/disk/a)"),
        (PermissionError(13, "Permission denied", "/x"), 2, "Permission denied (/x); ask for the"),
        (InputError("a sentence"), 2, "a sentence"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_program_ends_in_a_sentence(error, status, told, capsys):
    @program("name")
    def main():
        raise error

    assert main() == status
    said = capsys.readouterr().err.strip()
    assert said.startswith("name: ") and told in said and "\n" not in said


def test_a_fault_of_ours_keeps_its_traceback():
    @program("name")
    def main():
        raise KeyError("ours")

    with pytest.raises(KeyError):
        main()


def test_other_settings_in_the_same_folder_are_refused_with_the_difference(runs):
    with pytest.raises(InputError, match=r"lr: 0.001 there, 0.5 here.*--variant"):
        run(EMOTION, tiny(EMOTION, runs, "--lr", "0.5"))
    with pytest.raises(InputError, match=r"precision: fp32 there, bf16 here"):
        run(EMOTION, tiny(EMOTION, runs, "--precision", "bf16"))
    run(EMOTION, tiny(EMOTION, runs, "--workers", "1"))  # changes no number


def test_settings_that_never_trained_may_be_corrected(tmp_path):
    wrong = tiny(EMOTION, tmp_path, "--encoder", str(TINY | {"num_attention_heads": 3}))
    with pytest.raises(InputError, match="does not load"):
        run(EMOTION, wrong)
    run(EMOTION, tiny(EMOTION, tmp_path, "--max_epochs", "1"))
    assert report.is_complete(tmp_path / "emotion/fold1/1000")


def test_debug_leaves_the_run_alone(runs):
    folder = runs / "emotion/fold1/1000"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run(EMOTION, tiny(EMOTION, runs, "--output_folder", str(folder), "--debug"))
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert (runs / "emotion/fold1/1000_debug/results.json").is_file()


def test_one_process_per_run_folder(runs):
    with filelock.FileLock(runs / "emotion/fold1/1000/.lock"):
        with pytest.raises(InputError, match="another process is running"):
            run(EMOTION, tiny(EMOTION, runs))


def test_a_phase_that_saw_the_test_session_is_refused(runs, tmp_path):
    own = ["--speaker_best", f"{runs}/speaker/fold1/1000/best", "--fold", "2"]
    own += ["--emotion_best", f"{runs}/emotion/fold1/1000/best"]
    with pytest.raises(InputError, match=r"was trained on this fold's test data.*Ses02"):
        run(FUSION, tiny(FUSION, tmp_path, *own))


def test_missing_phases_are_named_with_their_commands(tmp_path, monkeypatch, without_corpora):
    monkeypatch.chdir(ROOT)
    arguments = [str(FUSION), "--data_folder", str(tmp_path), "--results", str(tmp_path / "r")]
    with pytest.raises(InputError) as error:
        run(
            FUSION,
            [*arguments, "--fold", "3", "--variant", "_k1", "--emotion_overrides", "{blocks: 1}"],
        )
    assert str(error.value).splitlines()[1:] == [
        "  python recipes/VoxCeleb1/train_speaker.py hparams/speaker.yaml "
        f"--results {tmp_path}/r --data_folder PATH_OF_VOXCELEB1",
        "  python recipes/IEMOCAP/train_emotion.py hparams/emotion.yaml "
        f"--results {tmp_path}/r --data_folder {tmp_path} --fold 3 --variant _k1 --blocks 1",
    ]


@pytest.mark.parametrize(
    ("given", "inherited"),
    [
        ("--select_by last --patience 0", "--select_by last --patience 0"),
        ("--select_by last --emotion_overrides '{select_by: WA}'", "--select_by WA"),
        ("--select_by UA --patience 3", ""),
    ],
)
def test_a_choice_that_needs_no_validation_is_inherited(
    given, inherited, tmp_path, monkeypatch, without_corpora
):
    monkeypatch.chdir(ROOT)
    words = ["--data_folder", str(tmp_path), "--results", str(tmp_path / "r")]
    with pytest.raises(InputError) as error:
        run(FUSION, [str(FUSION), *words, *shlex.split(given)])
    speaker, emotion = str(error.value).splitlines()[1:]
    assert emotion.endswith(f"--data_folder {tmp_path} {inherited}".rstrip())
    assert "--select_by" not in speaker and "--patience" not in speaker  # of another corpus


def test_a_missing_phase_of_a_known_corpus_needs_no_folder(tmp_path, monkeypatch, without_corpora):
    monkeypatch.setenv("SER_VOXCELEB1", str(tmp_path))
    with pytest.raises(InputError) as error:
        run(FUSION, [str(FUSION), "--data_folder", str(tmp_path), "--results", str(tmp_path / "r")])
    speaker, emotion = str(error.value).splitlines()[1:]
    assert speaker.endswith(f"hparams/speaker.yaml --results {tmp_path}/r")
    assert emotion.endswith(f"--data_folder {tmp_path}")


@pytest.mark.slow
def test_mini_trains_a_missing_phase_by_itself(runs, tmp_path):
    # a whole fusion run, its emotion phase in a process of its own with what it inherits
    own = ["--speaker_best", f"{runs}/speaker/fold1/1000/best", "--fold", "4"]
    small = f"{{max_epochs: 1, batch_size: 64, dim: 16, encoder: {TINY}}}"
    # which reads the whole corpus
    run(FUSION, tiny(FUSION, tmp_path, *own, "--emotion_overrides", small), whole=True)
    for experiment in ("emotion", "fusion"):
        assert report.is_complete(tmp_path / experiment / "fold4" / "1000")


def test_a_fine_tuned_speaker_network_gets_class_mean_centres(runs, tmp_path):
    own = ["--speaker_best", f"{runs}/speaker/fold1/1000/best", "--regime", "arcface"]
    own += ["--emotion_best", f"{runs}/emotion/fold1/1000/best", "--lr", "0"]
    run(FUSION, tiny(FUSION, tmp_path, *own, "--max_epochs", "1"))
    folder = tmp_path / "fusion/fold1/1000"
    model = saved.load(folder / "best")["model"]
    manifest = json.loads((folder / "manifest.json").read_text())
    parts = splits.leave_one_session_out(
        manifest, 1, labels=["angry", "happy", "sad", "neutral"]
    )  # Park's
    reader = saved.load(folder / "best")["reader"]
    speakers = sorted({entry["speaker"] for entry in parts["train"].values()})
    assert len(speakers) == 8
    mine = [entry["wav"] for entry in parts["train"].values() if entry["speaker"] == speakers[3]]
    with torch.no_grad():
        alone = [model.speaker.embed(reader(wav)[None], torch.ones(1))[0] for wav in mine]
    centre = model.speaker_head.centres.weight[3]
    torch.testing.assert_close(torch.stack(alone).mean(dim=0), centre, atol=1e-5, rtol=1e-4)


def test_any_method_runs_on_another_corpus_by_one_override(tmp_path):
    run(EMOTION, tiny(EMOTION, tmp_path, "--corpus", "ravdess", "--max_epochs", "1"))
    results = json.loads((tmp_path / "emotion_ravdess/fold1/1000/results.json").read_text())
    assert results["corpus"] == "mini-ravdess"
    assert len(results["labels"]) == 8
    assert results["protocol"].endswith("speaker-independent")
    run(SPEAKER, tiny(SPEAKER, tmp_path, "--corpus", "ravdess", "--max_epochs", "1"))
    results = json.loads((tmp_path / "speaker_ravdess/fold1/1000/results.json").read_text())
    assert len(results["labels"]) == 16  # of 24 actors, without fold 1's test and validation


def test_a_table_brings_its_own_labels(runs, tmp_path):
    manifest = json.loads((runs / "emotion/fold1/1000/manifest.json").read_text())
    rows = ["path,emotion,speaker"]
    rows += [f"{e['wav']},{e['emotion'][:3]},{e['speaker']}" for e in manifest.values()]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(rows))
    words = tiny(EMOTION, tmp_path, "--corpus", "table", "--data_folder", str(table))
    words[words.index("--mini") + 1] = "False"
    run(EMOTION, [*words, "--max_epochs", "1", "--lr", "0.001"])
    results = json.loads((tmp_path / "emotion_mine/fold1/1000/results.json").read_text())
    assert results["corpus"] == "table"
    assert results["labels"] == ["ang", "hap", "neu", "sad"]


def test_where_no_terminal_is_lines_tell_how_far_a_run_is(tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setattr(loop, "MINUTE", 0.0)
    words = tiny(EMOTION, tmp_path, "--max_epochs", "1", "--batch_size", "16")
    words.remove("--noprogressbar")
    with caplog.at_level(logging.INFO):
        run(EMOTION, words)
    lines = re.findall(r"epoch 1, batch (\d+) of (\d+)", caplog.text)
    assert [int(batch) for batch, _ in lines] == list(range(1, int(lines[0][1]) + 1))
    assert "it/s" not in (said := capsys.readouterr().err) and "s/it" not in said


def test_the_encoder_sets_dim(tmp_path, monkeypatch):
    words = tiny(EMOTION, tmp_path, "--max_epochs", "1")
    at = words.index("--dim")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "fit_and_test", interrupted)
        run(EMOTION, words[:at] + words[at + 2 :])
    assert hp.load_tree((tmp_path / "emotion/fold1/1000/hyperparams.yaml").read_text())["dim"] == 16
    absent = str(tmp_path / "absent.json")
    with pytest.raises(InputError, match="absent.json does not load"):
        run(EMOTION, [*words[:at], *words[at + 2 :], "--encoder", absent])


def interrupted(*_):
    """In place of training: what stands before it is looked at."""
    raise KeyboardInterrupt


def test_all_bad_recordings_are_named_at_once_or_left_out(runs, tmp_path, caplog):
    manifest = json.loads((runs / "emotion/fold1/1000/manifest.json").read_text())
    rows = ["path,emotion,speaker"]
    for number, entry in enumerate(manifest.values()):
        rows.append(f"{entry['wav']},{entry['emotion']},{entry['speaker']}")
        if number % 5 == 0:  # a name that sorts first, so that it is among those that run keeps
            soundfile.write(tmp_path / f"+silent{number}.wav", np.zeros(16_000), 16_000)
            rows.append(f"+silent{number}.wav,{entry['emotion']},{entry['speaker']}")
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    words = tiny(EMOTION, tmp_path, "--corpus", "table", "--max_epochs", "1", "--workers", "1")
    words[words.index("--mini") + 1] = "False"
    words += ["--data_folder", str(tmp_path / "mine.csv")]
    with pytest.raises(
        InputError, match=r"(\d+) of \d+ recordings of .*mine.csv cannot be used"
    ) as error:
        run(EMOTION, words)
    count = int(str(error.value).split()[0])
    shown = re.findall(r"([^( ]+silent\d+.wav) is silent", str(error.value))
    assert len(shown) == 5 < count and f"; and {count - 5} more" in str(error.value)
    assert not list(tmp_path.rglob("CKPT*")), "nothing was trained"
    run(EMOTION, [*words, "--unreadable", "leave_out"])
    assert f"{count} recordings are left out, such as: " in caplog.text
    folder = tmp_path / "emotion_mine/fold1/1000"
    assert json.loads((folder / "results.json").read_text())["left_out"] == count
    assert "silent" not in (folder / "manifest.json").read_text()
    assert (folder / "left_out.txt").read_text().count("is silent") == count


def test_the_bare_command_is_the_mini_preset_and_says_so(caplog, tmp_path, without_corpora):
    caplog.set_level("INFO")
    words = tiny(EMOTION, tmp_path, "--max_epochs", "1")
    del words[1:3]  # --mini True
    run(EMOTION, words)
    assert "MINI PRESET" in caplog.text
    settings = hp.load_tree((tmp_path / "emotion/fold1/1000/hyperparams.yaml").read_text())
    assert settings["mini"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lrr", "1"], "there is no setting lrr: did you mean lr"),
        (["--corpus", "{expcted: 3}"], "corpus.expcted: did you mean expected"),
        (["--corpus", "emodbb"], "corpus 'emodbb' is unknown: use one of aesdd, cafe, "),
        (["--corpus", "emodbb"], "voxceleb1; did you mean emodb?"),
        (["--corpus", "voxceleb1"], "voxceleb1 has no emotions"),
        (["--fold", "6"], "fold is 6"),
        (["--reader", "{max_secs: 3}"], "max_secs"),
        (["--batch_size", "0"], "batch_size is 0"),
        (["--frozen", "some"], "frozen is 'some'"),
        (["--padding", "none"], "padding is 'none'"),
        (["--dim", "32"], "the encoder's dim is 16, not 32"),
        (["--data_folder", "/some/folder"], "leave out --data_folder"),
        (["--ckpt_interval_minutes", "5"], "no --ckpt_interval"),
        (["--mini", "False"], "give --data_folder PATH, or set SER_IEMOCAP"),
        (["--mini", "False", "--data_folder", "/no/such/folder"], "/no/such/folder"),
        (["--split", "!ref <nothing>"], "does not resolve"),
        (
            ["--split", "!name:speechbrain_ser.data.splits.stratified"],
            "split does not fit its arguments",
        ),
        (
            ["--batches", "!name:speechbrain_ser.data.datasets.ShuffledBatches {per: 3}"],
            "batches does not fit its arguments",
        ),
    ],
)
def test_a_mistake_is_one_sentence(words, message, tmp_path, without_corpora):
    with pytest.raises(InputError, match=message) as error:
        run(EMOTION, tiny(EMOTION, tmp_path, *words))
    assert "\n" not in str(error.value).strip()


def test_a_script_ends_without_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, str(script_of(EMOTION)), "--fold", "2"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("train_emotion.py: ")
    assert "give first one of hparams/emotion.yaml\n" in done.stderr  # not another script's


def test_a_script_tells_its_mistakes_and_its_settings(tmp_path, monkeypatch, capsys):
    module = script_module(script_of(EMOTION))
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setattr(sys, "argv", ["", str(EMOTION), "--lrr", "1"])
    with pytest.raises(SystemExit) as ended:
        training.run(module.EmotionBrain)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("train_emotion.py: there is no sett")
    monkeypatch.setattr(sys, "argv", ["", "--help"])
    training.run(module.EmotionBrain)
    said = capsys.readouterr().out
    for taught in ("settings of hparams/emotion.yaml:", "max_seconds: 15", "seed: 1000", "--mini"):
        assert taught in said
    assert "fusion.yaml:" not in said


def test_damaged_checkpoints_and_models_are_named(runs, tmp_path):
    results = shutil.copytree(runs, tmp_path / "copy")
    words = tiny(EMOTION, results, "--max_epochs", "3")
    folder = results / "emotion/fold1/1000"
    tree = hp.load_tree((folder / "hyperparams.yaml").read_text().replace(str(runs), str(results)))
    (folder / "hyperparams.yaml").write_text(hp.dump(tree))
    text = (folder / "hyperparams.yaml").read_text().replace("max_epochs: 2", "max_epochs: 3")
    (folder / "hyperparams.yaml").write_text(text)
    (folder / report.COMPLETE).unlink()
    checkpoint = next(folder.glob("save/CKPT+epoch0002/model.ckpt"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match="CKPT.epoch0002 is damaged"):
        run(EMOTION, words)

    weights = folder / "best" / saved.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="does not hold this model's weights"):
        EmotionRecognizer.from_hparams(folder / "best")
    weights.unlink()
    with pytest.raises(InputError, match="has no model.safetensors"):
        EmotionRecognizer.from_hparams(folder / "best")
