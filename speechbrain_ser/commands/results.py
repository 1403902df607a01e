"""What your runs came to: a line for each experiment found in a folder.

ser results                       all in results/, the newest first
ser results /disk/results --corpus ravdess --by UA

Folds and seeds of an experiment are one line: the mean over folds of WA, UA and F1 (or of what else
it measures), and the 95 % interval of the UA when the test speakers are drawn again. * is the best
of the same corpus, labels, folds and protocol: others are not comparable.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import report, summary

COLUMNS = ("", "experiment", "corpus", "protocol", "folds", "seeds", "WA", "UA", "interval", "F1")
OTHERS = ("WER", "EER", "CCC")  # shown if some run measures them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=Path("results"), help="of runs (results)")
    add("--corpus", help="only runs on this one")
    add("--by", choices=("newest", "UA", "WA", "F1"), default="newest", help="order (%(default)s)")


def run(options: argparse.Namespace) -> None:
    found = experiments(options.folder)
    if options.corpus:
        corpora = sorted({own["corpus"] for own in found})
        found = [own for own in found if own["corpus"] == options.corpus]
        if not found:
            raise InputError(f"no run is on {options.corpus}: use one of {', '.join(corpora)}")
    key = "finished" if options.by == "newest" else options.by
    found.sort(key=lambda own: own.get(key) or 0, reverse=True)
    print(table(found))


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
        "corpus": runs[0]["corpus"],
        "protocol": runs[0]["protocol"],
        "folds": _listed({run["fold"] for run in runs}),
        "seeds": _listed({run["seed"] for run in runs}),
        "labels": {tuple(sorted(run.get("labels", ()))) for run in runs},
        "finished": max((run["folder"] / "results.json").stat().st_mtime for run in runs),
    }
    try:
        means = summary.over_runs(runs)
    except InputError as error:
        return facts | {"note": str(error)}
    facts |= {name: of["mean"] for name, of in means.items()}
    predictions = summary.predictions_of(runs)
    bounds = summary.interval(predictions) if predictions is not None else None
    return facts | ({"interval": "{:.1f} to {:.1f}".format(*bounds)} if bounds else {})


def table(found: Sequence[dict]) -> str:
    """The experiments as text, in columns; what is wrong with one stands below."""
    others = [name for name in OTHERS if any(name in own for own in found)]
    best = {}
    for own in found:
        if own.get("UA", -1) > best.get(_group(own), {"UA": -1})["UA"]:
            best[_group(own)] = own
    lines = [[*COLUMNS, *others, "finished"]]
    for own in found:
        star = "*" if best.get(_group(own)) is own else ""
        cells = [_cell(own.get(name)) for name in (*COLUMNS[1:], *others)]
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(own["finished"]))
        lines.append([star, *cells, when])
    text = summary.in_columns(lines)
    notes = [f"{own['experiment']}: {own['note']}" for own in found if "note" in own]
    return "\n".join([text, *notes])


def _group(own: dict) -> tuple:
    """What experiments must have in common to be compared."""
    return own["corpus"], own["protocol"], own["folds"], frozenset(own["labels"])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _listed(numbers: set[int]) -> str:
    """1 2 3 -> 1-3."""
    low, high = min(numbers), max(numbers)
    if len(numbers) > 2 and len(numbers) == high - low + 1:
        return f"{low}-{high}"
    return " ".join(map(str, sorted(numbers)))
