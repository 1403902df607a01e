"""EmoBox's lists of one corpus: its utterances, their emotions and speakers, and its folds."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from speechbrain_ser.data.corpora import LeftOut, rows
from speechbrain_ser.data.splits import PARTS, Parts
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json

LISTS = (".jsonl", ".json")  # the first that is there is read
MAPS = ("label_map.json", "label_dict.json")
SPEAKERS = "data.seg.wrd.stm"
# its language is en for every corpus, and that of corpus.cfg is wrong for some: neither is read
SPEAKER = re.compile(r"<id=(.+),lang=[^,]*,spk=(.*),emotion=.*>")
UNKNOWN = ("", "none", "nan", "unknown")  # speakers
EXPECTED = "EmoBox's list of a corpus"
AGAIN = "fetch EmoBox's file again"


class Utterance(NamedTuple):
    """A line of a corpus' list."""

    path: str  # as listed
    start: float  # seconds
    end: float | None
    emotion: str  # the corpus' own word
    speaker: str  # "" where unknown


class Metadata(NamedTuple):
    """What EmoBox says of a corpus."""

    folder: Path
    utterances: dict[str, Utterance]
    words: dict[str, str]  # the corpus' word in lower case -> EmoBox's, in lower case; or none
    folds: list[dict[str, set[str]]]  # of train, valid and test, each its utterances

    @property
    def name(self) -> str:
        return self.folder.name

    def emotion(self, utt_id: str) -> str:
        """EmoBox's word, or the corpus' own without a map."""
        own = self.utterances[utt_id].emotion
        return self.words[own.casefold()] if self.words else own

    def entries(self) -> dict[str, dict]:
        """Emotion and speaker of each utterance."""
        return {
            utt_id: {"emotion": self.emotion(utt_id), "speaker": own.speaker}
            for utt_id, own in self.utterances.items()
        }

    def split(self, utt_id: str) -> list[str]:
        """The part that an utterance has in each fold, "" where it has none."""
        return [next((part for part in PARTS if utt_id in fold[part]), "") for fold in self.folds]

    def parts(self, fold: int) -> Parts:
        """The parts of a fold, counted from 1, as they are listed."""
        entries = self.entries()
        return {
            part: {utt_id: entries[utt_id] for utt_id in sorted(own)}
            for part, own in self.folds[fold - 1].items()
        }


def read(folder: Path, left_out: LeftOut, original_labels: bool = False) -> Metadata:
    """The lists of a corpus' folder, without a look at its recordings.

    left_out : takes lists of other names, and lines that come twice

    Raises InputError for what cannot be used: a line without path or emotion, an emotion that the
    map lacks, an utterance of a fold that is in no list.
    """
    name = folder.name
    source = list_of(folder, name)
    if source is None:
        raise InputError(f"{folder} has neither {name}.jsonl nor {name}.json: {AGAIN}")
    speakers = _speakers(folder / SPEAKERS)
    utterances: dict[str, Utterance] = {}
    for place, fields in rows.read(source, (), EXPECTED):
        utt_id, own = _utterance(f"{source}, {place}", fields)
        own = own._replace(speaker=speakers.get(utt_id, ""))
        if utterances.setdefault(utt_id, own) != own:
            raise InputError(f"{source}, {place}: {utt_id} stands there twice, with other values")
        if utterances[utt_id] is not own:
            left_out.add("lines that come twice", utt_id)
    if not utterances:
        raise InputError(f"{source} lists no utterance: {AGAIN}")
    _refuse(source, utterances, "no emotion", lambda own: not own.emotion)
    maps = [folder / name for name in MAPS if (folder / name).is_file()]
    words = {}
    if maps and not original_labels:
        given = read_json(maps[0], AGAIN)
        words = {str(own).casefold(): str(word).lower() for own, word in given.items()}
        lacking = f"an emotion that {maps[0].name} lacks"
        _refuse(source, utterances, lacking, lambda own: own.emotion.casefold() not in words)
    return Metadata(folder, utterances, words, _folds(folder, source, utterances, left_out))


