"""Gavali & Verma: trained members vote on RAVDESS (Tables 3 and 4).

    python recipes/RAVDESS/evaluate_ensemble.py hparams/ensemble.yaml --data_folder PATH --fold 1
    python recipes/RAVDESS/evaluate_ensemble.py hparams/ensemble.yaml --variant _mine --fold 1 \\
        --members '{fused: results/fusion_ravdess/fold1/1000, other: user/model}'

Members are runs, best/ folders or Hub ids, of any recipe. All combinations of 3 and 5 are tried;
the best on validation is tested and exported as one model. The paper reports accuracies of 96.53
(3) and 96.88 (5), chosen on the test files. Without data: a trial on synthesised speech.
"""

from pathlib import Path
from types import SimpleNamespace

from speechbrain_ser import hparams as hp
from speechbrain_ser.data.datasets import make_dataset, make_loader
from speechbrain_ser.results import metrics, votes
from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.phases import check_labels, some

import torch
from torch.nn.functional import nll_loss
from tqdm import tqdm


class EnsembleBrain(SerBrain):
    """Nothing is trained: the members that vote are chosen, on validation."""

    @staticmethod
    def phases(settings):
        """The members that are given, or the paper's."""
        given = {name: Path(where) for name, where in settings["members"].items()}
        inside = {n: f / "best" if (f / "best").is_dir() else f for n, f in given.items()}
        six = some(settings["phases"], settings["voters"], settings["member_overrides"])
        return {n: {"best": str(f)} for n, f in inside.items()} or six

    @staticmethod
    def phase_settings(settings, phases):
        check_labels(settings, phases)
        return {"trained": {n: {k: d[k] for k in ("reader", "model")} for n, d in phases.items()}}

    @staticmethod
    def phase_networks(hparams):
        return {name: member.model for name, member in hparams["model"].members.items()}

    def fit(self, *_, **__):
        """In the place of training: the members' scores on validation, and the best combination."""
        self.modules.eval()
        answers, targets = [], []
        dataset = make_dataset(self.parts["valid"], self.hparams.reader, self.hparams.targets)
        loader = make_loader(dataset, self.hparams.workers, self.hparams.test_batch_size)
        for batch in tqdm(loader, desc="validation", disable=self.noprogressbar):
            answers.append(self.asked(batch))
            targets += batch.emotion_id.tolist()
        probs, score = joined(answers), self.hparams.select_by
        self.tried = votes.combinations(list(probs), self.hparams.sizes)
        self.weights = {
            name: metrics.score(targets, own.argmax(dim=1).tolist(), self.labels)[score]
            for name, own in probs.items()
        }
        self.valid_rows = self.table(probs, targets)
        candidates = self.valid_rows[len(probs) :]
        best = max(range(len(candidates)), key=lambda row: candidates[row][score])  # the first
        self.modules.model.choose(self.tried[best], self.weights)

    @torch.no_grad()
    def asked(self, batch):
        """member -> its probabilities [batch, class]."""
        speech, lens = self.speech_of(batch)
        return {name: m.probs(speech, lens) for name, m in self.modules.model.members.items()}

    def table(self, probs, targets):
        vote, ties = self.hparams.vote, self.hparams.ties
        return votes.table(probs, targets, self.labels, self.tried, vote, ties, self.weights)

    def on_evaluate_start(self, max_key=None, min_key=None):
        self.best_epoch, self.answers = 0, []

    def compute_forward(self, batch, stage):
        self.answers.append(self.asked(batch))
        return SimpleNamespace(logits=self.modules.model.answer(self.answers[-1]))

    def loss(self, outputs, batch):
        return nll_loss(outputs.logits, batch.emotion_id)

    def predictions(self):
        """Each member's answer beside the ensemble's."""
        rows, probs = super().predictions(), joined(self.answers)
        for name, values in probs.items():
            for row, number in zip(rows, values.argmax(dim=1).tolist(), strict=True):
                row[f"prediction_{name}"] = self.labels[number]
        return rows

    def facts(self):
        """The chosen members; all of them and their combinations, on test and validation."""
        rows = self.table(joined(self.answers), self.records["target"])
        for row, valid in zip(rows, self.valid_rows, strict=True):
            row |= {f"valid_{name}": valid[name] for name in ("WA", "UA")}
        folder = Path(self.hparams.output_folder)
        chosen = " + ".join(self.modules.model.chosen)
        votes.write(folder, rows, self.records["target"], self.labels, chosen)
        kept = [{k: v for k, v in row.items() if k != "predictions"} for row in rows]
        return {"chosen": chosen, "ensemble": kept}

    def exported(self, settings):
        """The members that vote, and their weights."""
        model = self.modules.model
        model.prune()
        tree = hp.bare(settings["model"])
        for name in set(tree["members"]) - set(model.chosen):
            del tree["members"][name]
        tree["weights"] = {name: model.weights[name] for name in model.chosen}
        return {**settings, "model": tree}


def joined(batches):  # batches of {member: probabilities [batch, class]}
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


if __name__ == "__main__":
    run(EnsembleBrain)
