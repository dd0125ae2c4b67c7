"""Routes of ours that end something, asked by a query or by a form: what cannot be told ends nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.edges.rig import Browser, Edge, Site
from tests.site_rig import FETCH, NAVIGATION, ORIGIN

POST = {**NAVIGATION, "sec-fetch-site": "same-origin", "origin": ORIGIN}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def site(new_edges: Callable[..., Site]) -> Site:
    return new_edges(sessions="store")


@pytest.fixture
async def here(site: Site, edge: Edge) -> Browser:
    """Somebody who is signed in here, and in two more browsers."""
    browsers = [site.browser(edge) for _ in range(3)]
    for browser in browsers:
        await browser.sign_in()
    return browsers[-1]


async def listed(browser: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((await browser.fetch("GET", "/auth/sessions")).body)["sessions"]
    return found


async def other(browser: Browser) -> str:
    """The name of a session that is another one's."""
    return str(next(each["id"] for each in await listed(browser) if not each["current"]))


# --- one session ---


@pytest.mark.parametrize("kind", [FORM, f"{FORM};charset=UTF-8", FORM.upper()])
async def test_a_form_names_the_one_session_that_ends(here, kind):
    name = await other(here)
    answer = await here.fetch("POST", "/auth/sessions/end", f"id={name}".encode(), **{"content-type": kind})
    assert answer.status == 204
    assert len(await listed(here)) == 2
    assert name not in [each["id"] for each in await listed(here)]


async def test_a_form_and_a_query_may_say_the_same(here):
    name = await other(here)
    body = f"id={name}".encode()
    answer = await here.fetch("POST", f"/auth/sessions/end?id={name}", body, **{"content-type": FORM})
    assert (answer.status, len(await listed(here))) == (204, 2)


UNCLEAR = {
    "JSON": ("", b'{"id": "NAME"}', "application/json"),
    "JSON that calls itself a form": ("", b'{"id": "NAME"}', FORM),
    "in parts": ("", b'--x\r\nContent-Disposition: form-data; name="id"\r\n\r\nNAME\r\n--x--', "multipart/form-data"),
    "of no type": ("", b"id=NAME", None),
    "of another alphabet": ("", b"id=NAME", f"{FORM}; charset=utf-16"),
    "no ASCII": ("", b"id=NAME\xff", FORM),
    "misspelt": ("", b"ids=NAME", FORM),
    "misspelt in the query": ("ids=NAME", b"", None),
    "a field too many": ("", b"id=NAME&csrf_token=x", FORM),
    "empty": ("", b"id=", FORM),
    "empty in the query": ("id=", b"", None),
    "without a value": ("", b"id", FORM),
    "twice": ("", b"id=NAME&id=NAME", FORM),
    "two in two places": ("id=NAME", b"id=other", FORM),
    "empty beside another": ("id=NAME", b"id=", FORM),
}


@pytest.mark.parametrize("case", UNCLEAR)
async def test_what_cannot_be_told_ends_nothing(here, case):
    query, body, kind = UNCLEAR[case]
    name = await other(here)
    target = f"/auth/sessions/end?{query.replace('NAME', name)}".rstrip("?")
    headers = {"content-type": kind} if kind else {}
    answer = await here.fetch("POST", target, body.replace(b"NAME", name.encode()), **headers)
    problem = json.loads(answer.body)
    assert (answer.status, problem["reason"]) == (400, "unclear")
    assert problem["detail"].endswith((".", "out."))
    assert len(await listed(here)) == 3


async def test_a_form_that_is_too_large_ends_nothing(here):
    answer = await here.fetch("POST", "/auth/sessions/end", b"id=" + b"x" * 70_000, **{"content-type": FORM})
    assert (answer.status, len(await listed(here))) == (413, 3)


async def test_a_person_reads_that_nothing_was_done(here):
    answer = await here.ask("POST", "/auth/sessions/end", {**POST, "content-type": FORM}, b"ids=x")
    assert answer.status == 400
    assert b"It cannot be told what is meant, so nothing was done." in answer.body
    assert here.references[-1][0] == "unclear"


@pytest.mark.parametrize("name", ["nonsense", "*", "0"])
async def test_a_name_that_is_nobody_s_ends_nothing_and_says_so(here, name):
    answer = await here.fetch("POST", f"/auth/sessions/end?id={name}")
    assert (answer.status, json.loads(answer.body)["reason"]) == (404, "nothing_to_end")
    assert len(await listed(here)) == 3


