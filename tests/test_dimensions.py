"""Numbers from the table to the answer: columns, runs, results over folds, inference, cards."""

import ast
import csv
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import RECIPES, run, ser, tiny

from speechbrain_ser import EmotionRecognizer, output
from speechbrain_ser.campaign import run as campaign
from speechbrain_ser.commands import classify
from speechbrain_ser.commands import demo as demo_command
from speechbrain_ser.data.corpora import table
from speechbrain_ser.errors import InputError
from speechbrain_ser.files import read_json
from speechbrain_ser.results import canvas, dimensions, metrics, report, scatter, summary
from speechbrain_ser.sharing import annotation, card
from speechbrain_ser.sharing.emotions import Emotion, joined, named

DIMENSIONS = RECIPES / "RAVDESS/hparams/dimensions.yaml"
FINE_TUNED = RECIPES / "IEMOCAP/hparams/dimensions.yaml"
OTHERS = [
    RECIPES / f"{name}.yaml"
    for name in (
        *("RAVDESS/hparams/member", "IEMOCAP/hparams/supcon"),
        *("IEMOCAP/hparams/emotion", "IEMOCAP/hparams/multitask"),
    )
]
COMBINED = RECIPES / "RAVDESS/hparams/combined.yaml"
VALENCE = "valence: {low: 1, high: 7}"
LOUD = "loudness: {low: 0, high: 1}"
STRENGTH = "strength: {low: 0, high: 1, values: {normal: 0, strong: 1}}"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A table of 6 speakers with 8 recordings each: annotators' counts, valence and loudness."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = np.random.default_rng(0)
    lines = ["path,speaker,happy,sad,Valence,loudness,strength"]
    for number in range(48):
        loudness = draw.uniform(0.05, 0.95)
        noise = draw.standard_normal(4_000 + 100 * (number % 7))
        soundfile.write(folder / f"{number}.wav", 0.2 * loudness * noise, 16_000)
        happy = number % 4
        valence = 1 + 6 * (number % 12) / 11
        numbers = f"{valence:.3f},{loudness:.4f},{'strong' if loudness > 0.5 else 'normal'}"
        lines.append(f"{number}.wav,s{number // 8},{happy},{3 - happy},{numbers}")
    (folder / "mine.csv").write_text("\n".join(lines) + "\n")
    return folder / "mine.csv"


def of_table(corpus, results, yaml, targets, *more):
    """A command line on the table."""
    words = tiny(yaml, results, "--corpus", "table", "--data_folder", str(corpus))
    words[words.index("--mini") + 1] = "False"
    layers = ["--layers", "[0, 1]"] if "layers:" in yaml.read_text() else []
    return [*words, "--workers", "0", *layers, "--targets", f"{{{targets}}}", *more]


@pytest.fixture(scope="module")
def results(tmp_path_factory, corpus):
    """Runs: texts as a number; shares and two numbers; and valence in two folds."""
    folder = tmp_path_factory.mktemp("results")
    run(DIMENSIONS, of_table(corpus, folder, DIMENSIONS, STRENGTH, "--variant", ""), whole=True)
    both = f"emotion: {{labels: [happy, sad], soft: True}}, {VALENCE}, {LOUD}"
    by_ccc = ("--select_by", "CCC_valence", "--variant", "_both")
    run(DIMENSIONS, of_table(corpus, folder, DIMENSIONS, both, *by_ccc), whole=True)
    for fold in "12":
        words = of_table(corpus, folder, DIMENSIONS, VALENCE, "--fold", fold)
        run(DIMENSIONS, [*words, "--variant", "_valence"], whole=True)
    return folder


def one(results, experiment):
    (folder,) = results.glob(f"{experiment}/fold1/*")
    return folder


def test_a_run_of_one_number(results):
    folder = one(results, "dimensions")
    told = read_json(folder / "results.json")
    rows = output.read_csv(folder / "predictions.csv")
    assert not {"WA", "UA", "confusion", "labels", "ECE"} & {*told}
    assert [*rows[0]] == ["id", "target", "prediction"]
    manifest = read_json(folder / "manifest.json")
    assert {(manifest[r["id"]]["strength"], float(r["target"])) for r in rows} == {
        ("normal", 0),
        ("strong", 1),
    }
    own, other = ([float(row[side]) for row in rows] for side in ("target", "prediction"))
    assert all(0 <= value <= 1 for value in other)
    assert told["CCC"] == told["CCC_strength"] == pytest.approx(metrics.concordance(own, other))
    assert (folder / "scatter.png").is_file() and not (folder / "confusion.png").exists()
    assert "valid CCC" in (folder / "train_log.txt").read_text()


