"""The examples for each framework, on a real server, from the first page to the last."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lumin_middleware.emulator import DEMO_USERS, Emulator, serve
from tests.edges import servers
from tests.edges.servers import Browser
from tests.site_rig import query

EXAMPLES = {
    "bare_asgi": "uvicorn",
    "bare_wsgi": "waitress",
    "django_asgi": "uvicorn",
    "django_wsgi": "waitress",
    "flask_app": "waitress",
    "litestar_app": "granian",
    "quart_app": "hypercorn",
}
BARE = ("bare_asgi", "bare_wsgi")
MIRA, TOBIAS, _ = DEMO_USERS


class Site(NamedTuple):
    """A running example."""

    name: str
    lumin: Emulator
    origin: str

    def browser(self) -> Browser:
        return Browser(self.origin, self.lumin)

    def refreshes(self) -> int:
        forms = [call.form for call in self.lumin.calls_to("/oauth2/token")]
        return sum(form.get("grant_type") == ["refresh_token"] for form in forms)


@pytest.fixture(scope="module")
def emulated() -> Iterator[Emulator]:
    with serve() as running:
        yield running.emulator


@pytest.fixture(scope="module", params=EXAMPLES)
def site(request: pytest.FixtureRequest, emulated: Emulator) -> Iterator[Site]:
    """The example on its server; in the end it stops in order, and has complained of nothing."""
    with servers.listening() as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        variables = servers.environment(emulated, origin, "memory://")
        with servers.start(EXAMPLES[request.param], f"examples.{request.param}:app", listener, variables) as server:
            yield Site(request.param, emulated, origin)
            assert server.stop() in (0, -15)
            said = "\n".join(line for line in server.said().splitlines() if "ERROR" not in line)
            assert "Warning" not in said


@pytest.fixture
def browser(site: Site) -> Iterator[Browser]:
    with site.browser() as browser:
        yield browser


@pytest.fixture
def mira(browser: Browser) -> Browser:
    """Somebody who is signed in."""
    assert browser.sign_in("/requests").status_code == 303
    return browser


def test_anybody_sees_the_welcome_page_and_it_leads_to_the_sign_in(site, browser):
    welcome = browser.navigate("/")
    assert welcome.status_code == 200
    assert welcome.headers["content-type"].startswith("text/html")
    assert 'href="/requests"' in welcome.text
    assert "set-cookie" not in welcome.headers
    assert browser.begin("/requests").startswith(f"{site.lumin.base}/oauth2/auth?")


def test_a_sign_in_leads_back_to_the_page_that_was_asked_for(browser):
    back = browser.sign_in("/requests?x=1&y=%26")
    assert (back.status_code, back.headers["location"]) == (303, "/requests?x=1&y=%26")
    page = browser.navigate("/requests?x=1&y=%26")
    assert (page.status_code, page.headers["content-type"].replace("UTF", "utf")) == (200, "text/html; charset=utf-8")
    assert f"{MIRA.name}, {MIRA.email}" in page.text


def test_two_tabs_sign_in_at_once(site, browser):
    first, second = browser.begin("/requests?tab=1"), browser.begin("/requests?tab=2")
    assert query(first)["state"] != query(second)["state"]
    for begun, page in ((second, "/requests?tab=2"), (first, "/requests?tab=1")):
        assert browser.navigate(site.lumin.sign_in(begun)).headers["location"] == page
    assert browser.navigate("/requests").status_code == 200


def test_a_script_is_told_where_to_sign_in(browser):
    answer = browser.fetch("/requests")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["login_url"] == "/auth/login?return_to=/requests"
    assert browser.submit("/requests", {"title": "Lease"}).status_code == 401


def test_a_login_leads_to_no_other_site(browser, site):
    begun = browser.begin("/auth/login?return_to=//evil.example/")
    assert browser.navigate(site.lumin.sign_in(begun)).headers["location"] == "/"


def test_what_is_sent_reaches_the_api_and_is_listed_as_it_stands_there(site, mira):
    before = set(site.lumin.signature_requests)
    sent = mira.submit("/requests", {"title": "Lease"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/requests")
    (found,) = [found for key, found in site.lumin.signature_requests.items() if key not in before]
    assert [signer.email_address for signer in found.signers] == [MIRA.email]
    assert "<li>Lease <small>need to sign</small></li>" in mira.navigate("/requests").text
    found.approve()
    assert "<li>Lease <small>approved</small></li>" in mira.navigate("/requests").text


def test_everybody_sees_only_what_is_theirs(site, mira):
    mira.submit("/requests", {"title": "Hers alone"})
    with site.browser() as other:
        other.sign_in("/requests", sub=TOBIAS.sub)
        page = other.navigate("/requests").text
    assert TOBIAS.name in page
    assert "Hers alone" not in page


def test_every_word_from_outside_is_escaped(mira):
    mira.submit("/requests", {"title": "<script>alert('$title')</script>"})
    page = mira.navigate("/requests").text
    assert "&lt;script&gt;alert(&#x27;$title&#x27;)&lt;/script&gt;" in page
    assert "<script" not in page


def test_a_token_that_the_api_refuses_is_renewed_once(site, mira):
    before = site.refreshes()
    site.lumin.expire_access_tokens()
    assert MIRA.name in mira.navigate("/requests").text
    assert MIRA.name in mira.navigate("/requests").text
    assert site.refreshes() == before + 1


def test_somebody_whom_lumin_has_signed_out_signs_in_again(site, mira):
    site.lumin.revoke_all()
    assert mira.submit("/requests", {"title": "Lease"}).status_code == 401
    assert mira.begin("/requests").startswith(f"{site.lumin.base}/oauth2/auth?")
    mira.sign_in("/requests")
    site.lumin.revoke_all()
    assert mira.begin("/requests?x=1").startswith(f"{site.lumin.base}/oauth2/auth?")


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"drop": "before", "times": 2}])
def test_an_api_that_fails_is_told_politely(site, mira, fault):
    site.lumin.faults.add("/v1/user/info", **fault)
    page = mira.navigate("/requests")
    assert page.status_code == (500 if site.name in BARE else 502)  # a server's own words, without a framework
    assert site.name in BARE or "<h1>Lumin could not do this</h1>" in page.text
    site.lumin.faults.clear()  # one is left where no connection was open, on which a request is sent once more
    assert mira.navigate("/requests").status_code == 200


def test_a_cookie_that_was_tampered_with_signs_nobody_in(site, mira):
    [name] = [name for name in mira.cookies if re.fullmatch("lumin-[a-z]{6}", name)]
    value = mira.cookies[name]
    mira.cookies.clear()
    bad = value[:50] + ("A" if value[50] != "A" else "B") + value[51:]
    mira.cookies.set(name, bad, domain="127.0.0.1", path="/")
    assert mira.fetch("/requests").status_code == 401
    assert mira.begin("/requests")


def test_the_sign_out_button_signs_out(mira):
    page = mira.navigate("/requests").text
    assert 'action="/auth/logout"' in page
    out = mira.submit("/auth/logout", {})
    assert (out.status_code, out.headers["location"]) == (303, "/auth/logout")
    assert not mira.cookies
    assert mira.fetch("/requests").status_code == 401


def _path(name: str) -> Path:
    return servers.ROOT / "examples" / f"{name}.py"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_at_most_60_lines(name):
    assert len(_path(name).read_text("utf-8").splitlines()) <= 60


def test_the_examples_differ_only_in_what_is_the_frameworks():
    """What they say and what they ask of the API is the same in all."""

    def ours(name: str) -> list[str]:
        text = re.sub(r"\(await (client\..*?\))\)", r"\1", _path(name).read_text("utf-8"))
        lines = [line.strip() for line in text.splitlines()]
        return [line for line in lines if "client." in line or "<li>" in line or "<form" in line or "from_env" in line]

    first, *others = [[line for line in ours(name) if "LuminMiddleware" not in line] for name in EXAMPLES]
    assert len(first) >= 6
    assert [other for other in others if [line for line in other if line in first] != first] == []
