"""Brains that two or more scripts share."""

import functools
import logging

import torch

from speechbrain_ser.brain import SerBrain
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)


class ProbeBrain(SerBrain):
    """Pepino 2021: cross-entropy of a small network on frozen features, kept in a store."""

    def compute_forward(self, batch, stage):
        batch = batch.to(self.device)
        encoded = []
        for number in range(len(self.stores)):
            features = batch[f"features{number}"]  # [batch, frame, layer, dim]
            frames = torch.round(features.lengths * features.data.shape[1]).long()  # [batch]
            encoded.append((features.data, frames))
        statistics = [tuple(part[batch.group] for part in own) for own in self.statistics]
        return self.modules.model.classify(encoded, statistics)

    def compute_objectives(self, logits, batch, stage):
        self.record(batch, logits, batch.emotion_id, stage)
        return self.modules.criterion(logits, batch.emotion_id)

    def init_optimizers(self):
        super().init_optimizers()
        clip = self.hparams.clip_value
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.register_hook(lambda gradient: gradient.clamp(-clip, clip))

    def make_datasets(self, parts):
        """Items hold stored features, cut to what is used, and the number of their group."""
        model = self.modules.model
        self.stores = [self.hparams.store(b.frontend, self.hparams.reader) for b in model.branches]
        wavs = [entry["wav"] for entries in parts.values() for entry in entries.values()]
        for store in self.stores:
            store.fill(wavs, self.device, progress=not self.noprogressbar)
        number_of = self.normalise(parts)
        datasets = super().make_datasets(parts)
        keys = [f"features{number}" for number in range(len(self.stores))]
        for part, dataset in datasets.items():
            for key, store, branch in zip(keys, self.stores, model.branches, strict=True):
                read = functools.partial(store.read, first=branch.longest)
                dataset.add_dynamic_item(read, takes="wav", provides=key)
            dataset.add_dynamic_item(number_of[part].get, takes="id", provides="group")
            targets = [f"{field}_id" for field in self.hparams.targets]
            dataset.set_output_keys(["id", "group", *keys, *targets])
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
