"""RESULTS.csv: every row is a command that resolves and builds, and the paper's own number."""

import copy
import csv
import json
import math
import re
import shlex
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import speechbrain as sb
import torch
from conftest import RECIPES, ROOT, TINY, run, tiny

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import plan, rows
from speechbrain_ser.campaign.rows import name_of
from speechbrain_ser.commands import summarize
from speechbrain_ser.data.datasets import ShuffledBatches, UnderSampledBatches
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.heads import CosineHead, LinearHead
from speechbrain_ser.models.losses import ArcFace
from speechbrain_ser.training import command_line, phases

FILES = sorted(RECIPES.glob("*/RESULTS.csv"))
COLUMNS = (
    "paper item row script hparams overrides protocol corpus paper_WA paper_UA paper_sd "
    "WA UA UA_sd WA_pooled UA_pooled UA_pooled_sd folds seeds commit note"
).split()
ROWS = [
    row for path in FILES for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
]
PARK, PEPINO, GAO, WANG, GAVALI = (
    [row for row in ROWS if row["paper"] == paper and "whisper" not in row["item"]]
    for paper in ("Park 2023", "Pepino 2021", "Gao 2023", "Wang 2023", "Gavali & Verma")
)
PAIRS = [row for row in ROWS if row["against"] and "fine-tuned" in row["item"]]
CHAINED = [row for row in [*PARK, *GAO, *WANG, *GAVALI] if row["hparams"] != "hparams/speaker.yaml"]
IDS = [f"{row['item']}-{row['row']}-{row['protocol']}" for row in PARK]


@cache
def read(script: str, hparams: str, overrides: str):
    """The tree of a row's command, not yet resolved, and its yaml."""
    hparams_file, _, given = sb.parse_arguments([hparams, *shlex.split(overrides)])
    path = command_line.find_yaml(hparams_file, ROOT / script)
    return command_line.read(path, hp.command_line(given)), path


@cache
def resolve(script: str, hparams: str, overrides: str):
    """The resolved settings of a command, as a run with a corpus makes them."""
    return hp.resolve(*read(script, hparams, overrides))


def command_of(row: dict) -> tuple[str, str, str]:
    return row["script"], row["hparams"], row["overrides"]


def settings_of(row: dict):
    return resolve(*command_of(row))


def phases_of(row: dict) -> dict:
    """The earlier runs that a row's run starts from."""
    return plan.brain_of(ROOT / row["script"]).phases(settings_of(row))


def paper(item: str, row: str, protocol: str = "honest") -> tuple[str, str]:
    """The one row's WA and UA of the paper."""
    (found,) = [r for r in PARK if (r["item"], r["row"], r["protocol"]) == (item, row, protocol)]
    return found["paper_WA"], found["paper_UA"]


def row_with_best(best: str) -> dict:
    """The row whose run exports that best/ folder."""
    found = [
        row
        for row in [*PARK, *GAO, *WANG, *GAVALI]
        if f"{settings_of(row)['output_folder']}/best" == best
    ]
    assert found, f"no row leaves {best}"
    return found[0]


