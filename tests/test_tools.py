"""The tools: what they measure, draw and refuse."""

import csv
import json
from pathlib import Path

import benchmark
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from benchmarks import common, latency, memory, training
from benchmarks.training import OURS
from conftest import ser
from sklearn.metrics import silhouette_score

from speechbrain_ser.commands import plot_confusion
from speechbrain_ser.data import splits
from speechbrain_ser.data.audio import SpeechReader
from speechbrain_ser.data.corpora import iemocap, mini
from speechbrain_ser.models import saved


def table(text: str) -> list[list[str]]:
    """The cells of a printed markdown table, without the line under its header."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_latency_divides_a_batch_by_its_size(monkeypatch, capsys):
    def in_100_ms_per_second_of_speech(model, speech, precision, repeats, warm_up):
        return 100 * speech.shape[1] / 16_000, torch.zeros(1)

    monkeypatch.setattr(latency, "measure", in_100_ms_per_second_of_speech)
    benchmark.main(["latency", "--small", "--seconds", "3", "15", "--batches", "1", "8"])
    header, *rows = table(capsys.readouterr().out)
    assert header[1:5] == ["3 s, batch 1", "3 s, batch 8", "15 s, batch 1", "15 s, batch 8"]
    assert [row[1:5] for row in rows] == [["300.00", "37.50", "1500.00", "187.50"]] * 7
    paper = {row[0]: row[5:] for row in rows}
    assert paper["speaker"] == ["2.52", "13.08"]
    assert paper["emotion, k = 3"] == ["2.64", "13.84"]
    assert paper[latency.TWICE] == ["5.28", "27.26"] and paper["fused, k = 4"] == ["", ""]


def test_latency_measures_every_network_and_says_how_far_bf16_is_off(capsys):
    words = ["latency", "--small", "--seconds", "1", "--batches", "2", "--repeats", "1"]
    benchmark.main([*words, "--warm_up", "1", "--precision", "bf16"])
    text = capsys.readouterr().out
    rows = table(text)[1:]
    assert len(rows) == 7 and all(float(row[1]) > 0 and row[2] == "" for row in rows)
    off = float(text.partition("by at most ")[2].split()[0].rstrip("."))
    assert 0 < off < 0.1


def test_measure_is_the_median_of_the_timed_runs_only(monkeypatch):
    calls = []
    ticks = iter([1000.0, 3.0, 1.0, 2.0])  # a timed call: its milliseconds

    def clock(call):
        call()
        return next(ticks)

    monkeypatch.setattr(latency, "stopwatch", lambda device: clock)
    next(ticks)

    def model(speech, lens):
        calls.append(torch.is_inference_mode_enabled())
        return speech[:, :2]

    speech = torch.randn(2, 50)
    ms, logits = latency.measure(model, speech, "fp32", repeats=3, warm_up=2)
    assert (ms, calls) == (2.0, [True] * 5)
    assert torch.equal(logits, speech[:, :2])


def test_the_networks_are_table_7s():
    made = latency.networks(latency.SMALL, "exact")
    *single, twice = latency.PAPER
    assert twice == latency.TWICE
    assert list(made) == [*single, "fused, k = 4", twice]
    assert [made[name]().eval().one_cnn for name in list(made)[-2:]] == [True, False]
    assert [len(made[f"emotion, k = {k}"]().pooling.blocks) for k in (1, 4)] == [1, 4]
    fused = made["fused, k = 4"]()
    assert fused.speaker.encoder is not fused.emotion.encoder
    assert fused.speaker.head.centres.weight.shape == (1251, 96)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_latency_without_cuda_is_one_sentence(capsys):
    assert benchmark.main(["latency", "--device", "cuda"]) == 2
    assert "this machine has no CUDA device: use --device cpu" in capsys.readouterr().err


def shades(path: Path) -> int:
    """How many different colours a figure has: an empty one has few."""
    return len(np.unique(plt.imread(path).reshape(-1, 4).round(2), axis=0))


def rows_of(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_figure_8_leaves_plots_points_and_silhouettes(runs, tmp_path):
    models = [f"{runs}/{name}/fold1/1000/best" for name in ("emotion", "fusion")]
    words = ["--figure", "park8", "--best", *models, "--output_folder", str(tmp_path)]
    ser("plot", "embeddings", *words, "--parts", "valid", "test")
    manifest = json.loads((runs / "emotion/fold1/1000/manifest.json").read_text())
    parts = splits.leave_one_session_out(manifest, 1, labels=["angry", "happy", "sad", "neutral"])
    for letter in "ab":
        rows = rows_of(tmp_path / f"figure_park8{letter}.csv")
        assert [(r["id"], r["part"]) for r in rows] == [
            (utt_id, part) for part in ("valid", "test") for utt_id in parts[part]
        ]
        assert all(r["emotion"] == manifest[r["id"]]["emotion"] for r in rows)
        assert len({(r["x"], r["y"]) for r in rows}) > 0.9 * len(rows)
        assert shades(tmp_path / f"figure_park8{letter}.png") > 20, "a colour for each emotion"
    summary = json.loads((tmp_path / "figure_park8b.json").read_text())
    assert "mini-iemocap, fold 1" in summary["title"]
    trained = saved.load(models[1])
    with torch.inference_mode():  # in one padded batch, where the tool runs them one by one
        speech = [trained["reader"](entry["wav"]) for entry in parts["test"].values()]
        lengths = torch.tensor([len(item) for item in speech])
        batch = torch.nn.utils.rnn.pad_sequence(speech, batch_first=True)
        embedding = trained["model"].embed(batch, lengths / lengths.max())
    for field, value in summary["silhouette"]["test"].items():
        labels = [entry[field] for entry in parts["test"].values()]
        expected = silhouette_score(embedding.numpy(), labels, metric="cosine")
        assert value == pytest.approx(expected, abs=1e-3)


def test_the_colours_are_those_of_the_model_s_answers(runs, tmp_path):
    best = runs / "emotion/fold1/1000/best"
    words = ["--parts", "test", "--colour", "predicted", "--title", "", "--format", "pdf"]
    assert ser("plot", "embeddings", "--model", best, "--output_folder", tmp_path, *words) == 0
    rows = rows_of(tmp_path / "embeddings.csv")
    manifest = json.loads((best.parent / "manifest.json").read_text())
    trained = saved.load(best)
    with torch.inference_mode():
        for row in rows:
            speech = trained["reader"](manifest[row["id"]]["wav"]).unsqueeze(0)
            number = int(trained["model"](speech, torch.ones(1)).argmax())
            assert row["predicted"] == trained["labels"][number]
    assert rows and (tmp_path / "embeddings.pdf").read_bytes().startswith(b"%PDF")
    summary = json.loads((tmp_path / "embeddings.json").read_text())
    assert summary["title"] == "embeddings: emotion/fold1/1000, mini-iemocap, fold 1"  # no path


@pytest.mark.slow
def test_figure_6_leaves_out_the_short_recordings_of_another_corpus(
    runs, tmp_path, capsys, without_corpora
):
    words = ["--figure", "park6", "--model", f"{runs}/speaker/fold1/1000/best"]
    words += ["--corpus", "iemocap", "--output_folder", str(tmp_path)]
    ser("plot", "embeddings", *words, "--min_seconds", "1.6", "1.8")
    assert "this is synthesised speech" in capsys.readouterr().out
    manifest = iemocap.prepare(mini.make("iemocap"))
    for letter, least in (("a", 1.6), ("b", 1.8)):
        rows = rows_of(tmp_path / f"figure_park6{letter}.csv")
        expected = [utt_id for utt_id, e in manifest.items() if e["duration"] >= least]
        assert [row["id"] for row in rows] == expected
        assert {row["part"] for row in rows} == {"all"}
    assert len(expected) < len(manifest)
    points = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    assert np.isfinite(points).all()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--figure", "park8"], "figure park8 shows 2 models"),
        (["--colour", "mood"], "not every recording has the field 'mood'"),
        (["--run", "nowhere"], "nowhere is no run folder"),
        (["--corpus", "iemocap"], "--corpus iemocap has no parts of its own: use --parts all"),
        (["--corpus", "imocap", "--parts", "all"], "corpus 'imocap' is unknown: use one of"),
        (["--min_seconds", "60"], "0 recordings last 60 s or more"),
    ],
)
def test_plots_refuse_in_one_sentence(runs, capsys, words, sentence):
    assert ser("plot", "embeddings", "--model", f"{runs}/emotion/fold1/1000/best", *words) == 2
    assert sentence in capsys.readouterr().err


def test_confusions_are_counted_over_an_experiment_s_folds(tmp_path, capsys, monkeypatch):
    for fold, confusion in ((1, [[3, 1], [0, 4]]), (2, [[1, 1], [1, 1]]), (3, [[0, 9], [9, 0]])):
        folder = tmp_path / f"knn/fold{fold}/1000"
        folder.mkdir(parents=True)
        results = {"labels": ["a", "b"], "confusion": confusion, "corpus": "mini-iemocap"}
        (folder / "results.json").write_text(json.dumps(results | {"fold": fold, "seed": 1000}))
        if fold < 3:  # the third has not ended
            (folder / ".complete").touch()
    counts, labels, title = plot_confusion.pooled(tmp_path / "knn")
    assert (counts.tolist(), labels) == ([[4, 2], [1, 5]], ["a", "b"])
    assert title == "knn on mini-iemocap, folds 1 2, seed 1000: WA 75.0, UA 75.0"
    ser("plot", "confusion", tmp_path / "knn", "--output_folder", tmp_path / "figures")
    assert shades(tmp_path / "figures/knn_confusion.png") > 5
    assert ser("plot", "confusion", tmp_path / "figures") == 2
    assert "holds no complete run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (
            ["probe", "--small", "--recordings", "4"],
            ["filling the store, once", "an epoch with the encoder", "an epoch from the store"],
        ),
        (
            ["inference", "--small", "--recordings", "3", "--batch_sizes", "3"],
            [
                "SpeechBrain's loop",
                "classify_files, batch 3",
                "bf16, classify_files, batch 3",
                "ser annotate, one part",
            ],
        ),
        (
            ["long", "--small", "--minutes", "0.1"],
            ["Hugging Face's pipeline", "classify_long", "classify_long, bf16"],
        ),
        (
            ["whisper", "--small", "--recordings", "2", "--batch_size", "2"],
            [
                "Hugging Face, padded to 30 s",
                "Encoder, padding: thirty_seconds",
                "Encoder, padding: exact",
                *("Hugging Face, padded to 30 s", "ours, at its own length"),
                *("+ cache of the frozen blocks", "+ bf16"),
            ],
        ),
        (
            ["training", "--small", "--recordings", "6", "--batch_size", "3", "--batches", "1"],
            ["SpeechBrain's recipe", "Hugging Face's classifier", *OURS],
        ),
    ],
)
def test_a_benchmark_has_a_row_for_each_way(words, names, capsys):
    benchmark.main(words)
    rows = [row for row in table(capsys.readouterr().out) if not row[1][:1].isalpha()]
    assert [row[0] for row in rows] == names
    assert all(float(row[1]) > 0 for row in rows)


def test_the_benchmark_s_durations_are_iemocap_s(tmp_path, monkeypatch):
    monkeypatch.setattr(common.soundfile, "write", lambda *_: None)
    seconds = [row["duration"] for row in common.recordings(tmp_path, 4000).values()]
    assert np.mean(seconds) == pytest.approx(4.55, rel=0.05)
    assert np.std(seconds) == pytest.approx(3.23, rel=0.1)
    assert 0.58 <= min(seconds) and max(seconds) <= 34.1


def test_an_epoch_trains_every_batch_once(tmp_path, monkeypatch):
    options = benchmark.parser().parse_args(["training", "--small", "--batch_size", "2"])
    options.workers = options.batches = 0
    manifest = common.recordings(tmp_path, 5, 0.6)
    assert {entry["duration"] for entry in manifest.values()} == {0.6}
    seen = []

    class Sum(torch.nn.Linear):
        def forward(self, speech, lens):
            seen.append(len(speech))
            return super().forward(speech[:, :4])

    loader = training.loader_of(manifest, SpeechReader(), options, "bucketed")
    model = Sum(4, 4)
    before = model.weight.clone()
    assert training.epoch(model, model, loader, torch.device("cpu"), "bf16") > 0
    assert seen[0] == seen[1] and sum(seen[1:]) == 5 and not torch.equal(model.weight, before)


def test_timed_batches_are_spaced_by_length():
    manifest = {f"{i:02}": {"duration": float(i)} for i in range(40)}
    batches = [[2 * i, 2 * i + 1] for i in range(20)][::-1] + [[39]]
    chosen = training.SomeBatches(batches, manifest, 4, 2)
    warm_up, *timed = chosen
    assert timed == [[4, 5], [14, 15], [24, 25], [34, 35]] and len(chosen) == 5
    assert warm_up == timed[0]
    assert chosen.ids[0] == ["04", "05"]


def test_memory_knows_the_published_networks(capsys):
    options = benchmark.parser().parse_args(["memory", "--small"])
    name, batch, seconds, precision, *_, peak = memory.step("two_stage", options)
    assert (name, batch, seconds, precision) == ("two_stage", "16", "20.0", "fp32")
    assert 0.2 < float(peak) < 30
    shapes = {name: memory.settings(name, small=False) for name in memory.NAMES}
    assert shapes["fusion"]["speaker"]["head"]["labels"][-1] == "1250"
    assert shapes["member"]["dim"] == 1024 and shapes["supcon"]["batch_size"] == 12
    assert shapes["hubert_xlarge"]["dim"] == 1280
    assert shapes["hubert_xlarge"]["checkpoint_gradients"] is True
    encoder = memory.settings("whisper_large", small=False, lora=8)["model"]["encoder"]
    assert (encoder["source"]["d_model"], encoder["lora"]["rank"]) == (1280, 8)


def test_all_runs_every_benchmark(monkeypatch, capsys):
    ran = []
    for name, module in benchmark.BENCHMARKS.items():
        monkeypatch.setattr(module, "run", lambda options, name=name: ran.append((name, options)))
    benchmark.main(["all", "--quick"])
    assert [name for name, _ in ran] == list(benchmark.BENCHMARKS) == list(benchmark.QUICK)
    assert all(getattr(options, "device", "cpu") == "cpu" for _, options in ran)
    assert "## python tools/benchmark.py training --small" in capsys.readouterr().out
