"""What a proxy may hold, and for how long."""

from __future__ import annotations

import pytest

from lumin_middleware.site.access import OPTIONAL, PROTECTED, PUBLIC
from lumin_middleware.site.holding import HELD_LIMIT, NOTHING, Asked, Holding, Outcome, asked, digest
from tests.acceptance.harness import call, with_cookies
from tests.fakes import config, request
from tests.site_rig import FETCH

NOW = 1_000_000.0
PROXY = ("127.0.0.1", 40000)
SOMEBODY = object()


def seconds(rule=PROTECTED, session=SOMEBODY, until=NOW + 3600, cookies=False, ask=None, has_marked=True, **changes):
    settings, fields = config(), {key: changes.pop(key) for key in ("mount", "root_path") if key in changes}
    ask = ask or Asked(5, digest(settings))
    found = Outcome(rule, session, until, cookies)
    holding = Holding(config(**changes))
    return holding.seconds(ask, request("/page", **fields), found, has_marked=has_marked, now=NOW)


def test_it_is_one_second_less_than_was_asked_for():
    assert seconds() == 4


@pytest.mark.parametrize(("left", "held"), [(0.0, 0), (-5.0, 0), (1.5, 0), (2.0, 1), (3.9, 2), (5.0, 4), (6.0, 4)])
def test_it_ends_before_anything_falls_due(left, held):
    assert seconds(until=NOW + left) == held


def test_nothing_is_held_of_what_falls_due_or_gives_a_cookie():
    assert seconds(until=0.0) == 0
    assert seconds(cookies=True) == 0


@pytest.mark.parametrize(
    ("rule", "has_marked", "held"), [(PUBLIC, True, 4), (PUBLIC, False, 4), (OPTIONAL, False, 4), (OPTIONAL, True, 0)]
)
def test_nobody_is_held_where_nobody_came(rule, has_marked, held):
    """With a cookie of ours it may be trouble that makes somebody nobody, and be over at once."""
    assert seconds(rule, None, 0.0, has_marked=has_marked) == held


@pytest.mark.parametrize(
    "changes", [{"strict_logout": True}, {"public": ["/x"]}, {"mount": "/app"}, {"root_path": "/app"}]
)
def test_nothing_is_held_where_it_could_be_wrong(changes):
    assert seconds(**changes) == 0


@pytest.mark.parametrize("other", [{"public": ["/b", "/a"]}, {"optional": ["/a"]}, {"required_scopes": {"/a": "x"}}])
def test_other_rules_have_another_digest(other):
    assert digest(config(public=["/a", "/b"])) != digest(config(**other))
    assert digest(config(client_id="another")) == digest(config())


@pytest.mark.parametrize("text", ["", "x", "-1", "1e3", "1000", "1.5", "\u0661"])
def test_what_is_no_number_of_seconds_asks_for_nothing(text):
    assert asked(text, "").seconds in (0, 1)


def test_it_is_bounded():
    assert asked("999", "x") == Asked(HELD_LIMIT, "x")
    assert Asked(0, "") == NOTHING


@pytest.mark.parametrize("cache", ["", "cache=5&", "cache=0&"])
async def test_only_a_proxy_that_is_believed_and_asks_is_told(new_site, cache):
    site = new_site(trusted_proxies=["127.0.0.1"])
    browser = site.browser()
    await browser.sign_in()
    path = f"/auth/verify?{cache}rules={digest(site.config)}"
    headers = {**with_cookies(browser, FETCH), "x-forwarded-uri": "/page"}
    told = await call(site.middleware, path, headers=headers, client=PROXY)
    stranger = await call(site.middleware, path, headers=headers, client=("203.0.113.9", 1))
    unnamed = await call(site.middleware, path, headers=with_cookies(browser, FETCH), client=PROXY)
    assert (told.status, told.header("x-accel-expires")) == (204, "4" if "5" in cache else None)
    assert (stranger.status, stranger.header("x-accel-expires")) == (204, None)
    assert (unnamed.status, unnamed.header("x-accel-expires")) == (204, None)


@pytest.mark.parametrize("path", ["/page", "/a%2Fb", "/public"])
async def test_a_refusal_is_never_held(new_site, path):
    site = new_site(trusted_proxies=["127.0.0.1"], required_scopes={"/page": "templates"})
    query = f"/auth/verify?cache=5&rules={digest(site.config)}"
    for headers in (FETCH, {**FETCH, "cookie": "lumin=junk"}):
        answer = await call(site.middleware, query, headers={**headers, "x-forwarded-uri": path}, client=PROXY)
        assert (answer.status, answer.header("x-accel-expires")) == (401, None)