@pytest.fixture(autouse=True, scope="module")
def corpora_named():
    """With a corpus named, settings are the paper's own; nothing is read from it here."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for corpus in ("IEMOCAP", "RAVDESS", "VOXCELEB1"):
            monkeypatch.setenv(f"SER_{corpus}", f"/corpora/{corpus}")
        yield


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_columns_and_cells(path):
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert rows
    for row in rows:
        assert set(COLUMNS) <= set(row) and None not in row, row
        assert row["protocol"] in ("honest", "replication")
        assert (ROOT / row["script"]).is_file()
        assert (ROOT / row["script"]).parent.joinpath(row["hparams"]).is_file()
    keys = [(r["paper"], r["item"], r["row"], r["protocol"], r["overrides"]) for r in rows]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_the_readme_shows_the_rows(path):
    readme = path.with_name("README.md")
    text = readme.read_text()
    assert summarize.rewritten(readme, path) == text
    rows = list(csv.DictReader(path.read_text().splitlines()))
    blocks = {match[1]: match[0].splitlines() for match in summarize.BLOCK.finditer(text)}
    assert set(blocks) == {row["paper"] for row in rows}
    for row in rows:
        shown = blocks[row["paper"]]
        cells = [row[column] for column in ("row", "paper_WA", "paper_UA", "WA", "UA", "note")]
        assert any(all(f" {cell} |" in line for cell in cells) for line in shown), row
        paper, table, _ = name_of(row).split("/")
        command = f"`ser reproduce {paper} --table {table}`"
        assert command in shown, row
    shown = [line for block in blocks.values() for line in block]
    tables = [line for line in shown if line.startswith("| ") and "---" not in line]
    headings = [line for line in shown if line.startswith("#### ")]
    assert len(tables) == len(rows) + len(headings)


def test_summarize_rewrites_only_between_the_marks(tmp_path):
    header, row = ",".join(COLUMNS), "P,T,r,s.py,h.yaml,--k 1,{},c,1.00,2.00,,3.25,,,,,,,,,n"
    results, readme = tmp_path / "RESULTS.csv", tmp_path / "README.md"
    results.write_text("\n".join([header, row.format("replication"), row.format("honest")]))
    begin = summarize.BEGIN.format("P")
    readme.write_text(f"above\n{begin}stale{summarize.END}\nbelow\n")
    text = summarize.rewritten(readme, results)
    assert text.startswith("above\n") and text.endswith("\nbelow\n") and "stale" not in text
    assert text.count("| r | 1.00 | 2.00 | 3.25 |") == 2
    assert text.count("#### T, replication\n") == text.count("#### T\n") == 1
    readme.write_text(text)
    assert summarize.rewritten(readme, results) == text
    readme.write_text("no marks")
    with pytest.raises(InputError, match="README.md has no <!-- results: P -->"):
        summarize.rewritten(readme, results)


@pytest.mark.parametrize("row", PARK, ids=IDS)
def test_every_row_resolves_and_says_its_corpus_and_protocol(row):
    settings = settings_of(row)
    assert not settings["mini"]
    assert settings["corpus"]["name"] == row["corpus"]
    assert settings["protocol"] == row["protocol"]


@pytest.mark.parametrize("overrides", ["--block 1", "--reader '{test_windw: random}' --betta 1"])
def test_an_unknown_setting_would_be_noticed(overrides):
    with pytest.raises(InputError, match="there is no setting"):
        resolve("recipes/IEMOCAP/train_emotion.py", "hparams/emotion.yaml", overrides)


def test_an_output_folder_has_one_setting_and_a_seed_and_fold_of_its_own():
    folders: dict[str, dict] = {}
    for row in PARK:
        settings = settings_of(row)
        known = folders.setdefault(settings["output_folder"], hp.plain(settings))
        assert hp.differences(known, hp.plain(settings)) == [], row
        assert settings["output_folder"].endswith("/fold1/1000")
    repeated = 4 + 1 + 1 + 1  # Table 3 in Table 6; fused k = 4 in Tables 4, 5 and 6 and Fig. 7a
    assert len(folders) == len(PARK) - repeated


@pytest.mark.parametrize("row", CHAINED, ids=lambda row: f"{row['item']}-{row['row']}")
def test_the_phases_that_a_row_starts_from_are_rows(row):
    """What a run with a missing phase tells the user to run makes exactly the row's settings."""
    settings = settings_of(row)
    given = hp.command_line(sb.parse_arguments([row["hparams"], *shlex.split(row["overrides"])])[2])
    for phase in phases_of(row).values():
        earlier = row_with_best(phase["best"])
        _, *words = phases.command(phase, settings, given, ROOT / row["script"])
        script, hparams_file = phase["recipe"].split()
        assert words[0] == hparams_file
        told = resolve(f"recipes/{script}", hparams_file, shlex.join(words[1:]))
        assert hp.differences(hp.plain(settings_of(earlier)), hp.plain(told)) == []


