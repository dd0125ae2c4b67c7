"""Misconfigurations that people make: doctor names each, says why and what to do, and is silent on a good one."""

from __future__ import annotations

import os
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

from lumin_middleware import AuthorizationServer, LuminConfig, LuminMiddleware, wsgi
from lumin_middleware.doctor import network
from lumin_middleware.doctor.application import configured
from lumin_middleware.doctor.examination import examine
from lumin_middleware.doctor.findings import Finding
from lumin_middleware.doctor.settings import read
from lumin_middleware.emulator import Client, Running, serve
from lumin_middleware.stores import SQLiteStore
from lumin_middleware.stores.local import local_store
from tests.certificates import self_signed
from tests.proxies.rig import free_port
from tests.serving import served

CALLBACK = "https://app.example.com/auth/callback"
CLIENT = Client(client_id="3f2504e0-4f89-11d3", client_secret=secrets.token_urlsafe(24), redirect_uris=(CALLBACK,))
BASIC = replace(CLIENT, client_id="basic", token_endpoint_auth_method="client_secret_basic")
NO_RENEWAL = replace(CLIENT, client_id="no-renewal", grant_types=("authorization_code",))
NO_CODES = replace(CLIENT, client_id="no-codes", grant_types=("refresh_token",))
FEW_SCOPES = replace(CLIENT, client_id="few-scopes", scope="openid offline_access")
NO_OFFLINE = replace(CLIENT, client_id="no-offline", scope="openid sign:requests")
CLIENTS = (CLIENT, BASIC, NO_RENEWAL, NO_CODES, FEW_SCOPES, NO_OFFLINE)


@pytest.fixture(scope="module")
def lumin() -> Iterator[Running]:
    with serve(clients=CLIENTS) as running:
        yield running


@pytest.fixture
def config(lumin: Running, tmp_path: Path) -> Callable[..., LuminConfig]:
    def make(**changes: Any) -> LuminConfig:
        settings = {
            "client_id": CLIENT.client_id,
            "client_secret": CLIENT.client_secret,
            "redirect_uri": CALLBACK,
            "secret_key": secrets.token_bytes(32),
            "server": AuthorizationServer.at(lumin.base),
            "api_url": f"{lumin.base}/v1",
            "store": f"sqlite:///{tmp_path}/store.sqlite3",
            **changes,
        }
        return LuminConfig(**settings)

    return make


def matter(config: LuminConfig, app: Any = None) -> list[Finding]:
    """What is not well."""
    return [finding for finding in examine(config, app) if finding.level != "ok"]


def page(request: Any) -> PlainTextResponse:
    return PlainTextResponse("")


# --- what is well ---------------------------------------------------------------------------------------


def good(config: Callable[..., LuminConfig]) -> Any:
    settings = config(public=("/healthz", "/static/*"))
    routes = [Route("/healthz", page), Mount("/static", PlainTextResponse("")), Route("/orders/{id}", page)]
    return settings, LuminMiddleware(Starlette(routes=routes), settings)


def test_a_good_configuration_is_silent(config):
    settings, app = good(config)
    assert matter(settings, app) == []
    checks = {finding.check for finding in examine(settings, app)}
    named = {
        "redirect URI",
        "secrets",
        "proxies",
        "names",
        "server",
        "clock",
        "discovery",
        "keys",
        "client",
        "client secret",
    }
    assert named | {"grant types", "API", "store", "application"} == checks


def test_the_file_of_a_store_is_named(config, tmp_path):
    [finding] = [each for each in examine(config()) if each.check == "store"]
    assert f"{tmp_path}/store.sqlite3)" in finding.what


def test_so_is_one_with_discovery(config, lumin):
    assert matter(config(server=AuthorizationServer.discover(lumin.base))) == []


def test_nothing_is_left_behind(config, lumin, tmp_path):
    before = len(lumin.emulator.signature_requests)
    list(examine(config()))
    assert len(lumin.emulator.signature_requests) == before
    assert lumin.emulator.reuse_events == 0
    assert list(tmp_path.iterdir()) == []


