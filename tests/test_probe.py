"""Pepino 2021's frontends and networks, against loops, Hugging Face, openSMILE and the paper."""

import csv
import importlib.util
import json
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import torch
from conftest import RECIPES, TINY, run, ser, tiny
from test_tools import shades
from torch import nn

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.data import splits
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.frontends import Egemaps, EncoderLayers, Spectrogram
from speechbrain_ser.models.heads import LinearHead
from speechbrain_ser.models.probe import Branch, DenseBody, LstmBody, Probe, _ScaledSum

LABELS = ["angry", "happy", "neutral", "sad"]
needs_opensmile = pytest.mark.skipif(
    importlib.util.find_spec("opensmile") is None, reason="needs speechbrain-ser[egemaps]"
)


class Numbers(nn.Module):
    """A frontend in name: tests give its features themselves."""

    def __init__(self, layers: int, dim: int, downsample: int = 1, scalar: bool = False):
        super().__init__()
        self.shape = (layers, dim)
        self.downsample = downsample
        self.scalar = scalar


def features(*frames: int, layers: int = 1, dim: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random features of so many frames each, with junk behind the shorter ones."""
    return torch.randn(len(frames), max(frames), layers, dim), torch.tensor(frames)


def speech(seconds: float = 1.0, items: int = 1) -> torch.Tensor:
    time = torch.arange(round(seconds * 16_000)) / 16_000
    tone = 0.3 * torch.sin(2 * torch.pi * 180 * time) * (1 + 0.5 * torch.sin(20 * time))
    return tone + 0.01 * torch.randn(items, len(time))


def probe(*branches: Branch, body: nn.Module | None = None, normalise_by: str = "none") -> Probe:
    width = branches[0].dense.out_features
    body = body or DenseBody(width * len(branches), width)
    return Probe(branches, body, LinearHead(body_width(body), LABELS), normalise_by)


def body_width(body: nn.Module) -> int:
    return body.dense.out_features if isinstance(body, DenseBody) else body.lstm.hidden_size


def trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("classes", [4, 7, 8])
def test_the_dense_network_s_parameters(classes):
    branch = Branch(Numbers(13, 768))
    model = Probe([branch], DenseBody(), LinearHead(128, range(classes)))
    assert trainable(model) == 13 + 98_432 + 16_512 + 129 * classes


def test_the_other_networks_parameters():
    layers, egemaps = Branch(Numbers(13, 768)), Branch(Numbers(1, 25, downsample=2))
    assert trainable(probe(egemaps)) == 128 * 26 + 16_512 + 129 * 4
    both = 13 + 98_432 + 128 * 26 + 128 * 257 + 129 * 4
    assert trainable(probe(layers, egemaps)) == both
    keras = 4 * ((128 + 128) * 128 + 128)  # one bias
    assert trainable(probe(layers, body=LstmBody())) == 13 + 98_432 + keras + 129 * 4


def test_weights_start_as_keras_do():
    model = probe(Branch(Numbers(13, 768)), body=LstmBody())
    dense, lstm = model.branches[0].dense, model.body.lstm
    for layer in (dense, model.head):
        limit = (6 / sum(layer.weight.shape)) ** 0.5
        assert 0.98 * limit < layer.weight.abs().max() <= limit
        assert not layer.bias.any()
    square = lstm.weight_hh_l0.T @ lstm.weight_hh_l0
    torch.testing.assert_close(square, torch.eye(128), atol=1e-4, rtol=0)
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).reshape(4, 128)  # input, forget, cell, output
    assert bias.mean(dim=1).tolist() == [0, 1, 0, 0]


def test_the_average_over_layers_by_a_loop():
    branch = Branch(Numbers(3, 2))
    with torch.no_grad():
        branch.layer_weights.copy_(torch.tensor([2.0, -1.0, 0.5]))
    values, frames = features(4, 2, layers=3, dim=2)
    mean, deviation = torch.randn(2, 3, 2), torch.rand(2, 3, 2) + 0.5
    found, _ = branch.prepare((values, frames), (mean, deviation))
    share = [2 / 3.5, 1 / 3.5, 0.5 / 3.5]
    for item in range(2):
        for frame in range(4):
            expected = torch.zeros(2)
            for layer in range(3):
                z = (values[item, frame, layer] - mean[item, layer]) / deviation[item, layer]
                expected += share[layer] * z
            if frame >= frames[item]:
                expected = torch.zeros(2)
            torch.testing.assert_close(found[item, frame], expected)


@pytest.mark.parametrize("dtype", [torch.double, torch.half])
def test_the_sum_over_layers_has_autograd_s_gradient(dtype):
    values = torch.randn(2, 5, 3, 4, dtype=dtype)
    scale = torch.randn(2, 3, 4, dtype=torch.double, requires_grad=True)
    expected = (values.double() * scale[:, None]).sum(dim=2)
    torch.testing.assert_close(_ScaledSum.apply(values, scale), expected)
    assert torch.autograd.gradcheck(lambda own: _ScaledSum.apply(values, own), [scale])


@pytest.mark.parametrize("frames", [1, 2, 5, 6, 9, 10, 11])
def test_frames_of_10_ms_are_averaged_in_pairs(frames):
    """The authors' code: zeros up to the next even number, two of them if it is even already."""
    branch = Branch(Numbers(1, 3, downsample=2), crop_frames=5)
    values, counts = features(frames, 12)
    found, lengths = branch.prepare((values, counts))
    padded = torch.cat([values[0, :frames, 0], torch.zeros(2 - frames % 2, 3)])
    expected = torch.stack([(padded[i] + padded[i + 1]) / 2 for i in range(0, len(padded), 2)])
    assert lengths[0] == min(len(expected), 5)
    torch.testing.assert_close(found[0, : lengths[0]], expected[:5])
    assert not found[0, lengths[0] :].any()


@pytest.mark.parametrize("frames", [5, 6])
def test_pairs_are_averaged_before_they_are_normalised(frames):
    """The authors' order: the zeros behind an utterance are features of value zero."""
    branch = Branch(Numbers(1, 3, downsample=2), crop_frames=9)
    branch.mean[:], branch.deviation[:] = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([2.0, 1, 4])
    values, counts = features(frames, 12)
    found, lengths = branch.prepare((values, counts))
    raw = [*values[0, :frames, 0].double(), *torch.zeros(2 - frames % 2, 3).double()]
    expected = [
        ((raw[i] + raw[i + 1]) / 2 - branch.mean[0].double()) / branch.deviation[0].double()
        for i in range(0, len(raw), 2)
    ]
    assert lengths[0] == len(expected)
    torch.testing.assert_close(found[0, : lengths[0]].double(), torch.stack(expected))


def test_a_spectrogram_of_10_ms_reaches_as_far_as_one_of_20(tmp_path):
    fine = Branch(Spectrogram(hop=160, scalar=False, downsample=2), crop_frames=250)
    coarse = Branch(Spectrogram(hop=320), crop_frames=250)
    seconds = torch.tensor([16_000 * 4])
    for branch in (fine, coarse):
        frames = branch.frontend.num_frames(seconds) // branch.frontend.downsample
        assert branch.longest // branch.frontend.downsample == 250 and abs(int(frames) - 200) <= 1


def test_what_is_cut_off_need_not_be_read():
    branch = Branch(Numbers(1, 3, downsample=2), crop_frames=4)
    assert branch.longest == 8
    values, counts = features(20)
    whole = branch.prepare((values, counts))
    cut = branch.prepare((values[:, : branch.longest], counts.clamp(max=branch.longest)))
    torch.testing.assert_close(whole, cut)


def test_scalar_normalisation_by_numpy():
    values = torch.rand(50, 1, 257) * torch.linspace(0.1, 9, 257)
    deviation, mean = torch.std_mean(values, dim=0, correction=0)
    found = Branch(Numbers(1, 257, scalar=True)).normalisation(mean, deviation)
    for statistic, expected in zip(found, (values.mean(), values.numpy().std()), strict=True):
        torch.testing.assert_close(statistic, torch.full((1, 257), float(expected)))
    kept = Branch(Numbers(1, 257)).normalisation(mean, deviation)
    assert torch.equal(kept[0], mean) and torch.equal(kept[1], deviation)


def test_what_never_varies_is_not_divided_by_zero():
    _, deviation = Branch(Numbers(1, 2)).normalisation(torch.zeros(1, 2), torch.tensor([[0.0, 2]]))
    assert deviation.tolist() == [[1, 2]]


def test_dropout_stands_before_each_layer_and_not_before_the_classifier():
    model = probe(Branch(Numbers(13, 768)), Branch(Numbers(1, 25)))
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module is not model.head.dropout:
            assert module.p == 0.2
            module.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[-1]))
    model.train().classify([features(4, layers=13, dim=768), features(4, dim=25)])
    assert model.head.dropout.p == 0
    assert seen == [768, 25, 256]  # the features themselves, then both branches side by side


