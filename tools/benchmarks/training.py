"""A fine-tuning epoch: SpeechBrain's recipe, Hugging Face's classifier, and ours, step by step.

All have the same shape of encoder with random weights, frozen CNN, batch size, recordings, loss and
Adam. SpeechBrain's is the step of its IEMOCAP recipe: its wav2vec2 lobe with output_norm,
StatisticsPooling, Linear, a loader in random order. Hugging Face's is
Wav2Vec2ForSequenceClassification. Ours adds one thing per row. Of an epoch's batches some are
timed, evenly spaced by their padded length.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.pooling import StatisticsPooling
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    Wav2Vec2FeatureExtractor,
)

from benchmarks import common
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.datasets import (
    BucketedBatches,
    ShuffledBatches,
    make_dataset,
    make_loader,
    replace_speech,
)
from speechbrain_ser.data.lengths import num_samples
from speechbrain_ser.data.store import FeatureStore
from speechbrain_ser.models.classifier import Classifier
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.pooling import MeanPooling
from speechbrain_ser.training import cache

Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # speech, lens -> logits
OURS = {  # name: fast path of the CPU, batching, dtype of the cache, precision
    "ours, padded": (False, "published", None, "fp32"),
    "+ fast path of the CPU": (True, "published", None, "fp32"),
    "+ cache of the CNN, float32": (True, "published", "float32", "fp32"),
    "+ cache of the CNN, float16": (True, "published", "float16", "fp32"),
    "+ bf16 autocast": (True, "published", "float16", "bf16"),
    "+ length buckets": (True, "bucketed", "float16", "bf16"),
}


def run(options: argparse.Namespace) -> None:
    """Print the seconds of an epoch each way, utterances per second, and ratios."""
    device = common.device_of(options)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = common.recordings(folder, options.recordings)
        timed = min(options.batches, options.recordings // options.batch_size)
        reader = SpeechReader(max_seconds=15, train_window="centre", normalise=True)
        config = common.SMALL if options.small else common.BASE
        loader = loader_of(manifest, reader, options, "published")
        seconds = {}
        for name, made in (
            ("SpeechBrain's recipe", speechbrain_step),
            ("Hugging Face's classifier", hugging_face_step),
        ):
            torch.manual_seed(0)
            forward, modules = made(config, temporary)
            seconds[name] = epoch(forward, modules.to(device), loader, device)
        filling = 0.0
        for name, (fast, batching, dtype, precision) in OURS.items():
            if fast and not dtype and device.type != "cpu":
                continue
            torch.manual_seed(0)
            model = network(options, device, fast)
            began = time.perf_counter()
            loader = loader_of(manifest, reader, options, batching)
            if dtype:
                used = {key: manifest[key] for batch in loader.batch_sampler.ids for key in batch}
                read = stored(model, reader, used, dtype, folder, device)
                audio = sum(entry["duration"] for entry in used.values())
                filling = max(filling, (time.perf_counter() - began) / audio)
                loader = loader_of(manifest, reader, options, batching, read)
            forward = from_store(model) if dtype else model
            seconds[name] = epoch(forward, model, loader, device, precision, fused=True)
    print(common.machine(device))
    print(
        f"{timed} of the {len(manifest) // options.batch_size} batches of {options.batch_size}, "
        f"recordings of IEMOCAP's durations, 15 s at most; {common.shape(options)}, random "
        "weights, CNN frozen. Filling the cache, once for all epochs, folds and seeds: "
        f"{filling:.3f} s per second of speech.\n"
    )
    slowest = seconds["SpeechBrain's recipe"]
    rows = [["", "s", "utterances/s", "against SpeechBrain's recipe"]]
    for name, own in seconds.items():
        rate = timed * options.batch_size / own
        rows.append([name, f"{own:.2f}", f"{rate:.2f}", f"{slowest / own:.2f}"])
    common.print_table(rows)


def network(options: argparse.Namespace, device: torch.device, fast: bool = True) -> Classifier:
    """Encoder, mean over time, linear layer."""
    encoder = Encoder(common.SMALL if options.small else common.BASE, cpu_fast_path=fast)
    head = LinearHead(encoder.dim, common.EMOTIONS)
    return Classifier(encoder, MeanPooling(encoder.dim), head).to(device).train()


def stored(
    model: Classifier,
    reader: SpeechReader,
    manifest: dict,
    dtype: str,
    folder: Path,
    device: torch.device,
):
    """Compute what the encoder's CNN makes of the recordings; return what reads it by path."""
    frontend = cache.FrozenPart(model.encoder)
    store = FeatureStore(frontend, reader, dtype, folder / "features")
    store.fill([entry["wav"] for entry in manifest.values()], device, progress=False)
    return store.read


