"""Whether a probability is the share of right answers (Guo et al. 2017), and when to be unsure.

ECE is the expected calibration error, in results.json in percent; NLL the negative log-likelihood,
in nats.
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar

LEAST = 1e-12  # a probability below counts as this: a hard vote's may be 0
MOST_BINS, IN_A_BIN = 10, 20  # of the figure: equally full, of some twenty utterances


def temperature(logits: np.ndarray, wanted: np.ndarray) -> float:
    """What to divide logits by: of 0.1 to 10 what makes the wanted classes most likely.

    logits [utterance, class], or logs of probabilities; wanted: class numbers [utterance], or
    shares [utterance, class]. One utterance in as many as there are and two counts as unknown
    (Platt 1999), so that a small validation without a mistake makes no answer certain.
    """
    logits, wanted = np.asarray(logits, np.float64), _shares(wanted, np.shape(logits)[1])
    unknown = 1 / (len(logits) + 2)
    wanted = (1 - unknown) * wanted + unknown / logits.shape[1]

    def loss(log_temperature: float) -> float:
        return _likelihood(_log_softmax(logits / np.exp(log_temperature)), wanted)

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.1, 10]), method="bounded").x))


def cooled(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """logits, or logs of probabilities, [utterance, class] -> probabilities at a temperature."""
    return np.exp(_log_softmax(np.asarray(logits, np.float64) / temperature))


def logs(probs: np.ndarray) -> np.ndarray:
    """probs [utterance, class] -> their logs, which stand for logits."""
    return np.log(np.maximum(np.asarray(probs, np.float64), LEAST))


def expected_error(probs: np.ndarray, targets: np.ndarray, bins: int = 15) -> float:
    """The ECE: between confidence and accuracy, over equally wide bins of confidence; a share."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[number == own].mean() - right[number == own].mean()) * (number == own).mean()
        for own in np.unique(number)
    ]
    return float(sum(gaps))


def likelihood(probs: np.ndarray, wanted: np.ndarray) -> float:
    """The NLL of class numbers [utterance], or of shares [utterance, class]; the lower the better.

    probs : [utterance, class]
    """
    return _likelihood(logs(probs), _shares(wanted, probs.shape[1]))


def scores(
    logits: np.ndarray, temperature: float | None, targets: np.ndarray, wanted: np.ndarray
) -> dict:
    """For results.json: "calibration", ECE and NLL; and where there is a temperature also that,
    and both without it.

    logits [utterance, class], or logs of probabilities; targets [utterance] of class numbers;
    wanted as of `temperature`
    """
    probs = cooled(logits, temperature or 1.0)
    found = {
        "calibration": "validation" if temperature else "none",
        "ECE": 100 * expected_error(probs, targets),
        "NLL": likelihood(probs, wanted),
    }
    if temperature:
        before = cooled(logits)
        found |= {
            "temperature": temperature,
            "ECE_before": 100 * expected_error(before, targets),
            "NLL_before": likelihood(before, wanted),
        }
    return found


def threshold(probs: np.ndarray, targets: np.ndarray, error: float) -> float | None:
    """The smallest confidence of which the answers, with all that are surer, err at most so often.

    probs [utterance, class], targets [utterance], error: a share. It lies halfway to the next less
    sure answer, so that rounding changes none; 0 where all may be answered, None where not even
    the surest.
    """
    confidence = probs.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    sure = confidence[order]
    wrong = np.cumsum(probs.argmax(axis=1)[order] != targets[order])
    counts = np.arange(1, len(sure) + 1)
    last = np.append(sure[1:] < sure[:-1], True)  # of those that are equally sure
    fits = np.flatnonzero(last & (wrong <= error * counts + 1e-9))
    if not len(fits):
        return None
    final = fits[-1]
    return 0.0 if final == len(sure) - 1 else float((sure[final] + sure[final + 1]) / 2)


def unsure(probs: np.ndarray, targets: np.ndarray, below: float) -> dict:
    """For results.json what a threshold leaves: {"below", "coverage", "error"}.

    probs [utterance, class], targets [utterance]; in percent, of the utterances and of those that
    are answered, None where there are none.
    """
    answered = probs.max(axis=1) >= below
    wrong = probs.argmax(axis=1) != targets
    share = float(100 * wrong[answered].mean()) if answered.any() else None
    return {"below": below, "coverage": float(100 * answered.mean()), "error": share}


def bins(probs: np.ndarray, targets: np.ndarray) -> list[tuple[int, float, float]]:
    """Of equally full bins of confidence: utterances, mean confidence and accuracy in percent.

    The fewer utterances, the fewer bins: each holds some twenty.
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    order = np.argsort(confidence, kind="stable")
    number = min(MOST_BINS, max(1, len(order) // IN_A_BIN))
    return [
        (len(own), float(100 * confidence[own].mean()), float(100 * right[own].mean()))
        for own in np.array_split(order, number)
    ]


def told(results: Mapping) -> list[str]:
    """Lines that say what results.json holds of calibration and of unsure answers."""
    if "ECE" not in results:
        return []
    lines = [
        f"calibration error {results['ECE']:.1f} %, negative log-likelihood {results['NLL']:.3f}"
    ]
    if "temperature" in results:
        lines[0] += (
            f" (without the temperature of {results['temperature']:.3f}: "
            f"{results['ECE_before']:.1f} % and {results['NLL_before']:.3f})"
        )
    chosen = results.get("unsure", {})
    if chosen.get("below") is not None:
        answered = "none is answered"
        if chosen["coverage"]:
            answered = f"{chosen['coverage']:.1f} % answered, {chosen['error']:.1f} % of them wrong"
        lines += [
            f"unsure below {chosen['below']:.3f}, chosen for {chosen['wanted_error']:g} % errors: "
            f"{answered}"
        ]
    return lines


def _shares(wanted: np.ndarray, classes: int) -> np.ndarray:
    wanted = np.asarray(wanted)
    return np.eye(classes)[wanted] if wanted.ndim == 1 else wanted.astype(np.float64)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _likelihood(logs: np.ndarray, wanted: np.ndarray) -> float:
    return float(-(wanted * logs).sum(axis=1).mean())