def test_a_run_of_shares_and_numbers(results):
    folder = one(results, "dimensions_both")
    told, rows = read_json(folder / "results.json"), output.read_csv(folder / "predictions.csv")
    assert told["labels"] == ["happy", "sad"] and {"WA", "UA", "KL", "F1_shares"} <= {*told}
    assert told["CCC"] == pytest.approx((told["CCC_valence"] + told["CCC_loudness"]) / 2)
    assert [*rows[0]] == [
        *("id", "target", "prediction", "happy", "sad"),
        *("valence_target", "valence_prediction", "loudness_target", "loudness_prediction"),
    ]
    manifest = read_json(folder / "manifest.json")
    kl = []
    for row in rows:
        entry = manifest[row["id"]]
        assert row["target"] == entry["emotion"] == max(entry["ratings"], key=entry["ratings"].get)
        assert float(row["valence_target"]) == float(entry["valence"])
        counts = np.array([entry["ratings"].get(label, 0) for label in told["labels"]])
        share = counts / counts.sum()
        probs = np.array([float(row[label]) for label in told["labels"]])
        kl.append(sum(s * np.log(s / p) for s, p in zip(share, probs, strict=True) if s))
    assert told["KL"] == pytest.approx(np.mean(kl), abs=1e-5)


def test_a_fine_tuned_encoder_learns_emotions_and_numbers(corpus, tmp_path):
    """All kinds of targets, through the encoder, whose weights move; best/ answers as the run."""
    both = f"emotion: {{labels: [happy, sad], soft: True}}, {VALENCE}"
    more = ("--max_epochs", "1", "--variant", "")
    run(FINE_TUNED, of_table(corpus, tmp_path, FINE_TUNED, both, *more))
    folder = one(tmp_path, "dimensions_fine_tuned")
    told, rows = read_json(folder / "results.json"), output.read_csv(folder / "predictions.csv")
    assert {"UA", "KL", "CCC_valence"} <= {*told} and told["trainable"] > 1_000
    recognizer = EmotionRecognizer.from_hparams(folder / "best")
    manifest = read_json(folder / "manifest.json")
    for row in rows[:3]:
        emotion = recognizer.classify_file(manifest[row["id"]]["wav"])
        assert emotion.values["valence"] == pytest.approx(
            float(row["valence_prediction"]), abs=1e-4
        )
        assert emotion.probs["happy"] == pytest.approx(float(row["happy"]), abs=1e-4)


def test_iemocap_s_own_ratings_are_learned(tmp_path):
    run(FINE_TUNED, tiny(FINE_TUNED, tmp_path, "--max_epochs", "1"))
    told = read_json(one(tmp_path, "dimensions_fine_tuned") / "results.json")
    assert dimensions.names_of(told) == ["valence", "arousal", "dominance"]


@pytest.mark.parametrize("yaml", OTHERS, ids=lambda yaml: yaml.stem)
def test_other_recipes_learn_shares(yaml, corpus, tmp_path):
    shares = "emotion: {labels: [happy, sad], soft: True}"
    if yaml.stem == "multitask":
        shares += ", gender: [F, M], style: [impro, script]"
    words = of_table(corpus, tmp_path, yaml, shares, "--max_epochs", "1", "--variant", "")
    run(yaml, words)
    told = read_json(one(tmp_path, yaml.stem) / "results.json")
    assert {"UA", "KL", "F1_shares"} <= {*told}


@pytest.mark.parametrize("experiment", ["dimensions", "dimensions_both"])
def test_best_gives_the_run_s_probabilities_and_numbers(results, experiment):
    folder = one(results, experiment)
    manifest, rows = (
        read_json(folder / "manifest.json"),
        output.read_csv(folder / "predictions.csv"),
    )
    recognizer = EmotionRecognizer.from_hparams(folder / "best")
    found = recognizer.classify_files([manifest[row["id"]]["wav"] for row in rows])
    for row, emotion in zip(rows, found, strict=True):
        values = {name: float(row.get(f"{name}_prediction", row["prediction"]))
                  for name in recognizer.ranges}  # fmt: skip
        assert emotion.values == pytest.approx(values, abs=1e-5)
        assert emotion.probs == pytest.approx({n: float(row[n]) for n in emotion.probs}, abs=1e-5)
        assert emotion.label == (row["prediction"] if emotion.probs else None)
    assert len(found[0].values) == (1 if experiment == "dimensions" else 2)


