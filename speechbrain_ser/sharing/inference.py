"""Named probabilities for audio files, from a trained model."""

import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained
from torch.nn.utils.rnn import pad_sequence

from speechbrain_ser import parallel
from speechbrain_ser.data import audio, waveforms
from speechbrain_ser.errors import InputError, or_error
from speechbrain_ser.models import saved
from speechbrain_ser.models.probe import Probe
from speechbrain_ser.sharing import given, onnx
from speechbrain_ser.sharing.emotions import Emotion, joined, means, named
from speechbrain_ser.sharing.given import Recording, Samples

logger = logging.getLogger(__name__)
SHORTEST_HOP = 0.01  # seconds
DEFAULT = Path(__file__).parent / "default"  # the model that the package holds; its card is there


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

        Raises InputError for a folder that is no model, is broken, would do more than classify, or
        names no emotions (a speaker network), for a device that is not there, and for an
        unsure_below that is no probability.
        """
        if not 0 <= unsure_below <= 1:
            raise InputError(f"unsure_below is {unsure_below}: give a probability, 0 to 1")
        if device := (run_opts or {}).get("device"):
            parallel.refuse_device(device)
        if str(source).endswith(onnx.ENDING):
            parts = onnx.load(source)
        else:
            source = saved.find(source, savedir)
            saved.refuse_speakers(source, saved.description(source)["labels"])
            parts = saved.load(source)
            parts["model"].head  # noqa: B018 - InputError for a first phase, which knows no emotions
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

    def enrol(self, recordings: Recording | Iterable[Recording]) -> None:
        """Recordings of the speaker who follows, for a model that normalises by speaker.

        Their labels do not matter; the more of the speaker's range they hold the better. None of
        them ([]) goes back to the training's statistics. Raises InputError for other models.
        """
        if not isinstance(self.mods.model, Probe):
            raise InputError("this model does not normalise by speaker: no enrolment is used")
        with given.Spool() as spool:
            paths = [spool.path(recording) for recording in given.listed(recordings)]
            self.mods.model.enrol([self.hparams.reader(path).to(self.device) for path in paths])

    @property
    def batch_size(self) -> int:
        """Of files or windows, where none is given; see BENCHMARKS.md."""
        return 8 if torch.device(self.device).type == "cuda" else 1

    def classify(self, recording: Recording | Samples, rate: int | None = None) -> Emotion:
        """One recording, as a path, a named pipe, bytes, an open file, or samples with their rate.

        recording : bytes are a file's content, not its name; a file is opened with "rb" and read
            from where it stands; samples, numpy's or torch's, are [time], [time, channel] or
            [channel, time], the shorter axis being the channels', floats in [-1, 1], or uint8,
            int16 or int32 as in wav files
        rate : Hz, of samples

        The answer is that of classify_file for the same audio. Raises InputError for a bad
        recording.
        """
        if rate is None:
            return self.classify_files([recording])[0]
        samples = given.channels(recording, rate)  # [channel, time]
        speech = self.hparams.reader.prepare(samples, int(rate), name=given.NAMELESS)
        (probs,) = self._probs([self._whole(speech, given.NAMELESS)])
        return self._name(probs, given.NAMELESS, end=samples.shape[1] / rate)

    def classify_file(self, path: Recording) -> Emotion:
        """One file, of any format that libsndfile reads, any rate, any channels."""
        return self.classify_files([path])[0]

    def classify_files(
        self, paths: Recording | Iterable[Recording], batch_size: int | None = None
    ) -> list[Emotion]:
        """Any number of files, batched by length; results in the order of the paths.

        paths : one alone is a list of one; what classify takes, but samples
        batch_size : None is 8 on CUDA and 1 on a CPU, which a batch makes hardly faster

        A file's result does not depend on the others. Raises InputError for the first bad file.
        """
        results = dict(self.each(paths, batch_size))
        for result in (results[i] for i in range(len(results))):
            if isinstance(result, InputError):
                raise result
        return [results[i] for i in range(len(results))]

    def each(
        self,
        paths: Recording | Iterable[Recording],
        batch_size: int | None = None,
        readers: int = 1,
    ) -> Iterator[tuple[int, Emotion | InputError]]:
        """Position and result of each file, as they are done, short ones first.

        A bad file's result is the InputError that says what is wrong with it. `readers` threads
        read the next batches while one is classified: three batches are in memory, not more.
        """
        batch_size = self._checked(batch_size)
        seconds: dict[int, float] = {}
        files: dict[int, str | Path] = {}
        with given.Spool() as spool:
            for position, recording in enumerate(given.listed(paths)):
                try:
                    files[position] = spool.path(recording)
                    seconds[position] = audio.duration(files[position])
                except InputError as error:
                    yield position, spool.told(error)
            for position, result in self._each(files, seconds, batch_size, readers):
                yield position, spool.told(result)

    def _each(
        self,
        files: Mapping[int, str | Path],
        seconds: Mapping[int, float],
        batch_size: int,
        readers: int,
    ) -> Iterator[tuple[int, Emotion | InputError]]:
        order = sorted(seconds, key=seconds.get)
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        with ThreadPoolExecutor(readers) as pool:
            ahead: deque = deque()
            for number in range(len(batches) + 2):
                if number < len(batches):
                    read = [pool.submit(or_error, self._read, files[i]) for i in batches[number]]
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
                    yield position, or_error(self._name, probs, files[position], end=end)

    def _checked(self, batch_size: int | None) -> int:
        """InputError for a size that is no number of files."""
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: at least 1 is needed")
        return batch_size or self.batch_size

    def _read(self, path: str | Path) -> torch.Tensor:
        return self._whole(self.hparams.reader(path), path)

    def _whole(self, speech: torch.Tensor, path: str | Path) -> torch.Tensor:
        """The reader's speech [time]; InputError for more of it than the model reads at once."""
        most = self.most_samples
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
                yield (
                    self._name(probs, file, start, end) if probs else Emotion(None, {}, start, end)
                )

    def _windows(
        self, path: str | Path, window: float, hop: float
    ) -> Iterator[torch.Tensor | None]:
        """The prepared speech of each window, read one by one; None of silence."""
        for start, samples, rate in audio.windows(path, window, hop):
            speech = waveforms.mono(samples.T, str(path))
            if waveforms.is_silent(speech) or len(speech) < waveforms.SHORTEST * rate:
                yield None
            else:
                name = f"{path} at {start:.1f} s"
                yield self.hparams.reader.prepare(speech, rate, name=name)

    def _probs_or_none(self, speech: list[torch.Tensor | None]) -> list[list[float] | None]:
        heard = iter(self._probs([item for item in speech if item is not None]))
        return [None if item is None else next(heard) for item in speech]

    @torch.no_grad()
    def embed(self, paths: Recording | Iterable[Recording]) -> torch.Tensor:
        """What the head reads of each file: [file, dim].

        Raises InputError for a bad file, and for a model without one embedding (an ensemble).
        """
        model, alone = self.mods.model, torch.ones(1, device=self.device)
        if not hasattr(model, "embed"):
            raise InputError(f"a {type(model).__name__} has no embedding of its own")
        rows = []
        with given.Spool() as spool:
            for recording in given.listed(paths):
                speech = self._read(spool.path(recording)).unsqueeze(0)  # [1, time]
                rows.append(model.embed(speech.to(self.device), alone).cpu())
        if not rows:  # as wide as that of any speech
            noise = torch.rand(1, self.hparams.reader.sample_rate, device=self.device)
            rows.append(model.embed(noise, alone)[:0].cpu())
        return torch.cat(rows)

    def _probs(self, speech: list[torch.Tensor]) -> list[list[float]]:
        """Speech of any lengths -> the probabilities of each."""
        if not speech:
            return []
        lengths = torch.tensor([len(item) for item in speech])
        padded = pad_sequence(speech, batch_first=True)  # [batch, time]
        return self.classify_batch(padded, lengths / lengths.max()).tolist()

    @torch.no_grad()
    def classify_batch(
        self, speech: torch.Tensor, lens: torch.Tensor | None = None
    ) -> torch.Tensor:
        """speech [batch, time] from the reader, lens [batch] in (0, 1] -> probs [batch, class].

        lens : None where no row is padded
        """
        lens = torch.ones(len(speech)) if lens is None else lens
        logits = self.mods.model(speech.to(self.device), lens.to(self.device))
        return self.mods.model.head.probs(logits).cpu()

    def _name(
        self, probs: list[float], path: str | Path, start: float = 0.0, end: float = 0.0
    ) -> Emotion:
        return named(probs, self.hparams.labels, path, start, end, self.unsure_below)
