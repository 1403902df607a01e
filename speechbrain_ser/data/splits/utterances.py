"""Speaker-dependent splits, and the one that a manifest brings along."""

import random
from collections import Counter

from speechbrain_ser.data.splits.entries import (
    Manifest,
    check_share,
    listed,
    of_fold,
    only,
    only_fold,
    require,
    where,
    without,
)
from speechbrain_ser.data.splits.parts import PARTS, Parts, check_parts
from speechbrain_ser.errors import InputError


def random_folds(manifest: Manifest, fold: int = 1, n_folds: int = 5, seed: int = 123) -> Parts:
    """Speaker-DEPENDENT: the utterances are dealt at random into `n_folds` folds.

    Fold `fold` is the test part, the next one (after the last the first) validates, the rest
    trains. The last fold holds what the others, of floor(n / n_folds) each, leave: 4 of 490 and
    one of 492 for RAVDESS (Pepino 2021 after Issa et al.; the authors' draw depends on the seed of
    training, so give that one).
    """
    of_fold(range(1, n_folds + 1), fold, "fold")
    require(manifest)
    if not 3 <= n_folds <= len(manifest):
        raise InputError(
            f"n_folds is {n_folds}: {len(manifest)} utterances can be dealt into 3 (train, valid, "
            f"test) to {len(manifest)} folds"
        )
    order = sorted(manifest)
    random.Random(seed).shuffle(order)
    size = len(order) // n_folds
    dealt = [set(order[k * size : (k + 1) * size]) for k in range(n_folds - 1)]
    dealt.append(set(order[(n_folds - 1) * size :]))
    chosen = {"valid": dealt[fold % n_folds], "test": dealt[fold - 1]}
    parts = {
        part: {utt_id: entry for utt_id, entry in manifest.items() if utt_id in ids}
        for part, ids in chosen.items()
    }
    train = without(manifest, parts["valid"] | parts["test"])
    return check_parts({"train": train, **parts}, manifest)


def stratified(
    manifest: Manifest,
    fold: int = 1,
    test_share: float = 0.2,
    valid_share: float = 0.1,
    seed: int = 101,
) -> Parts:
    """Speaker-DEPENDENT: a random part of every emotion is tested, by speakers known in training.

    scikit-learn's stratified train_test_split over the rows sorted by (emotion, utt_id); seed
    101 gives the test supports of Gavali & Verma on RAVDESS. `valid_share` is of what remains for
    training; they validated on the test part, which is not offered. There is one fold.
    """
    only_fold(fold, "stratified", "choose another seed for another split")
    rest, test = _stratify(manifest, test_share, "test_share", "emotion", seed)
    train, valid = _stratify(rest, valid_share, "valid_share", "emotion", seed)
    return check_parts({"train": train, "valid": valid, "test": test}, manifest)


def official(
    manifest: Manifest,
    fold: int = 1,
    valid_share: float = 0.1,
    target: str = "emotion",
    seed: int = 1000,
) -> Parts:
    """The manifest's own `split` field (train, valid or test) decides; it promises nothing else.

    Where that names no validation part, a random `valid_share` of the training part, stratified
    by `target`, validates. There is one fold. VoxCeleb1's official lists and the `split` column
    of a user's table come this way.
    """
    only_fold(fold, "official", "the manifest's split field gives one split")
    wrong = [utt_id for utt_id, entry in manifest.items() if entry.get("split") not in PARTS]
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(manifest)} utterances have no split train, valid or test: "
            + listed([f"{utt_id} ({manifest[utt_id].get('split')!r})" for utt_id in wrong])
        )
    parts = {part: where(manifest, split={part}) for part in PARTS}
    if not parts["valid"]:
        parts["train"], parts["valid"] = _stratify(
            parts["train"], valid_share, "valid_share", target, seed
        )
    return check_parts(parts, manifest)


def _stratify(
    entries: Manifest, share: float, name: str, target: str, seed: int
) -> tuple[Manifest, Manifest]:
    """entries -> (the rest, a random share of every class of `target`)."""
    from sklearn.model_selection import train_test_split  # late: it takes a second, seldom used

    check_share(share, name)
    require(entries, target)
    utt_ids = sorted(entries, key=lambda utt_id: (entries[utt_id][target], utt_id))
    classes = [entries[utt_id][target] for utt_id in utt_ids]
    try:
        rest, drawn = train_test_split(
            utt_ids, test_size=share, stratify=classes, random_state=seed
        )
    except ValueError as error:
        rarest, size = min(Counter(classes).items(), key=lambda item: item[1])
        raise InputError(
            f"{len(entries)} utterances of {len(set(classes))} classes of {target} (the rarest, "
            f"{rarest}, has {size}) cannot be divided with {name} {share}: {error}"
        ) from None
    return only(entries, set(rest)), only(entries, set(drawn))
