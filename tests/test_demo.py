"""The page for recordings: what it says of them, and itself in a browser."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import browser
import httpx
import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
from test_inference import spoiled_files
from test_safety import GOOD

from speechbrain_ser import EmotionRecognizer
from speechbrain_ser import hparams as hp
from speechbrain_ser.data import decoding
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import seen
from speechbrain_ser.sharing import panels, recordings
from speechbrain_ser.sharing.emotions import joined

gradio = pytest.importorskip("gradio")
from speechbrain_ser.sharing import demo, space  # noqa: E402

RATE = 16_000
SEEN = [seen.entry("mini-iemocap", "salt", ["Ses01F", "Ses01M"], ["a", "b", "c"])]
RESULTS = {"protocol": "honest", "UA": 61.25, "labels": ["angry", "happy"]}


def model(folder, known=SEEN, seed=0):
    """An untrained model's folder, with the facts of a trained one."""
    folder.mkdir(parents=True)
    (folder / "hyperparams.yaml").write_text(GOOD)
    torch.manual_seed(seed)
    network = hp.build(hp.load_tree(GOOD))["model"]
    safetensors.torch.save_file(network.state_dict(), folder / "model.safetensors")
    (folder / "trained_on.json").write_text(json.dumps(known))
    (folder / "results.json").write_text(json.dumps(RESULTS))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [model(folder / name, seed=seed) for seed, name in enumerate(("first", "second"))]


@pytest.fixture(scope="module")
def recognizer(models):
    return EmotionRecognizer.from_hparams(models[0])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Recordings by their names, good and bad."""
    folder = tmp_path_factory.mktemp("recordings")
    noise = 0.3 * np.random.default_rng(0).standard_normal(15 * RATE)
    gap = noise.copy()
    gap[4 * RATE : 11 * RATE] = 0
    bad = noise[:RATE].copy()
    bad[99] = np.nan
    for name, samples in {
        **{"short": noise[: 2 * RATE], "long": noise, "gap": gap, "nan": bad},
        **{"silent": np.zeros(RATE), "long silence": np.zeros(15 * RATE), "empty": noise[:0]},
    }.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, "FLOAT")
    (folder / "cut.wav").write_bytes((folder / "short.wav").read_bytes()[:900])
    (folder / "text.wav").write_text("no audio")
    return folder


def test_a_short_recording_has_an_answer_alone(recognizer, files):
    whole, hops = demo.classify(recognizer, files / "short.wav")
    assert whole == recognizer.classify_file(files / "short.wav") and hops == []
    whole, hops = demo.classify(recognizer, files / "short.wav", longest=1)
    assert len(hops) == 2


def test_a_long_recording_has_the_mean_over_time_and_segments(recognizer, files, monkeypatch):
    whole, hops = demo.classify(recognizer, files / "gap.wav", window=2, hop=1)
    assert [hop.end for hop in hops] == list(range(1, 16))
    heard = [hop.probs for hop in hops if hop.label]
    assert 0 < len(heard) < 15 and (whole.start, whole.end) == (0, 15)
    for label in ("angry", "happy"):
        assert whole.probs[label] == pytest.approx(np.mean([part[label] for part in heard]))
    assert whole.label == max(whole.probs, key=whole.probs.get)
    monkeypatch.setattr(recognizer, "unsure_below", 1.0)
    assert demo.classify(recognizer, files / "gap.wav", window=2, hop=1)[0].label == "unsure"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("silent", "is silent: there is nothing to classify"),
        ("long silence", "is silent: there is nothing to classify"),
        ("empty", "holds no audio"),
        ("nan", "holds NaN"),
        ("cut", "is truncated"),
        ("text", "is not an audio file"),
        ("absent", "no such file"),
    ],
)
def test_a_bad_file_is_a_sentence_with_its_name_alone(recognizer, files, name, words):
    with pytest.raises(InputError, match=f"^{name}.wav.*{words}") as caught:
        demo.classify(recognizer, files / f"{name}.wav")
    assert str(files) not in str(caught.value)


def test_what_is_too_large_is_refused_by_its_header(recognizer, tmp_path, monkeypatch):
    """Before a sample of it is decoded."""
    path = tmp_path / "large.wav"
    soundfile.write(path, np.zeros((602 * 4_000, 1)), 4_000, "PCM_U8")
    monkeypatch.setattr(decoding, "blocks", None)
    monkeypatch.setattr(decoding, "windows", None)
    with pytest.raises(InputError, match="^large.wav lasts 602 s .* takes up to 10 minutes"):
        demo.classify(recognizer, path)
    monkeypatch.setattr(demo, "MOST_SECONDS", 700)
    monkeypatch.setattr(demo, "MOST_SAMPLES", 2_000_000)
    with pytest.raises(InputError, match="^large.wav lasts 602 s with 1 channels at 4000 Hz"):
        demo.classify(recognizer, path)
    monkeypatch.setattr(demo, "MOST_BYTES", 2**20)
    with pytest.raises(InputError, match="^large.wav is larger than 1 MiB"):
        demo.classify(recognizer, path)


@pytest.fixture(scope="module")
def show(models):
    """The function of the page that answers a recording."""
    blocks = demo.page({path.name: path for path in models})
    answers = next(one.fn for one in blocks.fns.values() if one.name == "show")
    return lambda path, *settings: answers("first", str(path), *(settings or (10, 4, 1)))


def test_a_request_ends_in_time(show, files, monkeypatch):
    """Between two batches, and in the middle of one."""
    monkeypatch.setattr(demo, "MOST_WAIT", 0.0)
    assert "this takes longer than" in show(files / "long.wav")[0]
    over = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(demo, "classify", lambda *_: over.wait(60))
        assert "this takes longer than" in show(files / "long.wav")[0]
    over.set()
    monkeypatch.undo()
    assert 'class="answer"' in show(files / "short.wav")[0]


def test_spoiled_recordings_are_sentences_on_the_page(show, tmp_path):
    answers = [show(path, 1, 1, 0.5) for path in spoiled_files(tmp_path, 40)]
    bad = [answer for answer, _ in answers if "notice problem" in answer]
    assert 12 < len(bad) < 40
    assert not any(str(tmp_path) in answer for answer, _ in answers)


def test_what_a_stranger_s_model_or_file_is_called_is_text(show, tmp_path):
    folder = model(tmp_path / "m", [seen.entry("<img src=x> ![](http://x)", "s", ["a"], ["b"])])
    assert "Trained on &lt;img src=x&gt; ![](http://x) (1 recordings" in demo.about(folder)
    (tmp_path / "<img src=x onerror=alert(1)>.wav").write_text("no audio")
    answer, _ = show(tmp_path / "<img src=x onerror=alert(1)>.wav")
    assert "&lt;img src=x onerror" in answer and "<img" not in answer


def environment_of(folder) -> dict:
    """Of a page with a free port, whose temporary files are in the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder.mkdir()
    return {**os.environ, "TMPDIR": str(folder), "GRADIO_SERVER_PORT": port}


