"""Splits: manifest -> train, valid and test, by pure functions that assert what they promise.

Every split is called as `split(manifest, fold=1)` and gives `{"train": ..., "valid": ...,
"test": ...}`, each a part of the manifest (the same entries, in the manifest's order). In every
split no utterance is in two parts and no part is empty; each docstring says what else is kept
apart. `protocol` computes the same from the result.
"""

import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from speechbrain_ser.data import balance
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)

Manifest = dict[str, dict]
Parts = dict[str, Manifest]
PARTS = ("train", "valid", "test")


class NoSuchFold(InputError):
    """The split has only the folds 1 to `count`."""

    def __init__(self, message: str, count: int):
        super().__init__(message)
        self.count = count


def leave_one_session_out(
    manifest: Manifest,
    fold: int = 1,
    validation: str = "balanced",
    share: float = 0.2,
    seed: int = 1000,
    labels: Sequence[str] | None = None,
) -> Parts:
    """Session-independent: session number `fold`, in sorted order and complete, is the test part.

    Speakers are kept apart too where nobody speaks in two sessions, as in IEMOCAP.

    validation : what is held out of the other sessions
        "balanced": from every emotion ceil(share * size of the smallest), drawn with `seed`;
            shares speakers and sessions with training (Park 2023, authors' code, with our order
            of the rows, because theirs is unpublished)
        "session": the next session, after the last one the first; shares no session with training
        "speaker": the first speaker of the next session; shares no speaker with training
        "last_session": the last session or, when that is tested, the one before (Pepino 2021)
    labels : the order in which "balanced" draws the emotions; sorted by name if None
    """
    _require(manifest, "session")
    sessions = _values(manifest, "session")
    test_session = _of_fold(sessions, fold, "session")
    test = _where(manifest, session={test_session})
    rest = _without(manifest, test)
    if not rest:
        raise InputError(
            f"all {len(manifest)} utterances are of session {test_session}: "
            "leaving one session out needs at least two"
        )
    next_session = sessions[fold % len(sessions)]
    apart = []  # what validation and training may not share either
    if validation == "balanced":
        valid = _balanced(rest, share, seed, labels)
    elif validation == "session":
        valid, apart = _where(rest, session={next_session}), ["session"]
    elif validation == "speaker":
        _require(rest, "speaker")
        speaker = _values(_where(rest, session={next_session}), "speaker")[0]
        valid, apart = _where(rest, speaker={speaker}), ["speaker"]
    elif validation == "last_session":
        valid, apart = _where(rest, session={_values(rest, "session")[-1]}), ["session"]
    else:
        raise InputError(
            f"validation is {validation!r}: leave_one_session_out knows balanced, session, "
            "speaker and last_session"
        )
    parts = {"train": _without(rest, valid), "valid": valid, "test": test}
    return check_parts(parts, manifest, test_apart=["session"], valid_apart=apart)


def leave_one_speaker_out(manifest: Manifest, fold: int = 1, validation: str = "partner") -> Parts:
    """Speaker-independent: speaker number `fold`, in sorted order and complete, is the test part.

    No session of the test speaker and no validation speaker is in training.

    validation :
        "partner": whoever shares the test speaker's session validates (Wang 2023), so that
            validation is of the test session
        "session": the next session validates, after the last one the first; the test speaker's
            partner is then in no part, so that nothing but the test part is of the test session
    """
    _require(manifest, "speaker", "session")
    sessions = _values(manifest, "session")
    speaker = _of_fold(_values(manifest, "speaker"), fold, "speaker")
    test = _where(manifest, speaker={speaker})
    test_sessions = set(_values(test, "session"))
    if validation == "partner":
        valid = _without(_where(manifest, session=test_sessions), test)
        if not valid:
            raise InputError(
                f"speaker {speaker} speaks alone in session {', '.join(sorted(test_sessions))}: "
                'there is no partner to validate on, use validation "session" or by_actor'
            )
        test_apart = ["speaker"]
    elif validation == "session":
        last = sessions.index(_values(test, "session")[-1])
        following = [s for s in sessions[last + 1 :] + sessions[:last] if s not in test_sessions]
        if not following:
            raise InputError(
                f"speaker {speaker} speaks in every session: there is no other one to validate on"
            )
        valid = _where(manifest, session={following[0]})
        test_apart = ["speaker", "session"]
    else:
        raise InputError(
            f"validation is {validation!r}: leave_one_speaker_out knows partner and session"
        )
    train = {
        utt_id: entry
        for utt_id, entry in manifest.items()
        if entry["session"] not in test_sessions | set(_values(valid, "session"))
        and entry["speaker"] not in {speaker, *_values(valid, "speaker")}
    }
    parts = {"train": train, "valid": valid, "test": test}
    return check_parts(parts, manifest, test_apart, valid_apart=["speaker", "session"])


