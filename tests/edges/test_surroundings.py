"""A process behind a real server sees how many of its kind there are, whatever told the server."""

from __future__ import annotations

import time

import httpx2
import pytest

from tests.edges import servers
from tests.patience import PATIENCE

APP = """
from lumin_middleware.runtime.surroundings import workers

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(workers()).encode()]
"""


@pytest.mark.parametrize("number", [1, 2])
def test_workers_that_a_file_of_gunicorn_s_asks_for_are_seen(number, tmp_path):
    (tmp_path / "counting.py").write_text(APP)
    settings = tmp_path / "gunicorn.conf.py"
    settings.write_text(f"workers = {number}\npythonpath = {str(tmp_path)!r}\n")
    command = servers.gunicorn("-c", str(settings))
    with servers.listening() as listener:
        variables = {"WEB_CONCURRENCY": "1", "GUNICORN_CMD_ARGS": "", "UVICORN_WORKERS": ""}
        with servers.start(command, "counting:app", listener, variables, anew=True) as server:
            with httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
                end = time.monotonic() + PATIENCE
                while (seen := client.get(server.origin).text) != str(number):  # one worker is there before the other
                    assert time.monotonic() < end, seen
                    time.sleep(0.1)
            assert server.stop() == 0
