"""The figure of how a training went."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import canvas

# what a panel's axis spans at least: less would show noise as a trend
SPANS = {"score (%)": 20, "WER (%)": 20, "concordance": 0.2, "cosine to the emotion gradient": 0.5}
LINES = ("-", "--", ":")  # curves that lie over each other are both seen


def training(
    history: Sequence[dict],
    path: str | Path,
    title: str,
    best: int | None = None,
    heard: str = "validation",
    margin: bool = False,
) -> None:
    """Rows {"epoch", "train_loss", "valid_loss", "valid_WA", "valid_UA", ...} -> a figure.

    heard : what "valid" is: "test part" in a run that has no validation
    margin : whether the training's loss has one, which evaluation leaves out: two panels

    One panel shows the losses, one the accuracies, one WER and one the gradients' cosines, each if
    the rows have it; a line marks epoch `best`, whose checkpoint is tested. Keys may be missing
    from some rows; others are ignored.
    """
    losses = {"loss": {"train_loss": "training", "valid_loss": heard}}
    if margin:
        losses = {
            "training loss (with margin)": {"train_loss": "training"},
            f"{heard} loss (without margin)": {"valid_loss": heard},
        }
    scores = {
        "score (%)": {"valid_WA": "WA", "valid_UA": "UA", "valid_UA_gender": "UA gender"},
        "WER (%)": {"valid_WER": "WER"},
        "concordance": {"valid_CCC": "CCC"},
    }
    cosines = {f"cosine_{task}": task for task in ("asr", "gender", "style")}
    panels = losses | scores | {"cosine to the emotion gradient": cosines}
    panels = {
        name: {key: curve for key, curve in curves.items() if any(key in row for row in history)}
        for name, curves in panels.items()
    }
    panels = {name: curves for name, curves in panels.items() if curves}
    if not panels:
        raise InputError(f"{path}: the history holds no epoch with a loss or score to draw")
    figure = Figure(figsize=(1.2 + 4.6 * len(panels), 4.0), layout="constrained")
    for axes, (name, curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        _panel(axes, history, curves, best)
        axes.set_ylabel(f"{heard} {name}" if name in scores else name)
        values = [row[key] for row in history for key in curves if key in row]
        axes.set_ylim(*_limits(min(values), max(values), SPANS.get(name)))
    canvas.save(figure, path, title)


def _limits(low: float, high: float, span: float | None) -> tuple[float, float]:
    """Of an axis; a loss begins at 0, all else spans `span` at least."""
    if span is None:
        return min(0.0, 1.08 * low), 1.08 * high if high > 0 else 1.0
    around = max(0.0, span - (high - low)) / 2 + 0.05 * (high - low) + 0.01 * span
    return low - around, high + around


def _panel(axes, history: Sequence[dict], curves: dict[str, str], best: int | None) -> None:
    for number, (key, curve) in enumerate(curves.items()):
        rows = [row for row in history if key in row]
        axes.plot(
            [row["epoch"] for row in rows],
            [row[key] for row in rows],
            color=canvas.COLOURS[number],
            linestyle=LINES[number],
            linewidth=3 - number,
            marker="os^"[number],
            markersize=7 - 2 * number if len(rows) <= 40 else 0,
            label=curve,
        )
    if best is not None:
        axes.axvline(best, color="black", linestyle=":", label=f"chosen: epoch {best}")
    axes.set_xlabel("epoch")
    epochs = [row["epoch"] for row in history]
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9)