def test_long_recordings_and_samples_have_numbers(results, tmp_path):
    folder = one(results, "dimensions")
    recognizer = EmotionRecognizer.from_hparams(folder / "best")
    draw = np.random.default_rng(0)
    samples = np.concatenate([0.1 * draw.standard_normal(32_000), np.zeros(48_000)])
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    parts = recognizer.classify_long(tmp_path / "long.wav", window=1, hop=1, smooth=1)
    assert [bool(part.values) for part in parts] == [True, True, False]  # silence is one segment
    assert all(part.label is None and part.probs == {} for part in parts)
    heard = recognizer.classify(samples[:32_000].astype("float32"), 16_000)
    assert [*heard.values] == ["strength"] and heard.label is None


def test_the_table_of_folds(results):
    runs = summary.runs_of(results / "dimensions_valence")
    assert len(runs) == 2
    over = summary.over_runs(runs)
    rows = [r for one in runs for r in output.read_csv(one["folder"] / "predictions.csv")]
    own, other = ([float(row[side]) for row in rows] for side in ("target", "prediction"))
    assert over["CCC_pooled"]["mean"] == pytest.approx(metrics.concordance(own, other))
    assert over["CCC"]["mean"] == pytest.approx(np.mean([one["CCC"] for one in runs]))
    text = summary.table(runs)
    assert "CCC" in text.splitlines()[0] and "WA" not in text
    joint = summary.table(summary.runs_of(results / "dimensions_both"))
    assert joint.splitlines()[0].split()[-4:] == ["KL", "F1_shares", "CCC_valence", "CCC_loudness"]


def folds(folder, noise, speakers="abcdef"):
    """Two folds of two seeds, written as runs do: one number, half of the speakers each."""
    draw = np.random.default_rng(0)
    targets = {f"{name}{i}": draw.uniform(1, 7) for name in speakers for i in range(5)}
    for seed in (1, 2):
        for fold in (1, 2):
            place = folder / f"fold{fold}" / str(seed)
            place.mkdir(parents=True)
            own = {u: x for u, x in targets.items() if (speakers.index(u[0]) % 2) == fold - 1}
            told = {u: x + noise * draw.standard_normal() for u, x in own.items()}
            lines = ["id,target,prediction", *(f"{u},{own[u]},{told[u]}" for u in own)]
            (place / "predictions.csv").write_text("\n".join(lines) + "\n")
            scores = dimensions.scores(
                ["valence"], *([[v] for v in x.values()] for x in (own, told))
            )
            facts = {"corpus": "table", "fold": fold, "seed": seed, "epochs": 3, "seconds": 6.0}
            (place / "results.json").write_text(json.dumps(scores | facts))
            entries = {u: {"wav": u, "speaker": u[0]} for u in own}
            (place / "manifest.json").write_text(json.dumps(entries))
            (place / ".complete").touch()
    return summary.runs_of(folder)


def test_intervals_and_comparisons_of_numbers(tmp_path):
    good, bad = folds(tmp_path / "good", 0.5), folds(tmp_path / "bad", 3.0)
    found = summary.predictions_of(good)
    assert found.metric == "CCC" and found.labels == [] and found.answers.shape == (2, 30)
    low, high = summary.interval(found)
    scores = [found.score(row) for row in found.answers]
    assert low < np.mean(scores) < high and high - low < 0.2
    text = summary.table(good)
    assert (
        f"CCC of valence of the pooled folds, 95 % interval over 6 speakers drawn again: {low:.3f}"
        in text
    )
    paired = summary.compare(summary.predictions_of(bad), found)
    assert paired["CCC"][1] == pytest.approx(np.mean(scores)) and paired["mcnemar"] == []
    assert 0 < paired["low"] <= paired["difference"] <= paired["high"] and paired["p"] < 0.01
    some = found.where(found.speakers == "a")
    assert len(some.ids) == 5 and some.metric == "CCC"