def test_the_dense_network_by_a_loop():
    model = probe(Branch(Numbers(1, 3), width=4)).eval()
    values, frames = features(5, 3)
    logits = model.classify([(values, frames)])
    first, second = model.branches[0].dense, model.body.dense
    for item, n in enumerate(frames.tolist()):
        pooled = torch.zeros(4)
        for frame in range(n):
            hidden = (first.weight @ values[item, frame, 0] + first.bias).relu()
            pooled += (second.weight @ hidden + second.bias).relu() / n
        expected = model.head.weight @ pooled + model.head.bias
        torch.testing.assert_close(logits[item], expected)


def test_the_last_branch_s_frames_count_in_fusion():
    model = probe(Branch(Numbers(1, 3), width=4), Branch(Numbers(1, 2), width=4)).eval()
    nn.init.normal_(model.branches[0].dense.bias)  # so that filled frames are seen
    longer, shorter = features(6), features(3)
    acoustic = features(4, dim=2)
    cut = model.classify([longer, acoustic])
    first_four = (longer[0][:, :4], torch.tensor([4]))
    torch.testing.assert_close(cut, model.classify([first_four, acoustic]))
    filled = torch.cat([shorter[0], torch.zeros(1, 1, 1, 3)], dim=1), torch.tensor([4])
    torch.testing.assert_close(
        model.classify([shorter, acoustic]), model.classify([filled, acoustic])
    )


