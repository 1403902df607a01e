"""A Hugging Face Space: the page, this package and models in a folder that is uploaded as it is."""

import ast
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import jinja2
from huggingface_hub import ModelCard, SpaceCardData

from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.sharing import card

ROOT = Path(__file__).parents[2]
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
        raise InputError("a Space needs the package gradio: pip install -e '.[demo]'") from None
    temporary = folder.absolute().with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    package = Path(__file__).parents[1]
    for path in package.rglob("*.py"):
        copied = temporary / path.relative_to(package.parent)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copied)
    shutil.copy(ROOT / "LICENSE", temporary)
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
    wanted = _of_setup("install_requires")
    if any("Egemaps" in (saved.find(m) / saved.HYPERPARAMS).read_text() for m in models.values()):
        wanted += _of_setup("egemaps")
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
    page = ModelCard.from_template(facts, str(TEMPLATES / "space.md"))
    (temporary / "README.md").write_text(f"{page}\n")
    os.replace(temporary, folder)
    return left_out


def _of_setup(key: str) -> list[str]:
    """The requirements that setup.py has under a key."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == key:
            return ast.literal_eval(node.value)
        if isinstance(node, ast.Dict):
            for name, value in zip(node.keys, node.values, strict=True):
                if isinstance(name, ast.Constant) and name.value == key:
                    return ast.literal_eval(value)
    raise KeyError(key)
