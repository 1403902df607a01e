"""A paper's tables: every row of RESULTS.csv, by name.

ser reproduce --list                       all rows: what is done, what the rest costs
ser reproduce park2023 --table 6 --list    those of one table
ser reproduce park2023 --table 6           runs them, all folds, earlier phases first
ser reproduce gao2023 --mini True          every row, cut short, on synthesised speech:
                                                       shows in minutes that each one runs

PAPER is park2023, pepino2021, gao2023, gavali or wang2023, or several of them. Runs that are done
are skipped, so the same command again does the rest. Whatever is not an option below goes to every
recipe, as --device cuda:0. ser summarize --collect then writes the tables.
"""

import argparse
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import launchers, plan, rows
from speechbrain_ser.campaign import run as campaign
from speechbrain_ser.commands.cross_validate import numbers
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.results import dimensions, summary
from speechbrain_ser.training import command_line

SIZES = ("encoder", "dim", "batch_size", "lr", "passes", "updates_per_epoch", "max_epochs")


USAGE = "ser reproduce [PAPER ...] [options] [--setting VALUE ...]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", help="its number: 6, T6, F7a, or a part of its title")
    parser.add_argument("--row", action="append", help="a row's name, or an unmistakable part")
    parser.add_argument("--list", action="store_true", help="show the rows, run nothing")
    parser.add_argument("--mini", choices=("True", "False"), default="False")
    parser.add_argument("--folds", help="all (default; with --mini: 1), or numbers: 1,3")
    parser.add_argument("--seeds", help="numbers: 1,2,3; the yaml's own by default")
    parser.add_argument(
        "--results", type=Path, help="folder of the runs: results (with --mini: results/check)"
    )
    launchers.add_options(parser)


def run(options: argparse.Namespace) -> int:
    rest = list(options.settings)
    options.results = options.results or Path(
        "results/check" if options.mini == "True" else "results"
    )
    papers = []
    while rest and not rest[0].startswith("-"):
        papers.append(rest.pop(0))
    chosen = choose(papers, options.table, options.row)
    if options.list:
        print(listing(chosen, rest, options.results))
        return 0
    return reproduce(chosen, rest, options)


def choose(papers: list[str], table: str | None, names: list[str] | None) -> dict[str, dict]:
    """name -> row of these papers' table; InputError if there is none."""
    if names:
        return dict(rows.find(name) for name in names)
    known = rows.named()
    of = list(dict.fromkeys(name.split("/")[0] for name in known))
    for paper in papers:
        if paper not in of:
            raise InputError(f"there is no paper {paper}: use {', '.join(of)}")
    matching = {
        name: row
        for name, row in known.items()
        if (not papers or name.split("/")[0] in papers) and of_table(name, row, table)
    }
    if not matching:
        if told := rows.elsewhere(papers, table):
            raise InputError(told)
        tables = dict.fromkeys(n.split("/")[1] for n in known if n.split("/")[0] in (papers or of))
        raise InputError(f"there is no table {table}: use {', '.join(tables)}")
    return matching


def of_table(name: str, row: Mapping, table: str | None) -> bool:
    if table is None:
        return True
    wanted, short = table.lower(), name.split("/")[1].lower()
    if wanted in (short, short[1:]):
        return True
    number = wanted.removeprefix("t")
    if number.isdigit():  # "Tables 3 and 4, ..." is both
        title = re.match(r"Tables (\d+) and (\d+)", row["item"])
        return title is not None and number in title.groups()
    return wanted in row["item"].lower()


def listing(chosen: Mapping[str, dict], rest: list[str], results: Path) -> str:
    """A line per row: the runs that are done, and hours for the others by those of its script."""
    lines = [["row", "paper UA", "runs done", "hours to go"]]
    for name, row in chosen.items():
        done = summary.runs_of(results / rows.experiment(row), row["corpus"])
        try:
            folds = plan.number_of_folds([*rows.command(row), *rest])
        except InputError:
            folds = None  # only the corpus can tell, and it is not here
        paper = row["paper_UA"] or (row["paper_WA"] and f"WA {row['paper_WA']}")
        hours = cost(row, done, folds, results)
        lines.append([name, paper, f"{len(done)} of {folds or '?'}", hours])
    return (
        f"{summary.in_columns(lines)}\nhours: of the folds that are not done, without earlier "
        f"phases, by the runs in {results} of this row, else of its yaml and encoder; ? without one"
    )


