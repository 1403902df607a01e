"""What has to run, and in which order: folds, seeds and the earlier phases of each."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import rows
from speechbrain_ser.data import splits
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.results import report
from speechbrain_ser.training import claims, command_line, phases, source
from speechbrain_ser.training.brain import SerBrain


@dataclass(frozen=True)
class Job:
    """One run: a recipe's command line and the folder that it fills."""

    words: tuple[str, ...]  # behind `python`
    folder: Path
    needs: tuple[Path, ...]  # folders of the runs that it starts from
    epochs: int | None  # at most; None if only the run can tell
    results: Path  # the folder above all runs
    asked: Mapping = field(default_factory=dict)  # the settings that the command line gives, plain

    @property
    def name(self) -> str:
        return str(self.folder.relative_to(self.results))

    @property
    def done(self) -> bool:
        return report.is_complete(self.folder)

    @property
    def there(self) -> bool:
        """Whether it is done with what is asked for: with more epochs, say, it is another run."""
        if not self.done or not self.asked:
            return self.done
        path = self.folder / saved.HYPERPARAMS
        try:
            kept = _kept(path, path.stat().st_mtime_ns)
        except (InputError, OSError):
            return False  # the run says what is wrong
        return _holds(kept, self.asked)


def _given(said: Any, plain: Any) -> Any:
    """Of plain settings those that a command line says; the rest the run may have filled in."""
    if not isinstance(plain, dict):
        return plain
    own = said if isinstance(said, Mapping) else {}
    kept = {key: plain[key] for key in ("tag", "value") if key in plain}
    return kept | {key: _given(own[key], plain[key]) for key in own if key in plain}


def _holds(kept: Any, asked: Any) -> bool:
    """Whether settings hold all of those."""
    if not isinstance(asked, dict) or not isinstance(kept, dict):
        return kept == asked
    return all(_holds(kept.get(key), value) for key, value in asked.items())


@cache  # it is asked for again while the run waits for its turn
def _kept(path: Path, changed: int) -> dict:
    """The settings of a run's folder, of which the file was changed at a time."""
    return claims.placeless(claims.read_settings(path))


Plan = dict[Path, Job]  # folder -> its run, each after those that it needs


def cross_validation(
    command: Sequence[str], folds: Sequence[int] | None, seeds: Sequence[int] | None, plan: Plan
) -> list[Path]:
    """Put the runs of a recipe's command over folds and seeds into the plan; return their folders.

    folds : None for all that the split has
    seeds : None for the yaml's own

    Raises InputError for a command that its recipe would refuse, or a corpus that is not named.
    """
    script, *words = command
    if folds is None:
        folds = range(1, number_of_folds(command) + 1)
    own = []
    each: Sequence[int | None] = seeds or [None]
    for fold in folds:
        for seed in each:
            seeded = [] if seed is None else ["--seed", str(seed)]
            own.append(add(plan, script, [*words, "--fold", str(fold), *seeded]))
    return own


def add(plan: Plan, script: str, words: Sequence[str]) -> Path:
    """Put a run and those it starts from into the plan; return its folder."""
    path, tree, overrides, _, passed = command_line.parse(Path(script), words)
    settings = hp.resolve(tree, path)
    settings["phases"] = brain_of(Path(script)).phases(settings)
    folder = Path(settings["output_folder"])
    if folder in plan:
        return folder
    needs = []
    for name, phase in settings["phases"].items():
        if Path(phase["best"]).is_dir() or phases.is_hub_id(phase["best"]):
            continue
        earlier = None
        if "recipe" in phase:
            earlier = phases.command(phase, settings, overrides, Path(script).resolve())
            earlier += phases.run_options(passed)
        if earlier is None or folder_of(earlier) / "best" != Path(phase["best"]):
            earlier = making(phase["best"], settings)
        if missing := [word for word in earlier if word.startswith("PATH_OF_")]:
            corpus = missing[0].removeprefix("PATH_OF_")
            raise InputError(
                f"{folder} starts from the earlier phase {name}, which is trained on "
                f"{corpus.lower()}: name its folder in the environment, SER_{corpus}=PATH"
            )
        needs.append(add(plan, earlier[0], earlier[1:]))
    asked = _given({**overrides, **passed}, claims.placeless(hp.plain(settings)))
    plan[folder] = Job(
        words=(script, *words),
        folder=folder,
        needs=tuple(needs),
        epochs=settings["max_epochs"],
        results=Path(settings["results"]),
        asked=asked,
    )
    return folder


def folder_of(command: Sequence[str]) -> Path:
    """The folder that a recipe's command fills."""
    path, tree, *_ = command_line.parse(Path(command[0]), command[1:])
    return Path(hp.resolve(tree, path, ["output_folder"])["output_folder"])


def making(best: str, settings: Mapping) -> list[str]:
    """The command of the row of RESULTS.csv whose run leaves that best/ folder.

    Raises InputError if there is none.
    """
    folder = Path(best).parent if Path(best).name == "best" else Path(best)
    fold, seed = folder.parent.name.removeprefix("fold"), folder.name
    row = {row["corpus"] + experiment_: row for row, experiment_ in _experiments()}.get(
        settings["corpus"]["name"] + folder.parents[1].name
    )
    if row is None or not (fold.isdigit() and seed.isdigit()):
        raise InputError(f"{best} is not there, and no row of RESULTS.csv makes it: train it first")
    words = [*rows.command(row), "--fold", fold, "--seed", seed, "--results", settings["results"]]
    return [*words, "--mini", "True"] if settings["mini"] else words


@cache
def _experiments() -> list[tuple[dict, str]]:
    return [(row, rows.experiment(row)) for row in rows.named().values()]


@cache
def brain_of(script: Path) -> type[SerBrain]:
    """The Brain that a recipe's script runs: the last one that it defines."""
    if not script.is_file():
        raise InputError(f"there is no script {script}: give one of recipes/*/*.py")
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec and spec.loader  # a Python file has both
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    brains = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, SerBrain) and value is not SerBrain
    ]
    if not brains:
        raise InputError(f"{script} defines no Brain: give one of recipes/*/*.py")
    return brains[-1]


def number_of_folds(command: Sequence[str]) -> int:
    """How many folds the split of a recipe's command has.

    The corpus is read if the split alone does not tell.
    """
    script, *words = command
    path, tree, *_ = command_line.parse(Path(script), words)
    return _folds_of(hp.dump(hp.needed(tree, ("corpus", "split", "data_folder"))), path)


@cache  # the rows of a table have few splits between them
def _folds_of(source_and_split: str, path: Path) -> int:
    settings = hp.resolve(hp.load_tree(source_and_split), path)
    built = hp.build({key: settings[key] for key in ("corpus", "split")})
    if built["split"] is None:
        return 1
    try:
        return splits.number_of_folds(built["split"], {})
    except InputError:
        manifest = source.prepare(settings, built["corpus"])
        return splits.number_of_folds(built["split"], manifest)
