"""Every recipe on a GPU, beside the CPU: `pytest -m gpu`. SER_TEST_DEVICE=cpu is a trial without.

An epoch of each yaml, earlier phases first, on tiny networks and few updates. The mean training
loss may be off by 0.1 % in fp32 and by 5 % in bf16; where nothing is trained, the probabilities.
Dropout is left out and TF32 is off, since every device draws and rounds in its own way.
"""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, YAMLS, script_of, tiny
from torch.nn import functional

from speechbrain_ser.campaign import plan
from speechbrain_ser.models.encoders import fast_path
from speechbrain_ser.training import command_line, experiment

DEVICE = os.environ.get("SER_TEST_DEVICE", "cuda")
WAYS = {  # device, precision and tolerance
    "cpu": ("cpu", "fp32", 0),
    "fp32": (DEVICE, "fp32", 1e-3),
    "bf16": (DEVICE, "bf16", 5e-2),
}
SIZES = SMALL | {"max_epochs": "1", "batch_size": "64", "passes": "1"}
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no CUDA device"
    ),
]


@pytest.fixture
def without_chance(monkeypatch):
    """Dropout keeps everything, and nothing is rounded to TF32."""
    attention = functional.scaled_dot_product_attention

    def undisturbed(query, key, value, attn_mask=None, dropout_p=0.0, *more, **options):
        return attention(query, key, value, attn_mask, 0.0, *more, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", undisturbed)
    monkeypatch.setattr(functional, "dropout", lambda input, *_, **__: input)
    monkeypatch.setattr(fast_path, "is_drawn", lambda p: False)
    settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [own.allow_tf32 for own in settings]
    for own in settings:
        own.allow_tf32 = False
    yield
    for own, allowed in zip(settings, before, strict=True):
        own.allow_tf32 = allowed


def run_with_phases(yaml: Path, results: Path, *options: str) -> Path:
    """Run a yaml's earlier phases and then itself, small; return its folder."""
    jobs: plan.Plan = {}
    plan.add(jobs, str(script_of(yaml)), [*tiny(yaml, results), *options])
    for job in jobs.values():
        script, own, *words = job.words
        text = command_line.find_yaml(own, Path(script)).read_text()
        for key, value in SIZES.items():
            if re.search(f"^{key}:", text, flags=re.MULTILINE) and f"--{key}" not in words:
                words += [f"--{key}", value]
        if not job.done:
            experiment.run_once(plan.brain_of(Path(script)), Path(script), [own, *words])
    return list(jobs)[-1]


def numbers(folder: Path) -> np.ndarray:
    """What is compared of a run: [1], its training loss, or all probabilities if it has none."""
    log = folder / "train_log.txt"
    if log.is_file():
        return np.array([float(re.search(r"train loss: ([^\s,]+)", log.read_text())[1])])
    labels = json.loads((folder / "results.json").read_text())["labels"]
    with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
        return np.array([[float(row[label]) for label in labels] for row in csv.DictReader(file)])


@pytest.mark.parametrize("yaml", YAMLS, ids=[f"{y.parts[-3]}-{y.stem}" for y in YAMLS])
def test_a_recipe_gives_the_cpu_s_numbers(yaml, tmp_path, without_chance):
    found = {}
    for way, (device, precision, _) in WAYS.items():
        options = ("--device", device, "--precision", precision, "--max_epochs", "1")
        found[way] = numbers(run_with_phases(yaml, tmp_path / way, *options))
    scale = np.abs(found["cpu"]).max()
    for way, (*_, tolerance) in WAYS.items():
        assert np.abs(found[way] - found["cpu"]).max() <= tolerance * scale, way
