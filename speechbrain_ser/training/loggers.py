"""Where an epoch's numbers go: always to a text file, and to TensorBoard or W&B by the yaml.

    logger: !new:speechbrain_ser.training.loggers.TensorBoard
    logger: !new:speechbrain_ser.training.loggers.WeightsAndBiases
        project: emotions

All are SpeechBrain's own loggers, called by every process of a run. A resumed run continues the
same curves.
"""

import functools
import hashlib
import importlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechbrain_ser import parallel
from speechbrain_ser.errors import InputError

# it warns of a missing torchvision, for a logger of image samples that is not used here
logging.getLogger("speechbrain.utils.train_logger").addFilter(lambda r: "torchvision" not in r.msg)
from speechbrain.utils import train_logger  # noqa: E402

SCORES = ("WA", "UA", "F1", "WER", "CCC", "KL")  # beginnings of those that a run's end tells
Rows = Sequence[Mapping[str, float]]  # of the epochs: epoch, lr, train_loss, valid_loss, ...


def in_parts(row: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """A row as SpeechBrain's loggers take it: stats_meta, train_stats, valid_stats."""
    stats: dict[str, dict[str, float]] = {"stats_meta": {}, "train_stats": {}, "valid_stats": {}}
    for name, value in row.items():
        part, _, metric = name.partition("_")
        if part in ("train", "valid"):
            stats[f"{part}_stats"][metric] = value
        else:
            stats["stats_meta"][name] = value
    return stats


def write_text(path: Path, rows: Rows) -> None:
    """All epochs in SpeechBrain's text format, in one step: a killed run repeats no line."""
    temporary = path.with_name(f".{path.name}.tmp")
    if parallel.is_first():
        temporary.unlink(missing_ok=True)
    logger = train_logger.FileTrainLogger(temporary, precision=6)
    for row in rows:
        logger.log_stats(**in_parts(row), verbose=False)
    if parallel.is_first():
        temporary.replace(path)


class TensorBoard:
    """SpeechBrain's TensorboardLogger, in the run's folder: `tensorboard --logdir results`."""

    def begin(self, folder: Path, settings: Mapping, rows: Rows) -> None:
        """Open the log of the run in `folder`, which has had the epochs `rows`."""
        _installed("tensorboard")
        if parallel.is_first():
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        self.logger = train_logger.TensorboardLogger(str(folder / "tensorboard"))
        for row in rows:  # anew, since SpeechBrain's logger counts steps from its own start
            self.epoch(row)

    def epoch(self, row: Mapping[str, float]) -> None:
        self.logger.log_stats(**in_parts(row))

    def end(self, results: Mapping, figures: Sequence[Path]) -> None:
        """The test's scores, and the figures."""
        import matplotlib.image

        writer = self.logger.writer
        for name, score in _scores(results).items():
            writer.add_scalar(f"{name}/test", score, results["epochs"])
        for path in figures:
            image = matplotlib.image.imread(path)  # [height, width, colour]
            writer.add_image(path.stem, image, results["epochs"], dataformats="HWC")
        writer.close()


class WeightsAndBiases:
    """SpeechBrain's WandBLogger; options are wandb.init's, as project, entity, mode: offline.

    The run's id follows from its folder, so that a resumed run goes on in the same place.
    """

    def __init__(self, project: str = "speechbrain-ser", **options):
        self.options = {"project": project, **options}

    def begin(self, folder: Path, settings: Mapping, rows: Rows) -> None:
        """Open the run of `folder`, which has had the epochs `rows`."""
        wandb = _installed("wandb")
        name = "-".join(folder.parts[-3:])
        start = functools.partial(
            wandb.init,
            id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
            resume="allow",
            name=name,
            dir=str(folder),
            config=dict(settings),
        )
        self.wandb = wandb
        try:
            self.logger = train_logger.WandBLogger(start, **self.options)
        except TypeError as error:  # SpeechBrain's way to say that wandb.init failed
            raise InputError(
                f"Weights & Biases does not start ({error.__context__}): log in with `wandb "
                "login`, or give the logger mode: offline"
            ) from None
        for row in rows:
            if not parallel.is_first() or row["epoch"] >= self.logger.run.step:
                self.epoch(row)  # W&B refuses to go back

    def epoch(self, row: Mapping[str, float]) -> None:
        self.logger.log_stats(**in_parts(row))

    def end(self, results: Mapping, figures: Sequence[Path]) -> None:
        """The test's scores, and the figures."""
        images = {path.stem: self.wandb.Image(str(path)) for path in figures}
        self.logger.run.log({"test": _scores(results), **images})
        self.logger.run.finish()


def _scores(results: Mapping) -> dict[str, float]:
    return {k: v for k, v in results.items() if k.startswith(SCORES)}


def _installed(module: str):
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            f"this logger needs the package {module}: pip install 'speechbrain-ser[loggers]'"
        ) from None