def by_actor(manifest: Manifest, fold: int = 1, n_folds: int = 6, seed: int | None = None) -> Parts:
    """Speaker-independent: the speakers are dealt into `n_folds` groups that are alike.

    Group `fold` is the test part, the next one (after the last the first) validates and the rest
    trains. Groups are balanced by speakers of each gender, utterances, and utterances of each
    emotion, as far as the speakers allow; what they do not is logged. The 24 actors of RAVDESS,
    who say the same, give 6 groups of 2 women and 2 men. `seed` shuffles the speakers before they
    are dealt; None deals them in sorted order.
    """
    _of_fold(range(1, n_folds + 1), fold, "group")
    _require(manifest, "speaker")
    speakers = _values(manifest, "speaker")
    if not 3 <= n_folds <= len(speakers):
        raise InputError(
            f"n_folds is {n_folds}: {len(speakers)} speakers can be dealt into 3 (train, valid, "
            f"test) to {len(speakers)} groups"
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


def given_speakers(
    manifest: Manifest, fold: int = 1, *, valid: Collection[str], test: Collection[str]
) -> Parts:
    """Speaker-independent: the speakers of `valid` and `test` are named, the rest trains.

    Pepino 2021 names actors 21, 22 and 23, 24 of RAVDESS. There is one fold.
    """
    _only_fold(fold, "given_speakers", "name other speakers for another split")
    _require(manifest, "speaker")
    unknown = sorted({*valid, *test} - set(_values(manifest, "speaker")))
    if unknown:
        raise InputError(
            f"speakers {', '.join(map(repr, unknown))} of the split are not in the manifest, "
            f"which holds {_listed(_values(manifest, 'speaker'))}"
        )
    twice = sorted(set(valid) & set(test))
    if twice:
        raise InputError(
            f"speakers {', '.join(twice)} are given for validation and for test: give each once"
        )
    parts = {"valid": _where(manifest, speaker=valid), "test": _where(manifest, speaker=test)}
    parts = {"train": _without(manifest, parts["valid"] | parts["test"]), **parts}
    return check_parts(parts, manifest, test_apart=["speaker"], valid_apart=["speaker"])


def random_folds(manifest: Manifest, fold: int = 1, n_folds: int = 5, seed: int = 123) -> Parts:
    """Speaker-DEPENDENT: the utterances are dealt at random into `n_folds` folds.

    Fold `fold` is the test part, the next one (after the last the first) validates, the rest
    trains. The last fold holds what the others, of floor(n / n_folds) each, leave: 4 of 490 and
    one of 492 for RAVDESS (Pepino 2021 after Issa et al.; the authors' draw depends on the seed of
    training, so give that one).
    """
    _of_fold(range(1, n_folds + 1), fold, "fold")
    _require(manifest)
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
    train = _without(manifest, parts["valid"] | parts["test"])
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
    _only_fold(fold, "stratified", "choose another seed for another split")
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
    _only_fold(fold, "official", "the manifest's split field gives one split")
    wrong = [utt_id for utt_id, entry in manifest.items() if entry.get("split") not in PARTS]
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(manifest)} utterances have no split train, valid or test: "
            + _listed([f"{utt_id} ({manifest[utt_id].get('split')!r})" for utt_id in wrong])
        )
    parts = {part: _where(manifest, split={part}) for part in PARTS}
    if not parts["valid"]:
        parts["train"], parts["valid"] = _stratify(
            parts["train"], valid_share, "valid_share", target, seed
        )
    return check_parts(parts, manifest)


def without_validation(manifest: Manifest, fold: int = 1, *, outer: Callable[..., Parts]) -> Parts:
    """The outer split with its validation part in training; the test part is watched instead.

    For papers that name no validation. `valid` is the test part itself, on which nothing may be
    chosen: a run refuses it unless the last epoch is taken (select_by: last) or the run is
    labelled a replication of what the paper did.
    """
    parts = outer(manifest, fold=fold)
    train = _only(manifest, {*parts["train"], *parts["valid"]})
    return {"train": train, "valid": parts["test"], "test": parts["test"]}


