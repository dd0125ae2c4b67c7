"""uvicorn with several worker processes, as an operator starts it, on a free port of the loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests import spawning
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
"""Seconds in which a server must have started; a busy machine takes ten."""


class Uvicorn:
    """`tests.storm.app` behind `uvicorn --workers`. What it logs is in `log`."""

    def __init__(self, environment: Mapping[str, str], *, workers: int = 4) -> None:
        self.log: list[str] = []
        self._workers = workers
        self._said = threading.Condition()
        command = [sys.executable, "-m", "uvicorn", "tests.storm.app:app", f"--workers={workers}", "--port=0"]
        command += ["--no-access-log", "--timeout-keep-alive=600", "--timeout-graceful-shutdown=1"]
        self._process = spawning.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.wait_for(r"Application startup complete", times=self._workers)
            self.port = int(self.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[0])
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for(self, pattern: str, *, times: int = 1) -> list[str]:
        """What `pattern` found in the log, once it has found it so often. Raises `TimeoutError`."""
        deadline = time.monotonic() + PATIENCE
        with self._said:
            while len(found := re.findall(pattern, "".join(self.log))) < times:
                if self._process.poll() is not None or not self._said.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"uvicorn never said {pattern!r}:\n{''.join(self.log)}")
        return found

    def last_words(self, lines: int = 40) -> str:
        """The end of its log, which says what a failure's answer does not."""
        return "".join(self.log[-lines:])

    @property
    def pids(self) -> set[int]:
        """Every worker that there was."""
        return {int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", "".join(self.log))}

    def kill(self, pid: int) -> None:
        """`kill -9` of a worker; the supervisor starts another in its place."""
        assert pid in self.pids
        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # the supervisor and its workers: a session of their own
            self._process.wait()
        self._thread.join()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as said:
            for line in said:
                with self._said:
                    self.log.append(line)
                    self._said.notify_all()
