"""Seconds per hour and peak memory of a long recording: classify_long, Hugging Face's pipeline.

Windows of 4 s each second. The pipeline has the same shape of network, and gets the windows one by
one from the recording, which is read whole, as a program around it does. Each way and length has a
process of its own, whose peak is the whole process's; on CUDA what PyTorch allocated.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    Wav2Vec2FeatureExtractor,
    pipeline,
)

from benchmarks import common
from benchmarks.inference import export, timed
from benchmarks.memory import peak_on
from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.data.audio import SAMPLE_RATE

WINDOW, HOP = 4, 1  # seconds
WAYS = ("Hugging Face's pipeline", "classify_long", "classify_long, bf16")


def run(options: argparse.Namespace) -> None:
    """Print a row per way and length."""
    device = common.device_of(options)
    rows = [["", "minutes", "s per hour", "times real time", "peak, GB"]]
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_networks(folder, options.small)
        for minutes in options.minutes:
            write_noise(folder / "long.wav", minutes)
            for way in WAYS:
                with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                    seconds, peak = pool.submit(measure, way, folder, options).result()
                per_hour = seconds * 60 / minutes
                cells = [f"{minutes:g}", f"{per_hour:.0f}", f"{3600 / per_hour:.0f}"]
                rows.append([way, *cells, f"{peak / 1e9:.2f}"])
    print(common.machine(device))
    print(f"{common.shape(options)}, random weights; windows of {WINDOW} s each {HOP} s.\n")
    common.print_table(rows)


def write_networks(folder: Path, small: bool) -> None:
    """Write hub/, a classifier of Hugging Face's, and best/, one of ours with its encoder."""
    torch.manual_seed(0)
    hub = str(folder / "hub")
    shape = common.SMALL if small else common.BASE
    config = AutoConfig.for_model(**shape, num_labels=len(common.EMOTIONS))
    AutoModelForAudioClassification.from_config(config).save_pretrained(hub)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(hub)
    export(folder / "best", hub, config.hidden_size)


def write_noise(path: Path, minutes: float) -> None:
    draw = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
        for _ in range(round(60 * minutes)):
            file.write(0.1 * draw.standard_normal(SAMPLE_RATE))


def measure(way: str, folder: Path, options: argparse.Namespace) -> tuple[float, int]:
    """Seconds and the peak in bytes of long.wav, one way."""
    device = common.device_of(options)
    path = folder / "long.wav"
    if way == WAYS[0]:
        classify = pipeline("audio-classification", str(folder / "hub"), device=device)
        seconds, _ = timed(lambda: list(classify(windows(path))))
    else:
        run_opts = {"device": str(device), "precision": "bf16" if "bf16" in way else "fp32"}
        recognizer = EmotionRecognizer.from_hparams(folder / "best", None, run_opts)
        seconds, _ = timed(lambda: recognizer.classify_long(path, WINDOW, HOP))
    return seconds, peak_on(device)


def windows(path: Path) -> Iterator[dict]:
    """The windows of a recording as the pipeline takes them."""
    samples, rate = soundfile.read(path, dtype="float32")
    for start in range(0, max(1, len(samples) - (WINDOW - HOP) * rate), HOP * rate):
        yield {"raw": samples[start : start + WINDOW * rate], "sampling_rate": rate}


def add_options(command: argparse.ArgumentParser) -> None:
    common.common(command)
    command.add_argument("--minutes", type=float, nargs="+", default=[10, 120])
