"""Numbers beside the classes, in every recipe: heads, losses, runs, and what they leave."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import RECIPES, earlier, run, script_module, ser, tiny
from torch import nn

from speechbrain_ser import EmotionRecognizer, output
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.models import saved
from speechbrain_ser.models.heads import CosineHead, DenseHead, LinearHead
from speechbrain_ser.models.losses import Concordance
from speechbrain_ser.models.multitask import PooledHead
from speechbrain_ser.results import metrics
from speechbrain_ser.training.brain import SerBrain

slow = pytest.mark.slow
LABELS = ["angry", "happy", "sad"]
TARGETS = {"emotion": LABELS, "valence": {"low": 1, "high": 7}, "arousal": {"low": 0, "high": 1}}
HEADS = [LinearHead, DenseHead, CosineHead, PooledHead]
IEMOCAP = "emotion: [angry, happy, sad, neutral]"
RATED = f"{IEMOCAP}, valence: {{low: 1, high: 5}}"
RAVDESS = "emotion: [neutral, calm, happy, sad, angry, fearful, disgust, surprised]"
STRENGTH = f"{RAVDESS}, intensity: {{low: 0, high: 1, values: {{normal: 0, strong: 1}}}}"


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_s_classes_are_those_without_numbers(kind):
    torch.manual_seed(0)
    alone, both = kind(4, LABELS).eval(), kind(4, LABELS, targets=TARGETS).eval()
    missing = both.load_state_dict(alone.state_dict(), strict=False).missing_keys
    assert {name.split(".")[-2] for name in missing} == {"numbers"}
    embedding = torch.randn(5, 4)
    outputs = both(embedding)
    assert outputs.shape == (5, 5) and alone.ranges == {} and alone.num_classes == 3
    torch.testing.assert_close(both.of_classes(outputs), alone(embedding))
    torch.testing.assert_close(both.probs(outputs), alone.probs(alone(embedding)))
    layer = both.numbers if kind is not DenseHead else both[3].numbers
    read = embedding if kind is not DenseHead else both[1](embedding).tanh()
    raw = torch.stack([layer.weight @ row + layer.bias for row in read])
    own = both.values(outputs).tolist()
    for (first, second), (valence, arousal) in zip(raw.tolist(), own, strict=True):
        assert valence == pytest.approx(1 + 6 / (1 + np.exp(-first)), abs=1e-5)
        assert arousal == pytest.approx(1 / (1 + np.exp(-second)), abs=1e-5)


class ThreeBrain(SerBrain):
    """Of a network that is its head alone."""

    def __init__(self, head):
        self.modules = SimpleNamespace(model=SimpleNamespace(head=head))
        self.hparams = SimpleNamespace(targets=TARGETS, number_criterion=Concordance())
        self.device = "cpu"

    def loss(self, outputs, batch):
        assert outputs.logits.shape == (6, 3)
        return nn.functional.cross_entropy(outputs.logits, batch.emotion_id)


def rated():
    """A batch of 6 with two numbers."""
    ids = torch.tensor([0, 1, 2, 0, 1, 2])
    valence, arousal = torch.linspace(1, 7, 6), torch.linspace(1, 0, 6)
    return SimpleNamespace(emotion_id=ids, valence_number=valence, arousal_number=arousal)


def test_the_loss_is_the_mean_of_the_targets_losses():
    torch.manual_seed(0)
    head, batch = LinearHead(4, LABELS, targets=TARGETS).double(), rated()
    outputs = head(torch.randn(6, 4, dtype=torch.float64)).detach()
    found = ThreeBrain(head).loss_of_targets(SimpleNamespace(logits=outputs), batch)
    entropy = 0.0
    for row, target in zip(outputs[:, :3].tolist(), batch.emotion_id.tolist(), strict=True):
        entropy += (np.log(np.exp(row).sum()) - row[target]) / 6
    valence = 1 + 6 / (1 + np.exp(-outputs[:, 3].numpy()))
    arousal = 1 / (1 + np.exp(-outputs[:, 4].numpy()))
    apart = [
        1 - metrics.concordance(batch.valence_number.tolist(), valence),
        1 - metrics.concordance(batch.arousal_number.tolist(), arousal),
    ]
    assert float(found) == pytest.approx((entropy + sum(apart)) / 3, abs=1e-6)


def test_mixtures_mix_the_numbers_losses_too():
    module = script_module(RECIPES / "RAVDESS/train_combined.py")
    batch, values = rated(), torch.tensor([1.0, 3, 2, 6, 5, 7])
    partner = torch.tensor([5, 4, 3, 2, 1, 0])
    made = module.CombinedBrain.__new__(module.CombinedBrain)
    made.hparams = SimpleNamespace(number_criterion=nn.MSELoss())
    outputs = SimpleNamespace(partner=partner, share=0.75)
    found = made.number_loss(values, batch.valence_number, outputs)
    expected = 0.0
    for row, value in enumerate(values.tolist()):
        own, other = batch.valence_number[row], batch.valence_number[partner[row]]
        expected += (0.75 * (value - own) ** 2 + 0.25 * (value - other) ** 2) / 6
    assert float(found) == pytest.approx(float(expected), abs=1e-5)


def trained(name, targets, folder, *more):
    """What a recipe's run with these targets leaves."""
    yaml = RECIPES / name
    run(yaml, tiny(yaml, folder, "--max_epochs", "1", "--targets", f"{{{targets}}}", *more))
    (found,) = folder.glob(f"{yaml.stem}*/fold1/*")
    return found


