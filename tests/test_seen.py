"""What a model has seen: hashes that tell nothing, and leaks that are found all the same."""

import json

import pytest
import safetensors.torch
from test_safety import GOOD

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved, seen
from speechbrain_ser.sharing import card
from speechbrain_ser.training import phases


def part(*ids):
    """/home/anna/rec/<speaker>-<number> of a table of recordings."""
    return {
        f"/home/anna/rec/{i}": {"speaker": i.partition("-")[0], "emotion": "sad", "session": "1"}
        for i in ids
    }


RESULTS = {
    **{"corpus": "iemocap", "experiment": "emotion", "fold": 1, "seed": 1, "commit": "a"},
    **{"protocol": "honest", "WA": 60.0, "UA": 61.0},
}
PARTS = {
    "train": part("bert-1", "carl-1", "dora-1"),
    "valid": part("dora-2"),
    "test": part("anna-1", "anna-2"),
}
TABLE = {"corpus": "table", "manifest": "digest"}
PLAIN = {
    "table": {
        "speakers": ["bert", "carl", "dora"],
        "utterances": [*PARTS["train"], *PARTS["valid"]],
    }
}


@pytest.fixture
def phase(tmp_path):
    """An earlier phase's best/, and how to say what it has seen."""
    folder = tmp_path / "best"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text(GOOD)
    network = hp.build(hp.load_tree(GOOD))["model"]
    safetensors.torch.save_file(network.state_dict(), folder / "model.safetensors")

    def tells(known) -> list:
        (folder / "trained_on.json").write_text(json.dumps(known))
        return phases.start({"a": network}, {"a": {"best": str(folder)}}, tells.state, PARTS)

    tells.folder, tells.state = folder, {"corpus": "table"}
    return tells


def test_no_id_and_no_name_can_be_read_and_the_same_run_gives_the_same_file():
    known = phases.start({}, {}, {"corpus": "table"}, PARTS)
    text = json.dumps(known)
    assert known == phases.start({}, {}, {"corpus": "table"}, PARTS)
    assert not any(word in text for word in ("anna", "bert", "carl", "dora", "rec", "/"))
    (one,) = known
    assert (len(one["speakers"]), len(one["utterances"])) == (3, 4)
    everyone = [*PARTS["train"], *PARTS["valid"], *PARTS["test"]]
    assert seen.among(everyone, one, "utterances") == set(everyone[:4])
    assert seen.among(["anna", "bert"], one, "speakers") == {"bert"}


@pytest.mark.parametrize("form", ["plain", "hashed", "other salt", "pushed"])
@pytest.mark.parametrize(
    ("utterances", "speakers"), [(["anna-1"], ["x"]), (["x-1"], ["anna"]), (["x-1"], ["x"])]
)
def test_a_phase_s_leak_is_found_in_each_form(phase, tmp_path, form, utterances, speakers):
    paths = list(part(*utterances))
    salt = seen.salt_of("table", paths) if form == "hashed" else "of its own"
    known = [seen.entry("table", salt, speakers, paths)]
    if form in ("plain", "pushed"):
        known = {"table": {"speakers": speakers, "utterances": paths}}
    if form == "pushed":
        (phase.folder / "trained_on.json").write_text(json.dumps(known))
        card.copy(phase.folder, tmp_path / "copy")
        known = json.loads((tmp_path / "copy/trained_on.json").read_text())
    if (utterances, speakers) == (["x-1"], ["x"]):
        (found,) = phase(known)
        assert (len(found["speakers"]), len(found["utterances"])) == (4, 5)
        return
    with pytest.raises(InputError, match=r"trained on this fold's test data \((/home/)?anna"):
        phase(known)


def test_another_corpus_is_kept_beside_this_one(phase):
    other = seen.entry("voxceleb1", "salt", ["anna"], ["/home/anna/rec/anna-1"])
    found = phase([other])
    assert [one["corpus"] for one in found] == ["table", "voxceleb1"] and found[1] == other


def test_what_leaves_is_a_model_s_own_files_without_ids(phase, tmp_path):
    """An earlier version's ids in the clear, too."""
    phase(PLAIN)
    (phase.folder / ".env").write_text("TOKEN=1")
    (phase.folder / "more").mkdir()
    assert card.copy(phase.folder, tmp_path / "copy") == [".env", "more"]
    names = sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert names == ["hyperparams.yaml", "model.safetensors", "trained_on.json"]
    text = (tmp_path / "copy/trained_on.json").read_text()
    assert "anna" not in text and "bert" not in text
    (known,) = saved.trained_on(tmp_path / "copy")
    assert seen.among(PARTS["valid"], known, "utterances") == set(PARTS["valid"])
    for number, name in enumerate(card.FILES):
        target = tmp_path / f"elsewhere{number}"
        target.write_text("private")
        (phase.folder / name).unlink(missing_ok=True)
        (phase.folder / name).symlink_to(target)
        with pytest.raises(InputError, match=f"{name} is no regular file"):
            card.copy(phase.folder, tmp_path / f"other{number}")
        (phase.folder / name).unlink()


