"""The pages: their links, their commands, the site and the notebook."""

import argparse
import contextlib
import importlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import speechbrain as sb
import yaml
from conftest import RECIPES, ROOT, ser

import speechbrain_ser
from speechbrain_ser import __main__ as command
from speechbrain_ser import hparams as hp
from speechbrain_ser.campaign import rows
from speechbrain_ser.errors import InputError
from speechbrain_ser.training import command_line

FIRST = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [
    *sorted(RECIPES.glob("*/README.md")),
    *map(ROOT.joinpath, ("BENCHMARKS.md", "SECURITY.md")),
]
PAGES = [*FIRST, *OTHERS]
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)]*))?\)")
BLOCK = re.compile(r"(?:<!-- needs ([^>]+?) -->\n)?```(bash|python)\n(.*?)```", flags=re.DOTALL)
NEEDS = {  # why a block is not run by a test: what it needs
    *("a corpus", "an encoder", "a trained model", "an installation", "a browser", "an hour"),
}
NOTEBOOK = ROOT / "docs/first_steps.ipynb"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[tuple[str | None, str]]:
    """What each block of a page needs, and its text."""
    return [
        (needs or None, text)
        for needs, written_in, text in BLOCK.findall(page.read_text())
        if written_in == language
    ]


def commands(block: str) -> list[str]:
    """The lines of a block, joined where they go on, without those that are comments alone."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def refused(*words: str) -> str | None:
    """What is wrong with the words of a command of `ser`, which is not run."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        known, own = command.command_of(words)
        module = importlib.import_module(
            f"speechbrain_ser.commands.{known.translate(command.MODULE)}"
        )
        parser = argparse.ArgumentParser(prog="ser", allow_abbrev=False)
        module.add_arguments(parser)
        if hasattr(module, "USAGE"):
            options, _ = parser.parse_known_args(own)
        else:
            options = parser.parse_intermixed_args(own)
        named = vars(options).get("row") or []
        for row in [named] if isinstance(named, str) else named:
            if row != "ROW" and not row.endswith(".py"):
                rows.find(row)
        return None
    return said.getvalue()


def resolve(script: str, yaml_file: str, *words: str) -> None:
    """Read a recipe's command as its script would: an unknown setting is an InputError."""
    hparams_file, _, given = sb.parse_arguments([yaml_file, *words])
    path = command_line.find_yaml(hparams_file, ROOT / script)
    command_line.read(path, hp.command_line(given))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for path, anchor in LINK.findall(page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), f"{path} is linked to"
        assert not anchor or anchor in anchors(target), f"{path}#{anchor} is linked to"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_are_understood(page, monkeypatch):
    for corpus in ("IEMOCAP", "RAVDESS", "VOXCELEB1"):
        monkeypatch.setenv(f"SER_{corpus}", f"/corpora/{corpus}")
    for _, block in blocks(page, "bash"):
        for line in commands(block):
            for part in line.split(" | "):
                words = shlex.split(part.partition(" > ")[0], comments=True)
                if words[0] == "ser":
                    assert refused(*words[1:]) is None, line
                elif words[0] == "python" and words[1].startswith("recipes/"):
                    resolve(*words[1:])
                elif words[0] in ("python", "bash") and words[1] != "-m":
                    assert (ROOT / words[1]).is_file(), line
    for words in re.findall(r"`ser ([a-z][^`\n]*)`", page.read_text()):
        assert command.command_of(shlex.split(words))


def test_a_wrong_command_would_be_noticed():
    assert "unrecognized arguments: --jsn" in refused("classify", "--jsn", "m", "f")
    assert "there is no command 'clasify" in refused("clasify", "m")
    with pytest.raises(InputError, match="there is no setting"):
        resolve("recipes/IEMOCAP/train_emotion.py", "hparams/emotion.yaml", "--blcks", "2")


@pytest.mark.parametrize("page", FIRST, ids=name)
def test_what_is_not_run_says_what_it_needs(page):
    needs = {needs for needs, *_ in BLOCK.findall(page.read_text()) if needs}
    assert needs <= NEEDS


