"""A model from a stranger cannot run code: what is built is the very data that was checked.

`read` parses a description once, into scalars, lists and mappings; a mapping may bear a class of
this package's or SpeechBrain's models. `build` makes objects of that data, by keyword arguments
alone. Every text, number and size is within a budget before anything is made of it.
"""

import importlib
import os
import pkgutil
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import ruamel.yaml
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser import models
from speechbrain_ser.errors import InputError

TRUSTED = "SER_TRUSTED_MODULES"  # in the environment: a user's own modules, mylab.models,mylab.text
KEYS = ("labels", "reader", "model", "unsure_below", "ranges")
OTHERS = """speechbrain_ser.data.audio.SpeechReader speechbrain_ser.data.text.CharTokenizer
speechbrain_ser.data.text.SentencePieceTokenizer speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
speechbrain.lobes.models.ECAPA_TDNN.Classifier speechbrain.nnet.linear.Linear
speechbrain.nnet.normalization.BatchNorm1d speechbrain.nnet.normalization.LayerNorm
speechbrain.nnet.pooling.AttentionPooling speechbrain.nnet.pooling.StatisticsPooling
speechbrain.nnet.RNN.GRU speechbrain.nnet.RNN.LSTM""".split()  # no network, or not ours
MODULES = [f"{models.__name__}.{part.name}" for part in pkgutil.iter_modules(models.__path__)]
KINDS = ("map", "seq", "str", "int", "float", "bool", "null")  # yaml's own, that are data
# budgets: a published model needs a tenth of each
LARGEST, DEEPEST, NODES, CLASSES = 1_000_000, 40, 50_000, 300  # characters, levels, values, ...
TEXTS, ITEMS = 10_000, 64  # of a list of texts (labels), of another list
COUNTED = re.compile(r"layers|blocks|heads|groups$|repeats|scale$")  # things built one by one
MOST, MOST_COUNTED, MOST_WIDE, COUNTED_IN_ALL = 8_192, 128, 10_000_000, 2_000  # of a number
WIDE = re.compile(r"dim$|size$|channels$|neurons$|width|_id$|_base$|vocabulary$")
RANGES = {
    **{"sample_rate": (4_000, 192_000), "min_seconds": (0, 60), "max_seconds": (0, 3_600)},
    "unsure_below": (0, 1),
}
PATH = re.compile(r"^(/|~|\\|[A-Za-z]:[\\/])|(^|[\\/])\.\.([\\/]|$)|://")
MEANS_MORE = re.compile(r"^\s*\(.*\)\s*$|^\s*[!&*<%@`]")  # to another reader of yaml
WORD = re.compile(r"[\w.+-]{0,64}")  # a text in an encoder's config: no hub id, no file


