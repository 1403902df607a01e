"""What a model answered of the utterances of a part: scores, and the rows of predictions.csv."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from speechbrain_ser.data import targets as kinds
from speechbrain_ser.results import dimensions, metrics, shares

SIDES = ("target", "prediction")


def wanted(targets: Mapping[str, kinds.Target], batch) -> dict[str, list]:
    """What is recorded of a batch: a row per utterance of each of the `records` of `score`."""
    field, main = next(iter(targets.items()))
    rows = {}
    if main.kind != "numbers":
        rows["target"] = getattr(batch, f"{field}_id").tolist()
    if main.kind == "shares":
        rows["shares"] = main.of_batch(batch).tolist()
    if numbers := kinds.numbers_of(targets):
        # not as of_batch, whose single precision would show in predictions.csv
        columns = [getattr(batch, number.wanted).double() for number in numbers.values()]
        rows["numbers"] = torch.stack(columns, dim=1).tolist()
    return rows


def score(
    targets: Mapping[str, kinds.Target], records: Mapping, logits: torch.Tensor, head: Any
) -> dict:
    """The scores of the main target, and of all numbers.

    records : "target", the class numbers; "shares" [class] and "numbers" [number] of each
        utterance, where there are such targets
    logits : what the head gave, [utterance, output]
    """
    labels = next(iter(targets.values())).labels
    scores = {}
    if labels:
        predictions = logits[:, : len(labels)].argmax(dim=1).tolist()
        scores = metrics.score(records["target"], predictions, labels)
    if records["shares"]:
        scores |= shares.score(records["shares"], head.probs(logits))
    if numbers := kinds.numbers_of(targets):
        scores |= dimensions.scores(list(numbers), records["numbers"], head.values(logits))
    return scores


def pairs(table: Sequence[Mapping], field: str) -> tuple[list[float], list[float]]:
    """Targets and predictions of a number in `rows`, or in predictions.csv."""
    before = f"{field}_" if f"{field}_target" in table[0] else ""
    wanted, answered = ([float(row[f"{before}{side}"]) for row in table] for side in SIDES)
    return wanted, answered


def rows(
    targets: Mapping[str, kinds.Target], records: Mapping, logits: torch.Tensor, head: Any
) -> list[dict]:
    """A row per utterance: id, target, prediction, a probability per label, then the numbers.

    A number that is the main target is the row's target and prediction; others have columns of
    their own, <field>_target and <field>_prediction. Arguments as of `score`.
    """
    main, labels = next(iter(targets.items()))[0], next(iter(targets.values())).labels
    table = [{"id": utt_id} for utt_id in records["id"]]
    if labels:
        probs = head.probs(logits).tolist()
        for row, target, own in zip(table, records["target"], probs, strict=True):
            row |= {"target": labels[target], "prediction": labels[own.index(max(own))]}
            row |= dict(zip(labels, own, strict=True))
    if numbers := kinds.numbers_of(targets):
        values = head.values(logits).tolist()
        for row, wanted, own in zip(table, records["numbers"], values, strict=True):
            for field, target, value in zip(numbers, wanted, own, strict=True):
                before = "" if field == main else f"{field}_"
                row |= {f"{before}target": target, f"{before}prediction": value}
    return table
