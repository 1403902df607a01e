"""The corpora that --corpus knows by name, and what is known of each.

ser corpora list                  a line for each
ser corpora list crema_d          one of them: classes, names of its files, licence, what to type
"""

import argparse
import difflib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from speechbrain_ser.data.corpora import emobox, iemocap, known, nemo, ravdess, table, voxceleb1
from speechbrain_ser.errors import InputError
from speechbrain_ser.sharing import card

COLUMNS = ("name", "speakers", "utterances", "emotions", "language", "licence")
NUMBERS = COLUMNS[1:4]
WIDTH = 100  # columns of a terminal


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A corpus in words; what is empty depends, or is not known."""

    title: str
    citation: str = ""
    licence: str
    speakers: int | None = None
    utterances: int | None = None
    emotions: Sequence[str] = ()
    language: str = ""
    recordings: str
    note: str = ""
    choice: str = ""  # what --corpus takes, if not the name
    split: str = ""  # that it needs
    recipe: str = "RAVDESS/train_combined.py hparams/combined.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="of a corpus: all that is known of it")


def run(options: argparse.Namespace) -> None:
    corpora = entries()
    if options.name is None:
        print(overview(corpora))
    elif options.name in corpora:
        print(described(options.name, corpora[options.name]))
    else:
        close = difflib.get_close_matches(options.name, corpora, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        known_names = ", ".join(corpora)
        raise InputError(f"corpus {options.name!r} is unknown: use one of {known_names}{hint}")


def entries() -> dict[str, Entry]:
    """Every corpus that --corpus takes."""
    return {
        "iemocap": Entry(
            **_card("iemocap"),
            speakers=10,
            utterances=5531,
            emotions=("angry", "happy", "neutral", "sad"),
            language="en",
            recordings=iemocap.EXPECTED,
            note="excited counts as happy; others: --corpus '{labels: [...], merge: {}}'",
        ),
        "ravdess": Entry(
            **_card("ravdess"),
            speakers=24,
            utterances=1440,
            emotions=[*ravdess.EMOTIONS.values()],
            language="en",
            recordings=ravdess.EXPECTED,
        ),
        "nemo": Entry(
            **_card("nemo"),
            speakers=9,
            utterances=4481,
            emotions=nemo.EMOTIONS,
            language="pl",
            recordings=nemo.EXPECTED,
        ),
        "ravdess_nemo": Entry(
            title="RAVDESS and nEMO as one, over the emotions of both",
            licence="of each",
            speakers=33,
            utterances=5537,
            emotions=("angry", "fearful", "happy", "neutral", "sad", "surprised"),
            language="en, pl",
            recordings="folders, or links to them, named ravdess and nemo",
        ),
        "voxceleb1": Entry(
            **_card("voxceleb1"),
            speakers=1251,
            utterances=153_516,
            recordings=voxceleb1.EXPECTED,
            recipe="VoxCeleb1/train_speaker.py hparams/speaker.yaml",
        ),
        **{name: _named(name, corpus) for name, corpus in known.CORPORA.items()},
        "emobox": Entry(
            title="EmoBox's 32 corpora, by its lists",
            citation="Ma et al. 2024, EmoBox: Multilingual Multi-corpus Speech Emotion Recognition "
            "Toolkit and Benchmark, Interspeech",
            licence="of each",
            recordings=emobox.EXPECTED,
            note="ser corpora check PATH says what its folds share between training and test",
            choice="'{name: emobox, corpus: emodb}'",
        ),
        "table": Entry(title="your own", licence="yours", recordings=table.EXPECTED),
    }


def _card(name: str) -> dict[str, str]:
    """What model cards say of a corpus."""
    return dict(zip(("title", "licence", "citation"), card.CORPORA[name], strict=True))


def _named(name: str, corpus: known.Known) -> Entry:
    spoken = corpus.language
    return Entry(
        **_card(name),
        speakers=corpus.speakers,
        utterances=corpus.utterances,
        emotions=sorted(corpus.emotions.values()),
        language=spoken if isinstance(spoken, str) else ", ".join(sorted({*spoken.values()})),
        recordings=f"any folder with files such as {corpus.example}",
        note=corpus.note,
        split=corpus.split,
    )


def overview(corpora: Mapping[str, Entry]) -> str:
    """A line for each corpus."""
    lines: list[tuple[str, ...]] = [COLUMNS]
    for name, own in corpora.items():
        counts = (own.speakers, own.utterances, len(own.emotions))
        told = (f"{count:,}" if count else "" for count in counts)
        lines.append((name, *told, own.language, own.licence))
    *widths, _ = (max(map(len, column)) for column in zip(*lines, strict=True))
    room = WIDTH - sum(widths) - 2 * len(widths)
    table_of = [
        *("  ".join([*_padded(line, widths), _short(line[-1], room)]).rstrip() for line in lines),
        "",
        "ser corpora list NAME tells all of one: classes, names of files, citation, commands.",
    ]
    return "\n".join(table_of)


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if title in NUMBERS else cell.ljust(width)
        for title, cell, width in zip(COLUMNS, line, widths, strict=False)
    ]


def _short(text: str, room: int) -> str:
    return textwrap.shorten(text, room, placeholder=" ...")


def described(name: str, own: Entry) -> str:
    """All that is known of a corpus, and the commands that use it."""
    facts = {
        "speakers": f"{own.speakers:,}" if own.speakers else "",
        "utterances": f"{own.utterances:,}" if own.utterances else "",
        "language": own.language,
        "emotions": ", ".join(own.emotions),
        "licence": own.licence,
        "citation": own.citation,
        "recordings": own.recordings,
        "note": own.note,
    }
    wide = max(map(len, facts)) + 2
    lines = [f"{name}: {own.title}"]
    for title, text in facts.items():
        if text:
            wrapped = textwrap.wrap(text, WIDTH - wide, break_long_words=False)
            lines += [title.ljust(wide) + wrapped[0], *(" " * wide + rest for rest in wrapped[1:])]
    split = f" --split '!name:speechbrain_ser.data.splits.{own.split}'" if own.split else ""
    return "\n".join(
        [
            *lines,
            "",
            f"python recipes/{own.recipe} --data_folder PATH \\",
            f"    --corpus {own.choice or name}{split}",
            f"SER_{name.upper()}=PATH in the environment stands for --data_folder PATH.",
        ]
    )
