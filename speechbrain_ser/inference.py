"""Named probabilities for audio files, from a trained model."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained
from torch.nn.utils.rnn import pad_sequence

from speechbrain_ser import best
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.probe import Probe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Emotion:
    """One recording's result: the label, and a probability for each label."""

    label: str
    probs: dict[str, float]


class EmotionRecognizer(Pretrained):
    """Load a run's best/ folder or a Hub repository, and classify recordings.

    >>> recognizer = EmotionRecognizer.from_hparams("results/fusion/fold1/1000/best")
    >>> recognizer.classify_file("speech.wav").label
    """

    HPARAMS_NEEDED = ["labels", "reader"]
    MODULES_NEEDED = ["model"]

    @classmethod
    def from_hparams(cls, source: str | Path, run_opts: dict | None = None) -> "EmotionRecognizer":
        """source: a best/ folder or hub id; run_opts: e.g. {"device": "cuda:0"}.

        Raises InputError for a folder that is no model or is broken.
        """
        parts = best.load(source)
        if isinstance(parts["model"], Probe) and parts["model"].is_transductive:
            logger.warning(
                "%s was tested with features normalised over all recordings of each speaker. Give "
                "recordings of yours to enrol(); until then those of its training are used, and "
                "its results do not hold.",
                source,
            )
        return cls(modules={"model": parts["model"]}, hparams=parts, run_opts=run_opts)

    def enrol(self, paths: Sequence[str | Path]) -> None:
        """Recordings of the speaker who follows, for a model that normalises by speaker.

        Their labels do not matter; the more of the speaker's range they hold the better. None of
        them ([]) goes back to the training's statistics. Raises InputError for other models.
        """
        if not isinstance(self.mods.model, Probe):
            raise InputError("this model does not normalise by speaker: no enrolment is used")
        self.mods.model.enrol([self.hparams.reader(path).to(self.device) for path in paths])

    def classify_file(self, path: str | Path) -> Emotion:
        """One file, wav or any format that libsndfile reads, any rate, any channels."""
        return self.classify_files([path])[0]

    def classify_files(self, paths: Sequence[str | Path], batch_size: int = 8) -> list[Emotion]:
        """Any number of files, batched by length; results in the order of the paths."""
        speech = [self.hparams.reader(path) for path in paths]
        order = sorted(range(len(speech)), key=lambda i: len(speech[i]))
        results: dict[int, Emotion] = {}
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            lengths = torch.tensor([len(speech[i]) for i in chosen])
            probs = self.classify_batch(
                pad_sequence([speech[i] for i in chosen], batch_first=True),
                lengths / lengths.max(),
            )
            results |= dict(zip(chosen, map(self._name, probs.tolist()), strict=True))
        return [results[i] for i in range(len(speech))]

    @torch.no_grad()
    def classify_batch(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time] from the reader, lens [batch] in (0, 1] -> probs [batch, class]."""
        logits = self.mods.model(speech.to(self.device), lens.to(self.device))
        return self.mods.model.head.probs(logits).cpu()

    def _name(self, probs: list[float]) -> Emotion:
        named = dict(zip(self.hparams.labels, probs, strict=True))
        return Emotion(max(named, key=named.get), named)
