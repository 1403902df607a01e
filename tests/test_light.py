"""Light models: best/ names an encoder that it did not train, and knows it again."""

import json
import os
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import torch
from conftest import RECIPES, run, ser, tiny
from test_encoder import GROUP, NO_DROPOUT
from test_whisper import SMALL as WHISPER
from transformers import AutoConfig, AutoModel

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.models.encoders import Encoder, fingerprints
from speechbrain_ser.models.encoders.pretrained import fetched, in_encoders, is_name, resolve

DECODER = {"decoder_layers": 1, "decoder_attention_heads": 2, "vocab_size": 60}
FAMILIES = {"wav2vec2": GROUP, "whisper": WHISPER | DECODER}
SETTINGS = """
reader: !new:speechbrain_ser.data.audio.SpeechReader {{max_seconds: 15}}
model: !new:speechbrain_ser.models.classifier.Classifier
    encoder: !new:speechbrain_ser.models.encoders.Encoder {{source: {source}, frozen: {frozen}}}
    pooling: !new:speechbrain_ser.models.pooling.MeanPooling {{dim: 16}}
    head: !new:speechbrain_ser.models.heads.LinearHead {{dim: 16, labels: [a, b]}}
"""
SPEECH, WHOLE = torch.linspace(0, 99, 9_000).sin().unsqueeze(0), torch.ones(1)
REAL = os.environ.get("SER_ENCODERS", "")


def make_encoder(folder: Path, config=GROUP, seed: int = 0, half: bool = False) -> Path:
    """A folder as the Hub has it, with random weights."""
    torch.manual_seed(seed)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    network = AutoModel.from_config(AutoConfig.for_model(**config | special))
    (network.half() if half else network).save_pretrained(folder)
    return folder


