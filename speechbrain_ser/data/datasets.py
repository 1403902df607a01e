"""Datasets, batches and loaders: split parts in, padded batches out."""

import itertools
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.dataio.dataset import DynamicItemDataset
from torch.utils.data import DataLoader, Sampler

from speechbrain_ser import parallel
from speechbrain_ser.data import seeds
from speechbrain_ser.data import targets as kinds
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)


def make_dataset(
    part: Mapping[str, dict],
    reader: SpeechReader,
    targets: Mapping[str, kinds.Spec],
    training: bool = False,
) -> DynamicItemDataset:
    """One part of a split -> items {id, speech [time], and of each target, see data.targets}.

    Of classes that is <field>_id (int), of shares also <field>_shares [class], of a number
    <field>_number. `targets` maps fields of the manifest to what is learned of them; the first one
    is the main target. Raises InputError that names an utterance of which it cannot be learned: its
    class is no label of the main target, or its number is none or out of range.
    """
    made = kinds.of(targets)
    main = next(iter(made.values()))
    entries = {}
    for utt_id, entry in part.items():
        main.check(utt_id, entry)
        entries[utt_id] = dict(entry)
        for target in made.values():
            entries[utt_id] |= target.items(utt_id, entry)
    dataset = DynamicItemDataset(entries)
    # no closures: where workers are spawned (macOS, Windows) a dataset is pickled
    read = partial(reader, training=training)
    dataset.add_dynamic_item(read, takes="wav", provides="speech")
    items = [name for target in made.values() for name in target.provides]
    dataset.set_output_keys(["id", "speech", *items])
    return dataset


def add_item(dataset: DynamicItemDataset, name: str, function: Callable, takes: str) -> None:
    """One more item of the utterances: what a function that can be pickled makes of another."""
    dataset.add_dynamic_item(function, takes=takes, provides=name)
    dataset.set_output_keys([*dataset.pipeline.output_mapping, name])


def replace_speech(dataset: DynamicItemDataset, name: str, read: Callable) -> None:
    """Items hold, instead of speech, what `read` makes of the recording's path."""
    dataset.add_dynamic_item(read, takes="wav", provides=name)
    kept = [key for key in dataset.pipeline.output_mapping if key != "speech"]
    dataset.set_output_keys([*kept, name])


class ShuffledBatches(Sampler):
    """Every utterance once per epoch, in an order of seed and epoch; the last batch is kept.

    A single utterance left over joins the batch before it: batch normalisation needs two.

    targets : the main target's value of each item, in the dataset's order (not used here)
    """

    def __init__(self, targets: Sequence[str], batch_size: int, seed: int):
        self.targets = list(targets)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: at least 1 is needed")

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        left_over = len(self.targets) % self.batch_size
        return max(1, len(self.targets) // self.batch_size + (left_over > 1))

    def order(self, draw: random.Random) -> list[int]:
        """An epoch's utterances, as `draw` shuffles them."""
        order = list(range(len(self.targets)))
        draw.shuffle(order)
        return order

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order(seeds.stream(self.seed, self.epoch, "batches"))
        starts = [batch * self.batch_size for batch in range(len(self))]
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            yield order[start:end]


class WrappedBatches(ShuffledBatches):
    """floor(n / batch_size) + 1 batches, all full: the last one goes on with the epoch's beginning.

    Keras' way in Pepino 2021's code; a multiple of batch_size gives one whole batch twice.
    """

    def __len__(self) -> int:
        return len(self.targets) // self.batch_size + 1

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order(seeds.stream(self.seed, self.epoch, "batches"))
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield [order[i % len(order)] for i in range(start, start + self.batch_size)]


class ChangedBatches(Sampler):
    """A batch sampler that changes another one's batches and keeps their number."""

    def __init__(self, batches: ShuffledBatches):
        self.batches = batches

    def set_epoch(self, epoch: int) -> None:
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batches)


class BucketedBatches(ChangedBatches):
    """Sorts another batch sampler's utterances by length, so that batches need little padding.

    An epoch keeps its utterances, repetitions and batch sizes. Lengths are jittered by a tenth
    before sorting and the batches shuffled, both seeded with seed and epoch.

    seconds : of each item, in the dataset's order
    """

    def __init__(self, batches: ShuffledBatches, seconds: Sequence[float]):
        super().__init__(batches)
        self.seconds = seconds

    def __iter__(self) -> Iterator[list[int]]:
        draw = seeds.stream(self.batches.seed, self.batches.epoch, "buckets")
        dealt = list(self.batches)
        order = [index for batch in dealt for index in batch]
        order.sort(key=lambda index: self.seconds[index] * draw.uniform(0.9, 1.1))
        ends = list(itertools.accumulate(map(len, dealt)))
        buckets = [order[end - len(batch) : end] for batch, end in zip(dealt, ends, strict=True)]
        draw.shuffle(buckets)
        yield from buckets


