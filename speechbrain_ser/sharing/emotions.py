"""What a recognizer answers: an emotion of a recording or a part of it, and parts joined."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechbrain_ser.errors import InputError

UNSURE = "unsure"


@dataclass(frozen=True)
class Emotion:
    """One recording's result, or a segment's: the label, and a probability for each label.

    A model that answers numbers, such as valence, has a value for each of them; if it answers
    nothing else, the label is None and there are no probabilities. start and end are in seconds.
    Of silence the label is None and there are neither; where the model is less sure than its
    threshold, or the recognizer's, the label is "unsure".
    """

    label: str | None
    probs: dict[str, float]
    start: float = 0.0
    end: float = 0.0
    values: dict[str, float] = field(default_factory=dict)


def chosen_of(known: Sequence[str], labels: Sequence[str]) -> list[int]:
    """The numbers of some labels among those that a model knows, in the order given.

    Raises InputError for a label that it does not know, one that is there twice, and fewer than
    two: there would be nothing to tell apart.
    """
    labels = [labels] if isinstance(labels, str) else list(labels)
    for label in labels:
        if label not in known:
            raise InputError(f"labels has {label!r}: this model knows {', '.join(known)}")
    if len({*labels}) < max(2, len(labels)):
        raise InputError(
            f"labels is {', '.join(labels) or 'empty'}: give two or more of {', '.join(known)}, "
            "each once"
        )
    return [known.index(label) for label in labels]


def named(
    answer: Sequence[float],
    labels: Sequence[str],
    path: str | Path,
    start: float = 0.0,
    end: float = 0.0,
    unsure_below: float = 0.0,
    numbers: Sequence[str] = (),
) -> Emotion:
    """The most probable label, or "unsure" where it is less probable than unsure_below.

    answer : a probability for each label, then a value for each of the numbers
    path : of the recording, for the error

    Raises InputError for probabilities that are no numbers: the largest of them names nothing.
    """
    if not all(map(math.isfinite, answer)):
        raise InputError(
            f"{path}: the model gives probabilities that are NaN or infinite: its weights are "
            "broken or do not suit this recording, so train or fetch it again"
        )
    of_labels = dict(zip(labels, answer[: len(labels)], strict=True))
    values = dict(zip(numbers, answer[len(labels) :], strict=True))
    if not of_labels:
        return Emotion(None, {}, start, end, values)
    label = max(of_labels, key=of_labels.__getitem__)
    sure = of_labels[label] >= unsure_below
    return Emotion(label if sure else UNSURE, of_labels, start, end, values)


def means(
    of_windows: Sequence[list[float] | None], seconds: float, window: float, hop: float, smooth: int
) -> Iterator[tuple[float, float, list[float]]]:
    """Start, end and probabilities of each hop of a recording: the mean of what windows hold it.

    of_windows : the probabilities of each window, None of silence
    smooth : as many neighbouring windows are averaged, too

    A hop that only silent windows hold has no probabilities.
    """
    across = max(1, math.ceil(window / hop))  # windows that hold a hop
    for step in range(math.ceil(seconds / hop)):
        held = of_windows[max(0, step - across + 1) : step + 1]
        near = of_windows[max(0, step - across + 1 - smooth // 2) : step + 1 + smooth // 2]
        heard = [probs for probs in near if probs is not None]
        if all(probs is None for probs in held):
            heard = []
        mean = [sum(values) / len(heard) for values in zip(*heard, strict=True)]
        yield step * hop, min((step + 1) * hop, seconds), mean


def joined(parts: Iterable[Emotion]) -> list[Emotion]:
    """Parts of a recording, in order -> segments: neighbours with the same label are one.

    Parts without a label that have values, the answers of numbers alone, stay as they are.
    """
    segments: list[Emotion] = []
    for part in parts:
        last = segments[-1] if segments else None
        if last is None or last.label != part.label or not part.label and _has_values(last, part):
            segments.append(part)
            continue
        long, more = last.end - last.start, part.end - part.start
        probs, values = (
            {name: (one[name] * long + other[name] * more) / (long + more) for name in other}
            for one, other in ((last.probs, part.probs), (last.values, part.values))
        )
        segments[-1] = Emotion(part.label, probs, last.start, part.end, values)
    return segments


def _has_values(*parts: Emotion) -> bool:
    return any(part.values for part in parts)