def test_the_page_answers_to_its_own_name_and_a_killed_one_leaves_nothing(
    models, files, tmp_path, monkeypatch
):
    temporary = tmp_path / "temporary"
    words = [sys.executable, "-um", "speechbrain_ser", "demo", models[0], "--name", "Mine.example"]
    with subprocess.Popen(
        words, env=environment_of(temporary), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            address = process.stdout.readline().partition(" ")[0].rstrip("/")
            for host, status in (
                ("localhost", 200),
                ("127.0.0.1:1", 200),
                ("[::1]", 200),
                ("mine.example:80", 200),
                (socket.gethostname(), 200),
                ("evil.example", 421),
                ("localhost.evil.example", 421),
                ("127.0.0.1.evil.example:80", 421),
                ("[", 421),
                ("", 421),
            ):
                answer = httpx.get(f"{address}/config", headers={"Host": host})
                assert answer.status_code == status, host
            upload = f"{address}/gradio_api/upload"
            whole = (files / "short.wav").read_bytes()
            for content, status in ((whole, 200), (whole + bytes(demo.MOST_BYTES), 413)):
                answer = httpx.post(upload, files={"files": ("short.wav", content)}, timeout=60)
                assert answer.status_code == status
        finally:
            process.kill()
    assert list(temporary.rglob("short.wav"))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with recordings.folder() as first:
        assert not list(temporary.rglob("short.wav"))
        (first / "mine.wav").touch()
        with recordings.folder() as second:
            assert second != first and (first / "mine.wav").exists()  # in use: it stays
    assert not list(temporary.rglob("*.wav"))
    first.parent.chmod(0o755)
    with pytest.raises(InputError, match="is not this user's alone"), recordings.folder():
        pass


@pytest.fixture(params=["command", "space"])
def server(request, models, tmp_path):
    """The page of two models, served by the command or by a Space's folder: its address."""
    environment = environment_of(tmp_path / "temporary")
    if request.param == "command":
        words = ["-m", "speechbrain_ser", "demo", *models]
    else:
        words = [tmp_path / "space/app.py"]
        space.write({path.name: str(path) for path in models}, tmp_path / "space")
        environment["PYTHONPATH"] = ""
    log = tmp_path / "log"
    pipes = {"stdout": subprocess.PIPE, "stderr": open(log, "w"), "text": True}
    process = subprocess.Popen([sys.executable, "-u", *words], env=environment, **pipes)
    try:
        address = process.stdout.readline().partition(" ")[0]
        assert address, log.read_text()
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
        kept = [path for path in (tmp_path / "temporary").rglob("*") if path.suffix == ".wav"]
        assert kept == []  # no recording outlives the page
    finally:
        process.kill()
        process.stdout.close()
        pipes["stderr"].close()


def check(tab, emotion):
    """Wait until the page shows these probabilities."""
    shares = sorted(emotion.probs.items(), key=lambda pair: -pair[1])
    words = [emotion.label, *(part for k, v in shares for part in (k, f"{100 * v:.0f} %"))]
    shown = "document.querySelector('.answer').innerText.split(/\\s+/).join(' ')"
    tab.wait(f"document.querySelector('.answer') && {shown}.trim() == {' '.join(words)!r}")


PLAYER = """(() => {
  for (const part of document.querySelectorAll('#recording *')) {
    const audio = part.shadowRoot?.querySelector('audio');
    if (audio) return audio;
  }
})()"""


def check_playing(tab):
    """A segment plays by a key from its start to its end, another one by a tap on the figure."""
    buttons = "document.querySelectorAll('#timeline button')"
    tab.run("window.played = []")
    for kind in ("play", "pause"):
        tab.run(f"{PLAYER}.addEventListener('{kind}', e => played.push(e.target.currentTime))")
    tab.run(f"{buttons}[1].focus()")
    key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    for kind in ("keyDown", "keyUp"):
        tab.send("Input.dispatchKeyEvent", type=kind, **key)
    start, stop = tab.wait("played.length == 2 && played")
    wanted = tab.run(f"['start', 'end'].map(name => +{buttons}[1].dataset[name])")
    assert wanted == [pytest.approx(start, abs=0.1), pytest.approx(stop, abs=0.9)]
    assert stop >= wanted[1] and tab.run(f"{buttons}[1].ariaPressed") == "false"

    figure = "document.querySelector('#timeline .figure')"
    tab.run(f"{figure}.scrollIntoView({{block: 'center'}})")
    x, y = tab.run(f"(b => [b.right - 3, b.y + 20])({figure}.getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        tab.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    again = tab.wait("played[2]")
    assert again == pytest.approx(tab.run(f"+{buttons}[2].dataset.start"), abs=0.1)
    tab.wait(f"{buttons}[2].ariaPressed == 'true'")
    tab.run(f"{buttons}[2].click()")  # it stops, long before its end
    assert tab.wait("played[3]") < tab.run(f"+{buttons}[2].dataset.end")


@pytest.mark.skipif(not browser.found(), reason="there is no Chromium")
def test_a_dropped_file_s_emotions_are_read_from_the_page(
    server, models, recognizer, files, tmp_path
):
    (tmp_path / "profile").mkdir()
    tab = browser.Browser(tmp_path / "profile")
    try:
        tab.open(server)
        tab.wait("document.querySelector('#recording input[type=file]') && true")
        tab.wait("document.body.innerText.includes('knows nothing of people\\'s emotions')")
        tab.drop("#recording button", files / "short.wav")
        check(tab, recognizer.classify_file(files / "short.wav"))
        tab.run("document.querySelector('input[aria-label=Model]').focus()")
        tab.wait("document.querySelector('[role=option][aria-label^=second]') && true")
        tab.run(
            "document.querySelector('[role=option][aria-label^=second]').dispatchEvent("
            "new MouseEvent('mousedown', {bubbles: true}))"
        )
        other = EmotionRecognizer.from_hparams(models[1])
        check(tab, other.classify_file(files / "short.wav"))
        assert not tab.run("!!document.querySelector('#timeline .figure')")
        assert list((tmp_path / "temporary").rglob("short.wav"))

        tab.run("document.querySelector('#recording [aria-label=Clear]').click()")
        tab.wait("document.querySelector('#said')?.innerText.includes('appears here')")
        tab.give("#recording input[type=file]", files / "text.wav")
        said = tab.wait("document.querySelector('#said .problem')?.innerText")
        assert said.startswith("text.wav (8 bytes) is not an audio file")

        tab.run("document.querySelector('#recording [aria-label=Clear]').click()")
        tab.wait("document.querySelector('#recording input[type=file]') && true")
        tab.drop("#recording button", files / "gap.wav")
        tab.wait("document.querySelector('#timeline table') && true")
        rows = tab.run("document.querySelector('#timeline tbody').innerText").splitlines()
        segments = joined(demo.classify(other, files / "gap.wav")[1])
        assert len(rows) == len(segments) == 3
        for row, part in zip(rows, segments, strict=True):
            assert row.split()[:4] == [
                *(panels.clock(part.start), "to", panels.clock(part.end)),
                part.label or panels.SILENCE,
            ]
        check_playing(tab)
        size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        tab.send("Emulation.setDeviceMetricsOverride", **size)
        tab.wait("document.querySelector('#timeline .figure').clientWidth < 390")
        wide = "[...document.querySelectorAll('#timeline *')].filter(e => e.scrollWidth > 390)"
        assert tab.run(f"{wide}.map(e => e.className)") == []
        assert tab.run("document.documentElement.scrollWidth") <= 390
        away = [url for url in tab.requests if not url.startswith((server, "data:", "blob:"))]
        assert len(tab.requests) > 20 and away == []  # nothing is fetched from elsewhere
    finally:
        tab.close()
