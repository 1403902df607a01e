"""Synthesised corpora in the file layout of the real ones, so that the real parsers read them."""

import hashlib
import random
import shutil
import tempfile
from importlib import metadata, util
from pathlib import Path

from tqdm import tqdm

from speechbrain_ser.data.corpora import espeak, iemocap, ravdess, studio
from speechbrain_ser.data.corpora.studio import SENTENCES, Studio, voice
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import cache_folder

RATINGS = {  # IEMOCAP's code: what its raters call it, utterances per speaker, and about which
    # valence, arousal and dominance they hear
    "ang": ("Anger", 10, (1.9, 3.6, 3.8)),
    "hap": ("Happiness", 7, (3.9, 3.2, 3.1)),
    "exc": ("Excited", 6, (4.0, 3.6, 3.3)),
    "sad": ("Sadness", 10, (2.2, 2.4, 2.7)),
    "neu": ("Neutral", 15, (3.0, 2.7, 2.9)),
    "fru": ("Frustration", 3, (2.1, 3.1, 3.3)),
    "xxx": ("Other", 2, (2.8, 2.9, 3.0)),
    "fea": ("Fear", 1, (2.2, 3.4, 2.5)),
    "sur": ("Surprise", 1, (3.2, 3.4, 3.0)),
    "dis": ("Disgust", 1, (2.2, 2.9, 3.3)),
}
LAUGHED = "Ses01F_impro02", 0  # dialog, turn: no word in its transcript
NOT_WRITTEN = "Ses01F_impro01", 0  # no line of it in the transcript


def make(corpus: str, cache: str | Path | None = None) -> Path:
    """The data_folder of the mini `corpus` (iemocap, ravdess or voxceleb1), made on first use.

    It lies in `cache` (default: SER_CACHE in the environment, else ~/.cache/speechbrain-ser), is
    the same to the byte whenever it is made, and appears only when complete.
    Raises InputError without espeakng-loader.
    """
    if corpus not in LAYOUTS:
        raise InputError(f"there is no mini corpus {corpus!r}: use {', '.join(LAYOUTS)}")
    folder = Path(cache or cache_folder()).absolute() / "mini" / f"{corpus}-{_fingerprint()}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    layout, takes = LAYOUTS[corpus]
    try:
        with (
            espeak.Espeak() as synthesiser,
            tqdm(total=takes, desc=f"mini {corpus}", disable=None) as bar,
        ):
            layout(draft, Studio(synthesiser, bar.update))
        draft.chmod(0o755)  # mkdtemp made it private
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process has just made the same
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _fingerprint() -> str:
    """Changes with this code and with the synthesiser."""
    if util.find_spec("espeakng_loader") is None:
        need = "the mini corpora need espeakng-loader"
        raise InputError(f"{need}: pip install 'speechbrain-ser[mini]'")
    sources = [Path(file).read_bytes() for file in (__file__, espeak.__file__, studio.__file__)]
    version = metadata.version("espeakng-loader").encode()
    return hashlib.sha256(b"".join([*sources, version])).hexdigest()[:10]


def _iemocap(root: Path, record: Studio) -> None:
    """Five sessions of two speakers, with the oddities of the release."""
    for session in range(1, 6):
        chance = random.Random(session)
        speakers = {gender: voice(gender, session - 1) for gender in "FM"}
        turns = [
            (gender, code)
            for gender in speakers
            for code, (_, count, _) in RATINGS.items()
            for _ in range(count + (session - 3 if code == "sad" else 0))
        ]
        chance.shuffle(turns)
        # names such as the release has: scenes in two parts, a script with a letter
        last = "script01_1b" if session == 5 else "script02_1"
        of_men = ("impro05a", "impro05b") if session == 3 else ("impro01", "impro02")
        scenes = {"F": ("impro01", "impro02"), "M": of_men}
        dialogs = [
            f"Ses0{session}{side}_{scene}"
            for side, improvised in scenes.items()
            for scene in (*improvised, "script01_1", last)
        ]
        folder = root / f"Session{session}"
        for number, dialog in enumerate(dialogs):
            _dialog(folder, dialog, turns[number :: len(dialogs)], speakers, chance, record)
        evaluation = folder / "dialog" / "EmoEvaluation"
        for name in ("Categorical", "Attribute", "Self-evaluation"):
            _write(evaluation / name / f"{dialogs[0]}_e2.txt", f"{dialogs[0]}_F000 :Anger; ()\n")
        _write(evaluation / f"._{dialogs[0]}.txt", "\0\5\26\7 Mac OS X")
    # a dialog that nobody evaluated
    unheard = root / "Session4" / "sentences" / "wav" / "Ses04F_impro03" / "Ses04F_impro03_F000.wav"
    record(unheard, SENTENCES[0], voice("F", 3), "neutral")


