"""Draw a trained model's embeddings as t-SNE plots, with the silhouette beside them.

Any model with an `embed` (a run's best/ folder or a Hub repository), any corpus:

    ser plot embeddings --model results/fusion/fold2/1000/best

draws the train, valid and test part of that run in one joint t-SNE, coloured by emotion and by
speaker. The parts and recordings are those of the run whose best/ it is, or of --run. Without
parts, all recordings of a corpus are drawn, here those of another corpus than the model's own:

    ser plot embeddings --model results/speaker/fold1/1000/best \\
        --corpus iemocap --data_folder PATH --parts all --colour speaker

The papers' figures are such settings under a name; give it their models in order:

    --figure park5  the speaker network trained (a) without and (b) with ArcFace
                 --model results/speaker_ce/fold1/1000/best results/speaker/fold1/1000/best
    --figure park6  the ArcFace speaker network on speech of at least (a) 1, (b) 2, (c) 3, (d) 4 s
                 --model results/speaker/fold1/1000/best
                 (park5 and park6 are of IEMOCAP: with --corpus iemocap --data_folder PATH)
    --figure park8  (a) the emotion network alone, (b) fused with the frozen speaker network, fold 2
                 --model results/emotion/fold2/1000/best results/fusion/fold2/1000/best
    --figure park9  fused, (a) ArcFace fine-tuned, (b) all fine-tuned, beta 1, fold 2
                 --model results/fusion_arcface_beta1/fold2/1000/best \\
                         results/fusion_all_beta1/fold2/1000/best
    --figure wang4  trained (a) by cross-entropy alone, (b) with the contrastive loss
                 --model results/supcon_ce/fold1/1000/best results/supcon/fold1/1000/best

Colours are the true labels; with --colour predicted they are what each model answers, as the
captions of park8 and park9 say. Recordings are read as the model's own reader does in a test, one
at a time. Every plot leaves NAME.png (pdf, svg with --format), NAME.csv (its points) and NAME.json
(its silhouettes, between -1 and 1, of the embedding itself by cosine: 1 is compact and far apart).
"""

import argparse
import inspect
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from speechbrain_ser import hparams as hp
from speechbrain_ser import output, parallel
from speechbrain_ser.campaign import corpora
from speechbrain_ser.commands.demo import named
from speechbrain_ser.data import splits
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import as_json, read_json, write_atomically
from speechbrain_ser.models import safety, saved
from speechbrain_ser.results import canvas, tsne
from speechbrain_ser.training.source import corpus_name

# of Park 2023 and Wang 2023: what each panel is called, and what all of them show
FIGURES: dict[str, dict[str, list]] = {
    "park5": {"names": ["cross-entropy", "ArcFace"], "parts": ["all"], "colour": ["speaker"]},
    "park6": {
        "names": ["ArcFace"],
        "parts": ["all"],
        "colour": ["speaker"],
        "min_seconds": [1.0, 2.0, 3.0, 4.0],
    },
    "park8": {"names": ["emotion network alone", "fused, speaker network frozen"]},
    "park9": {"names": ["fused, ArcFace fine-tuned", "fused, all fine-tuned"]},
    "wang4": {
        "names": ["by cross-entropy alone", "with the contrastive loss"],
        "parts": ["test"],
        "colour": ["emotion"],
    },
}
PREDICTED = "predicted"  # a --colour: what the model answers
FEWEST = 5  # recordings of a t-SNE
DEFAULTS = {"parts": list(splits.PARTS), "colour": ["emotion", "speaker"], "min_seconds": [0.0]}


def settings_of(options: argparse.Namespace) -> dict:
    """names, parts, colour and min_seconds: the options over the figure's over the defaults."""
    figure = FIGURES.get(options.figure, {"names": list(named(options.model))})
    if len(options.model) != len(figure["names"]):
        raise InputError(
            f"figure {options.figure} shows {len(figure['names'])} models "
            f"({'; '.join(figure['names'])}), but --model names {len(options.model)}"
        )
    given = {key: getattr(options, key) for key in DEFAULTS if getattr(options, key)}
    return DEFAULTS | figure | given


