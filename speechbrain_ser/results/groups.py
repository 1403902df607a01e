"""Scores by groups of utterances: of each gender, speaker, language or corpus."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from speechbrain_ser.results import metrics

COMPARED = ("gender", "language")  # fields of the manifest: UA of each value
LEAST = 2  # speakers of a gender that are drawn again


def scores(
    targets: ArrayLike, answers: ArrayLike, groups: ArrayLike, labels: Sequence[str]
) -> dict[str, dict]:
    """Group, sorted -> its metrics.score and "utterances"; utterances of the group "" are in none.

    targets, answers [utterance] : class numbers
    """
    wanted, answered = np.asarray(targets), np.asarray(answers)
    names = np.asarray(groups)
    of_group = {}
    for name in sorted({*names.tolist()} - {""}):
        own = names == name
        of_group[name] = metrics.score(wanted[own], answered[own], labels)
        of_group[name]["utterances"] = int(own.sum())
    return of_group


def spread(of_group: Mapping[str, Mapping], metric: str = "UA") -> dict | None:
    """How groups differ: {"worst", "best": [name, value], "mean", "sd"}; None for fewer than 2.

    "sd" is the sample deviation over the groups. Of groups that are equal the first is named.
    """
    if len(of_group) < 2:
        return None
    values = {name: own[metric] for name, own in of_group.items()}
    worst, best = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    numbers = list(values.values())
    return {
        "worst": [worst, values[worst]],
        "best": [best, values[best]],
        "mean": float(np.mean(numbers)),
        "sd": float(np.std(numbers, ddof=1)),
    }


def fairness(
    targets: ArrayLike,
    answers: ArrayLike,
    entries: Sequence[Mapping],
    labels: Sequence[str],
) -> dict[str, dict]:
    """Whether a model serves one group as well as another: UA of each, of the utterances tested.

    targets, answers [utterance] : class numbers
    entries [utterance] : of the manifest

    Returns, as far as the manifest knows two of a kind, {"gender", "language": {value: UA}, "gap":
    see `gap`, "speaker": {"worst", "best", "mean", "sd"}}; speakers are not named, for the results
    are published with a model.
    """
    known: dict[str, dict] = {}
    for field in COMPARED:
        own = scores(targets, answers, [entry.get(field, "") for entry in entries], labels)
        if len(own) > 1:
            known[field] = {name: one["UA"] for name, one in own.items()}
    speakers = [entry.get("speaker", "") for entry in entries]
    if len(known.get("gender", {})) == 2:
        genders = [entry["gender"] for entry in entries]
        known["gap"] = gap(targets, answers, genders, speakers)
    if by_speaker := spread(scores(targets, answers, speakers, labels)):
        by_speaker |= {end: by_speaker[end][1] for end in ("worst", "best")}
        known["speaker"] = by_speaker
    return {name: value for name, value in known.items() if value}


def gap(
    targets: ArrayLike,
    answers: ArrayLike,
    groups: ArrayLike,
    speakers: ArrayLike,
    level: float = 0.95,
) -> dict:
    """How much UA of one of two groups is above the other's, over the classes that both have.

    Returns {"of": the two groups, sorted, "UA": the first's minus the second's, "speakers": how
    many each has, "interval": [low, high] when each group's speakers are drawn again among
    themselves}; {} without a class in common. "interval" is None where a group has fewer than LEAST
    speakers or unknown ones. Of so few speakers as one fold tests it is too narrow.
    """
    wanted, answered = np.asarray(targets), np.asarray(answers)
    names, voices = np.asarray(groups), np.asarray(speakers)
    of = sorted({*names.tolist()} - {""})
    common = set(wanted[names == of[0]]) & set(wanted[names == of[1]])
    if not common:
        return {}
    means, draws, counts = [], [], []
    for seed, name in enumerate(of):  # a seed each: the same draws would not be independent
        own = (names == name) & np.isin(wanted, list(common))
        drawn = (wanted[own], answered[None, own], voices[own])
        recalls = [np.mean(answered[own & (wanted == k)] == k) for k in common]
        means.append(100 * float(np.mean(recalls)))
        counts.append(len(set(voices[own]) - {""}))
        if counts[-1] >= LEAST and "" not in voices[own]:
            draws.append(metrics.bootstrap_speakers(*drawn, seed=seed)[0])
    interval = None
    if len(draws) == 2:
        differences = draws[0] - draws[1]
        ends = np.nanquantile(differences, [(1 - level) / 2, (1 + level) / 2])
        interval = [float(end) for end in ends]
    return {"of": of, "UA": means[0] - means[1], "speakers": counts, "interval": interval}


def told(fairness: Mapping) -> list[str]:
    """Lines that say what `fairness` found, for people."""
    lines = []
    for field in COMPARED:
        if field in fairness:
            values = ", ".join(f"{name} {value:.2f}" for name, value in fairness[field].items())
            lines.append(f"UA by {field}: {values}")
    if between := fairness.get("gap"):
        (one, other), ends = between["of"], between["interval"]
        said = "too few speakers for an interval"
        if ends:
            speakers = " and ".join(map(str, between["speakers"]))
            said = f"95 % over {speakers} speakers {ends[0]:+.2f} to {ends[1]:+.2f}"
        lines.append(f"UA of {one} above that of {other}: {between['UA']:+.2f} ({said})")
    if speaker := fairness.get("speaker"):
        lines.append(
            f"UA by speaker: {speaker['worst']:.2f} to {speaker['best']:.2f}, "
            f"mean {speaker['mean']:.2f}, sd {speaker['sd']:.2f}"
        )
    return lines
