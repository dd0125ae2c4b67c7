"""Somebody at a browser: what it keeps of cookies, and the ways through a site."""

from __future__ import annotations

from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from urllib.request import Request

import httpx2

from tests.site_rig import FETCH
from tests.tabs import Browser

LONGEST = 4096
"""Bytes of a cookie's name and value that browsers keep; longer ones they drop (RFC 6265bis, 5.6)."""


class _AsBrowsersDo(DefaultCookiePolicy):
    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        return len(cookie.name) + len(cookie.value or "") <= LONGEST and super().set_ok(cookie, request)


def cookies() -> CookieJar:
    """A jar that is no more patient than browsers are."""
    return CookieJar(_AsBrowsersDo())


async def sign_in(browser: Browser, path: str) -> bool:
    """Goes to a page and through the sign-in; whether the page was reached in the end."""
    try:
        tab = browser.tab(path)
        await tab.go()
        await tab.sign_in()
    except (AssertionError, httpx2.HTTPError):  # it goes round in circles, or hangs up
        return False
    return tab.has_arrived


def header(browser: Browser) -> str:
    """The `Cookie` header that the site gets. Cookies know no ports, so the provider's are told by their names."""
    kept = [each for each in browser.cookies.jar if not each.name.startswith(("ory_", "lumin_emulator"))]
    return "; ".join(f"{each.name}={each.value}" for each in kept)


async def fetch(browser: Browser, url: str) -> httpx2.Response | None:
    """What a script of a page gets; None where the connection breaks."""
    try:
        return await browser.get(url, headers=FETCH)
    except httpx2.HTTPError:
        return None
