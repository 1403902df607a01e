"""What a manifest says of its corpus: the same question, or another one?"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from speechbrain_ser.data import segments

PIECE = 1 << 16  # bytes: three are 6 s of 16 kHz
SHOWN = 5  # changed utterances in one message


def marked(manifest: Mapping[str, dict]) -> dict[str, dict]:
    """The manifest with a `content` mark of each file, so that another recording is noticed.

    A mark is a hash of the file's size and of three pieces of 64 kB, its start, middle and end: of
    most utterances that is the whole file, and of a long one it is quickly read; an edit between
    the pieces that keeps the size is not seen. Names and times of a file are not in it: a corpus
    may be copied.
    """
    return {
        utt_id: entry | {"content": content(entry["wav"])} for utt_id, entry in manifest.items()
    }


def content(path: str | Path) -> str:
    """The mark of one file or of a part of it, 16 hexadecimal digits; a part's holds its times."""
    file, start, end = segments.split(path)
    if file == str(path):
        return _content(file)
    mark = f"{_content_once(file)} {start} {end}"
    return hashlib.blake2b(mark.encode(), digest_size=8).hexdigest()


def _content(path: str) -> str:
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        mark = hashlib.blake2b(str(size).encode(), digest_size=8)
        starts = (0, (size - PIECE) // 2, size - PIECE) if size > 3 * PIECE else (0,)
        for start in starts:
            file.seek(start)
            mark.update(file.read(PIECE if len(starts) > 1 else size))
    return mark.hexdigest()


_content_once = segments.once(_content)


def placeless(entry: Mapping) -> dict:
    """An utterance's entry without the place of its file."""
    return {key: value for key, value in entry.items() if key != "wav"}


def digest(manifest: Mapping[str, dict]) -> str:
    """16 hexadecimal digits that are the same for the same corpus, wherever it lies."""
    rows = [(utt_id, placeless(entry)) for utt_id, entry in sorted(manifest.items())]
    text = json.dumps(rows, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def same_source(there: Mapping, here: Mapping) -> bool | None:
    """Whether two results of one corpus, {"corpus", "manifest"}, are of the same state of it.

    None if they are of different corpora, or one of them does not say.
    """
    if there.get("corpus") != here.get("corpus") or None in (
        there.get("manifest"),
        here.get("manifest"),
    ):
        return None
    return there["manifest"] == here["manifest"]


def differences(there: Mapping[str, dict], here: Mapping[str, dict]) -> str:
    """What differs between two manifests, in a few words with examples; "" if nothing does."""
    lines = []
    for title, ids in (
        ("gone", there.keys() - here.keys()),
        ("new", here.keys() - there.keys()),
    ):
        if ids:
            lines.append(f"{len(ids)} {title}: {_listed(sorted(ids))}")
    changed = []
    for utt_id in sorted(there.keys() & here.keys()):
        old, new = placeless(there[utt_id]), placeless(here[utt_id])
        # an earlier version of this project marked no content
        fields = [f for f in {**old, **new} if old.get(f) != new.get(f) and f in old]
        if fields:
            changed.append(f"{utt_id} ({', '.join(_change(f, old, new) for f in fields)})")
    if changed:
        lines.append(f"{len(changed)} changed: {_listed(changed)}")
    return "; ".join(lines)


def _change(field: str, old: Mapping, new: Mapping) -> str:
    if field == "content":
        return "another recording"
    return f"{field} {old[field]!r} there, {new.get(field, 'absent')!r} here"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
