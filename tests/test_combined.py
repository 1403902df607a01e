"""The linear baseline and the combined method, against loops and scikit-learn."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchaudio
from benchmarks.common import TINY
from conftest import RECIPES, run, script_module, tiny
from sklearn.linear_model import LogisticRegression
from speechbrain import Stage
from test_probe import probabilities
from torch import nn

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.data import splits
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.frontends import EncoderLayers, PooledLayers
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.probe import BareBranch, JoinedBranch, Probe

LINEAR = RECIPES / "RAVDESS/hparams/linear.yaml"
COMBINED = RECIPES / "RAVDESS/hparams/combined.yaml"


def frontend(**settings) -> PooledLayers:
    return PooledLayers(Encoder(TINY).eval(), **settings)


def recordings(*seconds: float) -> list[torch.Tensor]:
    return [0.1 * torch.randn(round(16_000 * one)) for one in seconds]


def batch(items: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(item) for item in items])
    return nn.utils.rnn.pad_sequence(items, batch_first=True), lengths / lengths.max()


def test_copies_by_a_loop():
    """Each recording alone, resampled by hand, its layers pooled by torch's own functions."""
    pooled, items = frontend(layers=[0, 1], speeds=[1.0, 0.8, 1.25]), recordings(0.7, 1.3)
    whole = EncoderLayers(pooled.encoder, [0, 1])
    features, copies = pooled(*batch(items))
    assert features.shape == (2, 3, 2, 32) and copies.tolist() == [3, 3]
    for number, item in enumerate(items):
        for copy, rate in enumerate((16_000, 12_800, 20_000)):
            played = torchaudio.functional.resample(item, rate, 16_000)
            frames = whole(played[None], torch.ones(1))[0][0]  # [frame, layer, dim]
            expected = torch.cat([frames.mean(dim=0), frames.std(dim=0, correction=0)], dim=1)
            torch.testing.assert_close(features[number, copy], expected, atol=1e-5, rtol=1e-4)


def test_a_faster_copy_is_shorter_and_higher():
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    faster = torchaudio.functional.resample(tone, 20_000, 16_000)
    assert len(faster) == 12_800
    assert torch.fft.rfft(faster).abs().argmax() == 1000  # in 0.8 s: 1250 Hz


def test_the_mean_alone_and_what_names_the_store():
    items = batch(recordings(0.5))
    both, mean = frontend(layers=[1]), frontend(layers=[1], deviation=False)
    mean.load_state_dict(both.state_dict())
    assert both.shape == (1, 32) and mean.shape == (1, 16)
    torch.testing.assert_close(both(*items)[0][..., :16], mean(*items)[0])
    descriptions = [one.describe() for one in (both, mean, frontend(layers=[1], speeds=[0.9]))]
    assert all(descriptions.count(one) == 1 for one in descriptions)


@pytest.mark.parametrize("speeds", [[], [0.4], [3], ["fast"]])
def test_speeds_that_are_none(speeds):
    with pytest.raises(InputError, match="give numbers from 0.5 to 2"):
        frontend(speeds=speeds)


def test_a_speed_whose_filter_is_huge():
    with pytest.raises(InputError, match="speeds has 1.00007: round it to 1.00"):
        frontend(speeds=[1.0, 1.00007])


def test_a_slow_copy_must_fit_into_the_encoder():
    encoder = Encoder(TINY)
    encoder.most_samples = 480_000
    assert PooledLayers(encoder, speeds=[1.0, 0.8]).most_samples == 384_000


def test_joined_layers_by_a_loop():
    branch = JoinedBranch(frontend(layers=[0, 1]), width=5).eval()
    branch.mean.normal_()
    branch.deviation.uniform_(0.5, 2)
    values = torch.randn(2, 3, 2, 32)
    rows = [((v - branch.mean) / branch.deviation).flatten() for v in values.flatten(0, 1)]
    expected = torch.stack([branch.dense(row).relu() for row in rows]).view(2, 3, 5)
    prepared, copies = branch.prepare((values, torch.tensor([3, 3])))
    torch.testing.assert_close(branch(prepared), expected)
    assert branch.layer_weights is None and copies.tolist() == [3, 3]


def test_the_answer_is_the_mean_over_copies():
    model = Probe([BareBranch(frontend(layers=[1]))], None, LinearHead(32, "ab"), "global")
    values = torch.randn(2, 3, 1, 32)
    logits = model.classify([(values, torch.tensor([3, 3]))])
    torch.testing.assert_close(logits, model.head(values[:, :, 0].mean(dim=1)))


def test_one_argument_in_a_list_keeps_its_class():
    """ruamel's short form of a one-key mapping in a list gave the tag to the key."""
    text = "parts: [!new:torch.nn.Linear {in_features: {a: 1}}]"
    tree = hp.bare(hp.load_tree(text))
    resolved = hp.resolve(tree, RECIPES / "RAVDESS/hparams/linear.yaml")
    for again in (hp.load_tree(hp.dump(tree)), resolved):
        assert hp.tag_of(again["parts"][0]) == "!new:torch.nn.Linear"
        assert hp.plain(again) == hp.plain(tree)


