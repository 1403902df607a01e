"""What all figures share: palette, order of the classes, size, and how a file is written."""

import argparse
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import fonts

DPI = 150
FORMATS = ("png", "pdf", "svg")
# Okabe and Ito's palette, told apart with every common colour blindness
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#000000",
    "#B5A90C",  # their yellow, darkened for a white ground
)
MARKERS = ("o", "^", "s", "x", "v")
EMOTIONS = ("angry", "happy", "sad", "neutral", "fearful", "disgust", "surprised", "calm")
SAME = {"anger": "angry", "happiness": "happy", "sadness": "sad", "fear": "fearful"}
SAME |= {"disgusted": "disgust", "surprise": "surprised"}
# text stays text in a vector file; the same figure is the same bytes
VECTOR: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "ser"}
UNDATED = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}

Size = tuple[float, float]  # inches, width and height


def numbers(labels: Sequence[str]) -> list[int]:
    """A number of each label, for its colour: an emotion's is the same in every figure.

    Other labels take, in their order, the numbers that are left.
    """
    plain = [SAME.get(label, label) for label in labels]
    own = {label: EMOTIONS.index(label) for label in plain if label in EMOTIONS}
    free = iter(n for n in range(len(labels) + len(own)) if n not in own.values())
    taken = set()
    found = []
    for label in plain:
        number = own[label] if label in own and label not in taken else next(free)
        taken.add(label)
        found.append(number)
    return found


def order(labels: Sequence[str]) -> list[int]:
    """The positions of the labels as every figure shows them: emotions first, in one order."""
    plain = [SAME.get(label, label) for label in labels]
    places = {label: place for place, label in enumerate(EMOTIONS)}
    return sorted(range(len(labels)), key=lambda at: places.get(plain[at], len(EMOTIONS)))


def style(number: int) -> dict:
    """Colour and marker of the group with this number, 40 different ones."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number // len(COLOURS) % len(MARKERS)],
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every figure of `ser plot` has."""
    add = parser.add_argument
    add("--format", choices=FORMATS, default="png", help="pdf and svg are drawn as lines and text")
    add("--size", type=float, nargs=2, metavar=("WIDTH", "HEIGHT"), help="inches")
    add("--title", help="in place of the figure's own; '' for none")


def size_of(options: argparse.Namespace) -> Size | None:
    """The size that the options name; InputError for one that is no figure's."""
    if options.size is None:
        return None
    if not all(1 <= side <= 100 for side in options.size):
        raise InputError(f"--size {options.size[0]:g} {options.size[1]:g}: give 1 to 100 inches")
    return tuple(options.size)


def title_of(options: argparse.Namespace, own: str) -> str:
    return own if options.title is None else options.title


def save(figure: Figure, path: str | Path, title: str, size: Size | None = None) -> None:
    """Write a figure, in the format that the path ends with: png, pdf or svg.

    It is written beside `path`, then moved there: no reader sees half a figure.
    Raises InputError for another ending.
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise InputError(f"{path}: a figure ends with .{', .'.join(FORMATS)}")
    if size:
        figure.set_size_inches(size)
    if title:
        figure.suptitle(wrapped(title, figure, fontsize=12), fontsize=12)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a label between dollar signs is no formula
    fonts.suit(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with matplotlib.rc_context(VECTOR):
            FigureCanvasAgg(figure).print_figure(
                unfinished, format=kind, dpi=DPI, metadata=UNDATED[kind]
            )
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def wrapped(text: str, figure: Figure, fontsize: float) -> str:
    """The text in lines that fit the figure: a character is about 0.6 of its size wide."""
    return textwrap.fill(text, int(72 * figure.get_figwidth() / (0.6 * fontsize)))
