"""A page on which people record or drop a file and see its emotions; needs the extra `demo`."""

import math
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from copy import copy
from functools import lru_cache
from html import escape
from pathlib import Path

import gradio as gr
import torch
from starlette.middleware import Middleware

from speechbrain_ser.data import decoding
from speechbrain_ser.errors import InputError
from speechbrain_ser.models import saved
from speechbrain_ser.output import printable
from speechbrain_ser.sharing import card, panels
from speechbrain_ser.sharing.emotions import Emotion, named
from speechbrain_ser.sharing.inference import EmotionRecognizer
from speechbrain_ser.sharing.own_host import OwnHost

LONG = 10.0  # seconds: longer recordings get a timeline
MOST_BYTES = 100 * 2**20  # of an upload
MOST_SECONDS = 600  # of a recording
MOST_SAMPLES = 2 * 48_000 * MOST_SECONDS  # of all channels, 230 MB decoded
MOST_WAIT = 120.0  # seconds that a visitor may keep the others waiting
KEPT = 2  # models in memory
CLEAN = (600, 3600)  # seconds: how often recordings are deleted, and how old ones
TITLE = "Emotions of speech"
EMPTY = "The answer appears here."
TOO_SLOW = f"this takes longer than the {MOST_WAIT:.0f} s of a request: give a shorter recording"
LIMITS = (
    "A label is an estimate of the emotion that was acted or heard in recordings like those of the "
    "training. It does not tell what a person feels, and is not meant for decisions about people. "
    "Recordings are processed where this page runs and sent nowhere else; they are deleted within "
    "70 minutes, and when the page is stopped; if it was killed, when it starts again."
)
FONT = ("ui-sans-serif", "system-ui", "sans-serif")  # the browser's own: nothing is fetched


class Hurried(EmotionRecognizer):
    """A recognizer that gives up between two batches when its time is over."""

    deadline = math.inf

    def classify_batch(
        self, speech: torch.Tensor, lens: torch.Tensor | None = None
    ) -> torch.Tensor:
        """InputError after the deadline."""
        if time.monotonic() > self.deadline:
            raise InputError(TOO_SLOW)
        return super().classify_batch(speech, lens)


def check(path: str | Path) -> float:
    """A recording's seconds; InputError for one too large to be decoded here, by its header."""
    if Path(path).is_file() and Path(path).stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES // 2**20} MiB: give a part of it")
    frames, rate, channels = decoding.header(path)
    if frames > MOST_SECONDS * rate or frames * channels > MOST_SAMPLES:
        raise InputError(
            f"{path} lasts {frames / rate:.0f} s with {channels} channels at {rate} Hz: this page "
            f"takes up to {MOST_SECONDS // 60} minutes of stereo at 48,000 Hz"
        )
    return frames / rate


def classify(
    recognizer: EmotionRecognizer,
    path: str | Path,
    longest: float = LONG,
    window: float = 4.0,
    hop: float = 1.0,
) -> tuple[Emotion, list[Emotion]]:
    """A file's emotion and numbers; beyond `longest` seconds their mean over time, and each hop's.

    Raises InputError for a bad file, named without its folder.
    """
    try:
        if check(path) <= longest:
            parts, hops = [recognizer.classify_file(path)], []
        else:
            parts = hops = list(recognizer.each_hop(path, window, hop))
    except InputError as error:
        told = str(error).replace(printable(str(path)), printable(Path(path).name))
        raise InputError(told) from None
    heard = [part for part in parts if part.probs or part.values]
    if not heard:
        raise InputError(f"{Path(path).name} is silent: there is nothing to classify")
    if not hops:
        return parts[0], []
    seconds = [part.end - part.start for part in heard]
    answers = [(*part.probs.values(), *part.values.values()) for part in heard]
    mean = [
        sum(long * value for long, value in zip(seconds, values, strict=True)) / sum(seconds)
        for values in zip(*answers, strict=True)
    ]
    known = recognizer.labels, path, hops[0].start, hops[-1].end
    return named(mean, *known, recognizer.unsure_below, [*recognizer.ranges]), hops


