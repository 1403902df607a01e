"""The fast path of a CPU: its attention and dropout by hand, its encoder by the padded one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_encoder import CLOSE, CONFIGS, close, make, padded
from torch import nn
from torch.autograd import gradcheck
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention

from speechbrain_ser.models.encoders import fast_path
from speechbrain_ser.models.encoders.waveform import RESUMED

LENGTHS = (8000, 5001, 3200)  # samples: 24, 15 and 9 frames
LAYERED = [f"{name}-{norm}" for name in ("wav2vec2", "hubert") for norm in ("group", "layer")]
EVERY = [*LAYERED, "unispeech", "unispeech-sat", "data2vec-audio"]
DROPPED = {"hidden_dropout": 0.3, "attention_dropout": 0.3, "activation_dropout": 0.3}


def heads(*shape, dtype=torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for _ in range(3)]


# dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_mask_drops_its_share_in_every_position(p):
    torch.manual_seed(0)
    masks = torch.stack([fast_path.keep_mask(torch.Size([5, 7]), p) for _ in range(4000)])
    dropped = 1 - masks.double().mean(dim=0)  # [5, 7]
    assert masks.dtype == torch.bool
    sigma = (p * (1 - p) / 4000) ** 0.5
    assert (dropped - p).abs().max() < 4.5 * sigma
    assert abs(float(dropped.mean()) - p) < 4.5 * sigma / 35**0.5
    neighbours = torch.corrcoef(masks.flatten(1).double().T) - torch.eye(35)
    assert neighbours.abs().max() < 4.5 / 4000**0.5, "four masks come from one random number"


def test_the_share_is_the_nearest_of_65536_steps(monkeypatch):
    numbers = torch.arange(-(2**15), 2**15, dtype=torch.int16)  # every one that 16 bits can be
    monkeypatch.setattr(torch.Tensor, "random_", lambda *_: numbers.view(torch.int64))
    for p in (0.1, 0.25, 1 / 3, 0.999):
        kept = fast_path.keep_mask(numbers.shape, p).double().mean()
        assert abs(float(kept) - (1 - p)) <= 0.5 / 65536
        assert float(kept) * fast_path.gain(p) == pytest.approx(1, abs=1e-12)


def test_a_seed_decides_the_mask():
    torch.manual_seed(3)
    one, two = (fast_path.keep_mask(torch.Size([33]), 0.5) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(fast_path.keep_mask(torch.Size([33]), 0.5), one)
    assert not torch.equal(one, two)
    assert fast_path.keep_mask(torch.Size([0, 4]), 0.5).shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_scaled_or_drops_value_and_gradient(dtype):
    inputs = torch.full((64, 32), 2.0, dtype=dtype, requires_grad=True)
    outputs = fast_path.Dropout(0.25)(inputs)
    outputs.sum().backward()
    kept = outputs != 0
    assert outputs.dtype == dtype and 0.6 < kept.double().mean() < 0.9
    torch.testing.assert_close(outputs[kept], torch.full_like(outputs[kept], 2 / 0.75))
    assert torch.equal(inputs.grad * 2, outputs.detach())


def test_dropout_is_nn_dropout_otherwise():
    inputs = torch.randn(8, 4)
    assert fast_path.Dropout(0.5).eval()(inputs) is inputs
    assert torch.equal(fast_path.Dropout(0.0)(inputs), inputs)
    for p in (1.0, 1 - 1e-9):
        assert torch.equal(fast_path.Dropout(p)(inputs), torch.zeros(8, 4))
    assert isinstance(fast_path.Dropout(0.5), nn.Dropout)


# attention


def by_hand(query, key, value, keep, p, scale):
    answer = torch.zeros_like(value)
    for head in range(len(query)):
        for i in range(query.shape[1]):
            scores = torch.stack([scale * query[head, i].dot(k) for k in key[head]])
            weights = scores.exp() / scores.exp().sum()
            for j, weight in enumerate(weights):
                answer[head, i] += weight * keep[head, i, j] / (1 - p) * value[head, j]
    return answer


def test_attention_by_a_loop_with_its_mask():
    query, key, value = heads(2, 5, 3, dtype=torch.float64)
    torch.manual_seed(1)
    answer = fast_path.attend(query, key, value, 0.25, 0.7)
    torch.manual_seed(1)
    keep = fast_path.keep_mask(torch.Size([2, 5, 5]), 0.25)
    assert 0 < keep.sum() < keep.numel()
    with torch.no_grad():
        torch.testing.assert_close(answer, by_hand(query, key, value, keep, 0.25, 0.7))


def test_the_gradients_of_attention():
    def seeded(query, key, value):
        torch.manual_seed(1)
        return fast_path.attend(query, key, value, 0.25, 0.7)

    assert gradcheck(seeded, heads(2, 5, 3, dtype=torch.float64))


def test_attention_with_nothing_dropped_is_torch_s():
    with torch.no_grad():
        query, key, value = heads(2, 9, 4)
        wanted = scaled_dot_product_attention(query, key, value)
        close(fast_path.attend(query, key, value, 0.0, 0.5), wanted, 1e-6)
        close(fast_path.attend(query, key, value, 1e-9, 0.5), wanted, 1e-6)
        close(fast_path.attend(query, key, value, 1 / 2**16, 0.5), wanted, 1e-3)  # ones, as good as
        assert not fast_path.attend(query, key, value, 1.0, 0.5).any()


def test_the_mean_over_masks_is_attention_without_dropout():
    with torch.no_grad():
        query, key, value = heads(2, 6, 4)
        draws = [fast_path.attend(query, key, value, 0.3, 0.5) for _ in range(3000)]
        wanted = scaled_dot_product_attention(query, key, value)
    deviation = torch.stack(draws).std(dim=0) / 3000**0.5
    assert ((torch.stack(draws).mean(dim=0) - wanted).abs() < 4.5 * deviation).all()


def test_utterances_end_to_end_do_not_see_each_other():
    counts = [3, 1, 5]
    with torch.no_grad():
        query, key, value = heads(1, 2, 9, 4)  # [batch, head, frame, dim]
        together, weights = fast_path.attention(None, query, key, value, counts, scaling=0.5)
        assert together.shape == (1, 9, 2, 4) and weights is None
        start = 0
        for count in counts:
            own = [x[:, :, start : start + count] for x in (query, key, value)]
            wanted = scaled_dot_product_attention(*own).transpose(1, 2)
            close(together[:, start : start + count], wanted, 1e-6)
            start += count


def test_a_whole_batch_draws_as_its_items_do():
    query, key, value = heads(2, 3, 7, 4)
    torch.manual_seed(2)
    batch, _ = fast_path.attention(None, query, key, value, None, dropout=0.4, scaling=0.5)
    torch.manual_seed(2)
    for item in range(2):
        own = fast_path.attend(query[item], key[item], value[item], 0.4, 0.5)
        assert torch.equal(batch[item], own.transpose(0, 1))


def test_attention_keeps_one_byte_per_weight_and_no_other_square():
    kept = []
    query, key, value = heads(4, 200, 8)
    with saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        fast_path.attend(query, key, value, 0.1, 0.3)
    squares = [x for x in kept if x.numel() >= 4 * 200 * 200]
    assert [x.dtype for x in squares] == [torch.bool]


# in an encoder


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("frozen", ["none", "cnn", 2, "all"])
def test_an_encoder_is_the_padded_one(name, frozen):
    fast = make(CONFIGS[name], frozen=frozen).train()
    slow = make(CONFIGS[name], frozen=frozen, cpu_fast_path=False).train()
    speech, lens = padded(LENGTHS)
    assert fast.is_packed(speech) and not slow.is_packed(speech)
    valid = fast.valid_frames(speech, lens)
    weight = torch.randn(16, generator=torch.Generator().manual_seed(3))
    for encoder in (fast, slow):
        frames = encoder(speech, lens)
        if frozen != "all":
            (frames[valid] @ weight).sin().sum().backward()
    close(fast(speech, lens)[valid], slow(speech, lens)[valid], CLOSE.get(name, 1e-5))
    gradients = [{k: p.grad for k, p in x.named_parameters()} for x in (fast, slow)]
    for key, gradient in gradients[0].items():
        assert (gradient is None) == (gradients[1][key] is None), key
        if gradient is not None:
            other = gradients[1][key]
            close(gradient, other, 1e-4 * max(1.0, float(other.abs().max())))
    with torch.no_grad():
        if fast.depth >= 0:
            stored = [encoder.frozen_part(speech, lens) for encoder in (fast, slow)]
            close(stored[0][0][valid], stored[1][0][valid], CLOSE.get(name, 1e-5))
            close(fast.trained_part(*stored[0])[valid], fast(speech, lens)[valid])
        layers = [encoder.layers(speech, lens)[:, valid] for encoder in (fast, slow)]
        close(*layers, CLOSE.get(name, 1e-5))


def test_every_architecture_of_the_path_is_tested():
    models = {CONFIGS[name]["model_type"] for name in EVERY}
    assert models == set(RESUMED)


@pytest.mark.parametrize("name", ["wav2vec2-group", "wavlm-group", "data2vec-audio"])
def test_every_dropout_of_an_encoder_is_the_fast_one(name):
    def dropouts(encoder):
        return {type(m) for m in encoder.modules() if isinstance(m, nn.Dropout)}

    assert dropouts(make(CONFIGS[name])) == {fast_path.Dropout}
    off = make(CONFIGS[name], cpu_fast_path=False)
    assert dropouts(off) == {nn.Dropout}
    assert off.model.config._attn_implementation != fast_path.NAME


@pytest.mark.parametrize("how", [{"padding": "as_published"}, {"time_mask": 0.2}])
def test_what_needs_the_padded_batch_has_it(how):
    encoder = make(CONFIGS["wav2vec2-group"], **how).train()
    speech, lens = padded(LENGTHS)
    assert not encoder.is_packed(speech)
    assert encoder(speech, lens).shape == (3, 24, 16)


def test_gradient_checkpoints_draw_the_same_masks_again():
    gradients = []
    for checkpoints in (False, True):
        encoder = make(CONFIGS["wav2vec2-layer"], checkpoint_gradients=checkpoints, **DROPPED)
        torch.manual_seed(4)
        encoder.train()(*padded(LENGTHS)).sum().backward()
        gradients.append(encoder.blocks[0].attention.q_proj.weight.grad)
    assert torch.equal(*gradients) and gradients[0].abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_autocast_is_close_with_and_without_stored_features(dtype):
    encoder = make(CONFIGS["wav2vec2-group"] | {"hidden_size": 32}, frozen="cnn").train()
    speech, lens = padded(LENGTHS)
    stored, counts = encoder.frozen_part(speech, lens)
    wanted, valid = encoder(speech, lens), encoder.valid_frames(speech, lens)
    passes = ((encoder, speech, lens), (encoder.trained_part, stored.to(dtype), counts))
    for run, *inputs in passes:
        with torch.autocast("cpu", torch.bfloat16):
            frames = run(*inputs)
        assert frames.dtype == torch.bfloat16 or not torch.equal(frames, wanted)
        close(frames.float()[valid], wanted[valid], 0.15)
        frames.float().sum().backward()


@pytest.mark.parametrize("channels", [8, 16])
def test_a_positional_convolution_of_few_channels_is_right_under_autocast(channels):
    """Where oneDNN's kernels for AMX are not: on such a CPU 8 channels were 100 % off."""
    encoder = make(CONFIGS["wav2vec2-layer"] | {"hidden_size": 2 * channels}).eval()
    assert encoder.is_thin == (channels < 16)
    speech, lens = padded(LENGTHS)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        frames = encoder(speech, lens).float()
    valid = encoder.valid_frames(speech, lens)
    close(frames[valid], encoder(speech, lens)[valid], 0.15)


LENGTHS_SEEN = """
import random, sys
import torch
from benchmarks.common import TINY
from speechbrain_ser.models.encoders import Encoder

encoder = Encoder(TINY).eval()
draw = random.Random(0)
for epoch in range(3):
    for _ in range(400):
        with torch.no_grad():
            encoder(torch.zeros(1, draw.randint(8_000, 48_000)), torch.ones(1))
    pages = int(open("/proc/self/statm").read().split()[1])
    print(pages * 4096 / 1e6)  # MB
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads Linux's count of pages")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_lengths_seen():
    """oneDNN keeps what it compiles for a length; a corpus has thousands of lengths."""
    root = Path(__file__).parents[1]
    paths = os.pathsep.join(map(str, (root, root / "tools")))
    ran = subprocess.run(
        [sys.executable, "-c", LENGTHS_SEEN],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    _, second, third = map(float, ran.stdout.split())
    assert third - second < 25
