"""What every recipe's Brain shares: evaluation records, stopping, choosing and keeping the best."""

import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedData
from speechbrain.utils.checkpoints import torch_recovery

from speechbrain_ser import cache, loggers, metrics, parallel
from speechbrain_ser.audio import standardise
from speechbrain_ser.checkpoints import importance, naming
from speechbrain_ser.data import make_dataset
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.padding import num_samples

logger = logging.getLogger(__name__)


class SerBrain(sb.Brain):
    """A Brain that classifies utterances.

    A recipe's subclass states the loss in compute_objectives and calls `record` there; the rest
    is the same for every paper. `modules.model` takes (speech, lens); hparams hold `lr`,
    `lr_decay`, `select_by`, `targets` and `seed`.
    """

    def speech_of(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        """batch -> speech [batch, time], lens [batch], on the device."""
        batch = batch.to(self.device, non_blocking=True)
        return batch.speech.data, batch.speech.lengths

    @staticmethod
    def phases(settings: Mapping) -> Mapping[str, Mapping]:
        """The earlier runs that this one starts from, see speechbrain_ser.phases."""
        return settings["phases"]

    @staticmethod
    def place(settings: Mapping, found: Mapping[str, Mapping]) -> dict:
        """Overrides that put the phases' models where the yaml has room for them.

        found : phase -> its {labels, reader, model}
        """
        return {name: description["model"] for name, description in found.items()}

    @staticmethod
    def placed(hparams: Mapping) -> Mapping[str, torch.nn.Module]:
        """phase -> the network, built, that is to take its weights."""
        return hparams

    @staticmethod
    def fill(settings: Mapping, parts: Mapping[str, Mapping[str, dict]]) -> dict:
        """Settings that only the corpus can tell, as overrides."""
        return {}

    def exported(self, settings: Mapping) -> Mapping:
        """The settings of the finished model, for best/."""
        return settings

    @property
    def labels(self) -> list[str]:
        """What the model names: the values of the main target."""
        return list(next(iter(self.hparams.targets.values())))

    def make_datasets(self, parts: Mapping[str, Mapping[str, dict]]) -> dict:
        """part -> the items of its utterances, see data.make_dataset.

        With `cache` training and validation read what the encoder's frozen part made of a
        recording. Raises InputError for a reader of another sampling rate than the networks'.
        """
        reader, targets = self.hparams.reader, self.hparams.targets
        for module in self.modules.modules():
            needed = getattr(module, "sample_rate", reader.sample_rate)
            if needed != reader.sample_rate:
                raise InputError(
                    f"the reader's sample_rate is {reader.sample_rate}, but "
                    f"{type(module).__name__} needs {needed}: make the two equal"
                )
        reader.raw_in_training = self.hparams.augment is not None
        readers = dict.fromkeys(parts, reader)
        if self.hparams.cache is not None:
            frozen = cache.FrozenPart(cache.encoder_of(self.modules.model))
            readers["train"] = readers["valid"] = self.stored(frozen, parts)
        return {
            part: make_dataset(entries, readers[part], targets, training=part == "train")
            for part, entries in parts.items()
        }

    def stored(self, frontend: torch.nn.Module, parts: Mapping) -> cache.StoredReader:
        """The reader of what a frozen network makes of training and validation recordings."""
        progress = not self.noprogressbar
        return cache.filled(frontend, self.hparams, parts, self.device, progress)

    def facts(self) -> dict:
        """What results.json says of this method beside the scores."""
        return {}

    def compute_forward(self, batch, stage):
        return self.modules.model(*self.speech_of(batch))

    def record(self, batch, logits: torch.Tensor, targets: torch.Tensor, stage: sb.Stage) -> None:
        """Keep a batch's logits [batch, class] and targets [batch] for on_stage_end to score."""
        if stage != sb.Stage.TRAIN:
            self.records["id"].extend(batch.id)
            self.records["target"].extend(targets.tolist())
            self.records["logits"].append(logits.detach().float().cpu())

    def gather(self) -> None:
        """Put the processes' records together."""
        for key in self.records:
            found = parallel.gather(self.records[key])
            self.records[key] = [item for own in found for item in own]

    def evaluate_batch(self, batch, stage):
        self.evaluated += (last := len(batch.id))
        self.last_share = last / self.evaluated
        return super().evaluate_batch(batch, stage)

    def on_stage_start(self, stage, epoch=None):
        self.records = {"id": [], "target": [], "logits": []}
        if stage != sb.Stage.TRAIN and parallel.size() > 1:
            parallel.same_buffers(self.modules)
        self.evaluated = 0  # utterances
        self.stage_began = time.monotonic()
        if stage == sb.Stage.TRAIN:
            # an epoch's randomness depends on its number alone, so that a resumed run repeats it
            seed = self.hparams.seed + epoch + 1_000_003 * parallel.rank()
            sb.utils.seed_everything(seed, verbose=False)
            self.hparams.reader.epoch = self.hparams.seed + epoch
            self.epoch_lr = self.hparams.lr * self.hparams.lr_decay ** (epoch - 1)
            self.epoch_lr *= warmed_up(epoch, self.hparams.epochs.limit, self.hparams.warm_up)
            losses = [row["valid_loss"] for row in self.hparams.epochs.history]
            self.epoch_lr *= self.hparams.plateau_factor ** plateaus(losses, self.hparams.plateau)
            for group in self.optimizer.param_groups:
                group["lr"] = self.epoch_lr

    def _wrap_distributed(self):
        """No wrapper: recipes call other methods of a model than its forward, too.

        Between processes the gradients are averaged in optimizers_step.
        """

    def optimizers_step(self):
        if parallel.size() > 1:
            parallel.average_gradients(self.modules.parameters())
        super().optimizers_step()

    def check_gradients(self):
        """As SpeechBrain's, which asks a GPU about every parameter: here once for all of them."""
        gradients = [p.grad for p in self.modules.parameters() if p.grad is not None]
        if gradients:
            norms = torch.stack([norm.float() for norm in torch._foreach_norm(gradients)])
            if not norms.isfinite().all():
                super().check_gradients()

    def check_loss_isfinite(self, loss):
        """Not here, where the forward pass would be waited for, but in update_average."""

    def shared(self, objectives: Callable) -> Callable:
        """compute_objectives, in training with the weight of this process's share of the batch."""

        def weighted(outputs, batch, stage):
            loss = objectives(outputs, batch, stage)
            return loss * self.shares.weight(self.step) if stage == sb.Stage.TRAIN else loss

        return weighted

    def on_fit_start(self):
        super().on_fit_start()
        if parallel.size() > 1:
            self.compute_objectives = self.shared(self.compute_objectives)
        if self.hparams.logger is not None:
            self.hparams.logger.begin(
                Path(self.hparams.output_folder), self.settings, self.hparams.epochs.history
            )
        if "contrastive" in self.modules:  # what the head reads is the embedding
            self.modules.model.head.register_forward_pre_hook(self.keep_embedding)

    def keep_embedding(self, head, inputs):
        self.embedding = inputs[0]  # [batch, dim]

    def contrastive(self, targets: torch.Tensor) -> torch.Tensor:
        """The contrastive loss of the batch that the model has just seen; targets [batch]."""
        embedding, self.embedding = self.embedding, None
        return self.modules.contrastive(embedding, targets)

    def add_contrastive(self, loss: torch.Tensor, batch, stage: sb.Stage) -> torch.Tensor:
        """In training, and where the yaml names a contrastive loss: the two weighted together."""
        if stage != sb.Stage.TRAIN or "contrastive" not in self.modules:
            return loss
        weight = self.hparams.contrastive_weight
        return (1 - weight) * loss + weight * self.contrastive(batch.emotion_id)

    def on_fit_batch_start(self, batch, should_step):
        """The second half of a batch of two views (data.TwoViews) is augmented."""
        if self.hparams.augment is None:
            return
        reader = self.hparams.reader
        speech, lens = self.speech_of(batch)
        half = len(speech) // 2
        seeds = [f"{reader.epoch} {utt_id}" for utt_id in batch.id[half:]]
        views = self.hparams.augment(speech[half:], lens[half:], seeds)
        speech = torch.cat([speech[:half], views])  # [2 batch, time]
        if reader.normalise:
            for item, samples in enumerate(num_samples(speech, lens).tolist()):
                speech[item, :samples] = standardise(speech[item, :samples])
        batch.speech = PaddedData(speech, lens)

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        if "contrastive" in self.modules and self.embedding is not None:
            raise InputError(
                f"{self.hparams.experiment} has no place for a contrastive loss: leave contrastive "
                "at null"
            )
        last = self.step == len(self.train_sampler)
        if last and not should_step:  # SpeechBrain would drop an epoch's incomplete accumulation
            self.optimizers_step()

    def update_average(self, loss, avg_loss):
        """The running mean, in evaluation over utterances; SpeechBrain's is over batches.

        SpeechBrain's also leaves out what is not finite, and begins with 0.
        """
        if not self.evaluated:
            super().check_loss_isfinite(loss)
        share = self.last_share if self.evaluated else 1 / self.step
        return avg_loss + (float(loss) - avg_loss) * share

    def init_optimizers(self):
        """One group of all trained parameters: SpeechBrain clips the first group only.

        An optimiser that can be fused is, unless the yaml says `fused: False`.
        """
        trained = [p for p in self.modules.parameters() if p.requires_grad]
        offered = inspect.signature(self.opt_class).parameters
        chosen = {"fused": True} if "fused" in offered and offered["fused"].default is None else {}
        self.optimizer = self.opt_class(trained, lr=self.hparams.lr, **chosen)
        self.optimizers_dict = {"optimizer": self.optimizer}
        self.checkpointer.add_recoverable("optimizer", self.optimizer)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        stop = self.hparams.epochs
        stop.seconds += time.monotonic() - self.stage_began
        shares = parallel.gather((float(stage_loss), self.evaluated))
        if stage == sb.Stage.TRAIN:
            self.train_loss = sum(loss for loss, _ in shares) / len(shares)
            return
        if parallel.size() > 1:
            self.gather()
        utterances = sum(count for _, count in shares)
        self.stage_loss = sum(loss * count for loss, count in shares if count) / utterances
        self.scores = self.score()
        if stage == sb.Stage.VALID:
            stop.update(epoch, self.stage_loss)  # first: the checkpoint holds its state
            self.keep(epoch)

    def score(self) -> dict:
        """The scores of what was recorded; WA..., UA... and WER... are logged."""
        self.logits = torch.cat(self.records["logits"])  # [utterance, class]
        predictions = self.logits.argmax(dim=1).tolist()
        return metrics.score(self.records["target"], predictions, self.labels)

    def keep(self, epoch: int) -> None:
        """Log the epoch and checkpoint it; the best and the latest checkpoints are kept."""
        row = {
            "epoch": epoch,
            "lr": self.epoch_lr,
            "train_loss": self.train_loss,
            "valid_loss": self.stage_loss,
        }
        watched = (name for name in self.scores if name.startswith(("WA", "UA", "WER")))
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
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, "score": self.selection_score()},
            importance_keys=[importance],
            verbosity=logging.DEBUG,
        )

    def epoch_facts(self) -> dict:
        """What an epoch's row of the log says of this method beside losses and scores."""
        return {}

    def selection_score(self) -> float:
        """Higher is better: the validation's WA, UA, ..., minus its loss or WER, by `select_by`.

        "last" prefers the latest epoch. Raises InputError for what is not measured.
        """
        select_by = self.hparams.select_by
        known = self.scores | {"loss": self.stage_loss, "last": self.hparams.epochs.current}
        if not isinstance(known.get(select_by), int | float):
            names = ", ".join(
                name for name, value in known.items() if isinstance(value, int | float)
            )
            raise InputError(
                f"select_by is {select_by!r}, which is not measured: use one of {names}"
            )
        score = -known[select_by] if select_by in ("loss", "WER") else known[select_by]
        return -math.inf if math.isnan(score) else score

    def predictions(self) -> list[dict]:
        """A row per evaluated utterance: id, target, prediction and a probability per label."""
        labels = self.labels
        probs = self.modules.model.head.probs(self.logits).tolist()
        return [
            {"id": utt_id, "target": labels[target], "prediction": labels[row.index(max(row))]}
            | dict(zip(labels, row, strict=True))
            for utt_id, target, row in zip(
                self.records["id"], self.records["target"], probs, strict=True
            )
        ]

    def on_evaluate_start(self, max_key=None, min_key=None):
        best = self.checkpointer.find_checkpoint(importance_key=importance)
        if best is None:
            raise InputError(f"{self.hparams.output_folder} has no checkpoint to test: train first")
        self.best_epoch = best.meta["epoch"]
        with naming(best):
            torch_recovery(self.modules.model, best.paramfiles["model"], end_of_epoch=True)


def warmed_up(epoch: int, epochs: int, share: float) -> float:
    """The factor of a learning rate that rises over a share of the epochs, then falls to 0.

    epoch counts from 1; the share 0 is a constant factor of 1.
    """
    if share == 0:
        return 1.0
    rising = share * epochs
    return min(epoch / rising, (epochs - epoch + 1) / max(1, epochs - rising))


def plateaus(losses: Sequence[float], patience: int) -> int:
    """How often more than `patience` epochs in a row brought no lower loss; 0 patience: never.

    The count begins anew after each time (PyTorch's ReduceLROnPlateau, without its threshold).
    """
    best, waited, times = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if patience and waited > patience:
            times, waited = times + 1, 0
    return times
