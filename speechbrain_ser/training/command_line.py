"""From a command line to the settings of a run, and the help that a script prints."""

import contextlib
import io
import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import speechbrain as sb
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from speechbrain.utils.distributed import infer_device

from speechbrain_ser import hparams as hp
from speechbrain_ser import parallel
from speechbrain_ser.data import targets as kinds
from speechbrain_ser.data.corpora import mini
from speechbrain_ser.errors import InputError
from speechbrain_ser.training import schema

logger = logging.getLogger(__name__)
# run options of SpeechBrain that change numbers: kept among the settings of the run
NUMERIC = (
    "precision",
    "eval_precision",
    "grad_accumulation_factor",
    "max_grad_norm",
    "skip_nonfinite_grads",
)
APART = ("corpus", "n_folds")  # of the command line: what is no setting of the yaml's own level
UNTYPED = re.compile(r"[^\w.+-]+")  # what a folder's name should not hold


class Command(NamedTuple):
    """A recipe's command line, read."""

    path: Path  # of the yaml
    tree: CommentedMap  # the yaml with all that the command line gives
    overrides: Mapping  # the settings that it gives
    run_opts: sb.utils.run_opts.RunOptions
    passed: dict  # the run options that it gives


def parse(script: Path, arguments: Sequence[str]) -> Command:
    """Read the arguments of a recipe's script; InputError for what cannot be one."""
    refuse_strays(arguments)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            hparams_file, run_opts, given = sb.parse_arguments(list(arguments))
    except SystemExit as ended:  # argparse has told its usage, and in the last line the error
        if not ended.code:
            raise
        error = said.getvalue().strip().rpartition("error: ")[2]
        raise InputError(error.removeprefix("argument ")) from None
    path = find_yaml(hparams_file, script)
    overrides = hp.command_line(given)
    passed = {key: run_opts[key] for key in sorted(run_opts.overridden_args) if key != "param_file"}
    if any(key.startswith("ckpt_interval") for key in passed):
        raise InputError("checkpoints are written at the end of each epoch: no --ckpt_interval")
    tree = read(path, overrides)
    hp.override(tree, {key: value for key, value in passed.items() if key in NUMERIC})
    asked = ("corpus", "targets")
    resolved = hp.resolve(tree, path, asked)
    if name_labels_by_texts(tree, resolved):
        resolved = hp.resolve(tree, path, asked)
    tell_targets(tree, resolved)
    refuse_precision(tree, run_opts)
    return Command(path, tree, overrides, run_opts, passed)


def check(settings: Mapping, path: Path, overrides: Mapping) -> None:
    """Raise InputError for a setting that is not of the type of its yaml's, or out of its range."""
    corpus = overrides.get("corpus")
    name = corpus.get("name") if isinstance(corpus, Mapping) else corpus
    schema.check(hp.plain(settings), hp.plain(hp.resolve(hp.read(path, name), path)))


def name_labels_by_texts(tree: CommentedMap, resolved: Mapping) -> bool:
    """Put the texts of labels that are numbers in their place, for a corpus holds texts.

    Whether the tree changed. Raises InputError for labels of which yaml makes something else.
    """
    changed = False
    labels = resolved["corpus"].get("labels")
    if isinstance(labels, list) and (texts := _texts("corpus.labels", labels)) != labels:
        tree["corpus"]["labels"] = CommentedSeq(texts)
        changed = True
    for field, values in tree["targets"].items():
        if isinstance(values, list) and (texts := _texts(f"targets.{field}", values)) != values:
            tree["targets"][field] = CommentedSeq(texts)
            changed = True
    return changed


def tell_targets(tree: CommentedMap, resolved: Mapping) -> None:
    """Tell a corpus that has `fields` and `shares` which of them the targets need.

    Raises InputError for targets that are none.
    """
    corpus, made = resolved["corpus"], kinds.of(resolved["targets"])
    numbers = kinds.numbers_of(made)
    if "fields" in corpus and numbers:
        known = [field for field in made if field == "emotion" or field in numbers]
        tree["corpus"]["fields"] = CommentedSeq(known)
    for target in made.values():
        if "shares" in corpus and target.kind == "shares":
            tree["corpus"]["shares"] = CommentedSeq(target.labels or corpus["labels"])


def _texts(name: str, labels: Sequence) -> list[str]:
    for label in labels:
        if isinstance(label, bool) or not isinstance(label, int | str):
            said = "null" if label is None else str(label)
            raise InputError(f"{name} has {said}, which yaml takes for no text: quote it, '{said}'")
    return [str(label) for label in labels]


