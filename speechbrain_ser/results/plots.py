"""Figures: confusion matrix, curves, layer weights, t-SNE, timeline; PNGs, written atomically."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, MultipleLocator
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import fonts

DPI = 150
# Okabe and Ito's palette, told apart with every common colour blindness
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#000000",
    "#B5A90C",  # their yellow, darkened for a white ground
)
MARKERS = ("o", "^", "s", "x", "v")
ROUND_SECONDS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # between ticks
MOST_CELLS_WITH_TEXT = 30  # classes; beyond, numbers would not be legible


def confusion_matrix(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], path: str | Path, title: str
) -> None:
    """confusion [target, prediction] of counts -> a PNG with counts and percent of each row.

    Beyond 30 classes (speakers) it is a plain heat map without text.
    """
    counts = np.asarray(confusion)
    n = len(labels)
    if counts.shape != (n, n):
        raise InputError(f"the confusion is {counts.shape}, but there are {n} labels")
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
            share = f"{percent[row, column]:.1f}%" if support[row] else "-"
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}\n{share}",
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
    save(figure, path, title)


def training_curves(
    history: Sequence[dict], path: str | Path, title: str, best: int | None = None
) -> None:
    """Rows {"epoch", "train_loss", "valid_loss", "valid_WA", "valid_UA", ...} -> a PNG.

    One panel shows the losses, one the accuracies, one WER and one the gradients' cosines, each if
    the rows have it; a line marks epoch `best`, whose checkpoint is tested. Keys may be missing
    from some rows; others are ignored.
    """
    panels = {
        "loss": {"train_loss": "training", "valid_loss": "validation"},
        "validation score (%)": {
            "valid_WA": "WA",
            "valid_UA": "UA",
            "valid_UA_gender": "UA gender",
        },
        "validation WER (%)": {"valid_WER": "WER"},
        "validation concordance": {"valid_CCC": "CCC"},
        "cosine to the emotion gradient": {
            f"cosine_{task}": task for task in ("asr", "gender", "style")
        },
    }
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
        for (key, curve), colour, marker in zip(curves.items(), COLOURS, "os^", strict=False):
            rows = [row for row in history if key in row]
            axes.plot(
                [row["epoch"] for row in rows],
                [row[key] for row in rows],
                color=colour,
                marker=marker,
                markersize=4 if len(rows) <= 40 else 0,
                label=curve,
            )
        if best is not None:
            axes.axvline(best, color="black", linestyle=":", label=f"chosen: epoch {best}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        epochs = [row["epoch"] for row in history]
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9
        )
    save(figure, path, title)


def layer_weights(
    layers: Sequence[int],
    curves: Mapping[str, Sequence[Sequence[float]]],
    path: str | Path,
    title: str,
) -> None:
    """Weights of an average over layers, as in Pepino 2021, Figure 2 -> a PNG.

    curves : name -> weights [seed, layer]; the points are means, the bars sample standard
        deviations over seeds, none for one seed
    """
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(1 / len(layers), color="0.6", linestyle=":", label="all layers alike")
    spread = np.linspace(-0.12, 0.12, len(curves)) if len(curves) > 1 else [0.0]
    for number, (name, weights) in enumerate(curves.items()):
        weights = np.asarray(weights, dtype=float)  # [seed, layer]
        if weights.ndim != 2 or weights.shape[1] != len(layers):
            raise InputError(f"{name} has weights {weights.shape}, but there are layers {layers}")
        axes.errorbar(
            np.asarray(layers) + spread[number],
            weights.mean(axis=0),
            yerr=weights.std(axis=0, ddof=1) if len(weights) > 1 else None,
            label=f"{name} ({len(weights)} seed{'s' if len(weights) > 1 else ''})",
            capsize=3,
            markersize=5,
            **_style(number),
        )
    axes.set_xticks(list(layers), ["local\nencoder" if x == 0 else str(x) for x in layers])
    axes.set_xlabel("layer: the local encoder, then the transformer blocks")
    axes.set_ylabel("weight in the average")
    axes.legend(frameon=False)
    save(figure, path, title)


def gains(rows: Mapping[str, tuple[float, float, float]], path: str | Path, title: str) -> None:
    """Differences and their intervals, a line each -> a PNG.

    rows : name -> (difference, low, high) in points; what an interval with 0 says is drawn pale
    """
    figure = Figure(figsize=(7.0, 1.0 + 0.52 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="0.4", linewidth=1)
    for place, (difference, low, high) in enumerate(rows.values()):
        colour = "0.6" if low <= 0 <= high else "C0" if difference > 0 else "C3"
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
    save(figure, path, title)


def tsne(
    embedding: np.ndarray,
    groups: dict[str, Sequence[str]],
    path: str | Path,
    title: str,
    seed: int = 1000,
    perplexity: float = 20,
    parts: Sequence[str] | None = None,
) -> dict:
    """embedding [item, dim] -> a PNG of its t-SNE, and the silhouettes of the embedding itself.

    groups : {name: label of each item}, e.g. emotion and speaker: one column of panels each
    parts : part of each item (train, valid, test): one row of panels each, over one joint t-SNE
    perplexity : lowered to a third of the items if there are too few

    Returns {"silhouette": {part: {group: cosine silhouette in [-1, 1] of that panel's items, or
    None where it is not defined}}, "points": [item, 2]}; the part is "all" without `parts`. PCA
    start, automatic learning rate, perplexity 20 and seed 1000 are of the code of Park 2023.
    """
    items = np.asarray(embedding, dtype=np.float64)  # [item, dim]
    if items.ndim != 2 or items.shape[0] < 5 or items.shape[1] < 2:
        raise InputError(f"{path}: t-SNE needs 5 items of 2 dimensions or more, not {items.shape}")
    if not np.isfinite(items).all():
        raise InputError(f"{path}: the embedding holds NaN or infinite values: did training fail?")
    part_of = np.asarray(["all"] * len(items) if parts is None else parts)
    for name, values in {**groups, "part": part_of}.items():
        if len(values) != len(items):
            raise InputError(f"{path}: {len(items)} items but {len(values)} labels of {name}")
    perplexity = min(perplexity, (len(items) - 1) / 3)
    points = TSNE(
        n_components=2,
        perplexity=perplexity,
        init="pca",
        learning_rate="auto",
        random_state=seed,
    ).fit_transform(items)  # [item, 2]
    part_names = list(dict.fromkeys(part_of.tolist()))  # as they come: train, valid, test
    figure = Figure(figsize=(5.6 * len(groups), 0.7 + 4.2 * len(part_names)), layout="constrained")
    panels = figure.subplots(len(part_names), len(groups), squeeze=False, sharex=True, sharey=True)
    silhouettes: dict[str, dict[str, float | None]] = {part: {} for part in part_names}
    for column, (group, values) in enumerate(groups.items()):
        label_of = np.asarray(values)
        names = sorted(set(label_of.tolist()))
        for row, part in enumerate(part_names):
            shown = part_of == part
            value = _silhouette(items[shown], label_of[shown])
            silhouettes[part][group] = value
            axes = panels[row, column]
            _scatter(axes, points, label_of, names, shown)
            axes.set_title(
                f"{part}: {group}, n = {shown.sum():,}, silhouette "
                + ("not defined" if value is None else f"{value:.3f}"),
                fontsize=10,
            )
            if row == 0:
                _legend(axes, group, names)
    caption = (
        f"t-SNE of {len(items):,} items, perplexity {perplexity:.3g} (axes without unit); "
        "cosine silhouette of the embedding itself"
    )
    figure.supxlabel(_wrapped(caption, figure, fontsize=9), fontsize=9)
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.08)  # inches
    save(figure, path, title)
    return {"silhouette": silhouettes, "points": points}


def timeline(
    edges: Sequence[float],
    probs: Sequence[Sequence[float]],
    labels: Sequence[str],
    path: str | Path,
    title: str,
) -> None:
    """The emotions of one recording over time -> a PNG.

    edges : seconds [step + 1]; of step i from edges[i] to edges[i + 1]
    probs : [step, label], NaN where it is silent

    A strip names the most probable label; below, the probabilities are stacked.
    """
    edges, probs = np.asarray(edges, dtype=float), np.asarray(probs, dtype=float)
    if probs.shape != (len(edges) - 1, len(labels)) or not len(probs):
        raise InputError(
            f"{path}: probabilities {probs.shape}, but {len(edges)} edges and {len(labels)} labels"
        )
    silent = np.isnan(probs).any(axis=1)  # [step]
    chosen = np.where(silent, -1, np.nan_to_num(probs).argmax(axis=1))  # [step]
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    strip, stack = figure.subplots(2, sharex=True, height_ratios=(1, 6))
    starts = np.flatnonzero(np.diff(chosen, prepend=-2))  # where a segment begins
    for start, end in zip(starts, [*starts[1:], len(chosen)], strict=True):
        left, right, number = edges[start], edges[end], chosen[start]
        name = "silence" if number < 0 else labels[number]
        fill = {"color": "0.92"} if number < 0 else _fill(number)
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
            tops[:, number], edges, baseline=below, fill=True, label=label, **_fill(number)
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
    save(figure, path, title)


def _fill(number: int) -> dict:
    """Colour of the area with this number; hatched where the colours begin again."""
    hatch = ("", "//", "..", "xx")[number // len(COLOURS) % 4]
    colour = COLOURS[number % len(COLOURS)]
    return {"facecolor": colour, "edgecolor": "black", "hatch": hatch, "linewidth": 0}


def _is_dark(colour: str) -> bool:
    """Whether white text is read better on it than black, by its luma."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 128


