"""Draw what rows of a table gain over another row, with intervals.

    ser plot gains combined/EmoBox-folds --output gains
    ser plot gains fine-tuned --output gains_fine_tuned

ROWS is a part of the rows' names; those with a gain in RESULTS.csv are drawn (ser summarize
--collect computes it): the difference of the pooled UA, and its 95 % interval when the same
speakers are drawn again for both. Leaves OUTPUT.png.
"""

import argparse

from speechbrain_ser.campaign import rows
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import plots


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rows", metavar="ROWS", help="PAPER/TABLE, PAPER, or another part of names")
    parser.add_argument("--output", default="gains", help="PATH of PATH.png")


def run(options: argparse.Namespace) -> None:
    members = {name: row for name, row in rows.named().items() if options.rows in name}
    gains = {
        f"{row['row']}\nagainst {rows.find(row['against'])[1]['row']}": tuple(
            float(row[column]) for column in ("gain", "gain_low", "gain_high")
        )
        for row in members.values()
        if row.get("gain")
    }
    if not gains:
        raise InputError(
            f"of {len(members)} rows named ...{options.rows}... none has a gain: run them and what "
            "they are compared with, and then ser summarize --collect results"
        )
    path = f"{options.output}.png"
    plots.gains(gains, path, f"UA gained, {options.rows}: 95 % interval over speakers")
    print(path)
