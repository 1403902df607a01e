"""What a run leaves: results.json, predictions.csv and figures, and how they are shown."""

import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import speechbrain as sb
import torch

from speechbrain_ser import output
from speechbrain_ser.data import splits
from speechbrain_ser.data import targets as kinds
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import as_json, read_json, write_atomically
from speechbrain_ser.models import safety
from speechbrain_ser.models.losses import ArcFace
from speechbrain_ser.results import answers, calibration, dimensions, groups

COLUMNS = ("id", "target", "prediction")  # of predictions.csv, before a probability per label
COMPLETE = ".complete"  # written last: all else is there


def refuse_labels(targets: Mapping[str, kinds.Spec]) -> None:
    """Raise InputError for a value of a target that predictions.csv or a reader takes for another.

    targets : field of the manifest -> what is learned of it
    """
    for field, target in kinds.of(targets).items():
        for value in target.labels:
            text = str(value)
            if text in COLUMNS or not safety.is_plain(text):
                raise InputError(
                    f"the {field} {text!r} cannot be a label: rename it in the corpus (labels are "
                    f"plain words, no path, no sign of yaml first, and not {', '.join(COLUMNS)})"
                )


def is_complete(folder: Path) -> bool:
    return (folder / COMPLETE).is_file()


def complete(folder: Path) -> None:
    write_atomically(folder / COMPLETE, "")


def withdraw(folder: Path) -> None:
    """Take back what a run came to: its scores, answers and model. Its checkpoints stay."""
    for name in (COMPLETE, "results.json", "predictions.csv"):
        (folder / name).unlink(missing_ok=True)
    gone = folder / ".best.withdrawn"  # in one step
    shutil.rmtree(gone, ignore_errors=True)
    if (folder / "best").is_dir():
        (folder / "best").replace(gone)
        shutil.rmtree(gone)


def write(
    folder: Path, brain: sb.Brain, source: Mapping, parts: Mapping[str, Mapping[str, dict]]
) -> dict:
    """Write the files of a tested SerBrain; return the content of results.json.

    source : what the run knows: {"corpus": its name, "manifest": the digest of its manifest}, how
        many are left out, and whether validation got one answer
    """
    from speechbrain_ser.results import (
        curves,  # late: a run that begins need not wait for matplotlib
        plots,
        reliability,
        scatter,
    )

    hparams = brain.hparams
    parameters = list(brain.modules.model.parameters())
    state = brain.modules.model.state_dict()
    facts = brain.facts()
    normalised = ", transductive" if facts.get("transductive") else ""
    results = brain.scores | {
        **source,
        "protocol": f"{hparams.protocol}, {splits.protocol(parts)}{normalised}",
        "experiment": f"{hparams.experiment}{hparams.variant}",
        "fold": hparams.fold,
        "seed": hparams.seed,
        "epochs": hparams.epochs.current,
        "best_epoch": brain.best_epoch,
        "seconds": round(hparams.epochs.seconds, 1),
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "megabytes": round(sum(t.numel() * t.element_size() for t in state.values()) / 1e6, 1),
        "peak_gigabytes": peak_memory(brain.device),
        "commit": commit(),
    }
    results |= facts
    if shared := shared_speakers(parts, next(iter(hparams.targets))):
        results["shared_speakers"] = shared
    rows = sorted(brain.predictions(), key=lambda row: row["id"])
    if "confusion" in results and next(iter(hparams.targets)) == "emotion":
        number = {label: position for position, label in enumerate(results["labels"])}
        targets, said = ([number[row[side]] for row in rows] for side in ("target", "prediction"))
        entries = [parts["test"][row["id"]] for row in rows]
        if found := groups.fairness(targets, said, entries, results["labels"]):
            results["groups"] = found
    for row in rows:
        if not all(math.isfinite(value) for value in row.values() if isinstance(value, float)):
            raise InputError(
                f"{row['id']}: the trained model gives NaN or infinite probabilities or numbers: "
                "train with a smaller lr, or in fp32"
            )
    table = output.as_csv(list(rows[0]), (row.values() for row in rows))
    write_atomically(folder / "predictions.csv", table)
    title = (
        f"{results['experiment']} on {source['corpus']}, fold {hparams.fold}, seed {hparams.seed}"
    )
    if "confusion" in results:
        plots.confusion_matrix(
            results["confusion"],
            results["labels"],
            folder / "confusion.png",
            f"{title}: WA {results['WA']:.1f}, UA {results['UA']:.1f}",
        )
    if "ECE" in results:
        reliability.of_run(results, rows, folder / "reliability.png", title)
    if names := dimensions.names_of(results):
        speakers = [parts["test"][row["id"]]["speaker"] for row in rows]
        pairs = {name: answers.pairs(rows, name) for name in names}
        scatter.numbers(pairs, speakers, folder / "scatter.png", title)
    if history := hparams.epochs.history:
        heard = "test part" if parts["valid"] is parts["test"] else "validation"
        margin = any(isinstance(part, ArcFace) for part in brain.modules.modules())
        curves.training(history, folder / "curves.png", title, brain.best_epoch, heard, margin)
    write_atomically(folder / "results.json", as_json(results))
    return results


def shared_speakers(parts: Mapping[str, Mapping[str, dict]], target: str) -> dict[str, int]:
    """splits.shared_speakers where they spoil the score of a target; {} if none of them trains."""
    shared = splits.shared_speakers(parts)
    return shared if shared["speakers"] and target != "speaker" else {}


def peak_memory(device: str | torch.device) -> float:
    """Gigabytes: of a CUDA device the most that was allocated, else the most the process held."""
    if torch.device(device).type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e9, 2)
    if sys.platform == "win32":
        return 0.0  # it does not tell
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


def commit() -> str:
    """The code's git commit, with -dirty if it was changed since; "" outside a checkout."""
    git = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]
    try:
        return subprocess.run(git, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def show(folder: Path) -> None:
    """Print a finished run's table and where its files lie."""
    results = read_json(folder / "results.json")
    columns = [
        "corpus",
        "fold",
        "seed",
        "epochs",
        "WA",
        "UA",
        "F1",
        "UA_gender",
        "UA_style",
        "WER",
        "EER",
        *dimensions.shown(results),
        "KL",
        "F1_shares",
    ]
    columns = [column for column in columns if column in results]
    cells = [
        dimensions.told(c, v) if isinstance(v := results[c], float) else str(v) for c in columns
    ]
    widths = [max(len(c), len(v)) for c, v in zip(columns, cells, strict=True)]
    for row in (columns, cells):
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if "oracle" in results:
        chosen = " and ".join(f"{name} {value}" for name, value in results["oracle"].items())
        kinds = {"without_knn": "no neighbours", "oracle": f"{chosen}, best on test"}
        for name, said in kinds.items():
            print(f"{said}: WA {results[f'WA_{name}']:.2f}, UA {results[f'UA_{name}']:.2f}")
    for line in (*groups.told(results.get("groups", {})), *calibration.told(results)):
        print(line)
    print(f"protocol: {results['protocol']}")
    if "shared_speakers" in results:
        print(f"speakers: {splits.shared_in_words(results['shared_speakers'])}")
    print(f"run:      {folder}")
    print(f"figures:  {', '.join(map(str, sorted(folder.glob('*.png'))))}")
    print(f"model:    {folder / 'best'}")
