"""Rows by name, plans of runs, and their execution on every launcher."""

import dataclasses
import json
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import RECIPES, ROOT, TINY, forked, ser, thinned

from speechbrain_ser.campaign import launchers, plan, progress, rows
from speechbrain_ser.campaign import run as campaign
from speechbrain_ser.commands import cross_validate, reproduce
from speechbrain_ser.data import splits
from speechbrain_ser.data.corpora import iemocap
from speechbrain_ser.data.corpora import mini as synthesised
from speechbrain_ser.errors import InputError
from speechbrain_ser.results import report

EMOTION = ["recipes/IEMOCAP/train_emotion.py", "hparams/emotion.yaml"]
RESULTS = json.dumps({"WA": 50.0, "UA": 40.0})


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_row_has_a_name_of_its_own():
    named = rows.named()
    assert len(named) == sum(len(rows.read(path)) for path in rows.files())
    assert all(name == name.strip() and " " not in name for name in named)
    row = named["park2023/T6/fused-arcface-k4"]
    assert (row["row"], row["item"]) == ("fused, ArcFace, k = 4", "Table 6")
    assert named["pepino2021/T1/egemaps-ravdess"]["corpus"] == "ravdess"
    assert named["pepino2021/T1/egemaps-iemocap"]["corpus"] == "iemocap"
    assert named["park2023/T2/speaker-arcface-replication"]["protocol"] == "replication"


def test_a_row_is_found_by_an_unmistakable_part_of_its_name():
    name = "wang2023/T1/s3-and-nearest-neighbours"
    assert rows.find(name.upper()) == rows.find("s3-and-near") == (name, rows.named()[name])
    with pytest.raises(InputError, match="fused-arcface may be one of .* park2023/T6/fused-arcf"):
        rows.find("fused-arcface")
    with pytest.raises(InputError, match="did you mean park2023/T6/fused-arcface-k4"):
        rows.find("park2023/T6/fused-arcfase-k4")


@pytest.mark.parametrize(
    ("split", "count"),
    [
        (splits.leave_one_session_out, 2),
        (splits.leave_one_speaker_out, 3),
        (lambda manifest, fold: splits.by_actor(manifest, fold, n_folds=6), 6),
        (lambda manifest, fold: splits.random_folds(manifest, fold, n_folds=5), 5),
        (splits.official, 1),
        (splits.stratified, 1),
    ],
)
def test_number_of_folds(split, count):
    entries = [("1", "a"), ("1", "b"), ("2", "c")]
    manifest = {f"u{i}": {"session": s, "speaker": who} for i, (s, who) in enumerate(entries)}
    assert splits.number_of_folds(split, manifest) == count
    inner = splits.speaker_identification
    assert splits.number_of_folds(lambda m, fold: inner(m, fold, outer=split), manifest) == count


def mini(*words: str, results: Path) -> list[str]:
    return [*words, "--mini", "True", "--results", str(results)]


def test_a_plan_holds_the_earlier_phases_of_each_fold_before_it(tmp_path):
    runs: plan.Plan = {}
    command = mini("recipes/IEMOCAP/train_fusion.py", "hparams/fusion.yaml", results=tmp_path)
    own = plan.cross_validation(command, [1, 2], [7, 8], runs)
    folders = [str(folder.relative_to(tmp_path)) for folder in runs]
    assert [str(folder.relative_to(tmp_path)) for folder in own] == [
        *("fusion/fold1/7", "fusion/fold1/8", "fusion/fold2/7", "fusion/fold2/8")
    ]
    assert sorted(folders) == sorted(
        ["speaker/fold1/1000"]  # of another corpus: one for all
        + [
            f"{name}/fold{k}/{seed}"
            for name in ("emotion", "fusion")
            for k in (1, 2)
            for seed in (7, 8)
        ]
    )
    for position, (folder, job) in enumerate(runs.items()):
        assert all(list(runs).index(need) < position for need in job.needs)
        if "fusion" in str(folder):
            assert [need.parents[1].name for need in job.needs] == ["speaker", "emotion"]
    (tmp_path / "speaker/fold1/1000/best").mkdir(parents=True)
    again: plan.Plan = {}
    plan.cross_validation(command, [1], [7], again)
    assert [folder.parents[1].name for folder in again] == ["emotion", "fusion"]


