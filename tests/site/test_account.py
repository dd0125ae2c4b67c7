"""Which sessions there are, and what ends them: replaced, pushed out of a list, or named by the server."""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any
from urllib.parse import urlencode

import pytest

from lumin_middleware.errors import RequestRefused, SessionEnded, StoreUnavailable
from lumin_middleware.events import EndedByServer, Event, SignedOut, session_name
from lumin_middleware.model import Response, Session, TokenSet
from lumin_middleware.protocol.identity import LOGOUT_EVENT
from lumin_middleware.sessions import index
from lumin_middleware.sessions.index import ENTRIES_LIMIT, Entry
from lumin_middleware.sessions.logins import LIFETIME
from lumin_middleware.site import account
from lumin_middleware.site.account import Account
from lumin_middleware.site.back_channel import BackChannelLogout
from lumin_middleware.site.people import People
from tests.fakes import KEY, OLD_KEY, ORIGIN, CookieJar, Process, Workers, id_token, request


class Site(Workers):
    """Workers whose sessions begin as a sign-in begins them."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.here = self.process(**changes)
        self.account: Account = self.here._account

    async def begin(
        self,
        replaced: Session | None = None,
        *,
        login_took: float = 0,
        server_ahead: float = 0,
        scope: tuple[str, ...] = ("openid",),
        **claims: Any,
    ) -> Session:
        now, name = self.clock(), secrets.token_hex(4)
        tokens = TokenSet(f"access-{name}", now + 3600, 3600.0, scope, f"refresh-{name}")
        known = {name: value for name, value in ({"sub": "person-1"} | claims).items() if value is not None}
        session = Session(secrets.token_urlsafe(24), 0, now, now, tokens, known)
        await self.account.begin(session, replaced, issued_at=int(now + server_ahead), login_took=login_took)
        return session

    async def is_over(self, session: Session, process: Process | None = None) -> bool:
        try:
            await (process or self.here).sessions.newest(session)
        except SessionEnded:
            return True
        return False

    def told(self) -> list[tuple[type[Event], str, str, str, str]]:
        """The ends that were told of since this was asked before: which, of which session, whose, why, by whom."""
        events, self.here.world.events = self.here.world.events, []
        ends = [event for event in events if isinstance(event, SignedOut | EndedByServer)]
        return [(type(event), event.session, event.subject, event.reason, event.by) for event in ends]

    async def tell(self, **claims: Any) -> int:
        """The server's request; its status."""
        content = {"jti": secrets.token_hex(8), "events": {LOGOUT_EVENT: {}}, "exp": None, "email": None, "sub": None}

        async def body() -> bytes:
            return urlencode({"logout_token": id_token(self.clock(), **{**content, **claims})}).encode()

        outcome = await self.here.handle(request("/auth/backchannel-logout", method="POST", headers={}, body=body))
        assert isinstance(outcome, Response)
        return outcome.status


@pytest.fixture(params=["cookie", "store"])
def site(request: pytest.FixtureRequest) -> Site:
    return Site(sessions=request.param, backchannel_logout=True)


# --- replaced ---


async def test_a_session_that_is_replaced_is_over_its_tokens_are_revoked_and_lists_forget_it(site):
    old = await site.begin(sid="a")
    new = await site.begin(old, sid="b")
    assert await site.is_over(old, site.process(sessions=site.config.sessions))
    assert not await site.is_over(new)
    assert site.server.revoked == [old.tokens.refresh_token]
    assert [entry.session_id for entry in await site.here.index.entries("sub person-1")] == [new.id]
    assert await site.here.index.entries("sid a") == []
    assert site.told() == [(SignedOut, session_name(old.id), "person-1", "replaced", "")]


async def test_the_newest_tokens_of_a_session_that_is_replaced_are_revoked(site):
    old = await site.begin()
    record = await site.here.sessions.newest(old)
    tokens = dataclasses.replace(old.tokens, refresh_token="newest")
    await site.here.sessions.replace(record, dataclasses.replace(old, generation=1, tokens=tokens))
    await site.begin(old)
    assert site.server.revoked == ["newest"]


