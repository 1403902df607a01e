"""Splits: the published sizes, and that every promise holds and is checked."""

import itertools
import random
from collections import Counter
from functools import partial

import pytest

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign.rows import RECIPES
from speechbrain_ser.data import splits
from speechbrain_ser.errors import InputError

LABELS = ["angry", "happy", "sad", "neutral"]
# IEMOCAP: utterances of each label per session
IEMOCAP = [
    (229, 278, 194, 384),
    (137, 327, 197, 362),
    (240, 286, 305, 320),
    (327, 303, 143, 258),
    (170, 442, 245, 384),
]
RAVDESS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]
EVERY_SPLIT = {
    "balanced": (splits.leave_one_session_out, 5),
    "session": (partial(splits.leave_one_session_out, validation="session"), 5),
    "speaker": (partial(splits.leave_one_session_out, validation="speaker"), 5),
    "last_session": (partial(splits.leave_one_session_out, validation="last_session"), 5),
    "partner": (splits.leave_one_speaker_out, 10),
    "speaker, session": (partial(splits.leave_one_speaker_out, validation="session"), 10),
    "actor": (partial(splits.by_actor, n_folds=5), 5),
}


def entry(emotion="sad", speaker="a", session="1", gender="F", **extra):
    return {"emotion": emotion, "speaker": speaker, "session": session, "gender": gender} | extra


@pytest.fixture(scope="module")
def iemocap():
    manifest = {}
    for number, sizes in enumerate(IEMOCAP, 1):
        for emotion, size in zip(LABELS, sizes, strict=True):
            for i in range(size):
                gender = "FM"[i % 2]
                speaker = f"Ses0{number}{gender}"
                manifest[f"{speaker}_{emotion}_{i:03}"] = entry(
                    emotion, speaker, f"Ses0{number}", gender
                )
    return dict(sorted(manifest.items()))


@pytest.fixture(scope="module")
def ravdess():
    manifest = {}
    for actor in range(1, 25):
        for number, emotion in enumerate(RAVDESS, 1):
            for intensity in (1, 2)[: 1 if emotion == "neutral" else 2]:
                for statement in (1, 2):
                    for repetition in (1, 2):
                        name = (
                            f"03-01-{number:02}-{intensity:02}-{statement:02}-{repetition:02}-"
                            f"{actor:02}"
                        )
                        manifest[name] = entry(emotion, f"{actor:02}", "", "MF"[actor % 2 == 0])
    return dict(sorted(manifest.items()))


def sizes(part):
    counts = Counter(row["emotion"] for row in part.values())
    return tuple(counts[label] for label in LABELS)


def speakers(part):
    return {row["speaker"] for row in part.values()}


def sessions(part):
    return {row["session"] for row in part.values()}


@pytest.mark.parametrize(
    ("fold", "test", "valid", "train"),
    [  # the sizes that Park et al.'s own split function gives on these counts
        (1, 1085, 175, (699, 1183, 715, 1149)),
        (2, 1023, 178, (788, 1131, 709, 1168)),
        (3, 1151, 156, (707, 1194, 623, 1232)),
        (4, 1031, 156, (620, 1177, 785, 1294)),
        (5, 1241, 168, (765, 1026, 671, 1156)),
    ],
)
def test_balanced_validation_has_the_published_sizes(iemocap, fold, test, valid, train):
    parts = splits.leave_one_session_out(iemocap, fold=fold)
    assert (len(parts["test"]), sizes(parts["test"])) == (test, IEMOCAP[fold - 1])
    assert sizes(parts["valid"]) == (valid,) * 4
    assert sizes(parts["train"]) == train
    assert speakers(parts["valid"]) == speakers(parts["train"])


@pytest.mark.parametrize("name", EVERY_SPLIT)
def test_every_utterance_is_tested_once_over_the_folds(iemocap, name):
    split, folds = EVERY_SPLIT[name]
    tested = Counter()
    for fold in range(1, folds + 1):
        parts = split(iemocap, fold=fold)
        tested.update(list(parts["test"]))
        rows = [utt_id for part in parts.values() for utt_id in part]
        assert len(rows) == len(set(rows))
        assert not speakers(parts["test"]) & (speakers(parts["train"]) | speakers(parts["valid"]))
        for part in parts.values():
            assert part
            assert list(part) == sorted(part)
            assert all(part[utt_id] is iemocap[utt_id] for utt_id in part)
    assert dict(tested) == dict.fromkeys(iemocap, 1)


