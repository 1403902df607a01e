"""The corpus of a run: the same as before, every recording of it usable, and its parts."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import manifests, unreadable
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.splits import Parts
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.models import saved

logger = logging.getLogger("speechbrain_ser")
MANIFEST = "manifest.json"  # in the folder of a run


def read(
    settings: Mapping, corpus: Mapping, split: Callable[..., Parts], reader: SpeechReader | None
) -> tuple[dict, Parts, list[str]]:
    """The manifest and its parts, of recordings that the reader can use; why others are left out.

    settings : of the run; its `unreadable` says whether others are refused or left out
    """
    refused = settings["unreadable"] == "refuse"
    left_out: dict[str, str] = {}
    try:
        manifest = prepare(settings, corpus)
    except unreadable.Unreadable as error:
        if refused:
            raise
        manifest, left_out = error.rest, error.faults
    manifest = manifests.marked(manifest)
    while True:
        parts = hp.call("split", split, manifest, fold=settings["fold"])
        try:
            place = settings["data_folder"]
            unreadable.refuse(reader or SpeechReader(), parts, place, settings["workers"])
            break
        except unreadable.Unreadable as error:
            if refused:
                raise
            left_out |= error.faults
            manifest = {i: entry for i, entry in manifest.items() if i not in left_out}
    if left_out:
        first = next(iter(left_out.values()))
        logger.warning("%d recordings are left out, such as: %s", len(left_out), first)
    return manifest, parts, list(left_out.values())


def refuse_other_corpus(folder: Path, state: Mapping, manifest: Mapping[str, dict]) -> None:
    """Raise InputError if this run, or a finished fold or seed beside it, read other data."""
    path = folder / MANIFEST
    if has_begun(folder) and path.is_file():
        if changed := manifests.differences(read_json(path), manifest):
            raise InputError(
                f"{folder} began with another state of the corpus ({changed}): give this run a "
                "--variant NAME of its own, or delete that folder"
            )
    for results in sorted(folder.parents[1].glob("fold*/*/results.json")):
        there = read_json(results)
        if manifests.same_source(there, state) is False:
            changed = manifests.differences(read_json(results.with_name(path.name)), manifest)
            changed = changed or "an earlier version of this project told less of it"
            raise InputError(
                f"{results.parent}, a run of the same experiment, read another state of the corpus "
                f"({changed}): give this run a --variant NAME of its own, or delete "
                f"{folder.parents[1]}"
            )


def prepare(settings: Mapping, corpus: Mapping) -> dict:
    """The manifest of the corpus in data_folder; InputError if none is named."""
    if not settings["data_folder"]:
        name = corpus["name"]
        raise InputError(f"give --data_folder PATH, or set SER_{name.upper()}, to read {name}")
    return corpus["prepare"](settings["data_folder"])


def corpus_name(settings: Mapping) -> str:
    """What the results are called by: synthesised speech never bears a corpus' own name."""
    name = hp.corpus_title(settings["corpus"]["name"], settings["corpus"])
    return f"mini-{name}" if settings["mini"] else name


def has_begun(folder: Path) -> bool:
    """Whether a run folder holds work: a checkpoint or results."""
    return any(folder.glob("save/CKPT*")) or (folder / saved.RESULTS).is_file()
