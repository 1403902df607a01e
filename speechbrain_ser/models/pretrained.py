"""Hugging Face's networks of the wav2vec 2.0 family, from the Hub, a folder or a config."""

from collections.abc import Mapping

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig
from transformers.utils import logging as transformers_logging

from speechbrain_ser.errors import InputError

transformers_logging.set_verbosity_error()  # its notices on unused heads read like errors
transformers_logging.disable_progress_bar()


def load_model(source: str | Mapping, **settings: float | bool | None) -> nn.Module:
    """The Hugging Face network of `source` (see Encoder), with these settings in its config.

    None leaves a setting as it is there.
    """
    pretrained = False
    try:
        if isinstance(source, Mapping):
            config = AutoConfig.for_model(**source)
        elif source.endswith(".json"):
            config = AutoConfig.for_model(**PretrainedConfig._dict_from_json_file(source))
        else:
            config, pretrained = AutoConfig.from_pretrained(source, trust_remote_code=False), True
        if not hasattr(config, "conv_stride"):
            raise InputError(f"{source} is a {config.model_type}, not a wav2vec 2.0-like encoder")
        for name, value in settings.items():
            if hasattr(config, name) and value is not None:
                setattr(config, name, value)
        config.dtype = torch.float32
        if not pretrained:
            model = AutoModel.from_config(config, trust_remote_code=False)
        else:
            model, report = AutoModel.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                trust_remote_code=False,
            )
            # Hugging Face fills what a checkpoint lacks with random numbers
            if missing := sorted(set(report["missing_keys"]) - {"masked_spec_embed"}):
                raise InputError(
                    f"encoder {source} lacks {len(missing)} weights of its config "
                    f"({', '.join(missing[:2])} ...): fetch it again, or correct its config.json"
                )
        if not hasattr(model, "feature_extractor"):
            name = "the encoder in the yaml" if isinstance(source, Mapping) else source
            raise InputError(f"{name} is a {config.model_type}, not a wav2vec 2.0-like encoder")
        return model
    except InputError:
        raise
    except Exception as error:  # whatever a foreign config or checkpoint provokes
        name = "config in the yaml" if isinstance(source, Mapping) else source
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"encoder {name} does not load ({reason}): give a hub id, a folder with "
            "config.json and weights, or a config.json for random weights"
        ) from None


def first(output: torch.Tensor | tuple) -> torch.Tensor:
    """A module's output, or the first of its outputs."""
    return output[0] if isinstance(output, tuple) else output
