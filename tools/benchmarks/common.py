"""What the benchmarks share: encoders, recordings, a clock, the machine's name, tables."""

import argparse
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers

from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.errors import InputError

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
TINY = BASE | {  # a few thousand weights, to see that something runs
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
EMOTIONS = ["angry", "happy", "sad", "neutral"]


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


def recordings(folder: Path, count: int, length: float | None = None) -> dict[str, dict]:
    """A manifest of `count` noises of `length` seconds.

    None: their lengths are drawn as IEMOCAP's, mean 4.55 s, sd 3.23 s, 0.58 to 34.1 s.
    """
    draw = np.random.default_rng(0)
    spread = np.log(1 + (3.23 / 4.55) ** 2)
    seconds = draw.lognormal(np.log(4.55) - spread / 2, spread**0.5, count).clip(0.58, 34.1)
    if length is not None:
        seconds = np.full(count, length)
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


def device_of(options: argparse.Namespace) -> torch.device:
    """The device, with as many threads as asked for."""
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("this machine has no CUDA device: use --device cpu")
    if options.threads:
        torch.set_num_threads(options.threads)
    return device


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


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Rows of cells, the heading first, as markdown; numbers stand to the right."""
    heading, *rows = rows
    for row in (heading, ["---", *["---:"] * (len(heading) - 1)], *rows):
        print(f"| {' | '.join(row)} |")


def common(command: argparse.ArgumentParser) -> None:
    """Options of every benchmark."""
    command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    command.add_argument("--threads", type=int, default=0, help="of the CPU; 0: torch's choice")
    command.add_argument("--small", action="store_true", help="the mini preset's encoder")
