"""What a model has seen in training, as salted hashes: ids, paths and names stay where they are.

trained_on.json is a list of {corpus, salt, speakers, utterances, validated}; `validated` holds
those of the speakers and utterances that validation alone saw. Whoever has a recording's id can ask
whether it is among them, and nobody can read the ids from the file. A name that can be guessed can
be confirmed in the same way: hashes hide names, they do not make a small list secret.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

FIELDS = ("speakers", "utterances")
VALIDATED = "validated"  # a file of an earlier version lacks it
LENGTH = 16  # hexadecimal digits, 64 bits: two of a million ids are alike once in 37 million files

Seen = list[dict]


def salt_of(corpus: str, ids: Iterable[str]) -> str:
    """A corpus' salt, from all its ids: the same in each of its runs, so that these can be joined.

    Nobody without all the ids can compute hashes ahead.
    """
    return hashlib.sha256("\n".join([corpus, *sorted(ids)]).encode()).hexdigest()


def entry(
    corpus: str,
    salt: str,
    speakers: Iterable[str],
    utterances: Iterable[str],
    validated: tuple[Iterable[str], Iterable[str]] = ((), ()),
) -> dict:
    """What one run saw of one corpus.

    validated : those of the speakers and of the utterances that no training saw
    """
    record: dict = {"corpus": corpus, "salt": salt}
    record |= _hashed(salt, (speakers, utterances))
    return record | {VALIDATED: _hashed(salt, validated)}


def _hashed(salt: str, names: tuple[Iterable[str], Iterable[str]]) -> dict[str, list[str]]:
    return {
        field: sorted({_hash(salt, name) for name in some})
        for field, some in zip(FIELDS, names, strict=True)
    }


class Count(NamedTuple):
    """How many speakers and utterances a part has."""

    speakers: int
    utterances: int


def counts(known: Mapping) -> tuple[Count, Count | None]:
    """What trained, and what validation saw beside it; None: the first holds both, untold apart."""
    if VALIDATED not in known:
        return Count(*(len(known[field]) for field in FIELDS)), None
    more = Count(*(len({*known[VALIDATED][field]} & {*known[field]}) for field in FIELDS))
    return Count(*(len(_trained(known, field)) for field in FIELDS)), more


def _trained(known: Mapping, field: str) -> set[str]:
    return {*known[field]} - {*known[VALIDATED][field]}


def among(names: Iterable[str], known: Mapping, field: str) -> set[str]:
    """Those of the names that an entry holds, compared by the entry's own salt."""
    there = set(known[field])
    return {name for name in names if _hash(known["salt"], name) in there}


def people(labels: Collection[str], known: Iterable[Mapping]) -> set[str]:
    """Those of a model's labels that are speakers whom it has seen, no emotions."""
    return {label for one in known for label in among(labels, one, "speakers")}


def merged(entries: Iterable[Mapping]) -> Seen:
    """One entry for each corpus and salt; what one of them trained on is no validation's alone."""
    merged: dict[tuple[str, str], dict] = {}
    for known in entries:
        one = merged.setdefault((known["corpus"], known["salt"]), {**known})
        told = VALIDATED in one and VALIDATED in known
        every = {field: {*one[field], *known[field]} for field in FIELDS}
        apart = {f: every[f] - _trained(one, f) - _trained(known, f) for f in FIELDS if told}
        one.pop(VALIDATED, None)
        one |= {field: sorted(names) for field, names in every.items()}
        one |= {VALIDATED: {f: sorted(names) for f, names in apart.items()}} if told else {}
    return list(merged.values())


def read(text: str) -> Seen:
    """The content of trained_on.json; ids that an earlier version left in the clear are hashed.

    Raises ValueError for what is no such list.
    """
    content = json.loads(text)
    if isinstance(content, dict):  # {corpus: {speakers, utterances}}
        content = [{"corpus": corpus, "salt": None} | known for corpus, known in content.items()]
    for position, known in enumerate(content):
        names = [known["corpus"], known["salt"] or ""]
        for part in (known, known[VALIDATED]) if VALIDATED in known else (known,):
            names += [*part["speakers"], *part["utterances"]]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("a name in it is no text")
        if known["salt"] is None:
            salt = salt_of(known["corpus"], known["utterances"])
            content[position] = entry(known["corpus"], salt, known["speakers"], known["utterances"])
            del content[position][VALIDATED]
    return content


def _hash(salt: str, name: str) -> str:
    return hashlib.sha256(f"{salt}{name}".encode()).hexdigest()[:LENGTH]
