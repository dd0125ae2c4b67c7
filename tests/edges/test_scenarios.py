"""The table of scenarios: each is a story, told at both edges, and both tell the same one.

A scenario says what must happen; that statuses, headers, cookies and bodies are equal at both edges is checked of
all that a browser saw on the way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable

import pytest

from tests.edges.apps import DOCUMENT
from tests.edges.rig import EDGES, Browser, Edge, Site
from tests.site_rig import SESSION, query

SETTINGS = {"public": ["/free/*"], "optional": ["/maybe"], "required_scopes": {"/templates/*": "templates"}}

Scenario = Callable[[Site, Browser], Awaitable[None]]
SCENARIOS: list[Scenario] = []


def scenario(each: Scenario) -> Scenario:
    SCENARIOS.append(each)
    return each


@pytest.mark.parametrize("sessions", ["cookie", "store"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
async def test_gw_04_both_edges_tell_the_same_story(scenario, sessions, lumin):
    told = {}
    for edge in EDGES:
        told[edge] = await _told(scenario, edge, lumin.site(sessions=sessions, **SETTINGS))
    assert told["wsgi"] == told["asgi"]


async def _told(scenario: Scenario, edge: Edge, site: Site) -> list[tuple[object, ...]]:
    """What a browser saw at one edge."""
    browser = site.browser(edge)
    try:
        await scenario(site, browser)
    finally:
        await site.aclose()
    assert site.reuse_events() == 0
    return browser.story


# --- signing in -----------------------------------------------------------------------------------------


@scenario
async def sign_in(site, browser):
    answer = await browser.sign_in("/")
    assert (answer.status, answer.header("location")) == (303, "/")
    seen = json.loads((await browser.navigate("/")).body)
    assert seen["subject"]
    assert seen["cookie"] == ""


@scenario
async def deep_link(site, browser):
    for target in ("/a%2Fb/caf%C3%A9?x=1&y=%26", "/100%25", "/what%3F?q", "/sp%20ace;v=1?"):
        browser.jar.clear()
        answer = await browser.sign_in(target)
        assert answer.header("location") == target.removesuffix("?")
        assert json.loads((await browser.navigate(target)).body)["subject"]


@scenario
async def fetch_is_refused(site, browser):
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = await browser.fetch(method, "/api?page=2")
        assert answer.status == 401
        assert answer.header("www-authenticate").startswith("Bearer")
        assert answer.header("location") is None
        assert answer.set_cookies == {}
    assert site.app(browser.edge).requests == []


@scenario
async def denied_by_the_person(site, browser):
    answer = await browser.navigate(site.emulator.sign_in(await browser.begin(), deny=True))
    assert answer.status == 403
    assert await browser.subject() is None


@scenario
async def two_tabs(site, browser):
    first, second = await browser.begin("/first"), await browser.begin("/second")
    assert query(first)["state"] != query(second)["state"]
    for begun, page in ((second, "/second"), (first, "/first")):
        answer = await browser.navigate(site.emulator.sign_in(begun))
        assert (answer.status, answer.header("location")) == (303, page)
    assert await browser.subject()
    assert not [name for name in browser.jar if "-login-" in name]


@scenario
async def used_callback(site, browser):
    callback = site.emulator.sign_in(await browser.begin("/page"))
    await browser.navigate(callback)
    again = await browser.navigate(callback)
    assert (again.status, again.header("location")) == (303, "/page")
    browser.jar.clear()
    assert (await browser.navigate(callback)).status == 400


@scenario
async def open_redirect(site, browser):
    for trick in (
        "//evil.example",
        "/%5Cevil.example",
        "https:evil.example",
        "/%09/evil.example",
        "https://evil.example",
    ):
        begun = await browser.navigate(f"/auth/login?return_to={trick}")
        answer = await browser.navigate(site.emulator.sign_in(begun.header("location")))
        assert answer.header("location") == "/"


@scenario
async def optional_and_public(site, browser):
    for path in ("/free/page", "/maybe"):
        assert json.loads((await browser.navigate(path)).body)["subject"] is None
    await browser.sign_in()
    assert json.loads((await browser.navigate("/maybe")).body)["subject"]


# --- signed in ------------------------------------------------------------------------------------------


@scenario
async def renewal_at_expiry(site, browser):
    await browser.sign_in()
    before = (await browser.fetch("GET", "/token")).body
    site.clock.advance(3600 - 5)
    answer = await browser.fetch("GET", "/token")
    assert answer.status == 200
    assert answer.body != before
    assert site.refreshes() == 1
    assert (await browser.fetch("GET", "/token")).body == answer.body
    assert site.refreshes() == 1


@scenario
async def an_old_copy_after_a_renewal(site, browser):
    await browser.sign_in()
    old = dict(browser.jar)
    site.clock.advance(3600 - 5)
    renewed = (await browser.fetch("GET", "/token")).body
    browser.jar = old
    assert (await browser.fetch("GET", "/token")).body == renewed
    assert site.refreshes() == 1


@scenario
async def refused_by_the_api(site, browser):
    await browser.sign_in()
    site.emulator.expire_access_tokens()
    answer = await browser.fetch("GET", "/api")
    assert answer.status == 200
    assert json.loads(answer.body)["user"]["name"]
    assert [call.status for call in site.emulator.calls_to("/v1/user/info")] == [401, 200]
    assert site.refreshes() == 1
    assert (await browser.fetch("GET", "/api")).status == 200
    assert site.refreshes() == 1


@scenario
async def revoked_at_lumin(site, browser):
    await browser.sign_in()
    site.emulator.revoke_all()
    answer = await browser.fetch("GET", "/api")
    assert answer.status == 401
    assert await browser.subject() is None
    assert (await browser.navigate("/api?x=1")).status == 303


@scenario
async def revoked_behind_a_framework(site, browser):
    """Most frameworks make a 500 of a `LoginRequired`; who was signed in until then is asked to sign in."""
    await browser.sign_in()
    site.emulator.revoke_all()
    assert (await browser.navigate("/swallowed")).status == 303
    await browser.sign_in()
    site.emulator.revoke_all()
    assert (await browser.fetch("GET", "/swallowed")).status == 401


@scenario
async def upload(site, browser):
    await browser.sign_in()
    assert (await browser.fetch("POST", "/form")).status == 201
    assert (await browser.fetch("POST", "/stream")).status == 201
    by_form, by_stream = site.emulator.signature_requests.values()
    assert by_form.files[0].sha256 == hashlib.sha256(DOCUMENT).hexdigest()
    assert by_stream.title == "By stream"
    *_, streamed = site.emulator.calls_to("/v1/signature_request/send")
    assert streamed.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in streamed.headers


@scenario
async def form_refused_by_the_api(site, browser):
    """A form of bytes can be sent again, and is."""
    await browser.sign_in()
    site.emulator.expire_access_tokens()
    assert (await browser.fetch("POST", "/form")).status == 201
    assert [call.status for call in site.emulator.calls_to("/v1/signature_request/send")] == [401, 201]


@scenario
async def stream_refused_by_the_api(site, browser):
    """A stream cannot be sent again, and the application sees the API's 401."""
    await browser.sign_in()
    site.emulator.expire_access_tokens()
    assert (await browser.fetch("POST", "/stream")).status == 401
    assert [call.status for call in site.emulator.calls_to("/v1/signature_request/send")] == [401]


