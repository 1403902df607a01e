"""Speech emotion recognition: a trained model in use, and the papers' tables.

ser classify MODEL speech.wav        what is heard; MODEL is a run's best/ folder or a Hub id
ser train mine.csv                   a model of your own recordings, and what it is worth
ser run ROW                          one run of a row of a paper's table
ser COMMAND --help                   what a command does, by examples
"""

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from speechbrain_ser import __version__
from speechbrain_ser.errors import program

WITH_A_MODEL = {
    "classify": "emotions of audio files, whole or in segments",
    "annotate": "emotions of a large collection, resumable, on one machine or a cluster",
    "demo": "a page to record or drop a file on; a Hugging Face Space of it",
    "export": "a model as ONNX, in float32 and int8",
    "push": "a model to the Hugging Face Hub, checked before",
    "convert": "SpeechBrain's own emotion models in this package's form",
    "results": "what your runs came to, the best of each corpus marked",
    "plot confusion": "the confusion matrix of an experiment over its folds",
    "plot layers": "how a probe weighs its encoder's layers",
    "plot embeddings": "t-SNE of what a model makes of recordings",
    "plot scores": "WA and UA of experiments side by side",
}
WITH_A_CORPUS = {
    "train": "a model of your own recordings, and its scores with unheard speakers",
    "run": "one run: a row of a paper's table, or a recipe",
    "cross-validate": "all folds and seeds of a row or a recipe, earlier phases first",
    "reproduce": "a paper's table, or all of them",
    "cross-corpus": "trained on some corpora, tested on others, also under noise and codecs",
    "corpora list": "the corpora that are known by name: size, language, licence, what to type",
    "corpora check": "what the folds of a corpus share between training and test",
    "summarize": "tables of the READMEs from results; two rows compared",
    "plot corpus": "how many utterances of each emotion, by gender and session",
    "plot gains": "what rows of a table gain over another row",
}
COMMANDS = WITH_A_MODEL | WITH_A_CORPUS


def main(words: Sequence[str] | None = None) -> int:
    """The program `ser`, also python -m speechbrain_ser: the exit status.

    0 done, 1 some of it could not be done, 2 the user's mistake in a sentence, 130 interrupted.
    """
    words = list(sys.argv[1:] if words is None else words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # letters of names that a terminal lacks
    name, own = command_of(words)
    module = importlib.import_module(f"speechbrain_ser.commands.{name.translate(MODULE)}")
    parser = argparse.ArgumentParser(
        prog=f"ser {name}",
        usage=getattr(module, "USAGE", None),
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    if hasattr(module, "USAGE"):  # a recipe's settings may follow
        options, settings = parser.parse_known_args(own)
        options.settings = settings
    else:
        options = parser.parse_intermixed_args(own)  # options may stand between recordings
    return program(f"ser {name}")(module.run)(options)


MODULE = str.maketrans(" -", "__")  # of a command


def command_of(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command that words begin with, and its own words; ends the program without one."""
    for length in (1, 2):
        if (name := " ".join(words[:length])) in COMMANDS:
            return name, list(words[length:])
    groups = [listed("with a model", WITH_A_MODEL), listed("with a corpus", WITH_A_CORPUS)]
    parser = argparse.ArgumentParser(
        prog="ser",
        usage="ser COMMAND ...",
        description=__doc__,
        epilog="\n\n".join(groups),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"speechbrain-ser {__version__}")
    if not words:
        parser.parse_args(["--help"])
    parser.parse_known_args(words)  # --help, --version
    known = [command for command in COMMANDS if command.split()[0] == words[0]] or COMMANDS
    parser.error(f"there is no command {' '.join(words[:2])!r}: use {', '.join(known)}")


def listed(title: str, commands: dict[str, str]) -> str:
    wide = max(map(len, COMMANDS))
    return "\n".join(
        [f"{title}:", *(f"  {c.ljust(wide)}  {summary}" for c, summary in commands.items())]
    )


if __name__ == "__main__":
    sys.exit(main())
