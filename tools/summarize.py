"""Write the results tables of the recipe READMEs from their RESULTS.csv, and those from runs.

python tools/summarize.py                     rewrites what stands between <!-- results: PAPER -->
                                              and <!-- /results --> in recipes/*/README.md
python tools/summarize.py --check             changes nothing; fails if a README is out of date
python tools/summarize.py --collect results   first fills our columns of each RESULTS.csv row whose
                                              runs are in that folder
"""

import argparse
import csv
import io
import json
import re
import shlex
import sys
from itertools import groupby
from pathlib import Path

import speechbrain

from speechbrain_ser import command_line, metrics, report
from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically

RECIPES = Path(__file__).parents[1] / "recipes"
BEGIN, END = "<!-- results: {} -->", "<!-- /results -->"
BLOCK = re.compile(r"<!-- results: (.+?) -->.*?<!-- /results -->", flags=re.DOTALL)
SHOWN = {  # column of RESULTS.csv: its heading
    "row": "row",
    "paper_WA": "paper WA",
    "paper_UA": "paper UA",
    "paper_sd": "paper sd",
    "paper_UA_gender": "paper UA gender",
    "paper_WER": "paper WER",
    "WA": "WA",
    "UA": "UA",
    "UA_sd": "sd",
    "WA_pooled": "WA pooled",
    "UA_pooled": "UA pooled",
    "UA_pooled_sd": "sd",
    "UA_gender": "UA gender",
    "WER": "WER",
    "WA_oracle": "WA, k and alpha best on test",
    "UA_oracle": "UA, k and alpha best on test",
    "paper_minutes": "paper minutes",
    "minutes": "minutes",
    "paper_gigabytes": "paper GB",
    "gigabytes": "GB",
    "folds": "folds",
    "seeds": "seeds",
    "note": "note",
}
TEXT = ("row", "note")
MEANS = ("UA_gender", "WER", "WA_oracle", "UA_oracle")
TOLD = {  # filled where the paper has a number
    "minutes": lambda run: run["seconds"] / 60,
    "gigabytes": lambda run: run["megabytes"] / 1000,
}
# shown where a row or the paper has it
OPTIONAL = ("paper_sd", *MEANS, *TOLD, "note")


def block(rows: list[dict]) -> str:
    """Rows of RESULTS.csv -> markdown: a table and its commands for each table of a paper.

    Rows whose epoch was chosen as the paper did (replication) have a table of their own.
    """
    lines = []
    place = {key: i for i, key in reversed(list(enumerate(map(table_of, rows))))}
    rows = sorted(rows, key=lambda row: place[table_of(row)])
    for (_, item, protocol), members in groupby(rows, table_of):
        members = list(members)
        title = item + (f", {protocol}" if protocol != "honest" else "")
        shown = columns_of(members)
        lines += [f"#### {title}", "", f"| {' | '.join(SHOWN[column] for column in shown)} |"]
        lines += [f"| {' | '.join('---' if c in TEXT else '---:' for c in shown)} |"]
        lines += [f"| {' | '.join(row[column] for column in shown)} |" for row in members]
        lines += ["", "```bash"]
        for row in members:
            words = [row["script"], row["hparams"], row["overrides"]]
            lines += [f"# {row['row']}", f"python {' '.join(filter(None, words))}"]
        lines += ["```", ""]
    return "\n".join(lines)


def columns_of(rows: list[dict]) -> list[str]:
    """The columns of SHOWN that a table of these rows has."""

    def used(column: str) -> bool:
        name = column.removeprefix("paper_") if column != "paper_sd" else column
        if name not in OPTIONAL:
            return column in rows[0]
        return any(row.get(name) or row.get(f"paper_{name}") for row in rows)

    return [column for column in SHOWN if used(column)]


