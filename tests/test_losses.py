"""Losses against loops in double precision, and at their edges."""

import math

import pytest
import torch

from speechbrain_ser.errors import InputError
from speechbrain_ser.models.heads import CosineHead
from speechbrain_ser.models.losses import ArcFace, Concordance, SupervisedContrastive
from speechbrain_ser.results import metrics

MARGIN, SCALE = 0.3, 30.0


def by_loops(cosines, targets, margin=MARGIN, scale=SCALE) -> float:
    """Park 2023, eq. 4, with the authors' guard where the widened angle would pass pi."""
    total = 0.0
    for row, target in zip(cosines.double().tolist(), targets.tolist(), strict=True):
        logits = [scale * cosine for cosine in row]
        cosine = max(-1.0, min(1.0, row[target]))
        if cosine > math.cos(math.pi - margin):
            logits[target] = scale * math.cos(math.acos(cosine) + margin)
        else:
            logits[target] = scale * (cosine - margin * math.sin(margin))
        highest = max(logits)
        total += highest + math.log(sum(math.exp(z - highest) for z in logits)) - logits[target]
    return total / len(cosines)


@pytest.mark.parametrize("classes", [4, 8, 1251])
@pytest.mark.parametrize("settings", [(0.3, 30.0), (0.0, 1.0), (0.5, 64.0)])
def test_training_loss_by_loops(classes, settings):
    draw = torch.Generator().manual_seed(classes)
    cosines = 2 * torch.rand(12, classes, generator=draw) - 1
    targets = torch.randint(classes, (12,), generator=draw)
    loss = ArcFace(*settings).train()(cosines, targets)
    assert float(loss) == pytest.approx(by_loops(cosines, targets, *settings), rel=1e-5)


GUARD = math.cos(math.pi - MARGIN)


@pytest.mark.parametrize(
    "cosine", [-1.0, -0.99, GUARD - 1e-4, GUARD + 1e-4, -0.9, 0.0, 0.9, 0.9999, 1.0]
)
def test_the_target_near_the_ends(cosine):
    cosines = torch.tensor([[cosine, -0.2, -0.3, -0.1]])
    target = torch.tensor([0])
    loss = ArcFace(MARGIN, SCALE).train()(cosines, target)
    # cosines stop 1e-7 short of 1, where the angle's derivative is infinite: 30 * 4e-4 * sin(m)
    assert float(loss) == pytest.approx(by_loops(cosines, target), abs=5e-3, rel=1e-4)


def test_the_guard_s_numbers():
    assert pytest.approx(-0.95534, abs=5e-6) == GUARD
    assert MARGIN * math.sin(MARGIN) == pytest.approx(0.088656, abs=5e-7)
    cosines = torch.tensor([[-0.97, -1.0]])
    loss = ArcFace(MARGIN, SCALE).train()(cosines, torch.tensor([0]))
    other, target = 30 * -1.0, 30 * (-0.97 - 0.088656)
    assert float(loss) == pytest.approx(math.log1p(math.exp(other - target)), rel=1e-4)


@pytest.mark.parametrize("end", [1.0, -1.0])
def test_gradients_are_finite_at_the_ends(end):
    cosines = torch.tensor([[end, 0.0, 0.0, 0.0]], requires_grad=True)
    ArcFace(MARGIN, SCALE).train()(cosines, torch.tensor([0])).backward()
    assert torch.isfinite(cosines.grad).all()
    head = CosineHead(4, ["a", "b"])
    embedding = (end * head.centres.weight[:1]).detach().requires_grad_()
    ArcFace(MARGIN, SCALE).train()(head(embedding), torch.tensor([0])).backward()
    assert torch.isfinite(embedding.grad).all()
    assert torch.isfinite(head.centres.weight.grad).all()


def test_the_gradient_by_differences():
    cosines = torch.tensor([[0.2, -0.4, 0.7], [-0.97, 0.1, 0.3]], requires_grad=True)
    targets = torch.tensor([1, 0])
    ArcFace(0.3, 2.0).train()(cosines, targets).backward()
    for i in range(2):
        for c in range(3):
            step = torch.zeros(2, 3, dtype=torch.float64)
            step[i, c] = 1e-6
            plain = cosines.detach().double()
            change = by_loops(plain + step, targets, 0.3, 2.0)
            change -= by_loops(plain - step, targets, 0.3, 2.0)
            assert float(cosines.grad[i, c]) == pytest.approx(change / 2e-6, abs=1e-4)