@pytest.mark.parametrize("body", [DenseBody, LstmBody])
def test_a_batch_changes_no_answer(body):
    model = probe(Branch(EncoderLayers(Encoder(TINY)), width=8), body=body(8, 8)).eval()
    lengths = [16_000, 9_000, 4_321]
    batch = speech(items=3)
    together = model(batch, torch.tensor(lengths) / 16_000)
    for item, samples in enumerate(lengths):
        alone = model(batch[item : item + 1, :samples], torch.ones(1))
        torch.testing.assert_close(together[item : item + 1], alone, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("body", [DenseBody(6, 4), LstmBody(6, 4)])
def test_what_does_not_wait_for_lengths_gives_the_same(body, monkeypatch):
    model = probe(*(Branch(Numbers(1, 3), width=3) for _ in range(2)), body=body).eval()
    encoded = [features(5, 2, 7), features(4, 2, 6)]
    found = []
    for answer in (False, True):
        monkeypatch.setattr("speechbrain_ser.models.probe.must_not_wait", Mock(return_value=answer))
        with torch.enable_grad():
            pooled = model.pool(encoded)
            pooled.square().sum().backward()
        found.append([pooled, *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
        model.zero_grad()
    for waited, other in zip(*found, strict=True):
        assert torch.allclose(waited, other, atol=1e-6)


def test_layers_are_those_of_hugging_face():
    encoder = Encoder(TINY, layerdrop=1.0)
    stacked = EncoderLayers(encoder).train()
    found, frames = stacked(speech(), torch.ones(1))
    assert found.shape == (1, 49, 3, 16) and frames.tolist() == [49] and stacked.shape == (3, 16)
    model = encoder.model.eval()
    projected = model.feature_projection(model.feature_extractor(speech_again()).transpose(1, 2))[0]
    torch.testing.assert_close(
        EncoderLayers(encoder, [0])(speech_again(), torch.ones(1))[0][:, :, 0], projected
    )
    hidden = model(speech_again(), output_hidden_states=True).hidden_states
    assert not torch.allclose(hidden[0], projected, atol=1e-2)  # the trap: not Hugging Face's 0
    for layers, expected in (([1], hidden[1]), ([-1], hidden[2])):
        torch.testing.assert_close(
            EncoderLayers(encoder, layers)(speech_again(), torch.ones(1))[0][:, :, 0], expected
        )


def speech_again() -> torch.Tensor:
    torch.manual_seed(1)
    return speech()


@torch.no_grad()
def test_layerdrop_never_drops_a_layer_from_the_average():
    frontend = EncoderLayers(Encoder(TINY, frozen="none", layerdrop=0.99))
    frontend.encoder.freeze("none")  # even then, and in training mode
    frontend.eval()
    expected, _ = frontend(speech_again(), torch.ones(1))
    for block in frontend.train().encoder.blocks:  # dropout off, LayerDrop on
        for module in block.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    frontend.encoder.model.config.mask_time_prob = 0.0
    for _ in range(5):
        found, _ = frontend(speech_again(), torch.ones(1))
        assert found.shape == expected.shape
        assert not torch.equal(found[:, :, 1], found[:, :, 0])
        assert not torch.equal(found[:, :, 2], found[:, :, 1])


@pytest.mark.parametrize(
    ("layers", "message"),
    [([3], "no layer 3: the encoder has 0 to 2"), ("some", "use all"), ([], "use all")],
)
def test_layers_that_are_not_there(layers, message):
    with pytest.raises(InputError, match=message):
        EncoderLayers(Encoder(TINY), layers)


def test_the_spectrogram_by_numpy():
    torch.manual_seed(0)
    batch, lengths = speech(items=2), [16_000, 5_000]
    found, frames = Spectrogram()(batch, torch.tensor(lengths) / 16_000)
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    for item, samples in enumerate(lengths):
        padded = np.pad(batch[item, :samples].double().numpy(), 256, mode="reflect")
        assert frames[item] == samples // 320 + 1
        for frame in range(samples // 320 + 1):
            cut = padded[320 * frame : 320 * frame + 512] * window
            expected = np.abs(np.fft.rfft(cut))
            np.testing.assert_allclose(found[item, frame, 0].numpy(), expected, atol=1e-4)


@needs_opensmile
def test_egemaps_are_opensmile_s_own(tmp_path):
    import opensmile

    torch.manual_seed(0)
    lengths = [48_000, 16_000]
    batch = speech(3.0, items=2)
    found, frames = Egemaps()(batch, torch.tensor(lengths) / 48_000)
    assert frames.tolist() == [296, 96] and found.shape == (2, 296, 1, 25)
    smile = opensmile.Smile(
        opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors
    )
    assert smile.feature_names[0] == "Loudness_sma3"
    for item, samples in enumerate(lengths):
        path = tmp_path / f"{item}.wav"
        soundfile.write(path, batch[item, :samples].numpy(), 16_000, subtype="FLOAT")
        expected = smile.process_file(str(path)).to_numpy()
        np.testing.assert_allclose(found[item, : len(expected), 0].numpy(), expected, rtol=1e-6)


@needs_opensmile
@pytest.mark.parametrize("seconds", [0.025, 0.05, 0.061, 0.1, 3.0])
def test_egemaps_meet_wav2vec_2_s_frames(seconds):
    """Spec: 3 s -> 296 descriptors -> 149 frames, wav2vec 2.0's number."""
    branch = Branch(Egemaps())
    values, counts = branch.frontend(speech(seconds), torch.ones(1))
    assert torch.isfinite(values).all()
    _, frames = branch.prepare((values, counts))
    assert abs(int(frames) - int(Encoder(TINY).num_frames(torch.tensor(16_000 * seconds)))) <= 2
    if seconds == 3.0:
        assert frames.tolist() == [149]


def test_egemaps_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opensmile", None)
    with pytest.raises(InputError, match=r"pip install 'speechbrain-ser\[egemaps\]'"):
        Egemaps()


def test_enrolment_by_hand():
    torch.manual_seed(0)
    branch = Branch(Spectrogram(scalar=False), width=8)
    model = probe(branch, normalise_by="speaker").eval()
    recordings = [speech(0.5)[0], speech(0.9)[0]]
    frames = torch.cat([branch.frontend(r[None], torch.ones(1))[0][0] for r in recordings])
    expected = model.classify(
        model.encode(recordings[0][None], torch.ones(1)),
        [(frames.mean(dim=0)[None], frames.std(dim=0, correction=0)[None])],
    )
    before = model(recordings[0][None], torch.ones(1))
    model.enrol(recordings)
    enrolled = model(recordings[0][None], torch.ones(1))
    torch.testing.assert_close(enrolled, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(enrolled, before, atol=1e-2)
    model.enrol([])
    torch.testing.assert_close(model(recordings[0][None], torch.ones(1)), before)
    with pytest.raises(InputError, match="normalises by global"):
        probe(branch, normalise_by="global").enrol(recordings)


PROBE = RECIPES / "IEMOCAP" / "hparams" / "probe.yaml"
SETTINGS = {
    "speaker": [],
    "global": ["--normalise_by", "global", "--variant", "_global"],
    "none": ["--normalise_by", "none", "--variant", "_none"],
    "dialog_side": ["--normalise_by", "dialog_side", "--variant", "_side", "--seed", "7"],
}


@pytest.fixture(scope="module")
def probes(tmp_path_factory):
    """normalise_by -> the folder of a tiny run on mini IEMOCAP, from one store in float32."""
    results = tmp_path_factory.mktemp("probes")
    store = ["--store", f"{{dtype: float32, folder: {results}/features}}", "--batch_size", "8"]
    folders = {}
    for name, words in SETTINGS.items():
        run(PROBE, tiny(PROBE, results, *store, *words))
        (folders[name],) = results.glob(f"probe{words[3] if words else ''}/fold1/*")
    return folders


def test_runs_share_one_store_and_say_what_they_used(probes):
    stores = list((probes["speaker"].parents[2] / "features").iterdir())
    assert len(stores) == 2  # seed 7 draws other random weights, and so other features
    for name, folder in probes.items():
        results = json.loads((folder / "results.json").read_text())
        assert results["transductive"] is (name in ("speaker", "dialog_side"))
        assert ("transductive" in results["protocol"]) is results["transductive"]
        assert results["layer_weights"]["layers"] == [0, 1, 2]
        raw = np.abs(results["layer_weights"]["raw"])
        np.testing.assert_allclose(results["layer_weights"]["share"], raw / raw.sum(), rtol=1e-6)
        assert not (raw == 1).any()  # they were trained


def parts_of(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    return splits.leave_one_session_out(manifest, 1, validation="last_session")


def frames_of(model, entries) -> np.ndarray:
    """All frames of these recordings, [frame, layer, dim]."""
    reader = SpeechReader(max_seconds=15)
    with torch.no_grad():
        return np.concatenate(
            [
                model.branches[0].frontend(reader(entry["wav"])[None], torch.ones(1))[0][0].double()
                for entry in entries
            ]
        )


def test_a_model_keeps_the_training_part_s_statistics_alone(probes):
    train = parts_of(probes["global"])["train"].values()
    for name in ("speaker", "global"):
        branch = (model := saved.load(probes[name] / "best")["model"]).branches[0]
        frames = frames_of(model, train)
        np.testing.assert_allclose(branch.mean, frames.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(branch.deviation, frames.std(axis=0), rtol=1e-4)
    untouched = saved.load(probes["none"] / "best")["model"].branches[0]
    assert not untouched.mean.any() and (untouched.deviation == 1).all()


def probabilities(folder) -> dict[str, dict[str, float]]:
    with open(folder / "predictions.csv", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", SETTINGS)
def test_best_gives_the_run_s_probabilities(probes, name, caplog):
    """With a group's test recordings enrolled where the run normalised by group."""
    recognizer = EmotionRecognizer.from_hparams(probes[name] / "best")
    grouped = name in ("speaker", "dialog_side")
    assert ("Give recordings of yours to enrol()" in caplog.text) is grouped
    test, expected = parts_of(probes[name])["test"], probabilities(probes[name])
    groups = {entry[name] for entry in test.values()} if grouped else {None}
    for group in groups:
        chosen = {i: e["wav"] for i, e in test.items() if not grouped or e[name] == group}
        if grouped:
            recognizer.enrol(list(chosen.values()))
        found = recognizer.classify_files(list(chosen.values()))
        for utt_id, emotion in zip(chosen, found, strict=True):
            for label, prob in emotion.probs.items():
                assert prob == pytest.approx(float(expected[utt_id][label]), abs=1e-5)
    if not grouped:
        with pytest.raises(InputError, match=f"this model normalises by {name}"):
            recognizer.enrol([])


def test_enrolment_is_for_models_that_use_it(runs):
    recognizer = EmotionRecognizer.from_hparams(runs / "emotion/fold1/1000/best")
    with pytest.raises(InputError, match="does not normalise by speaker"):
        recognizer.enrol([])


def test_a_manifest_without_the_field(tmp_path):
    with pytest.raises(InputError, match="has no accent to normalise by: set normalise_by to"):
        run(PROBE, tiny(PROBE, tmp_path, "--normalise_by", "accent"))


def test_another_sampling_rate_is_refused(tmp_path):
    with pytest.raises(InputError, match="sample_rate is 8000, but WaveformEncoder needs 16000"):
        run(PROBE, tiny(PROBE, tmp_path, "--reader", "{sample_rate: 8000}"))
    assert not list(tmp_path.rglob("*.safetensors")), "nothing was computed before"


def test_gradients_are_clipped_by_value(tmp_path, monkeypatch):
    largest = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *_: (
            largest.append(
                max(p.grad.abs().max().item() for g in self.param_groups for p in g["params"])
            ),
            step(self),
        ),
    )
    run(PROBE, tiny(PROBE, tmp_path, "--clip_value", "0.001", "--max_epochs", "1"))
    assert largest and max(largest) == pytest.approx(0.001)


def test_layer_weights_of_several_runs(probes, tmp_path, capsys):
    results = probes["speaker"].parents[2]
    output = tmp_path / "figure2"
    folders = [str(results / "probe"), str(results / "probe_side")]
    ser("plot", "layers", *folders, "--output", output)
    assert shades(tmp_path / "figure2.png") > 5
    with open(tmp_path / "figure2.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["curve"] for row in rows] == ["probe"] * 3 + ["probe_side"] * 3
    shares = json.loads((probes["speaker"] / "results.json").read_text())["layer_weights"]["share"]
    assert [float(row["weight"]) for row in rows[:3]] == pytest.approx(shares)
    assert ser("plot", "layers", tmp_path, "--output", output) == 2
    assert "holds no complete run of a probe" in capsys.readouterr().err
    words = ["--format", "svg", "--title", "ours", "--figure", "pepino2", "--output", output]
    assert ser("plot", "layers", *folders, *words) == 2
    assert "figure pepino2 has 4 curves (IEMOCAP, pretrained; " in capsys.readouterr().err
    assert not output.with_suffix(".svg").exists()
    assert ser("plot", "layers", *folders, *folders, *words) == 0
    drawn = output.with_suffix(".svg").read_text()
    assert ">ours<" in drawn and "RAVDESS, ASR-finetuned (1 seed)" in drawn
    assert ser("plot", "layers", *folders, "--size", "0", "4", "--output", tmp_path / "no") == 2
    assert "--size 0 4: give 1 to 100 inches" in capsys.readouterr().err
    assert ser("plot", "layers", folders[0], folders[0], "--output", tmp_path / "no") == 2
    assert "a folder is named twice" in capsys.readouterr().err
    assert not list(tmp_path.glob("no*"))
