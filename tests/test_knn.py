"""Nearest neighbours against loops, scikit-learn and on ties; the search; datastores of runs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import RECIPES, run, tiny
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from speechbrain_ser.errors import InputError
from speechbrain_ser.models import knn, saved
from speechbrain_ser.models.knn import NearestNeighbours, nearest, search
from speechbrain_ser.results import metrics

KNN = RECIPES / "IEMOCAP/hparams/knn.yaml"
LABELS = ["angry", "happy", "sad", "neutral"]


class Network(nn.Module):
    """Embeds speech as itself, and answers by a linear head."""

    def __init__(self, dim=6):
        super().__init__()
        self.head = nn.Linear(dim, 4)
        self.head.probs = lambda logits: logits.softmax(dim=1)

    def embed(self, speech, lens):
        return speech


def by_loops(queries, keys, k):
    """The k nearest keys in float64, the earlier of equal ones first."""
    found = []
    for query in queries.double():
        distances = [float((query - key).norm()) for key in keys.double()]
        order = sorted(range(len(keys)), key=lambda index: (round(distances[index], 6), index))
        found.append([(distances[index], index) for index in order[:k]])
    return found


def check_nearest(queries, keys, k):
    distances, indices = nearest(queries, keys, k)
    for row, expected in enumerate(by_loops(queries, keys, k)):
        assert indices[row].tolist() == [index for _, index in expected]
        assert distances[row].tolist() == pytest.approx([d for d, _ in expected], abs=1e-5)


@pytest.mark.parametrize("k", [1, 5, 32])
def test_nearest_on_random_data(k):
    draw = torch.Generator().manual_seed(k)
    check_nearest(torch.randn(20, 6, generator=draw), torch.randn(300, 6, generator=draw), k)


def test_nearest_of_copies_is_the_earlier():
    draw = torch.Generator().manual_seed(0)
    some = torch.randn(20, 6, generator=draw)
    keys = some.repeat(10, 1)[torch.randperm(200, generator=draw)]
    check_nearest(some, keys, 15)  # the tenth and its copies end in the middle of 15
    check_nearest(torch.zeros(2, 6), torch.ones(150, 6), 7)  # all keys are one


def test_nearest_sees_through_rounding():
    # far from the origin a matrix product cannot tell these keys apart, differences can
    draw = torch.Generator().manual_seed(1)
    keys = 100 + 0.01 * torch.randn(400, 8, generator=draw)
    queries = 100 + 0.01 * torch.randn(5, 8, generator=draw)
    _, indices = nearest(queries, keys, 10)
    exact = (queries.double().unsqueeze(1) - keys.double()).norm(dim=2).argsort(dim=1)[:, :10]
    assert torch.equal(indices, exact)


def test_nearest_in_parts_and_with_too_few_keys(monkeypatch):
    draw = torch.Generator().manual_seed(2)
    queries, keys = torch.randn(9, 4, generator=draw), torch.randn(50, 4, generator=draw)
    whole = nearest(queries, keys, 3)
    monkeypatch.setattr(knn, "SCORED_AT_ONCE", 100)  # two queries at a time
    for part, other in zip(nearest(queries, keys, 3), whole, strict=True):
        torch.testing.assert_close(part, other)
    with pytest.raises(InputError, match="51 neighbours are asked for and 50 are stored"):
        nearest(queries, keys, 51)


WEIGHTS = {
    "euclidean": lambda distances: np.exp(-distances / 0.5),
    "squared": lambda distances: np.exp(-(distances**2) / 0.5),
    "vote": "uniform",
}


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("normalise", [True, False])
def test_votes_equal_scikit_learns(weighting, normalise):
    draw = torch.Generator().manual_seed(3)
    keys, queries = (torch.randn(n, 6, generator=draw) for n in (200, 30))
    values = torch.randint(4, (200,), generator=draw)
    values[torch.randint(200, (50,), generator=draw)] = 2
    network = NearestNeighbours(Network(), LABELS, 200, 6, weighting, 0.5, normalise)
    votes = network.vote(queries, keys, values, 20)
    scaled = nn.functional.normalize if normalise else lambda rows: rows
    for k in (1, 2, 7, 20):
        theirs = KNeighborsClassifier(k, weights=WEIGHTS[weighting], algorithm="brute")
        theirs.fit(scaled(keys).double().numpy(), values.numpy())
        expected = torch.from_numpy(theirs.predict_proba(scaled(queries).double().numpy()))
        torch.testing.assert_close(votes[:, k - 1].double(), expected, atol=1e-5, rtol=0)


def test_votes_of_tied_neighbours_equal_scikit_learns():
    keys = torch.tensor([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [3, 3]])
    values = torch.tensor([0, 1, 1, 2, 2, 3])
    network = NearestNeighbours(Network(2), LABELS, 6, 2, "vote", normalise=False)
    theirs = KNeighborsClassifier(5, algorithm="brute").fit(keys.numpy(), values.numpy())
    votes = network.vote(torch.zeros(1, 2), keys, values, 5)[0, -1]
    assert theirs.predict_proba([[0.0, 0]])[0].tolist() == [0.2, 0.4, 0.4, 0]
    assert votes.tolist() == pytest.approx([0.2, 0.4, 0.4, 0])


def test_the_answer_mixes_two_probabilities():
    draw = torch.Generator().manual_seed(4)
    network = NearestNeighbours(Network(), LABELS, 40, 6).train()
    keys, queries = torch.randn(40, 6, generator=draw), torch.randn(5, 6, generator=draw)
    values = torch.randint(4, (40,), generator=draw)
    network.store(keys, values, k=7, alpha=0.3)
    with torch.no_grad():
        probs = network.head.probs(network(queries, torch.ones(5)))
        own = network.model.head(queries).softmax(dim=1)
    expected = 0.3 * network.vote(queries, keys, values, 7)[:, 6] + 0.7 * own
    torch.testing.assert_close(probs, expected)
    assert not network.training and not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("score", ["WA", "UA"])
def test_search_by_loops(score):
    draw = torch.Generator().manual_seed(5)
    neighbours = torch.rand(30, 6, 4, generator=draw)
    own = torch.rand(30, 4, generator=draw)
    targets = torch.randint(4, (30,), generator=draw)
    targets[:12] = 1
    alphas = [0.9, 0.1, 0.5]
    tried = {}
    for alpha in alphas:
        for k in range(1, 7):
            mixed = alpha * neighbours[:, k - 1] + (1 - alpha) * own
            found = metrics.score(targets.tolist(), mixed.argmax(dim=1).tolist(), LABELS)
            tried[alpha, k] = found[score]
    highest = max(tried.values())
    alpha, k = min((a, -k) for (a, k), value in tried.items() if value == pytest.approx(highest))
    assert search(neighbours, own, targets, alphas, score) == (-k, alpha, pytest.approx(highest))


def test_search_prefers_a_small_alpha_then_many_neighbours():
    right = torch.eye(4)[torch.arange(8) % 4]
    assert search(right.unsqueeze(1).repeat(1, 5, 1), right, torch.arange(8) % 4, [0.5, 0.05]) == (
        5,
        0.05,
        100,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"weighting": "nearest"}, "weighting is 'nearest'"), ({"temperature": 0}, "temperature is")],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        NearestNeighbours(Network(), LABELS, 3, 6, **settings)


def test_the_search_never_meets_an_utterance_itself_and_leaves_the_test_part_alone(
    runs, tmp_path, monkeypatch
):
    calls = []
    vote = NearestNeighbours.vote

    def spied(self, embeddings, keys, values, k):
        calls.append(SimpleNamespace(queries=embeddings, keys=keys))
        return vote(self, embeddings, keys, values, k)

    monkeypatch.setattr(NearestNeighbours, "vote", spied)
    trained = ["--trained_best", f"{runs}/supcon/fold1/1000/best"]
    run(KNN, tiny(KNN, tmp_path, *trained))
    folder = tmp_path / "knn/fold1/1000"
    manifest = json.loads((folder / "manifest.json").read_text())
    speakers = [sum(e["speaker"] == s for e in manifest.values()) for s in ("Ses01M", "Ses01F")]
    chosen = calls[0]  # on validation, the partner of the test speaker
    assert (len(chosen.queries), len(chosen.keys)) == (speakers[0], len(manifest) - sum(speakers))
    model = saved.load(folder / "best")["model"]
    # every later answer is from training and validation together
    assert model.keys.shape == (len(manifest) - speakers[1], 16)
    assert {tuple(call.keys.shape) for call in calls[1:]} == {tuple(model.keys.shape)}
    results = json.loads((folder / "results.json").read_text())
    supcon = json.loads((runs / "supcon/fold1/1000/results.json").read_text())
    assert [results[f"{name}_without_knn"] for name in ("WA", "UA")] == [supcon["WA"], supcon["UA"]]
    assert results["WA_oracle"] >= max(results["WA"], results["WA_without_knn"])
    assert results["knn"] == {"k": int(model.k), "alpha": pytest.approx(float(model.alpha))}
    assert results["trainable"] == 0


def test_a_datastore_is_added_to_any_papers_model(runs, tmp_path):
    splits = {"fusion": f"labels: [{', '.join(LABELS)}]", "two_stage": "validation: session"}
    for name, arguments in splits.items():
        own = ["--trained_best", f"{runs}/{name}/fold1/1000/best", "--variant", f"_{name}"]
        split = f"!name:speechbrain_ser.data.splits.leave_one_session_out {{{arguments}}}"
        run(KNN, tiny(KNN, tmp_path, *own, "--split", split))
        folder = tmp_path / f"knn_{name}/fold1/1000"
        theirs = json.loads((runs / f"{name}/fold1/1000/results.json").read_text())
        found = json.loads((folder / "results.json").read_text())
        assert found["WA_without_knn"] == theirs["WA"] and found["UA_without_knn"] == theirs["UA"]
        reader = saved.load(folder / "best")["reader"]
        assert vars(reader) == vars(saved.load(runs / f"{name}/fold1/1000/best")["reader"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dim", "8"], "embeddings have 16 dimensions: give --dim 16"),
        (["--fold", "2"], "trained on this fold's test data"),
        (
            [
                "--protocol",
                "replication",
                "--split",
                "!name:speechbrain_ser.data.splits.without_validation "
                "{outer: !name:speechbrain_ser.data.splits.leave_one_speaker_out {}}",
            ],
            "the test part would be among the keys",
        ),
        (
            ["--corpus", "{labels: [happy, angry, sad, neutral]}"],
            "names angry, happy, sad, neutral, and here the emotions are happy, angry",
        ),
    ],
)
def test_mistakes_are_named(words, message, runs, tmp_path):
    trained = ["--trained_best", f"{runs}/supcon/fold1/1000/best"]
    with pytest.raises(InputError, match=message):
        run(KNN, tiny(KNN, tmp_path, *trained, *words))
