"""SpeechBrain's own emotion models in this package's form, without their custom code.

ser convert speechbrain/emotion-recognition-wav2vec2-IEMOCAP converted/
ser convert FOLDER converted/ --encoder CONFIG_FOLDER

Their repositories hold hyperparams.yaml, wav2vec2.ckpt, model.ckpt and label_encoder.txt, and need
a custom_interface.py to run. Here the yaml is read as text and the checkpoints as tensors alone;
the result is a model folder for EmotionRecognizer. The encoder's config comes from the Hub id in
the yaml, or from --encoder.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path

import huggingface_hub
import ruamel.yaml
import safetensors.torch
import torch
from transformers import AutoConfig, AutoFeatureExtractor

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import safety, saved

FILES = ("hyperparams.yaml", "wav2vec2.ckpt", "model.ckpt", "label_encoder.txt")
NAMES = {"neu": "neutral", "ang": "angry", "hap": "happy", "sad": "sad", "exc": "excited"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a folder, or a Hub id")
    parser.add_argument("folder", type=Path, help="where the model folder is written")
    parser.add_argument("--encoder", help="a folder or Hub id with the encoder's configs")


def run(options: argparse.Namespace) -> int | None:
    convert(fetched(options.source), options.folder, options.encoder)
    print(f"model: {options.folder}")
    return 0


def fetched(source: str) -> Path:
    """The folder with SpeechBrain's files; InputError if one is missing."""
    folder = Path(source)
    if not folder.is_dir():
        try:
            folder = Path(huggingface_hub.snapshot_download(source, allow_patterns=list(FILES)))
        except Exception as error:  # of the network or the Hub, which raise of many kinds
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{source} is no folder and cannot be fetched ({reason})") from None
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}: it is no SpeechBrain emotion model")
    return folder


def convert(source: Path, folder: Path, encoder: str | None) -> None:
    """Write the model folder; InputError for another architecture or broken files."""
    if folder.exists():
        raise InputError(f"{folder} is there already: name a new folder")
    try:
        tree = hp.load_tree((source / "hyperparams.yaml").read_text(encoding="utf-8"))
    except (ruamel.yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{source / 'hyperparams.yaml'} is no plain yaml ({reason})") from None
    lobe = tree.get("wav2vec2") if isinstance(tree, dict) else None
    if not isinstance(lobe, dict) or "source" not in lobe:
        raise InputError(f"{source / 'hyperparams.yaml'} describes no wav2vec2 with a source")
    encoder = encoder or text_of(tree, lobe["source"])
    weights = stripped(tensors(source / "wav2vec2.ckpt"), "model.")
    layers = list(tensors(source / "model.ckpt").values())
    labels = labels_of(source / "label_encoder.txt")
    if [layer.shape[:-1] for layer in layers] != [(len(labels),)]:
        raise InputError(
            f"{source / 'model.ckpt'} holds {[tuple(layer.shape) for layer in layers]} and there "
            f"are {len(labels)} labels: only one linear layer without bias is converted"
        )
    (linear,) = layers  # [label, dim]
    try:
        config = AutoConfig.from_pretrained(encoder, trust_remote_code=False)
        reader = AutoFeatureExtractor.from_pretrained(encoder, trust_remote_code=False)
        normalise = reader.do_normalize
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the encoder's config cannot be had from {encoder} ({reason}): give --encoder FOLDER "
            "with config.json and preprocessor_config.json"
        ) from None
    plain = {k: v for k, v in config.to_diff_dict().items() if not k.startswith("_")}
    for name in ("transformers_version", "architectures", "dtype", "torch_dtype"):
        plain.pop(name, None)
    source_of = {"encoder": {"source": {"model_type": config.model_type} | plain}}
    safety.read(json.dumps({"model": source_of}), f"the encoder's config of {encoder}")
    if not isinstance(normalise, bool):
        raise InputError(f"{encoder} says do_normalize {normalise!r}: true or false is needed")
    with tempfile.TemporaryDirectory() as temporary:
        config.save_pretrained(temporary)
        safetensors.torch.save_file(
            {name: tensor.contiguous() for name, tensor in weights.items()},
            Path(temporary, "model.safetensors"),
            metadata={"format": "pt"},
        )
        pooling = "NormalisedMeanPooling" if lobe.get("output_norm") is True else "MeanPooling"
        dim, models = linear.shape[1], "speechbrain_ser.models"
        settings = {
            "reader": hp.new("speechbrain_ser.data.audio.SpeechReader", normalise=normalise),
            "model": hp.new(
                f"{models}.classifier.Classifier",
                encoder=hp.new(f"{models}.encoders.Encoder", source=temporary, frozen="all"),
                pooling=hp.new(f"{models}.pooling.{pooling}", dim=dim),
                head=hp.new(f"{models}.heads.LinearHead", dim=dim, labels=labels),
            ),
        }
        model = safety.build(settings["model"])
        with torch.no_grad():
            model.head.weight.copy_(linear)
            model.head.bias.zero_()
        results = {"converted_from": str(source.name)}
        saved.export(folder, settings, model, labels, [], results, with_encoders=True)


def text_of(tree, value) -> str:
    """A text of the yaml, or what a plain `!ref <key>` of it names."""
    named = re.fullmatch(r"<(\w+)>", str(getattr(value, "value", "")))
    return str(tree.get(named[1], value.value) if named else value)


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, and nothing that could run; InputError for anything else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle's many ways to be broken or hostile
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{path} does not hold tensors alone ({reason}): not converted") from None
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise InputError(f"{path} does not hold tensors alone: not converted")
    return state


def stripped(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def labels_of(path: Path) -> list[str]:
    """SpeechBrain's label_encoder.txt, lines of 'neu' => 0, in the order of the numbers."""
    try:
        text = path.read_text(encoding="utf-8").partition("===")[0]
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text: not converted") from None
    numbered = {
        int(match[2]): match[1]
        for match in re.finditer(r"^'([^']+)' => (\d{1,5})$", text, flags=re.M)
    }
    if sorted(numbered) != list(range(len(numbered))) or not numbered:
        raise InputError(f"{path} does not number labels from 0: not converted")
    labels = [NAMES.get(numbered[i], numbered[i]) for i in range(len(numbered))]
    if strange := [label for label in labels if not safety.is_plain(label)]:
        raise InputError(f"{path} has the label {strange[0]!r}: labels are plain words")
    return labels