def test_all_folds_are_the_split_s(tmp_path):
    runs: plan.Plan = {}
    own = plan.cross_validation(mini(*EMOTION, results=tmp_path), None, None, runs)
    assert [folder.parent.name for folder in own] == [f"fold{k}" for k in range(1, 6)]
    assert {folder.name for folder in own} == {"1000"}


def test_members_of_a_vote_are_found_among_the_rows(tmp_path):
    """The vote names its members by their runs' folders, without their commands."""
    _, row = rows.find("combined/EmoBox-folds/vote-of-the-three")
    runs: plan.Plan = {}
    plan.cross_validation(mini(*rows.command(row), results=tmp_path), [2], None, runs)
    assert [folder.parents[1].name for folder in runs] == [
        *("combined_base", "combined_tiny", "combined_turn", "ensemble_combined")
    ]
    assert all(folder.parent.name == "fold2" for folder in runs)


SMALL = """paper,item,row,script,hparams,overrides,protocol,corpus
Park 2023,small,speaker,recipes/VoxCeleb1/train_speaker.py,hparams/speaker.yaml,--corpus ravdess,honest,ravdess
Park 2023,small,fused,recipes/IEMOCAP/train_fusion.py,hparams/fusion.yaml,"--corpus ravdess --dim 96 --speaker_best '!ref <results>/speaker_ravdess/fold<fold>/1000/best'",honest,ravdess
"""  # noqa: E501


def test_a_speaker_network_of_the_same_corpus_is_found_among_the_rows(tmp_path, monkeypatch):
    """The yaml's speaker phase is VoxCeleb1's, and the row names the run of another row."""
    (tmp_path / "RESULTS.csv").write_text(SMALL)
    monkeypatch.setattr(rows, "files", lambda: [tmp_path / "RESULTS.csv"])
    monkeypatch.setattr(plan, "_experiments", plan._experiments.__wrapped__)  # not the cached ones
    _, row = rows.find("park2023/small/fused")
    runs: plan.Plan = {}
    plan.cross_validation(mini(*rows.command(row), results=tmp_path), [3], None, runs)
    assert [folder.parents[1].name for folder in runs] == [
        *("speaker_ravdess", "emotion_ravdess", "fusion_ravdess")
    ]


def test_a_corpus_that_an_earlier_phase_needs_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("SER_VOXCELEB1", raising=False)
    command = ["recipes/IEMOCAP/train_fusion.py", "hparams/fusion.yaml", "--results", str(tmp_path)]
    with pytest.raises(InputError, match="speaker, .* trained on voxceleb1.*SER_VOXCELEB1=PATH"):
        plan.cross_validation([*command, "--data_folder", "/corpus"], [1], None, {})


def test_a_script_that_is_none_is_refused():
    for script, message in (("nowhere.py", "no script"), ("tools/benchmark.py", "no Brain")):
        with pytest.raises(InputError, match=message):
            plan.brain_of(Path(script))


def job(folder: Path, *, needs=(), code: str = "", done: bool = True) -> plan.Job:
    """A run of a line of Python that leaves what a recipe would."""
    lines = [f"import pathlib; f = pathlib.Path({str(folder)!r}); f.mkdir(parents=True)"]
    lines += [f"(f / 'results.json').write_text({RESULTS!r})", code]
    lines += [f"(f / {report.COMPLETE!r}).touch()"] if done else []
    return plan.Job(("-c", "\n".join(lines)), folder, tuple(needs), 3, folder.parents[2])


def jobs_of(*jobs: plan.Job) -> plan.Plan:
    return {job.folder: job for job in jobs}


