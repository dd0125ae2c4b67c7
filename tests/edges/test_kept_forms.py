"""A form that comes after its session has ended: kept for the browser that sent it, and sent once by a person."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from lumin_middleware.model import CLOCK_TOLERANCE
from lumin_middleware.sessions import forms
from lumin_middleware.sessions.forms import FORM_LIFETIME, FORM_LIMIT, FORMS_OF_A_BROWSER
from tests.edges.rig import Browser, Edge, Site
from tests.site_rig import NAVIGATION, ORIGIN, SESSION

FIELDS = [("title", 'Lease & "more" <i>'), ("note", "two\r\nlines"), ("empty", ""), ("title", "ünïcode ✓")]
KEPT = f"{SESSION}-form-"


@pytest.fixture(params=["cookie", "store"])
def site(request: pytest.FixtureRequest, new_edges: Any) -> Site:
    return new_edges(sessions=request.param)


@pytest.fixture
async def browser(site: Site, edge: Edge) -> Browser:
    """Somebody whose session has ended, at a page with a form."""
    found = site.browser(edge)
    await found.sign_in("/form-page")
    site.emulator.revoke_all()
    site.clock.advance(86_400)
    return found


async def send(
    browser: Browser,
    fields: list[tuple[str, str]] = FIELDS,
    target: str = "/sent?x=1",
    body: bytes = b"",
    **changes: str,
) -> Any:
    """Presses the button of the application's own form."""
    headers = {
        **NAVIGATION,
        "sec-fetch-site": "same-origin",
        "origin": ORIGIN,
        "referer": f"{ORIGIN}/form-page?y=2",
        "content-type": "application/x-www-form-urlencoded",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    content = body or urlencode(fields).encode()
    if browser.edge == "asgi":  # the WSGI rig says it by itself
        headers["content-length"] = str(len(content))
    kept = {name: value for name, value in headers.items() if value}
    return await browser.ask("POST", target, kept, content)


def link(answer: Any) -> str:
    """Where the page's main link leads."""
    return unescape(re.search(r'href="([^"]+)"', answer.body.decode())[1])


async def sign_in_again(browser: Browser, answer: Any, **person: Any) -> Any:
    """Follows the link of the page, and the whole way; the page at its end."""
    begun = await browser.navigate(link(answer))
    back = await browser.navigate(browser.site.emulator.sign_in(begun.header("location") or "", **person))
    assert back.status == 303, back.body
    return await browser.navigate(back.header("location") or "")


def form_of(page: Any) -> tuple[str, list[tuple[str, str]]]:
    """The form on a page: where it posts to, and what."""
    text = page.body.decode()
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', text)
    action = unescape(re.search(r'<form method="post" action="([^"]+)">', text)[1])
    return action, [(unescape(name), unescape(value)) for name, value in fields]


def is_kept(answer: Any) -> bool:
    return any(line.startswith(KEPT) for line in answer.all("set-cookie"))


async def test_it_is_shown_after_the_sign_in_and_sent_once(site, browser, edge):
    answer = await send(browser)
    assert answer.status == 401
    assert "kept for ten minutes" in answer.body.decode()
    assert not [each for each in site.app(edge).requests if "/sent" in str(each)]
    page = await sign_in_again(browser, answer)
    assert page.status == 200
    assert form_of(page) == ("/sent?x=1", FIELDS)
    assert "It goes to /sent on this site, as Mira Halden. It is not known who filled it in" in page.body.decode()
    assert 'href="/form-page?y=2"' in page.body.decode()
    policy = page.header("content-security-policy") or ""
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert "no-store" in (page.header("cache-control") or "")
    again = await browser.navigate(link(answer).partition("return_to=")[2].replace("%3F", "?").replace("%3D", "="))
    assert again.status == 404
    assert not [name for name in browser.jar if name.startswith(KEPT)]


@pytest.fixture
async def signed_in(request: pytest.FixtureRequest, new_edges: Any, edge: Edge) -> Browser:
    """Somebody who is signed in, at a page that asks for more than they have."""
    asks: dict[str, Any] = {
        "age": {"required_auth_age": {"/sent": 300}},
        "scope": {"required_scopes": {"/sent": OTHER}},
    }
    site = new_edges(**asks[request.param])
    found = site.browser(edge)
    await found.sign_in(scope="openid offline_access")
    site.clock.advance(300 + CLOCK_TOLERANCE + 1)
    return found


@pytest.mark.parametrize("asks", [{"required_auth_age": {"/sent": 300}}, {"required_scopes": {"/sent": "templates"}}])
async def test_one_sign_in_is_enough_for_what_the_form_s_page_asks(new_edges, edge, asks):
    site = new_edges(**asks)
    browser = site.browser(edge)
    await browser.sign_in()
    await browser.log_out()
    site.clock.advance(300 + CLOCK_TOLERANCE + 1)  # at Lumin they are signed in still, and for too long by now
    begun = await browser.navigate(link(await send(browser)))
    asked = dict(parse_qsl((begun.header("location") or "").partition("?")[2]))
    assert (asked.get("max_age") == "300", "templates" in asked["scope"].split()) in ((True, False), (False, True))
    back = await browser.navigate(site.emulator.sign_in(begun.header("location") or ""))
    page = await browser.navigate(back.header("location") or "")
    assert (await send(browser, form_of(page)[1], form_of(page)[0])).status == 200


OTHER = "templates"
SAID = {"age": "Please sign in again", "scope": "A permission is missing"}


@pytest.mark.parametrize("signed_in", ["age", "scope"], indirect=True)
@pytest.mark.parametrize("sec_fetch_site", ["same-origin", ""])
async def test_whoever_is_signed_in_and_lacks_something_loses_no_form_either(signed_in, edge, sec_fetch_site, request):
    answer = await send(signed_in, sec_fetch_site=sec_fetch_site)
    assert answer.status == {"age": 401, "scope": 403}[request.node.callspec.params["signed_in"]]
    assert SAID[request.node.callspec.params["signed_in"]] in answer.body.decode()
    assert "kept for ten minutes" in answer.body.decode()
    assert ("Sign in" in answer.body.decode()) == (request.node.callspec.params["signed_in"] == "age")
    assert await signed_in.subject()
    page = await sign_in_again(signed_in, answer, scope=f"openid offline_access {OTHER}")
    assert form_of(page) == ("/sent?x=1", FIELDS)
    assert "It goes to /sent on this site, as Mira Halden.</p>" in page.body.decode()
    before = len(signed_in.site.app(edge).requests)
    assert (await send(signed_in, form_of(page)[1], form_of(page)[0])).status == 200
    assert len(signed_in.site.app(edge).requests) == before + 1


@pytest.mark.parametrize("signed_in", ["age"], indirect=True)
async def test_a_form_of_somebody_who_was_signed_in_is_for_nobody_else(signed_in):
    answer = await send(signed_in)
    one, other = list(signed_in.site.emulator.users)[:2]
    page = await sign_in_again(signed_in, answer, sub=other)
    assert (page.status, FIELDS[0][1] in page.body.decode()) == (404, False)
    page = await sign_in_again(signed_in, answer, sub=one)
    assert form_of(page) == ("/sent?x=1", FIELDS)


@pytest.mark.parametrize("signed_in", ["age", "scope"], indirect=True)
@pytest.mark.parametrize(
    "changes",
    [
        {"sec_fetch_site": "cross-site", "origin": "https://evil.example"},
        {"sec_fetch_site": "same-site", "origin": "https://other.example.com"},
        {"sec_fetch_site": "", "origin": "null"},
        {"content_type": "multipart/form-data; boundary=x"},
    ],
    ids=repr,
)
async def test_what_of_theirs_is_not_kept_is_said_not_to_be_sent(signed_in, changes, request):
    answer = await send(signed_in, **changes)
    assert answer.status in (401, 403)
    assert not is_kept(answer)
    does = {"age": "Sign in", "scope": "Allow what the page needs"}[request.node.callspec.params["signed_in"]]
    assert f"What you sent was not taken. {does}, and you come back" in answer.body.decode()


@pytest.mark.parametrize("signed_in", ["age", "scope"], indirect=True)
async def test_a_program_s_form_is_nobody_s(signed_in):
    answer = await send(signed_in, sec_fetch_mode="cors", sec_fetch_dest="empty", accept="application/json")
    assert (answer.header("content-type"), is_kept(answer)) == ("application/problem+json", False)


async def test_what_its_button_sends_reaches_the_application(site, browser):
    page = await sign_in_again(browser, await send(browser))
    action, fields = form_of(page)
    said = await send(browser, fields, action)
    assert said.status == 200
    assert parse_qsl(urlencode(fields), keep_blank_values=True) == FIELDS


@pytest.mark.parametrize(
    "changes",
    [
        {"sec_fetch_site": "cross-site", "origin": "https://evil.example"},
        {"sec_fetch_site": "same-site", "origin": "https://other.example.com"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "", "origin": "https://evil.example"},
        {"sec_fetch_site": "", "origin": "null"},
        {"sec_fetch_site": "", "origin": ""},
        {"content_type": "multipart/form-data; boundary=x"},
        {"content_type": "text/plain"},
        {"content_type": "application/json"},
        {"content_type": "application/x-www-form-urlencoded; charset=utf-16"},
        {"content_type": ""},
        {"sec_fetch_mode": "cors", "sec_fetch_dest": "empty"},
    ],
    ids=repr,
)
async def test_nothing_else_is_kept(browser, changes):
    """Above all nothing that another site made a browser send."""
    answer = await send(browser, **changes)
    assert answer.status == 401
    assert not is_kept(answer)


async def test_without_fetch_metadata_the_origin_tells(browser):
    assert is_kept(await send(browser, sec_fetch_site="", sec_fetch_mode="", sec_fetch_dest=""))


@pytest.mark.parametrize("size", [FORM_LIMIT, FORM_LIMIT + 1])
async def test_a_form_is_kept_up_to_its_limit(browser, size):
    answer = await send(browser, body=b"a=" + b"x" * (size - 2))
    assert is_kept(answer) == (size <= FORM_LIMIT)
    assert answer.status == 401


@pytest.mark.parametrize("body", [b"\xff\xfe=1", b"a=%ff", b"=&&", b"no equals sign", b"a=1&b"], ids=repr)
async def test_what_is_no_form_in_utf_8_is_not_kept(browser, body):
    answer = await send(browser, body=body)
    assert (answer.status, is_kept(answer)) == (401, False)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_only_a_post_is_a_form_s(browser, method):
    headers = {**NAVIGATION, "sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
    answer = await browser.ask(method, "/sent", headers, b"a=1")
    assert (answer.status, is_kept(answer)) == (401, False)


async def test_it_is_gone_after_ten_minutes(site, browser):
    answer = await send(browser)
    site.clock.advance(FORM_LIFETIME)
    page = await sign_in_again(browser, answer)
    assert page.status == 404
    assert "not here any more" in page.body.decode()


async def test_its_address_opens_nothing_in_another_browser(site, browser, edge):
    answer = await send(browser)
    address = dict(parse_qsl(link(answer).partition("?")[2]))["return_to"]
    other = site.browser(edge)
    await other.sign_in()
    assert (await other.navigate(address)).status == 404
    page = await sign_in_again(browser, answer)
    assert form_of(page)[1] == FIELDS


async def test_a_cookie_of_another_form_opens_nothing(site, browser, edge):
    """Nor does one that somebody else would plant: its name is made of its secret, and the record sealed for it."""
    one, two = await send(browser, [("a", "1")]), await send(browser, [("a", "2")])
    names = [name for name in browser.jar if name.startswith(KEPT)]
    browser.jar[names[0]], browser.jar[names[1]] = "x" * 32, browser.jar[names[0]]
    pages = [await sign_in_again(browser, each) for each in (one, two)]
    assert [page.status for page in pages].count(404) >= 1
    assert all(form_of(page)[1] in ([("a", "1")], [("a", "2")]) for page in pages if page.status == 200)


async def test_whoever_is_not_signed_in_signs_in_first(browser):
    answer = await send(browser)
    address = dict(parse_qsl(link(answer).partition("?")[2]))["return_to"]
    assert (await browser.navigate(address)).status == 303
    page = await sign_in_again(browser, answer)
    assert page.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-purpose": "prefetch"},
        {"purpose": "prefetch"},
        {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-dest": "iframe"},
    ],
)
async def test_a_prefetch_an_image_or_a_frame_takes_nothing(browser, headers):
    answer = await send(browser)
    address = dict(parse_qsl(link(answer).partition("?")[2]))["return_to"]
    await browser.navigate(address, **headers)
    await browser.ask("HEAD", address, NAVIGATION)
    assert (await sign_in_again(browser, answer)).status == 200


async def test_a_browser_keeps_the_newest_few(browser):
    answers = [await send(browser, [("n", str(number))]) for number in range(FORMS_OF_A_BROWSER + 2)]
    assert len([name for name in browser.jar if name.startswith(KEPT)]) == FORMS_OF_A_BROWSER
    assert form_of(await sign_in_again(browser, answers[-1]))[1] == [("n", str(FORMS_OF_A_BROWSER + 1))]


async def test_a_sign_out_forgets_it(browser):
    answer = await send(browser)
    await browser.sign_in()
    await browser.log_out()
    assert not [name for name in browser.jar if name.startswith(KEPT)]
    assert (await sign_in_again(browser, answer)).status == 404


async def test_strangers_cannot_fill_the_store(site, browser, monkeypatch, caplog):
    monkeypatch.setattr(forms, "FORMS_LIMIT", 0)
    site = site.__class__(site.emulator, site.clock, store=site.store)
    stranger = site.browser(browser.edge)
    answer = await send(stranger)
    assert (answer.status, is_kept(answer)) == (401, False)
    assert "form_not_kept" in caplog.text
    await site.aclose()


async def test_what_is_kept_is_sealed(site, browser):
    await send(browser, [("secret", "canary-of-the-form")])
    assert b"canary" not in repr(vars(site.store)).encode()
