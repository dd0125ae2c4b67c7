"""nginx holds who may pass, by a key that says all that the answer depends on; and what it may not hold, it asks."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware import ConfigurationError, LuminMiddleware
from lumin_middleware.gateway.nginx_cache import classes, cookies
from lumin_middleware.gateway.snippets import Cache, nginx_http, snippet
from lumin_middleware.sessions.cookies import Cookies
from lumin_middleware.site.access import OPTIONAL, PROTECTED, PUBLIC, Rules
from tests.fakes import config, hostile, request
from tests.proxies.programs import proxy
from tests.proxies.rig import LOOPBACK, Browser, Echo, Front, front, serve, told
from tests.site_rig import Clock

SECONDS = 60  # nothing that is held here is over before its test is
RULES = {"public": ("/free/*", "/healthz"), "optional": ("/maybe",), "required_scopes": {"/sign/*": "sign:requests"}}


@dataclass
class Held:
    """nginx that holds, before a service; and what it asked `verify`."""

    front: Front
    clock: Clock
    asked: list[str]
    askers: set[tuple[str, int]]
    """The connections by which it asked."""

    folder: Path

    def asks(self, browser: Browser, *paths: str, **headers: str) -> int:
        """How often nginx asks while somebody goes to these, one after the other."""
        before = len(self.asked)
        for path in paths:
            assert browser.get(path, headers=headers).status_code == 200, path
        return len(self.asked) - before

    def names(self) -> set[str]:
        """Of the files of the answers that are held."""
        return {each.name for each in self.folder.iterdir() if re.fullmatch("[0-9a-f]{32}", each.name)}

    def files(self) -> int:
        """How many answers are held."""
        return len(self.names())


@contextmanager
def holding(folder, app_settings=None, seconds=SECONDS) -> Iterator[Held]:
    clock, asked, askers = Clock(), [], set()
    with ExitStack() as stack:
        site = stack.enter_context(front(clock=clock))
        upstream = stack.enter_context(serve(Echo()))
        written = site.config(trusted_proxies=(LOOPBACK,), **RULES)
        app = LuminMiddleware(Echo(), replace(written, **(app_settings or {})), clock=clock)

        async def counted(scope, receive, send):
            if scope["type"] == "http" and scope["path"] == "/auth/verify" and b"redirect" not in scope["query_string"]:
                asked.append(dict(scope["headers"])[b"x-forwarded-uri"].decode())
                askers.add(tuple(scope["client"]))
            await app(scope, receive, send)

        auth = stack.enter_context(serve(counted, lifespan="on"))
        stack.enter_context(proxy("nginx", written, site.port, folder, auth=auth, upstream=upstream, cache=seconds))
        [folder] = folder.glob("held-*")
        yield Held(site, clock, asked, askers, folder)


@pytest.fixture(scope="module")
def held(tmp_path_factory) -> Iterator[Held]:
    with holding(tmp_path_factory.mktemp("nginx")) as held:
        yield held


@pytest.fixture
def browser(held) -> Iterator[Browser]:
    """Somebody who is signed in, and of whom nothing is held."""
    with held.front.browser() as browser:
        assert browser.sign_in("/sign/start").status_code == 200
        yield browser


# --- in the real program ---


def test_it_asks_once_for_all_pages_of_one_rule(held, browser):
    assert held.asks(browser, "/a", "/b/c", "/d?x=1", "/") == 1
    assert held.asks(browser, "/free/a", "/healthz", "/free/b") <= 1
    assert held.asks(browser, "/maybe", "/maybe?x=2") == 1


def test_it_keeps_the_connections_by_which_it_asks(held, browser):
    before = len(held.askers)
    assert held.asks(browser, *[f"/sign/kept/{number}" for number in range(20)]) == 20
    assert len(held.askers) - before < 10  # one is not kept for long, and some questions may come late


def test_it_asks_again_when_the_seconds_are_over(tmp_path):
    with holding(tmp_path, seconds=2) as held, held.front.browser() as someone:
        someone.sign_in("/a")
        before = someone.cookie()
        someone.sign_out()
        while someone.get("/a", headers={"cookie": before}).status_code == 200:
            threading.Event().wait(0.1)
        assert someone.get("/a", headers={"cookie": before}).status_code == 401


def test_where_scopes_are_needed_each_target_is_asked_about(held, browser):
    assert held.asks(browser, "/sign/a", "/sign/a", "/sign/b", "/SIGN/a") == 3


@pytest.mark.parametrize("path", ["/a%2Fb", "/a//b", "/a;x", "/%61", "/a?%c3%a9", "/caf%C3%A9"])
def test_what_is_not_written_plainly_is_asked_about_each_time(held, browser, path):
    assert held.asks(browser, "/a") == 1
    assert held.asks(browser, path, path) == (0 if path == "/a?%c3%a9" else 2)


def test_a_public_answer_is_everybodys(held, browser):
    with held.front.browser() as stranger:
        held.asks(stranger, "/free/a")
        ours = {"cookie": f"{browser.cookie()}; theirs=1"}
        assert held.asks(stranger, "/free/b", **ours) == 0
        seen = told(stranger.get("/free/b", headers=ours))
        assert seen["cookie"] == ["theirs=1"]
        assert not seen.get("x-auth-request-user")


def test_whoever_is_not_signed_in_adds_nothing_to_what_is_held(tmp_path):
    """Whatever they choose of a request, and however long: what is held lies in memory."""
    with holding(tmp_path) as held, held.front.browser() as stranger:
        name = held.front.config().session_cookie
        held.asks(stranger, "/free/x", "/maybe")
        few = held.files()
        assert few == 2
        for number in range(20):
            for headers in (
                {"cookie": f"{name}-login-{number:016x}=x"},
                {"cookie": f"{name}={number}{'x' * 6000}"},
                {"cookie": f"lumin-else={number}"},
                {"cookie": f"theirs={number}"},
                {"origin": f"http://{number}", "upgrade": "x"},
                {"origin": f"http://{number}", "sec-websocket-version": "0"},
            ):
                held.asks(stranger, "/free/x", **headers)
            held.asks(stranger, f"/free/%41{number}", f"/free/x?{number}", f"/free/x?%C3{number}")
            for path in (f"/maybe/%41?{number}", f"/maybe?{number}"):
                for each in (name, "lumin", "lumin-else"):
                    stranger.get(path, headers={"cookie": f"{each}={number}"})
        assert held.files() == few


def test_what_is_long_is_held_for_nobody(held, browser):
    assert held.asks(browser, "/a") == 1
    before, ours = held.files(), browser.cookie()
    browser.cookies.clear()
    assert held.asks(browser, "/b", "/b", cookie=f"{ours}; theirs={'x' * 6000}") == 2
    own = f"{held.front.config().session_cookie}-login-{'0' * 16}"
    assert held.asks(browser, "/b", "/b", cookie=f"{ours}; {own}={'x' * 6000}") == 2
    assert held.asks(browser, *[f"/sign/a?{'x' * 6000}"] * 2, cookie=ours) == 2
    assert held.files() == before


def test_the_applications_cookies_are_no_part_of_it_and_reach_the_service(held, browser):
    ours = browser.cookie()
    browser.cookies.clear()
    assert held.asks(browser, "/a", cookie=ours) == 1
    before = len(held.asked)
    for own in ("a=1", "a=2; b=3", 'c="x y"; d=é'):
        for header, seen in (
            (f"{own}; {ours}", own),
            (f"{ours}; {own}", own),
            (f"{own}; {ours}; z=1", f"{own}; z=1"),
        ):
            answer = browser.get("/a", headers={"cookie": header.encode()})
            assert told(answer)["cookie"] == [seen.encode().decode("latin-1")]
    assert len(held.asked) == before


def test_a_cookie_header_that_is_written_oddly_asks_each_time_and_loses_ours_all_the_same(held, browser):
    ours = browser.cookie()
    browser.cookies.clear()
    for header in (f"a=1;{ours}", f"{ours};  a=1", f"{ours}; a=1; {ours}", f"a=1; ; {ours}"):
        before = len(held.asked)
        for _ in range(2):
            seen = told(browser.get("/a", headers={"cookie": header}))
            assert "lumin" not in seen["cookie"][0]
        assert len(held.asked) == before + 2


def test_nobody_passes_by_anothers_answer(held, browser):
    assert held.asks(browser, "/a") == 1
    with held.front.browser() as stranger:
        assert stranger.get("/a").status_code == 401
        forged = browser.cookie().replace("=A", "=B", 1)  # of the session, whose sealed text begins with its version
        assert stranger.get("/a", headers={"cookie": forged}).status_code == 401
        assert told(stranger.get("/free/a")).get("x-auth-request-user") is None
        assert told(stranger.get("/maybe")).get("x-auth-request-user") is None
    assert told(browser.get("/maybe"))["x-auth-request-user"] == told(browser.get("/a"))["x-auth-request-user"]


def test_a_handshake_is_told_apart_by_its_origin(held, browser):
    assert held.asks(browser, "/a") == 1
    for origin, taken in (("https://evil.example", False), (held.front.origin, True), ("https://evil.example", False)):
        for headers in (
            {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
            {"Sec-WebSocket-Version": "13"},
        ):
            answer = browser.get("/a", headers={"Origin": origin, **headers})
            assert (answer.status_code != 403) == taken, (origin, headers)  # the service itself takes none


def test_what_makes_no_handshake_of_a_request_makes_no_room_for_one(held, browser):
    """verify tells a handshake by its version alone, and so does what is held."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": "https://evil.example"}
    for path in ("/a", "/maybe"):
        assert browser.get(path, headers=upgrade).status_code != 403
        for version in ({"Sec-WebSocket-Version": "13"}, {"Sec-WebSocket-Version": "8"}):
            assert browser.get(path, headers={**upgrade, **version}).status_code == 403