@pytest.fixture
def clone(runs, tmp_path, monkeypatch):
    """A folder with a run where the pages have one, and recordings by the pages' names."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "results/mini/fusion/fold1/1000"
    shutil.copytree(runs / "fusion/fold1/1000", place)
    draw = np.random.default_rng(1)
    (tmp_path / "recordings").mkdir()
    for path, seconds in {
        "speech.wav": 1,
        "more.wav": 1,
        "recordings/a.wav": 1,
        "meeting.wav": 6,
    }.items():
        soundfile.write(path, 0.1 * draw.standard_normal(16_000 * seconds), 16_000)
    return tmp_path


def shell(line: str, monkeypatch) -> None:
    """A command of `ser` in this process, its input from a pipe, its output to a file or not."""
    line, _, output = line.partition(" > ")
    *before, last = line.split(" | ")
    if before:
        piped = subprocess.run(before[0], shell=True, capture_output=True, check=True).stdout
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    with contextlib.ExitStack() as stack:
        if output:
            file = stack.enter_context(open(output.strip(), "w"))
            stack.enter_context(contextlib.redirect_stdout(file))
        known, *words = shlex.split(last, comments=True)
        assert known == "ser" and ser(*words) == 0, line


RUN = [
    pytest.param(
        block,
        id=f"{name(page)}-{number}",
        # half a minute each; tests/test_onnx.py exports, tests/test_campaign.py lists in any case
        marks=[pytest.mark.slow] if re.search("ser export|--list", block) else [],
    )
    for page in FIRST
    for number, (needs, block) in enumerate(blocks(page, "bash"))
    if not needs
]
PYTHON = [page for page in FIRST if any(not needs for needs, _ in blocks(page, "python"))]


@pytest.mark.parametrize("block", RUN)
def test_commands_run(block, clone, monkeypatch):
    for line in commands(block):
        shell(line, monkeypatch)


@pytest.mark.parametrize("page", PYTHON, ids=name)
def test_python_runs(page, clone, capsys):
    names: dict = {}
    for needs, block in blocks(page, "python"):
        if not needs:
            exec(compile(block, str(page), "exec"), names)
    assert names["emotion"].label in capsys.readouterr().out


def test_the_first_page_is_short_and_names_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    linked = {path for path, _ in LINK.findall(text)}
    assert {name(page) for page in FIRST[1:]} <= linked
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    assert all(f" {page.name}\n" in nav for page in FIRST[2:])


def test_one_version():
    version = speechbrain_ser.__version__
    log = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## \[(.+?)\]", log, flags=re.MULTILINE)[1] == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    told = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert told.stdout.split()[-1] == version, told.stderr


def test_workflows_and_the_image_run_files_that_exist():
    texts = [path.read_text() for path in (ROOT / ".github").rglob("*.yml")]
    texts.append((ROOT / "Dockerfile").read_text())
    paths = {path for text in texts for path in re.findall(r"\btools/\w+\.\w+", text)}
    assert {"tools/test.sh", "tools/setup.sh", "tools/quickstart.sh"} <= paths
    assert all((ROOT / path).is_file() for path in paths)
    steps = [
        step
        for job in yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
        for step in job["steps"]
    ]
    assert all(set(step) & {"run", "uses"} for step in steps)


def test_the_site_is_built_and_fetches_nothing(tmp_path):
    pytest.importorskip("material")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    first = (tmp_path / "site/index.html").read_text()
    assert 'href="train/"' in first and 'src="figures/ideas.png"' in first
    assert 'href="recipes/IEMOCAP/#gao-2023-two-phases"' in first
    assert (tmp_path / "site/figures/ideas.png").is_file()
    for page in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)', page.read_text()
        )
        assert fetched == [], page


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)  # numbers go stale
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["results"]["protocol"] == "honest, speaker-independent"
    assert names["segment"].label in names["results"]["labels"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    for path, _ in LINK.findall(text):
        assert (NOTEBOOK.parent / path).is_file()