@pytest.mark.parametrize("step", ["get session", "swap session"])
async def test_trouble_with_the_session_before_takes_nothing_back(site, step, caplog):
    """Whoever signs in anew has a session, whatever the store says of the one that they had; its tokens die."""
    old = await site.begin()

    async def down() -> None:
        site.store.fails = {step}

    site.store.before["swap index"] = down
    new = await site.begin(old)
    site.store.fails = set()
    assert not await site.is_over(new)
    assert site.server.revoked == [old.tokens.refresh_token]
    assert "replaced_not_ended" in caplog.text
    assert site.told() == [], "nobody knows whether it has ended"


# --- pushed out ---


async def test_what_is_pushed_out_of_a_list_is_ended_and_not_forgotten(site):
    all_of_them = [await site.begin() for _ in range(ENTRIES_LIMIT + 2)]
    over = [session for session in all_of_them if await site.is_over(session)]
    assert over == all_of_them[:2]
    listed = [entry.session_id for entry in await site.here.index.entries("sub person-1")]
    assert listed == [session.id for session in all_of_them[2:]]
    if site.config.sessions == "store":  # in cookies nobody but the browser has the tokens
        assert site.server.revoked == [session.tokens.refresh_token for session in over]
    assert site.told() == [(SignedOut, session_name(each.id), "person-1", "pushed_out", "limit") for each in over]
    assert await site.tell(sub="person-1") == 200
    assert all([await site.is_over(session) for session in all_of_them])
    names = [session_name(session.id) for session in all_of_them[2:]]
    assert site.told() == [(EndedByServer, name, "person-1", "ended_by_server", "logout token") for name in names]


async def test_one_in_use_is_not_pushed_out_by_those_that_are_over(site, monkeypatch):
    """A desktop that is used all the time, beside a phone that signs in anew each day."""
    monkeypatch.setattr(account, "ENTRIES_LIMIT", 5)
    monkeypatch.setattr(index, "ENTRIES_LIMIT", 5)
    in_use = await site.begin(sid="a")
    for _ in range(12):
        await site.here.end(await site.begin(sid="a"))  # as where the server ends it: the list does not hear of it
    assert not await site.is_over(in_use)
    for common in ("sub person-1", "sid a"):
        assert (await site.here.index.entries(common))[0].session_id == in_use.id
        assert len(await site.here.index.entries(common)) <= 6
    assert site.told() == [], "what was over is not told of again"
    alive = [in_use, *[await site.begin(sid="a") for _ in range(5)]]
    assert [await site.is_over(each) for each in alive] == [True, *[False] * 5], "of those that live the oldest goes"
    assert [entry.session_id for entry in await site.here.index.entries("sid a")] == [each.id for each in alive[1:]]


async def test_those_that_were_not_used_for_long_go_before_one_that_is():
    site = Site(sessions="store", idle_timeout=3600)
    in_use = await site.begin()
    for _ in range(ENTRIES_LIMIT + 5):
        await site.begin()
        for _ in range(3):
            site.clock.advance(1500)
            record = await site.here.sessions.newest(in_use)
            in_use = dataclasses.replace(record.session, seen=site.clock())
            await site.here.sessions.replace(record, in_use)
    assert not await site.is_over(in_use)


async def test_what_is_pushed_out_is_listed_until_it_has_ended(site, monkeypatch):
    monkeypatch.setattr(account, "ENTRIES_LIMIT", 1)
    monkeypatch.setattr(index, "ENTRIES_LIMIT", 1)
    first = await site.begin()
    site.clock.advance(1)
    end = site.here.sessions.end

    async def fails(session_id, began, lasts=None):
        if session_id == first.id:
            raise StoreUnavailable("not today")
        return await end(session_id, began, lasts)

    monkeypatch.setattr(site.here.sessions, "end", fails)
    with pytest.raises(StoreUnavailable):
        await site.begin()
    assert [entry.session_id for entry in await site.here.index.entries("sub person-1")] == [first.id]
    assert not await site.is_over(first)


