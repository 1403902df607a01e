"""SpeechBrain's own emotion model, converted: the answers are those of SpeechBrain's modules."""

import numpy as np
import pytest
import soundfile
import torch
from conftest import TINY, ser
from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.pooling import StatisticsPooling
from transformers import AutoConfig, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.models.pooling import NormalisedMeanPooling

YAML = """
sample_rate: 16000
wav2vec2_hub: {hub}
wav2vec2: !new:speechbrain.lobes.models.huggingface_transformers.wav2vec2.Wav2Vec2
    source: !ref <wav2vec2_hub>
    output_norm: {norm}
    freeze: True
    save_path: wav2vec2_checkpoints
output_mlp: !new:speechbrain.nnet.linear.Linear
    input_size: 16
    n_neurons: 4
    bias: False
model: !apply:os.system ["touch it_ran"]
"""


def made(root, norm: bool):
    """A model folder as on the Hub, and SpeechBrain's own modules with its weights."""
    hub, folder = root / "hub", root / "model"
    torch.manual_seed(3)
    Wav2Vec2Model(AutoConfig.for_model(**TINY)).save_pretrained(hub)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(hub)
    lobe = Wav2Vec2(source=str(hub), save_path=str(root / "cache"), output_norm=norm, freeze=True)
    linear = Linear(input_size=16, n_neurons=4, bias=False)
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text(YAML.format(hub=hub, norm=norm))
    torch.save(lobe.state_dict(), folder / "wav2vec2.ckpt")
    torch.save(torch.nn.ModuleList([linear]).state_dict(), folder / "model.ckpt")
    lines = [f"'{name}' => {i}" for i, name in enumerate(["neu", "ang", "hap", "sad"])]
    lines += ["================", "'starting_index' => 0"]
    (folder / "label_encoder.txt").write_text("\n".join(lines))
    return folder, lobe.eval(), linear


@pytest.mark.parametrize("norm", [True, False])
def test_a_converted_model_answers_as_speechbrain_s_modules(tmp_path, monkeypatch, norm):
    monkeypatch.chdir(tmp_path)
    folder, lobe, linear = made(tmp_path, norm)
    assert ser("convert", folder, tmp_path / "converted") == 0
    assert not (tmp_path / "it_ran").exists()
    recognizer = EmotionRecognizer.from_hparams(tmp_path / "converted")
    assert recognizer.hparams.labels == ["neutral", "angry", "happy", "sad"]
    samples = np.random.default_rng(0).standard_normal(30_000).astype("float32") * 0.1
    soundfile.write(tmp_path / "speech.wav", samples, 16_000, "FLOAT")
    with torch.no_grad():
        frames = lobe(torch.from_numpy(samples).unsqueeze(0), torch.ones(1))
        pooled = StatisticsPooling(return_std=False)(frames, torch.ones(1))  # adds noise of 1e-5
        expected = linear(pooled).squeeze().softmax(dim=0)
    emotion = recognizer.classify_file(tmp_path / "speech.wav")
    # the noise, and the 1e-5 that SpeechBrain adds to the speech's variance
    assert list(emotion.probs.values()) == pytest.approx(expected.tolist(), abs=2e-3)


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("model/label_encoder.txt", "'neu'", "'!apply:os.system [touch it_ran]'", "has the label"),
        ("model/label_encoder.txt", "'neu'", "'(!!python/name:os.system )'", "has the label"),
        ("model/label_encoder.txt", "'neu'", "'../../etc'", "has the label"),
        ("model/hyperparams.yaml", "sample_rate: 16000", "x: [", "is no plain yaml"),
        ("model/hyperparams.yaml", "sample_rate: 16000", "[" * 5000, "is no plain yaml"),
        ("model/hyperparams.yaml", "wav2vec2:", "other:", "describes no wav2vec2"),
        (
            *("hub/preprocessor_config.json", '"do_normalize": true'),
            *('"do_normalize": "True\\nx: !apply:os.system [touch it_ran]"', "says do_normalize"),
        ),
        (
            *("hub/config.json", '"num_adapter_layers": 3', '"num_adapter_layers": 3000000'),
            "3000000, where",
        ),
        (
            *("hub/config.json", '"model_type": "wav2vec2"'),
            *('"auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "evil"', "cannot be had"),
        ),
    ],
)
def test_a_hostile_repository_is_a_sentence(
    tmp_path, monkeypatch, capsys, file, old, new, sentence
):
    monkeypatch.chdir(tmp_path)
    made(tmp_path, True)
    (tmp_path / "hub/evil.py").write_text("open('it_ran', 'w')\nclass Evil: pass\n")
    path = tmp_path / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert ser("convert", tmp_path / "model", tmp_path / "converted") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "it_ran").exists() and not (tmp_path / "converted").exists()


def test_normalised_mean_pooling_by_a_loop():
    torch.manual_seed(0)
    frames = torch.randn(3, 7, 5, dtype=torch.float64)
    valid = torch.arange(7) < torch.tensor([[7], [3], [1]])
    pooled = NormalisedMeanPooling(5)(frames, valid)
    for item, row in enumerate(pooled):
        own = frames[item, : int(valid[item].sum())]
        expected = torch.nn.functional.layer_norm(own, own.shape).mean(dim=0)
        torch.testing.assert_close(row, expected)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("wav2vec2.ckpt", None, "has no wav2vec2.ckpt"),
        ("wav2vec2.ckpt", b"junk", "does not hold tensors alone"),
        ("label_encoder.txt", b"'neu' => 1", "does not number labels from 0"),
        ("label_encoder.txt", b"'neu' => 0\n'ang' => 1", "there are 2 labels"),
        ("hyperparams.yaml", b"a: 1", "describes no wav2vec2"),
        ("label_encoder.txt", b"'neu' => " + b"9" * 5000, "does not number labels from 0"),
        ("label_encoder.txt", b"\xff\xfe", "is no text"),
        ("hyperparams.yaml", b"wav2vec2: {source: /no/such}", "give --encoder FOLDER"),
        ("hyperparams.yaml", b"wav2vec2: {source: !ref <absent>}", "give --encoder FOLDER"),
        ("model.ckpt", {}, "holds [] and there are 4 labels: only one linear layer"),
        ("model.ckpt", {"a": torch.ones(4, 2), "b": torch.ones(4)}, "holds [(4, 2), (4,)]"),
        ("model.ckpt", {"a": torch.ones(())}, "holds [()] and there are"),
    ],
)
def test_what_is_no_such_model_is_refused(tmp_path, capsys, monkeypatch, name, content, sentence):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder, *_ = made(tmp_path, True)
    (folder / name).unlink()
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    elif content is not None:
        torch.save(content, folder / name)
    assert ser("convert", folder, tmp_path / "converted") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "converted").exists()


def test_a_hostile_checkpoint_runs_nothing(tmp_path, capsys):
    folder, *_ = made(tmp_path, True)

    class Evil:
        def __reduce__(self):
            return eval, ("__import__('os').system('true')",)

    torch.save({"w": Evil()}, folder / "model.ckpt")
    assert ser("convert", folder, tmp_path / "converted") == 2
    assert "does not hold tensors alone" in capsys.readouterr().err
