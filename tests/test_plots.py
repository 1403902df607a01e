"""Plots: what is written in the figure, the numbers returned and the file left behind."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from speechbrain_ser.errors import InputError
from speechbrain_ser.results import canvas, curves, plots, tsne

LABELS = ["angry", "happy", "sad", "neutral"]


@pytest.fixture
def figures(monkeypatch):
    """The figures that were printed, to be read again."""
    printed = []
    print_figure = FigureCanvasAgg.print_figure

    def spy(canvas, *args, **options):
        printed.append(canvas.figure)
        return print_figure(canvas, *args, **options)

    monkeypatch.setattr(FigureCanvasAgg, "print_figure", spy)
    return printed


def texts(axes):
    return [text.get_text() for text in axes.texts]


def check_png(path, figure):
    """The only file of its folder, of the figure's size at 150 dpi, with something drawn in it."""
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    pixels = imread(path)  # [row, column, colour]
    width, height = figure.get_size_inches() * 150
    assert abs(pixels.shape[1] - width) <= 1 and abs(pixels.shape[0] - height) <= 1
    assert 0.01 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.9
    # nothing is cut off: the border of the figure stays white
    for border in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (border == 1).all()


def overlaps(figure, artists):
    """Pairs of texts that lie over each other."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [artist.get_window_extent(renderer) for artist in artists if artist.get_text()]
    return sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_confusion_matrix_shows_counts_and_percent_of_the_row(tmp_path, figures):
    counts = [[170, 25, 5, 29], [20, 190, 18, 50], [0, 0, 0, 0], [30, 70, 40, 1244]]
    path = tmp_path / "new" / "confusion.png"
    plots.confusion_matrix(counts, LABELS, path, "fold 1")
    axes = figures[0].axes[0]
    expected = []
    for row in counts:
        for count in row:
            if count:
                expected.append(f"{100 * count / sum(row):.1f}%\n{count:,}")
    expected.insert(8, "-")  # of the class without utterances, on the diagonal alone
    assert texts(axes) == expected
    assert [t.get_text() for t in axes.get_xticklabels()] == LABELS
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        "angry\nn = 229",
        "happy\nn = 278",
        "sad\nn = 0",
        "neutral\nn = 1,384",
    ]
    assert figures[0].get_suptitle() == "fold 1"
    check_png(path, figures[0])


@pytest.mark.parametrize("n", [2, 8, 16])
def test_confusion_matrix_is_legible(tmp_path, figures, n):
    labels = [f"surprised {i}" for i in range(n)]
    counts = np.full((n, n), 1234)
    plots.confusion_matrix(counts, labels, tmp_path / "confusion.png", "word " * 40)
    axes = figures[0].axes[0]
    assert not overlaps(figures[0], [*axes.texts, *axes.get_yticklabels()])
    check_png(tmp_path / "confusion.png", figures[0])


def test_confusion_matrix_of_speakers_is_a_heat_map(tmp_path, figures):
    counts = np.eye(31, dtype=int) * 3
    counts[4, 7] = 1
    plots.confusion_matrix(counts, [f"id{i}" for i in range(31)], tmp_path / "c.png", "speakers")
    axes = figures[0].axes[0]
    assert texts(axes) == []
    shown = axes.images[0].get_array()
    assert (shown[4, 4], shown[4, 7], shown[0, 0], shown[7, 4]) == (75, 25, 100, 0)
    check_png(tmp_path / "c.png", figures[0])


def test_training_curves_draw_the_history(tmp_path, figures):
    history = [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "valid_loss": 2 / epoch,
            "valid_WA": 50.0 + epoch,
            "valid_UA": 40.0 + epoch,
            "lr": 1e-5,
        }
        for epoch in range(1, 8)
    ]
    del history[3]["valid_UA"]
    curves.training(history, tmp_path / "curves.png", "fold 1", best=5)
    loss, accuracy = figures[0].axes
    for axes, drawn in (
        (loss, {"training": "train_loss", "validation": "valid_loss"}),
        (accuracy, {"WA": "valid_WA", "UA": "valid_UA"}),
    ):
        lines = {line.get_label(): line for line in axes.lines}
        for label, key in drawn.items():
            expected = [(row["epoch"], row[key]) for row in history if key in row]
            assert lines[label].get_xydata().tolist() == [list(point) for point in expected]
        assert list(lines["chosen: epoch 5"].get_xdata()) == [5, 5]
        assert len(lines) == 3
    assert accuracy.get_ylabel() == "validation score (%)"
    check_png(tmp_path / "curves.png", figures[0])


def test_training_curves_of_one_epoch_without_scores(tmp_path, figures):
    curves.training([{"epoch": 1, "train_loss": 1.2}], tmp_path / "curves.png", "start")
    (axes,) = figures[0].axes
    assert [line.get_label() for line in axes.lines] == ["training"]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]
    check_png(tmp_path / "curves.png", figures[0])


def silhouette_by_loop(items, labels):
    """Rousseeuw's definition, item by item, with cosine distances."""
    unit = [item / np.sqrt((item * item).sum()) for item in items]
    values = []
    for i, label in enumerate(labels):
        distances = {}
        for j, other in enumerate(labels):
            if i != j:
                distances.setdefault(other, []).append(1 - unit[i] @ unit[j])
        if label not in distances:
            values.append(0.0)
            continue
        within = np.mean(distances.pop(label))
        nearest = min(np.mean(other) for other in distances.values())
        values.append((nearest - within) / max(nearest, within))
    return np.mean(values)