async def test_a_session_of_somebody_else_is_as_one_that_never_was(here, site, edge):
    stranger = site.browser(edge)
    await stranger.sign_in(sub=list(site.emulator.users)[1])
    name = (await listed(stranger))[0]["id"]
    answers = [await here.fetch("POST", f"/auth/sessions/end?id={each}") for each in (name, name[::-1])]
    told = [{**json.loads(answer.body), "reference": ""} for answer in answers]
    assert told[0] == told[1]
    assert await stranger.subject()


# --- where a person goes on ---


async def test_a_person_who_ends_the_others_comes_back_and_stays_signed_in(here):
    body = b"return_to=/settings%3Fdone"
    answer = await here.ask("POST", "/auth/sessions/end", {**POST, "content-type": FORM}, body)
    assert (answer.status, answer.header("location")) == (303, "/settings?done")
    assert [each["current"] for each in await listed(here)] == [True]


@pytest.mark.parametrize("return_to", ["https://evil.example/", "//evil.example", "/auth/login", "/a/../b", ""])
async def test_nobody_is_led_elsewhere(here, return_to):
    answer = await here.ask("POST", f"/auth/sessions/end?return_to={return_to}", POST)
    assert (answer.status, answer.header("location")) == (303, "/")


async def test_who_ends_the_session_that_asks_is_signed_out_as_by_the_button(here, site):
    [name] = [each["id"] for each in await listed(here) if each["current"]]
    answer = await here.ask("POST", "/auth/sessions/end", {**POST, "content-type": FORM}, f"id={name}".encode())
    assert (answer.status, answer.header("location")) == (303, "/auth/logout")
    assert site.config.session_cookie not in here.jar
    assert answer.header("clear-site-data") == '"cache"'


async def test_a_person_who_is_not_signed_in_any_more_reads_so(site, edge):
    answer = await site.browser(edge).ask("POST", "/auth/sessions/end", POST)
    assert answer.status == 401
    assert b"You are not signed in any more" in answer.body


# --- grants ---


@pytest.fixture
async def connected(here: Browser, site: Site) -> Browser:
    for name in ("night", "reports"):
        await here.navigate(site.emulator.sign_in(await here.begin(f"/auth/connect?name={name}")))
    return here


async def connections(browser: Browser) -> list[str]:
    answer = await browser.fetch("GET", "/auth/connections")
    return [each["name"] for each in json.loads(answer.body)["connections"]]


async def test_a_form_names_the_one_grant_that_ends(connected):
    answer = await connected.fetch("POST", "/auth/disconnect", b"name=night", **{"content-type": FORM})
    assert (answer.status, await connections(connected)) == (204, ["reports"])


@pytest.mark.parametrize("case", UNCLEAR)
async def test_what_cannot_be_told_ends_no_grant(connected, case):
    query, body, kind = UNCLEAR[case]
    target = f"/auth/disconnect?{query}".replace("NAME", "night").replace("id", "name").rstrip("?")
    headers = {"content-type": kind} if kind else {}
    sent = body.replace(b"NAME", b"night").replace(b"id", b"name")
    answer = await connected.ask("POST", target, {**FETCH, "origin": ORIGIN, **headers}, sent)
    assert (answer.status, json.loads(answer.body)["reason"]) == (400, "unclear")
    assert await connections(connected) == ["night", "reports"]


@pytest.mark.parametrize("query", ["name=nigth", "workspace=none", "name=night&workspace=none"])
async def test_a_grant_that_is_not_there_ends_nothing_and_says_so(connected, query):
    answer = await connected.fetch("POST", f"/auth/disconnect?{query}")
    assert (answer.status, json.loads(answer.body)["reason"]) == (404, "nothing_to_end")
    assert await connections(connected) == ["night", "reports"]


# --- a sign-in at Lumin's wish ---


async def test_a_login_at_the_server_s_wish_is_read_from_a_form_and_from_nothing_else(site, edge):
    browser, issuer = site.browser(edge), site.config.server.issuer
    asked = {**NAVIGATION, "sec-fetch-site": "cross-site"}
    begun = await browser.ask("POST", "/auth/login", {**asked, "content-type": FORM}, f"iss={issuer}".encode())
    assert begun.status == 303
    for kind in ("application/json", "text/plain"):
        answer = await browser.ask("POST", "/auth/login", {**asked, "content-type": kind}, f"iss={issuer}".encode())
        assert answer.status == 400
