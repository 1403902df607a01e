"""SpeechBrain's training loop, made exact and made for several processes."""

import inspect
import logging
import math
import time

import speechbrain as sb
import torch

from speechbrain_ser import parallel
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)
MINUTE = 60.0  # seconds


class Loop(sb.Brain):
    """A sb.Brain that drops no update, averages losses over utterances and shares batches.

    It says how far it is. `train_sampler` gives an epoch's batches.
    """

    evaluated = 0  # utterances of this stage; in training 0

    def evaluate_batch(self, batch, stage):
        self.evaluated += (last := len(batch.id))
        self.last_share = last / self.evaluated
        return super().evaluate_batch(batch, stage)

    def on_stage_start(self, stage, epoch=None):
        if stage != sb.Stage.TRAIN and parallel.size() > 1:
            parallel.same_buffers(self.modules)
        self.evaluated = 0

    def on_fit_start(self):
        super().on_fit_start()
        epochs = self.hparams.epochs
        self.told = time.monotonic()
        if epochs.current and parallel.is_first():
            so_far = (epochs.current, epochs.limit)
            if epochs.has_stopped:
                logger.info("Early stopping ended this run after epoch %s of %s", *so_far)
            else:
                logger.info("This run goes on after epoch %s of %s", *so_far)

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Where no bar shows how far an epoch has come, a line each minute does."""
        last = self.step == len(self.train_sampler)
        if last and not should_step:  # SpeechBrain would drop an epoch's incomplete accumulation
            self.optimizers_step()
        if self.noprogressbar and parallel.is_first() and time.monotonic() - self.told >= MINUTE:
            self.told = time.monotonic()
            position = (self.hparams.epochs.current, self.step, len(self.train_sampler))
            logger.info("epoch %s, batch %s of %s", *position)

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

    def update_average(self, loss, avg_loss):
        """The running mean, in evaluation over utterances; SpeechBrain's is over batches.

        SpeechBrain's also leaves out what is not finite, and begins with 0.
        """
        loss = float(loss)
        if not self.evaluated and not math.isfinite(loss):
            self.nonfinite_count += 1
            if self.nonfinite_count > self.nonfinite_patience:
                raise InputError(self.not_finite())
            logger.warning("batch %d of this epoch has a loss of %s", self.step, loss)
        share = self.last_share if self.evaluated else 1 / self.step
        return avg_loss + (loss - avg_loss) * share

    def refuse_not_finite(self, losses: list[float]) -> None:
        """Raise InputError after an epoch without a finite loss, and after the second with some.

        losses : of the epochs so far, this one's last; that of one with a NaN in it is NaN
        """
        again = len(losses) > 1 and not any(map(math.isfinite, losses[-2:]))
        if self.nonfinite_count and (again or self.nonfinite_count >= self.step):
            raise InputError(self.not_finite())

    def not_finite(self) -> str:
        """Which epoch's loss is no number, and what helps."""
        others = "" if self.precision == "fp32" else ", or with --precision fp32"
        return (
            f"epoch {self.hparams.epochs.current}: the training loss is NaN or infinite in "
            f"{self.nonfinite_count} of its first {self.step} batches: train a new --variant with "
            f"a smaller --lr (here {self.hparams.lr:g}) or --max_grad_norm (here "
            f"{self.max_grad_norm:g}){others}"
        )

    def mean_loss(self, own: float) -> float:
        """A stage's loss over the utterances of all processes, from each one's own mean.

        In training every process has as many batches: the mean of the means.
        """
        shares = parallel.gather((float(own), self.evaluated))
        if not any(count for _, count in shares):
            return sum(loss for loss, _ in shares) / len(shares)
        total = sum(count for _, count in shares)
        return sum(loss * count for loss, count in shares if count) / total

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
