#!/usr/bin/env bash
# From a bare clone to a trained model: installs into .venv and runs Park 2023's fusion recipe as it
# is. Without a corpus that is the mini preset, a small network on synthesised speech.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
setup mini
python recipes/IEMOCAP/train_fusion.py hparams/fusion.yaml "$@"
