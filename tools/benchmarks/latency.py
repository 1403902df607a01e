"""Park 2023, Table 7: milliseconds per utterance of the speaker, emotion and fused network.

The paper's numbers are milliseconds per utterance in batches of 8 (the time of a batch divided by
8) on one RTX 3090, which is not what a single utterance waits for; batch 1 is. Both are measured.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from tqdm import tqdm

from benchmarks.common import (
    BASE,
    EMOTIONS,
    SMALL,
    common,
    device_of,
    machine,
    print_table,
    shape,
    stopwatch,
)
from speechbrain_ser.data.audio import SAMPLE_RATE
from speechbrain_ser.models.emotion import EmotionNetwork, FusionNetwork
from speechbrain_ser.models.encoders import Encoder
from speechbrain_ser.models.heads import CosineHead
from speechbrain_ser.models.pooling import AttentionMaxPooling, ParallelAttentionPooling
from speechbrain_ser.models.speaker import SpeakerNetwork

TWICE = "fused, k = 4, CNN computed twice"  # as in the paper
PAPER = {  # Park 2023, Table 7: ms per utterance at these seconds, batch 8, RTX 3090
    "speaker": {3: 2.52, 5: 4.20, 10: 8.32, 15: 13.08},
    "emotion, k = 1": {3: 2.49, 5: 4.16, 10: 8.24, 15: 12.96},
    "emotion, k = 2": {3: 2.57, 5: 4.28, 10: 8.52, 15: 13.41},
    "emotion, k = 3": {3: 2.64, 5: 4.40, 10: 8.78, 15: 13.84},
    "emotion, k = 4": {3: 2.71, 5: 4.52, 10: 9.00, 15: 14.22},
    TWICE: {3: 5.28, 5: 8.79, 10: 17.39, 15: 27.26},
}
QUICK = ("speaker", "emotion, k = 4", "fused, k = 4", TWICE)
SPEAKERS = [str(number) for number in range(1251)]  # of VoxCeleb1


def networks(config: dict, padding: str) -> dict[str, Callable[[], torch.nn.Module]]:
    """Table 7's networks by name, each made when called.

    They share two random encoders, whose CNNs are of one checkpoint, as the paper's are.
    """
    torch.manual_seed(0)
    first, second = (Encoder(config, padding=padding) for _ in range(2))
    cnn = first.model.feature_extractor.state_dict()
    second.model.feature_extractor.load_state_dict(cnn)
    dim = first.dim

    def speaker(encoder: Encoder = first) -> SpeakerNetwork:
        return SpeakerNetwork(encoder, AttentionMaxPooling(dim), CosineHead(dim, SPEAKERS))

    def emotion(blocks: int) -> EmotionNetwork:
        pooling = ParallelAttentionPooling(dim, blocks)
        return EmotionNetwork(first, pooling, CosineHead(dim, EMOTIONS))

    made = {f"emotion, k = {k}": lambda k=k: emotion(k) for k in range(1, 5)}
    fused = {
        name: lambda share=share: FusionNetwork(speaker(second), emotion(4), share_cnn=share)
        for name, share in (("fused, k = 4", True), (TWICE, False))
    }
    return {"speaker": speaker} | made | fused


@torch.inference_mode()
def measure(
    model: torch.nn.Module,
    speech: torch.Tensor,
    precision: str,
    repeats: int,
    warm_up: int,
) -> tuple[float, torch.Tensor]:
    """speech [batch, time] -> median milliseconds of a batch, and its logits [batch, class]."""
    lens = torch.ones(len(speech), device=speech.device)
    clock = stopwatch(speech.device)
    autocast = torch.autocast(speech.device.type, torch.bfloat16, enabled=precision == "bf16")
    logits: list[torch.Tensor] = []
    with autocast:
        for _ in range(warm_up):
            model(speech, lens)
        times = [clock(lambda: logits.append(model(speech, lens))) for _ in range(repeats)]
    return statistics.median(times), logits[-1].float()


def run(options: argparse.Namespace) -> None:
    """Print Table 7 as markdown: milliseconds per utterance, the paper's beside them."""
    if options.quick:
        options.seconds, options.repeats, options.warm_up = [3], 3, 1
        options.batches = [1] if options.device == "cpu" else [1, 8]
    device = device_of(options)
    made = networks(SMALL if options.small else BASE, options.padding)
    chosen = {name: made[name] for name in made if not options.quick or name in QUICK}
    shapes = [(seconds, batch) for seconds in options.seconds for batch in options.batches]
    header = ["network", *(f"{seconds} s, batch {batch}" for seconds, batch in shapes)]
    header += [f"paper, {seconds} s, batch 8" for seconds in options.seconds]
    rows, deviation = [header], 0.0
    with tqdm(total=len(chosen) * len(shapes), desc="latency") as bar:
        for name, make in chosen.items():
            model = make().to(device).eval()
            cells = []
            for seconds, batch in shapes:
                draw = torch.Generator().manual_seed(0)
                speech = torch.randn(batch, seconds * SAMPLE_RATE, generator=draw).to(device)
                bar.set_postfix_str(f"{name}, {seconds} s, batch {batch}")
                ms, logits = measure(
                    model, speech, options.precision, options.repeats, options.warm_up
                )
                if options.precision != "fp32":
                    exact = measure(model, speech, "fp32", repeats=1, warm_up=0)[1]
                    deviation = max(deviation, (logits - exact).abs().max().item())
                cells.append(f"{ms / batch:.2f}")
                bar.update()
            paper = [PAPER.get(name, {}).get(seconds) for seconds in options.seconds]
            rows.append([name, *cells, *(f"{v:.2f}" if v else "" for v in paper)])
    print(describe(device, options))
    if options.precision != "fp32":
        print(f"{options.precision}: logits (cosines) differ from fp32 by at most {deviation:.2g}.")
    print()
    print_table(rows)


def describe(device: torch.device, options: argparse.Namespace) -> str:
    """What was measured, on what: a paragraph above the table."""
    return (
        f"Milliseconds per utterance (batch time / batch size), median of {options.repeats} after "
        f"{options.warm_up} for warm-up; {shape(options)}, random weights, random input, "
        f"eval mode, {options.precision}, padding {options.padding}.\n"
        f"{machine(device)} Paper: RTX 3090, fp32."
    )


def add_options(command: argparse.ArgumentParser) -> None:
    common(command)
    add = command.add_argument
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast")
    add("--seconds", type=int, nargs="+", default=[3, 5, 10, 15], help="of speech")
    add("--batches", type=int, nargs="+", default=[1, 8], help="batch sizes")
    add("--repeats", type=int, default=20, help="timed runs; their median is shown")
    add("--warm_up", type=int, default=3, help="runs before those")
    add(
        "--padding",
        choices=["exact", "as_published"],
        default="exact",
        help="exact is what the recipes run; as_published passes no lengths, as the paper did",
    )
    add("--quick", action="store_true", help="four networks, 3 s, 3 repeats; on CPU batch 1 only")
