"""The linear baseline: logistic regression on the mean and deviation of frozen layers.

    python recipes/RAVDESS/train_linear.py hparams/linear.yaml --data_folder PATH --fold 1

What a paper's network is worth shows beside it: scikit-learn's solution for one layer's mean and
standard deviation over time, standardised on the training part. Any corpus: --corpus nemo.
"""

from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.probe_brain import ProbeBrain

import torch
from sklearn.linear_model import LogisticRegression
from speechbrain import Stage


class LinearBrain(ProbeBrain):
    """One epoch: the training part's embeddings are gathered, and then the head is solved."""

    knows_shares = False

    def on_stage_start(self, stage, epoch=None):
        super().on_stage_start(stage, epoch)
        self.gathered = []

    def compute_forward(self, batch, stage):
        outputs = super().compute_forward(batch, stage)
        if stage == Stage.TRAIN:
            self.gathered.append((outputs.embedding.detach(), batch.emotion_id))
        return outputs

    def on_stage_end(self, stage, stage_loss, epoch=None):
        if stage == Stage.TRAIN:
            embeddings, targets = (
                torch.cat(own).cpu().numpy() for own in zip(*self.gathered, strict=True)
            )
            solver = LogisticRegression(C=self.hparams.inverse_penalty, max_iter=1000)
            solver.fit(embeddings.astype("float64"), targets)
            head = self.modules.model.head
            with torch.no_grad():
                head.weight[solver.classes_] = torch.tensor(solver.coef_).to(head.weight)
                head.bias[solver.classes_] = torch.tensor(solver.intercept_).to(head.bias)
        super().on_stage_end(stage, stage_loss, epoch)


if __name__ == "__main__":
    run(LinearBrain)
