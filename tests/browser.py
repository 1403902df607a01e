"""Chromium without a window, driven through its DevTools protocol over a pipe."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)


def found() -> str | None:
    """The browser's program, None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab. `requests` are the addresses that the page asked for."""

    def __init__(self, folder: Path, seconds: float = 120):
        self.seconds = seconds  # that a wait may last
        self.requests: list[str] = []
        self.number, self.rest, self.session = 0, b"", {}
        theirs, self.out = os.pipe()
        self.inp, back = os.pipe()
        # the browser reads commands at 3 and answers at 4
        theirs, back = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs, back))
        words = [found(), *OPTIONS, f"--user-data-dir={folder}", "--remote-debugging-pipe"]
        moves = [(os.POSIX_SPAWN_DUP2, theirs, 3), (os.POSIX_SPAWN_DUP2, back, 4)]
        log = (os.POSIX_SPAWN_OPEN, 2, str(folder / "log"), os.O_CREAT | os.O_WRONLY, 0o600)
        self.process = os.posix_spawn(
            words[0], [*words, "about:blank"], os.environ, file_actions=[*moves, log], setpgroup=0
        )
        os.close(theirs)
        os.close(back)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "DOM", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters) -> dict:
        """A command of the protocol, and its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **self.session}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def _receive(self) -> dict:
        deadline = time.monotonic() + self.seconds
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.inp], [], [], deadline - time.monotonic())
            assert ready, "the browser does not answer"
            self.rest += os.read(self.inp, 1 << 20)
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def run(self, script: str):
        """The value of a JavaScript expression on the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str):
        """The value of an expression, as soon as it is true."""
        deadline = time.monotonic() + self.seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script} on a page of {self.text()!r}"
            time.sleep(0.05)
        return value

    def text(self) -> str:
        return self.run("document.body.innerText")

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)

    def give(self, selector: str, path: Path) -> None:
        """Choose a file, as in the dialogue of a file input."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def drop(self, selector: str, path: Path) -> None:
        """Drag a file over the middle of an element, and let it go."""
        x, y = self.run(
            f"(b => [b.x + b.width / 2, b.y + b.height / 2])"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def look(self, path: Path, width: int = 1200, height: int = 900) -> None:
        """A picture of the page."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        picture = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def close(self) -> None:
        os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.out)
        os.close(self.inp)