def test_what_is_done_is_skipped_and_a_failure_stops_only_what_needs_it(tmp_path, capsys):
    one, two, three, four = (tmp_path / f"a/fold{k}/1" for k in range(1, 5))
    three.mkdir(parents=True)
    (three / "results.json").write_text(RESULTS)
    (three / report.COMPLETE).touch()
    mistake = "raise SystemExit('the corpus is not there')"
    runs = jobs_of(
        job(one, code=mistake),
        job(two, needs=[one]),
        job(three, code="raise SystemExit('it ran again')"),
        job(four, needs=[three]),
    )
    outcomes = campaign.run(runs, launchers.Local(jobs=2), tmp_path / "logs")
    assert [outcome.state for outcome in outcomes] == ["failed", "skipped", "there", "done"]
    assert campaign.failures(outcomes) == outcomes[:2]
    said = capsys.readouterr().out
    assert "a/fold1/1: FAILED, the corpus is not there (see " in said
    assert "a/fold2/1: SKIPPED, a/fold1/1 failed" in said
    assert "a/fold3/1: was done before, WA 50.00, UA 40.00" in said
    assert not two.exists()


def test_a_run_with_other_settings_is_not_the_one_that_is_asked_for(tmp_path):
    """It may go on to more epochs, or it is refused: the run itself tells which."""

    def asked(*more: str) -> plan.Job:
        runs: plan.Plan = {}
        words = mini(*EMOTION, "--lr", "0.1", "--head", "{dim: 96}", *more, results=tmp_path)
        (folder,) = plan.cross_validation(words, [1], None, runs)
        return runs[folder]

    first = asked("--max_epochs", "3")
    assert not first.there
    first.folder.mkdir(parents=True)
    path, tree, *_ = plan.command_line.parse(ROOT / EMOTION[0], first.words[1:])
    settings = plan.hp.resolve(tree, path)
    settings["targets"]["emotion"] = ["as", "the", "run", "found"]  # what nobody asked for
    (first.folder / "hyperparams.yaml").write_text(plan.hp.dump(settings))
    assert not first.there
    (first.folder / report.COMPLETE).touch()
    assert first.there and asked().there  # the second asks for no number of epochs
    for more in (
        ("--max_epochs", "5"),
        ("--lr", "0.2"),
        ("--precision", "bf16"),
        ("--head", "{dim: 48}"),
        ("--head", "!new:speechbrain_ser.models.heads.LinearHead"),
    ):
        assert not asked("--max_epochs", "3", *more).there
    assert asked("--max_epochs", "3", "--workers", "7", "--noprogressbar").there
    (first.folder / "hyperparams.yaml").write_text("{")
    assert not first.there


