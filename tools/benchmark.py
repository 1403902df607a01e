"""Measure how fast the networks are, on random input and random weights.

    python tools/benchmark.py latency --quick              a first look, under a minute on 2 cores
    python tools/benchmark.py latency --device cuda --precision bf16
    python tools/benchmark.py probe                        about four minutes on 2 cores

`latency` is Table 7 of Park et al. 2023. The paper's numbers are milliseconds per utterance in
batches of 8 (the time of a batch divided by 8) on one RTX 3090, which is not what a single
utterance waits for; batch 1 is. Both are measured here.

`probe` trains Pepino 2021's dense network on all layers of a frozen encoder: an epoch from the
feature store, and an epoch that computes the layers anew, on the same recordings.
"""

import argparse
import functools
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers
from speechbrain.utils.checkpoints import Checkpointer
from tqdm import tqdm

from speechbrain_ser.audio import SAMPLE_RATE, SpeechReader
from speechbrain_ser.brain import EarlyStop, SerBrain
from speechbrain_ser.brains import ProbeBrain
from speechbrain_ser.data import WrappedBatches, make_loader
from speechbrain_ser.errors import InputError
from speechbrain_ser.features import FeatureStore
from speechbrain_ser.models.emotion import EmotionNetwork, FusionNetwork
from speechbrain_ser.models.encoder import Encoder, num_samples
from speechbrain_ser.models.frontends import EncoderLayers
from speechbrain_ser.models.heads import CosineHead, LinearHead
from speechbrain_ser.models.pooling import AttentionMaxPooling, ParallelAttentionPooling
from speechbrain_ser.models.probe import Branch, DenseBody, Probe
from speechbrain_ser.models.speaker import SpeakerNetwork

