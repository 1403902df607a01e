"""The figure of embeddings in two dimensions, and their silhouettes."""

from collections.abc import Sequence, Sized
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import canvas


def draw(
    embedding: np.ndarray,
    groups: dict[str, Sequence[str]],
    path: str | Path,
    title: str,
    seed: int = 1000,
    perplexity: float = 20,
    parts: Sequence[str] | None = None,
    size: canvas.Size | None = None,
) -> dict:
    """embedding [item, dim] -> a figure of its t-SNE, and the silhouettes of the embedding itself.

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
    labels: dict[str, Sized] = {**groups, "part": part_of}
    for name, values in labels.items():
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
        names = [names[at] for at in canvas.order(names)]
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
    figure.supxlabel(canvas.wrapped(caption, figure, fontsize=9), fontsize=9)
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.08)  # inches
    canvas.save(figure, path, title, size)
    return {"silhouette": silhouettes, "points": points}


def _silhouette(items: np.ndarray, label_of: np.ndarray) -> float | None:
    """Mean cosine silhouette, None if it is not defined (one label, or one item per label)."""
    if not 2 <= len(set(label_of.tolist())) < len(items):
        return None
    return float(silhouette_score(items, label_of, metric="cosine"))


def _scatter(axes, points: np.ndarray, label_of: np.ndarray, names: list[str], shown) -> None:
    """The points of one part, one colour per name, on the extent of all points."""
    size = float(np.clip(12_000 / len(points), 5, 30))  # points squared
    for number, name in zip(canvas.numbers(names), names, strict=True):
        chosen = points[shown & (label_of == name)]  # [item, 2]
        axes.scatter(*chosen.T, s=size, linewidths=0.6, alpha=0.75, **canvas.style(number))
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.04 * (high - low)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    axes.set_xticks([])
    axes.set_yticks([])


def _legend(axes, group: str, names: list[str]) -> None:
    """The names beside the panel; a legend of more than 40 would outgrow it and repeat styles."""
    if len(names) > len(canvas.COLOURS) * len(canvas.MARKERS):
        axes.plot([], [], linestyle="", label=f"{len(names):,} classes,\nstyles repeat")
    else:
        for number, name in zip(canvas.numbers(names), names, strict=True):
            axes.scatter([], [], s=25, label=name, **canvas.style(number))
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        title=group,
        ncols=1 + (len(names) - 1) // 14 if len(names) <= 40 else 1,
        frameon=False,
        fontsize=8,
        handletextpad=0.2,
    )
