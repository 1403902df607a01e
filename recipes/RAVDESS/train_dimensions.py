"""Numbers beside or instead of emotions, such as valence and arousal, from frozen layers.

    python recipes/RAVDESS/train_dimensions.py hparams/dimensions.yaml --data_folder PATH --fold 1

Each number is learned by one minus its concordance (Lin 1989), as is usual for ratings: Atmaja and
Akagi 2021 compare it with the squared error. By default it is RAVDESS' intensity, 0 or 1. The
columns of a table:

    ... --corpus table --data_folder mine.csv --targets '{valence: {low: 1, high: 7}}'
    ... --corpus table --data_folder mine.csv --targets
        '{emotion: [angry, happy, sad], valence: {low: 1, high: 7}, arousal: {low: 1, high: 7}}'

Emotions, or shares of several annotators, are learned beside them by cross-entropy.
"""

from speechbrain_ser.data.targets import numbers_of
from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.probe_brain import ProbeBrain


class DimensionsBrain(ProbeBrain):
    """The mean of the numbers' losses, and of the classes' cross-entropy if there are any."""

    learns = ("classes", "shares", "numbers")

    def loss(self, outputs, batch):
        head, losses = self.modules.model.head, []
        values = head.values(outputs.logits)  # [batch, number]
        for own, field in zip(values.T, numbers_of(self.targets), strict=True):
            losses.append(self.modules.number_criterion(own, self.wanted(batch, field)))
        if self.labels:
            logits = head.logits(outputs.logits)  # [batch, class]
            losses.append(self.modules.criterion(logits, self.wanted(batch)))
        return sum(losses) / len(losses)


if __name__ == "__main__":
    run(DimensionsBrain)
