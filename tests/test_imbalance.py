"""Losses and samplers against unequal classes: loops in float64, and what a run does with them."""

import json
import logging
import math
import shlex
from types import SimpleNamespace

import pytest
import torch
from conftest import RECIPES, YAMLS, run, script_of, tiny
from speechbrain import Stage

from speechbrain_ser import hparams as hp
from speechbrain_ser.data.datasets import BalancedBatches
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import losses
from speechbrain_ser.models.losses import ClassBalancedCrossEntropy, Focal, LogitAdjusted
from speechbrain_ser.training import command_line, imbalance, probe_brain, source

COMBINED = RECIPES / "RAVDESS/hparams/combined.yaml"
COUNTS = [100, 5, 1, 40]
PACKAGE = "speechbrain_ser.models.losses"
LOSSES = [ClassBalancedCrossEntropy(), LogitAdjusted(), Focal()]


def batch(seed=0, size=12, classes=4):
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, classes, generator=draw)
    return logits, torch.randint(classes, (size,), generator=draw)


def told(loss, counts=COUNTS):
    if isinstance(loss, losses.ByFrequency):
        loss.count(counts)
    return loss


def probabilities(row) -> list[float]:
    total = sum(map(math.exp, row))
    return [math.exp(z) / total for z in row]


@pytest.mark.parametrize("beta", [0, 0.9, 0.999, 0.9999999, None])
def test_class_balanced_cross_entropy_by_a_loop(beta):
    logits, targets = batch()
    if beta is None:
        weights = [1 / n for n in COUNTS]
    else:
        weights = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    weights = [w * len(COUNTS) / sum(weights) for w in weights]
    terms = [
        -weights[target] * math.log(probabilities(row)[target])
        for row, target in zip(logits.double().tolist(), targets.tolist(), strict=True)
    ]
    loss = told(ClassBalancedCrossEntropy(beta))(logits, targets)
    assert float(loss) == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    if beta == 0:
        assert float(loss) == pytest.approx(float(torch.nn.CrossEntropyLoss()(logits, targets)))


@pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 3.0, 0.0]])
def test_focal_loss_by_a_loop(gamma, weights):
    logits, targets = batch(1)
    terms = []
    for row, target in zip(logits.double().tolist(), targets.tolist(), strict=True):
        p = probabilities(row)[target]
        terms.append(-(weights or [1] * 4)[target] * (1 - p) ** gamma * math.log(p))
    loss = Focal(gamma, weights)(logits, targets)
    assert float(loss) == pytest.approx(sum(terms) / len(terms), rel=1e-5)


@pytest.mark.parametrize("tau", [0, 1.0, 2.0])
def test_logit_adjustment_by_a_loop(tau):
    logits, targets = batch(2)
    terms = []
    for row, target in zip(logits.double().tolist(), targets.tolist(), strict=True):
        moved = [z + tau * math.log(n / sum(COUNTS)) for z, n in zip(row, COUNTS, strict=True)]
        terms.append(-math.log(probabilities(moved)[target]))
    loss = told(LogitAdjusted(tau))(logits, targets)
    assert float(loss) == pytest.approx(sum(terms) / len(terms), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_class_without_training_utterances_is_finite(loss):
    logits = torch.randn(4, 4).requires_grad_()
    value = told(loss, [10, 0, 30, 0])(logits, torch.tensor([0, 1, 2, 3]))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(logits.grad).all()


def test_an_untrained_class_does_not_change_the_weights_of_the_others():
    loss = told(ClassBalancedCrossEntropy(None), [10, 0, 30])
    weights = loss.weights(torch.zeros(1, 3)).tolist()
    assert weights[0] == pytest.approx(1.5) and weights[2] == pytest.approx(0.5)
    assert weights[1] == pytest.approx(10 * weights[0])  # as if it had one utterance


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_shares_of_one_class_are_that_class_and_half_precision_is_single(loss):
    logits, targets = batch(3)
    shares = torch.nn.functional.one_hot(targets, 4).float()
    hard = told(loss)(logits, targets)
    torch.testing.assert_close(told(loss)(logits, shares), hard)
    half = logits.bfloat16()
    assert told(loss)(half, targets) == told(loss)(half.float(), targets)


def test_a_sure_answer_has_a_gradient():
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    Focal(0.5)(logits, torch.tensor([0, 0])).backward()
    assert torch.isfinite(logits.grad).all() and logits.grad[1, 0] < 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ClassBalancedCrossEntropy()(*batch()), "does not know how many training utter"),
        (lambda: told(LogitAdjusted(), [1, 2])(*batch()), "told of 2 classes, .* names 4"),
        (lambda: ClassBalancedCrossEntropy(1), "beta is 1: give a number from 0 to below 1"),
        (lambda: Focal(-1), "gamma is -1"),
        (lambda: Focal(2, [1, 2])(*batch()), "class_weights has 2 numbers for 4 classes"),
    ],
)
def test_mistakes_are_told(call, said):
    with pytest.raises(InputError, match=said):
        call()


