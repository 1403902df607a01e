"""Figures of groups: how many utterances of each emotion there are, and scores side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import canvas

GROUP = 0.8  # of the distance of two groups, what their bars take
SHOWN = ("WA", "UA")
Spread = tuple[float, float | None]  # mean, and sample standard deviation over seeds


def counts(
    panels: Mapping[str, Mapping[str, Mapping[str, int]]],
    path: str | Path,
    title: str,
    size: canvas.Size | None = None,
) -> None:
    """Utterances of each emotion by each group, as in Park 2023, Figure 4 -> a figure.

    panels : name of a panel -> emotion -> group (female, male) -> how many

    Raises InputError if there is nothing to count.
    """
    labels = list(dict.fromkeys(label for of in panels.values() for label in of))
    labels = [labels[at] for at in canvas.order(labels)]
    groups = sorted({group for of in panels.values() for own in of.values() for group in own})
    if not groups:
        raise InputError(f"{path}: there is no utterance to count")
    columns = min(len(panels), 3)
    wide = max(3.0, 0.4 + 0.62 * len(labels))  # inches
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(0.8 + wide * columns, 0.9 + 2.6 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (name, of) in zip(grid.flat, panels.items(), strict=False):
        for number, group in enumerate(groups):
            own = [of.get(label, {}).get(group, 0) for label in labels]
            _bars(axes, number, len(groups), own, group)
        _names(axes, labels)
        axes.set_title(name, fontsize=10)
    for axes in grid[:, 0]:
        axes.set_ylabel("utterances")
    if len(groups) > 1:
        _legend(figure, grid[0, 0])
    canvas.save(figure, path, title, size)


def scores(
    panels: Mapping[str, Mapping[str, Mapping[str, Spread]]],
    path: str | Path,
    title: str,
    size: canvas.Size | None = None,
) -> None:
    """WA and UA of experiments, as in Park 2023, Figure 7 -> a figure.

    panels : name of a panel -> experiment -> {"WA", "UA"}; the lines are deviations over seeds

    Points and no bars: the axis does not begin at 0. It spans ten points of a score at least.
    """
    found = [of[m] for own in panels.values() for of in own.values() for m in SHOWN]
    low = min(mean - (sd or 0) for mean, sd in found)
    high = max(mean + (sd or 0) for mean, sd in found)
    beyond = max(1.0, (10 - (high - low)) / 2)
    longest = max(len(line) for own in panels.values() for name in own for line in name.split("\n"))
    each = max(1.3, 0.085 * longest)  # inches
    widths = [max(len(own), 1.5) for own in panels.values()]
    figure = Figure(figsize=(0.9 + each * sum(widths), 3.9), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True, width_ratios=widths)[0]
    for axes, (name, own) in zip(grid, panels.items(), strict=True):
        for number, (metric, side) in enumerate(zip(SHOWN, (-1, 1), strict=True)):
            means, deviations = zip(*(of[metric] for of in own.values()), strict=True)
            places = np.arange(len(means)) + 0.1 * side
            axes.errorbar(
                *(places, means),
                yerr=[sd or 0 for sd in deviations] if any(deviations) else None,
                color=canvas.COLOURS[number],
                marker="o^"[number],
                linestyle="none",
                capsize=3,
                label=metric,
            )
            for place, mean in zip(places, means, strict=True):
                axes.annotate(
                    f"{mean:.1f}",
                    (place, mean),
                    xytext=(6 * side, 0),
                    textcoords="offset points",
                    ha="right" if side < 0 else "left",
                    va="center",
                    fontsize=8,
                )
        _names(axes, list(own), slanted=False)
        around = max(0.6, (1.5 - len(own)) / 2 + 0.5)
        axes.set_xlim(-around, len(own) - 1 + around)
        axes.set_ylim(max(0, low - beyond), min(101, high + beyond))
        axes.set_title(name, fontsize=10)
    grid[0].set_ylabel("WA, UA (%)")
    _legend(figure, grid[0])
    canvas.save(figure, path, title, size)


def _bars(axes, number: int, count: int, heights: Sequence[float], label: str):
    """The bars of one of the groups, beside those of the others."""
    width = GROUP / count
    places = np.arange(len(heights)) + (number - (count - 1) / 2) * width
    colour = canvas.COLOURS[number % len(canvas.COLOURS)]
    return axes.bar(places, heights, width, color=colour, label=label)


def _names(axes, names: Sequence[str], slanted: bool = True) -> None:
    axes.set_xticks(range(len(names)), names, fontsize=9)
    if slanted and len(names) > 4:
        axes.tick_params(axis="x", labelrotation=45)
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
