"""Wang 2023, section 2.3: the nearest training utterances have a say in the answer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from speechbrain_ser.errors import InputError
from speechbrain_ser.models.heads import answering

MARGIN = 32  # candidates beyond k, to see through the rounding of a matrix product
SCORED_AT_ONCE = 2**26  # distances


class NearestNeighbours(nn.Module):
    """A trained network whose probabilities are mixed with those of its nearest neighbours.

    p = alpha * p_knn + (1 - alpha) * p_model. Keys and what was chosen are buffers: they are
    exported and moved like weights. p_model is that of the paper, without the temperature that the
    network's own run may have found; the mixture, no softmax of logits, has none either: validation
    is among its keys.

    Arguments
    ---------
    model : any network with `embed` and `head`; it is frozen
    labels : classes
    size : number of keys
    dim : of the embedding
    weighting : how a neighbour's distance d weighs: "euclidean", exp(-d / temperature); "squared",
        exp(-d^2 / temperature), as in kNN language models; or "vote", all alike
    temperature : see weighting
    normalise : embeddings to length 1 first, as in the contrastive loss

    Raises InputError for an unknown weighting or a temperature of 0 or less.
    """

    model: Any  # whose `embed` and `head` no class of PyTorch names
    keys: torch.Tensor  # [size, dim]
    values: torch.Tensor  # [size]
    k: torch.Tensor  # []
    alpha: torch.Tensor  # []

    def __init__(
        self,
        model: nn.Module,
        labels: Sequence[str],
        size: int,
        dim: int,
        weighting: str = "euclidean",
        temperature: float = 1.0,
        normalise: bool = True,
    ):
        super().__init__()
        if weighting not in ("euclidean", "squared", "vote"):
            raise InputError(f"weighting is {weighting!r}: use euclidean, squared or vote")
        if not temperature > 0:
            raise InputError(f"temperature is {temperature}: give a number above 0")
        self.model = model.requires_grad_(False)
        if head := answering(model):
            head.temperature = 1.0
        self.classes = len(labels)
        self.weighting = weighting
        self.temperature = temperature
        self.normalise = normalise
        self.register_buffer("keys", torch.zeros(size, dim))
        self.register_buffer("values", torch.zeros(size, dtype=torch.long))  # class numbers
        self.register_buffer("k", torch.tensor(1))
        self.register_buffer("alpha", torch.tensor(0.5))

    @property
    def head(self) -> "NearestNeighbours":
        """What turns this network's logits, log-probabilities, into probabilities: itself."""
        return self

    def train(self, mode: bool = True) -> "NearestNeighbours":
        return super().train(False)  # nothing of it is trained

    def store(self, embeddings: torch.Tensor, values: torch.Tensor, k: int, alpha: float) -> None:
        """Keep embeddings [size, dim] and their classes [size] as keys, and what was chosen."""
        self.keys.copy_(self.prepared(embeddings))
        self.values.copy_(values)
        self.k.fill_(k)
        self.alpha.fill_(alpha)

    def prepared(self, embeddings: torch.Tensor) -> torch.Tensor:
        embeddings = embeddings.float()
        return nn.functional.normalize(embeddings, dim=1) if self.normalise else embeddings

    def vote(
        self, embeddings: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, k: int
    ) -> torch.Tensor:
        """embeddings [batch, dim], keys [n, dim], values [n] -> p_knn [batch, k, class].

        Entry j is the answer of the j + 1 nearest neighbours.
        """
        distances, indices = nearest(self.prepared(embeddings), self.prepared(keys), k)
        if self.weighting == "vote":
            distances = torch.zeros_like(distances)
        elif self.weighting == "squared":
            distances = distances**2
        weights = torch.exp((distances[:, :1] - distances) / self.temperature)  # [batch, k]
        votes = nn.functional.one_hot(values[indices], self.classes) * weights.unsqueeze(2)
        return votes.cumsum(dim=1) / weights.cumsum(dim=1).unsqueeze(2)

    def embed(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> embedding [batch, dim]."""
        return self.model.embed(speech, lens)

    def own_probs(self, embeddings: torch.Tensor) -> torch.Tensor:
        """embeddings [batch, dim] -> the network's own probabilities [batch, class]."""
        return self.model.head.probs(self.model.head(embeddings))

    def answer(self, embeddings: torch.Tensor) -> torch.Tensor:
        """embeddings [batch, dim] -> log-probabilities [batch, class]."""
        neighbours = self.vote(embeddings, self.keys, self.values, int(self.k))[:, -1]
        mixed = self.alpha * neighbours + (1 - self.alpha) * self.own_probs(embeddings)
        return mixed.clamp(min=torch.finfo(mixed.dtype).tiny).log()

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> log-probabilities [batch, class]."""
        return self.answer(self.embed(speech, lens))

    def probs(self, logits: torch.Tensor) -> torch.Tensor:
        """log-probabilities [batch, class] -> probabilities."""
        return logits.softmax(dim=-1)


@torch.autocast("cuda", enabled=False)
@torch.autocast("cpu", enabled=False)
def nearest(queries: torch.Tensor, keys: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest keys of each query, exactly: distances and indices, [query, k], in order.

    queries [query, dim], keys [n, dim], float32. Of equally distant keys the earlier is nearer. One
    matrix product finds candidates; their distances are computed anew from the differences, and
    a query whose candidates might not hold all k is compared with all keys that way.

    Raises InputError for fewer keys than k.
    """
    if k > len(keys):
        raise InputError(f"{k} neighbours are asked for and {len(keys)} are stored: lower k")
    if torch.compiler.is_compiling():  # a graph cannot look again where rounding might decide
        return (queries.unsqueeze(1) - keys).norm(dim=2).topk(k, largest=False)
    rows = max(1, SCORED_AT_ONCE // len(keys))
    chunks = [_nearest(part, keys, k) for part in queries.split(rows)]
    distances, indices = zip(*chunks, strict=True)
    return torch.cat(distances), torch.cat(indices)


def _nearest(queries, keys, k):
    squares = (keys**2).sum(dim=1)  # [n]
    scores = torch.addmm(squares, queries, keys.T, alpha=-2)  # d^2 but for the query's square
    candidates = min(len(keys), k + MARGIN)
    lowest, indices = scores.topk(candidates, largest=False)  # [query, candidate]
    indices = indices.sort(dim=1).values  # the earlier first
    distances = (queries.unsqueeze(1) - keys[indices]).norm(dim=2)
    order = distances.argsort(dim=1, stable=True)[:, :k]
    distances, indices = distances.gather(1, order), indices.gather(1, order)
    if candidates < len(keys):
        size = (queries**2).sum(dim=1) + squares.max()
        rounding = 4 * keys.shape[1] ** 0.5 * torch.finfo(keys.dtype).eps * size  # of a score
        unsure = lowest[:, -1] - lowest[:, k - 1] <= 2 * rounding
        for row in unsure.nonzero().squeeze(1).tolist():
            every = (queries[row] - keys).norm(dim=1)  # [n]
            order = every.argsort(stable=True)[:k]
            distances[row], indices[row] = every[order], order
    return distances, indices


def search(
    neighbours: torch.Tensor,
    own: torch.Tensor,
    targets: torch.Tensor,
    alphas: Sequence[float],
    score: str = "WA",
) -> tuple[int, float, float]:
    """The best number of neighbours and weight: -> k, alpha and their score in percent.

    neighbours [utterance, k, class] from `vote`, own [utterance, class], targets [utterance]. Of
    equal scores the one with the smaller alpha, then with the larger k, is best.

    score : "WA" or "UA"
    """
    weight = torch.ones_like(targets, dtype=torch.float64)
    if score == "UA":
        counts = targets.bincount(minlength=own.shape[1])
        weight = 1 / counts[targets].double()
    best = (-1.0, 0.0, 0)
    for alpha in sorted(alphas):
        mixed = alpha * neighbours + (1 - alpha) * own.unsqueeze(1)
        right = mixed.argmax(dim=2) == targets.unsqueeze(1)  # [utterance, k]
        scores = 100 * (right * weight.unsqueeze(1)).sum(dim=0) / weight.sum()
        for number, value in enumerate(scores.tolist(), start=1):
            better = round(value - best[0], 9)
            if better > 0 or (better == 0 and alpha == best[1] and number > best[2]):
                best = (value, alpha, number)
    return best[2], best[1], best[0]