def from_store(model: Classifier) -> Forward:
    """The network's forward from what `stored` reads."""

    def forward(stored: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        return model.classify(*model.encode_stored(stored, num_samples(stored, lens)))

    return forward


class SomeBatches(Sampler):
    """Of a sampler's batches `count`, evenly spaced by their padded length; the first one twice.

    With a count they are full ones; 0 is all.
    """

    def __init__(self, batches: Sampler, manifest: dict, count: int, size: int):
        names, entries = list(manifest), list(manifest.values())
        usable = [batch for batch in batches if not count or len(batch) == size]
        usable.sort(key=lambda batch: max(entries[index]["duration"] for index in batch))
        count = min(count or len(usable), len(usable))
        self.chosen = [usable[int((k + 0.5) * len(usable) / count)] for k in range(count)]
        self.ids = [[names[index] for index in batch] for batch in self.chosen]

    def __len__(self) -> int:
        return 1 + len(self.chosen)

    def __iter__(self) -> Iterator[list[int]]:
        yield from (self.chosen[0], *self.chosen)


def loader_of(manifest: dict, reader, options: argparse.Namespace, batching: str, read=None):
    """Batches of one epoch, the same utterances whatever the batching; `--batches` of them."""
    dataset = make_dataset(manifest, reader, {"emotion": common.EMOTIONS}, training=True)
    if read is not None:  # features, instead of speech
        replace_speech(dataset, "stored", read)
    targets = [entry["emotion"] for entry in manifest.values()]
    batches = ShuffledBatches(targets, options.batch_size, seed=0)
    if batching == "bucketed":
        batches = BucketedBatches(batches, [entry["duration"] for entry in manifest.values()])
    batches = SomeBatches(batches, manifest, options.batches, options.batch_size)
    return make_loader(dataset, options.workers, batches=batches)


def epoch(
    forward: Forward,
    modules: nn.Module,
    loader,
    device: torch.device,
    precision: str = "fp32",
    fused: bool | None = None,
) -> float:
    """Seconds of all steps of an epoch but the first, which starts the readers and warms up."""
    trained = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-5, fused=fused)

    def step(batch) -> None:
        batch = batch.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = forward(*getattr(batch, "stored", None) or batch.speech)
            loss = cross_entropy(logits.float(), batch.emotion_id)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    batches = iter(loader)
    step(next(batches))
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    finish()
    began = time.perf_counter()
    for batch in batches:
        step(batch)
    finish()
    return time.perf_counter() - began


def speechbrain_step(config: dict, folder: str) -> tuple[Forward, nn.Module]:
    """The forward of SpeechBrain's recipe (train_with_wav2vec2.py), and its modules."""
    hub = str(Path(folder, "hub"))
    AutoModel.from_config(AutoConfig.for_model(**config)).save_pretrained(hub)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(hub)
    lobe = Wav2Vec2(
        hub, save_path=folder, output_norm=True, freeze=False, freeze_feature_extractor=True
    )
    pooling = StatisticsPooling(return_std=False)
    dim = lobe.model.config.hidden_size
    linear = Linear(input_size=dim, n_neurons=len(common.EMOTIONS), bias=False)

    def forward(speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        frames = lobe(speech, lens)
        pooled = pooling(frames, lens)  # [batch, 1, dim]
        return linear(pooled.view(len(pooled), -1)).log_softmax(dim=1)

    return forward, nn.ModuleList([lobe, linear]).train()


def hugging_face_step(config: dict, folder: str) -> tuple[Forward, nn.Module]:
    """The forward of Hugging Face's classifier, and its modules."""
    classes = {"num_labels": len(common.EMOTIONS)}
    model = AutoModelForAudioClassification.from_config(AutoConfig.for_model(**config, **classes))
    model.freeze_feature_encoder()
    return lambda speech, lens: model(speech).logits, model.train()


def add_options(command: argparse.ArgumentParser) -> None:
    common.common(command)
    command.add_argument("--recordings", type=int, default=600)
    command.add_argument("--batch_size", type=int, default=6)
    command.add_argument("--batches", type=int, default=6, help="that are timed")
    command.add_argument("--workers", type=int, default=2, help="processes that read")
