"""Published corpora by their names, from any folder that holds them: the file names tell it all."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from speechbrain_ser.data import corpora, manifests
from speechbrain_ser.data.corpora import nemo, ravdess, table
from speechbrain_ser.data.corpora.known import CORPORA, Known
from speechbrain_ser.data.labels import Merge, choose
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)

EXTRA = ("statement", "repetition")  # groups that a row has as they stand in the name
MANY = 0.5  # of a folder's recordings: so many are no accident


def shape_of(known: Known) -> re.Pattern:
    """What matches a whole path, without its ending, of a recording of the corpus."""
    codes = "|".join(map(re.escape, known.emotions))
    return re.compile(
        rf"(?:.*/)?(?P<all>{known.shape.replace('<emotion>', f'(?P<emotion>{codes})')})"
    )


SHAPES = {name: shape_of(known) for name, known in CORPORA.items()} | {
    name: re.compile(rf"(?:.*/)?(?:{module.NAME.pattern})")  # with readers of their own
    for name, module in {"nemo": nemo, "ravdess": ravdess}.items()
}


def prepare(
    data_folder: str | Path,
    corpus: str,
    labels: Sequence[str] = (),
    merge: Merge | None = None,
    expected: int | None = None,
) -> dict[str, dict]:
    """The manifest of a corpus of known.CORPORA, found at any depth of a folder, behind links too.

    Emotions are RAVDESS' words. Beyond the usual keys a row has "language" and, where the names
    tell them, "statement", "repetition" and "intensity".

    Files of other names are left out, and so are second copies, also of another name if they say
    the same; what is left out is logged, counted by reason, and so are recordings of two emotions
    and another count than the complete corpus'.

    Arguments
    ---------
    labels, merge : the emotions that are kept, and what each counts as, see labels.choose
    expected : number of recordings; None accepts any

    Raises InputError if nothing is named so, it says what seems to be there, and for recordings
    that differ under one name.
    """
    corpora.check_options("corpus", [corpus], CORPORA)
    known, variable = CORPORA[corpus], f"SER_{corpus.upper()}"
    shape = f"{known.title} recordings such as {known.example}"
    folder = corpora.existing_folder(data_folder, variable, shape)
    left_out = corpora.LeftOut()
    rows, others = _find(folder, known, SHAPES[corpus], left_out)
    if not rows:
        raise _others(folder, others, variable, shape)
    for path in others:
        left_out.add("of other names", path)
    rows = _once(rows, left_out)
    complete = f"{folder} the complete {known.title}"
    corpora.check_count(len(rows), expected, corpus, complete, left_out)
    if len(rows) != known.utterances:
        there, whole = f"{len(rows):,}", f"{known.utterances:,}"
        logger.warning("%s: %s of the %s recordings of the corpus", known.title, there, whole)
    rows = choose(rows, labels, merge, left_out, known.emotions.values())
    left_out.tell(known.title, len(rows))
    return corpora.finish(rows)


def _find(
    folder: Path, known: Known, shape: re.Pattern, left_out: corpora.LeftOut
) -> tuple[dict[str, dict], list[Path]]:
    """utt_id -> row, without durations; and the recordings of other names."""
    matches: dict[Path, re.Match | None] = {}

    def name(path: Path) -> str:
        match = matches[path] = shape.fullmatch(path.with_suffix("").as_posix())
        return path.stem if match is None else _utt_id(match)

    files: dict[str, Path] = {}
    others = []
    for path in corpora.recordings(folder, left_out, name):
        if matches[path] is None:
            others.append(path)
        else:
            corpora.keep_one(files, path, left_out, name(path))
    found = ((utt_id, path, matches[path]) for utt_id, path in files.items())
    return {utt_id: _row(path, known, match) for utt_id, path, match in found if match}, others


def _utt_id(match: re.Match) -> str:
    """The stem, unless that alone does not tell who speaks."""
    return match.groupdict().get("id") or match["all"].replace("/", "_")


def _row(path: Path, known: Known, match: re.Match) -> dict:
    groups = match.groupdict()
    speaker = known.speaker.format(**groups)
    if known.women is None:
        gender = {"F": "F", "M": "M"}.get(groups.get("gender", "")[:1].upper(), "")
    else:
        gender = "F" if speaker in known.women else "M"
    more = {name: groups[name] for name in EXTRA if groups.get(name)}
    if known.intensities:
        more["intensity"] = known.intensities[groups["intensity"]]
    said = known.phrase.format(**groups) or known.sentences.get(groups.get("statement", ""), "")
    language = known.language if isinstance(known.language, str) else known.language[speaker]
    emotion = known.emotions[groups["emotion"]]
    words = table.words(said)
    return corpora.row(
        path, speaker, emotion, gender=gender, words=words, language=language, **more
    )


def _once(rows: Mapping[str, dict], left_out: corpora.LeftOut) -> dict[str, dict]:
    """The rows without second copies of other names; one of another emotion is kept, and told."""
    of_size = defaultdict(list)
    for utt_id, entry in sorted(rows.items()):
        of_size[Path(entry["wav"]).stat().st_size].append(utt_id)
    of_content = defaultdict(list)
    for size, ids in of_size.items():
        for utt_id in ids if len(ids) > 1 else ():  # few files must be read
            of_content[size, manifests.content(rows[utt_id]["wav"])].append(utt_id)
    kept, contradictory = dict(rows), []
    for first, *copies in of_content.values():
        for utt_id in copies:
            if all(rows[utt_id][key] == rows[first][key] for key in ("speaker", "emotion")):
                left_out.add("second copies", kept.pop(utt_id)["wav"])
            else:
                contradictory.append((first, utt_id))
    if contradictory:
        logger.warning(
            "%d recordings have two names that say different emotions or speakers, such as %s: "
            "both are kept, as published",
            len(contradictory),
            " and ".join(contradictory[0]),
        )
    return kept


def _others(folder: Path, others: Sequence[Path], variable: str, shape: str) -> InputError:
    """The error for a folder without a recording of the corpus."""
    if not others:
        return corpora.wrong_folder(folder, variable, shape)
    seems = looks_like(others)
    hint = f"; these look like {title_of(seems)}: --corpus {seems}" if seems else ""
    return InputError(
        f"{folder} holds {len(others):,} recordings such as {others[0].relative_to(folder)}, "
        f"expected {shape}{hint or ': ' + corpora.how_to_give(variable)}"
    )


def looks_like(paths: Iterable[Path]) -> str | None:
    """The corpus whose names most of the recordings have; None if there is none."""
    places = [path.with_suffix("").as_posix() for path in paths]
    counts = {
        name: sum(shape.fullmatch(place) is not None for place in places)
        for name, shape in SHAPES.items()
    }
    likely = max(counts, key=counts.__getitem__)
    return likely if counts[likely] > MANY * len(places) else None


def title_of(name: str) -> str:
    """RAVDESS, TESS, ... of ravdess, tess, ..."""
    return CORPORA[name].title.partition(",")[0] if name in CORPORA else name.upper()