def test_what_gives_the_browser_a_cookie_is_not_held(held, browser):
    assert held.asks(browser, "/a") == 1
    held.clock.advance(held.front.config().idle_timeout / 10 + 1)
    with held.front.browser() as copy:
        copy.cookies.update(browser.cookies)
        old = browser.cookie()
        for _ in range(2):  # each that still comes with the old one gets the new one
            answer = copy.get("/maybe", headers={"cookie": old})
            assert answer.status_code == 200
            assert "set-cookie" in answer.headers


def test_nothing_is_held_past_what_falls_due(held, browser):
    """The token's soft window begins a second before an answer would be over."""
    lifetime, renew_before = 3600, held.front.config().renew_before
    held.clock.advance(lifetime - renew_before - 1.5)
    assert held.asks(browser, "/a", "/b") == 2
    assert held.asks(browser, "/free/a", "/free/b") <= 1  # of nobody, and it may be another's


def test_settings_that_are_older_than_the_rules_hold_nothing(tmp_path):
    with (
        holding(tmp_path, app_settings={"required_scopes": {"/a": "templates"}}) as held,
        held.front.browser() as someone,
    ):
        someone.sign_in("/b")
        assert someone.get("/b").status_code == 200
        assert someone.get("/a").status_code == 403
        assert held.asks(someone, "/b", "/b") == 2


