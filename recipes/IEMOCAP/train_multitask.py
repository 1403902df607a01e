"""Gao 2023: emotion, with speech recognition, gender and style beside it, on IEMOCAP.

    python recipes/IEMOCAP/train_multitask.py hparams/multitask.yaml --data_folder PATH --fold 1
    python recipes/IEMOCAP/train_multitask.py hparams/two_stage.yaml --data_folder PATH --fold 1

multitask.yaml is one phase (Tables 1 and 2: UA 72.13 alone, 74.16 with ASR and gender);
two_stage.yaml goes on from train_asr_gender.py, the lower blocks frozen (Table 3: UA 76.10), and
names its command if it is missing. Without data: a trial on synthesised speech.
"""

from speechbrain_ser.brains import MultitaskBrain
from speechbrain_ser.experiment import run


class EmotionTasksBrain(MultitaskBrain):
    """Equations 1 and 2; a reversed gradient is the model's affair."""

    def compute_objectives(self, outputs, batch, stage):
        losses = self.losses(outputs, batch, stage)
        emotion = losses.pop("emotion")
        if not losses:
            return self.add_contrastive(emotion, batch, stage)
        auxiliary = sum(losses.values()) / len(losses)
        loss = self.hparams.alpha * emotion + (1 - self.hparams.alpha) * auxiliary
        return self.add_contrastive(loss, batch, stage)


if __name__ == "__main__":
    run(EmotionTasksBrain)
