"""A model from a stranger cannot run code: its hyperparams.yaml is checked before it is built.

HyperPyYAML calls whatever a yaml names. Here only classes of models are named, with plain numbers
and texts for arguments; what else a yaml can hold (`!apply`, `!name`, `!include`, references,
aliases, paths) is refused with its line. Weights are safetensors, which hold numbers alone, and
their shapes are compared with the model's before it takes any memory.
"""

import importlib
import os
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import ruamel.yaml
import safetensors
import torch
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from torch import nn
from transformers import CONFIG_MAPPING

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError

TRUSTED = "SER_TRUSTED_MODULES"  # in the environment: a user's own modules, mylab.models,mylab.text
KEYS = ("labels", "reader", "model")
OTHERS = {  # what is no network, or not ours
    "speechbrain_ser.audio": ("SpeechReader",),
    "speechbrain_ser.text": ("CharTokenizer", "SentencePieceTokenizer"),
    "speechbrain.lobes.features": ("Fbank", "MFCC"),
    "speechbrain.lobes.models.ECAPA_TDNN": ("ECAPA_TDNN", "Classifier"),
    "speechbrain.nnet.activations": ("Softmax", "Swish"),
    "speechbrain.nnet.CNN": ("Conv1d", "Conv2d"),
    "speechbrain.nnet.dropout": ("Dropout2d",),
    "speechbrain.nnet.linear": ("Linear",),
    "speechbrain.nnet.normalization": ("BatchNorm1d", "LayerNorm"),
    "speechbrain.nnet.pooling": ("AttentionPooling", "Pooling1d", "StatisticsPooling"),
    "speechbrain.nnet.RNN": ("GRU", "LSTM", "LiGRU", "RNN"),
    "speechbrain.processing.features": ("InputNormalization",),
}
LARGEST = 1_000_000  # characters of a hyperparams.yaml
DEEPEST = 40  # nested mappings and lists
MOST = 10_000_000  # of any whole number
COUNTS = ("blocks", "num_hidden_layers", "num_feat_extract_layers", "heads", "layers")
FEW = 500  # of the parts that a network counts
PLAIN = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))
PATH = re.compile(r"^(/|~|\\|[A-Za-z]:[\\/])|(^|[\\/])\.\.([\\/]|$)|://")
WORD = re.compile(r"[\w.+-]{0,64}")  # a text in an encoder's config: no hub id, no file


def check(text: str, name: str | Path) -> None:
    """Raise InputError, with the line, for a hyperparams.yaml that does more than name a model."""
    if len(text) > LARGEST:
        raise InputError(f"{name} has {len(text)} characters, a model's has some hundred: refused")
    try:
        root = ruamel.yaml.YAML().compose(text)
    except (ruamel.yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name} is not valid yaml ({reason}): export the model again") from None

    def refuse(node: Node, why: str) -> None:
        raise InputError(
            f"{name}, line {node.start_mark.line + 1}: {why}; a model's description may not hold "
            "it, so it is not loaded"
        )

    if not isinstance(root, MappingNode):
        raise InputError(f"{name} holds no model: export it again")
    for key, _ in root.value:
        if key.value not in KEYS:
            refuse(key, f"the key {str(key.value)[:50]!r}, where only {', '.join(KEYS)} belong")
    seen: set[int] = set()
    for node, depth, where in _nodes(root):
        if id(node) in seen:
            refuse(node, f"the alias *{node.anchor}")
        seen.add(id(node))
        if depth > DEEPEST:
            refuse(node, f"more than {DEEPEST} levels")
        tag = str(node.tag)
        if tag.startswith("!"):
            _check_class(node, tag, refuse)
        elif isinstance(node, ScalarNode):
            if tag not in PLAIN:
                refuse(node, f"the tag {tag}")
            if where != "tokenizer.model" and PATH.search(node.value):
                refuse(node, f"the path {node.value[:60]!r}")
            most = FEW if where.rpartition(".")[2] in COUNTS else MOST
            if tag.endswith(":int") and not _within(node.value, most):
                refuse(node, f"the number {node.value[:40]}, where {most:,} is the most")
        elif tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            refuse(node, f"the tag {tag}")
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if not isinstance(key, ScalarNode) or str(key.tag) not in PLAIN:
                    refuse(key, "a key that is no text")
                if key.value == "source":
                    _check_config(value, refuse)


