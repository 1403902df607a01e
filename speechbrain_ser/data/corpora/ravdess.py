"""RAVDESS (Livingstone and Russo 2018): speech and song of 24 actors, told by the file names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechbrain_ser.data import corpora
from speechbrain_ser.data.corpora.download import fetch, unpack
from speechbrain_ser.data.labels import Merge, choose
from speechbrain_ser.errors import InputError

VARIABLE = "SER_RAVDESS"
EXPECTED = "RAVDESS recordings such as Actor_01/03-01-05-01-02-01-01.wav"
ZENODO = "https://zenodo.org/records/1188976/files/"
MD5 = {  # as the record states them
    "Audio_Speech_Actors_01-24": "bc696df654c87fed845eb13823edef8a",
    "Audio_Song_Actors_01-24": "5411230427d67a21e18aa4d466e6d1b9",
}
ARCHIVES = dict(zip(("speech", "song"), MD5, strict=True))
CHANNELS = {"01": "speech", "02": "song"}
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "KIDS ARE TALKING BY THE DOOR", "02": "DOGS ARE SITTING BY THE DOOR"}
AUDIO_ONLY = "03"  # the other two modalities are the films, with the same voices
PARTS = "modality-channel-emotion-intensity-statement-repetition-actor"
NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")


def prepare(
    data_folder: str | Path,
    labels: Sequence[str] = (),
    merge: Merge | None = None,
    channels: Sequence[str] = ("speech",),
    expected: int | None = None,
    download: bool = False,
) -> dict[str, dict]:
    """The manifest of any folder that holds the recordings, at any depth, behind links too.

    Of a name in several formats the wav or flac file is taken.

    Speech is 1,440 files, song 1,012. Beyond the usual keys a row has "intensity" (normal or
    strong), "statement" (01 or 02) and "repetition" (01 or 02).

    Arguments
    ---------
    labels, merge : the emotions that are kept, and what each counts as, see labels.choose
    channels : "speech", "song" or both
    expected : number of files that a complete corpus gives with these options
    download : fetch the published archive of each channel of which the folder has no file

    What is left out is logged, counted by reason. Raises InputError for a file whose name or
    content is not as published.
    """
    corpora.check_options("channels", channels, CHANNELS.values())
    if download and data_folder:
        Path(data_folder).expanduser().mkdir(parents=True, exist_ok=True)
    folder = corpora.existing_folder(data_folder, VARIABLE, EXPECTED)
    files, left_out = _find(folder, channels)
    if download and not all(files.values()):
        missing = [ARCHIVES[channel] for channel, paths in files.items() if not paths]
        _download(folder, missing, base_url=ZENODO)
        files, left_out = _find(folder, channels)
    if not any(files.values()):
        raise corpora.wrong_folder(folder, VARIABLE, EXPECTED)
    for channel, paths in files.items():
        if not paths:
            raise InputError(f"{folder} holds no {channel}: leave it out of channels, or add it")
    rows = {path.stem: _row(path) for paths in files.values() for path in paths}
    complete = f"{folder} the complete RAVDESS ({' and '.join(channels)})"
    corpora.check_count(len(rows), expected, "ravdess", complete, left_out)
    rows = choose(rows, labels, merge, left_out, EMOTIONS.values())
    left_out.tell("RAVDESS", len(rows))
    return corpora.finish(rows)


def download(
    data_folder: str | Path,
    archives: Sequence[str] = ("Audio_Speech_Actors_01-24",),
    base_url: str = ZENODO,
    checksums: Mapping[str, str] = MD5,
) -> None:
    """Fetch, check and unpack the published archives, each to `data_folder/<archive>`.

    Raises InputError if the connection breaks; the same call goes on from there.
    """
    folder = Path(data_folder).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    corpora.check_options("archives", archives, checksums)
    for name in archives:
        archive = folder / f"{name}.zip"
        if not archive.exists():
            fetch(f"{base_url}{name}.zip", archive, checksums[name])
        if not (folder / name).exists():
            unpack(archive, folder / name)


_download = download  # prepare has an option of that name


def _find(folder: Path, channels: Sequence[str]) -> tuple[dict[str, list[Path]], corpora.LeftOut]:
    """channel -> its files, each once (mirrors hold a second copy of everything); and the rest."""
    files: dict[str, Path] = {}
    left_out = corpora.LeftOut()
    for path in corpora.recordings(folder, left_out):
        if NAME.fullmatch(path.stem) is None:
            raise InputError(f"{path} is not named {PARTS}: take it out of {folder}")
        if not path.stem.startswith(AUDIO_ONLY):
            left_out.add("of a film", path)
        else:
            corpora.keep_one(files, path, left_out)
    by_channel: dict[str, list[Path]] = {channel: [] for channel in channels}
    for stem, path in files.items():
        channel = CHANNELS[stem.split("-")[1]]
        if channel in by_channel:
            by_channel[channel].append(path)
        else:
            left_out.add(f"of {channel}", path)
    return by_channel, left_out


def _row(path: Path) -> dict:
    _, channel, emotion, intensity, statement, repetition, actor = path.stem.split("-")
    return corpora.row(
        path,
        speaker=f"Actor_{actor}",
        emotion=EMOTIONS[emotion],
        gender="FM"[int(actor) % 2],  # even actors are women
        style=CHANNELS[channel],
        words=STATEMENTS[statement],
        intensity=INTENSITIES[intensity],
        statement=statement,
        repetition=repetition,
        language="en",
    )
