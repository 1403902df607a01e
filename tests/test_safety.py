"""Models from strangers: none of these runs anything, and each is refused with its line."""

import json
import shutil
from pathlib import Path

import hyperpyyaml
import pytest
import safetensors.torch
import torch
from conftest import RECIPES, YAMLS, run, tiny

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.commands import plot_embeddings
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import safety, saved, seen

GOOD = """labels: [angry, happy]
reader: !new:speechbrain_ser.data.audio.SpeechReader
  max_seconds: 15
model: !new:speechbrain_ser.models.classifier.Classifier
  encoder: !new:speechbrain_ser.models.encoders.Encoder
    source:
      model_type: wav2vec2
      hidden_size: 16
      num_hidden_layers: 1
      num_attention_heads: 2
      intermediate_size: 16
      conv_dim: [8, 8, 8, 8, 8, 8, 8]
      num_conv_pos_embeddings: 4
      num_conv_pos_embedding_groups: 2
    frozen: cnn
  pooling: !new:speechbrain_ser.models.pooling.MeanPooling
    dim: 16
  head: !new:speechbrain_ser.models.heads.LinearHead
    dim: 16
    labels: [angry, happy]
"""
RUN = "{marker}"  # becomes a path that no test may find afterwards
HEAD = GOOD[GOOD.index("  head:") :]
READER = "reader: !new:speechbrain_ser.data.audio.SpeechReader\n  max_seconds: 15\n"
SOURCE = GOOD[GOOD.index("    source:") : GOOD.index("    frozen:")]