def test_evaluation_is_the_cross_entropy_of_bare_cosines():
    draw = torch.Generator().manual_seed(0)
    cosines = 2 * torch.rand(9, 4, generator=draw) - 1
    targets = torch.randint(4, (9,), generator=draw)
    loss = ArcFace(MARGIN, SCALE).eval()(cosines, targets)
    expected = 0.0
    for row, target in zip(cosines.tolist(), targets.tolist(), strict=True):
        expected += math.log(sum(map(math.exp, row))) - row[target]
    assert float(loss) == pytest.approx(expected / 9, rel=1e-6)


@pytest.mark.parametrize(
    ("right", "wrong", "classes", "loss"),
    [
        (1.0, 0.0, 4, 0.744),  # perfect, the other centres orthogonal
        (1.0, -1 / 3, 4, 0.583),  # perfect, centres at the corners of a tetrahedron
        (0.0, 0.0, 4, 1.386),  # chance
        (-1.0, 1.0, 4, math.log(1 + 3 * math.e**2)),  # the worst
        (0.0, 0.0, 1251, 7.13),
        (1.0, 0.0, 1251, 6.13),
    ],
)
def test_reference_values_of_the_validation_loss(right, wrong, classes, loss):
    cosines = torch.full((1, classes), wrong)
    cosines[0, 2] = right
    value = ArcFace(MARGIN, SCALE).eval()(cosines, torch.tensor([2]))
    assert float(value) == pytest.approx(loss, abs=5e-3)


def test_half_precision_cosines_are_computed_in_single_precision():
    cosines = torch.tensor([[0.5, -0.25, 0.125]])
    for loss in (ArcFace(MARGIN, SCALE).train(), ArcFace(MARGIN, SCALE).eval()):
        assert loss(cosines.bfloat16(), torch.tensor([0])) == loss(cosines, torch.tensor([0]))


def contrastive_by_loops(embeddings, targets, temperature=0.07, normalise=True, mean=True) -> float:
    """Wang 2023, eq. 1, as a double loop in float64."""
    vectors = embeddings.double().tolist()
    if normalise:
        vectors = [[x / math.dist(v, [0] * len(v)) for x in v] for v in vectors]
    terms = []
    for i, anchor in enumerate(vectors):
        products = {
            a: sum(x * y for x, y in zip(anchor, other, strict=True)) / temperature
            for a, other in enumerate(vectors)
            if a != i
        }
        highest = max(products.values())
        total = highest + math.log(sum(math.exp(z - highest) for z in products.values()))
        positives = [p for p in products if targets[p] == targets[i]]
        if positives:
            terms.append(-sum(products[p] - total for p in positives) / len(positives))
    return sum(terms) / len(terms) if mean else sum(terms)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    "targets",
    [[0, 1, 2, 3] * 2, [0, 1, 0, 1, 2, 2, 2, 2], [0, 0, 1, 2, 3, 4, 5, 6], [1] * 8],
    ids=["one positive each", "several", "anchors without one", "one class"],
)
def test_contrastive_loss_by_a_double_loop(targets, reduction, normalise):
    draw = torch.Generator().manual_seed(sum(targets))
    embeddings = torch.randn(8, 5, generator=draw)
    temperature = 0.07 if normalise else 2.0
    loss = SupervisedContrastive(temperature, normalise, reduction)(
        embeddings, torch.tensor(targets)
    )
    expected = contrastive_by_loops(
        embeddings, targets, temperature, normalise, reduction == "mean"
    )
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_contrastive_loss_of_two_opposite_classes_by_hand():
    embeddings = torch.tensor([[1.0, 0], [2, 0], [-3, 0], [-1, 0]], requires_grad=True)
    loss = SupervisedContrastive(temperature=0.5)(embeddings, torch.tensor([0, 0, 1, 1]))
    # one positive at +1 / 0.5, two others at -1 / 0.5
    assert float(loss) == pytest.approx(math.log(1 + 2 * math.exp(-4)))
    loss.backward()
    assert torch.isfinite(embeddings.grad).all()


def test_contrastive_loss_without_any_positive_is_zero_and_has_gradients():
    embeddings = torch.randn(3, 4, requires_grad=True)
    loss = SupervisedContrastive()(embeddings, torch.arange(3))
    loss.backward()
    assert float(loss) == 0 and (embeddings.grad == 0).all()


