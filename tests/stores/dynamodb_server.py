"""Dynalite, a DynamoDB that runs here: conditions are looked at and written in one step, as there."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Self

import httpx2

from tests.foreign.node import install
from tests.patience import PATIENCE

from .redis_server import free_port

FOLDER = Path(__file__).parent / "dynalite"

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",  # it is signed with, and nobody looks
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What boto3 finds in the environment."""


class DynamoDBServer:
    """A server in a folder of its own, so that what it acknowledged outlives it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._command = [
            *(install(FOLDER), str(FOLDER / "node_modules" / "dynalite" / "cli.js")),
            *("--host", "127.0.0.1", "--port", str(self.port), "--path", str(folder), "--createTableMs", "0"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None:
            return
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                httpx2.get(self.endpoint)
            except httpx2.HTTPError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError("dynalite did not start")

    def crash(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.crash()
