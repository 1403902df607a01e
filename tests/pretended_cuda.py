"""A CUDA device that is not there: which tensors would lie on it, and what would wait for it.

PyTorch's FakeTensorMode knows for every operation on which device its answer lies, and refuses
tensors of two devices as a GPU does. Autograd cannot go backwards through fake tensors of CUDA on a
machine without a GPU, so here the numbers are real and on the CPU, what lies "on the GPU" is
remembered by its storage, and each operation runs twice: on the numbers, and on fakes.
"""

import contextlib
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
    unset_fake_temporarily,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
THEIRS = re.compile(r"/site-packages/(torch|torchaudio)/|<|contextlib\.py$|^" + re.escape(__file__))
PLACE = re.compile(r".*/site-packages/|" + re.escape(f"{Path(__file__).parents[1]}/"))
TAGS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
COPY = torch.ops.aten._to_copy.default
INDEXED = (torch.ops.aten.index, torch.ops.aten.index_put_, torch.ops.aten.index_put)
MASKS = (torch.bool, torch.uint8)
GROUPED = torch._C._group_tensors_by_device_and_dtype
# FakeTensorMode does not know their answers, which may depend on values, but their device
UNKNOWN = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)
# kernels of a CPU, for which PyTorch itself makes tensors that a GPU's would not need
OF_A_CPU = (
    torch.ops.aten.mkldnn_rnn_layer.default,
    torch.ops.aten.mkldnn_rnn_layer_backward.default,
)


