"""The encoder: an answer without padding in it, frozen parts, layers, sources."""

import json
import logging
import shutil

import pytest
import safetensors.torch
import torch
from torchaudio.models.wav2vec2.utils import import_huggingface_model
from transformers import AutoConfig, AutoModel, Wav2Vec2Config

from speechbrain_ser.data.lengths import num_samples, trim
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.padding import ValidGroupNorm

SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
GROUP = SHAPE | {"model_type": "wav2vec2"}
LAYER = GROUP | {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
DATA2VEC = SHAPE | {"model_type": "data2vec-audio", "conv_pos_kernel_size": 5}
CONFIGS = {
    "wav2vec2-group": GROUP,
    "wav2vec2-layer": LAYER,
    "hubert-group": SHAPE | {"model_type": "hubert"},
    "hubert-layer": LAYER | {"model_type": "hubert"},
    "hubert-batch-norm": SHAPE | {"model_type": "hubert", "conv_pos_batch_norm": True},
    "wavlm-group": SHAPE | {"model_type": "wavlm"},
    "wavlm-layer": LAYER | {"model_type": "wavlm"},
    "unispeech": SHAPE | {"model_type": "unispeech"},
    "unispeech-sat": SHAPE | {"model_type": "unispeech-sat"},
    "data2vec-audio": DATA2VEC | {"num_conv_pos_embeddings": 2},
    "wav2vec2-conformer": SHAPE | {"model_type": "wav2vec2-conformer"},
}
# rounding, which its five norms of 16 channels magnify: in double precision it is 4e-16
CLOSE = {"data2vec-audio": 2e-5}
BATCH_NORM = ("hubert-batch-norm", "wav2vec2-conformer")
DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout", "projection_dropout")
NO_DROPOUT = dict.fromkeys((*DROPOUTS, "layerdrop"), 0.0)
LENGTHS = (8000, 5001, 3200, 400)  # samples: 24, 15, 9 and 1 frames
PAIR = (8000, 5001)
every_config = pytest.mark.parametrize("name", CONFIGS)
both_paths = pytest.mark.parametrize("fast", [True, False])


def make(config=GROUP, seed=0, **settings) -> Encoder:
    """A small encoder without dropout, whose norms are not the identity."""
    torch.manual_seed(seed)
    encoder = Encoder(config, **(NO_DROPOUT | {"frozen": "none"} | settings))
    with torch.no_grad():
        for module in encoder.modules():
            if "Norm" in type(module).__name__ and getattr(module, "weight", None) is not None:
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
    return encoder


def padded(lengths=LENGTHS, filler=0.0, seed=1) -> tuple[torch.Tensor, torch.Tensor]:
    """speech [batch, time] with `filler` behind each item, lens [batch]."""
    draw = torch.Generator().manual_seed(seed)
    speech = torch.full((len(lengths), max(lengths)), filler)
    for row, length in zip(speech, lengths, strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=draw)
    return speech, torch.tensor(lengths) / max(lengths)


def alone(run, speech, lengths=LENGTHS) -> list[torch.Tensor]:
    """`run` on each item by itself, without its padding."""
    return [run(speech[i : i + 1, :n], torch.ones(1)) for i, n in enumerate(lengths)]


def close(left, right, tolerance=1e-5):
    torch.testing.assert_close(left, right, atol=tolerance, rtol=0)


# padding


def test_samples_of_relative_lengths_are_whole():
    lengths = torch.tensor([239_999, 239_998, 400, 401, 65_537, 240_000])
    speech = torch.zeros(6, 240_000)
    assert num_samples(speech, lengths / 240_000).tolist() == lengths.tolist()
    assert [item.shape[1] for item in trim(speech, lengths)] == lengths.tolist()
    assert all(item.shape[0] == 1 for item in trim(speech, lengths))


@both_paths
@every_config
def test_frames_do_not_depend_on_batch_mates(name, fast):
    encoder = make(CONFIGS[name], cpu_fast_path=fast).eval()
    speech, lens = padded()
    with torch.no_grad():
        frames = encoder(speech, lens)
        valid = encoder.valid_frames(speech, lens)
        for row, mask, own in zip(frames, valid, alone(encoder, speech), strict=True):
            assert int(mask.sum()) == own.shape[1]
            close(row[mask], own[0], CLOSE.get(name, 1e-5))
        reversed_frames = encoder(speech.flip(0), lens.flip(0)).flip(0)
    close(frames[valid], reversed_frames[valid], CLOSE.get(name, 1e-5))
    assert frames.shape == (4, 24, 16)


@both_paths
@every_config
@pytest.mark.parametrize("filler", [0.7, 1e4, float("nan")])
def test_what_stands_in_the_padding_does_not_matter(name, fast, filler):
    encoder = make(CONFIGS[name], cpu_fast_path=fast).eval()
    valid = encoder.valid_frames(*padded())
    with torch.no_grad():
        close(encoder(*padded(filler=filler))[valid], encoder(*padded())[valid], 0)


@both_paths
@every_config
@pytest.mark.parametrize("lengths", [(5001,), (5001, 3200)])
def test_a_batch_in_which_nothing_fills_the_time(name, fast, lengths):
    encoder = make(CONFIGS[name], cpu_fast_path=fast).eval()
    speech, _ = padded((8000, *lengths))
    speech, lens = speech[1:], torch.tensor(lengths) / 8000
    with torch.no_grad():
        frames, valid = encoder(speech, lens), encoder.valid_frames(speech, lens)
        layers = encoder.layers(speech, lens)
    assert frames.shape[:2] == valid.shape == (len(lengths), 24)
    assert layers.shape == (4, len(lengths), 24, 16)
    with torch.no_grad():
        for row, mask, own in zip(frames, valid, alone(encoder, speech, lengths), strict=True):
            close(row[mask], own[0], CLOSE.get(name, 1e-5))


@both_paths
@every_config
def test_training_on_a_batch_is_training_on_its_items_alone(name, fast):
    encoder = make(CONFIGS[name], cpu_fast_path=fast).train()
    lengths = LENGTHS[:3]  # batch norm needs more than one frame
    speech, lens = padded(lengths)
    weight = torch.randn(16, generator=torch.Generator().manual_seed(3))

    def gradients(losses) -> dict[str, torch.Tensor]:
        encoder.zero_grad()
        sum(losses).backward()
        named = encoder.named_parameters()
        return {key: p.grad.clone() for key, p in named if p.grad is not None}

    frames, valid = encoder(speech, lens), encoder.valid_frames(speech, lens)
    together = gradients([(frames[valid] @ weight).sin().sum()])
    apart = gradients([(own[0] @ weight).sin().sum() for own in alone(encoder, speech, lengths)])
    named = {key for key, p in encoder.named_parameters() if p.requires_grad}
    # Hugging Face makes these and never uses them
    unused = {key for key in named if "pos_conv_embed" in key and "conformer" in name}
    unused |= {key for key in named if "masked_spec_embed" in key and name == "unispeech-sat"}
    assert together.keys() == apart.keys() == named - unused
    assert any(grad.abs().max() > 1e-2 for grad in together.values())
    for key, grad in apart.items():
        close(together[key], grad, 1e-5 * max(1, float(grad.abs().max()) * 10))


@pytest.mark.parametrize(
    "name", ["wav2vec2-group", "wav2vec2-layer", "hubert-group", "wavlm-group"]
)
def test_as_published_is_the_bare_network_on_the_padded_batch(name):
    published = make(CONFIGS[name], padding="as_published").eval()
    exact = make(CONFIGS[name]).eval()
    torch.manual_seed(0)
    bare = AutoModel.from_config(AutoConfig.for_model(**CONFIGS[name], mask_time_prob=0.0)).eval()
    bare.load_state_dict(published.model.state_dict())
    exact.load_state_dict(published.state_dict())
    speech, lens = padded()
    with torch.no_grad():
        close(published(speech, lens), bare(speech).last_hidden_state, 0)
        assert published.valid_frames(speech, lens).all()
        own, mates = exact(speech, lens)[2, :9], published(speech, lens)[2, :9]
        assert (own - mates).abs().max() > 1e-3, "padding leaks into the published form"
        close(exact(speech[:1], lens[:1]), bare(speech[:1]).last_hidden_state)


@pytest.mark.parametrize("config", [GROUP, GROUP | {"conv_bias": True, "hidden_act": "gelu"}])
def test_equals_torchaudio_with_the_same_weights(config):
    encoder = make(config).eval()
    bare = AutoModel.from_config(encoder.model.config).eval()
    bare.load_state_dict(encoder.model.state_dict())
    logging.getLogger("torchaudio").setLevel(logging.ERROR)
    other = import_huggingface_model(bare).eval()
    speech, lens = padded()
    with torch.no_grad():
        ours, layers = encoder(speech, lens), encoder.layers(speech, lens)
        for i, n in enumerate(LENGTHS):
            theirs, _ = other.extract_features(speech[i : i + 1, :n])
            frames = theirs[-1].shape[1]
            close(ours[i, :frames], theirs[-1][0])
            for layer, block in zip(layers[1:], theirs, strict=True):
                close(layer[i, :frames], block[0])


def test_frames_per_second_of_the_base_architecture():
    encoder = make(padding="exact").eval()
    samples = 16000 * torch.tensor([1, 3, 5, 10, 15])
    assert encoder.num_frames(samples).tolist() == [49, 149, 249, 499, 749]
    assert encoder.num_frames(torch.tensor([400, 719, 720])).tolist() == [1, 1, 2]
    speech = torch.randn(1, 48000)
    assert encoder(speech, torch.ones(1)).shape == (1, 149, 16)
    mask = encoder.valid_frames(torch.zeros(2, 48000), torch.tensor([1.0, 1 / 3]))
    assert mask.shape == (2, 149)
    assert mask.sum(dim=1).tolist() == [149, 49]
    assert mask[1, :49].all()


def test_an_unknown_padding_is_refused():
    with pytest.raises(InputError, match="padding is 'none': use exact or as_published"):
        Encoder(GROUP, padding="none")


# regularisers


def test_every_dropout_reaches_its_module():
    rates = dict(zip(DROPOUTS, (0.11, 0.12, 0.13, 0.14), strict=True))
    for name in ("wav2vec2-group", "wav2vec2-layer", "hubert-group", "wavlm-group", "unispeech"):
        model = Encoder(CONFIGS[name], **rates, layerdrop=0.15).model
        assert model.feature_projection.dropout.p == 0.14
        assert model.encoder.dropout.p == 0.11
        for block in model.encoder.layers:
            assert block.dropout.p == block.feed_forward.output_dropout.p == 0.11
            assert block.attention.dropout == 0.12
            assert block.feed_forward.intermediate_dropout.p == 0.13


@every_config
@pytest.mark.parametrize("setting", [None, *DROPOUTS, "layerdrop"])
def test_each_regulariser_alone_makes_training_random_and_none_leaves_it_exact(name, setting):
    encoder = make(CONFIGS[name], **({setting: 0.5} if setting else {})).train()
    speech, lens = padded(PAIR)
    torch.manual_seed(5)
    with torch.no_grad():
        passes = [encoder(speech, lens) for _ in range(4)]
        same = all(torch.equal(passes[0], other) for other in passes[1:])
    assert same == (setting is None)


def test_the_config_decides_no_regulariser():
    loud = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout"), 0.9)
    loud |= {"feat_proj_dropout": 0.9, "layerdrop": 0.9, "mask_time_prob": 0.9}
    encoder = Encoder(GROUP | loud, **NO_DROPOUT).train()
    speech, lens = padded()
    assert torch.equal(encoder(speech, lens), encoder(speech, lens))


def test_spec_augment_off_has_no_mask_embedding():
    assert not any("mask" in key for key in make().state_dict())
    assert any("masked_spec_embed" in key for key in make(time_mask=0.5).state_dict())
    for setting in ({"time_mask": 0.5}, {"feature_mask": 0.5}):
        encoder = make(**setting, seed=2).train()
        config = encoder.model.config
        config.mask_time_length = config.mask_feature_length = 4
        speech, lens = padded(PAIR)
        first = encoder(speech, lens)
        assert (first - encoder(speech, lens)).abs().max() > 1e-3
        encoder.eval()
        assert torch.equal(encoder(speech, lens), encoder(speech, lens))


# freezing

BELOW = ("feature_extractor.", "feature_projection.", "encoder.pos_conv_embed.")


def frozen_names(encoder) -> set[str]:
    return {key for key, p in encoder.model.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize(
    ("frozen", "starts"),
    [
        ("none", ()),
        ("cnn", BELOW[:1]),
        (0, (*BELOW, "encoder.layer_norm.")),
        (2, (*BELOW, "encoder.layer_norm.", "encoder.layers.0.", "encoder.layers.1.")),
        ("all", ("",)),
    ],
)
@pytest.mark.parametrize(
    "name", ["wav2vec2-group", "hubert-group", "wavlm-group", "data2vec-audio"]
)
def test_frozen_parts(name, frozen, starts):
    encoder = make(CONFIGS[name], frozen=frozen, hidden_dropout=0.3)
    every = {key for key, _ in encoder.model.named_parameters()}
    assert frozen_names(encoder) == {key for key in every if key.startswith(starts)}
    encoder.train()
    for key, module in encoder.model.named_modules():
        own = key + "."
        if starts and own.startswith(tuple(s for s in starts if s)) or starts == ("",):
            assert not module.training, key
        elif key.startswith("encoder.layers.2"):
            assert module.training, key
    encoder.eval()
    assert not any(module.training for module in encoder.modules())


@pytest.mark.parametrize("name", ["wav2vec2-layer", "hubert-layer", "wav2vec2-conformer"])
def test_a_norm_above_the_blocks_is_trained_with_them(name):
    encoder = make(CONFIGS[name], frozen=2)
    assert encoder.model.encoder.layer_norm.weight.requires_grad
    assert encoder.model.encoder.layers[2].final_layer_norm.weight.requires_grad
    assert not encoder.model.encoder.layers[1].final_layer_norm.weight.requires_grad


@pytest.mark.parametrize("frozen", [-1, 4, "2", "some", None, True, 1.0])
def test_an_unknown_freeze_policy_is_refused(frozen):
    with pytest.raises(InputError, match="use none, cnn, all, or 0 to 3 blocks"):
        Encoder(GROUP, frozen=frozen)


def outputs_of(module, run) -> list[torch.Tensor]:
    seen = []
    hook = module.register_forward_hook(lambda _, __, output: seen.append(output))
    run()
    hook.remove()
    return seen


@pytest.mark.parametrize("name", ["wav2vec2-group", "wavlm-group", "wav2vec2-conformer"])
def test_frozen_convolutions_build_no_graph(name):
    speech, lens = padded(PAIR)
    encoder = make(CONFIGS[name], frozen="cnn").train()
    conv = encoder._cnn(speech, lens)
    assert conv.grad_fn is None and not conv.requires_grad
    assert encoder(speech, lens).requires_grad
    encoder.freeze("none")
    assert encoder._cnn(speech, lens).grad_fn is not None


def test_frozen_blocks_build_no_graph_and_neither_does_a_frozen_encoder():
    speech, lens = padded(PAIR)
    encoder = make(frozen=2).train()
    (block, *_) = outputs_of(encoder.blocks[1], lambda: encoder(speech, lens))
    assert block.grad_fn is None
    assert encoder(speech, lens).requires_grad
    encoder.freeze("all")
    assert not encoder(speech, lens).requires_grad
    assert not encoder.layers(speech, lens).requires_grad


REGULARISED = {
    "hidden_dropout": 0.3,
    "attention_dropout": 0.3,
    "activation_dropout": 0.3,
    "projection_dropout": 0.3,
}


def test_all_frozen_is_the_same_in_training_unless_its_dropout_stays_alive():
    speech, lens = padded(PAIR)
    settings = REGULARISED | {"layerdrop": 0.5, "frozen": "all", "time_mask": 0.3}
    encoder = make(**settings).train()
    first = encoder(speech, lens)
    assert torch.equal(first, encoder(speech, lens))
    assert torch.equal(first, encoder.eval()(speech, lens))
    alive = make(**settings, frozen_dropout=True).train()
    assert (alive(speech, lens) - alive(speech, lens)).abs().max() > 1e-2
    assert not alive(speech, lens).requires_grad
    assert torch.equal(first, alive.eval()(speech, lens))


@pytest.mark.parametrize("name", BATCH_NORM)
def test_statistics_of_a_frozen_encoder_stay_with_its_dropout_alive(name):
    encoder = make(CONFIGS[name], frozen="all", frozen_dropout=True, hidden_dropout=0.3).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    speech, lens = padded(PAIR)
    assert not torch.equal(encoder(speech, lens), encoder(speech, lens))
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize("setting", [*DROPOUTS, "layerdrop"])
def test_what_frozen_blocks_give_is_the_same_in_training(setting):
    """Regularisation stops where freezing stops: block 2 of 3 gets the same frames each time."""
    speech, lens = padded(PAIR)
    encoder = make(frozen=2, **{setting: 0.6}).train()

    passes = [outputs_of(encoder.blocks[1], lambda: encoder(speech, lens)) for _ in range(6)]
    assert all(len(seen) == 1 for seen in passes), "a frozen block was dropped"
    assert all(torch.equal(seen[0], passes[0][0]) for seen in passes)
    assert not passes[0][0].requires_grad


@pytest.mark.parametrize("frozen", ["none", "cnn", 1, "all"])
@pytest.mark.parametrize("name", ["wav2vec2-group", "wavlm-layer", "hubert-batch-norm"])
def test_one_step_changes_what_is_trained_and_nothing_else(name, frozen):
    encoder = make(CONFIGS[name], frozen=frozen).train()
    head = torch.nn.Linear(16, 1)
    before = {key: p.detach().clone() for key, p in encoder.named_parameters()}
    buffers = {key: b.clone() for key, b in encoder.named_buffers()}
    trained = [p for p in (*encoder.parameters(), *head.parameters()) if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.01)
    speech, lens = padded(PAIR)
    head(encoder(speech, lens)).sin().sum().backward()
    optimizer.step()
    for key, parameter in encoder.named_parameters():
        assert torch.equal(parameter, before[key]) != parameter.requires_grad, key
    moved = {key for key, b in encoder.named_buffers() if not torch.equal(b, buffers[key])}
    statistics = {key for key in buffers if "pos_conv_embed" in key and "num_batches" not in key}
    if name == "hubert-batch-norm" and frozen in ("none", "cnn"):
        assert statistics <= moved
    else:
        assert not moved


def test_the_mask_embedding_is_frozen_with_what_it_enters():
    speech, lens = padded(PAIR)
    encoder = make(frozen=1, time_mask=0.9).train()
    assert not encoder.model.masked_spec_embed.requires_grad
    (block, *_) = outputs_of(encoder.blocks[0], lambda: encoder(speech, lens))
    assert not block.requires_grad
    encoder.freeze("cnn")
    assert encoder.model.masked_spec_embed.requires_grad


# layers


@both_paths
@every_config
def test_layers(name, fast):
    encoder = make(CONFIGS[name], cpu_fast_path=fast).eval()
    speech, lens = padded()
    with torch.no_grad():
        layers, valid = encoder.layers(speech, lens), encoder.valid_frames(speech, lens)
        assert layers.shape == (4, 4, 24, 16)
        assert torch.equal(layers[-1], encoder(speech, lens))
        model = encoder.model
        for i, (n, mask) in enumerate(zip(LENGTHS, valid, strict=True)):
            conv = model.feature_extractor(speech[i : i + 1, :n]).transpose(1, 2)
            projected = model.feature_projection(conv)
            projected = projected[0] if isinstance(projected, tuple) else projected
            close(layers[0, i, mask], projected[0])
            theirs = model(speech[i : i + 1, :n], output_hidden_states=True).hidden_states
            for block in range(1, 3):  # of theirs, 0 stands behind the positional convolution
                close(layers[block, i, mask], theirs[block][0])


@every_config
def test_layerdrop_leaves_no_gap_in_layers(name):
    encoder = make(CONFIGS[name], layerdrop=0.9).train()
    speech, lens = padded(PAIR)
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            layers = encoder.layers(speech, lens)
            assert layers.shape[0] == 4
        valid = encoder.valid_frames(speech, lens)
        dropped = [encoder(speech, lens) for _ in range(3)]  # LayerDrop is back on
        assert any((frames - layers[-1])[valid].abs().max() > 1e-3 for frames in dropped)
        if name not in BATCH_NORM:  # their statistics are the batch's in training
            close(layers[:, valid], encoder.eval().layers(speech, lens)[:, valid])


def test_layers_leaves_nothing_behind_after_an_error():
    encoder = make(layerdrop=0.9).train()
    modules = (encoder.model.feature_projection, *encoder.blocks)
    before = [len(module._forward_hooks) for module in modules]
    with pytest.raises(RuntimeError):
        encoder.layers(torch.zeros(1, 5), torch.ones(1))  # too short for the convolutions
    assert [len(module._forward_hooks) for module in modules] == before
    speech, lens = padded(PAIR)
    passes = [encoder(speech, lens) for _ in range(4)]
    assert not all(torch.equal(passes[0], other) for other in passes[1:]), "LayerDrop is back on"


# sources


@pytest.fixture
def hub_folder(tmp_path):
    """A folder in the hub's format, and the network saved in it."""
    torch.manual_seed(4)
    network = AutoModel.from_config(AutoConfig.for_model(**GROUP)).eval()
    network.save_pretrained(tmp_path / "hub")
    return tmp_path / "hub", network


def same_as(network, source) -> None:
    encoder = Encoder(str(source), **NO_DROPOUT).eval()
    speech, _ = padded((8000,))
    with torch.no_grad():
        close(encoder(speech, torch.ones(1)), network(speech).last_hidden_state)


def test_a_local_folder_gives_its_weights(hub_folder):
    folder, network = hub_folder
    same_as(network, folder)


def older(weights: dict) -> dict:
    """The names in checkpoints of wav2vec 2.0 pretraining, with a head this package ignores."""
    names = {"parametrizations.weight.original0": "weight_g"}
    names |= {"parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for key, value in weights.items():
        for new, old in names.items():
            key = key.replace(new, old)
        renamed[f"wav2vec2.{key}"] = value
    return renamed | {"quantizer.codevectors": torch.zeros(1, 2, 3)}


def test_older_weight_names_and_formats_load(hub_folder):
    folder, network = hub_folder
    path = folder / "model.safetensors"
    weights = older(safetensors.torch.load_file(path))
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})
    same_as(network, folder)
    path.unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    same_as(network, folder)


def test_half_precision_weights_are_used_in_single_precision(hub_folder):
    folder, network = hub_folder
    network.half().save_pretrained(folder)
    encoder = Encoder(str(folder))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    same_as(network.float(), folder)


def test_weights_of_another_network_are_refused(hub_folder):
    folder, _ = hub_folder
    path = folder / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    part = {key: value for key, value in weights.items() if "layers.1." not in key}
    for wrong in (part, {"something": torch.zeros(2)}):
        safetensors.torch.save_file(wrong, path, metadata={"format": "pt"})
        with pytest.raises(InputError, match=str(folder)) as error:
            Encoder(str(folder))
        assert "\n" not in str(error.value)


def test_a_config_gives_random_weights_from_the_seed(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(GROUP))
    torch.manual_seed(0)
    by_path = Encoder(str(path)).state_dict()
    torch.manual_seed(0)
    by_mapping = Encoder(GROUP).state_dict()
    other = Encoder(GROUP).state_dict()
    assert by_path.keys() == by_mapping.keys()
    assert all(torch.equal(by_path[key], by_mapping[key]) for key in by_path)
    assert not all(torch.equal(by_path[key], other[key]) for key in by_path)


@pytest.mark.parametrize(
    "case",
    ["missing", "no-config", "truncated", "random-bytes", "mismatch", "bert", "speecht5", "json"],
)
def test_a_bad_source_is_one_sentence_with_its_name(case, hub_folder, tmp_path):
    folder, _ = hub_folder
    source = folder
    weights = folder / "model.safetensors"
    config = json.loads((folder / "config.json").read_text())
    if case == "missing":
        source = tmp_path / "nowhere"
    elif case == "no-config":
        (folder / "config.json").unlink()
    elif case == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif case == "random-bytes":
        weights.write_bytes(bytes(range(256)) * 20)
    elif case == "mismatch":
        (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    elif case == "json":
        source = tmp_path / "broken.json"
        source.write_text("{")
    else:
        shutil.rmtree(folder)
        kind = "model_type"
        small = dict.fromkeys(("num_hidden_layers", "encoder_layers", "decoder_layers"), 1)
        small |= {"hidden_size": 24, "num_attention_heads": 12}
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(small | {kind: case}))
        source = folder / "config.json" if case == "speecht5" else folder
    with pytest.raises(InputError) as error:
        Encoder(str(source))
    assert str(source) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert"},
        {"model_type": "no-such-type"},
        {"hidden_size": 16},
        GROUP | {"num_attention_heads": 3},
    ],
)
def test_a_bad_config_is_one_sentence(config):
    with pytest.raises(InputError) as error:
        Encoder(config)
    assert "\n" not in str(error.value)


