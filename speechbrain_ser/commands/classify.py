"""Emotions of audio files.

ser classify speech.wav recordings/
ser classify results/fusion/fold1/1000/best speech.wav
ser classify user/model call.wav --long --csv > call.csv

MODEL is a run's best/ folder, a Hub id, or a file of `ser export` or its folder; without one it is
the package's own, which needs the encoder that it names, from the Hub or in SER_ENCODERS.

FILE is an audio file, a part of one in seconds ('talk.wav#t=1.5,3.25', from whose start its times
are counted), a folder (all audio files in and below it, linked folders too) or -, a list of files
on standard input. Bad files are named on standard error with the reason, the others are done; the
status is then 1.

Where all that the model hears of a file is silent, the label is - (null in JSON, nothing in CSV).
JSON and CSV hold a file's name as it is: bytes that are not UTF-8 stand in JSON as \\udcXX
(Python's surrogateescape), in CSV as they are; on a terminal they are escaped.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from speechbrain_ser import output
from speechbrain_ser.data import folders, segments
from speechbrain_ser.errors import InputError
from speechbrain_ser.output import printable
from speechbrain_ser.sharing import parquet

if TYPE_CHECKING:
    from speechbrain_ser import Emotion, EmotionRecognizer

    Result = tuple[str, list[Emotion] | InputError]
    Show = Callable[[str, Emotion], None]

OWN_MODEL = (
    "No model is named: this is the package's own, trained on actors of RAVDESS (English) and nEMO "
    "(Polish), for research alone (CC BY-NC-SA 4.0). What to expect of it elsewhere: "
)
COLUMNS = ("file", "start", "end", "label")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", metavar="[MODEL] FILE", nargs="+")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object per line")
    form.add_argument("--csv", action="store_true", help="a table with a column per emotion")
    form.add_argument("--parquet", metavar="FILE", help="the table of --csv as a Parquet file")
    parser.add_argument("--long", action="store_true", help="segments of long recordings")
    parser.add_argument("--window", type=float, default=4.0, help="--long: seconds, 4")
    parser.add_argument("--hop", type=float, default=1.0, help="--long: seconds, 1")
    parser.add_argument(
        "--unsure_below",
        type=float,
        metavar="P",
        help="a less probable label is unsure; else what validation chose, if anything; 0: never",
    )
    parser.add_argument("--labels", metavar="A,B", help="answer with these alone, as happy,sad")
    parser.add_argument("--batch_size", type=int, help="8 on CUDA, 1 on a CPU")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16 or, on a GPU, fp16")


def run(options: argparse.Namespace) -> int:
    from speechbrain_ser.sharing.inference import (  # late: it takes seconds, and --help none
        DEFAULT,
        EmotionRecognizer,
    )

    if options.parquet:
        parquet.check()
    model, files = model_and_files(options.words)
    paths = files_of(files)
    run_opts = {"device": options.device, "precision": options.precision}
    given = {"run_opts": run_opts, "unsure_below": options.unsure_below}
    if model is None:
        print(f"{OWN_MODEL}{DEFAULT}/README.md", file=sys.stderr)
    else:
        given["source"] = model
    if options.labels is not None:
        given["labels"] = [label.strip() for label in options.labels.split(",")]
    recognizer = EmotionRecognizer.from_hparams(**given)
    labels, numbers = recognizer.labels, list(recognizer.ranges)
    rows: list[dict] = []
    if options.parquet:
        show = as_row(rows)
    else:
        form = as_json if options.json else as_csv if options.csv else as_table
        show = form(labels, numbers)
    bad = 0
    for path, result in results(recognizer, paths, options):
        if isinstance(result, InputError):
            tqdm.write(f"ser classify: {result}", file=sys.stderr)
            bad += 1
            continue
        for emotion in result:
            show(path, emotion)
    if options.parquet:
        parquet.write(options.parquet, ("file", "label"), ("start", "end", *labels, *numbers), rows)
    if bad:
        print(f"{bad} of {len(paths)} files could not be classified, see above", file=sys.stderr)
    return int(bool(bad))


def model_and_files(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The model, if the first word is one or cannot be a recording; and the recordings.

    Raises InputError for a model without recordings.
    """
    first, *rest = words
    path = Path(first)
    described = any((path / name).is_file() for name in ("hyperparams.yaml", "model.onnx"))
    is_model = path.suffix == ".onnx" or described
    file = Path(segments.split(first)[0])
    if not is_model and (first == "-" or file.exists() or file.suffix.lower() in folders.endings()):
        return None, words
    if not is_model and not rest:
        raise InputError(f"{first}: no such file; if it is a model, name recordings behind it")
    if not rest:
        raise InputError(f"{first} is a model: name recordings behind it")
    return first, rest


