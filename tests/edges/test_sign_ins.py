"""What people meet on the way through a sign-in, on both edges and with both kinds of sessions.

Every sign-in ends at its page or says truly why not; nothing goes round in circles, and a code is sent once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from html import unescape
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from lumin_middleware import StoreUnavailable
from tests.acceptance.harness import Raw
from tests.edges import rig
from tests.site_rig import FETCH, NAVIGATION, ORIGIN, query

TOKEN = "/oauth2/token"
CALLBACK = "/auth/callback"


@pytest.fixture(params=["cookie", "store"])
def new(request: pytest.FixtureRequest, new_edges: Callable[..., rig.Site]) -> Callable[..., rig.Site]:
    return lambda **settings: new_edges(sessions=request.param, **settings)


@pytest.fixture
def site(new: Callable[..., rig.Site]) -> rig.Site:
    return new()


@pytest.fixture
def browser(site: rig.Site, edge: rig.Edge) -> rig.Browser:
    return site.browser(edge)


def is_begun(site: rig.Site, answer: Raw) -> bool:
    """Whether it sends the browser to the authorization endpoint."""
    return (answer.header("location") or "").startswith(f"{site.emulator.base}/oauth2/auth?")


def failed(url: str, error: str, description: str = "") -> str:
    """The callback with an error, for the login that a URL of the authorization endpoint began."""
    return f"{CALLBACK}?{urlencode({'error': error, 'error_description': description, 'state': query(url)['state']})}"


def links(answer: Raw) -> dict[str, str]:
    found = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>([^<]*)</a>', answer.body.decode())
    return {unescape(words): unescape(target) for target, words in found}


def codes_sent(site: rig.Site) -> int:
    return len(site.emulator.calls_to(TOKEN))


# --- what came to nothing goes on -----------------------------------------------------------------------


@pytest.mark.parametrize("error", ["request_forbidden", "request_unauthorized"])
async def test_a_tab_that_came_to_nothing_goes_on_where_the_browser_is_signed_in_by_now(site, browser, error):
    first, second = await browser.begin("/first?x=%26"), await browser.begin("/second")
    await browser.navigate(site.emulator.sign_in(second))
    answer = await browser.navigate(failed(first, error))
    assert (answer.status, answer.header("location")) == (303, "/first?x=%26")
    assert codes_sent(site) == 1


async def test_a_tab_that_came_to_nothing_waits_for_another_and_then_goes_on(site, browser):
    first, second = await browser.begin("/first"), await browser.begin("/second")
    callback = failed(first, "request_forbidden")
    answer = await browser.navigate(callback)
    assert (answer.status, answer.header("location")) == (200, None)
    assert 1 <= int(answer.header("refresh") or 0) <= 4
    assert answer.header("cache-control") == "no-store"
    await browser.navigate(site.emulator.sign_in(second))
    assert (await browser.navigate(callback)).header("location") == "/first"


async def test_a_tab_that_waited_long_enough_begins_again_and_then_its_page_is_reached(site, browser):
    first = await browser.begin("/first")
    await browser.begin("/closed")
    callback = failed(first, "request_forbidden")
    seconds = 0
    for _ in range(6):
        answer = await browser.navigate(callback)
        if answer.header("refresh") is None:
            break
        seconds += int(answer.header("refresh"))
    assert is_begun(site, answer)
    assert seconds <= 20
    answer = await browser.navigate(site.emulator.sign_in(answer.header("location")))
    assert answer.header("location") == "/first"


async def test_a_tab_alone_begins_again_once_and_then_hears_the_cause(site, browser):
    again = await browser.navigate(failed(await browser.begin("/page"), "request_forbidden"))
    assert is_begun(site, again)
    answer = await browser.navigate(failed(again.header("location"), "request_forbidden"))
    assert answer.status == 400
    assert "refuses the cookies of 127.0.0.1" in answer.body.decode()
    assert links(answer)["Start again"].startswith("/auth/login")
    assert (await browser.navigate(failed(again.header("location"), "request_forbidden"))).status == 400


async def test_tabs_do_not_wait_in_step(site, browser):
    begun = [await browser.begin(f"/{number}") for number in range(7)]
    await browser.begin("/newest")
    seconds = [(await browser.navigate(failed(url, "request_forbidden"))).header("refresh") for url in begun]
    assert len(set(seconds)) > 1


async def test_a_step_that_was_taken_before_is_nobody_s_refusal(site, browser):
    url = await browser.begin("/page")
    words = "The consent verifier has already been used, has not been granted, or is invalid."
    assert is_begun(site, await browser.navigate(failed(url, "access_denied", words)))


async def test_a_person_s_own_refusal_stays_one(site, browser):
    answer = await browser.navigate(failed(await browser.begin("/page?x=1"), "access_denied", "The person said no."))
    assert answer.status == 403
    assert links(answer)["Start again"] == "/auth/login?return_to=" + quote("/page?x=1", safe="/")
    assert parse_qs(urlsplit(links(answer)["As somebody else"]).query)["prompt"] == ["login"]


async def test_the_error_of_another_browser_s_login_begins_nothing(site, edge):
    theirs = failed(await site.browser(edge).begin("/trap"), "request_forbidden")
    victim = site.browser(edge)
    answer = await victim.navigate(theirs)
    assert (answer.status, answer.header("location"), answer.header("refresh")) == (400, None, None)
    assert victim.jar == {}
    await victim.begin("/own")
    before = dict(victim.jar)
    answer = await victim.navigate(theirs)
    assert (answer.status, answer.header("location"), answer.header("refresh")) == (400, None, None)
    assert victim.jar == before


# --- evicted, late ---------------------------------------------------------------------------------------


async def test_a_login_that_had_no_room_any_more_ends_at_its_page(site, browser):
    begun = [await browser.begin(f"/tab/{number}") for number in range(20)]
    for number, url in reversed(list(enumerate(begun))):
        answer = await browser.navigate(site.emulator.sign_in(url))
        if is_begun(site, answer):
            answer = await browser.navigate(site.emulator.sign_in(answer.header("location")))
        assert (answer.status, answer.header("location")) == (303, f"/tab/{number}")


async def test_the_oldest_of_twenty_tabs_begins_again_by_itself(site, browser):
    begun = [await browser.begin(f"/tab/{number}") for number in range(20)]
    answer = await browser.navigate(site.emulator.sign_in(begun[0]))
    while answer.header("refresh"):
        answer = await browser.navigate(site.emulator.sign_in(begun[0]))
    assert is_begun(site, answer)
    assert codes_sent(site) == 0
    answer = await browser.navigate(site.emulator.sign_in(answer.header("location")))
    assert answer.header("location") == "/tab/0"


@pytest.mark.parametrize("minutes", [11, 29])
async def test_a_long_time_at_the_sign_in_page_does_no_harm(site, browser, minutes):
    url = await browser.begin("/page?x=1")
    site.clock.advance(minutes * 60)
    callback = f"{CALLBACK}?{urlsplit(site.emulator.sign_in(url)).query}"
    assert (await browser.navigate(callback)).header("location") == "/page?x=1"


async def test_a_login_that_is_too_old_begins_again_to_the_same_page(site, browser):
    url = site.emulator.sign_in(await browser.begin("/page?x=1"))
    site.clock.advance(31 * 60)
    answer = await browser.navigate(url)
    assert is_begun(site, answer)
    assert codes_sent(site) == 0
    answer = await browser.navigate(site.emulator.sign_in(answer.header("location")))
    assert answer.header("location") == "/page?x=1"


async def test_without_its_cookies_a_login_starts_again_at_its_page(site, browser):
    url = site.emulator.sign_in(await browser.begin("/page?x=1"))
    browser.jar.clear()
    answer = await browser.navigate(url)
    assert answer.status == 400
    assert links(answer)["Start again"] == "/auth/login?return_to=" + quote("/page?x=1", safe="/")


# --- trouble, and whose it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["error", "server_error", "temporarily_unavailable"])
async def test_trouble_at_the_server_is_tried_once_more(site, browser, error, caplog):
    answer = await browser.navigate(failed(await browser.begin("/page"), error))
    assert is_begun(site, answer)
    assert [record.levelno for record in caplog.records if "trouble" in record.getMessage()] == [logging.WARNING]
    again = answer.header("location")
    answer = await browser.navigate(failed(again, error))
    assert answer.status >= 400
    assert links(answer)["Start again"] == "/auth/login?return_to=/page"


@pytest.mark.parametrize(
    "error",
    ["invalid_scope", "invalid_request", "unauthorized_client", "invalid_client", "unsupported_response_type"],
)
async def test_what_is_the_site_s_fault_is_said_to_the_operator(site, browser, error, caplog):
    answer = await browser.navigate(failed(await browser.begin("/page"), error, "It is so."))
    assert answer.status >= 400
    assert "This site is not set up correctly" in answer.body.decode()
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert error in record.getMessage()
    assert "It is so." in record.getMessage()
    await browser.navigate(failed(await browser.begin("/page"), error))
    assert len([record for record in caplog.records if record.levelno == logging.CRITICAL]) == 1, "strangers can do it"
    site.clock.advance(60)
    await browser.navigate(failed(await browser.begin("/page"), error))
    assert len([record for record in caplog.records if record.levelno == logging.CRITICAL]) == 2


async def test_a_wrong_client_secret_is_the_site_s_fault(new, edge, caplog):
    site = new(client_secret="wrong")
    answer = await site.browser(edge).sign_in("/page")
    assert "This site is not set up correctly" in answer.body.decode()
    assert [record for record in caplog.records if record.levelno == logging.CRITICAL]


async def test_a_prompt_that_the_server_does_not_know_is_left_out(site, browser):
    begun = await browser.navigate("/auth/login?return_to=/page&prompt=select_account&login_hint=mira")
    answer = await browser.navigate(failed(begun.header("location"), "invalid_request"))
    assert is_begun(site, answer)
    found = query(answer.header("location"))
    assert "prompt" not in found
    assert found["login_hint"] == "mira"
    answer = await browser.navigate(failed(answer.header("location"), "invalid_request"))
    assert "This site is not set up correctly" in answer.body.decode()


async def test_a_silent_sign_in_that_cannot_be_is_made_aloud(site, browser):
    begun = await browser.navigate("/auth/login?return_to=/page&prompt=none")
    answer = await browser.navigate(failed(begun.header("location"), "login_required"))
    assert is_begun(site, answer)
    assert "prompt" not in query(answer.header("location"))
    answer = await browser.navigate(site.emulator.sign_in(answer.header("location")))
    assert answer.header("location") == "/page"


async def test_a_store_in_trouble_is_told_truly_and_the_callback_can_be_tried_again(site, browser, monkeypatch):
    url = site.emulator.sign_in(await browser.begin("/page"))

    def broken(*args: object) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(site.store, "swap", broken)
        answer = await browser.navigate(url)
        assert answer.status == 503
        assert "still signed in" not in answer.body.decode()
        assert codes_sent(site) == 0
    assert (await browser.navigate(url)).header("location") == "/page"


async def test_keys_are_there_before_a_code_is_spent(site, browser):
    url = site.emulator.sign_in(await browser.begin("/page"))
    site.emulator.faults.add("/.well-known/jwks.json", status=503, times=None)
    assert (await browser.navigate(url)).status == 503
    assert codes_sent(site) == 0
    site.emulator.faults.clear()
    site.clock.advance(60)
    assert (await browser.navigate(url)).header("location") == "/page"


# --- the same callback twice ----------------------------------------------------------------------------


async def test_the_same_callback_twice_at_once_ends_twice_at_the_page(site, browser):
    url = site.emulator.sign_in(await browser.begin("/page"))
    jar = dict(browser.jar)
    twins = [site.browser(browser.edge) for _ in range(3)]
    for twin in twins:
        twin.jar = dict(jar)
    site.emulator.faults.add(TOKEN, delay=0.5)
    answers = await asyncio.gather(*(twin.navigate(url) for twin in twins))
    assert [(answer.status, answer.header("location")) for answer in answers] == [(303, "/page")] * 3
    assert codes_sent(site) == 1
    assert len([answer for answer in answers if site.config.session_cookie in answer.set_cookies]) == 1


async def test_a_twin_of_a_callback_that_came_to_nothing_begins_again(site, browser):
    url = site.emulator.sign_in(await browser.begin("/page"))
    jar = dict(browser.jar)
    site.emulator.faults.add(TOKEN, status=500)
    assert (await browser.navigate(url)).status == 503
    browser.jar = jar
    answer = await browser.navigate(url)
    assert is_begun(site, answer)
    assert codes_sent(site) == 1
    answer = await browser.navigate(site.emulator.sign_in(answer.header("location")))
    assert answer.header("location") == "/page"


async def test_a_callback_that_left_before_the_answer_of_another_leaves_no_second_session(site, browser):
    urls = [site.emulator.sign_in(await browser.begin(page)) for page in ("/one", "/two")]
    early = site.browser(browser.edge)
    early.jar = dict(browser.jar)
    assert (await browser.navigate(urls[0])).header("location") == "/one"
    answer = await early.navigate(urls[1])
    assert (answer.status, answer.header("location")) == (303, "/two")
    assert site.config.session_cookie not in answer.set_cookies
    assert codes_sent(site) == 1
    assert await browser.subject()


async def test_a_sign_in_whose_answer_was_lost_stands_in_the_way_of_one_and_no_more(site, browser):
    urls = [site.emulator.sign_in(await browser.begin(page)) for page in ("/one", "/two")]
    jar = dict(browser.jar)
    await browser.navigate(urls[0])
    browser.jar = jar  # nothing of that answer came
    assert (await browser.navigate(urls[1])).header("location") == "/two"
    assert await browser.subject() is None
    await browser.navigate(site.emulator.sign_in(await browser.begin("/two")))
    assert await browser.subject()


async def ended_at_once(site: rig.Site, browser: rig.Browser, urls: list[str]) -> list[rig.Browser]:
    """Callbacks whose codes are on their way together, and answered in their order; who had each answer."""
    browsers, tasks = [], []
    for url in urls:
        arrived, held = threading.Event(), threading.Event()

        async def hold(arrived: threading.Event = arrived, held: threading.Event = held) -> None:
            arrived.set()
            await asyncio.to_thread(held.wait)

        site.emulator.faults.add(TOKEN, before=hold)
        browsers.append(site.browser(browser.edge))
        browsers[-1].jar = dict(browser.jar)
        tasks.append((asyncio.create_task(browsers[-1].navigate(url)), held))
        await asyncio.to_thread(arrived.wait)
    for task, held in tasks:
        held.set()
        await task
    return browsers


async def ended_in_turn(site: rig.Site, browser: rig.Browser, urls: list[str]) -> list[rig.Browser]:
    """Callbacks that left together and were answered one after the other; who had each answer."""
    browsers = [site.browser(browser.edge) for _ in urls]
    for each, url in zip(browsers, urls, strict=True):
        each.jar = dict(browser.jar)
        await each.navigate(url)
    return browsers


@pytest.mark.parametrize("round_", range(3))  # the names by which the marks are gone through are random
@pytest.mark.parametrize("ended", [ended_at_once, ended_in_turn])
@pytest.mark.parametrize("reloaded", [(), (1,), (0,), (0, 1), (1, 0), (1, 1)])
async def test_sign_ins_whose_answers_were_lost_stand_in_nobody_s_way(site, browser, ended, reloaded, round_):
    """Of two tabs the one that was signed in never heard so. The other one did, or a tab is loaded once more."""
    pages = ("/one", "/two")
    urls = [site.emulator.sign_in(await browser.begin(page)) for page in pages]
    first, second = await ended(site, browser, urls)
    assert await first.subject()
    assert await second.subject() is None
    if not reloaded:
        browser.jar = second.jar
    for number in reloaded:
        answer = await browser.navigate(urls[number])
        assert (answer.status, answer.header("location")) == (303, pages[number])
    assert codes_sent(site) == (2 if ended is ended_at_once else 1)
    answer = await browser.sign_in("/page")
    assert (answer.status, answer.header("location")) == (303, "/page")
    assert await browser.subject()


# --- who it is ------------------------------------------------------------------------------------------


async def step_up(site: rig.Site, browser: rig.Browser) -> str:
    answer = await browser.navigate("/templates")
    assert is_begun(site, answer)
    return answer.header("location")


async def test_whoever_asks_for_more_and_is_somebody_else_now_hears_so(new, edge, caplog):
    caplog.set_level(logging.INFO)
    site = new(required_scopes={"/templates": "templates"})
    browser = site.browser(edge)
    one, other = list(site.emulator.users)[:2]
    await browser.sign_in("/", sub=one)
    answer = await browser.navigate(site.emulator.sign_in(await step_up(site, browser), sub=other))
    assert answer.status == 200
    assert re.search("<h1>You are .* now</h1>", answer.body.decode())
    assert "/templates" in links(answer).values()
    assert any("prompt=login" in target for target in links(answer).values())
    assert "somebody else" in caplog.text
    again = await browser.navigate("/auth/login?return_to=/x&prompt=login")
    assert (await browser.navigate(site.emulator.sign_in(again.header("location"), sub=one))).status == 303


async def test_whoever_asks_for_more_and_stays_the_same_hears_nothing(new, edge):
    site = new(required_scopes={"/templates": "templates"})
    browser = site.browser(edge)
    await browser.sign_in("/")
    answer = await browser.navigate(site.emulator.sign_in(await step_up(site, browser)))
    assert answer.header("location") == "/templates"


async def test_whoever_refuses_to_give_more_stays_signed_in_and_can_go_on(new, edge):
    site = new(required_scopes={"/templates": "templates"}, after_login="/home")
    browser = site.browser(edge)
    await browser.sign_in("/")
    answer = await browser.navigate(site.emulator.sign_in(await step_up(site, browser), deny=True))
    assert answer.status == 403
    assert "Permission not given" in answer.body.decode()
    assert links(answer)["Go on without it"] == "/home"
    again = await browser.navigate(links(answer)["Ask me again"])
    assert "templates" in query(again.header("location"))["scope"]
    assert await browser.subject()


async def test_a_new_sign_in_that_was_asked_for_does_not_go_on_as_who_is_there(site, browser):
    await browser.sign_in("/")
    site.clock.advance(5)
    begun = await browser.navigate("/auth/login?return_to=/page&prompt=login")
    answer = await browser.navigate(failed(begun.header("location"), "request_forbidden"))
    assert is_begun(site, answer)
    assert query(answer.header("location"))["prompt"] == "login"


# --- where it leads -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        "/%2Fetc",
        "/v/%255Cserver",
        "/x/%252e%252e/y",
        "/q?" + quote("漢" * 240),
        "/q?x=" + "y" * 1300,
        "/" + "z" * 3900,
    ],
    ids=lambda page: page[:16],
)
async def test_a_page_that_works_is_one_that_a_sign_in_comes_back_to(site, browser, page):
    answer = await browser.sign_in(page)
    assert answer.header("location") == page
    assert (await browser.navigate(page)).status == 200


async def test_long_pages_push_no_other_tab_out(site, browser):
    pages = [f"/{number}?" + "x" * 1500 for number in range(8)]
    begun = [await browser.begin(page) for page in pages]
    for page, url in zip(pages, begun, strict=True):
        assert (await browser.navigate(site.emulator.sign_in(url))).header("location") == page


async def test_a_page_that_is_not_kept_is_said(site, browser, caplog):
    caplog.set_level(logging.INFO)
    assert (await browser.sign_in("/" + "x" * 5000)).header("location") == "/"
    assert "does not lead back" in caplog.text
    caplog.clear()
    await browser.navigate("/auth/login?return_to=https://evil.example/")
    assert "does not lead back" in caplog.text


async def test_a_fragment_comes_back(site, browser):
    begun = await browser.navigate("/auth/login?return_to=" + quote("/app#/board/7"))
    answer = await browser.navigate(site.emulator.sign_in(begun.header("location")))
    assert answer.header("location") == "/app#/board/7"


async def test_the_server_may_wish_for_a_sign_in(site, browser):
    """OpenID Connect Core 1.0, section 4: by GET or by POST, from another site."""
    wish = urlencode({"iss": site.emulator.base, "login_hint": "mira", "target_link_uri": f"{ORIGIN}/page?x=1"})
    form = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "cross-site"}
    for method, target, body in (
        ("GET", f"/auth/login?{wish}", b""),
        ("POST", "/auth/login", wish.encode()),
    ):
        answer = await browser.ask(method, target, {**NAVIGATION, **form}, body)
        assert is_begun(site, answer)
        assert query(answer.header("location"))["login_hint"] == "mira"
        done = await browser.navigate(site.emulator.sign_in(answer.header("location")))
        assert done.header("location") == "/page?x=1"


LOADED = [  # what pages load beside themselves, by browsers of today and of yesterday
    *({"sec-fetch-mode": "no-cors", "sec-fetch-dest": each, "accept": "*/*"} for each in ("image", "script", "style")),
    {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty", "accept": "text/html"},
    *({**NAVIGATION, "sec-fetch-dest": each} for each in ("iframe", "embed", "object")),
    {"accept": "image/avif,image/webp,*/*;q=0.8"},
    {"accept": "*/*", "x-requested-with": "XMLHttpRequest"},
]


@pytest.mark.parametrize("headers", LOADED, ids=repr)
async def test_what_a_page_loads_begins_no_sign_in(site, browser, headers):
    """Sixty images in what somebody wrote for others would else leave sixty cookies, more than a server takes."""
    for somebody in (False, True):
        if somebody:
            await browser.sign_in()
        known = dict(browser.jar)
        for path in ("/auth/login?return_to=/page", "/auth/connect?return_to=/page", "/auth/form?name=" + "0" * 16):
            answer = await browser.ask("GET", path, headers)
            assert (answer.status, answer.all("set-cookie"), answer.header("location")) == (401, [], None)
        assert browser.jar == known


@pytest.mark.parametrize("headers", [{"accept": "*/*"}, {}], ids=repr)
async def test_who_says_nothing_of_what_it_is_for_is_led_to_sign_in(site, browser, headers):
    """A program that looks whether the site is up, and an old browser."""
    assert is_begun(site, await browser.ask("GET", "/auth/login?return_to=/page", headers))


@pytest.mark.parametrize("path", ["/auth/login?return_to=/deep&prompt=login", "/auth/connect?return_to=/x&name=mail"])
@pytest.mark.parametrize("headers", [{**NAVIGATION, "sec-fetch-dest": "iframe"}, {**FETCH, "hx-request": "true"}])
async def test_the_way_in_is_the_one_that_was_asked_for(browser, path, headers):
    answer = await browser.ask("GET", path, headers)
    found = answer.header("hx-redirect") or links(answer)["Sign in"]
    assert unescape(found) == path


@pytest.mark.parametrize("dest", ["iframe", "embed", "object"])
async def test_a_sign_in_in_a_frame_is_a_page_whose_link_takes_the_whole_window(browser, dest):
    answer = await browser.navigate("/auth/login", **{"sec-fetch-dest": dest, "referer": f"{ORIGIN}/orders"})
    assert links(answer)["Sign in"] == "/auth/login?return_to=/orders"
    assert 'target="_top"' in answer.body.decode()


async def test_a_wish_that_a_page_sends_unseen_begins_no_sign_in(site, browser):
    wish = urlencode({"iss": site.emulator.base}).encode()
    form = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "cross-site"}
    for headers in ({"sec-fetch-mode": "no-cors"}, {**NAVIGATION, "sec-fetch-dest": "iframe"}):
        answer = await browser.ask("POST", "/auth/login", {**headers, **form}, wish)
        assert (answer.status, answer.all("set-cookie")) == (401, [])


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", f"{ORIGIN}.evil.example/", "x"])
async def test_the_wish_of_another_server_is_refused_and_another_target_not_gone_to(site, browser, target):
    answer = await browser.navigate("/auth/login?iss=https%3A%2F%2Fevil.example")
    assert (answer.status, answer.header("location")) == (400, None)
    wish = urlencode({"iss": site.emulator.base, "target_link_uri": target})
    begun = await browser.navigate(f"/auth/login?{wish}")
    done = await browser.navigate(site.emulator.sign_in(begun.header("location")))
    assert done.header("location") == "/"


async def test_what_a_sign_in_may_ask_for_is_passed_on_as_far_as_it_makes_sense(site, browser):
    begun = await browser.navigate("/auth/login?max_age=60&acr_values=urn:x%20urn:y")
    found = query(begun.header("location"))
    assert (found["max_age"], found["acr_values"]) == ("60", "urn:x urn:y")
    begun = await browser.navigate("/auth/login?max_age=x&acr_values=" + "y" * 300)
    assert not {"max_age", "acr_values"} & query(begun.header("location")).keys()


# --- set up wrongly -------------------------------------------------------------------------------------


async def test_a_callback_that_comes_to_another_path_is_seen_and_named(new, edge, caplog):
    site = new(public=["/free"])
    for path in ("/callback", "/free", "/app/auth/callback"):
        browser = site.browser(edge)
        url = site.emulator.sign_in(await browser.begin("/page"))
        caplog.clear()
        site.clock.advance(60)
        answer = await browser.navigate(f"{path}?{urlsplit(url).query}")
        assert (answer.status, answer.header("location")) == (400, None)
        assert "This site is not set up correctly" in answer.body.decode()
        [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
        assert path in record.getMessage()
        assert CALLBACK in record.getMessage()
        assert query(url)["code"] not in record.getMessage()
    assert codes_sent(site) == 0


async def test_parameters_of_an_application_s_own_are_its_own(site, browser):
    await browser.sign_in("/")
    other = query(await site.browser(browser.edge).begin("/"))["state"]
    for state in ("x", "", other):
        answer = await browser.navigate(f"/page?code=x&state={state}")
        assert answer.status == 200


@pytest.mark.parametrize("host", ["localhost:8000", "www.app.example.com"])
async def test_a_site_that_was_opened_under_another_name_is_told_so_first(site, browser, host):
    answer = await browser.navigate("/page", host=host)
    url = site.emulator.sign_in(answer.header("location"))
    browser.jar.clear()  # the cookie was set for the other name
    answer = await browser.navigate(url, host="app.example.com")
    [first, *_] = re.findall("<li>([^<]*)</li>", answer.body.decode())
    assert host in first
    assert ORIGIN in first
    assert host not in (answer.header("location") or "")


async def test_on_loopback_a_site_that_listens_elsewhere_is_told_of_once(new, edge, caplog):
    site = new(redirect_uri="http://127.0.0.1:8000/auth/callback")
    for host in ("127.0.0.1:8000", "127.0.0.1:5000", "localhost:8000"):
        await site.browser(edge).navigate("/", host=host)
    (line,) = [each for each in caplog.messages if each.startswith("another_host: ")]
    assert "host='127.0.0.1:5000'" in line
    assert "redirect_uri='http://127.0.0.1:8000/auth/callback'" in line


async def test_a_proxy_that_always_names_another_host_is_not_blamed(site, browser):
    answer = await browser.navigate("/page", host="backend:9000")
    browser.jar.clear()
    answer = await browser.navigate(site.emulator.sign_in(answer.header("location")), host="backend:9000")
    assert "backend" not in answer.body.decode()


# --- loops ----------------------------------------------------------------------------------------------


async def test_sign_ins_that_succeed_are_no_loop(site, browser):
    """Each session is seen, and then ends at Lumin's side."""
    for _ in range(6):
        assert (await browser.sign_in("/page")).header("location") == "/page"
        assert await browser.subject()
        browser.jar = {name: value for name, value in browser.jar.items() if "-tries" in name}


