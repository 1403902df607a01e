"""The benchmarks of tools/benchmark.py, a file each."""

import speechbrain_ser  # noqa: F401  before torch, which it tells how threads wait
