"""Whisper: Hugging Face's answers where it has some, and an answer without padding in it."""

import json
import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch
from conftest import RECIPES, run, tiny
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder as HuggingFaceEncoder

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser.data import audio
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import safety
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.encoders.whisper import WhisperEncoder
from speechbrain_ser.training import reading

SMALL = {
    "model_type": "whisper",
    "d_model": 16,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "num_mel_bins": 80,
    "max_source_positions": 100,
}
EMOTION = RECIPES / "IEMOCAP/hparams/emotion.yaml"
STILL = {"hidden_dropout": 0.0, "attention_dropout": 0.0}
LENGTHS = (16_000, 9_999, 3_210, 400)  # samples: 50, 31, 10 and 1 frames
ENCODERS = os.environ.get("SER_ENCODERS", "")
RAVDESS = os.environ.get("SER_RAVDESS", "")
real = pytest.mark.skipif(
    not (ENCODERS and RAVDESS), reason="SER_ENCODERS and SER_RAVDESS name no folders"
)


def make(config=SMALL, **settings) -> WhisperEncoder:
    torch.manual_seed(0)
    return Encoder(config, **(STILL | {"frozen": "none"} | settings))


def batch(lengths=LENGTHS) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise of these lengths, louder from one to the next, and something else behind their ends."""
    torch.manual_seed(1)
    speech = 5 * torch.randn(len(lengths), max(lengths))
    for row, (item, length) in enumerate(zip(speech, lengths, strict=True)):
        item[:length] = torch.randn(length) * 0.01 * 4**row
    return speech, torch.tensor(lengths) / max(lengths)


def recordings(count: int, skip: int = 0) -> list[torch.Tensor]:
    """Real recordings, the shortest and the longest of them first."""
    paths = sorted(Path(RAVDESS).rglob("*.flac")) or sorted(Path(RAVDESS).rglob("*.wav"))
    paths.sort(key=lambda path: soundfile.info(path).frames)
    step = (len(paths) - 1) // (count - 1)
    read = SpeechReader()
    return [read(path) for path in paths[:: step or 1][:count]]


def padded(items: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = [len(item) for item in items]
    speech = torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
    return speech, torch.tensor(lengths) / max(lengths)


# the log-mel spectrogram


@pytest.mark.parametrize("bins", [80, 128])
def test_the_log_mel_is_that_of_hugging_face_s_feature_extractor(bins):
    config = SMALL | {"num_mel_bins": bins, "max_source_positions": 1500}
    encoder = make(config, padding="thirty_seconds")
    extract = WhisperFeatureExtractor(feature_size=bins)
    speech = torch.randn(1, 20_001) * torch.linspace(0, 1, 20_001)
    wanted = extract(speech[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    padded = torch.nn.functional.pad(speech, (0, 480_000 - 20_001))
    torch.testing.assert_close(encoder.log_mel(padded), wanted, atol=1e-5, rtol=0)


def test_the_log_mel_by_numpy_in_double_precision():
    speech = torch.randn(1, 3_333)
    padded = np.pad(speech[0].double().numpy(), 200, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.stack([padded[160 * t : 160 * t + 400] * hann for t in range(3_333 // 160)])
    power = np.abs(np.fft.rfft(frames)) ** 2  # [frame, frequency]
    encoder = make()
    logs = np.log10(np.maximum(power @ encoder.filters.double().numpy().T, 1e-10))
    wanted = (np.maximum(logs, logs.max() - 8) + 4) / 4
    torch.testing.assert_close(
        encoder.log_mel(speech)[0].T.double(), torch.from_numpy(wanted), atol=1e-4, rtol=0
    )


# against Hugging Face


def hugging_face(encoder: WhisperEncoder, speech: torch.Tensor) -> torch.Tensor:
    """speech [1, time] padded to all positions -> frames of Hugging Face's own forward."""
    bins, positions = encoder.model.config.num_mel_bins, encoder.model.config.max_source_positions
    extract = WhisperFeatureExtractor(feature_size=bins, chunk_length=positions // 50)
    mel = extract(speech[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    plain = HuggingFaceEncoder(WhisperConfig(**encoder.model.config.to_dict())).eval()
    plain.load_state_dict(encoder.model.state_dict())
    with torch.no_grad():
        return plain(mel).last_hidden_state


@pytest.mark.parametrize("padding", ["thirty_seconds", "as_published"])
def test_padded_frames_are_hugging_face_s(padding):
    encoder = make(padding=padding).eval()
    speech, _ = batch((9_999,))
    with torch.no_grad():
        frames = encoder(speech, torch.ones(1))
    wanted = hugging_face(encoder, speech)
    own = 100 if padding == "as_published" else 31
    assert frames.shape == (1, own, 16)
    torch.testing.assert_close(frames, wanted[:, :own], atol=1e-5, rtol=0)
    assert encoder.valid_frames(speech, torch.ones(1)).tolist() == [[True] * own]


def test_at_its_own_length_a_recording_of_all_positions_is_hugging_face_s():
    encoder = make().eval()
    speech = torch.randn(1, 32_000)
    with torch.no_grad():
        frames = encoder(speech, torch.ones(1))
    torch.testing.assert_close(frames, hugging_face(encoder, speech), atol=1e-5, rtol=0)


@real
def test_real_weights_and_recordings_as_hugging_face():
    encoder = Encoder(f"{ENCODERS}/whisper-base", frozen="all", padding="thirty_seconds").eval()
    assert sum(p.numel() for p in encoder.parameters()) == 20_590_592
    for item in recordings(2):
        speech = item.unsqueeze(0)
        frames = encoder(speech, torch.ones(1))
        wanted = hugging_face(encoder, speech)[:, : frames.shape[1]]
        # values reach 24 and more
        torch.testing.assert_close(frames, wanted, atol=1e-5 * float(wanted.abs().max()), rtol=0)


# alone as in a batch


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("padding", ["exact", "thirty_seconds"])
def test_a_recording_s_frames_are_the_same_alone_and_in_a_batch(padding, fast):
    encoder = make(padding=padding, cpu_fast_path=fast).eval()
    speech, lens = batch()
    with torch.no_grad():
        frames, layers = encoder(speech, lens), encoder.layers(speech, lens)
    valid = encoder.valid_frames(speech, lens)
    assert valid.sum(dim=1).tolist() == [50, 31, 10, 1] and layers.shape == (4, 4, 50, 16)
    torch.testing.assert_close(layers[3], frames)
    for row, length in enumerate(LENGTHS):
        one = speech[row : row + 1, :length]
        with torch.no_grad():
            alone = encoder.layers(one, torch.ones(1))
        torch.testing.assert_close(layers[:, row, valid[row]], alone[:, 0], atol=1e-5, rtol=1e-5)


def test_the_two_paths_of_a_cpu_have_equal_gradients():
    gradients = []
    for fast in (True, False):
        encoder = make(cpu_fast_path=fast).train()
        speech, lens = batch()
        speech.requires_grad_(True)
        frames = encoder(speech, lens)
        valid = encoder.valid_frames(speech, lens)
        (frames * torch.arange(16.0))[valid].square().mean().backward()
        own = [p.grad for p in encoder.parameters() if p.grad is not None]
        gradients.append([speech.grad, *own])
        assert speech.grad[1, 9_999:].abs().max() == 0 and speech.grad[0].abs().max() > 0
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * float(one.abs().max()), rtol=1e-4)


@real
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 3e-5), (torch.float64, 1e-13)], ids=["single", "double"]
)
def test_real_recordings_alone_and_in_a_batch(fast, dtype, most):
    """Of the largest value, 20; what is left in single precision is rounding."""
    source = f"{ENCODERS}/whisper-base"
    encoder = Encoder(source, frozen="all", cpu_fast_path=fast).eval().to(dtype)
    items = [item.to(dtype) for item in recordings(4)]
    speech, lens = padded(items)
    frames, valid = encoder(speech, lens), encoder.valid_frames(speech, lens)
    for row, item in enumerate(items):
        alone = encoder(item.unsqueeze(0), torch.ones(1))[0]
        close = most * float(alone.abs().max())
        torch.testing.assert_close(frames[row, valid[row]], alone, atol=close, rtol=0)


