"""Groups of speakers kept apart, drawn or named."""

import logging
import random
from collections import Counter
from collections.abc import Collection, Sequence

from speechbrain_ser.data.splits import balance
from speechbrain_ser.data.splits.entries import (
    Manifest,
    listed,
    of_fold,
    only_fold,
    require,
    values,
    where,
    without,
)
from speechbrain_ser.data.splits.parts import Parts, check_parts
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)


def by_actor(manifest: Manifest, fold: int = 1, n_folds: int = 6, seed: int | None = None) -> Parts:
    """Speaker-independent: the speakers are dealt into `n_folds` groups that are alike.

    Group `fold` is the test part, the next one (after the last the first) validates and the rest
    trains. Groups are balanced by speakers of each gender, utterances, and utterances of each
    emotion, as far as the speakers allow; what they do not is logged. The 24 actors of RAVDESS,
    who say the same, give 6 groups of 2 women and 2 men. `seed` shuffles the speakers before they
    are dealt; None deals them in sorted order.
    """
    of_fold(range(1, n_folds + 1), fold, "group")
    require(manifest, "speaker")
    speakers = values(manifest, "speaker")
    if len(speakers) < 3:
        raise InputError(
            f"{len(speakers)} speakers cannot be kept apart in training, validation and test, "
            "which takes 3: mix them, --split '!name:speechbrain_ser.data.splits.stratified {}' "
            "(speaker-dependent), or test another corpus' model on them, ser cross-corpus"
        )
    if not 3 <= n_folds <= len(speakers):
        raise InputError(
            f"n_folds is {n_folds}: {len(speakers)} speakers can be dealt into 3 (train, valid, "
            f"test) to {len(speakers)} groups, such as --split "
            f"'!name:speechbrain_ser.data.splits.by_actor {{n_folds: {len(speakers)}}}'"
        )
    if seed is not None:
        random.Random(seed).shuffle(speakers)
    gender: dict[str, str] = {}
    for utt_id, entry in manifest.items():
        if gender.setdefault(entry["speaker"], entry["gender"]) != entry["gender"]:
            raise InputError(
                f"{utt_id}: speaker {entry['speaker']} has gender {entry['gender']!r} here and "
                f"{gender[entry['speaker']]!r} before: give every speaker one gender"
            )
    # dealt gender after gender without starting again: groups differ by one speaker at most
    dealt = sorted(speakers, key=lambda speaker: gender[speaker])
    group_of = {speaker: position % n_folds for position, speaker in enumerate(dealt)}
    balanced = balance.evened(manifest, group_of, gender, n_folds)
    groups = [{s for s in speakers if balanced[s] == group} for group in range(n_folds)]
    if unbalanced := balance.unevenness(manifest, groups):
        logger.warning("by_actor: %s", unbalanced)
    return given_speakers(manifest, valid=groups[fold % n_folds], test=groups[fold - 1])


def given_folds(manifest: Manifest, fold: int = 1, *, groups: Sequence[Collection[str]]) -> Parts:
    """Speaker-independent: fold k tests the speakers of group k, and the next group validates.

    After the last group comes the first; speakers of no group train in every fold. EmoBox (Ma et
    al. 2024) names six groups of RAVDESS' actors.
    """
    names = [sorted(group) for group in groups]
    of_fold([", ".join(group) for group in names], fold, "group")
    if len(names) < 2:
        raise InputError("one group is given: another must validate, so give two or more")
    often = [
        name for name, n in Counter(name for group in names for name in group).items() if n > 1
    ]
    if often:
        raise InputError(f"speakers {listed(often)} are in two groups: give each once")
    return given_speakers(manifest, valid=names[fold % len(names)], test=names[fold - 1])


def given_speakers(
    manifest: Manifest, fold: int = 1, *, valid: Collection[str], test: Collection[str]
) -> Parts:
    """Speaker-independent: the speakers of `valid` and `test` are named, the rest trains.

    Pepino 2021 names actors 21, 22 and 23, 24 of RAVDESS. There is one fold.
    """
    only_fold(fold, "given_speakers", "name other speakers for another split")
    require(manifest, "speaker")
    unknown = sorted({*valid, *test} - set(values(manifest, "speaker")))
    if unknown:
        raise InputError(
            f"speakers {', '.join(map(repr, unknown))} of the split are not in the manifest, "
            f"which holds {listed(values(manifest, 'speaker'))}"
        )
    twice = sorted(set(valid) & set(test))
    if twice:
        raise InputError(
            f"speakers {', '.join(twice)} are given for validation and for test: give each once"
        )
    parts = {"valid": where(manifest, speaker=valid), "test": where(manifest, speaker=test)}
    parts = {"train": without(manifest, parts["valid"] | parts["test"]), **parts}
    return check_parts(parts, manifest, test_apart=["speaker"], valid_apart=["speaker"])
