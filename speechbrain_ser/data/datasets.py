"""Datasets, batches and loaders: split parts in, padded batches out."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.dataio.dataset import DynamicItemDataset
from torch.utils.data import DataLoader, Sampler

from speechbrain_ser import parallel
from speechbrain_ser.data import seeds
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError

UNKNOWN = -1  # the number of a value outside its list: a test speaker among training speakers


def make_dataset(
    part: Mapping[str, dict],
    reader: SpeechReader,
    targets: Mapping[str, Sequence[str]],
    training: bool = False,
) -> DynamicItemDataset:
    """One part of a split -> items {id, speech [time], <target>_id (int) per target}.

    `targets` maps a manifest field to its values in order; the first one is the main target, of
    which every value must be known (InputError names the utterance otherwise).
    """
    main = next(iter(targets))
    for utt_id, entry in part.items():
        if entry[main] not in targets[main]:
            raise InputError(
                f"{utt_id} has {main} {entry[main]!r}, which is none of "
                f"{', '.join(targets[main])}: correct the corpus or the labels"
            )
    dataset = DynamicItemDataset({utt_id: dict(entry) for utt_id, entry in part.items()})
    # no closures: where workers are spawned (macOS, Windows) a dataset is pickled
    read = partial(reader, training=training)
    dataset.add_dynamic_item(read, takes="wav", provides="speech")
    for field, values in targets.items():
        numbered = partial(_number, {value: number for number, value in enumerate(values)})
        dataset.add_dynamic_item(numbered, takes=field, provides=f"{field}_id")
    dataset.set_output_keys(["id", "speech", *(f"{field}_id" for field in targets)])
    return dataset


def _number(numbers: Mapping[str, int], value: str) -> int:
    return numbers.get(value, UNKNOWN)


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

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(len(self.targets)))
        seeds.stream(self.seed, self.epoch, "batches").shuffle(order)
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
        order = list(range(len(self.targets)))
        seeds.stream(self.seed, self.epoch, "batches").shuffle(order)
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
        self.members = defaultdict(list)
        for index, target in enumerate(self.targets):
            self.members[target].append(index)
        self.per_class = min(map(len, self.members.values()))

    def __len__(self) -> int:
        return max(1, self.per_class * len(self.members) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        draw = seeds.stream(self.seed, self.epoch, "batches")
        order = [
            i for k in sorted(self.members) for i in draw.sample(self.members[k], self.per_class)
        ]
        draw.shuffle(order)
        size, larger = divmod(len(order), len(self))  # `larger` batches hold one more
        start = 0
        for batch in range(len(self)):
            end = start + size + (batch < larger)
            yield order[start:end]
            start = end


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