@scenario
async def streaming_download(site, browser):
    await browser.sign_in()
    await browser.fetch("POST", "/stream")
    (sent,) = site.emulator.signature_requests
    answer = await browser.fetch("GET", f"/file?id={sent}")
    assert answer.body.startswith(b"%PDF-1.4")
    assert answer.body.endswith(b"%%EOF\n")


@scenario
async def required_scope(site, browser):
    await browser.sign_in("/", scope="openid offline_access")
    answer = await browser.fetch("GET", "/templates/all")
    assert answer.status == 403
    assert json.loads(answer.body)["reason"] == "insufficient_scope"
    assert (await browser.fetch("GET", "/challenge?scope=templates")).status == 403
    assert "/templates/all" not in [each.get("path") or each["PATH_INFO"] for each in site.app(browser.edge).requests]
    assert await browser.subject()


@scenario
async def challenge(site, browser):
    await browser.sign_in()
    assert (await browser.fetch("GET", "/challenge")).status == 401
    answer = await browser.navigate("/challenge?x=1")
    assert answer.status == 303
    back = await browser.navigate(site.emulator.sign_in(answer.header("location")))
    assert back.header("location") == "/challenge?x=1"


@scenario
async def sign_in_asked_for_by_an_optional_page(site, browser):
    """`lumin(request)` raises `LoginRequired` where nobody is signed in, which becomes the challenge."""
    site.app(browser.edge).pages = {**site.app(browser.edge).pages, "/maybe": site.app(browser.edge).pages["/need"]}
    assert (await browser.fetch("GET", "/maybe")).status == 401
    assert (await browser.navigate("/maybe")).status == 303