def refuse_precision(settings: Mapping, run_opts: Mapping) -> None:
    """Raise InputError for a device that is not there, and for a precision that it has not."""
    device = run_opts["device"] or infer_device()
    parallel.refuse_device(device)
    asked = {key: settings[key] for key in ("precision", "eval_precision")}
    asked |= {"auto_mix_prec": "fp16"} if run_opts["auto_mix_prec"] else {}
    for key, value in asked.items():
        parallel.refuse_precision(key, value, device)


def refuse_strays(arguments: Sequence[str]) -> None:
    """Raise InputError for a word without a name, or a name without a value.

    SpeechBrain's parser would put the first aside, and take the next name for the second's value.
    """
    actions = sb.utils.run_opts.RunOptions._create_parser()._actions
    flags = {name for action in actions if action.nargs == 0 for name in action.option_strings}
    several = ("--jit_module_keys", "--compile_module_keys")
    words = list(arguments)
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        named = before.startswith("--") and "=" not in before
        is_flag = named and any(flag.startswith(before) for flag in flags)
        if word.startswith("--"):
            if named and not is_flag and before not in several:
                raise InputError(f"{before} has no value: give {before} VALUE")
        elif position and (not named or is_flag) and not {*several} & set(words[:position]):
            raise InputError(
                f"{word!r} belongs to no setting: give --SETTING {word}, and quote a value that "
                "holds blanks"
            )
    last = words[-1] if words else ""
    if last.startswith("--") and "=" not in last and not any(f.startswith(last) for f in flags):
        raise InputError(f"{last} has no value: give {last} VALUE")


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
    if not isinstance(overrides.get("mini", False), bool):
        raise InputError(f"mini is {overrides['mini']!r}: use True or False")
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
        hp.override(tree, mini_preset(path, tree["experiment"]))
        tree["corpus"]["expected"] = None
        data_folder = str(mini.make(corpus))
    if corpus == "table" and data_folder:  # two tables are two corpora
        tree["variant"] = f"_{UNTYPED.sub('-', Path(str(data_folder)).stem)}"
    hp.override(tree, {key: value for key, value in overrides.items() if key not in APART})
    tree["data_folder"] = data_folder
    if not isinstance(tree["targets"], Mapping):  # which others refer into
        raise InputError(f"targets is {tree['targets']!r}: use a mapping, {{emotion: [...]}}")
    if "n_folds" in overrides:
        deal(tree, path, overrides["n_folds"])
    return tree


def deal(tree: CommentedMap, path: Path, n_folds: int) -> None:
    """Have the split deal its speakers into so many folds; InputError for one that does not."""
    if isinstance(n_folds, bool) or not isinstance(n_folds, int) or n_folds < 2:
        raise InputError(f"n_folds is {n_folds}: use a number from 2")

    def put(node: Any) -> bool:
        if not isinstance(node, MutableMapping):
            return False
        if "n_folds" in node:
            node["n_folds"] = n_folds
            return True
        return any(put(child) for child in node.values())

    if put(tree["split"]):
        return
    if not put(split := hp.resolve(tree, path, ["split"])["split"]):
        raise InputError(
            f"n_folds is {n_folds}, and the folds of {hp.tag_of(split).rpartition('.')[2]} are the "
            "corpus' own: leave it out, or deal the speakers, "
            f"--split '!name:speechbrain_ser.data.splits.by_actor {{n_folds: {n_folds}}}'"
        )
    hp.override(
        tree["corpus"], CommentedMap(emotion_split=CommentedMap(n_folds=n_folds)), "corpus."
    )


def mini_preset(path: Path, experiment: str) -> CommentedMap:
    """What the mini preset overrides in an experiment's yaml."""
    preset = hp.load_tree((path.parents[2] / "common" / "mini.yaml").read_text())
    return preset["all"] | preset[experiment]


def help_text(script: Path) -> str:
    """The script's docstring, and the settings of its yaml files with their comments."""
    lines = [(sys.modules["__main__"].__doc__ or "").strip()]
    for path in [*yamls_of(script), script.parents[1] / "common" / "run.yaml"]:
        lines += ["", f"settings of {path.parent.name}/{path.name}:"]
        text = path.read_text().splitlines()
        lines += [f"  {line}" for line in text if line and not line.startswith("#")]
    lines += [
        "",
        "Each is also --setting VALUE, nested ones as --reader '{max_seconds: 5}', classes as",
        "--head '!new:speechbrain_ser.models.heads.LinearHead'. --corpus of ser corpora list, or",
        "table; --n_folds K deals its speakers into K folds; --encoder sets dim, too;",
        "--mini True for a trial without data; and SpeechBrain's run options: --device,",
        "--precision, --noprogressbar, ...",
    ]
    return "\n".join(lines)