# --- the text ---


def test_strict_logout_holds_nothing():
    with pytest.raises(ConfigurationError, match="strict_logout"):
        snippet("nginx", config(strict_logout=True), auth="http://a", upstream="http://b", cache=Cache(5))


def test_what_is_held_lies_where_nobody_but_root_may_write():
    """Whoever could make nginx's folder before nginx does could write down who somebody is."""
    text = nginx_http(config(), auth="http://a", upstream="http://b", cache=Cache(5))
    above = Path(re.search(r'proxy_cache_path "([^"]+)"', text)[1]).parent
    assert str(above) == "/run"
    if above.is_dir():
        found = above.stat()
        assert (found.st_uid, found.st_mode & 0o022) == (0, 0)


@pytest.mark.parametrize("program", ["caddy", "traefik"])
def test_others_hold_nothing(program):
    with pytest.raises(ConfigurationError, match="nginx does"):
        snippet(program, config(), auth="http://a", upstream="http://b", cache=Cache(5))


@pytest.mark.parametrize("seconds", [-1, 1, 61])
def test_it_holds_for_seconds(seconds):
    with pytest.raises(ConfigurationError, match="from 2 to 60"):
        nginx_http(config(), auth="http://a", upstream="http://b", cache=Cache(seconds))


def test_no_word_is_longer_than_nginx_takes():
    settings = config(public=[f"/p{number}/*" for number in range(1000)], required_scopes={"/s" * 100: "a"})
    text = nginx_http(settings, auth="http://a", upstream="http://b", cache=Cache(5))
    assert max(map(len, text.split("\n"))) < 4000


