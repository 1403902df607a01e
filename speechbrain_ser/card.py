"""What is shared of a run: the model folder, with a card made of its results."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from speechbrain_ser import best, report, seen
from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically

FILES = (best.HYPERPARAMS, best.WEIGHTS, best.TRAINED_ON, best.RESULTS)  # that leave the machine
CORPORA = {  # name: (title, the licence of its recordings, the paper to cite)
    "iemocap": (
        "IEMOCAP",
        "available to researchers on request, for research only",
        "Busso et al. 2008, IEMOCAP: interactive emotional dyadic motion capture database",
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
}
TRIAL = "**A trial on synthesised speech: it knows nothing of people's emotions.**"
KINDS = {"WA": "accuracy", "UA": "recall", "F1": "f1"}  # our names: the Hub's
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
        if name == best.TRAINED_ON and path.is_file():
            (folder / name).write_text(json.dumps(best.trained_on(source)))
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
    tree = best.description(run / "best")
    known = best.trained_on(run / "best")
    results = json.loads((run / "results.json").read_text())
    if results["corpus"].removeprefix("mini-") not in CORPORA:
        if people := [
            label for one in known for label in seen.among(tree["labels"], one, "speakers")
        ]:
            raise InputError(
                f"{run} names speakers of {results['corpus']} ({len(people)}), whose names would "
                "be published: share a model of emotions"
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
                metric_value=round(results[metric], 2),
            )
            for metric in metrics
        ],
    )
    lines = ["---", data.to_yaml().strip(), "---", "", f"# {name}", ""]
    labels = ", ".join(tree["labels"])
    lines += [f"Emotions of speech: {labels}. Trained with speechbrain-ser, the recipe"]
    lines += [f"`{results['experiment']}`, commit `{results['commit'] or 'unknown'}`.", ""]
    if mini:
        lines += [TRIAL, ""]
    lines += ["## Use", "", "```python", "from speechbrain_ser import EmotionRecognizer", ""]
    lines += [f'recognizer = EmotionRecognizer.from_hparams("{repo}")']
    lines += ['print(recognizer.classify_file("speech.wav"))', "```", ""]
    lines += ["No remote code is run: the files hold a description and safetensors.", ""]
    lines += ["## Results", "", f"On {title}, fold {results['fold']}, seed {results['seed']}."]
    lines += [f"Protocol: **{results['protocol']}**. One fold is no cross-validation.", ""]
    lines += [f"| {' | '.join(metrics)} |", f"|{'---:|' * len(metrics)}"]
    lines += [f"| {' | '.join(f'{results[metric]:.2f}' for metric in metrics)} |", ""]
    lines += ["WA: share of correct utterances; UA: mean of the emotions' recalls; percent.", ""]
    lines += ["| emotion | recall |", "|---|---:|"]
    lines += [
        f"| {label} | {'' if recall is None else f'{recall:.2f}'} |"
        for label, recall in results.get("recall", {}).items()
    ]
    lines += ["", "## Training data", ""]
    for one in known:
        count = f"{len(one['utterances'])} utterances of {len(one['speakers'])} speakers"
        lines += [
            f"- {titled(one['corpus'])}: {count} (`trained_on.json` holds hashes of their ids)"
        ]
    if not mini:
        lines += ["", f"Licence of the recordings: {licence}. Whether a model trained on them may"]
        lines += ["be used for other ends is for their owners to say."]
    lines += [""]
    lines += ["## Intended use and limits", ""]
    lines += ["For research on speech emotion. The emotions are as actors performed them or raters"]
    lines += [
        "heard them in that corpus; another language, microphone or situation is another task."
    ]
    lines += ["It does not tell what a person feels, and is not meant for decisions about people."]
    method = next((p for k, p in PAPERS.items() if results["experiment"].startswith(k)), "")
    lines += ["", "## Citation", ""]
    lines += [f"- {line}" for line in (method, citation) if line]
    lines += ["- Ravanelli et al. 2024, Open-Source Conversational AI with SpeechBrain 1.0", ""]
    return "\n".join(lines)


def about(folder: Path) -> str:
    """What a model folder tells of its training and its test, in two or three sentences."""
    path = folder / best.RESULTS
    try:
        known = best.trained_on(folder)
        results = json.loads(path.read_text()) if path.is_file() else {}
        return _told(known, results) if known else "What it was trained on is not told."
    except (ValueError, KeyError, TypeError, AttributeError):  # a stranger's may hold anything
        return f"What it was trained on cannot be read from {best.TRAINED_ON} and {best.RESULTS}."


def _told(known: seen.Seen, results: Mapping) -> str:
    counts = [
        f"{titled(one['corpus'])} ({len(one['utterances']):,} recordings of "
        f"{len(one['speakers']):,} speakers)"
        for one in known
    ]
    sentences = [f"Trained on {' and '.join(counts)}."]
    if "UA" in results:
        sentences += [
            f"Of other recordings ({results['protocol']}) it recognised {results['UA']:.1f} % of "
            f"each emotion on average; guessing gets {100 / len(results['labels']):.1f} %."
        ]
    if results.get("transductive"):
        sentences += [
            "That was with features normalised over all recordings of each speaker: of one "
            "recording alone expect less."
        ]
    if all(one["corpus"].startswith("mini-") for one in known):
        sentences += [TRIAL]
    return " ".join(sentences)


def titled(corpus: str) -> str:
    """A corpus' title, a mini corpus told as what it is."""
    layout = corpus.removeprefix("mini-")
    title = CORPORA.get(layout, (layout,))[0]
    return title if layout == corpus else f"synthesised speech in the layout of {title}"
