"""The CNN of the wav2vec 2.0 family for a CPU, as matrix products, for `cpu_fast_path`.

Frames come first, channels last: what a kernel sees without its overlap with the next frame's is a
row of the input as it lies in memory, so that nothing is copied. The lowest layer's GroupNorm over
time becomes a part of its weights, for the mean and variance of a linear map of ten samples follow
from theirs. The answers are those of Hugging Face's modules up to rounding; there is no backward.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import nn

from speechbrain_ser.models.padding import ValidGroupNorm

KNOWN_NORMS = (nn.LayerNorm, type(None))


class Extractor(Protocol):
    """The CNN of a network of Hugging Face."""

    conv_layers: Iterable[Any]  # with conv, activation and perhaps layer_norm, lowest first


class FastCnn:
    """speech [1, time] -> frames [1, frame, channel] of a Hugging Face feature extractor.

    The rearranged weights are kept, in the precision that is in use, until the weights change.
    """

    def __init__(self, extractor: Extractor):
        self.layers = list(extractor.conv_layers)
        self.kept: dict[int, tuple] = {}  # layer -> what its matrices are of, and they

    @staticmethod
    def suits(extractor: Extractor) -> bool:
        """Whether its layers are what is known here: convolution, norm if any, activation."""
        return all(
            {name for name, _ in layer.named_children()} <= {"conv", "layer_norm", "activation"}
            and is_plain(layer.conv)
            and isinstance(
                norm_of(layer), KNOWN_NORMS if number else (*KNOWN_NORMS, ValidGroupNorm)
            )
            and not (isinstance(norm_of(layer), ValidGroupNorm) and layer.conv.bias is not None)
            for number, layer in enumerate(extractor.conv_layers)
        )

    def is_for(self, speech: torch.Tensor) -> bool:
        """On a CPU, without autograd, and not while a graph is made."""
        weights = (layer.conv.weight for layer in self.layers)
        learns = torch.is_grad_enabled() and any(weight.requires_grad for weight in weights)
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        return speech.device.type == "cpu" and not (learns or traced)

    @torch.no_grad()
    def __call__(self, speech: torch.Tensor) -> torch.Tensor:
        """speech [1, time] -> [1, frame, channel], in autocast's precision where there is one."""
        dtype = self.layers[0].conv.weight.dtype
        used = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else dtype
        with torch.autocast("cpu", enabled=False):
            frames = self.lowest(speech[0].to(dtype))  # [frame, channel]
            frames = self.layers[0].activation(frames).to(used)
            for number, layer in enumerate(self.layers[1:], start=1):
                frames = convolve(frames, *self.matrices(number, used))
                frames = layer.activation(normalised(frames, norm_of(layer)))
        return frames.unsqueeze(0)

    def lowest(self, samples: torch.Tensor) -> torch.Tensor:
        """samples [time] -> [frame, channel], before the activation."""
        conv, norm = self.layers[0].conv, norm_of(self.layers[0])
        weight = conv.weight[:, 0]  # [channel, kernel]
        seen = samples.unfold(0, conv.kernel_size[0], conv.stride[0])  # [frame, kernel]
        if not isinstance(norm, ValidGroupNorm):
            return normalised(nn.functional.linear(seen, weight, conv.bias), norm)
        exact, weight = seen.double(), weight.double()
        exact = exact - exact.mean(dim=0)
        covariance = exact.T @ exact / len(exact)  # [kernel, kernel]
        variance = ((weight @ covariance) * weight).sum(dim=1)  # of each channel
        scale = norm.weight.double() * (variance + norm.eps).rsqrt()
        scaled = (weight * scale.unsqueeze(1)).to(samples.dtype)
        return nn.functional.linear(exact.to(samples.dtype), scaled, norm.bias)

    def matrices(self, number: int, dtype: torch.dtype) -> tuple:
        """The stride of a layer, its weights as products take them, and its bias.

        Those of the first `stride` samples of the kernel, [channel, stride * channel below], and
        those of the others, if there are any.
        """
        conv = self.layers[number].conv
        weight, stride = conv.weight, conv.stride[0]
        # of weights made in inference mode nobody could tell whether they changed
        of = None if weight.is_inference() else (weight.data_ptr(), weight._version, dtype)
        if of is None or number not in self.kept or self.kept[number][0] != of:
            rows = weight.detach().transpose(1, 2).to(dtype)  # [channel, kernel, channel below]
            parts = [part.flatten(1).contiguous() for part in (rows[:, :stride], rows[:, stride:])]
            bias = None if conv.bias is None else conv.bias.detach().to(dtype)
            self.kept[number] = of, (stride, *parts, bias)
        return self.kept[number][1]


def is_plain(conv: nn.Conv1d) -> bool:
    """Without padding, dilation or groups, its kernel at least its stride and at most twice it."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    plain = conv.padding == (0,) and conv.dilation == (1,) and conv.groups == 1
    return plain and stride <= kernel <= 2 * stride


def norm_of(layer: nn.Module) -> Any:
    """Its norm, of a kind that FastCnn.suits knows, or None."""
    return getattr(layer, "layer_norm", None)


def normalised(frames: torch.Tensor, norm: nn.LayerNorm | None) -> torch.Tensor:
    """frames [frame, channel] -> each normalised over its channels, if there is a norm."""
    if norm is None:
        return frames
    shape = norm.normalized_shape
    return nn.functional.layer_norm(frames, shape, norm.weight, norm.bias, norm.eps)


def convolve(
    frames: torch.Tensor, stride: int, first: torch.Tensor, more: torch.Tensor, bias
) -> torch.Tensor:
    """frames [frame, channel below] -> [frame, channel], by what FastCnn.matrices gives."""
    total, channels = frames.shape
    kernel = stride + more.shape[1] // channels
    count = (total - kernel) // stride + 1
    step = stride * channels
    flat = frames.reshape(-1)
    answers = nn.functional.linear(flat.as_strided((count, step), (step, 1)), first, bias)
    if more.shape[1]:
        rest = flat.as_strided((count, more.shape[1]), (step, 1), step)
        answers.addmm_(rest, more.T)
    return answers
