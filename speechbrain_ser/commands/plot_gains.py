"""Draw what rows of a table gain over another row, with intervals.

    ser plot gains combined/EmoBox-folds --output gains
    ser plot gains fine-tuned --output gains_fine_tuned
    ser plot gains --output ideas

ROWS is a part of the rows' names; without it one idea of each paper is drawn. Rows with a gain in
RESULTS.csv are drawn (ser summarize --collect computes it): the difference of the pooled UA, and
its 95 % interval when the same speakers are drawn again for both. Leaves OUTPUT.png, or .pdf
or .svg with --format.
"""

import argparse

from speechbrain_ser.campaign import headlines, rows
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import canvas, plots


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "rows", metavar="ROWS", nargs="?", help="PAPER/TABLE, PAPER, or another part of names"
    )
    parser.add_argument("--output", default="gains", help="PATH of PATH.png")
    canvas.add_arguments(parser)


def run(options: argparse.Namespace) -> None:
    title = "95 % interval over speakers"
    if options.rows:
        title = f"UA gained, {options.rows}: {title}"
        members = {name: row for name, row in rows.named().items() if options.rows in name}
        drawn = {
            f"{row['row']}\nagainst {rows.find(row['against'])[1]['row']}": row
            for row in members.values()
            if row.get("gain")
        }
        if not drawn:
            raise InputError(
                f"of {len(members)} rows named ...{options.rows}... none has a gain: run them and "
                "what they are compared with, and then ser summarize --collect results"
            )
    else:
        title = f"UA gained by one idea of each paper: {title}"
        drawn = {
            f"{idea}\n{paper}, on {row['corpus']}": row
            for paper, idea, row, _ in headlines.ideas().values()
        }
    path = f"{options.output}.{options.format}"
    gains = {name: tuple(float(row[c]) for c in headlines.GAIN) for name, row in drawn.items()}
    plots.gains(gains, path, canvas.title_of(options, title), canvas.size_of(options))
    print(path)
