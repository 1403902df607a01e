"""How the cost of an epoch grows with the number of utterances and with their length.

Encoder, mean over time and a linear layer; the CNN frozen, its output computed in each epoch, or
stored. Proportional growth keeps the last two columns where they are.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks import common
from benchmarks.training import epoch, from_store, loader_of, network, stored
from speechbrain_ser.audio import SpeechReader

TIMES = (1, 4, 16)  # the first number of utterances
LENGTHS = (3.0, 15.0, 60.0)  # seconds


def run(options: argparse.Namespace) -> None:
    """Print seconds per epoch, and per hour of speech."""
    device = common.device_of(options)
    torch.manual_seed(0)
    model = network(options, device)
    rows = [
        ["utterances", "s each", "s per epoch", "s per epoch, cached", "s per hour of speech"]
        + ["s per hour, cached"]
    ]
    cases = [(options.recordings * times, None) for times in TIMES]
    cases += [(options.recordings, length) for length in LENGTHS]
    for count, length in cases:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            manifest = common.recordings(folder, count, length)
            reader = SpeechReader(normalise=True)
            read = stored(model, reader, manifest, "float16", folder, device)
            seconds = [
                epoch(
                    forward, model, loader_of(manifest, reader, options, "published", way), device
                )
                for forward, way in ((model, None), (from_store(model), read))
            ]
        hours = sum(entry["duration"] for entry in manifest.values()) / 3600
        rows.append(
            [f"{count}", f"{length:.0f}" if length else "as IEMOCAP"]
            + [f"{own:.2f}" for own in seconds]
            + [f"{own / hours:.0f}" for own in seconds]
        )
    print(common.machine(device))
    print(f"Batch {options.batch_size}; {common.shape(options)}, random weights, fp32.\n")
    common.print_table(rows)


def add_options(command: argparse.ArgumentParser) -> None:
    common.common(command)
    command.add_argument("--recordings", type=int, default=12, help="and 4 and 16 times as many")
    command.add_argument("--batch_size", type=int, default=6)
    command.set_defaults(batches=0)  # all of them are timed
    command.add_argument("--workers", type=int, default=2, help="processes that read")
