"""What your runs came to: a line for each experiment found in a folder.

ser results                       all in results/, the newest first
ser results /disk/results --corpus ravdess --by UA
ser results --html report.html    one page that needs no network: the table and, of each
                                  experiment, confusions, curves and what it got most wrong, to hear

Folds and seeds of an experiment are one line: the mean over folds of WA, UA and F1 (or of what else
it measures), and the 95 % interval of the UA when the test speakers are drawn again. * is the best
of the same corpus, labels, folds and protocol: others are not comparable.
"""

import argparse
from pathlib import Path

from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically
from speechbrain_ser.results import leaderboard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=Path("results"), help="of runs (results)")
    add("--corpus", help="only runs on this one")
    orders = ("newest", "UA", "WA", "F1", "CCC")
    add("--by", choices=orders, default="newest", help="order (%(default)s)")
    add("--html", type=Path, metavar="FILE", help="also a page with figures and recordings")
    add("--listen", type=int, default=3, metavar="N", help="recordings of each (%(default)s)")


def run(options: argparse.Namespace) -> None:
    found = leaderboard.experiments(options.folder)
    if options.corpus:
        corpora = sorted({own["corpus"] for own in found})
        found = [own for own in found if own["corpus"] == options.corpus]
        if not found:
            raise InputError(f"no run is on {options.corpus}: use one of {', '.join(corpora)}")
    key = "finished" if options.by == "newest" else options.by
    found.sort(key=lambda own: own.get(key) or 0, reverse=True)
    print(leaderboard.table(found))
    if options.html:
        from speechbrain_ser.results import page  # late: the table alone needs no figures

        write_atomically(options.html, page.made(found, options.folder, options.listen))
        print(options.html)
