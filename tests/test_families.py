"""What every family of encoders owes: real recordings alone as in a batch, and company."""

import json
import os
import re
from pathlib import Path

import huggingface_hub
import pytest
import torch
from conftest import RECIPES, run, tiny
from test_lora import FAMILIES, make
from test_whisper import padded, recordings
from transformers import AutoConfig, AutoModelForAudioClassification

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.models.encoders import FAMILIES as MODEL_TYPES
from speechbrain_ser.models.encoders import Encoder, pretrained
from speechbrain_ser.models.encoders.pretrained import first

real = pytest.mark.skipif("SER_RAVDESS" not in os.environ, reason="SER_RAVDESS names no folder")
ONE_SECOND = 16_000
SETTINGS = """
reader: !new:speechbrain_ser.data.audio.SpeechReader
model: !new:speechbrain_ser.models.classifier.Classifier
    encoder: !new:speechbrain_ser.models.encoders.Encoder {{source: {hub}, frozen: none}}
    pooling: !new:speechbrain_ser.models.pooling.MeanPooling {{dim: 16}}
    head: !new:speechbrain_ser.models.heads.LinearHead {{dim: 16, labels: [angry, sad]}}
"""


def test_every_known_family_is_tried():
    tried = {config["model_type"] for config in FAMILIES.values()}
    assert tried == {*MODEL_TYPES}


def test_an_unknown_family_is_a_sentence_that_names_the_known_ones():
    with pytest.raises(InputError, match="is a bert: known encoders are data2vec-audio, hubert, s"):
        Encoder({"model_type": "bert"})


def test_what_a_cached_encoder_lacks_is_not_asked_of_the_hub(monkeypatch):
    """Offline, with the weights in the Hub's cache and no preprocessor_config.json."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert pretrained.is_normalised("nobody/nothing") is None


@pytest.mark.parametrize("name", ["wav2vec2-group", "wavlm-group"])
def test_a_classifier_s_encoder_is_exported_without_its_labels(tmp_path, name):
    """The Hub's emotion models tell their labels and task in the encoder's config."""
    words = {"id2label": {0: "neu", 1: "ang (hot)"}, "label2id": {"neu": 0, "ang (hot)": 1}}
    config = AutoConfig.for_model(**FAMILIES[name], **words, finetuning_task="clf")
    AutoModelForAudioClassification.from_config(config).save_pretrained(tmp_path / "hub")
    tree = hp.load_tree(SETTINGS.format(hub=tmp_path / "hub"))
    model = hp.build(tree)["model"].eval()
    saved.export(tmp_path / "best", tree, model, ["angry", "sad"], [], {}, with_encoders=True)
    again = saved.load(tmp_path / "best")["model"]
    speech, lens = torch.randn(1, 4_000), torch.ones(1)
    assert torch.equal(again(speech, lens), model(speech, lens))


def test_sew_s_layers_are_of_one_length():
    """Its blocks see two frames as one: theirs stand for two, and zeros for an odd last one."""
    encoder = make("sew", frozen="all").eval()
    blocks = []
    encoder.blocks[1].register_forward_hook(lambda *call: blocks.append(first(call[-1])))
    speech, lens = torch.randn(2, 5001), torch.tensor([1.0, 0.6])  # 15 and 9 frames
    layers = encoder.layers(speech, lens)
    assert layers.shape == (4, 2, 15, 16)
    for row, (frames, own) in enumerate(zip((15, 9), blocks, strict=True)):
        assert own.shape[1] == frames // 2
        for number in range(frames - frames % 2):
            assert torch.equal(layers[2, row, number], own[0, number // 2])
        assert layers[2, row, frames - 1].abs().max() == 0
    assert torch.equal(layers[3], encoder(speech, lens))


@real
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_real_recordings_alone_and_in_a_batch(name, fast):
    """Of very different lengths; frames, and gradients as the sum of each one's own."""
    items = [item[: 2 * ONE_SECOND] for item in recordings(2)]
    items += [items[0][ONE_SECOND // 2 : ONE_SECOND], items[1][: 7 * ONE_SECOND // 10]]
    speech, lens = padded(items)
    torch.manual_seed(0)
    weight = torch.randn(16)
    found = []
    for batches in ([(speech, lens)], [(item.unsqueeze(0), torch.ones(1)) for item in items]):
        encoder = make(name, frozen="none", cpu_fast_path=fast).train()
        frames = []
        for batch in batches:
            made, valid = encoder(*batch), encoder.valid_frames(*batch)
            frames += [row[own] for row, own in zip(made, valid, strict=True)]
        sum((row @ weight).sin().mean() for row in frames).backward()
        named = encoder.named_parameters()
        found.append((frames, {n: p.grad for n, p in named if p.grad is not None}))
    (batch, of_batch), (alone, of_alone) = found
    for one, other in zip(batch, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()), rtol=1e-5)
    assert set(of_batch) == set(of_alone)
    for key, gradient in of_alone.items():
        close = 2e-4 * max(1e-3, float(gradient.abs().max()))
        torch.testing.assert_close(of_batch[key], gradient, atol=close, rtol=1e-3, msg=key)


@pytest.fixture(scope="module")
def whisper_file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("whisper") / "config.json"
    path.write_text(json.dumps(FAMILIES["whisper"] | {"max_source_positions": 1000}))
    return str(path)


def test_a_whisper_is_fused_with_another_speaker_network(runs, whisper_file, tmp_path):
    emotion, fusion = (RECIPES / f"IEMOCAP/hparams/{name}.yaml" for name in ("emotion", "fusion"))
    short = ["--max_epochs", "1"]
    run(emotion, tiny(emotion, tmp_path, "--encoder", whisper_file, *short))
    speaker = ["--speaker_best", f"{runs}/speaker/fold1/1000/best"]
    run(fusion, tiny(fusion, tmp_path, *speaker, *short))
    recognizer = EmotionRecognizer.from_hparams(tmp_path / "fusion/fold1/1000/best")
    kinds = {type(m).__name__ for m in recognizer.mods.model.modules() if isinstance(m, Encoder)}
    assert kinds == {"WaveformEncoder", "WhisperEncoder"}


def test_a_whisper_with_a_cache_is_the_whisper_without(whisper_file, tmp_path):
    yaml = RECIPES / "IEMOCAP/hparams/emotion.yaml"
    logs = []
    for name, cache in (("a", "null"), ("b", "float32")):
        words = ["--encoder", whisper_file, "--cache", cache, "--frozen", "1", "--max_epochs", "1"]
        run(yaml, tiny(yaml, tmp_path / name, *words))
        (log,) = (tmp_path / name).glob("emotion*/fold1/1000/train_log.txt")
        logs.append([float(part.split(": ")[-1]) for part in log.read_text().split(",")[1:4]])
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)


