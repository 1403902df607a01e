"""Speaker-dependent splits, and the one that a manifest brings along."""

import random
from collections import Counter, defaultdict

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
    valid_by: str = "utterance",
) -> Parts:
    """The manifest's own `split` field decides; it promises nothing else.

    It is train, valid or test, one fold; or a list of these, one for each fold, with "" where an
    utterance is in no part. Where that names no validation part, about `valid_share` of the
    training part validates. VoxCeleb1's official lists, EmoBox's folds and the `split` column of a
    user's table come this way.

    valid_by : how a validation part is drawn
        "utterance": at random, stratified by `target`; its speakers also train
        "speaker": whole speakers in a random order, as many as it takes; those who alone have a
            class, or would leave less than half of the utterances for training, stay there
    """
    if valid_by not in ("utterance", "speaker"):
        raise InputError(f"valid_by is {valid_by!r}: official knows utterance and speaker")
    parts = stated(manifest, fold)
    if parts["valid"] or not parts["train"]:
        return check_parts(parts, manifest)
    if valid_by == "utterance":
        parts["train"], parts["valid"] = _stratify(
            parts["train"], valid_share, "valid_share", target, seed
        )
        return check_parts(parts, manifest)
    parts["valid"] = _whole_speakers(parts["train"], valid_share, target, seed)
    parts["train"] = without(parts["train"], parts["valid"])
    return check_parts(parts, manifest, valid_apart=["speaker"])


def stated(manifest: Manifest, fold: int = 1) -> Parts:
    """The parts of a fold as the manifest's split field has them, see official; some may be empty.

    Raises InputError for another value of that field.
    """
    require(manifest)
    lists = {
        utt_id: e["split"] for utt_id, e in manifest.items() if isinstance(e.get("split"), list)
    }
    if not lists:
        only_fold(fold, "official", "the manifest's split field gives one split")
        part_of = {utt_id: entry.get("split") for utt_id, entry in manifest.items()}
        allowed: tuple[str, ...] = PARTS
    else:
        lengths = {len(own) for own in lists.values()}
        if len(lists) < len(manifest) or len(lengths) > 1 or 0 in lengths:
            raise InputError(
                f"{len(lists)} of {len(manifest)} utterances have a list as split, of "
                f"{' or '.join(map(str, sorted(lengths)))} folds: all need one of the same length"
            )
        of_fold(range(1, lengths.pop() + 1), fold, "fold")
        part_of = {utt_id: own[fold - 1] for utt_id, own in lists.items()}
        allowed = (*PARTS, "")
    wrong = [f"{utt_id} ({part!r})" for utt_id, part in part_of.items() if part not in allowed]
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(manifest)} utterances have no split train, valid or test: "
            + listed(wrong)
        )
    return {
        part: {utt_id: entry for utt_id, entry in manifest.items() if part_of[utt_id] == part}
        for part in PARTS
    }


def _whole_speakers(entries: Manifest, share: float, target: str, seed: int) -> Manifest:
    """Speakers drawn until they have a share of the entries; each class keeps some elsewhere."""
    check_share(share, "valid_share")
    require(entries, target)
    instead = (
        "use valid_by: utterance, --split '!name:speechbrain_ser.data.splits.official {valid_by: "
        "utterance}'"
    )
    if unknown := sum(not entry["speaker"] for entry in entries.values()):
        raise InputError(
            f"{unknown} of {len(entries)} training utterances name no speaker, so that no whole "
            f"speaker can validate: {instead}"
        )
    own: dict[str, Counter] = defaultdict(Counter)  # speaker -> utterances of each class
    for entry in entries.values():
        own[entry["speaker"]][entry[target]] += 1
    order = sorted(own)
    random.Random(seed).shuffle(order)
    staying = sum(own.values(), Counter())
    drawn = set()
    for speaker in order:
        left = staying - own[speaker]
        if left.keys() == staying.keys() and 2 * left.total() >= len(entries):
            drawn.add(speaker)
            staying = left
        if len(entries) - staying.total() >= share * len(entries):
            break
    if not drawn:
        raise InputError(
            f"none of the {len(own)} training speakers can validate, for training needs half of "
            f"the utterances and every {target}: {instead}"
        )
    return where(entries, speaker=drawn)


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
