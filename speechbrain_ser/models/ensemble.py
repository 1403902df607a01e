"""Gavali & Verma, section 3.5: trained networks, and one answer."""

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from speechbrain_ser.data.audio import SAMPLE_RATE, SpeechReader
from speechbrain_ser.data.lengths import num_samples
from speechbrain_ser.errors import InputError

VOTES = ("hard", "soft", "weighted")
TIES = ("first", "best_member", "mean")
SLIGHT = 1e-3  # of a vote: decides ties and nothing else


def combine(
    probs: torch.Tensor, vote: str, ties: str = "first", weights: Sequence[float] | None = None
) -> torch.Tensor:
    """probs [member, utterance, class] -> the ensemble's probabilities [utterance, class].

    vote : "hard", the share of the members that name a class; "soft", the mean of their
        probabilities; "weighted", that mean by `weights`
    ties : of a hard vote, in favour of "first", the first of the labels (as SciPy's and pandas'
        mode); "best_member", what the member of the highest weight says; or "mean", the class of
        the highest mean probability among those that tie
    weights : one per member, such as their scores on validation; equal ones if None

    Raises InputError for another vote or ties.
    """
    if vote not in VOTES or ties not in TIES:
        raise InputError(
            f"vote is {vote!r} with ties {ties!r}: use {', '.join(VOTES)} with {', '.join(TIES)}"
        )
    given = torch.ones(len(probs)) if weights is None else torch.tensor(weights)
    given = given.to(probs).view(-1, 1, 1)
    if vote == "soft":
        return probs.mean(dim=0)
    if vote == "weighted":
        return (given * probs).sum(dim=0) / given.sum()
    ballots = nn.functional.one_hot(probs.argmax(dim=2), probs.shape[2]).to(probs)
    shares = ballots.mean(dim=0)  # [utterance, class]
    if ties == "first":
        return shares
    if ties == "best_member":
        favoured = ballots[int(given.flatten().argmax())]
    else:
        favoured = probs.mean(dim=0)
    tied = shares == shares.max(dim=1, keepdim=True).values
    favoured = favoured * tied * (tied.sum(dim=1, keepdim=True) > 1)
    decided = shares + SLIGHT / len(probs) * favoured
    return decided / decided.sum(dim=1, keepdim=True)


def count_ties(probs: torch.Tensor) -> int:
    """probs [member, utterance, class] -> utterances in which a hard vote has no single winner."""
    ties = 0
    for ballots in probs.argmax(dim=2).T.tolist():
        counts = sorted(Counter(ballots).values())
        ties += len(counts) > 1 and counts[-1] == counts[-2]
    return ties


class Member(nn.Module):
    """A trained network that reads speech in its own way.

    reader : its SpeechReader, whose cuts, tiling and normalisation the ensemble's speech gets
    model : any network with `head.probs`
    """

    model: Any  # whose `head.probs` no class of PyTorch names

    def __init__(self, reader: SpeechReader, model: nn.Module):
        super().__init__()
        self.reader = reader
        self.model = model

    def probs(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> probabilities [batch, class]."""
        samples = num_samples(speech, lens).tolist()
        items = [
            self.reader.prepare(item[:n], SAMPLE_RATE)
            for item, n in zip(speech, samples, strict=True)
        ]
        lengths = torch.tensor([len(item) for item in items], device=speech.device)
        padded = pad_sequence(items, batch_first=True)
        return self.model.head.probs(self.model(padded, lengths / lengths.max()))


class Ensemble(nn.Module):
    """Members, and how they vote; see `combine`.

    A member's probabilities have its own temperature, see SoftmaxHead, where its run found one:
    their mean gets no other. The shares of a hard vote are no probabilities, and have none.

    members : name -> {reader, model}
    weights : name -> weight, of a weighted vote and for the best member of a tie; None: all alike
    """

    members: MutableMapping[str, Member]

    def __init__(
        self,
        members: Mapping[str, Mapping],
        vote: str = "hard",
        ties: str = "first",
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__()
        made = nn.ModuleDict({name: Member(**parts) for name, parts in members.items()})
        self.members = made  # type: ignore[assignment]  # it names no class
        self.vote = vote
        self.ties = ties
        self.choose(list(self.members), weights)

    def choose(self, names: Sequence[str], weights: Mapping[str, float] | None = None) -> None:
        """Let these members vote, no others."""
        self.chosen = tuple(names)
        self.weights = weights or dict.fromkeys(self.members, 1.0)

    def prune(self) -> None:
        """Forget the members that do not vote."""
        for name in set(self.members) - set(self.chosen):
            del self.members[name]

    @property
    def head(self) -> "Ensemble":
        """What turns this network's logits, log-probabilities, into probabilities: itself."""
        return self

    def train(self, mode: bool = True) -> "Ensemble":
        return super().train(False)  # nothing of it is trained

    def answer(self, probs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """name -> its probabilities [batch, class] -> log-probabilities [batch, class]."""
        stacked = torch.stack([probs[name] for name in self.chosen])
        weights = [self.weights[name] for name in self.chosen]
        mixed = combine(stacked, self.vote, self.ties, weights)
        return mixed.clamp(min=torch.finfo(mixed.dtype).tiny).log()

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time], lens [batch] -> log-probabilities [batch, class]."""
        return self.answer({name: self.members[name].probs(speech, lens) for name in self.chosen})

    def probs(self, logits: torch.Tensor) -> torch.Tensor:
        """log-probabilities [batch, class] -> probabilities."""
        return logits.softmax(dim=-1)
