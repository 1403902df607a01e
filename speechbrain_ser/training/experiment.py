"""`run(TheBrain)`: from a recipe's command line to results and a model; the only main."""

import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import speechbrain as sb

from speechbrain_ser import hparams as hp
from speechbrain_ser import parallel
from speechbrain_ser.data import datasets, manifests, splits
from speechbrain_ser.data import targets as kinds
from speechbrain_ser.errors import InputError, program
from speechbrain_ser.files import write_atomically
from speechbrain_ser.models import saved
from speechbrain_ser.models.heads import ranges_of
from speechbrain_ser.results import report
from speechbrain_ser.training import (
    claims,
    command_line,
    imbalance,
    phases,
    schedules,
    source,
    trust,
)
from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.checkpoints import AtomicCheckpointer, EarlyStop

logger = logging.getLogger("speechbrain_ser")


def run(brain_class: type[SerBrain]) -> None:
    """Run the recipe script that defines `brain_class`: prepare, split, fit, test, export.

    A user's mistake ends in one sentence and exit status 2.
    """
    script = Path(sys.modules["__main__"].__file__ or "")
    console = logging.StreamHandler(sys.stdout)
    if os.environ.get("RANK", "0") != "0":
        console.setLevel(logging.WARNING)  # torchrun's first process speaks for all
    console.addFilter(lambda r: r.name.startswith("speechbrain_ser") or "WARN" in r.levelname)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[console])
    parallel.end_with_parent()

    @program(script.name)
    def main() -> None:
        if not sys.argv[1:] or {"-h", "--help"} & set(sys.argv[1:]):
            print(command_line.help_text(script))
        else:
            run_once(brain_class, script, sys.argv[1:])

    if status := main():
        sys.exit(status)


def run_once(brain_class: type[SerBrain], script: Path, arguments: list[str]) -> None:
    """One run, or the rest of one that was interrupted, or nothing if it is complete."""
    path, tree, overrides, run_opts, passed = command_line.parse(script, arguments)
    if not sys.stderr.isatty():
        # a bar is one endless line there
        given = run_opts.overridden_args | {"noprogressbar"}
        run_opts = replace(run_opts, noprogressbar=True, overridden_args=given)
    if "encoder" in overrides and "dim" in tree and "dim" not in overrides:
        # late, with transformers: it takes seconds, which a plan of runs does not need
        from speechbrain_ser.models.encoders import pretrained

        tree["dim"] = pretrained.dim_of(tree["encoder"])
    if run_opts.debug:  # a few batches of it are not the run
        tree["output_folder"] = f"{hp.resolve(tree, path)['output_folder']}_debug"
        shutil.rmtree(tree["output_folder"], ignore_errors=True)
    settings = hp.resolve(tree, path)
    command_line.check(settings, path, overrides)
    parallel.begin(run_opts)
    refuse_alone_only(settings)
    tree["phases"] = settings["phases"] = brain_class.phases(settings)
    with parallel.first_alone():
        descriptions = phases.descriptions(settings, overrides, passed, script)
    hp.override(tree, brain_class.phase_settings(settings, descriptions))
    settings = hp.resolve(tree, path)

    folder = Path(settings["output_folder"])
    built = hp.build({key: settings[key] for key in ("corpus", "split", "reader")})
    if built["split"] is None:
        raise InputError(f"{built['corpus']['name']} has no {next(iter(settings['targets']))}s")
    with parallel.first_alone():
        manifest, parts, left_out = source.read(settings, **built)
        state: dict[str, Any] = {
            "corpus": source.corpus_name(settings),
            "manifest": manifests.digest(manifest),
        }
        source.refuse_other_corpus(folder, state, manifest)
        state |= {"left_out": len(left_out)} if left_out else {}
    refuse_choices_on_test(settings, parts)
    targets = kinds.settled(settings["targets"], settings["corpus"]["labels"], parts["train"])
    report.refuse_labels(targets)
    refuse_shares(brain_class, script, targets)
    tree["targets"].update(targets)
    known = {**settings, "targets": targets}
    hp.override(tree, brain_class.corpus_settings(known, parts))
    settings = hp.resolve(tree, path)

    if not parallel.is_first():
        parallel.wait()  # until the folder is taken
        if not report.is_complete(folder):
            fit_and_test(brain_class, settings, run_opts, parts, state)
        parallel.end()
        return
    with claims.claim(folder, settings):
        log = logging.FileHandler(folder / "log.txt")
        logging.getLogger().addHandler(log)
        try:
            shutil.copy(script, folder)
            write_atomically(folder / source.MANIFEST, json.dumps(manifest, indent=0))
            if left_out:
                write_atomically(folder / "left_out.txt", "".join(f"{x}\n" for x in left_out))
            parallel.wait()
            if not report.is_complete(folder):
                fit_and_test(brain_class, settings, run_opts, parts, state)
        finally:
            logging.getLogger().removeHandler(log)
            log.close()
    parallel.end()
    report.show(folder)


