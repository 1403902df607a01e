"""A corpus with the layout, the names and the sizes of IEMOCAP_full_release, its audio made up.

    python tests/iemocap_release.py FOLDER --seconds 0.6

Of the four classes the sizes are the literature's: utterances per session and emotion, improvised
ones per emotion. Of the other codes only the totals are. Who says what in which scene is made up.
"""

import argparse
import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

SIZES = {  # code: utterances of Session 1 to 5
    "ang": (229, 137, 240, 327, 170),
    "hap": (135, 117, 135, 65, 143),
    "exc": (143, 210, 151, 238, 299),
    "neu": (384, 362, 320, 258, 384),
    "sad": (194, 197, 305, 143, 245),
    "fru": (280, 325, 382, 481, 381),
    "xxx": (430, 442, 568, 534, 533),
    "fea": (8, 8, 8, 8, 8),
    "sur": (21, 21, 21, 22, 22),
    "dis": (0, 0, 1, 0, 1),
    "oth": (1, 0, 1, 0, 1),
}
IMPROVISED = {"ang": 289, "hap": 284, "exc": 663, "neu": 1099, "sad": 608}  # of all sessions
SCRIPTS = ("script01_1", "script01_2", "script01_3", "script02_1", "script03_1", "script03_2")
SPLIT_SCENES = {  # of the release: Ses03M_impro05a; code -> utterances in such scenes
    "neu": 95,
    "ang": 54,
    "exc": 1,
}


def dialogs(session: int, style: str) -> list[str]:
    """The dialogs of a session that are not in two parts."""
    scenes = SCRIPTS if style == "script" else [f"impro{number:02d}" for number in range(1, 8)]
    if style == "script" and session == 5:
        scenes = [scene.replace("01_1", "01_1b") for scene in scenes]
    return [
        f"Ses0{session}{side}_{scene}"
        for side in "FM"
        for scene in scenes
        if (session, side, scene) != (3, "M", "impro05")
    ]


def split_dialogs() -> list[str]:
    return [f"Ses03M_impro{scene}" for scene in ("05a", "05b", "08a", "08b")]


def improvised(code: str) -> list[int]:
    """Of each session, how many utterances of this code are improvised."""
    sizes = SIZES[code]
    wanted = IMPROVISED.get(code, sum(sizes) // 2)
    ends = [round(wanted * end / max(1, sum(sizes))) for end in itertools.accumulate(sizes)]
    return [end - start for start, end in itertools.pairwise([0, *ends])]


def utterances(session: int) -> Iterator[tuple[str, str]]:
    """(utt_id, code) of one session, 10,039 in all five."""
    turns: dict[tuple[str, str], itertools.count] = {}
    for code, sizes in SIZES.items():
        in_parts = SPLIT_SCENES.get(code, 0) if session == 3 else 0
        left = improvised(code)[session - 1] - in_parts
        groups = (
            (split_dialogs(), in_parts),
            (dialogs(session, "impro"), left),
            (dialogs(session, "script"), sizes[session - 1] - left - in_parts),
        )
        for names, count in groups:
            for number in range(count):
                dialog, gender = names[number % len(names)], "FM"[number // 3 % 2]
                turn = next(turns.setdefault((dialog, gender), itertools.count()))
                yield f"{dialog}_{gender}{turn:03d}", code


def write(root: Path, seconds: float | None = None) -> Path:
    """IEMOCAP_full_release in this folder.

    seconds : mean length of the recordings, each of its own length; None: links to one short file
    """
    root = root / "IEMOCAP_full_release"
    draw = random.Random(0)
    noise = np.random.default_rng(0)
    root.mkdir(parents=True)
    soundfile.write(root / "one.wav", 0.1 * noise.standard_normal(1600), 16_000)
    for session in range(1, 6):
        folder = root / f"Session{session}"
        by_dialog: dict[str, list[tuple[str, str]]] = {}
        for utt_id, code in utterances(session):
            by_dialog.setdefault(utt_id.rsplit("_", 1)[0], []).append((utt_id, code))
        for kind in ("EmoEvaluation", "transcriptions"):
            (folder / "dialog" / kind).mkdir(parents=True)
        for dialog, own in by_dialog.items():
            (folder / "sentences" / "wav" / dialog).mkdir(parents=True)
            for utt_id, _ in own:
                wav = folder / "sentences" / "wav" / dialog / f"{utt_id}.wav"
                if seconds is None:
                    os.link(root / "one.wav", wav)
                else:
                    samples = round(16_000 * seconds * draw.uniform(0.5, 1.5))
                    soundfile.write(wav, 0.1 * noise.standard_normal(samples), 16_000)
            evaluation = "\r\n".join(
                f"[1.0000 - 2.0000]\t{utt_id}\t{code}\t[2.5000, 2.5000, 2.5000]"
                for utt_id, code in own
            )
            transcript = "\r\n".join(f"{utt_id} [1.0-2.0]: I know." for utt_id, _ in own[1:])
            for kind, text in (("EmoEvaluation", evaluation), ("transcriptions", transcript)):
                (folder / "dialog" / kind / f"{dialog}.txt").write_text(f"{text}\r\n")
    return root


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=0.6)
    options = parser.parse_args()
    print(write(options.folder, options.seconds))
