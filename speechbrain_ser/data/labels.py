"""Which emotions of a corpus are kept, and what each is called."""

import difflib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from speechbrain_ser.data.corpora import LeftOut
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)

Merge = Mapping[str, str | None]


def choose(
    rows: Mapping[str, dict],
    labels: Sequence[str],
    merge: Merge | None,
    left_out: LeftOut,
    known: Iterable[str] = (),
) -> dict[str, dict]:
    """The rows of a manifest with the emotions of `labels` alone, renamed and joined by `merge`.

    Spellings of an emotion that differ in upper and lower case are one: that of labels or merge,
    else the most frequent one; which were joined is logged.

    Arguments
    ---------
    labels : of the emotions after merging; none keeps all
    merge : the corpus' name of an emotion -> the one it counts as, or None, which leaves it out
    left_out : takes what is not kept
    known : the emotions that the corpus may have; those of the rows count as known anyway

    Raises InputError for a name in labels or merge that is not known.
    """
    merge = merge or {}
    counts = Counter(entry["emotion"] for entry in rows.values())
    spelt = spellings(counts, [*labels, *merge, *(new for new in merge.values() if new)])
    names = {*known, *spelt.values()}
    for name in merge:
        _refuse_unknown("merge", name, names)
    for label in labels:
        _refuse_unknown("labels", label, {merge.get(name, name) for name in names} - {None})
    kept = {}
    for utt_id, entry in rows.items():
        emotion = merge.get(spelt[entry["emotion"]], spelt[entry["emotion"]])
        if emotion is None or labels and emotion not in labels:
            left_out.add(f"of the emotion {entry['emotion'] or 'unknown'}", utt_id)
        else:
            kept[utt_id] = entry | {"emotion": emotion}
    return kept


def spellings(counts: Mapping[str, int], chosen: Iterable[str] = ()) -> dict[str, str]:
    """Each of the names -> how it is spelt: as chosen, else as most utterances have it."""
    variants = defaultdict(list)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        variants[name.casefold()].append(name)
    wanted = {name.casefold(): name for name in chosen}
    spelt = {}
    for folded, names in variants.items():
        spelt |= dict.fromkeys(names, wanted.get(folded, names[0]))
        if len(names) > 1:
            said = " and ".join(f"{name} ({counts[name]:,})" for name in names)
            logger.warning("%s are one emotion: it is called %s", said, spelt[names[0]])
    return spelt


def _refuse_unknown(setting: str, name: str, known: Iterable[str]) -> None:
    if name in known:
        return
    close = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"did you mean {close[0]}?" if close else "correct it, or leave it out"
    raise InputError(
        f"{setting} names {name!r}, and the corpus has {', '.join(sorted(known))}: {hint}"
    )
