"""Hugging Face's networks, from the Hub, a folder or a config; where an encoder's name leads."""

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils import logging as transformers_logging

from speechbrain_ser.errors import InputError

transformers_logging.set_verbosity_error()  # its notices on unused heads read like errors
transformers_logging.disable_progress_bar()

ENCODERS = "SER_ENCODERS"  # in the environment: a folder that holds encoders' folders
SHARDS = "model-*-of-*.safetensors"
WORD = "[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
NAME = re.compile(f"{WORD}(/{WORD})?")


def is_name(text: str) -> bool:
    """Whether a text is a Hub id or the name of one folder, and no path beside that."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None


def resolve(source: str) -> str:
    """Where an encoder lies: a folder as it is given, else that of SER_ENCODERS, else the Hub."""
    return source if Path(source).is_dir() else in_encoders(source) or source


def in_encoders(name: str) -> str | None:
    """The folder in SER_ENCODERS of this name, or of the last part of this Hub id."""
    root = os.environ.get(ENCODERS)
    if not root or not is_name(name):
        return None
    names = (name, name.rpartition("/")[2])
    return next((str(Path(root, one)) for one in names if Path(root, one).is_dir()), None)


def fetched(name: str) -> Path:
    """The folder of an encoder that a model names: in SER_ENCODERS, or the Hub's safetensors.

    The name is never that of another folder. Raises InputError if it is in neither place.
    """
    if not is_name(name):
        raise InputError(f"{str(name)[:80]!r} names no encoder: a Hub id or a folder's name does")
    if folder := in_encoders(name):
        return Path(folder)
    try:
        patterns = [SAFE_WEIGHTS_NAME, SHARDS]
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # of the network or the Hub, which raise of many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        place = os.environ.get(ENCODERS, "not set")
        raise InputError(
            f"the model's encoder {name} is not in {ENCODERS} ({place}) and not to be had from the "
            f"Hub ({reason}): set {ENCODERS} to a folder that holds it, or connect to the Hub once"
        ) from None


def name_of(source: str | Mapping) -> str | None:
    """What `fetched` finds a source's weights by; None for random ones, and for pickles."""
    if isinstance(source, Mapping) or source.endswith(".json"):
        return None
    name = Path(source).absolute().name if Path(source).is_dir() else source
    files = (
        cached_file(
            resolve(source),
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        for file in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)
    )
    return name if is_name(name) and any(files) else None


def tensors_of(name: str, prefix: str, most: int) -> dict[str, torch.Tensor]:
    """The tensors that an encoder's name leads to, of those whose names begin with `prefix`.

    Raises InputError for none, and, before they take memory, for more than `most` values.
    """
    folder, size = fetched(name), 0
    tensors: dict[str, torch.Tensor] = {}
    whole = folder / SAFE_WEIGHTS_NAME
    for path in [whole] if whole.is_file() else sorted(folder.glob(SHARDS)):
        with safetensors.safe_open(path, framework="pt") as file:
            wanted = [key for key in file.keys() if re.match(prefix, key)]
            size += sum(math.prod(file.get_slice(key).get_shape()) for key in wanted)
            if size > most:
                raise InputError(
                    f"{folder} holds more than the model's encoder {name}, so it is not read: set "
                    f"{ENCODERS} to a folder that holds that one"
                )
            tensors |= {key: file.get_tensor(key) for key in wanted}
    if not tensors:
        raise InputError(
            f"{folder} holds no safetensors of the model's encoder {name}: put its "
            f"{SAFE_WEIGHTS_NAME} there"
        )
    return tensors


def model_type_of(source: str | Mapping) -> str:
    """What a source (see Encoder) says it is."""
    if isinstance(source, Mapping):
        return str(source.get("model_type"))
    with _in_a_sentence(source):
        return config_of(source).model_type


def config_of(source: str | Mapping) -> PretrainedConfig:
    """The config of a source."""
    if isinstance(source, Mapping):
        return AutoConfig.for_model(**source)
    if source.endswith(".json"):
        return AutoConfig.for_model(**PretrainedConfig._dict_from_json_file(source))
    return AutoConfig.from_pretrained(resolve(source), trust_remote_code=False)


def dim_of(source: str | Mapping) -> int:
    """How many dimensions the frames of a source's layers have."""
    with _in_a_sentence(source):
        return config_of(source).hidden_size


def is_normalised(source: str | Mapping) -> bool | None:
    """Whether a source's own feature extractor normalises speech; None if it does not say."""
    if isinstance(source, Mapping) or source.endswith(".json"):
        return None
    with _in_a_sentence(source):
        path = cached_file(
            resolve(source),
            "preprocessor_config.json",
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        extractor = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
        wave = extractor.get("feature_extractor_type", "").startswith("Wav2Vec2")
        return bool(extractor.get("do_normalize", wave)) if extractor else None


def load_model(
    source: str | Mapping,
    network: type[AutoModel | PreTrainedModel] = AutoModel,
    prefix: str = "",
    weights_of: str | None = None,
    **settings,
) -> nn.Module:
    """The Hugging Face network of `source` (see Encoder), with these settings in its config.

    network : of which class, if it is a part of what the source holds
    prefix : of that part's weights there, a regular expression
    weights_of : the name of the encoder whose weights a config gets, but on the meta device

    None leaves a setting as it is in the config.
    """
    with _in_a_sentence(weights_of or source):
        config = config_of(source)
        for name, value in settings.items():
            if hasattr(config, name) and value is not None:
                setattr(config, name, value)
        config.dtype = torch.float32
        if isinstance(source, Mapping) or source.endswith(".json"):
            if issubclass(network, PreTrainedModel):
                made: Callable[..., PreTrainedModel] = network._from_config
            else:
                made = network.from_config
            if weights_of is None or torch.get_default_device().type == "meta":
                return made(config)
            with torch.device("meta"):
                empty = made(config)
            size = sum(parameter.numel() for parameter in empty.parameters())
            network, place = type(empty), None
            state = tensors_of(weights_of, prefix, 2 * size)  # heads of its pretraining included
        else:
            place, state = resolve(source), None
        load: Any = network.from_pretrained  # typed as if it never gave a report
        model, report = load(
            place,
            state_dict=state,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told below
            trust_remote_code=False,
            key_mapping={prefix: ""} if prefix else None,
        )
        # Hugging Face fills what a checkpoint lacks with random numbers
        others = {key for key, *_ in report["mismatched_keys"]}
        if missing := sorted({*report["missing_keys"], *others} - {"masked_spec_embed"}):
            raise InputError(
                f"encoder {weights_of or source} lacks {len(missing)} weights of its config, or "
                f"has others ({', '.join(missing[:2])} ...): fetch the encoder of this config"
            )
        return model


@contextlib.contextmanager
def _in_a_sentence(source: str | Mapping):
    """Whatever a foreign config or checkpoint provokes becomes an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        name = "config in the yaml" if isinstance(source, Mapping) else source
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"encoder {name} does not load ({reason}): give a hub id, a folder with "
            f"config.json and weights (or its name in {ENCODERS}), or a config.json for random "
            "weights"
        ) from None


def first(output: torch.Tensor | tuple) -> torch.Tensor:
    """A module's output, or the first of its outputs."""
    return output[0] if isinstance(output, tuple) else output