async def test_sign_ins_whose_session_is_never_seen_are_one(site, browser):
    for _ in range(3):
        await browser.sign_in("/page")
        browser.jar = {name: value for name, value in browser.jar.items() if "-tries" in name}
    answer = await browser.navigate("/page")
    assert answer.status == 400
    assert "Too many sign-ins" in answer.body.decode()
    assert links(answer)["Try again"] == "/auth/login?return_to=/page"


async def test_a_page_that_does_not_see_who_is_signed_in_is_told_of_and_not_gone_round(new, edge, caplog):
    """As Django's `@login_required` does where `public` names its path."""
    site = new(public=["/orders"])
    browser, login = site.browser(edge), "/auth/login?next=/orders"
    rounds = 0
    while (answer := await browser.navigate(login)).status == 303:
        answer = await browser.navigate(site.emulator.sign_in(answer.header("location")))
        assert answer.header("location") == "/orders"
        assert (await browser.navigate("/orders")).status == 200  # which would send them to `login` again
        rounds += 1
    assert rounds == 2, "a browser follows 20 redirects in a row, and a round at Hydra has eight"
    assert answer.status == 400
    assert "You are signed in, but this page does not see it." in answer.body.decode()
    (line,) = [each for each in caplog.messages if each.startswith("unseen_session: ")]
    assert "`optional`" in line


