"""Serves somebody from the first sign-in to the sign-out, and prints what was loaded meanwhile of ours and what we use.

`python -m tests.loading asgi` or `wsgi`, and the path of a file for the store; in a process of its own, in which
nothing else loads anything.
"""

from __future__ import annotations

import asyncio
import importlib.abc
import secrets
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import httpx2

from lumin_middleware import AuthorizationServer, LuminConfig
from lumin_middleware.emulator import Client, Emulator, serve

ORIGIN = "https://testserver"

CLIENT = Client(
    client_id="test",
    client_secret=secrets.token_urlsafe(32),
    redirect_uris=(f"{ORIGIN}/auth/callback",),
    token_endpoint_auth_method="client_secret_post",
    scope="openid offline_access sign:requests",
)

HTML = {"accept": "text/html"}


class Loaded(importlib.abc.MetaPathFinder):
    """Is asked first for each module that is not there yet, and finds none."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        if name.partition(".")[0] in ("lumin_middleware", "authlib", "httpcore2"):
            self.names.append(name)


def config(emulator: Emulator, store: str) -> LuminConfig:
    return LuminConfig(
        client_id=CLIENT.client_id,
        client_secret=CLIENT.client_secret,
        redirect_uri=CLIENT.redirect_uris[0],
        secret_key=secrets.token_bytes(32),
        server=AuthorizationServer.at(emulator.base),
        api_url=f"{emulator.base}/v1",
        store=f"sqlite://{store}",
    )


async def by_asgi(emulator: Emulator, settings: LuminConfig, loaded: Loaded) -> None:
    from lumin_middleware import LuminMiddleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await scope["state"]["lumin"].get("user/info")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"served"})

    site = LuminMiddleware(app, settings)
    sys.meta_path.insert(0, loaded)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=site), base_url=ORIGIN) as browser:
        begun = await browser.get("/", headers=HTML)
        callback = await asyncio.to_thread(emulator.sign_in, begun.headers["location"])
        assert (await browser.get(callback)).status_code == 303
        assert (await browser.get("/")).text == "served"
        emulator.expire_access_tokens()
        assert (await browser.get("/")).text == "served"
        assert (await browser.get("/auth/verify")).status_code == 204
        assert (await browser.post("/auth/logout", headers={"origin": ORIGIN})).is_success
    await site.aclose()


def by_wsgi(emulator: Emulator, settings: LuminConfig, loaded: Loaded) -> None:
    from lumin_middleware.wsgi import LuminMiddleware

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["lumin"].get("user/info")
        start_response("200 OK", [])
        return [b"served"]

    site = LuminMiddleware(app, settings)
    sys.meta_path.insert(0, loaded)
    with httpx2.Client(transport=httpx2.WSGITransport(app=site), base_url=ORIGIN) as browser:
        begun = browser.get("/", headers=HTML)
        assert browser.get(emulator.sign_in(begun.headers["location"])).status_code == 303
        assert browser.get("/").text == "served"
        emulator.expire_access_tokens()
        assert browser.get("/").text == "served"
        assert browser.get("/auth/verify").status_code == 204
        assert browser.post("/auth/logout", headers={"origin": ORIGIN}).is_success
    site.close()


def main(edge: str, store: str) -> None:
    loaded = Loaded()
    with serve(clients=[CLIENT]) as running:
        settings = config(running.emulator, store)
        if edge == "asgi":
            asyncio.run(by_asgi(running.emulator, settings, loaded))
        else:
            by_wsgi(running.emulator, settings, loaded)
    print(*loaded.names)


if __name__ == "__main__":
    main(*sys.argv[1:])
