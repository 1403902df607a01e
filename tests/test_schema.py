"""Settings that no run can have: each is a sentence with its name, before anything is built."""

import copy
import functools

import pytest
import torch
from conftest import RECIPES, ROOT, YAMLS, run, script_of

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import rows
from speechbrain_ser.errors import InputError
from speechbrain_ser.training import command_line, schema

NO_COUNT = ("-1", "1.5", "x", ".nan", "[]", "{}", "True")
NO_NUMBER = ("-1", "x", ".nan", "[1]", "{}", "True", "1.0e+400")
NO_BOOL = ("1", "x", "[]", "null")
BAD = {  # yaml: setting: values
    "IEMOCAP/emotion": {
        **dict.fromkeys(("batch_size", "fold", "max_epochs", "patience", "blocks"), NO_COUNT),
        "lr": ("fast", *NO_NUMBER),
        "max_grad_norm": ("-1", "0", "x", ".nan"),
        "precision": ("x", "16"),
        "nonfinite_patience": ("x", "1.5"),
        "protocol": ("x", "1", "null", "[honest]"),
        "batching": ("x", "null"),
        "cache": ("float8", "True"),
        "contrastive_weight": ("2", "-0.1", "x"),
        "augment": ("x", "1", "{}"),
        "seed": ("x", "-1", "1.5", "null", "4294967296"),
        "workers": ("-1", "two"),
        "phases": ("x", "null", "[a]", "{a: 1}", "{a: {}}"),
        "select_by": ("x", "uar", "1", "null", "[UA]"),
        "output_folder": ("-1", "[a]", "{}", "null"),
        "results": ("-1", "True"),
        "data_folder": ("5", "[a]", "{a: 1}", "True"),
        "frozen_dropout": NO_BOOL,
        "reader": ("{max_seconds: -1}", "{max_seconds: x}", "{min_seconds: -1}"),
        "corpus": ("{labels: [a, a]}", "{expected: -1}", "{full_agreement: 2}"),
        "targets": ("{emotion: [a, b, a]}", "x", "-1", "null", "1.5", "[a]"),
        "opt_class": ("{weight_decay: -1}", "{betas: 1}", "{betas: [x, 1]}", "{betas: [.nan, 1]}"),
        "schedule": ("{decay: 2}", "{decay: x}"),
    },
    "IEMOCAP/multitask": {
        "max_epochs": ("null", "{}"),
        "reader": ("null",),
        "model": ("null",),
        "opt_class": ("null",),
        "dropout": ("1.5", "-0.1", "x"),
        "time_mask": ("1.5",),
        "ctc_reduction": ("none",),
        "tasks": ("[emotion, emotion]", "emotion"),
        "log_gradient_conflict": NO_BOOL,
        "alpha": NO_NUMBER,
    },
    "IEMOCAP/fusion": {"speaker": ("x",), "emotion": ("x",), "beta": ("-1", "x")},
    "IEMOCAP/supcon": {"temperature": ("0", "-1", "x")},
    "RAVDESS/member": {"passes": NO_COUNT, "max_epochs": ("-1", "x", "{}")},
    "RAVDESS/probe": {"crop_frames": NO_COUNT, "clip_value": ("0", "x"), "width": NO_COUNT},
}
CASES = [
    (yaml, key, value)
    for yaml, settings in BAD.items()
    for key, values in settings.items()
    for value in values
]


def checked(yaml, *words):
    """What a run does with its settings before anything is built."""
    path, tree, overrides, *_ = command_line.parse(script_of(yaml), [str(yaml), *words])
    command_line.check(hp.resolve(tree, path), path, overrides)


@pytest.fixture(autouse=True)
def some_corpora(monkeypatch):
    for name in ("IEMOCAP", "RAVDESS", "VOXCELEB1"):
        monkeypatch.setenv(f"SER_{name}", "/nowhere")  # no mini preset


def test_there_are_many_cases():
    assert len(CASES) >= 120


@pytest.mark.parametrize(("yaml", "key", "value"), CASES)
def test_a_bad_value_is_refused_by_its_name(yaml, key, value, capsys):
    corpus, name = yaml.split("/")
    with pytest.raises(InputError, match=rf"\b{key}\b"):
        checked(RECIPES / corpus / "hparams" / f"{name}.yaml", f"--{key}", value)
    assert capsys.readouterr().err == ""  # no usage of SpeechBrain's parser


