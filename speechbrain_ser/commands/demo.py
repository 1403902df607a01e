"""A page on which people record or drop a file and see its emotions.

ser demo                                          the models in results/, else the package's own
ser demo results/fusion/fold1/1000 user/model     these
ser demo results/fusion/fold1/1000 --space space/ a Hub Space's folder

MODEL is a run's folder, its best/, a folder in and below which models are searched, or a Hub id.
Recordings are processed on this machine, and deleted: when the page ends, or if it is killed, when
it starts again. It answers to localhost, this machine's name, addresses, and each --name. A Space's
folder holds app.py, its requirements, this package and the models (of a Hub id the name alone), and
is uploaded as it is.
Needs pip install 'speechbrain-ser[demo]'.
"""

import argparse
from pathlib import Path

from speechbrain_ser import parallel
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.sharing import recordings, space
from speechbrain_ser.sharing.inference import DEFAULT

RESULTS = "results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    own = [RESULTS if Path(RESULTS).is_dir() else str(DEFAULT)]
    parser.add_argument("models", metavar="MODEL", nargs="*", default=own)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 shows it to the network")
    parser.add_argument(
        "--name", action="append", default=[], help="a host name that it answers to, too"
    )
    parser.add_argument("--port", type=int, help="the first free one from 7860")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--space", type=Path, metavar="DIR", help="write a Hub Space's folder")


def run(options: argparse.Namespace) -> int | None:
    models = find(options.models)
    if options.space:
        if left_out := space.write(models, options.space, options.device):
            print(f"left out: {', '.join(left_out)}")
        print(f"it is ready: hf upload user/name {options.space} --repo-type space")
        return 0
    parallel.refuse_device(options.device)
    with recordings.folder():
        page().serve(models, options.device, options.host, options.port, options.name)
    return 0


def page():
    """The module of the page; InputError without gradio."""
    try:
        from speechbrain_ser.sharing import demo
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise InputError(
            "the page needs the package gradio: pip install 'speechbrain-ser[demo]'"
        ) from None
    return demo


def find(sources: list[str]) -> dict[str, str]:
    """{name: model folder or Hub id}, the names as short as they tell the models apart.

    Of those in a folder the newest is first. Raises InputError where there is no model, or one that
    names no emotions and answers no numbers.
    """
    models: dict[str, None] = {}  # each once, in order
    for source in sources:
        if not Path(source).is_dir() and (source == RESULTS or source.count("/") != 1):
            raise InputError(
                f"there is no folder {source}: name a run's folder or a Hub id, or train a model "
                "first, bash tools/quickstart.sh"
            )
        inside = sorted(Path(source).rglob(f"best/{saved.WEIGHTS}"))
        inside.sort(key=lambda path: -path.stat().st_mtime)
        if not inside or (Path(source) / saved.WEIGHTS).is_file():
            if fault := fault_of(source):
                raise InputError(fault)
            models[source] = None
            continue
        faults = {str(path.parent): fault_of(path.parent) for path in inside}
        models |= {folder: None for folder, fault in faults.items() if not fault}
        if all(faults.values()):
            raise InputError(f"no model in {source} will do: {next(iter(faults.values()))}")
    return named(list(models))


def fault_of(source: str | Path) -> str | None:
    """Why a model names no emotions and answers no numbers, None if it does."""
    try:
        tree = saved.description(source)
        labels, numbers = tree["labels"], saved.ranges(tree)
        saved.refuse_speakers(source, labels)
    except InputError as error:
        return str(error)
    return None if labels or numbers else f"{source} names no emotions, but other things"


def named(sources: list[str]) -> dict[str, str]:
    """Of run folders experiment/fold/seed, of others the last part; more where these are alike."""
    names: list[str] = []
    for length in range(1, 99):
        names = []
        for source in sources:
            folder = Path(source).absolute()
            run = folder.name == "best"
            parts = folder.parts[1:-1] if run else folder.parts[1:]
            names += ["/".join(parts[-max(length, 3 if run else 1) :])]
            if not folder.is_dir():
                names[-1] = source
        if len(set(names)) == len(names):
            break
    return dict(zip(names, sources, strict=True))