def small(row: dict):
    """The row's settings with a network of a few thousand weights, every target known."""
    shared, path = read(*command_of(row))
    tree = copy.deepcopy(shared)
    changes = {"dim": 16, "channels": [16] * 5, "attention_channels": 8, "encoder": TINY}
    hp.override(tree, {key: value for key, value in changes.items() if tree.get(key)})
    named = {"emotion": ["angry", "happy", "sad", "neutral"], "speaker": ["a", "b", "c"]}
    hp.override(tree, {"targets": {field: named[field] for field in tree["targets"]}})
    for name, phase in settings_of(row)["phases"].items():
        earlier = small(row_with_best(phase["best"]))
        hp.override(tree, {name: hp.bare(earlier["model"])})
    return hp.resolve(tree, path)


def build(settings) -> dict:
    """The row's own objects: an earlier phase's overrides are for another command."""
    others = ("phases", "emotion_overrides")
    return hp.build({key: value for key, value in settings.items() if key not in others})


@pytest.mark.parametrize("row", PARK, ids=IDS)
def test_every_row_builds_what_it_says(row):
    built = build(small(row))
    model, criterion = built["model"].train(), built["criterion"]
    arcface = "cross-entropy" not in row["row"]
    assert isinstance(criterion, ArcFace if arcface else torch.nn.CrossEntropyLoss)
    assert isinstance(model.head, CosineHead if arcface else LinearHead)
    complete = row["row"].endswith("complete") or row["row"].endswith("complete data")
    balanced = row["corpus"] == "iemocap" and not complete
    assert built["batches"] is (UnderSampledBatches if balanced else ShuffledBatches)
    emotion = getattr(model, "emotion", model)
    if "k = " in row["row"]:
        assert len(emotion.pooling.blocks) == int(row["row"].split("k = ")[1])
    speech, lens = torch.randn(2, 4000), torch.tensor([1.0, 0.75])
    loss = criterion(model(speech, lens), torch.tensor([0, 2]))
    loss.backward()
    assert torch.isfinite(loss)
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    if "fused" in row["row"]:
        regime = {"b": "arcface", "c": "all"}.get(row["item"].removeprefix("Fig. 7"), "frozen")
        assert model.regime == regime
        assert ("speaker" in learning) == (regime != "frozen")
        beta = row["row"].partition("beta = ")[2]
        assert not beta or built["beta"] == float(beta)
    published = row["protocol"] == "replication"
    assert built["reader"].test_window == ("random" if published else "centre")
    paddings = {part.padding for part in model.modules() if isinstance(part, Encoder)}
    assert paddings <= {"as_published" if published else "exact"}
    assert getattr(model, "frozen_dropout", published) == published
    if row["corpus"] == "iemocap":
        to_three = "3 s or more" in row["item"]
        assert built["reader"].tiling is (math.ceil if to_three else math.floor)


def test_a_published_speaker_network_is_trained_with_1_head_and_used_with_4():
    rows = {(row["row"], row["protocol"]): row for row in PARK}
    speaker = build(small(rows["speaker, ArcFace", "replication"]))["model"]
    fused = small(rows["fused, ArcFace, k = 4", "replication"])
    used = build(fused)["model"].speaker
    assert (speaker.pooling.attention.num_heads, used.pooling.attention.num_heads) == (1, 4)


def test_overrides_of_an_earlier_phase_may_hold_classes(runs, tmp_path):
    """The cross-entropy row of fusion, k = 1, with the earlier phases already there."""
    rows = {row["row"]: row for row in PARK if row["item"] == "Table 6"}
    short = ["--max_epochs", "1"]
    for row in ("emotion, cross-entropy, k = 1", "fused, cross-entropy, k = 1"):
        yaml = RECIPES / "IEMOCAP" / rows[row]["hparams"]
        row_words = shlex.split(rows[row]["overrides"])
        phases_words = ["--speaker_best", f"{runs}/speaker/fold1/1000/best"]
        own = phases_words if row.startswith("fused") else []
        run(yaml, tiny(yaml, tmp_path, *row_words, *own, *short))
    tree = saved.description(tmp_path / "fusion_ce_k1/fold1/1000/best")
    assert hp.tag_of(tree["model"]["emotion"]["head"]).endswith(".LinearHead")


