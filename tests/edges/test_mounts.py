"""Applications below a prefix: mounted in another, or behind a proxy that takes the prefix away.

`redirect_uri` holds the prefix, since it is the public address; `root_path` or SCRIPT_NAME tells it to the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
import quart
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler
from django.test import override_settings
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from lumin_middleware import lumin
from lumin_middleware.asgi import LuminMiddleware as AsgiMiddleware
from tests.acceptance.harness import Raw, call, run
from tests.edges.gateway import environ, serve_validated
from tests.edges.rig import Browser, Lumin, Site, end_lifespan
from tests.fakes import config
from tests.site_rig import CLIENT, FETCH, NAVIGATION, ORIGIN, query
from tests.site_rig import Browser as SiteBrowser
from tests.stores import django_database

REDIRECT_URI = f"{ORIGIN}/shop/auth/callback"
SHOP = replace(CLIENT, client_id="shop", redirect_uris=(REDIRECT_URI,))


@pytest.fixture
async def shop(lumin: Lumin) -> AsyncIterator[Callable[..., Site]]:
    """A site whose public address has a prefix, with one public page."""
    lumin.emulator.clients["shop"] = SHOP
    site = lumin.site(client_id="shop", redirect_uri=REDIRECT_URI, public=["/free", "/free/*"])
    halves = site.asgi, site.wsgi
    yield site
    site.asgi, site.wsgi = halves
    await site.aclose()


async def _person(request: Request) -> PlainTextResponse:
    return PlainTextResponse(lumin(request).subject or "")


async def _anybody(request: Request) -> PlainTextResponse:
    return PlainTextResponse("anybody")


PAGES = [Route("/page", _person), Route("/free", _anybody)]


@pytest.mark.parametrize("uri", [f"{ORIGIN}/auth/callback/", f"{ORIGIN}/callback/", f"{ORIGIN}/shop/auth/callback/"])
async def test_a_callback_may_end_in_a_slash(lumin, edge, uri):
    lumin.emulator.clients["slash"] = replace(CLIENT, client_id="slash", redirect_uris=(uri,))
    site = lumin.site(client_id="slash", redirect_uri=uri, public=["/free"])
    browser, prefix = site.browser(edge), uri.removeprefix(ORIGIN).removesuffix("/callback/")
    assert (await browser.sign_in("/page")).header("location") == "/page"
    assert (await browser.fetch("GET", f"{prefix}/session")).status == 200
    assert (await browser.fetch("POST", f"{prefix}/logout")).status == 204
    assert (await browser.fetch("GET", "/page")).status == 401
    await site.aclose()


@pytest.mark.parametrize("origin", ["http://app.localhost:8000", "http://127.0.0.2:8000"])
async def test_a_site_on_this_machine_by_any_of_its_names(lumin, edge, origin):
    uri = f"{origin}/auth/callback"
    lumin.emulator.clients["near"] = replace(CLIENT, client_id="near", redirect_uris=(uri,))
    site = lumin.site(client_id="near", redirect_uri=uri)
    browser = site.browser(edge)
    begun = await browser.navigate("/page")
    callback = urlsplit(lumin.emulator.sign_in(begun.header("location") or ""))
    assert f"{callback.scheme}://{callback.netloc}" == origin
    assert (await browser.navigate(f"{callback.path}?{callback.query}")).header("location") == "/page"
    assert all(name.startswith("lumin-") for name in browser.jar)
    assert await browser.subject()
    await site.aclose()


# --- mounted in another application ---------------------------------------------------------------------


async def _works_below_shop(browser: Browser) -> None:
    assert (await browser.navigate("/shop/free")).status == 200
    assert (await browser.navigate("/shop/page/free")).status == 303
    answer = await browser.sign_in("/shop/page?x=1")
    assert answer.header("location") == "/shop/page?x=1"
    assert (await browser.navigate("/shop/page?x=1")).body
    assert (await browser.fetch("GET", "/shop/auth/session")).status == 200
    assert (await browser.fetch("POST", "/shop/auth/logout")).status == 204
    refused = await browser.fetch("GET", "/shop/page")
    assert refused.status == 401
    assert b'"login_url": "/shop/auth/login?return_to=/shop/page"' in refused.body


async def test_a_protected_application_mounted_in_an_open_one(shop):
    inner = AsgiMiddleware(Starlette(routes=PAGES), shop.config, clock=shop.clock)
    shop.asgi = Starlette(routes=[Mount("/shop", app=inner), Route("/page", _anybody)])
    browser = shop.browser("asgi")
    assert (await browser.navigate("/page")).body == b"anybody"
    await _works_below_shop(browser)
    await end_lifespan(inner)


async def test_the_same_with_fastapi(shop):
    inner = FastAPI()
    inner.add_middleware(AsgiMiddleware, config=shop.config, clock=shop.clock)
    inner.add_api_route("/page", _person)
    inner.add_api_route("/free", _anybody)
    outer = FastAPI()
    outer.mount("/shop", inner)
    shop.asgi = outer
    await _works_below_shop(shop.browser("asgi"))
    await end_lifespan(inner)


async def test_the_same_with_wsgi(shop):
    """A dispatcher moves the prefix from PATH_INFO to SCRIPT_NAME (PEP 3333), and RAW_URI keeps it."""
    shop.wsgi_app.pages = {**shop.wsgi_app.pages, "/page": shop.wsgi_app.pages["/token"]}
    dispatcher = DispatcherMiddleware(lambda environ, start_response: [], {"/shop": shop.wsgi})
    shop.wsgi = dispatcher
    await _works_below_shop(shop.browser("wsgi"))


async def test_applications_mounted_in_a_protected_one_find_the_client(lumin):
    site = lumin.site(public=["/inner/free"])
    half = site.asgi
    deep = Starlette(routes=[Mount("/deep", routes=PAGES), *PAGES])
    site.asgi = AsgiMiddleware(Starlette(routes=[Mount("/inner", app=deep)]), site.config, clock=site.clock)
    browser = site.browser("asgi")
    assert (await browser.navigate("/inner/free")).body == b"anybody"
    assert (await browser.fetch("GET", "/inner/deep/free")).status == 401
    await browser.sign_in("/inner/deep/page")
    for path in ("/inner/page", "/inner/deep/page"):
        assert (await browser.navigate(path)).body
    await site.asgi.aclose()
    site.asgi = half
    await site.aclose()


# --- behind a proxy that takes the prefix away ----------------------------------------------------------


def _split(target: str) -> tuple[str, str, str]:
    raw, _, question = target.partition("?")
    return raw, unquote_to_bytes(raw).decode(), question


def as_uvicorn(raw: str, path: str) -> dict[str, Any]:
    """`--root-path /shop`: as the ASGI specification has it, `path` holds `root_path`."""
    return {"path": f"/shop{path}", "raw_path": f"/shop{raw}".encode(), "root_path": "/shop"}


def as_hypercorn(raw: str, path: str) -> dict[str, Any]:
    """`--root-path /shop`, and Granian's `--url-path-prefix`: `path` is what came."""
    return {"path": path, "raw_path": raw.encode(), "root_path": "/shop"}