def _nodes(root: Node) -> Iterator[tuple[Node, int, str]]:
    """Every node once per place, with its depth, and the last two keys above it."""
    waiting = [(root, 0, "")]
    while waiting:
        node, depth, where = waiting.pop()
        yield node, depth, where
        if isinstance(node, MappingNode):
            for key, value in node.value:
                yield key, depth, ""
                above = where.rpartition(".")[2]
                waiting.append((value, depth + 1, f"{above}.{key.value}"))
        elif isinstance(node, SequenceNode):
            waiting += [(item, depth + 1, where) for item in node.value]


def _within(number: str, most: int) -> bool:
    try:
        return abs(int(number.replace("_", ""), 0)) <= most
    except ValueError:  # 0777, 1:30: whole numbers of old yaml, in no export
        return False


def _check_class(node: Node, tag: str, refuse) -> None:
    kind, _, name = tag.partition(":")
    if kind != "!new":
        refuse(node, f"{tag[:80]}, which can call or read anything")
    if isinstance(node, ScalarNode) and node.value:
        refuse(node, f"{tag[:80]} with the text {node.value[:40]!r}")
    if not is_model_class(name):
        module = name.rpartition(".")[0]
        refuse(
            node,
            f"the class {name[:80]!r}, which is none of this package's or SpeechBrain's models (if "
            f"it is your own, name its module in the environment, {TRUSTED}={module[:80]})",
        )


def is_model_class(name: str) -> bool:
    """Whether a dotted name is that of a class that a model may be made of."""
    module, _, found = name.rpartition(".")
    if found in OTHERS.get(module, ()):
        return True
    own = os.environ.get(TRUSTED, "").split(",")
    if module and module in own:
        return True
    if module not in _model_modules():
        return False
    made = vars(importlib.import_module(module)).get(found)
    return isinstance(made, type) and issubclass(made, nn.Module) and made.__module__ == module


@cache
def _model_modules() -> tuple[str, ...]:
    from speechbrain_ser import models

    return tuple(f"{models.__name__}.{part.name}" for part in pkgutil.iter_modules(models.__path__))


def _check_config(node: Node, refuse) -> None:
    """An encoder's config: of a kind that is known, with that kind's own settings, and plain."""
    if not isinstance(node, MappingNode):
        refuse(node, "an encoder's source that is no config, so that it would be fetched")
    found = {key.value: value for key, value in node.value}
    kind = getattr(found.get("model_type"), "value", None)
    if kind not in CONFIG_MAPPING:
        refuse(node, f"the encoder {str(kind)[:40]!r}")
    known = CONFIG_MAPPING[kind]().to_dict().keys() | {"model_type"}
    for key, value in node.value:
        if key.value not in known or key.value.startswith("_") or key.value in FORBIDDEN:
            refuse(key, f"the setting {str(key.value)[:40]!r} of an encoder")
        for inner, _, _ in _nodes(value):
            if isinstance(inner, ScalarNode) and not WORD.fullmatch(inner.value):
                refuse(inner, f"the text {inner.value[:60]!r} in an encoder's config")


FORBIDDEN = ("auto_map", "attn_implementation", "quantization_config", "trust_remote_code")


def check_weights(path: Path, tree: Mapping) -> None:
    """Raise InputError unless a safetensors file holds exactly this model's tensors.

    The model is built without memory for this, so that sizes made up by a stranger cost nothing.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            there = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except (safetensors.SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} does not hold this model's weights ({reason}): train or fetch it again"
        ) from None
    try:
        with torch.device("meta"):
            model = hp.build({"model": tree["model"]})["model"]
    except InputError:
        raise
    except Exception as error:  # whatever arguments of a stranger provoke
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the model of {path.parent} cannot be built ({type(error).__name__}: {reason}): "
            "export it again"
        ) from None
    needed = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if there != needed:
        wrong = sorted(name for name in {*there, *needed} if there.get(name) != needed.get(name))
        told = ", ".join(
            f"{name} {there.get(name, 'absent')} for {needed.get(name, 'none')}"
            for name in wrong[:2]
        )
        raise InputError(
            f"{path} does not hold this model's weights ({len(wrong)} tensors differ: {told}): "
            "train or fetch it again"
        )