def test_numbers_of_the_paper():
    assert paper("Table 2", "speaker, cross-entropy") == ("87.98", "87.19")
    assert paper("Table 2", "speaker, ArcFace") == ("93.89", "94.22")
    assert paper("Table 3", "emotion, ArcFace, k = 2") == ("70.26", "71.14")
    assert paper("Table 5", "fused; pretraining complete, fine-tuning under-sampled") == (
        "70.86",
        "71.84",
    )
    assert paper("Table 6", "emotion, cross-entropy, k = 3") == ("68.96", "70.45")
    assert paper("Table 6", "fused, cross-entropy, k = 1") == ("70.14", "70.91")
    assert paper("Table 6", "fused, ArcFace, k = 3") == ("70.03", "71.74")
    assert paper("Table 6", "fused, ArcFace, k = 4", "replication") == ("72.14", "72.97")
    assert paper("Fig. 7b", "fused, ArcFace fine-tuned, beta = 1.5") == ("70.84", "71.92")
    assert paper("Fig. 7c", "fused, all fine-tuned, beta = 0.5") == ("71.18", "72.08")


def test_equal_rows_of_two_tables_have_equal_numbers():
    """Tables 3, 5 and 6 and Fig. 7 share runs: one command, one result."""
    known: dict[tuple, tuple] = {}
    for row in PARK:
        numbers = tuple(row[c] for c in COLUMNS if "WA" in c or "UA" in c)
        assert known.setdefault(command_of(row), numbers) == numbers, row


def test_how_many_rows_each_table_has():
    items = Counter(row["item"] for row in PARK if row["paper_WA"] and row["protocol"] == "honest")
    assert items == {
        "Table 2": 2,
        "Table 3": 4,
        "Table 4": 1,
        "Table 5": 4,
        "Table 6": 16,
        "Fig. 7a": 1,
        "Fig. 7b": 3,
        "Fig. 7c": 3,
        "Table 6, short speech repeated to 3 s or more": 2,
    }


def row_id(row: dict) -> str:
    return f"{row['corpus']}-{row['item']}-{row['row']}"


@pytest.mark.parametrize("row", PEPINO, ids=row_id)
def test_every_row_of_pepino_2021_says_its_corpus(row):
    settings = settings_of(row)
    assert not settings["mini"]
    assert settings["corpus"]["name"] == row["corpus"]
    assert settings["select_by"] == "loss" and settings["patience"] == 4
    by = settings["normalise_by"]
    assert ("global" in row["row"]) == (by == "global")
    assert settings["lr"] == (1e-3 if "as printed" in row["row"] else 1e-4)
    of_the_code = "LSTM" in row["row"] and "as printed" not in row["row"]
    assert settings["batch_size"] == (16 if of_the_code else 32)
    if "ASR" in row["row"]:
        assert settings["encoder"] == "facebook/wav2vec2-base-960h"
    if "Issa" not in row["item"]:
        count = {"iemocap": 5531, "ravdess": 1440 if "speech alone" in row["item"] else 2452}
        assert settings["corpus"]["expected"] == count[row["corpus"]]
    assert settings["corpus"].get("aligned", True)


def test_the_folders_of_pepino_2021_are_one_setting_each():
    folders: dict[str, dict] = {}
    for row in PEPINO:
        settings = hp.plain(settings_of(row))
        known = folders.setdefault(settings["output_folder"], settings)
        assert hp.differences(known, settings) == [], row
    assert len(folders) == len(PEPINO) - 2  # Table 1's all layers is Table 2's dense, by speaker


@pytest.fixture(scope="module")
def pepino_runs(tmp_path_factory):
    return tmp_path_factory.mktemp("pepino")


