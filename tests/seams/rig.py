"""The applications of `apps` behind the middleware, with people at them, and what came of so many requests."""

from __future__ import annotations

import itertools
import logging
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from asgiref.sync import ThreadSensitiveContext

from lumin_middleware import AuthorizationServer, LuminConfig
from lumin_middleware.asgi import LuminMiddleware as AsgiMiddleware
from lumin_middleware.emulator import serve
from lumin_middleware.stores import MemoryStore
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.seams import apps, deliver
from tests.seams.deliver import MOUNT, Way
from tests.seams.generate import Asked, requests
from tests.seams.routes import OTHER_SCOPE, PEOPLE, PLAIN, RULESETS, SCOPE, Person, Ruleset
from tests.site_rig import CLIENT, FETCH, NAVIGATION, ORIGIN, Clock

KINDS: Mapping[str, Mapping[str, Any]] = {"asgi": apps.ASGI, "wsgi": apps.WSGI}
ASKED = [(name.encode(), value.encode()) for name, value in FETCH.items()]


@dataclass(frozen=True)
class Found:
    """A handler that ran for somebody whom it should not have run for, or did not run for whom it should."""

    app: str
    way: str
    rules: str
    person: str
    asked: Asked
    ran: tuple[str, ...]
    how: str = ""


@dataclass
class Counts:
    """What came of it."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    ran: Counter[str] = field(default_factory=Counter)
    wrong: list[Found] = field(default_factory=list)


class People:
    """The settings of a site, plain or mounted, and the cookies of who is signed in there."""

    def __init__(self, config: LuminConfig, cookies: Mapping[Person, str], clock: Clock) -> None:
        self.config = config
        self.cookies = cookies
        self.clock = clock


@contextmanager
def people() -> Iterator[Mapping[bool, People]]:
    """Both kinds of sites, by whether they are mounted, with everybody signed in."""
    clock = Clock()
    clients = [replace(CLIENT, redirect_uris=tuple(f"{ORIGIN}{mount}/auth/callback" for mount in ("", MOUNT)))]
    with serve(clients=clients, clock=clock) as running, _quiet():
        yield {mounted: _signed_in(running.emulator, clock, MOUNT if mounted else "") for mounted in (False, True)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the log, which has a line for each refusal, from being most of the work."""
    loggers = [logging.getLogger(name) for name in ("lumin_middleware", "django.request")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _signed_in(emulator: Any, clock: Clock, mount: str) -> People:
    config = LuminConfig(
        client_id=CLIENT.client_id,
        client_secret=CLIENT.client_secret,
        redirect_uri=f"{ORIGIN}{mount}/auth/callback",
        secret_key=secrets.token_bytes(32),
        server=AuthorizationServer.at(emulator.base),
        api_url=f"{emulator.base}/v1",
        scope=f"openid offline_access {SCOPE} {OTHER_SCOPE}",
        store=MemoryStore(clock=clock),
        absolute_timeout=10**7,
        idle_timeout=10**7,
    )
    app = WsgiMiddleware(apps.flask_app(), config, clock=clock)
    cookies: dict[Person, str] = {"nobody": ""}
    for person, scope in (("member", f"openid {OTHER_SCOPE}"), ("signer", f"openid {SCOPE} {OTHER_SCOPE}")):
        cookies[person] = _sign_in(app, emulator, mount, scope)
    app.close()
    return People(config, cookies, clock)


def _sign_in(app: Any, emulator: Any, mount: str, scope: str) -> str:
    jar: dict[str, str] = {}

    def get(target: str) -> dict[str, str]:
        made = deliver.bare(Asked("GET", target.encode()))
        assert made is not None
        made |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in NAVIGATION.items()}
        made["HTTP_COOKIE"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        seen: list[tuple[str, str]] = []
        list(app(made, lambda status, headers, exc_info=None: seen.extend(headers)))
        for name, value in seen:
            if name.lower() == "set-cookie":
                pair = value.partition(";")[0].partition("=")
                jar[pair[0]] = pair[2]
        return {name.lower(): value for name, value in seen}

    begun = get(f"{mount}/auth/login?return_to=/")["location"]
    get(emulator.sign_in(begun, scope=scope).removeprefix(ORIGIN))
    return "; ".join(f"{name}={value}" for name, value in jar.items() if value and "login" not in name)


# --- one application in one place -----------------------------------------------------------------------


class Place:
    """An application behind the middleware with one set of rules."""

    def __init__(self, kind: str, app: str, rules: Ruleset, site: People) -> None:
        self.kind = kind
        self.name = app
        self.rules = rules
        self.site = site
        self.app = KINDS[kind][app]()
        config = replace(site.config, **rules.settings)
        middleware = AsgiMiddleware if kind == "asgi" else WsgiMiddleware
        self.middleware: Any = middleware(self.app, config, clock=site.clock)

    async def ask(self, way: Way, person: Person, asked: Asked, *, bare: bool = False) -> int | None:
        """Sends a request; its status, or None where the server answers it itself. `apps.RAN` tells the rest.

        With `bare` it goes to the application without the middleware.
        """
        made = way.deliver(asked)
        if made is None:
            return None
        apps.RAN.clear()
        cookie = self.site.cookies[person]
        app = self.app if bare else self.middleware
        if self.kind == "wsgi":
            return _wsgi(app, made, cookie)
        made["headers"] += [*ASKED, *([(b"cookie", cookie.encode())] if cookie else [])]
        if asked.method == "WEBSOCKET":
            return await _websocket(app, made)
        return await _http(app, made)

    async def aclose(self) -> None:
        if self.kind == "wsgi":
            self.middleware.close()
        else:
            await self.middleware.aclose()


@asynccontextmanager
async def _places(kind: str, app: str, sites: Mapping[bool, People]) -> AsyncIterator[Mapping[tuple[bool, str], Place]]:
    """An application in each place, by whether it is mounted and by the name of its rules."""
    places = {
        (mounted, rules.name): Place(kind, app, rules, site) for mounted, site in sites.items() for rules in RULESETS
    }
    async with ThreadSensitiveContext():  # or Django has two new threads for each request
        yield places
    for place in places.values():
        await place.aclose()


def _wsgi(app: Any, environ: dict[str, Any], cookie: str) -> int:
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in FETCH.items()}
    environ["HTTP_COOKIE"] = cookie
    status: list[str] = []
    result = app(environ, lambda line, headers, exc_info=None: status.append(line))
    list(result)
    if hasattr(result, "close"):
        result.close()
    return int(status[-1][:3])