@pytest.mark.parametrize("yaml", YAMLS, ids=[f"{y.parts[-3]}-{y.stem}" for y in YAMLS])
def test_a_word_in_the_place_of_any_number_is_refused(yaml):
    """Of each number that the yaml has, be it a class' argument."""
    path, tree, *_ = command_line.parse(script_of(yaml), [str(yaml)])
    settings = hp.plain(hp.resolve(tree, path))
    places = list(numbers(settings))
    assert len(places) >= 8
    for *outer, key in places:
        changed = copy.deepcopy(settings)
        functools.reduce(dict.__getitem__, outer, changed)[key] = "abc"
        with pytest.raises(InputError, match=rf"\b{key} is 'abc': use "):
            schema.check(changed, settings)


def numbers(node: dict, place: tuple = ()):
    """The keys that lead to each number, but for those that a class judges, such as layers: all."""
    for key, value in node.items():
        if isinstance(value, dict) and key != "phases":
            yield from numbers(value, (*place, key))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if key not in schema.MIXED:
                yield *place, key


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--precision", "fp16"),
            "^precision fp16 needs a GPU, and this run is on the cpu: use bf",
        ),
        (("--eval_precision", "fp16"), "^eval_precision fp16 needs a GPU"),
        (("--auto_mix_prec",), "^auto_mix_prec fp16 needs a GPU"),
        (("--precision", "fp16", "--device", "cpu:0"), "^precision fp16 needs a GPU"),
        (("--device", "potato"), "^'potato' is no device: use cpu or cuda:0"),
        (("--device", "cuda:7"), "^this machine has no CUDA device, cuda:7 is not there: use"),
    ],
)
def test_what_the_device_cannot_do_is_said_at_the_start(words, sentence, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(command_line, "infer_device", lambda: "cpu")
    with pytest.raises(InputError, match=sentence):
        checked(RECIPES / "IEMOCAP/hparams/emotion.yaml", *words)


def test_float16_is_for_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for words in (("--device", "cuda:1"), ("--device", "cuda")):
        checked(RECIPES / "IEMOCAP/hparams/emotion.yaml", "--precision", "fp16", *words)
    with pytest.raises(InputError, match="has 2 CUDA devices, cuda:2 is not there"):
        checked(RECIPES / "IEMOCAP/hparams/emotion.yaml", "--device", "cuda:2")


@pytest.mark.parametrize(
    "words",
    [
        ("--corpus", "{name: table, labels: [2, 0, 10]}"),
        ("--corpus", "table", "--targets", "{emotion: [2, 0, 10]}"),
        ("--corpus", "{name: table, labels: ['2', 0, '10']}"),
    ],
)
def test_labels_that_are_numbers_are_their_texts(words):
    path, tree, *_ = command_line.parse(
        script_of(yaml := RECIPES / "IEMOCAP/hparams/emotion.yaml"),
        [str(yaml), *words, "--data_folder", "x.csv"],
    )
    settings = hp.resolve(tree, path)
    assert settings["targets"]["emotion"] == ["2", "0", "10"]
    again = hp.resolve(hp.load_tree(hp.dump(settings)), path)  # as the run's folder keeps them
    assert again["targets"]["emotion"] == ["2", "0", "10"]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("[0, 1, 1]", "'1' twice"),
        ("[0, '0']", "'0' twice"),
        ("[0, true]", "corpus.labels has True, which yaml takes for no text: quote it, 'True'"),
        ("[0, 1.0]", "corpus.labels has 1.0, which yaml takes for no text"),
        ("[0, null]", "corpus.labels has null, which yaml takes for no text"),
        ("[0, [1]]", "corpus.labels has .1., which yaml takes for no text"),
    ],
)
def test_labels_that_are_no_texts_are_refused(labels, sentence):
    with pytest.raises(InputError, match=sentence):
        words = ("--corpus", f"{{name: table, labels: {labels}}}", "--data_folder", "x.csv")
        checked(RECIPES / "IEMOCAP/hparams/emotion.yaml", *words)


