"""Write the results tables of the READMEs from RESULTS.csv, that from runs, and compare rows.

ser summarize                     rewrites what stands between <!-- results: PAPER -->
                                              and <!-- /results --> in recipes/*/README.md, the
                                              table of ideas in README.md and that of what was
                                              measured in docs/results.md
ser summarize --check             changes nothing; fails if a README is out of date
ser summarize --collect results   first fills our columns of each RESULTS.csv row whose
                                              runs are in that folder
ser summarize --compare park2023/T3/emotion-arcface-k4 park2023/T6/fused-arcface-k4
                                              whether the second row's UA is better than the
                                              first's by chance: speakers drawn again, McNemar
"""

import argparse
import csv
import io
import re
from itertools import groupby
from pathlib import Path

from speechbrain_ser.campaign import headlines, rows
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically
from speechbrain_ser.results import dimensions, summary

BEGIN, END = "<!-- results: {} -->", "<!-- /results -->"
BLOCK = re.compile(r"<!-- results: (.+?) -->.*?<!-- /results -->", flags=re.DOTALL)
SHOWN = {  # column of RESULTS.csv: its heading
    "row": "row",
    "paper_WA": "paper WA",
    "paper_UA": "paper UA",
    "paper_sd": "paper sd",
    "paper_UA_gender": "paper UA gender",
    "paper_WER": "paper WER",
    "derived_WA": "WA of its reports",
    "derived_UA": "UA of its reports",
    "WA": "WA",
    "UA": "UA",
    "UA_sd": "sd",
    "difference": "UA - paper",
    "F1": "F1",
    "WA_pooled": "WA pooled",
    "UA_pooled": "UA pooled",
    "UA_pooled_sd": "sd",
    "F1_pooled": "F1 pooled",
    "interval": "95 % interval",
    "against": "against",
    "gained": "UA gained",
    "UA_gender": "UA gender",
    "WER": "WER",
    "WER_known": "WER, known sentences",
    "WER_new": "WER, new sentences",
    "EER": "EER",
    "CCC": "CCC",
    "KL": "KL",
    "F1_shares": "F1 of shares",
    "WA_oracle": "WA, k and alpha best on test",
    "UA_oracle": "UA, k and alpha best on test",
    "paper_minutes": "paper minutes",
    "minutes": "minutes",
    "paper_minutes_100": "paper minutes per 100 updates",
    "minutes_100": "minutes per 100 updates",
    "paper_minutes_checkpoint": "paper minutes to its checkpoint",
    "minutes_checkpoint": "minutes to the checkpoint",
    "paper_gigabytes": "paper GB",
    "gigabytes": "GB",
    "folds": "folds",
    "seeds": "seeds",
    "commit": "commit",
    "note": "note",
}
COMPUTED = {  # columns of the pages that follow from others
    "difference": lambda row: difference(row),
    "interval": headlines.interval,
    "gained": headlines.gained,
}
TEXT = ("row", "against", "note")
MEANS = summary.MEANS
TOLD = {  # filled where the paper has a number; an epoch is 100 updates there (Gavali & Verma)
    "minutes": lambda run: run["seconds"] / 60,
    "minutes_100": lambda run: run["seconds"] / 60 / run["epochs"],
    "minutes_checkpoint": lambda run: run["seconds"] / 60 * run["best_epoch"] / run["epochs"],
    "gigabytes": lambda run: run["megabytes"] / 1000,
}
# shown where a row or the paper has it
OPTIONAL = (
    *("paper_sd", "derived_WA", "derived_UA", *MEANS, *TOLD, "against", "note"),
    *("F1", "F1_pooled", "UA_sd", "UA_pooled_sd"),
)
FIRST_PAGES = {  # page: the mark of its table, and what makes it
    "README.md": ("ideas", headlines.idea_table),
    "docs/results.md": ("measured", headlines.measured),
}