# what is frozen, kept, and refused


def test_frozen_parts_and_what_of_them_can_be_computed_once():
    speech, lens = batch()
    whole = make().eval()
    with torch.no_grad():
        wanted, valid = whole(speech, lens), whole.valid_frames(speech, lens)
    for frozen, depth in (("none", -1), ("cnn", 0), (0, 0), (2, 2), ("all", 3)):
        encoder = make(frozen=frozen)
        assert encoder.depth == depth
        trained = {n.split(".")[0] for n, p in encoder.model.named_parameters() if p.requires_grad}
        assert ("conv1" in trained) == (frozen == "none") and "embed_positions" not in trained
        if depth >= 0:
            stored, counts = encoder.frozen_part(speech, lens)
            frames = encoder.trained_part(stored, counts)
            torch.testing.assert_close(frames[valid], wanted[valid], atol=1e-5, rtol=1e-5)
    assert make(frozen=2, padding="thirty_seconds").depth == -1


def test_describe_builds_the_same_network_anew_and_a_stranger_s_is_allowed():
    encoder = make(frozen="all", layerdrop=0.1).eval()
    description = json.loads(json.dumps(encoder.describe()))
    assert not [key for key in description if "decoder" in key or "token" in key]
    text = json.dumps({"model": {"encoder": {"source": description}}})
    source = safety.read(text, "x")["model"]["encoder"]["source"]
    again = Encoder(dict(source), frozen="all", layerdrop=None, **STILL).eval()
    again.load_state_dict(encoder.state_dict())
    assert again.layerdrop == 0.1
    speech, lens = batch()
    assert torch.equal(again(speech, lens), encoder(speech, lens))


