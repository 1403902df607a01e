"""Random streams: no two keys share one, and they are the same anywhere."""

import itertools

from speechbrain_ser.data import seeds
from speechbrain_ser.data.datasets import ShuffledBatches


def test_seeds_differ_by_every_part_of_their_key():
    keys = [
        (seed, epoch, purpose, name)
        for seed, epoch in itertools.product(range(20), range(20))
        for purpose in ("batches", "window")
        for name in ("a", "b")
    ]
    assert len({seeds.seed_of(*key) for key in keys}) == len(keys)
    assert seeds.seed_of(1, 2) != seeds.seed_of(2, 1) != seeds.seed_of(12)
    assert seeds.seed_of("1", 2) != seeds.seed_of(1, 2)


def test_a_seed_is_the_same_in_any_process():
    assert seeds.seed_of(1000, 1, "batches") == 1556863459
    assert all(0 <= seeds.seed_of(number) < 2**32 for number in range(100))


def test_no_seed_draws_the_batches_of_another_one_s_epoch():
    drawn = set()
    for seed in range(5):
        batches = ShuffledBatches(["x"] * 40, 8, seed)
        for epoch in range(1, 6):
            batches.set_epoch(epoch)
            drawn.add(str(list(batches)))
    assert len(drawn) == 25