def speaker_identification(
    manifest: Manifest,
    fold: int = 1,
    *,
    outer: Callable[..., Parts],
    valid_share: float = 0.1,
    test_share: float = 0.1,
    seed: int = 1000,
) -> Parts:
    """Closed-set speaker identification inside the training part of the split `outer`.

    Every speaker of `outer(manifest, fold=fold)["train"]` is in train, valid and test, with at
    least one utterance each. No utterance of outer's validation and test parts and no speaker of
    its test part is seen, so a network trained here may serve the emotion network of that fold;
    outer's validation speakers are unseen too if it keeps them out of its own training part.

    Raises InputError if outer tests speakers that it trains on, or a speaker has fewer than
    three utterances.
    """
    for name, share in (("valid_share", valid_share), ("test_share", test_share)):
        _check_share(share, name)
    parts = outer(manifest, fold=fold)
    inner = parts["train"]
    _require(inner | parts["test"], "speaker")
    known = sorted(set(_values(inner, "speaker")) & set(_values(parts["test"], "speaker")))
    if known:
        raise InputError(
            f"the outer split trains and tests on the same speakers ({_listed(known)}): a speaker "
            "network needs an outer split that keeps them apart"
        )
    generator = random.Random(seed)
    valid, test = set(), set()
    for speaker, utt_ids in _grouped(inner, "speaker").items():
        n_valid = max(1, round(valid_share * len(utt_ids)))
        n_test = max(1, round(test_share * len(utt_ids)))
        if n_valid + n_test >= len(utt_ids):
            raise InputError(
                f"speaker {speaker} has {len(utt_ids)} training utterances: {n_valid} for "
                f"validation and {n_test} for test leave none to train on, lower the shares or "
                "leave the speaker out of the manifest"
            )
        drawn = generator.sample(utt_ids, n_valid + n_test)
        valid.update(drawn[:n_valid])
        test.update(drawn[n_valid:])
    return check_parts(
        {
            "train": _without(inner, valid | test),
            "valid": _only(inner, valid),
            "test": _only(inner, test),
        },
        inner,
    )


def check_parts(
    parts: Parts,
    manifest: Manifest,
    test_apart: Iterable[str] = (),
    valid_apart: Iterable[str] = (),
) -> Parts:
    """The same parts, after the promises have been checked; of use to a split of your own too.

    No part may be empty (InputError). Each utterance is in one part at most and is the manifest's
    own entry; no value of the fields `test_apart` ("speaker", "session") is both in test and in
    another part, none of `valid_apart` both in valid and in train (AssertionError).
    """
    if tuple(parts) != PARTS:
        raise AssertionError(f"the parts are {list(parts)}, not {list(PARTS)}")
    for part, entries in parts.items():
        if not entries:
            sizes = ", ".join(f"{name} {len(parts[name])}" for name in PARTS)
            raise InputError(
                f"the split leaves no utterance for {part} ({sizes} of {len(manifest)} "
                "utterances): use another split or more data"
            )
        strange = [utt_id for utt_id in entries if entries[utt_id] is not manifest.get(utt_id)]
        if strange:
            raise AssertionError(f"{part} holds what is not in the manifest: {_listed(strange)}")
        if list(entries) != [utt_id for utt_id in manifest if utt_id in entries]:
            raise AssertionError(f"{part} is not in the manifest's order")
    train, valid, test = (parts[part] for part in PARTS)
    for one, other, names in (
        (train, valid, "train and valid"),
        (train, test, "train and test"),
        (valid, test, "valid and test"),
    ):
        both = [utt_id for utt_id in one if utt_id in other]
        if both:
            raise AssertionError(f"{len(both)} utterances are in {names}: {_listed(both)}")
        for field in test_apart if other is test else valid_apart:
            shared = sorted({e[field] for e in one.values()} & {e[field] for e in other.values()})
            if shared:
                raise AssertionError(f"{names} share {field} {_listed(shared)}")
    return parts


def protocol(parts: Parts) -> str:
    """What the test part has in common with training and validation, computed from the parts.

    "session-independent" if neither a test session nor a test speaker is in the other parts,
    "speaker-independent" if no test speaker is, else "speaker-dependent". A speaker or session
    that is not known counts as shared.
    """

    def apart(field: str) -> bool:
        tested = {entry[field] for entry in parts["test"].values()}
        # of a split without validation the test part itself is valid
        others = [part for part in ("train", "valid") if parts[part] is not parts["test"]]
        seen = {entry[field] for part in others for entry in parts[part].values()}
        return "" not in tested | seen and not tested & seen

    if not apart("speaker"):
        return "speaker-dependent"
    return "session-independent" if apart("session") else "speaker-independent"