def list_of(folder: Path, name: str) -> Path | None:
    """The list of this name in a folder, jsonl before json; None if there is none."""
    paths = (folder / f"{name}{ending}" for ending in LISTS)
    return next((path for path in paths if path.is_file()), None)


def _id(fields: Mapping) -> str:
    """An utterance's key: of a line, or the name of an entry."""
    return unicodedata.normalize("NFC", str(fields.get("key") or fields.get("utt_id") or ""))


def _utterance(place: str, fields: Mapping) -> tuple[str, Utterance]:
    """An utterance of a list; some lists say audio and label for wav and emo."""
    path = fields.get("wav") or fields.get("audio")
    if not _id(fields) or not path:
        raise InputError(f"{place} has no key or no path: {AGAIN}")
    emotion = fields.get("emo") or fields.get("label") or ""
    try:
        start = float(fields.get("start_time") or 0)
        end = None if fields.get("end_time") is None else float(fields["end_time"])
    except (TypeError, ValueError):
        raise InputError(f"{place} has times that are no numbers: {AGAIN}") from None
    return _id(fields), Utterance(str(path), start, end, str(emotion).strip(), "")


def _refuse(
    source: Path,
    utterances: Mapping[str, Utterance],
    what: str,
    is_bad: Callable[[Utterance], bool],
) -> None:
    bad = [(utt_id, own) for utt_id, own in utterances.items() if is_bad(own)]
    if bad:
        utt_id, own = bad[0]
        example = f"{utt_id} ({own.emotion})" if own.emotion else utt_id
        raise InputError(
            f"{len(bad)} of {len(utterances)} utterances of {source} have {what}, the first is "
            f"{example}: complete it"
        )


def _speakers(path: Path) -> dict[str, str]:
    """Utterance -> speaker, where the file is there and says so.

    A speaker of each utterance's own is none: some lists have the file's name in that place.
    """
    if not path.is_file():
        return {}
    try:
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}): {AGAIN}") from None
    named = {i: who for i, who in SPEAKER.findall(text) if who.casefold() not in UNKNOWN}
    return {} if len({*named.values()}) == len(named) > 1 else named


def _folds(
    folder: Path, source: Path, known: Mapping[str, Utterance], left_out: LeftOut
) -> list[dict[str, set[str]]]:
    """The parts of each fold; a list of another name, such as *_fold1, is left out."""
    places = {
        int(path.name.removeprefix("fold_")): path
        for path in folder.glob("fold_*")
        if path.name.removeprefix("fold_").isdigit()
    }
    if sorted(places) != list(range(1, len(places) + 1)):
        numbers = ", ".join(map(str, sorted(places)))
        raise InputError(f"{folder} has the folds {numbers}, which should count from 1: {AGAIN}")
    folds = []
    for number in sorted(places):
        place = places[number]
        names = {part: f"{folder.name}_{part}_fold_{number}" for part in PARTS}
        for path in sorted(place.glob("[!.]*")):
            if path.stem not in names.values() or path.suffix not in LISTS:
                left_out.add("lists of other names", path.relative_to(folder))
        lists = {part: list_of(place, name) for part, name in names.items()}
        for part in ("train", "test"):
            if lists[part] is None:
                raise InputError(f"{place} has no {names[part]}.jsonl and no .json: {AGAIN}")
        fold = {part: _keys(path) if path else set() for part, path in lists.items()}
        for part, keys in fold.items():
            if strange := sorted(keys - known.keys()):
                raise InputError(
                    f"{len(strange)} of {len(keys)} utterances of {lists[part]} are not in "
                    f"{source.name}, the first is {strange[0]!r}: {AGAIN}"
                )
        folds.append(fold)
    return folds


def _keys(path: Path) -> set[str]:
    return {_id(fields) for _, fields in rows.read(path, (), EXPECTED)}