def test_shares_in_the_combined_method(corpus, tmp_path):
    """Of annotators with a column each; the labels are those of the training part."""
    lines = ["path,speaker,emotion,emotion_one,emotion_two"]
    for row in output.read_csv(corpus):
        first, second = ("happy" if int(row["happy"]) > n else "sad" for n in (0, 1))
        wav = corpus.with_name(row["path"])
        lines.append(f"{wav},{row['speaker']},{first},{first},{second}")
    (tmp_path / "rated.csv").write_text("\n".join(lines) + "\n")
    soft = of_table(tmp_path / "rated.csv", tmp_path, COMBINED, "emotion: {soft: True}")
    run(COMBINED, soft, whole=True)
    folder = one(tmp_path, "combined_rated")
    told, manifest = read_json(folder / "results.json"), read_json(folder / "manifest.json")
    assert told["labels"] == ["happy", "sad"] and told["KL"] >= 0
    counted = {tuple(sorted(entry["ratings"].items())) for entry in manifest.values()}
    assert counted == {(("happy", 2),), (("happy", 1), ("sad", 1)), (("sad", 2),)}


@pytest.mark.parametrize(
    "yaml, targets, sentence",
    [
        (
            "RAVDESS/hparams/combined",
            VALENCE,
            "combined.yaml learns emotion, which targets does not",
        ),
        (
            "RAVDESS/hparams/linear",
            "emotion: {labels: [happy, sad], soft: True}",
            "train_linear.py learns classes, and",
        ),
        ("RAVDESS/hparams/dimensions", "valence: {low: 2, high: 7}", "has valence 1.000, outside"),
        ("RAVDESS/hparams/dimensions", "arousal: {low: 1, high: 7}", "mine.csv lacks arousal: it "),
    ],
)
def test_what_a_recipe_does_not_learn(corpus, tmp_path, yaml, targets, sentence):
    yaml = RECIPES / f"{yaml}.yaml"
    words = of_table(corpus, tmp_path, yaml, targets)
    with pytest.raises(InputError, match=sentence):
        run(yaml, words, whole=True)


