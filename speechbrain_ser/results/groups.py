"""Scores by groups of utterances: of each gender, speaker, language or corpus."""

from collections.abc import Mapping, Sequence

import numpy as np

from speechbrain_ser.results import metrics


def scores(
    targets: Sequence[int], answers: Sequence[int], groups: Sequence[str], labels: Sequence[str]
) -> dict[str, dict]:
    """Group, sorted -> its metrics.score and "utterances"; utterances of the group "" are in none.

    targets, answers [utterance] : class numbers
    """
    targets, answers = np.asarray(targets), np.asarray(answers)
    names = np.asarray(groups)
    of_group = {}
    for name in sorted(set(groups) - {""}):
        own = names == name
        of_group[name] = metrics.score(targets[own], answers[own], labels)
        of_group[name]["utterances"] = int(own.sum())
    return of_group


def spread(of_group: Mapping[str, Mapping], metric: str = "UA") -> dict | None:
    """How much groups differ: {"worst", "best": [name, value], "mean", "sd"}; None for fewer than 2.

    "sd" is the sample deviation over the groups. Of groups that are equal the first is named.
    """
    if len(of_group) < 2:
        return None
    values = {name: own[metric] for name, own in of_group.items()}
    worst, best = min(values, key=values.get), max(values, key=values.get)
    numbers = list(values.values())
    return {
        "worst": [worst, values[worst]],
        "best": [best, values[best]],
        "mean": float(np.mean(numbers)),
        "sd": float(np.std(numbers, ddof=1)),
    }
