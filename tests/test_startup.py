"""What a command imports before it does anything, and what it tells torch before."""

import ast
import os
import subprocess
import sys

import pytest
from conftest import RECIPES, ROOT

import speechbrain_ser


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("speechbrain_ser", "torch numpy"),
        ("speechbrain_ser.__main__", "torch speechbrain transformers"),
        ("speechbrain_ser.training.experiment", "sklearn matplotlib pandas"),
    ],
)
def test_what_is_not_used_at_once_is_not_imported(module, without):
    code = f"import sys, {module}; print(*sys.modules.keys() & set({without.split()}))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == []


def test_the_package_s_names_are_there_when_used():
    from speechbrain_ser import Emotion, EmotionRecognizer
    from speechbrain_ser.sharing import inference

    assert (Emotion, EmotionRecognizer) == (inference.Emotion, inference.EmotionRecognizer)
    with pytest.raises(AttributeError, match="'speechbrain_ser' has no attribute 'Emotoin'"):
        _ = speechbrain_ser.Emotoin


@pytest.mark.parametrize(
    ("own", "told"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_waiting_threads_soon_sleep_unless_the_user_says_otherwise(own, told):
    code = "import os, sys, speechbrain_ser as _; "
    code += "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    theirs = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    env = {name: value for name, value in os.environ.items() if name not in theirs} | own
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == [told, "False"]


def test_scripts_import_the_package_before_torch():
    """OpenMP reads how its threads wait when torch loads it."""
    for path in sorted(RECIPES.glob("*/*.py")):
        names = []
        for node in ast.parse(path.read_text()).body:
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        packages = [name.partition(".")[0] for name in names]
        assert [p for p in packages if p not in sys.stdlib_module_names][0] == "speechbrain_ser"