def fit_and_test(
    brain_class: type[SerBrain],
    settings: Mapping,
    run_opts: Mapping,
    parts: Mapping,
    state: Mapping,
) -> None:
    """Train on parts["train"], choose on parts["valid"], test on parts["test"], export.

    state : of the corpus, {"corpus": its name, "manifest": a digest}, and the number left out
    """
    folder = Path(settings["output_folder"])
    main_target = next(iter(settings["targets"]))
    logger.info(
        "%s, fold %s\n%s", state["corpus"], settings["fold"], splits.describe(parts, main_target)
    )
    if shared := report.shared_speakers(parts, main_target):
        logger.warning("%s", splits.shared_in_words(shared))
    sb.utils.seed_everything(settings["seed"], verbose=False)
    hparams = hp.build(phases.without(settings))
    known = phases.start(brain_class.phase_networks(hparams), settings["phases"], state, parts)
    hparams["epochs"] = EarlyStop(hparams["max_epochs"], hparams["patience"], hparams["grace"])
    modules = dict(hparams["modules"])
    if hparams["contrastive"] is not None and hparams["contrastive_weight"]:
        modules["contrastive"] = hparams["contrastive"]
    imbalance.count_classes(modules, hparams["targets"], parts["train"])
    trained = {name: module for name, module in modules.items() if list(module.parameters())}
    brain = brain_class(
        modules=modules,
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=AtomicCheckpointer(folder / "save", {**trained, "epochs": hparams["epochs"]}),
    )
    brain.parts, brain.settings = parts, hp.plain(settings)
    refuse_other_numbers(brain)
    trust.begin(brain, settings)
    batches = hp.call(
        "batches",
        hparams["batches"],
        [entry[main_target] for entry in parts["train"].values()],
        batch_size=hparams["batch_size"],
        seed=hparams["seed"],
    )
    if hparams["batching"] == "bucketed":
        seconds = [entry["duration"] for entry in parts["train"].values()]
        batches = datasets.BucketedBatches(batches, seconds)
    brain.shares = batches = parallel.SharedBatches(batches)
    if hparams["augment"] is not None:
        batches = datasets.TwoViews(brain.shares)
    loaders = {
        part: datasets.make_loader(
            datasets.share_by_duration(dataset) if part != "train" else dataset,
            hparams["workers"],
            hparams["test_batch_size"],
            batches if part == "train" else None,
        )
        for part, dataset in brain.make_datasets(parts).items()
    }
    brain.train_sampler = batches
    brain.fit(hparams["epochs"], loaders["train"], loaders["valid"])
    brain.evaluate(loaders["test"])
    if not parallel.is_first():
        return
    facts = {**state, **imbalance.collapsed(brain, settings), **trust.facts(brain)}
    results = report.write(folder, brain, facts, parts)
    if hparams["logger"] is not None and hparams["epochs"].history:
        hparams["logger"].end(results, sorted(folder.glob("*.png")))
    model, settings = brain.modules.model, brain.exported(settings)
    whole = hparams["export_encoder"]
    saved.export(folder / "best", settings, model, brain.labels, known, results, whole)
    report.complete(folder)


def refuse_alone_only(settings: Mapping) -> None:
    """Raise InputError for what only one process can do."""
    if parallel.size() == 1:
        return
    if not settings["max_epochs"] and "passes" not in settings:
        raise InputError(f"{settings['experiment']} trains nothing: start it without torchrun")
    if settings["contrastive"] is not None and settings["contrastive_weight"]:
        raise InputError(
            "a contrastive loss compares all utterances of a batch, which torchrun would split: "
            "start this run with python"
        )


def refuse_choices_on_test(settings: Mapping, parts: Mapping) -> None:
    """Raise InputError if an honest run would choose its epoch or rate on the test part."""
    unseen = parts["valid"] is not parts["test"]
    if not unseen and settings["protocol"] != "replication" and chooses_on_validation(settings):
        raise InputError(
            "this split has no validation, and the epoch may not be chosen on the test part: set "
            "select_by to last, patience to 0 and schedule to another than plateau, or label the "
            "run with --protocol replication"
        )


def chooses_on_validation(settings: Mapping) -> bool:
    """Whether validation decides which epoch is taken, when training ends, or a learning rate."""
    schedule = hp.build({"schedule": settings["schedule"]})["schedule"]
    by_score = settings["select_by"] != "last" or bool(settings["patience"])
    return by_score or schedules.watches_validation(schedule)


def refuse_shares(brain_class: type[SerBrain], script: Path, targets: Mapping) -> None:
    """Raise InputError for annotators' shares where the script's loss does not know them."""
    for field, target in kinds.of(targets).items():
        if target.kind == "shares" and not brain_class.knows_shares:
            raise InputError(
                f"{script.name} learns classes, and targets.{field} is of shares: "
                "recipes/RAVDESS/train_dimensions.py learns all kinds of targets, with a "
                "fine-tuned encoder recipes/IEMOCAP/train_dimensions.py"
            )


def refuse_other_numbers(brain: SerBrain) -> None:
    """Raise InputError unless the head answers the numbers among the targets, and no others."""
    wanted = {field: (own.low, own.high) for field, own in kinds.numbers_of(brain.targets).items()}
    answered = ranges_of(brain.modules.model)
    if wanted != answered:
        raise InputError(
            f"targets has {_told(wanted)}, and the network's head answers {_told(answered)}: give "
            "the head the same targets, and an earlier run that it comes from; or take "
            "recipes/RAVDESS/train_dimensions.py, which learns all kinds of targets"
        )


def _told(ranges: Mapping[str, tuple[float, float]]) -> str:
    told = (f"{name} from {low:g} to {high:g}" for name, (low, high) in ranges.items())
    return " and ".join(told) or "no numbers"