def cost(row: Mapping, done: list[dict], folds: int | None, results: Path) -> str:
    """Hours that the missing folds take, by the row's own runs, else by others of its encoder."""
    tree = rows.settings(row)
    known = done or [
        run
        for folder in results.glob(f"{tree['experiment']}*")
        for run in summary.runs_of(folder, row["corpus"])
        if encoder_of(run["folder"]) == hp.plain(tree.get("encoder"))
    ]
    missing = max(0, (folds or 0) - len({run["fold"] for run in done}))
    if folds and not missing:
        return "0"
    if not known or not folds:
        return "?"
    return f"{missing * sum(run['seconds'] for run in known) / len(known) / 3600:.2f}"


def encoder_of(folder: Path):
    return hp.plain(hp.load_tree((folder / saved.HYPERPARAMS).read_text()).get("encoder"))


def reproduce(chosen: Mapping[str, dict], rest: list[str], options: argparse.Namespace) -> int:
    """Run the rows and report them; 1 if some failed."""
    began = time.monotonic()
    mini = options.mini == "True"
    folds = options.folds or ("1" if mini else "all")
    folds = None if folds == "all" else numbers(folds, "--folds")
    seeds = numbers(options.seeds, "--seeds") if options.seeds else None
    runs: plan.Plan = {}
    own: dict[str, list[Path]] = {}
    for name, row in chosen.items():
        words = [*rows.command(row), "--noprogressbar", *rest]
        words += check(row) if mini else []
        words += ["--results", str(options.results)]
        own[name] = plan.cross_validation(words, folds, seeds, runs)
    if mini:
        runs = {folder: shortened(job) for folder, job in runs.items()}
    logs = options.results / "logs"
    done = sum(job.there for job in runs.values())
    print(f"{len(own)} rows, {len(runs)} runs, {done} done; their output: {logs}/")
    outcomes = campaign.run(runs, launchers.of_options(options, logs), logs)
    if mini:
        print("\nOne epoch on synthesised speech: scores say nothing about a corpus or a method.")
    print(f"\n{report(own, outcomes)}\n{time.monotonic() - began:.0f} s in all")
    if failed := campaign.failures(outcomes):
        print(f"{len(failed)} of {len(runs)} runs are not done:")
        print("\n".join(f"  {outcome}" for outcome in failed))
    return int(bool(failed))


def check(row: Mapping) -> list[str]:
    """What a row's command needs to run on synthesised speech: its sizes are the mini preset's."""
    _, hparams_file, *words = rows.command(row)
    path, tree, overrides, *_ = command_line.parse(
        Path(row["script"]), [hparams_file, *words, "--mini", "True"]
    )
    preset = command_line.mini_preset(path, tree["experiment"])
    sizes = {key: preset[key] for key in overrides if key in preset and key in SIZES}
    if "encoder" not in sizes:
        sizes.pop("dim", None)  # it is another network's
    frozen = overrides.get("frozen")
    if isinstance(frozen, int) and "encoder" in preset:  # blocks, which the small encoder lacks
        sizes["encoder"] = preset["encoder"] | {"num_hidden_layers": frozen}
    again = [word for key, value in sizes.items() for word in (f"--{key}", hp.inline(value))]
    return ["--mini", "True", "--workers", "0", *again]


def shortened(job: plan.Job) -> plan.Job:
    """The run with one epoch: it shows that it runs, and no more."""
    if job.epochs is not None and job.epochs <= 1:
        return job
    words, asked = (*job.words, "--max_epochs", "1"), {**job.asked, "max_epochs": 1}
    return replace(job, words=words, asked=asked)


def report(own: Mapping[str, list[Path]], outcomes: list[campaign.Outcome]) -> str:
    """A line per row: its runs and their mean scores."""
    state = {outcome.job.folder: outcome.state for outcome in outcomes}
    measured = [run for folders in own.values() for run in summary.runs_in(folders)]
    names = ["WA", "UA", *(["CCC"] if any("CCC" in run for run in measured) else [])]
    lines = [["row", "runs", *names, "seconds"]]
    for name, folders in own.items():
        complete = summary.runs_in(folders)
        failed = [state[folder] for folder in folders if state[folder] not in campaign.GOOD]
        means = summary.over_folds(complete) if complete else {}
        cells = [dimensions.told(key, means[key]) if key in means else "" for key in names]
        seconds = f"{sum(run['seconds'] for run in complete):.0f}"
        lines.append([name, failed[0] if failed else str(len(complete)), *cells, seconds])
    return summary.in_columns(lines)
