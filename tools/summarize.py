"""Write the results tables of the recipe READMEs from their RESULTS.csv.

python tools/summarize.py            rewrites what stands between <!-- results --> and
                                     <!-- /results --> in recipes/*/README.md
python tools/summarize.py --check    changes nothing; fails if a README is out of date
"""

import argparse
import csv
import sys
from itertools import groupby
from pathlib import Path

from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically

RECIPES = Path(__file__).parents[1] / "recipes"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
SHOWN = {  # column of RESULTS.csv: its heading
    "row": "row",
    "paper_WA": "paper WA",
    "paper_UA": "paper UA",
    "WA": "WA",
    "UA": "UA",
    "UA_sd": "sd",
    "WA_pooled": "WA pooled",
    "UA_pooled": "UA pooled",
    "folds": "folds",
    "seeds": "seeds",
    "note": "note",
}
TEXT = ("row", "note")


def block(rows: list[dict]) -> str:
    """Rows of RESULTS.csv -> markdown: a table and its commands for each table of a paper.

    Rows whose epoch was chosen as the paper did (replication) have a table of their own.
    """
    lines = []
    place = {key: i for i, key in reversed(list(enumerate(map(table_of, rows))))}
    rows = sorted(rows, key=lambda row: place[table_of(row)])
    for (paper, item, protocol), members in groupby(rows, table_of):
        members = list(members)
        title = f"{paper}, {item}" + (f", {protocol}" if protocol != "honest" else "")
        lines += [f"### {title}", "", f"| {' | '.join(SHOWN.values())} |"]
        lines += [f"| {' | '.join('---' if c in TEXT else '---:' for c in SHOWN)} |"]
        lines += [f"| {' | '.join(row[column] for column in SHOWN)} |" for row in members]
        lines += ["", "```bash"]
        for row in members:
            words = [row["script"], row["hparams"], row["overrides"]]
            lines += [f"# {row['row']}", f"python {' '.join(filter(None, words))}"]
        lines += ["```", ""]
    return "\n".join(lines)


def table_of(row: dict) -> tuple[str, str, str]:
    return row["paper"], row["item"], row["protocol"]


def rewritten(readme: Path, results: Path) -> str:
    """The README's text with the block of this RESULTS.csv."""
    if not readme.is_file():
        raise InputError(f"{readme} is missing: {results} needs a README with {BEGIN} and {END}")
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{readme} has no {BEGIN} ... {END}: put the two lines where tables go")
    with open(results, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return f"{before}{BEGIN}\n\n{block(rows)}\n{END}{after}"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    options = parser.parse_args(words)
    try:
        for results in sorted(RECIPES.glob("*/RESULTS.csv")):
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
