"""Batches of Park 2023's table, numbers of targets, loaders."""

import math
import random
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.datasets import (
    BalancedBatches,
    BucketedBatches,
    ShuffledBatches,
    UnderSampledBatches,
    WrappedBatches,
    make_dataset,
    make_loader,
)
from speechbrain_ser.data.targets import UNKNOWN
from speechbrain_ser.errors import InputError

# of five folds: angry, happy, sad, neutral; utterances, batches and batches of 7 per epoch of the
# under-sampled data, optimizer steps per epoch, batches of the complete data
PARK = [
    ((699, 1183, 715, 1149), 2796, 466, 0, 117, 625),
    ((788, 1131, 709, 1168), 2836, 472, 4, 118, 633),
    ((707, 1194, 623, 1232), 2492, 415, 2, 104, 626),
    ((620, 1177, 785, 1294), 2480, 413, 2, 104, 646),
    ((765, 1026, 671, 1156), 2684, 447, 2, 112, 603),
]
SAMPLERS = [ShuffledBatches, UnderSampledBatches, WrappedBatches, BalancedBatches]
EMOTIONS = ["angry", "happy", "sad", "neutral"]


def targets_of(sizes, seed=0) -> list[str]:
    targets = [e for e, size in zip(EMOTIONS, sizes, strict=True) for _ in range(size)]
    random.Random(seed).shuffle(targets)
    return targets


@pytest.mark.parametrize(("sizes", "utterances", "number", "of_seven", "steps", "complete"), PARK)
def test_park_2023_s_epochs(sizes, utterances, number, of_seven, steps, complete):
    targets = targets_of(sizes)
    batches = UnderSampledBatches(targets, batch_size=6, seed=1000)
    epoch = list(batches)
    assert len(batches) == len(epoch) == number
    assert Counter(map(len, epoch)) == Counter({6: number - of_seven, 7: of_seven}) - Counter()
    assert math.ceil(len(epoch) / 4) == steps
    drawn = [i for batch in epoch for i in batch]
    assert len(drawn) == len(set(drawn)) == utterances  # without replacement
    assert set(Counter(targets[i] for i in drawn).values()) == {min(sizes)}
    shuffled = ShuffledBatches(targets, batch_size=6, seed=1000)
    epoch = list(shuffled)
    assert len(shuffled) == len(epoch) == complete
    assert sorted(i for batch in epoch for i in batch) == list(range(sum(sizes)))
    assert [len(batch) for batch in epoch[:-1]] == [6] * (complete - 1)


@pytest.mark.parametrize(("utterances", "batch_size"), [(7, 3), (9, 4), (10, 3), (5, 4)])
def test_a_single_utterance_is_no_batch(utterances, batch_size):
    batches = ShuffledBatches(["a"] * utterances, batch_size, seed=0)
    epoch = list(batches)
    assert len(epoch) == len(batches) == utterances // batch_size
    assert [len(batch) for batch in epoch] == [batch_size] * (len(epoch) - 1) + [batch_size + 1]
    assert sorted(i for batch in epoch for i in batch) == list(range(utterances))
    assert len(list(ShuffledBatches(["a"] * utterances, 1, seed=0))) == utterances


def test_pepino_2021_s_epochs():
    """The steps that the authors' saved models counted: 100, 102, 97, 101, 101."""
    sessions = {1: 1059, 2: 1016, 3: 1148, 4: 1025, 5: 1225}
    steps = []
    for test in sessions:
        valid = 4 if test == 5 else 5
        train = sum(size for session, size in sessions.items() if session not in (test, valid))
        batches = WrappedBatches(["a"] * train, batch_size=32, seed=123)
        epoch = list(batches)
        assert {len(batch) for batch in epoch} == {32}
        drawn = [i for batch in epoch for i in batch]
        assert drawn[:train] != sorted(drawn[:train]) == list(range(train))
        assert drawn[train:] == drawn[: len(drawn) - train]  # the last batch goes on anew
        steps.append(len(epoch))
    assert steps == [100, 102, 97, 101, 101]


@pytest.mark.parametrize(("utterances", "number"), [(8, 3), (4, 2), (7, 2), (5, 2), (3, 1), (1, 1)])
def test_wrapped_batches_of_few(utterances, number):
    batches = WrappedBatches(["a"] * utterances, batch_size=4, seed=0)
    epoch = list(batches)
    assert [len(batch) for batch in epoch] == [4] * number == [4] * len(batches)
    drawn = [i for batch in epoch for i in batch]
    assert sorted(drawn[:utterances]) == list(range(utterances))
    for place in range(utterances, len(drawn)):  # again from the beginning, as often as needed
        assert drawn[place] == drawn[place - utterances]
    if utterances % 4 == 0:
        assert epoch[-1] == epoch[0]