def test_a_line_tells_where_a_run_is(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "a/fold2/7"
    folder.mkdir(parents=True)
    log = "epoch: {0}, lr: 1.0e-05 - train loss: 1.5 - valid loss: 7.0e-01, valid WA: 55.5, {1}\n"
    monkeypatch.setattr(progress, "MINUTE", 0.0)
    line = progress.Line(plan.Job((), folder, (), 9, tmp_path))
    line.update()
    assert capsys.readouterr().out == "", "there is no epoch yet"
    (folder / "train_log.txt").write_text(
        log.format(1, "valid UA: 40.123") + log.format(2, "valid UA: 51.987")
    )
    for _ in range(3):
        line.update()
    assert capsys.readouterr().out == "a/fold2/7: epoch 2 of 9, UA 51.99\n"
    (folder / "train_log.txt").write_text("epoch: 1, lr: 0 - train loss: 1 - valid loss: 0.75\n")
    assert progress.so_far(folder) == (1, "loss 0.75")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    line = progress.Line(plan.Job((), folder, (), 9, tmp_path))
    line.update()
    line.close()
    shown = capsys.readouterr()
    assert shown.out == "" and "a/fold2/7:" in shown.err and "1/9" in shown.err
    assert "loss 0.75" in shown.err


def test_a_run_that_ends_well_without_its_results_has_failed(tmp_path):
    runs = jobs_of(job(tmp_path / "a/fold1/1", code="print('half')", done=False))
    (outcome,) = campaign.run(runs, launchers.Local(), tmp_path / "logs")
    assert (outcome.state, outcome.reason.split(" (")[0]) == ("failed", "half")


def test_local_runs_share_the_cores_and_not_more_than_jobs_go_at_a_time(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    count = f"open({str(tmp_path / 'trace')!r}, 'a').write"
    code = f"import os; {count}('+' + os.environ['OMP_NUM_THREADS']); {count}('-')"
    runs = jobs_of(*(job(tmp_path / f"a/fold{k}/1", code=code) for k in range(1, 6)))
    campaign.run(runs, launchers.Local(jobs=2), tmp_path / "logs")
    trace = (tmp_path / "trace").read_text()
    assert trace.count("+3") == trace.count("-") == 5
    assert not any(trace.replace("3", "").startswith("+++", i) for i in range(len(trace)))
    with pytest.raises(InputError, match="--jobs is 0"):
        launchers.Local(jobs=0)


def drive(root: Path) -> None:
    """A campaign of five runs."""
    runs = jobs_of(*(counted(root, fold) for fold in range(1, 6)))
    campaign.run(runs, launchers.Local(), root / "logs")


def counted(root: Path, fold: int) -> plan.Job:
    """A run that notes that it ran, and in fold 3 of the first time waits to be killed."""
    code = f"c = pathlib.Path({str(root)!r}) / 'ran'; n = c.read_text() if c.exists() else ''\n"
    code += f"c.write_text(n + '{fold}')\n"
    if fold == 3:
        code += "import time\nif '3' not in n: time.sleep(600)"
    made = job(root / f"a/fold{fold}/1", code=code)
    first, *others = made.words[1].split("mkdir(parents=True)")
    return dataclasses.replace(
        made, words=("-c", first + "mkdir(parents=True, exist_ok=True)" + others[0])
    )


def in_its_third_fold(root: Path) -> multiprocessing.process.BaseProcess:
    """A process with a campaign that waits to be killed."""
    driver = forked(drive, root)
    deadline = time.monotonic() + 60
    while not (root / "ran").exists() or (root / "ran").read_text() != "123":
        assert time.monotonic() < deadline and driver.is_alive()
        time.sleep(0.05)
    return driver


def test_a_campaign_killed_in_its_third_fold_goes_on_there(tmp_path):
    driver = in_its_third_fold(tmp_path)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.join()
    assert not report.is_complete(tmp_path / "a/fold3/1")
    drive(tmp_path)
    assert (tmp_path / "ran").read_text() == "123" + "345"  # 1 and 2 were done
    assert all(report.is_complete(tmp_path / f"a/fold{k}/1") for k in range(1, 6))


def test_terminated_it_ends_its_runs(tmp_path, capfd):
    driver = in_its_third_fold(tmp_path)
    driver.terminate()
    driver.join(30)
    assert driver.exitcode == 1 and "KeyboardInterrupt" in capfd.readouterr().err
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path / "a/fold3") not in found


def test_submitit_s_local_executor_runs_a_plan(tmp_path):
    pytest.importorskip("submitit")
    one, two = (tmp_path / f"a/fold{k}/1" for k in (1, 2))
    runs = jobs_of(job(one), job(two, needs=[one], code="raise SystemExit('no')"))
    launcher = launchers.Slurm(tmp_path / "slurm", {"timeout_min": 1}, cluster="local")
    outcomes = campaign.run(runs, launcher, tmp_path / "logs")
    assert [outcome.state for outcome in outcomes] == ["done", "failed"]
    with pytest.raises(InputError, match="submitit refuses .*--slurm takes its parameters"):
        launchers.Slurm(tmp_path / "slurm", {"no_such_parameter": 1}, cluster="local")


def test_a_local_ray_cluster_runs_a_plan(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match="no Ray cluster answers at auto .*ray start"):
        launchers.Ray()
    one, two = (tmp_path / f"a/fold{k}/1" for k in (1, 2))
    runs = jobs_of(job(one), job(two, needs=[one]))
    launcher = launchers.Ray("local")
    try:
        outcomes = campaign.run(runs, launcher, tmp_path / "logs")
    finally:
        launcher.stop()
    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert not ray.is_initialized()


def test_cross_validate_shows_the_table_of_its_runs(tmp_path, capsys):
    """Real runs of two folds, cut to an epoch of a tiny network; the second time they are there."""
    manifest = thinned(iemocap.prepare(synthesised.make("iemocap")))
    lines = ["path,emotion,speaker,session"]
    for entry in manifest.values():
        lines.append(f"{entry['wav']},{entry['emotion']},{entry['speaker']},{entry['session']}")
    (tmp_path / "few.csv").write_text("\n".join(lines))
    words = [*EMOTION, "--corpus", "table", "--data_folder", str(tmp_path / "few.csv")]
    words += ["--split", "!name:speechbrain_ser.data.splits.leave_one_session_out {}"]
    words += ["--results", str(tmp_path), "--encoder", str(TINY), "--workers", "0"]
    words += ["--dim", "16", "--max_epochs", "1", "--batch_size", "64", "--test_batch_size", "32"]
    words += ["--folds", "1,2", "--jobs", "2"]
    assert ser("cross-validate", *words) == 0
    said = capsys.readouterr().out
    assert "2 runs, 0 done" in said and "mean of folds" in said and "pooled folds" in said
    assert "emotion_few on table" in said and "4 speakers drawn again" in said
    scores = [
        json.loads((tmp_path / f"emotion_few/fold{k}/1000/results.json").read_text())
        for k in (1, 2)
    ]
    (line,) = [line for line in said.splitlines() if line.startswith("mean of folds")]
    assert f"{(scores[0]['UA'] + scores[1]['UA']) / 2:.2f}" in line
    assert ser("cross-validate", *words) == 0
    assert capsys.readouterr().out.count("was done before") == 2
    assert ser("cross-validate", *words, "--folds", "x") == 2
    assert "--folds is 'x'" in capsys.readouterr().err
    assert ser("cross-validate", "--folds", "1") == 2


def test_a_fold_that_one_seed_lacks_is_told_and_the_failure_too(tmp_path, capsys):
    from argparse import Namespace

    from test_summary import RUNS, made

    runs = {}
    for fold, seed, own, _ in RUNS[:3]:  # seed 2 has fold 1 only
        folder = made(tmp_path / "emotion", fold, seed, own)
        runs[folder] = plan.Job(("-c", ""), folder, (), 1, tmp_path)
    failing = job(tmp_path / "emotion/fold2/2", code="raise SystemExit('no corpus')")
    runs[failing.folder] = failing
    options = Namespace(launcher="local", jobs=1)
    assert cross_validate.execute(runs, list(runs), options) == 1
    said = capsys.readouterr().out
    assert "no table yet: the seeds have different folds (seed 1: 1 2; seed 2: 1)" in said
    assert "1 of 4 runs are not done:" in said and "FAILED, no corpus" in said


def test_rows_are_chosen_by_paper_table_and_name():
    assert len(reproduce.choose(["park2023"], "6", None)) == 16 + 2
    both = reproduce.choose(["gavali"], "3", None)
    assert both and both == reproduce.choose(["gavali"], "T4", None)
    assert {row["item"].partition(",")[0] for row in both.values()} == {"Tables 3 and 4"}
    assert {n.split("/")[1] for n in reproduce.choose(["park2023"], "F7a", None)} == {"F7a"}
    assert len(reproduce.choose([], None, None)) == len(rows.named())
    assert list(reproduce.choose([], None, ["s3-and-near"])) == [
        "wang2023/T1/s3-and-nearest-neighbours"
    ]
    with pytest.raises(InputError, match="no paper park2024: use park2023, "):
        reproduce.choose(["park2024"], None, None)
    with pytest.raises(InputError, match="no table 9: use T3, "):
        reproduce.choose(["park2023"], "9", None)


TABLES = {"park2023": 7, "pepino2021": 2, "gao2023": 4, "wang2023": 4, "gavali": 6}


@pytest.mark.parametrize(("paper", "count"), TABLES.items())
def test_every_table_of_every_paper_is_run_or_says_what_shows_it(paper, count):
    for number in range(1, count + 1):
        shown = rows.ELSEWHERE.get(paper, {}).get(f"T{number}")
        if shown is None:
            assert reproduce.choose([paper], str(number), None)
            continue
        for name in (str(number), f"T{number}", f"t{number}"):
            with pytest.raises(InputError, match=f"^Table {number} of {paper} {re.escape(shown)}$"):
                reproduce.choose([paper], name, None)
    with pytest.raises(InputError, match=f"there is no table {count + 1}"):
        reproduce.choose([paper], str(count + 1), None)


def test_what_is_a_benchmark_or_a_plot_says_its_command():
    for papers in (["park2023"], []):
        with pytest.raises(InputError, match="python tools/benchmark.py latency measures it"):
            reproduce.choose(papers, "7", None)
    with pytest.raises(InputError, match="Figure 9 of park2023 .* --figure park9 draws it"):
        reproduce.choose(["park2023"], "F9", None)
    with pytest.raises(
        InputError, match="Figure 4 of park2023 .* ser plot corpus --corpus iemocap"
    ):
        reproduce.choose(["park2023"], "F4", None)
    with pytest.raises(InputError, match="there is no table 7: use"):
        reproduce.choose(["gavali"], "7", None)


def test_the_check_of_a_row_takes_its_sizes_from_the_mini_preset():
    _, row = rows.find("gavali/by-actor-6-folds-of-4/hubert-x-large")
    words = reproduce.check(row)
    assert "--encoder" in words and "--dim" in words and "facebook" not in " ".join(words)
    assert "--checkpoint_gradients" not in words  # what makes the row stays as it is
    path = RECIPES / "RAVDESS" / row["hparams"]
    _, tree, *_ = plan.command_line.parse(
        ROOT / row["script"], [str(path), *shlex.split(row["overrides"]), *words]
    )
    assert tree["encoder"]["hidden_size"] == tree["dim"] == 96
    assert tree["checkpoint_gradients"] is True


def test_a_row_that_freezes_blocks_is_checked_with_as_many():
    _, row = rows.find("gao2023/T1/top-2-blocks")
    words = reproduce.check(row)
    assert "num_hidden_layers: 10" in words[words.index("--encoder") + 1]
    _, row = rows.find("gao2023/T1/cnn-lstm")
    assert not {"--encoder", "--dim"} & set(reproduce.check(row))


def test_list_tells_what_is_done_and_what_the_rest_costs(capsys, tmp_path):
    folder = tmp_path / "emotion_k2/fold3/1000"
    folder.mkdir(parents=True)
    facts = {"corpus": "iemocap", "fold": 3, "seed": 1000, "seconds": 1800.0}
    (folder / "results.json").write_text(json.dumps(facts))
    (folder / report.COMPLETE).touch()
    words = ["--row", "T3/emotion-arcface-k2", "--row", "T3/emotion-arcface-k3", "--list"]
    for encoder, hours in (("facebook/wav2vec2-base", "2.50"), ("another", "?")):
        (folder / "hyperparams.yaml").write_text(f"encoder: {encoder}\n")
        assert ser("reproduce", *words, "--results", tmp_path) == 0
        _, two, three, _ = capsys.readouterr().out.splitlines()
        assert two.split() == ["park2023/T3/emotion-arcface-k2", "71.14", "1", "of", "5", "2.00"]
        assert three.split()[-4:] == ["0", "of", "5", hours]
