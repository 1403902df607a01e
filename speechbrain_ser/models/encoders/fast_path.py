"""Dropout and attention that are cheaper on a CPU, for `Encoder(cpu_fast_path=True)`.

The answers are those of Hugging Face's networks up to
rounding; dropout draws other random numbers.
"""

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from speechbrain_ser.models.padding import must_not_wait

NAME = "speechbrain_ser"  # of the attention, in a config of Hugging Face
STEPS = 2**16  # in which a probability of dropout is counted


def install(model: PreTrainedModel) -> None:
    """Give a Hugging Face network this dropout and, where it lets one choose, attention."""
    if model._can_set_attn_implementation():
        model.set_attn_implementation(NAME)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))


# dropout


def is_drawn(p: float) -> bool:
    """Whether a mask of this probability drops some, and keeps some."""
    return 0 < round(p * STEPS) < STEPS


def keep_mask(shape: torch.Size, p: float) -> torch.Tensor:
    """bool of this shape, False with probability p, in steps of 2^-16: 16 random bits each."""
    count = shape.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    numbers = bits.view(torch.int16)[:count].view(shape)
    return numbers >= round(p * STEPS) - STEPS // 2


def gain(p: float) -> float:
    """What makes up for the share that keep_mask drops."""
    return STEPS / (STEPS - round(p * STEPS))


class Dropout(nn.Dropout):
    """nn.Dropout; on a CPU with keep_mask, which takes a quarter of the time and of the memory."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Any shape -> the same shape."""
        if not self.training or not is_drawn(self.p) or inputs.device.type != "cpu":
            return super().forward(inputs)
        return inputs * keep_mask(inputs.shape, self.p) * gain(self.p)


# attention


class DroppedAttention(torch.autograd.Function):
    """softmax(scale q k^T) with dropout, times v; each [head, frame, dim].

    The backward pass computes the weights anew: kept are the masks alone, a byte per weight.
    """

    @staticmethod
    def forward(ctx, query, key, value, p: float, scale: float) -> torch.Tensor:
        weights = attention_weights(query, key, scale)  # [head, frame, frame]
        keep = keep_mask(weights.shape, p)
        ctx.save_for_backward(query, key, value, keep)
        ctx.scale, ctx.gain = scale, gain(p)
        return torch.bmm(weights.mul_(keep), value).mul_(ctx.gain)

    @staticmethod
    def backward(ctx, gradient):
        query, key, value, keep = ctx.saved_tensors
        gradient = gradient * ctx.gain
        weights = attention_weights(query, key, ctx.scale)
        of_weights = torch.bmm(gradient, value.transpose(1, 2)).mul_(keep)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_query = torch.bmm(of_scores, key).mul_(ctx.scale)
        of_key = torch.bmm(of_scores.transpose(1, 2), query).mul_(ctx.scale)
        of_value = torch.bmm(weights.mul_(keep).transpose(1, 2), gradient)
        return of_query, of_key, of_value, None, None


def attention_weights(query: torch.Tensor, key: torch.Tensor, scale: float) -> torch.Tensor:
    """query, key [head, frame, dim] -> [head, frame, frame]; their rows sum to 1."""
    with torch.autocast("cpu", enabled=False):  # which would compute them in single precision
        return torch.softmax(torch.bmm(query * scale, key.transpose(1, 2)), dim=-1)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, p: float, scale: float | None
) -> torch.Tensor:
    """query, key, value [head, frame, dim] of one utterance -> [head, frame, dim]."""
    if is_drawn(p):
        return DroppedAttention.apply(query, key, value, p, scale)
    # three dimensions have a slow kernel
    query, key, value = (own.unsqueeze(0) for own in (query, key, value))
    attention_of = nn.functional.scaled_dot_product_attention
    return attention_of(query, key, value, dropout_p=p, scale=scale)[0]


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: list[int] | torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more,
) -> tuple[torch.Tensor, None]:
    """Hugging Face's interface: query, key, value [batch, head, frame, dim] -> [batch, frame, ...].

    attention_mask : the frames of each utterance, if the batch is one row of utterances end to
        end; or a mask of a padded batch, or None
    """
    if isinstance(attention_mask, list):
        items = zip(*(x[0].split(attention_mask, dim=1) for x in (query, key, value)), strict=True)
        answers = [attend(q, k, v, dropout, scaling) for q, k, v in items]
        return torch.cat(answers, dim=1).transpose(0, 1).unsqueeze(0), None
    if attention_mask is None and dropout > 0 and query.device.type == "cpu":
        items = zip(query, key, value, strict=True)
        answers = [attend(q, k, v, dropout, scaling) for q, k, v in items]
        return torch.stack(answers).transpose(1, 2), None
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
    )


def mask(*, attention_mask: torch.Tensor | None = None, **more) -> torch.Tensor | None:
    """Hugging Face's interface: attention_mask [batch, frame], True for speech -> what it masks.

    On a GPU there is a mask without padding, too: asking whether there is any would wait.
    """
    if attention_mask is not None and must_not_wait(attention_mask):
        more["allow_is_bidirectional_skip"] = False
    return sdpa_mask(attention_mask=attention_mask, **more)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, mask)