HOSTILE = {  # what it tries: (what is replaced, by what)
    "apply": (HEAD, "  head: !apply:os.system ['touch {marker}']\n"),
    "apply at the top": ("labels:", "seed: !apply:os.system ['touch {marker}']\nlabels:"),
    "HyperPyYAML's seed": ("labels:", "__set_seed: !apply:os.system ['touch {marker}']\nlabels:"),
    "applyref": (HEAD, "  head: !applyref:os.system ['touch {marker}']\n"),
    "new of a process": (HEAD, "  head: !new:subprocess.Popen [['touch', {marker}]]\n"),
    "new of a function": (HEAD, "  head: !new:os.system ['touch {marker}']\n"),
    "new of exec": (HEAD, '  head: !new:builtins.exec [\'open("{marker}", "w")\']\n'),
    "new without a module": (HEAD, '  head: !new:exec [\'open("{marker}", "w")\']\n'),
    "new through our imports": (
        *(
            HEAD,
            "  head: !new:speechbrain_ser.models.encoders.AutoModel.from_pretrained [evil/x]\n",
        ),
    ),
    "new of torch.load": (HEAD, "  head: !new:torch.load [{marker}]\n"),
    "new of a foreign nn.Module": (HEAD, "  head: !new:torchvision.models.ResNet {}\n"),
    "new of a class that our module imports": (
        *(HEAD, "  head: !new:speechbrain_ser.models.heads.Classifier {}\n"),
    ),
    "new of a function of our module": (
        *(HEAD, "  head: !new:speechbrain_ser.models.encoders.load_model [evil/x]\n"),
    ),
    "new of SpeechBrain's fetching": (
        *(HEAD, "  head: !new:speechbrain.inference.interfaces.foreign_class {}\n"),
    ),
    "new of SpeechBrain's pretrainer": (
        *(HEAD, "  head: !new:speechbrain.utils.parameter_transfer.Pretrainer {}\n"),
    ),
    "new of our tool": (HEAD, "  head: !new:speechbrain_ser.campaign.launchers.execute {}\n"),
    "name": (HEAD, "  head: !name:os.system {}\n"),
    "module": (HEAD, "  head: !module:antigravity\n"),
    "include": (HEAD, "  head: !include:/etc/passwd\n"),
    "include above": (HEAD, "  head: !include:../../secret.yaml\n"),
    "copy": (HEAD, "  head: !copy <labels>\n"),
    "reference": (HEAD, "  head: !ref <model>\n"),
    "arithmetic": ("max_seconds: 15", "max_seconds: !ref 9 ** 9 ** 9"),
    "placeholder": ("max_seconds: 15", "max_seconds: !PLACEHOLDER"),
    "tuple": ("[angry, happy]\nreader", "!tuple (angry, happy)\nreader"),
    "python object": (HEAD, "  head: !!python/object/apply:os.system ['touch {marker}']\n"),
    "python name": (HEAD, "  head: !!python/name:os.system\n"),
    "python module": (HEAD, "  head: !!python/module:os\n"),
    "python tuple": (HEAD, "  head: !!python/tuple [1]\n"),
    "binary": (HEAD, "  head: !!binary AAAA\n"),
    "set": (HEAD, "  head: !!set {a, b}\n"),
    "merge": (READER, "reader: &r\n  a: 1\nmodel2:\n  <<: *r\n"),
    "alias": ("labels: [angry, happy]\nreader", "labels: [&l angry, *l]\nreader"),
    "a bomb of aliases": (
        *(
            "labels: [angry, happy]\nreader",
            "labels: [&a [x, x], &b [*a, *a], &c [*b, *b]]\nreader",
        ),
    ),
    "a key of its own": ("labels:", "pretrainer: {a: 1}\nlabels:"),
    "a mapping as a key": (
        READER,
        "reader: !new:speechbrain_ser.data.audio.SpeechReader\n  ? {a: 1}\n  : 1\n",
    ),
    "deep nesting": ("[angry, happy]\nreader", "[" * 60 + "]" * 60 + "\nreader"),
    "deeper nesting": ("[angry, happy]\nreader", "[" * 9000 + "]" * 9000 + "\nreader"),
    "length": ("[angry, happy]\nreader", "[" + "x, " * 400_000 + "]\nreader"),
    "a path": ("[angry, happy]\nreader", "[/etc/passwd, happy]\nreader"),
    "a path above": ("max_seconds: 15", "tiling: ../../x"),
    "a home": ("max_seconds: 15", "tiling: ~/x"),
    "an address": ("max_seconds: 15", "tiling: http://evil.example/x"),
    "an encoder to fetch": (SOURCE, "    source: evil/encoder\n"),
    "an encoder in a file": (SOURCE, "    source: config.json\n"),
    "remote code": ("wav2vec2\n", "wav2vec2\n      auto_map: {AutoModel: evil/x--m.M}\n"),
    "trusted remote code": ("wav2vec2\n", "wav2vec2\n      trust_remote_code: True\n"),
    "a kernel to fetch": ("wav2vec2\n", "wav2vec2\n      attn_implementation: evil/kernel\n"),
    "a kernel by another name": (
        *("wav2vec2\n", "wav2vec2\n      _attn_implementation: evil/kernel\n"),
    ),
    "an unknown encoder": ("model_type: wav2vec2", "model_type: evil"),
    "a hub id in a config": ("wav2vec2\n", "wav2vec2\n      hidden_act: evil/x\n"),
    "memory": ("hidden_size: 16", "hidden_size: 1000000000"),
    "layers": ("num_hidden_layers: 1", "num_hidden_layers: 100000"),
    "a number in disguise": ("num_hidden_layers: 1", "num_hidden_layers: 1_00_000"),
    # what another reader of yaml would make of a text
    "a tuple of PyYAML's": (
        *("    dim: 16\n  head", '    dim: (!!python/object/apply:os.system ["{marker}"])\n  head'),
    ),
    "a quoted tuple of PyYAML's": (
        *("frozen: cnn", "frozen: '(!!python/object/apply:os.system [\"touch {marker}\"])'"),
    ),
    "a tuple in the labels": (
        *("[angry, happy]\nreader", "['(!!python/name:os.system )', happy]\nreader"),
    ),
    "a plain tuple": ("frozen: cnn", "frozen: (1, 2)"),
    "a reference in quotes": ("frozen: cnn", "frozen: '<model>'"),
    "a tag in quotes": ("frozen: cnn", "frozen: '!apply:os.system [touch {marker}]'"),
    "a block scalar that is written back as structure": (
        "frozen: cnn",
        "frozen: |+\n      e\u2028\u2028\u2028\u2028x: 'aaa evil: !apply:os.system [a] # '",
    ),
    "a folded scalar": ("frozen: cnn", "frozen: >\n      a\n\n      b"),
    **{
        f"a label with {ord(sign):#06x}": (
            *("[angry, happy]\nreader", f'["an\\u{ord(sign):04x}gry", happy]\nreader'),
        )
        for sign in "\u0085\u2028\u2029\u200b\u00ad\ufeff\u0007\u001b\u202e\ud7ff"
    },
    **{
        f"a label that begins with {sign}": (
            *("[angry, happy]\nreader", f"['{sign}angry', happy]\nreader"),
        )
        for sign in "!&*<%@`/~"
    },
    "arguments without names": (
        HEAD,
        "  head: !new:speechbrain_ser.models.heads.LinearHead [16]\n",
    ),
    "an encoder by its place": (
        *(SOURCE, "    source: !new:speechbrain_ser.models.encoders.Encoder [evil/encoder]\n"),
    ),
    "a whole encoder by place": (
        GOOD[GOOD.index("  encoder:") : GOOD.index("  pooling:")],
        "  encoder: !new:speechbrain_ser.models.encoders.Encoder [evil/encoder]\n",
    ),
    "a text for arguments": (HEAD, "  head: !new:speechbrain_ser.models.heads.LinearHead 16\n"),
    "a key twice": ("    frozen: cnn\n", "    frozen: cnn\n    frozen: none\n"),
    "a key that is a number": ("    frozen: cnn\n", "    1: cnn\n"),
    "a key with a path": ("    frozen: cnn\n", "    /etc: cnn\n"),
    "an absent class": (HEAD, "  head: !new:speechbrain_ser.models.heads.Absent {}\n"),
    "a private function": (HEAD, "  head: !new:speechbrain_ser.models.safety._Reader {}\n"),
    "the module itself": (HEAD, "  head: !new:speechbrain_ser.models.heads {}\n"),
    "a class of torch": (HEAD, "  head: !new:torch.nn.Linear {in_features: 1, out_features: 1}\n"),
    "eval of torch's functions": (HEAD, "  head: !new:torch.jit.load {f: x}\n"),
    # sizes, before anything is allocated or looped
    "blocks without end": (
        *("MeanPooling\n    dim: 16", "ParallelAttentionPooling\n    dim: 16\n    blocks: 3000000"),
    ),
    "blocks by place": (
        GOOD[GOOD.index("  pooling:") : GOOD.index("  head:")],
        "  pooling: !new:speechbrain_ser.models.pooling.ParallelAttentionPooling [16, 3000000]\n",
    ),
    "layers of a GRU": (
        HEAD,
        "  head: !new:speechbrain.nnet.RNN.GRU\n    hidden_size: 2\n    input_size: 2\n"
        "    num_layers: 3000000\n",
    ),
    "blocks of a classifier": (
        HEAD,
        "  head: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier\n    input_size: 2\n"
        "    lin_blocks: 3000000\n",
    ),
    "adapters": ("model_type: wav2vec2", "model_type: wav2vec2\n      num_adapter_layers: 3000000"),
    "convolutions": ("conv_dim: [8, 8, 8, 8, 8, 8, 8]", f"conv_dim: {[8] * 100_000}"),
    "convolutions, fewer": ("conv_dim: [8, 8, 8, 8, 8, 8, 8]", f"conv_dim: {[8] * 65}"),
    "heads": ("num_attention_heads: 2", "num_attention_heads: 129"),
    "labels": ("[angry, happy]\nreader", f"{[f'l{i}' for i in range(10_001)]}\nreader"),
    "values": (
        "[angry, happy]\nreader",
        f"[{', '.join(['[a]'] * 64)}]\nreader".replace("a", "9" * 9),
    ),
    "classes": (
        HEAD,
        "  head:\n"
        + "".join(
            f"    m{i}: !new:speechbrain_ser.models.pooling.MeanPooling {{dim: 1}}\n"
            for i in range(301)
        ),
    ),
    "a width beyond all": ("hidden_size: 16", "hidden_size: 10000001"),
    "a number below all": ("hidden_size: 16", "hidden_size: -10000001"),
    "a longest time": ("max_seconds: 15", "max_seconds: 1.0e+12"),
    "a least time": ("max_seconds: 15", "min_seconds: 61"),
    "a negative time": ("max_seconds: 15", "max_seconds: -1"),
    "a rate of 1 Hz": ("max_seconds: 15", "sample_rate: 1"),
    "a rate of 1 GHz": ("max_seconds: 15", "sample_rate: 1000000000"),
    "no number": ("max_seconds: 15", "max_seconds: .nan"),
    "infinity": ("max_seconds: 15", "max_seconds: .inf"),
    "an octal number": ("hidden_size: 16", "hidden_size: 0o17"),
    "a hexadecimal number": ("hidden_size: 16", "hidden_size: 0x10"),
    "a date": ("max_seconds: 15", "max_seconds: !!timestamp 2020-01-01"),
    "a layer for a reader": (
        READER,
        "reader: !new:speechbrain.nnet.linear.Linear\n  n_neurons: 20000\n  input_size: 20000\n",
    ),
    "a layer in the reader": (
        *("max_seconds: 15", "max_seconds: !new:speechbrain.nnet.linear.Linear {n_neurons: 9}"),
    ),
    "whole: a layer in the labels": (
        "[angry, happy]\nreader",
        "[!new:speechbrain.nnet.linear.Linear {n_neurons: 20000, input_size: 20000}]\nreader",
    ),
    "whole: no reader": (READER, "reader: 3\n"),
    "whole: a model of words": (GOOD[GOOD.index("model:") :], "model: abc\n"),
    "whole: a list for a model": (GOOD[GOOD.index("model:") :], "model: [1]\n"),
    "whole: a mapping for a model": (GOOD[GOOD.index("model:") :], "model: {a: 1}\n"),
    "a path for a model": (GOOD[GOOD.index("model:") :], "model: /etc/passwd\n"),
    "whole: a number for labels": ("[angry, happy]\nreader", "3\nreader"),
    "whole: numbers for labels": ("[angry, happy]\nreader", "[1, 2]\nreader"),
    "whole: a label twice": ("[angry, happy]\nreader", "[angry, angry]\nreader"),
    "whole: an empty label": ("[angry, happy]\nreader", "['', happy]\nreader"),
    "positions": (
        "model_type: wav2vec2",
        "model_type: wav2vec2\n      num_codevectors_per_group: 9000",
    ),
    "layers in all": (
        HEAD,
        "  head:\n"
        + "".join(
            f"    m{i}: !new:speechbrain.nnet.RNN.GRU {{hidden_size: 1, num_layers: 128}}\n"
            for i in range(16)
        ),
    ),
    "no mapping": (GOOD, "- 1\n"),
    "nothing": (GOOD, ""),
    "no yaml": (GOOD, "{a: [1\n"),
    "control characters": (GOOD, "labels: \x07\x00\n"),
    "two documents": (GOOD, GOOD + "---\n" + GOOD),
}