def test_voxceleb_s_epoch():
    batches = ShuffledBatches(["speaker"] * 138_361, batch_size=16, seed=1000)
    assert len(batches) == 8_648
    assert math.ceil(len(batches) / 2) == 4_324


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_epoch_s_order_depends_on_seed_and_epoch_alone(sampler):
    targets = targets_of((30, 40, 20, 25))

    def epoch_of(seed, epoch):
        batches = sampler(targets, batch_size=6, seed=seed)
        batches.set_epoch(epoch)
        random.random()  # other users of random do not matter
        return list(batches)

    assert epoch_of(1000, 3) == epoch_of(1000, 3)
    assert epoch_of(1000, 3) != epoch_of(1000, 4)
    assert epoch_of(1000, 3) != epoch_of(2000, 3)
    batches = sampler(targets, batch_size=6, seed=1000)
    assert list(batches) == list(batches), "the same epoch, twice"
    for epoch in (1, 2, 3):
        batches.set_epoch(epoch)
        state = random.getstate()
        order = list(batches)
        assert random.getstate() == state, "it leaves the global generator alone"
    assert order == epoch_of(1000, 3), "an earlier epoch leaves nothing behind"


def test_epochs_draw_different_members_of_the_larger_classes():
    targets = targets_of((50, 500, 50, 50))
    batches = UnderSampledBatches(targets, batch_size=6, seed=0)
    seen = set()
    for epoch in range(40):
        batches.set_epoch(epoch)
        seen |= {i for batch in batches for i in batch}
    assert len(seen) > 0.95 * len(targets)


def test_batches_are_shuffled_over_the_classes():
    targets = targets_of((60, 60, 60, 60), seed=1)
    mixed = [len({targets[i] for i in batch}) for batch in UnderSampledBatches(targets, 6, 0)]
    assert sum(mixed) / len(mixed) > 2.5


def test_fewer_utterances_than_a_batch():
    assert len(list(UnderSampledBatches(["a", "b", "b"], 6, 0))) == 1
    assert [len(batch) for batch in UnderSampledBatches(["a", "b", "b"], 6, 0)] == [2]
    assert [len(batch) for batch in ShuffledBatches(["a", "b", "b"], 6, 0)] == [3]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("batch_size", [0, -6])
def test_a_batch_of_nothing_is_refused(sampler, batch_size):
    with pytest.raises(InputError, match=f"batch_size is {batch_size}"):
        sampler(["a", "b"], batch_size, 0)


