"""Wang 2023: augmentation, in files per second and as a share of a training step.

Batches of 12 utterances of IEMOCAP's durations, cut at 7.5 s, as in train_supcon.py. A step is
forward and backward of both views through the encoder, its CNN frozen, and the optimiser's.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from tqdm import tqdm

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
    stopwatch,
)
from speechbrain_ser.audio import SpeechReader
from speechbrain_ser.augment import Mixed, Noise, Pitch, Reverberation, Volume
from speechbrain_ser.losses import SupervisedContrastive
from speechbrain_ser.models.classifier import Classifier
from speechbrain_ser.models.encoder import Encoder
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.pooling import MeanPooling


def run(options: argparse.Namespace) -> None:
    """Print each kind's time for a batch, and how much longer a step takes with it."""
    device = device_of(options)
    clock = stopwatch(device)
    batches = list(batches_of(options, device))
    kinds = {
        "noise": Noise(),
        "volume": Volume(),
        "reverberation": Reverberation(),
        "pitch": Pitch(),
    }
    kinds["mixed"] = Mixed([kinds[k] for k in ("pitch", "reverberation", "noise", "volume")])
    step = training_step(options, device)
    step(*batches[0])
    ms = statistics.median(clock(lambda b=b: step(*b)) for b in tqdm(batches, desc="steps"))
    rows = [["", "ms per batch", "files/s", "share of a step"]]
    for name, augmentation in kinds.items():
        times = [
            clock(lambda b=b, augment=augmentation: augment(*b, [f"{i}" for i in range(len(b[0]))]))
            for b in (batches[0], *batches)
        ]
        own = statistics.median(times[1:])
        share = own / (own + ms)
        rows.append([name, f"{own:.1f}", f"{12000 / own:.0f}", f"{100 * share:.1f}%"])
    print(machine(device))
    print(
        f"Median of {len(batches)} batches of 12 utterances; {shape(options)}, random weights, "
        f"24 views, fp32: a step without augmentation takes {ms:.0f} ms.\n"
    )
    print_table(rows)


def batches_of(options: argparse.Namespace, device: torch.device):
    """speech [12, time] and lens [12], `options.batches` times."""
    reader = SpeechReader(max_seconds=7.5, train_window="start", test_window="start")
    with tempfile.TemporaryDirectory() as folder:
        manifest = recordings(Path(folder), 12 * options.batches)
        speech = [reader(entry["wav"]) for entry in manifest.values()]
    for start in range(0, len(speech), 12):
        items = speech[start : start + 12]
        lengths = torch.tensor([len(item) for item in items])
        padded = torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
        yield padded.to(device), (lengths / lengths.max()).to(device)


def training_step(options: argparse.Namespace, device: torch.device):
    """A function (speech, lens) -> None: one step on the batch as both views."""
    torch.manual_seed(0)
    encoder = Encoder(SMALL if options.small else BASE, frozen="cnn")
    head = LinearHead(encoder.dim, EMOTIONS, dropout=0.1)
    model = Classifier(encoder, MeanPooling(encoder.dim), head).to(device).train()
    contrastive = SupervisedContrastive()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-4, momentum=0.9)
    targets = (torch.arange(12, device=device) % 4).repeat(2)

    def step(speech: torch.Tensor, lens: torch.Tensor) -> None:
        embedding = model.embed(torch.cat([speech, speech]), torch.cat([lens, lens]))
        loss = torch.nn.functional.cross_entropy(model.head(embedding), targets)
        (0.9 * loss + 0.1 * contrastive(embedding, targets)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def add_options(command: argparse.ArgumentParser) -> None:
    common(command)
    command.add_argument("--batches", type=int, default=5, help="of 12 utterances")