@pytest.fixture
def model(tmp_path) -> Path:
    """A good model folder."""
    folder = tmp_path / "best"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text(GOOD)
    network = hp.build(hp.load_tree(GOOD))["model"]
    safetensors.torch.save_file(network.state_dict(), folder / "model.safetensors")
    return folder


def test_a_good_model_loads(model):
    assert EmotionRecognizer.from_hparams(model).hparams.labels == ["angry", "happy"]


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_hostile_model_is_refused_and_nothing_runs(model, trick, tmp_path, monkeypatch):
    marker = tmp_path / "it_ran"
    old, new = HOSTILE[trick]
    assert old in GOOD
    text = GOOD.replace(old, new.replace(RUN, str(marker)), 1)
    (model / "hyperparams.yaml").write_text(text)
    monkeypatch.setattr(hyperpyyaml, "load_hyperpyyaml", lambda *_: pytest.fail("HyperPyYAML"))
    with pytest.raises(InputError) as refusal:
        EmotionRecognizer.from_hparams(model)
    assert not marker.exists()
    sentence = str(refusal.value)
    assert str(model / "hyperparams.yaml") in sentence and len(sentence) < 600
    whole = ("no mapping", "nothing", "no yaml", "control", "two documents", "length", "deeper")
    whole += ("whole", "a layer for", "a layer in the reader")
    if not trick.startswith(whole):
        assert ", line " in sentence