def test_balanced_draws_by_seed_and_class_order(iemocap):
    valid = splits.leave_one_session_out(iemocap, 2)["valid"]
    assert valid == splits.leave_one_session_out(dict(iemocap), 2, seed=1000)["valid"]
    assert valid.keys() != splits.leave_one_session_out(iemocap, 2, seed=1001)["valid"].keys()

    parts = splits.leave_one_session_out(iemocap, 2, labels=LABELS)
    generator, expected = random.Random(1000), set()
    for label in LABELS:
        rows = [u for u, e in iemocap.items() if e["emotion"] == label and e["session"] != "Ses02"]
        expected.update(generator.sample(rows, 178))
    assert set(parts["valid"]) == expected != set(valid)


def test_balanced_rounds_the_share_up_but_not_the_floating_point_error():
    manifest = {f"t{i}": entry(session="1") for i in range(3)}
    manifest |= {f"u{i:03}": entry(session="2") for i in range(100)}
    for share, size in ((0.07, 7), (0.071, 8), (0.2, 20)):
        parts = splits.leave_one_session_out(manifest, 1, share=share)
        assert len(parts["valid"]) == size


def test_validation_of_leave_one_session_out(iemocap):
    last = splits.leave_one_session_out(iemocap, 5, validation="session")
    assert (sessions(last["test"]), sessions(last["valid"])) == ({"Ses05"}, {"Ses01"})
    assert sessions(last["train"]) == {"Ses02", "Ses03", "Ses04"}

    one = splits.leave_one_session_out(iemocap, 2, validation="speaker")
    assert speakers(one["valid"]) == {"Ses03F"}
    assert speakers(one["train"]) == speakers(iemocap) - {"Ses02F", "Ses02M", "Ses03F"}
    assert len(one["valid"]) == sum(e["speaker"] == "Ses03F" for e in iemocap.values())

    held_out = [
        sessions(splits.leave_one_session_out(iemocap, fold, "last_session")["valid"])
        for fold in range(1, 6)
    ]
    assert held_out == [{"Ses05"}] * 4 + [{"Ses04"}]
    fourth, fifth = (splits.leave_one_session_out(iemocap, k, "last_session") for k in (4, 5))
    assert fourth["train"] == fifth["train"]
    assert sessions(fourth["train"]) == {"Ses01", "Ses02", "Ses03"}


def test_validation_of_leave_one_speaker_out(iemocap):
    wang = splits.leave_one_speaker_out(iemocap, 4)
    assert (speakers(wang["test"]), speakers(wang["valid"])) == ({"Ses02M"}, {"Ses02F"})
    assert sessions(wang["train"]) == {"Ses01", "Ses03", "Ses04", "Ses05"}

    honest = splits.leave_one_speaker_out(iemocap, 9, validation="session")
    assert speakers(honest["test"]) == {"Ses05F"}
    assert sessions(honest["valid"]) == {"Ses01"}
    assert sessions(honest["train"]) == {"Ses02", "Ses03", "Ses04"}
    used = sum(map(len, honest.values()))
    assert used == len(iemocap) - sum(e["speaker"] == "Ses05M" for e in iemocap.values())


def test_speakers_of_several_sessions_stay_on_one_side():
    """a speaks in sessions 1 and 2, b in 2 and 3, the others in one each."""
    rows = ["1a", "2a", "2b", "3b", "4c", "5d", "5e"]
    manifest = {row: entry(session=row[0], speaker=row[1]) for row in rows}
    parts = splits.leave_one_speaker_out(manifest, 1)
    assert [list(parts[part]) for part in splits.PARTS] == [
        ["4c", "5d", "5e"],
        ["2b"],
        ["1a", "2a"],
    ]
    parts = splits.leave_one_speaker_out(manifest, 1, validation="session")
    assert [list(parts[part]) for part in splits.PARTS] == [
        ["4c", "5d", "5e"],
        ["3b"],
        ["1a", "2a"],
    ]
    assert splits.protocol(splits.leave_one_session_out(manifest, 1, "session")) == (
        "speaker-dependent"
    )