def check(folder, number):
    """Scores of both, and a best/ that answers as the run did."""
    told, rows = read_json(folder / "results.json"), output.read_csv(folder / "predictions.csv")
    answers = [float(row[f"{number}_prediction"]) for row in rows]
    wanted = [float(row[f"{number}_target"]) for row in rows]
    assert told[f"CCC_{number}"] == pytest.approx(metrics.concordance(wanted, answers))
    assert "UA" in told and len(set(answers)) > 1
    assert f"valid CCC_{number}" in (folder / "train_log.txt").read_text()
    recognizer = EmotionRecognizer.from_hparams(folder / "best")
    assert saved.ranges(saved.description(folder / "best")) == recognizer.ranges
    manifest = read_json(folder / "manifest.json")
    for row in rows[:2]:
        emotion = recognizer.classify_file(manifest[row["id"]]["wav"])
        assert emotion.values == {
            number: pytest.approx(float(row[f"{number}_prediction"]), abs=1e-4)
        }
        for label in told["labels"]:
            assert emotion.probs[label] == pytest.approx(float(row[label]), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "number", "targets", "more"),
    [
        ("IEMOCAP/hparams/supcon.yaml", "valence", RATED, ()),
        ("RAVDESS/hparams/combined.yaml", "intensity", STRENGTH, ()),
        pytest.param("RAVDESS/hparams/member.yaml", "intensity", STRENGTH, (), marks=slow),
        pytest.param(
            *("IEMOCAP/hparams/probe.yaml", "valence", RATED, ("--normalise_by", "global")),
            marks=slow,
        ),
    ],
)
def test_a_recipe_of_emotions_learns_a_number_beside_them(name, number, targets, more, tmp_path):
    check(trained(name, targets, tmp_path, *more), number)


def test_park_s_phases_learn_a_number_and_arcface_its_emotions(runs, tmp_path):
    emotion = trained("IEMOCAP/hparams/emotion.yaml", RATED, tmp_path)
    check(emotion, "valence")
    assert (
        ser("export", emotion, "--out", tmp_path / "out", "--files", "4") == 0
    )  # it compares them
    words = [
        *("--speaker_best", f"{runs}/speaker/fold1/1000/best"),
        *("--emotion_best", f"{emotion}/best", "--regime", "all"),
    ]
    both = f"{IEMOCAP}, speaker: [], valence: {{low: 1, high: 5}}"
    check(trained("IEMOCAP/hparams/fusion.yaml", both, tmp_path, *words), "valence")
    with pytest.raises(InputError, match="no numbers, and the network's head answers valence from"):
        trained("IEMOCAP/hparams/fusion.yaml", f"{IEMOCAP}, speaker: []", tmp_path / "b", *words)


@pytest.mark.parametrize("name", ["multitask", pytest.param("two_stage", marks=slow)])
def test_gao_s_tasks_learn_a_number_beside_them(name, runs, tmp_path):
    yaml = RECIPES / f"IEMOCAP/hparams/{name}.yaml"
    targets = f"{IEMOCAP}, gender: [F, M], style: [impro, script], valence: {{low: 1, high: 5}}"
    more = ("--tasks", "[emotion, gender]", "--log_gradient_conflict", "True")
    folder = trained(f"IEMOCAP/hparams/{name}.yaml", targets, tmp_path, *earlier(yaml, runs), *more)
    check(folder, "valence")
    assert "UA_gender" in read_json(folder / "results.json")


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("RAVDESS/hparams/linear.yaml", STRENGTH),
        ("IEMOCAP/hparams/knn.yaml", RATED),
        ("IEMOCAP/hparams/asr_gender.yaml", "gender: [F, M], valence: {low: 1, high: 5}"),
    ],
)
def test_a_method_without_numbers_says_so(name, targets, runs, tmp_path):
    sentence = "(intensity|valence) from . to ., and the network's head answers no numbers: give"
    with pytest.raises(InputError, match=sentence):
        trained(name, targets, tmp_path, *earlier(RECIPES / name, runs))
