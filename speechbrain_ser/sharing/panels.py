"""What the page shows of a recording, as HTML: bars, and of a long one a timeline and segments."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import jinja2

from speechbrain_ser import output
from speechbrain_ser.results import canvas
from speechbrain_ser.sharing.emotions import Emotion, joined

TEMPLATES = Path(__file__).parent / "templates"
ROUND_SECONDS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # between ticks
MOST_TICKS = 6  # that a phone's width holds
SILENCE = "(silence)"

Ranges = Mapping[str, tuple[float, float]]  # number -> lowest, highest


@dataclass(frozen=True)
class Bar:
    """One emotion's probability, or one number on its range."""

    name: str
    told: str  # the value, in words
    share: float  # percent of the bar that is filled
    now: float
    low: float
    high: float
    look: str = ""  # attributes


def answer(emotion: Emotion, ranges: Ranges, unsure_below: float, note: str = "") -> str:
    """The label, and a bar for each emotion, the likeliest first, and each number on its range.

    unsure_below : the least probability of a label, a share
    note : what the bars are of
    """
    looks = _looks(list(emotion.probs))
    emotions = [
        Bar(name, f"{100 * p:.0f} %", 100 * p, 100 * p, 0, 100, looks[name])
        for name, p in sorted(emotion.probs.items(), key=lambda pair: -pair[1])
    ]
    numbers = [
        Bar(name, _told(value, low, high), 100 * (value - low) / (high - low), value, low, high)
        for name, value in emotion.values.items()
        for low, high in [ranges[name]]
    ]
    unsure = emotion.probs and max(emotion.probs.values()) < unsure_below
    return _filled(
        "answer.html",
        label=emotion.label or "",
        note=note,
        unsure=f"no emotion reaches {100 * unsure_below:.0f} %" if unsure else "",
        emotions=emotions,
        numbers=numbers,
    )


def timeline(hops: Sequence[Emotion], labels: Sequence[str], ranges: Ranges) -> str:
    """A figure of a long recording whose segments play where they are clicked, and their table.

    hops : the emotion of each step, in order and without gaps
    """
    labels = [labels[at] for at in canvas.order(labels)]
    looks = _looks(labels)
    start, end = hops[0].start, hops[-1].end
    segments = joined(hops)
    content = table(segments, labels, ranges).encode(errors="backslashreplace")
    return _filled(
        "timeline.html",
        start=start,
        end=end,
        looks=looks,
        strip=segments if labels else [],
        stack=[(looks[label], area) for label, area in areas(hops, labels)],
        lines=[
            {"name": name, "low": low, "high": high, "line": line(hops, name, low, high)}
            for name, (low, high) in ranges.items()
        ],
        silent="".join(
            f"M{run[0].start:g} 0H{run[-1].end:g}V1H{run[0].start:g}Z"
            for run in _runs(hops, heard=False)
        ),
        ticks=[(100 * (at - start) / (end - start), clock(at)) for at in ticks(hops)],
        segments=[
            {
                "start": part.start,
                "end": part.end,
                "name": _name(part),
                "when": f"{clock(part.start)} to {clock(part.end)}",
                "share": f"{100 * max(part.probs.values()):.0f} %" if part.probs else "",
                "values": [
                    _told(part.values[name], *ranges[name]) if part.values else ""
                    for name in ranges
                ],
            }
            for part in segments
        ],
        emotions=bool(labels),
        numbers=list(ranges),
        csv=base64.b64encode(content).decode(),
    )


def table(segments: Sequence[Emotion], labels: Sequence[str], ranges: Ranges) -> str:
    """The segments as csv: seconds, the emotion and its probability if there are any, the numbers.

    Of silence all but the times is empty.
    """
    head = ["start", "end", *(["emotion", "probability"] if labels else []), *ranges]
    rows = []
    for part in segments:
        row = [f"{part.start:.3f}", f"{part.end:.3f}"]
        if labels:
            row += [part.label or "", f"{max(part.probs.values()):.4f}" if part.probs else ""]
        rows.append(row + [f"{part.values[name]:.4f}" if part.values else "" for name in ranges])
    return output.as_csv(head, rows)


