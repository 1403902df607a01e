"""The parts of a split: what they promise, what they have in common, what is in them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from speechbrain_ser.data.splits.entries import Manifest, NoSuchFold, listed
from speechbrain_ser.errors import InputError

Parts = dict[str, Manifest]
AnyParts = Mapping[str, Mapping[str, dict]]  # to be read
PARTS = ("train", "valid", "test")


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
            raise AssertionError(f"{part} holds what is not in the manifest: {listed(strange)}")
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
            raise AssertionError(f"{len(both)} utterances are in {names}: {listed(both)}")
        for field in test_apart if other is test else valid_apart:
            shared = sorted({e[field] for e in one.values()} & {e[field] for e in other.values()})
            if shared:
                raise AssertionError(f"{names} share {field} {listed(shared)}")
    return parts


def protocol(parts: AnyParts) -> str:
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


def shared_speakers(parts: AnyParts) -> dict[str, int]:
    """How many known speakers of the test part also train, and their test utterances.

    Returns {"speakers", "of", "utterances", "of_utterances"}: of all known test speakers, and of
    all test utterances.
    """
    trained = {entry["speaker"] for entry in parts["train"].values()} - {""}
    tested = Counter(entry["speaker"] for entry in parts["test"].values())
    shared = trained & tested.keys()
    return {
        "speakers": len(shared),
        "of": len(tested.keys() - {""}),
        "utterances": sum(tested[speaker] for speaker in shared),
        "of_utterances": tested.total(),
    }


def shared_in_words(shared: dict[str, int]) -> str:
    """What shared_speakers found, and what it means for scores."""
    return (
        f"{shared['speakers']} of {shared['of']} test speakers also train ({shared['utterances']} "
        f"of {shared['of_utterances']} test utterances): scores tell little of new speakers"
    )


def describe(parts: AnyParts, target: str = "emotion") -> str:
    """One line per part: its utterances, speakers and classes of `target` with their sizes.

    Of a target whose many values are all numbers, the lowest and the highest.
    """
    lines = []
    for part, entries in parts.items():
        speakers = len({entry["speaker"] for entry in entries.values()} - {""})
        sizes = Counter(entry[target] or "unknown" for entry in entries.values())
        if len(sizes) > 12 and target != "speaker" and (numbers := _numbers(sizes)):
            classes = f"{target} {min(numbers):g} to {max(numbers):g}"
        elif len(sizes) > 12:
            smallest, largest = min(sizes.values()), max(sizes.values())
            classes = f"{len(sizes)} classes of {smallest} to {largest} utterances"
        else:
            classes = ", ".join(f"{name} {sizes[name]}" for name in sorted(sizes))
        lines.append(f"{part}: {len(entries)} utterances, {speakers} speakers, {classes}")
    return "\n".join(lines)


def _numbers(texts: Iterable[str]) -> list[float]:
    """Texts as numbers; none of them if one is not."""
    try:
        return [float(text) for text in texts]
    except ValueError:
        return []


def number_of_folds(split: Callable[..., Parts], manifest: Manifest) -> int:
    """How many folds a split of this manifest has; an empty one will do if the split fixes it.

    Raises InputError if the manifest does not fit the split.
    """
    try:
        split(manifest, fold=0)  # there is none, and the refusal knows how many there are
    except NoSuchFold as refusal:
        return refusal.count
    raise InputError(f"{split} accepts a fold 0: folds count from 1")
