"""What is learned of an utterance: one of several classes, a number, or shares of the classes.

A yaml names them by field of the manifest, the main target first:

    targets:
        emotion: [angry, happy]                        # Classes
        emotion: {labels: [angry, happy], soft: True}  # Shares
        valence: {low: 1, high: 7}                     # Number
        intensity: {low: 0, high: 1, values: {normal: 0, strong: 1}}
"""

import math
import re
from collections.abc import Mapping, Sequence

import torch

from speechbrain_ser.errors import InputError

UNKNOWN = -1  # the number of a value outside its list: a test speaker among training speakers
MANY = 20  # different numbers that may be classes
FIELD = re.compile(r"[\w.+-]{1,64}")  # as a model's description may hold it
MOST = 1_000  # of a range, either way
FORMS = (
    "use a list of classes, {low: 1, high: 7} for a number, or {labels: [...], soft: True} for the "
    "shares of several annotators"
)

Spec = Sequence[str] | Mapping


class Classes:
    """One of the labels of a field; its item is <field>_id, the label's number.

    Attributes
    ----------
    labels : in the order of their numbers
    wanted : the item that a loss compares with
    provides : the names of all its items
    """

    kind = "classes"

    def __init__(self, field: str, labels: Sequence[str]):
        self.field = field
        self.labels = list(labels)
        self.number_of = {label: number for number, label in enumerate(labels)}
        self.wanted = f"{field}_id"
        self.provides = [self.wanted]

    def items(self, utt_id: str, entry: Mapping) -> dict:
        """What a dataset holds of one utterance; a value that is no label is UNKNOWN."""
        return {f"{self.field}_id": self.number_of.get(entry[self.field], UNKNOWN)}

    def of_batch(self, batch) -> torch.Tensor:
        """A padded batch's class numbers, [batch]."""
        return getattr(batch, self.wanted)

    def check(self, utt_id: str, entry: Mapping) -> None:
        """InputError for a value that is no label: a main target has none of them."""
        if entry[self.field] not in self.number_of:
            raise InputError(
                f"{utt_id} has {self.field} {entry[self.field]!r}, which is none of "
                f"{', '.join(self.labels)}: correct the corpus or the labels"
            )


class Shares(Classes):
    """The share of each label, <field>_shares [class]; the label of most is there as in Classes.

    Shares are those of the manifest's "ratings", {label: how many named it}, of which what is no
    label does not count. Without any an utterance is all its own label.
    """

    kind = "shares"

    def __init__(self, field: str, labels: Sequence[str]):
        super().__init__(field, labels)
        self.wanted = f"{field}_shares"
        self.provides = [*self.provides, self.wanted]

    def items(self, utt_id: str, entry: Mapping) -> dict:
        ratings = entry.get("ratings") or {}
        counts = torch.tensor([float(ratings.get(label, 0)) for label in self.labels])
        if not counts.sum() > 0:
            counts = torch.tensor([float(label == entry[self.field]) for label in self.labels])
        total = counts.sum()
        shares = counts / total if total > 0 else counts  # of an unknown label none is known
        return super().items(utt_id, entry) | {self.wanted: shares}

    def of_batch(self, batch) -> torch.Tensor:
        """A padded batch's shares, [batch, class]."""
        return getattr(batch, self.wanted).data


class Number:
    """A number within a range, in the manifest as text; its item is <field>_number.

    values : text of the manifest -> number, where its texts are no numbers themselves

    Raises InputError for a range that is none.
    """

    kind = "numbers"
    labels: Sequence[str] = ()

    def __init__(
        self, field: str, low: float, high: float, values: Mapping[str, float] | None = None
    ):
        self.values = {str(text): value for text, value in (values or {}).items()}
        numbers = {f"values.{text}": value for text, value in self.values.items()}
        for name, value in {"low": low, "high": high, **numbers}.items():
            if not _is_number(value) or not -MOST <= value <= MOST:
                raise InputError(
                    f"targets.{field}.{name} is {value!r}: use a number from {-MOST:,} to {MOST:,}"
                )
        if low >= high:
            raise InputError(
                f"targets.{field} has low {low:g} and high {high:g}: high must be above low"
            )
        self.field = field
        self.low, self.high = float(low), float(high)
        self.wanted = f"{field}_number"
        self.provides = [self.wanted]

    def items(self, utt_id: str, entry: Mapping) -> dict:
        """What a dataset holds of one utterance; InputError where it has no number in the range."""
        text = entry.get(self.field, "")
        try:
            value = float(self.values[text] if self.values else text)
        except KeyError:
            known = ", ".join(self.values)
            raise InputError(
                f"{utt_id} has {self.field} {text!r}, which is none of {known}: correct the corpus "
                f"or targets.{self.field}.values"
            ) from None
        except ValueError:
            what = f"{self.field} {text!r}, which is no number" if text else f"no {self.field}"
            raise InputError(
                f"{utt_id} has {what}: correct the corpus, or leave {self.field} out of targets"
            ) from None
        if not self.low <= value <= self.high:
            raise InputError(
                f"{utt_id} has {self.field} {text}, outside {self.low:g} to {self.high:g}: correct "
                f"the corpus or the range, targets.{self.field}"
            )
        return {self.wanted: value}

    def of_batch(self, batch) -> torch.Tensor:
        """A padded batch's numbers, [batch], in single precision as networks answer them."""
        return getattr(batch, self.wanted).float()

    def check(self, utt_id: str, entry: Mapping) -> None:
        """Nothing: `items` refuses what is no number, be it the main target's or another's."""


