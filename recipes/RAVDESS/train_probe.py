"""Pepino 2021: a small network on frozen wav2vec 2.0 layers, eGeMAPS or spectrograms, on RAVDESS.

    python recipes/RAVDESS/train_probe.py hparams/probe.yaml --data_folder PATH

Weighted average of the frozen layers -> two dense layers -> mean over time -> 7 emotions. The paper
reports UA 84.3 on actors 23 and 24 (mean of 5 seeds), and 77.5 beside eGeMAPS (probe_egemaps.yaml).
The features are computed once and stored. Without data: a trial on synthesised speech.
"""

from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.probe_brain import ProbeBrain

if __name__ == "__main__":
    run(ProbeBrain)
