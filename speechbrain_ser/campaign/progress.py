"""How far a run is, from what it has logged: a bar on a terminal, elsewhere a line each minute."""

import re
import time
from pathlib import Path

from tqdm import tqdm

from speechbrain_ser.campaign.plan import Job

MINUTE = 60.0  # seconds
SHOWN = ("UA", "CCC", "WER", "WA", "loss")  # the first that a run measures on validation


class Line:
    """A run's own line: its experiment, fold and seed, the epochs so far, the last one's score."""

    def __init__(self, job: Job):
        self.job = job
        self.bar = tqdm(
            total=job.epochs,
            desc=job.name,
            initial=so_far(job.folder)[0],
            leave=False,
            disable=None,
        )
        self.told, self.at = time.monotonic(), 0  # when, and at which epoch

    def update(self) -> None:
        epochs, score = so_far(self.job.folder)
        if not self.bar.disable:
            self.bar.n = epochs
            self.bar.set_postfix_str(score)
        elif epochs > self.at and time.monotonic() - self.told >= MINUTE:
            self.told, self.at = time.monotonic(), epochs
            of = f" of {self.job.epochs}" if self.job.epochs else ""
            print(f"{self.job.name}: epoch {epochs}{of}, {score}", flush=True)

    def close(self) -> None:
        self.bar.close()


def so_far(folder: Path) -> tuple[int, str]:
    """The epochs that a run has logged, and the last one's score on validation, `UA 61.2`."""
    log = folder / "train_log.txt"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    measured = dict(re.findall(r"valid (\w+): ([^ ,]+)", lines[-1])) if lines else {}
    for name in SHOWN:
        if name in measured:
            return len(lines), f"{name} {float(measured[name]):.4g}"
    return len(lines), ""
