"""One look decides as the whole way does, or not at all; and it costs the same however much there is beside it."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware import LuminMiddleware
from lumin_middleware.model import Request, Response, Session
from lumin_middleware.site.relying_party import RelyingParty
from lumin_middleware.site.visit import Passing, Visit
from tests.bench import rig
from tests.fakes import BlockingWorld, CookieJar, Workers, hostile, request
from tests.opcodes import steps
from tests.site.test_core_never_suspends import run
from tests.site_rig import SESSION

RULES: dict[str, Any] = {
    "public": ["/free", "/both/*"],
    "optional": ["/maybe", "/both/*"],
    "required_scopes": {"/templates/*": "templates", "/sign/*": "sign:requests"},
    "required_auth_age": {"/recent/*": 300},
}
PLAIN = ["/", "/page", "/free", "/both/x", "/maybe", "/templates/1", "/sign/1", "/recent/1", "/Sign/", "/free/"]
OTHERS = ["", "page", "//page", "/a/../free", "/a;b", "/free%20", "/a%2Fb", "/é", "/auth/login", "/auth/x", "/free?x"]
KINDS = pytest.mark.parametrize("kind", ["cookie", "store"])


class Site(Workers):
    """A site in one thread, with a store of its own machine unless `local` says otherwise."""

    def __init__(self, *, local: bool = True, **changes: Any) -> None:
        super().__init__(**{**RULES, **changes})
        self.store.local = local
        self.party = RelyingParty(self.config, BlockingWorld(self.store, self.server, self.clock))
        self.browser = CookieJar()
        self.session = self.sign_in()

    def sign_in(self) -> Session:
        sessions, now = self.party.parts.sessions, self.clock()
        session = dataclasses.replace(rig.session(), began=now, seen=now)
        tokens = dataclasses.replace(session.tokens, expires_at=now + 3600)
        session = dataclasses.replace(session, tokens=tokens)
        run(sessions.begin(session))
        self.browser.take(sessions.set_cookies(session, self.party.parts.cookies.jar(b"")))
        return session

    def asked(self, path: str = "/page", cookie: bytes | None = None) -> Request:
        return request(path, cookie=self.browser.header if cookie is None else cookie)

    def at_once(self, asked: Request) -> Passing | None:
        return self.party.at_once(asked.path, asked.raw_path, asked.cookie, (lambda _: asked, {}))

    def whole(self, asked: Request) -> Response | Visit:
        outcome: Response | Visit = run(self.party.handle(asked))
        return outcome


# --- it decides as the whole way does ---

PIECES = st.sampled_from(
    ["a=1", "; ", ";", " ", "=", "x", "\t", "b", '"', "lumin", f"{SESSION}=v", f"{SESSION}-0=w", f"{SESSION}-tries=t"]
)
AROUND = st.lists(PIECES, max_size=5).map(lambda pieces: "".join(pieces).encode())
USUAL = st.sampled_from([(b"", b""), (b"a=1; ", b""), (b"", b"; b=2"), (b"a=1; ", b"; b=2")])


@KINDS
@pytest.mark.parametrize("local", [True, False])
@hostile
@given(
    path=st.sampled_from(PLAIN + OTHERS),
    around=USUAL | st.tuples(AROUND, AROUND),
    later=st.sampled_from([0, 0, 59, 400, 3000, 3301, 3599, 3601, 8641, 86_401, 604_801]),
    happened=st.sampled_from(["nothing", "nothing", "visited", "ended", "visited, then ended", "renewed", "forged"]),
    first=st.booleans(),
)
def test_whoever_passes_at_once_passes_the_whole_way_and_with_the_same(
    kind, local, path, around, later, happened, first
):
    site = Site(sessions=kind, local=local)
    sessions, session = site.party.parts.sessions, site.session
    cookie = site.browser.header.join(around)
    if "visited" in happened:
        site.whole(site.asked(cookie=cookie))
        site.at_once(site.asked(cookie=cookie))
    if "ended" in happened:
        run(sessions.end(session.id, session.began))
    if happened == "renewed":
        tokens = dataclasses.replace(session.tokens, access_token="renewed")
        newer = dataclasses.replace(session, generation=1, tokens=tokens)
        assert run(sessions.replace(run(sessions.newest(session)), newer))
    if happened == "forged":
        cookie = cookie.replace(b"=", b"=A", 1)
    site.clock.advance(later)
    asked = site.asked(path, cookie)
    whole = None if first else site.whole(asked)
    before = site.store.entries()
    at_once = site.at_once(asked)
    assert site.store.entries() == before
    whole = whole or site.whole(asked)
    if at_once is None:
        return
    assert isinstance(whole, Visit)
    assert (at_once.session, at_once.cookie, run(at_once.set_cookies())) == (
        whole.session,
        whole.cookie,
        run(whole.set_cookies()),
    )
    assert at_once.session is None or 0 < at_once.until == whole.until
    assert (at_once.request, at_once._jar.ours) == (whole.request, whole._jar.ours)


@KINDS
@pytest.mark.parametrize("path", ["/", "/page", "/free", "/both/x", "/maybe", "/sign/1", "/recent/1"])
@pytest.mark.parametrize("around", [(b"", b""), (b"a=1; ", b""), (b"", b"; b=2"), (b"a=1; ", b"; b=2")])
def test_whoever_is_signed_in_passes_at_once(kind, path, around):
    site = Site(sessions=kind)
    asked = site.asked(path, site.browser.header.join(around))
    site.whole(site.asked(cookie=asked.cookie))
    found = site.at_once(asked)
    assert found is not None
    assert found.session == (None if path in ("/free", "/both/x") else site.session)
    assert found.cookie == b"; ".join(part.strip(b"; ") for part in around if part)


@pytest.mark.parametrize("callback", ["/callback", "/auth/callback", "/a/b/callback"])
def test_wherever_our_routes_are_the_others_pass_at_once(callback):
    site = Site(sessions="cookie", redirect_uri=f"https://app.example.com{callback}", cookie_name="lumin")
    below = callback.removesuffix("callback")
    assert site.at_once(site.asked("/page")) is not None
    assert site.at_once(site.asked(f"{below}page")) is not None
    for own in ("callback", "login", "session", "verify", "verify/x"):
        assert site.at_once(site.asked(f"{below}{own}")) is None


def test_a_cookie_that_was_never_seen_proves_itself_at_once():
    site = Site(sessions="cookie")
    site.steps.clear()
    found = site.at_once(site.asked())
    assert found is not None
    assert (found.session, site.steps) == (site.session, [])


@KINDS
@pytest.mark.parametrize("path", ["/templates/1", "/auth/session", "/a%2Fb", "//page", "/a;b"])
def test_what_takes_a_closer_look_gets_no_answer(kind, path):
    site = Site(sessions=kind)
    site.whole(site.asked())
    assert site.at_once(site.asked(path)) is None


@KINDS
@pytest.mark.parametrize("cookie", [b"", b"a=1", b"%b=forged" % SESSION.encode()])
def test_nobody_gets_no_answer(kind, cookie):
    assert Site(sessions=kind).at_once(request("/page", cookie=cookie)) is None


@KINDS
def test_a_store_that_is_away_gives_no_answer(kind):
    site = Site(sessions=kind)
    site.whole(site.asked())
    site.store.fails.add("get session")
    assert site.at_once(site.asked()) is None


def test_a_store_of_another_machine_is_not_asked():
    assert Site(sessions="cookie", local=False).at_once(request("/page", cookie=b"")) is None
    cookie = Site(sessions="cookie", local=False)
    assert cookie.at_once(cookie.asked()) is not None
    strict = Site(sessions="cookie", local=False, strict_logout=True)
    strict.whole(strict.asked())
    assert strict.at_once(strict.asked()) is None
    handle = Site(sessions="store", local=False)
    handle.whole(handle.asked())
    assert handle.at_once(handle.asked()) is None


@KINDS
def test_what_could_not_be_saved_goes_the_whole_way(kind):
    site = Site(sessions=kind)
    site.whole(site.asked())
    site.party.parts.renewal.saving._unsaved[site.session.id] = site.session
    assert site.at_once(site.asked()) is None


def test_each_request_leaves_a_line_where_lines_are_wanted(caplog):
    site = Site(sessions="cookie")
    site.whole(site.asked())
    with caplog.at_level(logging.DEBUG, logger="lumin_middleware"):
        assert site.at_once(site.asked()) is None


# --- what it costs ---

LIMIT = 1.1
"""Times the steps that they may grow: less than a tenth, for what one path has and another has not."""

PATTERNS = [f"/p{number}/*" for number in range(1000)]
MANY = [
    *({name: PATTERNS} for name in ("public", "optional")),
    {"required_scopes": dict.fromkeys(PATTERNS, "x")},
    {"required_auth_age": dict.fromkeys(PATTERNS, 60)},
]


async def _cost(cookies: bytes = b"", *, new_paths: bool = False, **rules: Any) -> int:
    """The steps of an authenticated request; `new_paths`: each to a path that was never asked for."""
    middleware = LuminMiddleware(rig.bare, rig.config(**rules))
    cookie = await rig.signed_in(rig.party(middleware)) + cookies
    paths = iter([f"/things/{number}" for number in range(9)] if new_paths else ["/things/12"] * 9)
    cost = await steps(lambda: middleware(rig.scope(cookie, next(paths)), rig.receive, rig.send))
    await middleware.aclose()
    return cost


@pytest.mark.parametrize("new_paths", [False, True])
@pytest.mark.parametrize("many", MANY, ids=["public", "optional", "scopes", "ages"])
async def test_a_thousand_patterns_cost_what_one_does(many, new_paths):
    [(name, patterns)] = many.items()
    one = {name: dict(list(patterns.items())[:1]) if isinstance(patterns, dict) else patterns[:1]}
    assert await _cost(new_paths=new_paths, **many) <= LIMIT * await _cost(new_paths=new_paths, **one)


async def test_eight_kilobytes_of_other_cookies_cost_no_step_more():
    others = b"".join(b"; other%d=%s" % (number, b"x" * 380) for number in range(20))
    assert await _cost(others) <= LIMIT * await _cost()


async def test_people_who_take_turns_cost_what_one_does():
    middleware = LuminMiddleware(rig.bare, rig.config())
    people = [rig.scope(await rig.signed_in(rig.party(middleware))) for _ in range(50)]
    for each in people:
        await middleware(dict(each), rig.receive, rig.send)
    turns = iter(people)
    many = await steps(lambda: middleware(dict(next(turns)), rig.receive, rig.send))
    one = await steps(lambda: middleware(dict(people[0]), rig.receive, rig.send))
    assert many <= LIMIT * one
    await middleware.aclose()
