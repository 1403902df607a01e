"""Frozen parts computed once: the same answers, gradients and runs as with speech."""

import csv
import json

import pytest
import torch
from conftest import RECIPES, run, tiny
from test_encoder import CONFIGS, NO_DROPOUT

from speechbrain_ser.data import store as features
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.training import cache

BLOCKS = (
    "data2vec-audio",
    "wav2vec2-group",
    "wav2vec2-layer",
    "hubert-group",
    "hubert-layer",
    "unispeech",
    "unispeech-sat",
)


@pytest.fixture
def stores(monkeypatch, tmp_path):
    """An empty place for stores."""
    monkeypatch.setattr(features, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache/features"


def padded(lengths=(8000, 5001, 3200)) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    speech = torch.zeros(len(lengths), max(lengths))
    for item, length in zip(speech, lengths, strict=True):
        item[:length] = torch.randn(length)
    return speech, torch.tensor(lengths) / max(lengths)


def gradients(encoder: Encoder, frames: torch.Tensor, valid: torch.Tensor) -> dict:
    encoder.zero_grad()
    (frames * valid.unsqueeze(2)).square().sum().backward()
    return {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("frozen", ["cnn", 1, 2])
@pytest.mark.parametrize("name", CONFIGS)
def test_an_encoder_goes_on_from_what_its_frozen_part_made(name, frozen):
    torch.manual_seed(0)
    encoder = Encoder(CONFIGS[name], frozen=frozen, **NO_DROPOUT).train()
    assert encoder.depth == (frozen if name in BLOCKS and frozen != "cnn" else 0)
    speech, lens = padded()
    valid = encoder.valid_frames(speech, lens)
    stored, counts = encoder.frozen_part(speech, lens)  # [batch, frame, dim], [batch]
    stored = stored * valid.unsqueeze(2) + 7 * ~valid.unsqueeze(2)  # its padding does not matter
    assert torch.equal(encoder.mask(counts, stored.shape[1]), valid)
    wanted, found = encoder(speech, lens), encoder.trained_part(stored, counts)
    torch.testing.assert_close(found[valid], wanted[valid], atol=1e-5, rtol=1e-4)
    expected = gradients(encoder, wanted, valid)
    assert expected
    for key, gradient in gradients(encoder, found, valid).items():
        scale = expected[key].abs().max()
        torch.testing.assert_close(gradient, expected[key], atol=1e-4 * scale + 1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_wholly_frozen_encoder_is_what_was_stored(name):
    encoder = Encoder(CONFIGS[name], frozen="all").eval()
    speech, lens = padded()
    stored, counts = encoder.frozen_part(speech, lens)
    assert encoder.depth == 3
    assert torch.equal(encoder.trained_part(stored, counts), stored)
    torch.testing.assert_close(stored, encoder(speech, lens))


def test_inner_layers_above_the_stored_one():
    encoder = Encoder(CONFIGS["wav2vec2-layer"], frozen=2, **NO_DROPOUT).train()
    speech, lens = padded()
    valid = encoder.valid_frames(speech, lens)
    stored, counts = encoder.frozen_part(speech, lens)
    wanted = encoder.layers(speech, lens, (2, -1))
    found = encoder.trained_layers(stored, counts, (2, -1))
    torch.testing.assert_close(found[:, valid], wanted[:, valid], atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="below block 2 are cached"):
        encoder.trained_layers(stored, counts, (1, -1))


def test_how_far_a_part_can_be_computed_once():
    config = CONFIGS["wav2vec2-group"]
    assert Encoder(config, frozen="none").depth == -1
    assert Encoder(config, frozen="cnn", padding="as_published").depth == -1
    assert Encoder(config, frozen=2, frozen_dropout=True).depth == 0
    assert Encoder(config, frozen=2, time_mask=0.1).depth == 0
    assert Encoder(config, frozen=0).depth == 0


def log_of(run_folder) -> list[dict]:
    rows = (run_folder / "train_log.txt").read_text().splitlines()
    parts = [row.replace(" - ", ", ").split(", ") for row in rows]
    return [dict(part.split(": ") for part in row) for row in parts]


def probabilities(run_folder) -> dict[str, list[float]]:
    with open(run_folder / "predictions.csv", newline="") as file:
        return {
            row["id"]: [float(value) for key, value in row.items() if key in ("angry", "sad")]
            for row in csv.DictReader(file)
        }


@pytest.mark.parametrize(
    ("recipe", "dtype", "count"),
    [("emotion", "float32", 1), ("two_stage", "float32", 1), ("fusion", "float16", 2)],
)
def test_a_run_with_a_cache_is_the_run_without(recipe, dtype, count, runs, stores, tmp_path):
    yaml = RECIPES / f"IEMOCAP/hparams/{recipe}.yaml"
    more = ["--cache", dtype, "--reader", "{train_window: centre, test_window: centre}"]
    more = more if recipe != "two_stage" else more[:2]
    for phase in ("pretrained", "emotion", "speaker"):
        if f"{phase}_best:" in yaml.read_text():
            name = "asr_gender" if phase == "pretrained" else phase
            more += [f"--{phase}_best", str(runs / f"{name}/fold1/1000/best")]
    run(yaml, tiny(yaml, tmp_path, *more))
    cached, plain = tmp_path / f"{recipe}/fold1/1000", runs / f"{recipe}/fold1/1000"
    tolerance = 1e-4 if dtype == "float32" else 1e-2
    assert len(log_of(cached)) == 2
    for found, wanted in zip(log_of(cached), log_of(plain), strict=True):
        for key in ("train loss", "valid loss"):
            assert float(found[key]) == pytest.approx(float(wanted[key]), rel=tolerance)
    wanted = probabilities(plain)
    for utt_id, probs in probabilities(cached).items():
        assert probs == pytest.approx(wanted[utt_id], abs=tolerance)
    made = list(stores.glob("*/settings.json"))
    assert len(made) == count
    again = json.loads(made[0].read_text())
    assert again["dtype"] == dtype


@pytest.mark.parametrize(
    ("recipe", "more", "sentence"),
    [
        ("emotion", ["--reader", "{max_seconds: 1.2}"], "are longer than 1.2 s"),
        ("emotion", ["--padding", "as_published"], "cache needs an encoder with a frozen CNN"),
        ("supcon", ["--contrastive_weight", "0.1"], "augmented speech is new in each epoch"),
        ("probe", [], "Probe can be computed once"),
    ],
)
def test_what_changes_from_epoch_to_epoch_is_not_cached(recipe, more, sentence, tmp_path, stores):
    yaml = RECIPES / f"IEMOCAP/hparams/{recipe}.yaml"
    with pytest.raises(InputError, match=sentence):
        run(yaml, tiny(yaml, tmp_path, "--cache", "float32", *more))


def test_a_bucketed_run(runs, tmp_path):
    yaml = RECIPES / "IEMOCAP/hparams/emotion.yaml"
    run(yaml, tiny(yaml, tmp_path, "--batching", "bucketed"))
    plain = log_of(runs / "emotion/fold1/1000")
    found = log_of(tmp_path / "emotion/fold1/1000")
    assert 0 < abs(float(found[0]["train loss"]) - float(plain[0]["train loss"])) < 1
    with pytest.raises(InputError, match="use published or bucketed"):
        run(yaml, tiny(yaml, tmp_path, "--batching", "sorted", "--variant", "_other"))


def test_trained_speaker_networks_are_not_cached(runs, tmp_path, stores):
    yaml = RECIPES / "IEMOCAP/hparams/fusion.yaml"
    more = [f"--{p}_best={runs}/{p}/fold1/1000/best" for p in ("emotion", "speaker")]
    with pytest.raises(InputError, match="the speaker network is trained"):
        run(yaml, tiny(yaml, tmp_path, *more, "--cache", "float32", "--regime", "arcface"))


def test_features_of_the_cnn_do_not_depend_on_what_lies_above():
    """The phases, folds and seeds of a paper share one store."""
    named = []
    for seed in (0, 1):
        torch.manual_seed(0)
        encoder = Encoder(CONFIGS["wav2vec2-group"])
        torch.manual_seed(seed)
        torch.nn.init.normal_(encoder.blocks[0].attention.q_proj.weight)
        encoder.model.config.hidden_dropout = 0.1 * seed

        named.append(features.describe(cache.FrozenPart(encoder), SpeechReader()))
    assert named[0] == named[1]