def test_of_a_checkpoint_the_encoder_alone_is_read(tmp_path):
    config = WhisperConfig(
        **SMALL, decoder_layers=2, decoder_ffn_dim=24, decoder_attention_heads=2, vocab_size=9_000
    )
    config.update({"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0})
    whole = WhisperModel(config)
    whole.save_pretrained(tmp_path)
    encoder = Encoder(str(tmp_path))
    assert sum(p.numel() for p in encoder.parameters()) < 50_000
    for name, weight in whole.encoder.state_dict().items():
        assert torch.equal(encoder.model.state_dict()[name], weight)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict() | {"encoder_layers": 4}))
    with pytest.raises(InputError, match="lacks 15 weights of its config"):
        Encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"padding": "none"}, "padding is 'none': use exact or thirty_seconds or as_published"),
        ({"time_mask": 0.05}, "WhisperEncoder has no time_mask: set time_mask to null"),
        ({"projection_dropout": 0.1}, "WhisperEncoder has no projection_dropout"),
        ({"hiden_dropout": 0}, "WhisperEncoder has no hiden_dropout"),
        ({"frozen": 4}, "use none, cnn, all, or 0 to 3 blocks"),
    ],
)
def test_what_whisper_does_not_have_is_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        make(**settings)


@pytest.mark.parametrize("padding", ["exact", "thirty_seconds", "as_published"])
def test_a_recording_beyond_the_positions_is_refused(padding):
    encoder = make(padding=padding)
    with pytest.raises(
        InputError, match="of 2.1 s is longer than the 2 s .*{max_seconds: 2}.*--long"
    ):
        encoder(torch.randn(1, 33_600), torch.ones(1))