Target = Classes | Number


def of(specs: Mapping[str, Spec]) -> dict[str, Target]:
    """field -> its target, the main one first; InputError for what describes none."""
    targets = {field: _made(field, spec) for field, spec in specs.items()}
    fields = list(targets)
    for number, after in zip(fields, fields[1:], strict=False):
        if isinstance(targets[number], Number) and not isinstance(targets[after], Number):
            raise InputError(
                f"targets has {number}, a number, before {after}: name classes first, for the "
                "first one is the main target"
            )
    return targets


def labels_of(spec: Spec) -> list[str]:
    """The labels of classes or shares. Raises InputError for a number, which has none."""
    if not isinstance(spec, Mapping):
        return list(spec)
    target = _made("emotion", spec)
    if isinstance(target, Number):
        raise InputError(
            "a number among the targets has no classes that this network could name: "
            "recipes/RAVDESS/train_dimensions.py learns numbers"
        )
    return list(target.labels)


def numbers_of(targets: Mapping[str, Target]) -> dict[str, Number]:
    """Those of the targets that are numbers."""
    return {field: target for field, target in targets.items() if isinstance(target, Number)}


def settled(
    specs: Mapping[str, Spec], labels: Sequence[str], train: Mapping[str, dict]
) -> dict[str, Spec]:
    """The targets with their labels: where they are not named, those of the training part, sorted.

    labels : the corpus' own, of emotions that are shares without labels

    Raises InputError for classes that are rather ratings: many different numbers.
    """
    known = {}
    for field, spec in specs.items():
        target = _made(field, spec)
        if isinstance(target, Number):
            known[field] = spec
            continue
        named = target.labels or (list(labels) if field == "emotion" else [])
        found = named or sorted({entry[field] for entry in train.values()})
        if not named and field != "speaker":
            _refuse_ratings(field, found)
        known[field] = {**spec, "labels": found} if isinstance(spec, Mapping) else found
    return known


def _made(field: str, spec: Spec) -> Target:
    if not FIELD.fullmatch(str(field)):
        raise InputError(f"targets has {field!r}: a field's name has letters, digits and . + - _")
    if isinstance(spec, list | tuple):
        return Classes(field, spec)
    if isinstance(spec, Mapping) and {"low", "high"} <= {*spec} <= {"low", "high", "values"}:
        return Number(field, **spec)
    if isinstance(spec, Mapping) and "soft" in spec and {*spec} <= {"labels", "soft"}:
        made = {True: Shares, False: Classes}.get(spec["soft"])
        if made is Shares and field != "emotion":
            raise InputError(f"targets.{field} is soft, and annotators' ratings are of emotion")
        if made and isinstance(spec.get("labels", []), list | tuple):
            return made(field, spec.get("labels", []))
    raise InputError(f"targets.{field} is {_told(spec)}: {FORMS}")


def _told(spec: object) -> str:
    if not isinstance(spec, Mapping):
        return repr(spec)
    return f"{{{', '.join(f'{key}: {value}' for key, value in spec.items())}}}"


def _refuse_ratings(field: str, found: Sequence[str]) -> None:
    try:
        numbers = [float(label) for label in found]
    except ValueError:
        return
    if len(numbers) <= MANY or not all(map(math.isfinite, numbers)):
        return
    shown = max(found, key=len)
    low, high = math.floor(min(numbers)), math.ceil(max(numbers))
    raise InputError(
        f"{field} has {len(found)} different numbers, such as {shown}: if it is a rating, "
        f"--targets '{{{field}: {{low: {low}, high: {high}}}}}' with "
        "recipes/RAVDESS/train_dimensions.py hparams/dimensions.yaml; if they are classes, name "
        "them, --corpus '{labels: [...]}'"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
