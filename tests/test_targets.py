"""Targets that are classes, shares of annotators or numbers: items, heads, scores, refusals."""

import numpy as np
import pytest
import soundfile
import torch
from scipy import stats
from sklearn.metrics import f1_score
from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import targets as kinds
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.datasets import make_dataset, make_loader
from speechbrain_ser.data.targets import UNKNOWN
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.heads import CosineHead, LinearHead, TargetsHead, ranges_of
from speechbrain_ser.results import answers, dimensions, metrics, shares

LABELS = ["angry", "happy", "sad"]
SOFT = {"labels": LABELS, "soft": True}
VALENCE = {"low": 1, "high": 7}
INTENSITY = {"low": 0, "high": 1, "values": {"normal": 0, "strong": 1}}
TARGETS = {"emotion": SOFT, "valence": VALENCE, "intensity": INTENSITY, "speaker": ["A"]}


@pytest.fixture
def part(tmp_path):
    """Four utterances; the last two have no ratings."""
    emotions = ["happy", "sad", "angry", "happy"]
    ratings = [{"happy": 2, "sad": 1, "other": 3}, {"other": 1}, {}, None]
    entries = {}
    for i, (emotion, counts) in enumerate(zip(emotions, ratings, strict=True)):
        wav = tmp_path / f"{i}.wav"
        soundfile.write(wav, 0.1 * np.random.default_rng(i).standard_normal(1600 + i), 16_000)
        entries[f"u{i}"] = {
            "wav": str(wav),
            "duration": 0.1,
            "emotion": emotion,
            "speaker": "AB"[i % 2],
            "valence": ["3.5", "1", "7.0", " 2 "][i],
            "intensity": ["normal", "strong"][i % 2],
        } | ({} if counts is None else {"ratings": counts})
    return entries


def numbers_first(specs):
    """The targets in an order in which a class follows no number."""
    return {field: specs[field] for field in ("emotion", "speaker", "valence", "intensity")}


def test_items_of_each_kind(part):
    specs = numbers_first(TARGETS)
    items = list(make_dataset(part, SpeechReader(), specs))
    assert list(items[0]) == [
        *("id", "speech", "emotion_id", "emotion_shares", "speaker_id"),
        *("valence_number", "intensity_number"),
    ]
    assert [item["emotion_id"] for item in items] == [1, 2, 0, 1]
    expected = [[0, 2 / 3, 1 / 3], [0, 0, 1], [1, 0, 0], [0, 1, 0]]  # "other" is no label
    for item, row in zip(items, expected, strict=True):
        torch.testing.assert_close(item["emotion_shares"], torch.tensor(row).float())
    assert [item["valence_number"] for item in items] == [3.5, 1, 7, 2]
    assert [item["intensity_number"] for item in items] == [0, 1, 0, 1]
    assert [item["speaker_id"] for item in items] == [0, UNKNOWN, 0, UNKNOWN]
    (batch,) = make_loader(make_dataset(part, SpeechReader(), specs), workers=0, batch_size=4)
    made = kinds.of(specs)
    assert made["emotion"].of_batch(batch).shape == (4, 3)
    assert made["valence"].of_batch(batch).tolist() == [3.5, 1, 7, 2]
    assert made["valence"].of_batch(batch).dtype == torch.float32
    assert made["speaker"].of_batch(batch).tolist() == [0, UNKNOWN, 0, UNKNOWN]


def test_a_list_is_classes_and_so_are_labels_that_are_not_soft(part):
    for spec in (LABELS, {"labels": LABELS, "soft": False}):
        item = make_dataset(part, SpeechReader(), {"emotion": spec})[0]
        assert list(item) == ["id", "speech", "emotion_id"] and item["emotion_id"] == 1


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"valence": "7.5"}, "u1 has valence 7.5, outside 1 to 7: correct the corpus or the range"),
        ({"valence": "nan"}, "u1 has valence nan, outside 1 to 7"),
        ({"valence": "high"}, "u1 has valence 'high', which is no number: correct the corpus"),
        ({"valence": ""}, "u1 has no valence: correct the corpus, or leave valence out of targets"),
        ({"intensity": "weak"}, "u1 has intensity 'weak', which is none of normal, strong: "),
        ({"emotion": "calm"}, "u1 has emotion 'calm', which is none of angry, happy, sad"),
    ],
)
def test_what_cannot_be_learned_names_the_utterance(part, change, sentence):
    part["u1"] |= change
    with pytest.raises(InputError, match=sentence):
        make_dataset(part, SpeechReader(), numbers_first(TARGETS))


def test_a_field_that_is_absent_names_the_utterance(part):
    del part["u2"]["valence"]
    with pytest.raises(InputError, match="u2 has no valence"):
        make_dataset(part, SpeechReader(), {"valence": VALENCE})


