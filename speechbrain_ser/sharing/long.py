"""Recordings of any length, window by window."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch

from speechbrain_ser.data import audio, waveforms
from speechbrain_ser.errors import InputError
from speechbrain_ser.sharing import given
from speechbrain_ser.sharing.emotions import Emotion, joined, means
from speechbrain_ser.sharing.given import Recording

SHORTEST_HOP = 0.01  # seconds


class LongRecordings:
    """What a recognizer does with recordings that are longer than what it hears at once."""

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
            seconds = audio.duration(file)
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
        for start, samples, rate in audio.windows(path, window, hop):
            speech = waveforms.mono(samples.T, str(path))
            short, name = len(speech) < waveforms.SHORTEST * rate, f"{path} at {start:.1f} s"
            yield None if short else self.hparams.reader.hear(speech, rate, name)
