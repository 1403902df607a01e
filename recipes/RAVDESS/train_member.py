"""Gavali & Verma: one of six fine-tuned encoders on RAVDESS (Tables 4 to 6).

    python recipes/RAVDESS/train_member.py hparams/member.yaml --data_folder PATH --fold 1

Encoder -> mean over time -> two dense layers -> 8 emotions. The paper reports accuracies of 90 to
93 by a random split in which every actor is known from training; by actor, our default, expect far
less. evaluate_ensemble.py lets trained members vote. Without data: a trial on synthesised speech.
"""

from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.experiment import run

from torch.nn.functional import cross_entropy


class MemberBrain(SerBrain):
    """Cross-entropy; the paper counts updates, so an epoch here is a number of them."""

    knows_shares = True

    @staticmethod
    def corpus_settings(settings, parts):
        """The updates of all passes, and the epochs that they make."""
        batches = -(-len(parts["train"]) // settings["batch_size"])
        updates = settings["passes"] * batches // settings["grad_accumulation_factor"]
        epochs = settings["max_epochs"] or max(1, updates // settings["updates_per_epoch"])
        return {"updates": updates, "max_epochs": epochs}

    def loss(self, outputs, batch):
        return cross_entropy(outputs.logits, self.wanted(batch))


if __name__ == "__main__":
    run(MemberBrain)
