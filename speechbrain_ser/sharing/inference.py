"""Named probabilities for audio files, from a trained model."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.autocast import AMPConfig
from speechbrain.utils.distributed import infer_device
from torch.nn.utils.rnn import pad_sequence

from speechbrain_ser import parallel
from speechbrain_ser.data import decoding
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError, or_error
from speechbrain_ser.models import saved
from speechbrain_ser.models.ensemble import Ensemble
from speechbrain_ser.models.heads import ranges_of
from speechbrain_ser.models.probe import Probe
from speechbrain_ser.sharing import given, onnx
from speechbrain_ser.sharing.emotions import Emotion, chosen_of, named
from speechbrain_ser.sharing.given import Recording, Samples
from speechbrain_ser.sharing.long import LongRecordings

logger = logging.getLogger(__name__)
DEFAULT = Path(__file__).parent / "default"  # the model that the package holds; its card is there


class EmotionRecognizer(Pretrained, LongRecordings):
    """Load a run's best/ folder or a Hub repository, and classify recordings.

    >>> recognizer = EmotionRecognizer.from_hparams("results/fusion/fold1/1000/best")
    >>> recognizer.classify_file("speech.wav").label
    """

    HPARAMS_NEEDED = ["labels", "reader"]
    MODULES_NEEDED = ["model"]
    unsure_below = 0.0
    chosen: list[int] | None = None  # classes that may be answered; None: all
    ranges: Mapping[str, tuple[float, float]] = {}  # number that it answers -> lowest, highest
    members_read: Sequence[SpeechReader] = ()  # what the members of an ensemble read it with

    @classmethod
    def from_hparams(
        cls,
        source: str | Path = DEFAULT,
        savedir: str | Path | None = None,
        run_opts: dict | None = None,
        unsure_below: float | None = None,
        labels: Sequence[str] | None = None,
    ) -> "EmotionRecognizer":
        """source: a best/ folder, hub id or export; run_opts: {"device": "cuda:0"}, for instance.

        source : an export is an .onnx file, or the folder of `ser export`, of which the float32
            file is taken; none is the package's own model, see the card in DEFAULT
        savedir : where a Hub repository is kept; None: in huggingface_hub's cache
        run_opts : SpeechBrain's; of them a device, and a precision of the network: fp32, bf16
            (autocast: faster on a processor that has it, with its rounding) or, on a GPU, fp16
        unsure_below : a label whose probability is lower is "unsure"; None: what was chosen on the
            model's validation, if anything was, but not for some of its labels; 0: never
        labels : of the model's, those that may be answered, as if it knew no others

        Raises InputError for a folder that is no model, is broken, would do more than classify, or
        names no emotions (a speaker network), for a device or precision that is not there, for an
        unsure_below that is no probability, and for labels that are not the model's.
        """
        if unsure_below is not None and not 0 <= unsure_below <= 1:
            raise InputError(f"unsure_below is {unsure_below}: give a probability, 0 to 1")
        device = (run_opts or {}).get("device") or infer_device()
        precision = (run_opts or {}).get("precision") or "fp32"
        parallel.refuse_device(device)
        parallel.refuse_precision("precision", precision, device)
        if graph := onnx.graph_of(source):
            if precision != "fp32":
                raise InputError(
                    f"{graph} computes as it was exported: precision {precision} is for a model's "
                    "own folder"
                )
            parts = onnx.load(graph)
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
        own = parts.pop("unsure_below", None)
        chosen = None if labels is None else chosen_of(parts["labels"], labels)
        if chosen is not None:
            parts["labels"], own = [parts["labels"][number] for number in chosen], None
        recognizer = cls(modules={"model": parts["model"]}, hparams=parts, run_opts=run_opts)
        for encoder in saved.encoders_in(parts["model"]) if graph is None else ():
            encoder.settle(AMPConfig.from_name(precision).dtype)
        recognizer.unsure_below = (own or 0.0) if unsure_below is None else unsure_below
        recognizer.chosen, recognizer.ranges = chosen, ranges_of(parts["model"])
        if isinstance(parts["model"], Ensemble):
            recognizer.members_read = [one.reader for one in parts["model"].members.values()]
        return recognizer

    def enrol(self, recordings: Recording | Iterable[Recording]) -> None:
        """Recordings of the speaker who follows, for a model that normalises by speaker.

        Their labels do not matter; the more of the speaker's range they hold the better. None of
        them ([]) goes back to the training's statistics. Raises InputError for other models.
        """
        if not isinstance(self.mods.model, Probe):
            raise InputError("this model does not normalise by speaker: no enrolment is used")
        with given.Spool() as spool, self.inference_ctx:
            paths = [spool.path(recording) for recording in given.listed(recordings)]
            self.mods.model.enrol([self.hparams.reader(path).to(self.device) for path in paths])

    @property
    def labels(self) -> list[str]:
        """What may be answered, in the order of classify_batch's probabilities."""
        return list(self.hparams.labels)

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

        The answer is that of classify_file for the same audio; its label is None where what the
        model hears of it is silent. Raises InputError for a bad recording.
        """
        if rate is None:
            return self.classify_files([recording])[0]
        samples = given.channels(recording, rate)  # [channel, time]
        speech = self.hparams.reader.hear(samples, int(rate), given.NAMELESS)
        (probs,) = self._probs_or_none([self._heard(speech, given.NAMELESS)])
        return self._name(probs, given.NAMELESS, end=samples.shape[1] / rate)

    def classify_file(self, path: Recording) -> Emotion:
        """One file, of any format that libsndfile reads, any rate, any channels."""
        return self.classify_files([path])[0]

    def classify_files(
        self, paths: Recording | Iterable[Recording | Samples], batch_size: int | None = None
    ) -> list[Emotion]:
        """Any number of files, batched by length; results in the order of the paths.

        paths : one alone is a list of one; what classify takes, but samples
        batch_size : None is 8 on CUDA and 1 on a CPU, where 8 save a fifth to a third of the time
            of many files, but not of an export

        A file's result does not depend on the others; of what is silent where the model hears it
        (its window of a file that is longer) the label is None. Raises InputError for the first
        bad file.
        """
        results = dict(self.each(paths, batch_size))
        emotions: list[Emotion] = []
        for position in range(len(results)):
            result = results[position]
            if isinstance(result, InputError):
                raise result
            emotions.append(result)
        return emotions

    def each(
        self,
        paths: Recording | Iterable[Recording | Samples],
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
                    seconds[position] = decoding.duration(files[position])
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
        order = sorted(seconds, key=seconds.__getitem__)
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
                rows = self._probs_or_none([speech[i] for i in good])
                for position, probs in zip(good, rows, strict=True):
                    end = seconds[position]
                    yield position, or_error(self._name, probs, files[position], end=end)

    def _checked(self, batch_size: int | None) -> int:
        """InputError for a size that is no number of files."""
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: at least 1 is needed")
        return batch_size or self.batch_size

    def _read(self, path: str | Path) -> torch.Tensor | None:
        self._refuse_long_file(path)
        return self._heard(self.hparams.reader.hear(path), path)

    def _heard(self, speech: torch.Tensor | None, path: str | Path) -> torch.Tensor | None:
        """The reader's speech [time], or None of silence, be it what one of several members hears.

        Raises InputError for more of it than the model reads at once.
        """
        if speech is None:
            return None
        whole, rate, name = self._whole(speech, path), self.hparams.reader.sample_rate, str(path)
        silent = any(reader.hear(whole, rate, name) is None for reader in self.members_read)
        return None if silent else whole

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
                path = spool.path(recording)
                self._refuse_long_file(path)
                speech = self._whole(self.hparams.reader(path), path).unsqueeze(0)  # [1, time]
                with self.inference_ctx:
                    rows.append(model.embed(speech.to(self.device), alone).float().cpu())
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

        Behind them stand the numbers that the model answers, see `ranges`.

        lens : None where no row is padded
        """
        lens = torch.ones(len(speech)) if lens is None else lens
        with self.inference_ctx:
            logits = self.mods.model(speech.to(self.device), lens.to(self.device)).float()
        head = self.mods.model.head
        values = [head.values(logits)] if self.ranges else []
        if self.chosen is None:
            return torch.cat([head.probs(logits), *values], dim=1).cpu()
        # in double precision: the others may have left them next to nothing
        probs = head.probs(logits.double())[:, self.chosen].clamp(min=1e-300)
        probs = (probs / probs.sum(dim=1, keepdim=True)).float()
        return torch.cat([probs, *values], dim=1).cpu()

    def _name(
        self, probs: list[float] | None, path: str | Path, start: float = 0.0, end: float = 0.0
    ) -> Emotion:
        """The emotion of probabilities, of none (silence) one without a label."""
        if not probs:
            return Emotion(None, {}, start, end)
        labels, numbers = self.hparams.labels, list(self.ranges)
        return named(probs, labels, path, start, end, self.unsure_below, numbers)
