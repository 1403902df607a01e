"""What the folds of a corpus share between training and test, before anything is trained.

ser corpora check EmoBox                          all corpora of a clone, by its lists alone
ser corpora check EmoBox/data/emodb --json emodb.json
ser corpora check mine.csv                        its split column, else five folds of speakers
ser corpora check /data/RAVDESS --corpus ravdess
ser corpora check EmoBox --corpus '{name: emobox, corpus: emodb, audio: /data/EmoDB}'

For each fold: the test speakers who also train, their share of the test, utterances that are in
both, files that are missing. A corpus whose test speakers train says little of how a network does
with new speakers; with EmoBox's lists, --split '!ref <corpus[speaker_disjoint]>' keeps them apart.
Recordings are needed for other corpora than EmoBox's.
"""

import argparse
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import rows
from speechbrain_ser.data import leakage, splits
from speechbrain_ser.data.corpora import LeftOut, Unreadable, emobox, emobox_lists
from speechbrain_ser.data.corpora.rows import ENDINGS
from speechbrain_ser.errors import InputError, or_error
from speechbrain_ser.files import as_json, write_atomically
from speechbrain_ser.output import printable
from speechbrain_ser.results import summary
from speechbrain_ser.training import command_line, source

RECIPE = ("recipes/RAVDESS/train_linear.py", "hparams/linear.yaml")
WIDTH = 100  # columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="FOLDER", type=Path, help="lists of EmoBox, a table, a corpus' folder")
    add("--corpus", help="what the folder holds, if not EmoBox's lists: ravdess, crema_d, ...")
    add("--json", type=Path, metavar="FILE", help="all of it for programs, too")


def run(options: argparse.Namespace) -> int:
    place = options.folder.expanduser().absolute()
    if not place.exists():
        raise InputError(f"{place} does not exist: correct it")
    found: list[dict | InputError]
    if options.corpus or place.suffix.lower() in ENDINGS:
        found = [of_corpus(place, options.corpus or "table")]
    else:
        corpora = emobox.corpora_in(place)
        if not corpora:
            raise InputError(
                f"{place} is no table and holds no lists of EmoBox: say what it holds with "
                "--corpus NAME, see ser corpora list"
            )
        found = [or_error(of_emobox, folder, place) for folder in corpora.values()]
    checked = [own for own in found if not isinstance(own, InputError)]
    if isinstance(found[0], InputError) and not checked:
        raise found[0]
    for own in found:
        print(f"{own}\n" if isinstance(own, InputError) else f"{page(own)}\n")
    if len(checked) > 1:
        print(closing(checked))
    if options.json:
        write_atomically(options.json, as_json({"corpora": checked}))
    return 0 if len(checked) == len(found) else 2


def of_emobox(folder: Path, top: Path) -> dict:
    """What EmoBox's lists of a corpus say, and which of its files are missing."""
    left_out = LeftOut()
    lists = emobox_lists.read(folder, left_out)
    recordings = emobox.located(lists, top, audio=None)
    missing = None
    if recordings is not None:
        paths = {utt_id: own.path for utt_id, own in lists.utterances.items()}
        missing = [utt_id for utt_id, path in paths.items() if recordings.find(path) is None]
    numbers = range(1, len(lists.folds) + 1)
    folds = [leakage.examine(lists.parts(number), missing) for number in numbers]
    return described(lists.name, lists.entries(), folds, missing, str(left_out))


def of_corpus(place: Path, corpus: str) -> dict:
    """What the folds of another corpus, or of a table, have in common."""
    words = [RECIPE[1], "--corpus", corpus, "--data_folder", str(place)]
    path, tree, *_ = command_line.parse(Path(rows.script(RECIPE[0])), words)
    settings = hp.resolve(tree, path)
    built = hp.build({key: settings[key] for key in ("corpus", "split")})
    split, missing = built["split"], []
    if split is None:
        raise InputError(f"{corpus} has no emotions: there is nothing to check")
    try:
        manifest = source.prepare(settings, built["corpus"])
    except Unreadable as error:
        manifest, missing = error.rest, list(error.faults)
        print(f"{error}\n")
    if any("split" in entry for entry in manifest.values()):
        split = splits.stated  # without a validation part drawn, for which some are too small
    count = splits.number_of_folds(split, manifest)
    folds = [leakage.examine(split(manifest, fold=fold), missing) for fold in range(1, count + 1)]
    return described(source.corpus_name(settings), manifest, folds, missing)


def described(
    name: str,
    entries: Mapping[str, Mapping],
    folds: Sequence[Mapping],
    missing: Sequence[str] | None,
    left_out: str = "",
) -> dict:
    """What is printed of a corpus, for json."""
    return {
        "name": name,
        "utterances": len(entries),
        "speakers": len({entry["speaker"] for entry in entries.values()} - {""}),
        "classes": dict(sorted(Counter(e["emotion"] for e in entries.values()).items())),
        "missing": None if missing is None else len(missing),
        "left_out": left_out,
        "folds": list(folds),
        "verdict": leakage.verdict(folds),
    }


def page(own: Mapping) -> str:
    """A corpus: a head, a line for each fold, and the verdict."""
    if own["missing"] is None:
        audio = "audio not looked at"
    else:
        audio = f"{own['missing']:,} files missing"
    sizes = ", ".join(f"{name} {count:,}" for name, count in own["classes"].items())
    head = (
        f"{own['name']}: {own['utterances']:,} utterances, {own['speakers']} speakers, "
        f"{len(own['classes'])} classes ({sizes}); {audio}"
    )
    head_of = ("fold", "train", "valid", "test", "classes", "shared speakers", "of test", "in both")
    lines: list[tuple[str, ...]] = [head_of if own["missing"] is None else (*head_of, "missing")]
    absent = []
    for number, fold in enumerate(own["folds"], start=1):
        shared, sizes = fold["shared_speakers"], fold["utterances"]
        line = (
            str(number),
            *(f"{sizes[part]:,}" for part in splits.PARTS),
            "/".join(str(len(own)) for own in fold["classes"].values() if own),
            f"{shared['speakers']} of {shared['of']}",
            f"{shared['utterances']:,} of {shared['of_utterances']:,}",
            str(fold["in_both"]),
        )
        lines.append(line if own["missing"] is None else (*line, f"{fold['missing']:,}"))
        absent += [
            f"fold {number}: no {', '.join(names)} in {part}"
            for part, names in fold["absent"].items()
            if names
        ]
    text = wrapped(head)
    if own["folds"]:
        text += f"\n{textwrap.indent(summary.in_columns(lines), '  ')}"
    extra = [*absent, *filter(None, [own["left_out"]])]
    return "\n".join([text, *(wrapped(line, "  ") for line in extra), wrapped(own["verdict"])])


def closing(found: Sequence[Mapping]) -> str:
    """A line for each corpus."""
    lines = [("corpus", "utterances", "speakers", "classes", "folds")]
    for own in found:
        sizes = (own["utterances"], own["speakers"], len(own["classes"]), len(own["folds"]))
        lines.append((own["name"], *(f"{size:,}" for size in sizes)))
    columns = summary.in_columns(lines).split("\n")
    said = ["", *(own["verdict"] for own in found)]
    return "\n".join(
        wrapped(f"{line}  {verdict}".rstrip(), " " * (len(columns[0]) + 2), first="")
        for line, verdict in zip(columns, said, strict=True)
    )


def wrapped(text: str, indent: str = "", first: str | None = None) -> str:
    """Text in lines of at most WIDTH columns."""
    first = indent if first is None else first
    return textwrap.fill(
        printable(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent or "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