def test_ravdess_actors_are_dealt_by_gender(ravdess):
    tested = []
    for fold in range(1, 7):
        parts = splits.by_actor(ravdess, fold)
        for part, size in (("train", 16), ("valid", 4), ("test", 4)):
            actors = {(e["speaker"], e["gender"]) for e in parts[part].values()}
            assert Counter(gender for _, gender in actors) == {"F": size / 2, "M": size / 2}
        assert speakers(parts["valid"]) == speakers(splits.by_actor(ravdess, fold % 6 + 1)["test"])
        tested += speakers(parts["test"])
    assert sorted(tested) == sorted(speakers(ravdess))
    shuffled = splits.by_actor(ravdess, 1, seed=3)
    assert speakers(shuffled["test"]) != speakers(splits.by_actor(ravdess, 1)["test"])
    assert shuffled == splits.by_actor(ravdess, 1, seed=3)


def spoken(sizes: dict[str, dict[str, int]]) -> dict[str, dict]:
    """speaker -> emotion -> utterances; women's names begin with F."""
    return {
        f"{speaker}-{emotion}-{n}": {"speaker": speaker, "emotion": emotion, "gender": speaker[0]}
        for speaker, by_emotion in sizes.items()
        for emotion, count in by_emotion.items()
        for n in range(count)
    }


def groups_by_actor(manifest: dict[str, dict], n_folds: int) -> list[dict[str, dict]]:
    return [splits.by_actor(manifest, fold, n_folds)["test"] for fold in range(1, n_folds + 1)]


def test_by_actor_balances_what_speakers_of_different_sizes_say(caplog):
    """In sorted order the first group would get both talkative women and all the anger."""
    sizes = {
        "F1": {"angry": 30, "sad": 10},
        "F2": {"angry": 1, "sad": 2},
        "F3": {"angry": 2, "sad": 2},
        "F4": {"angry": 30, "sad": 10},
        "F5": {"angry": 30, "sad": 10},
        "F6": {"angry": 2, "sad": 2},
        "M1": {"sad": 9},
        "M2": {"sad": 9},
        "M3": {"sad": 9},
    }
    tests = groups_by_actor(spoken(sizes), 3)
    assert [len(speakers(part)) for part in tests] == [3, 3, 3]
    for part in tests:
        assert sorted(s[0] for s in speakers(part)) == ["F", "F", "M"]
        assert len({"F1", "F4", "F5"} & set(speakers(part))) == 1
    assert not caplog.records