def describe(parts: Parts, target: str = "emotion") -> str:
    """One line per part: its utterances, speakers and classes of `target` with their sizes."""
    lines = []
    for part, entries in parts.items():
        speakers = len({entry["speaker"] for entry in entries.values()} - {""})
        sizes = Counter(entry[target] or "unknown" for entry in entries.values())
        if len(sizes) > 12:
            smallest, largest = min(sizes.values()), max(sizes.values())
            classes = f"{len(sizes)} classes of {smallest} to {largest} utterances"
        else:
            classes = ", ".join(f"{name} {sizes[name]}" for name in sorted(sizes))
        lines.append(f"{part}: {len(entries)} utterances, {speakers} speakers, {classes}")
    return "\n".join(lines)


def number_of_folds(split: Callable[..., Parts], manifest: Manifest) -> int:
    """How many folds a split of this manifest has; an empty one will do if the split fixes it.

    Raises InputError if the manifest does not fit the split.
    """
    try:
        split(manifest, fold=0)  # there is none, and the refusal knows how many there are
    except NoSuchFold as refusal:
        return refusal.count
    raise InputError(f"{split} accepts a fold 0: folds count from 1")


def _balanced(entries: Manifest, share: float, seed: int, labels: Sequence[str] | None) -> Manifest:
    """Equally many utterances of every emotion: `share` of the smallest, rounded up."""
    _check_share(share, "share")
    _require(entries, "emotion")
    rows = _grouped(entries, "emotion")
    if labels is not None:
        if set(rows) != set(labels):
            raise InputError(
                f"the labels are {', '.join(labels)} but the other sessions hold "
                f"{', '.join(rows)}: make the two equal"
            )
        rows = {emotion: rows[emotion] for emotion in labels}
    # rounded first, because 0.07 * 100 is above 7 in floating point
    n = math.ceil(round(share * min(map(len, rows.values())), 9))
    generator = random.Random(seed)
    return _only(entries, {utt_id for ids in rows.values() for utt_id in generator.sample(ids, n)})


def _stratify(
    entries: Manifest, share: float, name: str, target: str, seed: int
) -> tuple[Manifest, Manifest]:
    """entries -> (the rest, a random share of every class of `target`)."""
    from sklearn.model_selection import train_test_split  # late: it takes a second, seldom used

    _check_share(share, name)
    _require(entries, target)
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
    return _only(entries, set(rest)), _only(entries, set(drawn))


def _check_share(share: float, name: str) -> None:
    if not 0 < share < 1:
        raise InputError(f"{name} is {share}: it must lie between 0 and 1, every part is needed")


def _require(entries: Manifest, *fields: str) -> None:
    if not entries:
        raise InputError(
            "there is no utterance to split: the manifest, or its train part, is empty"
        )
    for field in fields:
        without = [utt_id for utt_id, entry in entries.items() if not entry.get(field)]
        if without:
            raise InputError(
                f"{len(without)} of {len(entries)} utterances have no {field}, which this split "
                f"needs: {_listed(without)}"
            )


def _of_fold(names: Sequence, fold: int, kind: str):
    """The name of number `fold`, counted from 1."""
    if isinstance(fold, bool) or not isinstance(fold, int) or not 1 <= fold <= len(names):
        raise NoSuchFold(
            f"fold is {fold!r}: use 1 ({kind} {names[0]}) to {len(names)} ({kind} {names[-1]})",
            len(names),
        )
    return names[fold - 1]


def _only_fold(fold: int, name: str, instead: str) -> None:
    if fold != 1:
        raise NoSuchFold(f"fold is {fold!r}: {name} has fold 1 only, {instead}", 1)


def _values(entries: Manifest, field: str) -> list[str]:
    return sorted({entry[field] for entry in entries.values()})


def _grouped(entries: Manifest, field: str) -> dict[str, list[str]]:
    """{value of the field, sorted: its utterances in the manifest's order}."""
    groups: dict[str, list[str]] = {value: [] for value in _values(entries, field)}
    for utt_id, entry in entries.items():
        groups[entry[field]].append(utt_id)
    return groups


def _where(entries: Manifest, **fields: Collection[str]) -> Manifest:
    return {
        utt_id: entry
        for utt_id, entry in entries.items()
        if all(entry[field] in values for field, values in fields.items())
    }


def _only(entries: Manifest, utt_ids: Collection[str]) -> Manifest:
    return {utt_id: entry for utt_id, entry in entries.items() if utt_id in utt_ids}


def _without(entries: Manifest, utt_ids: Collection[str]) -> Manifest:
    return {utt_id: entry for utt_id, entry in entries.items() if utt_id not in utt_ids}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
