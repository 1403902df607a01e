"""Where runs are executed: on this machine, on a Ray cluster, or by Slurm.

Each launcher takes a command and gives a handle with `done()` and `result()`, the exit status; it
wants at most `slots` of them at a time. The machines of a cluster share the file system with this
one.
"""

import argparse
import contextlib
import importlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import filelock
import torch

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError


def execute(
    words: Sequence[str], cwd: str, log: str, lock: str, environment: Mapping, started=None
) -> int:
    """Run `python words` in cwd, its output in the file log; return the exit status.

    lock : the run folder's; a run that is still going there, say after this program was killed,
        is waited for, and then the command finds its work done or goes on with it
    started : called with the process
    """
    if Path(lock).is_file():
        with filelock.FileLock(lock):
            pass
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment),
        )
        if started:
            started(process)
        return process.wait()


class Local:
    """`jobs` runs at a time on this machine, each with a GPU of its own, or its share of the cores.

    jobs : None for one per GPU, one without
    """

    def __init__(self, jobs: int | None = None):
        gpus = torch.cuda.device_count()
        self.slots = max(1, gpus) if jobs is None else jobs
        if self.slots < 1:
            raise InputError(f"--jobs is {jobs}: at least 1 is needed")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
        self.places: queue.SimpleQueue = queue.SimpleQueue()  # the environments of free slots
        for place in range(self.slots):
            own = {}
            if self.slots > 1 and "OMP_NUM_THREADS" not in os.environ:
                own["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self.slots))
            if gpus:
                own["CUDA_VISIBLE_DEVICES"] = visible.split(",")[place % gpus]
            self.places.put(own)
        self.pool = ThreadPoolExecutor(self.slots)
        self.running: set[subprocess.Popen] = set()
        self.stopped = threading.Event()

    def submit(self, *call: str) -> Future:
        return self.pool.submit(self._run, *call)

    def _run(self, words, cwd, log, lock) -> int:
        if self.stopped.is_set():
            return 130
        place = self.places.get()
        try:
            return execute(words, cwd, log, lock, place, self.running.add)
        finally:
            self.places.put(place)

    def stop(self) -> None:
        """End the runs that are going on; the same command goes on from there."""
        self.stopped.set()
        for process in self.running:
            with contextlib.suppress(OSError):
                process.terminate()
        self.pool.shutdown(cancel_futures=True)


class Ray:
    """An existing Ray cluster (https://docs.ray.io), by its address; `auto` finds one."""

    slots = 1_000  # Ray has a queue of its own

    def __init__(self, address: str = "auto", cpus: int = 1, gpus: float | None = None):
        self.ray = _extra("ray", "ray")
        try:
            self.ray.init(address=address, log_to_driver=False, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"no Ray cluster answers at {address} ({reason}): start one with `ray start "
                "--head`, and give its --address"
            ) from None
        if gpus is None:
            gpus = 1 if self.ray.cluster_resources().get("GPU") else 0
        self.execute = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(execute)

    def submit(self, *call: str) -> Future:
        return self.execute.remote(*call, {}).future()

    def stop(self) -> None:
        self.ray.shutdown()


class Slurm:
    """Jobs of Slurm, by submitit; `parameters` are submitit's, as timeout_min, slurm_partition.

    folder : of submitit's own files
    cluster : "slurm", or "local" to try it without
    """

    slots = 1_000  # Slurm has a queue of its own

    def __init__(self, folder: str | Path, parameters: Mapping, cluster: str = "slurm"):
        submitit = _extra("submitit", "slurm")
        try:
            self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self.executor.update_parameters(**{"name": "speechbrain_ser", **parameters})
        except (RuntimeError, NameError, TypeError, AttributeError) as error:
            raise InputError(
                f"submitit refuses ({' '.join(str(error).split())[:200]}): --slurm takes its "
                "parameters, e.g. '{timeout_min: 600, slurm_partition: gpu, gpus_per_node: 1}'"
            ) from None
        self.jobs: list = []

    def submit(self, *call: str):
        self.jobs.append(self.executor.submit(execute, *call, {}))
        return self.jobs[-1]

    def stop(self) -> None:
        for job in self.jobs:
            job.cancel()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command line's choice of a launcher."""
    group = parser.add_argument_group("where the runs are executed")
    group.add_argument("--launcher", choices=("local", "ray", "slurm"), default="local")
    group.add_argument(
        "--jobs", type=int, metavar="N", help="local: runs at a time; one per GPU, or one"
    )
    group.add_argument(
        "--address", default="auto", help="ray: of the cluster, e.g. ray://head:10001"
    )
    group.add_argument(
        "--slurm",
        default="{}",
        metavar="YAML",
        help="slurm: submitit's parameters, '{timeout_min: 600, slurm_partition: gpu}'",
    )


def of_options(options: argparse.Namespace, logs: Path):
    """The launcher that the command line chose."""
    if options.launcher == "ray":
        return Ray(options.address)
    if options.launcher == "slurm":
        parameters = hp.command_line(f"slurm: {options.slurm}")["slurm"] or {}
        cluster = parameters.pop("cluster", "slurm")
        return Slurm(logs / "slurm", parameters, cluster)
    return Local(options.jobs)


def _extra(module: str, extra: str):
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            f"--launcher {extra} needs the package {module}: pip install 'speechbrain-ser[{extra}]'"
        ) from None
