"""A paper's phases: the networks of earlier runs as the start of the next one.

A yaml lists them as `phases: {name: {best, recipe, variant, same_corpus, overrides}}`. The network
in `best`, description and weights, becomes the value of the yaml's empty key `name`, unless the
Brain's `phase_settings` puts it elsewhere. Without `recipe` a phase cannot be trained from here.
"""

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser import parallel
from speechbrain_ser.data import manifests, splits
from speechbrain_ser.data.targets import labels_of
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved, seen

logger = logging.getLogger(__name__)
BLIND = {"select_by": "last", "patience": 0}  # choices that no phase needs a validation for
TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE")  # variables of a process that torchrun started


def descriptions(settings: Mapping, overrides: Mapping, passed: Mapping, script: Path) -> dict:
    """{name: its labels, reader and model}, after training what is missing in the mini preset.

    settings : the run's resolved tree
    overrides, passed : what its command line gave, settings and run options of SpeechBrain

    Raises InputError with the commands to run, in order, for phases that are missing otherwise.
    """
    wanted = settings["phases"]
    missing = {
        name: command(phase, settings, overrides, script) + run_options(passed)
        for name, phase in wanted.items()
        if "recipe" in phase and not Path(phase["best"]).is_dir() and not is_hub_id(phase["best"])
    }
    if missing and not settings["mini"]:
        lines = "\n".join(f"  {shlex.join(['python', *words])}" for words in missing.values())
        places = ", ".join(wanted[name]["best"] for name in missing)
        raise InputError(
            f"{settings['experiment']} starts from earlier phases that are not trained yet "
            f"({places} not found): run first, PATH_OF_... being a corpus' folder\n{lines}"
        )
    for name, words in missing.items():
        logger.info("\n== earlier phase %s: python %s", name, shlex.join(words))
        alone = {k: v for k, v in os.environ.items() if k not in TORCHRUN}
        status = subprocess.run(
            [sys.executable, *words], env=parallel.with_parent(alone)
        ).returncode
        if status != 0:
            raise InputError(f"the earlier phase {name} failed with status {status}, see above")
    return {name: saved.checked(phase["best"]) for name, phase in wanted.items()}


def check_labels(settings: Mapping, descriptions: Mapping[str, Mapping]) -> None:
    """Raise InputError unless every phase's model names the emotions of this run, in its order."""
    wanted = labels_of(settings["targets"]["emotion"])
    for name, description in descriptions.items():
        if wanted and list(description["labels"]) != wanted:
            raise InputError(
                f"{settings['phases'][name]['best']} names {', '.join(description['labels'])}, and "
                f"here the emotions are {', '.join(wanted)}: give the corpus and labels of its "
                "training"
            )


def some(
    phases: Mapping[str, Mapping], names: Sequence[str], overrides: Mapping[str, Mapping]
) -> dict[str, dict]:
    """The phases that are named (all, if none is), with overrides of their own beside the yaml's.

    Raises InputError for a name that no phase has.
    """
    if unknown := [name for name in (*names, *overrides) if name not in phases]:
        raise InputError(f"there is no member {unknown[0]}: use some of {', '.join(phases)}")
    return {
        name: {
            **phases[name],
            "overrides": {**phases[name]["overrides"], **overrides.get(name, {})},
        }
        for name in names or phases
    }


def is_hub_id(source: str) -> bool:
    """user/name, as opposed to the path of a run that is not there yet."""
    return source.count("/") == 1 and not source.startswith((".", "/"))


def command(phase: Mapping, settings: Mapping, overrides: Mapping, script: Path) -> list[str]:
    """The command line that trains a phase with what this run was given.

    Where the phase's corpus is known neither by that nor by the environment, its folder is a word
    to fill in: without one the command would be a trial of the mini preset.
    """
    recipe, hparams_file = phase["recipe"].split()
    recipe_script = script.parents[1] / recipe
    words = [os.path.relpath(recipe_script), hparams_file]
    inherited = ["results"]
    if phase["same_corpus"]:
        inherited += ["corpus", "data_folder", "split", "n_folds", "fold", "seed"]
        inherited += ["protocol", "unreadable"]
    options = {key: overrides[key] for key in inherited if key in overrides}
    if phase["same_corpus"]:  # other values are of a phase's own scores
        options |= {key: value for key, value in BLIND.items() if overrides.get(key) == value}
    if settings["mini"]:
        options["mini"] = True
    if phase.get("variant"):
        options["variant"] = phase["variant"]
    options |= phase.get("overrides") or {}
    tree = hp.read(recipe_script.parent / hparams_file, options.get("corpus"))
    corpus = hp.corpus_stem(tree).upper()
    if not settings["mini"] and "data_folder" not in options and f"SER_{corpus}" not in os.environ:
        options["data_folder"] = f"PATH_OF_{corpus}"
    for key, value in options.items():
        words += [f"--{key}", hp.inline(value)]
    return words


def run_options(passed: Mapping) -> list[str]:
    """SpeechBrain's run options as words: flags stand alone."""
    words = []
    for key, value in passed.items():
        words += [f"--{key}"] if value is True else [f"--{key}", str(value)]
    return words


def without(settings: Mapping) -> dict:
    """The settings that describe this run's own objects: a phase's are for another command."""
    return {k: v for k, v in settings.items() if k != "phases" and not k.endswith("_overrides")}


def start(
    networks: Mapping[str, nn.Module],
    wanted: Mapping,
    source: Mapping,
    parts: Mapping[str, Mapping[str, dict]],
) -> seen.Seen:
    """Load the phases' weights; return what the finished model will have seen, phases included.

    networks : phase -> the network that takes its weights
    source : {"corpus", "manifest"} of this run

    Raises InputError if a phase read another state of the same corpus, or was trained on a test
    utterance, or on a test speaker where the split promises unseen speakers.
    """
    corpus = source["corpus"]
    test_speakers = {entry["speaker"] for entry in parts["test"].values()}
    earlier = []
    for name, phase in wanted.items():
        results = saved.results_of(phase["best"])
        if phase.get("same_corpus", True) and manifests.same_source(results, source) is False:
            raise InputError(
                f"{phase['best']} was trained on another state of the corpus than is read here: "
                "train that phase again, or give the data_folder of its training"
            )
        saved.load_weights(networks[name], phase["best"])
        for known in saved.trained_on(phase["best"]):
            leaked = seen.among(parts["test"], known, "utterances")
            if splits.protocol(parts) != "speaker-dependent":
                leaked |= seen.among(test_speakers, known, "speakers")
            if known["corpus"] == corpus and leaked:
                raise InputError(
                    f"{phase['best']} was trained on this fold's test data "
                    f"({', '.join(sorted(leaked)[:3])}{' ...' if len(leaked) > 3 else ''}): "
                    f"train its phase with the same --fold"
                )
            earlier.append(known)
    trained, validated = parts["train"], {}
    if parts["valid"] is not parts["test"]:
        validated = {i: e for i, e in parts["valid"].items() if i not in trained}
    ids = [utt_id for entries in parts.values() for utt_id in entries]
    salts = [known["salt"] for known in earlier if known["corpus"] == corpus]
    salt = salts[0] if salts else seen.salt_of(corpus, ids)
    speakers = {entry["speaker"] for entry in trained.values()}
    more = {entry["speaker"] for entry in validated.values()} - speakers
    own = seen.entry(corpus, salt, speakers | more, [*trained, *validated], (more, validated))
    return seen.merged([own, *earlier])