@every_config
def test_describe_builds_the_same_network_anew(name):
    encoder = make(CONFIGS[name], seed=7, time_mask=0.1).eval()
    description = json.loads(json.dumps(encoder.describe()))  # plain values only
    again = make(description, seed=8, time_mask=0.1).eval()
    shapes = {key: value.shape for key, value in encoder.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes
    again.load_state_dict(encoder.state_dict())
    speech, lens = padded()
    with torch.no_grad():
        assert torch.equal(again(speech, lens), encoder(speech, lens))


def test_describe_of_a_local_folder_names_no_folder(hub_folder):
    folder, _ = hub_folder
    assert str(folder) not in json.dumps(Encoder(str(folder)).describe())


def test_the_default_config_is_wav2vec2_base():
    with torch.device("meta"):
        encoder = Encoder({"model_type": "wav2vec2"})
    assert encoder.dim == 768
    assert len(encoder.blocks) == 12
    assert encoder.model.config.feat_extract_norm == Wav2Vec2Config().feat_extract_norm == "group"
    assert sum(p.numel() for p in encoder.parameters()) == 94_370_944
    assert sum(p.numel() for p in encoder.model.feature_extractor.parameters()) == 4_200_448


def test_a_masked_group_norm_is_that_of_each_item_alone():
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(6, 6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    features, frames = 5 + 3 * torch.randn(3, 6, 40), torch.tensor([40, 7, 23])
    found = ValidGroupNorm(norm)._masked(features, frames)
    for item, length, normal in zip(features, frames.tolist(), found, strict=True):
        torch.testing.assert_close(normal[:, :length], norm(item[None, :, :length])[0])
        assert not normal[:, length:].any()


def test_frames_of_a_number_are_those_of_a_tensor_and_hugging_face_s():
    encoder = Encoder(GROUP)
    samples = torch.arange(400, 50_000, 37)
    frames = encoder.num_frames(samples)
    assert frames.tolist() == [encoder.num_frames(n) for n in samples.tolist()]
    assert torch.equal(frames, encoder.model._get_feat_extract_output_lengths(samples).long())


def test_an_adapter_shortens_the_frames_and_is_never_cached():
    config = GROUP | {"add_adapter": True, "num_adapter_layers": 2, "output_hidden_size": 16}
    encoder = make(config, frozen="cnn", padding="as_published").eval()
    speech, lens = padded(PAIR)
    with torch.no_grad():
        frames = encoder(speech, lens)
        expected = encoder.model(speech).last_hidden_state
    assert torch.equal(frames, expected)
    assert frames.shape[1] < encoder.cnn_frames(speech.shape[1])
    assert make(config, frozen="cnn").depth == -1
