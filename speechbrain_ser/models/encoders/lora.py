"""LoRA (Hu et al. 2022): a weight as the pretrained one plus a trained product of low rank.

It is a parametrization of the weight itself (torch.nn.utils.parametrize), not a module around the
layer as in SpeechBrain's nnet.adapters or peft: WavLM's attention reads q_proj.weight without
calling q_proj, and would pass such a module by.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize

from speechbrain_ser.errors import InputError

WEIGHT = "parametrizations.weight"  # where torch keeps those of a layer's weight


class LowRank(nn.Module):
    """weight [out, in] -> weight + alpha / rank * up down; up begins at 0.

    Arguments
    ---------
    weight : the pretrained one, for its shape
    rank, alpha : of the product, and of its scale
    """

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float):
        super().__init__()
        out, within = weight.shape
        self.down = nn.Parameter(torch.empty(rank, within).uniform_(-1, 1) / within**0.5)
        self.up = nn.Parameter(torch.zeros(out, rank))
        self.scale = alpha / rank

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """weight [out, in] -> the same shape."""
        return weight + self.scale * (self.up @ self.down)


def insert(
    blocks: nn.ModuleList, targets: Sequence[str], rank: int = 8, alpha: float = 16.0
) -> None:
    """Give every linear layer of `blocks` whose name is one of targets a LowRank.

    Raises InputError for a rank, alpha or target that is none.
    """
    if type(rank) is not int or rank < 1 or not isinstance(alpha, int | float) or alpha <= 0:
        raise InputError(f"lora has rank {rank!r} and alpha {alpha!r}: use a number of 1 and more")
    linear = {name: part for name, part in blocks.named_modules() if isinstance(part, nn.Linear)}
    known = sorted({name.rpartition(".")[2] for name in linear})
    if unknown := [name for name in targets if name not in known]:
        raise InputError(f"lora targets {unknown[0]}: the blocks have {', '.join(known)}")
    for name, layer in linear.items():
        if name.rpartition(".")[2] in targets:
            added = LowRank(layer.weight, rank, alpha)
            parametrize.register_parametrization(layer, "weight", added)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers that have a LowRank."""
    return [
        part
        for part in model.modules()
        if parametrize.is_parametrized(part, "weight")
        and any(isinstance(added, LowRank) for added in part.get_submodule(WEIGHT).children())
    ]


def train_alone(model: nn.Module) -> None:
    """Of a model's weights, those of LowRank alone are trained, where they were trained before."""
    added = {p for m in model.modules() if isinstance(m, LowRank) for p in m.parameters()}
    for parameter in model.parameters():
        if parameter not in added:
            parameter.requires_grad_(False)


def merge(model: nn.Module) -> None:
    """Make plain weights of the sums, in place."""
    for layer in layers_of(model):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def settings_of(lora: Mapping | None) -> dict:
    """The arguments of `insert`; InputError for others."""
    if unknown := sorted({*(lora or {})} - {"rank", "alpha", "targets"}):
        raise InputError(f"lora has {unknown[0]}: use rank, alpha and targets")
    return dict(lora or {})