BASE = {"model_type": "wav2vec2"}  # its defaults are wav2vec2-base's shape
SMALL = BASE | {  # recipes/common/mini.yaml
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "conv_dim": [48, 48, 48, 48, 48, 48, 96],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
PAPER = {  # Park 2023, Table 7: ms per utterance at these seconds, batch 8, RTX 3090
    "speaker": {3: 2.52, 5: 4.20, 10: 8.32, 15: 13.08},
    "emotion, k = 1": {3: 2.49, 5: 4.16, 10: 8.24, 15: 12.96},
    "emotion, k = 2": {3: 2.57, 5: 4.28, 10: 8.52, 15: 13.41},
    "emotion, k = 3": {3: 2.64, 5: 4.40, 10: 8.78, 15: 13.84},
    "emotion, k = 4": {3: 2.71, 5: 4.52, 10: 9.00, 15: 14.22},
    "fused, k = 4": {3: 5.28, 5: 8.79, 10: 17.39, 15: 27.26},
}
QUICK = ("speaker", "emotion, k = 4", "fused, k = 4")
SPEAKERS = [str(number) for number in range(1251)]  # of VoxCeleb1
EMOTIONS = ["angry", "happy", "sad", "neutral"]


def networks(config: dict, padding: str) -> dict[str, Callable[[], torch.nn.Module]]:
    """Table 7's networks by name, each made when called; they share two random encoders."""
    torch.manual_seed(0)
    first, second = (Encoder(config, padding=padding) for _ in range(2))
    dim = first.dim

    def speaker(encoder: Encoder = first) -> SpeakerNetwork:
        return SpeakerNetwork(encoder, AttentionMaxPooling(dim), CosineHead(dim, SPEAKERS))

    def emotion(blocks: int) -> EmotionNetwork:
        pooling = ParallelAttentionPooling(dim, blocks)
        return EmotionNetwork(first, pooling, CosineHead(dim, EMOTIONS))

    made = {f"emotion, k = {k}": lambda k=k: emotion(k) for k in range(1, 5)}
    fused = {"fused, k = 4": lambda: FusionNetwork(speaker(second), emotion(4))}
    return {"speaker": speaker} | made | fused


def stopwatch(device: torch.device) -> Callable[[Callable[[], object]], float]:
    """The clock of a device: a function that runs a function and returns its milliseconds."""

    def on_cpu(call: Callable[[], object]) -> float:
        began = time.perf_counter()
        call()
        return 1000 * (time.perf_counter() - began)

    def on_cuda(call: Callable[[], object]) -> float:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        call()
        ended.record()
        torch.cuda.synchronize(device)
        return began.elapsed_time(ended)

    return on_cuda if device.type == "cuda" else on_cpu


@torch.inference_mode()
def measure(
    model: torch.nn.Module,
    speech: torch.Tensor,
    precision: str,
    repeats: int,
    warm_up: int,
) -> tuple[float, torch.Tensor]:
    """speech [batch, time] -> median milliseconds of a batch, and its logits [batch, class]."""
    lens = torch.ones(len(speech), device=speech.device)
    clock = stopwatch(speech.device)
    autocast = torch.autocast(speech.device.type, torch.bfloat16, enabled=precision == "bf16")
    logits: list[torch.Tensor] = []
    with autocast:
        for _ in range(warm_up):
            model(speech, lens)
        times = [clock(lambda: logits.append(model(speech, lens))) for _ in range(repeats)]
    return statistics.median(times), logits[-1].float()


def latency(options: argparse.Namespace) -> None:
    """Print Table 7 as markdown: milliseconds per utterance, the paper's beside them."""
    if options.quick:
        options.seconds, options.repeats, options.warm_up = [3], 3, 1
        options.batches = [1] if options.device == "cpu" else [1, 8]
    device = device_of(options)
    made = networks(SMALL if options.small else BASE, options.padding)
    chosen = {name: made[name] for name in made if not options.quick or name in QUICK}
    shapes = [(seconds, batch) for seconds in options.seconds for batch in options.batches]
    header = ["network", *(f"{seconds} s, batch {batch}" for seconds, batch in shapes)]
    header += [f"paper, {seconds} s, batch 8" for seconds in options.seconds]
    rows, deviation = [header, ["---", *["---:"] * (len(header) - 1)]], 0.0
    with tqdm(total=len(chosen) * len(shapes), desc="latency") as bar:
        for name, make in chosen.items():
            model = make().to(device).eval()
            cells = []
            for seconds, batch in shapes:
                draw = torch.Generator().manual_seed(0)
                speech = torch.randn(batch, seconds * SAMPLE_RATE, generator=draw).to(device)
                bar.set_postfix_str(f"{name}, {seconds} s, batch {batch}")
                ms, logits = measure(
                    model, speech, options.precision, options.repeats, options.warm_up
                )
                if options.precision != "fp32":
                    exact = measure(model, speech, "fp32", repeats=1, warm_up=0)[1]
                    deviation = max(deviation, (logits - exact).abs().max().item())
                cells.append(f"{ms / batch:.2f}")
                bar.update()
            paper = [PAPER[name].get(seconds) for seconds in options.seconds]
            rows.append([name, *cells, *(f"{v:.2f}" if v else "" for v in paper)])
    print(describe(device, options))
    if options.precision != "fp32":
        print(f"{options.precision}: logits (cosines) differ from fp32 by at most {deviation:.2g}.")
    print()
    for row in rows:
        print(f"| {' | '.join(row)} |")


def recordings(folder: Path, count: int) -> dict[str, dict]:
    """A manifest of `count` noises, their lengths drawn as IEMOCAP's: mean 4.55 s, sd 3.23 s."""
    draw = np.random.default_rng(0)
    spread = np.log(1 + (3.23 / 4.55) ** 2)
    seconds = draw.lognormal(np.log(4.55) - spread / 2, spread**0.5, count).clip(0.58, 34.1)
    manifest = {}
    for number, duration in enumerate(seconds):
        path = folder / f"{number:04}.wav"
        soundfile.write(
            path, 0.1 * draw.standard_normal(round(duration * SAMPLE_RATE)), SAMPLE_RATE
        )
        manifest[path.stem] = {
            "wav": str(path),
            "duration": float(duration),
            "emotion": EMOTIONS[number % len(EMOTIONS)],
            "speaker": str(number % 8),
        }
    return manifest


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
        return model.classify([(padded[back], torch.cat(frames)[back])])


def probe(options: argparse.Namespace) -> None:
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
                    "lr_decay": 1,
                    "warm_up": 0,
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
    for row in (
        ("", "s", "recordings/s", "times real time"),
        ("---", "---:", "---:", "---:"),
        timed("filling the store, once", once, len(manifest), speech),
        timed("an epoch with the encoder", seconds[Recomputing], len(manifest), speech),
        timed("an epoch from the store", seconds[ProbeBrain], len(manifest), speech),
    ):
        print(f"| {' | '.join(row)} |")
    print(f"\nAn epoch from the store is {ratio:.1f} times as fast.")


def timed(name: str, seconds: float, recordings: int, speech: float) -> tuple[str, ...]:
    """A row of the table."""
    return name, f"{seconds:.2f}", f"{recordings / seconds:.1f}", f"{speech / seconds:.0f}"


def device_of(options: argparse.Namespace) -> torch.device:
    """The device, with as many threads as asked for."""
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("this machine has no CUDA device: use --device cpu")
    if options.threads:
        torch.set_num_threads(options.threads)
    return device


def describe(device: torch.device, options: argparse.Namespace) -> str:
    """What was measured, on what: a paragraph above the table."""
    return (
        f"Milliseconds per utterance (batch time / batch size), median of {options.repeats} after "
        f"{options.warm_up} for warm-up; {shape(options)}, random weights, random input, "
        f"eval mode, {options.precision}, padding {options.padding}.\n"
        f"{machine(device)} Paper: RTX 3090, fp32."
    )


def shape(options: argparse.Namespace) -> str:
    """The encoder in words."""
    return "small (mini preset's) encoder" if options.small else "wav2vec2-base's shape"


def machine(device: torch.device) -> str:
    """What it was measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return (
        f"{name}, {torch.get_num_threads()} threads; Python {platform.python_version()}, torch "
        f"{torch.__version__}, transformers {transformers.__version__}."
    )


def processor() -> str:
    """The processor's name as Linux gives it, else what Python knows."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return f"CPU: {names[0]}" if names else f"CPU: {platform.machine()}"


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="WHAT")
    one = commands.add_parser(
        "latency",
        help="Park 2023, Table 7: speaker, emotion and fused network at 3, 5, 10 and 15 s",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    one.set_defaults(run=latency)
    common(one)
    one.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast")
    one.add_argument("--seconds", type=int, nargs="+", default=[3, 5, 10, 15], help="of speech")
    one.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="batch sizes")
    one.add_argument("--repeats", type=int, default=20, help="timed runs; their median is shown")
    one.add_argument("--warm_up", type=int, default=3, help="runs before those")
    one.add_argument(
        "--padding",
        choices=["exact", "as_published"],
        default="exact",
        help="exact is what the recipes run; as_published passes no lengths, as the paper did",
    )
    one.add_argument(
        "--quick", action="store_true", help="three networks, 3 s, 3 repeats; on CPU batch 1 only"
    )
    two = commands.add_parser(
        "probe",
        help="Pepino 2021: an epoch from the feature store against one with the encoder",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    two.set_defaults(run=probe)
    common(two)
    two.add_argument("--recordings", type=int, default=96, help="how many, of IEMOCAP's durations")
    two.add_argument("--dtype", choices=["float16", "float32"], default="float16", help="on disk")
    return whole


def common(command: argparse.ArgumentParser) -> None:
    """Options of every benchmark."""
    command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    command.add_argument("--threads", type=int, default=0, help="of the CPU; 0: torch's choice")
    command.add_argument("--small", action="store_true", help="the mini preset's encoder")


def main(words: list[str] | None = None) -> None:
    options = parser().parse_args(words)
    try:
        options.run(options)
    except InputError as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
