"""A run's folder: whose it is, and a run that goes on to more epochs than it was begun with."""

import json
from pathlib import Path

import pytest
from conftest import RECIPES, run, tiny

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.results import report
from speechbrain_ser.training import claims, experiment

EMOTION = RECIPES / "IEMOCAP/hparams/emotion.yaml"
SCHEDULES = "!name:speechbrain_ser.training.schedules."
LOSSES = [3.0, 2.0, 2.5]  # on validation, of three epochs


def settings(epochs: int, schedule: str = "constant", more: str = "lr: 1"):
    text = f"max_epochs: {epochs}\nschedule: {SCHEDULES}{schedule}\n{more}\n"
    return hp.resolve(hp.load_tree(text), "given.yaml")


def begun(folder: Path, wanted, losses=LOSSES) -> None:
    """A folder such as a run with these settings leaves after as many epochs."""
    folder.mkdir()
    (folder / saved.HYPERPARAMS).write_text(hp.dump(wanted))
    for epoch in range(1, len(losses) + 1):
        checkpoint = folder / f"save/CKPT+epoch{epoch:04}"
        checkpoint.mkdir(parents=True)
        history = [{"epoch": e + 1, "valid_loss": losses[e]} for e in range(epoch)]
        (checkpoint / "epochs.ckpt").write_text(json.dumps({"history": history}))
    (folder / "best").mkdir()
    for name in ("results.json", "predictions.csv", report.COMPLETE, "best/model.safetensors"):
        (folder / name).write_text("{}")


def answers(folder: Path) -> set[str]:
    kept = {"results.json", "predictions.csv", report.COMPLETE, "best"}
    return {path.name for path in folder.iterdir()} & kept


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (settings(3), settings(5)),
        (settings(10), settings(4)),  # three are done
        (settings(10), settings(3)),
        (settings(3, "exponential {decay: 0.5}"), settings(4, "exponential {decay: 0.5}")),
        (settings(3, "linear {updates: 9}"), settings(9, "linear {updates: 9}")),
        (
            settings(3, "plateau {patience: 1, factor: 0.5}"),
            settings(4, "plateau {patience: 1, factor: 0.5}"),
        ),
    ],
)
def test_epochs_that_do_not_depend_on_their_number_may_be_more(before, now, tmp_path):
    begun(tmp_path / "run", before)
    claims.claim(tmp_path / "run", now).release()
    assert answers(tmp_path / "run") == set(), "they are of another number of epochs"
    assert claims.read_settings(tmp_path / "run" / saved.HYPERPARAMS) == hp.plain(now)
    assert len(list(tmp_path.glob("run/save/CKPT*"))) == len(LOSSES)


WARM = "warm_up {share: 0.5}"


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (settings(3, WARM), settings(5, WARM), "would have been others, for the schedule warm_up"),
        (settings(10, WARM), settings(8, WARM), "would have been others, for the schedule warm_up"),
        (settings(3), settings(2), "3 of them done, more than 2: give this run a --variant"),
        (settings(3), settings(0), "3 of them done, more than 0"),
        (settings(3, more="patience: 3"), settings(5, more="patience: 5"), r"\(patience: 3 there"),
        (
            settings(3, "linear {updates: !ref <max_epochs>}"),
            settings(5, "linear {updates: !ref <max_epochs>}"),
            r"schedule.updates: 3 there, 5 here",
        ),
    ],
)
def test_other_epochs_are_refused_and_the_run_is_left_alone(before, now, message, tmp_path):
    begun(tmp_path / "run", before)
    with pytest.raises(InputError, match=message) as error:
        claims.claim(tmp_path / "run", now)
    assert "\n" not in str(error.value)
    assert len(answers(tmp_path / "run")) == 4
    assert claims.read_settings(tmp_path / "run" / saved.HYPERPARAMS) == hp.plain(before)
    claims.claim(tmp_path / "run", before).release()
    assert len(answers(tmp_path / "run")) == 4


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(tmp_path):
    begun(tmp_path / "run", settings(3), losses=[])
    with pytest.raises(InputError, match="no checkpoint from which 5 could be reached"):
        claims.claim(tmp_path / "run", settings(5))


def test_a_run_in_use_keeps_its_answers(tmp_path):
    begun(tmp_path / "run", settings(3))
    with claims.claim(tmp_path / "run", settings(3)):
        with pytest.raises(InputError, match="another process is running"):
            claims.claim(tmp_path / "run", settings(5))
    assert len(answers(tmp_path / "run")) == 4


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_run_that_goes_on_is_the_run_begun_with_as_many_epochs(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    constant = ["--schedule", f"{SCHEDULES}constant {{}}", "--batch_size", "32"]
    short = tiny(EMOTION, tmp_path / "more", *constant, "--max_epochs", "1")
    run(EMOTION, short)
    folder, other = (tmp_path / name / "emotion/fold1/1000" for name in ("more", "once"))
    with monkeypatch.context() as patch:  # killed before its first batch
        patch.setattr(experiment, "fit_and_test", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(EMOTION, [*short, "--max_epochs", "3"])
    assert answers(folder) == set()
    run(EMOTION, [*short, "--max_epochs", "3"])
    assert "goes on after epoch 1 of 3" in caplog.text
    assert caplog.text.count("goes on to max_epochs 3: what it came to with 1 is replaced") == 1
    run(EMOTION, tiny(EMOTION, tmp_path / "once", *constant, "--max_epochs", "3"))
    for name in ("predictions.csv", "train_log.txt", f"best/{saved.WEIGHTS}"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()
    left, right = (json.loads((f / "results.json").read_text()) for f in (folder, other))
    measured = {"seconds": 0, "peak_gigabytes": 0}
    assert left | measured == right | measured
    assert left["epochs"] == 3 and report.is_complete(folder)


def test_more_epochs_change_nothing_after_early_stopping(tmp_path, caplog):
    caplog.set_level("INFO")
    rising = ["--patience", "1", "--grace", "0", "--lr", "1"]
    run(EMOTION, tiny(EMOTION, tmp_path, *rising, "--max_epochs", "9"))
    folder = tmp_path / "emotion/fold1/1000"
    before = (folder / "predictions.csv").read_bytes()
    done = json.loads((folder / "results.json").read_text())["epochs"]
    assert done < 9
    run(EMOTION, tiny(EMOTION, tmp_path, *rising, "--max_epochs", "12"))
    assert f"Early stopping ended this run after epoch {done} of 12" in caplog.text
    assert "goes on after" not in caplog.text
    assert (folder / "predictions.csv").read_bytes() == before
    assert json.loads((folder / "results.json").read_text())["epochs"] == done