# --- the expressions, which Python's `re` reads alike ---

PATHS = st.lists(
    st.sampled_from(
        ["/", "/", "a", "b", "A", "free", "FREE", ".", "..", "%", "%2F", ";", "?", "#", "é", "x=1", "maybe"]
    ),
    max_size=6,
).map(lambda pieces: "/" + "".join(pieces))
PATTERNS = st.lists(st.sampled_from(["/free", "/free/*", "/a", "/a/*", "/a/b/", "/*", "/", "/maybe"]), max_size=3)
CLASSES = {"public": PUBLIC, "optional": OPTIONAL, "protected": PROTECTED}


@hostile
@given(PATTERNS, PATTERNS, PATTERNS, PATHS)
def test_targets_of_one_class_have_one_rule(public, optional, scoped, target):
    settings = config(public=public, optional=optional, required_scopes=dict.fromkeys(scoped, "templates"))
    name = "$request_uri"
    for expression, found in classes(settings):
        if re.search(expression.lstrip("~*"), target, re.IGNORECASE if expression.startswith("~*") else 0):
            name = found
            break
    if name != "$request_uri":
        path, _, query = target.partition("?")
        assert "#" not in query
        rules = Rules(settings.public, settings.optional, settings.required_scopes, settings.callback_path)
        assert rules.rule(request(path, raw_path=path, query=query)) == CLASSES[name]


OURS = ("ours", "ours-0", "ours-tries", "ours-login-0123456789abcdef")
LIKE_OURS = ("lumin", "__Host-lumin", "lumin-zzz", "__Host-lumin-zzzzzz", "ours-zzz", "oursx", "ours\xa0")
PAIRS = [f"{name}=v{number}" for name in ("a", "b", *OURS, *LIKE_OURS) for number in range(2)]
HEADERS = st.lists(st.sampled_from([*PAIRS, "; ", "; ", "; ", ";", " ", "é", '"']), max_size=12).map("".join)
WRITTEN_AS_BROWSERS_DO = st.lists(st.sampled_from(PAIRS), min_size=1, max_size=3).map("; ".join)


@hostile
@given(HEADERS | WRITTEN_AS_BROWSERS_DO)
def test_no_cookies_of_a_stranger_add_to_what_is_held(held, header):
    """Of whatever names: where one is like ours, they are asked about each time."""
    header = header.replace("ours", held.front.config().session_cookie).strip()
    with held.front.browser() as stranger:
        held.asks(stranger, "/maybe", "/free/x")
        before = held.names()
        for path in ("/maybe", "/free/x"):
            assert stranger.get(path, headers={"cookie": header.encode()}).status_code == 200
        assert held.names() <= before


def test_an_application_s_cookies_that_begin_as_ours_do_make_no_header_odd():
    settings = config(cookie_name="shop")
    for header in ("__Host-shop-cart=1", "a=1; __Host-shop-cart=2", "__Host-lumin-theme=dark"):
        assert re.search(dict(map(reversed, cookies(settings)[1:2]))["none"].removeprefix("~"), header)


@pytest.mark.parametrize("name", [None, "shop"])
@pytest.mark.parametrize("secure", [True, False])
@hostile
@given(HEADERS)
def test_what_is_left_of_a_cookie_header_is_what_we_leave(secure, name, header):
    settings = config(cookie_name=name, **({} if secure else {"redirect_uri": "http://localhost/auth/callback"}))
    header = header.replace("ours", settings.session_cookie).strip()
    found, kind = {"lumin_before": "", "lumin_after": "", "lumin_ours": ""}, "odd"
    for key, each in cookies(settings):
        match = re.search(key.removeprefix("~").replace("(?<lumin", "(?P<lumin"), header) if key or not header else None
        if match:
            found |= {name: value or "" for name, value in match.groupdict().items()}
            kind = each
            break
    if kind == "odd":
        return
    rest = header if kind == "none" else found["lumin_before"] + (found["lumin_after"] if kind == "between" else "")
    jar = Cookies(settings).jar(header.encode())
    assert rest.encode() == jar.rest
    assert bool(jar.ours) <= (kind != "none")
    for name, value in jar.ours.items():
        assert value is None or f"{name}={value.decode()}" in found["lumin_ours"]
