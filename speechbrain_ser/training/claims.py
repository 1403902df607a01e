"""A run's folder: taken by one process, for the settings with which the run began.

Only `max_epochs` may be another, where the epochs that are done do not depend on it: what goes on
is then the run that would have begun so.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import filelock
import ruamel.yaml

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically
from speechbrain_ser.models import saved
from speechbrain_ser.results import report
from speechbrain_ser.training import checkpoints, schedules, source

logger = logging.getLogger("speechbrain_ser")
# settings that change no number: a run may go on with others. What is in data_folder is compared.
FREE = ("workers", "logger", "export_encoder", "data_folder")
AUDIO_FOLDERS = ("audio_folder", "audio")  # of a corpus, which may move
REMEDY = "give this run a --variant NAME of its own, or delete that folder"


def claim(folder: Path, settings: Mapping) -> filelock.FileLock:
    """Take a run folder for these settings; what a run came to after fewer epochs is taken back.

    Raises InputError if it was made with others (with the difference), if the epochs that are done
    would be others with this max_epochs, or if it is in use.
    """
    path = folder / saved.HYPERPARAMS
    before = epochs = settings["max_epochs"]
    if path.is_file() and source.has_begun(folder):
        there, here = placeless(read_settings(path)), placeless(hp.plain(settings))
        if lines := hp.differences({**there, "max_epochs": epochs}, here):
            raise InputError(
                f"{folder} holds a run with other settings ({'; '.join(lines)}): {REMEDY}"
            )
        before = there.get("max_epochs", epochs)
        if before != epochs:
            refuse_other_epochs(folder, settings, before)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(f"another process is running in {folder}: wait for it to end") from None
    if before != epochs:  # first: these settings beside those answers would be a lie
        said = "%s goes on to max_epochs %s: what it came to with %s is replaced"
        logger.info(said, folder, epochs, before)
        report.withdraw(folder)
    text = hp.dump(settings)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)
    return lock


def refuse_other_epochs(folder: Path, settings: Mapping, before: int) -> None:
    """Raise InputError where a run begun with this max_epochs would not have come this way.

    before : the max_epochs of the run in the folder
    """
    epochs, history = settings["max_epochs"], checkpoints.history(folder / "save")
    told = f"{folder} holds a run with max_epochs {before}"
    if not history:
        raise InputError(f"{told} and no checkpoint from which {epochs} could be reached: {REMEDY}")
    if epochs < len(history):
        raise InputError(f"{told}, {len(history)} of them done, more than {epochs}: {REMEDY}")
    schedule = hp.build({"schedule": settings["schedule"]})["schedule"]
    losses = [row["valid_loss"] for row in history]
    if not schedules.agree(schedule, (before, epochs), losses):
        name = hp.tag_of(settings["schedule"]).rpartition(".")[2]
        raise InputError(
            f"{told}; with {epochs} the learning rates of the {len(history)} that are done would "
            f"have been others, for the schedule {name} depends on their number: {REMEDY}"
        )


def read_settings(path: Path) -> dict:
    """The settings of a run's folder, plain; InputError if they cannot be read."""
    try:
        return hp.plain(hp.load_tree(path.read_text(encoding="utf-8")))
    except (ruamel.yaml.YAMLError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"{path} is damaged ({reason}): delete that run's folder and run it again"
        ) from None


def placeless(settings: Mapping) -> dict:
    """Plain settings without what changes no number: where results and audio lie, what is FREE."""
    results = str(settings.get("results", ""))

    def moved(node):
        if isinstance(node, dict):
            return {key: moved(value) for key, value in node.items() if key not in AUDIO_FOLDERS}
        if isinstance(node, list):
            return [moved(value) for value in node]
        inside = isinstance(node, str) and (node == results or node.startswith(f"{results}/"))
        return f"<results>{node[len(results) :]}" if inside else node

    # null is as if it were not there: a run of an earlier version lacks what this one can do
    kept = {k: v for k, v in settings.items() if k not in FREE and v is not None}
    return {key: moved(value) for key, value in kept.items()}
