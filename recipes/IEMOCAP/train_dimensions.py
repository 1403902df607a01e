"""Valence, arousal and dominance by a fine-tuned encoder, beside emotions or instead of them.

    python recipes/IEMOCAP/train_dimensions.py hparams/dimensions.yaml --data_folder PATH --fold 1

After Wagner et al. 2023: the encoder's CNN is frozen, its Transformer trained by one minus the
concordance of each number; mean over time -> hidden layer -> numbers. Emotions beside them, in a
table, from annotators' shares, or of another corpus:

    ... --targets '{emotion: [angry, happy, sad, neutral], valence: {low: 1, high: 5}}'
    ... --corpus table --data_folder mine.csv --targets '{valence: {low: 1, high: 7}}'

With a frozen encoder: recipes/RAVDESS/train_dimensions.py. Without data: a trial on synthesised
speech.
"""

from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.experiment import run


class DimensionsBrain(SerBrain):
    """Of classes or shares, if there are any; SerBrain knows the loss of numbers."""

    knows_shares = True

    def loss(self, outputs, batch):
        return self.modules.criterion(outputs.logits, self.wanted(batch))


if __name__ == "__main__":
    run(DimensionsBrain)