def test_checkpointed_gradients_are_the_gradients():
    gradients = []
    for checkpoints in (False, True):
        encoder = make(checkpoint_gradients=checkpoints).train()
        encoder(*batch()).square().mean().backward()
        gradients.append([p.grad for p in encoder.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("padding", ["exact", "thirty_seconds", "as_published"])
@pytest.mark.parametrize("fast", [True, False])
def test_what_stands_in_the_padding_does_not_matter(padding, fast):
    encoder = make(padding=padding, cpu_fast_path=fast).eval()
    speech, lens = batch()
    other = speech.clone()
    for row, length in zip(other, LENGTHS, strict=True):
        row[length:] = float("nan")
    valid = encoder.valid_frames(speech, lens)
    with torch.no_grad():
        assert torch.equal(encoder(speech, lens)[valid], encoder(other, lens)[valid])


def test_dropout_and_layer_drop_are_alive_in_training_only():
    encoder = make(hidden_dropout=0.3, attention_dropout=0.3, layerdrop=0.5).train()
    speech, lens = batch()
    with torch.no_grad():
        assert not torch.equal(encoder(speech, lens), encoder(speech, lens))
        encoder.eval()
        assert torch.equal(encoder(speech, lens), encoder(speech, lens))


# recipes and finished models


@pytest.fixture(scope="module")
def best(tmp_path_factory) -> Path:
    """An emotion network with a Whisper of a few thousand weights and 20 s."""
    folder = tmp_path_factory.mktemp("whisper")
    config = folder / "whisper.json"
    config.write_text(json.dumps(SMALL | {"max_source_positions": 1000}))
    words = ["--encoder", str(config), "--max_epochs", "1"]
    run(EMOTION, tiny(EMOTION, folder, *words))
    return folder / "emotion/fold1/1000/best"


@pytest.mark.slow
def test_a_recipe_pads_to_all_positions_if_it_is_told_to(best, tmp_path):
    config = best.parents[3] / "whisper.json"
    words = ["--encoder", str(config), "--max_epochs", "1"]
    words += ["--model", "{encoder: {padding: thirty_seconds}}"]
    run(EMOTION, tiny(EMOTION, tmp_path, *words))
    recognizer = EmotionRecognizer.from_hparams(tmp_path / "emotion/fold1/1000/best")
    assert recognizer.mods.model.encoder.padding == "thirty_seconds"


def test_a_recording_beyond_the_model_s_positions_loses_no_other(best, tmp_path):
    """At 20 s; in segments it is classified."""
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 21)
    for name, seconds in (("long", 21), ("short", 1)):
        soundfile.write(tmp_path / f"{name}.wav", noise[: 16_000 * seconds], 16_000)
    recognizer = EmotionRecognizer.from_hparams(best)
    recognizer.hparams.reader.max_seconds = None  # the recipe's would cut it before
    paths = [tmp_path / "long.wav", tmp_path / "short.wav"]
    found = dict(recognizer.each(paths))
    assert str(found[0]).startswith(f"{paths[0]} lasts 21.0 s, and this model reads 20 s at once")
    assert found[1].label in recognizer.hparams.labels
    assert recognizer.classify_long(paths[0])[-1].end == 21
    with pytest.raises(InputError, match="this model reads 20 s at once"):
        recognizer.embed(paths)


def test_a_recording_beyond_the_model_s_positions_is_refused_by_its_header(best, tmp_path):
    """Hours of speech are not decoded and resampled first."""
    soundfile.write(tmp_path / "long.wav", np.full(16_000 * 21, 0.1), 16_000)
    recognizer = EmotionRecognizer.from_hparams(best)
    recognizer.hparams.reader = SpeechReader()
    with mock.patch.object(audio, "blocks", side_effect=AssertionError("it was decoded")):
        for answer in (recognizer.classify_file, recognizer.embed):
            with pytest.raises(
                InputError, match="long.wav lasts 21.0 s, and this model reads 20 s"
            ):
                answer(tmp_path / "long.wav")


def test_training_says_which_recordings_are_too_long(tmp_path):
    config = tmp_path / "whisper.json"
    config.write_text(json.dumps(SMALL | {"max_source_positions": 50}))
    words = tiny(EMOTION, tmp_path, "--encoder", str(config), "--reader", "{max_seconds: null}")
    with pytest.raises(InputError, match="recordings .Ses.* are longer than the 1 s that Whisper"):
        run(EMOTION, words)
    run(EMOTION, [*words, "--reader", "{max_seconds: 1.0}", "--max_epochs", "1"])


@pytest.mark.parametrize(("normalise", "is_said"), [(True, True), (False, False)])
def test_speech_that_the_encoder_is_not_used_to_is_said(normalise, is_said, caplog):
    encoder = make()
    encoder.normalised = False  # as OpenAI's preprocessor_config.json says
    reading.check(SpeechReader(normalise=normalise), encoder, {"train": {}})
    assert ("was pretrained on speech that was not normalised" in caplog.text) is is_said


@real
def test_what_a_folder_says_of_its_speech():
    assert Encoder(f"{ENCODERS}/whisper-tiny.en").normalised is False
