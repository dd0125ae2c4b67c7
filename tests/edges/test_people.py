"""What a person sees who cannot simply be sent on, on both edges: pages, not problems, and nobody else's page."""

from __future__ import annotations

import re

import pytest

from tests.edges.rig import EDGES, Browser
from tests.site_rig import NAVIGATION, ORIGIN

FORM = {
    **NAVIGATION,
    "origin": ORIGIN,
    "referer": f"{ORIGIN}/forms/new?x=1",
    "sec-fetch-site": "same-origin",
    "content-type": "application/x-www-form-urlencoded",
}
FRAME = {**NAVIGATION, "sec-fetch-dest": "iframe", "sec-fetch-site": "same-origin", "referer": f"{ORIGIN}/outer"}
OLD_BROWSER = {"accept": "text/html,*/*;q=0.8", "referer": f"{ORIGIN}/forms/new"}


@pytest.fixture(params=EDGES)
def browser(request, edges) -> Browser:
    return edges.browser(request.param)


def links(answer) -> list[str]:
    return re.findall(r'href="([^"]+)"', answer.body.decode())


# --- what cannot be repeated ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_form_that_cannot_be_kept_is_answered_with_a_page(browser, method):
    """One that can be is in `test_kept_forms`."""
    await browser.sign_in()
    browser.site.clock.now += 90_000
    headers = {**FORM, "content-type": "multipart/form-data; boundary=x"}
    answer = await browser.ask(method, "/anything", headers, b"--x--")
    assert answer.status == 401
    assert answer.header("content-type").startswith("text/html")
    assert "was not taken" in answer.body.decode()
    (way_on,) = links(answer)
    assert way_on == "/auth/login?return_to=/forms/new%3Fx%3D1"
    back = await browser.sign_in(way_on)
    assert back.header("location") == "/forms/new?x=1"


async def test_a_browser_without_fetch_metadata_is_shown_it_too(browser):
    answer = await browser.ask("POST", "/anything", OLD_BROWSER, b"")
    assert (answer.status, answer.header("content-type")) == (401, "text/html; charset=utf-8")


async def test_a_frame_gets_a_page_that_leads_the_whole_window(browser):
    answer = await browser.ask("GET", "/inner", FRAME)
    assert answer.status == 401
    assert "frame-ancestors 'self'" in answer.header("content-security-policy")
    assert 'target="_top"' in answer.body.decode()
    assert links(answer) == ["/auth/login?return_to=/outer"]


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty", "accept": "*/*"},
        {"accept": "text/html", "x-requested-with": "XMLHttpRequest"},
        {"accept": "application/json"},
        {"accept": "text/html", "hx-request": "true"},
        {},
    ],
)
async def test_a_program_still_gets_a_problem(browser, headers):
    answer = await browser.ask("POST", "/anything", headers, b"")
    assert (answer.status, answer.header("content-type")) == (401, "application/problem+json")


# --- signing out ----------------------------------------------------------------------------------------


async def test_with_the_defaults_a_sign_out_ends_on_a_page_that_is_nobodys(browser):
    await browser.sign_in()
    answer = await browser.log_out()
    assert (answer.status, answer.header("location")) == (303, "/auth/logout")
    assert answer.header("clear-site-data") == '"cache"'
    page = await browser.navigate("/auth/logout")
    assert page.status == 200
    assert "You are signed out" in page.body.decode()
    assert links(page) == ["/auth/login", "/auth/login?prompt=login"]
    assert await browser.subject() is None


async def test_somebody_else_is_asked_to_sign_in_anew(browser):
    begun = await browser.navigate("/auth/login?prompt=login")
    assert "prompt=login" in begun.header("location")


async def test_the_page_with_the_button_lets_a_browser_say_where_its_form_is_from(browser):
    await browser.sign_in()
    page = await browser.navigate("/auth/logout")
    assert page.header("referrer-policy") == "same-origin"
    # As Firefox and Safari did before Fetch Metadata: an `Origin`, and nothing else to go by.
    answer = await browser.ask("POST", "/auth/logout", {"accept": "text/html", "origin": ORIGIN}, b"")
    assert answer.status == 303
    assert await browser.subject() is None


# --- what a browser keeps -------------------------------------------------------------------------------


async def test_a_page_for_somebody_is_kept_by_this_browser_alone_and_asked_for_each_time(browser):
    await browser.sign_in()
    assert (await browser.navigate("/who")).header("cache-control") == "private, no-cache"


@pytest.mark.parametrize("said", ["public, max-age=60", "no-store", "max-age=5"])
async def test_what_the_application_says_of_caching_is_its_own(browser, said):
    await browser.sign_in()
    await browser.navigate("/who")
    answer = await browser.navigate(f"/said?cache-control={said.replace(' ', '%20')}")
    assert answer.header("cache-control") == said


async def test_beside_a_cookie_of_ours_nothing_tells_a_cache_of_its_own_to_keep_the_answer(browser):
    """`CDN-Cache-Control` counts more for a CDN than our `Cache-Control: private`."""
    await browser.sign_in()
    browser.site.clock.advance(3700)
    answer = await browser.navigate("/said?cdn-cache-control=public,%20max-age=600&x-accel-expires=600")
    assert answer.all("set-cookie")
    assert (answer.header("cdn-cache-control"), answer.header("x-accel-expires")) == (None, None)
    assert answer.header("cache-control") == "private"
