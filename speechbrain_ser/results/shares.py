"""How well the shares of several annotators are answered, beside the label of most of them.

KL is the mean divergence of the probabilities from the shares, in nats; 0 is the best. F1_shares
counts labels as EMO-SUPERB does (Wu et al. 2024): a label is there where its share is above one in
as many as there are labels, and answered where its probability is; the labels' F1 are averaged as
in metrics, in percent. An utterance may so have several labels, or none. The authors' code scores
each batch by itself, and a label that is neither there nor answered with 0; here it has no F1.
"""

import numpy as np

METRICS = ("KL", "F1_shares")


def score(shares: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """shares, probs [utterance, class] -> {"KL", "F1_shares"}."""
    shares, probs = np.asarray(shares, np.float64), np.asarray(probs, np.float64)
    logs = np.log(np.maximum(shares, 1e-12)) - np.log(np.maximum(probs, 1e-12))
    least = 1 / shares.shape[1]
    there, answered = shares > least, probs > least
    both = 2 * (there & answered).sum(axis=0)  # [class]
    either = there.sum(axis=0) + answered.sum(axis=0)
    f1 = 100 * both[either > 0] / either[either > 0]
    return {
        "KL": float((shares * logs).sum(axis=1).mean()),
        "F1_shares": float(f1.mean()) if len(f1) else 0.0,
    }
