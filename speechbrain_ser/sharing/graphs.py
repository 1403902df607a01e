"""A trained network as an ONNX graph, compared with the network that it was made of."""

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.models.baseline import CnnLstm
from speechbrain_ser.models.ensemble import Ensemble
from speechbrain_ser.models.frontends import PerUtterance
from speechbrain_ser.models.heads import answering, ranges_of
from speechbrain_ser.models.knn import NearestNeighbours
from speechbrain_ser.models.probe import LstmBody, Probe
from speechbrain_ser.models.speaker import EcapaNetwork
from speechbrain_ser.sharing.onnx import DESCRIPTION, OnnxNetwork

CLOSE = 1e-4  # of a probability
ALIEN = (PerUtterance, EcapaNetwork, CnnLstm, LstmBody)  # what PyTorch makes no graph of
LARGEST = 1_900_000_000  # bytes of one ONNX file; larger weights stand beside it


class Graph(nn.Module):
    """speech [batch, time], samples [batch] -> probs [batch, class], values [batch, number].

    Of a model that answers classes alone, or numbers alone, the one that it has.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.outputs = outputs_of(model)

    def forward(self, speech: torch.Tensor, samples: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits, head = self.model(speech, samples / speech.shape[1]), self.model.head
        return tuple(getattr(head, name)(logits) for name in self.outputs)


def outputs_of(model: nn.Module) -> list[str]:
    """What a network's head makes of its logits: probs, if it names classes, values of numbers."""
    head = answering(model)
    return ["probs"] * (head is None or head.num_classes > 0) + ["values"] * bool(ranges_of(model))


def describe(source: str) -> str:
    """The labels, the reader and the numbers' ranges of a model, as yaml."""
    tree = saved.description(source)
    if ranges := saved.ranges(tree):
        tree["ranges"] = {name: list(ends) for name, ends in ranges.items()}
    del tree["model"]
    return hp.dump(tree)


def export(model: nn.Module, description: str, path: Path) -> None:
    """Write one ONNX file; InputError for a network that has no such graph."""
    import onnxscript.optimizer  # of the extra onnx, as in quantise

    if isinstance(model, Ensemble):
        raise InputError("an ensemble's members read speech each in its own way: export them alone")
    model.head  # noqa: B018 - InputError for a first phase, which knows no emotions
    if isinstance(model, Probe) and model.is_transductive:
        raise InputError(
            f"this model normalises by {model.normalise_by}, which takes other recordings than the "
            "one: use the model itself"
        )
    for part in model.modules():
        if isinstance(part, ALIEN):
            raise InputError(f"{type(part).__name__} has no ONNX graph: use the model itself")
        if isinstance(part, NearestNeighbours):  # how many, as a number of the graph
            number = int(part.k)
            del part.k
            vars(part)["k"] = number
    alone: list[Any] = [part for part in model.modules() if getattr(part, "one_by_one", False)]
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
                output_names=outputs_of(model),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise InputError(f"this network has no ONNX graph ({reason})") from None
    finally:
        for encoder in alone:
            encoder.one_by_one, encoder.padding = True, "exact"
    assert program is not None  # dynamo makes one
    # weights transposed once, here: quantisation finds no others, and no run transposes them again
    onnxscript.optimizer.fold_constants(
        program.model, input_size_limit=sys.maxsize, output_size_limit=sys.maxsize
    )
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
    """The largest difference of a probability on random lengths; InputError if it is too large.

    Also that of a number, as a share of its range.
    """
    chance = torch.Generator().manual_seed(0)
    spans = torch.tensor([high - low for low, high in ranges_of(model).values()])
    worst = 0.0
    for number in range(batches):
        size = 1 + number % 4
        lengths = torch.randint(1_600, 80_000, (size,), generator=chance).tolist()
        speech = pad_sequence(
            [torch.randn(length, generator=chance) for length in lengths], batch_first=True
        )
        lens = torch.tensor(lengths) / max(lengths)
        with torch.no_grad():
            outputs = [(one.head, one(speech, lens)) for one in (model, network)]
        for name in outputs_of(model):
            wanted, found = (getattr(head, name)(output) for head, output in outputs)
            difference = (found - wanted) / (spans if name == "values" else 1)
            worst = max(worst, float(difference.abs().max()))
    if not worst <= CLOSE:
        raise InputError(f"the graph's answers differ by {worst:.1e}: it is not written")
    return worst
