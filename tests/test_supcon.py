"""Wang 2023's training: two views and equation 2; also in other recipes."""

import json
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from conftest import RECIPES, TINY, run, script_module, tiny
from speechbrain import Stage
from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import splits
from speechbrain_ser.data.audio import SpeechReader, standardise
from speechbrain_ser.data.augment import Volume, second_views
from speechbrain_ser.data.datasets import ShuffledBatches, TwoViews, UnderSampledBatches
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.classifier import Classifier, HiddenLayer
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.losses import SupervisedContrastive
from speechbrain_ser.models.pooling import MeanPooling
from speechbrain_ser.training import experiment

SUPCON = RECIPES / "IEMOCAP/hparams/supcon.yaml"
CONTRAST = ["--contrastive", "!new:speechbrain_ser.models.losses.SupervisedContrastive {}"]
AUGMENT = ["--augment", "!new:speechbrain_ser.data.augment.Noise {}"]


@pytest.mark.parametrize("sampler", [ShuffledBatches, UnderSampledBatches])
def test_two_views_are_the_batch_twice(sampler):
    targets = ["a", "b", "c"] * 7
    batches, views = (sampler(targets, batch_size=4, seed=3) for _ in range(2))
    views = TwoViews(views)
    for epoch in (1, 2):
        batches.set_epoch(epoch)
        views.set_epoch(epoch)
        assert list(views) == [batch * 2 for batch in batches]
        assert len(views) == len(batches)


def supcon_brain(**hparams):
    module = script_module(RECIPES / "IEMOCAP/train_supcon.py")
    made = module.SupconBrain.__new__(module.SupconBrain)
    made.hparams = SimpleNamespace(targets={"emotion": []}, **hparams)
    return made


@pytest.mark.parametrize("normalise", [False, True])
def test_only_the_second_half_is_augmented_and_normalised_afterwards(normalise):
    draw = torch.Generator().manual_seed(0)
    lens = torch.tensor([1.0, 0.5] * 2)
    speech = torch.randn(2, 1000, generator=draw).repeat(2, 1) / 10
    speech[[1, 3], 500:] = 0
    reader = SpeechReader(normalise=normalise)
    reader.draw = (1000, 3)
    views = second_views(Volume([6, 6]), speech.clone(), lens, ["u0", "u1"] * 2, reader)
    expected = torch.cat([speech[:2], (10 ** (6 / 20) * speech[2:]).clamp(-1, 1)])
    if normalise:
        for item, samples in enumerate((1000, 500, 1000, 500)):
            expected[item, :samples] = standardise(expected[item, :samples])
    torch.testing.assert_close(views, expected)


def test_a_reader_that_normalises_leaves_that_to_the_augmentation_in_training():
    reader = SpeechReader(normalise=True)
    samples = torch.linspace(0, 1, 1000)
    assert reader.prepare(samples, training=True).mean() == pytest.approx(0, abs=1e-6)
    reader.raw_in_training = True
    assert torch.equal(reader.prepare(samples, training=True), samples)
    assert reader.prepare(samples).mean() == pytest.approx(0, abs=1e-6)


def test_equation_2_and_evaluation_by_cross_entropy_alone():
    draw = torch.Generator().manual_seed(1)
    embedding, targets = torch.randn(6, 5, generator=draw), torch.tensor([0, 1, 2] * 2)
    logits = torch.randn(6, 4, generator=draw)
    contrastive = SupervisedContrastive()
    made = supcon_brain(contrastive_weight=0.3)
    made.device = "cpu"
    made.modules = nn.ModuleDict({"contrastive": contrastive})
    made.records = {"id": [], "target": [], "logits": []}
    batch = SimpleNamespace(id=list("abcdef"), emotion_id=targets)
    outputs = SimpleNamespace(logits=logits, embedding=embedding)
    cross_entropy = nn.functional.cross_entropy(logits, targets)
    expected = 0.7 * cross_entropy + 0.3 * contrastive(embedding, targets)
    assert made.compute_objectives(outputs, batch, Stage.TRAIN) == pytest.approx(float(expected))
    alone = made.compute_objectives(outputs, batch, Stage.VALID)
    assert alone == pytest.approx(float(cross_entropy))
    assert made.records["id"] == batch.id and made.records["target"] == targets.tolist()
    del made.modules["contrastive"]  # as of the weight 0
    alone = made.compute_objectives(outputs, batch, Stage.TRAIN)
    assert alone == pytest.approx(float(cross_entropy))