def run_folder(options: argparse.Namespace) -> Path:
    """The run that says which recordings there are: --run, or the first model's own."""
    first = Path(options.model[0]).absolute()
    folder = Path(options.run or (first if (first / "best").is_dir() else first.parent))
    missing = [n for n in ("manifest.json", saved.HYPERPARAMS) if not (folder / n).is_file()]
    if missing:
        raise InputError(
            f"{folder} is no run folder (it has no {missing[0]}): name one with --run, or a "
            "corpus with --corpus NAME --data_folder PATH and --parts all"
        )
    return folder


def recordings(options: argparse.Namespace, parts: list[str]) -> tuple[str, dict[str, dict]]:
    """What they are, for the title, and {part: manifest of it}; "all" is the whole corpus."""
    if options.corpus:
        if parts != ["all"]:
            raise InputError(f"--corpus {options.corpus} has no parts of its own: use --parts all")
        name, manifest = corpora.manifest_of(options.corpus, options.data_folder)
        return name, {"all": manifest}
    folder = run_folder(options)
    settings = hp.load_tree((folder / saved.HYPERPARAMS).read_text())
    if options.data_folder:  # the corpus has moved since the run
        manifest = safety.build(settings["corpus"]["prepare"], is_of_a_corpus)(options.data_folder)
    else:
        manifest = read_json(folder / "manifest.json")
    name = corpus_name(settings)
    if parts == ["all"]:
        return name, {"all": manifest}
    split = safety.build(settings["split"], is_of_a_corpus)(manifest, fold=settings["fold"])
    return f"{name}, fold {settings['fold']}", {part: split[part] for part in parts}


def is_of_a_corpus(tag: str) -> bool:
    """Whether a tag names a split or a corpus' reader, as the settings of a run do."""
    module, _, name = tag.removeprefix("!name:").rpartition(".")
    is_prepare = module.startswith("speechbrain_ser.data.corpora.") and name == "prepare"
    is_split = module == splits.__name__ and name in splits.__all__ and is_of_folds(name)
    return tag.startswith("!name:") and (is_prepare or is_split)


def is_of_folds(name: str) -> bool:
    """Whether a name of splits is a split: a function of a manifest and a fold."""
    arguments = inspect.signature(getattr(splits, name)).parameters if name[0].islower() else ()
    return list(arguments)[:2] == ["manifest", "fold"]


@torch.inference_mode()
def embeddings(
    source: str, entries: Mapping[str, dict], device: str, with_answers: bool = False
) -> tuple[np.ndarray, list[str]]:
    """The model's embedding of every recording, read and run one at a time, [item, dim].

    Behind them, with_answers, the label that it answers for each.
    """
    model = saved.load(source)
    network = model["model"].to(device)
    if not hasattr(network, "embed"):
        raise InputError(f"{source} holds a {type(network).__name__}, which gives no embedding")
    lens = torch.ones(1, device=device)
    rows, answers = [], []
    for entry in tqdm(entries.values(), desc=f"embedding by {source}", unit="file", disable=None):
        speech = model["reader"](entry["wav"]).unsqueeze(0).to(device)  # [1, time]
        rows.append(network.embed(speech, lens)[0].float().cpu().numpy())
        if with_answers:
            answer = network.head.probs(network(speech, lens)).argmax()
            answers.append(model["labels"][int(answer)])
    return np.stack(rows), answers


def draw(
    path: Path,
    title: str,
    embedding: np.ndarray,
    parts: Mapping[str, Mapping[str, dict]],
    options: argparse.Namespace,
    colour: list[str],
) -> dict:
    """embedding [item, dim] of the parts' recordings, in their order -> PNG, CSV and JSON."""
    ids = [(part, utt_id, entry) for part, some in parts.items() for utt_id, entry in some.items()]
    result = tsne.draw(
        embedding,
        {field: [entry[field] for *_, entry in ids] for field in colour},
        path,
        canvas.title_of(options, title),
        seed=options.seed,
        perplexity=options.perplexity,
        parts=[part for part, *_ in ids],
        size=canvas.size_of(options),
    )
    rows = [
        [utt_id, part, *(entry[field] for field in colour), *(f"{value:.4f}" for value in point)]
        for (part, utt_id, entry), point in zip(ids, result["points"], strict=True)
    ]
    table = output.as_csv(["id", "part", *colour, "x", "y"], rows)
    write_atomically(path.with_suffix(".csv"), table)
    summary = {"title": title, "items": len(ids), "silhouette": result["silhouette"]}
    write_atomically(path.with_suffix(".json"), as_json(summary))
    return result["silhouette"]


