"""How well numbers are answered: valence, arousal, dominance, intensity and their like.

CCC is the concordance of all the utterances together, never a mean over batches or speakers; beside
it stand Pearson's correlation and the mean squared error. CCC and correlation go from -1 to 1.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from speechbrain_ser.results import metrics

METRICS = ("CCC", "pearson", "MSE")


def score(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Numbers of each utterance -> {"CCC", "pearson", "MSE"}; a correlation with a constant is 0.

    Raises InputError for what is not finite.
    """
    own, other = np.asarray(targets, np.float64), np.asarray(predictions, np.float64)
    concordance = metrics.concordance(own, other)
    constant = own.min() == own.max() or other.min() == other.max()
    return {
        "CCC": concordance,
        "pearson": 0.0 if constant else float(np.corrcoef(own, other)[0, 1]),
        "MSE": float(((own - other) ** 2).mean()),
    }


def scores(
    names: Sequence[str], targets: Sequence[Sequence[float]], predictions: Sequence[Sequence[float]]
) -> dict[str, float]:
    """targets, predictions [utterance, number] -> "CCC", the mean over the numbers, and each's own.

    Those are "CCC_valence", "pearson_valence", "MSE_valence" and so on.
    """
    columns = zip(names, np.transpose(targets), np.transpose(predictions), strict=True)
    of = {name: score(own, other) for name, own, other in columns}
    mean = float(np.mean([one["CCC"] for one in of.values()]))
    own = {f"{metric}_{name}": one[metric] for metric in METRICS for name, one in of.items()}
    return {"CCC": mean} | own


def names_of(results: Mapping) -> list[str]:
    """The numbers that a run's results.json scores."""
    return [key.removeprefix("MSE_") for key in results if key.startswith("MSE_")]


def shown(results: dict) -> list[str]:
    """The scores of a run's numbers that its table shows: CCC, of several also each one's."""
    names = names_of(results)
    of_each = [f"CCC_{name}" for name in names] if len(names) > 1 else []
    return ["CCC", *of_each] if names else []


def told(name: str, value: float) -> str:
    """A score in as many digits as it is worth: percentages in two, concordance in three."""
    return f"{value:.3f}" if name.startswith((*METRICS, "KL")) else f"{value:.2f}"


def bootstrap_speakers(
    targets: ArrayLike,
    answers: np.ndarray,
    speakers: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """CCC of each system when whole speakers are drawn again with replacement: [system, draw].

    targets [utterance], answers [system, utterance]. The systems share the draws, so that their
    differences are paired; a draw without any spread is NaN.
    """
    names, of = np.unique(np.asarray(speakers), return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=draws
    )  # [draw, speaker]: how often each was drawn
    own = np.asarray(targets, np.float64)
    centre = own.mean()  # sums of squares around it lose no digits
    return np.stack([_of_draws(own - centre, row - centre, of, drawn) for row in answers])


def _of_draws(own: np.ndarray, other: np.ndarray, of: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """own, other [utterance], the speaker's number of each, drawn [draw, speaker] -> CCC [draw]."""
    terms = (np.ones_like(own), own, other, own * own, other * other, own * other)
    count, *sums = (drawn @ np.bincount(of, weights=term) for term in terms)  # [draw] each
    mean, other_mean, square, other_square, product = (total / count for total in sums)
    covariance = product - mean * other_mean
    spread = square - mean**2 + other_square - other_mean**2 + (mean - other_mean) ** 2
    return np.where(spread > 0, 2 * covariance / np.where(spread > 0, spread, 1), math.nan)