def files_of(names: Sequence[str]) -> list[str]:
    """The files that a command line names; what folders hold beside them is told in a line.

    Raises InputError for a folder without audio.
    """
    paths: list[str] = []
    others: list[Path] = []
    for name in names:
        if name == "-":
            paths += folders.listed(standard_input(), "standard input")
        elif Path(name).is_dir():
            found = folders.listing(name)
            others += found.others
            if not found.recordings:
                there = f"; {folders.passed_over(found.others)}" if found.others else ""
                raise InputError(
                    f"{name} holds no audio files: name a folder of wav, flac, mp3 ...{there}"
                )
            paths += map(str, found.recordings)
        else:
            paths.append(name)
    if others:
        print(folders.passed_over(others), file=sys.stderr)
    return paths


def standard_input() -> str:
    """All of it, decoded as names of files are."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        names = sys.getfilesystemencoding()
        sys.stdin.reconfigure(encoding=names, errors="surrogateescape", newline="\n")
    return sys.stdin.read()


def results(recognizer: EmotionRecognizer, paths: Sequence[str], options) -> Iterator[Result]:
    """Each file with its segments, in the order given, with a progress bar."""
    bar = tqdm(total=len(paths), unit="file", disable=None)
    if options.long:
        for path in paths:
            segments: list[Emotion] | InputError
            try:
                segments = recognizer.classify_long(
                    path, options.window, options.hop, batch_size=options.batch_size
                )
            except InputError as error:
                segments = error
            bar.update()
            yield path, segments
    else:
        done: dict[int, list[Emotion] | InputError] = {}
        given = 0
        for position, result in recognizer.each(paths, options.batch_size):
            done[position] = result if isinstance(result, InputError) else [result]
            bar.update()
            while given in done:
                yield paths[given], done.pop(given)
                given += 1
    bar.close()


def as_row(rows: list[dict]) -> Show:
    """Puts what is shown into rows, to be written when all are there."""

    def show(path: str, emotion: Emotion) -> None:
        facts = {"file": path, "label": emotion.label, "start": emotion.start, "end": emotion.end}
        rows.append(emotion.probs | emotion.values | facts)

    return show


def as_json(labels: Sequence[str], numbers: Sequence[str] = ()) -> Show:
    """A JSON object per line."""

    def show(path: str, emotion: Emotion) -> None:
        facts = {"file": path, "start": emotion.start, "end": emotion.end}
        facts |= {"label": emotion.label, "probs": emotion.probs}
        print(json.dumps(facts | ({"values": emotion.values} if numbers else {})))

    return show


def as_csv(labels: Sequence[str], numbers: Sequence[str] = ()) -> Show:
    """A row per segment, a column per emotion and number.

    On a terminal texts are escaped, else they are exact, in UTF-8.
    """
    on_terminal = sys.stdout.isatty()
    if isinstance(sys.stdout, io.TextIOWrapper) and not on_terminal:
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")

    def line(*values) -> None:
        shown = [printable(v) if on_terminal and isinstance(v, str) else v for v in values]
        sys.stdout.write(output.as_csv(shown, []))

    line(*COLUMNS, *labels, *numbers)

    def show(path: str, emotion: Emotion) -> None:
        times = f"{emotion.start:.3f}", f"{emotion.end:.3f}"
        told = [emotion.probs.get(label, "") for label in labels]
        told += [emotion.values.get(number, "") for number in numbers]
        line(path, *times, emotion.label or "", *told)

    return show


def as_table(labels: Sequence[str], numbers: Sequence[str] = ()) -> Show:
    """Columns for a reader."""
    names = {label: printable(label).rjust(len("0.000")) for label in (*labels, *numbers)}
    wide = max(map(len, [*names.values(), "unsure"]))
    print("  ".join(["  start", "    end", "label".ljust(wide), *names.values(), "file"]))

    def show(path: str, emotion: Emotion) -> None:
        times = f"{emotion.start:7.1f}", f"{emotion.end:7.1f}"
        told = emotion.probs | emotion.values
        probs = [
            (f"{told[label]:.3f}" if told else "").rjust(len(name)) for label, name in names.items()
        ]
        heard = "-" if emotion.label is None else printable(emotion.label)
        tqdm.write("  ".join([*times, heard.ljust(wide), *probs, printable(path)]))

    return show