# --- what is not ----------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "an unknown client": ({"client_id": "nobody"}, "client", "does not know the client", "client_id"),
    "a wrong secret": ({"client_secret": secrets.token_urlsafe(24)}, "client secret", "refuses", "Copy it again"),
    "the other method": ({"client_id": "basic"}, "client secret", "client_secret_basic", "token_endpoint_auth_method"),
    "another redirect URI": (
        {"redirect_uri": "https://app.example.com/auth/callback2"},
        *("redirect URI", "not registered", "Register exactly this address"),
    ),
    "a redirect URI with a slash less": (
        {"redirect_uri": "https://app.example.com/auth/call"},
        *("redirect URI", "not registered", "Register exactly"),
    ),
    "a scope that the client has not": (
        {"client_id": "few-scopes"},
        "scopes",
        "may not ask for sign:requests",
        "Allow it",
    ),
    "offline_access that the client has not": (
        {"client_id": "no-offline"},
        "scopes",
        "may not ask for offline_access",
        "Allow it",
    ),
    "offline_access that is not asked for": (
        {"scope": "openid"},
        "scopes",
        "does not name offline_access",
        "Add offline_access",
    ),
    "required scopes that are not asked for": (
        {"required_scopes": {"/t/*": "templates"}},
        *("scopes", "`required_scopes` needs what `scope` does not ask for: templates", "Add it"),
    ),
    "a client that may not renew": ({"client_id": "no-renewal"}, "grant types", "may not renew", "refresh_token"),
    "a client that may not redeem codes": (
        {"client_id": "no-codes"},
        "grant types",
        "authorization code|redeem codes",
        "authorization_code",
    ),
    "a store in memory": ({"store": "memory://"}, "store", "is memory", "redis"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_setting_is_named(config, name):
    changes, check, what, cure = CHANGES[name]
    found = matter(config(**changes))
    named = [each for each in found if each.check == check and re.search(what, each.what)]
    assert named, found
    assert all(cure in each.cure for each in named)
    assert all(each.why and each.cure for each in found)


def test_a_server_that_is_none_is_named(config, lumin):
    found = matter(config(server=AuthorizationServer.at(f"{lumin.base}/nowhere")))
    [named] = [each for each in found if each.check == "server"]
    assert named.level == "wrong"
    assert "LUMIN_AUTH_URL" in named.cure
    assert "not registered" not in str(found)


@pytest.fixture(params=["json", "an error as JSON", "html"])
def another_service(request: Any) -> Iterator[str]:
    """What answers each request alike, as a service of another kind may."""
    kind = request.param

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        status = 404 if kind == "an error as JSON" else 200
        body: Any = PlainTextResponse("<p>Welcome", status, media_type="text/html")
        if kind != "html":
            body = JSONResponse({"error": "Not found", "ok": status == 200}, status)
        await body(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener, served(answer, listener, lifespan="off"):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("path", ["", "/v1"])
def test_a_server_that_is_no_authorization_server_is_one_finding(config, another_service, path):
    found = matter(config(server=AuthorizationServer.at(f"{another_service}{path}")))
    [named] = found
    assert (named.check, named.level) == ("server", "wrong")
    assert named.what.startswith(f"{another_service}{path} does not answer like an authorization server (")
    assert "LUMIN_AUTH_URL" in named.cure


def test_the_api_in_the_authorization_server_s_place_is_one_finding(config, lumin):
    [named] = matter(config(server=AuthorizationServer.at(f"{lumin.base}/v1")))
    assert (named.check, named.level) == ("server", "wrong")
    assert "LUMIN_AUTH_URL" in named.cure


def test_a_server_without_a_document_is_one_all_the_same(config, lumin):
    lumin.emulator.faults.add("/.well-known/openid-configuration", status=404)
    assert matter(config()) == []


def test_an_issuer_of_another_server_is_told_by_the_variable_that_gives_it(config, lumin):
    document = {"issuer": "https://issuer.example", "token_endpoint": "https://issuer.example/oauth2/token"}
    lumin.emulator.faults.add("/.well-known/openid-configuration", status=200, body=document)
    [finding] = matter(config())
    assert (finding.check, finding.level) == ("discovery", "wrong")
    assert "LUMIN_AUTH_URL" in finding.cure


@pytest.mark.parametrize(
    ("server", "level"), [("https://auth.luminpdf.com", "doubtful"), ("http://127.0.0.1:4444", "ok")]
)
def test_a_placeholder_for_a_secret_is_named_unless_the_server_is_a_local_one(server, level):
    from lumin_middleware.doctor.settings import secrets as look
    from tests.fakes import config as fake

    [finding] = look(fake(client_secret="your-secret-here-please", server=AuthorizationServer.at(server)))
    assert (finding.check, finding.level) == ("secrets", level)


@pytest.mark.parametrize("host", ["http://localhost:8000", "http://127.0.0.1:8000", "https://203.0.113.5"])
def test_a_redirect_uri_that_lumins_form_does_not_take_is_named(host):
    from lumin_middleware.doctor.settings import redirect_uri
    from tests.fakes import config as fake

    settings = fake(redirect_uri=f"{host}/auth/callback", server=AuthorizationServer.at("https://auth.luminpdf.com"))
    [finding] = redirect_uri(settings)
    assert (finding.level, finding.check) == ("wrong", "redirect URI")
    assert "tunnel" in finding.cure


def test_an_issuer_that_is_anothers_is_named(config, lumin):
    server = AuthorizationServer.at(lumin.base, issuer="https://issuer.example")
    [finding] = matter(config(server=server))
    assert (finding.check, finding.level) == ("discovery", "wrong")
    assert "server.issuer" in finding.cure


def test_a_discovery_document_that_is_not_there_is_named(config, lumin):
    found = matter(config(server=AuthorizationServer.discover(f"{lumin.base}/nowhere")))
    assert ("discovery", "wrong") in [(each.check, each.level) for each in found]


def test_keys_that_are_not_there_are_named(config, lumin):
    lumin.emulator.faults.add("/.well-known/jwks.json", status=200, body={"keys": []})
    [finding] = matter(config())
    assert (finding.check, finding.level) == ("keys", "wrong")


@pytest.mark.parametrize(("skew", "level"), [(45, "doubtful"), (300, "wrong"), (-300, "wrong")])
def test_a_clock_that_is_off_is_named(config, monkeypatch, skew, level):
    monkeypatch.setattr(network.server, "__defaults__", (lambda: time.time() + skew,))
    [finding] = matter(config())
    assert (finding.check, finding.level) == ("clock", level)
    assert "clock" in finding.what


def test_a_server_that_is_down_is_named_once(config):
    server = AuthorizationServer.at(f"http://127.0.0.1:{free_port()}")
    [finding] = matter(config(server=server))
    assert (finding.check, finding.level) == ("server", "wrong")
    assert "cannot be reached" in finding.what


def test_a_name_that_is_none_is_named(config):
    found = matter(config(server=AuthorizationServer.at("https://lumin.invalid")))
    assert {each.check for each in found} == {"names", "server"}
    assert "resolver" in found[0].cure


def test_a_certificate_that_is_not_trusted_is_named(config, tls_server):
    found = matter(config(server=AuthorizationServer.at(tls_server)))
    [finding] = found
    assert finding.check == "server"
    assert "certificate" in finding.what
    assert "SSL_CERT_FILE" in finding.cure


def test_a_server_in_trouble_is_named(config, lumin):
    lumin.emulator.faults.add("/oauth2/token", status=502)
    assert "server" in {each.check for each in matter(config())}
    lumin.emulator.faults.clear()


def test_an_api_that_is_not_there_is_named(config):
    [finding] = matter(config(api_url=f"http://127.0.0.1:{free_port()}/v1"))
    assert (finding.check, finding.level) == ("API", "wrong")


def test_an_api_that_is_another_is_named(config, lumin):
    [finding] = matter(config(api_url=f"{lumin.base}/v2"))
    assert (finding.check, finding.level) == ("API", "wrong")
    assert "https://api.luminpdf.com/v1" in finding.cure


def test_a_store_that_is_down_is_named(config):
    [finding] = matter(config(store=f"redis://127.0.0.1:{free_port()}/0"))
    assert (finding.check, finding.level) == ("store", "wrong")


def of_store(config: LuminConfig) -> Finding:
    from lumin_middleware.doctor.stores import store

    [finding] = store(config)
    return finding


@pytest.mark.parametrize("slashes", ["sqlite://", "sqlite:///"])
@pytest.mark.parametrize("there", ["nothing", "folder", "file"])
def test_of_a_store_nothing_is_made_that_was_not_there(config, tmp_path, slashes, there):
    path = tmp_path / "folder" / "a b.sqlite3"
    if there != "nothing":
        path.parent.mkdir(mode=0o700)
    if there == "file":
        SQLiteStore(path)
    before = sorted(tmp_path.rglob("*"))
    finding = of_store(config(store=slashes + quote(str(path))))
    assert sorted(tmp_path.rglob("*")) == before
    assert finding.level == ("doubtful" if there == "nothing" else "ok")
    assert str(path) in finding.what
    assert f"/{path}" not in finding.what


@pytest.mark.parametrize("there", [True, False])
def test_of_the_local_store_nothing_is_made_that_was_not_there(config, tmp_path, monkeypatch, there):
    for name in ("XDG_STATE_HOME", "HOME", "XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / "deep" / name.lower()))
    settings = config(store="local")
    if there:
        local_store(settings.fingerprint)
    before = sorted(tmp_path.rglob("*"))
    assert of_store(settings).level == "ok"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_store_of_another_user_is_no_fault_of_the_settings(config, tmp_path, monkeypatch):
    SQLiteStore(tmp_path / "store.sqlite3")
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    finding = of_store(config())
    assert (finding.level, "belongs to another user" in finding.what) == ("wrong", True)
    assert "run this as the user that the site runs as" in finding.cure


def test_a_store_that_cannot_be_written_is_named(config, tmp_path):
    (tmp_path / "file").write_text("")
    [finding] = matter(config(store=f"sqlite:///{tmp_path}/file/store.sqlite3"))
    assert (finding.check, finding.level) == ("store", "wrong")


def test_memory_for_several_workers_is_named(config, monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    monkeypatch.setattr("sys.argv", ["lumin-middleware"])
    [finding] = matter(config(store="memory://"))
    assert (finding.check, finding.level) == ("store", "wrong")
    assert "several workers" in finding.what


def test_a_proxy_that_is_none_is_named(config, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://")
    [found] = matter(config())
    assert (found.check, found.level) == ("proxies", "wrong")


@pytest.mark.parametrize("user", ["", "user:s3cret@", "s3cret@", ":s3cret@", "user:s3%2Fcret@"])
@pytest.mark.parametrize("scheme", ["", "HTTP://", "https://"])
def test_of_a_proxy_its_place_is_told_and_no_password(config, monkeypatch, scheme, user):
    monkeypatch.setenv("https_proxy", f"{scheme}{user}proxy.example:3128")
    [finding] = network.proxies(config())
    assert (finding.level, finding.what.partition(";")[0]) == ("ok", "https by proxy.example:3128")


@pytest.mark.parametrize("kind", ["nothing", "a folder", "no certificates"])
def test_certificates_that_cannot_be_used_are_named_and_nothing_is_asked_with_them(config, monkeypatch, tmp_path, kind):
    (tmp_path / "garbage.pem").write_text("no certificate")
    file = {"nothing": "/nowhere.pem", "a folder": str(tmp_path), "no certificates": str(tmp_path / "garbage.pem")}
    monkeypatch.setenv("SSL_CERT_FILE", file[kind])
    findings = list(examine(config()))
    [found] = [each for each in findings if each.level != "ok"]
    assert (found.check, found.level) == ("proxies", "wrong")
    assert found.what.startswith(f"SSL_CERT_FILE names no file of certificates: {file[kind]} (")
    assert not {"names", "server", "API"} & {each.check for each in findings}
    assert "store" in {each.check for each in findings}


def test_a_setting_of_ours_is_no_proxy_on_the_way(config, monkeypatch):
    for scheme in ("HTTP", "HTTPS", "ALL"):
        monkeypatch.delenv(f"{scheme}_PROXY", raising=False)
        monkeypatch.delenv(f"{scheme}_PROXY".lower(), raising=False)
    monkeypatch.setenv("LUMIN_API_PROXY", "GET /user/info")
    nowhere = config(api_url="https://api.nowhere.invalid/v1")
    assert "wrong" in [finding.level for finding in network.names(nowhere)]


# --- the environment ------------------------------------------------------------------------------------

GOOD = {
    "LUMIN_CLIENT_ID": "x",
    "LUMIN_CLIENT_SECRET": "y" * 20,
    "LUMIN_REDIRECT_URI": CALLBACK,
    "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"LUMIN_CLIENT_ID": ""}, "LUMIN_CLIENT_ID"),
        ({"LUMIN_SECRET_KEY": "secret"}, "secret_key|LUMIN_SECRET_KEY"),
        ({"LUMIN_SECRET_KEY": "change-me-change-me-change-me-change-me"}, "secret_key|LUMIN_SECRET_KEY"),
        ({"LUMIN_REDIRECT_URI": "http://app.example.com/auth/callback"}, "https"),
        ({"LUMIN_REQUIRED_SCOPE": "/a=b"}, "LUMIN_REQUIRED_SCOPES"),
        ({"LUMIN_PUBLIC": "static"}, "slash"),
        ({"LUMIN_STORE": "mysql://x"}, "store|LUMIN_STORE"),
    ],
)
def test_a_variable_that_is_wrong_is_named(monkeypatch, changes, named):
    for name, value in {**GOOD, **changes}.items():
        monkeypatch.setenv(name, value)
    config, [finding] = read()
    if config is None:
        assert re.search(named, finding.what)
        assert finding.level == "wrong"
    else:
        from lumin_middleware.doctor.stores import store

        assert any(each.level == "wrong" for each in store(config))


def test_variables_that_are_right_are_read(monkeypatch):
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    config, [finding] = read()
    assert config is not None
    assert finding.level == "ok"


# --- the application ------------------------------------------------------------------------------------


def of_application(config: LuminConfig, app: Any) -> list[Finding]:
    from lumin_middleware.doctor.application import application

    return [each for each in application(app, config) if each.level != "ok"]


def test_an_application_that_is_not_wrapped_is_named(config):
    [finding] = of_application(config(), Starlette(routes=[Route("/", page)]))
    assert (finding.level, "does not stand in it" in finding.what) == ("wrong", True)


@pytest.mark.parametrize("kind", ["wrapped", "added", "flask"])
def test_routes_that_ours_shadow_are_named(config, kind):
    settings = config()
    routes = [Route("/auth/login", page), Route("/auth/login/help", page), Route("/", page)]
    if kind == "wrapped":
        app: Any = LuminMiddleware(Starlette(routes=routes), settings)
    elif kind == "added":
        app = Starlette(routes=routes, middleware=[Middleware(LuminMiddleware, config=settings)])
    else:
        flask = Flask("x")
        flask.add_url_rule("/auth/login", "login", lambda: "")
        flask.wsgi_app = wsgi.LuminMiddleware(flask.wsgi_app, settings)  # type: ignore[method-assign]
        app = flask
    [finding] = of_application(settings, app)
    assert finding.what == "routes of ours shadow its own: /auth/login"


def test_patterns_that_match_no_route_are_named(config):
    settings = config(
        public=("/healthz", "/statics/*"), optional=("/blog/*",), required_scopes={"/sign/*": "sign:requests"}
    )
    routes = [
        Route("/health", page),
        Mount("/static", PlainTextResponse("")),
        Route("/blog/{slug}", page),
        Route("/sign/{id}", page),
    ]
    [finding] = of_application(settings, LuminMiddleware(Starlette(routes=routes), settings))
    assert finding.what == "patterns that match no route: /healthz, /statics/*"


@pytest.mark.parametrize(
    ("rule", "names", "misses"),
    [
        ("public", ["/sign", "/sign/", "/open/*", "/orders/7", "/files/a/b", "/docs/*", "/docs"], ["/Sign", "/sing"]),
        ("required_scopes", ["/sign", "/SIGN/*", "/Orders/7", "/orders/*", "/docs/*", "/DOCS"], ["/sing", "/sig/z/*"]),
        ("required_auth_age", ["/sign/*", "/Sign/", "/a/b/*", "/any/*"], ["/pay/z/*", "/signs", "/a/c/*"]),
    ],
)
def test_a_pattern_matches_the_routes_that_its_rule_names(config, rule, names, misses):
    routes = [
        Route("/sign", page),
        Mount("/open", PlainTextResponse("")),
        Route("/orders/{id:int}", page),
        Route("/files/{rest:path}", page),
        Mount("/Docs" if rule == "required_scopes" else "/docs", routes=[Route("/", page), Route("/one", page)]),
        Route("/{x}/b/c", page),
    ]
    given = [*names, *misses]
    value = {"public": given, "required_scopes": dict.fromkeys(given, "openid")}.get(rule, dict.fromkeys(given, 300))
    settings = config(**{rule: value})
    [finding] = of_application(settings, LuminMiddleware(Starlette(routes=routes), settings))
    assert finding.what == f"patterns that match no route: {', '.join(misses)}"


def test_cors_inside_is_named(config):
    settings = config()
    app = Starlette(routes=[Route("/", page)])
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    found = of_application(settings, LuminMiddleware(app, settings))
    assert "CORSMiddleware" in found[0].what
    outside = CORSMiddleware(LuminMiddleware(Starlette(routes=[Route("/", page)]), settings), allow_origins=["*"])
    assert of_application(settings, outside) == []


# --- a server whose certificate nobody trusts -----------------------------------------------------------


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[str]:
    """An address where TLS is spoken with a certificate of our own making."""
    import http.server
    import threading

    file = self_signed(tmp_path / "server.pem", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Nothing to say."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Whoever does not trust us hangs up."""

    server = Server(("127.0.0.1", 0), Quiet)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_speaks_no_tls_is_told_from_one_that_is_not_trusted(config, lumin):
    base = lumin.base.replace("http://", "https://")
    found = matter(config(server=AuthorizationServer.at(base), api_url=f"{base}/v1"))
    assert {finding.check for finding in found if "does not speak TLS" in finding.what} == {"server", "API"}
    assert not any("not trusted" in finding.what for finding in found)


def test_a_host_is_looked_up_once(config):
    assert [finding.check for finding in examine(config())].count("names") == 1


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("uri", "wrong"), [("/app/auth/callback", False), ("/auth/callback", True), ("/apps/cb", True)]
)
def test_ours_is_found_in_what_is_mounted_and_its_callback_below(config, uri, wrong, deep):
    settings = config(redirect_uri=f"https://app.example.com{uri}")
    inner: Any = LuminMiddleware(Starlette(routes=[Route("/x", page)]), settings)
    app = Starlette(routes=[Mount("/app", inner), Route("/open", page)])
    if deep:
        app = Starlette(routes=[Mount("", Starlette(routes=[Mount("/app", inner)]))])
    found = of_application(settings, app)
    assert [(each.level, "is not below /app" in each.what) for each in found] == [("wrong", True)] * wrong
    assert configured(app) is settings
