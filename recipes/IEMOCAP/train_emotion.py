"""Park 2023, second phase: the emotion network alone on IEMOCAP (Tables 3 and 6).

    python recipes/IEMOCAP/train_emotion.py hparams/emotion.yaml --data_folder PATH --fold 1

wav2vec 2.0 -> k parallel attention blocks -> tensor fusion -> ArcFace over 4 emotions. The paper
reports WA/UA 71.05/72.15 with k = 4 (mean of 5 folds). Without data: a trial on synthesised speech.
"""

from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.experiment import run


class EmotionBrain(SerBrain):
    """One loss, on emotions."""

    knows_shares = True

    def loss(self, outputs, batch):
        return self.modules.criterion(outputs.logits, self.wanted(batch))


if __name__ == "__main__":
    run(EmotionBrain)
