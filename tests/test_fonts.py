"""Figures with labels that matplotlib's own font cannot draw."""

import warnings

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from speechbrain_ser.results import fonts, plots

CHINESE, KOREAN = "\u9ad8\u5174", "\uae30\uc068"
COUNTS = [[3, 1], [0, 5]]


def make_font(path, family: str, characters: str) -> None:
    """A font in which each of the characters is a square."""
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", *(f"uni{ord(c):04X}" for c in characters)]
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): name for c, name in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs fonts of these families, {family: characters}; else there is DejaVu alone."""
    own = [f for f in font_manager.fontManager.ttflist if f.name.startswith(("DejaVu", "Last"))]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    fonts._tell.cache_clear()

    def install(families: dict[str, str]) -> None:
        paths = [str(tmp_path / f"{family}.ttf") for family in families]
        for path, (family, characters) in zip(paths, families.items(), strict=True):
            make_font(path, family, characters)
        (tmp_path / "broken.ttf").write_text("no font")
        monkeypatch.setattr(
            font_manager, "findSystemFonts", lambda: [*paths, str(tmp_path / "broken.ttf")]
        )

    install({})
    yield install
    monkeypatch.undo()
    font_manager._get_font.cache_clear()


@pytest.fixture
def drawn(monkeypatch):
    """Draws a confusion matrix with these labels: the figure's texts and their fonts' families."""
    figures, print_figure = [], FigureCanvasAgg.print_figure

    def spy(canvas, *args, **options):
        figures.append(canvas.figure)
        return print_figure(canvas, *args, **options)

    monkeypatch.setattr(FigureCanvasAgg, "print_figure", spy)

    def draw(path, labels, title="title") -> dict:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # matplotlib's, a line for each missing glyph
            plots.confusion_matrix(COUNTS, labels, path, title)
        return {text.get_text(): text.get_fontfamily() for text in figures[-1].findobj(Text)}

    return draw


def test_a_font_that_has_the_characters_is_found(installed, drawn, tmp_path, caplog):
    installed({"Latin": "abc", "One": CHINESE[0], "Chinese": CHINESE + KOREAN[0], "Korean": KOREAN})
    families = drawn(tmp_path / "a.png", [CHINESE, KOREAN], "title " + CHINESE)
    for label in (CHINESE, KOREAN, "title " + CHINESE):
        assert families[label][0] == "sans-serif"  # first: Latin letters look as ever
        assert sorted(families[label][1:]) == ["Chinese", "Korean"]
    assert caplog.text == "" and (tmp_path / "a.png").is_file()


def test_without_such_a_font_a_sentence_says_what_to_install_once(
    installed, drawn, tmp_path, caplog
):
    installed({"Chinese": CHINESE})
    for _ in range(2):
        families = drawn(tmp_path / "a.png", [f"{CHINESE}\n", KOREAN])
    assert "Chinese" in families[KOREAN]
    (record,) = caplog.records
    said = record.getMessage()
    assert f"boxes for {KOREAN}, which no font here has: install" in said
    assert "fonts-noto-cjk" in said


def test_labels_of_the_own_font_are_left_alone(installed, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: 1 / 0)  # nothing is searched
    families = drawn(
        tmp_path / "a.png", ["z\u0142o\u015b\u0107", "\u0440\u0430\u0434\u043e\u0441\u0442\u044c"]
    )
    assert set(map(tuple, families.values())) == {("sans-serif",)}


@pytest.mark.parametrize("label", ["$x^$", "$x$", "a$b", r"\frac", "a_b^c"])
def test_a_label_is_no_formula(drawn, tmp_path, label, monkeypatch):
    parsed = []
    monkeypatch.setattr(
        "matplotlib.mathtext.MathTextParser.parse", lambda *a, **_: parsed.append(a)
    )
    families = drawn(tmp_path / "a.png", [label, "sad"], f"title {label} {label}")
    assert label in families and parsed == []
