"""Training: stopping, choosing and keeping epochs, accumulated steps, clipping, learning rate."""

import functools
import itertools
import math
import random
import shutil
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.datasets import ShuffledBatches, make_dataset, make_loader
from speechbrain_ser.errors import InputError
from speechbrain_ser.training import schedules
from speechbrain_ser.training.brain import SerBrain
from speechbrain_ser.training.checkpoints import AtomicCheckpointer, EarlyStop, importance

# early stopping


def last_epoch(losses, patience, grace) -> int:
    """The authors' loop, with epochs from 0: the number of epochs that are run."""
    best, counter = None, 0
    for epoch, loss in enumerate(losses):
        if best is not None and loss > best:
            if epoch >= grace:
                counter += 1
        else:
            counter = 0
            if best is None or loss < best:
                best = loss
        if patience and counter >= patience:
            return epoch + 1
    return len(losses)


def epochs_run(losses, patience, grace, each=lambda stop: stop) -> int:
    stop = EarlyStop(len(losses), patience, grace)
    epoch = 0
    while (epoch := next(stop, None)) is not None:
        stop.update(epoch, losses[epoch - 1])
        stop = each(stop)
        last = epoch
    return last


def sequences(number, length, nan=False):
    draw = random.Random(0)
    for _ in range(number):
        losses = [round(draw.gauss(1 - i / 200, 0.1), 2) for i in range(length)]
        if nan:
            losses = [math.nan if i and draw.random() < 0.1 else x for i, x in enumerate(losses)]
        yield losses


@pytest.mark.parametrize(
    ("patience", "grace", "least"), [(10, 50, 60), (5, 0, 6), (10, 30, 40), (3, 4, 7), (0, 0, 150)]
)
def test_stopping_by_a_plain_loop(patience, grace, least):
    ends = set()
    for nan in (False, True):
        for losses in sequences(60, 150, nan):
            expected = last_epoch(losses, patience, grace)
            assert epochs_run(losses, patience, grace) == expected
            ends.add(expected)
    rising = [float(i) for i in range(150)]
    assert epochs_run(rising, patience, grace) == least <= min(ends)
    falling = [-float(i) for i in range(150)]
    assert epochs_run(falling, patience, grace) == 150
    assert len(ends) > 2 or not patience


def test_equality_and_nan_are_no_rise():
    assert epochs_run([1.0, 2.0, 1.0, 2.0, 2.0, 9.0], patience=2, grace=0) == 5
    assert epochs_run([1.0, 2.0, math.nan, 2.0, 2.0, 9.0], patience=2, grace=0) == 5
    assert epochs_run([math.nan, 1.0, 2.0, 2.0, 9.0], patience=2, grace=0) == 4
    # the best of the grace period counts
    assert epochs_run([0.5, 1.0, 0.9, 0.8, 0.7], patience=2, grace=2) == 4


def test_stopping_goes_on_from_a_saved_state(tmp_path):
    def again(stop):
        stop._save(tmp_path / "state")
        other = EarlyStop(stop.limit, stop.patience, stop.grace)
        other._recover(tmp_path / "state")
        assert vars(other) == vars(stop)
        return other

    for losses in sequences(10, 60):
        expected = last_epoch(losses, 4, 10)
        assert epochs_run(losses, 4, 10, again) == expected


def test_a_saved_state_holds_the_history(tmp_path):
    stop = EarlyStop(3, 2, 1)
    next(stop)
    stop.history.append({"epoch": 1, "valid_loss": math.nan, "valid_WA": 62.5})
    stop.seconds = 12.5
    stop._save(tmp_path / "state")
    other = EarlyStop(3, 2, 1)
    other._recover(tmp_path / "state")
    assert repr(other.history) == repr(stop.history)
    assert other.seconds == 12.5
    assert list(other) == [2, 3]


# checkpoints


def weights(value) -> torch.nn.Linear:
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, value)
    return layer