# --- at a process with another key ---


def with_another_key(site: Site) -> Site:
    """The same site in a process that was deployed with another key alone."""
    other = Site.__new__(Site)
    vars(other).update(vars(site))
    other.here = site.process(sessions=site.config.sessions, backchannel_logout=True, secret_key=OLD_KEY)
    other.account = other.here._account
    return other


async def test_who_signs_in_at_a_process_with_another_key_is_found_and_takes_nobody_off_the_list(site):
    sessions = [await site.begin(sid=sid) for sid in ("a", None)]
    there = await with_another_key(site).begin(sid="a")
    both = site.process(sessions=site.config.sessions, backchannel_logout=True, secret_key=[KEY, OLD_KEY])
    assert await People(both.parts).end_sessions("person-1") == 3
    assert [await site.is_over(each, both) for each in (*sessions, there)] == [True] * 3


async def test_an_operator_with_another_key_hears_that_there_may_be_more(site):
    other = with_another_key(site)
    session, there = await site.begin(), [await other.begin() for _ in range(2)]
    with pytest.raises(StoreUnavailable, match="not in secret_key"):
        await People(other.here.parts).end_sessions("person-1")
    assert [await other.is_over(each, other.here) for each in there] == [True, True], "what could be ended is"
    assert not await site.is_over(session)


async def test_a_logout_token_at_a_process_with_another_key_is_not_taken_for_done(site):
    other = with_another_key(site)
    session, there = await site.begin(sid="a"), await other.begin(sid="a")
    for claims in ({"sid": "a"}, {"sub": "person-1"}):
        assert await other.tell(**claims, jti="the same") == 503
    assert await other.is_over(there, other.here), "what could be ended is"
    assert not await site.is_over(session)
    assert await site.tell(sid="a", jti="the same") == 200
    assert await site.is_over(session)


async def test_who_signs_out_everywhere_at_a_process_with_another_key_hears_that_there_may_be_more():
    site = Site(sessions="store")
    other = with_another_key(site)
    session, first, second = await site.begin(), await other.begin(), await other.begin()
    jar = CookieJar()
    jar.take(other.here.sessions.set_cookies(second, other.here.parts.cookies.jar(b"")))
    ends = request("/auth/sessions/end", method="POST", headers={"origin": ORIGIN, "sec-fetch-site": "same-origin"})
    with pytest.raises(StoreUnavailable, match="not in secret_key"):
        await other.account.end_sessions(ends, other.here.parts.cookies.jar(jar.header))
    over = [await each.is_over(one, each.here) for each, one in ((site, session), (other, first), (other, second))]
    assert over == [False, True, False]


async def test_a_session_of_a_process_with_another_key_is_not_said_to_be_gone():
    site = Site(sessions="store")
    other = with_another_key(site)
    session, here = await site.begin(), await other.begin()
    name = Entry(session.id, session.began).name
    jar = CookieJar()
    jar.take(other.here.sessions.set_cookies(here, other.here.parts.cookies.jar(b"")))
    headers = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
    ends = request("/auth/sessions/end", method="POST", query=f"id={name}", headers=headers)
    with pytest.raises(StoreUnavailable, match="not in secret_key"):
        await other.account.end_sessions(ends, other.here.parts.cookies.jar(jar.header))
    assert not await site.is_over(session)


# --- signed out by whoever runs the site ---


