"""Whether a network can use what a reader reads."""

import logging
import math
from collections.abc import Mapping

import torch

from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)


def check(reader: SpeechReader, network: torch.nn.Module, parts: Mapping[str, Mapping]) -> None:
    """Raise InputError if a network cannot use what the reader reads; say if it is used to other.

    network : also a part of one; what it says of itself counts, see Encoder
    """
    needed = getattr(network, "sample_rate", reader.sample_rate)
    if needed != reader.sample_rate:
        raise InputError(
            f"the reader's sample_rate is {reader.sample_rate}, but {type(network).__name__} needs "
            f"{needed}: make the two equal"
        )
    most = (getattr(network, "most_samples", None) or math.inf) / reader.sample_rate  # seconds
    fits = most == math.inf or reader.max_seconds is not None and reader.max_seconds <= most
    entries = {} if fits else {k: v for part in parts.values() for k, v in part.items()}
    if longer := [utt_id for utt_id, entry in entries.items() if entry["duration"] > most]:
        raise InputError(
            f"{len(longer)} recordings ({longer[0]} ...) are longer than the {most:g} s that "
            f"{type(network).__name__} reads: cut them, --reader '{{max_seconds: {most:g}}}'"
        )
    used_to = getattr(network, "normalised", None)
    if used_to is not None and used_to != reader.normalise:
        logger.warning(
            "%s was pretrained on speech that was%s normalised, and the reader's is%s: --reader "
            "'{normalise: %s}' makes them alike.",
            network.source,
            "" if used_to else " not",
            " not" if used_to else "",
            used_to,
        )
