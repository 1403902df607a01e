"""What the page shows of a recording: bars, areas and lines as in the answers, and segments."""

import base64
import csv
import re

import numpy as np
import pytest

from speechbrain_ser.results import canvas
from speechbrain_ser.sharing import panels
from speechbrain_ser.sharing.emotions import Emotion, joined

LABELS = ["sad", "angry", "happy"]
RANGES = {"valence": (1.0, 7.0), "loudness": (-60.0, 0.0)}


def hop(start, probs=(), values=()):
    """Of one second; of silence without both."""
    named = dict(zip(LABELS, probs, strict=False))
    label = max(named, key=named.get) if named else None
    return Emotion(label, named, start, start + 1, dict(zip(RANGES, values, strict=False)))


HOPS = [
    hop(0, (0.7, 0.2, 0.1), (1.0, -60.0)),
    hop(1, (0.5, 0.2, 0.3), (4.0, -30.0)),
    hop(2),
    hop(3, (0.1, 0.2, 0.7), (7.0, 0.0)),
]
ALONE = [Emotion(None, {}, one.start, one.end, one.values) for one in HOPS]


def painted(path):
    """A path of rectangles M x y, V y H x, ... Z -> (x, y) points of its corners."""
    points = []
    for command, words in re.findall(r"([MVHZ])([^MVHZ]*)", path):
        numbers = list(map(float, words.split()))
        if command == "M":
            points.append(tuple(numbers))
        elif command == "V":
            points.append((points[-1][0], numbers[0]))
        elif command == "H":
            points.append((numbers[0], points[-1][1]))
    return points


def height(path, x):
    """Of the area over a place: by the rule of even crossings, on a fine grid of y."""
    points = [painted(part) for part in path.split("Z")[:-1]]
    inside = 0
    grid = (np.arange(1000) + 0.5) / 1000
    for polygon in points:
        crossings = []
        for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            if y0 == y1 and min(x0, x1) < x < max(x0, x1):
                crossings.append(y0)
        inside += sum(sum(y > c for c in crossings) % 2 for y in grid)
    return inside / len(grid)


def test_an_area_is_as_high_as_the_probability():
    for label, path in panels.areas(HOPS, LABELS):
        for part in HOPS:
            wanted = part.probs.get(label, 0.0)
            assert height(path, part.start + 0.5) == pytest.approx(wanted, abs=0.002)
    tops = [height(path, 0.5) for _, path in panels.areas(HOPS, LABELS)]
    assert sum(tops) == pytest.approx(1, abs=0.005)


def test_a_line_goes_through_the_numbers_and_stops_in_silence():
    corners = painted(panels.line(HOPS, "valence", 1.0, 7.0))
    found = {(x, y) for x, y in corners}
    assert {(0, 1.0), (1, 1.0), (1, 0.5), (2, 0.5), (3, 0.0), (4, 0.0)} == found
    assert panels.line(HOPS, "valence", 1.0, 7.0).count("M") == 2


def test_bars_of_emotions_and_of_numbers_on_their_ranges():
    html = panels.answer(HOPS[1], RANGES, 0.6, "mean")
    names = re.findall(r'<span class="name">(.*?)</span> <span class="value">(.*?)</span>', html)
    assert names[:3] == [("sad", "50 %"), ("happy", "30 %"), ("angry", "20 %")]
    assert names[3:] == [("valence", "4.0"), ("loudness", "-30.0")]
    assert re.findall(r"width: ([\d.]+)%", html) == ["50.00", "30.00", "20.00", "50.00", "50.00"]
    assert re.findall(r'valuemin="(.*?)" aria-valuemax="(.*?)"', html)[3:] == [
        ("1", "7"),
        ("-60", "0"),
    ]
    colours = re.findall(r'<li class="c(\d)">', html)
    assert [int(c) for c in colours] == [canvas.EMOTIONS.index(n) for n, _ in names[:3]]
    assert "no emotion reaches 60 %" in html
    assert "no emotion reaches" not in panels.answer(HOPS[1], RANGES, 0.4)
    alone = panels.answer(ALONE[0], RANGES, 0.0)
    assert "<h2>" not in alone and alone.count('role="meter"') == 2
    assert re.findall(r"width: ([\d.]+)%", alone) == ["0.00", "0.00"]