def test_contrastive_loss_is_float32_in_any_precision_and_trains_its_projection():
    contrastive = SupervisedContrastive(projection=torch.nn.Linear(6, 3))
    embeddings, targets = torch.randn(8, 6), torch.tensor([0, 1] * 4)
    with torch.no_grad():
        projected = contrastive.projection(embeddings)
    expected = contrastive_by_loops(projected, targets.tolist())
    assert float(contrastive(embeddings, targets)) == pytest.approx(expected, rel=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = projected.bfloat16()
        contrastive.projection = None
        loss = contrastive(half, targets)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(contrastive_by_loops(half, targets.tolist()), rel=1e-5)


def test_contrastive_settings_are_checked():
    with pytest.raises(InputError, match="reduction is 'max'"):
        SupervisedContrastive(reduction="max")
    with pytest.raises(InputError, match="temperature is 0"):
        SupervisedContrastive(temperature=0)


@pytest.mark.parametrize("shift", [0, 1000])
def test_concordance_by_a_loop(shift):
    """Around a large mean, too, where float32 keeps no difference of squares."""
    draw = torch.Generator().manual_seed(4)
    targets = shift + torch.randn(30, generator=draw)
    predictions = shift + 0.2 + 0.6 * (targets - shift) + 0.5 * torch.randn(30, generator=draw)
    pairs = list(zip(predictions.tolist(), targets.tolist(), strict=True))
    own, other = (math.fsum(side) / 30 for side in zip(*pairs, strict=True))
    covariance = math.fsum((p - own) * (t - other) for p, t in pairs) / 30
    variances = math.fsum((p - own) ** 2 + (t - other) ** 2 for p, t in pairs) / 30
    expected = 1 - 2 * covariance / (variances + (own - other) ** 2)
    loss = Concordance()(predictions, targets)
    assert float(loss) == pytest.approx(expected, rel=1e-3 if shift else 1e-5)
    whole = metrics.concordance(targets.tolist(), predictions.tolist())
    assert expected == pytest.approx(1 - whole, abs=1e-9)


def test_concordance_of_equal_and_of_opposite_numbers():
    numbers = torch.tensor([1.0, 4.0, 2.0, 9.0])
    assert float(Concordance()(numbers, numbers)) == pytest.approx(0, abs=1e-6)
    assert float(Concordance()(-numbers, numbers)) > 1
    half = numbers.bfloat16()
    assert Concordance()(half, numbers).dtype == torch.float32


def test_concordance_s_gradient():
    draw = torch.Generator().manual_seed(5)
    predictions = torch.randn(6, generator=draw, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(6, generator=draw, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: Concordance()(p, targets), predictions)


@pytest.mark.parametrize("size", [1, 3, 50])
@pytest.mark.parametrize(("own", "other"), [(0.1, 0.1), (0.7, 0.1), (0.0, 0.0)])
def test_concordance_of_a_batch_without_spread(size, own, other):
    predictions = torch.full((size,), own, requires_grad=True)
    loss = Concordance()(predictions, torch.full((size,), other))
    loss.backward()
    assert float(loss) == pytest.approx(1, abs=1e-5)
    assert predictions.grad.abs().max() < 10 * size


def test_concordance_does_not_broadcast():
    with pytest.raises(InputError, match=r"predictions of shape \[4, 1\] .* \[4\] do not pair"):
        Concordance()(torch.zeros(4, 1), torch.zeros(4))


@pytest.mark.parametrize("training", [True, False])
def test_arcface_of_shares_weighs_the_classes_losses(training):
    torch.manual_seed(0)
    cosines = torch.rand(5, 3).mul(2).sub(1).requires_grad_()
    loss, shares = ArcFace(margin=0.3, scale=30).train(training), torch.rand(5, 3).softmax(dim=1)
    expected = 0.0
    for row, own in zip(cosines, shares, strict=True):
        for number, share in enumerate(own):
            expected += share * loss(row[None], torch.tensor([number])) / 5
    torch.testing.assert_close(loss(cosines, shares), expected)
    targets = torch.tensor([0, 2, 1, 1, 0])
    hard = torch.nn.functional.one_hot(targets).float()
    grads = [torch.autograd.grad(loss(cosines, own), cosines)[0] for own in (targets, hard)]
    torch.testing.assert_close(*grads)
    torch.testing.assert_close(loss(cosines, targets), loss(cosines, hard))
