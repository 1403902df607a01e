"""Several corpora as one, over the emotions that they have in common."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechbrain_ser.data import corpora
from speechbrain_ser.data.labels import Merge

VARIABLE = "SER_RAVDESS_NEMO"


def prepare(
    data_folder: str | Path, labels: Sequence[str], merges: Mapping[str, Merge]
) -> dict[str, dict]:
    """The manifest of several corpora; data_folder holds a folder, or a link, of each one's name.

    An utterance's session is its corpus, whose name stands before its id and its speaker.

    Arguments
    ---------
    labels : the emotions that are kept, see labels.choose
    merges : corpus -> its name of an emotion -> the one of labels that it counts as

    Raises InputError for a corpus that is not there.
    """
    expected = f"folders, or links to them, named {' and '.join(merges)}"
    folder = corpora.existing_folder(data_folder, VARIABLE, expected)
    manifest: dict[str, dict] = {}
    for name, merge in merges.items():
        if not (folder / name).exists():
            raise corpora.wrong_folder(folder, VARIABLE, expected)
        module = importlib.import_module(f"speechbrain_ser.data.corpora.{name}")
        own = module.prepare(folder / name, labels=labels, merge=merge)
        manifest |= within(own, name)
    return dict(sorted(manifest.items()))


def within(manifest: Mapping[str, dict], name: str) -> dict[str, dict]:
    """A corpus' manifest as part of several: its name before ids and speakers, and as session."""
    return {
        f"{name}/{utt_id}": entry | {"session": name, "speaker": f"{name}/{entry['speaker']}"}
        for utt_id, entry in manifest.items()
    }
