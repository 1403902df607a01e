"""The figure of a run's calibration: how often answers of a confidence are right."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from speechbrain_ser.results import calibration, canvas


def of_run(results: Mapping, rows: Sequence[Mapping], path: str | Path, title: str) -> None:
    """Write the figure of a run's test part; with a temperature also what it was without.

    results : of results.json
    rows : of predictions.csv
    """
    labels = results["labels"]
    probs = np.array([[row[label] for label in labels] for row in rows])
    number = {label: position for position, label in enumerate(labels)}
    targets = np.array([number[row["target"]] for row in rows])
    shown = {f"ECE {results['ECE']:.1f} %": probs}
    if "temperature" in results:  # logits over a temperature are these logs times it
        before = calibration.cooled(calibration.logs(probs), 1 / results["temperature"])
        shown[f"without the temperature: {results['ECE_before']:.1f} %"] = before
    draw(shown, targets, path, title, results.get("unsure", {}).get("below"))


def draw(
    shown: Mapping[str, np.ndarray],
    targets: np.ndarray,
    path: str | Path,
    title: str,
    unsure_below: float | None = None,
) -> None:
    """Confidence against accuracy in equally full bins, and a histogram of confidence below: a PNG.

    shown : name -> probs [utterance, class], the model's own first, of which the histogram is
    targets : class numbers [utterance]
    unsure_below : a probability, marked by a line

    A bar is the 95 % interval of a bin's accuracy (Wilson): of few utterances it is wide.
    """
    figure = Figure(figsize=(5.2, 6.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 100], [0, 100], color="0.6", linestyle=":", label="calibrated")
    (own, probs), *others = shown.items()
    found = calibration.bins(probs, targets)
    _, confidence, accuracy = np.array(found).T  # [bin] each
    bounds = [
        binomtest(round(size * right / 100), size).proportion_ci(method="wilson")
        for size, _, right in found
    ]
    low, high = 100 * np.array([(bound.low, bound.high) for bound in bounds]).T
    above.errorbar(
        confidence,
        accuracy,
        yerr=np.maximum([accuracy - low, high - accuracy], 0),
        color=canvas.COLOURS[0],
        marker="o",
        elinewidth=1,
        capsize=2,
        zorder=3,
        label=own,
    )
    for name, before in others:
        _, *points = np.array(calibration.bins(before, targets)).T
        above.plot(*points, color="0.45", marker="^", markerfacecolor="white", ls="--", label=name)
    confidence = 100 * probs.max(axis=1)
    below.hist(confidence, bins=np.linspace(0, 100, 21), color=canvas.COLOURS[0], edgecolor="white")
    if unsure_below:
        for axes in (above, below):
            axes.axvline(100 * unsure_below, color="black", linestyle="-.", linewidth=1)
        above.plot([], [], color="black", linestyle="-.", label="unsure below")
    above.set(xlim=(0, 100), ylim=(-3, 103), ylabel="right answers (%)")
    below.set(xlabel="probability of the answer (%)", ylabel="utterances")
    above.grid(color="0.9")
    above.legend(loc="upper left", frameon=False, fontsize=9)
    canvas.save(figure, path, title)