@pytest.mark.parametrize("led", ["cross-site", "same-site"])
async def test_an_application_that_does_not_know_who_is_signed_in_is_told_of_and_not_gone_round(new, edge, led):
    """As Django's `@login_required` does with a user who was switched off: a chain of redirects through Lumin."""
    site = new(optional=["/orders"])
    browser, login = site.browser(edge), "/auth/login?next=/orders"
    answer, rounds = await browser.navigate(login), 0
    while answer.status == 303:
        answer = await browser.navigate(site.emulator.sign_in(answer.header("location")))
        assert (await browser.fetch("GET", "/orders")).status == 200  # which sees them, and sends them to `login` again
        answer = await browser.navigate(login, **{"sec-fetch-site": led})
        rounds += 1
    assert rounds == 2
    assert answer.status == 400
    assert "You are signed in, but this page does not see it." in answer.body.decode()


@pytest.mark.parametrize("led", ["cross-site", "same-site"])
async def test_a_person_who_comes_again_and_again_by_a_portal_s_link_goes_in_no_circle(new, edge, led):
    site = new(optional=["/orders"])
    browser = site.browser(edge)
    for _ in range(5):
        answer = await browser.navigate("/auth/login?return_to=/orders", **{"sec-fetch-site": led})
        assert is_begun(site, answer)
        await browser.navigate(site.emulator.sign_in(answer.header("location")))
        assert (await browser.navigate("/orders", **{"sec-fetch-site": led})).status == 200
        site.clock.advance(3)