class _Reader:
    """The nodes of one description, made data one after the other."""

    def __init__(self, name: str | Path):
        self.name, self.classes = name, 0
        self.counted: float = 0
        self.seen: set[int] = set()

    def refuse(self, node: Node, why: str) -> None:
        raise InputError(
            f"{self.name}, line {node.start_mark.line + 1}: {why}; a model's description may not "
            "hold it, so it is not loaded"
        )

    def data(self, node: Node, key: str = "", depth: int = 0, config: bool = False):
        """The node's data; `key` is whose value it is, `config` whether it is in an encoder's."""
        if id(node) in self.seen:
            self.refuse(node, f"the alias *{node.anchor}")
        self.seen.add(id(node))
        if depth > DEEPEST or len(self.seen) > NODES:
            self.refuse(node, f"more than {DEEPEST} levels or {NODES:,} values")
        tag = str(node.tag)
        if tag.startswith("!"):
            self.check_class(node, tag)
        elif tag.rpartition(":")[2] not in KINDS:
            self.refuse(node, f"the tag {tag[:80]}")
        if isinstance(node, SequenceNode):
            texts = all(str(item.tag).endswith(":str") for item in node.value)
            if len(node.value) > (TEXTS if texts else ITEMS):
                self.refuse(node, f"a list of {len(node.value):,} values")
            return CommentedSeq(self.data(item, key, depth + 1, config) for item in node.value)
        if isinstance(node, ScalarNode) and not tag.startswith("!"):
            return self.scalar(node, tag.rpartition(":")[2], key, config)
        made = hp.new(tag.removeprefix("!new:")) if tag.startswith("!") else CommentedMap()
        for name, value in node.value if isinstance(node, MappingNode) else ():
            if not isinstance(name, ScalarNode) or not str(name.tag).endswith(":str"):
                self.refuse(name, "a key that is no text")
            text = self.scalar(name, "str", "", True)
            if text in made:
                self.refuse(name, f"the key {text!r} twice")
            made[text] = self.data(value, text, depth + 1, config or text == "source")
            if text == "source":
                self.check_config(value, made[text])
            if text == "weights_of":
                self.check_name(value, made[text])
        return made

    def check_class(self, node: Node, tag: str) -> None:
        kind, _, name = tag.partition(":")
        self.classes += 1
        if kind != "!new" or self.classes > CLASSES:
            self.refuse(node, f"{tag[:80]}, which can call or read anything, or too many classes")
        if isinstance(node, SequenceNode) or isinstance(node, ScalarNode) and node.value:
            self.refuse(node, f"{tag[:80]} with arguments that have no names")
        if not is_model_class(name):
            module = name.rpartition(".")[0]
            self.refuse(
                node,
                f"the class {name[:80]!r}, which is none of this package's or SpeechBrain's models "
                f"(if it is your own, name its module in the environment, {TRUSTED}={module[:80]})",
            )

    def check_name(self, node: Node, name) -> None:
        from speechbrain_ser.models.encoders.pretrained import is_name  # late, see check_config

        if not is_name(name):
            self.refuse(node, "an encoder by more than a Hub id or a folder's name")

    def check_config(self, node: Node, config) -> None:
        """An encoder's config: of a kind that is known, with that kind's own settings."""
        from transformers import CONFIG_MAPPING  # late: it takes seconds, which ONNX does not need

        if not isinstance(config, Mapping):
            self.refuse(node, "an encoder's source that is no config, so that it would be fetched")
        if (kind := str(config.get("model_type"))) not in CONFIG_MAPPING:
            self.refuse(node, f"the encoder {kind[:40]!r}")
        known = {*CONFIG_MAPPING[kind]().to_dict(), "model_type"}  # no auto_map and the like
        if strange := [key for key in config if key not in known or key.startswith("_")]:
            self.refuse(node, f"the setting {strange[0][:40]!r} of an encoder")

    def scalar(self, node: ScalarNode, kind: str, key: str, config: bool):
        text = node.value
        if kind == "str":
            if not is_plain(text):
                self.refuse(node, f"the text {text[:60]!r}, a path or more than plain words")
            if config and not WORD.fullmatch(text):
                self.refuse(node, f"the text {text[:60]!r} in an encoder's config")
            return text
        if kind in ("bool", "null"):
            return {"true": True, "false": False}.get(text.lower())
        try:
            value = int(text) if kind == "int" else float(text.replace("_", "x"))
        except ValueError:  # 0x1f, 1_000, .inf
            value = float("nan")
        most = MOST_COUNTED if COUNTED.search(key) else MOST_WIDE if WIDE.search(key) else MOST
        low, high = RANGES.get(key, (-most, most))
        if not low <= value <= high:
            self.refuse(node, f"the number {text[:40]}, where {low:,} to {high:,} is allowed")
        self.counted += abs(value) if COUNTED.search(key) else 0
        if self.counted > COUNTED_IN_ALL:
            self.refuse(node, f"more than {COUNTED_IN_ALL:,} layers and the like in all")
        return value


