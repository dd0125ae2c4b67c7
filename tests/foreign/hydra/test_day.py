"""A day of a site before Hydra: what a person, the site's operator and Hydra's administrator do.

Wherever a page is answered with 200, the person's access token is tried at Hydra's userinfo (`Visitor.who`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.site_rig import NAVIGATION, ORIGIN, query

from .receiver import Receiver, pass_on
from .server import Hydra

pytestmark = pytest.mark.anyio

GRACE = "60s"


@pytest.fixture(scope="module")
def graceful() -> Iterator[Hydra]:
    """Hydra with a grace period, in which a spent refresh token is taken again; on an SQLite file."""
    with Hydra("sqlite", oauth2={"grant": {"refresh_token": {"rotation_grace_period": GRACE}}}) as server:
        yield server


@pytest.fixture(scope="module")
def jwts() -> Iterator[Hydra]:
    """Hydra whose access tokens are JWTs."""
    with Hydra(strategies={"access_token": "jwt"}) as server:
        yield server


# --- signing in -----------------------------------------------------------------------------------------


async def test_somebody_signs_in_and_comes_back_to_the_page(new_site):
    visitor = new_site().visitor()
    answer = await visitor.sign_in("/who?a=b")
    assert (answer.status, answer.header("location")) == (303, "/who?a=b"), answer.body
    assert (await visitor.who())["subject"] == "ada"
    session = await visitor.session()
    claims = {name: value for name, value in session["claims"].items() if name not in ("iss", "sid")}
    assert claims == {"sub": "ada", "email": "ada@example.com", "email_verified": True, "name": "Ada"}
    assert sorted(session["scope"]) == ["offline_access", "openid", "sign:requests"]


async def test_the_api_answers_for_this_person(new_site):
    visitor = new_site().visitor()
    await visitor.sign_in(sub="grace")
    answer = await visitor.fetch("GET", "/api")
    assert (answer.status, json.loads(answer.body)["user"]["id"]) == (200, "grace")


async def test_a_client_that_uses_basic(new_site):
    site = new_site(token_endpoint_auth_method="client_secret_basic")
    visitor = site.visitor()
    await visitor.sign_in()
    site.expire()
    await visitor.who()


async def test_the_endpoints_can_be_discovered(new_site, hydra):
    from lumin_middleware import AuthorizationServer

    site = new_site(server=AuthorizationServer.discover(hydra.base))
    visitor = site.visitor()
    await visitor.sign_in()
    site.expire()
    await visitor.who()


async def test_a_sign_in_that_hydra_remembers_shows_no_page(new_site):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in(remember=True)
    visitor.jar.clear()
    begun = await visitor.begin()
    answer = visitor.at_hydra.open(begun)
    assert "code" in query(answer.headers["location"])
    await visitor.navigate(answer.headers["location"])
    assert (await visitor.who())["subject"] == "ada"


# --- scopes ---------------------------------------------------------------------------------------------


async def test_a_part_is_granted_and_more_is_asked_for_when_it_is_needed(new_site):
    site = new_site(required_scopes={"/need": "sign:requests"})
    visitor = site.visitor()
    await visitor.sign_in(scope="openid offline_access")
    assert sorted((await visitor.who())["scope"]) == ["offline_access", "openid"]
    refused = await visitor.fetch("GET", "/need")
    assert (refused.status, json.loads(refused.body)["reason"]) == (403, "insufficient_scope")
    again = await visitor.navigate(json.loads(refused.body)["login_url"])
    assert (await visitor.return_from(again.header("location"))).status == 303
    assert (await visitor.fetch("GET", "/need")).status == 200
    assert "sign:requests" in (await visitor.who())["scope"]


async def test_a_scope_beyond_the_settings_is_asked_for_step_by_step(new_site):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    refused = await visitor.fetch("GET", "/challenge?scope=templates")
    assert refused.status == 403
    again = await visitor.navigate(json.loads(refused.body)["login_url"])
    assert again.status == 303, again.body
    assert "templates" in query(again.header("location"))["scope"].split()
    await visitor.return_from(again.header("location"))
    assert "templates" in (await visitor.who())["scope"]
    assert (await visitor.who())["subject"] == "ada"


async def test_without_offline_access_a_session_ends_with_its_token(new_site):
    site = new_site(scope="openid sign:requests")
    visitor = site.visitor()
    await visitor.sign_in()
    await visitor.who()
    site.clock.offset += 3700
    assert not await visitor.is_signed_in()


async def test_stepping_up_asks_for_the_person_again(new_site):
    visitor = new_site().visitor()
    await visitor.sign_in(remember=True)
    again = await visitor.navigate("/auth/login?prompt=login&return_to=/who")
    page = visitor.at_hydra.open(again.header("location"))
    assert visitor.at_hydra.form(page), "Hydra was satisfied with the sign-in that it remembers"
    await visitor.navigate(visitor.at_hydra.answer(page, sub="grace"))
    assert (await visitor.who())["subject"] == "grace"


# --- renewal --------------------------------------------------------------------------------------------


async def test_tokens_are_renewed_for_a_whole_day(new_site):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    seen = {await visitor.token()}
    for _ in range(3):
        site.expire()
        seen.add(await visitor.token())
    assert len(seen) == 4
    assert (await visitor.session())["claims"]["email"] == "ada@example.com"


async def test_thirty_requests_at_expiry_are_one_renewal(new_site):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    before = await visitor.token()
    asked = site.hydra.requests().count(("POST", "/oauth2/token", 200))
    site.expire()
    answers = await asyncio.gather(*(visitor.fetch("GET", "/token") for _ in range(30)))
    assert {answer.status for answer in answers} == {200}
    tokens = {answer.body.decode() for answer in answers}
    assert len(tokens) == 1
    assert before not in tokens
    assert site.hydra.is_alive(tokens.pop())
    assert site.hydra.requests().count(("POST", "/oauth2/token", 200)) == asked + 1


async def test_a_late_cookie_finds_the_newest_tokens(new_site):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    early = dict(visitor.jar)
    for _ in range(2):
        site.expire()
        await visitor.who()
    visitor.jar = early
    await visitor.who()


@pytest.mark.parametrize("which", ["graceful", "jwts"])
async def test_every_kind_of_hydra_renews(new_site, which, request):
    site = new_site(hydra=request.getfixturevalue(which))
    visitor = site.visitor()
    await visitor.sign_in()
    first = await visitor.token()
    assert (first.count(".") == 2) is (which == "jwts")
    for _ in range(2):
        site.expire()
        await visitor.who()


async def test_a_jwt_access_token_is_no_id_token(new_site, jwts):
    """It is signed by a key of the same set, with the same `typ`; only its claims tell."""
    site = new_site(hydra=jwts, end_session=True)
    visitor = site.visitor()
    await visitor.sign_in()
    assert (await visitor.session())["claims"]["name"] == "Ada"


# --- the end --------------------------------------------------------------------------------------------


async def test_signing_out_kills_the_tokens(new_site):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    token, kept = await visitor.token(), dict(visitor.jar)
    assert (await visitor.log_out()).status == 303
    assert not site.hydra.is_alive(token)
    visitor.jar = kept
    assert not await visitor.is_signed_in()


async def test_signing_out_after_a_renewal_kills_the_newest_tokens(new_site):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    early = dict(visitor.jar)
    site.expire()
    newest = await visitor.token()
    visitor.jar = early  # a browser that never got the renewed cookie
    await visitor.log_out()
    assert not site.hydra.is_alive(newest)


async def test_signing_out_goes_on_to_hydra_and_back(new_site):
    site = new_site(end_session=True, post_logout_redirect_uri=f"{ORIGIN}/bye")
    visitor = site.visitor()
    await visitor.sign_in(remember=True)
    site.expire()
    await visitor.who()  # the hint is of a refreshed ID token
    answer = await visitor.log_out()
    back = visitor.at_hydra.go(answer.header("location"))
    assert back.startswith(f"{ORIGIN}/bye?state=")
    assert visitor.at_hydra.form(visitor.at_hydra.open(await visitor.begin())), "Hydra still remembers the sign-in"


async def test_signing_out_everywhere(new_site, sessions):
    if sessions != "store":
        site = new_site()  # a cookie cannot be listed: the route is the application's
        assert (await site.request(site.edge, "/auth/sessions", headers=NAVIGATION)).status == 303
        return
    site = new_site()
    here, there, other = site.visitor(), site.visitor(), site.visitor()
    for visitor, sub in ((here, "turing"), (there, "turing"), (other, "noether")):
        await visitor.sign_in(sub=sub)
    token = await there.token()
    answer = await here.fetch("POST", "/auth/sessions/end")
    assert answer.status == 204, answer.body
    assert await here.is_signed_in()
    assert not await there.is_signed_in()
    assert not site.hydra.is_alive(token)
    assert await other.is_signed_in()


async def test_hydra_ends_sessions_by_sid(new_site, hydra):
    with Receiver() as receiver:
        registered = {"backchannel_logout_uri": receiver.uri, "backchannel_logout_session_required": True}
        site = new_site(backchannel_logout=True, registered=registered)
        visitor, other = site.visitor(), site.visitor()
        await visitor.sign_in(sub="curie", remember=True)
        await other.sign_in(sub="curie", remember=True)
        [meant, *_] = hydra.sign_ins("curie", site.client["client_id"])
        await asyncio.to_thread(hydra.end_sign_in, sid=meant)
        form = await asyncio.to_thread(receiver.wait)
        answer = await pass_on(site, form)
        assert answer.status == 200, answer.body
        signed_in = [await each.is_signed_in() for each in (visitor, other)]
        assert sorted(signed_in) == [False, True]
        assert (await pass_on(site, form)).status == 400  # it counts once


async def test_hydra_ends_a_session_by_sid_after_a_new_key(new_site, hydra):
    with Receiver() as receiver:
        registered = {"backchannel_logout_uri": receiver.uri, "backchannel_logout_session_required": True}
        site = new_site(backchannel_logout=True, registered=registered)
        visitor = site.visitor()
        sub = f"mirzakhani-{site.edge}-{site.config.sessions}"
        await visitor.sign_in(sub=sub, remember=True)
        hydra.new_key(f"backchannel-{sub}")
        [sid] = hydra.sign_ins(sub, site.client["client_id"])
        await asyncio.to_thread(hydra.end_sign_in, sid=sid)
        assert (await pass_on(site, await asyncio.to_thread(receiver.wait))).status == 200
        assert not await visitor.is_signed_in()


# --- the administrator ----------------------------------------------------------------------------------


async def test_an_administrator_ends_everything(new_site, hydra):
    site = new_site()
    visitor, other = site.visitor(), site.visitor()
    sub = f"hopper-{site.edge}-{site.config.sessions}"
    await visitor.sign_in(sub=sub)
    await other.sign_in()
    assert await visitor.is_signed_in()
    hydra.revoke(sub)
    assert (await visitor.fetch("GET", "/api")).status == 401
    assert not await visitor.is_signed_in()
    assert await other.is_signed_in()
    await visitor.sign_in(sub=sub)
    assert await visitor.is_signed_in()


async def test_a_new_key_signs_nobody_out(new_site, hydra):
    site = new_site()
    before = site.visitor()
    await before.sign_in()
    hydra.new_key(f"day-{site.edge}-{site.config.sessions}")
    after = site.visitor()
    await after.sign_in()
    for _ in range(2):
        site.expire()
        assert (await before.who())["subject"] == "ada"
        assert (await after.who())["subject"] == "ada"


async def test_a_new_key_and_the_old_one_taken_away_signs_nobody_out(new_site):
    with Hydra() as own:
        site = new_site(hydra=own)
        visitor = site.visitor()
        await visitor.sign_in()
        old = own.keys()
        own.new_key("the-new-one")
        for kid in old:
            own.ask_admin("DELETE", f"/keys/hydra.openid.id-token/{kid}")
        site.expire()
        assert (await visitor.who())["subject"] == "ada"
        newcomer = new_site(hydra=own).visitor()  # by a clock that shows what Hydra's does
        await newcomer.sign_in()
        await newcomer.who()


async def test_the_client_gets_a_new_secret(new_site, hydra):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    hydra.change(site.client["client_id"], {"op": "replace", "path": "/client_secret", "value": "a-new-one-of-length"})
    newer = new_site(client_id=site.client["client_id"], client_secret="a-new-one-of-length", like=site)
    site.expire()
    site.clock.offset += 10
    answer = await visitor.fetch("GET", "/who")
    assert answer.status == 503  # the operator's error signs nobody out
    visitor.site, visitor.edge = newer, newer.edge
    site.clock.offset += 60  # when the site asks again; the store has this clock, too
    newer.clock.offset = site.clock.offset
    assert (await visitor.who())["subject"] == "ada"


async def test_the_client_loses_a_scope_and_has_it_again(new_site, hydra):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    had = site.client["scope"]
    hydra.change(site.client["client_id"], {"op": "replace", "path": "/scope", "value": "openid offline_access"})
    site.clock.offset += 3610
    assert (await visitor.fetch("GET", "/who")).status in (401, 503)
    hydra.change(site.client["client_id"], {"op": "replace", "path": "/scope", "value": had})
    again = new_site(client_id=site.client["client_id"], client_secret=site.client["client_secret"], like=site)
    visitor = again.visitor()  # by a clock that shows what Hydra's does
    await visitor.sign_in()
    await visitor.who()
