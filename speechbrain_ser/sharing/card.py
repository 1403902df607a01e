"""What is shared of a run: the model folder, with a card made of its results."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from speechbrain_ser import hparams as hp
from speechbrain_ser.data.corpora.known import CORPORA as known_corpora
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json, write_atomically
from speechbrain_ser.models import saved, seen
from speechbrain_ser.results import calibration, dimensions, groups, report

FILES = (
    saved.HYPERPARAMS,
    saved.WEIGHTS,
    saved.TRAINED_ON,
    saved.RESULTS,
)  # that leave the machine
CORPORA = {  # name: (title, the licence of its recordings, the paper to cite)
    "iemocap": (
        "IEMOCAP",
        "available to researchers on request, for research only",
        "Busso et al. 2008, IEMOCAP: interactive emotional dyadic motion capture database",
    ),
    "nemo": (
        "nEMO",
        "CC BY-NC-SA 4.0: no commercial use",
        "Christop 2024, nEMO: Dataset of Emotional Speech in Polish",
    ),
    "ravdess": (
        "RAVDESS",
        "CC BY-NC-SA 4.0: no commercial use",
        "Livingstone and Russo 2018, The Ryerson Audio-Visual Database of Emotional Speech and "
        "Song",
    ),
    "voxceleb1": (
        "VoxCeleb1",
        "CC BY 4.0 of the annotations; the recordings are their owners'",
        "Nagrani, Chung and Zisserman 2017, VoxCeleb: a large-scale speaker identification dataset",
    ),
    **{name: (own.title, own.licence, own.citation) for name, own in known_corpora.items()},
}
TRIAL = "**A trial on synthesised speech: it knows nothing of people's emotions.**"
# our names: the Hub's
KINDS = {"WA": "accuracy", "UA": "recall", "F1": "f1", "CCC": "concordance_correlation"}
PAPERS = {  # beginning of an experiment's name: the method's paper
    ("speaker", "emotion", "fusion"): "Park et al. 2023, Using Speaker-Specific Emotion "
    "Representations in Wav2vec 2.0-Based Modules for Speech Emotion Recognition",
    ("probe",): "Pepino, Riera and Ferrer 2021, Emotion Recognition from Speech Using wav2vec 2.0",
    ("asr_gender", "multitask", "two_stage"): "Gao, Chu and Kawahara 2023, Two-stage Finetuning of "
    "Wav2vec 2.0 for Speech Emotion Recognition with ASR and Gender Pretraining",
    ("supcon", "knn"): "Wang, Zhao and Qin 2023, Supervised Contrastive Learning with Nearest "
    "Neighbor Search for Speech Emotion Recognition",
    ("member", "ensemble"): "Gavali and Verma, an ensemble of self-supervised speech encoders",
}


def copy(source: Path, folder: Path) -> list[str]:
    """Copy a model's own files to a new folder; return the names of what else there is.

    Raises InputError for a link in the place of one: what it leads to is not the model's.
    """
    folder.mkdir(parents=True)
    for name in FILES:
        path = source / name
        if path.is_symlink() or path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file: put the file itself there, not a link")
        if name == saved.TRAINED_ON and path.is_file():
            (folder / name).write_text(json.dumps(saved.trained_on(source)))
        elif path.is_file():
            shutil.copy(path, folder)
    return sorted(path.name for path in source.iterdir() if path.name not in FILES)


def assemble(run: Path, folder: Path, repo: str | None) -> list[str]:
    """Write a complete run's model to a new folder, with config.json and the card README.md.

    repo : user/name, for the card; None: named after the experiment

    Returns the names of what else lies in best/, and is left out. Raises InputError for a run that
    is not complete, a folder that is there, links, and labels that are people's names.
    """
    if not report.is_complete(run) or not (run / "best").is_dir():
        raise InputError(f"{run} holds no complete run: give results/<experiment>/fold<k>/<seed>")
    if folder.exists():
        raise InputError(f"{folder} is there already: name a new folder, or delete it")
    tree = saved.description(run / "best")
    known = saved.trained_on(run / "best")
    results = read_json(run / "results.json")
    if people := seen.people(tree["labels"], known):
        raise InputError(
            f"{run} names speakers of {results['corpus']} ({len(people)}), whose names would be "
            "published beside no emotion: share a model of emotions"
        )
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    left_out = copy(run / "best", temporary)
    config = {
        "library_name": "speechbrain",
        "task": "audio-classification",
        "sampling_rate": tree["reader"].get("sample_rate", 16_000),
        "id2label": dict(enumerate(tree["labels"])),
        "architectures": [hp.tag_of(tree["model"]).rpartition(".")[2]],
    }
    write_atomically(temporary / "config.json", json.dumps(config, indent=2) + "\n")
    write_atomically(
        temporary / "README.md",
        text(tree, results, known, repo or f"user/{results['experiment']}"),
    )
    os.replace(temporary, folder)
    return left_out


def text(tree: Mapping, results: Mapping, known: seen.Seen, repo: str) -> str:
    """The model card, Hub metadata first."""
    name = repo.rpartition("/")[2]
    corpus = results["corpus"]
    title, mini = titled(corpus), corpus.startswith("mini-")
    _, licence, citation = CORPORA.get(corpus, (corpus, "of its owners", ""))
    metrics = [metric for metric in KINDS if metric in results]
    data = ModelCardData(
        library_name="speechbrain",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "speechbrain-ser"],
        metrics=[KINDS[metric] for metric in metrics],
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="audio-classification",
                task_name="emotion recognition",
                dataset_type=corpus,
                dataset_name=title,
                metric_type=KINDS[metric],
                metric_name=f"{metric}, {results['protocol']}, fold {results['fold']}",
                metric_value=float(dimensions.told(metric, results[metric])),
            )
            for metric in metrics
        ],
    )
    template = Path(__file__).with_name("templates") / "card.md"
    card = ModelCard.from_template(
        data,
        str(template),
        name=name,
        repo=repo,
        results=results,
        labels=tree["labels"],
        encoders=sorted(saved.encoders_of(tree)),
        title=title,
        trial=TRIAL if mini else "",
        metrics={metric: dimensions.told(metric, results[metric]) for metric in metrics},
        numbers=numbers_told(saved.ranges(tree), results),
        fairness=groups.told(results.get("groups", {})),
        trust=calibration.told(results),
        known=[(titled(one["corpus"]), *counted(one, "utterances")) for one in known],
        licence="" if mini else licence,
        citations=[line for line in (method_of(results["experiment"]), citation) if line],
    )
    return f"{card}\n"


def numbers_told(ranges: Mapping[str, tuple[float, float]], results: Mapping) -> list[dict]:
    """What the card says of each number that a model answers: name, range and scores."""
    return [
        {"name": name, "range": f"{low:g} to {high:g}"}
        | {
            metric: dimensions.told(metric, results[f"{metric}_{name}"])
            for metric in dimensions.METRICS
        }
        for name, (low, high) in ranges.items()
    ]


def method_of(experiment: str) -> str:
    """The paper whose method an experiment is."""
    return next((paper for names, paper in PAPERS.items() if experiment.startswith(names)), "")


def about(folder: Path) -> str:
    """What a model folder tells of its training and its test, in two or three sentences."""
    path = folder / saved.RESULTS
    try:
        known = saved.trained_on(folder)
        results = json.loads(path.read_text()) if path.is_file() else {}
        return _told(known, results) if known else "What it was trained on is not told."
    except (ValueError, KeyError, TypeError, AttributeError):  # a stranger's may hold anything
        return f"What it was trained on cannot be read from {saved.TRAINED_ON} and {saved.RESULTS}."


def score(folder: Path) -> str:
    """The UA of a model's test in words, the CCC of numbers alone, "" if it tells none."""
    try:
        results = json.loads((folder / saved.RESULTS).read_text())
        return f"UA {results['UA']:.1f} %" if "UA" in results else f"CCC {results['CCC']:.2f}"
    except (OSError, ValueError, KeyError, TypeError):  # a stranger's may hold anything
        return ""


