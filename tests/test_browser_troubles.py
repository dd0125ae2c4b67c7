"""What people got stuck in, gone through with a real browser: signing out, old forms, service workers, caches, time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import browser_rig, browser_site
from tests.browser_site import Edge, Site

NewSite = Callable[..., Site]

ROUNDS = 10
"""Sign-ins through a service worker: what it loads twice comes in either order."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browser_rig.browser() as running:
        yield running


@pytest.fixture(params=["asgi", "wsgi"])
def edge(request: pytest.FixtureRequest) -> Edge:
    return request.param


@pytest.fixture
def new_site(edge: Edge) -> Iterator[NewSite]:
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(browser_site.site(edge, **settings))


@contextmanager
def visiting(browser: Browser, site: Site) -> Iterator[Page]:
    """A browser of its own, with one tab."""
    context = browser.new_context(base_url=site.origin)
    yield context.new_page()
    context.close()


def expect_heading(page: Page, words: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(words)


def go_through(page: Page, person: str = "Mira Halden", *, remember: bool = False) -> None:
    """A person at Lumin's pages does what they ask."""
    if page.get_by_role("button", name=person).count():
        page.get_by_role("button", name=person).click()
    if remember:
        page.get_by_label("Remember").check()
    page.get_by_role("button", name="Allow").click()


def sign_in(page: Page, path: str = "/", person: str = "Mira Halden") -> None:
    page.goto(path)
    go_through(page, person)
    expect_heading(page, f"Page {path} of {person}")


# --- signing out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"end_session": True}], ids=["here", "at Lumin as well"])
@pytest.mark.parametrize("sessions", ["cookie", "store"])
def test_sign_out_with_the_defaults_ends_on_a_page_that_says_so(browser, new_site, settings, sessions):
    """Although `/` is protected: it would sign the same person in again at once."""
    site = new_site(sessions=sessions, **settings)
    with visiting(browser, site) as page:
        sign_in(page)
        page.goto("/auth/logout")
        page.get_by_role("button", name="Sign out").click()
        if settings:
            page.wait_for_url(f"{site.emulator.base}/**")
            page.get_by_role("button", name="Sign out").click()
        expect_heading(page, "You are signed out")
        page.get_by_role("link", name="Sign in as somebody else").click()
        go_through(page, "Tobias Okoro")
        expect_heading(page, "Page / of Tobias Okoro")


def test_sign_out_goes_on_where_the_server_s_logout_page_is_another_origin_s(browser, new_site):
    """As Hydra's is, which `urls.logout` names. A browser holds the button to what it may lead to all the way."""
    site = new_site(end_session=True)
    elsewhere = site.emulator.base.replace("127.0.0.1", "localhost") + "/logout?challenge=x"
    site.emulator.faults.add("/oauth2/sessions/logout", status=302, headers={"location": elsewhere})
    with visiting(browser, site) as page:
        sign_in(page)
        page.goto("/auth/logout")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(elsewhere)


@pytest.mark.parametrize("way", ["our page", "a form of the application's"])
def test_sign_out_works_without_fetch_metadata(browser, new_site, way):
    """Then the `Origin` of the form decides, which a page without referrer would keep to itself."""
    site = new_site(without_fetch_metadata=True)
    with visiting(browser, site) as page:
        sign_in(page)
        if way == "our page":
            page.goto("/auth/logout")
            page.get_by_role("button", name="Sign out").click()
        else:
            page.evaluate("""() => {
              const form = Object.assign(document.createElement('form'), {method: 'post', action: '/auth/logout'})
              document.body.append(form)
              form.submit()
            }""")
        expect_heading(page, "You are signed out")


# --- time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [11, 29, 31, 50])
def test_a_long_time_at_the_sign_in_page_leads_to_the_same_page(browser, new_site, minutes):
    """After half an hour Lumin gives up, too; where it is more patient, the sign-in begins again by itself."""
    site = new_site()
    with visiting(browser, site) as page:
        page.goto("/deep/link?x=1")
        page.get_by_role("button", name="Mira Halden").click()
        site.clock.advance(minutes * 60)
        site.lumin_clock.advance(min(minutes, 29) * 60)
        page.get_by_role("button", name="Allow").click()
        if minutes > 30:
            page.get_by_role("button", name="Allow").click()
        expect_heading(page, "Page /deep/link of Mira Halden")
        assert page.url.endswith("/deep/link?x=1")


# --- service workers ------------------------------------------------------------------------------------


def install_worker(page: Page) -> None:
    page.goto("/install")
    go_through(page)
    expect_heading(page, "Installed")
    page.evaluate("navigator.serviceWorker.ready")
    page.wait_for_function("navigator.serviceWorker.controller !== null")


def test_a_service_worker_that_loads_each_page_twice_signs_in_all_the_same(browser, new_site):
    """Navigation preload: the same callback comes twice, at the same moment, and the code is sent once."""
    site = new_site()
    with visiting(browser, site) as page:
        install_worker(page)
        twice = 0
        for round_ in range(ROUNDS):
            page.context.clear_cookies()
            site.seen.clear()
            before = len(site.emulator.calls_to("/oauth2/token"))
            page.goto(f"/app?round={round_}")
            go_through(page)
            expect_heading(page, "Page /app of Mira Halden")
            assert page.url.endswith(f"/app?round={round_}")
            callbacks = [target for method, target in site.seen if target.startswith("/auth/callback")]
            twice += len(callbacks) > len(set(callbacks))
            assert len(site.emulator.calls_to("/oauth2/token")) == before + 1
        assert twice > 0, "no callback came twice; this shows nothing"
        assert site.emulator.reuse_events == 0


def test_a_service_worker_that_passes_a_navigation_on_leads_to_the_sign_in(browser, new_site):
    site = new_site()
    with visiting(browser, site) as page:
        install_worker(page)
        page.context.clear_cookies()
        page.goto("/app")
        expect_heading(page, "Sign in")


# --- caches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sessions", ["cookie", "store"])
def test_a_page_that_says_nothing_of_caching_is_not_shown_to_the_next_person(browser, new_site, sessions):
    site = new_site(sessions=sessions)
    with visiting(browser, site) as page:
        sign_in(page)
        page.goto("/file")
        expect_heading(page, "The file of Mira Halden")
        page.goto("/auth/logout")
        page.get_by_role("button", name="Sign out").click()
        expect_heading(page, "You are signed out")
        page.goto("/file")
        go_through(page, "Mira Halden")  # Lumin's page, and not the file
        expect_heading(page, "The file of Mira Halden")
        page.context.clear_cookies()  # another person signs in without a sign-out before
        page.goto("/file")
        go_through(page, "Tobias Okoro")
        expect_heading(page, "The file of Tobias Okoro")
        page.go_back()
        page.go_forward()
        expect_heading(page, "The file of Tobias Okoro")


# --- a form after the session ended ---------------------------------------------------------------------


def send_late(page: Page, site: Site, text: str) -> None:
    """Fills in a form whose session ends meanwhile, and sends it."""
    page.goto("/form")
    go_through(page)
    page.get_by_label("Title").fill(text)
    site.emulator.revoke_all()
    for clock in (site.clock, site.lumin_clock):
        clock.advance(86_400)
    page.get_by_role("button", name="Send").click()
    expect_heading(page, "You are not signed in any more")


@pytest.mark.parametrize("sessions", ["cookie", "store"])
def test_a_form_after_the_session_ended_is_sent_by_hand_after_the_sign_in(browser, new_site, sessions):
    site = new_site(sessions=sessions)
    with visiting(browser, site) as page:
        send_late(page, site, 'Lease & "more" <i> ✓')
        browser_rig.screenshot(page, "form-kept")
        page.get_by_role("link", name="Sign in").click()
        go_through(page)
        expect_heading(page, "Your form was kept")
        browser_rig.screenshot(page, "form-send-now")
        assert site.sent == []
        page.get_by_role("button", name="Send it now").click()
        expect_heading(page, "Sent by Mira Halden")
        assert site.sent == [{"title": ['Lease & "more" <i> ✓']}]


def test_whoever_does_not_want_to_send_it_goes_back_to_the_page_with_the_form(browser, new_site):
    site = new_site()
    with visiting(browser, site) as page:
        send_late(page, site, "Lease")
        page.get_by_role("link", name="Sign in").click()
        go_through(page)
        page.get_by_role("link", name="Do not send it").click()
        expect_heading(page, "A form")
        assert site.sent == []
