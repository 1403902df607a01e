"""How members of an ensemble and their combinations fare: tables for evaluate_ensemble.py."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import classification_report, confusion_matrix

from speechbrain_ser import output
from speechbrain_ser.files import write_atomically
from speechbrain_ser.models.ensemble import combine, count_ties
from speechbrain_ser.results import metrics, plots

Probs = Mapping[str, torch.Tensor]  # member -> probabilities [utterance, class]


def combinations(names: Sequence[str], sizes: Iterable[int]) -> list[tuple[str, ...]]:
    """All combinations of these sizes, in order; all names together where no size fits."""
    subsets = [some for size in sizes for some in itertools.combinations(names, size)]
    return subsets or [tuple(names)]


def answer(
    probs: Probs, members: Sequence[str], vote: str, ties: str, weights: Mapping[str, float]
) -> torch.Tensor:
    """The probabilities [utterance, class] of some members together; see models.ensemble."""
    stacked = torch.stack([probs[name] for name in members])
    return combine(stacked, vote, ties, [weights[name] for name in members])


def standing(probs: torch.Tensor, targets: Sequence[int], labels: Sequence[str]) -> dict:
    """Scores with 95 % bootstrap intervals, of probs [utterance, class]."""
    predictions = probs.argmax(dim=1).tolist()
    scores = metrics.score(targets, predictions, labels)
    scored: dict[str, Any] = {}
    for name in ("WA", "UA"):
        low, high = metrics.bootstrap_interval(targets, predictions, labels, name)
        scored |= {name: scores[name], f"{name}_low": low, f"{name}_high": high}
    return scored | {"predictions": predictions}


def table(
    probs: Probs,
    targets: Sequence[int],
    labels: Sequence[str],
    tried: Sequence[tuple[str, ...]],
    vote: str,
    ties: str,
    weights: Mapping[str, float],
) -> list[dict]:
    """A row for each member and each combination: scores, ties, and McNemar's test.

    weights : member -> its score on validation; the best one is what every row is tested against
    """
    best = max(weights, key=weights.__getitem__)
    rows: list[dict[str, Any]] = [
        {"members": name, "size": 1, "ties": 0} | standing(probs[name], targets, labels)
        for name in probs
    ]
    reference = next(row["predictions"] for row in rows if row["members"] == best)
    for members in tried:
        together = answer(probs, members, vote, ties, weights)
        tied = count_ties(torch.stack([probs[name] for name in members])) if vote == "hard" else 0
        row: dict[str, Any] = {"members": " + ".join(members), "size": len(members), "ties": tied}
        rows.append(row | standing(together, targets, labels))
    for row in rows:
        p = metrics.mcnemar(targets, row["predictions"], reference)
        row["p_against_best_member"] = None if row["members"] == best else p
    return rows


def write(
    folder: Path,
    rows: Sequence[Mapping],
    targets: Sequence[int],
    labels: Sequence[str],
    chosen: str,
) -> None:
    """combinations.csv; of each member and the chosen combination confusion and report.

    rows : see `table`, with what else is to be in the csv
    """
    columns = [column for column in rows[0] if column != "predictions"]
    table = output.as_csv(columns, ([row[column] for column in columns] for row in rows))
    write_atomically(folder / "combinations.csv", table)
    reports = []
    for row in rows:
        name = row["members"]
        if row["size"] > 1 and name != chosen:
            continue
        numbers = range(len(labels))
        stem = "ensemble" if row["size"] > 1 else name
        confusion = confusion_matrix(targets, row["predictions"], labels=numbers)
        title = f"{name}: WA {row['WA']:.1f}, UA {row['UA']:.1f}"
        plots.confusion_matrix(confusion, labels, folder / f"confusion_{stem}.png", title)
        text = classification_report(
            targets, row["predictions"], labels=numbers, target_names=labels, zero_division=0
        )
        reports.append(f"{title}\n\n{text}")
    write_atomically(folder / "reports.txt", "\n".join(reports))
