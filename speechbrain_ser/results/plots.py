"""Figures of scores: confusion matrix, layer weights, gains."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import canvas

MOST_CELLS_WITH_TEXT = 30  # classes; beyond, numbers would not be legible


def confusion_matrix(
    confusion: ArrayLike,
    labels: Sequence[str],
    path: str | Path,
    title: str,
    size: canvas.Size | None = None,
) -> None:
    """confusion [target, prediction] of counts -> a figure with counts and percent of each row.

    A cell of no utterance is empty; a class without any has a dash on the diagonal. Beyond 30
    classes (speakers) it is a plain heat map without text.
    """
    counts = np.asarray(confusion)
    n = len(labels)
    if counts.shape != (n, n):
        raise InputError(f"the confusion is {counts.shape}, but there are {n} labels")
    shown = canvas.order(labels)
    labels, counts = [labels[at] for at in shown], counts[np.ix_(shown, shown)]
    support = counts.sum(axis=1)
    percent = 100 * counts / np.maximum(support, 1)[:, None]  # [target, prediction]
    with_text = n <= MOST_CELLS_WITH_TEXT
    side = 2.6 + 0.72 * n if with_text else 7.0  # inches
    figure = Figure(figsize=(side + 0.6, side), layout="compressed")  # square cells, no gaps
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25)
    bar.set_label("% of the target's utterances")
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    if with_text:
        rows = [f"{label}\nn = {size:,}" for label, size in zip(labels, support, strict=True)]
        slanted = n > 4 or max(map(len, labels)) > 10
        axes.set_xticks(range(n), labels)
        if slanted:
            axes.tick_params(axis="x", labelrotation=45)
            for text in axes.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), rows)
        axes.set_xticks(np.arange(n - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(n - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="both", length=0)
        for row, column in np.ndindex(n, n):
            if not counts[row, column] and (support[row] or row != column):
                continue
            share = f"{percent[row, column]:.1f}%\n{counts[row, column]:,}"
            axes.text(
                column,
                row,
                share if support[row] else "-",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if percent[row, column] > 55 else "black",
            )
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    unit = "" if with_text else f" (class number, 0 to {n - 1})"
    axes.set_xlabel(f"prediction{unit}")
    axes.set_ylabel(f"target{unit}")
    canvas.save(figure, path, title, size)


def layer_weights(
    layers: Sequence[int],
    curves: Mapping[str, ArrayLike],
    path: str | Path,
    title: str,
    size: canvas.Size | None = None,
    looks: Mapping[str, dict] | None = None,
) -> None:
    """Weights of an average over layers, as in Pepino 2021, Figure 2 -> a figure.

    curves : name -> weights [seed, layer]; the points are means, the bars sample standard
        deviations over seeds, none for one seed
    looks : name -> how its curve is drawn, of matplotlib; None: a colour each

    The axis begins at 0: weights that hardly left their start are a flat line.
    """
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(1 / len(layers), color="0.6", linestyle=":", label="all layers alike")
    spread = np.linspace(-0.12, 0.12, len(curves)) if len(curves) > 1 else [0.0]
    for number, (name, given) in enumerate(curves.items()):
        weights = np.asarray(given, dtype=float)  # [seed, layer]
        if weights.ndim != 2 or weights.shape[1] != len(layers):
            raise InputError(f"{name} has weights {weights.shape}, but there are layers {layers}")
        axes.errorbar(
            np.asarray(layers) + spread[number],
            weights.mean(axis=0),
            yerr=weights.std(axis=0, ddof=1) if len(weights) > 1 else None,
            label=f"{name} ({len(weights)} seed{'s' if len(weights) > 1 else ''})",
            capsize=3,
            markersize=5,
            **(looks[name] if looks else canvas.style(number)),
        )
    axes.set_xticks(list(layers), ["local\nencoder" if x == 0 else str(x) for x in layers])
    axes.set_xlabel("layer: the local encoder, then the transformer blocks")
    axes.set_ylabel("weight in the average")
    axes.set_ylim(0, max(2 / len(layers), 1.05 * axes.get_ylim()[1]))
    axes.legend(frameon=False)
    canvas.save(figure, path, title, size)


def gains(
    rows: Mapping[str, Sequence[float]],
    path: str | Path,
    title: str,
    size: canvas.Size | None = None,
) -> None:
    """Differences and their intervals, a line each -> a figure.

    rows : name -> (difference, low, high) in points; what an interval with 0 says is drawn pale
    """
    figure = Figure(figsize=(7.0, 1.0 + 0.52 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="0.4", linewidth=1)
    for place, (difference, low, high) in enumerate(rows.values()):
        colour = "0.6" if low <= 0 <= high else canvas.COLOURS[0 if difference > 0 else 5]
        axes.plot([low, high], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        axes.plot(difference, place, "o", color=colour, markersize=7)
        axes.annotate(
            f"{difference:+.1f}",
            (difference, place),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.set_xlabel("points of UA")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    canvas.save(figure, path, title, size)