def block(members: list[dict]) -> str:
    """Rows of RESULTS.csv -> markdown: a table, and its command, for each table of a paper.

    Rows whose epoch was chosen as the paper did (replication) have a table of their own.
    """
    lines = []
    place = {key: i for i, key in reversed(list(enumerate(map(table_of, members))))}
    ordered = sorted(map(with_computed, members), key=lambda row: place[table_of(row)])
    for (_, item, protocol), group in groupby(ordered, table_of):
        own = list(group)
        title = item + (f", {protocol}" if protocol != "honest" else "")
        shown = columns_of(own)
        lines += [f"#### {title}", "", f"| {' | '.join(SHOWN[column] for column in shown)} |"]
        lines += [f"| {' | '.join('---' if c in TEXT else '---:' for c in shown)} |"]
        lines += [f"| {' | '.join(row[column] for column in shown)} |" for row in own]
        paper, table, _ = rows.name_of(own[0]).split("/")
        lines += ["", f"`ser reproduce {paper} --table {table}`", ""]
    return "\n".join(lines)


def columns_of(members: list[dict]) -> list[str]:
    """The columns of SHOWN that a table of these rows has."""

    def used(column: str) -> bool:
        name = column.removeprefix("paper_") if column != "paper_sd" else column
        if column in COMPUTED or column == "commit":
            return any(row[column] for row in members)
        if name not in OPTIONAL:
            return column in members[0]
        return any(row.get(name) or row.get(f"paper_{name}") for row in members)

    return [column for column in SHOWN if used(column)]


def with_computed(row: dict) -> dict:
    """The row with what is computed from it, and its commits short enough for a page."""
    commits = " ".join(commit[:7] for commit in row["commit"].split())
    computed = {name: made(row) for name, made in COMPUTED.items()} | {"commit": commits}
    return row | computed | {"against": row.get("against", "").rpartition("/")[2]}


def difference(row: dict) -> str:
    """Our UA minus the paper's, where a row has both."""
    if not (row["UA"] and row["paper_UA"]):
        return ""
    return f"{float(row['UA']) - float(row['paper_UA']):+.2f}"


def collect(results: Path, runs: Path) -> None:
    """Fill our columns of a RESULTS.csv from the complete runs below `runs`; others stay as is.

    WA, UA and F1 are means over folds, then over seeds; the pooled ones are of all the folds' test
    utterances together, per seed; sd is the sample deviation over seeds; the interval is that of
    the pooled UA when speakers are drawn again; a gain is that of the pooled UA over another row's,
    on the folds and seeds of both; commits are all named.
    """
    table = rows.read(results)
    for row in table:
        complete = summary.runs_of(runs / rows.experiment(row), row["corpus"])
        if not complete:
            continue
        over = summary.over_runs(complete)
        for column in ("WA", "UA", "F1", "WA_pooled", "UA_pooled", "F1_pooled", *MEANS):
            if column in row:
                mean = over.get(column, {}).get("mean")
                row[column] = "" if mean is None else dimensions.told(column, mean)
        for column in ("UA", "UA_pooled"):
            sd = over.get(column, {}).get("sd")
            row[f"{column}_sd"] = "" if sd is None else f"{sd:.2f}"
        predictions = summary.predictions_of(complete)
        bounds = summary.interval(predictions) if predictions else None
        row["UA_low"], row["UA_high"] = map("{:.2f}".format, bounds) if bounds else ("", "")
        if row.get("against") and (paired := pair([row["against"], rows.name_of(row)], runs)):
            for column, value in zip(headlines.GAIN, ("difference", "low", "high"), strict=True):
                row[column] = f"{paired[value]:+.2f}"
        for column in (column for column in TOLD if row.get(f"paper_{column}")):
            row[column] = f"{sum(map(TOLD[column], complete)) / len(complete):.2f}"
        row["folds"] = " ".join(map(str, sorted({run["fold"] for run in complete})))
        row["seeds"] = " ".join(map(str, sorted({run["seed"] for run in complete})))
        row["commit"] = " ".join(sorted({run["commit"] for run in complete}))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_atomically(results, text.getvalue())


def table_of(row: dict) -> tuple[str, str, str]:
    return row["paper"], row["item"], row["protocol"]


