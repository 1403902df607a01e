"""Hugging Face's networks, from the Hub, a folder or a config."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from speechbrain_ser.errors import InputError

transformers_logging.set_verbosity_error()  # its notices on unused heads read like errors
transformers_logging.disable_progress_bar()


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
    return AutoConfig.from_pretrained(source, trust_remote_code=False)


def is_normalised(source: str | Mapping) -> bool | None:
    """Whether a source's own feature extractor normalises speech; None if it does not say."""
    if isinstance(source, Mapping) or source.endswith(".json"):
        return None
    with _in_a_sentence(source):
        path = cached_file(
            source,
            "preprocessor_config.json",
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        extractor = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
        wave = extractor.get("feature_extractor_type", "").startswith("Wav2Vec2")
        return bool(extractor.get("do_normalize", wave)) if extractor else None


def load_model(
    source: str | Mapping, network: type = AutoModel, prefix: str = "", **settings
) -> nn.Module:
    """The Hugging Face network of `source` (see Encoder), with these settings in its config.

    network : of which class, if it is a part of what the source holds
    prefix : of that part's weights there, a regular expression

    None leaves a setting as it is in the config.
    """
    with _in_a_sentence(source):
        config = config_of(source)
        for name, value in settings.items():
            if hasattr(config, name) and value is not None:
                setattr(config, name, value)
        config.dtype = torch.float32
        if isinstance(source, Mapping) or source.endswith(".json"):
            made = getattr(network, "from_config", None) or network._from_config
            return made(config)
        model, report = network.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
            key_mapping={prefix: ""} if prefix else None,
        )
        # Hugging Face fills what a checkpoint lacks with random numbers
        if missing := sorted(set(report["missing_keys"]) - {"masked_spec_embed"}):
            raise InputError(
                f"encoder {source} lacks {len(missing)} weights of its config "
                f"({', '.join(missing[:2])} ...): fetch it again, or correct its config.json"
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
            "config.json and weights, or a config.json for random weights"
        ) from None


def first(output: torch.Tensor | tuple) -> torch.Tensor:
    """A module's output, or the first of its outputs."""
    return output[0] if isinstance(output, tuple) else output