def test_by_actor_finds_the_evenest_groups_of_a_small_corpus():
    """Against all ways to deal six speakers into three groups."""
    draw = random.Random(0)
    for _ in range(20):
        sizes = {f"F{n}": {"a": draw.randint(1, 40), "b": draw.randint(1, 40)} for n in range(6)}

        def cost(groups, sizes=sizes):
            total = 0.0
            for count in (lambda s: s["a"], lambda s: s["b"], lambda s: s["a"] + s["b"], bool):
                whole = sum(count(own) for own in sizes.values())
                total += sum((sum(count(sizes[s]) for s in g) / whole) ** 2 for g in groups)
            return total

        ways = (
            [[f"F{n}" for n in range(6) if way[n] == group] for group in range(3)]
            for way in itertools.product(range(3), repeat=6)
        )
        costs = [cost(groups) for groups in ways if all(groups)]
        found = cost([speakers(part) for part in groups_by_actor(spoken(sizes), 3)])
        assert min(costs) <= found + 1e-9 and found < sorted(costs)[len(costs) // 20]


def test_by_actor_says_what_it_cannot_balance(caplog):
    sizes = {f"F{n}": {"sad": 4} for n in range(1, 6)} | {"M1": {"sad": 40, "angry": 3}}
    splits.by_actor(spoken(sizes), 1, n_folds=3)
    told = caplog.records[-1].getMessage()
    assert told.startswith("by_actor: no angry in group ") and "(speakers with it: 1)" in told
    assert "utterances (speaker M1 alone has 43), their mean is 21" in told


def test_given_speakers_are_pepinos(ravdess):
    parts = splits.given_speakers(ravdess, valid=["21", "22"], test=["23", "24"])
    assert [len(parts[part]) for part in splits.PARTS] == [1200, 120, 120]
    assert speakers(parts["test"]) == {"23", "24"}


def test_given_folds_test_every_group_once_and_validate_on_the_next(ravdess):
    groups = [["01", "11"], ["04", "10"], ["21", "20"]]
    for fold, group in enumerate(groups, 1):
        parts = splits.given_folds(ravdess, fold, groups=groups)
        assert speakers(parts["test"]) == set(group)
        assert speakers(parts["valid"]) == set(groups[fold % 3])
        assert len(speakers(parts["train"])) == 20
    with pytest.raises(
        InputError, match=r"fold is 4: use 1 \(group 01, 11\) to 3 \(group 20, 21\)"
    ):
        splits.given_folds(ravdess, 4, groups=groups)


def test_emoboxs_folds_of_ravdess_are_those_of_its_fragment(ravdess):
    """The actors whom EmoBox's fold_k/ravdess_test_fold_k.jsonl name, all 24 once, 240 files."""
    text = (RECIPES / "common" / "ravdess.yaml").read_text()
    groups = hp.load_tree(text)["emobox_split"]["groups"]
    manifest = {
        key: value | {"speaker": f"Actor_{value['speaker']}"} for key, value in ravdess.items()
    }
    tested = []
    for fold in range(1, 7):
        parts = splits.given_folds(manifest, fold, groups=groups)
        assert [len(parts[part]) for part in splits.PARTS] == [960, 240, 240]
        tested += sorted(speakers(parts["test"]))
    assert sorted(tested) == [f"Actor_{number:02}" for number in range(1, 25)]
    assert tested[:4] == ["Actor_01", "Actor_11", "Actor_20", "Actor_21"]


def test_pepinos_ravdess_holds_speech_and_song(ravdess):
    """2,452 files: song knows six emotions and is absent of actor 18."""
    song = {
        name.replace("03-01-", "03-02-", 1): row
        for name, row in ravdess.items()
        if row["emotion"] not in ("disgust", "surprised") and row["speaker"] != "18"
    }
    both = {
        name: row | {"emotion": row["emotion"].replace("calm", "neutral")}
        for name, row in sorted((ravdess | song).items())
    }
    assert len(both) == 2452
    parts = splits.given_speakers(both, valid=["21", "22"], test=["23", "24"])
    assert [len(parts[part]) for part in splits.PARTS] == [2036, 208, 208]
    support = Counter(row["emotion"] for row in parts["test"].values())
    assert support == {"neutral": 48, "disgust": 16, "surprised": 16} | dict.fromkeys(
        ("happy", "sad", "angry", "fearful"), 32
    )
    tested = Counter()
    for fold, size in enumerate((490, 490, 490, 490, 492), 1):
        parts = splits.random_folds(both, fold, seed=123)
        following = splits.random_folds(both, fold % 5 + 1, seed=123)
        assert len(parts["test"]) == size and parts["valid"] == following["test"]
        assert sum(map(len, parts.values())) == 2452
        assert splits.protocol(parts) == "speaker-dependent"
        tested.update(list(parts["test"]))
    assert dict(tested) == dict.fromkeys(both, 1)
    drawn = splits.random_folds(both, 2, seed=1234)
    assert drawn["test"] != splits.random_folds(both, 2, seed=123)["test"]
    assert drawn == splits.random_folds(dict(both), 2, seed=1234), "the same seed, the same draw"
    backwards = dict(sorted(both.items(), reverse=True))
    again = splits.random_folds(backwards, 2, seed=1234)
    assert all(set(again[part]) == set(drawn[part]) for part in splits.PARTS)


def test_random_folds_of_few():
    manifest = {f"u{i}": entry(speaker=str(i % 2)) for i in range(8)}
    sizes = [
        [len(splits.random_folds(manifest, fold, n_folds=3)[part]) for part in splits.PARTS]
        for fold in (1, 2, 3)
    ]
    assert sizes == [[4, 2, 2], [2, 4, 2], [2, 2, 4]]
    assert len(splits.random_folds(manifest, 8, n_folds=8)["train"]) == 6


def test_stratified_has_the_published_supports(ravdess):
    parts = splits.stratified(ravdess)
    test = Counter(row["emotion"] for row in parts["test"].values())
    assert [test[label] for label in sorted(RAVDESS)] == [38, 39, 38, 39, 38, 19, 38, 39]
    assert len(parts["train"]) + len(parts["valid"]) == 1152
    valid = Counter(row["emotion"] for row in parts["valid"].values())
    assert sum(valid.values()) == 116  # 10% of 1,152, rounded up
    assert all(15 <= valid[label] <= 16 for label in RAVDESS if label != "neutral")
    assert splits.stratified(ravdess, valid_share=0.3)["test"] == parts["test"]
    backwards = dict(sorted(ravdess.items(), reverse=True))
    assert set(splits.stratified(backwards)["test"]) == set(parts["test"])
    assert set(splits.stratified(ravdess, seed=102)["test"]) != set(parts["test"])


def test_official_follows_the_split_field():
    manifest = {
        f"{part}{i}": entry("happy" if i % 2 else "sad", split=part)
        for part, size in (("test", 4), ("train", 20), ("valid", 6))
        for i in range(size)
    }
    parts = splits.official(manifest)
    for part in splits.PARTS:
        assert parts[part] == {u: e for u, e in manifest.items() if e["split"] == part}

    without = {utt_id: e for utt_id, e in manifest.items() if e["split"] != "valid"}
    parts = splits.official(without, valid_share=0.2)
    assert list(parts["test"]) == list(splits.official(manifest)["test"])
    assert Counter(e["emotion"] for e in parts["valid"].values()) == {"happy": 2, "sad": 2}
    assert {**parts["train"], **parts["valid"]}.keys() == splits.official(manifest)["train"].keys()

    for i, utt_id in enumerate(without):
        without[utt_id] = without[utt_id] | {"speaker": "abcd"[i % 4]}
    parts = splits.official(without, valid_share=0.2, target="speaker")
    assert Counter(e["speaker"] for e in parts["valid"].values()) == dict.fromkeys("abcd", 1)


def folded(speakers="abcdef", folds=3):
    """Each speaker says two emotions five times; fold k tests two speakers."""
    return {
        f"{who}{i}": entry(
            ("happy", "sad")[i % 2],
            speaker=who,
            split=["test" if number // 2 == k else "train" for k in range(folds)],
        )
        for number, who in enumerate(speakers)
        for i in range(10)
    }


def test_official_follows_a_list_with_the_part_of_each_fold():
    manifest = folded()
    assert splits.number_of_folds(splits.official, manifest) == 3
    for fold, tested in enumerate(("ab", "cd", "ef"), 1):
        parts = splits.official(manifest, fold)
        assert speakers(parts["test"]) == {*tested}
        assert len(parts["valid"]) == 4 and len(parts["train"]) == 36
    manifest["a0"]["split"] = ["", "valid", "train"]  # in no part of the first fold
    assert "a0" not in set().union(*splits.official(manifest, 1).values())
    assert [*splits.official(manifest, 2)["valid"]] == ["a0"]
    with pytest.raises(InputError, match="fold is 4: use 1 .fold 1. to 3"):
        splits.official(manifest, 4)
    for wrong, sentence in (
        (["train", "dev", ""], r"1 of 60 utterances have no split train, .* a1 \('dev'\)"),
        (["train"], "60 of 60 utterances have a list as split, of 1 or 3 folds"),
        ("train", "59 of 60 utterances have a list as split, of 3 folds"),
    ):
        manifest["a1"] = manifest["a1"] | {"split": wrong}
        with pytest.raises(InputError, match=sentence):
            splits.official(manifest, 2)


def test_official_lets_whole_speakers_validate():
    manifest = folded()
    drawn = set()
    for seed in range(20):
        parts = splits.official(manifest, 1, valid_share=0.2, seed=seed, valid_by="speaker")
        assert len(speakers(parts["valid"])) == 1  # a quarter of the training part
        assert not speakers(parts["valid"]) & speakers(parts["train"])
        assert parts == splits.official(manifest, 1, valid_share=0.2, seed=seed, valid_by="speaker")
        drawn |= speakers(parts["valid"])
    assert drawn == {*"cdef"}
    parts = splits.official(manifest, 1, valid_share=0.3, valid_by="speaker")
    assert len(speakers(parts["valid"])) == 2

    for utt_id in manifest:  # d alone is calm, and stays in training
        if utt_id.startswith("d"):
            manifest[utt_id] = manifest[utt_id] | {"emotion": "calm"}
    for seed in range(20):
        parts = splits.official(manifest, 1, valid_share=0.9, seed=seed, valid_by="speaker")
        assert len(speakers(parts["valid"])) == 2 and "d" in speakers(parts["train"])

    alone = {utt_id: e for utt_id, e in manifest.items() if e["speaker"] in "abd"}
    with pytest.raises(InputError, match="none of the 1 training speakers can .*valid_by: utter"):
        splits.official(alone, 1, valid_by="speaker")
    nameless = {utt_id: e | {"speaker": ""} for utt_id, e in alone.items()}
    with pytest.raises(InputError, match="10 of 10 training .* name no speaker.*valid_by: utter"):
        splits.official(nameless, 1, valid_by="speaker")
    with pytest.raises(InputError, match="valid_by is 'actor': official knows utterance and spe"):
        splits.official(manifest, 1, valid_by="actor")


def test_speakers_that_train_and_are_tested_are_counted():
    def parts(train, test):
        sides = {"train": train, "valid": "z", "test": test}
        return {
            part: {f"{part}{i}": entry(speaker=who.strip()) for i, who in enumerate(side)}
            for part, side in sides.items()
        }

    names = ("speakers", "of", "utterances", "of_utterances")
    for train, test, expected in (
        ("aab", "aaacc", (1, 2, 3, 5)),
        ("ab", "ba", (2, 2, 2, 2)),
        ("ab", "cdz", (0, 3, 0, 3)),  # who validates does not train
        ("a  ", "a  b", (1, 2, 1, 4)),  # an unknown speaker is nobody
        ("  ", "   ", (0, 0, 0, 3)),
    ):
        found = splits.shared_speakers(parts(train, test))
        assert found == dict(zip(names, expected, strict=True))
    assert splits.shared_in_words(splits.shared_speakers(parts("aab", "aaacc"))) == (
        "1 of 2 test speakers also train (3 of 5 test utterances): scores tell little of new "
        "speakers"
    )


def test_speaker_identification_is_closed_and_never_sees_the_test_speakers(iemocap):
    outer = splits.leave_one_session_out
    parts = splits.speaker_identification(iemocap, 3, outer=outer)
    emotion = outer(iemocap, fold=3)
    inner = parts["train"] | parts["valid"] | parts["test"]
    assert dict(sorted(inner.items())) == emotion["train"]
    for part in parts.values():
        assert speakers(part) == speakers(emotion["train"])
    for speaker in speakers(inner):
        n = sum(e["speaker"] == speaker for e in inner.values())
        for part in ("valid", "test"):
            drawn = sum(e["speaker"] == speaker for e in parts[part].values())
            assert abs(drawn - 0.1 * n) <= 0.5
    assert parts == splits.speaker_identification(iemocap, 3, outer=outer)
    assert parts != splits.speaker_identification(iemocap, 3, outer=outer, seed=1)

    honest = partial(outer, validation="session")
    parts = splits.speaker_identification(iemocap, 3, outer=honest)
    assert sessions(parts["train"]) == {"Ses01", "Ses02", "Ses05"}


def test_speaker_identification_draws_at_least_one_of_each_speaker(ravdess):
    few = {u: e for u, e in ravdess.items() if u[9:17] == "01-01-01"}
    assert set(Counter(e["speaker"] for e in few.values()).values()) == {8}
    parts = splits.speaker_identification(few, 1, outer=splits.by_actor, test_share=0.01)
    for part, size in (("train", 6), ("valid", 1), ("test", 1)):
        counts = Counter(e["speaker"] for e in parts[part].values())
        assert set(counts.values()) == {size} and len(counts) == 16


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (partial(splits.leave_one_session_out, fold=6), "fold is 6: use 1 (session Ses01) to 5"),
        (partial(splits.leave_one_session_out, fold=0), "fold is 0: use 1"),
        (partial(splits.leave_one_session_out, fold="2"), "fold is '2': use 1"),
        (partial(splits.leave_one_speaker_out, fold=11), "to 10 (speaker Ses05M)"),
        (partial(splits.by_actor, n_folds=5, fold=6), "fold is 6: use 1 (group 1) to 5"),
        (partial(splits.by_actor, n_folds=11), "n_folds is 11: 10 speakers"),
        (partial(splits.by_actor, n_folds=2), "n_folds is 2"),
        (partial(splits.random_folds, n_folds=2), "n_folds is 2: 5531 utterances"),
        (partial(splits.random_folds, n_folds=5532), "n_folds is 5532: 5531 utterances"),
        (partial(splits.random_folds, fold=6), "fold is 6: use 1 (fold 1) to 5"),
        (partial(splits.random_folds, fold=0), "fold is 0: use 1 (fold 1) to 5"),
        (partial(splits.stratified, fold=2), "fold 1 only, choose another seed"),
        (partial(splits.official, fold=2), "fold 1 only"),
        (partial(splits.leave_one_session_out, validation="none"), "validation is 'none'"),
        (partial(splits.leave_one_speaker_out, validation="none"), "validation is 'none'"),
        (partial(splits.leave_one_session_out, share=0), "share is 0: it must lie between"),
        (partial(splits.leave_one_session_out, share=1.0), "share is 1.0"),
        (partial(splits.leave_one_session_out, labels=["angry"]), "the labels are angry but"),
        (partial(splits.stratified, valid_share=0), "valid_share is 0"),
        (partial(splits.stratified, test_share=0.0001), "5531 utterances of 4 classes"),
        (splits.official, "5531 of 5531 utterances have no split"),
        (partial(splits.given_speakers, valid=["x"], test=["Ses01F"]), "speakers 'x' of the split"),
        (partial(splits.given_speakers, valid=["Ses01F"], test=["Ses01F"]), "give each once"),
        (partial(splits.given_speakers, valid=[], test=["Ses01F"]), "no utterance for valid"),
        (partial(splits.given_folds, groups=[["Ses01F"]]), "one group is given"),
        (partial(splits.given_folds, groups=[["Ses01F"], ["Ses01F"]]), "Ses01F are in two groups"),
        (
            partial(splits.speaker_identification, outer=splits.stratified),
            "trains and tests on the same speakers",
        ),
        (
            partial(
                splits.speaker_identification, outer=splits.leave_one_session_out, valid_share=0
            ),
            "valid_share is 0",
        ),
    ],
)
def test_mistakes_are_told(iemocap, split, said):
    with pytest.raises(InputError) as caught:
        split(iemocap)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unusable_manifests_are_told(iemocap, ravdess):
    with pytest.raises(InputError, match="no utterance to split"):
        splits.leave_one_session_out({})
    with pytest.raises(InputError, match="no utterance to split"):
        splits.random_folds({})
    with pytest.raises(InputError, match="1440 of 1440 utterances have no session.*1435 more"):
        splits.leave_one_session_out(ravdess)
    one = {u: e for u, e in iemocap.items() if e["session"] == "Ses01"}
    with pytest.raises(InputError, match="all 1085 utterances are of session Ses01"):
        splits.leave_one_session_out(one)
    with pytest.raises(InputError, match="no utterance for train"):
        splits.leave_one_speaker_out(one)
    with pytest.raises(InputError, match="in every session"):
        splits.leave_one_speaker_out(one, validation="session")
    two = {u: e for u, e in iemocap.items() if e["session"] < "Ses03"}
    with pytest.raises(InputError, match=r"train \(train 0, valid 1023, test 1085 of 2108"):
        splits.leave_one_session_out(two, validation="session")
    three = {"a": entry(session="1"), "b": entry(session="2"), "c": entry(session="2")}
    with pytest.raises(InputError, match=r"no utterance for train \(train 0, valid 2, test 1"):
        splits.leave_one_session_out(three, share=0.6)
    alone = {str(i): entry(speaker=str(i), session=str(i)) for i in range(3)}
    with pytest.raises(InputError, match="speaker 0 speaks alone in session 0"):
        splits.leave_one_speaker_out(alone)
    with pytest.raises(InputError, match="speaker 0 has 1 training utterances"):
        splits.speaker_identification(
            alone, 2, outer=partial(splits.leave_one_session_out, validation="session")
        )
    with pytest.raises(InputError, match="y: speaker a has gender 'M' here and 'F' before"):
        splits.by_actor(
            {
                "x": entry(),
                "y": entry(gender="M"),
                "z": entry(speaker="b"),
                "w": entry(speaker="c"),
            },
            n_folds=3,
        )
    rare = {str(i): entry("sad" if i else "calm") for i in range(20)}
    with pytest.raises(InputError, match="the rarest, calm, has 1"):
        splits.stratified(rare)


