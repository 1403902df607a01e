"""From a command line to the settings of a run, and the help that a script prints."""

import logging
import os
import re
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
    known = ", ".join(f"hparams/{p.name}" for p in sorted(script.parent.glob("hparams/*.yaml")))
    raise InputError(f"there is no hparams file {name}: use one of {known}")


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
    common = script.parents[1] / "common" / "run.yaml"
    for path in [*sorted((script.parent / "hparams").glob("*.yaml")), common]:
        text = path.read_text()
        if script.name in text or path == common:
            lines += ["", f"settings of {path.parent.name}/{path.name}, each also --setting VALUE:"]
            shown = re.findall(r"^\w+: (?!!new|!name|!include).*$", text, flags=re.MULTILINE)
            lines += [f"  {line}" for line in shown]
    lines += [
        "",
        "--corpus iemocap, ravdess, voxceleb1 or table; --mini True for a trial without data;",
    ]
    lines += ["and SpeechBrain's run options: --device, --precision, --noprogressbar, ..."]
    return "\n".join(lines)
