"""Wang 2023: nearest neighbours beside a trained network on IEMOCAP (Tables 1 and 3: with kNN).

    python recipes/IEMOCAP/evaluate_knn.py hparams/knn.yaml --data_folder PATH --fold 1
    python recipes/IEMOCAP/evaluate_knn.py hparams/knn.yaml --trained_best ANY_RUN/best --dim 768 \\
        --split THE_SPLIT_OF_THAT_RUN --variant _NAME --data_folder PATH --fold 1

Nothing is trained: the embeddings of training and validation become the keys of a model that is
exported like any other. The paper reports WA/UA 74.13/75.14 (10 folds). Without data: a trial on
synthesised speech, for which the network is trained by itself.
"""

from types import SimpleNamespace

from speechbrain_ser.data.datasets import make_dataset, make_loader
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.knn import search
from speechbrain_ser.results import metrics
from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.phases import check_labels

import torch
from torch.nn.functional import nll_loss
from tqdm import tqdm


class KnnBrain(SerBrain):
    """k and alpha are chosen on validation, against a store of the training part alone."""

    @staticmethod
    def phase_settings(settings, phases):
        """The trained network with its reader."""
        check_labels(settings, phases)
        return {"trained": phases["trained"]["model"], "reader": phases["trained"]["reader"]}

    @staticmethod
    def corpus_settings(settings, parts):
        """The number of keys."""
        if parts["valid"] is parts["test"]:
            raise InputError(
                "this split has no validation of its own, so that the test part would be among the "
                "keys: use a split that has one"
            )
        return {"size": len(parts["train"]) + len(parts["valid"])}

    def fit(self, *_, **__):
        """In the place of training: embed, choose, store."""
        self.modules.eval()
        if self.checkpointer.find_checkpoint() is not None:
            return  # of a run that was interrupted behind this point
        model, hparams = self.modules.model, self.hparams
        train, train_targets = self.embeddings("train")
        valid, valid_targets = self.embeddings("valid")
        votes = model.vote(valid, train, train_targets, min(hparams.max_k, len(train)))
        k, alpha, score = search(
            votes, model.own_probs(valid), valid_targets, hparams.alphas, hparams.select_by
        )
        model.store(torch.cat([train, valid]), torch.cat([train_targets, valid_targets]), k, alpha)
        self.checkpointer.save_and_keep_only(meta={"epoch": 0, "score": score})

    @torch.no_grad()
    def embeddings(self, part):
        """A part's embeddings [utterance, dim] and targets [utterance], without augmentation."""
        dataset = make_dataset(self.parts[part], self.hparams.reader, self.hparams.targets)
        loader = make_loader(
            dataset.filtered_sorted(sort_key="duration"),
            self.hparams.workers,
            self.hparams.test_batch_size,
        )
        batches = [
            (self.modules.model.embed(*self.speech_of(batch)), batch.emotion_id)
            for batch in tqdm(loader, desc=f"{part} embeddings", disable=self.noprogressbar)
        ]
        embeddings, targets = (torch.cat(values) for values in zip(*batches, strict=True))
        if embeddings.shape[1] != self.hparams.dim:
            raise InputError(
                f"the network's embeddings have {embeddings.shape[1]} dimensions: give --dim "
                f"{embeddings.shape[1]}"
            )
        return embeddings, targets

    def on_stage_start(self, stage, epoch=None):
        super().on_stage_start(stage, epoch)
        self.tested = []

    def compute_forward(self, batch, stage):
        self.tested.append(self.modules.model.embed(*self.speech_of(batch)))
        return SimpleNamespace(logits=self.modules.model.answer(self.tested[-1]))

    def loss(self, outputs, batch):
        return nll_loss(outputs.logits, batch.emotion_id)

    @torch.no_grad()
    def facts(self):
        """What was chosen, the network without neighbours, and the best choice on the test part."""
        model, tested = self.modules.model, torch.cat(self.tested)
        own = model.own_probs(tested)
        targets = torch.tensor(self.records["target"], device=own.device)
        votes = model.vote(
            tested, model.keys, model.values, min(self.hparams.max_k, len(model.keys))
        )
        k, alpha, _ = search(votes, own, targets, self.hparams.alphas, self.hparams.select_by)
        mixed = alpha * votes[:, k - 1] + (1 - alpha) * own
        return {
            "knn": {"k": int(model.k), "alpha": round(float(model.alpha), 4)},
            "oracle": {"k": k, "alpha": alpha},
            **self.scores_of(own, "without_knn"),
            **self.scores_of(mixed, "oracle"),
        }

    def scores_of(self, probs, name):
        scores = metrics.score(self.records["target"], probs.argmax(dim=1).tolist(), self.labels)
        return {f"WA_{name}": scores["WA"], f"UA_{name}": scores["UA"]}


if __name__ == "__main__":
    run(KnnBrain)