def test_the_command_s_forms(results, corpus, tmp_path, capsys):
    best, wav = one(results, "dimensions_both") / "best", str(corpus.with_name("3.wav"))
    values = EmotionRecognizer.from_hparams(best).classify_file(wav).values
    assert ser("classify", best, wav, "--json") == 0
    assert json.loads(capsys.readouterr().out)["values"] == pytest.approx(values)
    assert ser("classify", best, wav, "--csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert {name: float(row[name]) for name in values} == pytest.approx(values)
    assert ser("classify", best, wav) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[-3:] == ["valence", "loudness", "file"]
    assert line.split()[-3:-1] == [f"{value:.3f}" for value in values.values()]
    assert ser("classify", one(results, "dimensions") / "best", wav) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == [
        *("start", "end", "label", "strength", "file")
    ]
    out = tmp_path / "parts"
    annotation.begin(out, str(best), [wav], 1)
    annotation.Annotator(str(best), str(out), 1, 1, "cpu")({"item": 0})
    assert json.loads((out / "part-000000.jsonl").read_text())["values"] == pytest.approx(values)


def test_a_silent_file_has_no_numbers(capsys):
    for form in (classify.as_csv, classify.as_table, classify.as_json):
        form(["happy"], ["valence"])("x.wav", Emotion(None, {}, 0, 1))
    *_, csv_row, _, table_row, json_row = capsys.readouterr().out.splitlines()
    assert csv_row == "x.wav,0.000,1.000,,,"
    assert json.loads(json_row)["values"] == {}
    assert table_row.split() == ["0.0", "1.0", "-", "x.wav"]


def test_names_and_segments_of_numbers():
    emotion = named([0.2, 0.8, 3.5], ["sad", "happy"], "x.wav", numbers=["valence"])
    assert emotion == Emotion("happy", {"sad": 0.2, "happy": 0.8}, values={"valence": 3.5})
    assert named([3.5], [], "x.wav", 1, 2, numbers=["v"]) == Emotion(None, {}, 1, 2, {"v": 3.5})
    with pytest.raises(InputError, match="NaN or infinite"):
        named([0.2, 0.8, float("nan")], ["sad", "happy"], "x.wav", numbers=["valence"])
    parts = [Emotion("sad", {"sad": 1.0}, t, t + 1, {"v": float(t)}) for t in range(2)]
    assert joined(parts) == [Emotion("sad", {"sad": 1.0}, 0, 2, {"v": 0.5})]
    alone = [Emotion(None, {}, t, t + 1, {"v": 1.0} if t < 2 else {}) for t in range(4)]
    assert [(part.start, part.end) for part in joined(alone)] == [(0, 1), (1, 2), (2, 4)]


def test_a_model_of_numbers_is_shared_with_its_ranges(results, tmp_path):
    for experiment, told in (
        ("dimensions", "Numbers for speech: strength (0 to 1). Trained"),
        (
            "dimensions_both",
            "Emotions of speech: happy, sad. Numbers for speech: valence (1 to 7), ",
        ),
    ):
        folder, run_folder = tmp_path / experiment, one(results, experiment)
        assert ser("push", run_folder, "--export", folder, "--files", "3") == 0
        page = (folder / "README.md").read_text()
        scores = read_json(run_folder / "results.json")
        assert told in page and f"{scores['CCC']:.3f}" in page
        assert ("| emotion | recall |" in page) is (experiment == "dimensions_both")
        name = "strength" if experiment == "dimensions" else "valence"
        assert f"| {name} | {'0 to 1' if name == 'strength' else '1 to 7'} | " in page
        assert f"{scores[f'CCC_{name}']:.2f} for {name}" in card.about(folder)


def test_push_compares_the_numbers_too(results, tmp_path, capsys):
    folder = one(results, "dimensions")
    path = folder / "predictions.csv"
    whole = path.read_text()
    try:
        rows = whole.splitlines()
        rows[1] = f"{rows[1].rpartition(',')[0]},0.123"
        path.write_text("\n".join(rows) + "\n")
        assert ser("push", folder, "--export", tmp_path / "shared", "--files", "3") == 2
    finally:
        path.write_text(whole)
    assert "differ by" in capsys.readouterr().err


@pytest.mark.parametrize("experiment", ["dimensions", "dimensions_both"])
def test_a_graph_answers_numbers(results, experiment, tmp_path, capsys):
    """By the recognizer, by the program on its page, on the command line; with few labels, too."""
    folder, out = one(results, experiment), tmp_path / "out"
    assert ser("export", folder, "--out", out, "--files", "4") == 0
    table = capsys.readouterr().out.splitlines()[-4:]
    numbers = ["strength"] if experiment == "dimensions" else ["valence", "loudness"]
    assert all(f"CCC {name}" in table[0] for name in numbers)
    assert ("same label" in table[0]) is (experiment == "dimensions_both")
    wav = next(iter(read_json(folder / "manifest.json").values()))["wav"]
    own = EmotionRecognizer.from_hparams(folder / "best")
    graph = EmotionRecognizer.from_hparams(out / "model.onnx")
    assert graph.ranges == own.ranges and [*graph.ranges] == numbers
    wanted, found = own.classify_file(wav), graph.classify_file(wav)
    assert found.label == wanted.label and found.probs == pytest.approx(wanted.probs, abs=1e-4)
    assert found.values == pytest.approx(wanted.values, abs=1e-3)
    assert ser("classify", out, wav, "--json") == 0
    assert json.loads(capsys.readouterr().out)["values"] == pytest.approx(found.values)
    (program,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.S)
    shutil.copy(wav, out / "speech.wav")
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=out, capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == pytest.approx(found.probs | found.values, abs=1e-4)
    if experiment == "dimensions_both":
        some = {"labels": ["sad", "happy"]}
        wanted, found = (
            EmotionRecognizer.from_hparams(source, **some).classify_file(wav)
            for source in (folder / "best", out / "model.onnx")
        )
        assert found.probs == pytest.approx(wanted.probs, abs=1e-4)
        assert found.values == pytest.approx(wanted.values, abs=1e-3)


@pytest.mark.parametrize("experiment", ["dimensions", "dimensions_both"])
def test_the_page_shows_numbers(results, experiment, tmp_path):
    """Of a model of numbers alone, too: their mean over a long recording, and each hop's."""
    demo = pytest.importorskip("speechbrain_ser.sharing.demo", exc_type=ImportError)
    best = one(results, experiment) / "best"
    assert demo_command.find([str(best)]) == {f"{experiment}/fold1/{best.parts[-2]}": str(best)}
    recognizer = EmotionRecognizer.from_hparams(best)
    noise = np.random.default_rng(0).standard_normal(5 * 16_000)
    soundfile.write(tmp_path / "long.wav", 0.1 * noise, 16_000)
    whole, hops = demo.classify(recognizer, tmp_path / "long.wav", longest=2, window=1, hop=1)
    assert len(hops) == 5 and whole.end == 5 and bool(whole.label) is bool(recognizer.labels)
    for name in recognizer.ranges:
        assert whole.values[name] == pytest.approx(np.mean([hop.values[name] for hop in hops]))
    blocks = demo.page({"mine": best})
    show = next(one.fn for one in blocks.fns.values() if one.name == "show")
    said, figure = show("mine", str(tmp_path / "long.wav"), 2, 1, 1)
    for name in recognizer.ranges:
        assert f'aria-label="{name}"' in said and f'"caption">{name}<' in figure["value"]
    said, figure = show("mine", str(tmp_path / "long.wav"), 10, 1, 1)
    assert said.count('role="meter"') == len(recognizer.ranges) + len(recognizer.labels)
    assert not figure["visible"]


@pytest.fixture
def make(tmp_path):
    """What a table of these lines comes to; every path is one recording of its own."""
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", np.full(1600, 0.1), 16_000)

    def make(*lines, **options):
        (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
        return table.prepare(tmp_path / "mine.csv", **options)

    return make


def test_columns_of_numbers(make):
    lines = ("path,speaker,Arousal Mean,note", "a.wav,A,3.5,x", "b.wav,A,0,y")
    found = make(*lines, fields=["arousal_mean"])
    assert [row["arousal_mean"] for row in found.values()] == ["3.5", "0"]
    assert {row["emotion"] for row in found.values()} == {""} and "note" not in found["a"]
    with pytest.raises(InputError, match="mine.csv lacks emotion: it holds path"):
        make(*lines)
    with pytest.raises(InputError, match="mine.csv lacks emotion: it holds path"):
        make(*lines, fields=["emotion", "arousal_mean"])
    with pytest.raises(InputError, match="mine.csv lacks valence: it holds path"):
        make(*lines, fields=["valence"])
    with pytest.raises(InputError, match="line 3: arousal_mean is empty"):
        make(*lines[:2], "b.wav,A,,y", fields=["arousal_mean"])


def test_annotators_numbers_are_averaged(make):
    rows = ("a.wav,A,one,sad,1", "a.wav,A,two,sad,4", "a.wav,A,three,happy,2.5", "b.wav,A,x,sad,3")
    lines = ("path,speaker,annotator,emotion,valence", *rows)
    found = make(*lines, fields=["emotion", "valence"])
    assert [row["valence"] for row in found.values()] == ["2.5", "3"]
    assert found["a"]["ratings"] == {"happy": 1, "sad": 2} and found["a"]["emotion"] == "sad"
    alone = make("path,speaker,annotator,valence", "a.wav,A,x,1", "a.wav,A,y,2", fields=["valence"])
    assert alone["a"]["valence"] == "1.5" and alone["a"]["emotion"] == ""


def test_a_column_of_counts_for_each_emotion(make):
    lines = ("path,speaker,Happy,sad", "a.wav,A,2,1", "b.wav,A,0.25,0.75", "c.wav,A,1,1")
    found = make(*lines, shares=["happy", "sad"])
    assert {utt_id: row["emotion"] for utt_id, row in found.items()} == {"a": "happy", "b": "sad"}
    assert found["b"]["ratings"] == {"happy": 0.25, "sad": 0.75}
    with pytest.raises(InputError, match="has columns of happy, sad, and none of calm: each"):
        make(*lines, shares=["happy", "sad", "calm"])
    with pytest.raises(InputError, match="line 2: sad is 'x': use how many named it, or a share"):
        make("path,speaker,happy,sad", "a.wav,A,1,x", shares=["happy", "sad"])
    named = make("path,emotion,speaker", "a.wav,sad,A", shares=["happy", "sad"])
    assert "ratings" not in named["a"] and named["a"]["emotion"] == "sad"


def test_a_figure_of_numbers(tmp_path, monkeypatch):
    figures = []
    save = canvas.save
    monkeypatch.setattr(canvas, "save", lambda f, *rest: (figures.append(f), save(f, *rest)))
    draw = np.random.default_rng(0)
    own = draw.uniform(1, 7, 36)
    pairs = {"valence": (own, own + 0.1), "arousal": (own, draw.uniform(1, 7, 36))}
    for count, sets in ((8, 8), (9, 1)):
        speakers = [f"s{i % count}" for i in range(36)]
        scatter.numbers(pairs, speakers, tmp_path / "scatter.png", "a title")
        panels = figures[-1].axes
        assert len(panels) == 2 and all(len(axes.collections) == sets for axes in panels)
        colours = {tuple(one.get_facecolor()[0]) for one in panels[0].collections}
        assert len(colours) == sets
        points = np.concatenate([one.get_offsets() for one in panels[0].collections])
        assert sorted(points[:, 0]) == pytest.approx(sorted(own))
        assert panels[0].get_title() == f"valence: CCC {metrics.concordance(own, own + 0.1):.3f}"
        (line,) = panels[0].lines
        assert list(line.get_xdata()) == list(line.get_ydata()) == [own.min(), own.max() + 0.1]
        shown = [text.get_text() for legend in figures[-1].legends for text in legend.get_texts()]
        assert shown == ([f"s{i}" for i in range(count)] if sets > 1 else [])
    assert [path.name for path in tmp_path.iterdir()] == ["scatter.png"]


def test_points_of_few_targets_do_not_hide_each_other(tmp_path, monkeypatch):
    """Each stays by its own target, and keeps its answer; the scores are of the true targets."""
    figures = []
    monkeypatch.setattr(canvas, "save", lambda figure, *_: figures.append(figure))
    own = np.array([0.0, 1.0] * 20)
    answers = np.where(own > 0, 0.75, 0.25)  # all of one target would be one point
    scatter.numbers({"strength": (own, answers)}, ["s"] * 40, tmp_path / "scatter.png", "")
    (axes,) = figures[0].axes
    points = np.concatenate([np.asarray(one.get_offsets()) for one in axes.collections])
    assert len({*map(tuple, points.tolist())}) == 40
    assert abs(points[:, 0] - own).max() <= 0.03 and points[:, 1] == pytest.approx(answers)
    assert axes.get_title() == f"strength: CCC {metrics.concordance(own, answers):.3f}"
    assert axes.get_xlabel() == "target (each point moved a little)"


def test_a_run_s_line_and_end(results, capsys):
    folder = one(results, "dimensions")
    told = read_json(folder / "results.json")
    assert campaign.scores(folder).startswith(f"CCC {told['CCC']:.3f}")
    report.show(folder)
    head, cells, *rest = capsys.readouterr().out.splitlines()
    assert head.split() == ["corpus", "fold", "seed", "epochs", "CCC"]
    assert cells.split()[-1] == f"{told['CCC']:.3f}"
    assert any("scatter.png" in line for line in rest)


def test_the_list_of_experiments(results, tmp_path, capsys):
    assert ser("results", results) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "CCC" in head.split()
    (line,) = (line for line in lines if "dimensions_valence" in line)
    mean = np.mean([one["CCC"] for one in summary.runs_of(results / "dimensions_valence")])
    assert line.startswith("*") and f"{mean:.3f}" in line.split()
    assert ser("results", results, "--html", tmp_path / "report.html", "--listen", "0") == 0
    text = (tmp_path / "report.html").read_text()
    part = text[text.index('id="dimensions_valence"') :].partition("</details>")[0]
    runs = summary.runs_of(results / "dimensions_valence")
    scores = [f"{np.mean([run[f'{m}_valence'] for run in runs]):.3f}" for m in dimensions.METRICS]
    cells = "".join(f"<td>{cell}</td>" for cell in ("valence", *scores))
    assert f"CCC <b>{scores[0]}</b>" in part and f"<tr>{cells}</tr>" in part
    assert "<th>epochs</th><th>CCC</th></tr>" in part  # no empty columns of WA, UA and F1
    both = text[text.index('id="dimensions_both"') :].partition("</details>")[0]
    assert "<th>F1</th><th>CCC</th></tr>" in both and both.count("<td>loudness</td>") == 1
    assert ser("plot", "confusion", results / "dimensions_valence") == 2
    assert "holds runs that name no classes" in capsys.readouterr().err
