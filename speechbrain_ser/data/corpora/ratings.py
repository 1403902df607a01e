"""Several annotators of one recording: their emotions counted, and the one of most of them."""

from collections import Counter
from collections.abc import Mapping, Sequence

from speechbrain_ser.data.corpora import LeftOut
from speechbrain_ser.data.labels import spellings
from speechbrain_ser.errors import InputError

ITS_OWN = ("wav", "duration", "emotion")  # what repeated rows need not have in common


def repeated(entry: Mapping, first: Mapping, place: str) -> dict:
    """What two annotators' rows say of a recording beside its emotion; empty says nothing.

    Raises InputError where they contradict each other; `place` is the first one's.
    """
    for name in entry.keys() - set(ITS_OWN):
        if entry[name] and first[name] and entry[name] != first[name]:
            raise InputError(
                f"its {name} is {entry[name]!r}, and {first[name]!r} in {place} of the same "
                "recording"
            )
    return {name: value or entry[name] for name, value in first.items()}


def mean(texts: Sequence[str]) -> str:
    """A number that several annotators gave: their mean, as text; what is no number stays first."""
    given = [text for text in texts if text] or [""]
    try:
        numbers = [float(text) for text in given]
    except ValueError:
        return given[0]
    return given[0] if len({*numbers}) == 1 else repr(sum(numbers) / len(numbers))


def decide(
    rows: Mapping[str, dict], heard: Mapping[str, Mapping[str, str]], left_out: LeftOut
) -> dict[str, dict]:
    """The rows with their "ratings", {emotion: annotators}; an empty emotion is the majority's.

    heard : utt_id -> annotator -> emotion; spellings that differ in case count together
    left_out : takes the utterances without a majority
    """
    spelt = spellings(Counter(emotion for said in heard.values() for emotion in said.values()))
    found = {
        utt_id: Counter(spelt[emotion] for emotion in heard[utt_id].values()) for utt_id in rows
    }
    return by_most(rows, found, left_out)


def by_most(
    rows: Mapping[str, dict], found: Mapping[str, Mapping[str, float]], left_out: LeftOut
) -> dict[str, dict]:
    """As decide, of counts: utt_id -> emotion -> how many named it."""
    kept = {}
    for utt_id, entry in rows.items():
        counts = found[utt_id]
        most = [emotion for emotion, count in counts.items() if count == max(counts.values())]
        if entry["emotion"] or len(most) == 1:
            emotion = entry["emotion"] or most[0]
            kept[utt_id] = entry | {"emotion": emotion, "ratings": dict(sorted(counts.items()))}
        else:
            left_out.add("without a majority of annotators", utt_id)
    return kept