@pytest.fixture
def encoders(tmp_path, monkeypatch) -> Path:
    """The folder of SER_ENCODERS, with two encoders, and no Hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name, config in FAMILIES.items():
        make_encoder(tmp_path / "encoders" / name, config)
    monkeypatch.setenv("SER_ENCODERS", str(tmp_path / "encoders"))
    return tmp_path / "encoders"


def export(best: Path, source: str, frozen: str = "all", **options) -> torch.nn.Module:
    """A model with this encoder, exported."""
    tree = hp.load_tree(SETTINGS.format(source=source, frozen=frozen))
    model = hp.build(tree)["model"].eval()
    saved.export(best, tree, model, ["a", "b"], [], {}, **options)
    return model


def tensors(best: Path) -> set[str]:
    return {*safetensors.torch.load_file(best / saved.WEIGHTS)}


def logits(best: Path) -> torch.Tensor:
    return saved.load(best)["model"](SPEECH, WHOLE).detach()


@pytest.mark.parametrize("source", ["wav2vec2", "someone/whisper", "{encoders}/whisper"])
def test_what_was_trained_is_held_and_the_encoder_named(source, encoders, tmp_path):
    best, source = tmp_path / "best", source.format(encoders=encoders)
    model = export(best, source)
    assert tensors(best) == {"head.weight", "head.bias"}
    text = (best / saved.HYPERPARAMS).read_text()
    assert str(tmp_path) not in text
    node = saved.description(best)["model"]["encoder"]
    assert node["weights_of"] == source.removeprefix(f"{encoders}/")
    assert len(node["fingerprint"]) == fingerprints.NUMBERS and "model_type" in node["source"]
    assert saved.encoders_of(saved.description(best)) == {node["weights_of"]}
    assert torch.equal(logits(best), model(SPEECH, WHOLE))


def test_an_encoder_of_which_anything_was_trained_is_held(encoders, tmp_path):
    for frozen in ("none", "cnn", 2):
        model = export(tmp_path / "best", "wav2vec2", frozen)
        assert tensors(tmp_path / "best") == {*model.state_dict()}
        assert not saved.encoders_of(saved.description(tmp_path / "best"))
    whole = export(tmp_path / "best", "wav2vec2", with_encoders=True)
    assert tensors(tmp_path / "best") == {*whole.state_dict()}
    shutil.rmtree(encoders)
    assert torch.equal(logits(tmp_path / "best"), whole(SPEECH, WHOLE))


def test_random_weights_and_pickles_are_held(encoders, tmp_path):
    folder = encoders / "wav2vec2"
    export(tmp_path / "best", str(folder / "config.json"))
    assert not saved.encoders_of(saved.description(tmp_path / "best"))
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = export(tmp_path / "best", "wav2vec2")
    assert tensors(tmp_path / "best") == {*model.state_dict()}


def test_a_light_model_that_is_trained_on_is_whole_then(encoders, tmp_path):
    export(tmp_path / "best", "wav2vec2")
    tree = saved.description(tmp_path / "best")
    for frozen, names in (("all", {"wav2vec2"}), ("cnn", set())):
        model = hp.build(tree)["model"].eval()  # as a later phase does
        saved.load_weights(model, tmp_path / "best")
        model.encoder.freeze(frozen)
        with torch.no_grad():
            next(iter(model.encoder.blocks[-1].parameters())).add_(0.0 if names else 0.5)
        saved.export(tmp_path / frozen, tree, model, ["a", "b"], [], {})
        node = saved.description(tmp_path / frozen)["model"]["encoder"]
        assert saved.encoders_of(node) == names and ("fingerprint" in node) == bool(names)
        assert torch.equal(logits(tmp_path / frozen), model(SPEECH, WHOLE))


def test_where_two_share_a_name_and_one_is_trained_both_are_held(encoders, tmp_path):
    tree = hp.load_tree(SETTINGS.format(source="wav2vec2", frozen="all"))
    both = {name: hp.bare(tree) for name in ("one", "two")}
    ensemble = hp.load_tree("model: !new:speechbrain_ser.models.ensemble.Ensemble {members: {}}")
    ensemble["model"]["members"] = both
    settings = {"reader": tree["reader"], "model": ensemble["model"]}
    model = hp.build(ensemble)["model"]
    saved.export(tmp_path / "best", settings, model, ["a", "b"], [], {})
    assert len(tensors(tmp_path / "best")) == 4
    assert torch.equal(logits(tmp_path / "best"), model(SPEECH, WHOLE))
    model.members["two"].model.encoder.freeze("none")
    saved.export(tmp_path / "best", settings, model, ["a", "b"], [], {})
    assert tensors(tmp_path / "best") == {*model.state_dict()}
    assert torch.equal(logits(tmp_path / "best"), model(SPEECH, WHOLE))


def test_a_half_precision_copy_is_accepted_and_another_encoder_refused(encoders, tmp_path):
    for name, config in FAMILIES.items():
        export(tmp_path / "best", name)
        folder, whole = encoders / name, logits(tmp_path / "best")
        make_encoder(folder, config, half=True)
        torch.testing.assert_close(logits(tmp_path / "best"), whole, atol=2e-3, rtol=0)
        make_encoder(folder, config, seed=1)
        with pytest.raises(InputError, match=f"{folder} is not the {name} that .* set SER_ENCOD"):
            saved.load(tmp_path / "best")
        layers = "num_hidden_layers" if name == "wav2vec2" else "encoder_layers"
        for other in ({layers: 9}, {layers: 1}, {"encoder_ffn_dim": 9, "intermediate_size": 9}):
            make_encoder(folder, config | other)
            with pytest.raises(InputError, match="lacks .* weights|is not the|more than") as error:
                saved.load(tmp_path / "best")
            assert "\n" not in str(error.value) and name in str(error.value)


def test_weights_of_another_size_take_no_memory(encoders, tmp_path):
    export(tmp_path / "best", "wav2vec2")
    path = encoders / "wav2vec2/model.safetensors"
    safetensors.torch.save_file({"lm_head.weight": torch.zeros(1_000, 1_000)}, path)
    with pytest.raises(InputError, match="holds more than the model's encoder wav2vec2, so"):
        saved.load(tmp_path / "best")


def test_a_block_of_another_encoder_is_noticed():
    torch.manual_seed(0)
    encoder = Encoder(GROUP, frozen="all", **NO_DROPOUT)
    before = fingerprints.measure(encoder)
    assert fingerprints.measure(encoder.train()) == before  # and nothing of it is chance
    encoder.blocks[1].load_state_dict(encoder.blocks[0].state_dict())
    assert fingerprints.distance(fingerprints.measure(encoder), before) > 0.01
    assert fingerprints.distance(before[1:], before) == float("inf")


def test_an_encoder_that_is_nowhere_is_a_sentence(encoders, tmp_path, monkeypatch):
    export(tmp_path / "best", "someone/whisper")
    shutil.rmtree(encoders / "whisper")
    with pytest.raises(InputError, match="someone/whisper is not in SER_ENCODERS .*: set SER_ENC"):
        saved.load(tmp_path / "best")
    (encoders / "whisper").mkdir()
    with pytest.raises(InputError, match="holds no safetensors of the model's encoder someone/wh"):
        saved.load(tmp_path / "best")
    monkeypatch.delenv("SER_ENCODERS")
    with pytest.raises(InputError, match=r"SER_ENCODERS \(not set\) and not to be had from the H"):
        saved.load(tmp_path / "best")
    assert saved.checked(tmp_path / "best")["labels"] == ["a", "b"]  # which needs no encoder


def test_the_hub_is_asked_for_safetensors_alone(encoders, tmp_path, monkeypatch):
    model = export(tmp_path / "best", "someone/wav2vec2")
    cached = shutil.move(encoders / "wav2vec2", tmp_path / "cached")
    (cached / "config.json").write_text("{")
    asked = []

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, *allow_patterns))
        return str(cached)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert torch.equal(logits(tmp_path / "best"), model(SPEECH, WHOLE))
    assert asked == [("someone/wav2vec2", "model.safetensors", "model-*-of-*.safetensors")]
    weights = safetensors.torch.load_file(cached / "model.safetensors")
    for number, part in enumerate((sorted(weights)[::2], sorted(weights)[1::2]), 1):
        path = cached / f"model-0000{number}-of-00002.safetensors"
        safetensors.torch.save_file({name: weights[name] for name in part}, path)
    (cached / "model.safetensors").unlink()
    assert torch.equal(logits(tmp_path / "best"), model(SPEECH, WHOLE))


def test_where_a_name_leads(encoders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = str(encoders / "whisper")
    assert resolve("whisper") == resolve("openai/whisper") == in_encoders("x/whisper") == own
    (encoders / "openai/whisper").mkdir(parents=True)
    assert resolve("openai/whisper") == str(encoders / "openai/whisper")
    (tmp_path / "openai/whisper").mkdir(parents=True)
    assert resolve("openai/whisper") == "openai/whisper"  # a folder that the user names
    assert fetched("openai/whisper") == encoders / "openai/whisper"  # one that a model names
    assert resolve("a/b/whisper") == "a/b/whisper" and resolve("no/one") == "no/one"


@pytest.mark.parametrize(
    "name",
    ["/etc", "../x", "a/..", "a/../b", "..", ".", "a/b/c", "a//b", "./a", "~/x", "a\\b", "C:/x"]
    + ["http://x/y", "a b", "a\n", "", "-x", ".ssh", "a/.ssh", 3, None, ["a"], "a" * 97],
)
def test_a_stranger_s_name_is_no_path(name, encoders, tmp_path):
    assert not is_name(name)
    with pytest.raises(InputError, match="names no encoder"):
        fetched(name)
    export(tmp_path / "best", "whisper")
    path = tmp_path / "best" / saved.HYPERPARAMS
    text = path.read_text()
    assert text.count("weights_of: whisper\n") == 1
    path.write_text(text.replace("weights_of: whisper\n", f"weights_of: {json.dumps(name)}\n"))
    with pytest.raises(InputError, match="hyperparams.yaml, line "):
        saved.load(tmp_path / "best")


def test_a_folder_beside_is_not_read(encoders, tmp_path, monkeypatch):
    """from_pretrained would take the folder results/secret for a Hub id."""
    export(tmp_path / "best", "someone/whisper")
    make_encoder(tmp_path / "someone/whisper", FAMILIES["whisper"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SER_ENCODERS")
    with pytest.raises(InputError, match="not to be had from the Hub"):
        saved.load(tmp_path / "best")


def test_runs_of_light_models(encoders, tmp_path, capsys):
    """A recipe with all of its encoder frozen, and nearest neighbours beside it; shared."""
    yaml, knn = (RECIPES / f"IEMOCAP/hparams/{name}.yaml" for name in ("supcon", "knn"))
    given = ["--encoder", "someone/wav2vec2", "--frozen", "all"]
    run(yaml, tiny(yaml, tmp_path, *given))
    run(yaml, tiny(yaml, tmp_path, *given, "--variant", "_full", "--export_encoder", "True"))
    run(knn, tiny(knn, tmp_path))
    run(knn, tiny(knn, tmp_path, "--variant", "_full"))
    for experiment in ("supcon", "knn"):
        light, full = (tmp_path / f"{experiment}{v}/fold1/1000" for v in ("", "_full"))
        assert saved.encoders_of(saved.description(light / "best")) == {"someone/wav2vec2"}
        assert not saved.encoders_of(saved.description(full / "best"))
        assert (light / "predictions.csv").read_text() == (full / "predictions.csv").read_text()
        assert not any(".blocks." in n or "encoder" in n for n in tensors(light / "best"))
        shared = tmp_path / "shared" / experiment
        assert ser("push", light, "--export", shared) == 0
        assert "probabilities differ by" in capsys.readouterr().out
        card = (shared / "README.md").read_text()
        assert "name an encoder and do not hold it: someone/wav2vec2, from the Hub" in card
    manifest = json.loads((light / "manifest.json").read_text())
    wav = next(iter(manifest.values()))["wav"]
    assert ser("classify", light / "best", wav) == 0


@pytest.mark.skipif(not REAL, reason="SER_ENCODERS names no folder")
def test_the_real_whisper_base(tmp_path):
    tree = hp.load_tree(
        SETTINGS.format(source="openai/whisper-base", frozen="all").replace("dim: 16", "dim: 512")
    )
    model = hp.build(tree)["model"].eval()
    saved.export(tmp_path / "best", tree, model, ["a", "b"], [], {})
    assert (tmp_path / "best" / saved.WEIGHTS).stat().st_size < 1_000_000
    assert torch.equal(logits(tmp_path / "best"), model(SPEECH, WHOLE))
    recognizer = EmotionRecognizer.from_hparams(tmp_path / "best")
    numbers = fingerprints.measure(recognizer.mods.model.encoder)
    half, other = model.encoder, Encoder("openai/whisper-tiny.en", frozen="all")
    for tensor in half.parameters():
        tensor.data *= 1 + 2**-11 * (2 * torch.rand(tensor.shape) - 1)  # as float16 rounds
    assert fingerprints.distance(fingerprints.measure(half), numbers) < fingerprints.TOLERANCE / 2
    assert fingerprints.distance(fingerprints.measure(other), numbers) > 0.5
    last, below = half.blocks[-1], half.blocks[-2]
    last.load_state_dict(below.state_dict())
    assert fingerprints.distance(fingerprints.measure(half), numbers) > 0.1