def test_check_parts_refuses_broken_promises():
    manifest = {str(i): entry(speaker="abc"[i % 3], session="xy"[i % 2]) for i in range(6)}

    def parts(train, valid, test):
        named = zip(splits.PARTS, (train, valid, test), strict=True)
        return {part: {u: manifest[u] for u in ids} for part, ids in named}

    good = parts("03", "14", "25")  # speakers a, b, c; each in both sessions
    assert splits.check_parts(good, manifest, ["speaker"], ["speaker"]) is good
    for broken, said, promise in [
        (good, "train and test share session x, y", {"test_apart": ["session"]}),
        (good, "train and valid share session x, y", {"valid_apart": ["session"]}),
        (parts("0", "14", "235"), "train and test share speaker a", {"test_apart": ["speaker"]}),
        (parts("0", "14", "45"), "1 utterances are in valid and test: 4", {}),
        (parts("01", "14", "25"), "1 utterances are in train and valid: 1", {}),
        (parts("30", "14", "25"), "train is not in the manifest's order", {}),
        (good | {"test": {"7": entry()}}, "test holds what is not in the manifest: 7", {}),
        (good | {"test": {"2": entry()}}, "test holds what is not in the manifest: 2", {}),
        ({"train": good["train"], "test": good["test"]}, "the parts are", {}),
    ]:
        with pytest.raises(AssertionError) as caught:
            splits.check_parts(broken, manifest, **promise)
        assert said in str(caught.value)


