"""`best/`: a trained model as a folder, the next phase's input and the Hub repository alike.

It is light where it can be: an encoder of which nothing was trained is named, not held.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import safetensors.torch
import torch
from ruamel.yaml.comments import CommentedMap
from torch import nn

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import targets as kinds
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import as_json, read_json, settle
from speechbrain_ser.models import safety, seen
from speechbrain_ser.models.heads import answering

if TYPE_CHECKING:
    from speechbrain_ser.models.encoders import Encoder

HYPERPARAMS = "hyperparams.yaml"
WEIGHTS = "model.safetensors"
TRAINED_ON = "trained_on.json"
RESULTS = "results.json"
HEADS = (("head",), ("heads", "emotion"), ("emotion", "head"))  # of emotions, in descriptions
HEADER = "# written by speechbrain_ser.models.saved: what inference needs, and nothing else\n"


def export(
    folder: Path,
    settings: Mapping,
    model: nn.Module,
    labels: list[str],
    known: seen.Seen,
    results: dict,
    with_encoders: bool = False,
) -> None:
    """Write best/ in one step: it is whole or not there.

    settings : the run's resolved tree; of it reader and model are kept
    known : what training and validation saw, the earlier phases included
    results : of the run; the model is unsure below the probability that was chosen there
    with_encoders : hold the weights of encoders that could be named, too
    """
    encoders = encoders_in(model)
    arguments = {} if with_encoders else names_of(encoders)
    named = [encoder for encoder in encoders if key_of(encoder) in arguments]
    arguments = {key_of(e): {"source": e.describe()} for e in encoders} | arguments
    tree = CommentedMap(labels=labels)
    tree["reader"] = settings["reader"]
    tree["model"] = inline_encoders(hp.bare(settings["model"]), arguments)
    if below := results.get("unsure", {}).get("below"):
        tree["unsure_below"] = below
    head, described = answering(model), head_of(tree["model"], model)
    if head is not None and described is not None:
        described.pop("temperature", None)
        described |= {"temperature": head.temperature} if head.temperature != 1 else {}
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    (temporary / HYPERPARAMS).write_text(HEADER + hp.dump(hp.bare(tree)))
    (temporary / TRAINED_ON).write_text(json.dumps(known))
    (temporary / RESULTS).write_text(as_json(results))
    for encoder in encoders:
        encoder.merge()
    weights = {n: tensor.cpu().contiguous() for n, tensor in tensors_of(model, named).items()}
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


def head_of(tree: Mapping, model: nn.Module) -> CommentedMap | None:
    """What describes a model's head in the model's description.

    None where it names no arguments of a head, because a class makes its own.
    """
    node: Any = tree
    head = answering(model)
    names = [name for name, part in model.named_modules() if part is head]
    for key in names[0].split(".") if names else [""]:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if hp.tag_of(node) and isinstance(node, CommentedMap) else None


def encoders_in(model: nn.Module) -> list[Encoder]:
    """The encoders among a model's parts."""
    # late, with transformers: it takes seconds, which the description of an ONNX file does not need
    from speechbrain_ser.models.encoders import Encoder

    return [part for part in model.modules() if isinstance(part, Encoder)]


def key_of(encoder: Encoder) -> str:
    """What an encoder is told from others by, in a model and in its description."""
    return str(encoder.weights_of or encoder.source)


def names_of(encoders: Collection[Encoder]) -> dict[str, dict]:
    """key -> the arguments that name encoders, of those of which none is this model's own."""
    from speechbrain_ser.models.encoders import fingerprints  # late, see encoders_in

    own = {key_of(encoder) for encoder in encoders if encoder.name is None}
    return {
        key_of(encoder): {
            "source": encoder.describe(),
            "weights_of": encoder.name,
            "fingerprint": fingerprints.measure(encoder),
        }
        for encoder in encoders
        if key_of(encoder) not in own
    }


