"""Measure how fast the parts are, on random input and random weights.

    python tools/benchmark.py all --quick                  every ratio, under 5 minutes on 2 cores
    python tools/benchmark.py training                     about ten minutes on 2 cores
    python tools/benchmark.py latency --device cuda --precision bf16
    python tools/benchmark.py memory                       about ten minutes, and 20 GB of memory

Each prints tables; those in BENCHMARKS.md were made so. WHAT --help says more.
"""

import argparse
import sys
import time

from benchmarks import inference, latency, long, memory, probe, training, whisper

from speechbrain_ser.errors import program

BENCHMARKS = {
    "training": training,
    "memory": memory,
    "latency": latency,
    "inference": inference,
    "long": long,
    "probe": probe,
    "whisper": whisper,
}
QUICK = {  # smaller networks and fewer recordings: the ratios' first look
    "training": "--small --recordings 120",
    "memory": "--small --recipes emotion two_stage supcon",
    "latency": "--small --quick",
    "inference": "--small --recordings 12",
    "long": "--small --minutes 1 4",
    "probe": "--small --recordings 12",
    "whisper": "--small --recordings 12",
}


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="WHAT")
    every = commands.add_parser("all", help="All of them, one after the other.")
    every.set_defaults(run=run_all)
    every.add_argument("--quick", action="store_true", help="small networks, few recordings")
    every.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
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


def run_all(options: argparse.Namespace) -> None:
    """Every benchmark, its table below its command; the seconds of all last."""
    began = time.perf_counter()
    for name in BENCHMARKS:
        words = [name, *(QUICK[name].split() if options.quick else [])]
        words += ["--device", options.device]
        print(f"\n## python tools/benchmark.py {' '.join(words)}\n", flush=True)
        own = parser().parse_args(words)
        own.run(own)
    print(f"\nAll of them took {time.perf_counter() - began:.0f} s.")


@program("benchmark.py")
def main(words: list[str] | None = None) -> int | None:
    options = parser().parse_args(words)
    options.run(options)


if __name__ == "__main__":
    sys.exit(main())
