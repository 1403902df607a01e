"""Whisper at a recording's own length, against padded to 30 s: answers, training, what is heard.

The rows are Hugging Face's feature extractor and encoder, as WhisperForAudioClassification runs
them, and Encoder with its two paddings; all have the same weights and read one recording after the
other. Then an epoch in which the upper two blocks are trained: WhisperForAudioClassification, and
ours, one thing more per row. With --data_folder, a folder of RAVDESS, and --encoder, a Whisper,
both paddings are compared by a logistic regression on a layer's mean and deviation, test actors
unseen.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from benchmarks import common, training
from speechbrain_ser.data.audio import SAMPLE_RATE, SpeechReader
from speechbrain_ser.data.corpora import ravdess
from speechbrain_ser.models.classifier import Classifier
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.pooling import MeanPooling

TRAINED = 2  # blocks, the upper ones
BASE = {  # whisper-base's shape
    "model_type": "whisper",
    "d_model": 512,
    "encoder_layers": 6,
    "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
}
SMALL = BASE | {
    "d_model": 64,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 128,
}
FOLDS = (  # EmoBox (Ma et al. 2024): its test actors of RAVDESS
    *((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23)),
    *((3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22)),
)


def run(options: argparse.Namespace) -> None:
    """Print each way's files per second; and its accuracy, where there are recordings."""
    device = common.device_of(options)
    source = options.encoder or (SMALL if options.small else BASE)
    ours = {
        padding: Encoder(source, frozen="all", padding=padding).to(device).eval()
        for padding in ("thirty_seconds", "exact")
    }
    print(f"{common.machine(device)}\n")
    speed(ours, device, options.recordings, options.seconds)
    epochs(source, device, options)
    if options.data_folder:
        accuracy(ours, device, options)