class TwoViews(ChangedBatches):
    """Another sampler's batches with every utterance twice: first all of them, then all again.

    The second half is there to be augmented (SerBrain.on_fit_batch_start).
    """

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield batch + batch


class UpdateBatches(ShuffledBatches):
    """Epochs of `per_epoch` batches, whatever the size of the corpus; its passes follow each other.

    For papers that count updates: epoch e holds the batches (e - 1) per_epoch to e per_epoch of an
    endless row of passes, each shuffled anew.
    """

    def __init__(self, targets: Sequence[str], batch_size: int, seed: int, per_epoch: int):
        super().__init__(targets, batch_size, seed)
        self.per_epoch = per_epoch

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        whole = ShuffledBatches(self.targets, self.batch_size, self.seed)
        first = (self.epoch - 1) * self.per_epoch
        pass_number, skipped = divmod(first, len(whole))
        wanted = self.per_epoch
        while wanted:
            whole.set_epoch(pass_number)
            batches = list(whole)[skipped : skipped + wanted]
            yield from batches
            wanted -= len(batches)
            pass_number, skipped = pass_number + 1, 0


class UnderSampledBatches(ShuffledBatches):
    """In each epoch the size of the smallest class from every class, without replacement, shuffled.

    The utterances are dealt into floor(n / batch_size) batches of nearly equal size, so a batch
    may hold one more than batch_size (Park 2023, authors' code).
    """

    def __init__(self, targets: Sequence[str], batch_size: int, seed: int):
        super().__init__(targets, batch_size, seed)
        self.members = _members(self.targets)
        rarest = min(self.members, key=lambda name: len(self.members[name]))
        self.per_class = len(self.members[rarest])
        used = self.per_class * len(self.members)
        if used < len(self.targets) / 2 and parallel.is_first():
            logger.warning(
                "Training takes %s of %s utterances per epoch, because %s has %s, and of every "
                "class no more are taken: --batches '!name:%s.BalancedBatches {}' repeats those "
                "of rare classes instead, '!name:%s.ShuffledBatches {}' takes all as they are",
                *(f"{used:,}", f"{len(self.targets):,}", rarest, f"{self.per_class:,}"),
                *(__name__, __name__),
            )

    def __len__(self) -> int:
        return max(1, self.per_class * len(self.members) // self.batch_size)

    def order(self, draw: random.Random) -> list[int]:
        order = [i for own in self.members.values() for i in draw.sample(own, self.per_class)]
        draw.shuffle(order)
        return order

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order(seeds.stream(self.seed, self.epoch, "batches"))
        size, larger = divmod(len(order), len(self))  # `larger` batches hold one more
        start = 0
        for batch in range(len(self)):
            end = start + size + (batch < larger)
            yield order[start:end]
            start = end


class BalancedBatches(ShuffledBatches):
    """Every class equally often in an epoch that is as long as the corpus, shuffled.

    Of a large class a part is drawn without replacement; a small class is taken whole as often as
    it fits, and the rest of its share drawn. Where the classes do not divide the epoch's length,
    some that are drawn come once more.
    """

    def __init__(self, targets: Sequence[str], batch_size: int, seed: int):
        super().__init__(targets, batch_size, seed)
        self.members = _members(self.targets)

    def order(self, draw: random.Random) -> list[int]:
        share, more = divmod(len(self.targets), len(self.members))
        once_more = draw.sample(list(self.members), more)
        order = []
        for name, own in self.members.items():
            whole, rest = divmod(share + (name in once_more), len(own))
            order += own * whole + draw.sample(own, rest)
        draw.shuffle(order)
        return order


def _members(targets: Sequence[str]) -> dict[str, list[int]]:
    """Class, sorted -> the positions of its utterances."""
    members: dict[str, list[int]] = {name: [] for name in sorted(set(targets))}
    for index, target in enumerate(targets):
        members[target].append(index)
    return members


def share_by_duration(dataset: DynamicItemDataset) -> DynamicItemDataset:
    """Short utterances first, and of several processes each its share."""
    ordered = dataset.filtered_sorted(sort_key="duration")
    ordered.data_ids = parallel.share(ordered.data_ids)
    return ordered


def make_loader(
    dataset: DynamicItemDataset,
    workers: int,
    batch_size: int = 1,
    batches: Callable[[], Sampler] | None = None,
) -> DataLoader:
    """Padded batches: by the batch sampler `batches`, or in the dataset's order."""
    order = {"batch_sampler": batches} if batches else {"batch_size": batch_size}
    return make_dataloader(
        dataset,
        num_workers=workers,
        collate_fn=PaddedBatch,
        pin_memory=torch.cuda.is_available(),  # so that the copy to a GPU waits for nothing
        **order,
    )