def _dialog(folder: Path, dialog: str, turns, speakers, chance: random.Random, record) -> None:
    """One dialog of IEMOCAP: both speakers talk, whoever wears the markers."""
    evaluation = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
    transcript = [f"{dialog}_MXX0 [000.1000-000.9000]: Mm-hmm.\n", "F: (laughs)\n"]
    clock = 1.0
    for number, (gender, code) in enumerate(turns):
        utt_id, text = f"{dialog}_{gender}{number:03d}", chance.choice(SENTENCES)
        path = folder / "sentences" / "wav" / dialog / f"{utt_id}.wav"
        end = clock + record(path, text, speakers[gender], iemocap.EMOTIONS[code])
        event = chance.choice(["", "", "", "[LAUGHTER] ", "{breathing} "])
        words = "[LAUGHTER]" if (dialog, number) == LAUGHED else f"{event}{text}"
        if (dialog, number) != NOT_WRITTEN:
            transcript.append(f"{utt_id} [{clock:08.4f}-{end:08.4f}]: {words}\n")
        name, _, dimensions = RATINGS[code]
        own = random.Random(utt_id)  # not of chance, which the sentences are drawn by
        means = ", ".join(f"{value + own.uniform(-0.5, 0.5):.4f}" for value in dimensions)
        third = chance.choice([name, "Frustration" if code != "fru" else "Anger", f"{name}; Other"])
        raters = [name, name, third] if code != "xxx" else ["Anger", "Sadness", "Neutral"]
        evaluation.append(f"\n[{clock:.4f} - {end:.4f}]\t{utt_id}\t{code}\t[{means}]\n")
        evaluation += [f"C-E{rater}:\t{label};\t()\n" for rater, label in enumerate(raters, 2)]
        evaluation += [f"C-{gender}1:\t{name};\t()\n", "A-E3:\tval 3; act 2; dom  2;\t()\n"]
        clock = end + 0.5
    evaluation.append(f"\n[{clock:.4f} - {clock + 1:.4f}]\t{dialog}_F999\toth\t[2.5, 2.5, 2.5]\n")
    end_of_line = "\r\n" if folder.name == "Session2" else "\n"
    for kind, lines in (("EmoEvaluation", evaluation), ("transcriptions", transcript)):
        content = "".join(lines).replace("\n", end_of_line)
        _write(folder / "dialog" / kind / f"{dialog}.txt", content)


def _ravdess(root: Path, record: Studio) -> None:
    """Speech of 24 actors: 8 emotions, 2 statements, normal intensity, said once."""
    for actor in range(1, 25):
        who = voice("FM"[actor % 2], 10 + actor // 2)
        for code, emotion in ravdess.EMOTIONS.items():
            for statement, words in ravdess.STATEMENTS.items():
                name = f"03-01-{code}-01-{statement}-01-{actor:02d}.wav"
                record(root / f"Actor_{actor:02d}" / name, words.capitalize(), who, emotion, 0.5)


def _voxceleb1(root: Path, record: Studio) -> None:
    """Twenty speakers, two videos of each: four train, one valid and one test utterance."""
    lines, accents = [], ("en-us", "en", "en-gb-scotland", "en-029")
    meta = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"]
    for number in range(20):
        speaker, gender = f"id{10001 + number}", "fm"[number % 2]
        who = voice(gender.upper(), 30 + number // 2, accents[number // 2 % 4])
        meta.append(f"{speaker}\tMini_{number}\t{gender}\tUSA\tdev\n")
        for take in range(12):
            part = {4: 3, 5: 2}.get(take % 6, 1)
            name = f"{speaker}/{'AB'[take // 6]}{speaker}mini/{take % 6 + 1:05d}.wav"
            text = random.Random(name).choice(SENTENCES)
            record(root / "wav" / name, text, who, "neutral")
            lines.append(f"{part} {name}\n")
    _write(root / "iden_split.txt", "".join(lines))
    _write(root / "vox1_meta.csv", "".join(meta))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


LAYOUTS = {"iemocap": (_iemocap, 561), "ravdess": (_ravdess, 384), "voxceleb1": (_voxceleb1, 240)}
