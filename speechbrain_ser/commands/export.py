"""Write a trained model as ONNX, for programs without PyTorch: in float32, and smaller in int8.

ser export results/fusion/fold1/1000 --out exported/
ser classify exported/model.int8.onnx speech.wav

MODEL is a run's folder, a best/ folder or a Hub id; without one it is the package's own. The graph
takes speech [batch, time] (float32, as the reader prepares it) and samples [batch] (int64, how many
of each row are no padding), and gives probs [batch, class], and of a model of numbers values
[batch, number]; labels, ranges and reader stand in the file's metadata, and a program that needs
onnxruntime alone in README.md beside it. It is compared with PyTorch on random lengths before
anything is written. With a run's folder the run's test files are classified too: what int8 costs in
accuracy, and what it saves in time.
"""

import argparse
import importlib.util
import logging
import math
import os
import shutil
import time
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from string import Template

from tqdm import tqdm

from speechbrain_ser import Emotion, EmotionRecognizer, output
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.results import answers, dimensions, metrics
from speechbrain_ser.sharing.graphs import check, describe, export, quantise
from speechbrain_ser.sharing.inference import DEFAULT
from speechbrain_ser.sharing.onnx import OnnxNetwork

PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # of the extra onnx
NAMES = {"float32": "model.onnx", "int8": "model.int8.onnx"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", default=DEFAULT)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--files", type=int, help="compare on this many test files, not all")


def run(options: argparse.Namespace) -> int | None:
    logging.disable(logging.WARNING)  # exporters' remarks on what no user chose
    run = Path(options.model)
    source = str(run / "best" if (run / "best").is_dir() else options.model)
    temporary = options.out.with_name(f".{options.out.name}.tmp")
    try:
        if absent := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
            raise InputError(
                f"the packages {', '.join(absent)} are missing: pip install 'speechbrain-ser[onnx]'"
            )
        if options.out.exists():
            raise InputError(f"{options.out} is there already: name a new folder, or delete it")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        recognizer = EmotionRecognizer.from_hparams(source, unsure_below=0)
        model = recognizer.mods.model
        export(model, describe(source), temporary / NAMES["float32"])
        quantise(temporary / NAMES["float32"], temporary / NAMES["int8"])
        said = usage(options.out.name, recognizer)
        (temporary / "README.md").write_text(said, encoding="utf-8")
        difference = check(model, OnnxNetwork(temporary / NAMES["float32"]))
        print(f"random lengths: probabilities differ by {difference:.1e} at most from PyTorch's")
        for kind, name in NAMES.items():
            size = sum(path.stat().st_size for path in temporary.glob(f"{name}*")) / 1e6
            print(f"{kind:8} {options.out / name}: {size:.1f} MB")
        if (run / "predictions.csv").is_file():
            print(compare(run, recognizer, temporary, options.files))
        os.replace(temporary, options.out)
    finally:
        logging.disable(logging.NOTSET)
        shutil.rmtree(temporary, ignore_errors=True)
    return 0


def usage(title: str, recognizer: EmotionRecognizer) -> str:
    """A page with a program that needs onnxruntime alone: what the reader does, in numpy."""
    reader: SpeechReader = recognizer.hparams.reader
    steps = []
    if reader.min_seconds:
        shortest = round(reader.min_seconds * reader.sample_rate)
        times = f"{shortest} / len(speech)"
        whole = f"int({times})" if reader.tiling is math.floor else f"-int(-{times} // 1)"
        steps.append(f"speech = numpy.tile(speech, max(1, {whole}))")
    if reader.max_seconds is not None:
        longest = round(reader.max_seconds * reader.sample_rate)
        start = f"max(0, len(speech) - {longest}) // 2" if reader.test_window == "centre" else "0"
        if reader.test_window == "random":
            steps.append("# ser classify draws the window by what the recording holds")
        steps += [f"start = {start}", f"speech = speech[start : start + {longest}]"]
    if reader.normalise:
        steps.append("speech = (speech - speech.mean()) / numpy.sqrt(speech.var() + 1e-7)")
    template = resources.files("speechbrain_ser.sharing") / "templates/onnx.md"
    return Template(template.read_text(encoding="utf-8")).substitute(
        title=title,
        rate=reader.sample_rate,
        labels=recognizer.labels,
        numbers=list(recognizer.ranges),
        prepare="\n".join(steps),
    )


def compare(run: Path, recognizer: EmotionRecognizer, folder: Path, files: int | None) -> str:
    """A table: the run's test files by PyTorch, ONNX and int8."""
    manifest = read_json(run / "manifest.json")
    rows = output.read_csv(run / "predictions.csv")[:files]
    wavs = [manifest[row["id"]]["wav"] for row in rows]
    networks = {"PyTorch": recognizer} | {
        kind: EmotionRecognizer.from_hparams(folder / name, unsure_below=0)
        for kind, name in NAMES.items()
    }
    lines, first = [f"{len(wavs)} test files of {run}"], None
    for name, network in networks.items():
        began = time.perf_counter()
        given = classified(network, wavs, name)
        rate = len(wavs) / (time.perf_counter() - began)
        heard = [at for at, item in enumerate(given) if item.probs or item.values]  # alike for all
        results, own = [given[at] for at in heard], [rows[at] for at in heard]
        first = first or results
        pairs = list(zip(first, results, strict=True))
        facts = scores(own, results, recognizer)
        if recognizer.labels:
            facts["same label"] = str(sum(a.label == b.label for a, b in pairs))
            facts["probability, largest difference"] = most(
                (a.probs[label] - b.probs[label] for a, b in pairs for label in a.probs)
            )
        for number in recognizer.ranges:
            facts[f"{number}, largest difference"] = most(
                a.values[number] - b.values[number] for a, b in pairs
            )
        facts["files/s"] = f"{rate:.1f}"
        if len(lines) == 1:
            lines.append("  ".join([" " * 8, *(title.rjust(6) for title in facts)]))
        cells = [text.rjust(max(6, len(title))) for title, text in facts.items()]
        lines.append("  ".join([name.ljust(8), *cells]))
    return "\n".join(lines)


def classified(network: EmotionRecognizer, wavs: list[str], name: str) -> list[Emotion]:
    """The answer for each file, with a bar of that name; InputError for the first bad file."""
    found = {}
    for position, result in tqdm(
        network.each(wavs), total=len(wavs), unit="file", desc=name, disable=None, leave=False
    ):
        if isinstance(result, InputError):
            raise result
        found[position] = result
    return [found[at] for at in range(len(wavs))]


def scores(
    rows: list[dict], results: list[Emotion], recognizer: EmotionRecognizer
) -> dict[str, str]:
    """WA and UA of classes, CCC of each number; rows: of predictions.csv."""
    labels, facts = recognizer.labels, {}
    if labels:
        known: list[str | None] = [*labels]
        targets = [known.index(row["target"]) for row in rows]
        score = metrics.score(targets, [known.index(item.label) for item in results], labels)
        facts = {name: f"{score[name]:.2f}" for name in ("WA", "UA")}
    for number in recognizer.ranges:
        wanted, _ = answers.pairs(rows, number)
        own = dimensions.score(wanted, [item.values[number] for item in results])
        facts[f"CCC {number}"] = f"{own['CCC']:.3f}"
    return facts


def most(differences: Iterable[float]) -> str:
    """The largest of differences, without its sign."""
    return f"{max(map(abs, differences)):.1e}"