def test_counts_are_no_part_of_a_checkpoint():
    assert told(LogitAdjusted()).state_dict() == {}


def test_each_criterion_counts_its_own_target():
    train = {
        str(number): {"emotion": emotion, "speaker": speaker}
        for number, (emotion, speaker) in enumerate([("b", "s1"), ("b", "s2"), ("a", "s1")])
    }
    modules = {"criterion": LogitAdjusted(), "speaker_criterion": LogitAdjusted()}
    targets = {"emotion": ["a", "b", "c"], "speaker": ["s1", "s2"]}
    imbalance.count_classes(modules, targets, train)
    assert modules["criterion"].counts.tolist() == [1, 2, 0]
    assert modules["speaker_criterion"].counts.tolist() == [2, 1]
    shares = {"emotion": {"labels": ["b", "a"], "soft": True}}
    imbalance.count_classes(modules, shares, train)
    assert modules["criterion"].counts.tolist() == [2, 1]
    number = {"criterion": LogitAdjusted()}
    imbalance.count_classes(number, {"emotion": {"low": 1, "high": 7}}, train)
    with pytest.raises(InputError, match="and the target has classes"):
        number["criterion"](torch.zeros(2, 1), torch.zeros(2))


def test_a_run_counts_its_training_part_and_draws_classes_alike(tmp_path, monkeypatch):
    """Half of the actors say nothing sad."""
    counted, drawn = [], []
    count, prepare = losses.ByFrequency.count, source.prepare
    objectives = probe_brain.ProbeBrain.compute_objectives

    def uneven(*call):
        return {
            utt_id: entry
            for utt_id, entry in prepare(*call).items()
            if entry["emotion"] != "sad" or int(entry["speaker"][-2:]) % 2
        }

    def remember(self, utterances):
        counted.append(utterances)
        count(self, utterances)

    def look(self, outputs, batch, stage):
        if stage == Stage.TRAIN:
            drawn.extend(batch.emotion_id.tolist())
        return objectives(self, outputs, batch, stage)

    monkeypatch.setattr(source, "prepare", uneven)
    monkeypatch.setattr(losses.ByFrequency, "count", remember)
    monkeypatch.setattr(probe_brain.ProbeBrain, "compute_objectives", look)
    words = ["--criterion", f"!new:{PACKAGE}.ClassBalancedCrossEntropy {{}}", "--max_epochs", "1"]
    words += ["--batches", "!name:speechbrain_ser.data.datasets.BalancedBatches {}"]
    run(COMBINED, tiny(COMBINED, tmp_path, *words))
    (folder,) = tmp_path.glob("combined/fold1/*")
    tree = hp.load_tree((folder / "hyperparams.yaml").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    parts = hp.build({"split": tree["split"]})["split"](manifest, fold=1)
    said, labels = [e["emotion"] for e in parts["train"].values()], tree["targets"]["emotion"]
    assert counted == [[said.count(label) for label in labels]]
    assert min(counted[0]) == said.count("sad") == max(counted[0]) / 2
    shares = [drawn.count(number) for number in range(len(labels))]
    assert sum(shares) == len(said) and max(shares) - min(shares) <= 1


# one answer for all

ALWAYS_THE_FIRST = f"!new:{PACKAGE}.Focal {{class_weights: [1, 0, 0, 0, 0, 0, 0, 0]}}"
WITHOUT = "!name:speechbrain_ser.data.splits.without_validation"
UNSEEN = f'{WITHOUT} {{outer: !ref "<corpus[emotion_split]>"}}'


@pytest.mark.parametrize("own_validation", [True, False])
def test_one_answer_for_all_is_told(own_validation, tmp_path, caplog):
    """A loss that knows one class only; of the test part nothing is said."""
    words = ["--criterion", ALWAYS_THE_FIRST, "--lr", "0.1", "--mixing", "0"]
    words += [] if own_validation else ["--split", UNSEEN]
    with caplog.at_level(logging.WARNING, "speechbrain_ser"):
        run(COMBINED, tiny(COMBINED, tmp_path, *words))
    (folder,) = tmp_path.glob("combined/fold1/*")
    results = json.loads((folder / "results.json").read_text())
    assert sum(row[0] for row in results["confusion"]) == sum(map(sum, results["confusion"]))
    if not own_validation:
        assert "collapsed" not in results and "of validation" not in caplog.text
        return
    assert results["collapsed"]["label"] == "neutral" and results["collapsed"]["answers"] == 100
    assert "The model answers neutral for 100 % of validation, where" in caplog.text


@pytest.mark.parametrize(
    ("answers", "targets", "is_told"),
    [(97, 40, True), (89, 40, False), (97, 95, False), (100, 95, True), (100, 100, False)],
)
def test_what_counts_as_one_answer_for_all(answers, targets, is_told, caplog):
    brain = SimpleNamespace(
        most_answered={"label": "b", "answers": answers, "targets": targets},
        parts={"train": {"1": {"emotion": "a"}}, "valid": {}, "test": {"2": {}}},
    )
    settings = command_line.read(COMBINED, {"mini": True})
    assert bool(imbalance.collapsed(brain, settings)) is is_told
    assert ("answers b for" in caplog.text) is is_told
    if is_told:
        assert "; try --variant _again --lr " in caplog.text
    brain.parts["valid"] = brain.parts["test"]
    assert imbalance.collapsed(brain, settings) == {}


TRAINED = [path for path in YAMLS if path.stem not in ("verification", "knn", "ensemble")]


@pytest.mark.parametrize("yaml", TRAINED, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_what_is_advised_fits_the_recipe(yaml):
    """Its command line takes the words, and what they name is built and called as in a run."""
    words = [str(yaml), "--mini", "True"]
    tree = hp.resolve(command_line.parse(script_of(yaml), words).tree, yaml)
    advised = {imbalance.remedy(tree, sizes) for sizes in ({"a": 9, "b": 1}, {"a": 9, "b": 8})}
    if "UnderSampled" not in hp.tag_of(tree["batches"]):
        assert len(advised) == 2 - (tree["lr"] == 0)  # even classes need no other weights
    assert "" not in advised
    every = "--batches '!name:speechbrain_ser.data.datasets.BalancedBatches {}'"
    for more in {*advised, every}:
        path, tree, overrides, *_ = command_line.parse(
            script_of(yaml), [*words, *shlex.split(more)]
        )
        settings = hp.resolve(tree, path)
        command_line.check(settings, path, overrides)
        built = hp.build({key: settings.get(key) for key in ("criterion", "batches")})
        batches = hp.call("batches", built["batches"], ["a", "b"] * 4, batch_size=2, seed=0)
        assert batches.batch_size == 2
        if "criterion" in more:
            assert isinstance(built["criterion"], ClassBalancedCrossEntropy)
            assert settings["modules"]["criterion"] == settings["criterion"]
        if more == every:
            assert isinstance(batches, BalancedBatches)
