"""Settings are right or do not exist; each wrong one is named, and no secret is shown."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import itertools
import pydoc
import re
import secrets
from typing import Any
from urllib.parse import urlsplit

import ada_url
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lumin_middleware import AsyncGrants, Grants, LuminMiddleware, wsgi
from lumin_middleware.authorization_server import REQUESTED
from lumin_middleware.checks import ID_TOKEN_ALGORITHMS, Secret
from lumin_middleware.config import CLAIMS, LUMIN, SETTINGS, AuthorizationServer, LuminConfig, checked_config
from lumin_middleware.errors import ConfigurationError
from lumin_middleware.model import Errand, Transaction
from lumin_middleware.protocol.oauth import authorization_request, parameters
from lumin_middleware.requirements import ROUTES
from lumin_middleware.site.relying_party import RelyingParty
from tests.fakes import (
    KEY,
    OLD_KEY,
    REDIRECT_URI,
    SECRET,
    BlockingWorld,
    Clock,
    Store,
    any_text,
    config,
    hostile,
    json_values,
)


def refused(**changes: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as raised:
        config(**changes)
    return raised.value


def test_all_that_is_wrong_is_told_at_once():
    error = refused(client_id="", sessions="redis", timeout=500, after_login="home", accent="blue")
    assert [name for name, _ in error.problems] == ["client_id", "sessions", "after_login", "timeout", "accent"]
    assert (error.field, error.problem) == error.problems[0]
    assert all(f"{name}: {problem}" in str(error) for name, problem in error.problems)


def test_what_does_not_fit_together_is_told_at_once():
    error = refused(idle_timeout=700_000, verify_access_token=True, logo="/x.png", app_url="/")
    assert [name for name, _ in error.problems] == ["idle_timeout", "verify_access_token", "app_url", "logo"]


def test_a_short_session_needs_no_idle_time_and_has_none():
    settings = config(absolute_timeout=3600)
    assert dataclasses.replace(settings, absolute_timeout=604_800) == config()
    assert config(idle_timeout=3600, absolute_timeout=3600).idle_timeout == 3600
    assert refused(idle_timeout=3601, absolute_timeout=3600).field == "idle_timeout"


@pytest.mark.parametrize("uri", [REDIRECT_URI, "https://app.example.com/callback", "https://app.example.com/a/b/cb/"])
@pytest.mark.parametrize("written", ["{}", "{}?x=1", "{}#top", "{}/", "/x/..{}", "/.{}", "/%2e{}", "/%2E%2E{}"])
@pytest.mark.parametrize("name", ["after_login", "after_logout"])
def test_nobody_is_led_to_a_route_that_is_no_page(uri, written, name):
    settings = config(redirect_uri=uri)
    routes = [settings.callback_path, f"{settings.prefix}/api/user/info"]
    routes += [f"{settings.prefix}/{route}" for route in ROUTES if (name, route) != ("after_logout", "logout")]
    for route in routes:
        error = refused(redirect_uri=uri, **{name: written.format(route)})
        assert error.field == name
        assert "is a route of ours" in error.problem


def test_where_a_logout_leads_follows_a_changed_copy():
    changed = dataclasses.replace(config(), redirect_uri="https://app.example.com/sso/callback")
    assert changed == config(redirect_uri="https://app.example.com/sso/callback")
    assert changed.after_logout is None
    assert config(after_logout="/auth/logout?x=1").after_logout == "/auth/logout?x=1"


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("claims", "a list of names, such as ['sub', 'email']"),
        ("trusted_audiences", "a list of client IDs, such as ['another-client']"),
        ("admit", "a list of addresses, such as ['ann@example.org', '*@example.com'], or a function"),
        ("public", "a list of patterns, such as ['/healthz', '/static/*']"),
        ("api_proxy", "a list, such as ['GET /user/info', '/signature_request/*']"),
        ("trusted_proxies", "a list of networks, such as ['127.0.0.1', '10.0.0.0/8']"),
    ],
)
def test_what_is_no_list_is_told_with_an_example_that_would_be_taken(name, example):
    assert refused(**{name: "*@example.com"}).problem == f"'*@example.com' must be {example}"
    shown = ast.literal_eval(re.search(r"\[.*\]", example)[0])
    assert getattr(config(**{name: shown}), name) == tuple(shown)


@pytest.mark.parametrize("name", ["client_id", "client_secret", "redirect_uri", "api_url", "secret_key"])
@pytest.mark.parametrize(
    ("value", "kind"), [(None, "is None"), (7, "is of the type int"), (Secret, "is the class Secret")]
)
def test_what_is_there_and_no_text_is_not_called_missing(name, value, kind):
    problem = refused(**{name: value}).problem
    assert kind in problem
    assert "missing" not in problem
    assert "missing" in refused(**{name: ""}).problem


@pytest.mark.parametrize("name", ["client_id", "client_secret", "redirect_uri"])
def test_bytes_are_told_and_not_shown(name):
    problem = refused(**{name: b"hunter2"}).problem
    assert "must be a text, and is of the type bytes" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("given", "kind"),
    [({"client_id": "x"}, "of the type dict"), ("x", "of the type str"), (LuminConfig, "the class LuminConfig")],
)
def test_what_are_no_settings_is_told_with_what_would_be(given, kind):
    with pytest.raises(ConfigurationError, match=f"must be a LuminConfig, and is {kind}") as raised:
        checked_config(given)
    assert raised.value.field == "config"


@pytest.mark.parametrize(
    "make",
    [
        lambda given: LuminMiddleware(lambda scope, receive, send: None, given),
        lambda given: wsgi.LuminMiddleware(lambda environ, start_response: [], given),
        Grants,
        AsyncGrants,
    ],
    ids=["ASGI", "WSGI", "Grants", "AsyncGrants"],
)
def test_whoever_takes_settings_looks_whether_they_are_some(make):
    with pytest.raises(ConfigurationError, match="must be a LuminConfig, and is of the type dict"):
        make({"client_id": "x"})


def test_settings_are_those_that_were_given_or_the_environment_s(lumin_environment):
    assert checked_config(None) == LuminConfig.from_env()
    given = config()
    assert checked_config(given) is given


def test_each_setting_is_looked_at():
    from lumin_middleware.requirements import _EACH

    assert set(_EACH) == set(SETTINGS)


# --- whatever comes ---

ODD = [
    *(None, True, 0, -1, 10**30, 0.5, float("nan"), float("inf"), object(), object, LuminConfig, len, iter("x"), ...),
    *("", " ", "x", "[", "http://[", "data:", "\ud800", "a\0b", b"", b"x", b"\xff"),
    *((), [], [[]], [None], ["x", 1], {}, {1: 2}, {"x": None}, {"/x": "/x"}, {"/x": -1}, {"en": {}}),
]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(LuminConfig) if field.init])
def test_no_value_is_answered_but_by_a_sentence_about_a_setting(field):
    for value in ODD:
        with contextlib.suppress(ConfigurationError):
            assert config(**{field: value}).fingerprint


class HasBoth:
    """What a store must have, on the class alone."""

    def get(self, key: str) -> None: ...

    def swap(self, key: str, old: None, new: None, ttl: float) -> bool: ...


@pytest.mark.parametrize("store", [None, 3, b"redis://:hunter2@host", object(), {}, HasBoth, {"get": 1, "swap": 2}])
def test_what_is_no_store_is_refused_and_not_repeated(store):
    error = refused(store=store)
    assert error.field == "store"
    assert "an object with get and swap" in error.problem
    assert "hunter2" not in str(error)


def test_an_object_with_both_verbs_is_a_store():
    store = HasBoth()
    assert config(store=store).store is store


# --- one URL rules ---


@pytest.mark.parametrize(
    ("redirect_uri", "origin", "path", "prefix", "secure"),
    [
        ("https://app.example.com/auth/callback", "https://app.example.com", "/auth/callback", "/auth", True),
        ("https://app.example.com/callback", "https://app.example.com", "/callback", "", True),
        ("https://APP.Example.com:443/a/b/c", "https://app.example.com", "/a/b/c", "/a/b", True),
        ("https://app.example.com:8443/auth/cb?x=1", "https://app.example.com:8443", "/auth/cb", "/auth", True),
        ("HTTPS://app.example.com/auth/cb", "https://app.example.com", "/auth/cb", "/auth", True),
        ("http://localhost:8000/auth/cb", "http://localhost:8000", "/auth/cb", "/auth", False),
        ("http://127.0.0.1:80/auth/cb", "http://127.0.0.1", "/auth/cb", "/auth", False),
        ("http://[::1]:8000/auth/cb", "http://[::1]:8000", "/auth/cb", "/auth", False),
        ("http://app.localhost:8000/auth/cb", "http://app.localhost:8000", "/auth/cb", "/auth", False),
        ("https://app.example.com/auth/callback/", "https://app.example.com", "/auth/callback/", "/auth", True),
        ("https://app.example.com/callback/", "https://app.example.com", "/callback/", "", True),
    ],
)
def test_the_redirect_uri_gives_the_origin_the_routes_and_the_kind_of_cookies(
    redirect_uri, origin, path, prefix, secure
):
    found = config(redirect_uri=redirect_uri)
    assert (found.origin, found.callback_path, found.prefix, found.secure) == (origin, path, prefix, secure)
    assert found.origin == ada_url.URL(redirect_uri).origin
    assert found.redirect_uri == redirect_uri


def test_the_routes_that_a_callback_may_not_take_are_all_of_them():
    settings = config(sessions="store", backchannel_logout=True, api_proxy=["/user/info"])
    party = RelyingParty(settings, BlockingWorld(Store(Clock(), []), None, Clock()))
    below = {path.removeprefix("/auth/").partition("/")[0] for path in party._routes}
    assert below - {"callback"} <= set(ROUTES)


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_callback_may_not_have_the_name_of_another_route(name, slash):
    assert refused(redirect_uri=f"https://app.example.com/auth/{name}{slash}").field == "redirect_uri"


WRONG_URLS = [
    None,
    "",
    42,
    b"https://app.example.com/x",
    "app.example.com/x",
    "ftp://app.example.com/x",
    "javascript:alert(1)",
    "http://app.example.com/x",
    "http://localhost.evil.example/x",
    "https:///x",
    "https://user@app.example.com/x",
    "https://user:pass@app.example.com/x",
    "https://app.example.com/x#fragment",
    "https://app.example.com/x#",
    "https://app.example.com:0/x",
    "https://app.example.com:99999/x",
    "https://app.example.com:port/x",
    "https://[::1/x",
    "https://app.example.com/x y",
    "https://app.example.com/x\n",
    "https://app.example.com/\tx",
    "https://app.example.com/x\\y",
    "https://app.example.com/é",
    "https://äpp.example.com/x",
    "https://app.example.com\u2100/x",
]


@pytest.mark.parametrize("url", WRONG_URLS)
@pytest.mark.parametrize("field", ["redirect_uri", "api_url", "post_logout_redirect_uri", "server.issuer"])
def test_a_url_that_is_none_is_refused_by_name(field, url):
    if field == "server.issuer":
        with pytest.raises(ConfigurationError) as raised:
            AuthorizationServer.discover(url)
        assert raised.value.field == field
    elif field != "post_logout_redirect_uri" or url is not None:
        assert refused(**{field: url, "end_session": True}).field == field


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com/auth/callback//",
        "https://app.example.com/auth/%63allback",
        "https://app.example.com/auth/../callback",
        "https://app.example.com//callback",
        "https://app.example.com/auth/call*back",
        "https://app.example.com/auth/*",
        "https://app.example.com/*",
        "https://app.example.com/auth;v=1/callback",
    ],
)
def test_a_redirect_uri_without_a_plain_path_of_its_own_is_refused(uri):
    assert refused(redirect_uri=uri).field == "redirect_uri"


@pytest.mark.parametrize(
    "query", ["code=1", "x=1&state=", "%73tate=1", "error=x", "iss=y", "scope=z", "x=1&x=2", "x=%ff"]
)
def test_a_redirect_uri_has_nothing_in_its_query_that_would_come_twice_or_cannot_be_read(query):
    """`oauth.parameters` would refuse each callback."""
    error = refused(redirect_uri=f"{REDIRECT_URI}?{query}")
    assert error.field == "redirect_uri"
    assert "leave it out" in error.problem


def test_a_star_in_a_redirect_uri_is_named():
    assert "use another name" in refused(redirect_uri="https://app.example.com/auth/*").problem


def test_only_the_redirect_uris_may_have_a_query():
    uri = "https://app.example.com/out?x=1"
    assert config(end_session=True, post_logout_redirect_uri=uri).post_logout_redirect_uri == uri
    assert refused(api_url="https://api.example.com/v1?x=1").field == "api_url"


@pytest.mark.parametrize(
    "url", ["http://user:hunter2@app.example.com/x", "ftp://user:hunter2@app.example.com/x", "https://u:hunter2@a/x#y"]
)
@pytest.mark.parametrize("field", ["redirect_uri", "api_url"])
def test_no_error_repeats_the_password_of_a_url(field, url):
    assert "hunter2" not in str(refused(**{field: url}))


# --- secrets ---


@pytest.mark.parametrize("store", ["memory://", "redis://:hunter2@redis.example:6379/0"])
def test_no_secret_is_shown(store):
    settings = config(secret_key=[KEY, OLD_KEY.hex()], store=store)
    for shown in (repr(settings), str(settings), f"{settings}", repr(dataclasses.replace(settings, scope="openid"))):
        assert SECRET not in shown
        assert repr(KEY) not in shown
        assert OLD_KEY.hex() not in shown
        assert "hunter2" not in shown


def test_the_client_secret_hides_itself_and_is_the_same_text():
    secret = config().client_secret
    assert secret == SECRET
    assert str(secret) == SECRET
    assert repr(secret) == repr([secret])[1:-1] == "Secret('…')"
    assert repr(Secret("x")) == "Secret('…')"


WEAK_KEYS = {
    "short": secrets.token_bytes(31),
    "equal": b"a" * 64,
    "few characters": b"abcabacbbacbcabcbacbabcabcacbbacabc",
    "repeated": b"Tr0ub4dor&3!" * 4,
    "sequence": bytes(range(32, 96)),
    "sequence backwards": bytes(range(96, 32, -1)),
    "a placeholder": b"your-key-goes-here-K7dj2Lq0vXb3nZ9w",
    "another placeholder": "change-me-please-9Kd82Lq0vXb3nZ7wQ",
    "from the documentation": "my secret key 9Kd82Lq0vXb3nZ7wQ12",
    "words": b"correct horse battery staple and so on",
    "of the README": "8Zb0q1-lsk3IwTzX7mD5vUe9NcRfyGPhJa2LoQ4xWtM",
    "a line": secrets.token_urlsafe(32) + "\n",
    "a line of bytes": secrets.token_urlsafe(32).encode() + b"\r\n",
    "a byte order mark": "\ufeff" + secrets.token_urlsafe(32),
    "a byte order mark's bytes": b"\xef\xbb\xbf" + secrets.token_urlsafe(32).encode(),
    "a space": " " + secrets.token_urlsafe(32),
    "Django's": "django-insecure-9Kd82Lq0vXb3nZ7wQ_8Zb0q1-lsk3IwTzX7",
    "lines": b"Kd82Lq0vXb3nZ7wQ\nb9Kd82Lq0vXb3nZ7wQ",
}


@pytest.mark.parametrize("weak", WEAK_KEYS.values(), ids=WEAK_KEYS)
def test_a_weak_key_is_refused_wherever_it_stands_and_not_shown(weak):
    assert refused(secret_key=weak).field == "secret_key"
    error = refused(secret_key=[KEY, weak])
    assert "key 2 of 2" in str(error)
    assert str(refused(secret_key=[weak])).startswith("secret_key: the key ")
    assert str(weak) not in str(error)


@pytest.mark.parametrize("wrong", [None, "", [], (), [None], [""], 42, [KEY, None], [KEY, 7], {"key": KEY}, "é" * 10])
def test_a_key_that_is_none_is_refused(wrong):
    assert refused(secret_key=wrong).field == "secret_key"


@hostile
@given(st.binary(min_size=32, max_size=32))
def test_random_keys_are_not_refused_by_chance(key):
    assume(len(set(key)) > 20)
    assume(sum(abs(a - b) <= 1 for a, b in itertools.pairwise(key)) < 8)
    assert len(config(secret_key=key).keys) == 1


def test_a_thousand_keys_as_we_make_them_are_strong():
    for _ in range(1000):
        text = secrets.token_urlsafe(32)
        keys = config(secret_key=[text, secrets.token_bytes(32), secrets.token_hex(32)]).keys
        assert keys[:1] == config(secret_key=text.encode()).keys


def test_keys_stay_in_their_order_and_survive_a_change_of_settings():
    settings = config(secret_key=[KEY, OLD_KEY.hex()])
    assert settings.keys == (*config(secret_key=KEY).keys, *config(secret_key=OLD_KEY.hex().encode()).keys)
    assert dataclasses.replace(settings, scope="openid").keys == settings.keys


def test_another_client_has_other_keys():
    assert not set(config(secret_key=KEY).keys) & set(config(secret_key=KEY, client_id="another").keys)


def test_the_fingerprint_is_the_site_s_and_outlives_its_keys():
    assert config().fingerprint == config(secret_key=OLD_KEY).fingerprint
    assert config().fingerprint != config(client_id="other").fingerprint
    assert config().fingerprint != config(redirect_uri="https://app.example.com/auth/cb").fingerprint


# --- every other field ---

WRONG = [
    ("client_id", ""),
    ("client_id", None),
    ("client_id", "  "),
    ("client_secret", ""),
    ("client_secret", b"bytes"),
    ("scope", ""),
    ("scope", "sign:requests"),
    ("scope", "openid  double"),
    ("scope", " openid"),
    ("scope", "openid,sign:requests"),
    ("scope", 'openid "quoted"'),
    ("scope", "openid back\\slash"),
    ("scope", "openid\tsign:requests"),
    ("scope", ["openid"]),
    ("scope", None),
    ("server", "https://auth.luminpdf.com"),
    ("server", None),
    ("token_endpoint_auth_method", "none"),
    ("token_endpoint_auth_method", None),
    ("id_token", "maybe"),
    ("trusted_audiences", "partner"),
    ("trusted_audiences", [None]),
    ("trusted_audiences", 7),
    ("id_token_signed_response_alg", "none"),
    ("id_token_signed_response_alg", "HS256"),
    ("id_token_signed_response_alg", ["RS256"]),
    ("sessions", "memory"),
    ("public", "/healthz"),
    ("public", 7),
    ("public", ["healthz"]),
    ("public", ["/static*"]),
    ("public", ["/*/x"]),
    ("public", ["/a//b"]),
    ("public", ["/a/../b"]),
    ("public", ["/a/./b"]),
    ("public", ["/a%2Fb"]),
    ("public", ["/a?b"]),
    ("public", ["/a;b"]),
    ("public", ["/a b"]),
    ("public", ["/a\n"]),
    ("public", ["/a\\b"]),
    ("public", [None]),
    ("optional", "/"),
    ("optional", ["*"]),
    ("required_scopes", ["/sign/*"]),
    ("required_scopes", {"sign": "sign:requests"}),
    ("required_scopes", {"/sign/*": ""}),
    ("required_scopes", {"/sign/*": ["sign:requests"]}),
    ("idle_timeout", 0),
    ("idle_timeout", 59),
    ("idle_timeout", True),
    ("idle_timeout", "60"),
    ("idle_timeout", float("nan")),
    ("idle_timeout", float("inf")),
    ("idle_timeout", 604_801),
    ("absolute_timeout", -1),
    ("absolute_timeout", 31_536_001),
    ("timeout", 0),
    ("timeout", 121),
    ("api_timeout", 0),
    ("api_timeout", None),
    ("after_login", "https://evil.example/"),
    ("after_login", "//evil.example/"),
    ("after_login", "/\\evil.example/"),
    ("after_login", "home"),
    ("after_login", ""),
    ("after_login", "/a b"),
    ("after_logout", "/bye\r\nX: y"),
    ("app_name", ""),
    ("app_name", " "),
    ("app_name", 7),
    ("app_name", "x" * 81),
    ("app_name", "two\nlines"),
    ("app_url", "javascript:alert(1)"),
    ("app_url", "//evil.example"),
    ("app_url", "http://elsewhere.example/"),
    ("app_url", "/without-a-name"),
    ("accent", "red"),
    ("accent", "#12345"),
    ("accent", "#1234567"),
    ("accent", "#ggg"),
    ("accent", "#fff;}"),
    ("accent", 0xFF6600),
    ("logo", "logo.svg"),
    ("logo", "http://[::1"),
    ("logo", "//evil.example/logo.svg"),
    ("logo", "http://cdn.example.com/logo.svg"),
    ("logo", "http://localhost/logo.svg"),
    ("logo", "data:text/html,x"),
    ("logo", "data:image/png;base64," + "A" * 40_000),
    ("logo", "https://cdn.example.com/a b"),
    ("logo", "https://cdn.example.com;script-src/x"),
    ("logo", "/without-a-name.svg"),
    ("texts", "de"),
    ("texts", {"de": {"x": "y"}}),
    ("pages", "page.html"),
    ("trusted_proxies", "127.0.0.1"),
    ("trusted_proxies", 7),
    ("trusted_proxies", ["proxy.example"]),
    ("trusted_proxies", ["10.0.0.1/8"]),
    ("trusted_proxies", [2130706433]),
    ("verify_access_token", True),
    ("api_proxy", "/user/info"),
    ("api_proxy", 7),
    ("api_proxy", ["user/info"]),
    ("api_proxy", ["TRACE /user/info"]),
    ("api_proxy", ["get /user/info"]),
    ("api_proxy", ["GET  /user/info"]),
    ("api_proxy", [None]),
    ("claims", "sub"),
    ("claims", [1]),
    ("claims", None),
    ("claims", 7),
    ("client_id", "half a character: \ud83d"),
    ("client_secret", "half a character: \ud83d"),
    *(("end_session", value) for value in ("false", "true", "", 0, 1, None)),
    ("strict_logout", "no"),
    ("backchannel_logout", 1),
    ("verify_access_token", "yes"),
    *(
        (name, value)
        for name in ("client_id", "client_secret")
        for value in (
            "ends\r",
            "ends\n",
            "\ufeffbegins",
            "in\r\nside",
            " begins",
            "ends ",
            "a\u00a0b",
            "a\u200bb",
            "\t",
        )
    ),
    ("secret_key", "half a character: \ud83d Kd82Lq0vXb3nZ7wQ9Kd82Lq0vXb3nZ7wQ"),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=[f"{field}={value!r:.30}" for field, value in WRONG])
def test_a_wrong_setting_is_refused_by_name(field, value):
    error = refused(**{field: value})
    assert error.field == field
    assert str(error).startswith(f"{field}: ")


def test_a_page_after_the_logout_at_the_server_needs_that_logout():
    error = refused(post_logout_redirect_uri="https://app.example.com/bye")
    assert error.field == "post_logout_redirect_uri"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scope", "openid"),
        ("id_token_signed_response_alg", "EdDSA"),
        ("public", ["/", "/healthz", "/static/*", "/*", "/.well-known/x", "/café"]),
        ("public", iter(["/healthz"])),
        ("required_scopes", {"/sign/*": "sign:requests templates"}),
        ("idle_timeout", 60),
        ("timeout", 0.1),
        ("after_login", "/home?x=1#top"),
        ("claims", ("sub",)),
        ("trusted_audiences", ["partner"]),
        ("trusted_proxies", ["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"]),
        ("api_proxy", ["GET /user/info", "/signature_request/*"]),
        ("api_url", "http://127.0.0.1:9999"),
    ],
)
def test_a_right_setting_is_taken(field, value):
    assert getattr(config(**{field: value}), field) is not None


def test_patterns_are_kept_as_a_tuple_whatever_they_came_in():
    assert config(public=iter(["/a", "/b/*"])).public == ("/a", "/b/*")


@hostile
@given(
    field=st.sampled_from([name for name in SETTINGS if name != "store"]),
    value=json_values | st.binary(max_size=50) | any_text.map(lambda text: f"https://{text}/x"),
)
def test_any_value_is_taken_or_refused_by_name(field, value):
    try:
        settings = config(**{field: value})
    except ConfigurationError as error:
        named = error.field
    else:
        named = field
        assert settings.origin
        assert settings.fingerprint
    assert named == field


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().scope = "openid"


def test_settings_take_no_positions():
    with pytest.raises(TypeError):
        LuminConfig("id", SECRET, REDIRECT_URI, KEY)


def test_the_defaults_are_lumin_s():
    settings = config()
    assert (settings.scope, settings.token_endpoint_auth_method) == (
        "openid offline_access sign:requests",
        "client_secret_post",
    )
    assert (settings.sessions, settings.store, settings.id_token) == ("cookie", "local", "or_user_info")
    assert (settings.idle_timeout, settings.absolute_timeout) == (86_400, 604_800)
    assert CLAIMS[0] == "sub"
    assert not {"none", "HS256", "HS384", "HS512"} & set(ID_TOKEN_ALGORITHMS)


# --- the authorization server ---


def test_lumin_is_a_hydra_at_its_address():
    assert AuthorizationServer.at("https://auth.luminpdf.com/") == LUMIN
    assert LUMIN.issuer == "https://auth.luminpdf.com"
    assert [getattr(LUMIN, name) for name in AuthorizationServer.ENDPOINTS] == [
        f"https://auth.luminpdf.com{path}"
        for path in (
            "/oauth2/auth",
            "/oauth2/token",
            "/.well-known/jwks.json",
            "/oauth2/revoke",
            "/oauth2/sessions/logout",
        )
    ]
    assert not LUMIN.discovery


def test_an_issuer_is_presumed_where_only_the_base_is_known():
    base, issuer = "https://a.example", "https://b.example"
    presumed = AuthorizationServer.at(base)
    assert (presumed.issuer, presumed.base, presumed.learns_issuer) == (base, base, True)
    given = AuthorizationServer.at(base, issuer=issuer)
    assert (given.issuer, given.token_endpoint, given.learns_issuer) == (issuer, f"{base}/oauth2/token", False)
    assert not AuthorizationServer.at(base, issuer=base).learns_issuer
    assert not dataclasses.replace(presumed, issuer=issuer).learns_issuer
    assert not AuthorizationServer.discover(base).learns_issuer
    with pytest.raises(ConfigurationError, match=r"server\.base"):
        dataclasses.replace(presumed, base="a.example")
    with pytest.raises(ConfigurationError, match=r"server\.issuer"):
        AuthorizationServer.at(base, issuer="b.example")


def test_a_server_without_discovery_needs_its_two_endpoints():
    with pytest.raises(ConfigurationError, match="token_endpoint"):
        AuthorizationServer(issuer="https://a.example", authorization_endpoint="https://a.example/auth")
    assert AuthorizationServer.discover("https://a.example").discovery


@pytest.mark.parametrize("base", [None, "", 7, "auth.example", "http://auth.example"])
def test_a_server_at_no_address_is_refused_by_name(base):
    with pytest.raises(ConfigurationError) as raised:
        AuthorizationServer.at(base)
    assert raised.value.field == "server"


@pytest.mark.parametrize("name", AuthorizationServer.ENDPOINTS)
def test_a_wrong_endpoint_is_refused_by_name(name):
    with pytest.raises(ConfigurationError) as raised:
        AuthorizationServer(issuer="https://a.example", discovery=True, **{name: "http://a.example/x"})
    assert raised.value.field == f"server.{name}"


@pytest.mark.parametrize("name", ["response_type", "client_id", "redirect_uri", "scope", "state", "nonce"])
def test_an_endpoint_has_nothing_in_its_query_that_we_say(name):
    """Which of the two a server takes nobody knows."""
    endpoint = f"https://a.example/auth?tenant=1&{name}=x"
    with pytest.raises(ConfigurationError, match=f"'{name}' in its query") as raised:
        AuthorizationServer(issuer="https://a.example", discovery=True, authorization_endpoint=endpoint)
    assert raised.value.field == "server.authorization_endpoint"


def test_what_we_say_to_an_endpoint_is_known():
    transaction = Transaction("state", "nonce", "v" * 43, Errand("/", "openid"))
    location = authorization_request(config(), config().server, transaction, {})
    assert set(parameters(urlsplit(location).query)) == set(REQUESTED)


def test_an_endpoint_may_have_a_query_and_an_issuer_may_not():
    AuthorizationServer(issuer="https://a.example", discovery=True, token_endpoint="https://a.example/t?x=1")
    with pytest.raises(ConfigurationError):
        AuthorizationServer.discover("https://a.example?x=1")


@pytest.mark.parametrize(
    ("field", "written"),
    [("idle_timeout", "between 60 and 31536000"), ("timeout", "between 0.1 and 120"), ("api_timeout", "0.1 and 3600")],
)
def test_limits_are_written_as_people_write_numbers(field, written):
    assert written in str(refused(**{field: -1}))


UNSEEN = ["\u200b", "\xad", "\u2060", "\ufeff", "\u2028", "\xa0", "\u3164", "\u034f", "\ufe0f", "\u200d", "\U000e0041"]


@pytest.mark.parametrize("unseen", UNSEEN)
@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("required_scopes", lambda text: {f"/pay{text}": "sign:requests"}),
        ("required_scopes", lambda text: {f"/{text}pay/*": "sign:requests"}),
        ("required_auth_age", lambda text: {f"/p{text}ay": 300}),
        *((name, lambda text: ["/a", f"/pay{text}"]) for name in ("public", "optional")),
        ("public", lambda text: iter([f"/pay{text}"])),
        ("api_proxy", lambda text: [f"GET /user/{text}info"]),
        ("admit", lambda text: [f"ann@example.org{text}"]),
        ("claims", lambda text: ["sub", f"{text}email"]),
        ("trusted_audiences", lambda text: [f"other{text}"]),
        ("trusted_proxies", lambda text: [f"10.0.0.1{text}"]),
        *((name, lambda text: f"x{text}") for name in ("client_id", "cookie_name", "sessions", "app_name", "accent")),
        *((name, lambda text: f"/x{text}") for name in ("after_login", "after_logout", "app_url", "logo")),
        *((name, lambda text: f"https://a.example{text}/v1") for name in ("redirect_uri", "api_url")),
        ("post_logout_redirect_uri", lambda text: f"https://a.example/{text}"),
        ("scope", lambda text: f"openid{text}"),
        ("store", lambda text: f"redis://:hunter2@h{text}"),
        ("server", lambda text: f"https://auth.example{text}"),
    ],
)
def test_what_nobody_sees_in_a_text_is_named(name, written, unseen):
    """A pattern with it protects nothing that anybody asks for."""
    value = written(unseen)
    with pytest.raises(ConfigurationError) as raised:
        config(**{name: AuthorizationServer.at(value) if name == "server" else value})
    assert raised.value.field == name
    said = "a byte order mark" if unseen == "\ufeff" else f"the invisible character U+{ord(unseen):04X}"
    assert f"holds {said}; " in raised.value.problem
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "word",
    [
        "café",
        "日本語",
        "ガレージ",
        "เมนู",
        "מחיר",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "क्\u200dष",
        "❤\ufe0f",
        "👩\u200d💻",
        "葛\U000e0100城",
        "丈\ufe00",
        "カフェ\u3000一",
    ],
)
def test_a_pattern_may_be_in_any_language(word):
    path = f"/{word}"
    settings = config(public=[path], required_scopes={f"{path}/*": "sign:requests"}, app_name=word)
    assert settings.public == (path,)


def test_what_a_credential_brought_along_is_named():
    assert "a carriage return" in str(refused(client_secret="secret\r"))
    assert "a line feed" in str(refused(client_id="id\n"))
    assert "a byte order mark" in str(refused(client_id="\ufeffid"))
    assert "U+200B" in str(refused(client_secret="sec\u200bret"))


def test_help_shows_no_secret_of_the_environment(monkeypatch):
    monkeypatch.setenv("LUMIN_CLIENT_SECRET", "hunter2")
    assert "hunter2" not in pydoc.render_doc(LuminConfig)
    assert "hunter2" not in str(inspect.signature(LuminConfig.from_env))


# --- pages ---


@pytest.mark.parametrize("accent", ["#f60", "#FF6600", "#ff6600"])
def test_a_colour_is_written_in_one_way(accent):
    assert config(accent=accent).accent == "#ff6600"


@pytest.mark.parametrize(
    "logo",
    [
        "/logo.svg",
        "https://cdn.example.com:8443/a.png?v=1",
        "data:image/svg+xml,%3Csvg/%3E",
        "data:image/png;base64,AA==",
    ],
)
def test_a_logo_stands_beside_a_name(logo):
    assert config(logo=logo, app_name="Tool hire", app_url="/").logo == logo
    assert "app_name" in refused(logo=logo).problem


def test_pages_are_made_at_once():
    async def later(page: object) -> str:
        return ""

    assert "async" in refused(pages=later).problem


def test_the_name_of_a_site_may_come_from_the_environment():
    said = {"LUMIN_APP_NAME": "Tool hire, north", "LUMIN_APP_URL": "/", "LUMIN_ACCENT": "#f60", "LUMIN_LOGO": "/l.svg"}
    needed = {
        "LUMIN_CLIENT_ID": "x",
        "LUMIN_CLIENT_SECRET": "y",
        "LUMIN_REDIRECT_URI": "https://app.example.com/auth/callback",
        "LUMIN_SECRET_KEY": KEY.hex(),
    }
    found = LuminConfig.from_env({**needed, **said})
    assert (found.app_name, found.app_url, found.accent, found.logo) == ("Tool hire, north", "/", "#ff6600", "/l.svg")


@pytest.mark.parametrize("end", ["/oauth2/auth", "/oauth2/token", "/oauth2/auth/", "/.well-known/openid-configuration"])
def test_one_endpoint_is_no_base_of_a_server(end):
    with pytest.raises(ConfigurationError, match=r"give its base, 'https://auth\.example\.com'"):
        AuthorizationServer.at(f"https://auth.example.com{end}")
