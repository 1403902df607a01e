"""The rows of the recipes' RESULTS.csv: commands, by names like park2023/T6/fused-arcface-k4."""

import csv
import difflib
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import speechbrain
from ruamel.yaml.comments import CommentedMap

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.training import command_line

PACKAGE = Path(__file__).parents[1]
# beside the package in a checkout, in it as installed from a wheel
RECIPES = PACKAGE / "recipes" if (PACKAGE / "recipes").is_dir() else PACKAGE.parent / "recipes"
SETTINGS = "lists {}, which stand in {}"
TSNE = "is a t-SNE plot: ser plot embeddings --figure {} draws it"
ELSEWHERE = {  # tables and figures that are no runs: what shows them
    "park2023": {
        "T1": SETTINGS.format("settings", "speaker.yaml, emotion.yaml and fusion.yaml"),
        "T7": "is a benchmark and no run: python tools/benchmark.py latency measures it",
        "F4": "counts a corpus: ser plot corpus --corpus iemocap --data_folder PATH draws it",
        **{f"F{number}": TSNE.format(f"park{number}") for number in (5, 6, 8, 9)},
    },
    "pepino2021": {"F2": "is drawn of finished runs: ser plot layers results/probe"},
    "wang2023": {
        "F3": "is drawn of finished runs: ser plot confusion --help has the command",
        "F4": TSNE.format("wang4"),
    },
    "gavali": {
        "T1": SETTINGS.format("the six encoders", "ensemble.yaml"),
        "T2": SETTINGS.format("settings", "member.yaml"),
    },
}


def files() -> list[Path]:
    """The tables of all recipes; InputError if they are not there."""
    tables = sorted(RECIPES.glob("*/RESULTS.csv"))
    if not tables:
        raise InputError(
            f"there are no recipes in {RECIPES}: clone the repository and install it there, "
            "pip install -e ."
        )
    return tables


def read(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def named() -> dict[str, dict]:
    """name -> row, of all tables, in their order."""
    rows = [row for path in files() for row in read(path)]
    names = [name_of(row) for row in rows]
    often = {name for name, count in Counter(names).items() if count > 1}
    return {
        f"{name}-{row['corpus']}" if name in often else name: row
        for name, row in zip(names, rows, strict=True)
    }


def name_of(row: Mapping) -> str:
    """paper/table/row; a method's rows on two corpora have the same one, see `named`."""
    paper = row["paper"].split()[0].lower() + "".join(re.findall(r"\d+", row["paper"]))
    item = re.sub(r"^Table |^Fig\. ", lambda match: match[0][0], row["item"])
    replication = "-replication" if row["protocol"] == "replication" else ""
    return f"{paper}/{_slug(item)}/{_slug(row['row'].lower())}{replication}"


def _slug(text: str) -> str:
    """What can be typed: `fused, ArcFace, k = 4` is fused-arcface-k4."""
    text = text.replace(" = ", "").replace(" + ", "+").replace("et al.", "")
    return re.sub(r"[^A-Za-z0-9.+]+", "-", text).strip("-")


def elsewhere(papers: Sequence[str], table: str | None) -> str | None:
    """What shows a paper's table or figure (T7, 7, F5) that is no run, in a sentence; None if not.

    papers : where to look; none: in all
    """
    asked = (table or "").upper()
    for paper, shown in ELSEWHERE.items():
        for name, what in shown.items():
            if paper in (papers or ELSEWHERE) and asked in (name, name.replace("T", "")):
                kind = {"T": "Table", "F": "Figure"}[name[0]]
                return f"{kind} {name[1:]} of {paper} {what}"
    return None


def find(name: str) -> tuple[str, dict]:
    """A row by its name, or by a part of it that no other row has.

    Raises InputError with the rows that it may mean.
    """
    rows = named()
    known = {key.lower(): key for key in rows}
    wanted = name.lower()
    if wanted in known:
        return known[wanted], rows[known[wanted]]
    within = [key for lowered, key in known.items() if wanted in lowered]
    if len(within) == 1:
        return within[0], rows[within[0]]
    if within:
        raise InputError(f"{name} may be one of {len(within)} rows: {_listed(within)}")
    close = [known[key] for key in difflib.get_close_matches(wanted, known, n=5, cutoff=0.4)]
    hint = f"did you mean {_listed(close)}?" if close else "ser reproduce --list shows all"
    raise InputError(f"there is no row {name}: {hint}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")


def command(row: Mapping) -> list[str]:
    """The words behind `python`."""
    return [script(row["script"]), row["hparams"], *shlex.split(row["overrides"])]


def script(name: str) -> str:
    """A recipe's script as it is found from the working folder, else in the checkout."""
    return name if Path(name).is_file() else str(RECIPES.parent / name)


def settings(row: Mapping) -> CommentedMap:
    """The row's yaml with its overrides, as with a corpus at hand, not resolved."""
    _, hparams_file, *words = command(row)
    _, _, given = speechbrain.parse_arguments([hparams_file, *words])
    overrides = hp.command_line(given)
    path = command_line.find_yaml(hparams_file, Path(script(row["script"])))
    tree = hp.read(path, overrides.get("corpus"))
    hp.override(tree, {key: value for key, value in overrides.items() if key != "corpus"})
    return tree


def experiment(row: Mapping) -> str:
    """<experiment><variant>: what the folder of the row's runs is called."""
    tree = settings(row)
    return tree["experiment"] + str(tree["variant"])
