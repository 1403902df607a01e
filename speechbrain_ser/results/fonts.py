"""Fonts for labels in any script: matplotlib draws boxes for what its own font lacks."""

import logging
import unicodedata
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

logger = logging.getLogger(__name__)
LAST_RESORT = "Last Resort"  # matplotlib's font of boxes: it has everything
HELP = (
    "install one that has (for Chinese, Japanese and Korean the package fonts-noto-cjk, for most "
    "other scripts fonts-noto-core), and draw again"
)


def suit(figure: Figure) -> None:
    """Give a figure's texts the installed fonts that have what their own font lacks.

    A warning names the characters that none has, and what to install.
    """
    texts = figure.findobj(Text)
    wanted = dict.fromkeys(c for text in texts for c in text.get_text() if _is_drawn(c))
    own = font_manager.findfont(font_manager.FontProperties())
    lacking = frozenset(wanted) - among(frozenset(wanted), own)
    if not lacking:
        return
    families: list[str] = []
    fonts = _installed()
    while lacking and fonts:
        best = max(fonts, key=lambda font: (len(among(lacking, font.fname)), *_plainness(font)))
        if not (found := among(lacking, best.fname)):
            break
        families.append(best.name)
        lacking -= found
    if lacking:
        _tell("".join(c for c in wanted if c in lacking))
        names = {font.name for font in font_manager.fontManager.ttflist}
        families += [name for name in names if name.startswith(LAST_RESORT)]
    for text in texts:
        text.set_fontfamily([*text.get_fontfamily(), *families])


@cache
def _tell(characters: str) -> None:
    logger.warning("Figures show boxes for %s, which no font here has: %s", characters, HELP)


def _is_drawn(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character)[0] != "C"


def _installed() -> list[font_manager.FontEntry]:
    """The fonts of this machine, also those that came after matplotlib made its list of them."""
    known = {str(font.fname) for font in font_manager.fontManager.ttflist}
    for path in sorted({*font_manager.findSystemFonts()} - known):
        try:
            font_manager.fontManager.addfont(path)
        except (OSError, RuntimeError, ValueError):  # of a kind that matplotlib does not read
            continue
    fonts = font_manager.fontManager.ttflist
    return [font for font in fonts if not font.name.startswith(LAST_RESORT)]


def _plainness(font: font_manager.FontEntry) -> tuple[bool, float]:
    """Larger for upright fonts of normal weight."""
    weight = font.weight
    number = font_manager.weight_dict[weight] if isinstance(weight, str) else weight
    return font.style == "normal", -abs(number - 400)


@cache
def among(characters: frozenset[str], path: str) -> frozenset[str]:
    """Those of the characters that a font draws; none where matplotlib cannot use it."""
    try:
        font = FT2Font(str(path))
        if not font.scalable:  # coloured bitmaps
            return frozenset()
        return frozenset(c for c in characters if font.get_char_index(ord(c)))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
