"""LoRA: for each family it changes the answer, is trained alone, and is merged."""

import json

import pytest
import torch
from conftest import RECIPES, run, tiny
from test_encoder import CONFIGS, GROUP, NO_DROPOUT, padded
from test_wav2vec2_bert import SMALL as BERT
from test_whisper import SMALL as WHISPER

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.encoders import Encoder, lora

SEW = GROUP | {"model_type": "sew", "conv_dim": [8] * 13}
FAMILIES = CONFIGS | {"sew": SEW, "whisper": WHISPER, "wav2vec2-bert": BERT}
LENGTHS = (8000, 5001)


def make(name: str, **settings) -> Encoder:
    torch.manual_seed(0)
    still = {k: v for k, v in NO_DROPOUT.items() if name != "whisper" or k != "projection_dropout"}
    return Encoder(FAMILIES[name], **(still | settings))


@pytest.mark.parametrize("name", FAMILIES)
def test_it_changes_the_answer_is_trained_alone_and_is_merged(name):
    speech, lens = padded(LENGTHS)
    plain = make(name)
    encoder = make(name, lora={"rank": 2})
    weights = plain.state_dict()  # of the same seed
    frames = encoder(speech, lens)
    torch.testing.assert_close(frames, plain(speech, lens), atol=1e-5, rtol=0)  # at first nothing
    trained = {n: p for n, p in encoder.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * len(encoder.blocks) * 2
    assert all(n.endswith((".0.up", ".0.down")) for n in trained)
    (frames * torch.arange(16.0)).square().mean().backward()
    ups = [p.grad for n, p in trained.items() if n.endswith("up")]
    assert all(gradient.abs().max() > 0 for gradient in ups)
    with torch.no_grad():
        for number, parameter in enumerate(trained.values()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=seeded(number)))
        changed = encoder.eval()(speech, lens)
        assert (changed - frames).abs().max() > 1e-3
        encoder.merge()
        assert {k: v.shape for k, v in encoder.state_dict().items()} == {
            k: v.shape for k, v in weights.items()
        }
        torch.testing.assert_close(encoder(speech, lens), changed, atol=1e-5, rtol=0)


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def test_the_sum_by_hand():
    layer = torch.nn.ModuleList([torch.nn.ModuleDict({"q": torch.nn.Linear(3, 2)})])
    weight = layer[0]["q"].weight.detach().clone()
    lora.insert(layer, ["q"], rank=4, alpha=2.0)
    (added,) = layer[0]["q"].parametrizations.weight
    with torch.no_grad():
        added.up.copy_(torch.arange(8.0).view(2, 4))
    wanted = weight.clone()
    for i in range(2):
        for j in range(3):
            wanted[i, j] += 0.5 * sum(added.up[i, k] * added.down[k, j] for k in range(4))
    torch.testing.assert_close(layer[0]["q"].weight, wanted)


def test_frozen_blocks_stay_frozen():
    encoder = make("wav2vec2-group", frozen=2, lora={})
    trained = {n.split(".layers.")[1][0] for n, p in encoder.named_parameters() if p.requires_grad}
    assert trained == {"2"} and encoder.depth == 2
    encoder.freeze("none")
    assert sum(p.requires_grad for p in encoder.parameters()) == 12


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rank": 0}, "lora has rank 0"),
        ({"alpha": "x"}, "alpha 'x'"),
        ({"targets": ["query"]}, "lora targets query: the blocks have .*q_proj"),
        ({"r": 8}, "lora has r: use rank, alpha and targets"),
    ],
)
def test_what_is_no_lora_is_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        make("wav2vec2-group", lora=settings)


def test_a_run_resumes_with_it_and_leaves_plain_weights(tmp_path):
    yaml = RECIPES / "IEMOCAP/hparams/emotion.yaml"
    words = tiny(yaml, tmp_path, "--model", "{encoder: {lora: {rank: 2}}}", "--max_epochs", "1")
    run(yaml, words)
    folder = tmp_path / "emotion/fold1/1000"
    results = json.loads((folder / "results.json").read_text())
    best = hp.load_tree((folder / "best/hyperparams.yaml").read_text())
    assert best["model"]["encoder"]["lora"] is None
    manifest = json.loads((folder / "manifest.json").read_text())
    recognizer = EmotionRecognizer.from_hparams(folder / "best")
    lines = (folder / "predictions.csv").read_text().splitlines()
    labels, rows = lines[0].split(","), [line.split(",") for line in lines[1:4]]
    for row in rows:
        cells = dict(zip(labels, row, strict=True))
        emotion = recognizer.classify_file(manifest[cells["id"]]["wav"])
        for label in recognizer.hparams.labels:
            assert emotion.probs[label] == pytest.approx(float(cells[label]), abs=1e-5)
    (folder / ".complete").unlink()  # killed before its end
    run(yaml, words)
    assert json.loads((folder / "results.json").read_text())["UA"] == results["UA"]
