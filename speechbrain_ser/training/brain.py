"""What every recipe's Brain shares: evaluation records, stopping, choosing and keeping the best."""

import functools
import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedData
from speechbrain.utils.checkpoints import torch_recovery

from speechbrain_ser import hparams as hp
from speechbrain_ser import parallel
from speechbrain_ser.data import augment, seeds
from speechbrain_ser.data import targets as kinds
from speechbrain_ser.data.datasets import make_dataset, replace_speech
from speechbrain_ser.data.frontend import Frontend
from speechbrain_ser.data.lengths import num_samples
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import answers, metrics
from speechbrain_ser.training import cache, checkpoints, loggers, reading
from speechbrain_ser.training.checkpoints import importance, naming
from speechbrain_ser.training.loop import Loop
from speechbrain_ser.training.schedules import Progress

logger = logging.getLogger(__name__)
LOGGED = ("WA", "UA", "WER", "CCC", "KL")  # beginnings of the scores that an epoch tells


class SerBrain(Loop):
    """A Brain that classifies utterances: a recipe's subclass states its paper's `loss`.

    `modules.model` has `encode`, `pool` and `head`, see UtteranceNetwork; hparams are the
    recipe's yaml. The paper's loss is that of the classes, or of annotators' shares of them, if
    it `knows_shares`; the numbers that the head answers beside them have `number_loss`.
    """

    knows_shares = False
    most_answered: dict | None = None  # of the tested epoch's validation, see metrics
    of_validation: Callable | None = None  # tells what is kept of an epoch's, see trust
    validated: Mapping = {}  # what it told of the tested epoch's

    def loss(self, outputs: SimpleNamespace, batch) -> torch.Tensor:
        """The paper's loss: what compute_forward gave, and the batch -> a scalar.

        The logits are those of the classes, [batch, class], without the head's numbers.
        """
        raise NotImplementedError

    def number_loss(self, values, wanted, outputs: SimpleNamespace) -> torch.Tensor:
        """The loss of one number: answers [batch], targets [batch] -> a scalar."""
        return self.hparams.number_criterion(values, wanted)

    def compute_forward(self, batch, stage) -> SimpleNamespace:
        """batch -> logits [batch, class] and the embedding [batch, dim] that the head reads."""
        embedding = self.modules.model.pool(*self.encoded(batch))
        return SimpleNamespace(logits=self.modules.model.head(embedding), embedding=embedding)

    def encoded(self, batch) -> tuple[torch.Tensor, ...]:
        """What the model's encode gives, of the batch's speech or of what is stored of it."""
        batch = batch.to(self.device, non_blocking=True)
        if hasattr(batch, "stored"):
            return self.modules.model.encode_stored(*self.stored_of(batch))
        return self.modules.model.encode(*self.speech_of(batch))

    def speech_of(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        """batch -> speech [batch, time], lens [batch], on the device."""
        batch = batch.to(self.device, non_blocking=True)
        return batch.speech.data, batch.speech.lengths

    def stored_of(self, batch) -> tuple[torch.Tensor, ...]:
        """batch -> what the model's encode_stored takes."""
        return batch.stored.data, num_samples(batch.stored.data, batch.stored.lengths)

    def compute_objectives(self, outputs, batch, stage):
        """The targets' loss; in training with the contrastive one and by this process's share."""
        loss = self.loss_of_targets(outputs, batch)
        if stage != sb.Stage.TRAIN:
            self.record(outputs, batch)
            return loss
        if "contrastive" in self.modules:
            weight = self.hparams.contrastive_weight
            contrastive = self.modules.contrastive(outputs.embedding, self.targets_of(batch))
            loss = (1 - weight) * loss + weight * contrastive  # Wang 2023, eq. 2
        return loss * self.shares.weight(self.step) if parallel.size() > 1 else loss

    def loss_of_targets(self, outputs: SimpleNamespace, batch) -> torch.Tensor:
        """The paper's loss; with numbers, the mean of theirs and of it, if there are classes."""
        numbers = kinds.numbers_of(self.targets)
        if not numbers:
            return self.loss(outputs, batch)
        answers = self.modules.model.head.values(outputs.logits).T  # [number, batch]
        losses = [
            self.number_loss(values, self.wanted(batch, field), outputs)
            for field, values in zip(numbers, answers, strict=True)
        ]
        if self.labels:
            losses.append(self.loss(self.of_classes(outputs), batch))
        return torch.stack(losses).mean()

    def of_classes(self, outputs: SimpleNamespace) -> SimpleNamespace:
        """What compute_forward gave, its logits without the head's numbers."""
        if not kinds.numbers_of(self.targets):
            return outputs
        logits = self.modules.model.head.of_classes(outputs.logits)
        return SimpleNamespace(**vars(outputs) | {"logits": logits})

    @functools.cached_property
    def targets(self) -> dict[str, kinds.Target]:
        """field of the manifest -> what is learned of it, the main target first."""
        return kinds.of(self.hparams.targets)

    def targets_of(self, batch) -> torch.Tensor:
        """batch -> the class numbers of the main target, [batch]. InputError if it is a number."""
        field, target = next(iter(self.targets.items()))
        if target.kind == "numbers":
            raise InputError(f"{field} is a number, which has no classes that could be compared")
        return getattr(batch, f"{field}_id")

    def wanted(self, batch, field: str | None = None) -> torch.Tensor:
        """batch -> what a loss compares with, see data.targets: [batch], or shares [batch, class].

        field : of the target; None: of the main one
        """
        target = self.targets[field] if field else next(iter(self.targets.values()))
        return target.of_batch(batch).to(self.device)

    def record(self, outputs, batch) -> None:
        """Keep a batch's logits and targets for on_stage_end to score."""
        self.records["id"].extend(batch.id)
        for name, rows in answers.wanted(self.targets, batch).items():
            self.records[name].extend(rows)
        self.records["logits"].append(outputs.logits.detach().float().cpu())

    @staticmethod
    def phases(settings: Mapping) -> Mapping[str, Mapping]:
        """The earlier runs that this one starts from, see speechbrain_ser.training.phases."""
        return settings["phases"]

    @staticmethod
    def phase_settings(settings: Mapping, phases: Mapping[str, Mapping]) -> dict:
        """Overrides that put the phases' models into the yaml, by default under the phase's name.

        phases : phase -> its {labels, reader, model}
        """
        return {name: description["model"] for name, description in phases.items()}

    @staticmethod
    def phase_networks(hparams: Mapping) -> Mapping[str, torch.nn.Module]:
        """phase -> the network of this run into which its weights are loaded."""
        return hparams

    @staticmethod
    def corpus_settings(settings: Mapping, parts: Mapping[str, Mapping[str, dict]]) -> dict:
        """Overrides that depend on the corpus, such as a number of utterances."""
        return {}

    def exported(self, settings: Mapping) -> Mapping:
        """The settings of the finished model, for best/."""
        return settings

    @property
    def labels(self) -> list[str]:
        """What the model names: the values of the main target."""
        return list(next(iter(self.targets.values())).labels)

    def make_datasets(self, parts: Mapping[str, Mapping[str, dict]]) -> dict:
        """part -> the items of its utterances, see datasets.make_dataset.

        With `cache` training and validation read what the encoder's frozen part made of a
        recording. Raises InputError for a reader that does not read what the networks need.
        """
        reader, targets = self.hparams.reader, self.hparams.targets
        for module in self.modules.modules():
            reading.check(reader, module, parts)
        reader.raw_in_training = self.hparams.augment is not None
        datasets = {
            part: make_dataset(entries, reader, targets, training=part == "train")
            for part, entries in parts.items()
        }
        if self.hparams.cache is not None:
            frozen = cache.FrozenPart(cache.encoder_of(self.modules.model))
            read = self.stored(frozen, parts)
            for part in ("train", "valid"):
                replace_speech(datasets[part], "stored", read)
        return datasets

    def stored(self, frontend: Frontend, parts: Mapping) -> Callable:
        """path -> what a frozen network makes of that training or validation recording."""
        progress = not self.noprogressbar
        return cache.filled(frontend, self.hparams, parts, self.device, progress)

    def facts(self) -> dict:
        """What results.json says of this method beside the scores."""
        return {}

    def gather(self) -> None:
        """Put the processes' records together."""
        for key in self.records:
            shares = parallel.gather(self.records[key])
            self.records[key] = [item for share in shares for item in share]

    def on_stage_start(self, stage, epoch=None):
        super().on_stage_start(stage, epoch)
        self.records = {"id": [], "target": [], "shares": [], "numbers": [], "logits": []}
        self.stage_began = time.monotonic()
        if stage == sb.Stage.TRAIN:
            # an epoch's randomness depends on its number alone, so that a resumed run repeats it
            seed = self.hparams.seed
            own = seeds.seed_of(seed, epoch, "training", parallel.rank())
            sb.utils.seed_everything(own, verbose=False)
            self.hparams.reader.draw = (seed, epoch)
            self.valid_losses = [row["valid_loss"] for row in self.hparams.epochs.history]

    def on_fit_start(self):
        super().on_fit_start()
        if self.hparams.logger is not None:
            self.hparams.logger.begin(
                Path(self.hparams.output_folder), self.settings, self.hparams.epochs.history
            )

    def on_fit_batch_start(self, batch, should_step):
        """Set the learning rate; augment the second half of a batch of two views."""
        epochs, steps = self.hparams.epochs, self.grad_accumulation_factor
        updates = (epochs.current - 1) * math.ceil(len(self.train_sampler) / steps)
        updates += (self.step - 1) // steps
        progress = Progress(epochs.current, epochs.limit, updates, self.valid_losses)
        self.rate = self.hparams.lr * hp.call("schedule", self.hparams.schedule, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        if self.hparams.augment is not None:
            speech, lens = self.speech_of(batch)
            views = augment.second_views(
                self.hparams.augment, speech, lens, batch.id, self.hparams.reader
            )
            batch.speech = PaddedData(views, lens)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        stop = self.hparams.epochs
        stop.seconds += time.monotonic() - self.stage_began
        loss = self.mean_loss(stage_loss)
        if stage == sb.Stage.TRAIN:
            self.train_loss = loss
            self.refuse_not_finite([*(row["train_loss"] for row in stop.history), loss])
            return
        if parallel.size() > 1:
            self.gather()
        self.stage_loss = loss
        self.scores = self.score()
        if stage == sb.Stage.VALID:
            stop.update(epoch, self.stage_loss)  # first: the checkpoint holds its state
            self.keep(epoch)

    def score(self) -> dict:
        """The scores of what was recorded; those of LOGGED are logged."""
        self.logits = torch.cat(self.records["logits"])  # [utterance, class]
        return answers.score(self.targets, self.records, self.logits, self.modules.model.head)

    def keep(self, epoch: int) -> None:
        """Log the epoch and checkpoint it; the best and the latest checkpoints are kept."""
        row = {
            "epoch": epoch,
            "lr": self.rate,
            "train_loss": self.train_loss,
            "valid_loss": self.stage_loss,
        }
        watched = (name for name in self.scores if name.startswith(LOGGED))
        row |= {f"valid_{name}": self.scores[name] for name in watched} | self.epoch_facts()
        history = self.hparams.epochs.history
        history.append(row)
        line = ", ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
        )
        logger.info(line)
        loggers.write_text(Path(self.hparams.output_folder, "train_log.txt"), history)
        if self.hparams.logger is not None:
            self.hparams.logger.epoch(row)
        score = self.selection_score()
        self.hparams.epochs.scores.append(score)
        most = metrics.most_answered(self.scores) if "confusion" in self.scores else None
        validated = self.of_validation() if self.of_validation else {}
        facts = {"most_answered": most, "validated": validated}
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, "score": score, **facts},
            importance_keys=[importance],
            verbosity=logging.DEBUG,
        )

    def epoch_facts(self) -> dict:
        """What an epoch's row of the log says of this method beside losses and scores."""
        return {}

    def selection_score(self) -> float:
        """Higher is better: the validation's WA, CCC, ..., minus its loss, WER, by `select_by`.

        "last" prefers the latest epoch. Raises InputError for what is not measured.
        """
        known = self.scores | {"loss": self.stage_loss, "last": self.hparams.epochs.current}
        return checkpoints.score(self.hparams.select_by, known)

    def predictions(self) -> list[dict]:
        """A row per evaluated utterance: id, target, prediction and a probability per label."""
        return answers.rows(self.targets, self.records, self.logits, self.modules.model.head)

    def on_evaluate_start(self, max_key=None, min_key=None):
        best = self.checkpointer.find_checkpoint(importance_key=importance)
        if best is None:
            raise InputError(f"{self.hparams.output_folder} has no checkpoint to test: train first")
        self.most_answered = best.meta.get("most_answered")
        self.best_epoch, chosen = best.meta["epoch"], self.hparams.epochs.best_epoch
        if self.best_epoch != (chosen or self.best_epoch):
            raise InputError(
                f"epoch {chosen} was the best, and its checkpoint is no more in "
                f"{self.checkpointer.checkpoints_dir}: testing epoch {self.best_epoch} would give "
                "another result; delete that folder, and the same command trains anew"
            )
        with naming(best.path):
            torch_recovery(self.modules.model, best.paramfiles["model"], end_of_epoch=True)
        self.validated = best.meta.get("validated") or {}
        if "temperature" in self.validated:
            self.modules.model.head.temperature = self.validated["temperature"]
