"""Recordings of any length, window by window."""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from speechbrain_ser.data import decoding, waveforms
from speechbrain_ser.errors import InputError
from speechbrain_ser.sharing import given
from speechbrain_ser.sharing.emotions import Emotion, joined, means
from speechbrain_ser.sharing.given import Recording

SHORTEST_HOP = 0.01  # seconds


class LongRecordings:
    """What a recognizer does with recordings that are longer than what it hears at once."""

    hparams: Any  # SpeechBrain's, as mods; the rest is EmotionRecognizer's
    mods: Any
    _checked: Callable[[int | None], int]
    _probs_or_none: Callable[[list[torch.Tensor | None]], Iterable[list[float] | None]]
    _name: Callable[..., Emotion]

    def classify_long(
        self,
        path: Recording,
        window: float = 4.0,
        hop: float = 1.0,
        smooth: int = 3,
        batch_size: int | None = None,
    ) -> list[Emotion]:
        """A recording of any length -> the segments of one emotion each, in order, without gaps.

        Neighbours with the same label are joined, and their probabilities averaged; for the rest
        see each_hop.
        """
        return joined(self.each_hop(path, window, hop, smooth, batch_size))

    def each_hop(
        self,
        path: Recording,
        window: float = 4.0,
        hop: float = 1.0,
        smooth: int = 3,
        batch_size: int | None = None,
    ) -> Iterator[Emotion]:
        """The emotion of each `hop` seconds of a recording of any length, in order, without gaps.

        Windows of `window` seconds start every `hop` seconds. Their probabilities are averaged
        over `smooth` neighbours, and each hop of the recording gets those of the windows that hold
        it. A silent stretch has the label None. Memory does not grow with the recording, but for
        the result.

        Raises InputError for a bad file, and for a hop longer than the window.
        """
        if not SHORTEST_HOP <= hop <= window < math.inf or smooth < 1:
            raise InputError(
                f"window {window}, hop {hop}, smooth {smooth}: give {SHORTEST_HOP} <= hop <= "
                "window, smooth > 0"
            )
        batch_size = self._checked(batch_size)
        with given.Spool() as spool:
            file = spool.path(path)
            seconds = decoding.duration(file)
            of_windows: list[list[float] | None] = []  # of each window
            waiting: list[torch.Tensor | None] = []
            for speech in self._windows(file, window, hop):
                waiting.append(speech)
                if len(waiting) == batch_size:
                    of_windows += self._probs_or_none(waiting)
                    waiting = []
            of_windows += self._probs_or_none(waiting)
            for start, end, probs in means(of_windows, seconds, window, hop, smooth):
                yield self._name(probs, file, start, end)

    def _windows(
        self, path: str | Path, window: float, hop: float
    ) -> Iterator[torch.Tensor | None]:
        """The prepared speech of each window, read one by one; None of silence."""
        for start, samples, rate in decoding.windows(path, window, hop):
            speech = waveforms.mono(samples.T, str(path))
            short, name = len(speech) < waveforms.SHORTEST * rate, f"{path} at {start:.1f} s"
            yield None if short else self.hparams.reader.hear(speech, rate, name)

    def _whole(self, speech: torch.Tensor, path: str | Path) -> torch.Tensor:
        """The reader's speech [time]; InputError for more of it than the model reads at once."""
        self._refuse_longer(len(speech), path)
        return speech

    def _refuse_long_file(self, path: str | Path) -> None:
        """InputError by a file's header, before all of it would be decoded to be refused."""
        reader = self.hparams.reader
        if reader.max_seconds is None and self.most_samples < math.inf:
            self._refuse_longer(round(decoding.duration(path) * reader.sample_rate), path)

    def _refuse_longer(self, samples: int, path: str | Path) -> None:
        most, rate = self.most_samples, self.hparams.reader.sample_rate
        if samples > most:
            raise InputError(
                f"{path} lasts {samples / rate:.1f} s, and this model reads {most / rate:g} s "
                "at once: classify it in segments, ser classify --long"
            )

    @property
    def most_samples(self) -> float:
        """Of a recording that the model reads at once: infinite, or what its encoders say."""
        limits = (getattr(part, "most_samples", None) for part in self.mods.model.modules())
        return min((limit for limit in limits if limit), default=math.inf)
