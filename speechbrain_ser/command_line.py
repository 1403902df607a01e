"""From a command line to the settings of a run, and the help that a script prints."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from speechbrain_ser import hparams as hp
from speechbrain_ser.corpora import mini
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)


def find_yaml(name: str, script: Path) -> Path:
    """The hparams file: relative to the working folder, else to the script."""
    for path in (Path(name), script.parent / name):
        if path.is_file():
            return path.resolve()
    known = ", ".join(f"hparams/{path.name}" for path in yamls_of(script))
    raise InputError(f"there is no hparams file {name}: give first one of {known}")


def yamls_of(script: Path) -> list[Path]:
    """The hparams files beside a script whose header gives its command."""
    paths = sorted(script.parent.glob("hparams/*.yaml"))
    command = f"python recipes/{script.parent.name}/{script.name} "
    return [path for path in paths if command in path.read_text()]


def read(path: Path, overrides: Mapping) -> CommentedMap:
    """The yaml with its corpus, the mini preset if it applies, and the command line's overrides."""
    tree = hp.read(path, overrides.get("corpus"))
    corpus = hp.corpus_stem(tree)
    given = overrides.get("data_folder")
    if overrides.get("mini") and given:
        raise InputError("--mini True makes its own speech: leave out --data_folder, or --mini")
    data_folder = given or os.environ.get(f"SER_{corpus.upper()}")
    if overrides.get("mini", not data_folder and corpus in mini.LAYOUTS):
        if "mini" not in overrides:
            logger.info(
                "No data_folder is given (--data_folder PATH or SER_%s): THIS IS THE MINI PRESET, "
                "a small network on synthesised speech. Its numbers say nothing about %s.",
                corpus.upper(),
                corpus,
            )
        preset = hp.load_tree((path.parents[2] / "common" / "mini.yaml").read_text())
        hp.override(tree, preset["all"])
        hp.override(tree, preset[tree["experiment"]])
        tree["corpus"]["expected"] = None
        data_folder = str(mini.make(corpus))
    hp.override(tree, {key: value for key, value in overrides.items() if key != "corpus"})
    tree["data_folder"] = data_folder
    return tree


def help_text(script: Path) -> str:
    """The script's docstring, and the settings of its yaml files with their comments."""
    lines = [sys.modules["__main__"].__doc__.strip()]
    for path in [*yamls_of(script), script.parents[1] / "common" / "run.yaml"]:
        lines += ["", f"settings of {path.parent.name}/{path.name}:"]
        text = path.read_text().splitlines()
        lines += [f"  {line}" for line in text if line and not line.startswith("#")]
    lines += [
        "",
        "Each is also --setting VALUE, nested ones as --reader '{max_seconds: 5}', classes as",
        "--head '!new:speechbrain_ser.models.heads.LinearHead'. --corpus iemocap, ravdess,",
        "voxceleb1 or table; --mini True for a trial without data; and SpeechBrain's run options:",
        "--device, --precision, --noprogressbar, ...",
    ]
    return "\n".join(lines)
