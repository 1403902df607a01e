"""Numbers beside or instead of emotions, such as valence and arousal, from frozen layers.

    python recipes/RAVDESS/train_dimensions.py hparams/dimensions.yaml --data_folder PATH --fold 1

Each number is learned by one minus its concordance (Lin 1989), as is usual for ratings: Atmaja and
Akagi 2021 compare it with the squared error. By default it is RAVDESS' intensity, 0 or 1. The
columns of a table:

    ... --corpus table --data_folder mine.csv --targets '{valence: {low: 1, high: 7}}'
    ... --corpus table --data_folder mine.csv --targets
        '{emotion: [angry, happy, sad], valence: {low: 1, high: 7}, arousal: {low: 1, high: 7}}'

Emotions, or shares of several annotators, are learned beside them by cross-entropy. With a
fine-tuned encoder: recipes/IEMOCAP/train_dimensions.py.
"""

from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.probe_brain import ProbeBrain

if __name__ == "__main__":
    run(ProbeBrain)
