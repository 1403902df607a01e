"""What a recognizer answers: an emotion of a recording or a part of it, and parts joined."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_ser.errors import InputError

UNSURE = "unsure"


@dataclass(frozen=True)
class Emotion:
    """One recording's result, or a segment's: the label, and a probability for each label.

    start and end are in seconds. Of silence the label is None and there are no probabilities; where
    the recognizer is told to be unsure the label is "unsure".
    """

    label: str | None
    probs: dict[str, float]
    start: float = 0.0
    end: float = 0.0


def named(
    probs: Sequence[float],
    labels: Sequence[str],
    path: str | Path,
    start: float = 0.0,
    end: float = 0.0,
    unsure_below: float = 0.0,
) -> Emotion:
    """The most probable label, or "unsure" where it is less probable than unsure_below.

    path : of the recording, for the error

    Raises InputError for probabilities that are no numbers: the largest of them names nothing.
    """
    if not all(map(math.isfinite, probs)):
        raise InputError(
            f"{path}: the model gives probabilities that are NaN or infinite: its weights are "
            "broken or do not suit this recording, so train or fetch it again"
        )
    of_labels = dict(zip(labels, probs, strict=True))
    label = max(of_labels, key=of_labels.get)
    sure = of_labels[label] >= unsure_below
    return Emotion(label if sure else UNSURE, of_labels, start, end)


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
    """Parts of a recording, in order -> segments: neighbours with the same label are one."""
    segments: list[Emotion] = []
    for part in parts:
        if not segments or segments[-1].label != part.label:
            segments.append(part)
            continue
        last = segments[-1]
        long, more = last.end - last.start, part.end - part.start
        probs = {
            label: (last.probs[label] * long + part.probs[label] * more) / (long + more)
            for label in part.probs
        }
        segments[-1] = Emotion(part.label, probs, last.start, part.end)
    return segments