def embedding():
    generator = np.random.default_rng(0)
    emotion = [LABELS[i % 4] for i in range(40)]
    speaker = [f"Ses0{1 + i // 4 % 5}F" for i in range(40)]
    centres = generator.normal(size=(4, 6)) * 2
    items = centres[np.arange(40) % 4] + generator.normal(size=(40, 6))
    parts = ["train"] * 22 + ["valid"] * 8 + ["test"] * 10
    return items, {"emotion": emotion, "speaker": speaker}, parts


def test_tsne_panels_and_silhouettes(tmp_path, figures):
    items, groups, parts = embedding()
    result = tsne.draw(items, groups, tmp_path / "tsne.png", "fold 1", parts=parts)
    panels = iter(figures[0].axes)
    assert list(result["silhouette"]) == ["train", "valid", "test"]
    for part in ("train", "valid", "test"):
        rows = [i for i in range(40) if parts[i] == part]
        for group, labels in groups.items():
            expected = silhouette_by_loop(items[rows], [labels[i] for i in rows])
            value = result["silhouette"][part][group]
            assert value == pytest.approx(expected)
            axes = next(panels)
            assert axes.get_title() == (
                f"{part}: {group}, n = {len(rows)}, silhouette {expected:.3f}"
            )
            assert sum(len(points.get_offsets()) for points in axes.collections) == len(rows)
    legends = [axes.get_legend() for axes in figures[0].axes]
    assert [legend is not None for legend in legends] == [True, True] + [False] * 4
    assert [text.get_text() for text in legends[0].get_texts()] == LABELS
    renderer = FigureCanvasAgg(figures[0]).get_renderer()
    for legend in legends[:2]:
        box = legend.get_window_extent(renderer)
        assert not any(box.overlaps(axes.bbox) for axes in figures[0].axes)
    check_png(tmp_path / "tsne.png", figures[0])


def test_tsne_is_one_joint_embedding_of_the_seed(tmp_path, figures):
    items, groups, parts = embedding()

    def points(**options):
        tsne.draw(items, {"emotion": groups["emotion"]}, tmp_path / "t.png", "", **options)
        drawn = [p.get_offsets() for axes in figures[-1].axes for p in axes.collections]
        return sorted(map(tuple, np.concatenate(drawn).tolist()))

    joint = points()
    assert len(joint) == 40
    assert points(parts=parts) == joint == points(seed=1000)
    assert points(perplexity=5) != joint


def test_tsne_of_few_items_lowers_the_perplexity(tmp_path, figures):
    items, _, _ = embedding()
    result = tsne.draw(items[:7], {"emotion": ["sad"] * 7}, tmp_path / "tsne.png", "few")
    assert result["silhouette"]["all"]["emotion"] is None
    assert figures[0].axes[0].get_title() == "all: emotion, n = 7, silhouette not defined"
    assert "perplexity 2 " in figures[0].get_supxlabel().replace("\n", " ")
    check_png(tmp_path / "tsne.png", figures[0])


