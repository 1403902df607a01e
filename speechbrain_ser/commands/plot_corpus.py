"""Draw how many utterances of each emotion a corpus has, by gender and session (Park 2023, Fig. 4).

    ser plot corpus results/emotion/fold1/1000
    ser plot corpus --corpus iemocap --data_folder PATH --output figure_park4

RUN is a run's folder: its corpus, with the emotions that it learned, is counted. A panel is a
session where the corpus has several, see --by. Leaves OUTPUT.png (pdf, svg with --format) and
OUTPUT.csv (panel, emotion, group, utterances).
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from speechbrain_ser import output
from speechbrain_ser.campaign import corpora
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json, write_atomically
from speechbrain_ser.results import bars, canvas

GENDERS = {"F": "female", "M": "male"}
UNKNOWN = "unknown"
MOST = 12  # panels of a figure


def counted(manifest: Mapping[str, dict], by: str | None) -> dict[str, dict[str, dict[str, int]]]:
    """panel -> emotion -> gender -> utterances.

    by : the field of which each value is a panel; None: session, of a corpus with several

    Raises InputError for a field that is not there, or has too many values.
    """
    field = by or "session"
    values = sorted({str(entry.get(field) or "") for entry in manifest.values()})
    known = sorted({key for entry in manifest.values() for key in entry})
    if by and values == [""]:
        raise InputError(f"--by {by}: no utterance has that field; use one of {', '.join(known)}")
    if by and len(values) > MOST:
        raise InputError(f"--by {by} would be {len(values)} panels: use a field of {MOST} at most")
    panelled = by or 1 < len(values) <= MOST and "" not in values
    found: Counter = Counter()
    for entry in manifest.values():
        gender = str(entry.get("gender") or "")
        panel = (
            f"{field} {str(entry.get(field) or UNKNOWN).removeprefix('Ses')}" if panelled else ""
        )
        found[panel, entry["emotion"], GENDERS.get(gender, gender or UNKNOWN)] += 1
    panels: dict[str, dict[str, dict[str, int]]] = {}
    for (panel, emotion, group), count in sorted(found.items()):
        panels.setdefault(panel, {}).setdefault(emotion, {})[group] = count
    return panels


def manifest_of(options: argparse.Namespace) -> tuple[str, dict[str, dict]]:
    """What the corpus is called, and its manifest; InputError for none, two, or what is no run."""
    if bool(options.run_folder) == bool(options.corpus):
        raise InputError("name a run's folder, or a corpus with --corpus NAME --data_folder PATH")
    if options.corpus:
        return corpora.manifest_of(options.corpus, options.data_folder)
    folder = options.run_folder
    if not (folder / "manifest.json").is_file() or not (folder / "results.json").is_file():
        raise InputError(
            f"{folder} is no finished run's folder: give results/<experiment>/fold1/1000"
        )
    return read_json(folder / "results.json")["corpus"], read_json(folder / "manifest.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run_folder", metavar="RUN", nargs="?", type=Path, help="results/<experiment>/fold1/1000")
    add("--corpus", help="of ser corpora list, in place of a run's")
    add("--data_folder", metavar="PATH", help="of the corpus")
    add("--by", metavar="FIELD", help="a panel for each of its values; default: session")
    add("--output", default="corpus", help="PATH of PATH.png and PATH.csv")
    canvas.add_arguments(parser)


def run(options: argparse.Namespace) -> None:
    size = canvas.size_of(options)
    name, manifest = manifest_of(options)
    panels = counted(manifest, options.by)
    path = f"{options.output}.{options.format}"
    title = f"Emotions of {name}, {len(manifest):,} utterances"
    bars.counts(panels, path, canvas.title_of(options, title), size)
    rows = [
        [panel, emotion, group, count]
        for panel, of in panels.items()
        for emotion, groups in of.items()
        for group, count in groups.items()
    ]
    table = output.as_csv(["panel", "emotion", "group", "utterances"], rows)
    write_atomically(Path(f"{options.output}.csv"), table)
    print(f"{path}\n{options.output}.csv")
