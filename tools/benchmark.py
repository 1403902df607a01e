"""Measure how fast the parts are, on random input and random weights.

    python tools/benchmark.py latency --quick              a first look, under a minute on 2 cores
    python tools/benchmark.py latency --device cuda --precision bf16
    python tools/benchmark.py probe                        about four minutes on 2 cores
    python tools/benchmark.py augment                      about five minutes on 2 cores
    python tools/benchmark.py knn                          a minute, and 8 GB of memory
    python tools/benchmark.py inference                    about four minutes on 2 cores

Each prints a table; those in BENCHMARKS.md were made so. WHAT --help says more.
"""

import argparse
import sys

from benchmarks import augment, inference, knn, latency, probe

from speechbrain_ser.errors import InputError

BENCHMARKS = {
    "latency": latency,
    "probe": probe,
    "augment": augment,
    "knn": knn,
    "inference": inference,
}


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="WHAT")
    for name, benchmark in BENCHMARKS.items():
        command = commands.add_parser(
            name,
            help=benchmark.__doc__.splitlines()[0],
            description=benchmark.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        command.set_defaults(run=benchmark.run)
        benchmark.add_options(command)
    return whole


def main(words: list[str] | None = None) -> None:
    options = parser().parse_args(words)
    try:
        options.run(options)
    except InputError as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
