"""Brains that two or more scripts share."""

import functools
import logging

import torch
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.decoders.ctc import ctc_greedy_decode
from speechbrain.nnet.losses import ctc_loss
from speechbrain.utils.metric_stats import ErrorRateStats
from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser import metrics, parallel
from speechbrain_ser.brain import SerBrain
from speechbrain_ser.data import UNKNOWN, make_dataset
from speechbrain_ser.errors import InputError
from speechbrain_ser.text import BLANK

logger = logging.getLogger(__name__)


class ProbeBrain(SerBrain):
    """Pepino 2021: cross-entropy of a small network on frozen features, kept in a store."""

    def compute_forward(self, batch, stage):
        batch = batch.to(self.device, non_blocking=True)
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
        self.stores = [self.hparams.store(b.frontend, self.hparams.reader) for b in model.branches]
        wavs = [entry["wav"] for entries in parts.values() for entry in entries.values()]
        with parallel.first_alone():
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


class MultitaskBrain(SerBrain):
    """Gao 2023: the losses and scores of several tasks; a recipe's script weighs the losses."""

    @staticmethod
    def fill(settings, parts):
        """What a tokenizer takes from the training part's transcripts."""
        if "asr" not in settings["tasks"]:
            return {}
        words = {part: [entry["words"] for entry in own.values()] for part, own in parts.items()}
        tokenizer = hp.build({"tokenizer": settings["tokenizer"]})["tokenizer"]
        return {"tokenizer": tokenizer.trained_on(words["train"])}

    @property
    def labels(self):
        tasks = self.modules.model.heads
        return list(self.hparams.targets["emotion"]) if "emotion" in tasks else []

    def make_datasets(self, parts):
        """Items hold the transcript, too, if one of the tasks is ASR."""
        self.too_long: set[str] = set()  # utterances of more tokens than frames
        if "asr" in self.modules.model.heads:
            words = [entry["words"] for entries in parts.values() for entry in entries.values()]
            if unknown := self.modules.model.heads["asr"].tokenizer.unknown(words):
                logger.warning("transcripts hold %s, unknown to the tokenizer: <unk>", unknown)
        datasets = super().make_datasets(parts)
        return {part: self.with_tokens(dataset) for part, dataset in datasets.items()}

    def with_tokens(self, dataset):
        if "asr" not in self.modules.model.heads:
            return dataset
        tokenizer = self.modules.model.heads["asr"].tokenizer

        def tokens_of(words):
            tokens = tokenizer.encode(words) if words else []
            yield torch.tensor(tokens or [BLANK])  # a batch needs something to pad
            yield len(tokens)

        dataset.add_dynamic_item(tokens_of, takes="words", provides=["tokens", "token_count"])
        targets = [f"{field}_id" for field in self.hparams.targets]
        dataset.set_output_keys(["id", "speech", "words", "tokens", "token_count", *targets])
        return dataset

    def compute_forward(self, batch, stage):
        return self.modules.model.outputs(*self.speech_of(batch))

    def losses(self, outputs, batch, stage) -> dict[str, torch.Tensor]:
        """task -> its loss; in evaluation the outputs are recorded."""
        losses = {task: self.loss_of(task, logits, batch) for task, logits in outputs.items()}
        if stage != Stage.TRAIN:
            self.record_tasks(outputs, batch, stage)
        return losses

    def loss_of(self, task: str, logits: torch.Tensor, batch) -> torch.Tensor:
        """Mean cross-entropy over what is known of the task, or CTC; float32 in any precision."""
        if task == "asr":
            return self.ctc(logits.float(), batch)
        targets = getattr(batch, f"{task}_id")
        total = nn.functional.cross_entropy(
            logits.float(), targets, ignore_index=UNKNOWN, reduction="sum"
        )
        return total / (targets != UNKNOWN).sum().clamp(min=1)

    def ctc(self, logits: torch.Tensor, batch) -> torch.Tensor:
        """CTC over utterances with words that fit into their frames; others are left out."""
        tokens, counts = batch.tokens.data, batch.token_count  # [batch, token], [batch]
        frames = self.modules.model.encoder.count_frames(*self.speech_of(batch))
        within = torch.arange(1, tokens.shape[1], device=counts.device) < counts.unsqueeze(1)
        repeats = ((tokens[:, 1:] == tokens[:, :-1]) & within).sum(dim=1)  # a blank between each
        fits = counts + repeats <= frames
        for utt_id, known in zip(batch.id, fits.tolist(), strict=True):
            if not known and utt_id not in self.too_long:
                self.too_long.add(utt_id)
                logger.warning("%s has more tokens than frames: no ASR loss for it", utt_id)
        used = fits & (counts > 0)
        if not used.any():
            return logits.sum() * 0
        return ctc_loss(
            logits[used].log_softmax(dim=2),
            tokens[used],
            frames[used] / logits.shape[1],
            counts[used] / tokens.shape[1],
            BLANK,
            self.hparams.ctc_reduction,
        )

    def on_stage_start(self, stage, epoch=None):
        super().on_stage_start(stage, epoch)
        self.rows: dict[str, dict] = {}  # utt_id -> what else was recognised
        self.error_rate = ErrorRateStats()

    def gather(self):
        super().gather()
        for own in parallel.gather(self.rows):
            self.rows |= own
        for key in ("ids", "scores"):
            found = parallel.gather(getattr(self.error_rate, key))
            setattr(self.error_rate, key, [item for own in found for item in own])

    def record_tasks(self, outputs, batch, stage) -> None:
        for utt_id in batch.id:
            self.rows[utt_id] = {}
        for task, logits in outputs.items():
            if task == "emotion":
                self.record(batch, logits, batch.emotion_id, stage)
            elif task == "asr":
                self.record_words(logits, batch)
            else:
                names = self.hparams.targets[task]
                targets = getattr(batch, f"{task}_id").tolist()
                found = logits.argmax(dim=1).tolist()
                for utt_id, target, prediction in zip(batch.id, targets, found, strict=True):
                    self.rows[utt_id] |= {
                        f"{task}_target": names[target] if target != UNKNOWN else "",
                        f"{task}_prediction": names[prediction],
                    }

    def record_words(self, logits: torch.Tensor, batch) -> None:
        """Greedy decoding; utterances without words have no word error rate."""
        model = self.modules.model
        frames = model.encoder.count_frames(*self.speech_of(batch))
        decoded = ctc_greedy_decode(logits.float(), frames / logits.shape[1], BLANK)
        hypotheses = [model.heads["asr"].tokenizer.decode(tokens) for tokens in decoded]
        for utt_id, reference, hypothesis in zip(batch.id, batch.words, hypotheses, strict=True):
            self.rows[utt_id] |= {"reference": reference, "hypothesis": hypothesis}
            if reference:
                self.error_rate.append([utt_id], [hypothesis.split()], [reference.split()])

    def score(self):
        tasks = self.modules.model.heads
        scores = super().score() if "emotion" in tasks else {}
        for task in tasks:
            if task == "asr" and self.error_rate.scores:
                scores["WER"] = self.error_rate.summarize("WER")
            elif task not in ("asr", "emotion"):
                names = self.hparams.targets[task]
                known = [row for row in self.rows.values() if row[f"{task}_target"]]
                if known:
                    numbers = [
                        [names.index(row[f"{task}_{column}"]) for row in known]
                        for column in ("target", "prediction")
                    ]
                    own = metrics.score(*numbers, names)
                    scores |= {f"{name}_{task}": own[name] for name in ("WA", "UA")}
        return scores

    def predictions(self):
        if "emotion" not in self.modules.model.heads:
            return [{"id": utt_id} | row for utt_id, row in self.rows.items()]
        return [row | self.rows[row["id"]] for row in super().predictions()]

    def epoch_facts(self):
        return self.gradient_conflict() if self.hparams.log_gradient_conflict else {}

    @torch.enable_grad()
    def gradient_conflict(self) -> dict[str, float]:
        """Cosine between the gradients of the emotion loss and of each other task's loss.

        At the encoder's trained parameters, on the same few training utterances after each epoch,
        without dropout; a reversed gradient counts as reversed. Training does not notice it.
        """
        model = self.modules.model
        shared = [p for p in model.encoder.parameters() if p.requires_grad]
        if "emotion" not in model.heads or not shared:
            raise InputError(
                "log_gradient_conflict compares with emotion in a trained encoder: add emotion to "
                "tasks, and freeze less"
            )
        if not hasattr(self, "fixed_batch"):
            entries = dict(list(self.parts["train"].items())[: self.hparams.batch_size])
            dataset = make_dataset(entries, self.hparams.reader, self.hparams.targets)
            self.fixed_batch = PaddedBatch(list(self.with_tokens(dataset))).to(self.device)
        outputs = self.compute_forward(self.fixed_batch, Stage.VALID)
        gradients = {}
        for task, logits in outputs.items():
            loss = self.loss_of(task, logits, self.fixed_batch)
            own = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
            gradients[task] = torch.cat(
                [
                    (g if g is not None else torch.zeros_like(p)).flatten()
                    for g, p in zip(own, shared, strict=True)
                ]
            )
        emotion = gradients.pop("emotion")
        return {
            f"cosine_{task}": nn.functional.cosine_similarity(emotion, gradient, dim=0).item()
            for task, gradient in gradients.items()
        }

    def facts(self):
        kept = [
            {key: value for key, value in row.items() if key == "epoch" or "cosine" in key}
            for row in self.hparams.epochs.history
        ]
        return {"gradient_conflict": kept} if self.hparams.log_gradient_conflict else {}
