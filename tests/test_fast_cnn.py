"""The CNN as matrix products: Hugging Face's answers, of every family that has such a CNN."""

import copy

import pytest
import torch
from test_encoder import CONFIGS, make
from torch import nn

from speechbrain_ser.models.encoders.fast_cnn import FastCnn, is_plain

FAMILIES = sorted(CONFIGS)


def test_families_of_both_norms_are_tried():
    assert {"wav2vec2-group", "wav2vec2-layer", "data2vec-audio", "wavlm-group"} <= {*FAMILIES}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("samples", [400, 719, 720, 5_001, 16_000])
def test_frames_are_those_of_hugging_face_in_double_precision(name, samples):
    encoder = make(CONFIGS[name]).eval().double()
    torch.manual_seed(0)
    for parameter in encoder.cnn[0].parameters():
        nn.init.normal_(parameter, std=0.3)
    speech = 0.1 + torch.randn(1, samples, dtype=torch.float64)  # with a mean
    assert encoder.fast_cnn.is_for(speech) is False  # it would learn
    with torch.no_grad():
        assert encoder.fast_cnn.is_for(speech)
        wanted = encoder.model.feature_extractor(speech).transpose(1, 2)
        found = encoder.fast_cnn(speech)
    assert found.shape == wanted.shape == (1, int(encoder.cnn_frames(samples)), encoder.cnn_dim)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["wav2vec2-group", "wav2vec2-layer"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_about_as_near_to_single_precision_as_hugging_face(name, dtype):
    encoder = make(CONFIGS[name]).eval()
    torch.manual_seed(0)
    speech = torch.randn(1, 16_000)
    with torch.no_grad():
        exact = encoder.model.feature_extractor(speech).transpose(1, 2)
        with torch.autocast("cpu", dtype):
            theirs = encoder.model.feature_extractor(speech).transpose(1, 2)
            ours = encoder.fast_cnn(speech)
    own, other = ((x.float() - exact).square().mean().sqrt() for x in (ours, theirs))
    assert ours.dtype == dtype and 0 < own <= 1.5 * other


def test_silence_and_one_loud_sample():
    encoder = make(CONFIGS["wav2vec2-group"]).eval()
    for speech in (torch.zeros(1, 4_000), torch.full((1, 4_000), 0.5)):
        speech[0, 2_000:2_001] += 0.5
        for own in (speech, torch.zeros_like(speech)):
            with torch.no_grad():
                wanted = encoder.model.feature_extractor(own).transpose(1, 2)
                torch.testing.assert_close(encoder.fast_cnn(own), wanted, rtol=1e-4, atol=1e-5)


def test_changed_weights_are_seen_and_a_copy_has_its_own():
    encoder = make(CONFIGS["wav2vec2-group"]).eval().requires_grad_(False)
    speech, extractor = torch.randn(1, 4_000), encoder.model.feature_extractor
    before = encoder.fast_cnn(speech)
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        extractor.conv_layers[2].conv.weight.mul_(1.5)
    wanted = extractor(speech).transpose(1, 2)
    torch.testing.assert_close(encoder.fast_cnn(speech), wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(encoder.fast_cnn(speech), before)
    assert torch.equal(other.fast_cnn(speech), before)
    encoder.load_state_dict(other.state_dict())
    assert torch.equal(encoder.fast_cnn(speech), before)


def test_weights_made_in_inference_mode():
    with torch.inference_mode():
        encoder = make(CONFIGS["wav2vec2-group"]).eval()
        speech, extractor = torch.randn(1, 4_000), encoder.model.feature_extractor
        for _ in range(2):
            wanted = extractor(speech).transpose(1, 2)
            torch.testing.assert_close(encoder.fast_cnn(speech), wanted, rtol=1e-4, atol=1e-5)
            extractor.conv_layers[2].conv.weight.mul_(1.5)


def test_it_is_used_for_a_frozen_cnn_and_not_for_one_that_learns(monkeypatch):
    speech, used = torch.randn(2, 4_000), []
    call = FastCnn.__call__
    monkeypatch.setattr(FastCnn, "__call__", lambda *own: used.append(1) or call(*own))
    for frozen, times in (("cnn", 2), ("none", 0), ("all", 2)):
        used.clear()
        make(CONFIGS["wav2vec2-group"], frozen=frozen).train()(speech, torch.tensor([1.0, 0.8]))
        assert len(used) == times
    slow = make(CONFIGS["wav2vec2-group"], cpu_fast_path=False)
    assert slow.fast_cnn is None


def test_other_convolutions_are_left_to_hugging_face():
    assert is_plain(nn.Conv1d(4, 4, 3, 2)) and is_plain(nn.Conv1d(4, 4, 2, 2))
    for other in (
        nn.Conv1d(4, 4, 3, 2, padding=1),
        nn.Conv1d(4, 4, 3, 2, dilation=2),
        nn.Conv1d(4, 4, 3, 2, groups=2),
        nn.Conv1d(4, 4, 5, 2),
        nn.Conv1d(4, 4, 1, 2),
    ):
        assert not is_plain(other)
