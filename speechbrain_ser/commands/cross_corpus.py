"""How a network does on corpora that it was not trained on.

ser cross-corpus --train ravdess,nemo --test ravdess,nemo
ser cross-corpus --train ravdess+nemo --test crema_d,emodb --conditions snr10,telephone,mp3-32
ser cross-corpus --train ravdess=/data/RAVDESS --test calls=calls.csv \\
    --merge '{calls: {irritated: angry, other: null}}'
ser cross-corpus recipes/RAVDESS/train_linear.py hparams/linear.yaml --train ravdess --test nemo

Each training set (corpora joined by +) is trained on once and tested on every corpus of --test that
it does not hold, over the emotions that all the corpora have. Recordings are looked for in
SER_<CORPUS>, or at NAME=PATH; NAME=PATH with a table (csv, tsv, json, jsonl) is a corpus of your
own. What is not an option below goes to the recipe, by default the combined method. The same
command again goes on where it was interrupted.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import corpora as manifests
from speechbrain_ser.campaign import cross_corpus, launchers, plan, rows
from speechbrain_ser.campaign import run as campaign
from speechbrain_ser.commands.cross_validate import numbers
from speechbrain_ser.data import conditions
from speechbrain_ser.data.corpora.rows import ENDINGS
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import as_json, read_json, write_atomically
from speechbrain_ser.results import plots, summary, transfer
from speechbrain_ser.sharing import robustness

USAGE = "ser cross-corpus [SCRIPT YAML] --train A,B --test C,D [--setting VALUE ...] [options]"
RECIPE = ("recipes/RAVDESS/train_combined.py", "hparams/combined.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--train", required=True, metavar="A,B+C", help="training sets; + joins corpora into one")
    add("--test", required=True, metavar="C,D", help="corpora to test on")
    add("--merge", metavar="MAP", help="what a corpus' emotion counts as: {A: {calm: neutral}}")
    add("--conditions", metavar="NAMES", default="", help=f"also tested: {conditions.EXAMPLES}")
    add("--seeds", help="numbers: 1,2,3; the yaml's own by default")
    add("--output", metavar="FILE.md", help="the table as a page, too")
    launchers.add_options(parser)


def run(options: argparse.Namespace) -> int:
    rest = list(options.settings)
    recipe = rest if rest and rest[0].endswith(".py") else [*RECIPE, *rest]
    recipe[0] = rows.script(recipe[0])
    asked = [conditions.parse(name) for name in options.conditions.split(",") if name]
    seeds = numbers(options.seeds, "--seeds") if options.seeds else None
    sets = [tuple(text.split("+")) for text in options.train.split(",")]
    corpora = read(sets, options.test.split(","), options.merge)
    sets = [tuple(_name(spec) for spec in own) for own in sets]
    tests = [_name(spec) for spec in options.test.split(",")]
    labels = cross_corpus.common_emotions(corpora.values())
    said = label_map(corpora, labels)
    print("\n".join(said))
    runs: plan.Plan = {}
    own = {}
    for names in sets:
        tested = [name for name in tests if name not in names]
        if not tested:
            raise InputError(f"every corpus of --test is in the training set {'+'.join(names)}")
        command = prepared(recipe, corpora, names, tested, labels)
        own[names] = plan.cross_validation([*command, "--noprogressbar"], [1], seeds, runs)
    logs = next(iter(runs.values())).results / "logs"
    outcomes = campaign.run(runs, launchers.of_options(options, logs), logs)
    if failed := campaign.failures(outcomes):
        print("\n".join(f"{outcome}" for outcome in failed))
        return 1
    cells = [cell for names in sets for cell in measured(names, own[names], asked)]
    write(logs.parent / "cross-corpus", cells, said, labels, options.output)
    return 0


def _name(spec: str) -> str:
    return spec.partition("=")[0]


def read(
    sets: Sequence[Sequence[str]], tests: Sequence[str], merge: str | None
) -> dict[str, cross_corpus.Corpus]:
    """The corpora named NAME or NAME=PATH, each read once, by their names."""
    merges = hp.command_line(f"merge: {merge}")["merge"] if merge else {}
    if not isinstance(merges, Mapping) or not all(
        isinstance(own, Mapping) for own in merges.values()
    ):
        raise InputError(f"--merge is {merge}: give it as '{{corpus: {{calm: neutral}}}}'")
    found: dict[str, cross_corpus.Corpus] = {}
    for spec in dict.fromkeys([*(spec for own in sets for spec in own), *tests]):
        name, _, path = spec.partition("=")
        if name in found and not path:
            continue
        known = "table" if Path(path).suffix.lower() in ENDINGS else name
        _, manifest = manifests.manifest_of(known, path or None, complete=False)
        found[name] = cross_corpus.corpus(name, manifest, merges.get(name))
    if strange := [name for name in merges if name not in found]:
        raise InputError(f"--merge names {strange[0]}, which is none of {', '.join(found)}")
    return found


def label_map(corpora: Mapping[str, cross_corpus.Corpus], labels: Sequence[str]) -> list[str]:
    """What the emotions of each corpus count as: lines of Markdown."""
    lines = [f"Emotions that all these corpora have: {', '.join(labels)}.", ""]
    return lines + [f"- {own.name}: {', '.join(said_of(own, labels))}" for own in corpora.values()]


def said_of(corpus: cross_corpus.Corpus, labels: Sequence[str]) -> list[str]:
    """What each emotion of a corpus counts as, in words."""
    said = []
    for emotion, word in corpus.words.items():
        if word not in labels:
            said.append(f"{emotion} left out")
        else:
            said.append(emotion if word == emotion else f"{emotion} is {word}")
    return said


def prepared(
    recipe: Sequence[str],
    corpora: Mapping[str, cross_corpus.Corpus],
    names: Sequence[str],
    tested: Sequence[str],
    labels: Sequence[str],
) -> list[str]:
    """The command of one training set, its table written."""
    words = dict(zip(recipe, recipe[1:], strict=False))
    folder = Path(words.get("--results", "results")) / "cross-corpus"
    table = folder / f"{'+'.join(names)}-to-{'+'.join(tested)}.jsonl"
    training = [corpora[name] for name in names]
    cross_corpus.write_table(table, training, [corpora[name] for name in tested], labels)
    return cross_corpus.command(recipe, table, labels, tested)


def measured(
    names: Sequence[str], folders: Sequence[Path], asked: Sequence[conditions.Condition]
) -> list[dict]:
    """The cells of a training set, whose runs these are, one per seed."""
    complete = summary.runs_in(folders)
    clean = summary.predictions_of(complete)
    assert clean is not None  # there is one fold
    manifest = read_json(folders[0] / "manifest.json")
    number = {label: position for position, label in enumerate(clean.labels)}
    tested = {utt_id: manifest[utt_id] for utt_id in clean.ids}
    degraded = {}
    for condition in asked:
        said = [robustness.answers(run["folder"], condition, tested) for run in complete]
        heard = np.array([[number[own[utt_id]] for utt_id in clean.ids] for own in said])
        degraded[condition.name] = replace(clean, answers=heard)
    cells = transfer.cells(clean, manifest, degraded)
    facts = {"train": "+".join(names), "seeds": [run["seed"] for run in complete]}
    return [facts | {"folder": str(folders[0])} | cell for cell in cells]


def write(
    folder: Path,
    cells: Sequence[Mapping],
    said: Sequence[str],
    labels: Sequence[str],
    page: str | None,
) -> None:
    """The table on the terminal and in files, with a confusion matrix for each cell."""
    text = transfer.page(cells, said)
    write_atomically(folder / "table.json", as_json({"labels": list(labels), "cells": list(cells)}))
    write_atomically(folder / "table.md", text)
    if page:
        write_atomically(page, text)
    for cell in cells:
        title = f"trained on {cell['train']}, tested on {cell['test']}: UA {cell['UA']:.1f}"
        figure = folder / f"{cell['train']}-to-{cell['test']}.png"
        plots.confusion_matrix(cell["confusion"], labels, figure, title)
    print(f"\n{text}\nfiles: {folder}/")
