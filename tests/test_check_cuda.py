"""tools/check_cuda.py with the CPU as the device: no difference but rounding; faults are rows."""

import json
import re
from pathlib import Path

import check_cuda
import compare_devices
import numpy as np
import pytest
import torch
from conftest import YAMLS

from speechbrain_ser import campaign
from speechbrain_ser.plan import Job

pytest.importorskip("espeakng_loader")


def cells(text: str) -> dict[str, list[str]]:
    """First cell -> the others, of a printed markdown table."""
    lines = [line.strip("| ") for line in text.splitlines() if line.startswith("|")]
    return {name: rest for name, *rest in ([c.strip() for c in s.split("|")] for s in lines)}


def test_a_recipe_on_the_cpu_is_the_cpu_s_and_bf16_is_near(tmp_path, capsys):
    words = ["--device", "cpu", "--recipes", "emotion", "--benchmarks", "--jobs", "2"]
    assert check_cuda.main([*words, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "3 runs: 1 recipes and earlier phases" in text and "1 of 1 are ok" in text
    loss, fp32, bf16, seconds, state = cells(text)["emotion"]
    assert (fp32, state) == ("0.0e+00", "ok")
    assert 0 < float(bf16) < 0.05 and int(seconds) > 0
    assert (tmp_path / "check_cuda.md").read_text() in text
    log = (tmp_path / "logs/bf16-emotion-fold1-1000.txt").read_text()
    assert re.search(r"epoch 1, lr \S+ train_loss", log) and "epoch 2" not in log


def test_what_has_not_run_in_time_is_said_so(tmp_path, capsys):
    words = ["--device", "cpu", "--recipes", "knn", "--benchmarks", "knn", "--minutes", "0.001"]
    assert check_cuda.main([*words, "--out", str(tmp_path)]) == 1
    rows = cells(capsys.readouterr().out)
    over = "not done when the time was over"
    assert rows["knn"][-1] == rows["supcon"][-1] == f"cpu: {over}; fp32: {over}; bf16: {over}"
    assert rows["knn"][-2] == "", "seconds are unknown, not 0"
    assert rows["benchmark knn"][-1] == "its time was over"


def test_every_yaml_has_a_name():
    assert compare_devices.chosen(None) == YAMLS
    named = compare_devices.chosen(["probe", "IEMOCAP/fusion"])
    assert [path.stem for path in named] == ["fusion", "probe", "probe"]


def test_mistakes_are_one_sentence(tmp_path, capsys, monkeypatch):
    words = ["--device", "cpu", "--out", str(tmp_path), "--recipes", "fussion"]
    assert check_cuda.main(words) == 2
    assert "there is no recipe fussion: use IEMOCAP/asr_gender, " in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_cuda.main(["--recipes", "--out", str(tmp_path)]) == 2
    assert "this machine has no CUDA device: use --device cpu" in capsys.readouterr().err


def test_what_is_missing_is_said_first(capsys, monkeypatch):
    monkeypatch.setattr(check_cuda, "PACKAGES", ("json", "nowhere.at_all", "sk_learn"))
    monkeypatch.setattr(check_cuda, "CALLED", {"nowhere.at_all": "somewhere"})
    monkeypatch.setattr(check_cuda, "EXTRAS", {"no_extra": "the recipes with eGeMAPS"})
    assert check_cuda.main([]) == 2
    install = "pip install --no-index --find-links FOLDER_OF_WHEELS somewhere sk-learn no-extra."
    assert capsys.readouterr().out == (
        f"Missing: {install} the recipes with eGeMAPS cannot run without no_extra.\n"
    )


def outcome(folder: Path, loss: float | None, state: str = "done") -> campaign.Outcome:
    """A run that ended, with a training loss or with the probabilities of two utterances."""
    folder.mkdir()
    if loss is None:
        lines = ["id,target,prediction,a,b,member", "x,a,a,0.9,0.1,a", "y,b,a,0.6,0.4,b"]
        (folder / "results.json").write_text('{"labels": ["a", "b"]}')
        (folder / "predictions.csv").write_text("\n".join(lines) + "\n")
    else:
        (folder / "train_log.txt").write_text(
            f"epoch: 1, lr: 0.1 - train loss: {loss} - valid loss: 9\n"
        )
    job = Job((), folder, (), 1, folder.parent)
    return campaign.Outcome(job, state, 2.0, "ValueError: 1 | 2 (see log)")


def test_a_row_says_which_way_is_wrong(tmp_path):
    losses = {"cpu": 2.0, "fp32": 2.001, "bf16": 2.2}
    ended = {way: outcome(tmp_path / way, loss) for way, loss in losses.items()}
    row = compare_devices.row("a", ended)
    assert row == ["a", "2.0000", "5.0e-04", "1.0e-01", "6", "bf16: off by more than 0.05"]
    ended["fp32"] = outcome(tmp_path / "failed", 2.0, "failed")
    assert compare_devices.row("a", ended)[2:] == [
        *("", "1.0e-01", "6"),
        r"fp32: ValueError: 1 \| 2 (see log); bf16: off by more than 0.05",
    ]
    ended["bf16"] = outcome(tmp_path / "diverged", float("nan"))
    assert compare_devices.row("a", ended)[3:] == [
        *("nan", "6"),
        r"fp32: ValueError: 1 \| 2 (see log); bf16: off by more than 0.05",
    ]
    ended["cpu"] = outcome(tmp_path / "no", 2.0, "failed")
    assert compare_devices.row("a", ended)[1:4] == ["", "", ""]


def test_what_trains_nothing_is_compared_by_its_probabilities(tmp_path):
    ended = {way: outcome(tmp_path / way, None) for way in ("cpu", "fp32", "bf16")}
    path = tmp_path / "bf16/predictions.csv"
    path.write_text(path.read_text().replace("0.6,0.4", "0.51,0.49"))
    assert np.allclose(compare_devices.numbers(path.parent), [0.9, 0.1, 0.51, 0.49])
    row = compare_devices.row("a", ended)
    assert row == [
        *("a", "(probabilities)", "0.0e+00", "1.0e-01", "6"),
        "bf16: off by more than 0.05",
    ]


def test_a_benchmark_that_fails_or_takes_too_long_is_a_row(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()
    options = check_cuda.argparse.Namespace(device="cpu", out=tmp_path)
    monkeypatch.setitem(compare_devices.BENCHMARKS, "knn", ["--keys", "many"])
    row = compare_devices.benchmark("knn", options, deadline=float("inf"))
    assert row[0] == "benchmark knn" and "invalid int value: 'many'" in row[-1]
    row = compare_devices.benchmark("latency", options, deadline=0)
    assert row[-1] == "its time was over"


def test_no_number_is_drawn_by_the_device(tmp_path):
    """The recipes' dropout draws nothing once compare_devices has begun a script."""
    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys, torch\n"
        "from torch import nn\n"
        "x = torch.ones(2, 3, 4)\n"
        "attention = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True).train()\n"
        "state = torch.get_rng_state()\n"
        "same = [torch.equal(nn.Dropout(0.5)(x), x)]\n"
        "for weights in (True, False):\n"
        "    one, two = (attention(x, x, x, need_weights=weights)[0] for _ in range(2))\n"
        "    same.append(torch.equal(one, two))\n"
        "from speechbrain_ser.models import fast_path\n"
        "same.append(torch.equal(fast_path.Dropout(0.5)(x), x))\n"
        "wanted = nn.functional.scaled_dot_product_attention(x, x, x, scale=0.5)\n"
        "same.append(torch.allclose(fast_path.attend(x, x, x, 0.5, 0.5), wanted))\n"
        "same.append(torch.equal(torch.get_rng_state(), state))\n"
        "json.dump([same, __name__, sys.argv[1:]], open(sys.argv[1], 'w'))\n"
    )
    found = tmp_path / "found.json"
    program = compare_devices.__file__
    words = [program, str(script), str(found)]
    assert compare_devices.subprocess.run([compare_devices.sys.executable, *words]).returncode == 0
    assert json.loads(found.read_text()) == [[True] * 6, "__main__", [str(found)]]