@pytest.mark.parametrize(
    "specs, sentence",
    [
        ({"valence": {"lo": 1, "high": 7}}, "valence is {lo: 1, high: 7}: use a list of classes"),
        ({"emotion": "happy"}, "targets.emotion is 'happy': use a list of classes"),
        ({"emotion": {"labels": LABELS, "soft": 1.5}}, "targets.emotion is {labels: "),
        ({"valence": {"low": 7, "high": 7}}, "valence has low 7 and high 7: high must be above"),
        ({"valence": {"low": "a", "high": 7}}, "targets.valence.low is 'a': use a number from"),
        ({"valence": {"low": 1, "high": 1e4}}, "targets.valence.high is 10000.0: use a number"),
        ({"i": {**VALENCE, "values": {"weak": "x"}}}, "targets.i.values.weak is 'x': use a number"),
        ({"valence": VALENCE, "emotion": LABELS}, "valence, a number, before emotion: name class"),
        (
            {"gender": {"labels": ["F"], "soft": True}},
            "gender is soft, and annotators' ratings are",
        ),
        ({"my field": LABELS}, "targets has 'my field': a field's name has letters"),
    ],
)
def test_what_describes_no_target(specs, sentence):
    with pytest.raises(InputError, match=sentence):
        kinds.of(specs)


def train_of(texts):
    return {f"u{i}": {"emotion": text, "speaker": text} for i, text in enumerate(texts)}


def test_ratings_are_no_classes():
    texts = [f"{1 + i / 6:.2f}" for i in range(24)]
    with pytest.raises(InputError, match="emotion has 24 different numbers, such as ") as caught:
        kinds.settled({"emotion": []}, [], train_of(texts))
    assert "--targets '{emotion: {low: 1, high: 5}}' with" in str(caught.value)
    twenty = train_of(texts[:20])
    assert kinds.settled({"emotion": []}, [], twenty)["emotion"] == sorted(texts[:20])
    assert len(kinds.settled({"speaker": []}, [], train_of(texts))["speaker"]) == 24
    assert kinds.settled({"emotion": texts}, [], train_of(texts)) == {"emotion": texts}
    words = train_of([f"w{i}" for i in range(24)])
    assert len(kinds.settled({"emotion": []}, [], words)["emotion"]) == 24


def test_labels_that_are_not_named_are_the_corpus_or_the_training_part_s():
    train = train_of(["sad", "happy", "sad"])
    specs = {"emotion": {"soft": True}, "valence": VALENCE}
    settled = kinds.settled(specs, [], train)
    assert settled == {"emotion": {"soft": True, "labels": ["happy", "sad"]}, "valence": VALENCE}
    assert kinds.settled(specs, LABELS, train)["emotion"]["labels"] == LABELS


def test_a_new_target_replaces_all_and_a_known_one_itself():
    tree = hp.load_tree("targets: {emotion: [a], speaker: []}")
    hp.override(tree, hp.command_line("targets: {emotion: [b, c]}"))
    assert hp.plain(tree["targets"]) == {"emotion": ["b", "c"], "speaker": []}
    hp.override(tree, hp.command_line("targets: {emotion: [b], valence: {low: 1, high: 7}}"))
    assert hp.plain(tree["targets"]) == {"emotion": ["b"], "valence": VALENCE}


def test_one_hot_shares_have_the_cross_entropy_of_classes_to_the_bit():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 8, generator=draw, requires_grad=True)
    targets = torch.randint(8, (64,), generator=draw)
    criterion = nn.CrossEntropyLoss()
    losses = [criterion(logits, own) for own in (targets, nn.functional.one_hot(targets).float())]
    assert torch.equal(*losses)
    assert torch.equal(*(torch.autograd.grad(loss, logits)[0] for loss in losses))


def test_a_head_of_classes_and_numbers():
    torch.manual_seed(0)
    embedding = torch.randn(5, 4)
    head = TargetsHead(4, {"emotion": SOFT, "valence": VALENCE, "intensity": INTENSITY}).eval()
    outputs = head(embedding)
    assert outputs.shape == (5, 5) and ranges_of(nn.Module()) == {}
    assert head.ranges == {"valence": (1, 7), "intensity": (0, 1)}
    logits = embedding @ head.classes.weight.T + head.classes.bias
    torch.testing.assert_close(head.logits(outputs), logits)
    torch.testing.assert_close(head.probs(outputs), logits.softmax(dim=1))
    for row, own in zip(embedding, head.values(outputs), strict=True):
        raw = (head.numbers.weight @ row + head.numbers.bias).tolist()
        for (low, high), number, value in zip(head.ranges.values(), raw, own.tolist(), strict=True):
            assert value == pytest.approx(low + (high - low) / (1 + np.exp(-number)), abs=1e-5)
    far = head.values(torch.tensor([[0, 0, 0, 1e4, -1e4]]))
    assert far.tolist() == [[7, 0]]
    alone = TargetsHead(4, {"valence": VALENCE})
    assert alone(embedding).shape == (5, 1) and alone.probs(alone(embedding)).shape == (5, 0)


