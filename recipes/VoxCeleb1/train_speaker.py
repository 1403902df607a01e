"""Park 2023, first phase: speaker identification on VoxCeleb1 (Table 2).

    python recipes/VoxCeleb1/train_speaker.py hparams/speaker.yaml --data_folder PATH

wav2vec 2.0 -> self-attention and max over time -> ArcFace over 1,251 speakers. The paper reports
WA/UA 93.89/94.22 with ArcFace, 87.98/87.19 with cross-entropy. speaker_ecapa.yaml trains
SpeechBrain's ECAPA-TDNN in its place. Without data: a trial on synthesised speech.
"""

from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.experiment import run


class SpeakerBrain(SerBrain):
    """Speakers in place of emotions."""

    def loss(self, outputs, batch):
        return self.modules.criterion(outputs.logits, batch.speaker_id)


if __name__ == "__main__":
    run(SpeakerBrain)
