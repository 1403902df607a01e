"""Peak memory of one training step of each recipe: its network, batch size and longest speech.

The published encoders' shapes with random weights. On a CPU it is the whole process's, in a process
of its own; on CUDA what PyTorch allocated.
"""

import argparse
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from benchmarks import common
from speechbrain_ser import hparams as hp

RECIPES = Path(__file__).parents[2] / "recipes"
LARGE = common.BASE | {  # wav2vec2-large-xlsr-53
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
XLARGE = LARGE | {  # hubert-xlarge-ls960-ft, as Gavali & Verma's rows run it
    "model_type": "hubert",
    "hidden_size": 1280,
    "num_hidden_layers": 48,
    "intermediate_size": 5120,
}
WHISPER = {  # whisper-large-v3
    "model_type": "whisper",
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "num_mel_bins": 128,
}
SHAPES = {"member": LARGE, "hubert_xlarge": XLARGE, "whisper_large": WHISPER}
FRUGAL = ("hubert_xlarge", "whisper_large")  # bf16, with gradients of checkpointed blocks
LONGEST = 5.3  # seconds, of RAVDESS
PHASES = {"fusion": ("speaker", "emotion"), "two_stage": ("asr_gender",)}
FOLDERS = {"speaker": "VoxCeleb1"} | dict.fromkeys(SHAPES, "RAVDESS")
NAMES = ("speaker", "emotion", "fusion", "asr_gender", "two_stage", "multitask", "supcon")
NAMES += tuple(SHAPES)


def run(options: argparse.Namespace) -> None:
    """Print a row per recipe."""
    device = common.device_of(options)
    rows = [["recipe", "batch", "longest, s", "precision", "parameters, million"]]
    rows[0] += ["trained", "peak, GB"]
    for name in options.recipes:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            try:
                rows.append(pool.submit(step, name, options).result())
            except (BrokenProcessPool, torch.OutOfMemoryError):
                rows.append([name, "", "", "", "", "", "more than there is"])
    print(common.machine(device))
    print("Random weights, Adam; one step.\n")
    common.print_table(rows)


def step(name: str, options: argparse.Namespace) -> list[str]:
    """A row of the table: what a step of one recipe takes."""
    device = common.device_of(options)
    tree = settings(name, options.small, options.lora)
    precision = "bf16" if name in FRUGAL else options.precision
    model = hp.build({"model": tree["model"]})["model"].to(device).train()
    views = 1 if tree["augment"] is None else 2
    batch, seconds = views * tree["batch_size"], tree["reader"].get("max_seconds") or LONGEST
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained)
    speech = torch.randn(batch, round(16_000 * seconds), device=device)
    lens = torch.ones(batch, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        outputs = model.outputs(speech, lens) if hasattr(model, "outputs") else model(speech, lens)
    outputs = outputs.values() if isinstance(outputs, dict) else [outputs]
    sum(logits.float().logsumexp(dim=-1).mean() for logits in outputs).backward()
    optimizer.step()
    counts = (sum(p.numel() for p in some) / 1e6 for some in (model.parameters(), trained))
    sizes = [f"{count:.1f}" for count in (*counts, peak_on(device) / 1e9)]
    return [name, f"{batch}", f"{seconds:.1f}", precision, *sizes]


def peak_on(device: torch.device) -> int:
    """Bytes of memory that this process had at most on a device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_of_process()


def peak_of_process() -> int:
    """Bytes of memory that this process had at most; Linux's rusage remembers its parent's, too."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def settings(name: str, small: bool, lora: int = 0) -> dict:
    """A recipe's settings, its encoder a shape, its earlier phases' networks new ones."""
    recipe = "member" if name in SHAPES else name
    path = RECIPES / FOLDERS.get(name, "IEMOCAP") / "hparams" / f"{recipe}.yaml"
    tree = hp.read(path)
    shape = common.SMALL if small else SHAPES.get(name, common.BASE)
    given = {"checkpoint_gradients": name in FRUGAL, "encoder": shape}
    given["dim"] = shape.get("hidden_size") or shape.get("d_model", 768)
    given["targets"] = {"speaker": [f"{n}" for n in range(1251)]}  # VoxCeleb1's
    given |= {phase: settings(phase, small)["model"] for phase in PHASES.get(name, ())}
    if name == "two_stage":
        given["pretrained"] = given.pop("asr_gender")
    if small:  # of 2 blocks
        given |= {"skip_block": 1} | ({"frozen": 1} if name == "two_stage" else {})
    known = {key: value for key, value in given.items() if key in tree}
    if "speaker" not in tree["targets"]:
        known.pop("targets")
    hp.override(tree, known)
    if lora and name in SHAPES:
        hp.override(tree, {"model": {"encoder": {"lora": {"rank": lora}}}})
    return hp.resolve(tree, path)


def add_options(command: argparse.ArgumentParser) -> None:
    common.common(command)
    command.add_argument("--recipes", nargs="+", default=NAMES, choices=NAMES, metavar="NAME")
    command.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    command.add_argument("--lora", type=int, default=0, metavar="RANK", help="of single encoders")
