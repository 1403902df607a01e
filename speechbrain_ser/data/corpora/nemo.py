"""nEMO (Christop 2024): Polish by 9 actors, told by the file names and by data.tsv."""

import logging
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from speechbrain_ser.data import corpora, folders
from speechbrain_ser.data.corpora import table
from speechbrain_ser.data.labels import Merge, choose
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)

VARIABLE = "SER_NEMO"
EXPECTED = "nEMO recordings such as samples/SM0_anger_10.wav (a clone of github.com/amu-cai/nEMO)"
TABLE = "data.tsv"
COLUMNS = ("file_id", "emotion", "normalized_text", "speaker_id", "gender")
EMOTIONS = ("anger", "fear", "happiness", "neutral", "sadness", "surprised")
NAME = re.compile(rf"([A-Za-z0-9]+)_({'|'.join(EMOTIONS)})_(\d+)")
PARTS = f"speaker_emotion_sentence with an emotion of {', '.join(EMOTIONS)}"


def prepare(
    data_folder: str | Path,
    labels: Sequence[str] = (),
    merge: Merge | None = None,
    expected: int | None = None,
) -> dict[str, dict]:
    """The manifest of a clone of the published repository, or of a folder above it.

    The recordings may lie at any depth, behind links too. Beyond the usual keys a row has
    "statement", the number of its sentence, and "age", if data.tsv tells it. Without data.tsv the
    file names tell speakers, emotions and sentences; genders and words are unknown.

    Arguments
    ---------
    labels, merge : the emotions that are kept, and what each counts as, see labels.choose
    expected : number of recordings of the complete corpus; None accepts any

    What is left out is logged, counted by reason. Raises InputError for names and rows that are
    not as published or contradict each other.
    """
    folder = corpora.existing_folder(data_folder, VARIABLE, EXPECTED)
    source = _table(folder)
    told = _told(source) if source else None
    files, left_out = _find(folder, told)
    if not files:
        raise corpora.wrong_folder(folder, VARIABLE, EXPECTED)
    if told is None:
        logger.warning("nEMO: genders and transcripts are unknown, %s has no %s", folder, TABLE)
        told = dict.fromkeys(files, {})
    for stem in told:
        if stem not in files:
            left_out.add(f"rows of {TABLE} without a recording", stem)
    rows = {stem: _row(path, told[stem]) for stem, path in files.items()}
    corpora.check_count(len(rows), expected, "nemo", f"{folder} the complete nEMO", left_out)
    rows = choose(rows, labels, merge, left_out, EMOTIONS)
    left_out.tell("nEMO", len(rows))
    return corpora.finish(rows)


def _table(folder: Path) -> Path | None:
    """data.tsv of the folder itself, else the only one below it."""
    if (folder / TABLE).is_file():
        return folder / TABLE
    found = sorted(path for path in folders.files(folder) if path.name == TABLE)
    if len(found) > 1:
        raise InputError(f"{found[0]} and {found[1]} are there: give one's folder as data_folder")
    return found[0] if found else None


def _told(source: Path) -> dict[str, dict[str, str]]:
    """Stem of a recording -> what data.tsv alone tells of it."""
    told: dict[str, dict[str, str]] = {}
    for place, fields in table.read(source, COLUMNS, f"nEMO's own {TABLE}"):
        try:
            # stripped: as published, a speaker_id has blanks in front
            stem, entry = _checked(table.stripped(fields))
            if stem in told:
                raise InputError(f"{stem} comes twice")
            told[stem] = entry
        except InputError as error:
            raise InputError(f"{source}, {place}: {error}; correct it or fetch it again") from None
    return told


def _checked(given: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Stem and entry of a row; InputError says what is wrong with it."""
    file_id = given["file_id"]
    match = NAME.fullmatch(Path(file_id).stem)
    if match is None:
        raise InputError(f"file_id {file_id!r} is not {PARTS}")
    by_row, by_name = (given["speaker_id"], given["emotion"]), match.groups()[:2]
    if by_row != by_name:
        raise InputError(
            f"{file_id} is {' '.join(by_row)} by its row and {' '.join(by_name)} by its name"
        )
    entry = {
        "gender": table.gender(given["gender"]),
        "words": table.words(given["normalized_text"]),
    }
    return match[0], entry | ({"age": given["age"]} if "age" in given else {})


def _find(folder: Path, told: Collection[str] | None) -> tuple[dict[str, Path], corpora.LeftOut]:
    """Stem -> its file, of those that data.tsv tells of if there is one; and the rest."""
    files: dict[str, Path] = {}
    left_out = corpora.LeftOut()
    for path in corpora.recordings(folder, left_out):
        if told is None and NAME.fullmatch(path.stem) is None:
            raise InputError(f"{path} is not named {PARTS}: take it out of {folder}")
        if told is not None and path.stem not in told:
            left_out.add(f"in no row of {TABLE}", path)
        else:
            corpora.keep_one(files, path, left_out)
    return files, left_out


def _row(path: Path, told: dict[str, str]) -> dict:
    speaker, emotion, statement = path.stem.split("_")
    return corpora.row(
        path, speaker=speaker, emotion=emotion, statement=statement, language="pl", **told
    )