IN_ORDER = {  # method: what a Whisper needs there; each after the phases that it starts from
    "VoxCeleb1/speaker": [],
    "IEMOCAP/emotion": [],
    "IEMOCAP/fusion": [],
    "IEMOCAP/asr_gender": ["--time_mask", "0"],
    "IEMOCAP/two_stage": ["--frozen", "1"],
    "IEMOCAP/multitask": ["--time_mask", "0"],
    "IEMOCAP/supcon": [],
    "IEMOCAP/knn": [],
    "IEMOCAP/probe": [],
    "IEMOCAP/probe_egemaps": [],
    "RAVDESS/probe": [],
    "RAVDESS/probe_egemaps": [],
    "RAVDESS/member": [],
}


@pytest.fixture(
    scope="module", params=["whisper", pytest.param("wav2vec2-bert", marks=pytest.mark.slow)]
)
def results(request, tmp_path_factory) -> Path:
    """Every method with an encoder of a few thousand weights, one epoch on the mini corpora."""
    folder = tmp_path_factory.mktemp(request.param)
    config = folder / "config.json"
    config.write_text(json.dumps(FAMILIES[request.param] | {"max_source_positions": 1000}))
    for name, needed in IN_ORDER.items():
        yaml = yaml_of(name)
        words = ["--max_epochs", "1", *needed]
        if re.search("^encoder:", yaml.read_text(), flags=re.MULTILINE):
            words += ["--encoder", str(config)]
        run(yaml, tiny(yaml, folder / "results", *words))
    return folder


def yaml_of(name: str) -> Path:
    return (RECIPES / name.replace("/", "/hparams/")).with_suffix(".yaml")


@pytest.mark.parametrize("name", IN_ORDER)
def test_every_method_trains_it(name, results):
    experiment = re.search(r"^experiment: (\w+)", yaml_of(name).read_text(), flags=re.MULTILINE)[1]
    (best,) = results.glob(f"*/{experiment}/fold1/*/best")
    kind = re.search(r"model_type: ([\w-]+)", (best / "hyperparams.yaml").read_text())[1]
    assert results.name.startswith(kind)
    assert saved.load(best)["labels"] is not None


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("fast", [True, False])
def test_blocks_above_the_layers_that_are_asked_for_are_not_computed(name, fast):
    encoder = make(name, frozen="all", cpu_fast_path=fast).eval()
    speech, lens = torch.randn(2, 5001), torch.tensor([1.0, 0.6])
    every, valid = encoder.layers(speech, lens), encoder.valid_frames(speech, lens)
    total, computed = len(every), set()
    for number, block in enumerate(encoder.blocks, start=1):
        block.register_forward_hook(lambda *_, number=number: computed.add(number))
    for chosen in ([0], [1, 0], [total - 2], [-2, 1], [-1], [1, total - 1]):
        computed.clear()
        found = encoder.layers(speech, lens, chosen)
        assert torch.equal(found[:, valid], every[chosen][:, valid])
        assert computed == {*range(1, 1 + max(number % total for number in chosen))}