@pytest.mark.parametrize("yaml", YAMLS, ids=[f"{y.parts[-3]}-{y.stem}" for y in YAMLS])
def test_what_a_yaml_says_itself_is_good(yaml, monkeypatch):
    checked(yaml)
    monkeypatch.undo()
    checked(yaml, "--mini", "True")


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 10))]
)
def test_what_the_rows_say_is_good(first):
    """Every tenth row of the tables, by its own command."""
    for row in list(rows.named().values())[first::10]:
        script, yaml, *words = rows.command(row)
        checked(command_line.find_yaml(yaml, ROOT / script), *words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--noprogressbar", "stray"], "'stray' belongs to no setting"),
        (["--lr", "1", "2"], "'2' belongs to no setting"),
        (["stray"], "'stray' belongs to no setting"),
        (["--lr"], "--lr has no value"),
        (["--lr", "--fold", "2"], "--lr has no value"),
        (["--lr=1", "stray"], "'stray' belongs to no setting"),
        (["--mini", "x"], "mini is 'x'"),
    ],
)
def test_words_that_belong_nowhere(words, sentence):
    with pytest.raises(InputError, match=sentence):
        checked(RECIPES / "IEMOCAP/hparams/emotion.yaml", *words)


@pytest.mark.parametrize(
    "words",
    [
        ("--skip_block", "5"),
        ("--frozen", "x"),
        ("--encoder", "{model_type: none}"),
        ("--asr_head", "!new:speechbrain_ser.models.multitask.Absent {}"),
        ("--network", "{hidden: 3}"),
        ("--gender_head", "{dim: x}"),
    ],
)
def test_what_only_a_class_can_judge_is_a_sentence(words, tmp_path, monkeypatch):
    monkeypatch.undo()
    yaml = RECIPES / "IEMOCAP/hparams/asr_gender.yaml"
    with pytest.raises(InputError):
        run(yaml, [str(yaml), "--mini", "True", "--results", str(tmp_path), *words])


@pytest.mark.parametrize("yaml", YAMLS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_some_settings_resolve_as_they_do_among_all(yaml):
    tree = hp.read(yaml)
    for keys in (["output_folder"], ["corpus", "split", "targets"]):
        some, whole = hp.resolve(tree, yaml, keys), hp.resolve(tree, yaml)
        assert set(keys) <= set(some) < set(whole)
        for key in keys:
            assert hp.plain(some[key]) == hp.plain(whole[key])


def test_a_text_that_is_read_again_is_another_tree():
    text = "a: {b: [1, 2]}\nc: !new:x.Y {d: 1}"
    tree = hp.load_tree(text)
    tree["a"]["b"].append(3)
    hp.override(tree, hp.load_tree("c: {d: 2}"))
    again = hp.load_tree(text)
    assert again["a"]["b"] == [1, 2] and again["c"]["d"] == 1
    assert hp.tag_of(again["c"]) == hp.tag_of(tree["c"]) == "!new:x.Y"


@pytest.mark.parametrize(
    ("yaml", "words", "found"),
    [
        ("RAVDESS/hparams/member", [], {"n_folds": 3}),
        ("RAVDESS/hparams/combined", [], {"n_folds": 3}),
        ("IEMOCAP/hparams/emotion", ["--corpus", "table"], {"n_folds": 3}),
        ("VoxCeleb1/hparams/speaker", ["--corpus", "ravdess"], {"outer": {"n_folds": 3}}),
    ],
)
def test_so_many_folds_as_are_asked_for(yaml, words, found):
    path = RECIPES / f"{yaml}.yaml"
    words = [str(path), *words, "--data_folder", "/nowhere/mine.csv", "--n_folds", "3"]
    path, tree, *_ = command_line.parse(script_of(path), words)
    assert hp.resolve(tree, path)["split"] == found


@pytest.mark.parametrize(
    ("n_folds", "words", "message"),
    [
        ("x", [], "n_folds is x: use a number from 2"),
        ("1", [], "n_folds is 1: use a number from 2"),
        ("3", ["--split", "!ref <corpus[emobox_split]>"], "folds of given_folds are the corpus'"),
    ],
)
def test_folds_that_cannot_be_dealt(n_folds, words, message):
    with pytest.raises(InputError, match=message):
        checked(RECIPES / "RAVDESS/hparams/combined.yaml", *words, "--n_folds", n_folds)