def test_groups_are_told_apart():
    styles = {tuple(sorted(canvas.style(number).items())) for number in range(40)}
    assert len(styles) == 40


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda path: plots.confusion_matrix([[1]], LABELS, path, ""), "4 labels"),
        (lambda path: curves.training([], path, ""), "no epoch"),
        (lambda path: curves.training([{"epoch": 1, "lr": 1.0}], path, ""), "no epoch"),
        (lambda path: tsne.draw(np.ones((4, 3)), {"e": "abcd"}, path, ""), "5 items"),
        (lambda path: tsne.draw(np.ones((9, 1)), {"e": "abcdefghi"}, path, ""), "2 dimensions"),
        (lambda path: tsne.draw(np.full((5, 3), np.nan), {"e": "abcde"}, path, ""), "NaN"),
        (lambda path: tsne.draw(np.eye(5), {"e": "abcd"}, path, ""), "4 labels of e"),
        (lambda path: tsne.draw(np.eye(5), {"e": "abcde"}, path, "", parts=["a"]), "of part"),
    ],
)
def test_mistakes_are_told_and_leave_no_file(tmp_path, call, said):
    with pytest.raises(InputError, match=said):
        call(tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_figure(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_text("old")

    def fail(canvas, file, **options):
        file.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(FigureCanvasAgg, "print_figure", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.confusion_matrix(np.eye(4), LABELS, path, "")
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]
    assert path.read_text() == "old"


def test_no_figure_stays_open_in_pyplot(tmp_path):
    plots.confusion_matrix(np.eye(4, dtype=int), LABELS, tmp_path / "figure.png", "")
    assert pyplot.get_fignums() == []


def test_no_utterance_leaves_a_cell_empty(tmp_path, figures):
    plots.confusion_matrix([[9, 0], [3, 7]], ["sad", "neutral"], tmp_path / "c.png", "")
    said = {text.get_position(): text.get_text() for text in figures[0].axes[0].texts}
    assert said == {(0, 0): "100.0%\n9", (0, 1): "30.0%\n3", (1, 1): "70.0%\n7"}


def test_classes_have_one_order_and_one_colour(tmp_path, figures):
    """Whatever order a corpus names them in, and beside whatever others."""
    plots.confusion_matrix(
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]], ["sad", "zeal", "anger"], tmp_path / "c.png", ""
    )
    axes = figures[0].axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["anger", "sad", "zeal"]
    assert [t.rpartition("\n")[2] for t in texts(axes)] == list("978312645")
    assert canvas.numbers(["sad", "happy"]) == [2, 1]
    assert canvas.numbers(["zeal", "anger", "joy", "angry"])[1] == 0
    assert canvas.numbers(["s1", "s2", "s3"]) == [0, 1, 2]
    assert len({*canvas.numbers(["anger", "angry", "a", "calm", "b"])}) == 5


@pytest.mark.parametrize(
    ("kind", "begin"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_a_figure_is_written_in_each_format_and_size(tmp_path, figures, kind, begin):
    path = tmp_path / f"figure.{kind}"
    plots.confusion_matrix(np.eye(4, dtype=int), LABELS, path, "its title", size=(4, 3))
    first = path.read_bytes()
    assert first.startswith(begin) and tuple(figures[0].get_size_inches()) == (4, 3)
    plots.confusion_matrix(np.eye(4, dtype=int), LABELS, path, "its title", size=(4, 3))
    assert path.read_bytes() == first  # no date in it
    if kind == "svg":
        assert b">its title<" in first  # text, not outlines


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match="a figure ends with .png, .pdf, .svg"):
        plots.confusion_matrix(np.eye(4, dtype=int), LABELS, tmp_path / "figure.jpg", "")


def history_of(**columns):
    return [
        {"epoch": 1 + i, **dict(zip(columns, row, strict=True))}
        for i, row in enumerate(zip(*columns.values(), strict=True))
    ]


def test_what_the_curves_are_of_is_said(tmp_path, figures):
    """A margin is in one of two panels; a test part is not called validation."""
    history = history_of(train_loss=[9.0, 7.0], valid_loss=[2.0, 1.5], valid_UA=[50.0, 50.1])
    curves.training(history, tmp_path / "c.png", "", margin=True)
    assert [axes.get_ylabel() for axes in figures[-1].axes] == [
        "training loss (with margin)",
        "validation loss (without margin)",
        "validation score (%)",
    ]
    curves.training(history, tmp_path / "c.png", "", heard="test part")
    loss, score = figures[-1].axes
    assert [line.get_label() for line in loss.lines] == ["training", "test part"]
    assert score.get_ylabel() == "test part score (%)"
    low, high = score.get_ylim()
    assert high - low >= 20 and loss.get_ylim()[0] == 0  # 0.1 points are no trend


def test_equal_curves_are_both_seen(tmp_path, figures):
    curves.training(history_of(valid_WA=[50, 60], valid_UA=[50, 60]), tmp_path / "c.png", "")
    below, above = figures[0].axes[0].lines
    assert below.get_linewidth() > above.get_linewidth()
    assert (below.get_linestyle(), above.get_linestyle()) == ("-", "--")


def test_weights_near_their_start_are_a_flat_line(tmp_path, figures):
    weights = 1 / 13 + 1e-5 * np.arange(-6, 7)
    plots.layer_weights(range(13), {"probe": [weights]}, tmp_path / "w.png", "")
    low, high = figures[0].axes[0].get_ylim()
    assert low == 0 and high >= 2 / 13
