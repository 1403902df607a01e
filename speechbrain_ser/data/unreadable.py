"""Recordings that a model cannot use, found before anything is trained, all of them at once."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import cache_folder

SHOWN = 5  # faults in one message
MANY = 500  # recordings: fewer are judged before a bar would be seen
VERSION = 1  # of what is judged; the next one judges every recording again


class Unreadable(InputError):
    """Recordings that cannot be used.

    source : where they are from
    faults : utt_id -> what is wrong, and with which file
    manifest : that holds them
    """

    def __init__(self, source: str | Path, faults: Mapping[str, str], manifest: Mapping[str, dict]):
        said = list(faults.values())
        more = f"; and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        super().__init__(
            f"{len(said)} of {len(manifest)} recordings of {source} cannot be used "
            f"({'; '.join(said[:SHOWN])}{more}): mend them, or go on without them, "
            "--unreadable leave_out"
        )
        self.faults = dict(faults)
        self.rest = {utt_id: e for utt_id, e in sorted(manifest.items()) if utt_id not in faults}


def refuse(
    reader: SpeechReader, parts: Mapping[str, Mapping[str, dict]], source: str, workers: int = 0
) -> None:
    """Read every recording of the parts as training or a test will read it.

    Silence, samples that are no numbers, a file that breaks off: what would end the run in a later
    epoch. Those that are well are remembered by content and reader, in SER_CACHE, and not read
    again.

    Raises Unreadable with all faults.
    """
    known_file = cache_folder() / "readable" / f"{_key(reader)}.txt"
    known = set(known_file.read_text().split()) if known_file.is_file() else set()
    whole = {utt_id: entry for entries in parts.values() for utt_id, entry in entries.items()}
    train = parts["train"].keys()
    waiting = [utt_id for utt_id, entry in whole.items() if entry["content"] not in known]

    def fault(utt_id: str) -> str | None:
        try:
            reader(whole[utt_id]["wav"], training=utt_id in train)
        except InputError as error:
            return str(error)
        return None

    bar = {"desc": "reading recordings", "disable": None if len(waiting) > MANY else True}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(tqdm(pool.map(fault, waiting), total=len(waiting), **bar))
    faults = {utt_id: said for utt_id, said in zip(waiting, found, strict=True) if said}
    if well := [whole[utt_id]["content"] for utt_id in waiting if utt_id not in faults]:
        known_file.parent.mkdir(parents=True, exist_ok=True)
        with open(known_file, "a", encoding="ascii") as file:
            file.write("".join(f"{mark}\n" for mark in well))
    if faults:
        raise Unreadable(source, dict(sorted(faults.items())), whole)


def _key(reader: SpeechReader) -> str:
    """What, beside a recording, decides whether it can be used."""
    settings = {k: v for k, v in vars(reader).items() if isinstance(v, (str, int, float, tuple))}
    text = f"{VERSION} {type(reader).__name__} {sorted(settings.items())}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