def test_what_trained_and_what_only_validated_are_told_apart():
    """Dora speaks in both parts: of the validation her utterance is new, she is not."""
    (known,) = phases.start({}, {}, TABLE, PARTS)
    assert seen.counts(known) == ((3, 3), (0, 1))
    assert known["validated"]["speakers"] == []
    assert (
        known["validated"]["utterances"]
        == seen.entry("", known["salt"], (), PARTS["valid"])["utterances"]
    )
    parts = PARTS | {"valid": part("emil-1", "emil-2", "fred-1")}
    assert seen.counts(phases.start({}, {}, TABLE, parts)[0]) == ((3, 3), (2, 3))
    on_test = PARTS | {"valid": PARTS["test"]}  # chosen on the test part: no validation of its own
    assert seen.counts(phases.start({}, {}, TABLE, on_test)[0]) == ((3, 3), (0, 0))


def test_what_one_phase_trained_on_is_no_validation_of_the_whole(phase):
    salt = seen.salt_of("table", [i for entries in PARTS.values() for i in entries])
    dora, emil = part("dora-2"), part("emil-1")
    first = seen.entry("table", salt, ["dora", "emil"], [*dora, *emil], (["emil"], emil))
    (known,) = phase([first])
    assert seen.counts(known) == ((3, 4), (1, 1))  # dora-2 trained the first, emil-1 none
    assert seen.merged([known, known]) == [known] == seen.merged([first, known])
    old = {key: value for key, value in first.items() if key != "validated"}
    (known,) = phase([old])
    assert seen.counts(known) == ((4, 5), None)


def test_the_card_counts_the_training_and_names_the_validation_beside_it(tmp_path):
    salt = seen.salt_of("table", [])
    names = [f"speaker{number}" for number in range(30)]
    ids = [f"utterance{number}" for number in range(2_000)]
    kinds = {
        "2,000 recordings of 30 speakers": ((), ()),
        "1,900 recordings of 28 speakers; validated on 100 other recordings of 2 other speakers": (
            names[:2],
            ids[:100],
        ),
        "1,999 recordings of 30 speakers; validated on 1 other recordings of the same speakers": (
            (),
            ids[:1],
        ),
    }
    for said, validated in kinds.items():
        known = [seen.entry("iemocap", salt, names, ids, validated)]
        (tmp_path / "hyperparams.yaml").write_text(GOOD)
        (tmp_path / "model.safetensors").write_bytes(b"")
        (tmp_path / "trained_on.json").write_text(json.dumps(known))
        assert card.about(tmp_path) == f"Trained on IEMOCAP ({said})."
        text = card.text(hp.load_tree(GOOD), RESULTS, known, "user/name")
        line = said.replace("recordings", "utterances").replace(
            "validated on", "validated, not trained, on"
        )
        assert f"\n- IEMOCAP: {line} (`trained_on.json`" in text
    del known[0]["validated"]
    (tmp_path / "trained_on.json").write_text(json.dumps(known))
    said = "2,000 recordings of 30 speakers, those of the validation included"
    assert card.about(tmp_path) == f"Trained on IEMOCAP ({said})."


@pytest.mark.parametrize("validated", ["[]", "1", '{"speakers": [1], "utterances": []}', "{}"])
def test_a_damaged_file_is_told(phase, validated):
    known = json.dumps(seen.entry("table", "salt", ["a"], ["b"]))
    with pytest.raises(InputError, match="trained_on.json is damaged"):
        phase(json.loads(f'[{known[:-1]}, "validated": {validated}}}]'))


def test_a_phase_of_another_state_of_the_corpus_is_refused(phase):
    known = [seen.entry("table", "salt", ["x"], ["x-1"])]
    (phase.folder / "results.json").write_text('{"corpus": "table", "manifest": "1"}')
    phase(known)  # this run does not say its state
    phase.state = {"corpus": "table", "manifest": "1"}
    phase(known)
    phase.state = {"corpus": "table", "manifest": "2"}
    with pytest.raises(InputError, match="was trained on another state of the corpus"):
        phase(known)
    phase.state = {"corpus": "another", "manifest": "2"}
    phase(known)