def rows_of(html):
    """The content of the table's rows: what each button plays, and the cells beside it."""
    found = []
    for row in re.findall(r"<tr>(<td><button.*?)</tr>", html, re.DOTALL):
        played = re.search(r'data-start="(.*?)" data-end="(.*?)"', row)
        found.append((*map(float, played.groups()), *re.findall(r"<td>([^<]*)</td>", row)))
    return found


def test_segments_play_and_are_told_as_they_are_in_the_csv():
    html = panels.timeline(HOPS, LABELS, RANGES)
    assert rows_of(html) == [
        (0, 2, "sad", "60 %", "2.5", "-45.0"),
        (2, 3, "(silence)", "", "", ""),
        (3, 4, "happy", "70 %", "7.0", "0.0"),
    ]
    strip = re.findall(r'<div class="([\w ]+)" style="flex-grow: ([\d.]+)" title="(\w+)"', html)
    assert strip == [("c2", "2", "sad"), ("silence", "1", "silence"), ("c1", "1", "happy")]
    content = base64.b64decode(re.search(r'csv;base64,(.*?)"', html)[1]).decode()
    head, *rows = csv.reader(content.splitlines())
    assert head == ["start", "end", "emotion", "probability", "valence", "loudness"]
    assert rows[0] == ["0.000", "2.000", "sad", "0.6000", "2.5000", "-45.0000"]
    assert rows[1] == ["2.000", "3.000", "", "", "", ""] and len(rows) == 3


def test_a_model_of_numbers_alone_has_lines_and_no_emotions():
    html = panels.timeline(ALONE, [], RANGES)
    assert rows_of(html)[:2] == [(0, 1, "1.0", "-60.0"), (1, 2, "4.0", "-30.0")]
    assert len(rows_of(html)) == len(joined(ALONE)) == 4
    assert html.count('class="panel line"') == 2 and "stack" not in html and "strip" not in html
    assert "emotion" not in html and "legend" not in html
    emotions = panels.timeline([hop(0, (0.7, 0.2, 0.1)), hop(1)], LABELS, {})
    assert "panel line" not in emotions and "stack" in emotions


def test_labels_and_numbers_are_words_only():
    odd = "<img src=x>"
    part = Emotion(odd, {odd: 0.9, "b": 0.1}, 0, 1, {odd: 0.5})
    for html in (
        panels.answer(part, {odd: (0, 1)}, 0.0, odd),
        panels.timeline([part], [odd, "b"], {odd: (0, 1)}),
    ):
        assert "&lt;img" in html and "<img" not in html


@pytest.mark.parametrize("seconds", [0.7, 11, 59, 61, 600, 7300, 90_000])
def test_ticks_are_round_few_and_inside(seconds):
    hops = [Emotion(None, {}, 0.0, seconds, {})]
    found = panels.ticks(hops)
    assert 1 <= len(found) <= panels.MOST_TICKS and found[0] == 0 and found[-1] <= seconds
    assert len(found) > 2 or seconds < 1


def test_clock():
    assert [panels.clock(s) for s in (0, 4.25, 59.97, 65.5)] == ["0:00", "0:04.2", "1:00", "1:05.5"]


def test_more_labels_than_colours_are_told_apart():
    labels = [f"l{number}" for number in range(20)]
    part = Emotion("l3", dict.fromkeys(labels, 0.05), 0, 1)
    html = panels.answer(part, {}, 0.0)
    looks = re.findall(r'<li class="(.*?)">', html)
    assert len(set(looks)) == 20


def test_every_colour_of_the_figures_is_in_the_style():
    css = panels.css()
    for number, colour in enumerate(canvas.COLOURS):
        assert f".c{number} {{ --c: {colour};" in css
    assert "#0072B2; --on: white" in css and "#E69F00; --on: black" in css
