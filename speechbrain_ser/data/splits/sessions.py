"""One session or one speaker tested at a time, for corpora recorded in sessions of two speakers."""

import math
import random
from collections.abc import Sequence

from speechbrain_ser.data.splits.entries import (
    Manifest,
    check_share,
    grouped,
    listed,
    of_fold,
    only,
    require,
    values,
    where,
    without,
)
from speechbrain_ser.data.splits.parts import Parts, check_parts
from speechbrain_ser.errors import InputError


def given_session(manifest: Manifest, fold: int = 1, *, test: str | Sequence[str]) -> Parts:
    """Session-independent: the named session, or sessions, are tested, and all others train.

    Nothing validates: `valid` is the test part itself, see without_validation. There is one fold.
    """
    names = [test] if isinstance(test, str) else list(test)
    of_fold([" and ".join(names)], fold, "session")
    require(manifest, "session")
    known = values(manifest, "session")
    tested = where(manifest, session=names)
    train = without(manifest, tested)
    if strange := [name for name in names if name not in known] or ([] if train else names):
        raise InputError(
            f"the manifest has the sessions {listed(known)}: session {strange[0]!r} cannot be "
            "tested by the others"
        )
    return {"train": train, "valid": tested, "test": tested}


def leave_one_session_out(
    manifest: Manifest,
    fold: int = 1,
    validation: str = "balanced",
    share: float = 0.2,
    seed: int = 1000,
    labels: Sequence[str] | None = None,
) -> Parts:
    """Session-independent: session number `fold`, in sorted order and complete, is the test part.

    Speakers are kept apart too where nobody speaks in two sessions, as in IEMOCAP.

    validation : what is held out of the other sessions
        "balanced": from every emotion ceil(share * size of the smallest), drawn with `seed`;
            shares speakers and sessions with training (Park 2023, authors' code, with our order
            of the rows, because theirs is unpublished)
        "session": the next session, after the last one the first; shares no session with training
        "speaker": the first speaker of the next session; shares no speaker with training
        "last_session": the last session or, when that is tested, the one before (Pepino 2021)
    labels : the order in which "balanced" draws the emotions; sorted by name if None
    """
    require(manifest, "session")
    sessions = values(manifest, "session")
    test_session = of_fold(sessions, fold, "session")
    test = where(manifest, session={test_session})
    rest = without(manifest, test)
    if not rest:
        raise InputError(
            f"all {len(manifest)} utterances are of session {test_session}: "
            "leaving one session out needs at least two"
        )
    next_session = sessions[fold % len(sessions)]
    apart = []  # what validation and training may not share either
    if validation == "balanced":
        valid = _balanced(rest, share, seed, labels)
    elif validation == "session":
        valid, apart = where(rest, session={next_session}), ["session"]
    elif validation == "speaker":
        require(rest, "speaker")
        speaker = values(where(rest, session={next_session}), "speaker")[0]
        valid, apart = where(rest, speaker={speaker}), ["speaker"]
    elif validation == "last_session":
        valid, apart = where(rest, session={values(rest, "session")[-1]}), ["session"]
    else:
        raise InputError(
            f"validation is {validation!r}: leave_one_session_out knows balanced, session, "
            "speaker and last_session"
        )
    parts = {"train": without(rest, valid), "valid": valid, "test": test}
    return check_parts(parts, manifest, test_apart=["session"], valid_apart=apart)


def leave_one_speaker_out(manifest: Manifest, fold: int = 1, validation: str = "partner") -> Parts:
    """Speaker-independent: speaker number `fold`, in sorted order and complete, is the test part.

    No session of the test speaker and no validation speaker is in training.

    validation :
        "partner": whoever shares the test speaker's session validates (Wang 2023), so that
            validation is of the test session
        "session": the next session validates, after the last one the first; the test speaker's
            partner is then in no part, so that nothing but the test part is of the test session
    """
    require(manifest, "speaker", "session")
    sessions = values(manifest, "session")
    speaker = of_fold(values(manifest, "speaker"), fold, "speaker")
    test = where(manifest, speaker={speaker})
    test_sessions = set(values(test, "session"))
    if validation == "partner":
        valid = without(where(manifest, session=test_sessions), test)
        if not valid:
            raise InputError(
                f"speaker {speaker} speaks alone in session {', '.join(sorted(test_sessions))}: "
                'there is no partner to validate on, use validation "session" or by_actor'
            )
        test_apart = ["speaker"]
    elif validation == "session":
        last = sessions.index(values(test, "session")[-1])
        following = [s for s in sessions[last + 1 :] + sessions[:last] if s not in test_sessions]
        if not following:
            raise InputError(
                f"speaker {speaker} speaks in every session: there is no other one to validate on"
            )
        valid = where(manifest, session={following[0]})
        test_apart = ["speaker", "session"]
    else:
        raise InputError(
            f"validation is {validation!r}: leave_one_speaker_out knows partner and session"
        )
    train = {
        utt_id: entry
        for utt_id, entry in manifest.items()
        if entry["session"] not in test_sessions | set(values(valid, "session"))
        and entry["speaker"] not in {speaker, *values(valid, "speaker")}
    }
    parts = {"train": train, "valid": valid, "test": test}
    return check_parts(parts, manifest, test_apart, valid_apart=["speaker", "session"])


def _balanced(entries: Manifest, share: float, seed: int, labels: Sequence[str] | None) -> Manifest:
    """Equally many utterances of every emotion: `share` of the smallest, rounded up."""
    check_share(share, "share")
    require(entries, "emotion")
    rows = grouped(entries, "emotion")
    if labels is not None:
        if set(rows) != set(labels):
            raise InputError(
                f"the labels are {', '.join(labels)} but the other sessions hold "
                f"{', '.join(rows)}: make the two equal"
            )
        rows = {emotion: rows[emotion] for emotion in labels}
    # rounded first, because 0.07 * 100 is above 7 in floating point
    n = math.ceil(round(share * min(map(len, rows.values())), 9))
    generator = random.Random(seed)
    return only(entries, {utt_id for ids in rows.values() for utt_id in generator.sample(ids, n)})
