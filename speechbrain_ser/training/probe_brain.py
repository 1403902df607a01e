"""Pepino 2021's method, for both of its corpora: a small network on frozen features."""

import functools
import logging

import torch

from speechbrain_ser import parallel
from speechbrain_ser.data.lengths import num_samples
from speechbrain_ser.errors import InputError
from speechbrain_ser.training.brain import SerBrain

logger = logging.getLogger(__name__)


class ProbeBrain(SerBrain):
    """Cross-entropy on features from a store, normalised per group; gradients clipped by value."""

    knows_shares = True

    def loss(self, outputs, batch):
        return self.modules.criterion(outputs.logits, self.wanted(batch))

    def encoded(self, batch):
        """The batch's stored features of every branch, and the statistics of their groups."""
        batch = batch.to(self.device, non_blocking=True)
        features = []
        for number in range(len(self.stores)):
            stored = batch[f"features{number}"]  # [batch, frame, layer, dim]
            features.append((stored.data, num_samples(stored.data, stored.lengths)))
        statistics = [tuple(part[batch.group] for part in own) for own in self.statistics]
        return features, statistics

    def init_optimizers(self):
        super().init_optimizers()
        self.optimizer.register_step_pre_hook(self.clip)

    def clip(self, *_):
        """Keras' clipvalue: each gradient by itself."""
        for parameter in self.modules.parameters():
            if parameter.grad is not None:
                parameter.grad.clamp_(-self.hparams.clip_value, self.hparams.clip_value)

    def make_datasets(self, parts):
        """Items hold stored features, cut to what is used, and the number of their group.

        Raises InputError for augmentation: what is stored cannot be augmented.
        """
        if self.hparams.augment is not None:
            raise InputError("features come from a store, which holds no views: augment is null")
        model = self.modules.model
        datasets = super().make_datasets(parts)  # first: it refuses a reader of another rate
        self.stores = [self.hparams.store(b.frontend, self.hparams.reader) for b in model.branches]
        wavs = [entry["wav"] for entries in parts.values() for entry in entries.values()]
        with parallel.first_alone():
            for store in self.stores:
                store.fill(wavs, self.device, progress=not self.noprogressbar)
        number_of = self.normalise(parts)
        keys = [f"features{number}" for number in range(len(self.stores))]
        for part, dataset in datasets.items():
            for key, store, branch in zip(keys, self.stores, model.branches, strict=True):
                read = functools.partial(store.read, first=branch.longest)
                dataset.add_dynamic_item(read, takes="wav", provides=key)
            dataset.add_dynamic_item(number_of[part].get, takes="id", provides="group")
            kept = [key for key in dataset.pipeline.output_mapping if key != "speech"]
            dataset.set_output_keys([*kept, "group", *keys])
        return datasets

    def normalise(self, parts) -> dict[str, dict[str, int]]:
        """Compute the groups' statistics; return part -> utt_id -> number of its group.

        A group is a speaker of one part: no part's statistics use another part's recordings. The
        training part's statistics go into the model, for speakers whom it will not know.
        """
        model = self.modules.model
        if model.is_transductive:
            logger.info(
                "Normalisation by %s is transductive: it uses the test speakers' own unlabelled "
                "recordings.",
                model.normalise_by,
            )
        train = [entry["wav"] for entry in parts["train"].values()]
        groups: dict[tuple[str, str] | None, list[str]] = {}  # -> its recordings
        number_of: dict[str, dict[str, int]] = {part: {} for part in parts}
        for part, entries in parts.items():
            for utt_id, entry in entries.items():
                group = None
                if model.is_transductive:
                    if not entry.get(model.normalise_by):
                        raise InputError(
                            f"{utt_id} has no {model.normalise_by} to normalise by: set "
                            "normalise_by to global, none, or a field that the manifest has"
                        )
                    group = (part, entry[model.normalise_by])
                groups.setdefault(group, []).append(entry["wav"])
                number_of[part][utt_id] = list(groups).index(group)
        self.statistics = []
        for store, branch in zip(self.stores, model.branches, strict=True):
            if model.normalise_by != "none":
                mean, deviation = branch.normalisation(*store.statistics(train))
                branch.mean.copy_(mean)
                branch.deviation.copy_(deviation)
            own = [(branch.mean, branch.deviation)]
            if model.is_transductive:
                own = [branch.normalisation(*store.statistics(wavs)) for wavs in groups.values()]
            self.statistics.append(
                tuple(torch.stack(values).to(self.device) for values in zip(*own, strict=True))
            )
        return number_of

    def facts(self) -> dict:
        """For results.json: whether test recordings normalised themselves, and layers' weights."""
        model = self.modules.model
        facts = {"transductive": model.is_transductive}
        for branch in model.branches:
            if branch.layer_weights is not None:
                facts["layer_weights"] = {
                    "layers": branch.frontend.layers,
                    "raw": branch.layer_weights.tolist(),
                    "share": branch.weights.tolist(),
                }
        return facts
