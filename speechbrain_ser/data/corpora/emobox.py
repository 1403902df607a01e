"""The corpora of EmoBox (Ma et al. 2024): lists of 32 corpora with folds, as its clone has them.

A corpus' folder, data/<corpus>, holds <corpus>.jsonl (or .json), a map of its emotions, its
speakers in data.seg.wrd.stm, and fold_1, fold_2, ... with lists of train, test and, in some, valid.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechbrain_ser.data import corpora, folders, segments
from speechbrain_ser.data.corpora.emobox_lists import LISTS, Metadata, list_of, read
from speechbrain_ser.data.corpora.located import Recordings
from speechbrain_ser.data.labels import Merge, choose
from speechbrain_ser.errors import InputError

VARIABLE = "SER_EMOBOX"
EXPECTED = "a clone of EmoBox, its folder data or a corpus in it, such as data/emodb"
ABOVE = 3  # folders above a corpus' own where its downloads may lie: data, the clone, its parent


def prepare(
    data_folder: str | Path,
    corpus: str | None,
    labels: Sequence[str] = (),
    merge: Merge | None = None,
    audio: str | Path | None = None,
    original_labels: bool = False,
) -> dict[str, dict]:
    """The manifest of one corpus; "split" is a list with the part of each fold.

    Arguments
    ---------
    data_folder : the corpus' folder of lists, or a folder above it
    corpus : its name in EmoBox, such as emodb
    labels, merge : the emotions that are kept, and what each counts as, see labels.choose
    audio : a folder with the recordings, in any folders and formats; None: downloads/<corpus>
        beside, in or above the lists
    original_labels : the corpus' own words for emotions, in the place of EmoBox's

    Raises InputError for lists that contradict each other, and Unreadable for recordings that are
    missing or broken.
    """
    top = corpora.existing_folder(data_folder, VARIABLE, EXPECTED)
    left_out = corpora.LeftOut()
    metadata = read(named(top, corpus), left_out, original_labels)
    for number, fold in enumerate(metadata.folds, start=1):
        refuse_twice(metadata.name, number, fold)
    found = {
        utt_id: corpora.row("", speaker=own.speaker, emotion=metadata.emotion(utt_id))
        | ({"split": metadata.split(utt_id)} if metadata.folds else {})
        for utt_id, own in metadata.utterances.items()
    }
    found = choose(found, labels, merge, left_out, metadata.words.values())
    recordings = located(metadata, top, audio)
    faults = {}
    for utt_id, entry in found.items():
        own = metadata.utterances[utt_id]
        file = recordings.find(own.path) if recordings else None
        if file is None:
            faults[utt_id] = recordings.why_not(own.path) if recordings else own.path
        else:
            entry["wav"] = segments.at(file, own.start, own.end)
    how = f"--corpus '{{name: emobox, corpus: {metadata.name}, audio: FOLDER}}'"
    if len(faults) == len(found):
        where = "the folder audio" if audio else f"any downloads in or above {metadata.folder}"
        raise InputError(
            f"{len(faults)} of {len(found)} recordings of {metadata.name} are not in {where}, the "
            f"first is {next(iter(faults.values()), '')}: say where they are, {how}"
        )
    left_out.tell(f"EmoBox's {metadata.name}", len(found) - len(faults))
    return _measured(found, faults, how, metadata)


def corpora_in(folder: Path) -> dict[str, Path]:
    """The EmoBox corpora in a folder, at any depth: name -> its folder of lists, by name.

    Raises InputError if one is there twice.
    """
    found: dict[str, Path] = {}
    for path in folders.files(folder):
        place, name = path.parent, path.parent.name
        if path.suffix in LISTS and path.stem == name and any(place.glob("fold_*")):
            if found.setdefault(name, place) != place:
                raise InputError(f"{found[name]} and {place} both hold lists of {name}: name one")
    return dict(sorted(found.items()))


def named(folder: Path, corpus: str | None) -> Path:
    """The folder of lists of a corpus in a folder; InputError names those that are there."""
    for place in (folder, folder / str(corpus), folder / "data" / str(corpus)):
        if place.name == corpus and list_of(place, corpus):
            return place  # quickly: a clone's downloads need not be walked
    known = corpora_in(folder)
    if not known:
        raise corpora.wrong_folder(folder, VARIABLE, EXPECTED)
    if str(corpus) in known:
        return known[str(corpus)]
    close = difflib.get_close_matches(str(corpus).lower(), known, n=1) or [*known][:1]
    given = f"there is no corpus {corpus!r}" if corpus else "no corpus is named"
    raise InputError(
        f"{given}, and {folder} has {', '.join(known)}: name one of them, such as --corpus "
        f"'{{name: emobox, corpus: {close[0]}}}'"
    )


def refuse_twice(name: str, number: int, fold: Mapping[str, set[str]]) -> None:
    """InputError for utterances that are in two parts of a fold."""
    for one, other in (("train", "test"), ("train", "valid"), ("valid", "test")):
        if both := sorted(fold[one] & fold[other]):
            raise InputError(
                f"{len(both)} utterances of {name} are in {one} and {other} of fold {number}, the "
                f"first is {both[0]}: use another split, such as --split '!ref "
                "<corpus[speaker_disjoint]>'"
            )


def located(metadata: Metadata, top: Path, audio: str | Path | None) -> Recordings | None:
    """The recordings of a corpus; None if there is no folder for them.

    Raises InputError if `audio` is no folder.
    """
    paths = [own.path for own in metadata.utterances.values()]
    if audio:
        folder = Path(audio).expanduser().absolute()
        if not folder.is_dir():
            raise InputError(f"audio is {folder}, and there is no such folder: correct it")
        return Recordings([folder], paths)
    above = (metadata.folder, *metadata.folder.parents[:ABOVE], top)
    begins = sorted({_begin(Path(path)) for path in paths})
    roots = [next((base / own for base in above if (base / own).is_dir()), None) for own in begins]
    return Recordings(filter(None, roots), paths) if any(roots) else None


def _begin(path: Path) -> Path:
    """downloads/<corpus> of a listed path."""
    return path.parent if path.is_absolute() else Path(*path.parts[:2])


def _measured(
    found: dict[str, dict], faults: dict[str, str], how: str, metadata: Metadata
) -> dict[str, dict]:
    """The manifest; Unreadable for recordings that are missing or cannot be read."""
    if faults:
        first = next(iter(faults))
        faults[first] += f" (if they lie elsewhere: {how})"
    present = {utt_id: entry for utt_id, entry in found.items() if utt_id not in faults}
    try:
        manifest = corpora.finish(present)
    except corpora.Unreadable as error:
        faults |= error.faults
    if faults:
        raise corpora.Unreadable(metadata.folder, faults, found)
    return manifest
