"""Pepino 2021: an epoch of the dense network from the feature store, and one with the encoder.

Both train on all layers of a frozen encoder, on the same recordings.
"""

import argparse
import functools
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from speechbrain.utils.checkpoints import Checkpointer

from benchmarks.common import (
    BASE,
    EMOTIONS,
    SMALL,
    common,
    device_of,
    machine,
    print_table,
    recordings,
    shape,
)
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.datasets import WrappedBatches, make_loader
from speechbrain_ser.data.lengths import num_samples
from speechbrain_ser.data.store import FeatureStore
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.frontends import EncoderLayers
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.probe import Branch, DenseBody, Probe
from speechbrain_ser.training import schedules
from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.checkpoints import EarlyStop
from speechbrain_ser.training.probe_brain import ProbeBrain


class Recomputing(ProbeBrain):
    """A ProbeBrain without a store: the encoder runs over every batch of every epoch."""

    make_datasets = SerBrain.make_datasets

    def compute_forward(self, batch, stage):
        model = self.modules.model
        speech, lens = self.speech_of(batch)
        samples = num_samples(speech, lens)
        features, frames = [], []
        order = samples.argsort()
        for chosen in order.split(8):  # of similar length, little padding
            longest = int(samples[chosen].max())
            alone = model.branches[0].frontend(speech[chosen, :longest], samples[chosen] / longest)
            features += list(alone[0])
            frames.append(alone[1])
        padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
        back = order.argsort()
        encoded = [(padded[back], torch.cat(frames)[back])]
        return SimpleNamespace(logits=model.classify(encoded))


def run(options: argparse.Namespace) -> None:
    """Print seconds per epoch from the feature store and with the encoder in each epoch."""
    device = device_of(options)
    with tempfile.TemporaryDirectory() as folder:
        manifest = recordings(Path(folder), options.recordings)
        torch.manual_seed(0)
        frontend = EncoderLayers(Encoder(SMALL if options.small else BASE))
        model = Probe([Branch(frontend)], DenseBody(), LinearHead(128, EMOTIONS), "speaker")
        batches = WrappedBatches([e["emotion"] for e in manifest.values()], batch_size=32, seed=0)
        seconds, setting_up = {}, {}
        for brain_class, epochs in ((ProbeBrain, 3), (Recomputing, 1)):
            brain = brain_class(
                modules={"model": model, "criterion": torch.nn.CrossEntropyLoss()},
                opt_class=functools.partial(torch.optim.Adam, eps=1e-7),
                hparams={
                    "reader": SpeechReader(
                        max_seconds=15, train_window="start", test_window="start"
                    ),
                    "targets": {"emotion": EMOTIONS},
                    "store": functools.partial(FeatureStore, folder=folder, dtype=options.dtype),
                    "epochs": EarlyStop(epochs),
                    "clip_value": 1,
                    "lr": 1e-4,
                    "schedule": schedules.constant,
                    "augment": None,
                    "cache": None,
                    "logger": None,
                    "seed": 0,
                },
                run_opts={"device": str(device), "max_grad_norm": float("inf")},
                checkpointer=Checkpointer(folder),
            )
            brain.train_sampler = batches
            began = time.perf_counter()
            dataset = brain.make_datasets({"train": manifest})["train"]
            setting_up[brain_class] = time.perf_counter() - began
            brain.fit(brain.hparams.epochs, make_loader(dataset, workers=0, batches=batches))
            seconds[brain_class] = brain.hparams.epochs.seconds / epochs
        size = sum(path.stat().st_size for path in Path(folder).glob("*/*.safetensors"))
    speech = sum(min(entry["duration"], 15) for entry in manifest.values())
    print(machine(device))
    print(
        f"{len(manifest)} recordings of IEMOCAP's durations, {speech:.0f} s (15 s each at most); "
        f"all layers of {shape(options)}, random weights, batch 32; store {options.dtype}, "
        f"{size / 1e9:.2f} GB.\n"
    )
    ratio = seconds[Recomputing] / seconds[ProbeBrain]
    once = setting_up[ProbeBrain]
    print_table(
        [
            ("", "s", "recordings/s", "times real time"),
            timed("filling the store, once", once, len(manifest), speech),
            timed("an epoch with the encoder", seconds[Recomputing], len(manifest), speech),
            timed("an epoch from the store", seconds[ProbeBrain], len(manifest), speech),
        ]
    )
    print(f"\nAn epoch from the store is {ratio:.1f} times as fast.")


def timed(name: str, seconds: float, recordings: int, speech: float) -> tuple[str, ...]:
    """A row of the table."""
    return name, f"{seconds:.2f}", f"{recordings / seconds:.1f}", f"{speech / seconds:.0f}"


def add_options(command: argparse.ArgumentParser) -> None:
    common(command)
    add = command.add_argument
    add("--recordings", type=int, default=96, help="how many, of IEMOCAP's durations")
    add("--dtype", choices=["float16", "float32"], default="float16", help="on disk")
