"""A plan's runs, executed: what is done is skipped, a failure stops only what needs it."""

import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from speechbrain_ser.campaign.plan import Job, Plan
from speechbrain_ser.campaign.progress import Line
from speechbrain_ser.files import read_json
from speechbrain_ser.results import dimensions

POLL = 0.2  # seconds
GOOD = ("done", "there")  # the states of a run whose results are there


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    job: Job
    state: str  # done, there (it was done before), failed, skipped (what it needs failed)
    seconds: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        """One line for a reader."""
        if self.state in GOOD:
            took = f"{self.seconds:.0f} s" if self.state == "done" else "was done before"
            return f"{self.job.name}: {took}, {scores(self.job.folder)}"
        return f"{self.job.name}: {self.state.upper()}, {self.reason}"


def scores(folder: Path) -> str:
    """WA and UA, or what else a run measured, in a few words."""
    results = read_json(folder / "results.json")
    names = [name for name in results if name.startswith(("WA", "UA", "WER", "EER", "CCC"))]
    return ", ".join(f"{name} {dimensions.told(name, results[name])}" for name in names[:3])


def run(plan: Plan, launcher, logs: Path) -> list[Outcome]:
    """Execute the plan and print a line when a run ends; the runs' output goes to `logs`.

    Interrupted, it ends the runs that are going on; called again it goes on from there.
    """
    outcomes: dict[Path, Outcome] = {}
    waiting = dict(plan)
    running: dict[Path, tuple] = {}  # folder -> its handle, log, when it began, its line
    previous = signal.signal(signal.SIGTERM, _interrupt)
    overall = tqdm(total=len(plan), desc="runs", unit="run", disable=None)

    def ended(outcome: Outcome) -> None:
        outcomes[outcome.job.folder] = outcome
        tqdm.write(str(outcome))
        sys.stdout.flush()
        overall.update()

    try:
        while waiting or running:
            for folder, job in list(waiting.items()):
                ended_before = [outcomes[need] for need in job.needs if need in outcomes]
                lost = failures(ended_before)
                if job.there:
                    ended(Outcome(waiting.pop(folder), "there"))
                elif lost:
                    failed = ", ".join(outcome.job.name for outcome in lost)
                    ended(Outcome(waiting.pop(folder), "skipped", reason=f"{failed} failed"))
                elif len(running) < launcher.slots and outcomes.keys() >= set(job.needs):
                    del waiting[folder]
                    log = logs / f"{job.name.replace(os.sep, '-')}.txt"
                    call = (job.words, os.getcwd(), str(log), str(folder / ".lock"))
                    handle = launcher.submit(*call)
                    running[folder] = handle, log, time.monotonic(), Line(job)
            for folder, (handle, log, began, line) in list(running.items()):
                line.update()
                if handle.done():
                    del running[folder]
                    line.close()
                    ended(_outcome(plan[folder], handle, log, time.monotonic() - began))
            time.sleep(POLL if running else 0)
    except BaseException:
        launcher.stop()
        raise
    finally:
        overall.close()
        signal.signal(signal.SIGTERM, previous)
    return [outcomes[folder] for folder in plan]


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def _outcome(job: Job, handle, log: Path, seconds: float) -> Outcome:
    try:
        status = handle.result()
    except Exception as error:  # a cluster's many ways to lose a job
        return Outcome(job, "failed", seconds, f"{' '.join(str(error).split())[:200]} (see {log})")
    if status == 0 and job.done:
        return Outcome(job, "done", seconds)
    text = log.read_text(errors="replace") if log.is_file() else ""
    said = [line for line in text.splitlines() if line.strip()]
    last = said[-1].strip() if said else f"status {status}, without a word"
    return Outcome(job, "failed", seconds, f"{last} (see {log})")


def failures(outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.state not in GOOD]
