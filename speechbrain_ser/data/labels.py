"""Which emotions of a corpus are kept, and what each is called."""

import difflib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from speechbrain_ser.data.corpora import LeftOut
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)

Merge = Mapping[str, str | None]
# the nouns that corpora have, and RAVDESS' words for them: the label map between corpora
ADJECTIVES = {
    "anger": "angry",
    "anxiety": "anxious",
    "boredom": "bored",
    "disgusted": "disgust",
    "excitement": "excited",
    "fear": "fearful",
    "frustration": "frustrated",
    "happiness": "happy",
    "joy": "happy",
    "neutrality": "neutral",
    "sadness": "sad",
    "surprise": "surprised",
}


def choose(
    rows: Mapping[str, dict],
    labels: Sequence[str],
    merge: Merge | None,
    left_out: LeftOut,
    known: Iterable[str] = (),
) -> dict[str, dict]:
    """The rows of a manifest with the emotions of `labels` alone, renamed and joined by `merge`.

    The "ratings" of several annotators, {emotion: count}, are chosen and joined alike.

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
    words = {name.casefold(): word for name, word in (merge or {}).items()}
    counts = Counter(entry["emotion"] for entry in rows.values())
    counts |= Counter(name for entry in rows.values() for name in entry.get("ratings", ()))
    spelt = spellings(counts, [*labels, *filter(None, words.values())])
    names = {*known, *spelt.values()}
    for name in merge or {}:
        _refuse_unknown("merge", name, names)
    becomes = (words.get(name.casefold(), spelt.get(name, name)) for name in names)
    there = {word for word in becomes if word is not None}
    for label in labels:
        _refuse_unknown("labels", label, there)

    def chosen(name: str) -> str | None:
        word = words.get(name.casefold(), spelt[name])
        return word if not labels or word in labels else None

    kept = {}
    for utt_id, entry in rows.items():
        emotion = chosen(entry["emotion"])
        if emotion is None:
            left_out.add(f"of the emotion {entry['emotion'] or 'unknown'}", utt_id)
            continue
        kept[utt_id] = entry | {"emotion": emotion}
        if "ratings" in entry:
            ratings: Counter[str] = Counter()
            for name, count in entry["ratings"].items():
                ratings[chosen(name) or ""] += count
            del ratings[""]
            kept[utt_id]["ratings"] = dict(sorted(ratings.items()))
    return kept


def between_corpora(emotions: Iterable[str], merge: Merge | None = None) -> dict[str, str | None]:
    """What each emotion of a corpus counts as beside other corpora: merge's word, else RAVDESS'.

    Only those that change are named. Raises InputError for a name in merge that is not there.
    """
    names = list(emotions)
    for name in merge or {}:
        _refuse_unknown("merge", name, names)
    words: dict[str, str | None] = {
        name: ADJECTIVES.get(name.casefold(), name.casefold()) for name in names
    }
    words |= merge or {}
    return {name: word for name, word in words.items() if word != name}


def spellings(counts: Mapping[str, int], chosen: Iterable[str] = ()) -> dict[str, str]:
    """Each of the names -> how it is spelt: as chosen, else as most utterances have it."""
    variants = defaultdict(list)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        variants[name.casefold()].append(name)
    wanted = {name.casefold(): name for name in chosen}
    spelt: dict[str, str] = {}
    for folded, names in variants.items():
        spelt |= dict.fromkeys(names, wanted.get(folded, names[0]))
        if len(names) > 1:
            said = " and ".join(f"{name} ({counts[name]:,})" for name in names)
            logger.warning("%s are one emotion: it is called %s", said, spelt[names[0]])
    return spelt


def _refuse_unknown(setting: str, name: str, known: Iterable[str]) -> None:
    if name.casefold() in {other.casefold() for other in known}:
        return
    close = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"did you mean {close[0]}?" if close else "correct it, or leave it out"
    raise InputError(
        f"{setting} names {name!r}, and the corpus has {', '.join(sorted(known))}: {hint}"
    )
