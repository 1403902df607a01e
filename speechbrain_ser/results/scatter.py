"""Numbers as they are and as they were answered, a point for each utterance."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speechbrain_ser.results import canvas, dimensions

FEW_VALUES = 10  # of targets
WIDTH = 0.06  # of the range, over which points of one target are spread
Pairs = tuple[Sequence[float], Sequence[float]]  # targets and predictions, [utterance] each


def numbers(pairs: Mapping[str, Pairs], speakers: Sequence[str], path: Path, title: str) -> None:
    """A PNG with a panel for each number, target against prediction, and the diagonal.

    Of targets with few values the points would hide each other: each is moved sideways a little.

    pairs : number -> its targets and predictions
    speakers : of each utterance; up to eight have a colour each, more are all of one
    """
    names, of = np.unique(np.asarray(speakers), return_inverse=True)
    told_apart = len(names) <= len(canvas.COLOURS)
    figure = Figure(figsize=(1.6 + 4.2 * len(pairs), 5.0), layout="compressed")
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axes, (name, (targets, predictions)) in zip(panels, pairs.items(), strict=True):
        own, other = np.asarray(targets), np.asarray(predictions)
        low, high = min(own.min(), other.min()), max(own.max(), other.max())
        low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
        few = len(np.unique(own)) <= FEW_VALUES
        across = own + few * WIDTH * (high - low) * _spread(len(own))
        axes.plot([low, high], [low, high], color="0.6", linestyle="--", zorder=1)
        for number, speaker in enumerate(names if told_apart else ["all"]):
            mine = of == number if told_apart else np.ones(len(own), bool)
            axes.scatter(
                *(across[mine], other[mine]),
                **{"s": 14, "alpha": 0.5, "linewidths": 0, "zorder": 2},
                color=canvas.COLOURS[number],
                label=speaker,
            )
        scores = dimensions.score(own, other)
        axes.set_title(f"{name}: CCC {scores['CCC']:.3f}", fontsize=11)
        axes.set_xlabel("target (each point moved a little)" if few else "target")
        axes.set_ylabel("prediction")
        axes.set_aspect("equal")
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    if told_apart and len(names) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9
        )
        for handle in filter(None, legend.legend_handles):
            handle.set_alpha(1)
    canvas.save(figure, path, title)


def _spread(count: int) -> np.ndarray:
    """Evenly spread places between -0.5 and 0.5, neighbours far apart: the golden section's."""
    return (np.arange(count) * 0.618034) % 1 - 0.5