@pytest.mark.parametrize("trick", ["a quoted tuple of PyYAML's", "a label with 0x2028", "apply"])
def test_a_hostile_earlier_phase_is_refused(model, trick, tmp_path):
    marker = tmp_path / "it_ran"
    old, new = HOSTILE[trick]
    text = GOOD.replace(old, new.replace(RUN, str(marker)), 1)
    (model / "hyperparams.yaml").write_text(text)
    yaml = RECIPES / "IEMOCAP/hparams/fusion.yaml"
    words = tiny(yaml, tmp_path / "results", "--speaker_best", str(model))
    with pytest.raises(InputError, match="hyperparams.yaml, line "):
        run(yaml, [*words, "--emotion_best", str(model)])
    assert not marker.exists()


def test_what_is_read_is_read_alike_by_hyperpyyaml(model):
    """An earlier phase's description goes into the run's tree, which HyperPyYAML reads."""
    texts = [
        "a b",
        "x: y",
        "- x",
        "a # b",
        "1",
        "1.0",
        "true",
        "null",
        "",
        "'",
        '"',
        "\u0105",
        "a,b",
    ]
    for text in texts:
        quoted = json.dumps(text, ensure_ascii=False)
        tree = safety.read(f"model: {{a: {quoted}, b: [{quoted}]}}\n", "x")
        again = hyperpyyaml.load_hyperpyyaml(hp.dump(tree))
        assert again["model"] == tree["model"] == {"a": text, "b": [text]}


