"""Pepino 2021, section 2.3: small networks on frozen features.

Dropout stands before each layer, the frozen features included (authors' code); weights start as
Keras' do, for the same reason: Glorot uniform, biases at zero.
"""

from collections.abc import Sequence

import torch
from torch import nn

from speechbrain_ser.data.frontend import Frontend
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.padding import must_not_wait, valid_mask

Features = tuple[torch.Tensor, torch.Tensor]  # [batch, frame, layer, dim], frames [batch]
Statistics = tuple[torch.Tensor, torch.Tensor]  # mean and deviation, [batch, layer, dim] each


class _ScaledSum(torch.autograd.Function):
    """features [batch, frame, layer, dim], scale [batch, layer, dim] -> [batch, frame, dim].

    The sum over layers of features times scale, in the dtype of scale. Autograd's own way through
    it keeps and moves several times as much memory, which is most of the time of an epoch; on a
    CPU one utterance after the other stays in the cache.
    """

    @staticmethod
    def forward(ctx, features, scale):
        ctx.save_for_backward(features)
        ctx.dtype = scale.dtype
        total = scale.new_zeros(*features.shape[:2], features.shape[3])
        for part in parts_of(features):
            for layer in range(features.shape[2]):
                values = features[part, :, layer].to(ctx.dtype)
                total[part].addcmul_(values, scale[part, None, layer])
        return total

    @staticmethod
    def backward(ctx, gradient):
        (features,) = ctx.saved_tensors
        scale = gradient.new_empty(len(features), *features.shape[2:])
        for part in parts_of(features):
            for layer in range(features.shape[2]):
                values = features[part, :, layer].to(ctx.dtype)
                scale[part, layer] = (values * gradient[part]).sum(dim=1)
        return None, scale


def parts_of(batch: torch.Tensor) -> list[slice]:
    """The whole batch on a GPU, else each item."""
    if batch.is_cuda:
        return [slice(None)]
    return [slice(item, item + 1) for item in range(len(batch))]


class Branch(nn.Module):
    """One kind of features, normalised, averaged over layers and made `width` values per frame.

    Arguments
    ---------
    frontend : of models.frontends
    width : values per frame
    dropout : of the features
    crop_frames : frames of 20 ms that are used; later ones are cut off
    """

    mean: torch.Tensor  # [layer, dim]
    deviation: torch.Tensor  # [layer, dim]
    layer_weights: nn.Parameter | None
    dense: nn.Module

    def __init__(
        self, frontend: Frontend, width: int = 128, dropout: float = 0.2, crop_frames: int = 400
    ):
        super().__init__()
        self.frontend = frontend
        self.crop_frames = crop_frames
        layers, dim = frontend.shape
        self.register_buffer("mean", torch.zeros(layers, dim))
        self.register_buffer("deviation", torch.ones(layers, dim))
        self.layer_weights = nn.Parameter(torch.ones(layers)) if layers > 1 else None
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(dim, width)

    @property
    def longest(self) -> int:
        """The frontend's frames that are used; what lies behind them is cut off anyway."""
        return self.crop_frames * self.frontend.downsample

    @property
    def weights(self) -> torch.Tensor:
        """[layer], which add up to 1; the paper's equation 1 has no absolute value."""
        if self.layer_weights is None:
            return self.mean.new_ones(1)
        return self.layer_weights.abs() / self.layer_weights.abs().sum()

    def normalisation(self, mean: torch.Tensor, deviation: torch.Tensor) -> Statistics:
        """Statistics of features, [layer, dim] each -> those that this frontend is normalised by.

        What never varies has the deviation 1.
        """
        if getattr(self.frontend, "scalar", False):
            power = (deviation.double() ** 2 + mean.double() ** 2).mean()
            mean = torch.full_like(mean, mean.double().mean().item())
            deviation = torch.full_like(mean, (power - mean.double().mean() ** 2).sqrt().item())
        return mean, torch.where(deviation > 0, deviation, 1.0)

    def average(self, features: torch.Tensor, statistics: Statistics | None) -> torch.Tensor:
        """features [batch, frame, layer, dim] -> normalised and averaged, [batch, frame, dim]."""
        mean, deviation = statistics or (self.mean[None], self.deviation[None])
        scale = self.weights[:, None] / deviation  # [batch or 1, layer, dim]
        shift = (scale * mean).sum(dim=1, keepdim=True)  # [batch or 1, 1, dim]
        if torch.compiler.is_compiling():  # a graph has no loop over items
            return (features.to(scale.dtype) * scale.unsqueeze(1)).sum(dim=2) - shift
        return _ScaledSum.apply(features, scale.expand(len(features), -1, -1)) - shift

    def prepare(self, features: Features, statistics: Statistics | None = None) -> Features:
        """Features (and their groups' statistics) -> [batch, frame, dim] of 20 ms, frames [batch].

        Zeros stand behind an utterance's frames.
        """
        values, frames = features
        if (step := self.frontend.downsample) > 1:
            # authors' code: zeros up to the next multiple, a whole frame of them if it is one;
            # averaged first and then normalised, so that these zeros become minus the mean
            values = values.float() * valid_mask(frames, values.shape[1])[:, :, None, None]
            missing = step - values.shape[1] % step
            values = nn.functional.pad(values, (0, 0, 0, 0, 0, missing))
            values = values.unflatten(1, (-1, step)).mean(dim=2)
            frames = frames // step + 1
        averaged = self.average(values, statistics)
        averaged = averaged * valid_mask(frames, averaged.shape[1]).unsqueeze(2)
        return averaged[:, : self.crop_frames], frames.clamp(max=self.crop_frames)

    def forward(self, prepared: torch.Tensor) -> torch.Tensor:
        """[..., dim] -> [..., width]."""
        return self.dense(self.dropout(prepared)).relu()


