"""What a request costs: signed in, redirected, and calling the API."""

from __future__ import annotations

import gc
import hmac
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from lumin_middleware import LuminMiddleware
from lumin_middleware.client import AsyncLuminClient
from lumin_middleware.model import Session
from lumin_middleware.site.visit import Visit
from lumin_middleware.wsgi import LuminMiddleware as WSGIMiddleware

from .measure import Cost, blocking, in_turns, run, say
from .rig import (
    SECRET_KEY,
    arriving,
    bare,
    call,
    config,
    party,
    scope,
    session,
    signed_in,
    starlette_session,
)

MANY = 1200  # sessions that take turns where nothing is remembered, so that each is new
PEOPLE = 10_000  # who come to one worker in random order, and are remembered
PATTERNS = [f"/p{number}/*" for number in range(1000)]

BARE = "bare application"
STARLETTE, STARLETTE_MANY = "SessionMiddleware", "SessionMiddleware, many people"
WARM = "ours, cookie, memory, opened before"
CROWD = "ours, opened before"
GOALS = {
    WARM: 0.25,
    "ours, a neighbour cookie that changes": 0.35,
    CROWD: 0.35,
    "ours, never seen": 1.6,
}
GROWTH = 1.1
"""Times that a request may cost more with a thousand patterns, or with 8 KB of other cookies."""


def main() -> None:
    run(_signed_in())
    run(_routed())
    run(_crowd())
    run(_floor())
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
            "1,000 public patterns": LuminMiddleware(bare, config(public=PATTERNS)),
            "1,000 scoped patterns": LuminMiddleware(bare, config(required_scopes=dict.fromkeys(PATTERNS, "x"))),
        }
        starlette, cold = SessionMiddleware(bare, SECRET_KEY), LuminMiddleware(bare, config(session_memory=0))
        candidates = {
            BARE: call(bare, [scope()]),
            STARLETTE: call(starlette, [scope(starlette_session(SECRET_KEY))]),
            STARLETTE_MANY: call(starlette, [scope(starlette_session(SECRET_KEY)) for _ in range(MANY)]),
        }
        for name, middleware in ours.items():
            candidates[f"ours, {name}, opened before"] = call(middleware, [scope(await signed_in(party(middleware)))])
        warm = ours["cookie, memory"]
        cookie = await signed_in(party(warm))
        candidates["ours, 8 KB of other cookies"] = call(warm, [scope(cookie + b"; big=" + b"x" * 8000)])
        neighbours = [scope(b"_ga=%d; " % number + cookie) for number in range(MANY)]
        candidates["ours, a neighbour cookie that changes"] = call(warm, neighbours)
        candidates["ours, never seen"] = call(cold, [scope(await signed_in(party(cold))) for _ in range(MANY)])
        costs = await in_turns(candidates)
        against = {name: STARLETTE for name in candidates if name.startswith("ours")}
        against["ours, never seen"] = STARLETTE_MANY
        say("An authenticated request, in process (ASGI)", costs, base=BARE, against=against, goals=GOALS)
        for name in ("1,000 public patterns, opened before", "1,000 scoped patterns, opened before"):
            _say_growth(costs, f"ours, {name}")
        _say_growth(costs, "ours, 8 KB of other cookies")
        for middleware in (*ours.values(), cold):
            await middleware.aclose()


async def _hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def _routed() -> None:
    """Before a router, what it finds out of a request is handed back as well."""
    page = Route("/things/{number}", _hello)
    below = Mount("/things", routes=[Route("/{number}", _hello)])
    print("\nThe same before a router of Starlette's")
    for name, routes in {"a route": [page], "a route below a mount": [below]}.items():
        app = Starlette(routes=routes)
        ours = LuminMiddleware(app, config())
        cookie = await signed_in(party(ours))
        costs = await in_turns({"alone": call(app, [scope(cookie)]), "ours": call(ours, [scope(cookie)])})
        alone, added = costs["alone"].microseconds, costs["ours"].microseconds - costs["alone"].microseconds
        print(f"  {name:52} {alone:10.2f} µs   added {added:8.2f} µs")
        await ours.aclose()


