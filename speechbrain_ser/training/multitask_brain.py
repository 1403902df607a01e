"""One encoder trained for several tasks (Gao 2023)."""

import logging
import math
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace

import torch
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.decoders.ctc import ctc_greedy_decode
from speechbrain.nnet.losses import ctc_loss
from speechbrain.utils.metric_stats import ErrorRateStats
from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser import parallel
from speechbrain_ser.data import targets as kinds
from speechbrain_ser.data.datasets import make_dataset
from speechbrain_ser.data.targets import UNKNOWN
from speechbrain_ser.data.text import BLANK
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import metrics
from speechbrain_ser.training.brain import SerBrain

logger = logging.getLogger(__name__)


class MultitaskBrain(SerBrain):
    """A loss and scores per task; a recipe's script weighs the losses."""

    knows_shares = True

    @staticmethod
    def corpus_settings(settings, parts):
        """What a tokenizer takes from the training part's transcripts.

        Raises InputError for a task of which the training part has no label: it would train
        nothing, at a loss of zero.
        """
        for task in settings["tasks"]:
            labels = {
                entry["words" if task == "asr" else task] for entry in parts["train"].values()
            }
            named = labels if task == "asr" else kinds.labels_of(settings["targets"][task])
            if not (labels - {""}) & {*named}:
                what = "transcripts" if task == "asr" else f"{task} labels"
                others = [name for name in settings["tasks"] if name != task]
                raise InputError(
                    f"{settings['corpus']['name']} has no {what}, from which the task {task} could "
                    f"learn: leave it out, --tasks '[{', '.join(others)}]', or take a corpus with "
                    "them"
                )
        if "asr" not in settings["tasks"]:
            return {}
        words = [entry["words"] for entry in parts["train"].values()]
        tokenizer = hp.build({"tokenizer": settings["tokenizer"]})["tokenizer"]
        return {"tokenizer": tokenizer.trained_on(words)}

    @property
    def labels(self):
        tasks = self.modules.model.heads
        return list(self.targets["emotion"].labels) if "emotion" in tasks else []

    def make_datasets(self, parts: Mapping[str, Mapping[str, dict]]) -> dict:
        """Items hold the transcript, too, if one of the tasks is ASR."""
        self.too_long: set[str] = set()  # utterances of more tokens than frames
        if "asr" in self.modules.model.heads:
            words = [entry["words"] for entries in parts.values() for entry in entries.values()]
            if unknown := self.modules.model.heads["asr"].tokenizer.unknown(words):
                logger.warning("transcripts hold %s, unknown to the tokenizer: <unk>", unknown)
            self.tell_cut(parts)
        datasets = super().make_datasets(parts)
        return {part: self.with_tokens(dataset) for part, dataset in datasets.items()}

    @property
    def longest(self) -> float:
        """Seconds above which the reader cuts a recording, and not its transcript."""
        longest = self.hparams.reader.max_seconds
        return math.inf if longest is None else longest

    def tell_cut(self, parts) -> None:
        """Log how many recordings with a transcript are cut."""
        counts = {
            part: sum(e["duration"] > self.longest and e["words"] != "" for e in entries.values())
            for part, entries in parts.items()
        }
        if any(counts.values()):
            logger.warning(
                "%d training and %d test recordings are longer than max_seconds, %g, and cut: in "
                "training they have no ASR loss, in the test all their words count",
                counts["train"],
                counts["test"],
                self.longest,
            )

    def with_tokens(self, dataset):
        if "asr" not in self.modules.model.heads:
            return dataset
        made = partial(_tokens, self.modules.model.heads["asr"].tokenizer, self.longest)
        takes, provides = ["words", "duration"], ["tokens", "token_count"]
        dataset.add_dynamic_item(made, takes=takes, provides=provides)
        kept = dataset.pipeline.output_mapping
        dataset.set_output_keys([*kept, "words", *provides])
        return dataset

    def compute_forward(self, batch, stage):
        """batch -> tasks, the outputs of each, embedding [batch, dim] and frame counts [batch].

        Those of emotion are the logits, too, with numbers beside them.
        """
        model = self.modules.model
        layers, counts = self.encoded(batch)
        embedding = model.pool(layers, counts)
        tasks = model.task_logits(layers, counts, embedding)
        logits = tasks.get("emotion")
        return SimpleNamespace(logits=logits, tasks=tasks, embedding=embedding, counts=counts)

    def losses(self, outputs, batch) -> dict[str, torch.Tensor]:
        """task -> its loss."""
        return {task: self.loss_of(task, outputs, batch) for task in outputs.tasks}

    def targets_of(self, batch):
        if "emotion" not in self.modules.model.heads:
            raise InputError(
                f"{self.hparams.experiment} learns no emotions that a contrastive loss could "
                "compare: leave contrastive at null"
            )
        return batch.emotion_id

    def loss_of(self, task: str, outputs: SimpleNamespace, batch) -> torch.Tensor:
        """Mean cross-entropy over what is known of the task, or CTC; float32 in any precision."""
        logits = (outputs.logits if task == "emotion" else outputs.tasks[task]).float()
        if task == "asr":
            return self.ctc(logits, outputs.counts, batch)
        targets = self.wanted(batch) if task == "emotion" else getattr(batch, f"{task}_id")
        if targets.is_floating_point():  # shares, which are known of every utterance
            return nn.functional.cross_entropy(logits, targets)
        total = nn.functional.cross_entropy(logits, targets, ignore_index=UNKNOWN, reduction="sum")
        return total / (targets != UNKNOWN).sum().clamp(min=1)

    def ctc(self, logits: torch.Tensor, frames: torch.Tensor, batch) -> torch.Tensor:
        """CTC over utterances with words that fit into their frames; others are left out."""
        tokens, counts = batch.tokens.data, batch.token_count  # [batch, token], [batch]
        within = torch.arange(1, tokens.shape[1], device=counts.device) < counts.unsqueeze(1)
        repeats = ((tokens[:, 1:] == tokens[:, :-1]) & within).sum(dim=1)  # a blank between each
        fits = counts + repeats <= frames
        # one question to a GPU, and rows by number: a mask would ask anew at each use
        of_rows = zip(batch.id, *torch.stack([fits, counts > 0]).tolist(), strict=True)
        used = []
        for row, (utt_id, known, has_words) in enumerate(of_rows):
            if not known and utt_id not in self.too_long:
                self.too_long.add(utt_id)
                logger.warning("%s has more tokens than frames: no ASR loss for it", utt_id)
            if known and has_words:
                used.append(row)
        if not used:
            return logits.sum() * 0
        return ctc_loss(
            logits[used].log_softmax(dim=2),
            tokens[used],
            frames[used] / logits.shape[1],
            counts[used] / tokens.shape[1],
            BLANK,
            self.hparams.ctc_reduction,
        )

    def on_stage_start(self, stage, epoch=None) -> None:
        super().on_stage_start(stage, epoch)
        self.rows: dict[str, dict] = {}  # utt_id -> what else was recognised
        self.error_rate = ErrorRateStats()

    def gather(self):
        super().gather()
        for own in parallel.gather(self.rows):
            self.rows |= own
        for key in ("ids", "scores"):
            shares = parallel.gather(getattr(self.error_rate, key))
            setattr(self.error_rate, key, [item for own in shares for item in own])

    def record(self, outputs, batch):
        for utt_id in batch.id:
            self.rows[utt_id] = {}
        for task, logits in outputs.tasks.items():
            if task == "emotion":
                super().record(outputs, batch)
            elif task == "asr":
                self.record_words(logits, outputs.counts, batch)
            else:
                names = self.hparams.targets[task]
                targets = getattr(batch, f"{task}_id").tolist()
                predictions = logits.argmax(dim=1).tolist()
                for utt_id, target, prediction in zip(batch.id, targets, predictions, strict=True):
                    self.rows[utt_id] |= {
                        f"{task}_target": names[target] if target != UNKNOWN else "",
                        f"{task}_prediction": names[prediction],
                    }

    def record_words(self, logits: torch.Tensor, frames: torch.Tensor, batch) -> None:
        """Greedy decoding; utterances without words have no word error rate."""
        tokenizer = self.modules.model.heads["asr"].tokenizer
        decoded = ctc_greedy_decode(logits.float(), frames / logits.shape[1], BLANK)
        hypotheses = [tokenizer.decode(tokens) for tokens in decoded]
        for utt_id, reference, hypothesis in zip(batch.id, batch.words, hypotheses, strict=True):
            self.rows[utt_id] |= {"reference": reference, "hypothesis": hypothesis}
            if reference:
                self.error_rate.append([utt_id], [hypothesis.split()], [reference.split()])

    def score(self):
        tasks = self.modules.model.heads
        scores = super().score() if "emotion" in tasks else {}
        for task in tasks:
            if task == "asr" and self.error_rate.scores:
                scores["WER"] = self.error_rate.summarize("WER")
                scores |= self.error_rates_by_sentence()
            elif task not in ("asr", "emotion"):
                names = self.hparams.targets[task]
                known = [row for row in self.rows.values() if row[f"{task}_target"]]
                if known:
                    numbers = [
                        [names.index(row[f"{task}_{column}"]) for row in known]
                        for column in ("target", "prediction")
                    ]
                    own = metrics.score(*numbers, names)
                    scores |= {f"{name}_{task}": own[name] for name in ("WA", "UA")}
        return scores

    def error_rates_by_sentence(self) -> dict[str, float]:
        """The error rate of sentences that training said, too, and of others: {} without both."""
        trained = {entry["words"] for entry in self.parts["train"].values()}
        rates = {"WER_known": ErrorRateStats(), "WER_new": ErrorRateStats()}
        for row in self.rows.values():
            if row["reference"]:
                rate = rates["WER_known" if row["reference"] in trained else "WER_new"]
                rate.append([""], [row["hypothesis"].split()], [row["reference"].split()])
        if not all(rate.scores for rate in rates.values()):
            return {}
        return {name: rate.summarize("WER") for name, rate in rates.items()}

    def predictions(self):
        if "emotion" not in self.modules.model.heads:
            return [{"id": utt_id} | row for utt_id, row in self.rows.items()]
        return [row | self.rows[row["id"]] for row in super().predictions()]

    def epoch_facts(self):
        return self.gradient_conflict() if self.hparams.log_gradient_conflict else {}

    @torch.enable_grad()
    def gradient_conflict(self) -> dict[str, float]:
        """Cosine between the gradients of the emotion loss and of each other task's loss.

        At the encoder's trained parameters, on the same few training utterances after each epoch,
        without dropout; a reversed gradient counts as reversed. Training does not notice it.
        """
        model = self.modules.model
        shared = [p for p in model.encoder.parameters() if p.requires_grad]
        if "emotion" not in model.heads or not shared:
            raise InputError(
                "log_gradient_conflict compares with emotion in a trained encoder: add emotion to "
                "tasks, and freeze less"
            )
        if not hasattr(self, "fixed_batch"):
            entries = dict(list(self.parts["train"].items())[: self.hparams.batch_size])
            dataset = make_dataset(entries, self.hparams.reader, self.hparams.targets)
            self.fixed_batch = PaddedBatch(list(self.with_tokens(dataset))).to(self.device)
        outputs = self.compute_forward(self.fixed_batch, Stage.VALID)
        gradients = {}
        for task in outputs.tasks:
            loss = self.loss_of(task, self.of_classes(outputs), self.fixed_batch)
            own = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
            gradients[task] = torch.cat(
                [
                    (g if g is not None else torch.zeros_like(p)).flatten()
                    for g, p in zip(own, shared, strict=True)
                ]
            )
        emotion = gradients.pop("emotion")
        return {
            f"cosine_{task}": nn.functional.cosine_similarity(emotion, gradient, dim=0).item()
            for task, gradient in gradients.items()
        }

    def facts(self):
        kept = [
            {key: value for key, value in row.items() if key == "epoch" or "cosine" in key}
            for row in self.hparams.epochs.history
        ]
        return {"gradient_conflict": kept} if self.hparams.log_gradient_conflict else {}


def _tokens(tokenizer, longest: float, words: str, duration: float):
    """The transcript's tokens and their number: none of a recording that is cut."""
    tokens = tokenizer.encode(words) if words and duration <= longest else []
    yield torch.tensor(tokens or [BLANK])  # a batch needs something to pad
    yield len(tokens)
