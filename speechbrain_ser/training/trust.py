"""How far answers can be relied on: what each epoch's validation tells, and what it is worth."""

import functools
import logging
from collections.abc import Mapping

import numpy as np

from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.models.heads import answering
from speechbrain_ser.results import calibration
from speechbrain_ser.training.brain import SerBrain

logger = logging.getLogger(__name__)


def begin(brain: SerBrain, settings: Mapping) -> None:
    """Let a run's validation find the temperature of its head, if that can be found and kept.

    settings : resolved, with tags

    What an earlier phase found is forgotten where this one trains. Raises InputError where
    `unsure_error` asks for what nothing can tell.
    """
    model, obstacle = brain.modules.model, _obstacle(brain, settings)
    head = answering(model)
    if head is not None and settings["max_epochs"]:
        head.temperature = 1.0
    if obstacle and settings["unsure_error"] is not None:
        raise InputError(f"unsure_error is chosen on validation, and {obstacle}: leave it at null")
    brain.of_validation = None if obstacle else functools.partial(learned, brain)


def _obstacle(brain: SerBrain, settings: Mapping) -> str:
    """Why validation cannot tell how far this run's answers can be relied on; "" if it can."""
    model = brain.modules.model
    if brain.parts["valid"] is brain.parts["test"]:
        return "this split has no validation of its own"
    if not settings["max_epochs"]:
        return f"{settings['experiment']} trains nothing: its networks' own runs choose"
    if not brain.labels:
        return "what is learned here has no classes"
    if answering(model) is None or saved.head_of(settings["model"], model) is None:
        return f"{type(model).__name__} has no head of its own that would keep what is chosen"
    return ""


def learned(brain: SerBrain) -> dict:
    """What an epoch's validation tells: {"temperature"}, and for `unsure_error` "unsure_below"."""
    head = brain.modules.model.head
    logits = head.logits(brain.logits).double().numpy()
    if not np.isfinite(logits).all():
        return {}
    targets, wanted = _targets(brain)
    temperature = calibration.temperature(logits, wanted)
    found: dict[str, float | None] = {"temperature": temperature}
    if (error := brain.hparams.unsure_error) is not None:
        probs = calibration.cooled(logits, temperature)
        found["unsure_below"] = calibration.threshold(probs, targets, error)
    return found


def facts(brain: SerBrain) -> dict:
    """For results.json what the temperature and the threshold are worth on the test part."""
    if "confusion" not in brain.scores or not brain.labels:
        return {}
    head, own = brain.modules.model.head, answering(brain.modules.model)
    told = brain.validated
    outputs = brain.logits
    logits = own.logits(outputs).double().numpy() if own else calibration.logs(head.probs(outputs))
    targets, wanted = _targets(brain)
    found = calibration.scores(logits, told.get("temperature"), targets, wanted)
    if "unsure_below" in told:
        error, below = brain.hparams.unsure_error, told["unsure_below"]
        found["unsure"] = {"wanted_error": 100 * error, "below": below}
        if below is not None:
            probs = calibration.cooled(logits, told["temperature"])
            found["unsure"] |= calibration.unsure(probs, targets, below)
        else:
            logger.warning(
                "unsure_error is %g: even of the answers that are surest more are wrong in "
                "validation, so that the model has no threshold",
                error,
            )
    return found


def _targets(brain: SerBrain) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers [utterance]; and the annotators' shares [utterance, class], or these again."""
    targets = np.asarray(brain.records["target"])
    return targets, np.asarray(brain.records["shares"]) if brain.records["shares"] else targets
