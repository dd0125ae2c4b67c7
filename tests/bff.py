"""A site in a process of its own whose pages may call everything: `python -m tests.bff asgi|wsgi FD`.

Settings come from the environment, connections from the socket that it inherits as FD.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import httpx2
import uvicorn

from lumin_middleware import LuminConfig, LuminMiddleware, connections
from lumin_middleware.emulator import Client, Emulator
from lumin_middleware.emulator import serve as serve_emulator
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests import upstream
from tests.browser_rig import environment
from tests.patience import PATIENCE
from tests.site_rig import NAVIGATION

# --- the process ----------------------------------------------------------------------------------------


class _WsgiServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """The tests look at what is answered."""


async def _nothing(scope: object, receive: object, send: object) -> None:
    raise AssertionError("nothing reaches the application")


def _nothing_wsgi(environ: object, start_response: object) -> list[bytes]:
    raise AssertionError("nothing reaches the application")


def main(edge: str, fd: str) -> None:
    connections.KEEPALIVE = PATIENCE  # however long a busy machine takes from one call to the next
    config = replace(LuminConfig.from_env(), api_proxy=("/*",))
    listener = socket.socket(fileno=int(fd))
    if edge == "asgi":
        options = {"log_level": "warning", "timeout_graceful_shutdown": 1, "lifespan": "on"}
        uvicorn.Server(uvicorn.Config(LuminMiddleware(_nothing, config), **options)).run(sockets=[listener])
        return
    with _WsgiServer(listener.getsockname(), _Handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = listener
        server.server_name, server.server_port = listener.getsockname()
        server.setup_environ()
        server.set_app(WsgiMiddleware(_nothing_wsgi, config))
        server.serve_forever()


# --- as a test sees it ----------------------------------------------------------------------------------


@dataclass
class Bff:
    """The running process, with somebody who is signed in."""

    process: subprocess.Popen[str]
    base: str
    api: upstream.Upstream
    emulator: Emulator
    cookies: dict[str, str] = field(default_factory=dict)

    def sign_in(self) -> None:
        with httpx2.Client(base_url=self.base, headers=NAVIGATION, timeout=PATIENCE) as browser:
            begun = browser.get("/auth/login")
            browser.get(self.emulator.sign_in(begun.headers["location"]))
            self.cookies = dict(browser.cookies)

    @property
    def headers(self) -> dict[str, str]:
        """What a script of the site's own page sends."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"cookie": cookie, "origin": self.base, "sec-fetch-site": "same-origin", "x-csrf": "1"}

    def memory(self, name: str) -> int:
        """Bytes of memory that the process has (`VmRSS`), or had at most since `forget_peak` (`VmHWM`)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition(f"{name}:")[2].split()[0]) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


@contextmanager
def serve(edge: str) -> Iterator[Bff]:
    """Runs the process with an emulator and an API behind it, and signs somebody in."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(
            client_id="bff", client_secret=secrets.token_urlsafe(32), redirect_uris=(f"{base}/auth/callback",)
        )
        emulator = stack.enter_context(serve_emulator(clients=[client])).emulator
        api = stack.enter_context(upstream.serve())
        settings = {
            "LUMIN_AUTH_URL": emulator.base,
            "LUMIN_API_URL": f"{api.base}/v1",
            "LUMIN_CLIENT_ID": client.client_id,
            "LUMIN_CLIENT_SECRET": client.client_secret,
            "LUMIN_REDIRECT_URI": client.redirect_uris[0],
            "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
            "LUMIN_STORE": "memory://",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bff", edge, str(listener.fileno())],
            cwd=Path(__file__).parent.parent,
            env=environment(**settings),
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            bff = Bff(process, base, api, emulator)
            bff.sign_in()
            yield bff
        finally:
            process.terminate()
            try:
                process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


if __name__ == "__main__":
    main(*sys.argv[1:])
