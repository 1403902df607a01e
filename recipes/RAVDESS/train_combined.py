"""The papers' ideas put together on frozen encoders: a network that trains in a minute.

    python recipes/RAVDESS/train_combined.py hparams/combined.yaml --data_folder PATH --fold 1

Layers of a frozen encoder (Pepino 2021), their mean and deviation over time, of the recording and
of faster and slower copies (augmentation, Wang 2023) -> a dense layer -> emotions, trained on
mixtures of two recordings (Zhang et al. 2018). Several such networks vote (Gavali & Verma):
evaluate_ensemble.py. Each part's gain is in README.md. Any corpus: --corpus nemo.
"""

from types import SimpleNamespace

from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.probe_brain import ProbeBrain

import torch
from speechbrain import Stage


class CombinedBrain(ProbeBrain):
    """Cross-entropy on mixtures of recordings, one copy of each; the answer is of all copies."""

    def compute_forward(self, batch, stage):
        features, statistics = self.encoded(batch)
        partner, share = torch.arange(len(batch.id)), 1.0
        if stage == Stage.TRAIN:
            features = [one_copy(values) for values, _ in features]
            if self.hparams.mixing:
                share = torch.distributions.Beta(*[torch.tensor(self.hparams.mixing)] * 2).sample()
                partner = torch.randperm(len(batch.id))
            features = [share * own + (1 - share) * own[partner] for own in features]
            features = [(own, torch.ones_like(batch.group)) for own in features]
        embedding = self.modules.model.pool(features, statistics)
        logits = self.modules.model.head(embedding)
        return SimpleNamespace(logits=logits, embedding=embedding, partner=partner, share=share)

    def loss(self, outputs, batch):
        return mixed(self.modules.criterion, outputs.logits, self.wanted(batch), outputs)

    def number_loss(self, values, wanted, outputs):
        return mixed(self.hparams.number_criterion, values, wanted, outputs)


def mixed(criterion, answers, wanted, outputs):  # Zhang et al. 2018, section 2
    own, other = criterion(answers, wanted), criterion(answers, wanted[outputs.partner])
    return outputs.share * own + (1 - outputs.share) * other


def one_copy(features):  # [batch, copy, layer, dim] -> [batch, 1, layer, dim], drawn for each
    drawn = torch.randint(features.shape[1], (len(features),))
    return features[torch.arange(len(features)), drawn].unsqueeze(1).float()


if __name__ == "__main__":
    run(CombinedBrain)
