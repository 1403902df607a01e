"""The table of networks trained on some corpora and tested on others."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from speechbrain_ser.results import groups, metrics
from speechbrain_ser.results.summary import Predictions, interval

GROUPED = ("gender", "language")  # fields of a manifest


def cells(
    predictions: Predictions,
    manifest: Mapping[str, dict],
    degraded: Mapping[str, Predictions] | None = None,
) -> list[dict]:
    """A cell for each tested corpus, which is the session of its utterances.

    degraded : name of a condition -> the answers to the same utterances under it

    Each has "test", "utterances", "speakers", "WA", "UA", "F1" and "confusion" (means and sum over
    the seeds), "interval" of the UA over speakers, UA by "gender" and "language", the "speaker"
    spread, and {condition: {"WA", "UA", "F1"}}.
    """
    sessions = np.array([manifest[utt_id]["session"] for utt_id in predictions.ids])
    found = []
    for corpus in sorted(set(sessions)):
        own = sessions == corpus
        part = predictions.where(own)
        cell = {"test": corpus, "utterances": len(part.ids), "speakers": len(set(part.speakers))}
        cell |= _scores(part)
        cell["interval"] = interval(part)
        for field in GROUPED:
            values = [manifest[utt_id].get(field, "") for utt_id in part.ids]
            cell[field] = _by_group(part, values)
        by_speaker = _by_group(part, part.speakers)
        cell["speaker"] = groups.spread({name: {"UA": ua} for name, ua in by_speaker.items()})
        cell["conditions"] = {
            name: _scores(answers.where(own)) for name, answers in (degraded or {}).items()
        }
        found.append(cell)
    return found


def _scores(part: Predictions) -> dict:
    """Means over seeds, and the confusion of all of them."""
    of_seeds = [metrics.score(part.targets, answers, part.labels) for answers in part.answers]
    means = {name: float(np.mean([own[name] for own in of_seeds])) for name in metrics.METRICS}
    confusion = np.sum([own["confusion"] for own in of_seeds], axis=0)
    return means | {"confusion": confusion.tolist()}


def _by_group(part: Predictions, values: ArrayLike) -> dict[str, float]:
    """Group -> its UA, the mean over seeds."""
    of_seeds = [
        groups.scores(part.targets, answers, values, part.labels) for answers in part.answers
    ]
    return {name: float(np.mean([own[name]["UA"] for own in of_seeds])) for name in of_seeds[0]}


def page(cells: Sequence[Mapping], said: Sequence[str]) -> str:
    """The cells as tables in Markdown, below the lines of `said`."""
    conditions = list(cells[0]["conditions"])
    columns = ["trained on", "tested on", "utterances", "speakers", "WA", "UA", "95 % interval"]
    columns += ["F1", "UA women", "UA men", "worst speaker", "best speaker"]
    rows = []
    for cell in cells:
        low_high = "{:.1f} to {:.1f}".format(*cell["interval"]) if cell["interval"] else ""
        spread = cell["speaker"] or {"worst": ["", None], "best": ["", None]}
        rows.append(
            [
                *(cell["train"], cell["test"], f"{cell['utterances']:,}", str(cell["speakers"])),
                *(_number(cell["WA"]), _number(cell["UA"]), low_high, _number(cell["F1"])),
                *(_number(cell["gender"].get(gender)) for gender in "FM"),
                *(_number(spread[end][1]) for end in ("worst", "best")),
            ]
        )
    text = [*said, "", _table(columns, rows, left=2)]
    if any(len(cell["language"]) > 1 for cell in cells):
        languages = sorted({language for cell in cells for language in cell["language"]})
        rows = [
            [cell["train"], cell["test"], *(_number(cell["language"].get(x)) for x in languages)]
            for cell in cells
        ]
        text += ["", _table(["trained on", "tested on", *(f"UA {x}" for x in languages)], rows, 2)]
    if conditions:
        rows = [
            [
                *(cell["train"], cell["test"], _number(cell["UA"])),
                *(_number(cell["conditions"][name]["UA"]) for name in conditions),
            ]
            for cell in cells
        ]
        columns = ["trained on", "tested on", "as recorded", *conditions]
        text += ["", "UA under noise and codecs:", "", _table(columns, rows, left=2)]
    return "\n".join(text) + "\n"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A table of which the first `left` columns are texts."""
    marks = ["---"] * left + ["---:"] * (len(columns) - left)
    return "\n".join(f"| {' | '.join(line)} |" for line in (columns, marks, *rows))
