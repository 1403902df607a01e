"""What a model has seen in training, as salted hashes: ids, paths and names stay where they are.

trained_on.json is a list of {corpus, salt, speakers, utterances}. Whoever has a recording's id can
ask whether it is among them, and nobody can read the ids from the file. A name that can be guessed
can be confirmed in the same way: hashes hide names, they do not make a small list secret.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping

FIELDS = ("speakers", "utterances")
LENGTH = 16  # hexadecimal digits, 64 bits: two of a million ids are alike once in 37 million files

Seen = list[dict]


def salt_of(corpus: str, ids: Iterable[str]) -> str:
    """A corpus' salt, from all its ids: the same in each of its runs, so that these can be joined.

    Nobody without all the ids can compute hashes ahead.
    """
    return hashlib.sha256("\n".join([corpus, *sorted(ids)]).encode()).hexdigest()


def entry(corpus: str, salt: str, speakers: Iterable[str], utterances: Iterable[str]) -> dict:
    """What one run saw of one corpus."""
    record = {"corpus": corpus, "salt": salt}
    for field, names in zip(FIELDS, (speakers, utterances), strict=True):
        record[field] = sorted({_hash(salt, name) for name in names})
    return record


def among(names: Iterable[str], known: Mapping, field: str) -> set[str]:
    """Those of the names that an entry holds, compared by the entry's own salt."""
    there = set(known[field])
    return {name for name in names if _hash(known["salt"], name) in there}


def merged(entries: Iterable[Mapping]) -> Seen:
    """One entry for each corpus and salt."""
    merged: dict[tuple[str, str], dict] = {}
    for known in entries:
        one = merged.setdefault((known["corpus"], known["salt"]), {**known})
        one |= {field: sorted({*one[field], *known[field]}) for field in FIELDS}
    return list(merged.values())


def read(text: str) -> Seen:
    """The content of trained_on.json; ids that an earlier version left in the clear are hashed.

    Raises ValueError for what is no such list.
    """
    content = json.loads(text)
    if isinstance(content, dict):  # {corpus: {speakers, utterances}}
        content = [{"corpus": corpus, "salt": None} | known for corpus, known in content.items()]
    for position, known in enumerate(content):
        names = [known["corpus"], known["salt"] or "", *known["speakers"], *known["utterances"]]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("a name in it is no text")
        if known["salt"] is None:
            salt = salt_of(known["corpus"], known["utterances"])
            content[position] = entry(known["corpus"], salt, known["speakers"], known["utterances"])
    return content


def _hash(salt: str, name: str) -> str:
    return hashlib.sha256(f"{salt}{name}".encode()).hexdigest()[:LENGTH]