async def _crowd() -> None:
    """More people than the processor has at hand. Each application meets all of them, and so does the bare one."""
    ours, starlette = LuminMiddleware(bare, config()), SessionMiddleware(bare, SECRET_KEY)
    people = [await signed_in(party(ours)) for _ in range(PEOPLE)]
    theirs = [starlette_session(SECRET_KEY) for _ in range(PEOPLE)]
    for each in people:
        await arriving(ours, [each])()
    order = random.choices(range(PEOPLE), k=5 * PEOPLE)
    candidates = {
        BARE: arriving(bare, [people[number] for number in order]),
        STARLETTE: arriving(starlette, [theirs[number] for number in order]),
        CROWD: arriving(ours, [people[number] for number in order]),
    }
    gc.freeze()  # or the benchmark's own people are looked through again and again
    costs = await in_turns(candidates)
    say("10,000 people in random order on one worker", costs, base=BARE, against={CROWD: STARLETTE}, goals=GOALS)
    await ours.aclose()


def _say_growth(costs: Mapping[str, Cost], name: str) -> None:
    times = costs[name].microseconds / costs[WARM].microseconds
    print(f"  {name:52} {times:10.2f} x without (goal {GROWTH})")


async def _floor() -> None:
    """What a cookie that was never seen takes at the least: what is in C, called once each on what is there."""
    site = party(LuminMiddleware(bare, config()))
    sealer, data = site.parts.sessions._sealer, session().dump()
    value = sealer.seal(data).encode()
    key, nonce = os.urandom(32), os.urandom(12)
    cipher = AESGCM(key)
    sealed, text = cipher.encrypt(nonce, data, None), b64encode(data + nonce)

    def floor() -> object:
        hmac.digest(key, value, "sha256")
        a2b_base64(text)
        return json.loads(cipher.decrypt(nonce, sealed, None))

    opening = {
        "HMAC, base64, AES-GCM, JSON": blocking(floor),
        "the seal opened, the session read": blocking(lambda: Session.load(sealer.unseal(value).data, 0.0)),
    }
    costs = await in_turns(opening)
    say("A cookie that was never seen", costs)
    least, whole = (cost.microseconds for cost in costs.values())
    print(f"  {whole / least:.2f} x the least")


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
    middleware, cold = WSGIMiddleware(_bare_wsgi, config()), WSGIMiddleware(_bare_wsgi, config(session_memory=0))
    twin = LuminMiddleware(bare, middleware.config)
    warm = _environ(await signed_in(party(twin)))
    strangers = LuminMiddleware(bare, cold.config)
    many = itertools.cycle([_environ(await signed_in(party(strangers))) for _ in range(MANY)])

    def start_response(*_: Any) -> None: ...

    costs = await in_turns(
        {
            BARE: blocking(lambda: _bare_wsgi(dict(warm), start_response)),
            "ours, cookie, opened before": blocking(lambda: middleware(dict(warm), start_response)),
            "ours, cookie, never seen": blocking(lambda: cold(dict(next(many)), start_response)),
        }
    )
    say("An authenticated request, in process (WSGI)", costs, base=BARE)
    for each in (middleware, cold):
        each.close()
    for asgi in (twin, strangers):
        await asgi.aclose()


async def _redirect() -> None:
    middleware = LuminMiddleware(bare, config())
    costs = await in_turns({"redirected to Lumin": call(middleware, [scope()])})
    say("Somebody who is not signed in (goal 56 µs)", costs)
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
    visit = Visit(site, None, jar, await site.parts.sessions.load(jar, slide=True))
    client = AsyncLuminClient(visit, world.api)
    headers = {"Authorization": f"Bearer {await client.access_token()}"}
    async with httpx2.AsyncClient(base_url=base, transport=httpx2.AsyncHTTPTransport(retries=20)) as shared:
        costs = await in_turns(
            {
                "bare shared httpx2 client": lambda: shared.get("user/info", headers=headers),
                "request.state.lumin": lambda: client.get("user/info"),
            },
            rounds=40,
            seconds=0.05,
        )
    say("A call of the API over loopback", costs)
    ratio = costs["request.state.lumin"].microseconds / costs["bare shared httpx2 client"].microseconds
    print(f"  ratio {ratio:.3f} (goal 1.02)")
    await middleware.aclose()
