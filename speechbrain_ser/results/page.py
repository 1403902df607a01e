"""Runs as one page that needs no network: figures and recordings are in it."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import soundfile

from speechbrain_ser import output
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.results import dimensions, leaderboard, metrics, summary

TEMPLATE = Path(__file__).parent / "templates" / "report.html"
FIGURES = ("curves.png", "reliability.png", "scatter.png", "layer_weights.png")  # of a run
MINOR = ("protocol", "folds", "seeds", "interval", "F1", "finished")  # columns left out on a phone
HEARD = SpeechReader(max_seconds=15)  # of what can be listened to


def made(found: Sequence[Mapping], folder: Path, listen: int = 3) -> str:
    """The page of these experiments of leaderboard.experiments, in their order.

    listen : recordings of each experiment that it got most wrong; of those that are not here
        nothing is heard
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    head, *lines = leaderboard.lines(found)
    return template.render(
        folder=folder.name or str(folder.absolute()),
        head=head,
        minor=[name in MINOR for name in head],
        lines=lines,
        experiments=[_experiment(own, listen) for own in found],
    )


def _experiment(own: Mapping, listen: int) -> dict:
    """What the page says of one experiment."""
    runs = summary.runs_of(own["folder"])
    first = runs[0]
    confusion = None
    if "confusion" in first and all(run["labels"] == first["labels"] for run in runs):
        pooled = np.sum([run["confusion"] for run in runs], axis=0)
        confusion = {"labels": first["labels"], "rows": _shares(pooled)}
    figures = [first["folder"] / name for name in FIGURES]
    return {
        "name": own["experiment"],
        "corpus": own["corpus"],
        "protocol": own["protocol"],
        "scores": {
            n: dimensions.told(n, own[n])
            for n in (*metrics.METRICS, *leaderboard.OTHERS)
            if n in own
        },
        "of": "UA" if "UA" in own else "CCC",
        "interval": own.get("interval"),
        "note": own.get("note"),
        "runs": _lines(runs),
        "numbers": [_number(runs, name) for name in dimensions.names_of(first)],
        "confusion": confusion,
        "figures": [(path.stem, _embedded(path)) for path in figures if path.is_file()],
        "wrong": most_wrong(runs, listen) if confusion else [],
        "best": f"{own['experiment']}/{first['folder'].relative_to(own['folder'])}/best",
    }


def _lines(runs: Sequence[Mapping]) -> list[list[str]]:
    """The table of the runs: a head, with the scores that some run has, and a line for each."""
    known = (*metrics.METRICS, *leaderboard.OTHERS)
    names = [name for name in known if any(name in run for run in runs)]
    facts = ("fold", "seed", "epochs")
    lines = [
        [
            *(str(run[fact]) for fact in facts),
            *(dimensions.told(n, run[n]) if n in run else "" for n in names),
        ]
        for run in runs
    ]
    return [[*facts, *names], *lines]


def _number(runs: Sequence[Mapping], name: str) -> list[str]:
    """A number's scores, means over the runs that have them, behind its name."""
    found = {m: [r[f"{m}_{name}"] for r in runs if f"{m}_{name}" in r] for m in dimensions.METRICS}
    return [name, *(dimensions.told(m, float(np.mean(some))) for m, some in found.items())]


def _shares(counts: np.ndarray) -> list[list[dict]]:
    """counts [target, prediction] -> cells with a count and its percent of the row."""
    support = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    percent = 100 * counts / support
    return [
        [{"count": int(n), "percent": float(share)} for n, share in zip(*row, strict=True)]
        for row in zip(counts, percent, strict=True)
    ]


def most_wrong(runs: Sequence[Mapping], count: int) -> list[dict]:
    """The test utterances that were answered wrongly with the highest probabilities.

    Of the first seed: {"id", "speaker", "target", "prediction", "probability", "audio"}; audio is
    the recording as a data address, or why it cannot be heard.
    """
    own = [run for run in runs if run["seed"] == runs[0]["seed"]]
    wrong = []
    for run in own:
        for row in output.read_csv(run["folder"] / "predictions.csv"):
            if row["target"] != row["prediction"]:
                probability = float(row.get(row["prediction"], "nan"))
                wrong.append((probability, row, run["folder"]))
    wrong.sort(key=lambda item: (-item[0], item[1]["id"]))
    found = []
    for probability, row, folder in wrong[:count]:
        entry = read_json(folder / "manifest.json")[row["id"]]
        facts: dict[str, Any] = {key: row[key] for key in ("id", "target", "prediction")}
        facts |= {"speaker": entry["speaker"], "probability": 100 * probability}
        found.append(facts | _heard(entry["wav"]))
    return found


def _heard(place: str) -> dict[str, str]:
    """A recording as a data address, or the sentence that says why not."""
    try:
        speech = HEARD(place)
    except InputError as error:
        return {"silent": str(error)}
    file = io.BytesIO()
    soundfile.write(file, speech.numpy(), HEARD.sample_rate, format="OGG", subtype="VORBIS")
    return {"audio": _address(file.getvalue(), "audio/ogg")}


def _embedded(path: Path) -> str:
    return _address(path.read_bytes(), "image/png")


def _address(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
