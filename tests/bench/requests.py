"""What a request costs: signed in, redirected, and calling the API."""

from __future__ import annotations

import gc
import random
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx2
from starlette.middleware.sessions import SessionMiddleware

from lumin_middleware import LuminMiddleware
from lumin_middleware.client import AsyncLuminClient
from lumin_middleware.site.visit import Visit
from lumin_middleware.wsgi import LuminMiddleware as WSGIMiddleware

from .measure import blocking, in_turns, run, say
from .rig import SECRET_KEY, bare, call, config, party, receive, scope, send, signed_in, starlette_session

MANY = 1200  # sessions that take turns where nothing is remembered, so that each is new
PEOPLE = 10_000  # who come to one worker in random order, and are remembered
PATTERNS = [f"/p{number}/*" for number in range(1000)]
RULES = {"public": {"public": PATTERNS}, "scoped": {"required_scopes": dict.fromkeys(PATTERNS, "templates")}}


def main() -> None:
    run(_signed_in())
    run(_wsgi())
    run(_redirect())
    run(_api())


async def _signed_in() -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = f"sqlite://{Path(directory).resolve()}/private/store"
        ours = {
            "cookie, memory": LuminMiddleware(bare, config()),
            "cookie, SQLite": LuminMiddleware(bare, config(store=file)),
            "store, memory": LuminMiddleware(bare, config(sessions="store")),
            "store, SQLite": LuminMiddleware(bare, config(sessions="store", store=file)),
        }
        candidates = {
            "bare application": call(bare, [scope()]),
            "Starlette SessionMiddleware": call(
                SessionMiddleware(bare, SECRET_KEY), [scope(starlette_session(SECRET_KEY))]
            ),
        }
        for name, middleware in ours.items():
            candidates[f"ours, {name}, opened before"] = call(middleware, [scope(await signed_in(party(middleware)))])
        warm, cold = ours["cookie, memory"], LuminMiddleware(bare, config(session_memory=0))
        cookie = await signed_in(party(warm))
        neighbours = [scope(b"_ga=%d; " % number + cookie) for number in range(MANY)]
        candidates["ours, cookie, a neighbour that changes"] = call(warm, neighbours)
        candidates["ours, cookie, 8 KB of others"] = call(warm, [scope(cookie + b"; big=" + b"x" * 8000)])
        people = [scope(await signed_in(party(warm))) for _ in range(PEOPLE)]
        for each in people:
            await warm(dict(each), receive, send)
        candidates["ours, cookie, 10,000 people in random order"] = call(warm, random.choices(people, k=50_000))
        many = [scope(await signed_in(party(cold))) for _ in range(MANY)]
        candidates["ours, cookie, memory, never seen"] = call(cold, many)
        for name, rules in {
            "public": {"public": PATTERNS},
            "scoped": {"required_scopes": dict.fromkeys(PATTERNS, "x")},
        }.items():
            ours[name] = LuminMiddleware(bare, config(**rules))
            candidates[f"ours, cookie, 1,000 {name} patterns"] = call(
                ours[name], [scope(await signed_in(party(ours[name])))]
            )
        gc.freeze()  # or the benchmark's own 10,000 people are looked through again and again
        costs = await in_turns(candidates)
        say(
            "An authenticated request, in process (ASGI)",
            costs,
            base="bare application",
            against="Starlette SessionMiddleware",
        )
        for middleware in ours.values():
            await middleware.aclose()


def _bare_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def _environ(cookie: bytes) -> dict[str, Any]:
    asgi = scope(cookie)
    names = {name.decode().upper().replace("-", "_"): value.decode("latin-1") for name, value in asgi["headers"]}
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": asgi["path"],
        "RAW_URI": asgi["path"] + "?page=1",
        "QUERY_STRING": "page=1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "https",
        **{f"HTTP_{name}": value for name, value in names.items()},
    }


async def _wsgi() -> None:
    middleware = WSGIMiddleware(_bare_wsgi, config())
    twin = LuminMiddleware(bare, middleware.config)
    warm = _environ(await signed_in(party(twin)))
    many = iter([_environ(await signed_in(party(twin))) for _ in range(MANY)] * 1000)

    def start_response(*_: Any) -> None: ...

    costs = await in_turns(
        {
            "bare application": blocking(lambda: _bare_wsgi(dict(warm), start_response)),
            "ours, cookie, opened before": blocking(lambda: middleware(dict(warm), start_response)),
            "ours, cookie, never seen": blocking(lambda: middleware(dict(next(many)), start_response)),
        }
    )
    say("An authenticated request, in process (WSGI)", costs, base="bare application")
    middleware.close()
    await twin.aclose()


async def _redirect() -> None:
    middleware = LuminMiddleware(bare, config())
    costs = await in_turns({"redirected to Lumin": call(middleware, [scope()])})
    say("Somebody who is not signed in", costs)
    await middleware.aclose()


async def _api() -> None:
    """The same call by a bare shared client, and through the request's client; the API is another process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "tests.bench.rig:bare", "--port", str(port), "--log-level", "error"]
    with subprocess.Popen([*command, "--lifespan", "off"]) as server:
        try:
            await _calls(f"http://127.0.0.1:{port}/v1")
        finally:
            server.terminate()


async def _calls(base: str) -> None:
    middleware = LuminMiddleware(bare, config(api_url=base))
    site, world = middleware._party()
    jar = site.parts.cookies.jar(await signed_in(site))
    visit = Visit(site, None, jar, await site.parts.sessions.load(jar))
    client = AsyncLuminClient(visit, world.api, httpx2.URL(base), lambda *_: None)
    headers = {"Authorization": f"Bearer {await client.access_token()}"}
    async with httpx2.AsyncClient(base_url=base, transport=httpx2.AsyncHTTPTransport(retries=20)) as shared:
        costs = await in_turns(
            {
                "bare shared httpx2 client": lambda: shared.get("user/info", headers=headers),
                "request.state.lumin": lambda: client.get("user/info"),
            },
            rounds=40,
        )
    say("A call of the API over loopback", costs)
    ratio = costs["request.state.lumin"].microseconds / costs["bare shared httpx2 client"].microseconds
    print(f"  ratio {ratio:.3f}")
    await middleware.aclose()
