"""Splits: manifest -> train, valid and test, by pure functions that assert what they promise.

Every split is called as `split(manifest, fold=1)` and gives `{"train": ..., "valid": ...,
"test": ...}`, each a part of the manifest (the same entries, in the manifest's order). In every
split no utterance is in two parts and no part is empty; each docstring says what else is kept
apart. `protocol` computes the same from the result.
"""

from speechbrain_ser.data.splits.entries import NoSuchFold
from speechbrain_ser.data.splits.nested import (
    speaker_identification,
    without_sentences,
    without_validation,
)
from speechbrain_ser.data.splits.parts import (
    PARTS,
    Parts,
    check_parts,
    describe,
    number_of_folds,
    protocol,
    shared_in_words,
    shared_speakers,
)
from speechbrain_ser.data.splits.sessions import (
    given_session,
    leave_one_session_out,
    leave_one_speaker_out,
)
from speechbrain_ser.data.splits.speakers import by_actor, given_folds, given_speakers
from speechbrain_ser.data.splits.utterances import official, random_folds, stated, stratified

__all__ = [
    "PARTS",
    "NoSuchFold",
    "Parts",
    "by_actor",
    "check_parts",
    "describe",
    "given_folds",
    "given_session",
    "given_speakers",
    "leave_one_session_out",
    "leave_one_speaker_out",
    "number_of_folds",
    "official",
    "protocol",
    "random_folds",
    "shared_in_words",
    "shared_speakers",
    "speaker_identification",
    "stated",
    "stratified",
    "without_sentences",
    "without_validation",
]
