"""Grants from end to end: connected at either edge, in either kind of session, used by either colour of `Grants`."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lumin_middleware import AsyncGrants, ClientMisused, ConfigurationError, Grants, NotConnected
from lumin_middleware.emulator import DEMO_USERS, Emulator
from tests.edges.rig import Browser, Edge, Site
from tests.site_rig import FETCH, NAVIGATION, ORIGIN

MIRA, TOBIAS, _ = DEMO_USERS
LIFETIME = 3600.0
POST = {**NAVIGATION, "sec-fetch-site": "same-origin", "origin": ORIGIN}


class Away:
    """`Grants` in either colour, spoken to in the same way."""

    def __init__(self, kind: type[Grants] | type[AsyncGrants], site: Site, **settings: Any) -> None:
        self.grants: Any = kind(replace(site.config, **settings), clock=site.clock)

    async def __call__(self, verb: str, *arguments: Any, **options: Any) -> Any:
        found = getattr(self.grants, verb)
        if inspect.iscoroutinefunction(found):
            return await found(*arguments, **options)
        return await asyncio.to_thread(found, *arguments, **options)

    @asynccontextmanager
    async def client(self, subject: str, **options: Any) -> AsyncIterator[Callable[..., Any]]:
        """A function that calls the API, by GET unless it is told otherwise, and gives the status."""
        opened = self.grants.client(subject, **options)
        if isinstance(opened, AbstractAsyncContextManager):
            async with opened as client:

                async def call(path: str, verb: str = "get", **options: Any) -> int:
                    return int((await getattr(client, verb)(path, **options)).status_code)

                yield call
        else:
            assert isinstance(opened, AbstractContextManager)
            client = await asyncio.to_thread(opened.__enter__)
            try:

                async def call(path: str, verb: str = "get", **options: Any) -> int:
                    return int((await asyncio.to_thread(getattr(client, verb), path, **options)).status_code)

                yield call
            finally:
                opened.__exit__(None, None, None)

    async def call(self, subject: str, **options: Any) -> int:
        async with self.client(subject, **options) as call:
            return int(await call("signature_requests"))

    async def aclose(self) -> None:
        await (self.grants.aclose() if isinstance(self.grants, AsyncGrants) else asyncio.to_thread(self.grants.close))


@pytest.fixture(params=["cookie", "store"])
def sessions(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(new_edges: Callable[..., Site], sessions: str) -> Site:
    return new_edges(sessions=sessions)


@pytest.fixture
async def away(site: Site, edge: Edge, sessions: str) -> AsyncIterator[Away]:
    """Either colour at each edge and with each kind of sessions, but not all eight."""
    found = Away(AsyncGrants if (edge == "asgi") == (sessions == "cookie") else Grants, site)
    yield found
    await found.aclose()


@pytest.fixture
async def person(site: Site, edge: Edge) -> Browser:
    """Somebody who is signed in."""
    browser = site.browser(edge)
    await browser.sign_in()
    return browser


async def connect(browser: Browser, target: str = "/auth/connect?return_to=/done", **person: Any) -> Any:
    return await browser.navigate(browser.site.emulator.sign_in(await browser.begin(target), **person))


async def test_a_job_acts_for_somebody_who_connected(site: Site, person: Browser, away: Away) -> None:
    before = dict(person.jar)
    begun = await person.begin("/auth/connect?return_to=/done")
    asked = parse_qs(urlsplit(begun).query)
    assert asked["prompt"] == ["consent"]
    assert "offline_access" in asked["scope"][0].split()
    answer = await person.navigate(site.emulator.sign_in(begun))
    assert (answer.status, answer.header("location")) == (303, "/done")
    assert {name: value for name, value in person.jar.items() if "login" not in name} == before
    assert await away("subjects") == [MIRA.sub]
    [grant] = await away("find", MIRA.sub)
    assert (grant.subject, grant.name, grant.expires_at) == (MIRA.sub, "default", None)
    assert "offline_access" in grant.scope
    assert await away.call(MIRA.sub) == 200


async def test_a_job_goes_on_for_three_expiries_and_each_is_one_refresh(
    site: Site, person: Browser, away: Away
) -> None:
    await connect(person)
    async with away.client(MIRA.sub) as call:
        for _ in range(3):
            site.clock.advance(LIFETIME)
            assert await call("signature_requests") == 200
    assert site.refreshes() == 3
    assert await away.call(MIRA.sub) == 200
    assert (site.refreshes(), site.reuse_events()) == (3, 0)


async def test_after_a_job_s_upload_that_meets_401_the_next_has_a_new_token(
    site: Site, person: Browser, away: Away
) -> None:
    await connect(person)
    for status in (401, 200, 200):
        site.emulator.faults.add("/v1/documents", status=status, body="{}")
    said = []
    for times in (2, 1):  # in one client, and in the next job
        async with away.client(MIRA.sub) as call:
            said += [await call("documents", "post", files={"file": io.BytesIO(b"%PDF")}) for _ in range(times)]
    first, *others = (call.headers["authorization"] for call in site.emulator.calls_to("/v1/documents"))
    assert said == [401, 200, 200]
    assert first != others[0] == others[1]
    assert site.refreshes() == 1


async def test_the_session_and_the_grant_renew_apart(site: Site, person: Browser, away: Away) -> None:
    await connect(person)
    for turn in range(1, 3):
        site.clock.advance(LIFETIME)
        assert await person.subject() == MIRA.sub
        assert await away.call(MIRA.sub) == 200
        assert (site.refreshes(), site.reuse_events()) == (2 * turn, 0)


async def test_jobs_at_one_expiry_refresh_once(site: Site, person: Browser, away: Away) -> None:
    await connect(person)
    others = [Away(type(away.grants), site) for _ in range(3)]
    site.clock.advance(LIFETIME)
    answers = await asyncio.gather(*(each.call(MIRA.sub) for each in [away, *others] for _ in range(5)))
    assert set(answers) == {200}
    assert (site.refreshes(), site.reuse_events()) == (1, 0)
    for each in others:
        await each.aclose()


async def test_a_sign_out_does_not_end_it(site: Site, person: Browser, away: Away) -> None:
    await connect(person)
    await person.log_out()
    assert await person.subject() is None
    site.clock.advance(LIFETIME)
    assert await away.call(MIRA.sub) == 200


async def test_long_after_every_session_has_ended_it_goes_on(site: Site, person: Browser, away: Away) -> None:
    await connect(person)
    for _ in range(9):
        site.clock.advance(86_400)
        assert await away.call(MIRA.sub) == 200
    assert await person.subject() is None


async def test_whoever_is_not_signed_in_signs_in_first_and_then_connects(site: Site, edge: Edge, away: Away) -> None:
    browser = site.browser(edge)
    first = await browser.sign_in("/auth/connect?return_to=/done")
    assert first.header("location") == "/auth/connect?return_to=/done"
    assert await away("subjects") == []
    answer = await connect(browser, first.header("location") or "")
    assert answer.header("location") == "/done"
    assert await away.call(MIRA.sub) == 200


async def test_a_path_that_asks_for_a_recent_sign_in_asks_for_it_before_anything_is_given_away(
    new_edges: Callable[..., Site], edge: Edge
) -> None:
    site = new_edges(required_auth_age={"/auth/*": 60})
    browser = site.browser(edge)
    await browser.sign_in()
    await connect(browser)
    site.clock.advance(200)
    assert (await browser.ask("POST", "/auth/disconnect", POST)).status == 401
    assert (await browser.fetch("GET", "/auth/connections")).status == 401
    again = await browser.begin("/auth/connect?return_to=/done")
    assert parse_qs(urlsplit(again).query)["max_age"] == ["60"]
    back = await browser.navigate(site.emulator.sign_in(again))
    assert back.header("location") == "/auth/connect?return_to=/done"
    assert (await connect(browser)).header("location") == "/done"
    assert (await browser.ask("POST", "/auth/disconnect", POST)).status == 303


async def test_another_person_is_refused_with_words(site: Site, person: Browser, away: Away) -> None:
    answer = await connect(person, sub=TOBIAS.sub)
    assert answer.status == 403
    assert b"You are signed in here as one person, and allowed it as another." in answer.body
    assert await away("subjects") == []
    assert await person.subject() == MIRA.sub
    newest = list(site.emulator.grants)[-1]
    assert (newest.user, newest.revoked) == (TOBIAS, True)


async def test_who_signed_out_in_the_middle_has_connected_nothing(site: Site, person: Browser, away: Away) -> None:
    begun = await person.begin("/auth/connect")
    kept = {name: value for name, value in person.jar.items() if "login" in name}
    await person.log_out()
    callback = site.emulator.sign_in(begun)
    assert (await person.navigate(callback)).status == 400  # the sign-out took the login with it
    person.jar |= kept
    answer = await person.navigate(callback)
    assert answer.status == 403
    assert b"You signed out here before" in answer.body
    assert await away("subjects") == []
    assert list(site.emulator.grants)[-1].revoked


@pytest.mark.parametrize("scope", ["openid sign:requests", "deny"])
async def test_who_does_not_allow_it_reads_so_and_stays_signed_in(
    site: Site, person: Browser, away: Away, scope: str
) -> None:
    answer = await connect(person, **({"deny": True} if scope == "deny" else {"scope": scope}))
    assert answer.status == 403
    assert b"Not connected" in answer.body
    assert b"/auth/connect?return_to=/done" in answer.body
    assert await person.subject() == MIRA.sub
    assert await away("subjects") == []


async def test_the_same_answer_twice_leads_to_the_page_and_connects_once(
    site: Site, person: Browser, away: Away
) -> None:
    callback = site.emulator.sign_in(await person.begin("/auth/connect?return_to=/done"))
    kept = dict(person.jar)
    await person.navigate(callback)
    person.jar = kept
    again = await person.navigate(callback)
    assert (again.status, again.header("location")) == (303, "/done")
    assert len(await away("find", MIRA.sub)) == 1
    assert site.reuse_events() == 0


async def test_the_answer_of_a_finished_connect_once_more_leads_to_the_page_of_whoever_is_signed_in(
    site: Site, edge: Edge, person: Browser
) -> None:
    """Back, or a tab that is restored, as for a sign-in: it is as good as a link."""
    callback = site.emulator.sign_in(await person.begin("/auth/connect?return_to=/done"))
    await person.navigate(callback)
    again = await person.navigate(callback)
    assert (again.status, again.header("location")) == (303, "/done")
    assert site.reuse_events() == 0
    other, nobody = site.browser(edge), site.browser(edge)
    await other.sign_in(sub=TOBIAS.sub)
    for browser in (other, nobody):
        assert (await browser.navigate(callback)).status == 400


async def test_connecting_again_takes_the_place_of_the_first(site: Site, person: Browser, away: Away) -> None:
    await connect(person)
    first = list(site.emulator.grants)[-1]
    await connect(person)
    assert first.revoked
    assert len(await away("find", MIRA.sub)) == 1
    assert await away.call(MIRA.sub) == 200


async def test_grants_have_names_and_workspaces(new_edges: Callable[..., Site], edge: Edge) -> None:
    site = new_edges(scope="openid offline_access sign:requests workspaces.read")
    browser, away = site.browser(edge), Away(Grants, site)
    await browser.sign_in()
    own, together = f"ws-{MIRA.sub}", "ws-together"
    await connect(browser, "/auth/connect?name=night", workspace=own)
    await connect(browser, "/auth/connect?name=night", workspace=together)
    await connect(browser, "/auth/connect?name=reports", workspace=own)
    found = [(grant.name, grant.workspace) for grant in await away("find", MIRA.sub)]
    assert found == [("night", own), ("night", together), ("reports", own)]
    for name, workspace in found:
        assert await away.call(MIRA.sub, name=name, workspace=workspace) == 200
    with pytest.raises(NotConnected, match="under 'default', but under night, reports"):
        await away.call(MIRA.sub)
    with pytest.raises(NotConnected):
        await away.call(MIRA.sub, name="reports", workspace=together)
    assert await away("revoke", MIRA.sub, name="night", workspace=own) == 1
    assert [(each.name, each.workspace) for each in await away("find", MIRA.sub)] == found[1:]
    assert await away("revoke", MIRA.sub, name="night") == 1
    assert await away("revoke", MIRA.sub) == 1
    assert await away("subjects") == []
    await away.aclose()


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "%00", "é", "<b>"])
async def test_a_name_that_cannot_be_one_is_refused(person: Browser, name: str) -> None:
    assert (await person.navigate(f"/auth/connect?name={name}")).status == 400


async def test_a_person_sees_and_ends_what_is_connected(site: Site, person: Browser, away: Away) -> None:
    await connect(person, "/auth/connect?name=night")
    await connect(person, "/auth/connect?name=reports")
    listed = json.loads((await person.fetch("GET", "/auth/connections")).body)
    assert [each["name"] for each in listed["connections"]] == ["night", "reports"]
    assert listed["connections"][0]["connected_at"] == site.clock()
    assert (listed["connect_url"], listed["disconnect_url"]) == ("/auth/connect", "/auth/disconnect")
    assert (await person.fetch("POST", "/auth/disconnect?name=night")).status == 204
    assert list(site.emulator.grants)[-2].revoked
    assert [each.name for each in await away("find", MIRA.sub)] == ["reports"]
    answer = await person.ask("POST", "/auth/disconnect?return_to=/done", POST)
    assert (answer.status, answer.header("location")) == (303, "/done")
    assert await away("subjects") == []
    with pytest.raises(NotConnected) as caught:
        await away.call(MIRA.sub, name="reports")
    assert caught.value.url == f"{ORIGIN}/auth/connect?return_to=/&name=reports"
    assert await person.subject() == MIRA.sub


@pytest.mark.parametrize(
    "headers",
    [
        {**FETCH, "sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {**FETCH, "sec-fetch-site": "same-site", "origin": "https://other.example.com"},
        {"accept": "application/json"},
        {"accept": "application/json", "origin": "null"},
    ],
)
async def test_another_site_s_page_disconnects_nobody(person: Browser, away: Away, headers: dict[str, str]) -> None:
    await connect(person)
    assert (await person.ask("POST", "/auth/disconnect", headers)).status == 403
    assert len(await away("find", MIRA.sub)) == 1


@pytest.mark.parametrize(("method", "path"), [("GET", "disconnect"), ("POST", "connect"), ("POST", "connections")])
async def test_other_methods_are_not_for_these_addresses(person: Browser, method: str, path: str) -> None:
    assert (await person.fetch(method, f"/auth/{path}")).status == 405


async def test_nobody_sees_or_ends_anything_without_a_session(site: Site, edge: Edge) -> None:
    browser = site.browser(edge)
    for method, path in (("GET", "connections"), ("POST", "disconnect"), ("GET", "connect")):
        answer = await browser.fetch(method, f"/auth/{path}")
        assert answer.status == 401, path


async def test_another_person_sees_and_ends_only_their_own(site: Site, edge: Edge, person: Browser, away: Away) -> None:
    await connect(person)
    other = site.browser(edge)
    await other.sign_in(sub=TOBIAS.sub)
    assert json.loads((await other.fetch("GET", "/auth/connections")).body)["connections"] == []
    assert (await other.fetch("POST", "/auth/disconnect")).status == 204
    assert await away("subjects") == [MIRA.sub]


async def test_an_application_may_let_it_through_that_nobody_is_connected(site: Site, edge: Edge) -> None:
    """What a handler raises that acts for somebody else: no traceback, and no sign-in that would not help."""
    error = NotConnected("this person has not connected", f"{ORIGIN}/auth/connect")

    async def raising(scope: Any, receive: Any, send: Any) -> None:
        raise error

    def raises(environ: Any, start_response: Any) -> Any:
        raise error

    site.app(edge).handler = raising if edge == "asgi" else raises
    browser = site.browser(edge)
    await browser.sign_in()
    told = await browser.fetch("GET", "/x")
    assert (told.status, json.loads(told.body)["reason"]) == (403, "not_connected")
    page = await browser.navigate("/x")
    assert (page.status, page.header("location")) == (403, None)
    assert b"Lumin is not connected" in page.body


# --- how it ends ----------------------------------------------------------------------------------------


async def test_what_lumin_has_ended_is_not_connected_any_more(
    site: Site, person: Browser, away: Away, caplog: pytest.LogCaptureFixture
) -> None:
    await connect(person)
    async with away.client(MIRA.sub) as call:
        assert await call("signature_requests") == 200
        site.emulator.revoke_all(sub=MIRA.sub)
        with pytest.raises(NotConnected, match=f"connect at {ORIGIN}/auth/connect"):
            await call("signature_requests")
    with pytest.raises(NotConnected):
        await away.call(MIRA.sub)
    assert await away("find", MIRA.sub) == []
    assert await away("subjects") == []
    assert "grant_ended" in caplog.text


async def test_an_outage_loses_no_grant(site: Site, person: Browser, away: Away) -> None:
    await connect(person)
    site.clock.advance(LIFETIME)
    site.emulator.faults.add("/oauth2/token", status=503, times=1)
    assert await away.call(MIRA.sub) == 200
    assert site.reuse_events() == 0


async def test_a_revocation_ends_a_client_in_the_middle_of_its_work(site: Site, person: Browser, away: Away) -> None:
    await connect(person)
    other = Away(Grants, site)
    async with away.client(MIRA.sub) as call:
        assert await call("signature_requests") == 200
        assert await other("revoke", MIRA.sub) == 1
        with pytest.raises(NotConnected):
            await call("signature_requests")
    await other.aclose()


async def test_a_grant_has_no_life_beyond_its_lifetime(
    new_edges: Callable[..., Site], edge: Edge, sessions: str
) -> None:
    site = new_edges(sessions=sessions, grant_lifetime=3 * 86_400)
    browser, away = site.browser(edge), Away(AsyncGrants, site)
    await browser.sign_in()
    await connect(browser)
    [grant] = await away("find", MIRA.sub)
    assert grant.expires_at == grant.connected_at + 3 * 86_400
    for _ in range(2):
        site.clock.advance(86_400)
        assert await away.call(MIRA.sub) == 200
    site.clock.advance(86_400)
    with pytest.raises(NotConnected):
        await away.call(MIRA.sub)
    assert await away("find", MIRA.sub) == []
    await away.aclose()


async def test_a_longer_lifetime_holds_for_what_is_connected_already(
    new_edges: Callable[..., Site], edge: Edge, sessions: str
) -> None:
    """A list that ended with the lifetime of before would leave a token that nobody finds and revokes."""
    site = new_edges(sessions=sessions, grant_lifetime=86_400)
    browser, away = site.browser(edge), Away(AsyncGrants, site, grant_lifetime=None)
    await browser.sign_in()
    await connect(browser)
    for _ in range(4):
        site.clock.advance(86_400 / 2)
        assert await away.call(MIRA.sub) == 200
    assert await away("subjects") == [MIRA.sub]
    assert await away("revoke", MIRA.sub) == 1
    await away.aclose()


async def test_a_client_ends_with_its_block_and_challenges_nobody(site: Site, person: Browser) -> None:
    await connect(person)
    with Grants(site.config, clock=site.clock) as grants:
        with grants.client(MIRA.sub) as client:
            assert (client.subject, client.claims["email"]) == (MIRA.sub, MIRA.email)
            with pytest.raises(ClientMisused, match="somebody who is away"):
                client.challenge(scope="templates")
            with pytest.raises(ClientMisused, match="goes nowhere else"):
                client.get("https://evil.example/")
        with pytest.raises(ClientMisused):
            client.get("signature_requests")


# --- keys, and what is in the store ---------------------------------------------------------------------


async def test_a_grant_outlives_a_new_key(site: Site, person: Browser, away: Away) -> None:
    await connect(person)
    old, new = site.config.secret_key, secrets.token_bytes(32)
    both = Away(type(away.grants), site, secret_key=[new, old])
    assert await both("subjects") == [MIRA.sub]
    assert await both.call(MIRA.sub) == 200
    alone = Away(type(away.grants), site, secret_key=new)
    assert await alone("subjects") == [MIRA.sub]
    assert await alone.call(MIRA.sub) == 200
    for each in (both, alone):
        await each.aclose()


async def test_the_store_gives_nobody_a_token_or_a_name(site: Site, person: Browser, away: Away) -> None:
    await connect(person)
    held = repr(site.store._entries).encode()
    token = list(site.emulator.grants)[-1].tokens[-1].value
    for secret in (token, MIRA.sub, MIRA.email, "night"):
        assert secret.encode() not in held


# --- people ---------------------------------------------------------------------------------------------


async def test_sessions_are_listed_and_ended_by_whose_they_are(
    new_edges: Callable[..., Site], edge: Edge, away: Away
) -> None:
    site = new_edges(sessions="store")
    browsers = [site.browser(edge) for _ in range(3)]
    for browser in browsers:
        await browser.sign_in()
    other = site.browser(edge)
    await other.sign_in(sub=TOBIAS.sub)
    operator = Away(type(away.grants), site)
    assert len(await operator("sessions", MIRA.sub)) == 3
    assert await operator("end_sessions", MIRA.sub) == 3
    assert await operator("sessions", MIRA.sub) == []
    assert [await browser.subject() for browser in browsers] == [None] * 3
    assert await other.subject() == TOBIAS.sub
    await operator.aclose()


async def test_sessions_in_cookies_are_ended_where_the_server_may_end_them(
    new_edges: Callable[..., Site], edge: Edge, away: Away
) -> None:
    site = new_edges(backchannel_logout=True)
    browsers = [site.browser(edge) for _ in range(2)]
    for browser in browsers:
        await browser.sign_in()
    operator = Away(type(away.grants), site)
    assert len(await operator("sessions", MIRA.sub)) == 2
    assert await operator("end_sessions", MIRA.sub) == 2
    assert [await browser.subject() for browser in browsers] == [None] * 2
    assert await operator("sessions", MIRA.sub) == []
    await operator.aclose()


async def test_sessions_that_nobody_can_find_are_told_of(new_edges: Callable[..., Site], away: Away) -> None:
    operator = Away(type(away.grants), new_edges(sessions="cookie"))
    for verb in ("sessions", "end_sessions"):
        with pytest.raises(ConfigurationError, match="set sessions='store'"):
            await operator(verb, MIRA.sub)
    await operator.aclose()


async def test_whoever_is_forgotten_leaves_nothing(new_edges: Callable[..., Site], edge: Edge, away: Away) -> None:
    site = new_edges(sessions="store")
    browser = site.browser(edge)
    await browser.sign_in()
    await connect(browser)
    site.clock.advance(LIFETIME)
    operator = Away(type(away.grants), site)
    assert await operator.call(MIRA.sub) == 200
    assert await browser.subject() == MIRA.sub
    await operator("forget", MIRA.sub)
    assert await browser.subject() is None
    assert await operator("subjects") == []
    emulator: Emulator = site.emulator
    assert all(grant.revoked for grant in list(emulator.grants)[-2:])
    site.clock.advance(2 * LIFETIME)  # the marks of used logins
    assert alive(site) == []
    await operator.aclose()


def alive(site: Site) -> list[str]:
    """The keys that hold something of a person; the server's own keys are everybody's."""
    store: Any = site.store
    return [key for key in store._entries if store.get(key) is not None and not key.startswith("keys@")]


# --- beside a sign-in ---


async def test_a_connect_whose_answer_was_lost_stands_in_no_sign_ins_way(site, edge):
    browser = site.browser(edge)
    await browser.sign_in()
    url = (await browser.navigate("/auth/connect?return_to=/connected")).header("location")
    jar = dict(browser.jar)
    assert (await browser.navigate(site.emulator.sign_in(url))).header("location") == "/connected"
    browser.jar = jar  # nothing of that answer came
    url = (await browser.navigate("/auth/login?return_to=/page&prompt=login")).header("location")
    answer = await browser.navigate(site.emulator.sign_in(url))
    assert answer.header("location") == "/page"
    assert any(name.startswith(site.config.session_cookie) for name in answer.set_cookies)
    assert await browser.subject()


async def test_a_connect_that_is_completed_while_a_sign_in_is_under_way_leaves_it_alone(site, edge):
    browser = site.browser(edge)
    await browser.sign_in()
    connect = (await browser.navigate("/auth/connect?return_to=/connected")).header("location")
    login = (await browser.navigate("/auth/login?return_to=/page&prompt=login")).header("location")
    first, second = (site.emulator.sign_in(url) for url in (connect, login))
    early = site.browser(edge)
    early.jar = dict(browser.jar)
    assert (await browser.navigate(first)).header("location") == "/connected"
    assert (await early.navigate(second)).header("location") == "/page"
    assert await early.subject()
    replaced, connected, signed_in = [grant.revoked for grant in site.emulator.grants][-3:]
    assert (replaced, connected, signed_in) == (True, False, False)
