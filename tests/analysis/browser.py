"""A browser without a window, driven over a pipe by the DevTools protocol: no driver, no network."""

import fcntl
import json
import os
import select
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
PATIENCE = 120  # seconds without a word from the browser
# What a page is asked, in the browser's own words.
MEASURE = """(() => {
  const images = [...document.images], root = document.documentElement;
  return {
    overflow: Math.max(root.scrollWidth, document.body.scrollWidth) - window.innerWidth,
    width: window.innerWidth,
    images: images.length,
    loaded: images.filter(image => image.complete && image.naturalWidth > 0).length,
    background: getComputedStyle(document.body).backgroundColor,
    colour: getComputedStyle(document.body).color,
    scrolling: [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length,
  };
})()"""


def find_browser() -> str | None:
    """Return the path of Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Seen:
    """What a browser made of a page: measurements, complaints on its console, addresses it asked for."""

    facts: dict[str, Any]
    complaints: list[str]
    requests: list[str]


class Browser:
    """A running browser with a profile of its own; a context that ends it."""

    def __init__(self, program: str, profile: Path) -> None:
        ends = [*os.pipe(), *os.pipe()]
        # Copies above 9, so that the browser's 3 and 4 can be set without closing one of them.
        commands, self._write, self._read, answers = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in ends)
        for end in ends:
            os.close(end)
        shell = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
        with (profile.parent / f"{profile.name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", shell, program, *OPTIONS, f"--user-data-dir={profile}"],
                pass_fds=(commands, answers),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(commands)
        os.close(answers)
        self._buffer, self._number, self._events = b"", 0, list[dict[str, Any]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        self._process.wait(PATIENCE)

    def look(self, page: Path, width: int, scheme: str, screenshot: Path | None = None) -> Seen:
        """Open a file from disk in a new tab of some width and colour scheme (light or dark)."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        tab = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable", tab)
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", tab, **screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._ask("Emulation.setEmulatedMedia", tab, features=features)
        self._ask("Page.navigate", tab, url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._next())
        facts = self._ask("Runtime.evaluate", tab, expression=MEASURE, returnByValue=True)["result"]["value"]
        if screenshot is not None:
            self._save(tab, screenshot)
        self._ask("Target.closeTarget", targetId=target)
        requests = [e["params"]["request"]["url"] for e in self._of("Network.requestWillBeSent")]
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return Seen(facts, [json.dumps(e["params"]) for e in self._of(*methods)], requests)

    def _of(self, *methods: str) -> list[dict[str, Any]]:
        return [event for event in self._events if event["method"] in methods]

    def _save(self, tab: str, path: Path) -> None:
        import base64

        shot = self._ask("Page.captureScreenshot", tab, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _ask(self, method: str, tab: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command; return its result. What happens meanwhile is kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": tab} if tab else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        """Return the next message of the browser."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], PATIENCE)
            chunk = os.read(self._read, 1 << 16) if ready else b""
            if not chunk:
                raise RuntimeError(f"the browser ended or is silent (status {self._process.poll()})")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message
