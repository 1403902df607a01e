"""Networks: Park 2023's sizes and equations by hand, regimes, an answer without padding in it."""

import pytest
import torch

from speechbrain_ser.errors import InputError
from speechbrain_ser.models.emotion import EmotionNetwork, FusionNetwork
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.heads import CosineHead, LinearHead
from speechbrain_ser.models.pooling import AttentionMaxPooling, ParallelAttentionPooling
from speechbrain_ser.models.speaker import EcapaNetwork, SpeakerNetwork

BASE = {"model_type": "wav2vec2"}  # facebook/wav2vec2-base is transformers' default
SMALL = {
    "model_type": "wav2vec2",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
EMOTIONS = ["angry", "happy", "sad", "neutral"]
SPEAKERS = ["Ses01F", "Ses01M", "Ses02F"]
LENGTHS = (8000, 5001, 3200, 400)
DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout", "projection_dropout")


def encoder(config=SMALL, dropout=0.1, **settings) -> Encoder:
    return Encoder(config, **(dict.fromkeys(DROPOUTS, dropout) | settings))


def speaker_network(heads=4, dropout=0.1, **settings) -> SpeakerNetwork:
    pooling = AttentionMaxPooling(16, heads, dropout)
    return SpeakerNetwork(encoder(dropout=dropout, **settings), pooling, CosineHead(16, SPEAKERS))


def emotion_network(blocks=2, dropout=0.1, head=CosineHead, **settings) -> EmotionNetwork:
    pooling = ParallelAttentionPooling(16, blocks, 4, dropout)
    return EmotionNetwork(encoder(dropout=dropout, **settings), pooling, head(16, EMOTIONS))


def ecapa(dim=16) -> EcapaNetwork:
    return EcapaNetwork(CosineHead(dim, SPEAKERS), dim, (16, 16, 16, 16, 48), attention_channels=8)


def fusion_network(regime="frozen", seed=0, dropout=0.1, **settings) -> FusionNetwork:
    torch.manual_seed(seed)
    return FusionNetwork(
        speaker_network(dropout=dropout),
        emotion_network(dropout=dropout),
        regime,
        CosineHead(16, SPEAKERS[:2]),
        **settings,
    )


def padded(lengths=LENGTHS, filler=0.0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    speech = torch.full((len(lengths), max(lengths)), filler)
    for row, length in zip(speech, lengths, strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=draw)
    return speech, torch.tensor(lengths) / max(lengths)


def represent(network, speech, lens) -> tuple[torch.Tensor, torch.Tensor]:
    """The fused and the speaker embedding, [batch, dim] each."""
    frames, counts, speaker = network.encode(speech, lens)
    return network.pool(frames, counts, speaker), speaker


def close(left, right, tolerance=1e-5):
    torch.testing.assert_close(left, right, atol=tolerance, rtol=0)


def count(module, trained=False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


# sizes


def test_park_2023_s_numbers_of_parameters():
    with torch.device("meta"):

        def emotion(blocks):
            pooling = ParallelAttentionPooling(768, blocks)
            return EmotionNetwork(Encoder(BASE), pooling, CosineHead(768, EMOTIONS))

        speaker = SpeakerNetwork(
            Encoder(BASE), AttentionMaxPooling(768), CosineHead(768, [str(i) for i in range(1251)])
        )
        assert count(AttentionMaxPooling(768)) == count(AttentionMaxPooling(768, 1)) == 2_362_368
        assert count(speaker) == 97_694_080
        assert count(emotion(1)) == 97_327_744
        assert count(emotion(4)) == 104_417_152
        fused = FusionNetwork(speaker, emotion(4), "frozen", CosineHead(768, SPEAKERS))
        assert count(fused) == 202_112_000
        assert count(fused, trained=True) == 100_217_472


# pooling


def softmax_attention(block: AttentionMaxPooling, frames: torch.Tensor, heads: int):
    """Multi-head self-attention and the maximum over time of frames [frame, dim], by loops."""
    weights = {key: value.double() for key, value in block.attention.state_dict().items()}
    query, key, value = (frames.double() @ weights["in_proj_weight"].T).chunk(3, dim=1)
    bias = weights["in_proj_bias"].chunk(3)
    query, key, value = query + bias[0], key + bias[1], value + bias[2]
    size = frames.shape[1] // heads
    rows = []
    for t in range(len(frames)):
        parts = []
        for head in range(heads):
            span = slice(head * size, (head + 1) * size)
            scores = [float(query[t, span] @ key[u, span]) / size**0.5 for u in range(len(frames))]
            probs = torch.tensor(scores, dtype=torch.float64).softmax(dim=0)
            parts.append(sum(p * value[u, span] for u, p in enumerate(probs)))
        rows.append(weights["out_proj.weight"] @ torch.cat(parts) + weights["out_proj.bias"])
    return torch.stack(rows).max(dim=0).values


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_attention_max_pooling_by_loops(heads, dtype):
    torch.manual_seed(0)
    block = AttentionMaxPooling(8, heads).to(dtype).eval()
    torch.nn.init.normal_(block.attention.in_proj_bias)
    torch.nn.init.normal_(block.attention.out_proj.bias)
    frames = torch.randn(3, 6, 8, dtype=dtype)
    numbers = torch.tensor([6, 4, 1])
    valid = torch.arange(6) < numbers.unsqueeze(1)
    with torch.no_grad():
        pooled = block(frames, valid)
        filled = block(frames.masked_fill(~valid.unsqueeze(2), 1e4), valid)
    tracked = block(frames, valid)  # torch takes another path where gradients are wanted
    for i, n in enumerate(numbers):
        expected = softmax_attention(block, frames[i, :n], heads).to(dtype)
        for result in (pooled, filled, tracked):
            close(result[i], expected, 1e-12 if dtype == torch.float64 else 1e-5)
    everything = block(frames, torch.ones_like(valid))
    close(everything[2], softmax_attention(block, frames[2], heads).to(dtype))


def test_dropout_of_the_attention_probabilities():
    block = AttentionMaxPooling(8, 4, dropout=0.5)
    frames, valid = torch.randn(2, 6, 8), torch.ones(2, 6, dtype=torch.bool)
    assert not torch.equal(block.train()(frames, valid), block(frames, valid))
    assert torch.equal(block.eval()(frames, valid), block(frames, valid))


def test_one_head_s_weights_with_four_heads():
    torch.manual_seed(0)
    one, four = AttentionMaxPooling(8, 1).eval(), AttentionMaxPooling(8, 4).eval()
    four.load_state_dict(one.state_dict())
    frames, valid = torch.randn(2, 6, 8), torch.ones(2, 6, dtype=torch.bool)
    expected = [four(frames, valid), one(frames, valid)]
    assert (expected[0] - expected[1]).abs().max() > 1e-4
    one.set_heads(4)
    close(one(frames, valid), expected[0])
    one.set_heads(1)
    close(one(frames, valid), expected[1])


def test_heads_that_do_not_divide_the_embedding_are_refused():
    with pytest.raises(InputError, match="heads"):
        fusion_network(speaker_attention_heads=5)


def test_parallel_blocks_read_the_same_frames():
    torch.manual_seed(0)
    pooling = ParallelAttentionPooling(8, blocks=3, heads=2).eval()
    frames = torch.randn(2, 6, 8)
    valid = torch.arange(6) < torch.tensor([[6], [4]])
    rows = pooling(frames, valid)
    assert rows.shape == (2, 3, 8)
    weight, bias = pooling.linear.weight, pooling.linear.bias
    rectified = torch.stack(
        [torch.stack([weight @ f.clamp(min=0) + bias for f in i]) for i in frames]
    )
    for k, block in enumerate(pooling.blocks):
        close(rows[:, k], block(rectified, valid))
    assert (rows[:, 0] - rows[:, 1]).abs().max() > 1e-3


# heads


def test_cosines_are_normalised_dot_products():
    torch.manual_seed(0)
    head = CosineHead(6, EMOTIONS)
    embedding = torch.randn(5, 6)
    embedding[4] = 3 * head.centres.weight[2].detach()  # the same direction as a centre
    cosines = head(embedding)
    assert head.centres.weight.shape == (4, 6)
    assert head.centres.weight.abs().max() <= (6 / (4 + 6)) ** 0.5  # Xavier, uniform
    for i in range(5):
        for c in range(4):
            x, w = embedding[i].double(), head.centres.weight[c].double()
            cosine = float((x * w).sum() / (x.norm() * w.norm()))
            assert float(cosines[i, c]) == pytest.approx(cosine, abs=1e-6)
    assert cosines.abs().max() <= 1
    assert float(cosines[4, 2]) == pytest.approx(1, abs=1e-6)
    close(head(1000 * embedding), cosines)
    close(
        head.probs(cosines),
        torch.stack([(30 * row).exp() / (30 * row).exp().sum() for row in cosines]),
    )
    assert count(head) == 24


def test_a_linear_head_is_one_linear_layer():
    head = LinearHead(6, EMOTIONS)
    embedding = torch.randn(5, 6)
    close(head(embedding), embedding @ head.weight.T + head.bias)
    close(head.probs(head(embedding)).sum(dim=1), torch.ones(5))
    assert count(head) == 28


# emotion and fusion


def test_tensor_fusion_by_loops():
    torch.manual_seed(0)
    network = emotion_network(blocks=3).eval()
    assert network.fusion.shape == (1, 3, 16)
    speech, lens = padded()
    with torch.no_grad():
        frames = network.encoder(speech, lens)
        rows = network.pooling(frames, network.encoder.valid_frames(speech, lens))
        embedding = network.embed(speech, lens)
        expected = torch.zeros(4, 16)
        for i in range(4):
            for k in range(3):
                for d in range(16):
                    expected[i, d] += network.fusion[0, k, d] * rows[i, k, d]
        close(embedding, expected)
        close(network(speech, lens), network.head(expected))


def test_fusion_adds_the_speaker_s_row():
    network = fusion_network().eval()
    assert network.fusion.shape == (1, 16)
    speech, lens = padded()
    with torch.no_grad():
        speaker = network.speaker.embed(speech, lens)
        emotion = network.emotion.embed(speech, lens)
        expected = torch.zeros(4, 16)
        for i in range(4):
            for d in range(16):
                expected[i, d] = emotion[i, d] + network.fusion[0, d] * speaker[i, d]
        fused, own = represent(network, speech, lens)
        close(fused, expected)
        close(own, speaker)
        close(network.embed(speech, lens), expected)
        close(network(speech, lens), network.emotion.head(expected))
    assert network.head is network.emotion.head


@pytest.mark.parametrize("make", [speaker_network, emotion_network, fusion_network, ecapa])
def test_logits_do_not_depend_on_batch_mates(make):
    torch.manual_seed(0)
    network = make().eval()
    lengths = LENGTHS[:3]
    speech, lens = padded(lengths)
    with torch.no_grad():
        logits = network(speech, lens)
        for i, n in enumerate(lengths):
            close(network(speech[i : i + 1, :n], torch.ones(1))[0], logits[i])
        close(network(*padded(lengths, filler=0.5)), logits, 0)
        close(network(speech.flip(0), lens.flip(0)).flip(0), logits)
        close(network(speech[1:], lens[1:]), logits[1:])  # nothing fills the time
        close(network(speech[1:2], lens[1:2]), logits[1:2])
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_as_published_pools_over_padding():
    torch.manual_seed(0)
    network = speaker_network(padding="as_published").eval()
    speech, lens = padded()
    with torch.no_grad():
        frames = network.encoder.model(speech).last_hidden_state
        attended = network.pooling.attention(frames, frames, frames)[0]
        close(network.embed(speech, lens), attended.max(dim=1).values)


# regimes

SPEAKER_PARTS = ("speaker.encoder.", "speaker.pooling.", "speaker.head.")
CNN = ("speaker.encoder.model.feature_extractor.", "emotion.encoder.model.feature_extractor.")
FROZEN = {
    "frozen": (*SPEAKER_PARTS, CNN[1]),
    "arcface": (SPEAKER_PARTS[0], SPEAKER_PARTS[2], CNN[1]),
    "all": (SPEAKER_PARTS[2], *CNN),
}


@pytest.mark.parametrize("regime", FROZEN)
def test_what_a_regime_trains(regime):
    network = fusion_network(regime).train()
    frozen = {key for key, p in network.named_parameters() if not p.requires_grad}
    every = {key for key, _ in network.named_parameters()}
    assert frozen == {key for key in every if key.startswith(FROZEN[regime])}
    assert any(key.startswith("speaker_head.") for key in every) == (regime != "frozen")
    for key, module in network.named_modules():
        if (key + ".").startswith(FROZEN[regime]):
            assert not module.training, key
        elif isinstance(module, torch.nn.Dropout | torch.nn.MultiheadAttention):
            assert module.training, key
    assert not any(module.training for module in network.eval().modules())


@pytest.mark.parametrize("regime", FROZEN)
def test_one_step_changes_what_a_regime_trains_and_nothing_else(regime):
    network = fusion_network(regime, dropout=0.0).train()
    before = {key: p.detach().clone() for key, p in network.named_parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.01)
    speech, lens = padded()
    fused, speaker = represent(network, speech, lens)
    loss = network.head(fused).sin().sum()
    if regime != "frozen":
        loss = loss + network.speaker_head(speaker).sin().sum()
    loss.backward()
    optimizer.step()
    for key, parameter in network.named_parameters():
        assert torch.equal(parameter, before[key]) != parameter.requires_grad, key


@pytest.mark.parametrize("regime", FROZEN)
def test_the_emotion_loss_reaches_a_trained_speaker_network(regime):
    network = fusion_network(regime).train()
    network(*padded()).sin().sum().backward()
    attention = network.speaker.pooling.attention.in_proj_weight.grad
    block = network.speaker.encoder.blocks[0].final_layer_norm.weight.grad
    assert (attention is not None and attention.abs().sum() > 0) == (regime != "frozen")
    assert (block is not None and block.abs().sum() > 0) == (regime == "all")
    assert network.fusion.grad.abs().sum() > 0


def test_a_frozen_speaker_network_builds_no_graph():
    for frozen in ("none", "cnn"):
        network = FusionNetwork(speaker_network(frozen=frozen), emotion_network()).train()
        assert not represent(network, *padded())[1].requires_grad
        assert represent(network, *padded())[0].requires_grad


def same_checkpoint(**settings) -> FusionNetwork:
    """A fusion network whose two CNNs come from one checkpoint."""
    network = fusion_network(dropout=0.0, **settings)
    own = network.emotion.encoder.model.feature_extractor.state_dict()
    network.speaker.encoder.model.feature_extractor.load_state_dict(own)
    return network


@pytest.mark.parametrize("regime", ["frozen", "arcface", "all"])
def test_one_cnn_is_computed_once_with_the_same_answers(regime):
    once, twice = same_checkpoint(regime=regime), same_checkpoint(regime=regime, share_cnn=False)
    calls = []
    for network in (once, twice):
        for name, own in (("emotion", network.encoder), ("speaker", network.speaker.encoder)):
            own._cnn = lambda *given, name=name, cnn=own._cnn: calls.append(name) or cnn(*given)
    for mode in (True, False):
        found, wanted = (represent(n.train(mode), *padded()) for n in (once, twice))
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other)
        assert calls == ["emotion", "speaker", "emotion"]
        calls.clear()
    for network, (fused, speaker) in ((once, found), (twice, wanted)):
        (fused.sum() + speaker.sum()).backward()
        network.fusion.grad = None
    gradients = [
        {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        for network in (once, twice)
    ]
    assert gradients[0].keys() == gradients[1].keys() != set()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-5, rtol=1e-4)


def test_networks_of_different_cnns_compute_both():
    assert not fusion_network().eval().one_cnn
    assert same_checkpoint().eval().one_cnn
    published = EmotionNetwork(
        encoder(padding="as_published"), ParallelAttentionPooling(16), CosineHead(16, EMOTIONS)
    )
    assert not FusionNetwork(speaker_network(), published).eval().one_cnn
    assert not FusionNetwork(ecapa(), emotion_network()).eval().one_cnn
    tuned = FusionNetwork(speaker_network(frozen="none"), emotion_network())
    assert not tuned.eval().one_cnn


def test_dropout_of_a_frozen_speaker_network_is_off_unless_kept_alive():
    speech, lens = padded()
    quiet, alive = fusion_network(dropout=0.3), fusion_network(dropout=0.3, frozen_dropout=True)
    passes = [[represent(n.train(), speech, lens)[1] for _ in range(2)] for n in (quiet, alive)]
    assert torch.equal(*passes[0])
    assert (passes[1][0] - passes[1][1]).abs().max() > 1e-3
    assert torch.equal(passes[0][0], represent(alive.eval(), speech, lens)[1])


def test_layerdrop_of_both_encoders_is_set_by_the_fusion():
    speech, lens = padded()
    for layerdrop in (0.0, 0.9):
        network = fusion_network("all", dropout=0.0, layerdrop=layerdrop).train()
        for part in (network.speaker.encoder, network.emotion.encoder):
            with torch.no_grad():
                passes = [part(speech, lens) for _ in range(4)]
            same = all(torch.equal(passes[0], other) for other in passes[1:])
            assert same == (layerdrop == 0)


def test_fusion_uses_another_number_of_heads():
    for heads in (1, 4, None):
        speaker = speaker_network(heads=1)
        FusionNetwork(speaker, emotion_network(), speaker_attention_heads=heads)
        assert speaker.pooling.attention.num_heads == (heads or 1)


def test_one_head_s_network_loads_into_one_with_four_and_keeps_its_heads():
    trained, network = speaker_network(heads=1), speaker_network(heads=4)
    network.load_state_dict(trained.state_dict())
    fused = FusionNetwork(network, emotion_network(), speaker_attention_heads=1).eval()
    speech, lens = padded()
    close(represent(fused, speech, lens)[1], trained.eval().embed(speech, lens))


# ECAPA-TDNN in the speaker network's place


@pytest.mark.parametrize("regime", FROZEN)
def test_fusion_with_ecapa(regime):
    torch.manual_seed(0)
    network = FusionNetwork(
        ecapa(), emotion_network(), regime, CosineHead(16, SPEAKERS), speaker_attention_heads=4
    ).train()
    lengths = LENGTHS[:3]
    fused, speaker = represent(network, *padded(lengths))
    assert fused.shape == speaker.shape == (3, 16)
    before = {key: value.clone() for key, value in network.speaker.state_dict().items()}
    represent(network, *padded(lengths))
    if regime != "all":  # the statistics of a frozen network are frozen too
        after = network.speaker.state_dict()
        assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_frozen_ecapa_stays_what_it_is_with_its_dropout_alive():
    network = FusionNetwork(ecapa(), emotion_network(), frozen_dropout=True).train()
    before = {key: value.clone() for key, value in network.speaker.state_dict().items()}
    represent(network, *padded(LENGTHS[:3]))
    after = network.speaker.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_embeddings_of_two_sizes_are_refused():
    with pytest.raises(InputError, match="has 24 dimensions and the emotion embedding 16"):
        FusionNetwork(ecapa(24), emotion_network())


def test_an_unknown_regime_is_refused():
    with pytest.raises(InputError, match="regime is 'thawed': use one of frozen, arcface, all"):
        fusion_network("thawed")