def collect(results: Path, runs: Path) -> None:
    """Fill our columns of a RESULTS.csv from the complete runs below `runs`; others stay as is.

    WA and UA are means over folds, then over seeds; the pooled ones are of all the folds' test
    utterances together, per seed; sd is the sample deviation over seeds; commits are all named.
    """
    with open(results, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        found = [
            json.loads(path.read_text())
            for path in sorted(runs.glob(f"{folder_of(row)}/fold*/*/results.json"))
            if report.is_complete(path.parent)
        ]
        found = [run for run in found if run["corpus"] == row["corpus"]]
        if not found:
            continue
        by_seed = {seed: [r for r in found if r["seed"] == seed] for seed in seeds_of(found)}
        over_seeds = metrics.over_seeds([over_folds(members) for members in by_seed.values()])
        measured = ("WA", "UA", "WA_pooled", "UA_pooled", *MEANS)
        for column in (column for column in measured if column in row):
            row[column] = f"{over_seeds[column]['mean']:.2f}" if column in over_seeds else ""
        for column in ("UA", "UA_pooled"):
            sd = over_seeds.get(column, {}).get("sd")
            row[f"{column}_sd"] = "" if sd is None else f"{sd:.2f}"
        for column in (column for column in TOLD if row.get(f"paper_{column}")):
            row[column] = f"{sum(map(TOLD[column], found)) / len(found):.2f}"
        row["folds"] = " ".join(str(f) for f in sorted({run["fold"] for run in found}))
        row["seeds"] = " ".join(map(str, by_seed))
        row["commit"] = " ".join(sorted({run["commit"] for run in found}))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(results, text.getvalue())


def over_folds(runs: list[dict]) -> dict[str, float]:
    """metrics.over_folds; of folds with labels of their own (speakers) the means alone.

    What else is measured (MEANS) are means too.
    """
    names = [name for name in ("WA", "UA", *MEANS) if name in runs[0]]
    means = {name: sum(run[name] for run in runs) / len(runs) for name in names}
    if "labels" in runs[0] and len({tuple(run["labels"]) for run in runs}) == 1:
        return means | metrics.over_folds(runs)
    return means


def seeds_of(found: list[dict]) -> list[int]:
    return sorted({run["seed"] for run in found})


def folder_of(row: dict) -> str:
    """<experiment><variant> of the row's command."""
    hparams_file, _, given = speechbrain.parse_arguments(
        [row["hparams"], *shlex.split(row["overrides"])]
    )
    overrides = hp.command_line(given)
    path = command_line.find_yaml(hparams_file, RECIPES.parent / row["script"])
    tree = hp.read(path, overrides.get("corpus"))
    return tree["experiment"] + str(overrides.get("variant", tree["variant"]))


def table_of(row: dict) -> tuple[str, str, str]:
    return row["paper"], row["item"], row["protocol"]


def rewritten(readme: Path, results: Path) -> str:
    """The README's text with the blocks of this RESULTS.csv, one per paper."""
    if not readme.is_file():
        raise InputError(f"{readme} is missing: {results} needs a README with its tables")
    text = readme.read_text(encoding="utf-8")
    with open(results, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    papers = list(dict.fromkeys(row["paper"] for row in rows))
    for paper in papers:
        if BLOCK.findall(text).count(paper) != 1:
            raise InputError(
                f"{readme} has no {BEGIN.format(paper)} ... {END}: put the two lines where the "
                "tables of that paper go, once"
            )

    def filled(match: re.Match) -> str:
        mine = [row for row in rows if row["paper"] == match[1]]
        return f"{BEGIN.format(match[1])}\n\n{block(mine)}\n{END}"

    return BLOCK.sub(filled, text)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    parser.add_argument("--collect", type=Path, metavar="RUNS", help="the folder of the runs")
    options = parser.parse_args(words)
    try:
        for results in sorted(RECIPES.glob("*/RESULTS.csv")):
            if options.collect:
                collect(results, options.collect)
            readme = results.with_name("README.md")
            text = rewritten(readme, results)
            if text == readme.read_text(encoding="utf-8"):
                print(f"{readme.parent.name}/{readme.name}: up to date")
            elif options.check:
                raise InputError(f"{readme} is not what {results.name} says: run this with no flag")
            else:
                write_atomically(readme, text)
                print(f"{readme.parent.name}/{readme.name}: rewritten")
    except InputError as error:
        print(f"summarize.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