@pytest.mark.parametrize("sizes", [(40, 3, 90, 1), (10, 10, 10, 10), (1, 1, 1, 2), (7, 300, 2, 4)])
def test_balanced_epochs_by_counting(sizes):
    targets = targets_of(sizes)
    batches = BalancedBatches(targets, batch_size=6, seed=1000)
    seen, extra = Counter(), Counter()
    for epoch in range(60):
        batches.set_epoch(epoch)
        dealt = list(batches)
        drawn = [i for batch in dealt for i in batch]
        assert len(drawn) == len(targets) and len(dealt) == len(batches)
        shares = Counter(targets[i] for i in drawn)
        assert set(shares.values()) <= {len(targets) // 4, len(targets) // 4 + 1}
        times = Counter(drawn)
        for emotion in EMOTIONS:  # within a class nobody is taken twice more than another
            own = [times[i] for i, target in enumerate(targets) if target == emotion]
            assert max(own) - min(own) <= 1
        seen |= times
        extra.update(name for name, share in shares.items() if share > len(targets) // 4)
    assert len(seen) == len(targets)  # large classes' turns come
    assert len(extra) == (4 if len(targets) % 4 else 0)  # and no class is always the larger


def test_an_epoch_of_few_utterances_is_told(caplog):
    UnderSampledBatches(targets_of((60, 40, 50, 30)), 6, 0)
    assert caplog.text == ""
    UnderSampledBatches(targets_of((2000, 1500, 1401, 5)), 6, 0)
    assert "Training takes 20 of 4,906 utterances per epoch, because neutral has 5" in caplog.text
    assert "--batches '!name:speechbrain_ser.data.datasets.BalancedBatches {}'" in caplog.text


# datasets and loaders

RATE = 16_000


@pytest.fixture
def part(tmp_path) -> dict:
    """Ten recordings of different lengths, in which no two samples are the same."""
    entries = {}
    for i in range(10):
        samples = np.linspace(-0.9, 0.9, RATE // 10 + 100 * i, dtype="float32")
        soundfile.write(tmp_path / f"{i}.wav", samples, RATE, subtype="FLOAT")
        entries[f"utt{i}"] = {
            "wav": str(tmp_path / f"{i}.wav"),
            "duration": len(samples) / RATE,
            "emotion": EMOTIONS[i % 4],
            "speaker": "FM"[i % 2],
        }
    return entries


TARGETS = {"emotion": EMOTIONS, "speaker": ["M"]}


def test_items(part):
    dataset = make_dataset(part, SpeechReader(), TARGETS)
    assert len(dataset) == 10
    for i, item in enumerate(dataset):
        assert list(item) == ["id", "speech", "emotion_id", "speaker_id"]
        assert item["id"] == f"utt{i}"
        assert item["speech"].shape == (RATE // 10 + 100 * i,)
        assert item["emotion_id"] == i % 4
        assert item["speaker_id"] == (0 if i % 2 else UNKNOWN)
    assert UNKNOWN == -1


def test_numbers_follow_the_order_of_the_labels(part):
    dataset = make_dataset(part, SpeechReader(), {"emotion": EMOTIONS[::-1]})
    assert [item["emotion_id"] for item in dataset] == [3 - i % 4 for i in range(10)]


def test_an_unknown_main_target_names_the_utterance(part):
    part["utt7"]["emotion"] = "calm"
    with pytest.raises(InputError, match="utt7 has emotion 'calm', which is none of angry, happy"):
        make_dataset(part, SpeechReader(), TARGETS)


def test_training_chooses_the_training_window(part):
    reader = SpeechReader(max_seconds=0.05, train_window="start", test_window="centre")
    train, test = (make_dataset(part, reader, TARGETS, training)[9] for training in (True, False))
    assert float(train["speech"][0]) == pytest.approx(-0.9)
    assert float(test["speech"].mean()) == pytest.approx(0, abs=1e-3)


def batches_of(loader) -> list[tuple]:
    return [
        (batch.id, batch.speech.data, batch.speech.lengths, batch.emotion_id) for batch in loader
    ]


def same(left, right) -> bool:
    return len(left) == len(right) and all(
        a[0] == b[0] and all(torch.equal(x, y) for x, y in zip(a[1:], b[1:], strict=True))
        for a, b in zip(left, right, strict=True)
    )


def test_loaders_pad_and_keep_the_order(part):
    dataset = make_dataset(part, SpeechReader(), TARGETS)
    batches = batches_of(make_loader(dataset, workers=0, batch_size=4))
    assert [batch[0] for batch in batches] == [
        ["utt0", "utt1", "utt2", "utt3"],
        ["utt4", "utt5", "utt6", "utt7"],
        ["utt8", "utt9"],
    ]
    _, speech, lengths, emotion_id = batches[1]
    assert speech.shape == (4, 2300)
    assert (lengths * 2300).round().tolist() == [2000, 2100, 2200, 2300]
    assert emotion_id.tolist() == [0, 1, 2, 3]
    for row, n in zip(speech, (2000, 2100, 2200, 2300), strict=True):
        assert row[n - 1] != 0
        assert not row[n:].any()
    assert same(batches, batches_of(make_loader(dataset, workers=2, batch_size=4)))


def test_loaders_by_batches(part):
    targets = [entry["emotion"] for entry in part.values()]
    sampler = ShuffledBatches(targets, batch_size=3, seed=0)
    dataset = make_dataset(part, SpeechReader(), TARGETS, training=True)
    loaders = [make_loader(dataset, workers, batches=sampler) for workers in (0, 2)]
    assert len(loaders[0]) == len(sampler)
    epochs = []
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        epochs.append([batches_of(loader) for loader in loaders])
        ids = [[f"utt{i}" for i in batch] for batch in sampler]
        assert [batch[0] for batch in epochs[-1][0]] == ids
        assert same(*epochs[-1])
    assert not same(epochs[0][0], epochs[1][0])


def test_random_windows_are_the_same_in_evaluation_for_any_number_of_workers(part):
    reader = SpeechReader(max_seconds=0.05, test_window="random")
    dataset = make_dataset(part, reader, TARGETS)
    passes = [batches_of(make_loader(dataset, workers, 4)) for workers in (0, 2, 0)]
    assert same(passes[0], passes[1])
    assert same(passes[0], passes[2])
    starts = {round(float(row[0]), 3) for batch in passes[0] for row in batch[1]}
    assert len(starts) > 5


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_buckets_hold_the_epoch_s_utterances_by_length(sampler):
    targets = targets_of((40, 60, 31, 52))
    seconds = np.random.default_rng(0).lognormal(1.3, 0.6, len(targets)).tolist()
    plain, bucketed = (sampler(targets, batch_size=6, seed=7) for _ in range(2))
    bucketed = BucketedBatches(bucketed, seconds)
    epochs = []
    for epoch in (1, 2):
        plain.set_epoch(epoch)
        bucketed.set_epoch(epoch)
        wanted, found = list(plain), list(bucketed)
        assert list(bucketed) == found != wanted
        assert sorted(map(len, found)) == sorted(map(len, wanted))
        assert len(found) == len(bucketed) == len(plain)
        assert Counter(sum(found, [])) == Counter(sum(wanted, []))
        assert padding(found, seconds) < 0.25 * padding(wanted, seconds)
        epochs.append(found)
    mates = [{frozenset(batch) for batch in found} for found in epochs]
    assert len(mates[0] & mates[1]) < len(plain) / 4
    lengths = [min(seconds[index] for index in batch) for batch in epochs[0]]
    assert lengths != sorted(lengths)


def padding(batches, seconds) -> float:
    return sum(
        len(batch) * max(seconds[index] for index in batch) - sum(seconds[index] for index in batch)
        for batch in batches
    )