@pytest.mark.parametrize("row", GAO, ids=row_id)
def test_every_row_of_gao_2023_says_its_tasks_and_weights(row):
    settings = settings_of(row)
    assert not settings["mini"] and settings["protocol"] == row["protocol"]
    named = row["row"].partition(", then ")[2] or row["row"]
    others = [task for task in ("asr", "gender", "style") if task in named.lower()]
    if "first phase" in row["item"]:
        assert settings["select_by"] == "last" or "four training" not in row["item"]
        assert settings["tasks"] == others and settings["frozen"] == "cnn"
        assert settings["gender_head"]["skip"] is ("skip" in row["row"]) or others == ["asr"]
        return
    assert settings["tasks"] == ["emotion", *others]
    assert settings["adversarial"] == (others if "adversarial" in named else [])
    assert settings["alpha"] == (0.9 if "other weights" in row["item"] else 0.1)
    four = "four training sessions" in row["item"]
    assert (settings["select_by"] == "last") is four
    assert hp.tag_of(settings["split"]).endswith("without_validation") is (
        four or row["protocol"] == "replication"
    )
    blocks = {0: 12, 2: 10, 4: 8, 6: 6, 8: 4, 10: 2, 12: "cnn"}
    if row["row"].startswith("top "):
        assert settings["frozen"] == blocks[int(row["row"].split()[1])]
    elif "two_stage" in row["hparams"]:
        assert settings["frozen"] == 4


def test_the_folders_of_gao_2023_are_one_setting_each():
    folders: dict[str, dict] = {}
    for row in GAO:
        settings = hp.plain(settings_of(row))
        known = folders.setdefault(settings["output_folder"], settings)
        assert hp.differences(known, settings) == [], row
    # Table 1's 12 blocks is Table 2's emotion alone, Table 4's row is Table 3's
    assert len(folders) == len(GAO) - 2


def test_the_other_weights_are_the_one_difference_from_the_row_of_the_table():
    rows = {(row["item"], row["row"]): row for row in GAO}
    others = [row for row in GAO if "other weights" in row["item"]]
    assert len(others) == 15
    for row in others:
        table = rows[row["item"].partition(",")[0], row["row"]]
        one, two = (hp.plain(settings_of(r)) for r in (table, row))
        keys = {line.partition(":")[0] for line in hp.differences(one, two)}
        assert keys == {"alpha", "variant", "output_folder"}, row
        assert (one["alpha"], two["alpha"]) == (0.1, 0.9)


RUN_ONCE = {  # of what differs from other rows in its weights or sessions: one of each kind
    "the other weights": ("emotion + ASR + gender + style", "ASR, then emotion + gender"),
    "four training sessions": (
        *("emotion alone", "ASR + gender (skip)", "ASR + gender (skip), then emotion"),
    ),
}
GAO_MINI = [
    row
    for row in GAO
    if all(row["row"] in names for kind, names in RUN_ONCE.items() if kind in row["item"])
]


@pytest.fixture(scope="module")
def gao_runs(tmp_path_factory):
    """A results folder with the first phases, tiny."""
    results = tmp_path_factory.mktemp("gao")
    for row in GAO_MINI:
        if "first phase" in row["item"]:
            run_tiny(row, results)
    return results


def run_tiny(row: dict, results: Path) -> dict:
    """Run a row on the mini corpus with a tiny network; its results.json."""
    yaml = (ROOT / row["script"]).parent / row["hparams"]
    given = shlex.split(row["overrides"])
    small = ["--max_epochs", "1"]
    if "dim" in settings_of(row) and "CnnLstm" not in row["overrides"]:
        small += ["--dim", "16"]
    if "--encoder" in given:
        small += ["--encoder", str(TINY)]
    if isinstance(settings_of(row).get("frozen"), int):
        small += ["--frozen", "1" if "two_stage" in row["hparams"] else "2"]
    run(yaml, tiny(yaml, results, *given, *small))
    folder = results / settings_of(row)["output_folder"].removeprefix("results/")
    return json.loads((folder / "results.json").read_text())


