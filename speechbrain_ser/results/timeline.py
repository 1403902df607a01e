"""The figure of one recording's emotions over time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import canvas

ROUND_SECONDS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # between ticks


def draw(
    edges: Sequence[float],
    probs: Sequence[Sequence[float]],
    labels: Sequence[str],
    path: str | Path,
    title: str,
) -> None:
    """The emotions of one recording over time -> a figure.

    edges : seconds [step + 1]; of step i from edges[i] to edges[i + 1]
    probs : [step, label], NaN where it is silent

    A strip names the most probable label; below, the probabilities are stacked.
    """
    edges, probs = np.asarray(edges, dtype=float), np.asarray(probs, dtype=float)
    if probs.shape != (len(edges) - 1, len(labels)) or not len(probs):
        raise InputError(
            f"{path}: probabilities {probs.shape}, but {len(edges)} edges and {len(labels)} labels"
        )
    shown = canvas.order(labels)
    numbers = [canvas.numbers(labels)[at] for at in shown]  # of the colours
    labels, probs = [labels[at] for at in shown], probs[:, shown]
    silent = np.isnan(probs).any(axis=1)  # [step]
    chosen = np.where(silent, -1, np.nan_to_num(probs).argmax(axis=1))  # [step]
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    strip, stack = figure.subplots(2, sharex=True, height_ratios=(1, 6))
    starts = np.flatnonzero(np.diff(chosen, prepend=-2))  # where a segment begins
    for start, end in zip(starts, [*starts[1:], len(chosen)], strict=True):
        left, right, number = edges[start], edges[end], chosen[start]
        name = "silence" if number < 0 else labels[number]
        fill = {"color": "0.92"} if number < 0 else _fill(numbers[number])
        strip.axvspan(left, right, **fill)
        if (right - left) / (edges[-1] - edges[0]) > 0.014 * len(name):
            strip.text(
                *((left + right) / 2, 0.5, name),
                ha="center",
                va="center",
                fontsize=10,
                color="white" if number >= 0 and _is_dark(fill["facecolor"]) else "black",
            )
    tops = np.cumsum(probs, axis=1)  # [step, label]
    for number, label in enumerate(labels):
        below = tops[:, number - 1] if number else np.where(silent, np.nan, 0.0)
        stack.stairs(
            tops[:, number], edges, baseline=below, fill=True, label=label, **_fill(numbers[number])
        )
    for start in np.flatnonzero(silent):
        stack.axvspan(edges[start], edges[start + 1], color="0.92")
    strip.set_ylim(0, 1)
    strip.set_yticks([])
    strip.tick_params(axis="x", length=0)
    strip.spines[:].set_visible(False)
    stack.set_xlim(edges[0], edges[-1])
    stack.set_ylim(0, 1)
    stack.set_ylabel("probability")
    stack.set_xlabel("time (minutes:seconds)" if edges[-1] >= 60 else "time (seconds)")
    fewest = (edges[-1] - edges[0]) / 11
    stack.xaxis.set_major_locator(
        MultipleLocator(next((s for s in ROUND_SECONDS if s > fewest), 3600 * (1 + fewest // 3600)))
    )
    if edges[-1] >= 60:
        stack.xaxis.set_major_formatter(
            lambda seconds, _: f"{seconds // 60:.0f}:{seconds % 60:02.0f}"
        )
    stack.spines[["top", "right"]].set_visible(False)
    handles, names = stack.get_legend_handles_labels()
    figure.legend(
        *(handles[::-1], names[::-1]),  # as they are stacked
        loc="outside right center",
        ncols=1 + (len(labels) - 1) // 12,
        frameon=False,
        fontsize=10,
    )
    canvas.save(figure, path, title)


def _fill(number: int) -> dict:
    """Colour of the area with this number; hatched where the colours begin again."""
    hatch = ("", "//", "..", "xx")[number // len(canvas.COLOURS) % 4]
    colour = canvas.COLOURS[number % len(canvas.COLOURS)]
    return {"facecolor": colour, "edgecolor": "black", "hatch": hatch, "linewidth": 0}


def _is_dark(colour: str) -> bool:
    """Whether white text is read better on it than black, by its luma."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 128
