"""A session that was ended stays ended: for every copy of the cookie, in every process, whoever ended it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from lumin_middleware import AuthorizationServer, LuminConfig, LuminMiddleware
from lumin_middleware.emulator import DEMO_USERS
from lumin_middleware.stores import MemoryStore
from tests.foreign.relying_party import BackChannel
from tests.patience import PATIENCE
from tests.site_rig import CLIENT, ORIGIN, REDIRECT_URI, SESSION, App, Browser, Clock, Site, say_who
from tests.storm.sites import LIFETIME, Hold, RemoteStore, copy, process, refreshes

ADA, GRACE = DEMO_USERS[:2]
EVENT = "http://schemas.openid.net/event/backchannel-logout"


async def status(browser: Browser) -> int:
    return (await browser.fetch("GET", "/")).status_code


async def statuses(*browsers: Browser) -> list[int]:
    return [await status(browser) for browser in browsers]


async def reason(browser: Browser) -> str:
    """Why a request was refused."""
    answer = await browser.fetch("GET", "/")
    assert answer.status_code == 401, answer.text
    return str(answer.json()["reason"])


async def signed_in(site: Site, sub: str = ADA.sub) -> Browser:
    """Somebody at a browser of their own."""
    browser = site.browser()
    await browser.sign_in(sub=sub)
    return browser


# --- logout ---


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_logout_wins_over_a_renewal_in_flight(each_kind, moment):
    """Before the server acts and after; from another process, with a copy of the cookie."""
    browser = await signed_in(each_kind)
    elsewhere, kept = copy(browser, process(each_kind)), copy(browser, process(each_kind))
    each_kind.clock.advance(LIFETIME)
    with Hold() as hold:
        each_kind.emulator.faults.add("/oauth2/token", **{moment: hold})
        renewing = asyncio.ensure_future(browser.fetch("GET", "/"))
        await hold.reached()
        assert (await elsewhere.log_out()).status_code == 303
        hold.release()
        answer = await renewing
    assert (answer.status_code, answer.json()["reason"]) == (401, "ended")
    assert "set-cookie" not in answer.headers
    assert await statuses(browser, elsewhere, kept) == [401] * 3
    [grant] = each_kind.emulator.grants
    assert grant.revoked
    assert not [token for token in grant.tokens if not token.revoked]
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (1, 0)


async def test_a_copy_of_the_cookie_is_refused_by_every_process_once_signed_out(each_kind, store_kind):
    browser = await signed_in(each_kind)
    other = process(each_kind, strict_logout=store_kind == "remote")
    fresh = copy(browser, other)
    assert await status(fresh) == 200
    each_kind.clock.advance(LIFETIME)
    assert await status(browser) == 200
    renewed = copy(browser, other)
    assert await status(renewed) == 200
    assert (await browser.log_out()).status_code == 303
    assert await statuses(fresh, renewed) == [401, 401]
    each_kind.clock.advance(LIFETIME)
    assert await statuses(fresh, renewed) == [401, 401]
    assert (refreshes(each_kind), each_kind.emulator.reuse_events) == (1, 0)


@pytest.mark.parametrize("raised", [True, False])
async def test_who_signed_out_under_a_short_limit_stays_so_where_it_is_long(each_kind, store_kind, raised):
    """The limit is raised later, or the process with the new one began the session that the other one ends."""
    strict = store_kind == "remote"
    long, short = process(each_kind, strict_logout=strict), process(each_kind, absolute_timeout=1800, idle_timeout=1800)
    long.app.handler = say_who  # which asks no API, where the token is worth nothing any more
    browser = await signed_in(short if raised else long)
    kept = copy(browser, long)
    each_kind.clock.advance(600)
    assert await statuses(browser, kept) == [200, 200]
    assert (await copy(browser, short).log_out()).status_code == 303
    for _ in range(4):
        assert await status(kept) == 401
        each_kind.clock.advance(700)


async def test_a_copy_that_nobody_asks_the_store_about_lasts_until_it_must_be_renewed(new_site):
    clock = Clock()
    site = new_site(store=RemoteStore(clock=clock), clock=clock)
    browser = await signed_in(site)
    kept = copy(browser, process(site))
    await browser.log_out()
    clock.advance(LIFETIME)
    assert await reason(kept) == "ended"
    assert refreshes(site) == 0


async def test_a_new_sign_in_in_the_same_browser_is_a_new_session(each_kind):
    browser = await signed_in(each_kind)
    kept = copy(browser, process(each_kind, strict_logout=True))
    await browser.log_out()
    await browser.sign_in()
    assert await statuses(browser, kept) == [200, 401]


# --- sessions of one person ---


@pytest.fixture
async def people(new_site: Callable[..., Site]) -> tuple[Site, list[Browser], Browser]:
    """A site with sessions in a store, one person at three browsers, and somebody else."""
    site = new_site(sessions="store")
    browsers = []
    for _ in range(3):
        browsers.append(await signed_in(site))
        site.clock.advance(60)
    return site, browsers, await signed_in(site, GRACE.sub)


async def listed(browser: Browser) -> list[dict[str, Any]]:
    answer = await browser.fetch("GET", "/auth/sessions")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["sessions"]
    return found


async def test_everybody_sees_their_own_sessions_and_no_other(people):
    _, browsers, other = people
    found = await listed(browsers[1])
    assert [item["current"] for item in found] == [False, True, False]
    assert [item["began"] - found[0]["began"] for item in found] == [0, 60, 120]
    assert len({item["id"] for item in found}) == 3
    assert [item["current"] for item in await listed(other)] == [True]
    assert (await people[0].browser().fetch("GET", "/auth/sessions")).status_code == 401


async def test_signing_out_everywhere_else_ends_those_sessions_and_revokes_their_tokens(people):
    site, browsers, other = people
    kept = [copy(browser, process(site)) for browser in browsers]
    assert (await browsers[1].fetch("POST", "/auth/sessions/end")).status_code == 204
    assert await statuses(*browsers, other) == [401, 200, 401, 200]
    assert await statuses(*kept) == [401, 200, 401]
    assert [grant.revoked for grant in site.emulator.grants] == [True, False, True, False]
    assert len(await listed(browsers[1])) == 1


async def test_one_session_of_the_list_can_be_ended(people):
    _, browsers, other = people
    [first, *_] = await listed(browsers[1])
    assert (await other.fetch("POST", f"/auth/sessions/end?id={first['id']}")).status_code == 404
    assert await statuses(*browsers) == [200, 200, 200]  # it is not that person's
    assert (await browsers[1].fetch("POST", f"/auth/sessions/end?id={first['id']}")).status_code == 204
    assert await statuses(*browsers, other) == [401, 200, 200, 200]


async def test_a_page_of_another_site_ends_nothing(people):
    _, browsers, _ = people
    answer = await browsers[1].fetch("POST", "/auth/sessions/end", **{"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert await statuses(*browsers) == [200] * 3


async def test_sessions_are_found_and_ended_after_their_tokens_were_renewed(people):
    site, browsers, _ = people
    site.clock.advance(LIFETIME)
    assert await statuses(*browsers) == [200] * 3
    assert (await browsers[0].fetch("POST", "/auth/sessions/end")).status_code == 204
    assert await statuses(*browsers) == [200, 401, 401]


async def test_sessions_are_found_and_ended_after_the_key_was_changed(new_site):
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    site = new_site(sessions="store", secret_key=old)
    browsers = [await signed_in(site) for _ in range(2)]
    for keys in ([new, old], [new]):
        here = process(site, secret_key=keys)
        browsers = [copy(browser, here) for browser in browsers]
        site.clock.advance(LIFETIME)
        assert await statuses(*browsers) == [200] * 2
    assert (await browsers[0].fetch("POST", "/auth/sessions/end")).status_code == 204
    assert await statuses(*browsers) == [200, 401]


# --- back-channel logout ---


@pytest.fixture
def told(each_kind: Site) -> Site:
    """A site of each kind that the server may tell of logouts."""
    return process(each_kind, backchannel_logout=True)


def logout_token(site: Site, *, key: Any = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A logout token that is right, with changes; a claim of None is left out."""
    signing = site.emulator._signer.keys.current("RS256")
    claims = {
        "iss": site.emulator.base,
        "aud": [CLIENT.client_id],
        "iat": int(site.clock()),
        "jti": secrets.token_urlsafe(16),
        "events": {EVENT: {}},
        **changes,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    head = {"alg": "RS256", "kid": signing.kid, **(header or {})}
    return jwt.encode(head, given, key or signing, algorithms=[str(head["alg"])])


def sid(site: Site, position: int) -> str:
    """The server's name for the sign-in of that number."""
    return list(site.emulator.grants)[position].sid


async def tell(site: Site, token: str) -> httpx2.Response:
    """What the server does: no cookie, no origin."""
    return await site.browser().post("/auth/backchannel-logout", data={"logout_token": token})


async def test_lo_07_a_logout_token_with_a_sid_ends_that_session_and_no_other(told):
    one, other, third = await signed_in(told), await signed_in(told), await signed_in(told, GRACE.sub)
    late = copy(one, process(told))
    told.clock.advance(LIFETIME)
    assert await status(one) == 200  # renewed: the copy in the store is newer than the cookie
    elsewhere = process(told)
    answer = await tell(elsewhere, logout_token(told, sid=sid(told, 0)))
    assert answer.status_code in (200, 204)
    assert "no-store" in answer.headers["cache-control"]
    assert await reason(one) in ("ended", "no_session")
    assert await statuses(late, other, third) == [401, 200, 200]
    assert (await one.navigate("/")).status_code == 303


async def test_lo_07_the_emulator_s_own_logout_token_is_taken(told):
    browser = await signed_in(told)
    token = told.emulator.logout_token(CLIENT.client_id, sid(told, 0))
    assert (await tell(told, token)).status_code in (200, 204)
    assert await status(browser) == 401


async def test_a_logout_token_with_a_sub_ends_what_began_no_later_than_it_was_made(told):
    before = [await signed_in(told) for _ in range(2)]
    told.clock.advance(30)
    token = logout_token(told, sub=ADA.sub)
    other = await signed_in(told, GRACE.sub)
    told.clock.advance(30)
    since = await signed_in(told)
    assert (await tell(process(told), token)).status_code in (200, 204)
    assert await statuses(*before, since, other) == [401, 401, 200, 200]


async def test_a_logout_token_with_a_sub_ends_what_began_in_the_second_that_it_names(told):
    told.clock.advance(0.7)
    browser = await signed_in(told)
    assert (await tell(told, logout_token(told, sub=ADA.sub))).status_code in (200, 204)
    assert await status(browser) == 401


async def test_a_logout_token_is_used_once(told):
    browser = await signed_in(told)
    token = logout_token(told, sub=ADA.sub)
    assert (await tell(told, token)).status_code in (200, 204)
    assert await status(browser) == 401
    await browser.sign_in()
    for site in (told, process(told)):
        answer = await tell(site, token)
        assert answer.status_code == 400
        assert "no-store" in answer.headers["cache-control"]
    assert await status(browser) == 200


def changed(**changes: Any) -> Callable[[Site], str]:
    """A logout token that would end the first session, were it not for these changes."""
    return lambda site: logout_token(site, **{"sub": ADA.sub, "sid": sid(site, 0), **changes})


def unsigned(site: Site) -> str:
    """The same without a signature, and a header that says so."""
    return f"eyJhbGciOiJub25lIn0.{changed()(site).split('.')[1]}."


WRONG: dict[str, Callable[[Site], str]] = {
    "alg none": unsigned,
    "another algorithm": changed(header={"alg": "ES256"}, key=ECKey.generate_key("P-256")),
    "another key": changed(key=RSAKey.generate_key(2048)),
    "wrong aud": changed(aud=["somebody-else"]),
    "no aud": changed(aud=None),
    "wrong iss": changed(iss="https://elsewhere.example"),
    "no iss": changed(iss=None),
    "no events": changed(events=None),
    "wrong event": changed(events={"http://schemas.openid.net/event/other": {}}),
    "an event that is no object": changed(events={EVENT: True}),
    "nonce": changed(nonce="n-0S6_WzA2Mj"),
    "no jti": changed(jti=None),
    "no iat": changed(iat=None),
    "too old": lambda site: changed(iat=int(site.clock()) - 3600)(site),
    "from the future": lambda site: changed(iat=int(site.clock()) + 3600)(site),
    "expired": lambda site: changed(exp=int(site.clock()) - 3600)(site),
    "neither sub nor sid": changed(sub=None, sid=None),
    "a sub that is no text": changed(sub=7, sid=None),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_lo_08_a_logout_token_that_is_wrong_ends_nothing(new_site, wrong):
    site = new_site(sessions="store", backchannel_logout=True)
    browser = await signed_in(site)
    answer = await tell(site, WRONG[wrong](site))
    assert answer.status_code == 400
    assert "no-store" in answer.headers["cache-control"]
    assert await status(browser) == 200
    assert (await tell(site, changed()(site))).status_code in (200, 204)
    assert await status(browser) == 401


async def test_lo_08_a_signature_that_was_touched_ends_nothing(new_site):
    site = new_site(sessions="store", backchannel_logout=True)
    browser = await signed_in(site)
    head, payload, signature = logout_token(site, sub=ADA.sub).split(".")
    touched = ("B" if signature[0] == "A" else "A") + signature[1:]
    for token in (f"{head}.{payload}.{touched}", f"{head}.{payload}.", "", "a.b.c", "x" * 20_000):
        assert (await tell(site, token)).status_code == 400
    assert (await site.browser().post("/auth/backchannel-logout")).status_code == 400
    assert await status(browser) == 200


async def test_lo_12_an_id_token_or_an_access_token_is_no_logout_token(new_site):
    site = new_site(sessions="store", backchannel_logout=True)
    given: list[str] = []

    def keep(header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
        given.append(jwt.encode(header, claims, key))
        # One more, as a refresh may give it: without a nonce.
        given.append(jwt.encode(header, {name: claims[name] for name in claims if name != "nonce"}, key))
        return given[0]

    site.emulator.forge_id_token = keep
    browser = await signed_in(site)
    [grant] = site.emulator.grants
    for token in (*given, grant.tokens[0].value):
        assert (await tell(site, token)).status_code == 400
    assert await status(browser) == 200


async def test_lo_12_a_logout_token_is_no_id_token(new_site):
    site = new_site(sessions="store", backchannel_logout=True)
    site.emulator.forge_id_token = lambda header, claims, key: logout_token(site, sub=ADA.sub, sid=claims["sid"])
    browser = site.browser()
    assert (await browser.sign_in()).status_code >= 400
    assert SESSION not in browser.cookie_names()


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_lo_13_a_server_whose_logout_could_not_be_done_is_told_and_may_try_again(new_site, sessions):
    clock = Clock()
    kept = RemoteStore(clock=clock)
    site = new_site(sessions=sessions, backchannel_logout=True, store=kept, clock=clock)
    browser = await signed_in(site)
    token = logout_token(site, sid=sid(site, 0))
    kept.down = True
    assert (await tell(site, token)).status_code == 503
    kept.down = False
    assert await status(browser) == 200
    assert (await tell(site, token)).status_code in (200, 204)
    assert await status(browser) == 401


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_lo_13_a_logout_that_failed_half_way_may_be_tried_again(new_site, sessions):
    """The store fails after the token was marked as used, and before the session is ended."""
    clock = Clock()
    kept = RemoteStore(clock=clock)
    site = new_site(sessions=sessions, backchannel_logout=True, store=kept, clock=clock)
    browser = await signed_in(site)
    token = logout_token(site, sid=sid(site, 0))

    def fail(key: str, new: bytes | None) -> None:
        kept.down = key.startswith("session:")

    kept.before = fail
    assert (await tell(site, token)).status_code == 503
    kept.before, kept.down = None, False
    assert (await tell(site, token)).status_code in (200, 204)
    assert await status(browser) == 401


async def test_back_channel_logout_is_there_only_where_it_was_asked_for(each_kind):
    browser = await signed_in(each_kind)
    answer = await tell(each_kind, logout_token(each_kind, sub=ADA.sub))
    assert answer.status_code in (401, 404)
    assert await status(browser) == 200


@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_a_logout_at_a_server_that_nobody_here_wrote_ends_the_session_here(oidc_provider, sessions):
    goodbye = f"{ORIGIN}/bye"
    with BackChannel() as channel, httpx2.Client(timeout=PATIENCE) as at_the_server:
        client_id, secret = oidc_provider.register([REDIRECT_URI], [goodbye], backchannel_logout_uri=channel.uri)
        config = LuminConfig(
            client_id=client_id,
            client_secret=secret,
            redirect_uri=REDIRECT_URI,
            secret_key=secrets.token_bytes(32),
            server=AuthorizationServer.at(oidc_provider.issuer),
            api_url=oidc_provider.api_url,
            sessions=sessions,
            store=MemoryStore(),
            backchannel_logout=True,
        )
        middleware = LuminMiddleware(App(), config)
        browsers = {"ada": at_the_server, "grace": None}
        for user, client in list(browsers.items()):
            browsers[user] = browser = Browser(middleware, None)
            callback = await asyncio.to_thread(oidc_provider.sign_in, await browser.begin(), user=user, client=client)
            assert (await browser.navigate(callback)).status_code == 303
        leave = urlencode({"client_id": client_id, "post_logout_redirect_uri": goodbye})
        url = f"{oidc_provider.end_session_endpoint}?{leave}"
        assert await asyncio.to_thread(oidc_provider.sign_out, url, client=at_the_server) == goodbye
        assert await statuses(*browsers.values()) == [200, 200]
        told = await Browser(middleware, None).post("/auth/backchannel-logout", data=channel.received)
        assert told.status_code in (200, 204), told.text
        assert await statuses(*browsers.values()) == [401, 200]
        await middleware.aclose()
