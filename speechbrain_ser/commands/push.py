"""Share a trained model on the Hugging Face Hub.

ser push results/fusion/fold1/1000 --export shared/    looks, uploads nothing
ser push results/fusion/fold1/1000 --repo user/name    uploads (hf auth login)

What goes up: hyperparams.yaml, the weights as safetensors, config.json, what the model was trained
on (hashes of the ids), its results, and a model card made of them; nothing else that lies in best/.
Before that the folder is loaded again, as a stranger would, and the run's test files are
classified: their probabilities must be those of predictions.csv.
"""

import argparse
import tempfile
from pathlib import Path

import huggingface_hub
from tqdm import tqdm

from speechbrain_ser import EmotionRecognizer, output
from speechbrain_ser.data import segments
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.results import answers
from speechbrain_ser.sharing import card

CLOSE = 1e-5  # of a probability


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--repo", help="user/name on the Hub")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write what would go up to DIR")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--files", type=int, help="classify this many test files again, not all")


def run(options: argparse.Namespace) -> int | None:
    if not options.repo and not options.export:
        raise InputError("give --repo user/name to upload, or --export DIR to look first")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.export or Path(temporary) / "model"
        if left_out := card.assemble(options.run, folder, options.repo):
            print(f"left out of {options.run / 'best'}: {', '.join(left_out)}")
        count, most = check(options.run, folder, options.files)
        print(f"{count} test files classified again: probabilities differ by {most:.1e} at most")
        if options.export:
            print(f"the model as it would go up: {folder}")
        if options.repo:
            print(upload(folder, options.repo, options.private))
    return 0


def check(run: Path, folder: Path, files: int | None) -> tuple[int, float]:
    """Classify the run's test files with the assembled folder: how many, the largest difference.

    Raises InputError if a probability is another one, or the recordings are gone.
    """
    manifest = read_json(run / "manifest.json")
    rows = output.read_csv(run / "predictions.csv")[:files]
    recognizer = EmotionRecognizer.from_hparams(folder)
    labels = recognizer.hparams.labels
    numbers = list(recognizer.ranges)
    if not rows or not set(labels) <= set(rows[0]) or not (labels or numbers):
        raise InputError(f"{run / 'predictions.csv'} has no probability of each label: no emotions")
    wavs = [manifest[row["id"]]["wav"] for row in rows]
    if missing := [wav for wav in wavs if not Path(segments.split(wav)[0]).is_file()]:
        raise InputError(
            f"{len(missing)} of {len(wavs)} test files are gone ({missing[0]} ...), so that the "
            "model cannot be checked: upload where the corpus is"
        )
    most = 0.0
    for position, answer in tqdm(recognizer.each(wavs), total=len(wavs), unit="file", disable=None):
        if isinstance(answer, InputError):
            raise answer
        if not answer.probs and not answer.values:
            continue  # its window is silent: training and its test heard nothing there
        row = rows[position]
        wanted = {label: float(row[label]) for label in labels}
        wanted |= {number: answers.pairs([row], number)[1][0] for number in numbers}
        told = answer.probs | answer.values
        worst = max(abs(told[name] - value) for name, value in wanted.items())
        if not worst <= CLOSE:
            raise InputError(
                f"{wavs[position]}: the assembled model's probabilities differ by {worst:.1e} from "
                f"those in {run / 'predictions.csv'}, so it is not uploaded"
            )
        most = max(most, worst)
    return len(rows), most


def upload(folder: Path, repo: str, private: bool) -> str:
    """Create the repository if it is new, and upload the folder as one commit; its address."""
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Model"))
    except Exception as error:  # of the network or the Hub, which raise of many kinds
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"the Hub did not take {repo} ({reason}): `hf auth login` with a token that may write "
            "there"
        ) from None