class JoinedBranch(Branch):
    """A Branch that lays the normalised layers side by side instead of averaging them."""

    def __init__(
        self, frontend: Frontend, width: int = 128, dropout: float = 0.2, crop_frames: int = 400
    ):
        super().__init__(frontend, width, dropout, crop_frames)
        self.layer_weights = None
        self.dense = nn.Linear(self.mean.numel(), width)

    def average(self, features: torch.Tensor, statistics: Statistics | None) -> torch.Tensor:
        """features [batch, frame, layer, dim] -> normalised, [batch, frame, layer * dim]."""
        mean, deviation = statistics or (self.mean[None], self.deviation[None])
        return ((features - mean.unsqueeze(1)) / deviation.unsqueeze(1)).flatten(start_dim=2)


class BareBranch(JoinedBranch):
    """A JoinedBranch without its dense layer: the normalised features themselves."""

    def __init__(self, frontend: Frontend, crop_frames: int = 400):
        super().__init__(frontend, 1, 0.0, crop_frames)
        self.dense = nn.Identity()

    def forward(self, prepared: torch.Tensor) -> torch.Tensor:
        """[..., layer * dim] -> the same."""
        return prepared


class DenseBody(nn.Module):
    """frames [batch, frame, width_in] -> [batch, frame, width], each frame by itself."""

    def __init__(self, width_in: int = 128, width: int = 128, dropout: float = 0.2):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width_in, width)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.dense(self.dropout(frames)).relu()


class LstmBody(nn.Module):
    """frames [batch, frame, width_in] -> [batch, frame, width], by an LSTM of one direction.

    Padding at the end changes no valid frame. As in Keras dropout drops an input for a whole
    utterance, the forget gate's bias starts at 1, and there is one bias: PyTorch's second is 0.
    """

    def __init__(self, width_in: int = 128, width: int = 128, dropout: float = 0.2):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(width_in, width, batch_first=True)
        of_input, of_state, bias, second_bias = self.lstm.all_weights[0]
        nn.init.xavier_uniform_(of_input)
        nn.init.orthogonal_(of_state)
        nn.init.zeros_(bias)
        nn.init.ones_(bias[width : 2 * width])
        nn.init.zeros_(second_bias)
        second_bias.requires_grad_(False)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        kept = self.dropout(torch.ones_like(frames[:, :1]))  # [batch, 1, width_in]
        return self.lstm(frames * kept)[0].relu()


