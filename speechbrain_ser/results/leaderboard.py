"""Experiments side by side: what the runs found in a folder came to."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import dimensions, report, summary

COLUMNS = ("", "experiment", "corpus", "protocol", "folds", "seeds", "WA", "UA", "interval", "F1")
OTHERS = ("WER", "EER", "CCC")  # shown if some run measures them


def experiments(folder: Path) -> list[dict]:
    """A dict for each experiment with a complete run anywhere in the folder.

    Raises InputError if there is none.
    """
    folders = {path.parents[2] for path in folder.rglob(f"fold*/*/{report.COMPLETE}")}
    if not folders:
        raise InputError(
            f"{folder} holds no complete run: ser train mine.csv or ser run ROW makes one, and "
            "runs that are elsewhere are found with ser results FOLDER"
        )
    return [described(own, folder) for own in sorted(folders)]


def described(own: Path, folder: Path) -> dict:
    """One experiment's line, see COLUMNS, with "finished" in seconds since the epoch."""
    runs = summary.runs_of(own)
    facts = {
        "experiment": str(own.relative_to(folder)),
        "folder": own,
        "corpus": runs[0]["corpus"],
        "protocol": runs[0]["protocol"],
        "folds": _listed({run["fold"] for run in runs}),
        "seeds": _listed({run["seed"] for run in runs}),
        "labels": {tuple(sorted(run.get("labels") or dimensions.names_of(run))) for run in runs},
        "finished": max((run["folder"] / "results.json").stat().st_mtime for run in runs),
    }
    try:
        means = summary.over_runs(runs)
    except InputError as error:
        return facts | {"note": str(error)}
    facts |= {name: of["mean"] for name, of in means.items()}
    predictions = summary.predictions_of(runs)
    bounds = summary.interval(predictions) if predictions is not None else None
    digits = ".1" if "UA" in facts else ".3"  # of CCC, of runs that answer numbers alone
    shown = [f"{bound:{digits}f}" for bound in bounds or ()]
    return facts | ({"interval": " to ".join(shown)} if shown else {})


def table(found: Sequence[dict]) -> str:
    """The experiments as text, in columns; what is wrong with one stands below."""
    text = summary.in_columns(lines(found))
    notes = [f"{own['experiment']}: {own['note']}" for own in found if "note" in own]
    return "\n".join([text, *notes])


def lines(found: Sequence[Mapping]) -> list[list[str]]:
    """The table's cells, its head first; the first column marks the best of a group with *."""
    others = [name for name in OTHERS if any(name in own for own in found)]
    best: dict[tuple, Mapping] = {}
    for own in found:
        if score(own) > score(best.get(group(own), {})):
            best[group(own)] = own
    cells = [[*COLUMNS, *others, "finished"]]
    for own in found:
        star = "*" if best.get(group(own)) is own else ""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(own["finished"]))
        shown = (_cell(name, own.get(name)) for name in (*COLUMNS[1:], *others))
        cells.append([star, *shown, when])
    return cells


def score(own: Mapping) -> float:
    """What experiments of a group are compared by: UA, or of numbers CCC."""
    return own.get("UA", own.get("CCC", -math.inf))


def group(own: Mapping) -> tuple:
    """What experiments must have in common to be compared."""
    return own["corpus"], own["protocol"], own["folds"], frozenset(own["labels"])


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    return dimensions.told(name, value) if isinstance(value, float) else str(value)


def _listed(numbers: set[int]) -> str:
    """1 2 3 -> 1-3."""
    low, high = min(numbers), max(numbers)
    if len(numbers) > 2 and len(numbers) == high - low + 1:
        return f"{low}-{high}"
    return " ".join(map(str, sorted(numbers)))