def areas(hops: Sequence[Emotion], labels: Sequence[str]) -> list[tuple[str, str]]:
    """label and path of its probability, stacked on the labels before it; y is 1 at the bottom."""
    found = []
    for number, label in enumerate(labels):
        path = ""
        for run in _runs(hops):
            tops = [1 - sum(part.probs[name] for name in labels[: number + 1]) for part in run]
            floors = [top + part.probs[label] for top, part in zip(tops, run, strict=True)]
            there = "".join(f"V{y:.4f}H{p.end:g}" for y, p in zip(tops, run, strict=True))
            back = reversed([*zip(floors, run, strict=True)])
            path += f"M{run[0].start:g} {floors[0]:.4f}{there}"
            path += "".join(f"V{y:.4f}H{part.start:g}" for y, part in back) + "Z"
        found.append((label, path))
    return found


def line(hops: Sequence[Emotion], name: str, low: float, high: float) -> str:
    """The path of a number within its range; y is 1 at the bottom, where it is lowest."""
    path = ""
    for run in _runs(hops):
        path += f"M{run[0].start:g} {1 - (run[0].values[name] - low) / (high - low):.4f}"
        for part in run:
            path += f"V{1 - (part.values[name] - low) / (high - low):.4f}H{part.end:g}"
    return path


def ticks(hops: Sequence[Emotion]) -> list[float]:
    """Round seconds within the recording, six at most."""
    start, end = hops[0].start, hops[-1].end
    fewest = (end - start) / MOST_TICKS
    step = next((s for s in ROUND_SECONDS if s > fewest), 3600 * (1 + fewest // 3600))
    return [n * step for n in range(int(start // step), int(end // step) + 1) if n * step >= start]


def clock(seconds: float) -> str:
    """Minutes and seconds, 1:05 or 1:05.5."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}".removesuffix(".0")


def css() -> str:
    """The page's style, with a class for each colour of the figures."""
    colours = [
        f".c{number} {{ --c: {colour}; --on: {'white' if _is_dark(colour) else 'black'}; }}"
        for number, colour in enumerate(canvas.COLOURS)
    ]
    return "\n".join([*colours, (TEMPLATES / "page.css").read_text(encoding="utf-8")])


def script() -> str:
    """What plays the segments, for the page's head."""
    return f"<script>{(TEMPLATES / 'page.js').read_text(encoding='utf-8')}</script>"


def _filled(template: str, **facts: object) -> str:
    """A template's HTML, in which all that is not the template's is words only."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return environment.from_string(text).render(facts)


def _looks(labels: Sequence[str]) -> dict[str, str]:
    """label -> class of its colour, paler where the colours begin again."""
    rounds, count = canvas.numbers(labels), len(canvas.COLOURS)
    return {
        label: f"c{number % count}"
        + (f" again{min(number // count, 2)}" if number >= count else "")
        for label, number in zip(labels, rounds, strict=True)
    }


def _runs(hops: Sequence[Emotion], heard: bool = True) -> list[list[Emotion]]:
    """Neighbours that were heard, or that were silent."""
    runs = groupby(hops, lambda part: bool(part.probs or part.values))
    return [list(run) for kind, run in runs if kind is heard]


def _name(part: Emotion) -> str:
    return part.label or ("" if part.values else SILENCE)


def _told(value: float, low: float, high: float) -> str:
    """A number in digits that suit its range: 3.4 of 1 to 7, 0.57 of 0 to 1."""
    return f"{value:.{0 if high - low >= 100 else 1 if high - low > 2 else 2}f}"


def _is_dark(colour: str) -> bool:
    """Whether white text is read better on it than black, by its luma."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 128
