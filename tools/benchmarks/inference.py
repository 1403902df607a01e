"""Files per second: EmotionRecognizer, and the loop of SpeechBrain's own emotion interface.

Both have the same encoder weights. SpeechBrain's is its wav2vec2 lobe, StatisticsPooling and
Linear, one file after the other, as its EncoderClassifier and the interface on the Hub do it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import soundfile
import torch
from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.pooling import StatisticsPooling
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

from benchmarks import common
from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.audio import SpeechReader
from speechbrain_ser.models.classifier import Classifier
from speechbrain_ser.models.encoder import Encoder
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.pooling import MeanPooling


def run(options: argparse.Namespace) -> None:
    """Print each way's seconds, files per second, times real time, and the ratio to the loop."""
    device = common.device_of(options)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        hub = str(Path(folder, "hub"))
        network = AutoModel.from_config(
            AutoConfig.for_model(**(common.SMALL if options.small else common.BASE))
        )
        network.save_pretrained(hub)
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(hub)
        encoder = Encoder(hub, frozen="all")
        head = LinearHead(encoder.dim, common.EMOTIONS)
        model = Classifier(encoder, MeanPooling(encoder.dim), head).eval()
        parts = {"labels": common.EMOTIONS, "reader": SpeechReader(normalise=True), "model": model}
        recognizer = EmotionRecognizer({"model": model}, parts, {"device": str(device)})
        loop = speechbrain_loop(hub, folder, encoder.dim, device)
        manifest = common.recordings(Path(folder), options.recordings)
        paths = [entry["wav"] for entry in manifest.values()]
        audio = sum(entry["duration"] for entry in manifest.values())
        recognizer.classify_files(paths[:2])
        loop(paths[:2])
        seconds = {"SpeechBrain's loop": timed(lambda: loop(paths))}
        for size in options.batch_sizes:
            seconds[f"classify_files, batch {size}"] = timed(
                lambda size=size: recognizer.classify_files(paths, size)
            )
    print(common.machine(device))
    encoder_shape = common.shape(options)
    print(
        f"{len(paths)} recordings of IEMOCAP's durations, {audio:.0f} s; {encoder_shape}, fp32.\n"
    )
    slowest = seconds["SpeechBrain's loop"]
    rows = [["", "s", "files/s", "times real time", "against the loop"]]
    for name, own in seconds.items():
        cells = [f"{len(paths) / own:.1f}", f"{audio / own:.0f}", f"{slowest / own:.2f}"]
        rows.append([name, f"{own:.2f}", *cells])
    common.print_table(rows)


def speechbrain_loop(
    hub: str, folder: str, dim: int, device: torch.device
) -> Callable[[list[str]], list[torch.Tensor]]:
    """paths -> probabilities of each, by SpeechBrain's parts."""
    lobe = Wav2Vec2(hub, save_path=folder, output_norm=False, freeze=True).to(device).eval()
    pooling = StatisticsPooling(return_std=False)
    linear = Linear(input_size=dim, n_neurons=len(common.EMOTIONS), bias=False).to(device)

    @torch.no_grad()
    def classify(paths: list[str]) -> list[torch.Tensor]:
        found = []
        for path in paths:
            samples, _ = soundfile.read(path, dtype="float32")
            speech = torch.from_numpy(samples).unsqueeze(0).to(device)  # [1, time]
            whole = torch.ones(1, device=device)
            pooled = pooling(lobe(speech, whole), whole)  # [1, 1, dim]
            found.append(linear(pooled).squeeze(1).softmax(dim=1).cpu())
        return found

    return classify


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes, its results back on the CPU."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def add_options(command: argparse.ArgumentParser) -> None:
    common.common(command)
    command.add_argument("--recordings", type=int, default=48)
    command.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 4, 8])
