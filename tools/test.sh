#!/usr/bin/env bash
# Installs into .venv, then lint and the test suite. Arguments go to pytest: -m '' also runs what is slow.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
setup mini,egemaps,dev
ruff format --check .
ruff check .
yamllint --strict .
# two tests at a time with one thread each are faster than one with two
# files in the order of tests/conftest.py, the longest first
OMP_NUM_THREADS=1 python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" "$@"