def save(checkpointer, epoch, score):
    checkpointer.recoverables["model"].weight.data.fill_(epoch)
    checkpointer.save_and_keep_only(
        meta={"epoch": epoch, "score": score}, importance_keys=[importance]
    )


def kept(checkpointer) -> list[int]:
    return sorted(checkpoint.meta["epoch"] for checkpoint in checkpointer.list_checkpoints())


def test_the_best_and_the_latest_are_kept_and_of_equals_the_later(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"model": weights(0), "epochs": EarlyStop(9)})
    history = [(1, 50.0, [1]), (2, 70.0, [2]), (3, 60.0, [2, 3]), (4, 70.0, [4]), (5, 1.0, [4, 5])]
    for epoch, score, left in history:
        save(checkpointer, epoch, score)
        assert kept(checkpointer) == left
    best = checkpointer.find_checkpoint(importance_key=importance)
    assert best.meta["epoch"] == 4
    assert best.path == tmp_path / "CKPT+epoch0004"
    checkpointer.recoverables["model"].weight.data.fill_(-1)
    checkpointer.load_checkpoint(best)
    assert float(checkpointer.recoverables["model"].weight) == 4


def test_a_crash_while_saving_leaves_the_old_checkpoints_only(tmp_path):
    model, stop = weights(0), EarlyStop(9)
    checkpointer = AtomicCheckpointer(tmp_path, {"first": model, "model": model, "last": stop})
    save(checkpointer, 1, 5.0)
    save(checkpointer, 2, 4.0)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def crash(obj, path):
        path.write_bytes(b"half of it")
        raise OSError("No space left on device")

    checkpointer.custom_save_hooks["model"] = crash
    with pytest.raises(OSError, match="No space left"):
        save(checkpointer, 3, 9.0)
    checkpointer.custom_save_hooks.clear()
    assert kept(checkpointer) == [1, 2]
    assert all(path.read_bytes() == content for path, content in before.items())
    other = AtomicCheckpointer(tmp_path, {"model": weights(0)})
    assert other.recover_if_possible().meta["epoch"] == 2
    save(checkpointer, 3, 9.0)
    assert kept(checkpointer) == [3]
    assert not list(tmp_path.glob("incomplete/*")), "the half is gone"


def test_a_clock_that_steps_back_changes_nothing(tmp_path, monkeypatch):
    """Checkpoints are as recent as their epoch, and one that a kill left behind is replaced."""
    clock = itertools.count(5e9, -1000)
    monkeypatch.setattr("speechbrain.utils.checkpoints.time.time", lambda: next(clock))
    checkpointer = AtomicCheckpointer(tmp_path, {"model": weights(0), "epochs": EarlyStop(9)})
    save(checkpointer, 1, 9.0)
    save(checkpointer, 2, 5.0)
    save(checkpointer, 3, 5.0)
    assert kept(checkpointer) == [1, 3], "the best, and the latest by its epoch"
    assert checkpointer.recover_if_possible().meta["epoch"] == 3
    checkpointer.save_checkpoint({"epoch": 4, "score": 1.0})  # killed before the others went
    save(checkpointer, 4, 7.0)
    assert kept(checkpointer) == [1, 4]
    assert checkpointer.recover_if_possible().meta == pytest.approx(
        {"epoch": 4, "score": 7.0, "unixtime": 4, "end-of-epoch": True}
    )


@pytest.mark.parametrize("content", [b"", b"score: 5\n", b"epoch: [", b"\xff", b"epoch: 1\n"])
def test_a_checkpoint_without_its_facts_is_named(tmp_path, content):
    checkpointer = AtomicCheckpointer(tmp_path, {"model": weights(0)})
    save(checkpointer, 1, 5.0)
    (tmp_path / "CKPT+epoch0001" / "CKPT.yaml").write_bytes(content)
    with pytest.raises(InputError, match="CKPT.epoch0001 is damaged.*delete that folder"):
        checkpointer.recover_if_possible()


