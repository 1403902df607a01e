"""Learning rates of the papers: what `lr` is multiplied by before an update.

A yaml names one as `schedule: !name:speechbrain_ser.training.schedules.exponential {decay: 0.98}`.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError


class Progress(NamedTuple):
    """Where training stands."""

    epoch: int  # from 1
    epochs: int  # in all
    updates: int  # made before this one
    losses: Sequence[float]  # on validation, of the epochs before this one


def constant(progress: Progress) -> float:
    """1."""
    return 1.0


def exponential(progress: Progress, decay: float) -> float:
    """Times `decay` after each epoch."""
    return decay ** (progress.epoch - 1)


def warm_up(progress: Progress, share: float) -> float:
    """Rises linearly over a share of the epochs, then falls linearly to 0.

    Raises InputError for a share that is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InputError(f"schedule: the share of warm_up is {share}, not above 0 and at most 1")
    epoch, epochs = progress.epoch, progress.epochs
    rising = share * epochs
    return min(epoch / rising, (epochs - epoch + 1) / max(1, epochs - rising))


def linear(progress: Progress, updates: int) -> float:
    """Falls linearly to 0 over a number of updates."""
    return max(0, 1 - progress.updates / updates)


def plateau(progress: Progress, patience: int, factor: float) -> float:
    """Times `factor` whenever `patience` epochs in a row brought no lower loss.

    The count begins anew after each time; PyTorch's ReduceLROnPlateau waits for one epoch more.
    Raises InputError for a patience below 1.
    """
    if patience < 1:
        raise InputError(f"schedule: the patience of plateau is {patience}: at least 1 is needed")
    best, waited, times = math.inf, 0, 0
    for loss in progress.losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited >= patience:
            times, waited = times + 1, 0
    return factor**times


def watches_validation(schedule) -> bool:
    """Whether a schedule, or a functools.partial of it, reads the validation losses."""
    return getattr(schedule, "func", schedule) is plateau


def agree(schedule: Callable, totals: Collection[int], losses: Sequence[float]) -> bool:
    """Whether some epochs' rates are the same for each of these numbers of epochs in all.

    losses : of the epochs, on validation; each is taken for 100 updates
    """

    def rates(epochs: int) -> list[float]:
        places = (Progress(e + 1, epochs, 100 * e, losses[:e]) for e in range(len(losses)))
        return [hp.call("schedule", schedule, place) for place in places]

    first, *others = map(rates, totals)
    return all(other == first for other in others)
