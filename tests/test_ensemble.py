"""Gavali & Verma: votes and ties by loops, the tables, members of any kind, and the export."""

import csv
import itertools
import json
import statistics
from types import SimpleNamespace

import pytest
import torch
from conftest import RECIPES, TINY, run, script_module, tiny
from sklearn.metrics import classification_report
from test_wav2vec2_bert import SMALL as BERT
from test_whisper import SMALL as WHISPER
from torch import nn

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.datasets import ShuffledBatches, UpdateBatches
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved, seen
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.ensemble import Ensemble, combine, count_ties
from speechbrain_ser.models.heads import DenseHead
from speechbrain_ser.models.pooling import MaxPooling, MeanPooling, SumPooling
from speechbrain_ser.results import metrics, votes

MEMBER = RECIPES / "RAVDESS/hparams/member.yaml"
ENSEMBLE = RECIPES / "RAVDESS/hparams/ensemble.yaml"


def some_probs(members, utterances=200, classes=4):
    draw = torch.Generator().manual_seed(members)
    return torch.rand(members, utterances, classes, generator=draw).softmax(dim=2)


def winners_by_loop(probs, ties, weights):
    """Counts by hand; Python's own sums and comparisons."""
    found = []
    for utterance in range(probs.shape[1]):
        own = [row[utterance].tolist() for row in probs]
        ballots = [row.index(max(row)) for row in own]
        most = max(ballots.count(b) for b in ballots)
        tied = sorted(b for b in set(ballots) if ballots.count(b) == most)
        if ties == "mean":
            means = {b: statistics.fmean(row[b] for row in own) for b in tied}
            found.append(max(tied, key=means.get))
        elif ties == "best_member":
            favourite = ballots[weights.index(max(weights))]
            found.append(favourite if favourite in tied else tied[0])
        else:
            found.append(tied[0])
    return found


