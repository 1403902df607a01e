"""What the settings of a run may be: types and ranges, checked before anything is built.

A setting has the type of its default in the yaml; the tables below add ranges and choices by name,
wherever the name stands, arguments of classes included. A value of a class (a tag) is the class'
own affair.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from speechbrain_ser.data import targets as kinds
from speechbrain_ser.errors import InputError

MANY = 1_000_000_000
WHOLE = {  # whole numbers: the least and the most
    **dict.fromkeys(("batch_size", "test_batch_size", "grad_accumulation_factor"), (1, MANY)),
    **dict.fromkeys(
        ("fold", "n_folds", "blocks", "heads", "speaker_attention_heads", "dim"), (1, MANY)
    ),
    **dict.fromkeys(("width", "attention_channels", "crop_frames", "max_k"), (1, MANY)),
    **dict.fromkeys(("updates_per_epoch", "per_epoch", "passes", "sample_rate"), (1, MANY)),
    **dict.fromkeys(("max_epochs", "patience", "grace", "updates", "workers"), (0, MANY)),
    **dict.fromkeys(("skip_block", "expected", "expected_speakers", "size"), (0, MANY)),
    "seed": (0, 2**32 - 1),
}
TINY = 1e-12  # above zero
REAL = {  # numbers
    **dict.fromkeys(("dropout", "hidden_dropout", "attention_dropout", "layerdrop"), (0, 1)),
    **dict.fromkeys(("activation_dropout", "projection_dropout", "time_mask"), (0, 1)),
    **dict.fromkeys(("contrastive_weight", "decay", "factor", "momentum", "eps"), (0, 1)),
    **dict.fromkeys(("share", "valid_share", "test_share"), (TINY, 1 - TINY)),
    **dict.fromkeys(("lr", "alpha", "beta", "weight_decay", "reversal"), (0, 1e6)),
    **dict.fromkeys(("scale", "temperature", "inverse_penalty"), (TINY, 1e6)),
    **dict.fromkeys(("clip_value", "max_grad_norm"), (TINY, math.inf)),
    "mixing": (0, 1e6),
    "unsure_error": (0, 1 - TINY),
    "margin": (0, math.pi),
    "min_seconds": (0, 3_600),
    "max_seconds": (0.025, 1e6),
}
CHOICES = {
    "protocol": ("honest", "replication"),
    "batching": ("published", "bucketed"),
    "unreadable": ("refuse", "leave_out"),
    "cache": (None, "float16", "float32"),
    "precision": ("fp32", "bf16", "fp16"),
    "eval_precision": ("fp32", "bf16", "fp16"),
    "padding": ("exact", "as_published", "thirty_seconds"),
    "ctc_reduction": ("mean", "sum"),
    "valid_by": ("utterance", "speaker"),
}
NULL = ("max_seconds", "expected", "expected_speakers", "time_mask", "layerdrop", "unsure_error")
# by which an epoch is chosen
MEASURES = re.compile(r"(WA|UA|F1|CCC|MSE|pearson)(_[\w.+-]+)?|WER|KL|loss|last")
OBJECTS = ("augment", "contrastive", "logger")  # a class, or null
OF_THE_RUN = ("emotion", "speaker", "pretrained", "trained")  # put there by an earlier phase
MIXED = ("frozen", "encoder", "layers", "corpus", "split", "network", "source")


def check(settings: Mapping, defaults: Mapping) -> None:
    """Raise InputError, with the setting's name, for a value that is not of its type or range.

    settings, defaults : plain trees (hparams.plain), the second without the command line
    """
    _check_mapping(settings, defaults, "")


def _check_mapping(settings: Mapping, defaults: Mapping, where: str) -> None:
    for key, value in settings.items():
        if key in ("tag", "value"):
            continue
        name, default = f"{where}{key}", defaults.get(key)
        if key == "phases" and not where:
            _check_phases(value)
            continue
        if default is None and value is not None and not where and key in OF_THE_RUN:
            raise InputError(
                f"{name} is put there by the run: name another phase, --{key}_best PATH"
            )
        if (
            key in OBJECTS
            and value is not None
            and not (isinstance(value, Mapping) and "tag" in value)
        ):
            raise InputError(f"{name} is {value!r}: a class is needed, '!new:module.Class {{}}'")
        if isinstance(value, Mapping) and key == "labels":
            kinds.labels_of(value)  # a target that has more to it than its labels
            continue
        if isinstance(value, Mapping) and f".{where}".endswith(".targets."):
            kinds.of({key: value})  # what it may be is known there
            continue
        if isinstance(value, Mapping):
            scalars = (*WHOLE, *REAL, *CHOICES, "select_by", "data_folder")
            is_scalar = key in scalars and not isinstance(default, Mapping)
            is_known = isinstance(default, Mapping) or default is None or key in MIXED
            if "tag" not in value and (is_scalar or not is_known):
                raise InputError(f"{name} is a mapping: {_wanted(key, default)}")
            _check_mapping(value, default if isinstance(default, Mapping) else {}, f"{name}.")
        elif isinstance(default, Mapping) and "tag" in default and key not in MIXED:
            if value is not None or not where and key not in OBJECTS:  # null: without it
                raise InputError(f"{name} is {value!r}: a class is needed, '!new:module.Class'")
        else:
            _check_value(key, name, value, default)


def _check_phases(value: Any) -> None:
    """name: {best: a model, ...} of each."""
    entries = value.values() if isinstance(value, Mapping) else [None]
    if not all(isinstance(entry, Mapping) and entry.get("best") for entry in entries):
        raise InputError(f"phases is {value!r}: each phase's model is named by --NAME_best PATH")


def _check_value(key: str, name: str, value: Any, default: Any) -> None:
    if key in CHOICES:
        good = value in CHOICES[key]
    elif key == "select_by":
        good = isinstance(value, str) and bool(MEASURES.fullmatch(value))
    elif key == "data_folder":
        good = value is None or isinstance(value, str)
    elif value is None:
        good = default is None or key in NULL or key in MIXED
    elif key in WHOLE:
        good = _is_number(value, int) and WHOLE[key][0] <= value <= WHOLE[key][1]
    elif key in REAL:
        good = _is_number(value, float) and REAL[key][0] <= value <= REAL[key][1]
    elif isinstance(value, list):
        _check_list(name, value, default)
        good = default is None or isinstance(default, list) or key in MIXED
    elif default is None or key in MIXED:
        good = not isinstance(value, float) or math.isfinite(value)
    elif isinstance(default, bool):
        good = isinstance(value, bool)
    elif isinstance(default, int | float):
        good = _is_number(value, float) and math.isfinite(value)
    elif isinstance(default, str):
        may_lack = key.endswith("variant") or not default  # and a variant may be 2, or True
        good = isinstance(value, str | int if may_lack else str) and (value != "" or may_lack)
    else:
        good = False
    if not good:
        raise InputError(f"{name} is {value!r}: {_wanted(key, default)}")


def _check_list(name: str, values: list, default: Any) -> None:
    """Numbers where the yaml has them, and no text twice: of labels and targets each is a class."""
    if isinstance(default, list) and default and all(_is_number(x, float) for x in default):
        for value in values:
            if not _is_number(value, float) or not math.isfinite(value):
                raise InputError(f"{name} has {value!r}: use numbers, such as {default!r}")
    for position, value in enumerate(values):
        if isinstance(value, str) and value in values[:position]:
            raise InputError(f"{name} has {value!r} twice: name each value once")


def _is_number(value: Any, kind: type) -> bool:
    kinds = (int,) if kind is int else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and not math.isnan(value)


def _wanted(key: str, default: Any) -> str:
    """What a setting may be, in words."""
    if key == "select_by":
        return "use WA, UA, F1, CCC, KL, WER, loss or last, or WA_gender and the like"
    if key in CHOICES:
        return f"use {' or '.join(str(choice).replace('None', 'null') for choice in CHOICES[key])}"
    for table, kind in ((WHOLE, "whole number"), (REAL, "number")):
        if key in table:
            low, high = table[key]
            least = "above 0" if low == TINY else f"from {low:g}"
            return f"use a {kind} {least}" + (f" to {high:g}" if high < 1e6 else "")
    kinds = {bool: "True or False", int: "a number", float: "a number", list: "a list"}
    for type_, words in kinds.items():
        if isinstance(default, type_):
            return f"use {words}, such as {default!r}"
    return f"use a text, such as {default!r}" if default else "it cannot be that"
