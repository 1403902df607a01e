"""IEMOCAP (Busso et al. 2008), from the folder IEMOCAP_full_release as it is distributed."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from speechbrain_ser.data import corpora
from speechbrain_ser.errors import InputError

logger = logging.getLogger(__name__)

VARIABLE = "SER_IEMOCAP"
EXPECTED = "IEMOCAP_full_release with Session1 to Session5"
STYLES = ("impro", "script")
EMOTIONS = {
    "ang": "angry",
    "hap": "happy",
    "exc": "excited",
    "sad": "sad",
    "neu": "neutral",
    "fru": "frustrated",
    "fea": "fearful",
    "sur": "surprised",
    "dis": "disgust",
    "oth": "other",
    "xxx": "undecided",  # the raters did not agree
}
MERGE = {"excited": "happy"}  # what the literature's four classes do
UTTERANCE = re.compile(r"\[[\d.]+ - [\d.]+\]\s+(\w+)\s+(\w+)\s")
RATED = re.compile(r"\[([\d.]+), ([\d.]+), ([\d.]+)\]\s*$")  # behind the emotion
DIMENSIONS = ("valence", "arousal", "dominance")  # in their order there; arousal is "activation"
UTT_ID = re.compile(r"(Ses0\d[FM])_([a-z]+)\w*_([FM])\w+")  # Ses05F_script03_2_M012
RATER = re.compile(r"C-E\d+:(.*)")
NUMBERS = re.compile(r"A-E\d+:\s*val\s*(\d*)\s*;\s*act\s*(\d*)\s*;\s*dom\s*(\d*)")
RATERS_WORDS = {
    "anger": "angry",
    "happiness": "happy",
    "sadness": "sad",
    "neutral state": "neutral",
    "frustration": "frustrated",
    "fear": "fearful",
    "surprise": "surprised",
}
ALIGNED = re.compile(
    r"^[^\S\n]*\d+(?:[^\S\n]+-?\d+){2}[^\S\n]+[A-Z']", re.MULTILINE | re.IGNORECASE
)
SYLLABLE = re.compile(r"\d\s+\d+\s+\S")  # its frames; the authors look for no more
TRANSCRIPT = re.compile(r"(Ses\w+) \[[\d.]+-[\d.]+\]:(.*)")


def prepare(
    data_folder: str | Path,
    labels: Sequence[str] = ("angry", "happy", "sad", "neutral"),
    merge: Mapping[str, str] | None = MERGE,
    styles: Sequence[str] = STYLES,
    full_agreement: bool = False,
    aligned: bool = False,
    expected: int | None = None,
) -> dict[str, dict]:
    """The manifest of IEMOCAP_full_release (or of a folder that contains it).

    With the defaults it holds 5,531 utterances, the four classes of the literature. Beyond the
    usual keys a row has "raw_emotion" (before merging), "dialog_side" (the first token, e.g.
    Ses01F, which names who wore the markers; Pepino 2021 groups by it), "aligned" (whether the
    release's forced alignment holds a word of it; "" where the release has no alignments), and the
    mean of the raters' "valence", "arousal" and "dominance", about 1 to 5, as text ("" without).
    Of the raters, not of the speakers' own opinions, it has "ratings", {emotion after merging: how
    many named it}, of which a target with `soft: True` takes its shares (a rater may name several),
    and each one's numbers, "valence_by_rater", "arousal_by_rater" and "dominance_by_rater".

    Arguments
    ---------
    labels : emotions to keep, after merging
    merge : emotion -> the label that it counts as
    styles : "impro", "script" or both
    full_agreement : keep an utterance only if its first three raters give one and the same label
    aligned : keep an utterance only if a word of it is aligned (Pepino 2021: 5,473 of 5,531)
    expected : number of utterances that a complete corpus gives with these options, `aligned`
        apart; None takes what is there, and utterances without audio are left out

    What is left out is logged, counted by reason. Raises InputError for an incomplete corpus.
    """
    merge = merge or {}
    corpora.check_options("labels", labels, [*EMOTIONS.values(), *merge.values()])
    corpora.check_options("merge", merge, EMOTIONS.values())
    corpora.check_options("styles", styles, STYLES)
    rows: dict[str, dict] = {}
    left_out = corpora.LeftOut()
    sessions = _sessions(data_folder)
    has_alignments = any(_alignments(folder).is_dir() for _, folder in sessions)
    if aligned and not has_alignments:
        raise InputError(
            f"{data_folder} has no sentences/ForcedAlignment in any session: complete the corpus, "
            "or use all utterances with --corpus '{aligned: False}'"
        )
    silent = []  # evaluated, without audio
    for session, folder in sessions:
        recorded = sorted((folder / "sentences" / "wav").glob("*/[!.]*.wav"))
        unheard = dict.fromkeys(recorded)
        for named, emotion, words, opinions, rated in _utterances(folder):
            utt_id = named[0]
            dialog = utt_id.rsplit("_", 1)[0]
            side, style, gender = named.groups()
            wav = folder / "sentences" / "wav" / dialog / f"{utt_id}.wav"
            is_recorded = wav in unheard
            unheard.pop(wav, None)
            label = merge.get(emotion, emotion)
            if label not in labels:
                left_out.add(f"labelled {label}", utt_id)
            elif style not in styles:
                left_out.add(f"of style {style}", utt_id)
            elif full_agreement and not _agree(opinions[:3]):
                left_out.add("on whose label the first three raters do not agree", utt_id)
            elif not is_recorded:
                silent.append(wav)
                left_out.add("evaluated, but without audio", utt_id)
            else:
                rows[utt_id] = corpora.row(
                    wav,
                    speaker=f"Ses0{session}{gender}",  # who wears the markers may listen
                    emotion=label,
                    session=session,
                    gender=gender,
                    style=style,
                    words=words,
                    raw_emotion=emotion,
                    dialog_side=side,
                    aligned=_is_aligned(folder, dialog, utt_id) if has_alignments else "",
                    ratings=_counts(opinions, merge),
                    **rated,
                )
        for wav in unheard:
            left_out.add("without an evaluation", wav.stem)
    if expected is not None:
        corpora.check_files(silent, "dialog/EmoEvaluation")
    for label in set(labels) - {entry["emotion"] for entry in rows.values()}:
        raise InputError(f"{data_folder}: these options leave no utterance labelled {label}")
    complete = f"{data_folder} the complete IEMOCAP_full_release"
    corpora.check_count(len(rows), expected, "iemocap", complete, left_out)
    if aligned:
        for utt_id in [utt_id for utt_id, entry in rows.items() if not entry["aligned"]]:
            left_out.add("without an aligned word", utt_id)
            del rows[utt_id]
    left_out.tell("IEMOCAP", len(rows))
    wordless = sum(not entry["words"] for entry in rows.values())
    if wordless:
        logger.info("%s of them have no words in their transcript", f"{wordless:,}")
    return corpora.finish(rows)


def clean(text: str) -> str:
    """A transcript in upper case: A-Z, apostrophes and single spaces, without [events]."""
    text = re.sub(r"\[[^]]*\]|\{[^}]*\}", " ", text).replace("\u2019", "'")
    text = unicodedata.normalize("NFKD", text).upper().replace("-", " ")
    return " ".join(re.sub(r"[^A-Z' ]", "", text).split())


def _sessions(data_folder: str | Path) -> list[tuple[str, Path]]:
    root = corpora.existing_folder(data_folder, VARIABLE, EXPECTED)
    if (root / "IEMOCAP_full_release").is_dir():
        root = root / "IEMOCAP_full_release"
    folders = [(session, root / f"Session{session}") for session in "12345"]
    missing = [folder.name for _, folder in folders if not folder.is_dir()]
    if missing:
        raise corpora.wrong_folder(root, VARIABLE, f"{EXPECTED} ({', '.join(missing)} missing)")
    return folders


def _utterances(session: Path) -> Iterator[tuple[re.Match, str, str, list[set[str]], dict]]:
    """(UTT_ID's match, raw emotion, words, emotions by rater, ratings as numbers) of a session."""
    folder = session / "dialog" / "EmoEvaluation"
    evaluations = sorted(folder.glob("Ses*.txt"))  # leaves out ._Ses*.txt and the subfolders
    if not evaluations:
        raise InputError(f"{folder} holds no evaluation (Ses*.txt): complete the corpus")
    known: set[str] = set()
    for evaluation in evaluations:
        words = _transcripts(session / "dialog" / "transcriptions" / evaluation.name)
        text = evaluation.read_text(encoding="utf-8", errors="replace")  # comments of raters
        # an utterance's line is followed by a line of each rater, up to the next utterance
        blocks = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
        for block in blocks[1:]:
            match = UTTERANCE.match(block)
            line = block.splitlines()[0]
            if match is None or match[2] not in EMOTIONS:
                raise InputError(f"{evaluation}: cannot read the line {line!r}")
            named = UTT_ID.fullmatch(match[1])
            if named is None or named[2] not in STYLES:
                raise InputError(
                    f"{evaluation}: {match[1]} is not named like Ses01F_impro01_F000 or "
                    "Ses01F_script01_1_M000, so neither its style nor its speaker is known: "
                    "correct the name, or take that file out of the corpus"
                )
            if match[1] in known:
                raise InputError(f"{evaluation}: {match[1]} is evaluated twice: remove one line")
            known.add(match[1])
            opinions = [_opinion(said) for said in RATER.findall(block)]
            means = RATED.search(line)
            rated = dict(zip(DIMENSIONS, means.groups() if means else ("",) * 3, strict=True))
            by_rater = NUMBERS.findall(block)
            for position, name in enumerate(DIMENSIONS):
                rated[f"{name}_by_rater"] = [
                    int(own[position]) for own in by_rater if own[position]
                ]
            yield named, EMOTIONS[match[2]], words.get(match[1], ""), opinions, rated


def _alignments(session: Path) -> Path:
    return session / "sentences" / "ForcedAlignment"


def _is_aligned(session: Path, dialog: str, utt_id: str) -> bool:
    """Whether the utterance's forced alignment holds a word: not <sil>, ++LAUGHTER++ and the like.

    A few utterances have no alignment at all. Where the release has the syllables (.syseg), one of
    them is needed too, as in Pepino 2021's code: a word without a vowel, such as MMHMM, has none.
    """
    words = _alignments(session) / dialog / f"{utt_id}.wdseg"
    syllables = words.with_suffix(".syseg")
    return _holds(words, ALIGNED) and (not syllables.is_file() or _holds(syllables, SYLLABLE))


def _holds(path: Path, pattern: re.Pattern) -> bool:
    return path.is_file() and bool(pattern.search(path.read_text("utf-8", errors="replace")))


def _opinion(line: str) -> set[str]:
    """The emotions of one rater, who may have named several: `\\tHappiness; Excited;\\t()`."""
    said = {label.strip().casefold() for label in line.split("(")[0].split(";")} - {""}
    return {RATERS_WORDS.get(word, word) for word in said}


def _agree(opinions: Sequence[set[str]]) -> bool:
    """Whether three raters named one and the same emotion and no other."""
    return len(opinions) == 3 and len(opinions[0]) == 1 and all(o == opinions[0] for o in opinions)


def _counts(opinions: Sequence[set[str]], merge: Mapping[str, str]) -> dict[str, int]:
    """How many raters named each emotion; one who named two that count as one named it once."""
    merged = ({merge.get(emotion, emotion) for emotion in own} - {None} for own in opinions)
    return dict(sorted(Counter(emotion for own in merged for emotion in own).items()))


def _transcripts(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise InputError(f"{path}: no such transcript, complete the corpus")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    # lines without an id, and ids that nobody evaluated (..._MXX0), belong to no utterance
    return {utt_id: clean(words) for utt_id, words in TRANSCRIPT.findall(text)}
