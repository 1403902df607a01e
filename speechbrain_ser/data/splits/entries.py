"""Entries of a manifest by their fields, and the refusals that all splits share."""

from collections.abc import Collection, Sequence

from speechbrain_ser.errors import InputError

Manifest = dict[str, dict]


class NoSuchFold(InputError):
    """The split has only the folds 1 to `count`."""

    def __init__(self, message: str, count: int):
        super().__init__(message)
        self.count = count


def values(entries: Manifest, field: str) -> list[str]:
    return sorted({entry[field] for entry in entries.values()})


def grouped(entries: Manifest, field: str) -> dict[str, list[str]]:
    """{value of the field, sorted: its utterances in the manifest's order}."""
    groups: dict[str, list[str]] = {value: [] for value in values(entries, field)}
    for utt_id, entry in entries.items():
        groups[entry[field]].append(utt_id)
    return groups


def where(entries: Manifest, **fields: Collection[str]) -> Manifest:
    return {
        utt_id: entry
        for utt_id, entry in entries.items()
        if all(entry[field] in values for field, values in fields.items())
    }


def only(entries: Manifest, utt_ids: Collection[str]) -> Manifest:
    return {utt_id: entry for utt_id, entry in entries.items() if utt_id in utt_ids}


def without(entries: Manifest, utt_ids: Collection[str]) -> Manifest:
    return {utt_id: entry for utt_id, entry in entries.items() if utt_id not in utt_ids}


def require(entries: Manifest, *fields: str) -> None:
    if not entries:
        raise InputError(
            "there is no utterance to split: the manifest, or its train part, is empty"
        )
    for field in fields:
        without = [utt_id for utt_id, entry in entries.items() if not entry.get(field)]
        if without:
            raise InputError(
                f"{len(without)} of {len(entries)} utterances have no {field}, which this split "
                f"needs: {listed(without)}"
            )


def of_fold(names: Sequence, fold: int, kind: str):
    """The name of number `fold`, counted from 1."""
    if isinstance(fold, bool) or not isinstance(fold, int) or not 1 <= fold <= len(names):
        raise NoSuchFold(
            f"fold is {fold!r}: use 1 ({kind} {names[0]}) to {len(names)} ({kind} {names[-1]})",
            len(names),
        )
    return names[fold - 1]


def only_fold(fold: int, name: str, instead: str) -> None:
    if fold != 1:
        raise NoSuchFold(f"fold is {fold!r}: {name} has fold 1 only, {instead}", 1)


def check_share(share: float, name: str) -> None:
    if not 0 < share < 1:
        raise InputError(f"{name} is {share}: it must lie between 0 and 1, every part is needed")


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