def test_the_embedding_is_the_mean_over_valid_frames():
    torch.manual_seed(0)
    encoder = Encoder(TINY, frozen="cnn")
    network = Classifier(encoder, MeanPooling(16), LinearHead(16, "abcd", dropout=0.1)).eval()
    speech, lens = torch.randn(2, 8000) / 10, torch.tensor([1.0, 0.6])
    with torch.no_grad():
        embeddings = network.embed(speech, lens)
        for item, samples in enumerate((8000, 4800)):
            frames = encoder(speech[[item], :samples], torch.ones(1))[0]
            expected = frames.sum(dim=0) / len(frames)
            torch.testing.assert_close(embeddings[item], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(network(speech, lens), network.head(embeddings))
    hidden = Classifier(encoder, MeanPooling(16), LinearHead(8, "abcd"), HiddenLayer(16, 8)).eval()
    with torch.no_grad():
        assert hidden.embed(speech, lens).shape == (2, 8) and hidden(speech, lens).shape == (2, 4)
        assert (hidden.embed(speech, lens) >= 0).all()


def test_each_speaker_is_tested_once_and_validated_by_the_partner():
    manifest = {
        f"Ses0{session}F_impro0{n}_{letter}{n:03}": {
            "emotion": "angry",
            "speaker": f"Ses0{session}{letter}",
            "session": str(session),
            "gender": letter,
        }
        for session in range(1, 6)
        for letter in "FM"
        for n in range(3)
    }
    tested = []
    for fold in range(1, 11):
        parts = splits.leave_one_speaker_out(manifest, fold, validation="partner")
        (speaker,) = {entry["speaker"] for entry in parts["test"].values()}
        (partner,) = {entry["speaker"] for entry in parts["valid"].values()}
        assert partner[:-1] == speaker[:-1] and partner != speaker
        assert len({entry["speaker"] for entry in parts["train"].values()}) == 8
        tested.append(speaker)
    assert len(set(tested)) == 10


def test_a_projection_is_trained_and_survives_a_resume(tmp_path):
    words = [
        "--contrastive",
        "{projection: !new:torch.nn.Linear {in_features: 16, out_features: 4}}",
    ]
    run(SUPCON, tiny(SUPCON, tmp_path, *words, "--max_epochs", "1"))
    saved = next((tmp_path / "supcon/fold1/1000/save").glob("CKPT*/contrastive.ckpt"))
    assert torch.load(saved, weights_only=True)["projection.weight"].shape == (4, 16)
    weights = safetensors.torch.load_file(tmp_path / "supcon/fold1/1000/best/model.safetensors")
    assert not any(name.startswith("projection") for name in weights)  # it only trains


@pytest.mark.parametrize("name", ["emotion", pytest.param("multitask", marks=pytest.mark.slow)])
def test_another_papers_training_takes_the_contrastive_loss(name, tmp_path):
    yaml = RECIPES / f"IEMOCAP/hparams/{name}.yaml"
    found = {}
    for variant, words in {
        "_plain": [],
        "_contrast": [*CONTRAST, *AUGMENT],
        "_weightless": [*CONTRAST, "--contrastive_weight", "0"],
    }.items():
        run(yaml, tiny(yaml, tmp_path, *words, "--variant", variant, "--max_epochs", "1"))
        folder = tmp_path / f"{name}{variant}/fold1/1000"
        found[variant] = (folder / "train_log.txt").read_text()
        assert json.loads((folder / "results.json").read_text())["labels"]
    assert found["_plain"] == found["_weightless"] != found["_contrast"]


@pytest.mark.parametrize(
    ("yaml", "words", "message"),
    [
        ("IEMOCAP/hparams/asr_gender.yaml", CONTRAST, "learns no emotions that a contrastive loss"),
        ("IEMOCAP/hparams/probe.yaml", AUGMENT, "a store, which holds no views"),
        ("IEMOCAP/hparams/supcon.yaml", ["--noise", "{snr_db: [30, 10]}"], "snr_db is"),
    ],
)
def test_where_they_do_not_belong_they_are_refused(yaml, words, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run(RECIPES / yaml, tiny(RECIPES / yaml, tmp_path, *words, "--max_epochs", "1"))


def test_the_rate_does_not_fall_by_the_test_part():
    part = {}
    settings = {"select_by": "last", "patience": 0, "protocol": "honest"}
    parts = {"train": {}, "valid": part, "test": part}
    name = "!name:speechbrain_ser.training.schedules"
    for schedule in ("constant", "exponential {decay: 0.5}", "plateau {patience: 20, factor: 0.1}"):
        settings |= hp.load_tree(f"schedule: {name}.{schedule}")
        if "plateau" not in schedule:
            experiment.refuse_choices_on_test(settings, parts)
    with pytest.raises(InputError, match="patience to 0 and schedule to another than plateau"):
        experiment.refuse_choices_on_test(settings, parts)