async def test_many_tabs_that_ask_for_a_sign_in_each_are_no_circle(new, edge):
    site = new(optional=["/orders"])
    browser = site.browser(edge)
    for _ in range(5):
        answer = await browser.navigate("/auth/login?return_to=/orders", **{"sec-fetch-site": "same-origin"})
        assert is_begun(site, answer)
        await browser.navigate(site.emulator.sign_in(answer.header("location")))


@pytest.mark.parametrize("login", ["/auth/login?return_to=/orders&prompt=login", "/auth/login?return_to=/{number}"])
async def test_who_signs_in_again_on_purpose_goes_in_no_circle(new, edge, login):
    site = new(public=["/*"])
    browser = site.browser(edge)
    for number in range(5):
        answer = await browser.navigate(login.format(number=number))
        assert is_begun(site, answer)
        await browser.navigate(site.emulator.sign_in(answer.header("location")))


async def test_a_person_who_clicks_on_sign_in_again_goes_in_no_circle(new, edge):
    site = new(public=["/*"])
    browser = site.browser(edge)
    for _ in range(5):
        answer = await browser.navigate("/auth/login?return_to=/orders")
        assert is_begun(site, answer)
        await browser.navigate(site.emulator.sign_in(answer.header("location")))
        site.clock.advance(6)


# --- what strangers cost --------------------------------------------------------------------------------


async def test_nothing_is_marked_while_the_breaker_is_open(site, browser):
    for number in range(5):
        site.emulator.faults.add(TOKEN, status=500)
        await browser.navigate(site.emulator.sign_in(await browser.begin(f"/{number}")))
    sent, marks = codes_sent(site), [key for key in site.store._entries if key.startswith("login:")]
    for number in range(3):
        site.emulator.faults.add(TOKEN, status=500)
        await browser.navigate(site.emulator.sign_in(await browser.begin(f"/more/{number}")))
    new_marks = [key for key in site.store._entries if key.startswith("login:")]
    assert len(new_marks) - len(marks) == codes_sent(site) - sent