# --- the end --------------------------------------------------------------------------------------------


@scenario
async def logout(site, browser):
    await browser.sign_in()
    copy = dict(browser.jar)
    assert (await browser.navigate("/auth/logout")).status == 200
    assert await browser.subject()
    assert (await browser.log_out()).status == 303
    assert browser.jar == {}
    assert await browser.subject() is None
    browser.jar = copy
    assert await browser.subject() is None
    assert len(site.emulator.calls_to("/oauth2/revoke")) == 1


@scenario
async def logout_by_another_site(site, browser):
    await browser.sign_in()
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {}):
        assert (await browser.ask("POST", "/auth/logout", {"accept": "text/html", **headers})).status == 403
    assert await browser.subject()


@scenario
async def expired(site, browser):
    await browser.sign_in()
    site.clock.advance(86_400)
    answer = await browser.fetch("GET", "/who")
    assert answer.status == 401
    assert json.loads(answer.body)["reason"] in ("expired", "no_session")  # a store has forgotten it by then
    assert (await browser.navigate("/who")).status == 303


@scenario
async def tampered(site, browser):
    await browser.sign_in()
    (name,) = [name for name in browser.jar if name == SESSION]
    good = browser.jar[name]
    flipped = good[:40] + ("A" if good[40] != "A" else "B") + good[41:]
    bodies = set()
    for bad in (flipped, good[:-1], good + "A", "", "x", "%", '"', "a" * 3000, good.swapcase()):
        browser.jar = {name: bad}
        answer = await browser.fetch("GET", "/who")
        assert answer.status == 401
        bodies.add(re.sub(rb'"reference": "[0-9A-F-]{9}"', b"", answer.body))
    assert len(bodies) == 1
    browser.jar = {name: good}
    assert await browser.subject()


@scenario
async def who_is_signed_in(site, browser):
    assert (await browser.fetch("GET", "/auth/session")).status == 401
    await browser.sign_in()
    said = json.loads((await browser.fetch("GET", "/auth/session")).body)
    assert said["claims"]["email"] == "mira.halden@example.com"
    for method in ("HEAD", "POST"):
        await browser.fetch(method, "/auth/session")


@scenario
async def cookies_of_the_application(site, browser):
    await browser.sign_in()
    site.clock.advance(10_000)
    answer = await browser.fetch("GET", "/cookies")
    assert [line.partition("=")[0] for line in answer.all("set-cookie")] == ["theme", "seen", SESSION]
    assert json.loads((await browser.fetch("GET", "/who")).body)["cookie"] == "theme=dark; seen=1"


@scenario
async def trouble_at_lumin(site, browser):
    await browser.sign_in()
    site.clock.advance(3600)
    site.emulator.faults.add("/oauth2/token", status=503, body="busy", times=None)
    answer = await browser.fetch("GET", "/who")
    assert answer.status == 503
    assert int(answer.header("retry-after")) > 0
    assert (await browser.navigate("/who")).status == 503
    assert json.loads((await browser.navigate("/maybe")).body)["subject"] is None
    site.emulator.faults.clear()
    site.clock.advance(31)
    assert await browser.subject()
