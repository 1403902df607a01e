"""Gao 2023: emotion, with speech recognition, gender and style beside it, on IEMOCAP.

    python recipes/IEMOCAP/train_multitask.py hparams/multitask.yaml --data_folder PATH --fold 1
    python recipes/IEMOCAP/train_multitask.py hparams/two_stage.yaml --data_folder PATH --fold 1

multitask.yaml is one phase (Tables 1 and 2: UA 72.13 alone, 74.16 with ASR and gender);
two_stage.yaml goes on from train_asr_gender.py, the lower blocks frozen (Table 3: UA 76.10), and
names its command if it is missing. Without data: a trial on synthesised speech.
"""

from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.multitask_brain import MultitaskBrain


class EmotionTasksBrain(MultitaskBrain):
    """Equations 1 and 2; MultitaskNetwork reverses the gradients of adversarial tasks."""

    def loss(self, outputs, batch):
        losses = self.losses(outputs, batch)
        emotion = losses.pop("emotion")
        if not losses:
            return emotion
        auxiliary = sum(losses.values()) / len(losses)
        return self.hparams.alpha * emotion + (1 - self.hparams.alpha) * auxiliary


if __name__ == "__main__":
    run(EmotionTasksBrain)
