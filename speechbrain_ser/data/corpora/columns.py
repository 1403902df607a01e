"""What the columns of a user's table mean, by the names that people give them."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from speechbrain_ser.errors import InputError

SYNONYMS = {
    "file": "path",
    "filename": "path",
    "wav": "path",
    "audio": "path",
    "label": "emotion",
    "speaker_id": "speaker",
    "spk": "speaker",
    "text": "transcript",
    "transcription": "transcript",
    "rater": "annotator",
}
PLAIN = {
    "session",
    "gender",
    "split",
    "utt_id",
    "language",
    *SYNONYMS.values(),
}
TIME = re.compile(
    r"(?:segment_?)?(?:(start|begin|onset)|(end|stop)|(offset))"
    r"(?:_?time)?(?:_?(?:s|sec|seconds|(ms|msec|milliseconds)))?"
)
LENGTH = re.compile(r"(segment_?)?(duration|length|dur)(_?(s|sec|seconds|ms))?")
# emotion_<name> is what one annotator heard, but for these
NO_ANNOTATORS = {"id", "code", "intensity", "strength", "level", "confidence", "score"}
RATING = re.compile(r"emotion_(.+)")


def plain(name: str) -> str:
    """A column's name without what does not matter: case, blanks and signs."""
    return re.sub(r"[\W_]+", "_", name.strip().casefold()).strip("_")


class Columns:
    """The meaning of a table's columns, whose case and blanks do not matter.

    Raises InputError for two columns of one meaning, for an offset without a start beside it,
    which may be a start or an end, and for columns of some of the shares only.

    Arguments
    ---------
    names : of the columns
    fields : what rows must have beside path and speaker: emotion, or others by their own names
    shares : emotions of which each may have a column, with how many named it

    Attributes
    ----------
    required : what rows must have
    kept : those of the fields whose texts are kept under their names
    shares : emotion -> its column of counts
    of : meaning (path, emotion, speaker, ..., start, end in seconds) -> column
    raters : annotator -> the column of their emotions
    taken : what columns of other names are taken for, in words
    unused_length : a column of durations that is not read, beside starts without ends
    """

    def __init__(
        self,
        names: Iterable[str],
        fields: Sequence[str] = ("emotion",),
        shares: Sequence[str] = (),
    ):
        self.required = ("path", *fields, "speaker")
        self.kept = [name for name in fields if plain(name) not in PLAIN]
        names, wanted = list(names), PLAIN | {plain(name) for name in fields}
        counted = {plain(name): name for name in names}
        self.shares = {name: counted[plain(name)] for name in shares if plain(name) in counted}
        if self.shares and (absent := [name for name in shares if name not in self.shares]):
            raise InputError(
                f"has columns of {', '.join(self.shares)}, and none of {absent[0]}: each label of "
                "shares needs one"
            )
        self.of: dict[str, str] = {}
        self.raters: dict[str, str] = {}
        self.taken: list[str] = []
        self.milliseconds: set[str] = set()
        lengths, offsets = [], []
        for name in names:
            said = plain(name)
            rating = RATING.fullmatch(said)
            if time := TIME.fullmatch(said):
                meaning = "start" if time[1] else "end"
                if time[4]:
                    self.milliseconds.add(meaning)
                offsets += [name] if time[3] else []
            elif rating and rating[1] not in NO_ANNOTATORS and said not in wanted:
                self._claim(self.raters, rating[1], name)
                self.taken.append(f"{name} is taken for what annotator {rating[1]} heard")
                continue
            else:
                meaning = said if said in wanted else SYNONYMS.get(said, said)
                lengths += [name] if LENGTH.fullmatch(said) else []
            if time or meaning in wanted:
                self._claim(self.of, meaning, name)
                if said != meaning:
                    self.taken.append(f"{name} is taken for {meaning}")
        if offsets and "start" not in self.of:
            raise InputError(
                f"has the column {offsets[0]} without a start, so that it may be a start or an "
                "end: rename it start or end"
            )
        without_end = "start" in self.of and "end" not in self.of
        self.unused_length = lengths[0] if without_end and lengths else ""
        if self.raters and "annotator" in self.of:
            raise InputError(
                f"tells annotators by the column {self.of['annotator']} and by "
                f"{next(iter(self.raters.values()))}: leave out one of them"
            )

    @property
    def are_rated(self) -> bool:
        """Whether the table says what annotators heard."""
        return bool(self.raters) or "annotator" in self.of

    @staticmethod
    def _claim(columns: dict[str, str], meaning: str, name: str) -> None:
        if (first := columns.setdefault(meaning, name)) != name:
            raise InputError(
                f"has two columns that say {meaning}, {first} and {name}: rename or remove one"
            )

    @property
    def lacking(self) -> list[str]:
        """Those of the required that no column has; annotators and shares tell an emotion, too."""
        there = {*self.of, *(("emotion",) if self.raters or self.shares else ())}
        return [name for name in self.required if plain(name) not in there]

    def counts(self, fields: Mapping[str, str]) -> dict[str, float]:
        """emotion -> how many named it in this entry; InputError for what is no count."""
        found = {}
        for emotion, name in self.shares.items():
            try:
                found[emotion] = float(fields.get(name) or 0)
            except ValueError:
                found[emotion] = math.nan
            if not 0 <= found[emotion] < math.inf:
                raise InputError(f"{name} is {fields[name]!r}: use how many named it, or a share")
        return {emotion: count for emotion, count in found.items() if count}

    def given(self, fields: Mapping[str, str]) -> dict[str, str]:
        """meaning -> an entry's value, "" where it has none."""
        return {meaning: fields.get(name, "") for meaning, name in self.of.items()}

    def heard(self, fields: Mapping[str, str]) -> dict[str, str]:
        """annotator -> the emotion, of those that say one in this entry.

        Raises InputError for an annotator without a name.
        """
        if "annotator" not in self.of:
            heard = {rater: fields.get(name, "") for rater, name in self.raters.items()}
            return {rater: emotion for rater, emotion in heard.items() if emotion}
        given = self.given(fields)
        if not given["annotator"]:
            raise InputError("annotator is empty")
        return {given["annotator"]: given.get("emotion", "")}

    def seconds(self, fields: Mapping[str, str], meaning: str) -> float | None:
        """start or end of an entry, None where it is empty; InputError for no number."""
        value = self.given(fields).get(meaning, "")
        if not value:
            return None
        unit = "milliseconds" if meaning in self.milliseconds else "seconds"
        try:
            time = float(value)
        except ValueError:
            time = math.nan
        if not 0 <= time < math.inf:
            raise InputError(f"{self.of[meaning]} is {value!r}, use {unit} such as 1.5")
        return time / 1000 if unit == "milliseconds" else time
