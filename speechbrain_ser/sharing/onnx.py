"""Networks that `ser export` wrote, run by ONNX Runtime: no weights in PyTorch."""

import threading
from functools import cache
from pathlib import Path

import torch
from torch import nn

from speechbrain_ser.data.lengths import num_samples, trim
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import safety, saved

ENDING = ".onnx"
WHOLE = "model.onnx"  # of an export, in float32
DESCRIPTION = "hyperparams"  # the file's own metadata: labels and reader, as in hyperparams.yaml
# what the exports of these networks are made of: no loop, no branch, no operation of another domain
OPERATIONS = """Abs Add And ArgMax BatchNormalization Cast Ceil Clip Concat Constant
ConstantOfShape Conv CumSum Div DynamicQuantizeLinear Einsum Equal Erf Exp Expand Flatten Floor
Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual Identity InstanceNormalization
IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LSTM MatMul
MatMulInteger Max Min Mod Mul Neg NonZero Not OneHot Or Pad Pow Range Reciprocal ReduceL2
ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Round ScatterElements ScatterND Shape
Sigmoid Sign Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu
Unsqueeze Where""".split()
MEMORY = 16 << 30  # bytes that a graph may take
LONGEST = 600.0  # seconds that one call of it may take
MOST_NODES = 50_000


@cache
def bounded_memory() -> None:
    """Let all graphs of this process take MEMORY together, and no more."""
    import onnxruntime as ort

    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    ort.create_and_register_allocator(
        ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT),
        ort.OrtArenaCfg({"max_mem": MEMORY}),
    )


class OnnxNetwork(nn.Module):
    """speech [batch, time], lens [batch] -> outputs [batch, output], on the CPU.

    Those are the logs of the classes' probabilities, then the numbers, by their `ranges`.

    Raises InputError for a file that is no network of `ser export`, and without
    ONNX Runtime.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        try:
            import onnx  # noqa: F401 - which check_graph reads the file with
            import onnxruntime
        except ImportError:
            raise InputError(
                f"{path} needs onnx and ONNX Runtime: pip install 'speechbrain-ser[onnx]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.use_env_allocators", "1")  # of bounded memory
        options.log_severity_level = 3  # errors; its warnings speak to those who write graphs
        options.intra_op_num_threads = torch.get_num_threads()
        check_graph(find(path))
        bounded_memory()
        try:
            self.session = onnxruntime.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=["ConstantFolding"],  # a stranger's constants may be large
            )
        except Exception as error:  # ONNX Runtime raises of many kinds
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path} is no ONNX network ({reason}): export it again") from None
        shapes = {item.name: item.shape for item in self.session.get_inputs()}
        if set(shapes) != {"speech", "samples"}:
            raise InputError(f"{path} was not written by ser export: export the model with it")
        self.run_options = onnxruntime.RunOptions
        self.alone = shapes["speech"][0] == 1
        description = self.session.get_modelmeta().custom_metadata_map.get(DESCRIPTION, "")
        self.tree = safety.read(description, Path(path))
        if "labels" not in self.tree or "reader" not in self.tree:
            raise InputError(f"{path} tells no labels or reader: export the model again")
        self.ranges = {name: tuple(ends) for name, ends in self.tree.get("ranges", {}).items()}
        widths = {"probs": len(self.tree["labels"]), "values": len(self.ranges)}
        self.widths = {name: width for name, width in widths.items() if width}

    @property
    def head(self) -> "OnnxNetwork":
        """What turns this network's logits, log-probabilities, into probabilities: itself."""
        return self

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        samples = num_samples(speech, lens)
        if self.alone:
            outputs = [
                self._run(item, torch.tensor([item.shape[1]])) for item in trim(speech, samples)
            ]
            return torch.cat(outputs)
        return self._run(speech, samples)

    def _run(self, speech: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
        given = {"speech": speech.cpu().numpy(), "samples": samples.cpu().numpy()}
        limits = self.run_options()
        timer = threading.Timer(LONGEST, setattr, (limits, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            found = self.session.run(list(self.widths), given, limits)
        except Exception as error:  # a stranger's graph may fail, or ask for too much memory
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"the ONNX network failed ({reason}): export it again") from None
        finally:
            timer.cancel()
        shapes = [array.shape for array in found]
        if shapes != [(len(speech), width) for width in self.widths.values()]:
            told = ", ".join(f"{width} {name}" for name, width in self.widths.items())
            raise InputError(
                f"the ONNX network answers in the shapes {shapes}, where its description has "
                f"{told} of each recording: export it again"
            )
        outputs = dict(zip(self.widths, map(torch.from_numpy, found), strict=True))
        if (probs := outputs.get("probs")) is not None:
            outputs["probs"] = probs.clamp(min=torch.finfo(probs.dtype).tiny).log()
        return torch.cat(list(outputs.values()), dim=1)

    def probs(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the network gives -> probabilities [batch, class]."""
        return outputs[:, : self.widths.get("probs", 0)].softmax(dim=-1)

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the network gives -> numbers [batch, number]."""
        return outputs[:, self.widths.get("probs", 0) :]


def graph_of(source: str | Path) -> Path | None:
    """The graph that a source names: a file, or of what `ser export` wrote the one in float32.

    None for a folder or a name that is no exported model.
    """
    inside = Path(source) / WHOLE
    described = inside.with_name(saved.HYPERPARAMS).is_file()
    if str(source).endswith(ENDING):
        return Path(source)
    return inside if inside.is_file() and not described else None


def find(path: str | Path) -> Path:
    """The file; InputError if it is not there."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; ser export writes one")
    return Path(path)


def load(path: str | Path) -> dict:
    """labels, reader, model, perhaps unsure_below of an exported file; InputError if it is none."""
    model = OnnxNetwork(path)
    kept = {
        key: model.tree[key] for key in ("labels", "reader", "unsure_below") if key in model.tree
    }
    return safety.build(kept) | {"model": model}


def check_graph(path: Path) -> None:
    """Raise InputError for a graph that could run without end, or read another file."""
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # a protobuf's many ways to be broken
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is no ONNX network ({reason}): export it again") from None
    if model.functions or model.graph.sparse_initializer or len(model.graph.node) > MOST_NODES:
        raise InputError(f"{path} is no graph as an export writes it: export the model again")
    nodes = list(model.graph.node)
    for node in nodes:
        graphs = any(a.HasField("g") or a.graphs for a in node.attribute)
        if graphs or node.domain not in ("", "ai.onnx") or node.op_type not in OPERATIONS:
            raise InputError(
                f"{path} holds {node.op_type[:40]!r}, which no export of a model does: refused"
            )
    tensors = [*model.graph.initializer]
    tensors += [t for node in nodes for a in node.attribute for t in (a.t, *a.tensors)]
    for tensor in tensors:
        for entry in tensor.external_data:
            own = f"{path.name}.data"
            link = path.with_name(own).is_symlink()
            if entry.key == "location" and (entry.value != own or link):
                raise InputError(f"{path} reads {entry.value[:60]!r}: only its own .data is read")
