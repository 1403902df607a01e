"""Classes of unequal size: what a run tells its losses, and the user."""

import logging
from collections import Counter
from collections.abc import Mapping

from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import targets as kinds
from speechbrain_ser.models import losses
from speechbrain_ser.training.brain import SerBrain

logger = logging.getLogger(__name__)
COLLAPSED = 90  # percent of validation that get one answer
SAMPLERS = "speechbrain_ser.data.datasets"
BALANCED = "speechbrain_ser.models.losses.ClassBalancedCrossEntropy"


def count_classes(
    modules: Mapping[str, nn.Module], targets: Mapping, train: Mapping[str, dict]
) -> None:
    """Tell losses that weigh by frequency how many training utterances each class has.

    modules : of the yaml; `criterion` is the loss of the main target, `speaker_criterion` that of
        the target speaker
    targets : field of the manifest -> what is learned of it, the main target first; of numbers
        nothing is counted, and such a loss refuses them
    """
    made = kinds.of(targets)
    main = next(iter(made))
    for name, module in modules.items():
        field = name.removesuffix("_criterion")
        field = field if field in made else main
        for part in module.modules():
            if isinstance(part, losses.ByFrequency) and made[field].labels:
                utterances = Counter(entry[field] for entry in train.values())
                part.count([utterances[value] for value in made[field].labels])


def collapsed(brain: SerBrain, settings: Mapping) -> dict:
    """For results.json what the tested model answers almost always, in validation; {} if nothing.

    It is logged with what may help. Nothing is said where almost all of validation is that class
    and something else is answered, too, nor of a split whose validation is the test part: what is
    seen there is not for choosing.
    """
    most, parts = brain.most_answered, brain.parts
    if most is None or parts["valid"] is parts["test"]:
        return {}
    rare = most["targets"] <= COLLAPSED or most["targets"] < most["answers"] == 100
    if most["answers"] <= COLLAPSED or not rare:
        return {}
    main = next(iter(settings["targets"]))
    sizes = Counter(entry[main] for entry in parts["train"].values())
    words = remedy(settings, sizes)
    logger.warning(
        "The model answers %s for %.0f %% of validation, where %.0f %% are: it has hardly learned "
        "to tell the classes apart%s",
        *(most["label"], most["answers"], most["targets"]),
        f"; try --variant {settings['variant']}_again {words}" if words else "",
    )
    # a checkpoint may have sorted them
    return {"collapsed": {key: most[key] for key in ("label", "answers", "targets")}}


def remedy(settings: Mapping, sizes: Mapping[str, int]) -> str:
    """The words of a command line that may help against one answer for all, "" where none is known.

    settings : resolved, with tags
    sizes : class -> its training utterances
    """
    even = max(sizes.values()) < 2 * min(sizes.values())
    dealt = hp.tag_of(settings["batches"]).endswith((".BalancedBatches", ".UnderSampledBatches"))
    if settings["lr"] and (even or dealt):
        return f"--lr {settings['lr'] / 3:.1g}"
    # without a learning rate, or where the script itself computes it, no other loss is at work
    if settings["lr"] and hp.tag_of(settings.get("criterion")).endswith(".CrossEntropyLoss"):
        return f"--criterion '!new:{BALANCED} {{}}'"
    return "" if dealt else f"--batches '!name:{SAMPLERS}.BalancedBatches {{}}'"
