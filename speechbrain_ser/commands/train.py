"""A model of your own recordings, and what it is worth with speakers that it never heard.

ser train mine.csv
ser train mine.csv --labels angry,happy,neutral --merge irritated=angry --merge other= --epochs 60
ser train /data/CREMA-D --corpus crema_d --encoder openai/whisper-tiny.en --folds 3

CORPUS is a table (csv, tsv, json, jsonl) with the columns path, emotion, speaker, or the folder of
a corpus that --corpus names. A small network learns on a frozen encoder, whose answers are stored,
so that a run takes minutes on two CPU cores. As many groups of speakers as --folds are tested in
turn by networks that heard the others; nothing is chosen on a test speaker. It ends with the table,
the confusion matrix and the models. The same command again goes on where it was interrupted. What
is not an option below goes to recipes/RAVDESS/train_combined.py.
"""

import argparse
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import launchers, plan, rows
from speechbrain_ser.commands import cross_validate, plot_confusion
from speechbrain_ser.data.corpora.rows import ENDINGS
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import plots
from speechbrain_ser.training import command_line, source

USAGE = "ser train CORPUS [options] [--setting VALUE ...]"
RECIPE = ("recipes/RAVDESS/train_combined.py", "hparams/combined.yaml")
CRITERION = "!new:speechbrain_ser.models.losses.ClassBalancedCrossEntropy"
MOST_FOLDS = 5  # if none is asked for
FEWEST_SPEAKERS = 3  # that can be kept apart


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("corpus", metavar="CORPUS", help="a table, or the folder of a corpus")
    add("--corpus", dest="name", help="what the folder holds: crema_d, emodb, ...")
    add("--labels", metavar="A,B", help="the emotions that are kept; all by default")
    add("--merge", action="append", default=[], metavar="A=B", help="A counts as B; A= drops it")
    add("--encoder", default="openai/whisper-base", help="a Hub id or a folder (%(default)s)")
    add("--folds", type=int, help=f"groups of speakers (as many as speakers, at most {MOST_FOLDS})")
    add("--epochs", type=int, help="passes over the recordings (40)")
    add("--seeds", help="numbers: 1,2,3; one by default")
    add("--run_name", metavar="NAME", help="of the folder in results/; the corpus' by default")
    launchers.add_options(parser)


def run(options: argparse.Namespace) -> int:
    seeds = cross_validate.numbers(options.seeds, "--seeds") if options.seeds else None
    command = command_of(options)
    manifest = read(command)
    command += split_of(manifest, options.folds)
    print(shlex.join(["python", *command]), flush=True)
    runs: plan.Plan = {}
    own = plan.cross_validation([*command, "--noprogressbar"], None, seeds, runs)
    status = cross_validate.execute(runs, own, options)
    if not status:
        show(own)
    return status


def command_of(options: argparse.Namespace) -> list[str]:
    """The recipe's command, without its split."""
    place = Path(options.corpus)
    is_table = place.suffix.lower() in ENDINGS
    if not is_table and options.name is None:
        raise InputError(
            f"{place} is no table ({', '.join(ENDINGS)}): name the corpus of a folder with "
            "--corpus; ser corpora list shows which are known"
        )
    name = options.name or "table"
    corpus: dict = {"name": name}
    if options.labels:
        corpus["labels"] = [label.strip() for label in options.labels.split(",")]
    if options.merge:
        corpus["merge"] = merge_of(options.merge)
    variant = options.run_name or (place.stem if is_table else name)
    words = [
        *(rows.script(RECIPE[0]), RECIPE[1]),
        *("--corpus", hp.inline(corpus)),
        *("--data_folder", str(place)),
        *("--variant", f"_{variant}"),
        *("--encoder", options.encoder, "--layers", "middle"),
        *("--criterion", CRITERION),
    ]
    if options.epochs is not None:
        words += ["--max_epochs", str(options.epochs)]
    return [*words, *options.settings]


def merge_of(pairs: list[str]) -> dict[str, str | None]:
    """excited=happy -> {"excited": "happy"}; fear= -> {"fear": None}."""
    merge = {}
    for pair in pairs:
        name, equals, word = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise InputError(f"--merge is {pair!r}: use A=B, or A= to leave A out")
        merge[name] = word or None
    return merge


def read(command: list[str]) -> dict[str, dict]:
    """The manifest of the corpus that the command names."""
    path, tree, *_ = command_line.parse(Path(command[0]), command[1:])
    settings = hp.resolve(tree, path)
    return source.prepare(settings, hp.build({"corpus": settings["corpus"]})["corpus"])


def split_of(manifest: Mapping[str, dict], folds: int | None) -> list[str]:
    """Speakers apart where there are enough of them; else by utterances, and that is said."""
    speakers = Counter(entry["speaker"] for entry in manifest.values())
    splits = "!name:speechbrain_ser.data.splits."
    if len(speakers) < FEWEST_SPEAKERS:
        print(
            f"{len(speakers)} speakers are too few to keep some apart: the scores below are of "
            "speakers that the network knows, and say little of others"
        )
        return ["--split", f"{splits}random_folds {{n_folds: {folds or MOST_FOLDS}}}"]
    folds = min(MOST_FOLDS, len(speakers)) if folds is None else folds
    if not FEWEST_SPEAKERS <= folds <= len(speakers):
        raise InputError(
            f"--folds is {folds}: {len(speakers)} speakers can be dealt into {FEWEST_SPEAKERS} to "
            f"{len(speakers)} groups"
        )
    outer = f"{splits}by_actor {{n_folds: {folds}}}"
    return ["--split", f"{splits}without_validation {{outer: {outer}}}"]


def show(own: list[Path]) -> None:
    """Where figures and models are, and what to do with them."""
    folder = own[0].parents[1]
    counts, labels, title = plot_confusion.pooled(folder)
    figure = folder / "confusion.png"
    plots.confusion_matrix(counts.tolist(), labels, figure, title)
    best = own[0] / "best"
    print(f"\nfigure:   {figure}")
    print(f"models:   {folder}/fold*/*/best, each heard all speakers but its fold's")
    print("\nnext:")
    print(f"  ser classify {best} speech.wav")
    print(f"  ser demo {best}")
    print(f"  ser push {best} you/your-model")
