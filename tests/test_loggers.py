"""TensorBoard and Weights & Biases: every epoch once, at its own step, also after a resume."""

from pathlib import Path

import pytest
from conftest import RECIPES, run, tiny

from speechbrain_ser.errors import InputError
from speechbrain_ser.training import loggers

EMOTION = RECIPES / "IEMOCAP/hparams/emotion.yaml"
ROWS = [
    {"epoch": k, "lr": 0.1, "train_loss": 2.0 / k, "valid_loss": 3.0 / k, "valid_UA": 10.0 * k}
    for k in (1, 2, 3)
]


def test_the_text_log_has_a_line_per_epoch(tmp_path):
    path = tmp_path / "train_log.txt"
    for _ in range(2):
        loggers.write_text(path, ROWS)
    assert path.read_text().splitlines()[1] == (
        "epoch: 2, lr: 1.000000e-01 - train loss: 1.000000e+00 - valid loss: 1.500000, "
        "valid UA: 20.000000"
    )
    assert len(path.read_text().splitlines()) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["train_log.txt"]


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_tensorboard_has_each_epoch_at_its_step_after_a_resume(tmp_path):
    pytest.importorskip("tensorboard")
    first = loggers.TensorBoard()
    first.begin(tmp_path, {}, [])
    first.epoch(ROWS[0])
    first.epoch(ROWS[1])
    first.logger.writer.close()  # killed before the third epoch: no thread of it writes on
    again = loggers.TensorBoard()
    again.begin(tmp_path, {}, ROWS[:2])
    again.epoch(ROWS[2])
    again.end({"UA": 50.0, "epochs": 3, "labels": ["a"]}, [])
    found = events(tmp_path)
    points = [(event.step, event.value) for event in found.Scalars("UA/valid")]
    assert points == [(1, 10.0), (2, 20.0), (3, 30.0)]
    assert [event.step for event in found.Scalars("loss/train")] == [1, 2, 3]
    assert [event.value for event in found.Scalars("UA/test")] == [50.0]


def test_a_run_logs_its_epochs_and_figures_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    words = ["--logger", "!new:speechbrain_ser.training.loggers.TensorBoard {}"]
    run(EMOTION, tiny(EMOTION, tmp_path, *words), figures=True)
    found = events(tmp_path / "emotion/fold1/1000")
    assert [event.step for event in found.Scalars("UA/valid")] == [1, 2]
    assert set(found.Tags()["images"]) == {"confusion", "curves", "reliability"}


class FakeRun:
    """What wandb.init gives, for a run that W&B knows up to `step`."""

    def __init__(self, step: int):
        self.step, self.logged, self.ended = step, [], False

    def log(self, values, step=None):
        self.logged.append((step, values))

    def finish(self):
        self.ended = True


def test_weights_and_biases_goes_on_in_the_same_run(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    asked, known = [], FakeRun(step=2)
    monkeypatch.setattr(wandb, "init", lambda **options: asked.append(options) or known)
    folder = tmp_path / "emotion/fold1/1000"
    for _ in range(2):
        logger = loggers.WeightsAndBiases(project="p", mode="offline")
        logger.begin(folder, {"lr": 0.1}, ROWS[:2])
    logger.epoch(ROWS[2])
    logger.end({"UA": 50.0, "epochs": 3}, [])
    assert asked[0] == asked[1]  # the same id, so the same run
    assert asked[0]["name"] == "emotion-fold1-1000" and asked[0]["resume"] == "allow"
    assert (asked[0]["project"], asked[0]["mode"]) == ("p", "offline")
    assert asked[0]["config"] == {"lr": 0.1}
    assert [step for step, _ in known.logged] == [2, 2, 3, None]
    assert known.logged[2][1]["valid"]["UA"] == 30.0
    assert known.logged[3][1]["test"] == {"UA": 50.0} and known.ended


def test_weights_and_biases_that_does_not_start_says_why(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")

    def refuse(**_):
        raise wandb.errors.UsageError("no API key")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(InputError, match="does not start .no API key.: log in with `wandb login`"):
        loggers.WeightsAndBiases().begin(tmp_path, {}, [])


def test_a_logger_that_is_not_installed_is_named(tmp_path, monkeypatch):
    def missing(module):
        raise ImportError(module)

    monkeypatch.setattr(loggers.importlib, "import_module", missing)
    with pytest.raises(InputError, match="needs the package tensorboard: pip install"):
        loggers.TensorBoard().begin(tmp_path, {}, [])
