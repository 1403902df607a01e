"""Does every recipe run on CUDA, and to the CPU's numbers? Then the benchmarks; needs no internet.

    PYTHONPATH=. python tools/check_cuda.py                           ten minutes at most
    PYTHONPATH=. python tools/check_cuda.py --device cpu --recipes emotion --benchmarks
                                                                      a trial without a GPU

Every yaml of recipes/ trains an epoch of the mini preset (synthesised speech, tiny networks, few
updates), earlier phases first: on the CPU, on the device in fp32 and on the device in bf16. The
device's mean training loss may be off from the CPU's by 0.1% in fp32 and by 5% in bf16; where
nothing is trained, the probabilities of the test part. Dropout is left out and TF32 is off, since
every device draws its own numbers and rounds in its own way.
"""

import argparse
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

PACKAGES = (
    *("torch", "torchaudio", "speechbrain", "transformers", "hyperpyyaml", "ruamel.yaml"),
    *("sentencepiece", "safetensors", "huggingface_hub", "soundfile", "numpy", "scipy", "sklearn"),
    *("matplotlib", "filelock", "tqdm", "espeakng_loader"),
)
EXTRAS = {"opensmile": "the recipes with eGeMAPS"}
CALLED = {"sklearn": "scikit-learn"}  # by pip, where it is not the module's name
BENCHMARKS = ("training", "latency", "memory", "probe", "augment", "knn", "inference")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu"], default="cuda", help="what is compared with the CPU")
    add("--recipes", nargs="*", metavar="YAML", help="fusion, RAVDESS/probe ...; all by default")
    add("--benchmarks", nargs="*", choices=BENCHMARKS, default=BENCHMARKS, help="all by default")
    add("--jobs", type=int, help="runs at a time; by default half as many as there are cores")
    add("--minutes", type=float, default=10, help="what has not ended by then is given up")
    add("--out", type=Path, default=Path("results/check_cuda"), help="for the table and the logs")
    options = parser.parse_args(words)
    absent = missing([*PACKAGES, *EXTRAS])
    if absent:
        names = " ".join(CALLED.get(module, module.replace("_", "-")) for module in absent)
        without = "".join(f" {EXTRAS[m]} cannot run without {m}." for m in EXTRAS if m in absent)
        print(f"Missing: pip install --no-index --find-links FOLDER_OF_WHEELS {names}.{without}")
    if set(absent) & set(PACKAGES):
        return 2
    import compare_devices  # needs them all

    return compare_devices.run(options)


def missing(modules: Iterable[str]) -> list[str]:
    """Those of the modules that are not installed."""
    absent = []
    for module in modules:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:  # not even ruamel, of ruamel.yaml
            found = None
        if found is None:
            absent.append(module)
    return absent


if __name__ == "__main__":
    sys.exit(main())
