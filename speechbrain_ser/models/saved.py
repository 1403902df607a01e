"""`best/`: a trained model as a folder, the next phase's input and the Hub repository alike."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import huggingface_hub
import safetensors.torch
import torch
from ruamel.yaml.comments import CommentedMap
from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import as_json, settle
from speechbrain_ser.models import safety, seen
from speechbrain_ser.models.encoders import Encoder

HYPERPARAMS = "hyperparams.yaml"
WEIGHTS = "model.safetensors"
TRAINED_ON = "trained_on.json"
RESULTS = "results.json"
HEADER = "# written by speechbrain_ser.models.saved: what inference needs, and nothing else\n"


def export(
    folder: Path,
    settings: Mapping,
    model: nn.Module,
    labels: list[str],
    known: seen.Seen,
    results: dict,
) -> None:
    """Write best/ in one step: it is whole or not there.

    settings : the run's resolved tree; of it reader and model are kept
    known : what training and validation saw, the earlier phases included
    """
    tree = CommentedMap(labels=labels)
    tree["reader"] = settings["reader"]
    tree["model"] = inline_encoders(hp.bare(settings["model"]), model)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    (temporary / HYPERPARAMS).write_text(HEADER + hp.dump(hp.bare(tree)))
    (temporary / TRAINED_ON).write_text(json.dumps(known))
    (temporary / RESULTS).write_text(as_json(results))
    for part in model.modules():
        if isinstance(part, Encoder):
            part.merge()
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        safetensors.torch.save_file(weights, temporary / WEIGHTS)
    except safetensors.SafetensorError as error:
        raise InputError(f"{temporary / WEIGHTS} cannot be written ({error}): free space") from None
    shutil.copymode(
        temporary / HYPERPARAMS, temporary / WEIGHTS
    )  # it is written for its owner only
    for path in temporary.iterdir():
        settle(path)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def inline_encoders(node, model: nn.Module):
    """Put each encoder's config in the place of its source: best/ needs no other folder."""
    configs = {
        str(part.source): part.describe() for part in model.modules() if isinstance(part, Encoder)
    }
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "lora" and hp.tag_of(node).endswith(".Encoder"):
                node[key] = None  # it is merged
            elif key == "source" and hp.tag_of(node).endswith(".Encoder"):
                config = configs.get(value if isinstance(value, str) else None)
                node[key] = config or value
            else:
                inline_encoders(value, model)
    elif isinstance(node, list):
        for value in node:
            inline_encoders(value, model)
    return node


def find(source: str | Path, savedir: str | Path | None = None) -> Path:
    """A best/ folder: a local one, or a Hub repository's copy, in savedir or the Hub's cache.

    Raises InputError if there is none, or a file of it is missing.
    """
    folder = Path(source)
    if not folder.is_dir():
        try:
            folder = Path(huggingface_hub.snapshot_download(str(source), local_dir=savedir))
        except Exception as error:  # of the network or the Hub, which raise of many kinds
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"{source} is neither a local model folder nor a Hub repository that can be "
                f"fetched ({reason}): give a run's best/ folder"
            ) from None
    for name in (HYPERPARAMS, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} is not a model folder: it has no {name}; give a run's best/"
            )
    return folder


def description(source: str | Path) -> CommentedMap:
    """The tree of a best/ folder: labels, reader, model.

    Raises InputError for one that does more than name a model, see speechbrain_ser.models.safety.
    """
    folder = find(source)
    try:
        text = (folder / HYPERPARAMS).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{folder / HYPERPARAMS} is no text: export the model again") from None
    tree = safety.read(text, folder / HYPERPARAMS)
    for key in ("labels", "reader", "model"):
        if key not in tree:
            raise InputError(f"{folder / HYPERPARAMS} lacks {key}: export the model again")
    if not hp.tag_of(tree["model"]):
        raise InputError(f"{folder / HYPERPARAMS}: its model is no network: export it again")
    return tree


def load_weights(model: nn.Module, source: str | Path) -> None:
    """Put a best/ folder's weights into its model.

    On the meta device they are compared only: sizes made up by a stranger cost no memory.
    Raises InputError if they are broken or another model's.
    """
    path = find(source) / WEIGHTS
    needed = model.state_dict()
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            there = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        shapes = {name: tuple(tensor.shape) for name, tensor in needed.items()}
        if wrong := sorted(n for n in {*there, *shapes} if there.get(n) != shapes.get(n)):
            differing = (
                f"{n} {there.get(n, 'absent')} for {shapes.get(n, 'none')}" for n in wrong[:2]
            )
            raise RuntimeError(f"{len(wrong)} tensors differ: {', '.join(differing)}")
        if not any(tensor.is_meta for tensor in needed.values()):
            model.load_state_dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{path} does not hold this model's weights ({reason}): train or fetch it again"
        ) from None


def checked(source: str | Path) -> CommentedMap:
    """The description of a best/ folder whose weights are its model's, before they take memory."""
    tree = description(source)
    with torch.device("meta"):
        load_weights(safety.build(tree["model"]), source)
    return tree


def load(source: str | Path) -> dict:
    """labels, reader and model (weights in, eval mode) of a best/ folder or Hub repository."""
    parts = safety.build(tree := checked(source))
    head = getattr(parts["model"], "_modules", {}).get("head") or nn.Module()
    sizes = [part.out_features for part in head.modules() if isinstance(part, nn.Linear)]
    if sizes and tree["labels"] and sizes[-1] != len(tree["labels"]):
        raise InputError(
            f"{source} names {len(tree['labels'])} labels for {sizes[-1]} classes: export it again"
        )
    load_weights(parts["model"], source)
    parts["model"].eval()
    return parts


def trained_on(source: str | Path) -> seen.Seen:
    """What the model saw in training and validation: [] if it does not say."""
    path = find(source) / TRAINED_ON
    if not path.is_file():
        return []
    try:
        return seen.read(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path} is damaged: train or fetch the model again") from None
