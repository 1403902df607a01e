"""Park 2023, third phase: speaker-specific emotion recognition on IEMOCAP (Tables 5, 6, Fig. 7).

    python recipes/IEMOCAP/train_fusion.py hparams/fusion.yaml --data_folder PATH --fold 1

The speaker network's embedding joins the emotion network's tensor fusion. The paper reports WA/UA
72.14/72.97 with the speaker network frozen and k = 4 (mean of 5 folds). Both earlier phases must
be trained first; the run names their commands. Without data: a trial on synthesised speech, for
which the earlier phases are trained by themselves.
"""

from types import SimpleNamespace

from speechbrain_ser.data.datasets import add_item, make_dataset, make_loader
from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.cache import FrozenEmbedding
from speechbrain_ser.training.experiment import run

import torch
from tqdm import tqdm


class FusionBrain(SerBrain):
    """Emotion loss, and beta times the loss of the training speakers unless that net is frozen."""

    knows_shares = True

    def compute_forward(self, batch, stage):
        model = self.modules.model
        frames, counts, speaker = self.encoded(batch)
        fused = model.pool(frames, counts, speaker)  # [batch, dim]
        return SimpleNamespace(logits=model.head(fused), embedding=fused, speaker=speaker)

    def loss(self, outputs, batch):
        loss = self.hparams.alpha * self.modules.criterion(outputs.logits, self.wanted(batch))
        known = batch.speaker_id >= 0  # a test speaker is none of the training speakers
        if self.modules.model.regime != "frozen" and known.any():
            speaker_logits = self.modules.model.speaker_head(outputs.speaker[known])
            loss = loss + self.hparams.beta * self.modules.speaker_criterion(
                speaker_logits, batch.speaker_id[known]
            )
        return loss

    def stored_of(self, batch):
        return *super().stored_of(batch), batch.speaker_embedding.data[:, 0].float()

    def make_datasets(self, parts):
        """With a cache the items of training and validation hold the speaker embedding, too."""
        datasets = super().make_datasets(parts)
        if self.hparams.cache is not None:
            read = self.stored(FrozenEmbedding(self.modules.model), parts)
            for part in ("train", "valid"):
                add_item(datasets[part], "speaker_embedding", read, takes="wav")
        return datasets

    def on_fit_start(self):
        if self.modules.model.regime != "frozen" and self.hparams.speaker_centres == "class_mean":
            self.centre_speakers()
        super().on_fit_start()

    @torch.no_grad()
    def centre_speakers(self):
        """A new centre is the mean embedding of its speaker over the training part, one by one."""
        model = self.modules.model.eval()
        dataset = make_dataset(self.parts["train"], self.hparams.reader, self.hparams.targets)
        centres = model.speaker_head.centres.weight  # [speaker, dim]
        sums, counts = torch.zeros_like(centres), centres.new_zeros(len(centres), 1)
        loader = make_loader(dataset, self.hparams.workers, batch_size=1)
        for batch in tqdm(loader, desc="speaker centres", disable=self.noprogressbar):
            embedding = model.speaker.embed(*self.speech_of(batch))  # [1, dim]
            sums.index_add_(0, batch.speaker_id, embedding)
            counts.index_add_(0, batch.speaker_id, counts.new_ones(1, 1))
        centres.copy_(sums / counts)


if __name__ == "__main__":
    run(FusionBrain)