def check(whole: Mapping[str, Mapping[str, dict]], settings: Mapping) -> None:
    """Refuse, before the slow part, what cannot be drawn."""
    entries = [entry for some in whole.values() for entry in some.values()]
    for field in settings["colour"]:
        if field != PREDICTED and not all(entry.get(field) for entry in entries):
            raise InputError(
                f"not every recording has the field {field!r}: choose another --colour"
            )
    for least in settings["min_seconds"]:
        count = sum(entry["duration"] >= least for entry in entries)
        if count < FEWEST:
            raise InputError(
                f"{count} recordings last {least:g} s or more, and a t-SNE needs {FEWEST}: give "
                "shorter --min_seconds"
            )


def run(options: argparse.Namespace) -> None:
    """Every model's embeddings, at every least length."""
    parallel.refuse_device(options.device)
    canvas.size_of(options)  # before the slow part
    settings = settings_of(options)
    where, whole = recordings(options, settings["parts"])
    check(whole, settings)
    entries = {utt_id: entry for some in whole.values() for utt_id, entry in some.items()}
    several = len(options.model) * len(settings["min_seconds"]) > 1
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    for source, name in zip(options.model, settings["names"], strict=True):
        predicted = PREDICTED in settings["colour"]
        embedding, answers = embeddings(source, entries, options.device, predicted)
        for entry, answer in zip(entries.values(), answers, strict=False):
            entry[PREDICTED] = answer
        for least in settings["min_seconds"]:
            kept = [entry["duration"] >= least for entry in entries.values()]
            parts = {
                part: {utt_id: e for utt_id, e in some.items() if e["duration"] >= least}
                for part, some in whole.items()
            }
            stem = f"figure_{options.figure}" if options.figure else "embeddings"
            stem += next(letters) if several else ""
            title = f"{stem}: {name}, {where}" + (f", {least:g} s or longer" if least else "")
            print(f"t-SNE of {sum(kept):,} recordings, {title}", flush=True)
            path = Path(options.output_folder) / f"{stem}.{options.format}"
            silhouettes = draw(path, title, embedding[kept], parts, options, settings["colour"])
            for part, values in silhouettes.items():
                shown = (f"{k} {'-' if v is None else f'{v:.3f}'}" for k, v in values.items())
                print(f"  silhouette, {part}: {', '.join(shown)}")
            print(f"  {path}, {path.with_suffix('.csv').name}, {path.with_suffix('.json').name}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", "--best", nargs="+", required=True, metavar="BEST", help="best/ or Hub id")
    add("--figure", choices=sorted(FIGURES), help="of Park 2023 or Wang 2023; see above")
    add("--run", metavar="FOLDER", help="the run whose split and recordings to use")
    add("--corpus", help="of ser corpora list, in place of a run's")
    add("--data_folder", metavar="PATH", help="of the corpus; where it lies now, if it has moved")
    add("--parts", nargs="+", choices=["all", *splits.PARTS], help="default: train valid test")
    add(
        "--colour",
        nargs="+",
        metavar="FIELD",
        help="of the manifest, or predicted; default: emotion speaker",
    )
    add("--min_seconds", type=float, nargs="+", help="a plot each, without shorter recordings")
    add("--output_folder", default="figures", metavar="FOLDER", help="default: figures")
    add("--perplexity", type=float, default=20, help="default: 20, as in Park's code")
    add("--seed", type=int, default=1000, help="of the t-SNE; default: 1000, as in Park's code")
    add("--device", default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    canvas.add_arguments(parser)
