"""The demo in a process of its own, and a real browser in front of it.

The browser is Debian's Chromium, driven by Playwright: the one that people have where a whole journey is looked at,
else its headless shell where that is installed, the same engine without a window around it, which takes half the
processor time. What goes wrong on any page that it shows is kept as a fault: an error of a script, a violation of a
Content-Security-Policy, something that could not be loaded.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, ConsoleMessage, Page, Response, sync_playwright

from tests import spawning
from tests.patience import PATIENCE

ROOT = Path(__file__).parent.parent
SCREENSHOTS = ROOT / ".screenshots"

FLAGS = [
    "--no-sandbox",  # root cannot have one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# --- the demo -------------------------------------------------------------------------------------------


@dataclass
class Demo:
    """A running `lumin-middleware demo`; `origin` is where it says that it is."""

    process: spawning.Popen
    origin: str
    said: str

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Send the signal; its exit status, and all that it wrote to the two streams."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        # Not `communicate`, which forgets what `readline` had buffered behind its line.
        stdout, stderr = self.process.stdout.read(), self.process.stderr.read()
        return self.process.wait(PATIENCE), self.said + stdout, stderr


def environment(**variables: str) -> dict[str, str]:
    """This process's environment with no settings of ours but these."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("LUMIN_")}
    return {**others, **variables}


def away_from_home() -> dict[str, str]:
    """The environment of a browser that leaves nothing in the home of whoever runs it, who may have none."""
    own = os.environ.get("XDG_STATE_HOME") or tempfile.gettempdir()  # the run's own folder, by conftest
    return {**os.environ, "HOME": own}


@contextmanager
def demo(*arguments: str, cwd: Path = ROOT, **variables: str) -> Iterator[Demo]:
    """Start the demo on free ports and wait for its first line."""
    process = spawning.Popen(
        [sys.executable, "-m", "lumin_middleware", "demo", *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"https?://[^/\s]+", said)
        if found is None:
            raise AssertionError(f"the demo did not start: {said}{process.communicate(timeout=PATIENCE)}")
        yield Demo(process, found[0], said)
    finally:
        with process:  # closes the pipes
            process.kill()


# --- the browser ----------------------------------------------------------------------------------------


def chromium() -> str:
    """The browser's path; it is installed first where that can be done."""
    with open(Path(tempfile.gettempdir()) / f"lumin-middleware-apt-{os.geteuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of one run share one apt
        if shutil.which("chromium") is None and shutil.which("apt-get") and os.geteuid() == 0:
            for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
                subprocess.run(["apt-get", "-qq", *command], check=False, stdout=subprocess.DEVNULL)
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("these tests need a browser: install Chromium, as with 'apt-get install chromium'")
    return path


def launched(kind: BrowserType, path: str = "") -> Browser:
    """A running browser: the headless shell where it is installed, or the one at that path."""
    found = path or shutil.which("chromium-headless-shell") or chromium()
    return kind.launch(executable_path=found, args=FLAGS, env=away_from_home())


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that runs until the end of the block."""
    with sync_playwright() as playwright, launched(playwright.chromium) as running:
        yield running


def refuse_cookies(profile: Path) -> Path:
    """A browser profile whose owner has blocked all cookies."""
    (profile / "Default").mkdir()
    settings = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Default" / "Preferences").write_text(json.dumps(settings))
    return profile


class Watch:
    """What a browser had to say about the pages that it showed."""

    def __init__(self, context: BrowserContext) -> None:
        self._faults: list[tuple[str, str]] = []  # where, what
        self._documents: set[str] = set()
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self._faults.append(("", f"script: {error.error}")))
        context.on("requestfailed", lambda request: self._faults.append((request.url, f"failed: {request.failure}")))
        context.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._faults.append((message.location["url"], message.text))

    def _on_response(self, response: Response) -> None:
        if response.request.is_navigation_request():
            self._documents.add(response.url)

    def faults(self) -> list[tuple[str, str]]:
        """Where and what. That a page itself came with an error's status is none."""
        return [
            (url, what)
            for url, what in self._faults
            if not (url in self._documents and what.startswith("Failed to load resource"))
        ]


def screenshot(page: Page, name: str) -> None:
    """Keep a picture of the page for whoever wants to look at some: `LUMIN_TEST_PICTURES=1`."""
    if os.environ.get("LUMIN_TEST_PICTURES"):
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