def sampled(rows: list[dict]) -> list:
    """Every tenth row, and the others as slow: `bash tools/test.sh -m ""` runs all."""
    return [
        pytest.param(row, marks=[pytest.mark.slow] if number % 10 else [])
        for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize("row", sampled(GAO_MINI), ids=row_id)
def test_every_row_of_gao_2023_runs_in_mini(row, gao_runs):
    results = run_tiny(row, gao_runs)
    assert results["corpus"] == "mini-iemocap"
    assert ("UA" in results) is ("first phase" not in row["item"])
    for column in ("UA_gender", "WER"):
        assert column in results or not row[f"paper_{column}"]


@pytest.mark.parametrize("row", sampled(PEPINO), ids=row_id)
def test_every_row_of_pepino_2021_runs_in_mini(row, pepino_runs):
    if "Egemaps" in row["overrides"] or "egemaps" in row["hparams"]:
        pytest.importorskip("opensmile")
    yaml = (ROOT / row["script"]).parent / row["hparams"]
    words = [*shlex.split(row["overrides"]), "--max_epochs", "1", "--encoder", str(TINY)]
    run(yaml, tiny(yaml, pepino_runs, *words))
    settings = settings_of(row)
    folder = pepino_runs / settings["output_folder"].removeprefix("results/")
    results = json.loads((folder / "results.json").read_text())
    assert results["corpus"] == f"mini-{row['corpus']}"
    assert results["transductive"] is (settings["normalise_by"] not in ("global", "none"))


def wang(item: str, row: str) -> dict:
    (found,) = [r for r in WANG if (r["item"], r["row"]) == (item, row)]
    return found


def test_the_rows_of_wang_2023_say_what_they_train():
    assert Counter(row["item"] for row in WANG) == {
        "Table 1": 3,
        "Table 2": 5,
        "Table 3": 4,
        "Table 4": 1,
        "extra": 22,
    }
    for row in WANG:
        settings = settings_of(row)
        assert not settings["mini"] and settings["protocol"] == row["protocol"] == "honest"
        if row["hparams"] == "hparams/knn.yaml":  # length 1 as in the contrastive loss, or none
            of_its_own = "S1" in row["row"] or "cross-entropy" in row["row"]
            any_length = "any length" in row["row"] or of_its_own and "1" != row["row"][-1]
            assert settings["normalise"] is not any_length
        if "without momentum" in row["row"]:
            assert hp.tag_of(settings["opt_class"]) == "!name:torch.optim.SGD"
            assert dict(settings["opt_class"]) == {}
        if row["hparams"] == "hparams/supcon.yaml":
            assert (settings["contrastive_weight"] == 0) is row["row"].startswith(("S1", "cross"))
            parts = {"noise", "volume", "reverberation", "pitch"}
            if row["row"] in parts:
                assert hp.tag_of(settings["augment"]).lower().endswith(f".{row['row']}")
    tables = [
        ("Table 1", "S1: cross-entropy", "Table 3", "cross-entropy, no neighbours"),
        ("Table 1", "S2: and contrastive loss", "Table 2", "mixed"),
        ("Table 1", "S2: and contrastive loss", "Table 3", "contrastive loss, no neighbours"),
        (
            "Table 1",
            "S3: and nearest neighbours",
            "Table 3",
            "contrastive loss, nearest neighbours",
        ),
    ]
    for *one, item, name in tables:
        left, right = wang(*one), wang(item, name)
        columns = ("script", "hparams", "overrides", "paper_WA", "paper_UA")
        assert [left[c] for c in columns] == [right[c] for c in columns]
    assert [wang("Table 1", tables[i][1])["paper_UA"] for i in (0, 1, 3)] == [
        "71.84",
        "74.45",
        "75.14",
    ]


def test_the_folders_of_wang_2023_are_one_setting_each():
    folders: dict[str, dict] = {}
    for row in WANG:
        settings = hp.plain(settings_of(row))
        known = folders.setdefault(settings["output_folder"], settings)
        assert hp.differences(known, settings) == [], row
    assert len(folders) == len(WANG) - 5  # the equal rows above, and Table 4's


@pytest.fixture(scope="module")
def wang_runs(tmp_path_factory):
    """A results folder with the trained networks that rows with neighbours start from, tiny."""
    results = tmp_path_factory.mktemp("wang")
    for row in WANG[:2]:
        run_tiny(row, results)
    run_tiny(wang("extra", "S1 with augmentation: cross-entropy of both views"), results)
    return results


@pytest.mark.parametrize("row", sampled(WANG), ids=row_id)
def test_every_row_of_wang_2023_runs_in_mini(row, wang_runs):
    results = run_tiny(row, wang_runs)
    assert results["corpus"] == "mini-iemocap" and results["protocol"].startswith("honest, speaker")
    assert ("UA_oracle" in results) is (row["hparams"] == "hparams/knn.yaml")


CORRECT = {  # recovered from the paper's reports: of 38, 39, 38, 39, 38, 19, 38, 39 test files
    "wav2vec 2.0 large": [35, 32, 37, 33, 34, 18, 37, 33],
    "wav2vec 2.0 XLSR-53": [34, 36, 38, 37, 37, 15, 33, 37],
    "HuBERT base": [36, 36, 36, 37, 33, 18, 35, 33],
    "HuBERT x-large": [37, 34, 38, 37, 35, 11, 29, 38],
    "UniSpeech large": [36, 35, 34, 37, 35, 19, 28, 38],
    "UniSpeech large multilingual": [37, 38, 36, 35, 34, 16, 34, 35],
    "vote of 5": [37, 38, 38, 38, 37, 18, 35, 38],
    "vote of 3": [37, 39, 38, 37, 37, 17, 35, 38],
}


PRINTED = dict(zip(CORRECT, ("90", "93", "92", "90", "91", "92", "96.88", "96.53"), strict=True))


def test_the_numbers_of_gavali_and_verma_as_printed_and_by_their_own_counts():
    supports = [38, 39, 38, 39, 38, 19, 38, 39]
    rows = [row for row in GAVALI if row["paper_WA"]]
    named = [row["row"].replace("the paper's ", "") for row in rows if row["item"] != "extra"]
    assert Counter(named) == {name: 6 if name.startswith("vote") else 3 for name in CORRECT}
    for row in rows:
        name = row["row"].replace("the paper's ", "")
        name = "wav2vec 2.0 XLSR-53" if name == "XLSR-53, as the notebook ran" else name
        counts = CORRECT[name]
        recalls = [right / of for right, of in zip(counts, supports, strict=True)]
        assert (row["paper_WA"], row["paper_UA"]) == (PRINTED[name], "")
        assert row["derived_WA"] == f"{100 * sum(counts) / 288:.2f}"
        assert row["derived_UA"] == f"{100 * sum(recalls) / 8:.2f}"
        assert round(float(row["derived_WA"]), len(PRINTED[name].partition(".")[2])) == float(
            PRINTED[name]
        )


STEPS = {"w2v2_large": 900, "xlsr": 1100, "hubert_base": 900, "hubert_xlarge": 600}
STEPS |= {"unispeech": 700, "unispeech_multi": 600}
VOTERS = {
    5: ["xlsr", "hubert_base", "hubert_xlarge", "unispeech", "unispeech_multi"],
    3: ["xlsr", "hubert_xlarge", "unispeech_multi"],
}


def test_the_papers_own_ensembles_stand_beside_the_best_of_all_combinations():
    voting = [r for r in GAVALI if r["row"].startswith("vote of ")]
    names = ("vote of 5", "vote of 3", "vote of the paper's 5", "vote of the paper's 3")
    assert Counter(row["row"] for row in voting) == dict.fromkeys(names, 5)
    for row in voting:
        settings = settings_of(row)
        size = int(row["row"][-1])
        assert settings["sizes"] == [size]
        assert settings["voters"] == (VOTERS[size] if "paper's" in row["row"] else [])
        chosen = phases_of(row)
        assert list(chosen) == (settings["voters"] or list(settings["phases"]))
        steps = {n: phase["overrides"].get("max_epochs") for n, phase in chosen.items()}
        fixed = row["item"].endswith("the paper's step")
        assert steps == {name: STEPS[name] // 100 if fixed else None for name in chosen}


def test_table_5_of_gavali_and_verma_is_of_its_own_split():
    rows = [row for row in GAVALI if row["item"] == "Table 5"]
    minutes = {  # in all, for 100 updates, to the checkpoint
        "wav2vec 2.0 large": ((67, 5), (4, 40), (43, 6)),
        "wav2vec 2.0 XLSR-53": ((71, 17), (5, 4), (56, 0)),
        "HuBERT base": ((21, 5), (1, 25), (13, 26)),
        "HuBERT x-large": ((73, 27), (5, 14), (31, 24)),
        "UniSpeech large": ((35, 6), (2, 27), (18, 0)),
        "UniSpeech large multilingual": ((46, 42), (3, 15), (20, 0)),
    }
    assert {row["row"] for row in rows} == set(minutes)
    for row in rows:
        assert hp.tag_of(settings_of(row)["split"]).endswith("without_validation")
        columns = ("paper_minutes", "paper_minutes_100", "paper_minutes_checkpoint")
        for column, (whole, seconds) in zip(columns, minutes[row["row"]], strict=True):
            assert row[column] == f"{whole + seconds / 60:.2f}"


def test_the_folders_of_gavali_and_verma_are_one_setting_each():
    folders: dict[str, dict] = {}
    for row in GAVALI:
        settings = hp.plain(settings_of(row))
        known = folders.setdefault(settings["output_folder"], settings)
        assert hp.differences(known, settings) == [], row
        assert settings["protocol"] == row["protocol"]
    assert len(folders) == len(GAVALI) - 12  # Tables 5 and 6 are of the speaker-dependent members


MINI = [  # what of a paper with six members per table is run: what differs but in its encoder
    ("Tables 3 and 4, speaker-dependent", ["wav2vec 2.0 large", "HuBERT x-large"]),
    ("by actor, 5 folds", ["HuBERT base"]),
    ("Tables 3 and 4, speaker-dependent, the paper's step", ["vote of the paper's 3"]),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ("Tables 3 and 4, speaker-dependent, epoch and members chosen on test", ["vote of 3"]),
            ("by actor, 6 folds of 4", ["vote of 5", "vote of 3"]),
            ("extra", [row["row"] for row in GAVALI if row["item"] == "extra"]),
        )
    ),
]


