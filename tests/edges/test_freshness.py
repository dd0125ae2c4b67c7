"""How long ago somebody signed in at Lumin: what a page may ask of it, and a server that does not care."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lumin_middleware import ConfigurationError, LuminConfig, lumin
from lumin_middleware.emulator import DEMO_USERS
from lumin_middleware.model import CLOCK_TOLERANCE
from tests.edges import rig
from tests.edges.rig import Browser, Edge, Site
from tests.site_rig import CLIENT, NAVIGATION, ORIGIN, REDIRECT_URI

MIRA, TOBIAS, _ = DEMO_USERS
AGE = 300
LATER = AGE + CLOCK_TOLERANCE + 1
PAY = "/pay/now?x=1"


@pytest.fixture(params=["cookie", "store"])
def site(request: pytest.FixtureRequest, new_edges: Callable[..., Site]) -> Site:
    return new_edges(sessions=request.param, required_auth_age={"/pay/*": AGE}, public=["/pay/free", "/free"])


@pytest.fixture
async def person(site: Site, edge: Edge) -> Browser:
    browser = site.browser(edge)
    await browser.sign_in()
    return browser


async def test_a_recent_sign_in_passes_and_an_old_one_signs_in_again(site: Site, person: Browser) -> None:
    assert (await person.navigate(PAY)).status == 200
    site.clock.advance(LATER)
    assert (await person.navigate("/other")).status == 200
    begun = await person.begin(PAY)
    assert parse_qs(urlsplit(begun).query)["max_age"] == [str(AGE)]
    answer = await person.navigate(site.emulator.sign_in(begun))
    assert (answer.status, answer.header("location")) == (303, PAY)
    assert (await person.navigate(PAY)).status == 200


async def test_the_server_says_when_it_was_and_not_when_they_came_back(site: Site, edge: Edge) -> None:
    browser = site.browser(edge)
    await browser.sign_in(ago=LATER)
    assert (await browser.navigate("/other")).status == 200
    assert (await browser.navigate(PAY)).status == 303


@pytest.mark.parametrize("ago", [0, AGE, AGE + CLOCK_TOLERANCE])
async def test_clocks_may_differ_by_a_minute(site: Site, edge: Edge, ago: float) -> None:
    browser = site.browser(edge)
    await browser.sign_in(ago=ago)
    assert (await browser.navigate(PAY)).status == 200


async def test_whoever_does_not_sign_in_again_keeps_the_session(site: Site, person: Browser) -> None:
    site.clock.advance(LATER)
    begun = await person.begin(PAY)
    assert await person.subject() == MIRA.sub
    answer = await person.navigate(site.emulator.sign_in(begun, deny=True))
    assert answer.status == 403
    assert await person.subject() == MIRA.sub


async def test_a_server_that_ignores_it_ends_in_a_page_and_not_in_a_loop(site: Site, person: Browser) -> None:
    site.clock.advance(LATER)
    answer = await person.navigate(site.emulator.sign_in(await person.begin(PAY), ago=LATER))
    assert (answer.status, answer.header("location")) == (403, None)
    assert b"Lumin did not ask you to sign in again" in answer.body
    again = f"/auth/login?return_to={PAY.replace('?', '%3F').replace('=', '%3D')}&prompt=login&max_age={AGE}"
    assert again.replace("&", "&amp;").encode() in answer.body
    assert await person.subject() == MIRA.sub
    begun = await person.begin(again)
    assert parse_qs(urlsplit(begun).query)["prompt"] == ["login"]
    answer = await person.navigate(site.emulator.sign_in(begun))
    assert answer.header("location") == PAY
    assert (await person.navigate(PAY)).status == 200


async def test_another_person_who_signs_in_then_is_told_who_they_are(site: Site, person: Browser) -> None:
    site.clock.advance(LATER)
    answer = await person.navigate(site.emulator.sign_in(await person.begin(PAY), sub=TOBIAS.sub))
    assert answer.status == 200
    assert f"You are {TOBIAS.email} now".encode() in answer.body


async def test_a_program_is_told_so_in_the_standard_s_words(site: Site, person: Browser) -> None:
    site.clock.advance(LATER)
    answer = await person.fetch("GET", PAY)
    assert answer.status == 401
    challenge = answer.header("www-authenticate") or ""
    assert 'error="insufficient_user_authentication"' in challenge
    assert f'max_age="{AGE}"' in challenge
    told = json.loads(answer.body)
    assert told["reason"] == "insufficient_user_authentication"
    assert told["login_url"].endswith(f"&max_age={AGE}")
    assert answer.all("set-cookie") == []
    begun = parse_qs(urlsplit(await person.begin(told["login_url"])).query)
    assert begun["max_age"] == [str(AGE)]


async def test_a_form_that_was_sent_gets_a_page(site: Site, person: Browser) -> None:
    site.clock.advance(LATER)
    headers = {**NAVIGATION, "sec-fetch-site": "same-origin", "origin": ORIGIN}
    answer = await person.ask("POST", "/pay/now", headers)
    assert answer.status == 401
    assert b"Please sign in again" in answer.body


@pytest.mark.parametrize(
    "path", ["/pay", "/pay/", "/PAY/now", "/pay//now", "/pay/%6eow", "/x/../pay/now", "/pay/now;x", "/pay/free"]
)
async def test_every_reading_of_a_path_counts(site: Site, person: Browser, path: str) -> None:
    site.clock.advance(LATER)
    assert (await person.fetch("GET", path)).status in (400, 401)


async def test_a_path_that_needs_it_is_not_public(site: Site, edge: Edge) -> None:
    browser = site.browser(edge)
    assert (await browser.fetch("GET", "/pay/free")).status == 401
    assert (await browser.fetch("GET", "/free")).status == 200


async def test_a_proxy_s_question_is_judged_by_it_too(new_edges: Callable[..., Site], edge: Edge) -> None:
    site = new_edges(required_auth_age={"/pay/*": AGE})
    browser = site.browser(edge)
    await browser.sign_in()
    assert (await browser.fetch("GET", "/auth/verify")).status == 204
    site.clock.advance(LATER)
    assert (await browser.fetch("GET", "/auth/verify")).status == 401


async def test_renewals_do_not_make_a_sign_in_recent(site: Site, person: Browser) -> None:
    site.clock.advance(3600)
    assert await person.subject() == MIRA.sub
    assert site.refreshes() == 1
    assert (await person.fetch("GET", PAY)).status == 401


async def test_without_an_id_token_the_sign_in_here_counts() -> None:
    for edge in rig.EDGES:
        with rig.lumin(id_token=False) as running:
            site = running.site(required_auth_age={"/pay/*": AGE})
            browser = site.browser(edge)
            await browser.sign_in(ago=LATER)
            assert (await browser.navigate(PAY)).status == 200
            site.clock.advance(LATER)
            assert (await browser.navigate(PAY)).status == 303
            await site.aclose()


# --- asked from inside ----------------------------------------------------------------------------------


def answered_by(view: Callable[[Request], Awaitable[Response]]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (await view(Request(scope, receive)))(scope, receive, send)

    return app


async def test_an_application_asks_for_it_itself(site: Site) -> None:
    async def pay(request: Any) -> Any:
        client = lumin(request)
        if site.clock() - client.auth_time > AGE:
            return client.challenge(max_age=AGE)
        return JSONResponse({"paid": True})

    site.asgi_app.handler = answered_by(pay)
    browser = site.browser("asgi")
    await browser.sign_in()
    assert (await browser.navigate("/x")).status == 200
    site.clock.advance(LATER)
    begun = await browser.begin("/x")
    assert parse_qs(urlsplit(begun).query)["max_age"] == [str(AGE)]
    assert (await browser.fetch("GET", "/x")).status == 401
    assert (await browser.navigate(site.emulator.sign_in(begun))).header("location") == "/x"
    assert (await browser.navigate("/x")).status == 200


@pytest.mark.parametrize("name", ["default", "night.job"])
async def test_an_application_asks_to_act_while_somebody_is_away(site: Site, name: str) -> None:
    async def connect(request: Any) -> Any:
        return lumin(request).challenge(offline=True, **({} if name == "default" else {"name": name}))

    site.asgi_app.handler = answered_by(connect)
    browser = site.browser("asgi")
    await browser.sign_in()
    begun = await browser.begin("/x")
    assert parse_qs(urlsplit(begun).query)["prompt"] == ["consent"]
    answer = await browser.navigate(site.emulator.sign_in(begun))
    assert answer.header("location") == "/x"
    listed = json.loads((await browser.fetch("GET", "/auth/connections")).body)["connections"]
    assert [each["name"] for each in listed] == [name]
    told = await browser.fetch("GET", "/x")
    assert (told.status, json.loads(told.body)["reason"]) == (403, "not_connected")
    assert json.loads(told.body)["connect_url"].startswith("/auth/connect?return_to=")
    assert json.loads(told.body)["connect_url"].endswith(f"&name={name}")


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "a/b"])
async def test_a_grant_has_a_name_that_can_stand_in_an_address(site: Site, name: str) -> None:
    async def connect(request: Any) -> Any:
        return lumin(request).challenge(offline=True, name=name)

    site.asgi_app.handler = answered_by(connect)
    browser = site.browser("asgi")
    await browser.sign_in()
    told = await browser.fetch("GET", "/x")
    assert (told.status, json.loads(told.body)["reason"]) == (500, "client_misused")
    assert (await browser.navigate("/x")).status == 500


# --- settings -------------------------------------------------------------------------------------------


def settings(**more: Any) -> LuminConfig:
    return LuminConfig(
        client_id=CLIENT.client_id,
        client_secret="-",
        redirect_uri=REDIRECT_URI,
        secret_key=secrets.token_bytes(32),
        **more,
    )


@pytest.mark.parametrize("wrong", [["/pay/*"], {"/pay/*": 0}, {"/pay/*": "300"}, {"pay": 300}, {"/pay/*": 86_401}])
def test_a_wrong_setting_is_told(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="required_auth_age"):
        settings(required_auth_age=wrong)


def test_the_environment_names_it() -> None:
    found = LuminConfig.from_env(
        {
            "LUMIN_CLIENT_ID": "c",
            "LUMIN_CLIENT_SECRET": "s",
            "LUMIN_REDIRECT_URI": REDIRECT_URI,
            "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
            "LUMIN_REQUIRED_AUTH_AGE": "/pay/*=300, /admin/*=60",
            "LUMIN_GRANT_LIFETIME": "86400",
        }
    )
    assert found.required_auth_age == {"/pay/*": 300, "/admin/*": 60}
    assert found.grant_lifetime == 86_400
