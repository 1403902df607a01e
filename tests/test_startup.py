"""What a command imports before it does anything, and the benchmark that times it."""

import subprocess
import sys

import pytest
from benchmarks import startup
from conftest import ROOT
from test_tools import benchmark, table

import speechbrain_ser


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("speechbrain_ser", "torch numpy"),
        ("speechbrain_ser.__main__", "torch speechbrain transformers"),
        ("speechbrain_ser.experiment", "sklearn matplotlib pandas"),
    ],
)
def test_what_is_not_used_at_once_is_not_imported(module, without):
    code = f"import sys, {module}; print(*sys.modules.keys() & set({without.split()}))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == []


def test_the_package_s_names_are_there_when_used():
    from speechbrain_ser import Emotion, EmotionRecognizer, inference

    assert (Emotion, EmotionRecognizer) == (inference.Emotion, inference.EmotionRecognizer)
    with pytest.raises(AttributeError, match="'speechbrain_ser' has no attribute 'Emotoin'"):
        _ = speechbrain_ser.Emotoin


def test_startup_shows_another_checkout_beside_this_one(tmp_path, capsys, monkeypatch):
    waits = {"a": ["-c", "import slow"], "b": ["-c", "pass"]}
    for folder, seconds in (("here", 0), ("beside", 1)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "slow.py").write_text(f"import time; time.sleep({seconds})")
    monkeypatch.setattr(startup, "COMMANDS", waits)
    monkeypatch.setattr(startup, "ROOT", tmp_path / "here")
    monkeypatch.setattr(startup.mini, "make", lambda corpus: None)
    benchmark.main(["startup", "--quick", "--beside", str(tmp_path / "beside")])
    header, a, b = table(capsys.readouterr().out)
    assert header[1:] == ["s", "beside, s", "ratio"]
    assert float(a[2]) > float(a[1]) + 0.8 and float(a[3]) > 2
    assert float(b[2]) < float(a[2])
    benchmark.main(["startup", "--quick"])
    assert table(capsys.readouterr().out)[0][1:] == ["s"]


def test_the_first_update_is_one(tmp_path, monkeypatch):
    """The process ends with the optimizer's first step, and not by itself."""
    steps = tmp_path / "steps.py"
    steps.write_text(
        "import sys, torch\n"
        "weight = torch.nn.Parameter(torch.ones(1))\n"
        "for number in range(int(sys.argv[1])):\n"
        "    torch.optim.SGD([weight]).step()\n"
        "    print('too late')\n"
    )
    code = startup.FIRST_UPDATE.replace(startup.RECIPE, str(steps))
    assert startup.seconds(["-c", code, "2"], ROOT) > 0
    with pytest.raises(startup.InputError, match="ended with 1: it made no update"):
        startup.seconds(["-c", code, "0"], ROOT)
