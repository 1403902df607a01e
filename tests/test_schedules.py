"""Learning rates: the papers' schedules by hand and by PyTorch's and Hugging Face's own."""

import functools

import pytest
import torch
from torch import nn

from speechbrain_ser.errors import InputError
from speechbrain_ser.training import schedules
from speechbrain_ser.training.schedules import Progress


def at(epoch=1, epochs=5, updates=0, losses=()) -> Progress:
    return Progress(epoch, epochs, updates, losses)


def test_constant_and_exponential():
    assert [schedules.constant(at(epoch)) for epoch in (1, 5)] == [1, 1]
    rates = [schedules.exponential(at(epoch), decay=0.98) for epoch in (1, 2, 4)]
    assert rates == pytest.approx([1, 0.98, 0.98 * 0.98 * 0.98], rel=1e-12)


def test_warm_up_by_hand():
    rates = [schedules.warm_up(at(epoch, 10), share=0.2) for epoch in range(1, 11)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2:] == pytest.approx([1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_warm_up_over_no_epochs_is_refused(share):
    with pytest.raises(InputError, match="the share of warm_up is"):
        schedules.warm_up(at(), share)


def test_linear_is_hugging_faces_schedule_without_warm_up():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=7)
    for update in range(9):
        rate = schedules.linear(at(updates=update), updates=7)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        fall.step()


def test_plateau_falls_after_so_many_epochs_without_a_lower_loss():
    losses = [1.0, *[1.5] * 20]  # Wang 2023: "not decreased for 20 consecutive epochs"
    rates = [schedules.plateau(at(losses=losses[:n]), 20, 0.1) for n in range(len(losses) + 1)]
    assert rates == [1] * 21 + [0.1]
    again = schedules.plateau(at(losses=losses + [1.0] * 19), 20, 0.1)
    assert again == 0.1, "the count begins anew"
    assert schedules.plateau(at(losses=losses + [1.0] * 20), 20, 0.1) == pytest.approx(0.01)
    assert schedules.plateau(at(losses=[*losses[:-1], 0.9]), 20, 0.1) == 1
    with pytest.raises(InputError, match="the patience of plateau is 0: at least 1"):
        schedules.plateau(at(), 0, 0.1)


@pytest.mark.parametrize("patience", [1, 3, 20])
def test_plateau_is_pytorchs_scheduler_which_waits_one_epoch_more(patience):
    draw = torch.Generator().manual_seed(patience)
    losses = (torch.rand(120, generator=draw) + torch.linspace(1, 0, 120)).round(decimals=1)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience - 1, threshold=0, eps=0
    )
    for epoch, loss in enumerate(losses.tolist(), start=1):
        scheduler.step(loss)
        rate = schedules.plateau(at(losses=losses[:epoch].tolist()), patience, factor=0.5)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
    if patience < 20:
        assert rate < 0.5


def test_schedules_agree_where_the_number_of_epochs_is_not_asked():
    losses = [3.0, 2.0, 2.5]
    for schedule in (
        schedules.constant,
        functools.partial(schedules.exponential, decay=0.9),
        functools.partial(schedules.linear, updates=250),
        functools.partial(schedules.plateau, patience=1, factor=0.5),
        lambda progress: 1 if progress.epoch <= 3 else 3 / progress.epochs,  # later epochs only
    ):
        assert schedules.agree(schedule, (3, 5), losses)
    for schedule in (
        functools.partial(schedules.warm_up, share=0.5),
        lambda progress: progress.updates / progress.epochs,
    ):
        assert not schedules.agree(schedule, (3, 5), losses)
