"""Several corpora as one, over the emotions that they have in common."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechbrain_ser.data import corpora
from speechbrain_ser.errors import InputError

VARIABLE = "SER_RAVDESS_NEMO"


def prepare(
    data_folder: str | Path, labels: Sequence[str], merges: Mapping[str, Mapping[str, str | None]]
) -> dict[str, dict]:
    """The manifest of several corpora; data_folder holds a folder, or a link, of each one's name.

    An utterance's session is its corpus, whose name stands before its id and its speaker.

    Arguments
    ---------
    labels : the emotions that are kept
    merges : corpus -> its name of an emotion -> the one of labels, or None, which leaves it out

    Raises InputError for a corpus that is not there, and for an emotion of which neither says
    anything.
    """
    expected = f"folders, or links to them, named {' and '.join(merges)}"
    folder = corpora.existing_folder(data_folder, VARIABLE, expected)
    manifest, left_out = {}, corpora.LeftOut()
    for name, merge in merges.items():
        if not (folder / name).exists():
            raise corpora.wrong_folder(folder, VARIABLE, expected)
        module = importlib.import_module(f"speechbrain_ser.data.corpora.{name}")
        for utt_id, entry in module.prepare(folder / name).items():
            emotion = merge.get(entry["emotion"], entry["emotion"])
            if emotion is None:
                left_out.add(f"{entry['emotion']} of {name}", utt_id)
                continue
            if emotion not in labels:
                raise InputError(
                    f"{utt_id} of {name} is {emotion}, which is none of {', '.join(labels)}: say "
                    "in merges what it counts as, or null to leave it out"
                )
            own = {"session": name, "speaker": f"{name}/{entry['speaker']}", "emotion": emotion}
            manifest[f"{name}/{utt_id}"] = entry | own
    left_out.tell(" and ".join(merges), len(manifest))
    return dict(sorted(manifest.items()))