class Gpu:
    """Which storages lie on it, and who waited for it: {(file, function)}."""

    def __init__(self):
        self.storages: dict[int, torch.UntypedStorage] = {}  # kept, so that no number is used twice
        self.waits: set[tuple[str, str]] = set()
        self.is_asked = False  # while a function of PyTorch computes with tensors on it

    def holds(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self.storages

    def take(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        self.storages[storage._cdata] = storage

    def wait(self) -> None:
        """Note the function that asked for a value: the innermost that is not PyTorch's."""
        frame = next(
            f for f in reversed(traceback.extract_stack()) if not THEIRS.search(f.filename)
        )
        self.waits.add((PLACE.sub("", frame.filename), frame.name))


class Operations(TorchDispatchMode):
    """Runs each operation on the numbers, and on fakes for the device of its answer."""

    def __init__(self, gpu: Gpu, fakes: FakeTensorMode):
        super().__init__()
        self.gpu, self.fakes = gpu, fakes

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        asked = kwargs.get("device")
        if asked is not None:
            asked = CUDA if torch.device(asked).type == "cuda" else torch.device(asked)
        if self.gpu.is_asked and asked == CPU:  # C++ asks for the device that the numbers have
            asked = None if function is COPY else CUDA
            kwargs = kwargs | {"device": asked}
        flat, form = tree_flatten((args, kwargs))
        tensors = [item for item in flat if isinstance(item, torch.Tensor)]
        on_gpu = [self.gpu.holds(tensor) for tensor in tensors]
        if any(on_gpu) and waits(function, args, on_gpu, asked):
            self.gpu.wait()
        with unset_fake_temporarily():
            answer = function(*args, **(kwargs | ({} if asked is None else {"device": CPU})))
        if function in OF_A_CPU and any(on_gpu):
            for tensor in answer:
                self.gpu.take(tensor)
        elif any(on_gpu) or asked == CUDA:
            self.place(function, flat, form, answer)
        return answer

    def place(self, function, flat, form, answer) -> None:
        """Note which of the answers lie on the GPU. RuntimeError for tensors of two devices."""
        made = [item for item in tree_flatten(answer)[0] if isinstance(item, torch.Tensor)]
        fakes = [self.fake(item) if isinstance(item, torch.Tensor) else item for item in flat]
        args, kwargs = tree_unflatten(fakes, form)
        try:
            with self.fakes:
                told = tree_flatten(function(*args, **kwargs))[0]
            devices = [item.device for item in told if isinstance(item, torch.Tensor)]
        except UNKNOWN:
            devices = [FakeTensor._find_common_device(function, fakes)[0]] * len(made)
        for tensor, device in zip(made, devices, strict=True):
            if device.type == "cuda":
                self.gpu.take(tensor)

    def fake(self, tensor: torch.Tensor) -> FakeTensor:
        device = CUDA if self.gpu.holds(tensor) else CPU
        with unset_fake_temporarily():
            shape, stride = tensor.shape, tensor.stride()
            meta = torch.empty_strided(shape, stride, dtype=tensor.dtype, device="meta")
        return FakeTensor(self.fakes, meta, device)


def waits(function, args: tuple, on_gpu: list[bool], asked: torch.device | None) -> bool:
    """Whether an operation needs a value of the GPU before the next one can be started."""
    if function is COPY:
        return asked == CPU
    if function is torch.ops.aten.copy_.default:
        return on_gpu[1] and not on_gpu[0]
    if function.overloadpacket in INDEXED:
        if len(args) > 2 and args[2].dim() == 0 and not on_gpu[-1]:
            return False  # a number is filled in by the mask
        return any(index is not None and index.dtype in MASKS for index in args[1])
    return bool(TAGS & set(function.tags))


class Properties(TorchFunctionMode):
    """Tensors say on which device they would lie, and give no values without a wait."""

    def __init__(self, gpu: Gpu):
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensor = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if tensor is None or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            return self.called(function, args, kwargs)
        on_gpu = self.gpu.holds(tensor)
        if function == torch.Tensor.device.__get__:
            return CUDA if on_gpu else CPU
        if function == torch.Tensor.is_cuda.__get__:
            return on_gpu
        if on_gpu and function is torch.Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if on_gpu and function is torch.Tensor.tolist:
            self.gpu.wait()
        if function is torch.nn.functional.one_hot:  # looks at the values on a CPU alone
            return self.unseen(function, args, kwargs)
        if on_gpu and function is torch.Tensor.new_tensor:
            return COPY(torch.tensor(*args[1:], **({"dtype": tensor.dtype} | kwargs)), device=CUDA)
        if function is torch.Tensor.cpu:
            return COPY(tensor, device=CPU) if on_gpu else tensor
        if function is torch.Tensor.to:
            return self.to(tensor, on_gpu, args[1:], kwargs)
        return self.called(function, args, kwargs)

    def called(self, function, args: tuple, kwargs: dict):
        given = tree_flatten((args, kwargs))[0]
        before = self.gpu.is_asked
        self.gpu.is_asked = any(isinstance(x, torch.Tensor) and self.gpu.holds(x) for x in given)
        try:
            return function(*args, **kwargs)
        finally:
            self.gpu.is_asked = before

    def unseen(self, function, args: tuple, kwargs: dict):
        before = set(self.gpu.waits)
        answer = self.called(function, args, kwargs)
        self.gpu.waits = before
        return answer

    def to(self, tensor, on_gpu: bool, args: tuple, kwargs: dict) -> torch.Tensor:
        if args and isinstance(args[0], torch.Tensor):
            args = (CUDA if self.gpu.holds(args[0]) else CPU, args[0].dtype, *args[1:])
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)
        wanted = on_gpu if device is None else device.type == "cuda"
        dtype = dtype or tensor.dtype
        if wanted == on_gpu and dtype == tensor.dtype:
            return tensor
        where = CUDA if wanted else CPU
        return COPY(tensor, dtype=dtype, device=where, non_blocking=non_blocking)


def grouped(*asked) -> dict:
    """As GROUPED, which optimisers ask, with the devices that tensors say they have."""
    groups = GROUPED(*asked)
    return {(group[0][0][0].device, dtype): group for (_, dtype), group in groups.items()}


@contextlib.contextmanager
def pretended() -> Iterator[Gpu]:
    """A block in which device cuda can be used, and the Gpu that tells what happened on it."""
    gpu, fakes = Gpu(), FakeTensorMode(allow_fallback_kernels=False)
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # it has no kernels here
        stack.enter_context(mock.patch.object(torch.cuda, "set_device"))
        stack.enter_context(mock.patch.object(torch.cuda, "device_count", lambda: 1))
        stack.enter_context(mock.patch.object(torch._C, GROUPED.__name__, grouped))
        for mode in (fakes, Operations(gpu, fakes), Properties(gpu)):
            stack.enter_context(mode)
        yield gpu
