"""Networks that tools/export_onnx.py wrote, run by ONNX Runtime: no weights in PyTorch."""

from pathlib import Path

import torch
from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser import safety
from speechbrain_ser.errors import InputError
from speechbrain_ser.models.padding import num_samples, trim

ENDING = ".onnx"
DESCRIPTION = "hyperparams"  # the file's own metadata: labels and reader, as in hyperparams.yaml


class OnnxNetwork(nn.Module):
    """speech [batch, time], lens [batch] -> log-probabilities [batch, class], on the CPU.

    Raises InputError for a file that is no network of tools/export_onnx.py, and without
    ONNX Runtime.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        try:
            import onnxruntime
        except ImportError:
            raise InputError(
                f"{path} needs ONNX Runtime: pip install 'speechbrain-ser[onnx]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; its warnings speak to those who write graphs
        options.intra_op_num_threads = torch.get_num_threads()
        find(path)
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's many ways to say no
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path} is no ONNX network ({reason}): export it again") from None
        shapes = {item.name: item.shape for item in self.session.get_inputs()}
        if set(shapes) != {"speech", "samples"}:
            raise InputError(f"{path} is none of tools/export_onnx.py: export the model with it")
        self.alone = shapes["speech"][0] == 1
        self.description = self.session.get_modelmeta().custom_metadata_map.get(DESCRIPTION, "")

    @property
    def head(self) -> "OnnxNetwork":
        """What turns this network's logits, log-probabilities, into probabilities: itself."""
        return self

    def forward(self, speech: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
        samples = num_samples(speech, lens)
        if self.alone:
            found = [
                self._run(item, torch.tensor([item.shape[1]])) for item in trim(speech, samples)
            ]
            return torch.cat(found)
        return self._run(speech, samples)

    def _run(self, speech: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
        given = {"speech": speech.cpu().numpy(), "samples": samples.cpu().numpy()}
        probs = torch.from_numpy(self.session.run(["probs"], given)[0])
        return probs.clamp(min=torch.finfo(probs.dtype).tiny).log()

    def probs(self, logits: torch.Tensor) -> torch.Tensor:
        """log-probabilities [batch, class] -> probabilities."""
        return logits.softmax(dim=-1)


def find(path: str | Path) -> Path:
    """The file; InputError if it is not there."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; tools/export_onnx.py writes one")
    return Path(path)


def load(path: str | Path) -> dict:
    """labels, reader and model of an exported file; InputError if it is none."""
    model = OnnxNetwork(path)
    safety.check(model.description, Path(path))
    return hp.build(hp.load_tree(model.description)) | {"model": model}
