"""What the folds of a corpus share between training and test: a verdict before anything is run."""

from collections.abc import Collection, Mapping, Sequence

from speechbrain_ser.data.splits import PARTS, Parts, shared_speakers


def examine(parts: Parts, missing: Collection[str] | None = None) -> dict:
    """What is to be known of a fold, for json.

    missing : the utterances without a file; None if nobody looked

    Returns {"utterances", "classes", "absent"} of each part, and {"shared_speakers", "unknown",
    "in_both", "missing"}: see splits.shared_speakers; the utterances of train and test that name
    no speaker, that are in both, and whose file is missing in any part.
    """
    classes = {part: sorted({e["emotion"] for e in parts[part].values()}) for part in PARTS}
    every = sorted({name for own in classes.values() for name in own})
    used = {part: set(own) for part, own in parts.items()}
    unknown = {i for part in ("train", "test") for i, e in parts[part].items() if not e["speaker"]}
    return {
        "utterances": {part: len(used[part]) for part in PARTS},
        "classes": classes,
        "absent": {
            part: [name for name in every if name not in classes[part]]
            for part in ("train", "test")
        },
        "shared_speakers": shared_speakers(parts),
        "unknown": len(unknown),
        "in_both": len(used["train"] & used["test"]),
        "missing": None if missing is None else len(set().union(*used.values()) & set(missing)),
    }


def verdict(folds: Sequence[Mapping]) -> str:
    """One line about all folds, as examine gives them."""
    if not folds:
        return "no folds"
    said = [_of_speakers(folds)]
    if both := sum(fold["in_both"] for fold in folds):
        said.append(f"{both} utterances are in train and test")
    for part in ("train", "test"):
        lacking = sum(bool(fold["absent"][part]) for fold in folds)
        if lacking:
            said.append(f"{part} lacks a class in {lacking} of {len(folds)} folds")
    return "; ".join(said)


def _of_speakers(folds: Sequence[Mapping]) -> str:
    shared = [fold["shared_speakers"] for fold in folds]
    leaking = [own for own in shared if own["speakers"]]
    if leaking:
        most = max(leaking, key=lambda own: own["speakers"] / own["of"])
        alike = len({(own["speakers"], own["of"]) for own in leaking}) == 1
        count = f"{'' if alike else 'up to '}{most['speakers']} of {most['of']} test speakers train"
        if len(leaking) < len(folds):
            count += f" in {len(leaking)} of {len(folds)} folds"
        elif len(folds) > 1:
            count += " in every fold"
        return f"speaker-DEPENDENT: {count}"
    if unknown := max(fold["unknown"] for fold in folds):
        return f"not known: {unknown} utterances name no speaker"
    return "speaker-independent"
