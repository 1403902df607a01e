"""Networks without PyTorch: ONNX graphs answer as the networks that they were made of."""

import ast
import importlib.util
import json
import logging
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from conftest import TINY, ser
from test_wav2vec2_bert import SMALL as BERT
from test_whisper import SMALL as WHISPER

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.classifier import Classifier
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.ensemble import Ensemble
from speechbrain_ser.models.frontends import EncoderLayers, PooledLayers
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.pooling import AttentionMaxPooling, MeanPooling
from speechbrain_ser.models.probe import Branch, LstmBody, Probe
from speechbrain_ser.sharing import graphs
from speechbrain_ser.sharing.onnx import OnnxNetwork

LABELS = ["angry", "sad", "neutral"]
DESCRIPTION = f"labels: {LABELS}\nreader: !new:speechbrain_ser.data.audio.SpeechReader\n"


def network(config: dict, pooling=MeanPooling) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Encoder(config), pooling(16), LinearHead(16, LABELS)).eval()


def compare_in_graph(model, folder, time: int, shares: list[float]) -> None:
    """A padded batch's probabilities are those of the network, whatever lies behind each row."""
    graphs.export(model, DESCRIPTION, folder / "model.onnx")
    graph = OnnxNetwork(folder / "model.onnx")
    speech, lens = torch.randn(len(shares), time), torch.tensor(shares)
    with torch.no_grad():
        wanted = model.head.probs(model(speech, lens))
    torch.testing.assert_close(graph.probs(graph(speech, lens)), wanted, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """A run with nearest neighbours, a GroupNorm encoder below them, as ONNX; and what was said."""
    folder = tmp_path_factory.mktemp("onnx") / "exported"
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        assert ser("export", runs / "knn/fold1/1000", "--out", folder) == 0
    return folder, "\n".join(lines)


def test_a_run_s_test_files_tell_what_int8_costs(exported, runs):
    import onnx

    folder, said = exported
    table = [line.split() for line in said.splitlines() if line[:8].strip() in said][-3:]
    results = json.loads((runs / "knn/fold1/1000/results.json").read_text())
    assert [row[0] for row in table] == ["PyTorch", "float32", "int8"]
    for row in table[:2]:
        assert float(row[1]) == pytest.approx(results["WA"], abs=0.01)
        assert float(row[2]) == pytest.approx(results["UA"], abs=0.01)
    assert float(table[1][4]) < 1e-5 < float(table[2][4])
    network = onnx.load(folder / "model.onnx").graph
    weights = {item.name for item in network.initializer}
    assert not any(n.op_type == "Transpose" and n.input[0] in weights for n in network.node)
    names = ["README.md", "model.int8.onnx", "model.onnx"]
    assert sorted(path.name for path in folder.iterdir()) == names
    sizes = [(folder / name).stat().st_size for name in ("model.int8.onnx", "model.onnx")]
    assert sizes[0] < sizes[1]


def test_its_page_holds_a_program_without_torch(exported, tmp_path):
    """Of a recording that is cut to the reader's window, and of one that is not."""
    (program,) = re.findall(r"```python\n(.*?)```", (exported[0] / "README.md").read_text(), re.S)
    program += "import sys\nassert not {'torch', 'speechbrain_ser'} & set(sys.modules)\n"
    shutil.copy(exported[0] / "model.onnx", tmp_path)
    recognizer = EmotionRecognizer.from_hparams(exported[0] / "model.onnx")
    for seconds in (1.3, 20):
        noise = 0.1 * np.random.default_rng(1).standard_normal(round(16_000 * seconds))
        soundfile.write(tmp_path / "speech.wav", noise, 16_000)
        words = [sys.executable, "-c", program]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        wanted = recognizer.classify_file(tmp_path / "speech.wav").probs
        assert ast.literal_eval(done.stdout) == pytest.approx(wanted, abs=1e-5)


def test_onnx_answers_as_the_model_alone_in_batches_and_on_the_command_line(
    exported, runs, tmp_path, capsys
):
    chance = np.random.default_rng(0)
    paths = []
    for number, seconds in enumerate((0.4, 2.2, 1.1, 3.7)):
        paths.append(str(tmp_path / f"{number}.wav"))
        soundfile.write(paths[-1], 0.1 * chance.standard_normal(round(22_050 * seconds)), 22_050)
    recognizer = EmotionRecognizer.from_hparams(exported[0] / "model.onnx")
    wanted = EmotionRecognizer.from_hparams(runs / "knn/fold1/1000/best").classify_files(paths)
    for batch_size in (1, 3):
        for found, emotion in zip(
            recognizer.classify_files(paths, batch_size), wanted, strict=True
        ):
            assert found.label == emotion.label
            assert found.probs == pytest.approx(emotion.probs, abs=1e-5)
    assert ser("classify", exported[0] / "model.onnx", *paths, "--json") == 0
    for line, emotion in zip(capsys.readouterr().out.splitlines(), wanted, strict=True):
        assert json.loads(line)["probs"] == pytest.approx(emotion.probs, abs=1e-5)
    with pytest.raises(InputError, match="no embedding"):
        recognizer.embed(paths)


def test_int8_is_close(exported, runs):
    speech, lens = torch.randn(2, 30_000), torch.tensor([1.0, 0.4])
    small = EmotionRecognizer.from_hparams(exported[0] / "model.int8.onnx")
    whole = EmotionRecognizer.from_hparams(exported[0] / "model.onnx")
    difference = small.classify_batch(speech, lens) - whole.classify_batch(speech, lens)
    assert 0 < difference.abs().max() < 0.1


def test_attention_over_a_padded_batch(tmp_path):
    model = network(TINY | {"model_type": "wavlm"}, AttentionMaxPooling)
    graphs.export(model, DESCRIPTION, tmp_path / "model.onnx")
    graph = OnnxNetwork(tmp_path / "model.onnx")
    assert graph.session.get_inputs()[0].shape == ["batch", "time"]
    speech, lens = torch.randn(3, 24_000), torch.tensor([1.0, 0.21, 0.62])
    with torch.no_grad():
        wanted = torch.cat(
            [
                model(item[:, : round(24_000 * float(part))], torch.ones(1))
                for item, part in zip(speech.split(1), lens, strict=True)
            ]
        )
    torch.testing.assert_close(graph.probs(graph(speech, lens)), wanted.softmax(1))


def test_an_encoder_that_takes_one_utterance_at_a_time(tmp_path):
    model = network(TINY | {"model_type": "hubert", "conv_pos_batch_norm": True})
    graphs.export(model, DESCRIPTION, tmp_path / "model.onnx")
    assert model.encoder.one_by_one and model.encoder.padding == "exact"
    graph = OnnxNetwork(tmp_path / "model.onnx")
    assert graph.alone
    assert graphs.check(model, graph) < 1e-6


@pytest.mark.parametrize(
    "config",
    [WHISPER, pytest.param(TINY, marks=pytest.mark.slow)],
    ids=["whisper", "wav2vec2"],
)
def test_layers_of_copies_are_in_the_graph(config, tmp_path):
    """Recordings resampled, layers pooled, normalised and averaged: padding changes nothing."""
    torch.manual_seed(0)
    frontend = PooledLayers(Encoder(config), [0, 1], speeds=[1.25])
    branch = Branch(frontend, 8)
    torch.nn.init.normal_(branch.mean)
    model = Probe([branch], None, LinearHead(8, LABELS), "global").eval()
    compare_in_graph(model, tmp_path, 24_003, [1.0, 0.31, 0.1])


@pytest.mark.parametrize(
    ("probe", "sentence"),
    [
        (lambda layers: Probe([Branch(layers, 8)], None, LinearHead(8, LABELS)), "by speaker"),
        (
            lambda layers: Probe([Branch(layers, 8)], LstmBody(8), LinearHead(8, LABELS), "none"),
            "LstmBody has no ONNX graph",
        ),
    ],
)
def test_a_probe_without_a_graph_is_a_sentence(probe, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        graphs.export(probe(EncoderLayers(Encoder(TINY))), DESCRIPTION, tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


def test_missing_packages_are_a_sentence(runs, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    absent = {"onnxscript", "onnxruntime"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else find(name)
    )
    assert ser("export", runs / "knn/fold1/1000", "--out", tmp_path / "out") == 2
    assert "the packages onnxscript, onnxruntime are missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert logging.getLogger().isEnabledFor(logging.WARNING), "others may log afterwards"


def test_what_cannot_be_exported_is_a_sentence(runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert ser("export", runs / "asr_gender/fold1/1000", "--out", out) == 2
    assert "first phase" in capsys.readouterr().err
    assert ser("export", tmp_path / "absent", "--out", out) == 2
    assert "neither a local model folder nor" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    assert ser("export", runs / "knn/fold1/1000", "--out", out) == 2
    assert "is there already" in capsys.readouterr().err
    with pytest.raises(InputError, match="export them alone"):
        graphs.export(Ensemble({}), DESCRIPTION, tmp_path / "model.onnx")


def test_a_graph_that_answers_otherwise_is_not_written():
    other = network(TINY)
    other.probs = other.head.probs
    assert graphs.check(network(TINY), other) == 0
    torch.nn.init.constant_(other.head.bias, 0.3)
    other.head.bias.data[0] = 0
    with pytest.raises(InputError, match="it is not written"):
        graphs.check(network(TINY), other)


def test_what_is_no_exported_file_is_a_sentence(exported, tmp_path):
    import onnx

    with pytest.raises(InputError, match="no such file"):
        EmotionRecognizer.from_hparams(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(InputError, match="is no ONNX network"):
        EmotionRecognizer.from_hparams(tmp_path / "text.onnx")
    model = onnx.load(exported[0] / "model.onnx")
    model.metadata_props[0].value = "labels: !apply:os.getcwd []\n"
    onnx.save(model, tmp_path / "hostile.onnx")
    with pytest.raises(InputError, match="line 1.*can call or read anything"):
        EmotionRecognizer.from_hparams(tmp_path / "hostile.onnx")


def graph(*nodes, initializers=()):
    """A graph of an export's inputs and output, with these nodes."""
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info("speech", TensorProto.FLOAT, [1, None]),
        helper.make_tensor_value_info("samples", TensorProto.INT64, [1]),
    ]
    outputs = [helper.make_tensor_value_info("probs", TensorProto.FLOAT, None)]
    made = helper.make_graph(list(nodes), "g", inputs, outputs, list(initializers))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.metadata_props.add(key="hyperparams", value=DESCRIPTION)
    return model


def test_a_hostile_graph_is_a_sentence(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    path = tmp_path / "hostile.onnx"
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    endless = helper.make_node("Loop", ["", "yes", "speech"], ["probs"], body=body)
    onnx.save(graph(endless, initializers=[yes]), path)
    with pytest.raises(InputError, match="holds 'Loop'"):
        EmotionRecognizer.from_hparams(path)
    foreign = helper.make_node("Evil", ["speech"], ["probs"], domain="evil.example")
    onnx.save(graph(foreign), path)
    with pytest.raises(InputError, match="holds 'Evil'"):
        EmotionRecognizer.from_hparams(path)
    twice = [helper.make_node("f", [x], [y], domain="own") for x, y in (("a", "b"), ("b", "c"))]
    nested = graph(helper.make_node("Identity", ["speech"], ["probs"]))
    nested.functions.append(
        helper.make_function("own", "f", ["a"], ["c"], twice, [helper.make_opsetid("own", 1)])
    )
    onnx.save(nested, path)
    with pytest.raises(InputError, match="no graph as an export writes it"):
        EmotionRecognizer.from_hparams(path)
    outside = helper.make_tensor("w", TensorProto.FLOAT, [2], [0.0, 0.0])
    outside.ClearField("float_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../../etc/passwd")
    used = helper.make_node("Add", ["speech", "w"], ["probs"])
    onnx.save(graph(used, initializers=[outside]), path)
    with pytest.raises(InputError, match="only its own .data is read"):
        EmotionRecognizer.from_hparams(path)
    onnx.save(graph(helper.make_node("Identity", ["speech"], ["probs"])), path)
    with pytest.raises(InputError, match="where its description has 3 probs of each recording"):
        OnnxNetwork(path)(torch.zeros(1, 16_000), torch.ones(1))


def test_a_graph_that_asks_for_all_memory_is_a_sentence(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    wide = helper.make_tensor("wide", TensorProto.INT64, [1], [10_000_000_000])  # 40 GB
    nodes = [
        helper.make_node("ConstantOfShape", ["wide"], ["filled"]),
        helper.make_node("ReduceSum", ["filled"], ["sum"], keepdims=0),
        helper.make_node("Add", ["speech", "sum"], ["probs"]),
    ]
    onnx.save(graph(*nodes, initializers=[wide]), tmp_path / "wide.onnx")
    network = OnnxNetwork(tmp_path / "wide.onnx")
    with pytest.raises(InputError, match="the ONNX network failed"):
        network(torch.zeros(1, 16_000), torch.ones(1))


def test_a_graph_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    import onnx
    from onnx import TensorProto, helper

    size = helper.make_tensor("size", TensorProto.INT64, [2], [3000, 3000])
    ones = helper.make_tensor("one", TensorProto.FLOAT, [1], [0.0])
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["m0"], value=ones)]
    nodes += [helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(2000)]
    nodes += [helper.make_node("ReduceSum", ["m2000"], ["sum"], keepdims=0)]
    nodes += [helper.make_node("Add", ["speech", "sum"], ["probs"])]
    onnx.save(graph(*nodes, initializers=[size]), tmp_path / "long.onnx")
    monkeypatch.setattr("speechbrain_ser.sharing.onnx.LONGEST", 0.2)
    network = OnnxNetwork(tmp_path / "long.onnx")
    with pytest.raises(InputError, match="the ONNX network failed"):
        network(torch.zeros(1, 16_000), torch.ones(1))


@pytest.mark.parametrize(
    "description",
    [
        'labels: [a]\nreader: (!!python/object/apply:os.system ["touch it_ran"])\n',
        "labels: ['(!!python/name:os.system )']\nreader: {}\n",
        "labels: [a]\nreader: !new:speechbrain_ser.data.audio.SpeechReader {sample_rate: 1}\n",
        "labels: [a]\nreader: !new:speechbrain_ser.data.audio.SpeechReader {min_seconds: 1.0e+9}\n",
        'labels: ["\\u2028"]\nreader: {}\n',
        "labels: [a]\nreader: !new:speechbrain.nnet.linear.Linear {n_neurons: 9, input_size: 9}\n",
        "labels: [a, a]\nreader: !new:speechbrain_ser.data.audio.SpeechReader\n",
        "labels: [a]\n",
        "labels: [a]\nreader: !new:speechbrain_ser.data.audio.SpeechReader\nranges: {a: [2, 1]}\n",
        "labels: [a]\nreader: !new:speechbrain_ser.data.audio.SpeechReader\nranges: [[0, 1]]\n",
        "",
    ],
)
def test_hostile_metadata_is_a_sentence(description, tmp_path, monkeypatch):
    import onnx
    from onnx import helper

    monkeypatch.chdir(tmp_path)
    model = graph(helper.make_node("Identity", ["speech"], ["probs"]))
    model.metadata_props[0].value = description
    onnx.save(model, "hostile.onnx")
    with pytest.raises(InputError, match="hostile.onnx"):
        EmotionRecognizer.from_hparams("hostile.onnx")
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize(
    "config",
    [WHISPER, pytest.param(BERT, marks=pytest.mark.slow)],
    ids=["whisper", "wav2vec2-bert"],
)
def test_a_spectrogram_is_in_the_graph(config, tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(config, frozen="all")
    model = Classifier(encoder, MeanPooling(16), LinearHead(16, LABELS)).eval()
    compare_in_graph(model, tmp_path, 16_000, [1.0, 0.5, 0.1])


def test_an_exported_folder_answers_without_hugging_face(exported, tmp_path):
    """Whose import takes seconds: an encoder is part of the graph."""
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    words = ["classify", "--json", str(exported[0]), str(tmp_path / "a.wav")]
    code = (
        f"import sys; from speechbrain_ser.__main__ import main; status = main({words!r}); "
        "sys.exit(status or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    own = EmotionRecognizer.from_hparams(exported[0] / "model.onnx")
    assert json.loads(done.stdout)["probs"] == own.classify_file(tmp_path / "a.wav").probs