def test_a_damaged_checkpoint_is_named(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"model": weights(0)})
    save(checkpointer, 1, 5.0)
    (tmp_path / "CKPT+epoch0001" / "model.ckpt").write_bytes(b"half of it")
    with pytest.raises(InputError, match="CKPT.epoch0001 is damaged.*delete that folder"):
        checkpointer.recover_if_possible()


# a Brain with a network of three weights per class

LABELS = ["angry", "happy", "sad"]
UTTERANCES = 7


class TinyNetwork(torch.nn.Module):
    """speech -> logits [batch, class] from its mean, its energy and one."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(2, 3)
        self.head.probs = lambda logits: logits.softmax(dim=1)
        torch.nn.init.constant_(self.head.weight, 0.1)
        torch.nn.init.zeros_(self.head.bias)

    def encode(self, speech, lens):
        return torch.stack([speech.mean(dim=1), speech.square().mean(dim=1)], dim=1), lens

    def pool(self, frames, counts):
        return frames

    def forward(self, speech, lens):
        return self.head(self.encode(speech, lens)[0])


class Offset(torch.nn.Module):
    """A criterion with a weight of its own."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, logits, targets):
        return torch.nn.functional.cross_entropy(self.scale * logits, targets)


class RecordingSGD(torch.optim.SGD):
    """Stochastic gradient descent that keeps each step's rate and gradient norm."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr)
        self.steps = []

    def step(self, closure=None):
        (group,) = self.param_groups
        norms = torch.stack([p.grad.norm() for p in group["params"]])
        self.steps.append((group["lr"], float(norms.norm())))
        return super().step(closure)


class TinyBrain(SerBrain):
    """Cross-entropy; scripted validation losses and scores if there are any."""

    losses = scores_of = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen, self.measured = [], []

    def loss(self, outputs, batch):
        if self.modules.training:
            self.seen.append((list(batch.id), batch.speech.data.clone()))
        elif self.losses:
            return torch.tensor(self.losses[self.hparams.epochs.current - 1])
        return self.modules.criterion(outputs.logits, batch.emotion_id)

    def selection_score(self):
        self.measured.append(self.scores)
        if self.scores_of:
            return self.scores_of[self.hparams.epochs.current - 1]
        return super().selection_score()


@pytest.fixture
def part(tmp_path) -> dict:
    entries = {}
    draw = np.random.default_rng(0)
    for i in range(UTTERANCES):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, draw.uniform(-0.9, 0.9, 1600 + 100 * i) + i / 100, 16_000, "FLOAT")
        entries[f"utt{i}"] = {"wav": str(path), "emotion": LABELS[i % 3]}
    return entries


@pytest.fixture
def train(part, tmp_path):
    """A function that trains a TinyBrain, or goes on with one, and returns it."""

    def run(
        epochs,
        factor=1,
        norm=100.0,
        batch_size=1,
        workers=0,
        folder="run",
        losses=None,
        scores=None,
        **settings,
    ):
        stop = epochs if isinstance(epochs, EarlyStop) else EarlyStop(epochs)
        reader = SpeechReader(max_seconds=0.09)
        targets = {"emotion": LABELS}
        hparams = {
            "lr": 0.5,
            "schedule": functools.partial(schedules.exponential, decay=0.98),
            "augment": None,
            "cache": None,
            "logger": None,
            "select_by": "UA",
            "seed": 7,
        } | settings
        hparams |= {"targets": targets, "epochs": stop, "reader": reader}
        folder = tmp_path / folder
        hparams["output_folder"] = str(folder)
        modules = {"model": TinyNetwork(), "criterion": Offset()}
        brain = TinyBrain(
            modules=modules,
            opt_class=RecordingSGD,
            hparams=hparams,
            run_opts={
                "device": "cpu",
                "grad_accumulation_factor": factor,
                "max_grad_norm": norm,
                "noprogressbar": True,
                "ckpt_interval_minutes": 0,
            },
            checkpointer=AtomicCheckpointer(folder / "save", modules | {"epochs": stop}),
        )
        brain.losses, brain.scores_of = losses, scores
        emotions = [entry["emotion"] for entry in part.values()]
        brain.train_sampler = ShuffledBatches(emotions, batch_size, 0)
        brain.test = make_loader(make_dataset(part, reader, targets), workers, 2)
        training = make_dataset(part, reader, targets, training=True)
        loader = make_loader(training, workers, batches=brain.train_sampler)
        brain.fit(stop, loader, brain.test)
        return brain

    return run


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7, 10])
def test_an_epoch_s_last_group_is_stepped(train, factor):
    brain = train(epochs=2, factor=factor)
    assert len(brain.optimizer.steps) == 2 * math.ceil(UTTERANCES / factor)
    assert brain.optimizer_step == 2 * math.ceil(UTTERANCES / factor)


@pytest.mark.parametrize("factor", [1, 3, 4])
def test_accumulated_steps_by_a_plain_loop(train, factor):
    brain = train(epochs=2, factor=factor, norm=1e9)
    network, criterion = TinyNetwork(), Offset()
    parameters = [*network.parameters(), *criterion.parameters()]
    batches = [brain.seen[:UTTERANCES], brain.seen[UTTERANCES:]]
    for epoch, epoch_batches in enumerate(batches):
        for start in range(0, UTTERANCES, factor):
            total = 0.0
            for ids, speech in epoch_batches[start : start + factor]:
                target = torch.tensor([int(ids[0][3:]) % 3])
                total = total + criterion(network(speech, torch.ones(1)), target) / factor
            gradients = torch.autograd.grad(total, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= 0.5 * 0.98**epoch * gradient
    for ours, theirs in zip(parameters, brain.modules.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_the_norm_over_all_trained_parameters_is_clipped(train):
    free = [norm for _, norm in train(epochs=1, norm=1e9).optimizer.steps]
    assert min(free) > 0.05
    brain = train(epochs=1, norm=0.05, folder="clipped")
    (group,) = brain.optimizer.param_groups
    assert len(group["params"]) == 3  # the criterion's too
    for _, norm in brain.optimizer.steps:
        assert norm == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
def test_gradients_are_asked_about_once_and_bad_ones_are_dropped(train, monkeypatch, bad):
    brain = train(epochs=1)
    parameters = list(brain.modules.parameters())
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.5)
    if bad is not None:
        parameters[1].grad[0] = bad
    asked = []
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda t: asked.append(t) or t.item() != 0)
    brain.check_gradients()
    monkeypatch.undo()
    assert [p.grad is None for p in parameters] == [False, bad is not None, False]
    assert len(asked) == (1 if bad is None else 1 + len(parameters))


def spoil(monkeypatch, bad):
    """Losses of the training batches, counted from 1 over all epochs, that are no numbers."""
    forward, count = Offset.forward, itertools.count(1)

    def spoilt(self, logits, targets):
        loss = forward(self, logits, targets)
        return loss + math.nan if torch.is_grad_enabled() and next(count) in bad else loss

    monkeypatch.setattr(Offset, "forward", spoilt)


@pytest.mark.parametrize(
    ("bad", "batch_size", "sentence"),
    [
        (range(1, 99), 1, "epoch 1: the training loss is NaN or infinite in 4 of its first 4"),
        ((2, 4, 5, 7), 1, "epoch 1: .* in 4 of its first 7 batches"),  # beyond the patience
        ((1,), 7, "epoch 1: .* in 1 of its first 1 batches"),  # none of the epoch is a number
        (
            (2, 8),
            1,
            r"epoch 2: .* in 1 of its first 7 batches: train a new --variant with a "
            r"smaller --lr .here 0.5. or --max_grad_norm .here 100.",
        ),  # in each epoch again
    ],
)
def test_losses_that_stay_no_numbers_end_the_run(train, monkeypatch, bad, batch_size, sentence):
    spoil(monkeypatch, bad)
    with pytest.raises(InputError, match=sentence):
        train(epochs=3, batch_size=batch_size)


def test_a_loss_that_is_no_number_for_once_does_not_end_the_run(train, monkeypatch, caplog):
    spoil(monkeypatch, (1, 3, 16))
    brain = train(epochs=3)
    losses = [row["train_loss"] for row in brain.hparams.epochs.history]
    assert [math.isfinite(loss) for loss in losses] == [False, True, False]
    assert "batch 3 of this epoch has a loss of nan" in caplog.text
    assert all(weight.isfinite().all() for weight in brain.modules.parameters())


@pytest.mark.parametrize(
    ("opt_class", "fused"),
    [
        (torch.optim.AdamW, True),
        (functools.partial(torch.optim.Adam, betas=(0.9, 0.98)), True),
        (functools.partial(torch.optim.SGD, fused=False), False),
        (torch.optim.Rprop, None),  # has no fused form
    ],
)
def test_an_optimiser_is_fused_where_it_can_be_and_may(opt_class, fused):
    brain = mock.Mock(
        modules=torch.nn.Linear(2, 2), opt_class=opt_class, hparams=mock.Mock(lr=0.25)
    )
    SerBrain.init_optimizers(brain)
    assert brain.optimizer.defaults.get("fused") is fused
    assert brain.optimizer.defaults["lr"] == 0.25


def test_frozen_parameters_are_not_the_optimizer_s(train, monkeypatch):
    original = TinyNetwork.__init__

    def frozen(self):
        original(self)
        self.head.bias.requires_grad_(False)

    monkeypatch.setattr(TinyNetwork, "__init__", frozen)
    brain = train(epochs=1)
    assert len(brain.optimizer.param_groups[0]["params"]) == 2
    assert not brain.modules.model.head.bias.any()


def test_the_learning_rate_falls_by_epoch(train):
    brain = train(epochs=4)
    rates = [rate for rate, _ in brain.optimizer.steps]
    for i, rate in enumerate(rates):
        assert rate == pytest.approx(0.5 * 0.98 ** (i // UTTERANCES), rel=1e-12)
    history = brain.hparams.epochs.history
    assert [row["lr"] for row in history] == pytest.approx([rates[7 * i] for i in range(4)])
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]


def test_resumed_training_equals_training_in_one_go(train):
    whole = train(epochs=4, factor=2)
    train(epochs=2, factor=2, folder="parts")
    rest = train(epochs=4, factor=2, folder="parts")
    assert len(rest.optimizer.steps) == 2 * 4
    assert whole.optimizer.steps[8:] == rest.optimizer.steps
    pairs = zip(whole.modules.model.parameters(), rest.modules.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert repr(whole.hparams.epochs.history) == repr(rest.hparams.epochs.history)


@pytest.mark.parametrize("killed_after", [1, 2, 3, 4])
def test_resumed_training_stops_where_training_in_one_go_does(train, killed_after):
    losses = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    whole = train(EarlyStop(7, patience=4), losses=losses)
    assert whole.hparams.epochs.current == 5
    # the process dies behind an epoch: its checkpoint is all that is left
    train(EarlyStop(killed_after, patience=4), losses=losses, folder="parts")
    rest = train(EarlyStop(7, patience=4), losses=losses, folder="parts")
    assert rest.hparams.epochs.current == 5


def test_the_best_epoch_is_tested_and_of_equals_the_later(train):
    brain = train(epochs=5, scores=[10.0, 80.0, 20.0, 80.0, 30.0])
    log = []
    for checkpoint in brain.checkpointer.list_checkpoints():
        log.append((checkpoint.meta["epoch"], torch.load(checkpoint.paramfiles["model"])))
    assert sorted(epoch for epoch, _ in log) == [4, 5]
    brain.evaluate(brain.test)
    assert brain.best_epoch == 4
    best = dict(log)[4]
    assert all(torch.equal(best[k], v) for k, v in brain.modules.model.state_dict().items())


@pytest.mark.parametrize("select_by", ["WA", "UA", "F1", "loss"])
def test_select_by(train, select_by):
    brain = train(epochs=3, select_by=select_by)
    history = brain.hparams.epochs.history
    brain.evaluate(brain.test)
    if select_by == "loss":
        lowest = min(row["valid_loss"] for row in history)
        assert history[brain.best_epoch - 1]["valid_loss"] == lowest
    else:  # F1 is in no row of the history
        scores = [measured[select_by] for measured in brain.measured]
        assert len(scores) == len(history) == 3
        assert brain.best_epoch == max(range(1, 4), key=lambda k: (scores[k - 1], k))


@pytest.mark.parametrize("losses", [[0.9, math.nan, 0.5, 0.8], [math.nan, 0.9, 0.5, math.nan]])
def test_a_loss_that_is_no_number_is_never_the_best(train, losses):
    brain = train(epochs=4, losses=losses, select_by="loss")
    brain.evaluate(brain.test)
    assert brain.best_epoch == 3


def test_a_damaged_best_checkpoint_is_named(train):
    brain = train(epochs=2, scores=[9.0, 1.0])
    best = brain.checkpointer.find_checkpoint(importance_key=importance)
    best.paramfiles["model"].write_bytes(b"half of it")
    with pytest.raises(InputError, match="CKPT.epoch0001"):
        brain.evaluate(brain.test)


def test_a_best_checkpoint_that_is_gone_is_no_reason_to_test_another(train):
    brain = train(epochs=3, scores=[1.0, 9.0, 2.0])
    shutil.rmtree(brain.checkpointer.find_checkpoint(importance_key=importance).path)
    with pytest.raises(InputError, match="epoch 2 was the best.*testing epoch 3 would"):
        brain.evaluate(brain.test)


def test_nothing_to_test_is_said(train, tmp_path):
    brain = train(epochs=0)
    with pytest.raises(InputError, match="run has no checkpoint to test: train first"):
        brain.evaluate(brain.test)


def test_predictions_and_scores_by_hand(train):
    brain = train(epochs=1)
    brain.evaluate(brain.test)
    rows = brain.predictions()
    assert [row["id"] for row in rows] == [f"utt{i}" for i in range(UTTERANCES)]
    assert [row["target"] for row in rows] == [LABELS[i % 3] for i in range(UTTERANCES)]
    right = 0
    for i, row in enumerate(rows):
        speech = next(b for b in brain.test if row["id"] in b.id)
        speech = speech.speech.data[speech.id.index(row["id"])]
        with torch.no_grad():
            logits = brain.modules.model(speech[None], torch.ones(1))[0].tolist()
        total = sum(map(math.exp, logits))
        for label, logit in zip(LABELS, logits, strict=True):
            assert row[label] == pytest.approx(math.exp(logit) / total, rel=1e-5)
        assert row["prediction"] == LABELS[logits.index(max(logits))]
        right += row["prediction"] == LABELS[i % 3]
    assert brain.scores["WA"] == pytest.approx(100 * right / UTTERANCES)


def test_epochs_do_not_depend_on_the_number_of_workers(train):
    """Random windows included: a run may go on with another number of workers."""
    seen = [
        train(epochs=2, batch_size=3, workers=workers, folder=f"w{workers}").seen
        for workers in (0, 1, 2)
    ]
    for other in seen[1:]:
        assert [ids for ids, _ in other] == [ids for ids, _ in seen[0]]
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(other, seen[0], strict=True))
    first, second = seen[0][:2], seen[0][2:]  # 7 utterances: batches of 3 and 4
    windows = [
        {i: row for ids, rows in part for i, row in zip(ids, rows, strict=True)}
        for part in (first, second)
    ]
    cut = [i for i in windows[0] if not torch.equal(windows[0][i], windows[1][i])]
    assert len(cut) >= 4, "windows move from epoch to epoch"
