"""Whether a probability is the share of right answers (Guo et al. 2017)."""

import numpy as np
from scipy.optimize import minimize_scalar


def temperature(probs: np.ndarray, targets: np.ndarray) -> float:
    """probs [utterance, class], targets [utterance] -> what to divide their logits by.

    Of 0.1 to 10 the one of the least mean negative log-likelihood.
    """
    logs = np.log(np.clip(probs, 1e-12, None))

    def loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        log_sums = np.logaddexp.reduce(scaled, axis=1)
        return float(np.mean(log_sums - scaled[np.arange(len(targets)), targets]))

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.1, 10]), method="bounded").x))


def cooled(probs: np.ndarray, temperature: float) -> np.ndarray:
    """probs [utterance, class] -> those of logits divided by the temperature."""
    logs = np.log(np.clip(probs, 1e-12, None)) / temperature
    return np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))


def expected_error(probs: np.ndarray, targets: np.ndarray, bins: int = 15) -> float:
    """The expected calibration error: between confidence and accuracy, over bins of confidence."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[number == own].mean() - right[number == own].mean()) * (number == own).mean()
        for own in np.unique(number)
    ]
    return float(sum(gaps))