@torch.inference_mode()
def speed(ours: dict, device: torch.device, count: int, seconds: float) -> None:
    """A table: files per second of each way, in turns, and the ratio to Hugging Face's."""
    config = WhisperConfig(**ours["exact"].model.config.to_dict())
    plain = WhisperEncoder(config).to(device).eval()
    plain.load_state_dict(ours["exact"].model.state_dict())
    extract = WhisperFeatureExtractor(feature_size=config.num_mel_bins)
    clock = common.stopwatch(device)
    whole = torch.ones(1, device=device)

    def hugging_face(speech: torch.Tensor) -> torch.Tensor:
        mel = extract(speech.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return plain(mel.input_features.to(device)).last_hidden_state.mean(dim=1)

    ways = {"Hugging Face, padded to 30 s": hugging_face} | {
        f"Encoder, padding: {padding}": lambda speech, encoder=encoder: encoder(
            speech.unsqueeze(0).to(device), whole
        ).mean(dim=1)
        for padding, encoder in ours.items()
    }
    spent = dict.fromkeys(ways, 0.0)
    speech = 0.1 * torch.randn(1 + count, int(seconds * SAMPLE_RATE))
    for number, item in enumerate(speech):
        for name, way in ways.items():
            took = clock(lambda way=way, item=item: way(item))
            spent[name] += took if number else 0  # the first warms up
    first = next(iter(spent.values()))
    rows = [
        [name, f"{1000 * count / took:.1f}", f"{first / took:.2f}"] for name, took in spent.items()
    ]
    common.print_table([[f"{seconds:g}-s recordings", "files/s", "ratio"], *rows])


def epochs(source: str | dict, device: torch.device, options: argparse.Namespace) -> None:
    """A table: seconds of an epoch of the recordings, its upper two blocks trained, each way."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = common.recordings(folder, options.recordings, options.seconds)
        options.batches, options.workers = 0, 0
        reader = SpeechReader()
        read = training.loader_of(manifest, reader, options, "published")
        encoder = Encoder(source, frozen="all")
        forward, model = hugging_face_classifier(encoder, device)
        seconds = {"Hugging Face, padded to 30 s": training.epoch(forward, model, read, device)}
        encoder.freeze(max(0, len(encoder.blocks) - TRAINED))
        head = LinearHead(encoder.dim, common.EMOTIONS)
        model = Classifier(encoder, MeanPooling(encoder.dim), head).to(device).train()
        seconds["ours, at its own length"] = training.epoch(model, model, read, device)
        began = time.perf_counter()
        stored = training.stored(model, reader, manifest, "float16", folder, device)
        filling = time.perf_counter() - began
        read = training.loader_of(manifest, reader, options, "published", stored)
        for name, precision in (("+ cache of the frozen blocks", "fp32"), ("+ bf16", "bf16")):
            seconds[name] = training.epoch(
                training.from_store(model), model, read, device, precision, fused=True
            )
    count = len(manifest) // options.batch_size * options.batch_size
    print(
        f"\nAn epoch of {count} recordings of {options.seconds:g} s in batches of "
        f"{options.batch_size}, the upper {TRAINED} blocks trained; filling the cache, once: "
        f"{filling:.1f} s.\n"
    )
    first = next(iter(seconds.values()))
    rows = [[name, f"{own:.2f}", f"{first / own:.1f}"] for name, own in seconds.items()]
    common.print_table([["", "s", "ratio"], *rows])


def hugging_face_classifier(encoder: Encoder, device: torch.device):
    """The forward, of speech and lens, and the network: the same weights, the same blocks train."""
    config = WhisperConfig(**encoder.model.config.to_dict(), num_labels=len(common.EMOTIONS))
    model = WhisperForAudioClassification(config).to(device).train()
    model.encoder.load_state_dict(encoder.model.state_dict())
    model.encoder.requires_grad_(False)
    for block in model.encoder.layers[-TRAINED:]:
        block.requires_grad_(True)
    extract = WhisperFeatureExtractor(feature_size=config.num_mel_bins)

    def forward(speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        mel = extract(speech.cpu().numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return model(mel.input_features.to(device)).logits

    return forward, model


def accuracy(ours: dict, device: torch.device, options: argparse.Namespace) -> None:
    """A table: WA and UA of a logistic regression on each padding's frames, folds pooled."""
    manifest = ravdess.prepare(options.data_folder)
    emotions = np.array([entry["emotion"] for entry in manifest.values()])
    actors = np.array([int(entry["speaker"][-2:]) for entry in manifest.values()])
    wavs = [entry["wav"] for entry in manifest.values()]
    rows = []
    for padding, encoder in ours.items():
        features = statistics(encoder, wavs, options.layer, device)
        tested, answers = [], []
        for test_actors in FOLDS[: options.folds]:
            test = np.isin(actors, test_actors)
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
            model.fit(features[~test], emotions[~test])
            tested += list(emotions[test])
            answers += list(model.predict(features[test]))
        ua = recall_score(tested, answers, average="macro")
        rows.append([padding, f"{100 * accuracy_score(tested, answers):.1f}", f"{100 * ua:.1f}"])
    print(f"\nRAVDESS, {len(wavs)} recordings, layer {options.layer}, folds 1 to {options.folds}")
    common.print_table([["padding", "WA", "UA"], *rows])


@torch.inference_mode()
def statistics(encoder: Encoder, wavs: list[str], layer: int, device: torch.device) -> np.ndarray:
    """Mean and deviation over time of a layer, of each recording: [recording, 2 dim]."""
    reader, whole = SpeechReader(), torch.ones(1, device=device)
    rows = []
    for wav in tqdm(wavs, desc=encoder.padding, unit="file", disable=None):
        frames = encoder.layers(reader(wav).unsqueeze(0).to(device), whole, [layer])[0, 0]
        rows.append(torch.cat([frames.mean(dim=0), frames.std(dim=0)]).cpu().numpy())
    return np.stack(rows)


def add_options(command: argparse.ArgumentParser) -> None:
    common.common(command)
    add = command.add_argument
    add("--encoder", help="a Whisper's folder or Hub id; random weights without")
    add("--recordings", type=int, default=32, help="how many, for the speed")
    add("--batch_size", type=int, default=8, help="in training")
    add("--seconds", type=float, default=4.0, help="of each of them")
    add("--data_folder", help="RAVDESS, for the accuracy")
    add("--layer", type=int, default=3, help="whose frames are classified")
    add("--folds", type=int, default=6, help="of EmoBox's six")