class Probe(nn.Module):
    """Branches side by side -> body -> mean over time -> head.

    Where there are several branches, the last one's frames count: the others are cut or filled
    with normalised zeros to its length (Pepino 2021, authors' code: the eGeMAPS frames).

    Arguments
    ---------
    branches : of one frontend each
    body : frames [batch, frame, all branches' width] -> frames [batch, frame, width], or None
    head : embedding [batch, width] -> logits
    normalise_by : whose mean and deviation normalise the features: "global", the training part's;
        "none"; or a field of the manifest whose values are groups, such as "speaker"

    In training a group's own are passed to `classify`. A trained model falls back to the training
    part's, unless a speaker's recordings are enrolled.
    """

    branches: Sequence[Branch]

    def __init__(
        self,
        branches: Sequence[Branch],
        body: nn.Module | None,
        head: nn.Module,
        normalise_by: str = "speaker",
    ):
        super().__init__()
        self.branches = nn.ModuleList(branches)  # type: ignore[assignment]  # it names no class
        self.body = body if body is not None else nn.Identity()
        self.head = head
        self.normalise_by = normalise_by
        self.enrolled: list[Statistics] | None = None
        for layer in (*(branch.dense for branch in branches), *self.body.modules(), head):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    @property
    def is_transductive(self) -> bool:
        """Whether a test speaker's own unlabelled recordings are used."""
        return self.normalise_by not in ("global", "none")

    def encode(self, speech: torch.Tensor, lens: torch.Tensor) -> list[Features]:
        """speech [batch, time], lens [batch] -> the features of every branch."""
        return [branch.frontend(speech, lens) for branch in self.branches]

    def pool(
        self, encoded: Sequence[Features], statistics: Sequence[Statistics] | None = None
    ) -> torch.Tensor:
        """Features of every branch, and their groups' statistics -> embedding [batch, width]."""
        nothing: list[Statistics | None] = [None] * len(self.branches)
        given = statistics or self.enrolled or nothing
        prepared = [
            branch.prepare(features, own)
            for branch, features, own in zip(self.branches, encoded, given, strict=True)
        ]
        padded, frames = prepared[-1]  # [batch, frame, dim], [batch]
        waits_not = must_not_wait(frames)
        longest = padded.shape[1] if waits_not else int(frames.max())
        valid = valid_mask(frames, longest)
        side_by_side = []
        for branch, (values, _) in zip(self.branches, prepared, strict=True):
            missing = max(0, longest - values.shape[1])
            values = nn.functional.pad(values, (0, 0, 0, missing))[:, :longest]
            if waits_not:
                side_by_side.append(branch(values) * valid.unsqueeze(2))
                continue
            used = branch(values[valid])  # half of a batch may be padding
            side_by_side.append(used.new_zeros(*valid.shape, used.shape[1]))
            side_by_side[-1][valid] = used
        outputs = self.body(torch.cat(side_by_side, dim=2))  # [batch, frame, width]
        return (outputs * valid.unsqueeze(2)).sum(dim=1) / frames[:, None]

    def classify(
        self, encoded: Sequence[Features], statistics: Sequence[Statistics] | None = None
    ) -> torch.Tensor:
        """What pool takes -> logits [batch, class]."""
        return self.head(self.pool(encoded, statistics))

    def embed(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> embedding [batch, width]."""
        return self.pool(self.encode(speech, lens))

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> logits [batch, class]."""
        return self.classify(self.encode(speech, lens))

    @torch.no_grad()
    def enrol(self, recordings: Sequence[torch.Tensor]) -> None:
        """Normalise what follows by these recordings of a speaker, [time] each; by none: as before.

        Raises InputError for a model that does not normalise by speaker.
        """
        if not self.is_transductive:
            raise InputError(f"this model normalises by {self.normalise_by}: no enrolment is used")
        self.enrolled = None
        if not recordings:
            return
        whole = torch.ones(1, device=recordings[0].device)
        self.enrolled = []
        for branch in self.branches:
            frames = torch.cat([branch.frontend(item[None], whole)[0][0] for item in recordings])
            deviation, mean = torch.std_mean(frames.double(), dim=0, correction=0)
            own = branch.normalisation(mean.float(), deviation.float())
            self.enrolled.append((own[0][None], own[1][None]))