def test_protocol_is_computed_from_the_parts(iemocap, ravdess):
    assert splits.protocol(splits.leave_one_session_out(iemocap)) == "session-independent"
    assert splits.protocol(splits.leave_one_speaker_out(iemocap)) == "speaker-independent"
    honest = splits.leave_one_speaker_out(iemocap, validation="session")
    assert splits.protocol(honest) == "session-independent"
    assert splits.protocol(splits.by_actor(ravdess)) == "speaker-independent"
    assert splits.protocol(splits.stratified(ravdess)) == "speaker-dependent"
    parts = splits.leave_one_session_out(iemocap)
    for part in splits.PARTS:  # who is not known might be known from another part
        for field, promise in (
            ("speaker", "speaker-dependent"),
            ("session", "speaker-independent"),
        ):
            unknown = {u: e | {field: ""} for u, e in parts[part].items()}
            assert splits.protocol(parts | {part: unknown}) == promise


def test_describe_counts_every_part(iemocap, ravdess):
    lines = splits.describe(splits.leave_one_session_out(iemocap)).splitlines()
    assert lines == [
        "train: 3746 utterances, 8 speakers, angry 699, happy 1183, neutral 1149, sad 715",
        "valid: 700 utterances, 8 speakers, angry 175, happy 175, neutral 175, sad 175",
        "test: 1085 utterances, 2 speakers, angry 229, happy 278, neutral 384, sad 194",
    ]
    lines = splits.describe(splits.by_actor(ravdess), target="speaker").splitlines()
    assert lines[0] == "train: 960 utterances, 16 speakers, 16 classes of 60 to 60 utterances"
    assert lines[2].startswith("test: 240 utterances, 4 speakers, 01 60, ")
