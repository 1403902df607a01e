"""The precision of a network in use: float32 unless one asks, and near it otherwise."""

import json

import pytest
import soundfile
import torch
from conftest import ser
from test_audio_windows import sound
from test_encoder import GROUP
from test_whisper import SMALL

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.encoders.waveform import WaveformEncoder

LABELS = ["angry", "happy", "sad"]
SETTINGS = """
reader: !new:speechbrain_ser.data.audio.SpeechReader {{normalise: True}}
model: !new:speechbrain_ser.models.classifier.Classifier
    encoder: !new:speechbrain_ser.models.encoders.Encoder {{source: {source}, frozen: none}}
    pooling: !new:speechbrain_ser.models.pooling.MeanPooling {{dim: 32}}
    head: !new:speechbrain_ser.models.heads.LinearHead {{dim: 32, labels: {labels}}}
"""
SHAPES = {  # of 32 numbers per frame; thin: too few channels in a group for bfloat16
    "wav2vec2": GROUP | {"hidden_size": 32},
    "thin": GROUP | {"hidden_size": 32, "num_conv_pos_embedding_groups": 4},
    "whisper": SMALL | {"d_model": 32},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The best/ folder of a network of each shape, and a recording."""
    folder = tmp_path_factory.mktemp("precision")
    for name, shape in SHAPES.items():
        torch.manual_seed(0)
        settings = SETTINGS.format(source=json.dumps(shape), labels=LABELS)
        tree = hp.load_tree(settings)
        model = hp.build(tree)["model"].eval()
        model.head.weight.data *= 20  # so that its answers differ from one recording to the next
        saved.export(folder / name, tree, model, LABELS, [], {}, with_encoders=True)
    soundfile.write(folder / "a.wav", sound(1.9, 22_050), 22_050)
    return folder


def answers(models, name: str, path="a.wav", **settings) -> torch.Tensor:
    """Probabilities of one recording, [class]."""
    recognizer = EmotionRecognizer.from_hparams(models / name, **settings)
    return torch.tensor(list(recognizer.classify_file(models / path).probs.values()))


def bf16() -> dict:
    return {"device": "cpu", "precision": "bf16"}


@pytest.mark.parametrize("name", SHAPES)
def test_weights_are_rounded_once_and_no_answer_changes(models, name, monkeypatch):
    once = EmotionRecognizer.from_hparams(models / name, run_opts=bf16())
    kinds = {part.weight.dtype for part in once.mods.model.encoder.blocks.modules()
             if isinstance(part, torch.nn.Linear)}  # fmt: skip
    assert kinds == {torch.float32 if name == "thin" else torch.bfloat16}
    rounded = answers(models, name, run_opts=bf16())
    monkeypatch.setattr(Encoder, "settle", lambda *_: None)
    monkeypatch.setattr(WaveformEncoder, "settle", lambda *_: None)
    assert torch.equal(answers(models, name, run_opts=bf16()), rounded)


@pytest.mark.parametrize("name", SHAPES)
def test_bfloat16_is_near_and_float32_is_what_nobody_asked_for(models, name):
    plain = answers(models, name)
    assert torch.equal(plain, answers(models, name, run_opts={"precision": "fp32"}))
    assert torch.equal(plain, answers(models, name, run_opts={"precision": None}))
    near = answers(models, name, run_opts=bf16())
    assert not torch.equal(near, plain) and near.sum() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(near, plain, atol=0.05, rtol=0)


def told(emotions) -> torch.Tensor:
    """Probabilities [emotion, class]."""
    return torch.tensor([list(emotion.probs.values()) for emotion in emotions])


def test_all_ways_to_ask_have_the_precision(models):
    path = models / "a.wav"
    near = EmotionRecognizer.from_hparams(models / "wav2vec2", run_opts=bf16())
    plain = EmotionRecognizer.from_hparams(models / "wav2vec2")
    for ask in (
        lambda one: told(one.classify_files([path])),
        lambda one: told(one.each_hop(path, 1, 0.5)),
        lambda one: one.embed([path]),
    ):
        found, expected = ask(near), ask(plain)
        assert found.dtype == torch.float32 and not torch.equal(found, expected)
        torch.testing.assert_close(found, expected, atol=0.05, rtol=0.02)


def test_some_of_the_labels_alone(models):
    near = answers(models, "wav2vec2", labels=["sad", "angry"], run_opts=bf16())
    plain = answers(models, "wav2vec2", labels=["sad", "angry"])
    assert not torch.equal(near, plain) and near.sum() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(near, plain, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("name", "precision", "sentence"),
    [
        ("wav2vec2", "bf17", "^precision is 'bf17': use fp32, bf16, fp16$"),
        (
            "wav2vec2",
            "fp16",
            "^precision fp16 needs a GPU, and this run is on the cpu: use",
        ),
        ("a.onnx", "bf16", "a.onnx computes as it was exported: precision bf16 is for a model's"),
        ("a.onnx", "fp32", "a.onnx: no such file"),
    ],
)
def test_a_precision_that_is_not_there_is_a_sentence(models, name, precision, sentence):
    options = {"device": "cpu", "precision": precision}
    with pytest.raises(InputError, match=sentence):
        EmotionRecognizer.from_hparams(models / name, run_opts=options)


def test_the_command_passes_it_on(models, capsys):
    words = ["classify", models / "wav2vec2", models / "a.wav", "--json"]
    found = {}
    for precision in ("fp32", "bf16"):
        assert ser(*words, "--precision", precision) == 0
        told = json.loads(capsys.readouterr().out)
        found[precision] = torch.tensor([told["probs"][label] for label in LABELS])
    assert torch.equal(found["bf16"], answers(models, "wav2vec2", run_opts=bf16()))
    assert torch.equal(found["fp32"], answers(models, "wav2vec2"))
    assert ser(*words, "--precision", "double") == 2
    assert "precision is 'double': use fp32, bf16, fp16" in capsys.readouterr().err


def test_parts_of_a_collection_have_the_precision(models, tmp_path):
    (tmp_path / "files.txt").write_text(f"{models / 'a.wav'}\n")
    words = "annotate", models / "wav2vec2", tmp_path / "files.txt", "--out", tmp_path / "parts"
    assert ser(*words, "--precision", "bf16") == 0
    told = json.loads((tmp_path / "parts/part-000000.jsonl").read_text())["probs"]
    found = torch.tensor([told[label] for label in LABELS])
    assert torch.equal(found, answers(models, "wav2vec2", run_opts=bf16()))


def test_the_positional_convolution_s_weights_are_computed_once(models):
    once = EmotionRecognizer.from_hparams(models / "wav2vec2")
    (conv,) = (
        part
        for part in once.mods.model.encoder.model.encoder.pos_conv_embed.modules()
        if isinstance(part, torch.nn.Conv1d)
    )
    parts = saved.load(models / "wav2vec2")["model"]
    other = parts.encoder.model.encoder.pos_conv_embed.conv
    assert {name for name, _ in conv.named_parameters()} == {"weight", "bias"}
    assert torch.equal(conv.weight, other.weight)
    assert "parametrizations.weight.original0" in dict(other.named_parameters())
