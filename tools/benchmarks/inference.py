"""Files per second: EmotionRecognizer, ONNX, ser annotate, and the loop of SpeechBrain's interface.

All have the same encoder weights. SpeechBrain's is its wav2vec2 lobe, StatisticsPooling and Linear,
one file after the other, as its EncoderClassifier and the interface on the Hub do it. Each way has
seen all files once before it is timed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import soundfile
import torch
from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.pooling import StatisticsPooling
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

from benchmarks import common
from speechbrain_ser import Emotion, EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.models import saved
from speechbrain_ser.sharing import annotation, graphs

T = TypeVar("T")
SETTINGS = """
reader: !new:speechbrain_ser.data.audio.SpeechReader
    normalise: True
model: !new:speechbrain_ser.models.classifier.Classifier
    encoder: !new:speechbrain_ser.models.encoders.Encoder
        source: {hub}
        frozen: all
    pooling: !new:speechbrain_ser.models.pooling.MeanPooling
        dim: {dim}
    head: !new:speechbrain_ser.models.heads.LinearHead
        dim: {dim}
        labels: {labels}
"""


def run(options: argparse.Namespace) -> None:
    """Print each way's seconds, files per second, times real time, and the ratio to the loop."""
    device = common.device_of(options)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        hub = str(folder / "hub")
        network = AutoModel.from_config(
            AutoConfig.for_model(**(common.SMALL if options.small else common.BASE))
        )
        network.save_pretrained(hub)
        dim = network.config.hidden_size
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(hub)
        model = export(folder / "best", hub, dim)
        recognizers = {
            kind: EmotionRecognizer.from_hparams(
                folder / "best", None, {"device": str(device), "precision": precision}
            )
            for kind, precision in (("", "fp32"), ("bf16, ", "bf16"))
        }
        if options.onnx:
            path = folder / "model.onnx"
            graphs.export(model.eval(), graphs.describe(str(folder / "best")), path)
            graphs.quantise(path, folder / "int8.onnx")
            recognizers |= {
                "ONNX, ": EmotionRecognizer.from_hparams(path),
                "ONNX int8, ": EmotionRecognizer.from_hparams(folder / "int8.onnx"),
            }
        manifest = common.recordings(folder, options.recordings)
        paths = [entry["wav"] for entry in manifest.values()]
        audio = sum(entry["duration"] for entry in manifest.values())
        loop = speechbrain_loop(hub, temporary, dim, device)
        loop(paths)  # kernels are made anew for each length that was never seen
        seconds = {"SpeechBrain's loop": timed(lambda: loop(paths))[0]}
        answers = {}
        for kind, recognizer in recognizers.items():
            recognizer.classify_files(paths)
            for size in options.batch_sizes:
                seconds[f"{kind}classify_files, batch {size}"], answers[kind] = timed(
                    lambda size=size, own=recognizer: own.classify_files(paths, size)
                )
        annotation.begin(folder / "parts", str(folder / "best"), paths, len(paths))
        annotator = annotation.Annotator(
            str(folder / "best"), str(folder / "parts"), None, options.readers, str(device)
        )
        seconds["ser annotate, one part"], _ = timed(lambda: annotator({"item": 0}))
    print(common.machine(device))
    encoder_shape = common.shape(options)
    print(
        f"{len(paths)} recordings of IEMOCAP's durations, {audio:.0f} s; {encoder_shape}, fp32 "
        "where nothing else is said.\n"
    )
    slowest = seconds["SpeechBrain's loop"]
    rows = [["", "s", "files/s", "times real time", "against the loop"]]
    for name, own in seconds.items():
        cells = [f"{len(paths) / own:.1f}", f"{audio / own:.0f}", f"{slowest / own:.2f}"]
        rows.append([name, f"{own:.2f}", *cells])
    common.print_table(rows)
    expected = answers.pop("")
    print()
    for kind, found in answers.items():
        print(f"{kind}{difference(found, expected)}.")


def difference(found: Sequence[Emotion], expected: Sequence[Emotion]) -> str:
    """How far answers are from others, in words."""
    pairs = list(zip(found, expected, strict=True))
    largest = max(abs(own.probs[k] - p) for own, other in pairs for k, p in other.probs.items())
    others = sum(own.label != other.label for own, other in pairs)
    return f"beside fp32: probabilities differ by {largest:.2g} at most, {others} labels"


def export(folder: Path, hub: str, dim: int) -> torch.nn.Module:
    """Write the model folder of a classifier with this encoder and a new head; the classifier."""
    tree = hp.load_tree(SETTINGS.format(hub=hub, dim=dim, labels=common.EMOTIONS))
    model = hp.build(tree)["model"]
    saved.export(folder, tree, model, common.EMOTIONS, {}, {}, with_encoders=True)
    return model


def speechbrain_loop(
    hub: str, folder: str, dim: int, device: torch.device
) -> Callable[[list[str]], list[torch.Tensor]]:
    """paths -> probabilities of each, by SpeechBrain's parts."""
    lobe = Wav2Vec2(hub, save_path=folder, output_norm=False, freeze=True).to(device).eval()
    pooling = StatisticsPooling(return_std=False)
    linear = Linear(input_size=dim, n_neurons=len(common.EMOTIONS), bias=False).to(device)

    @torch.no_grad()
    def classify(paths: list[str]) -> list[torch.Tensor]:
        probs = []
        for path in paths:
            samples, _ = soundfile.read(path, dtype="float32")
            speech = torch.from_numpy(samples).unsqueeze(0).to(device)  # [1, time]
            whole = torch.ones(1, device=device)
            pooled = pooling(lobe(speech, whole), whole)  # [1, 1, dim]
            probs.append(linear(pooled).squeeze(1).softmax(dim=1).cpu())
        return probs

    return classify


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Seconds that a call takes, and its results, which are back on the CPU."""
    began = time.perf_counter()
    made = call()
    return time.perf_counter() - began, made


def add_options(command: argparse.ArgumentParser) -> None:
    common.common(command)
    command.add_argument("--recordings", type=int, default=48)
    command.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 4, 8])
    command.add_argument("--readers", type=int, default=2, help="ser annotate's")
    command.add_argument("--onnx", action="store_true", help="on the CPU, half a minute more")
