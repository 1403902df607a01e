#!/usr/bin/env bash
# From a bare clone to a trained model: installs into .venv and runs Park 2023's fusion recipe as it
# is. Without a corpus that is the mini preset, a small network on synthesised speech. Then the
# package's own model on one of its recordings, if its encoder is in SER_ENCODERS or can be fetched.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
setup mini
python recipes/IEMOCAP/train_fusion.py hparams/fusion.yaml "$@"
echo "The package's own model (its encoder, whisper-base, is 290 MB if it has to be fetched):"
mini=$(python -c 'from speechbrain_ser.data.corpora import mini; print(mini.make("ravdess"))')
recording=$(find "$mini" -name '*.wav' | sort | head -n 1)
ser classify "$recording" || true  # without a network its sentence says what is missing