def as_mangum(raw: str, path: str) -> dict[str, Any]:
    """`raw_path` is optional."""
    return {"path": f"/shop{path}", "root_path": "/shop"}


def as_waitress(raw: str, path: str) -> dict[str, Any]:
    """`url_prefix="/shop"`: REQUEST_URI is what came."""
    return {"SCRIPT_NAME": "/shop", "RAW_URI": None, "REQUEST_URI": raw}


def as_gunicorn(raw: str, path: str) -> dict[str, Any]:
    """Behind Werkzeug's ProxyFix, which reads X-Forwarded-Prefix."""
    return {"SCRIPT_NAME": "/shop", "RAW_URI": raw}


def as_wsgiref(raw: str, path: str) -> dict[str, Any]:
    """No raw path at all."""
    return {"SCRIPT_NAME": "/shop", "RAW_URI": None}


SERVERS = {
    "asgi": (as_uvicorn, as_hypercorn, as_mangum),
    "wsgi": (as_waitress, as_gunicorn, as_wsgiref),
}
CASES = [(edge, server) for edge, servers in SERVERS.items() for server in servers]


class Behind(Browser):
    """A browser whose requests lose their prefix on the way."""

    server: Callable[[str, str], dict[str, Any]]

    async def ask(self, method: str, target: Any, headers: Any, body: bytes = b"") -> Raw:
        url = str(target).removeprefix(ORIGIN)
        assert url.startswith("/shop/")
        raw, path, question = _split(url.removeprefix("/shop"))
        lines = dict(headers)
        if self.jar:
            lines["cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        if self.edge == "wsgi":
            made = environ(f"{raw}?{question}", method, lines, body, **self.server(raw, path))
            answer: Raw = serve_validated(self.site.wsgi, made)
        else:
            scope = {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "scheme": "http",
                "method": method,
                "query_string": question.encode(),
                "client": None,
                "server": None,
                "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
                **self.server(raw, path),
            }
            answer = await run(self.site.asgi, scope, body=body)
        self._keep(answer)
        return answer


@pytest.fixture(params=CASES, ids=lambda case: case[1].__name__)
def behind(request: pytest.FixtureRequest, shop: Site) -> Behind:
    browser = Behind(shop, request.param[0])
    browser.server = request.param[1]
    return browser


async def test_behind_a_proxy_that_strips_a_prefix_a_sign_in_comes_back(behind):
    begun = await behind.begin("/shop/page?x=1")
    assert query(begun)["redirect_uri"] == REDIRECT_URI
    back = await behind.navigate(behind.site.emulator.sign_in(begun))
    assert (back.status, back.header("location")) == (303, "/shop/page?x=1")
    assert (await behind.fetch("GET", "/shop/auth/session")).status == 200
    assert (await behind.fetch("GET", "/shop/page")).status == 200


@pytest.mark.parametrize("target", ["/shop/100%25", "/shop/what%3F", "/shop/caf%C3%A9"])
async def test_behind_a_proxy_that_strips_a_prefix_paths_keep_their_escapes(behind, target):
    assert (await behind.sign_in(target)).header("location") == target


async def test_behind_a_proxy_that_strips_a_prefix_rules_are_those_below_it(behind):
    for target, status in (
        ("/shop/free", 200),
        ("/shop/free/x", 200),
        ("/shop/freedom", 303),
        ("/shop/page", 303),
    ):
        assert (await behind.ask("GET", target, NAVIGATION)).status == status, target


# --- mounts that somebody else takes off ----------------------------------------------------------------


@pytest.mark.parametrize("target", ["/shop/free/shop/secret", "/shop/free/shopsecret", "/shop/free/shop.js"])
async def test_a_path_that_holds_the_mount_once_more_is_served_as_it_is_judged(shop, target):
    """Hypercorn leaves the mount out of the path, and Litestar would cut the path at its first place."""
    seen: list[str] = []

    async def cuts(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"].split(scope["root_path"], 1)[-1])
        await PlainTextResponse("")(scope, receive, send)

    shop.asgi = AsgiMiddleware(cuts, shop.config, clock=shop.clock)
    browser = Behind(shop, "asgi")
    browser.server = as_hypercorn
    assert (await browser.navigate(target)).status == 200
    assert seen == [target.removeprefix("/shop")]
    await shop.asgi.aclose()


@pytest.mark.parametrize("root_path", ["/static", "/static/a", "/free", "/sho", "/shop/", "/shop/auth/callback"])
async def test_a_mount_that_is_not_the_site_s_own_opens_nothing(shop, root_path):
    """`Daphne-Root-Path` and `SCRIPT_NAME` are headers: what they name may have been made up."""
    for rest in ("/page", "page", "/free"):
        scope = {"path": root_path + rest, "raw_path": (root_path + rest).encode(), "root_path": root_path}
        assert (await call(shop.asgi, "/", headers=FETCH, **scope)).status == 401, rest
        made = environ(root_path + rest, headers=FETCH, SCRIPT_NAME=root_path, PATH_INFO=rest)
        assert serve_validated(shop.wsgi, made).status == 401 if rest[0] == "/" else True
    assert shop.asgi_app.requests == shop.wsgi_app.requests == []


@pytest.mark.filterwarnings("ignore:The `root_path` parameter")
@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_root_path_that_the_application_sets_itself_hides_no_scope(lumin, wrapped):
    inner = FastAPI(root_path="/api")
    inner.add_api_route("/admin", _person)
    inner.add_api_route("/docs/page", _anybody)
    app = Outer(inner) if wrapped else inner
    site = lumin.site(required_scopes={"/admin": "templates"}, public=["/api/*", "/docs/*"])
    half = site.asgi
    site.asgi = AsgiMiddleware(app, site.config, clock=site.clock)
    browser = site.browser("asgi")
    assert (await browser.fetch("GET", "/api/docs/page")).status == 200
    assert (await browser.fetch("GET", "/api/other")).status == 401
    await browser.sign_in("/auth/login?return_to=/x", scope="openid offline_access")
    for target in ("/admin", "/api/admin", "/api/ADMIN/", "/api//admin"):
        assert (await browser.fetch("GET", target)).status == 403, target
    await site.asgi.aclose()
    site.asgi = half
    await site.aclose()


class Outer:
    """Another middleware around an application."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


# --- a prefix that an application takes off by itself ---------------------------------------------------


class Ours(FastAPI):
    """A site's own class."""


class Prefixed:
    """A site's own wrapper, which sets the root path in the scope as FastAPI does."""

    def __init__(self, app: Any, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path


class OurDjango(ASGIHandler):
    """A site's own class."""


def in_a_folder(root_path: str) -> quart.Quart:
    """What Quart finds by itself where the code lies there."""
    app = quart.Quart("site", root_path=root_path)
    app.add_url_rule("/<path:where>", view_func=lambda where: "here")
    return app


APPLICATIONS = {
    "FastAPI": (lambda: FastAPI(root_path="/app"), "/app"),
    "a class of FastAPI's": (lambda: Ours(root_path="/app"), "/app"),
    "a wrapper": (lambda: Prefixed(FastAPI(), "/app"), "/app"),
    "FastAPI in a wrapper": (lambda: Prefixed(FastAPI(root_path="/app")), "/app"),
    "Django": (ASGIHandler, "/forced"),
    "a class of Django's": (OurDjango, "/forced"),
    "Django's static files": (lambda: ASGIStaticFilesHandler(ASGIHandler()), "/forced"),
    "Quart": (lambda: in_a_folder("/app"), ""),
    "Quart in a wrapper": (lambda: Prefixed(in_a_folder("/app")), ""),
    "a wrapper of Quart": (lambda: Prefixed(in_a_folder("/srv/code"), "/app"), "/app"),
    "Starlette": (Starlette, ""),
}


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_prefix_is_what_an_application_takes_off_and_not_where_its_code_lies(name, caplog):
    django_database.configure()
    make, prefix = APPLICATIONS[name]
    with override_settings(FORCE_SCRIPT_NAME="/forced", STATIC_URL="/static/"):
        AsgiMiddleware(make(), config())
    said = [each.getMessage() for each in caplog.records]
    assert [f"root_path='{prefix}'" in line for line in said] == [True] * bool(prefix)


@pytest.mark.parametrize("folder", ["/app", "/srv/code"])
@pytest.mark.parametrize(("public", "status"), [("/app/static/*", 200), ("/static/*", 401)])
async def test_a_pattern_is_judged_the_same_wherever_the_code_lies(new_site, folder, public, status):
    site = new_site(redirect_uri="https://app.example.com/app/auth/callback", public=[public], emulator={})
    site.processes = [AsgiMiddleware(in_a_folder(folder), site.config, clock=site.clock)]
    assert (await SiteBrowser(site.processes[0], site).fetch("GET", "/app/static/x")).status_code == status
