"""A model's answers to recordings under noise or a codec, kept beside it."""

from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from speechbrain_ser import output
from speechbrain_ser.data import conditions
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import write_atomically
from speechbrain_ser.sharing.inference import EmotionRecognizer

FOLDER = "conditions"  # in the folder of a run


def answers(
    run: Path, condition: conditions.Condition, recordings: Mapping[str, dict]
) -> dict[str, str]:
    """utt_id -> the label that the run's model gives to each recording under a condition.

    recordings : utt_id -> its entry of a manifest, with its content mark

    They are kept as <run>/conditions/<condition>.csv, and computed again for other recordings.
    Raises InputError for one that cannot be read, or is silent where the model hears it.
    """
    path = run / FOLDER / f"{condition.name}.csv"
    contents = {utt_id: entry["content"] for utt_id, entry in recordings.items()}
    if path.is_file():
        rows = output.read_csv(path)
        if {row["id"]: row["content"] for row in rows} == contents:
            return {row["id"]: row["prediction"] for row in rows}
    recognizer = EmotionRecognizer.from_hparams(run / "best", unsure_below=0)
    recognizer.hparams.reader = conditions.Degraded(recognizer.hparams.reader, condition)
    utt_ids = list(recordings)
    said = {}
    places = [recordings[utt_id]["wav"] for utt_id in utt_ids]
    bar = tqdm(total=len(places), desc=f"{run.parents[1].name}, {condition.name}", disable=None)
    for position, emotion in recognizer.each(places):
        if isinstance(emotion, InputError):
            raise emotion
        if emotion.label is None:
            raise InputError(
                f"{places[position]} is silent where the model hears it: leave it out of the corpus"
            )
        said[utt_ids[position]] = emotion.label
        bar.update()
    bar.close()
    lines = ((utt_id, contents[utt_id], said[utt_id]) for utt_id in utt_ids)
    write_atomically(path, output.as_csv(["id", "content", "prediction"], lines))
    return said
