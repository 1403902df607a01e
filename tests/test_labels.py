"""Which emotions are kept, and what they are called."""

import logging

import pytest

from speechbrain_ser.data.corpora import LeftOut
from speechbrain_ser.data.labels import between_corpora, choose
from speechbrain_ser.errors import InputError

ROWS = {
    f"u{number}": {"emotion": emotion, "speaker": "A"}
    for number, emotion in enumerate(["happy", "excited", "sad", "fear", "happy", "neutral"])
}


def emotions(labels=(), merge=None, rows=ROWS, known=()):
    left_out = LeftOut()
    kept = choose(rows, labels, merge, left_out, known)
    return {utt_id: row["emotion"] for utt_id, row in kept.items()}, dict(left_out.counts)


def test_nothing_chosen_keeps_all():
    kept, left_out = emotions()
    assert kept == {utt_id: row["emotion"] for utt_id, row in ROWS.items()} and not left_out
    assert choose(ROWS, (), None, LeftOut()) == ROWS


def test_labels_keep_and_the_rest_is_counted():
    kept, left_out = emotions(["sad", "happy"])
    assert kept == {"u0": "happy", "u2": "sad", "u4": "happy"}
    assert left_out == {
        "of the emotion excited": 1,
        "of the emotion fear": 1,
        "of the emotion neutral": 1,
    }


def test_merge_renames_joins_and_drops():
    kept, left_out = emotions(merge={"excited": "happy", "fear": None, "sad": "sadness"})
    assert kept == {"u0": "happy", "u1": "happy", "u2": "sadness", "u4": "happy", "u5": "neutral"}
    assert left_out == {"of the emotion fear": 1}
    kept, _ = emotions(["joy"], {"happy": "joy", "excited": "joy"})
    assert kept == {"u0": "joy", "u1": "joy", "u4": "joy"}


def test_the_rows_given_are_not_changed():
    before = {utt_id: dict(row) for utt_id, row in ROWS.items()}
    emotions(["joy"], {"happy": "joy"})
    assert before == ROWS


def test_spellings_are_one_label_with_a_notice(caplog):
    rows = {
        str(number): {"emotion": emotion}
        for number, emotion in enumerate(["happy", "Happy", "Happy", "SAD", "sad"])
    }
    caplog.set_level(logging.WARNING)
    kept, _ = emotions(rows=rows)
    assert list(kept.values()) == ["Happy"] * 3 + ["SAD"] * 2
    assert "Happy (2) and happy (1) are one emotion: it is called Happy" in caplog.text
    kept, _ = emotions(["sad", "happy"], rows=rows)
    assert list(kept.values()) == ["happy"] * 3 + ["sad"] * 2
    kept, _ = emotions(merge={"happy": "joy"}, rows=rows)
    assert list(kept.values()) == ["joy"] * 3 + ["SAD"] * 2


def test_what_a_corpus_may_have_but_lacks_here_is_no_mistake():
    kept, _ = emotions(["happy", "calm"], known=["calm", "happy"])
    assert kept == {"u0": "happy", "u4": "happy"}
    assert emotions(merge={"calm": "neutral"}, known=["calm"])[0]["u5"] == "neutral"


@pytest.mark.parametrize(
    ("labels", "merge", "message"),
    [
        (["hapy"], None, "labels names 'hapy', and the corpus has .*did you mean happy"),
        (["happy", "zzz"], None, "labels names 'zzz', .*: correct it, or leave it out"),
        ([], {"exited": "happy"}, "merge names 'exited', .*did you mean excited"),
        (["excited"], {"excited": "happy"}, "labels names 'excited'"),
        (["fear"], {"fear": None}, "labels names 'fear'"),
    ],
)
def test_names_that_are_not_there_are_refused(labels, merge, message):
    with pytest.raises(InputError, match=message):
        emotions(labels, merge)


def test_between_corpora_nouns_are_adjectives():
    said = between_corpora(
        ["happiness", "Anger", "sad", "calm", "ps"], {"calm": None, "ps": "surprised"}
    )
    assert said == {"happiness": "happy", "Anger": "angry", "calm": None, "ps": "surprised"}
    with pytest.raises(InputError, match="merge names 'clam', .*did you mean calm"):
        between_corpora(["calm"], {"clam": "neutral"})


def test_ratings_are_chosen_and_joined_alike():
    rows = {
        "a": {"emotion": "sad", "ratings": {"Sad": 1, "excited": 1, "happy": 2, "other": 1}},
        "b": {"emotion": "other", "ratings": {"other": 3}},
    }
    kept = choose(rows, ["sad", "happy"], {"excited": "happy", "other": None}, LeftOut())
    assert kept == {"a": {"emotion": "sad", "ratings": {"happy": 3, "sad": 1}}}
