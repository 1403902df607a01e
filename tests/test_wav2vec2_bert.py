"""w2v-BERT: Hugging Face's answers, and an answer without padding in it."""

import json

import pytest
import torch
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

from speechbrain_ser.errors import InputError
from speechbrain_ser.models import safety
from speechbrain_ser.models.encoders import Encoder

SMALL = {
    "model_type": "wav2vec2-bert",
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_depthwise_kernel_size": 5,
}
DROPOUTS = ("hidden_dropout", "attention_dropout", "projection_dropout")
STILL = dict.fromkeys(DROPOUTS, 0.0)
LENGTHS = (16_000, 9_999, 3_210, 720)  # samples: 49, 30, 9 and 1 frames


def make(config=SMALL, **settings):
    torch.manual_seed(0)
    return Encoder(config, **(STILL | {"frozen": "none"} | settings))


def batch(lengths=LENGTHS) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise of these lengths, and other noise behind their ends."""
    torch.manual_seed(1)
    speech = torch.randn(len(lengths), max(lengths))
    return speech, torch.tensor(lengths) / max(lengths)


def extracted(speech: torch.Tensor, lengths) -> dict:
    extract = SeamlessM4TFeatureExtractor()
    items = [row[:length].numpy() for row, length in zip(speech, lengths, strict=True)]
    return extract(items, sampling_rate=16_000, return_tensors="pt")


def test_the_filterbank_is_that_of_hugging_face_s_extractor():
    """Which computes it in single precision: two columns' deviation can be close to 0."""
    speech, _ = batch()
    for row, length in enumerate(LENGTHS):
        own = speech[row : row + 1, :length]
        wanted = extracted(own, [length]).input_features
        torch.testing.assert_close(
            make().filterbank(own), wanted[:, : make().num_frames(length)], atol=1e-4, rtol=0
        )


def test_the_graph_s_filterbank_is_the_other_s():
    encoder = make()
    speech, lens = batch()
    valid = encoder.valid_frames(speech, lens)
    graph = encoder._filterbank_graph(speech, torch.tensor(LENGTHS))
    # two columns' deviation can be close to 0
    torch.testing.assert_close(
        graph[:3][valid[:3]], encoder._cnn(speech, lens)[:3][valid[:3]], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("kind", ["relative_key", "relative", "rotary"])
def test_frames_and_gradients_are_hugging_face_s(kind):
    encoder = make(SMALL | {"position_embeddings_type": kind}).eval()
    speech, lens = batch()
    features, valid = encoder._cnn(speech, lens), encoder.valid_frames(speech, lens)
    inputs = {"input_features": features, "attention_mask": valid.long()}
    assert torch.equal(extracted(speech, LENGTHS).attention_mask.bool(), valid)
    plain = Wav2Vec2BertModel(Wav2Vec2BertConfig(**encoder.model.config.to_dict())).eval()
    plain.load_state_dict(encoder.model.state_dict())
    wanted = plain(**inputs).last_hidden_state
    assert valid.sum(dim=1).tolist() == [49, 30, 9, 1]
    frames = encoder(speech, lens)
    torch.testing.assert_close(frames[valid], wanted[valid], atol=1e-5, rtol=0)
    for made in (frames, wanted):
        (made * torch.arange(16.0))[valid].square().mean().backward()
    for one, other in zip(encoder.model.parameters(), plain.parameters(), strict=True):
        if other.grad is not None:
            close = 1e-4 * float(other.grad.abs().max())
            torch.testing.assert_close(one.grad, other.grad, atol=close, rtol=1e-3)


def test_a_recording_s_frames_are_the_same_alone_and_in_a_batch():
    encoder = make().eval()
    speech, lens = batch()
    with torch.no_grad():
        layers = encoder.layers(speech, lens)
    valid = encoder.valid_frames(speech, lens)
    for row, length in enumerate(LENGTHS):
        with torch.no_grad():
            alone = encoder.layers(speech[row : row + 1, :length], torch.ones(1))[:, 0]
        torch.testing.assert_close(layers[:, row, valid[row]], alone, atol=1e-5, rtol=0)


def test_frozen_parts_and_what_of_them_can_be_computed_once():
    speech, lens = batch()
    whole = make().eval()
    with torch.no_grad():
        wanted, valid = whole(speech, lens), whole.valid_frames(speech, lens)
    for frozen, depth in (("none", 0), ("cnn", 0), (0, 0), (2, 2), ("all", 3)):
        encoder = make(frozen=frozen)
        assert encoder.depth == depth
        stored, counts = encoder.frozen_part(speech, lens)
        frames = encoder.trained_part(stored, counts)
        torch.testing.assert_close(frames[valid], wanted[valid], atol=1e-5, rtol=0)
    assert make(frozen=2, time_mask=0.1).depth == 0


def test_describe_builds_the_same_network_anew_and_a_stranger_s_is_allowed():
    encoder = make(frozen="all").eval()
    description = json.loads(json.dumps(encoder.describe()))
    text = json.dumps({"model": {"encoder": {"source": description}}})
    source = safety.read(text, "x")["model"]["encoder"]["source"]
    again = Encoder(dict(source), frozen="all", **STILL).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(*batch()), encoder(*batch()))


@pytest.mark.parametrize(
    ("config", "settings", "sentence"),
    [
        ({"add_adapter": True}, {}, "has an adapter above its blocks"),
        ({"feature_projection_input_dim": 80}, {}, "reads 80 values a frame, not 2 columns of 80"),
        ({}, {"padding": "as_published"}, "padding is 'as_published': use exact"),
    ],
)
def test_what_it_does_not_read_is_refused(config, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        make(SMALL | config, **settings)
