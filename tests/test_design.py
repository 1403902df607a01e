"""What the design promises: short scripts, nothing twice, settings that reach the yaml."""

import ast
from itertools import combinations

import pytest
from conftest import RECIPES, ROOT, YAMLS, script_of
from speechbrain.utils.run_opts import RunOptions

from speechbrain_ser import hparams as hp
from speechbrain_ser.errors import InputError

SCRIPTS = sorted(RECIPES.glob("*/*.py"))


def code_lines(path):
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith(("#", "import ", "from "))]


def test_scripts_are_short():
    assert SCRIPTS
    lengths = {path.name: len(path.read_text().splitlines()) for path in SCRIPTS}
    assert {name for name, length in lengths.items() if length > 125} == set()


def test_no_run_of_six_code_lines_stands_in_two_files():
    files = [*SCRIPTS, *sorted((ROOT / "speechbrain_ser").rglob("*.py"))]
    runs = {}
    for path in files:
        lines = code_lines(path)
        runs[path] = {tuple(lines[i : i + 6]) for i in range(len(lines) - 5)}
    shared = [(a.name, b.name) for a, b in combinations(files, 2) if runs[a] & runs[b]]
    assert shared == []


def test_bars_stand_on_a_terminal_alone():
    """Each says where it is drawn; a file that holds what was said has lines, not bars."""
    files = [*SCRIPTS, *(ROOT / "speechbrain_ser").rglob("*.py")]
    calls = [
        (path.name, node.lineno, {keyword.arg for keyword in node.keywords})
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tqdm"
    ]
    assert calls and [call for call in calls if not {"disable", None} & call[2]] == []


ROOMS = ("data", "models", "results", "sharing", "training", "campaign", "commands")
FLOORS = {name: floor for floor, name in enumerate(ROOMS, 1)}


def room(module: str) -> str:
    """The room of a module of the package; its top has none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else ""


def test_imports_run_downwards_only():
    """Into no higher room; sharing and training do not know each other."""
    package = ROOT / "speechbrain_ser"
    upwards = []
    for path in package.rglob("*.py"):
        own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if path.name in ("__init__.py", "__main__.py") and not own:
            continue  # the package's face and its command
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for other in (room(name) for name in names if name.startswith("speechbrain_ser.")):
                if FLOORS.get(other, 0) > FLOORS.get(own, 0) or {own, other} == {
                    "sharing",
                    "training",
                }:
                    upwards.append(f"{path.relative_to(package)} imports {other}")
    assert upwards == []
    at_the_top = [path.name for path in package.glob("*.py")]
    assert len(at_the_top) <= 8


@pytest.mark.parametrize("yaml", YAMLS, ids=lambda path: path.stem)
def test_yaml_names_its_script_and_no_prefix_of_a_run_option(yaml):
    assert script_of(yaml).is_file()
    options = RunOptions().as_dict()
    tree = hp.read(yaml)
    clashes = [k for k in tree for option in options if option.startswith(k) and option != k]
    assert clashes == []  # argparse takes an abbreviation for the option
    assert len(yaml.read_text().splitlines()) <= 130


@pytest.mark.parametrize("yaml", YAMLS, ids=lambda path: path.stem)
def test_mini_preset_overrides_only_what_the_yaml_has(yaml):
    preset = hp.load_tree((RECIPES / "common/mini.yaml").read_text())
    tree = hp.read(yaml)
    hp.override(tree, preset["all"])
    hp.override(tree, preset[tree["experiment"]])
    assert tree["mini"] is True


def test_a_bare_tag_keeps_the_arguments_and_a_full_one_replaces_them():
    tree = hp.load_tree("head: !new:a.B\n  dim: 3\n  labels: [x]\nlr: 1\n")
    hp.override(tree, hp.command_line("head: !new:a.C\nlr: 1\nlr: 2"))
    assert hp.tag_of(tree["head"]) == "!new:a.C"
    assert dict(tree["head"]) == {"dim": 3, "labels": ["x"]}
    assert tree["lr"] == 2
    hp.override(tree, hp.command_line("head: !new:a.D {dim: 4}"))
    assert (hp.tag_of(tree["head"]), dict(tree["head"])) == ("!new:a.D", {"dim": 4})
    hp.override(tree, hp.command_line("head: {dim: 5}"))
    assert (hp.tag_of(tree["head"]), dict(tree["head"])) == ("!new:a.D", {"dim": 5})
    with pytest.raises(InputError, match="--lr .1, 2 is not valid yaml"):
        hp.command_line("lr: [1, 2")


def test_arguments_of_a_named_object_are_given_by_its_name():
    tree = hp.load_tree("network: !new:a.B {dim: 3}\nmodel: !new:a.C\n  encoder: !ref <network>\n")
    with pytest.raises(InputError, match="model.encoder is what network describes: .*--network"):
        hp.override(tree, hp.command_line("model: {encoder: {dim: 4}}"))
    hp.override(tree, hp.command_line("network: {dim: 4}"))
    assert tree["network"]["dim"] == 4


def test_an_empty_text_is_no_null():
    tree = hp.load_tree("variant: !ref <other>\nother: x\nlimit: 3\n")
    hp.override(tree, hp.command_line("variant: \nother: \nlimit: "))
    assert dict(tree) == {"variant": "", "other": "", "limit": None}


def test_inline_survives_a_command_line():
    tree = hp.load_tree("a: {head: !new:a.B {dim: 3, names: [x, y]}, lr: 1.0e-3, tag: !name:a.f }")
    text = hp.inline(tree["a"])
    assert "\n" not in text
    assert hp.plain(hp.command_line(f"a: {text}")) == hp.plain(tree)


def test_differences_name_a_cause_once():
    old, new = {"lr": 1, "model": {"lr": 1, "dim": 3}}, {"lr": 2, "model": {"lr": 2, "dim": 3}}
    assert hp.differences(old, new) == ["lr: 1 there, 2 here"]
    assert hp.differences(old, {"lr": 1, "model": {"lr": 1}}) == ["model.dim: 3 there, absent here"]