@pytest.mark.parametrize(("item", "names"), MINI, ids=lambda value: value)
def test_rows_of_gavali_and_verma_run_in_mini(item, names, tmp_path):
    rows = [row for row in GAVALI if row["item"] == item and row["row"] in names]
    assert len(rows) == len(names)
    voting = [row for row in rows if row["hparams"] == "hparams/ensemble.yaml"]
    members = [row_with_best(phase["best"]) for row in voting for phase in phases_of(row).values()]
    done = {}
    for row in [*members, *rows]:
        folder = settings_of(row)["output_folder"]
        if folder not in done:
            done[folder] = run_tiny(row, tmp_path)
        assert done[folder]["corpus"] == "mini-ravdess"
        assert done[folder]["protocol"].startswith(row["protocol"])
    for row in voting:
        results = done[settings_of(row)["output_folder"]]
        size = settings_of(row)["sizes"][0]
        assert len(results["chosen"].split(" + ")) == size
        tried = 1 if settings_of(row)["voters"] else {3: 20, 5: 6}[size]
        assert sum(r["size"] == size for r in results["ensemble"]) == tried


@pytest.mark.parametrize("row", PAIRS, ids=row_id)
def test_a_fine_tuned_row_differs_from_the_one_it_is_held_against_in_one_idea(row):
    other = rows.named()[row["against"]]
    assert row["corpus"] == other["corpus"] and row["protocol"] == other["protocol"]
    if (row["script"], row["hparams"]) == (other["script"], other["hparams"]):
        one, two = (hp.plain(settings_of(r)) for r in (other, row))
        keys = {re.split(r"[:.\[]", line)[0] for line in hp.differences(one, two)}
        ideas = [
            {"contrastive_weight"},
            {"augment", "cache"},  # a view differs in each epoch
            {"augment"},
            {"blocks"},
            {"head", "criterion"},
            {"vote", "phases"},  # which hold the variant
            {"tasks", "alpha"},
            {"tasks", "alpha", "tokenizer"},
            {"tasks", "alpha", "adversarial"},
        ]
        assert keys - {"variant", "output_folder"} in ideas
