"""VoxCeleb1 (Nagrani et al. 2017) with its official identification split, for speakers."""

import csv
import re
from pathlib import Path

from speechbrain_ser.data import corpora, folders
from speechbrain_ser.errors import InputError

VARIABLE = "SER_VOXCELEB1"
EXPECTED = "VoxCeleb1 with iden_split.txt and wav/id10001/1zcIwhmdeo4/00001.wav and so on"
M4A = ".m4a"  # as published, not read
SPLITS = {"1": "train", "2": "valid", "3": "test"}
LINE = re.compile(r"([123])\s+((id\d+)/[^/\s]+/[^/\s]+)\.(?:wav|m4a)")
# as unpacked: one folder, the two archives, or those of the m4a files after conversion
LAYOUTS = ("wav", "", "dev/wav", "test/wav", "dev/aac", "test/aac", "aac")


def prepare(
    data_folder: str | Path,
    iden_split: str | Path | None = None,
    expected_speakers: int | None = 1251,
) -> dict[str, dict]:
    """The manifest of all files in the official list, each with its "split".

    Arguments
    ---------
    iden_split : the official list, if it does not lie in data_folder
    expected_speakers : number of speakers in the list; None accepts any

    What is left out is logged, counted by reason. Raises InputError for an incomplete corpus, or
    if the m4a files were not converted.
    """
    folder = corpora.existing_folder(data_folder, VARIABLE, EXPECTED)
    source = Path(iden_split).expanduser() if iden_split else folder / "iden_split.txt"
    if not source.is_file():
        if iden_split:
            raise InputError(f"{source}: no such file, iden_split is the official list")
        raise corpora.wrong_folder(folder, VARIABLE, EXPECTED)
    listed = _listed(source)
    speakers = {speaker for _, speaker in listed.values()}
    if expected_speakers is not None and len(speakers) != expected_speakers:
        raise InputError(
            f"{source} lists {len(speakers)} speakers, {expected_speakers} expected: "
            "is it the complete iden_split.txt?"
        )
    present, left_out = _recordings(folder)
    genders = _genders(folder / "vox1_meta.csv")
    rows, missing, unconverted = {}, [], []
    for utt_id, (split, speaker) in listed.items():
        recording = present.pop(utt_id, None)
        if recording is None:
            missing.append(folder / "wav" / f"{utt_id}.wav")
        elif recording.suffix.lower() == M4A:
            unconverted.append(recording)
        else:
            gender = genders.get(speaker, "")
            rows[utt_id] = corpora.row(recording, speaker, gender=gender, split=split)
    if unconverted:
        raise InputError(
            f"{len(unconverted)} files are there as m4a only, the first is {unconverted[0]}: "
            "convert each to wav beside it with ffmpeg -i 00001.m4a -ac 1 -ar 16000 00001.wav"
        )
    corpora.check_files(missing, str(source))
    for recording in present.values():
        left_out.add(f"not in {source.name}", recording)
    left_out.tell("VoxCeleb1", len(rows))
    return corpora.finish(rows)


def _listed(source: Path) -> dict[str, tuple[str, str]]:
    """utt_id -> (split, speaker)."""
    listed = {}
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        if match is None or match[2] in listed:
            fault = "is not like '1 id10001/1zcIwhmdeo4/00001.wav'" if not match else "comes twice"
            raise InputError(f"{source}, line {number}: {line.strip()!r} {fault}")
        listed[match[2]] = (SPLITS[match[1]], match[3])
    if not listed:
        raise InputError(f"{source} is empty: fetch the official list again")
    return listed


def _recordings(folder: Path) -> tuple[dict[str, Path], corpora.LeftOut]:
    """utt_id -> its wav, else what is there: each folder is listed once, no file asked for."""
    present: dict[str, Path] = {}
    left_out, wanted = corpora.LeftOut(), folders.endings() | {M4A}
    for layout in LAYOUTS:
        for path in sorted((folder / layout).glob("id*/*/[!.]*")):
            if path.suffix.lower() not in wanted:
                if path.suffix.lower() in corpora.AUDIO:
                    left_out.add(corpora.NOT_READ, path)
                continue
            utt_id = "/".join((*path.parts[-3:-1], path.stem))
            first = present.setdefault(utt_id, path)
            if first is not path:
                present[utt_id], other = sorted((first, path), key=_rank)  # first stays, if equal
                if other.suffix.lower() != M4A:
                    left_out.add("second copies", other)
    return present, left_out


def _rank(path: Path) -> int:
    ending = path.suffix.lower()
    return 2 if ending == M4A else int(ending not in corpora.LOSSLESS)


def _genders(meta: Path) -> dict[str, str]:
    """speaker -> F or M, from the official tab-separated table if it is there."""
    if not meta.is_file():
        return {}
    with open(meta, encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    if not table or not {"VoxCeleb1 ID", "Gender"} <= table[0].keys():
        raise InputError(f"{meta} lacks the tab-separated columns 'VoxCeleb1 ID' and 'Gender'")
    return {line["VoxCeleb1 ID"]: line["Gender"].upper() for line in table}
