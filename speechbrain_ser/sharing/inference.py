"""Named probabilities for audio files, from a trained model."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from speechbrain.inference.interfaces import Pretrained
from torch.nn.utils.rnn import pad_sequence

from speechbrain_ser.data import audio
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.models.probe import Probe
from speechbrain_ser.sharing import onnx

T = TypeVar("T")
logger = logging.getLogger(__name__)
SHORTEST_HOP = 0.01  # seconds
DEFAULT = Path(__file__).parent / "default"  # the model that the package holds; its card is there
UNSURE = "unsure"
SILENCE = 1e-4  # of full scale: a window whose samples differ by less has no speech to classify


@dataclass(frozen=True)
class Emotion:
    """One recording's result, or a segment's: the label, and a probability for each label.

    start and end are in seconds. Of silence the label is None and there are no probabilities; where
    the recognizer is told to be unsure the label is "unsure".
    """

    label: str | None
    probs: dict[str, float]
    start: float = 0.0
    end: float = 0.0


class EmotionRecognizer(Pretrained):
    """Load a run's best/ folder or a Hub repository, and classify recordings.

    >>> recognizer = EmotionRecognizer.from_hparams("results/fusion/fold1/1000/best")
    >>> recognizer.classify_file("speech.wav").label
    """

    HPARAMS_NEEDED = ["labels", "reader"]
    MODULES_NEEDED = ["model"]
    unsure_below = 0.0

    @classmethod
    def from_hparams(
        cls,
        source: str | Path = DEFAULT,
        savedir: str | Path | None = None,
        run_opts: dict | None = None,
        unsure_below: float = 0.0,
    ) -> "EmotionRecognizer":
        """source: a best/ folder, hub id or .onnx file; run_opts: e.g. {"device": "cuda:0"}.

        source : none is the package's own model, see the card in DEFAULT
        savedir : where a Hub repository is kept; None: in huggingface_hub's cache
        unsure_below : a label whose probability is lower is "unsure"

        Raises InputError for a folder that is no model, is broken, or would do more than classify,
        and for an unsure_below that is no probability.
        """
        if not 0 <= unsure_below <= 1:
            raise InputError(f"unsure_below is {unsure_below}: give a probability, 0 to 1")
        if str(source).endswith(onnx.ENDING):
            parts = onnx.load(source)
        else:
            source = saved.find(source, savedir)
            parts = saved.load(source)
        if isinstance(parts["model"], Probe) and parts["model"].is_transductive:
            logger.warning(
                "%s was tested with features normalised over all recordings of each speaker. Give "
                "recordings of yours to enrol(); until then those of its training are used, and "
                "its results do not hold.",
                source,
            )
        recognizer = cls(modules={"model": parts["model"]}, hparams=parts, run_opts=run_opts)
        recognizer.unsure_below = unsure_below
        return recognizer

    def enrol(self, paths: Sequence[str | Path]) -> None:
        """Recordings of the speaker who follows, for a model that normalises by speaker.

        Their labels do not matter; the more of the speaker's range they hold the better. None of
        them ([]) goes back to the training's statistics. Raises InputError for other models.
        """
        if not isinstance(self.mods.model, Probe):
            raise InputError("this model does not normalise by speaker: no enrolment is used")
        self.mods.model.enrol([self.hparams.reader(path).to(self.device) for path in paths])

    @property
    def batch_size(self) -> int:
        """Of files or windows, where none is given; see BENCHMARKS.md."""
        return 8 if torch.device(self.device).type == "cuda" else 1

    def classify_file(self, path: str | Path) -> Emotion:
        """One file, of any format that libsndfile reads, any rate, any channels."""
        return self.classify_files([path])[0]

    def classify_files(
        self, paths: Sequence[str | Path], batch_size: int | None = None
    ) -> list[Emotion]:
        """Any number of files, batched by length; results in the order of the paths.

        batch_size : None is 8 on CUDA and 1 on a CPU, which a batch makes hardly faster

        A file's result does not depend on the others. Raises InputError for the first bad file.
        """
        results = dict(self.each(paths, batch_size))
        for result in (results[i] for i in range(len(paths))):
            if isinstance(result, InputError):
                raise result
        return [results[i] for i in range(len(paths))]

    def each(
        self, paths: Sequence[str | Path], batch_size: int | None = None, readers: int = 1
    ) -> Iterator[tuple[int, Emotion | InputError]]:
        """Position and result of each file, as they are done, short ones first.

        A bad file's result is the InputError that says what is wrong with it. `readers` threads
        read the next batches while one is classified: three batches are in memory, not more.
        """
        batch_size = batch_size or self.batch_size
        seconds: dict[int, float] = {}
        for position, path in enumerate(paths):
            try:
                seconds[position] = audio.duration(path)
            except InputError as error:
                yield position, error
        order = sorted(seconds, key=seconds.get)
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        with ThreadPoolExecutor(readers) as pool:
            ahead: deque = deque()
            for number in range(len(batches) + 2):
                if number < len(batches):
                    read = [pool.submit(_or_error, self._read, paths[i]) for i in batches[number]]
                    ahead.append((batches[number], read))
                if number < 2 or not ahead:
                    continue
                batch, read = ahead.popleft()
                speech = dict(zip(batch, (future.result() for future in read), strict=True))
                bad = {i: item for i, item in speech.items() if isinstance(item, InputError)}
                yield from bad.items()
                good = [i for i in batch if i not in bad]
                rows = self._probs([speech[i] for i in good])
                for position, probs in zip(good, rows, strict=True):
                    end = seconds[position]
                    yield position, _or_error(self._name, probs, paths[position], end=end)

    def _read(self, path: str | Path) -> torch.Tensor:
        """The reader's speech [time]; InputError also for more than the model reads at once."""
        speech, most = self.hparams.reader(path), self.most_samples
        if len(speech) > most:
            rate = self.hparams.reader.sample_rate
            raise InputError(
                f"{path} lasts {len(speech) / rate:.1f} s, and this model reads {most / rate:g} s "
                "at once: classify it in segments, ser classify --long"
            )
        return speech

    @property
    def most_samples(self) -> float:
        """Of a recording that the model reads at once: infinite, or what its encoders say."""
        limits = (getattr(part, "most_samples", None) for part in self.mods.model.modules())
        return min((limit for limit in limits if limit), default=math.inf)

    def classify_long(
        self,
        path: str | Path,
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
        path: str | Path,
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
        batch_size = batch_size or self.batch_size
        seconds = audio.duration(path)
        of_windows: list[list[float] | None] = []  # of each window
        waiting: list[torch.Tensor | None] = []
        for speech in self._windows(path, window, hop):
            waiting.append(speech)
            if len(waiting) == batch_size:
                of_windows += self._probs_or_none(waiting)
                waiting = []
        of_windows += self._probs_or_none(waiting)
        across = max(1, math.ceil(window / hop))  # windows that hold a hop of the recording
        for step in range(math.ceil(seconds / hop)):
            held = of_windows[max(0, step - across + 1) : step + 1]
            near = of_windows[max(0, step - across + 1 - smooth // 2) : step + 1 + smooth // 2]
            heard = [probs for probs in near if probs is not None]
            silent = all(probs is None for probs in held)
            end = min((step + 1) * hop, seconds)
            yield self._mean([] if silent else heard, path, step * hop, end)

    def _windows(
        self, path: str | Path, window: float, hop: float
    ) -> Iterator[torch.Tensor | None]:
        """The prepared speech of each window, read one by one; None of silence."""
        for start, samples, rate in audio.windows(path, window, hop):
            quiet = samples.isfinite().all() and samples.max() - samples.min() < SILENCE
            if quiet or len(samples) < audio.SHORTEST * rate:
                yield None
            else:
                name = f"{path} at {start:.1f} s"
                yield self.hparams.reader.prepare(samples.T, rate, name=name)

    def _probs_or_none(self, speech: list[torch.Tensor | None]) -> list[list[float] | None]:
        heard = iter(self._probs([item for item in speech if item is not None]))
        return [None if item is None else next(heard) for item in speech]

    def _mean(
        self, probs: list[list[float]], path: str | Path, start: float, end: float
    ) -> Emotion:
        if not probs:
            return Emotion(None, {}, start, end)
        mean = [sum(values) / len(probs) for values in zip(*probs, strict=True)]
        return self._name(mean, path, start, end)

    @torch.no_grad()
    def embed(self, paths: Sequence[str | Path]) -> torch.Tensor:
        """What the head reads of each file: [file, dim].

        Raises InputError for a bad file, and for a model without one embedding (an ensemble).
        """
        model = self.mods.model
        if not hasattr(model, "embed"):
            raise InputError(f"a {type(model).__name__} has no embedding of its own")
        rows = []
        for path in paths:
            speech = self._read(path).unsqueeze(0).to(self.device)  # [1, time]
            rows.append(model.embed(speech, torch.ones(1, device=self.device)).cpu())
        return torch.cat(rows)

    def _probs(self, speech: list[torch.Tensor]) -> list[list[float]]:
        """Speech of any lengths -> the probabilities of each."""
        if not speech:
            return []
        lengths = torch.tensor([len(item) for item in speech])
        padded = pad_sequence(speech, batch_first=True)  # [batch, time]
        return self.classify_batch(padded, lengths / lengths.max()).tolist()

    @torch.no_grad()
    def classify_batch(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        """speech [batch, time] from the reader, lens [batch] in (0, 1] -> probs [batch, class]."""
        logits = self.mods.model(speech.to(self.device), lens.to(self.device))
        return self.mods.model.head.probs(logits).cpu()

    def _name(
        self, probs: list[float], path: str | Path, start: float = 0.0, end: float = 0.0
    ) -> Emotion:
        """InputError for probabilities that are no numbers: the largest of them names nothing."""
        if not all(map(math.isfinite, probs)):
            raise InputError(
                f"{path}: the model gives probabilities that are NaN or infinite: its weights are "
                "broken or do not suit this recording, so train or fetch it again"
            )
        named = dict(zip(self.hparams.labels, probs, strict=True))
        label = max(named, key=named.get)
        sure = named[label] >= self.unsure_below
        return Emotion(label if sure else UNSURE, named, start, end)


def _or_error(function: Callable[..., T], *arguments, **named) -> T | InputError:
    try:
        return function(*arguments, **named)
    except InputError as error:
        return error


def joined(parts: Iterable[Emotion]) -> list[Emotion]:
    """Parts of a recording, in order -> segments: neighbours with the same label are one."""
    segments: list[Emotion] = []
    for part in parts:
        if not segments or segments[-1].label != part.label:
            segments.append(part)
            continue
        last = segments[-1]
        long, more = last.end - last.start, part.end - part.start
        probs = {
            label: (last.probs[label] * long + part.probs[label] * more) / (long + more)
            for label in part.probs
        }
        segments[-1] = Emotion(part.label, probs, last.start, part.end)
    return segments