def rewritten(readme: Path, results: Path) -> str:
    """The README's text with the blocks of this RESULTS.csv, one per paper."""
    if not readme.is_file():
        raise InputError(f"{readme} is missing: {results} needs a README with its tables")
    text = readme.read_text(encoding="utf-8")
    table = rows.read(results)
    papers = list(dict.fromkeys(row["paper"] for row in table))
    for paper in papers:
        if BLOCK.findall(text).count(paper) != 1:
            raise InputError(
                f"{readme} has no {BEGIN.format(paper)} ... {END}: put the two lines where the "
                "tables of that paper go, once"
            )

    def with_tables(match: re.Match) -> str:
        mine = [row for row in table if row["paper"] == match[1]]
        return f"{BEGIN.format(match[1])}\n\n{block(mine)}\n{END}"

    return BLOCK.sub(with_tables, text)


def with_table(page: str, text: str) -> str:
    """The text of one of FIRST_PAGES with its table."""
    name, made = FIRST_PAGES[page]
    begin = BEGIN.format(name)
    if BLOCK.findall(text).count(name) != 1:
        raise InputError(f"{page} has no {begin} ... {END}: put the two lines in, once")
    return BLOCK.sub(lambda _: f"{begin}\n\n{made()}\n\n{END}", text)


def pair(names: list[str], runs: Path) -> dict | None:
    """summary.compare of two rows' runs below `runs`, on the folds and seeds that both have.

    With their "folds". None if one of the two has no complete run.
    """
    sides = []
    for _, row in map(rows.find, names):
        sides.append(own := summary.runs_of(runs / rows.experiment(row), row["corpus"]))
        if not own:
            return None
    both = {}
    for key in ("fold", "seed"):
        both[key] = set.intersection(*({run[key] for run in own} for own in sides))
    if not both["fold"]:
        raise InputError(f"{' and '.join(names)} have no fold in common")
    for key, common in both.items():
        if common:  # rows of other seeds are compared over all of their own
            sides = [[run for run in own if run[key] in common] for own in sides]
    one, other = (summary.predictions_of(own) for own in sides)
    if one is None or other is None:
        raise InputError("the folds of such a row have labels of their own: they cannot be pooled")
    return summary.compare(one, other) | {"folds": sorted(both["fold"])}


def compare(names: list[str], runs: Path) -> str:
    """Two rows' runs below `runs`, paired: a few sentences."""
    found = [rows.find(name) for name in names]
    for name, row in found:
        if not summary.runs_of(runs / rows.experiment(row), row["corpus"]):
            raise InputError(f"{runs} has no complete run of {name}: ser cross-validate --row")
    paired = pair(names, runs)
    assert paired is not None  # both have runs
    metric = next(name for name in ("UA", "CCC") if name in paired)
    shown = [dimensions.told(metric, score) for score in paired[metric]]
    digits = ".2" if metric == "UA" else ".3"
    lines = [f"{name}: {metric} {own}" for (name, _), own in zip(found, shown, strict=True)]
    lines += [
        f"on {paired['utterances']} utterances of {paired['speakers']} speakers, folds "
        f"{' '.join(map(str, paired['folds']))}, pooled, mean over seeds",
        "difference {}, 95 % interval {} to {} when the speakers are drawn again (p {:.3f})".format(
            *(f"{paired[key]:+{digits}f}" for key in ("difference", "low", "high")), paired["p"]
        ),
    ]
    if paired["mcnemar"]:
        lines += [
            "McNemar's exact p over utterances, per pair of seeds: "
            + ", ".join(f"{p:.3f}" for p in paired["mcnemar"])
        ]
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    parser.add_argument("--collect", type=Path, metavar="RUNS", help="the folder of the runs")
    parser.add_argument("--compare", nargs=2, metavar="ROW", help="rows of RESULTS.csv, by name")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="--compare: the folder of the runs"
    )


def run(options: argparse.Namespace) -> None:
    if options.compare:
        print(compare(options.compare, options.results))
        return
    pages = {}
    for results in rows.files():
        if options.collect:
            collect(results, options.collect)
        readme = results.with_name("README.md")
        pages[readme] = rewritten(readme, results)
    for name in FIRST_PAGES:
        page = rows.RECIPES.parent / name
        pages[page] = with_table(name, page.read_text(encoding="utf-8"))
    for page, text in pages.items():
        shown = page.relative_to(rows.RECIPES.parent)
        if text == page.read_text(encoding="utf-8"):
            print(f"{shown}: up to date")
        elif options.check:
            raise InputError(f"{page} is not what RESULTS.csv says: run this with no flag")
        else:
            write_atomically(page, text)
            print(f"{shown}: rewritten")