@pytest.mark.parametrize("kind", ["cookie", "store"])
async def test_a_session_that_was_listed_as_it_ended_is_not_one_of_those_that_live(kind):
    """Its renewal was saved before its end, and lists it behind that."""
    site = Site(sessions=kind, backchannel_logout=True)
    session = await site.begin(sub="person-1")
    await site.here.parts.ending.end(session.id, session.began, session)
    await site.here.parts.index.add(session)
    people = People(site.here.parts)
    assert await people.sessions("person-1") == []
    assert await people.end_sessions("person-1") == 0


async def test_who_is_signed_out_by_the_operator_is_told_of_session_by_session(site):
    sessions = [await site.begin(sub="person@example.com", sid=sid) for sid in ("a", None)]
    other = await site.begin(sub="person-2")
    people = People(site.here.parts)
    assert await people.end_sessions("person@example.com") == 2
    told = site.told()
    assert [(kind, name, by) for kind, name, _, _, by in told] == [
        (SignedOut, session_name(each.id), "operator") for each in sessions
    ]
    assert {subject for _, _, subject, _, _ in told} == {SignedOut.of(sessions[0]).subject}
    assert "@" not in repr(told)
    await people.forget("person@example.com")
    assert site.told() == []
    await people.forget("person-2")
    assert site.told() == [(SignedOut, session_name(other.id), "person-2", "ended_by_operator", "operator")]


# --- named by the server ---


async def test_a_logout_token_with_both_ends_that_session_and_those_that_know_no_sid(site):
    named, unknown, other = await site.begin(sid="a"), await site.begin(), await site.begin(sid="b")
    stranger = await site.begin(sub="person-2")
    assert await site.tell(sid="a", sub="person-1") == 200
    assert [await site.is_over(each) for each in (named, unknown, other, stranger)] == [True, True, False, False]
    assert [(kind, name, subject) for kind, name, subject, _, _ in site.told()] == [
        (EndedByServer, session_name(each.id), "person-1") for each in (named, unknown)
    ]
    assert [entry.session_id for entry in await site.here.index.entries("sid a")] == []


async def test_of_those_that_know_no_sid_one_that_began_later_goes_on(site):
    named = await site.begin(sid="a")
    site.clock.advance(100)
    later = await site.begin()
    assert await site.tell(sid="a", sub="person-1", iat=int(site.clock()) - 50) == 200
    assert (await site.is_over(named), await site.is_over(later)) == (True, False)


@pytest.mark.parametrize("scope", [("openid",), ("openid", "offline_access"), ("openid", "offline")])
async def test_a_logout_token_takes_refresh_tokens_with_it_but_for_offline_ones(scope):
    """OpenID Connect Back-Channel Logout 1.0, 2.7."""
    site = Site(sessions="store", backchannel_logout=True)
    session = await site.begin(sid="a", scope=scope)
    assert await site.tell(sid="a") == 200
    assert await site.is_over(session)
    assert site.server.revoked == ([session.tokens.refresh_token] if scope == ("openid",) else [])


async def test_what_the_server_had_to_say_twice_is_told_of_once(site):
    """A store that fails in between has it sent again: what has ended by then, has."""
    sessions = [await site.begin() for _ in range(3)]
    ended = []

    async def second_fails() -> None:
        ended.append(True)
        site.store.before["swap session"] = second_fails
        if len(ended) == 2:
            site.store.fails = {"swap session"}

    site.store.before["swap session"] = second_fails
    with pytest.raises(StoreUnavailable):
        await BackChannelLogout(site.here.parts)._end({"sub": "person-1", "iat": int(site.clock())})
    site.store.before.clear()
    site.store.fails = set()
    assert await site.tell(sub="person-1", iat=int(site.clock())) == 200
    assert [name for _, name, _, _, _ in site.told()] == [session_name(each.id) for each in sessions]


@pytest.mark.parametrize(("age", "status"), [(0, 200), (300, 200), (359, 200), (361, 400), (86_400, 400), (-61, 400)])
async def test_a_logout_token_without_exp_is_judged_by_iat_alone(site, age, status):
    session = await site.begin(sid="a")
    assert await site.tell(sid="a", iat=int(site.clock()) - age) == status
    assert await site.is_over(session) is (status == 200)