def test_heads_take_shares_and_refuse_numbers():
    assert LinearHead(4, SOFT).out_features == 3
    assert CosineHead(4, SOFT)(torch.randn(2, 4)).shape == (2, 3)
    for head in (LinearHead, CosineHead):
        with pytest.raises(InputError, match="no classes that this network could name: .*dimens"):
            head(4, VALENCE)
    with pytest.raises(InputError, match="the classes of emotion and gender: leave one"):
        TargetsHead(4, {"emotion": LABELS, "gender": ["F", "M"], "valence": VALENCE})


@pytest.fixture
def answered():
    """Targets and predictions of 60 utterances of 6 speakers, who differ in their means."""
    draw = np.random.default_rng(0)
    speakers = np.repeat(list("abcdef"), 10)
    own = draw.normal(4, 1, 60)
    return own, own + draw.normal(0, 0.5, 60) + np.repeat(draw.normal(0, 0.4, 6), 10), speakers


def test_scores_of_a_number(answered):
    own, other, _ = answered
    found = dimensions.score(own, other)
    assert found["CCC"] == metrics.concordance(own, other)
    assert found["pearson"] == pytest.approx(stats.pearsonr(own, other).statistic)
    assert found["MSE"] == pytest.approx(sum((own - other) ** 2) / 60)
    assert dimensions.score([1, 2], [3, 3])["pearson"] == 0
    several = dimensions.scores(["v", "a"], np.stack([own, own], 1), np.stack([other, own], 1))
    assert several["CCC_v"] == found["CCC"] and several["CCC_a"] == pytest.approx(1)
    assert several["CCC"] == pytest.approx((found["CCC"] + 1) / 2)
    assert dimensions.names_of(several) == ["v", "a"]
    assert dimensions.shown(several) == ["CCC", "CCC_v", "CCC_a"]
    assert [dimensions.told(*pair) for pair in (("CCC_v", 0.5), ("UA", 50.0))] == ["0.500", "50.00"]


def test_speakers_drawn_again_by_a_loop(answered):
    own, other, speakers = answered
    drawn = np.random.default_rng(7).multinomial(6, np.full(6, 1 / 6), size=20)
    expected = []
    for counts in drawn:
        ids = [i for name, n in zip("abcdef", counts, strict=True) for _ in range(n)
               for i in np.flatnonzero(speakers == name)]  # fmt: skip
        expected.append(metrics.concordance(own[ids], other[ids]))
    found = dimensions.bootstrap_speakers(own, np.stack([other, own]), speakers, 20, 7)
    np.testing.assert_allclose(found[0], expected)
    np.testing.assert_allclose(found[1], 1)
    shifted = dimensions.bootstrap_speakers(own + 1e6, other[None] + 1e6, speakers, 20, 7)
    np.testing.assert_allclose(shifted[0], expected, rtol=1e-6)


def test_scores_of_shares():
    draw = np.random.default_rng(0)
    wanted, probs = draw.dirichlet([0.4] * 4, 50), draw.dirichlet([1] * 4, 50)
    wanted[0] = [1, 0, 0, 0]
    found = shares.score(wanted, probs)
    assert found["KL"] == pytest.approx(
        np.mean([stats.entropy(row, own) for row, own in zip(wanted, probs, strict=True)])
    )
    assert found["F1_shares"] == pytest.approx(
        100 * f1_score(wanted > 0.25, probs > 0.25, average="macro")
    )
    assert shares.score(wanted, wanted) == pytest.approx({"KL": 0, "F1_shares": 100})


def test_rows_and_scores_of_a_part():
    made = kinds.of({"emotion": SOFT, "valence": VALENCE})
    head = TargetsHead(4, {"emotion": SOFT, "valence": VALENCE})
    logits = torch.tensor([[0.0, 2, 0, 0], [3, 0, 0, 9]])
    records = {
        **{"id": ["b", "a"], "target": [1, 2], "numbers": [[4.0], [2.5]]},
        "shares": [[0.0, 1, 0], [0.5, 0, 0.5]],
    }
    table = answers.rows(made, records, logits, head)
    columns = [*answers.SIDES, *LABELS, "valence_target", "valence_prediction"]
    assert list(table[0]) == ["id", *columns]
    assert [(row["target"], row["prediction"]) for row in table] == [
        ("happy", "happy"),
        ("sad", "angry"),
    ]
    own, other = answers.pairs(table, "valence")
    assert own == [4.0, 2.5] and other == pytest.approx([4.0, 1 + 6 / (1 + np.exp(-9))])
    scores = answers.score(made, records, logits, head)
    assert scores["WA"] == 50 and scores["CCC"] == metrics.concordance(own, other)
    assert {"KL", "F1_shares", "CCC_valence", "MSE_valence", "pearson_valence"} <= {*scores}
    alone = answers.rows(
        kinds.of({"valence": VALENCE}),
        records | {"shares": []},
        logits[:, 3:],
        TargetsHead(4, {"valence": VALENCE}),
    )
    assert [*alone[0]] == ["id", "target", "prediction"] and alone[0]["target"] == 4.0
    assert answers.pairs(alone, "valence")[0] == [4.0, 2.5]