@pytest.mark.parametrize("members", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("ties", ["first", "best_member", "mean"])
def test_hard_votes_by_a_loop(members, ties):
    probs = some_probs(members)
    weights = [90.0 + (3 * number) % 7 for number in range(members)]
    together = combine(probs, "hard", ties, weights)
    assert together.argmax(dim=1).tolist() == winners_by_loop(probs, ties, weights)
    torch.testing.assert_close(together.sum(dim=1), torch.ones(200))
    ballots = probs.argmax(dim=2)
    for utterance in range(200):
        for number in range(4):
            share = (ballots[:, utterance] == number).float().mean()
            assert abs(float(together[utterance, number] - share)) < 1e-3


def test_ties_are_counted_by_hand():
    def ballots(*labels):
        return nn.functional.one_hot(torch.tensor(labels), 5).float()

    cases = {(0, 0, 1): 0, (0, 1, 2): 1, (0, 0, 1, 1, 2): 1, (0, 1, 2, 3, 4): 1, (3,): 0}
    for labels, expected in cases.items():
        assert count_ties(ballots(*labels).unsqueeze(1)) == expected, labels
    assert count_ties(torch.stack([ballots(0, 1, 1), ballots(1, 1, 0), ballots(2, 1, 2)])) == 2


def test_soft_and_weighted_votes_are_means():
    probs = some_probs(3)
    torch.testing.assert_close(combine(probs, "soft"), sum(probs) / 3)
    expected = (90 * probs[0] + 60 * probs[1] + 30 * probs[2]) / 180
    torch.testing.assert_close(combine(probs, "weighted", weights=[90, 60, 30]), expected)
    with pytest.raises(InputError, match="vote is 'loud'"):
        combine(probs, "loud")


def test_20_triples_and_6_quintuples_of_six():
    six = ["a", "b", "c", "d", "e", "f"]
    tried = votes.combinations(six, [3, 5])
    assert [len(some) for some in tried] == [3] * 20 + [5] * 6 and len(set(tried)) == 26
    assert votes.combinations(["a", "b"], [3, 5]) == [("a", "b")]


def test_mcnemar_by_hand():
    targets = [0] * 20
    one = [0] * 10 + [1] * 10  # right in the first 10
    other = [0] * 9 + [1] + [0] * 8 + [1] * 2  # one only by the first, eight only by the other
    # two-sided: 2 * (C(9, 0) + C(9, 1)) / 2 ** 9
    assert metrics.mcnemar(targets, one, other) == pytest.approx(2 * 10 / 512)
    assert metrics.mcnemar(targets, one, one) == 1


def test_the_table_says_what_scikit_learn_does(tmp_path):
    labels = ["x", "y", "z"]
    draw = torch.Generator().manual_seed(0)
    probs = {name: torch.rand(60, 3, generator=draw) for name in "abc"}
    targets = torch.randint(3, (60,), generator=draw).tolist()
    weights = {"a": 50.0, "b": 70.0, "c": 60.0}
    rows = votes.table(probs, targets, labels, [("a", "b", "c")], "hard", "first", weights)
    assert [row["members"] for row in rows] == ["a", "b", "c", "a + b + c"]
    assert rows[1]["p_against_best_member"] is None
    assert all(row["WA_low"] <= row["WA"] <= row["WA_high"] for row in rows)
    together = combine(torch.stack(list(probs.values())), "hard").argmax(dim=1).tolist()
    assert rows[3]["predictions"] == together
    votes.write(tmp_path, rows, targets, labels, "a + b + c")
    expected = classification_report(targets, together, target_names=labels, zero_division=0)
    assert expected in (tmp_path / "reports.txt").read_text()
    assert {path.name for path in tmp_path.glob("*.png")} == {
        f"confusion_{name}.png" for name in ("a", "b", "c", "ensemble")
    }
    with open(tmp_path / "combinations.csv", newline="") as file:
        assert [row["ties"] for row in csv.DictReader(file)][:3] == ["0"] * 3


class Answers(nn.Module):
    """Names a class by how loud the speech is that it gets."""

    def __init__(self, gain):
        super().__init__()
        self.gain = gain
        self.head = SimpleNamespace(probs=lambda logits: logits.softmax(dim=1))

    def forward(self, speech, lens):
        assert speech.shape[0] == len(lens)
        loud = (speech**2).sum(dim=1, keepdim=True)
        return torch.cat([self.gain * loud, torch.ones_like(loud)], dim=1)


def test_each_member_reads_in_its_own_way():
    members = {
        "whole": {"reader": SpeechReader(), "model": Answers(1.0)},
        "cut": {"reader": SpeechReader(max_seconds=0.05), "model": Answers(1.0)},
    }
    network = Ensemble(members, "soft")
    speech = torch.zeros(2, 3200)
    speech[0, :1600], speech[1] = 0.05, torch.linspace(-0.1, 0.1, 3200)
    speech[0, 0] = 0.04
    lens = torch.tensor([0.5, 1.0])
    for name, reader in (("whole", SpeechReader()), ("cut", SpeechReader(max_seconds=0.05))):
        items = [reader.prepare(speech[0, :1600]), reader.prepare(speech[1])]
        alone = [network.members[name].model(item[None], torch.ones(1))[0] for item in items]
        expected = torch.stack(alone).softmax(dim=1)
        torch.testing.assert_close(network.members[name].probs(speech, lens), expected)
    probs = network.head.probs(network(speech, lens))
    both = [network.members[name].probs(speech, lens) for name in members]
    torch.testing.assert_close(probs, (both[0] + both[1]) / 2)
    network.choose(["cut"])
    network.prune()
    assert list(network.members) == ["cut"]
    torch.testing.assert_close(network.head.probs(network(speech, lens)), both[1])


@pytest.mark.parametrize("kind", [MeanPooling, SumPooling, MaxPooling])
def test_poolings_by_a_loop(kind):
    frames = torch.randn(3, 7, 5)
    lengths = [7, 4, 1]
    valid = torch.arange(7) < torch.tensor(lengths).unsqueeze(1)
    for masked in (True, False):
        for item, length in enumerate(lengths):
            rows = frames[item, : length if masked else 7].double()
            expected = {
                MeanPooling: rows.sum(dim=0) / len(rows),
                SumPooling: rows.sum(dim=0),
                MaxPooling: rows.amax(dim=0),
            }[kind]
            found = kind(5, masked)(frames, valid)[item].double()
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_the_head_is_two_dense_layers_with_tanh():
    head = DenseHead(6, "abc", dropout=0.5).eval()
    first, second = head[1], head[3]
    embedding = torch.randn(4, 6)
    expected = torch.tanh(embedding @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(head(embedding), expected)
    assert sum(p.numel() for p in head.parameters()) == 6 * 6 + 6 + 6 * 3 + 3
    torch.testing.assert_close(head.probs(expected), expected.softmax(dim=1))


@pytest.mark.parametrize(("count", "batch", "per_epoch"), [(24, 4, 4), (22, 4, 7), (8, 4, 5)])
def test_update_batches_are_the_passes_cut_anew(count, batch, per_epoch):
    targets = ["a"] * count
    cut = UpdateBatches(targets, batch, seed=3, per_epoch=per_epoch)
    whole = ShuffledBatches(targets, batch, seed=3)
    row = []
    for number in range(12):
        whole.set_epoch(number)
        row += list(whole)
    for epoch in (1, 2, 3, 4):
        cut.set_epoch(epoch)
        assert list(cut) == row[(epoch - 1) * per_epoch : epoch * per_epoch]
        assert len(cut) == per_epoch


def test_the_paper_s_updates():
    module = script_module(RECIPES / "RAVDESS/train_member.py")
    settings = {"batch_size": 4, "passes": 10, "grad_accumulation_factor": 2}
    settings |= {"updates_per_epoch": 100, "max_epochs": None}
    parts = {"train": dict.fromkeys(range(1152))}
    filled = module.MemberBrain.corpus_settings(settings, parts)
    assert filled == {"updates": 1440, "max_epochs": 14}


def test_an_encoder_s_own_regularisers():
    config = TINY | {"hidden_dropout": 0.23, "layerdrop": 0.17, "mask_time_prob": 0.3}
    own = dict.fromkeys(
        ["hidden_dropout", "attention_dropout", "activation_dropout", "projection_dropout"]
        + ["layerdrop", "time_mask", "feature_mask"]
    )
    encoder = Encoder(config, **own)
    assert encoder.model.config.hidden_dropout == 0.23
    assert encoder.model.config.mask_time_prob == 0.3 and encoder.model.config.apply_spec_augment
    assert (encoder.layerdrop, encoder.model.config.layerdrop) == (0.17, 0)
    assert encoder.describe()["layerdrop"] == 0.17
    assert Encoder(config).model.config.hidden_dropout == 0.1


def test_gradients_do_not_depend_on_checkpointing():
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder = Encoder(TINY, frozen="cnn", checkpoint_gradients=checkpointing).train()
        torch.manual_seed(1)
        encoder(torch.randn(2, 4000) / 10, torch.ones(2)).square().sum().backward()
        found.append([p.grad for p in encoder.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) > 10
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    blocks = encoder.blocks
    assert all(block.gradient_checkpointing for block in blocks)


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Three small members of different kinds on the mini RAVDESS, one of another recipe."""
    results = tmp_path_factory.mktemp("members")
    for name, config in (("_a", BERT), ("_b", WHISPER | {"max_source_positions": 1000})):
        encoder = results / f"encoder{name}.json"
        encoder.write_text(json.dumps(config))
        run(MEMBER, [*tiny(MEMBER, results), "--variant", name, "--encoder", str(encoder)])
    emotion = RECIPES / "IEMOCAP/hparams/emotion.yaml"
    corpus = (
        "{name: ravdess, labels: [angry, calm, disgust, fearful, happy, neutral, sad, surprised]}"
    )
    run(emotion, [*tiny(emotion, results), "--corpus", corpus, "--variant", "_c"])
    return {
        "a": str(results / "member_a/fold1/42"),  # a run
        "b": str(results / "member_b/fold1/42/best"),
        "c": str(results / "emotion_c/fold1/1000"),
    }


def test_an_ensemble_of_any_runs(members, tmp_path):
    given = ["--members", json.dumps(members), "--sizes", "[2, 3]", "--ties", "best_member"]
    run(ENSEMBLE, tiny(ENSEMBLE, tmp_path, *given))
    folder = tmp_path / "ensemble/fold1/42"
    results = json.loads((folder / "results.json").read_text())
    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = results["labels"]
    # members' rows and every combination from predictions.csv alone
    targets = [labels.index(row["target"]) for row in rows]
    ballots = {n: [labels.index(row[f"prediction_{n}"]) for row in rows] for n in members}
    table = {row["members"]: row for row in results["ensemble"]}
    assert len(table) == 3 + 3 + 1
    valid = {name: table[name]["valid_WA"] for name in members}
    for size in (1, 2, 3):
        for some in itertools.combinations(members, size):
            named = []
            for utterance in range(len(rows)):
                own = [ballots[name][utterance] for name in some]
                most = max(own.count(b) for b in own)
                tied = sorted({b for b in own if own.count(b) == most})
                favourite = ballots[max(some, key=valid.get)][utterance]
                named.append(favourite if favourite in tied else tied[0])
            expected = metrics.score(targets, named, labels)
            assert table[" + ".join(some)]["WA"] == pytest.approx(expected["WA"])
            assert table[" + ".join(some)]["UA"] == pytest.approx(expected["UA"])
    together = [row for row in results["ensemble"] if row["size"] > 1]
    chosen = max(together, key=lambda row: row["valid_WA"])
    assert results["chosen"] == chosen["members"] and results["WA"] == pytest.approx(chosen["WA"])

    recognizer = EmotionRecognizer.from_hparams(folder / "best")
    assert set(recognizer.mods.model.members) == set(results["chosen"].split(" + "))
    manifest = json.loads((folder / "manifest.json").read_text())
    emotions = recognizer.classify_files([manifest[row["id"]]["wav"] for row in rows])
    for row, emotion in zip(rows, emotions, strict=True):
        assert emotion.label == row["prediction"]
        for label, prob in emotion.probs.items():
            assert prob == pytest.approx(float(row[label]), abs=1e-5)
    (known,) = saved.trained_on(folder / "best")
    assert known["corpus"] == "mini-ravdess" and known["utterances"]
    assert not seen.among([row["id"] for row in rows], known, "utterances")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fold", "2"], "trained on this fold's test data"),
        (["--corpus", "{labels: [calm, angry]}"], "names angry, calm, .* emotions are calm, angry"),
        (["--members", "{a: no/such/place/best}"], "neither a local model folder nor a Hub"),
        (["--vote", "loud"], "vote is 'loud'"),
    ],
)
def test_members_that_do_not_fit_are_named(words, message, members, tmp_path):
    given = ["--members", json.dumps(members), *words]
    with pytest.raises(InputError, match=message):
        run(ENSEMBLE, tiny(ENSEMBLE, tmp_path, *given))


@pytest.mark.parametrize(
    "words", [["--voters", "[xlsr, hubert]"], ["--member_overrides", "{hubert: {lr: 1}}"]]
)
def test_a_voter_that_is_no_member_is_named(words, tmp_path):
    with pytest.raises(InputError, match="no member hubert: use some of w2v2_large, xlsr, "):
        run(ENSEMBLE, tiny(ENSEMBLE, tmp_path, *words))