def test_only_splits_and_corpora_of_a_run_are_called(tmp_path):
    build, allowed = plot_embeddings.safety.build, plot_embeddings.is_of_a_corpus
    good = hp.load_tree("split: !name:speechbrain_ser.data.splits.by_actor {n_folds: 3}")["split"]
    assert build(good, allowed).keywords == {"n_folds": 3}
    for bad in (
        "!name:os.system {}",
        "!apply:os.system ['touch it_ran']",
        "!new:speechbrain_ser.data.splits.NoSuchFold {message: a, count: 1}",
        "!name:speechbrain_ser.data.splits.speakers.random.Random {}",
        "!name:speechbrain_ser.data.splits.check_parts {}",
        "!name:speechbrain_ser.data.splits.entries.require {}",
        "!name:speechbrain_ser.data.splits.sessions._balanced {}",
        "!name:speechbrain_ser.data.corpora.download.fetch {url: x}",
        "!name:speechbrain_ser.data.corpora.iemocap.Path {}",
        "!ref <a>",
    ):
        with pytest.raises(InputError, match="is not called"):
            build(hp.load_tree(f"split: {bad}\n")["split"], allowed)


def test_the_line_is_the_line(model):
    text = GOOD.replace("    dim: 16\n    labels", "    dim: !apply:os.getpid []\n    labels")
    (model / "hyperparams.yaml").write_text(text)
    line = text.splitlines().index("    dim: !apply:os.getpid []") + 1
    with pytest.raises(InputError, match=f"hyperparams.yaml, line {line}: !apply:os.getpid"):
        saved.description(model)


def test_a_description_that_is_no_text(model):
    (model / "hyperparams.yaml").write_bytes(b"\xff\xfe\x00labels")
    with pytest.raises(InputError, match="hyperparams.yaml is no text"):
        saved.description(model)


def test_a_pickle_in_the_place_of_weights_is_not_read(model, tmp_path):
    marker = tmp_path / "it_ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (marker,)

    torch.save({"a": Evil()}, model / "model.safetensors")
    with pytest.raises(InputError, match="does not hold this model's weights"):
        EmotionRecognizer.from_hparams(model)
    shutil.move(model / "model.safetensors", model / "model.ckpt")
    with pytest.raises(InputError, match="has no model.safetensors"):
        EmotionRecognizer.from_hparams(model)
    assert not marker.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("head.weight"),
        lambda weights: weights.update(more=torch.zeros(1)),
        lambda weights: weights.update({"head.weight": torch.zeros(3, 16)}),
        lambda weights: weights.clear(),
    ],
    ids=["missing", "more", "another shape", "none"],
)
def test_weights_that_are_another_model_s_are_refused(model, change):
    weights = safetensors.torch.load_file(model / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, model / "model.safetensors")
    with pytest.raises(InputError, match="tensors differ: "):
        EmotionRecognizer.from_hparams(model)