def page(models: Mapping[str, Path], device: str = "cpu") -> gr.Blocks:
    """The page, for models {name: local folder}; each is loaded when it is first asked."""

    @lru_cache(maxsize=KEPT)
    def recognizer(name: str) -> Hurried:
        return Hurried.from_hparams(models[name], run_opts={"device": device})

    def in_time(name: str, path: str, *settings: float) -> tuple[Hurried, Emotion, list[Emotion]]:
        """InputError when the time is over, be it in the middle of a batch."""
        answer: Future = Future()

        def work() -> None:
            try:
                model = copy(recognizer(name))  # with a deadline of its own
                model.deadline = deadline
                answer.set_result((model, *classify(model, path, *settings)))
            except Exception as error:
                answer.set_exception(error)

        deadline = time.monotonic() + MOST_WAIT

        threading.Thread(target=work, daemon=True).start()
        try:
            return answer.result(MOST_WAIT + 1)
        except FutureTimeout:
            raise InputError(TOO_SLOW) from None

    def show(name: str, path: str | None, *settings: float) -> list:
        hidden = gr.update(visible=False)
        if path is None:
            return [notice(EMPTY), hidden]
        try:
            model, whole, hops = in_time(name, path, *settings)
        except InputError as error:
            return [notice(str(error), "problem"), hidden]
        note = "mean over the recording" if hops else ""
        said = panels.answer(whole, model.ranges, model.unsure_below, note)
        figure = panels.timeline(hops, model.labels, model.ranges) if hops else ""
        return [said, gr.update(value=figure, visible=bool(hops))]

    first = next(iter(models))
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CLEAN) as blocks:
        gr.Markdown(f"# {TITLE}\nRecord, or drop a file: wav, flac, mp3, ogg.")
        with gr.Row():
            with gr.Column(min_width=320):
                recording = gr.Audio(
                    sources=["upload", "microphone"],
                    type="filepath",
                    label="Recording",
                    buttons=[],  # "share" would upload to the Hub
                    elem_id="recording",
                )
                model = gr.Dropdown(choices(models), value=first, label="Model")
                note = gr.HTML(about(models[first]), elem_classes="small")
                with gr.Accordion("Settings for long recordings", open=False):
                    settings = [
                        gr.Slider(1, 60, LONG, step=1, label="A timeline beyond (seconds)"),
                        gr.Slider(1, 15, 4, step=0.5, label="Window (seconds)"),
                        gr.Slider(0.5, 15, 1, step=0.5, label="Step of the window (seconds)"),
                    ]
            with gr.Column(min_width=320):
                said = gr.HTML(notice(EMPTY), elem_id="said")
        figure = gr.HTML(visible=False, elem_id="timeline")
        gr.Markdown(LIMITS, elem_classes="small")
        model.change(lambda name: about(models[name]), model, note, api_visibility="private")
        gr.on(
            [recording.change, model.change, *(slider.release for slider in settings)],
            show,
            [model, recording, *settings],
            [said, figure],
            trigger_mode="always_last",
            api_visibility="private",
        )
    return blocks


def notice(text: str, kind: str = "") -> str:
    """A sentence in the place of the answer, as HTML."""
    return f'<div class="notice {kind}" role="status">{escape(text)}</div>'


def choices(models: Mapping[str, Path]) -> list[tuple[str, str]]:
    """The list's entries, with the score of each model's test, and what they stand for."""
    scores = {name: card.score(folder) for name, folder in models.items()}
    return [(f"{name} ({score})" if score else name, name) for name, score in scores.items()]


def about(folder: Path) -> str:
    """What a model says of itself, as HTML in which its words are words only."""
    return f"<p>{escape(card.about(folder)).replace('**', '')}</p>"


def serve(
    models: Mapping[str, str],
    device: str = "cpu",
    host: str | None = None,
    port: int | None = None,
    names: Sequence[str] = (),
) -> None:
    """Show the page until Ctrl-C, for models {name: best/ folder or Hub id}.

    host, port : None: as gradio's environment says, else here and the first free from 7860
    names : host names that it answers to beside localhost, this machine's and addresses; a Hub
        Space, which anybody may read, answers to all
    Raises InputError for a model that is not there, or a port that is taken.
    """
    blocks = page({name: saved.find(source) for name, source in models.items()}, device)
    known = {"localhost", socket.gethostname(), *names, *([host] if host else [])}
    guard = [] if "SPACE_HOST" in os.environ else [Middleware(OwnHost, names=known)]
    try:
        blocks.launch(
            app_kwargs={"middleware": guard},
            max_file_size=MOST_BYTES,
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            run_history=False,  # the browser would keep the recordings
            theme=gr.themes.Default(primary_hue="blue", font=FONT, font_mono=FONT),
            css=panels.css(),
            head=panels.script(),
            footer_links=[],
            ssr_mode=False,
            quiet=True,
        )
    except OSError:
        raise InputError(f"{host} port {port} is taken or not there: give another --port") from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # recordings are deleted then, too
    print(f"{blocks.local_url}  (Ctrl-C ends it)", flush=True)
    blocks.block_thread()