def parts_of(folder: Path) -> dict[str, dict]:
    return splits.by_actor(json.loads((folder / "manifest.json").read_text()))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    run(LINEAR, tiny(LINEAR, folder, "--max_epochs", "1"))
    run(COMBINED, tiny(COMBINED, folder))
    return folder


def test_the_linear_baseline_is_scikit_learns(results):
    """Solved anew in float64 from features that are computed alone."""
    (folder,) = results.glob("linear/fold1/*")
    parts, model = parts_of(folder), saved.load(folder / "best")["model"]
    reader, labels = SpeechReader(max_seconds=15), saved.load(folder / "best")["labels"]
    embeddings, targets = {}, {}
    for part in ("train", "test"):
        speech = [reader(entry["wav"])[None] for entry in parts[part].values()]
        pooled = [model.branches[0].frontend(one, torch.ones(1))[0].flatten() for one in speech]
        embeddings[part] = torch.stack(pooled).double().numpy()
        targets[part] = [labels.index(entry["emotion"]) for entry in parts[part].values()]
    mean, deviation = embeddings["train"].mean(axis=0), embeddings["train"].std(axis=0)
    solver = LogisticRegression(C=0.01, max_iter=1000)
    solver.fit((embeddings["train"] - mean) / deviation, targets["train"])
    expected = solver.predict_log_proba((embeddings["test"] - mean) / deviation)
    temperature = json.loads((folder / "results.json").read_text())["temperature"]
    expected = torch.softmax(torch.tensor(expected) / temperature, dim=1).tolist()
    for row, (utt_id, found) in zip(expected, probabilities(folder).items(), strict=True):
        assert utt_id in parts["test"]
        for label, prob in zip(labels, row, strict=True):
            assert float(found[label]) == pytest.approx(prob, abs=2e-3), utt_id


@pytest.mark.parametrize("name", ["linear", "combined"])
def test_best_gives_the_run_s_probabilities(results, name):
    (folder,) = results.glob(f"{name}/fold1/*")
    test, expected = parts_of(folder)["test"], probabilities(folder)
    recognizer = EmotionRecognizer.from_hparams(folder / "best")
    found = recognizer.classify_files([entry["wav"] for entry in test.values()])
    for utt_id, emotion in zip(test, found, strict=True):
        for label, prob in emotion.probs.items():
            assert prob == pytest.approx(float(expected[utt_id][label]), abs=1e-5)


class Stub(nn.Module):
    """A Probe whose embedding is the one copy that it is given, and whose head changes nothing."""

    def pool(self, features, statistics):
        assert all(copies.eq(values.shape[1]).all() for values, copies in features)
        return features[0][0].mean(dim=(1, 2))

    def head(self, embedding):
        return embedding


@pytest.mark.parametrize("mixing", [0, 0.4])
def test_mixtures_and_their_loss_by_a_loop(mixing):
    """Copy c of recording r is [r, c], so that a mixture tells what it is made of."""
    module = script_module(RECIPES / "RAVDESS/train_combined.py")
    values = torch.tensor([[[[float(r), float(c)]] for c in range(3)] for r in range(6)])
    given = SimpleNamespace(id=list("abcdef"), group=torch.zeros(6).long())
    given.emotion_id = torch.tensor([0, 1, 0, 1, 1, 0])
    brain = SimpleNamespace(
        hparams=SimpleNamespace(mixing=mixing),
        modules=SimpleNamespace(model=Stub(), criterion=nn.CrossEntropyLoss()),
        encoded=lambda _: ([(values, torch.full((6,), 3))], None),
        wanted=lambda batch: batch.emotion_id,
    )
    torch.manual_seed(3)
    outputs = module.CombinedBrain.compute_forward(brain, given, Stage.TRAIN)
    share, partner = float(outputs.share), outputs.partner.tolist()
    assert sorted(partner) == list(range(6)) and (share == 1) is (mixing == 0)
    expected = [share * own + (1 - share) * other for own, other in enumerate(partner)]
    torch.testing.assert_close(outputs.logits[:, 0], torch.tensor(expected))
    losses = [
        share * nn.functional.cross_entropy(row, given.emotion_id[own])
        + (1 - share) * nn.functional.cross_entropy(row, given.emotion_id[other])
        for own, (row, other) in enumerate(zip(outputs.logits, partner, strict=True))
    ]
    loss = module.CombinedBrain.loss(brain, outputs, given)
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    tested = module.CombinedBrain.compute_forward(brain, given, Stage.TEST)
    torch.testing.assert_close(tested.logits, values.mean(dim=(1, 2)))
    own = module.CombinedBrain.loss(brain, tested, given)
    torch.testing.assert_close(own, nn.functional.cross_entropy(tested.logits, given.emotion_id))