def test_labels_that_are_not_the_head_s_are_refused(model):
    text = GOOD.replace("labels: [angry, happy]\nreader", "labels: [a, b, c]\nreader")
    (model / "hyperparams.yaml").write_text(text)
    with pytest.raises(InputError, match="names 3 labels for 2 classes"):
        EmotionRecognizer.from_hparams(model)


def test_a_size_that_the_weights_do_not_have_takes_no_memory(model):
    text = GOOD.replace("hidden_size: 16", "hidden_size: 65536")
    text = text.replace("intermediate_size: 16", "intermediate_size: 1000000")
    text = text.replace("dim: 16", "dim: 65536")
    (model / "hyperparams.yaml").write_text(text)  # 524 GB, if it were built
    with pytest.raises(InputError, match="tensors differ"):
        EmotionRecognizer.from_hparams(model)


def test_arguments_that_build_nothing_are_a_sentence(model):
    for old, new in (
        ("dim: 16", "dim: -3"),
        ("dim: 16", "width: 16"),
        ("conv_dim: [8,", "conv_dim: ["),
    ):
        (model / "hyperparams.yaml").write_text(GOOD.replace(old, new))
        with pytest.raises(InputError):
            EmotionRecognizer.from_hparams(model)


def test_a_user_s_own_class_is_loaded_where_the_user_says_so(model, tmp_path, monkeypatch):
    (tmp_path / "mylab.py").write_text(
        "from speechbrain_ser.models.heads import LinearHead as Mine\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = GOOD.replace("speechbrain_ser.models.heads.LinearHead", "mylab.Mine")
    (model / "hyperparams.yaml").write_text(text)
    with pytest.raises(InputError, match="line 18: .*mylab.Mine.*SER_TRUSTED_MODULES=mylab"):
        EmotionRecognizer.from_hparams(model)
    monkeypatch.setenv("SER_TRUSTED_MODULES", "other,mylab")
    EmotionRecognizer.from_hparams(model)


def test_what_the_recipes_export_is_allowed(runs):
    found = list(runs.glob("*/fold1/*/best"))
    assert len(found) > 6
    for folder in found:
        saved.checked(folder)


def test_every_class_that_a_yaml_puts_into_its_model_or_reader_is_allowed():
    for path in YAMLS:
        tree = hp.read(path)
        for name in _classes({key: tree[key] for key in ("reader", "model") if tree.get(key)}):
            assert safety.is_model_class(name), (path, name)


def _classes(node):
    tag = hp.tag_of(node)
    if tag.startswith("!new:"):
        yield tag.removeprefix("!new:")
    for value in (
        node.values() if hasattr(node, "values") else node if isinstance(node, list) else ()
    ):
        yield from _classes(value)


def test_classes_of_the_rows_are_allowed():
    """What RESULTS.csv swaps in, too."""
    import csv
    import re

    for path in RECIPES.glob("*/RESULTS.csv"):
        for row in csv.DictReader(path.read_text().splitlines()):
            for name in re.findall(r"!new:(speechbrain_ser\.models[\w.]+)", row["overrides"]):
                assert safety.is_model_class(name), name


def test_broken_facts_beside_a_model_are_a_sentence(model):
    for text in ('{"a": ', '[{"corpus": "c"}]', '{"c": {"speakers": [1], "utterances": []}}', "1"):
        (model / "trained_on.json").write_text(text)
        with pytest.raises(InputError, match="trained_on.json is damaged"):
            saved.trained_on(model)
    known = [seen.entry("c", "salt", ["s"], ["u"])]
    (model / "trained_on.json").write_text(json.dumps(known))
    assert saved.trained_on(model) == known