def tensors_of(model: nn.Module, named: Collection[Encoder]) -> dict[str, torch.Tensor]:
    """A model's tensors without those of its named encoders."""
    modules = model.named_modules(remove_duplicate=False)
    prefixes = tuple(f"{prefix}." for prefix, part in modules if part in named)
    return {n: tensor for n, tensor in model.state_dict().items() if not n.startswith(prefixes)}


def inline_encoders(node, arguments: Mapping[str, dict]):
    """Put each encoder's config in the place of its source: best/ needs no other folder.

    arguments : key -> the config as source, and of a named encoder its name and fingerprint
    """
    if isinstance(node, dict):
        if hp.tag_of(node).endswith(".Encoder"):
            key = node.pop("weights_of", None) or node["source"]
            node.pop("fingerprint", None)
            node |= {"lora": None} if "lora" in node else {}  # it is merged
            node |= arguments.get(key, {}) if isinstance(key, str) else {}
        for value in node.values():
            inline_encoders(value, arguments)
    elif isinstance(node, list):
        for value in node:
            inline_encoders(value, arguments)
    return node


def encoders_of(node) -> set[str]:
    """The names of the encoders that a description names."""
    if isinstance(node, Mapping):
        own = {node["weights_of"]} if node.get("weights_of") else set()
        return own.union(*map(encoders_of, node.values()))
    return set().union(*map(encoders_of, node)) if isinstance(node, list) else set()


def find(source: str | Path, savedir: str | Path | None = None) -> Path:
    """A best/ folder: a local one or a run's, or a Hub repository's copy, in savedir or its cache.

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
    if not (folder / WEIGHTS).is_file() and (folder / "best" / WEIGHTS).is_file():
        folder = folder / "best"  # of a run's folder
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


def ranges(tree: Mapping) -> dict[str, tuple[float, float]]:
    """number -> lowest and highest of those that a described model answers."""
    targets: Any = {}
    for place in HEADS:
        node = tree["model"]
        for key in (*place, "targets"):
            node = node.get(key) if isinstance(node, Mapping) else None
        targets = targets or node
    numbers = kinds.numbers_of(kinds.of(targets)) if isinstance(targets, Mapping) else {}
    return {field: (number.low, number.high) for field, number in numbers.items()}


def load_weights(model: nn.Module, source: str | Path) -> None:
    """Put a best/ folder's weights into its model.

    Encoders that it names have theirs already. On the meta device they are compared only: sizes
    made up by a stranger cost no memory.
    Raises InputError if they are broken or another model's.
    """
    path = find(source) / WEIGHTS
    encoders = encoders_in(model)
    needed = tensors_of(model, [encoder for encoder in encoders if encoder.weights_of])
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
            model.load_state_dict(safetensors.torch.load_file(path), strict=False)
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
    """labels, reader and model (weights in, eval mode) of a best/ folder or Hub repository.

    unsure_below is there, too, if it was chosen.
    """
    parts = safety.build(tree := checked(source))
    head = answering(parts["model"])
    if head and tree["labels"] and head.num_classes != len(tree["labels"]):
        raise InputError(
            f"{source} names {len(tree['labels'])} labels for {head.num_classes} classes: export "
            "it again"
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


def refuse_speakers(source: str | Path, labels: Collection[str]) -> None:
    """Raise InputError for a model whose labels are the speakers it saw: it names no emotions."""
    if labels and set(labels) <= seen.people(labels, trained_on(source)):
        raise InputError(
            f"{source} names no emotions, but speakers: its labels are those of its training "
            f"({', '.join(list(labels)[:3])}{' ...' if len(labels) > 3 else ''}); give a model of "
            "emotions"
        )


def results_of(source: str | Path) -> dict:
    """The results.json of a best/ folder: {} if it has none."""
    path = find(source) / RESULTS
    return read_json(path, "train or fetch the model again") if path.is_file() else {}
