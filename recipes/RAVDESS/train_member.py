"""Gavali & Verma: one of six fine-tuned encoders on RAVDESS (Tables 4 to 6).

    python recipes/RAVDESS/train_member.py hparams/member.yaml --data_folder PATH --fold 1

Encoder -> mean over time -> two dense layers -> 8 emotions. The paper reports accuracies of 90 to
93 by a random split in which every actor is known from training; by actor, our default, expect far
less. evaluate_ensemble.py lets trained members vote. Without data: a trial on synthesised speech.
"""

from torch.nn.functional import cross_entropy

from speechbrain_ser.brain import SerBrain
from speechbrain_ser.experiment import run


class MemberBrain(SerBrain):
    """Cross-entropy; the paper counts updates, so an epoch here is a number of them."""

    @staticmethod
    def fill(settings, parts):
        """The updates of all passes, and the epochs that they make."""
        batches = -(-len(parts["train"]) // settings["batch_size"])
        updates = settings["passes"] * batches // settings["grad_accumulation_factor"]
        epochs = settings["max_epochs"] or max(1, updates // settings["updates_per_epoch"])
        return {"updates": updates, "max_epochs": epochs}

    def on_fit_batch_start(self, batch, should_step):
        """The learning rate falls in a line to 0 over the updates."""
        super().on_fit_batch_start(batch, should_step)
        hparams = self.hparams
        done = (hparams.epochs.current - 1) * hparams.updates_per_epoch
        done += (self.step - 1) // self.grad_accumulation_factor
        self.epoch_lr = hparams.lr * max(0, 1 - done / hparams.updates)
        for group in self.optimizer.param_groups:
            group["lr"] = self.epoch_lr

    def compute_objectives(self, logits, batch, stage):
        self.record(batch, logits, batch.emotion_id, stage)
        loss = cross_entropy(logits, batch.emotion_id)
        return self.add_contrastive(loss, batch, stage)


if __name__ == "__main__":
    run(MemberBrain)