def _told(known: seen.Seen, results: Mapping) -> str:
    counts = []
    for one in known:
        trained, validated = counted(one, "recordings")
        beside = f"; validated on {validated}" if validated else ""
        counts += [f"{titled(one['corpus'])} ({trained}{beside})"]
    sentences = [f"Trained on {' and '.join(counts)}."]
    if "UA" in results:
        sentences += [
            f"Of other recordings ({results['protocol']}) {results['UA']:.1f} % got the "
            f"right one of {len(results['labels'])} emotions, each emotion counting alike; "
            f"guessing gets {100 / len(results['labels']):.1f} %."
        ]
    if names := dimensions.names_of(results):
        told = ", ".join(f"{results[f'CCC_{name}']:.2f} for {name}" for name in names)
        sentences += [
            f"Of other recordings ({results['protocol']}) its numbers had a concordance of {told}; "
            "1 is the best, a constant answer has 0."
        ]
    if results.get("transductive"):
        sentences += [
            "That was with features normalised over all recordings of each speaker: of one "
            "recording alone expect less."
        ]
    if all(one["corpus"].startswith("mini-") for one in known):
        sentences += [TRIAL]
    return " ".join(sentences)


def counted(known: Mapping, things: str) -> tuple[str, str]:
    """What trained, in words, and what validation saw beside it, "" for nothing or untold.

    known : an entry of trained_on.json
    things : "recordings", "utterances"
    """
    trained, validated = seen.counts(known)
    words = f"{trained.utterances:,} {things} of {trained.speakers:,} speakers"
    if validated is None:
        return f"{words}, those of the validation included", ""
    if not validated.utterances:
        return words, ""
    whose = f"{validated.speakers:,} other speakers" if validated.speakers else "the same speakers"
    return words, f"{validated.utterances:,} other {things} of {whose}"


def titled(corpus: str) -> str:
    """A corpus' title, a mini corpus told as what it is."""
    layout = corpus.removeprefix("mini-")
    title = CORPORA.get(layout, (layout,))[0]
    return title if layout == corpus else f"synthesised speech in the layout of {title}"
