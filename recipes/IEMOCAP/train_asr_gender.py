"""Gao 2023, first phase: speech recognition and gender, before emotion, on IEMOCAP (Table 3).

    python recipes/IEMOCAP/train_asr_gender.py hparams/asr_gender.yaml --data_folder PATH --fold 1

wav2vec 2.0 -> CTC over characters, and gender from the means of blocks 4 and 12. The paper reports
a WER of 22.80 and a gender UA of 98.57. The second phase, train_multitask.py with two_stage.yaml,
starts from the fold's model. Without data: a trial on synthesised speech.
"""

from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.multitask_brain import MultitaskBrain


class AsrGenderBrain(MultitaskBrain):
    """The tasks' losses count alike."""

    def loss(self, outputs, batch):
        return sum(self.losses(outputs, batch).values())


if __name__ == "__main__":
    run(AsrGenderBrain)
