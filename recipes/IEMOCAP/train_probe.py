"""Pepino 2021: a small network on frozen wav2vec 2.0 layers, eGeMAPS or spectrograms, on IEMOCAP.

    python recipes/IEMOCAP/train_probe.py hparams/probe.yaml --data_folder PATH --fold 1

Weighted average of the frozen layers -> two dense layers -> mean over time -> 4 emotions. The paper
reports UA 67.2 (5 folds pooled, mean of 5 seeds), and 66.3 beside eGeMAPS (probe_egemaps.yaml).
The features are computed once and stored. Without data: a trial on synthesised speech.
"""

from speechbrain_ser.training.experiment import run
from speechbrain_ser.training.probe_brain import ProbeBrain

if __name__ == "__main__":
    run(ProbeBrain)
