"""Write a trained model as ONNX, for programs without PyTorch: in float32, and smaller in int8.

ser export results/fusion/fold1/1000 --out exported/
ser classify exported/model.int8.onnx speech.wav

MODEL is a run's folder, a best/ folder or a Hub id. The graph takes speech [batch, time] (float32,
as the reader prepares it) and samples [batch] (int64, how many of each row are no padding), and
gives probs [batch, class]; labels and reader stand in the file's metadata, and a program that needs
onnxruntime alone in README.md beside it. It is compared with
PyTorch on random lengths before anything is written. With a run's folder the run's test files are
classified too: what int8 costs in accuracy, and what it saves in time.
"""

import argparse
import importlib.util
import logging
import math
import os
import shutil
import time
import warnings
from importlib import resources
from pathlib import Path
from string import Template

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from speechbrain_ser import EmotionRecognizer, output
from speechbrain_ser import hparams as hp
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.models import saved
from speechbrain_ser.models.baseline import CnnLstm
from speechbrain_ser.models.ensemble import Ensemble
from speechbrain_ser.models.frontends import PerUtterance
from speechbrain_ser.models.heads import ranges_of
from speechbrain_ser.models.knn import NearestNeighbours
from speechbrain_ser.models.probe import Probe
from speechbrain_ser.models.speaker import EcapaNetwork
from speechbrain_ser.results import metrics
from speechbrain_ser.sharing.onnx import DESCRIPTION, OnnxNetwork

PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # of the extra onnx
CLOSE = 1e-4  # of a probability
NAMES = {"float32": "model.onnx", "int8": "model.int8.onnx"}
ALIEN = (PerUtterance, EcapaNetwork, CnnLstm, Probe)  # no graph
LARGEST = 1_900_000_000  # bytes of one ONNX file; larger weights stand beside it


class Graph(nn.Module):
    """speech [batch, time], samples [batch] -> probs [batch, class]."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, speech: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
        return self.model.head.probs(self.model(speech, samples / speech.shape[1]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--files", type=int, help="compare on this many test files, not all")


def run(options: argparse.Namespace) -> int | None:
    logging.disable(logging.WARNING)  # exporters' remarks on what no user chose
    run = Path(options.model)
    source = str(run / "best") if (run / "best").is_dir() else options.model
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
        said = usage(options.out.name, recognizer.hparams.reader, recognizer.labels)
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


def describe(source: str) -> str:
    """The labels and the reader of a model, as yaml."""
    tree = saved.description(source)
    del tree["model"]
    return hp.dump(tree)


def usage(title: str, reader: SpeechReader, labels: list[str]) -> str:
    """A page with a program that needs onnxruntime alone: what the reader does, in numpy."""
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
        title=title, rate=reader.sample_rate, labels=labels, prepare="\n".join(steps)
    )


def export(model: nn.Module, description: str, path: Path) -> None:
    """Write one ONNX file; InputError for a network that has no such graph."""
    if isinstance(model, Ensemble):
        raise InputError("an ensemble's members read speech each in its own way: export them alone")
    model.head  # noqa: B018 - InputError for a first phase, which knows no emotions
    if numbers := ranges_of(model):
        raise InputError(
            f"this model answers numbers ({', '.join(numbers)}), which no graph holds yet: use the "
            "model itself"
        )
    for part in model.modules():
        if isinstance(part, ALIEN):
            raise InputError(
                f"{type(part).__name__} is no graph: what it computes is more than a network, or "
                "depends on other recordings; use the model itself"
            )
        if isinstance(part, NearestNeighbours):  # how many, as a number of the graph
            part.k = int(part._buffers.pop("k"))
    alone = [part for part in model.modules() if getattr(part, "one_by_one", False)]
    for encoder in alone:  # a batch of one, without padding
        encoder.one_by_one, encoder.padding = False, "as_published"
    speech, samples = torch.randn(1 if alone else 3, 20_000), torch.tensor([20_000, 15_000, 8_000])
    shapes = ({1: "time"}, {}) if alone else ({0: "batch", 1: "time"}, {0: "batch"})
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                Graph(model).eval(),
                (speech, samples[: len(speech)]),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=["speech", "samples"],
                output_names=["probs"],
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise InputError(f"this network has no ONNX graph ({reason})") from None
    finally:
        for encoder in alone:
            encoder.one_by_one, encoder.padding = True, "exact"
    program.model.metadata_props[DESCRIPTION] = description
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    program.save(path, external_data=weights > LARGEST)


def quantise(path: Path, smaller: Path) -> None:
    """Write the same network with matrices of int8, scaled per column as they are used."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    network = onnx.load(path)
    del network.graph.value_info[:]  # shapes of the example; ONNX infers those of any batch
    quantize_dynamic(
        network,
        smaller,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=path.with_name(f"{path.name}.data").exists(),
    )


def check(model: nn.Module, network: OnnxNetwork, batches: int = 8) -> float:
    """The largest difference of a probability on random lengths; InputError if it is too large."""
    chance = torch.Generator().manual_seed(0)
    worst = 0.0
    for number in range(batches):
        size = 1 + number % 4
        lengths = torch.randint(1_600, 80_000, (size,), generator=chance).tolist()
        speech = pad_sequence(
            [torch.randn(length, generator=chance) for length in lengths], batch_first=True
        )
        lens = torch.tensor(lengths) / max(lengths)
        with torch.no_grad():
            wanted = model.head.probs(model(speech, lens))
        worst = max(worst, float((network.probs(network(speech, lens)) - wanted).abs().max()))
    if not worst <= CLOSE:
        raise InputError(f"the graph's probabilities differ by {worst:.1e}: it is not written")
    return worst


def compare(run: Path, recognizer: EmotionRecognizer, folder: Path, files: int | None) -> str:
    """A table: the run's test files by PyTorch, ONNX and int8."""
    manifest = read_json(run / "manifest.json")
    rows = output.read_csv(run / "predictions.csv")[:files]
    wavs = [manifest[row["id"]]["wav"] for row in rows]
    labels = recognizer.hparams.labels
    targets = [labels.index(row["target"]) for row in rows]
    networks = {"PyTorch": recognizer} | {
        kind: EmotionRecognizer.from_hparams(folder / name, unsure_below=0)
        for kind, name in NAMES.items()
    }
    lines = [
        f"{len(wavs)} test files of {run}",
        "           WA     UA   same label  probability, largest difference  files/s",
    ]
    first = None
    for name, network in networks.items():
        began = time.perf_counter()
        answers = {}
        for position, result in tqdm(
            network.each(wavs), total=len(wavs), unit="file", desc=name, disable=None, leave=False
        ):
            if isinstance(result, InputError):
                raise result
            answers[position] = result
        rate = len(wavs) / (time.perf_counter() - began)
        heard = [at for at in range(len(wavs)) if answers[at].label is not None]  # for all alike
        results = [answers[at] for at in heard]
        first = first or results
        score = metrics.score(
            [targets[at] for at in heard], [labels.index(item.label) for item in results], labels
        )
        same = sum(a.label == b.label for a, b in zip(first, results, strict=True))
        most = max(
            abs(a.probs[label] - b.probs[label])
            for a, b in zip(first, results, strict=True)
            for label in labels
        )
        lines.append(
            f"{name:8} {score['WA']:6.2f} {score['UA']:6.2f} {same:11d} {most:32.1e} {rate:8.1f}"
        )
    return "\n".join(lines)
