"""Wang 2023: supervised contrastive training on IEMOCAP (Tables 1 to 3, without neighbours).

    python recipes/IEMOCAP/train_supcon.py hparams/supcon.yaml --data_folder PATH --fold 1

Each batch holds every utterance and an augmented view of it; cross-entropy and the contrastive loss
are weighted together. The paper reports WA/UA 71.35/71.84 for cross-entropy alone, 73.32/74.45 with
the contrastive loss (10 folds); evaluate_knn.py adds the nearest neighbours. Without data: a trial
on synthesised speech.
"""

from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.experiment import run

from torch.nn.functional import cross_entropy


class SupconBrain(SerBrain):
    """Cross-entropy, to which SerBrain adds the contrastive loss in training (equation 2)."""

    knows_shares = True  # of which the contrastive loss compares the largest

    def loss(self, outputs, batch):
        return cross_entropy(outputs.logits, self.wanted(batch))


if __name__ == "__main__":
    run(SupconBrain)
