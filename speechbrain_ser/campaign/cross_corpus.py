"""Networks trained on some corpora and tested on others, over the emotions that all have.

The corpora become one table, whose sessions are the corpora; a recipe trains on it as on any table.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_ser import hparams as hp
from speechbrain_ser.data import targets
from speechbrain_ser.data.corpora import LeftOut, joined
from speechbrain_ser.data.labels import Merge, between_corpora, choose
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically
from speechbrain_ser.training import command_line, experiment

FEWEST = 2  # emotions that corpora must share
SPLITS = "!name:speechbrain_ser.data.splits."


@dataclass(frozen=True)
class Corpus:
    """A corpus under its name here; `merge` is what its emotions count as beside others."""

    name: str
    manifest: dict[str, dict]
    merge: dict[str, str | None]

    @property
    def emotions(self) -> list[str]:
        """As they count beside others, sorted."""
        return sorted({word for word in self.words.values() if word is not None})

    @property
    def words(self) -> dict[str, str | None]:
        """Each emotion -> what it counts as."""
        own = sorted({entry["emotion"] for entry in self.manifest.values()})
        return {emotion: self.merge.get(emotion, emotion) for emotion in own}


def corpus(name: str, manifest: Mapping[str, dict], merge: Merge | None = None) -> Corpus:
    """A corpus for comparison; merge overrules the label map, see labels.between_corpora."""
    emotions = sorted({entry["emotion"] for entry in manifest.values()})
    return Corpus(name, dict(manifest), between_corpora(emotions, merge))


def common_emotions(corpora: Iterable[Corpus]) -> list[str]:
    """The emotions of all these corpora, sorted; InputError for fewer than two."""
    corpora = list(corpora)
    shared = set.intersection(*(set(own.emotions) for own in corpora))
    if len(shared) < FEWEST:
        listed = "; ".join(f"{own.name}: {', '.join(own.emotions)}" for own in corpora)
        raise InputError(
            f"the corpora share {', '.join(sorted(shared)) or 'no emotion'} ({listed}): say what "
            "counts as what with --merge"
        )
    return sorted(shared)


def write_table(
    path: Path, training: Sequence[Corpus], tested: Sequence[Corpus], labels: Sequence[str]
) -> None:
    """The corpora as one jsonl table: `session` names the corpus, `split` is train or test."""
    rows: dict[str, dict] = {}
    for own in (*training, *tested):
        kept = choose(own.manifest, (), own.merge, LeftOut())
        kept = {utt_id: entry for utt_id, entry in kept.items() if entry["emotion"] in labels}
        split = "train" if own in training else "test"
        rows |= {
            utt_id: _row(entry, utt_id, split)
            for utt_id, entry in joined.within(kept, own.name).items()
        }
    text = "".join(f"{json.dumps(row)}\n" for row in rows.values())
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)


def _row(entry: Mapping, utt_id: str, split: str) -> dict[str, str]:
    """An utterance of a manifest as the row of a table."""
    row = {
        "utt_id": utt_id,
        "path": entry["wav"],
        "transcript": entry["words"],
        "split": split,
    }
    fields = ("emotion", "speaker", "session", "gender", "language")
    return row | {field: entry[field] for field in fields if field in entry}


def command(recipe: Sequence[str], table: Path, labels: Sequence[str], tested: Sequence[str]):
    """The recipe's command that trains on a table's training corpora and tests on the others.

    Nothing validates where the recipe takes its last epoch; else a fifth of the training corpora,
    whole speakers, does.
    """
    script, *words = recipe
    chosen = f"[{', '.join(map(json.dumps, labels))}]"
    words = [
        *words,
        *("--corpus", f"{{name: table, labels: {chosen}}}"),
        *("--data_folder", str(table)),
        *("--variant", f"_{table.stem}"),
    ]
    path, tree, *_ = command_line.parse(Path(script), words)
    settings = hp.resolve(tree, path)
    refuse_other_targets(settings["targets"], path.name)
    split = f"given_session {{test: [{', '.join(tested)}]}}"
    if experiment.chooses_on_validation(settings):
        split = "official {valid_share: 0.2, valid_by: speaker}"
    return [script, *words, "--split", SPLITS + split]


def refuse_other_targets(specs: Mapping[str, targets.Spec], yaml: str) -> None:
    """Raise InputError for a recipe that learns something else than emotions, as classes."""
    field, main = next(iter(targets.of(specs).items()))
    if field != "emotion" or main.kind != "classes":
        raise InputError(
            f"corpora are compared over the emotions that all have, and {yaml} learns {field} as "
            f"{main.kind}: take a recipe of emotions, recipes/RAVDESS/train_combined.py "
            "hparams/combined.yaml"
        )
