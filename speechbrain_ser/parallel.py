"""One run on several processes, started by torchrun: each has its share of every batch.

A batch of the yaml is split among the processes, and their gradients are averaged with the weight
of their shares, so that a step is the one that a single process would make. Test and validation
utterances are dealt out, and what was recorded is gathered before it is scored.
"""

import contextlib
import datetime
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from speechbrain.utils.distributed import ddp_init_group
from torch import distributed
from torch.utils.data import Sampler

from speechbrain_ser.errors import InputError

WAIT = datetime.timedelta(days=7)  # while the first process prepares a corpus or fills a store
PRECISIONS = ("fp32", "bf16", "fp16")  # of matrix products; SpeechBrain's names
_talk = None  # the group for objects and waiting: on the CPU, patient


def begin(run_opts: Mapping) -> None:
    """Join the other processes if torchrun started this one, on NCCL with CUDA and else gloo."""
    global _talk
    if "RANK" not in os.environ or "LOCAL_RANK" not in os.environ:
        return
    cuda = "cuda" in str(run_opts["device"])
    ddp_init_group({**run_opts, "distributed_backend": "nccl" if cuda else "gloo"})
    _talk = distributed.new_group(backend="gloo", timeout=WAIT)


def refuse_device(name: str) -> None:
    """Raise InputError for a device that PyTorch does not know, or this machine does not have."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError):
        raise InputError(f"{name!r} is no device: use cpu or cuda:0") from None
    if device.type == "cpu":
        return
    there: Any = getattr(torch, device.type, None)
    count = there.device_count() if hasattr(there, "device_count") else 0
    if not count or (device.index or 0) >= count:
        kind = device.type.upper()
        have = f"{count} {kind} device{'s'[: count != 1]}" if count else f"no {kind} device"
        raise InputError(f"this machine has {have}, {name} is not there: use --device cpu")


def refuse_precision(setting: str, name: str, device: str) -> None:
    """Raise InputError for a setting's precision that is none, or float16 without a GPU."""
    if name not in PRECISIONS:
        raise InputError(f"{setting} is {name!r}: use {', '.join(PRECISIONS)}")
    if name == "fp16" and torch.device(device).type == "cpu":
        raise InputError(
            f"{setting} fp16 needs a GPU, and this run is on the cpu: use bf16 or fp32"
        )


def end() -> None:
    """Leave the others."""
    global _talk
    if _talk is not None:
        distributed.destroy_process_group()
        _talk = None


def size() -> int:
    return distributed.get_world_size(_talk) if _talk is not None else 1


def rank() -> int:
    return distributed.get_rank(_talk) if _talk is not None else 0


def is_first() -> bool:
    """Whether this process writes the files and speaks to the user."""
    return rank() == 0


def wait() -> None:
    """Until all processes are here."""
    if _talk is not None:
        distributed.barrier(_talk)


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes through, then the others, which find its work done."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


def gather(own) -> list:
    """An object of each process, in their order, on all of them."""
    if _talk is None:
        return [own]
    gathered = [None] * size()
    distributed.all_gather_object(gathered, own, group=_talk)
    return gathered


def share(items: Sequence) -> list:
    """This process's items: every size-th."""
    return list(items[rank() :: size()])


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """The mean over the processes, in place; what none of them used stays without a gradient."""
    parameters = [p for p in parameters if p.requires_grad]
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
    distributed.all_reduce(used, group=_talk)
    parameters = [p for p, count in zip(parameters, used.tolist(), strict=True) if count]
    flat = torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
    )
    distributed.all_reduce(flat)
    flat /= size()
    for parameter, mean in zip(
        parameters, flat.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.grad = mean.view_as(parameter)


def same_buffers(module: torch.nn.Module) -> None:
    """Running statistics (batch normalisation) become the first process's."""
    for buffer in module.buffers():
        distributed.broadcast(buffer, src=0)


class SharedBatches(Sampler):
    """This process's share of each batch of a sampler.

    A batch smaller than the number of processes leaves some without a share; they get one of its
    utterances, with the weight 0.
    """

    def __init__(self, batches: Any):
        self.batches = batches
        self.sizes: list[int] = []  # of this epoch's whole batches

    def set_epoch(self, epoch: int) -> None:
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        whole = list(self.batches)
        self.sizes = [len(batch) for batch in whole]
        for batch in whole:
            yield share(batch) or batch[:1]

    def weight(self, step: int) -> float:
        """What the loss of batch number `step`, from 1, is multiplied by.

        The mean over the processes of the weighted means of their shares is the batch's own mean.
        """
        whole = self.sizes[step - 1]
        return len(range(rank(), whole, size())) * size() / whole


PARENT = "SER_PARENT"  # in the environment of a child: the process without which it ends


def with_parent(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a recipe that this process starts, and that ends when this one is gone."""
    return {**environment, PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """End this process within a second of its parent's end, kill -9 included, if it has one."""
    parent = int(os.environ.pop(PARENT, 0))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(130)

    if parent and hasattr(os, "getppid"):
        threading.Thread(target=watch, daemon=True).start()