def _silhouette(items: np.ndarray, label_of: np.ndarray) -> float | None:
    """Mean cosine silhouette, None if it is not defined (one label, or one item per label)."""
    if not 2 <= len(set(label_of.tolist())) < len(items):
        return None
    return float(silhouette_score(items, label_of, metric="cosine"))


def _style(number: int) -> dict:
    """Colour and marker of the group with this number, 40 different ones."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number // len(COLOURS) % len(MARKERS)],
    }


def _scatter(axes, points: np.ndarray, label_of: np.ndarray, names: list[str], shown) -> None:
    """The points of one part, one colour per name, on the extent of all points."""
    size = float(np.clip(12_000 / len(points), 5, 30))  # points squared
    for number, name in enumerate(names):
        chosen = points[shown & (label_of == name)]  # [item, 2]
        axes.scatter(*chosen.T, s=size, linewidths=0.6, alpha=0.75, **_style(number))
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.04 * (high - low)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    axes.set_xticks([])
    axes.set_yticks([])


def _legend(axes, group: str, names: list[str]) -> None:
    """The names beside the panel; a legend of more than 40 would outgrow it and repeat styles."""
    if len(names) > len(COLOURS) * len(MARKERS):
        axes.plot([], [], linestyle="", label=f"{len(names):,} classes,\nstyles repeat")
    else:
        for number, name in enumerate(names):
            axes.scatter([], [], s=25, label=name, **_style(number))
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        title=group,
        ncols=1 + (len(names) - 1) // 14 if len(names) <= 40 else 1,
        frameon=False,
        fontsize=8,
        handletextpad=0.2,
    )


def save(figure: Figure, path: str | Path, title: str) -> None:
    """Write the PNG beside `path`, then move it there: no reader sees half a figure."""
    path = Path(path)
    figure.suptitle(_wrapped(title, figure, fontsize=12), fontsize=12)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a label between dollar signs is no formula
    fonts.suit(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        FigureCanvasAgg(figure).print_figure(unfinished, format="png", dpi=DPI)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _wrapped(text: str, figure: Figure, fontsize: float) -> str:
    """The text in lines that fit the figure: a character is about 0.6 of its size wide."""
    return textwrap.fill(text, int(72 * figure.get_figwidth() / (0.6 * fontsize)))
