"""Checkpoints: whole or not there, ranked by score; and the epochs' counter, which stops early."""

import contextlib
import json
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from speechbrain.utils.checkpoints import (
    Checkpointer,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.epoch_loop import EpochCounter

from speechbrain_ser import parallel
from speechbrain_ser.errors import InputError

LOW = ("loss", "WER", "KL", "MSE")  # beginnings of the scores that are best where they are low


def importance(checkpoint) -> tuple[float, int]:
    """Checkpoints rank by score, and of equal ones the later first (Park 2023, authors' code)."""
    return checkpoint.meta["score"], checkpoint.meta["epoch"]


def score(select_by: str, known: Mapping) -> float:
    """By which a checkpoint ranks: what is measured under that name, negative where low is best.

    Raises InputError for what is not measured.
    """
    if not isinstance(known.get(select_by), int | float):
        names = ", ".join(name for name, value in known.items() if isinstance(value, int | float))
        raise InputError(f"select_by is {select_by!r}, which is not measured: use one of {names}")
    value = -known[select_by] if select_by.startswith(LOW) else known[select_by]
    return -math.inf if math.isnan(value) else value


@register_checkpoint_hooks
class EarlyStop(EpochCounter):
    """Counts epochs to `limit`, and stops when the validation loss has risen `patience` times.

    The best loss counts from the first epoch; the rises count after the `grace` first ones (Park
    2023, authors' code: equality and NaN count as no rise). patience 0 never stops early.
    """

    def __init__(self, limit: int, patience: int = 0, grace: int = 0):
        super().__init__(limit)
        self.patience = patience
        self.grace = grace
        self.best = math.inf
        self.rises = 0
        self.seconds = 0.0  # of training and validation, over all of a resumed run's sessions
        self.history: list[dict] = []
        self.scores: list[float] = []  # by which checkpoints are chosen, of epoch 1, 2, ...

    def update(self, epoch: int, loss: float) -> None:
        """Take the validation loss of an epoch (1-based)."""
        if loss > self.best:
            self.rises += epoch > self.grace
        else:
            self.rises = 0
            self.best = min(self.best, loss)

    def __next__(self) -> int:
        if self.has_stopped:
            raise StopIteration
        return super().__next__()

    @mark_as_saver
    def _save(self, path):
        state = {"epoch": self.current, "best": self.best, "rises": self.rises}
        state |= {"seconds": self.seconds, "history": self.history, "scores": self.scores}
        Path(path).write_text(json.dumps(state))

    @mark_as_loader
    def _recover(self, path, end_of_epoch=True):
        state = json.loads(Path(path).read_text())
        self.current = state["epoch"]
        self.best, self.rises = state["best"], state["rises"]
        self.seconds, self.history = state["seconds"], state["history"]
        self.scores = state["scores"]

    @property
    def has_stopped(self) -> bool:
        """Whether no more epochs follow, whatever the limit."""
        return bool(self.patience) and self.rises >= self.patience

    @property
    def best_epoch(self) -> int:
        """The epoch of the highest score, of equal ones the later; 0 without any."""
        return max(range(1, len(self.scores) + 1), key=lambda e: (self.scores[e - 1], e), default=0)


def history(folder: Path) -> list[dict]:
    """The rows of the epochs of a run whose checkpoints lie in the folder: [] without any.

    Raises InputError for one that is damaged.
    """
    rows: list[dict] = []
    for path in folder.glob("CKPT*/epochs.ckpt"):
        with naming(path.parent):
            rows = max(rows, json.loads(path.read_text())["history"], key=len)
    return rows


class AtomicCheckpointer(Checkpointer):
    """A checkpoint is written aside and renamed when whole: kill -9 leaves no half of one.

    Checkpoints are as recent as their epoch, whatever the clock says.
    """

    def save_checkpoint(self, meta, end_of_epoch=True, name=None, verbosity=logging.INFO):
        whole = self.checkpoints_dir
        self.checkpoints_dir = whole / "incomplete"
        if parallel.is_first():
            shutil.rmtree(self.checkpoints_dir, ignore_errors=True)
        try:
            name = name or f"epoch{meta['epoch']:04d}"
            saved = super().save_checkpoint(meta, end_of_epoch, name, verbosity)
            if saved is not None:  # the first process saves
                place = whole / saved.path.name
                if place.exists():  # of a run that was killed after saving it
                    place.replace(self.checkpoints_dir / "replaced")
                saved.path.replace(place)
            parallel.wait()
        except RuntimeError as error:  # what torch.save says of a full disk
            if "writ" not in str(error):
                raise
            raise InputError(
                f"a checkpoint cannot be written to {whole} ({str(error).splitlines()[0][:150]}): "
                "free some space, and the same command goes on"
            ) from error
        finally:
            self.checkpoints_dir = whole

    def list_checkpoints(self):
        listed = []
        for folder in self._list_checkpoint_dirs():
            with naming(folder):
                (checkpoint,) = self._construct_checkpoint_objects([folder])
                importance(checkpoint)  # it has a score
                by_epoch = {"unixtime": checkpoint.meta["epoch"]}  # SpeechBrain sorts by it
                meta = checkpoint.meta | by_epoch
                listed.append(checkpoint._replace(meta=meta))
        return listed

    def load_checkpoint(self, checkpoint):
        with naming(checkpoint.path):
            super().load_checkpoint(checkpoint)


@contextlib.contextmanager
def naming(folder: Path):
    """InputError with the checkpoint's folder, where loading it fails."""
    try:
        yield
    except Exception as error:  # a damaged file fails in as many ways as there are formats
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{folder} is damaged ({reason}): delete that folder, and the same command goes on "
            "from the checkpoint before it"
        ) from error
