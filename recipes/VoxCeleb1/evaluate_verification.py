"""Speaker verification with a speaker network of Park 2023's first phase, on other speakers.

    python recipes/VoxCeleb1/evaluate_verification.py hparams/verification.yaml --data_folder PATH

Every pair of test recordings is a trial: one speaker, or two? Its score is the cosine of the two
embeddings; the equal error rate says how well a threshold tells them apart. The paper reports none.
Without data: a trial on synthesised speech.
"""

from types import SimpleNamespace

from speechbrain_ser.data.datasets import make_dataset
from speechbrain_ser.errors import InputError
from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.experiment import run

import torch
from speechbrain.utils.metric_stats import EER


class VerificationBrain(SerBrain):
    """Nothing is trained or chosen."""

    @staticmethod
    def phase_settings(settings, phases):
        """The trained network with its reader."""
        return {"trained": phases["trained"]["model"], "reader": phases["trained"]["reader"]}

    def make_datasets(self, parts):
        """Items with a number of their speaker, also of those that the network does not know."""
        speakers = {entry["speaker"] for entries in parts.values() for entry in entries.values()}
        targets, reader = {"speaker": sorted(speakers)}, self.hparams.reader
        return {part: make_dataset(entries, reader, targets) for part, entries in parts.items()}

    def fit(self, *_, **__):
        self.best_epoch = 0

    def on_evaluate_start(self, max_key=None, min_key=None):
        self.modules.eval()

    def compute_forward(self, batch, stage):
        return SimpleNamespace(logits=self.modules.model.embed(*self.speech_of(batch)))

    def loss(self, outputs, batch):
        return outputs.logits.new_zeros(())

    def score(self):
        unit = torch.nn.functional.normalize(torch.cat(self.records["logits"]))
        one, other = torch.triu_indices(len(unit), len(unit), offset=1)
        scores = (unit[one] * unit[other]).sum(dim=1)  # [trial]
        speakers = torch.tensor(self.records["target"])
        same = speakers[one] == speakers[other]
        if same.all() or not same.any():
            raise InputError(
                "the test part needs two speakers, and two recordings of one of them: take another "
                "split or corpus"
            )
        return {"EER": 100 * float(EER(scores[same], scores[~same])[0]), "trials": len(scores)}

    def predictions(self):
        """The test recordings and whose they are; all pairs of them are trials."""
        test = self.parts["test"]
        return [{"id": utt_id, "target": test[utt_id]["speaker"]} for utt_id in self.records["id"]]


if __name__ == "__main__":
    run(VerificationBrain)