# --- named before it began ---


async def test_a_session_of_the_server_s_that_was_ended_does_not_begin(site):
    assert await site.tell(sid="a") == 200
    with pytest.raises(RequestRefused) as refused:
        await site.begin(sid="a", login_took=-30)
    assert refused.value.reason == "ended"
    assert await site.here.index.entries("sub person-1") == []
    assert not await site.is_over(await site.begin(sid="b"))
    assert not await site.is_over(await site.begin())


@pytest.mark.parametrize("claims", [{}, {"sid": "b"}])
async def test_a_person_who_was_signed_out_comes_in_with_a_later_login_only(site, claims):
    assert await site.tell(sub="person-1", iat=int(site.clock())) == 200
    for login_took in (20, 1):
        with pytest.raises(RequestRefused):
            await site.begin(login_took=login_took, **claims)
    assert not await site.is_over(await site.begin(login_took=0, **claims))
    assert not await site.is_over(await site.begin(login_took=20, sub="person-2"))


@pytest.mark.parametrize("ahead", [-55, 0, 55])
@pytest.mark.parametrize("claims", [{}, {"sid": "b"}])
async def test_when_is_told_by_the_server_s_clock(site, ahead, claims):
    """It may differ from ours by a minute, as for any token."""
    before = await site.begin(server_ahead=ahead, **claims)
    site.clock.advance(20)
    assert await site.tell(sub="person-1", iat=int(site.clock() + ahead)) == 200
    assert await site.is_over(before)
    site.clock.advance(2)
    with pytest.raises(RequestRefused):
        await site.begin(server_ahead=ahead, login_took=10, **claims)
    after = await site.begin(server_ahead=ahead, login_took=1, **claims)
    assert not await site.is_over(after)
    assert await site.tell(sub="person-1", iat=int(site.clock() + ahead) - 2, jti="late") == 200
    assert not await site.is_over(after), "a logout token that came late is about those before it"


async def test_both_named_refuses_those_without_sid_and_no_other_session_of_the_server_s(site):
    assert await site.tell(sid="a", sub="person-1") == 200
    for claims in ({"sid": "a"}, {}):
        with pytest.raises(RequestRefused):
            await site.begin(login_took=1, **claims)
    assert not await site.is_over(await site.begin(sid="b"))


async def test_it_is_remembered_as_long_as_a_login_lives_and_the_newest_counts(site):
    start = site.clock()
    assert await site.tell(sub="person-1", iat=int(start)) == 200
    assert await site.tell(sub="person-1", iat=int(start) - 41) == 200  # an older one that came late
    for passed in (0, LIFETIME):
        site.clock.advance(passed)
        with pytest.raises(RequestRefused):
            await site.begin(login_took=site.clock() - start + 1)
    site.clock.advance(61)
    assert not await site.is_over(await site.begin(login_took=site.clock() - start + 1))


async def test_a_session_that_begins_while_the_server_ends_it_is_over_either_way(site):
    """Listed first, looked up then; remembered first, looked up in lists then: one of them sees the other."""
    for step in ("swap session", "swap index", "get index", "get ended"):
        told = []

        async def tell(told: list[int] = told, sid: str = step) -> None:
            told.append(await site.tell(sid=sid))

        site.store.before[step] = tell
        try:
            session = await site.begin(sid=step)
        except RequestRefused:
            assert told == [200]
        else:
            assert await site.is_over(session) or not told
        site.store.before.clear()


async def test_without_the_store_a_sign_in_fails_rather_than_be_missed(site):
    site.store.fails = {"get ended"}
    with pytest.raises(StoreUnavailable):
        await site.begin(sid="a")
    site.store.fails = set()
    assert await site.here.index.entries("sid a") == []
    assert await site.here.index.entries("sub person-1") == []