async def _websocket(app: Any, scope: dict[str, Any]) -> int:
    del scope["method"]
    scope |= {"type": "websocket", "scheme": "ws", "subprotocols": []}
    scope["headers"].append((b"origin", ORIGIN.encode()))
    incoming = [{"type": "websocket.disconnect", "code": 1001}, {"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        return incoming.pop() if incoming else {"type": "websocket.disconnect", "code": 1001}

    async def send(message: Any) -> None:
        pass

    await app(scope, receive, send)
    return 101


async def _http(app: Any, scope: dict[str, Any]) -> int:
    status = 0
    incoming = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    return status


# --- the property ---------------------------------------------------------------------------------------


async def attack(kind: str, app: str, sites: Mapping[bool, People], seed: int, count: int) -> Counts:
    """Asks so many times, of each kind of server and rules in turn, as nobody and as somebody without the scope."""
    chance = random.Random(f"{seed} {app}")
    counts = Counts()
    sources = {way: requests(chance.getrandbits(64), prefix=MOUNT if way.keeps else "") for way in deliver.WAYS[kind]}
    async with _places(kind, app, sites) as places:
        while counts.requests < count:
            way = chance.choice(deliver.WAYS[kind])
            rules = chance.choice(RULESETS)
            place = places[way.mounted, rules.name]
            asked = next(sources[way])
            if app in apps.SOCKETS and chance.random() < 0.1:
                asked = replace(asked, method="WEBSOCKET")
            how = _read_by_chance(place.app, chance, mounted=way.mounted)
            for person in ("nobody", "member"):
                status = await place.ask(way, person, asked)
                if status is None:
                    break
                _count(counts, place, way, person, asked, status, how)
    return counts


def _read_by_chance(app: Any, chance: random.Random, *, mounted: bool) -> str:
    """Gives a reader its steps. The site's own mount is taken off once; under WSGI the server did it."""
    if not isinstance(app, apps.Reader):
        return ""
    app.raw = chance.random() < 0.2
    steps = [chance.choice(list(apps.STEPS)) for _ in range(chance.randint(0, 5))]
    if mounted:
        once = 0 if isinstance(app, apps.WsgiReader) and not app.raw else 1
        offs = [step for step in steps if step.startswith("mount")][:once]
        steps = [*offs, *(step for step in steps if not step.startswith("mount"))]
    app.steps = steps
    return f"{'raw ' if app.raw else ''}{steps}"


def _count(counts: Counts, place: Place, way: Way, person: Person, asked: Asked, status: int, how: str) -> None:
    counts.requests += 1
    counts.statuses[status] += 1
    counts.ran.update(apps.RAN)
    if any(not place.rules.may(person, handler) for handler in apps.RAN):
        found = Found(place.name, way.name, place.rules.name, person, asked, tuple(apps.RAN), how)
        counts.wrong.append(found)


async def plain(kind: str, app: str, sites: Mapping[bool, People]) -> Counts:
    """Asks for each path as people write it: who may reach its handler does, and nobody else does.

    What the application would not serve without us either is left aside, as Quart's pages behind Hypercorn's
    `--root-path`.
    """
    counts = Counts()
    async with _places(kind, app, sites) as places:
        for way, rules in itertools.product(deliver.WAYS[kind], RULESETS):
            place = places[way.mounted, rules.name]
            if isinstance(place.app, apps.Reader):
                place.app.steps = ["mount"] if kind == "asgi" else []
            for path, handler in PLAIN.items():
                asked = way.plain(path)
                if await place.ask(way, "nobody", asked, bare=True) in (307, 308):
                    asked = way.plain(f"{path}/")  # a mount's own page ends in a slash
                    await place.ask(way, "nobody", asked, bare=True)
                serves = [handler] == apps.RAN
                for person in PEOPLE:
                    await _ask_plainly(counts, place, way, person, asked, handler if serves else None)
    return counts


async def _ask_plainly(
    counts: Counts, place: Place, way: Way, person: Person, asked: Asked, handler: str | None
) -> None:
    status = await place.ask(way, person, asked)
    assert status is not None, (way, asked)
    _count(counts, place, way, person, asked, status, "")
    if handler is not None and place.rules.may(person, handler) and [handler] != apps.RAN:
        counts.wrong.append(Found(place.name, way.name, place.rules.name, person, asked, tuple(apps.RAN), str(status)))