def read(text: str, name: str | Path) -> CommentedMap:
    """A description's text -> its data: labels, reader, model, perhaps unsure_below, ranges.

    A class is its mapping's tag.

    Raises InputError, with the line, for one that does more than name a model.
    """
    if len(text) > LARGEST:
        raise InputError(f"{name} has {len(text)} characters, a model's has some hundred: refused")
    try:
        root = ruamel.yaml.YAML().compose(text)
    except (ruamel.yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name} is not valid yaml ({reason}): export the model again") from None
    if not isinstance(root, MappingNode):
        raise InputError(f"{name} holds no model: export it again")
    reader = _Reader(name)
    if others := [key for key, _ in root.value if key.value not in KEYS]:
        reader.refuse(others[0], f"a key beside {', '.join(KEYS)}")
    data = reader.data(root)
    labels = data.get("labels", [])
    texts = isinstance(labels, list) and all(isinstance(label, str) and label for label in labels)
    if not texts or len({*labels}) < len(labels):
        raise InputError(f"{name}: labels is no list of different texts: export the model again")
    if isinstance(below := data.get("unsure_below", 0), bool) or not isinstance(below, int | float):
        raise InputError(f"{name}: unsure_below is no probability: export the model again")
    if not _are_ranges(data.get("ranges", {})):
        raise InputError(f"{name}: ranges is no list of lowest and highest: export the model again")
    if "reader" in data:
        values = data["reader"].values() if isinstance(data["reader"], Mapping) else [[]]
        of = hp.tag_of(data["reader"]).removeprefix("!new:").rpartition(".")
        nested = any(isinstance(value, list | Mapping) for value in values)
        if nested or of[2] != "SpeechReader" and of[0] not in _trusted():
            raise InputError(f"{name}: its reader is no plain SpeechReader: export the model again")
    return data


def _are_ranges(given) -> bool:
    """Whether each name has two numbers, the lower one first."""
    if not isinstance(given, Mapping) or hp.tag_of(given):
        return False
    pairs = [pair for pair in given.values() if isinstance(pair, list) and len(pair) == 2]
    numbers = all(type(end) in (int, float) for pair in pairs for end in pair)
    return len(pairs) == len(given) and numbers and all(low < high for low, high in pairs)


def build(node, is_allowed: Callable[[str], bool] | None = None):
    """The objects that data describes, made by keyword arguments alone.

    Raises InputError for a tag that is not allowed (by default: all but !new: with a model's
    class), and where a class refuses its arguments.
    """
    tag = hp.tag_of(node)
    if isinstance(node, list) and not tag:
        return [build(value, is_allowed) for value in node]
    values = {k: build(v, is_allowed) for k, v in node.items()} if isinstance(node, Mapping) else {}
    if not tag:
        return values if isinstance(node, Mapping) else node
    kind, _, name = tag.partition(":")
    if not (is_allowed(tag) if is_allowed else kind == "!new" and is_model_class(name)):
        raise InputError(f"{tag[:80]} is none of this package's: it is not called")
    module, _, name = name.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name)
        return partial(made, **values) if kind == "!name" else made(**values)
    except InputError:
        raise
    except Exception as error:  # whatever arguments of a stranger provoke
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{name} cannot be built ({reason}): export the model again") from None


def is_plain(text: str) -> bool:
    """Whether every reader of yaml takes a text for itself, and none for a path or an address."""
    return text.isprintable() and not MEANS_MORE.search(text) and not PATH.search(text)


def is_model_class(name: str) -> bool:
    """Whether a dotted name is that of a class that a model may be made of."""
    module, _, own = name.rpartition(".")
    if name in OTHERS or module in _trusted():
        return True
    made = module in MODULES and vars(importlib.import_module(module)).get(own)
    return isinstance(made, type) and issubclass(made, nn.Module) and made.__module__ == module


def _trusted() -> set[str]:
    return {*os.environ.get(TRUSTED, "").split(",")} - {""}
