"""A Hugging Face Space: the page, this package and models in a folder that is uploaded as it is."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from huggingface_hub import SpaceCard, SpaceCardData
from packaging.requirements import Requirement

from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.sharing import card

PACKAGE = "speechbrain-ser"  # as it is installed, from a clone or a wheel
TEMPLATES = Path(__file__).parent / "templates"


def write(models: Mapping[str, str], folder: Path, device: str = "cpu") -> list[str]:
    """Write the folder in one step: a local model is copied, of a Hub id the name is kept.

    models : {name on the page: a best/ folder or Hub id}

    Returns the paths of what else lies beside the models, and is left out. Raises InputError for a
    folder that is there, for links, and without gradio, whose version it names.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already: name a new folder, or delete it")
    try:
        version = importlib.metadata.version("gradio")
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            "a Space needs the package gradio: pip install 'speechbrain-ser[demo]'"
        ) from None
    temporary = folder.absolute().with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    package = Path(__file__).parents[1]
    for path in [*package.rglob("*.py"), *TEMPLATES.iterdir()]:
        copied = temporary / path.relative_to(package.parent)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copied)
    (temporary / "LICENSE").write_text(license_text())
    places = {
        name: f"models/{number}" if Path(source).is_dir() else source
        for number, (name, source) in enumerate(models.items(), 1)
    }
    left_out: list[str] = []
    for name, source in models.items():
        if source != places[name]:
            left_out += [
                f"{source}/{file}" for file in card.copy(Path(source), temporary / places[name])
            ]
    quoted = {repr(name): repr(place) for name, place in places.items()}
    app = jinja2.Template((TEMPLATES / "app.py.txt").read_text(), keep_trailing_newline=True)
    (temporary / "app.py").write_text(app.render(models=quoted, device=repr(device)))
    described = [(saved.find(source) / saved.HYPERPARAMS).read_text() for source in models.values()]
    declared = importlib.metadata.requires(PACKAGE) or ()
    wanted = requirements(declared, "egemaps" if "Egemaps" in "".join(described) else "")
    (temporary / "requirements.txt").write_text("\n".join(wanted) + "\n")
    facts = SpaceCardData(
        title="Emotions of speech",
        sdk="gradio",
        sdk_version=version,
        python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        app_file="app.py",
        license="apache-2.0",
        models=[place for name, place in places.items() if place == models[name]] or None,
    )
    page = SpaceCard.from_template(facts, str(TEMPLATES / "space.md"))
    (temporary / "README.md").write_text(f"{page}\n")
    os.replace(temporary, folder)
    return left_out


def license_text() -> str:
    """The package's LICENSE, of the clone or of the wheel."""
    own = Path(__file__).parents[2] / "LICENSE"
    if own.is_file():
        return own.read_text()
    text = importlib.metadata.distribution(PACKAGE).read_text("licenses/LICENSE")
    assert text is not None  # every wheel has it
    return text


def requirements(declared: Sequence[str], extra: str) -> list[str]:
    """Of what a package declares: what it always needs, and what an extra of it needs."""
    parsed = [Requirement(text) for text in declared]
    return [
        f"{one.name}{one.specifier}"
        for one in parsed
        if one.marker is None or one.marker.evaluate({"extra": extra})
    ]
