"""SC: what sealed values hold, who can make them, and what becomes of the wrong ones."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from lumin_middleware import AsyncGrants, ConfigurationError, LuminConfig
from tests.acceptance.harness import (
    SESSION,
    Witness,
    cookies,
    joined,
    seen_with,
    session_cookies,
    subject,
)
from tests.site_rig import REDIRECT_URI, Browser, Site, set_cookies

BIG = {"emulator": {"access_token_length": 2800}}


# --- SC-06 ----------------------------------------------------------------------------------------------


def moved(browser: Browser, site: Site) -> Browser:
    """The same browser, whose requests another process answers from now on."""
    other = site.browser()
    other.cookies = browser.cookies
    return other


def keys() -> tuple[bytes, bytes]:
    return secrets.token_bytes(32), secrets.token_bytes(32)


async def test_sc_06_an_old_key_opens_and_the_new_one_seals(new_each_site):
    old, new = keys()
    site = new_each_site(secret_key=old)
    browser = site.browser()
    await browser.sign_in()
    who = await subject(browser)
    before = session_cookies(browser)
    rotated = site.with_settings(secret_key=[new, old])
    carried = moved(browser, rotated)
    assert await subject(carried) == who
    assert session_cookies(carried) != before, "resealed with the next answer"
    assert await subject(carried) == who


@pytest.mark.parametrize("renewed", [False, True], ids=["fresh", "renewed"])
async def test_sc_06_what_was_resealed_outlives_the_old_key(new_each_site, renewed):
    """DESIGN, D5: what was opened with an old key is resealed, so that the old key can go."""
    old, new = keys()
    site = new_each_site(secret_key=old)
    browser = site.browser()
    await browser.sign_in()
    if renewed:
        site.clock.advance(3700)
    who = await subject(browser)
    for setting in ([new, old], [new]):
        browser = moved(browser, site.with_settings(secret_key=setting))
        site.clock.advance(60)
        assert await subject(browser) == who, f"{len(setting)} keys"


@pytest.mark.parametrize("first", ["", "/auth/session", "/auth/connections", "/auth/logout"])
@pytest.mark.parametrize("kind", ["cookie", "store"])
async def test_sc_06_whatever_a_browser_asks_for_first_its_session_is_found_when_the_old_key_has_gone(
    new_site, kind, first
):
    old, new = keys()
    site = new_site(secret_key=old, sessions=kind, backchannel_logout=True)
    browser = site.browser()
    await browser.sign_in()
    rotated = site.with_settings(secret_key=[new, old])
    browser = moved(browser, rotated)
    if first:
        assert (await browser.fetch("GET", first)).status_code == 200
    who = await subject(browser)
    alone = rotated.with_settings(secret_key=new)
    browser = moved(browser, alone)
    assert await subject(browser) == who
    async with AsyncGrants(alone.config, clock=site.clock) as grants:
        assert await grants.end_sessions(who) == 1
    assert await subject(browser) is None


async def test_sc_06_without_its_key_a_session_is_none_and_nothing_breaks(new_each_site):
    old, new = keys()
    site = new_each_site(secret_key=old)
    browser = site.browser()
    url = site.emulator.sign_in(await browser.begin("/x"))
    await browser.sign_in()
    gone = site.with_settings(secret_key=new)
    carried = moved(browser, gone)
    assert await subject(carried) is None
    witness = Witness(gone, carried)
    witness.assert_rejected(await carried.navigate(url), token_calls=0)
    assert (await carried.sign_in("/y")).headers["location"] == "/y"


async def test_sc_06_a_login_that_was_begun_with_the_old_key_completes(new_each_site):
    old, new = keys()
    site = new_each_site(secret_key=old)
    browser = site.browser()
    url = site.emulator.sign_in(await browser.begin("/x"))
    carried = moved(browser, site.with_settings(secret_key=[new, old]))
    assert (await carried.navigate(url)).headers["location"] == "/x"


async def test_sc_06_workers_with_the_keys_in_another_order_understand_each_other(new_each_site):
    """A rolling deployment."""
    old, new = keys()
    site = new_each_site(secret_key=[old, new])
    other = site.with_settings(secret_key=[new, old])
    browser = site.browser()
    await browser.sign_in()
    for turn in range(4):
        browser = moved(browser, site if turn % 2 else other)
        site.clock.advance(3700)
        assert await subject(browser)
    assert site.emulator.reuse_events == 0


# --- SC-07 ----------------------------------------------------------------------------------------------

WEAK: list[Any] = [
    None,
    "",
    b"",
    [],
    [None],
    [""],
    "short",
    "x" * 31,
    b"y" * 31,
    secrets.token_bytes(31),
    secrets.token_urlsafe(18),
    "a" * 64,
    b"\0" * 32,
    b"\xff" * 64,
    "ab" * 32,
    "0123456789" * 4,
    "abcdefghijklmnopqrstuvwxyz0123456789",
    bytes(range(32)),
    "changeme" * 8,
    "your-secret-key-goes-here-0123456789",
    "replace-this-with-32-random-bytes!!!",
    "my-super-secret-password-1234567890!",
    "correct horse battery staple correct horse",
    "This is a passphrase that is long enough",
    12345678901234567890123456789012,
    object(),
    [secrets.token_bytes(32), "short"],
    [secrets.token_bytes(32), None],
    {"key": secrets.token_urlsafe(32)},
]


@pytest.mark.parametrize("key", WEAK, ids=[f"{number}" for number in range(len(WEAK))])
def test_sc_07_a_weak_key_is_refused_at_the_start(key):
    with pytest.raises(ConfigurationError) as refused:
        LuminConfig(client_id="x", client_secret="y", redirect_uri=REDIRECT_URI, secret_key=key)
    assert refused.value.field == "secret_key"
    if isinstance(key, str) and len(key) > 10:
        assert key not in str(refused.value)


def test_sc_07_no_key_at_all_is_refused_and_there_is_no_fallback():
    with pytest.raises((ConfigurationError, TypeError)):
        LuminConfig(client_id="x", client_secret="y", redirect_uri=REDIRECT_URI)
    environ = {"LUMIN_CLIENT_ID": "x", "LUMIN_CLIENT_SECRET": "y", "LUMIN_REDIRECT_URI": REDIRECT_URI}
    with pytest.raises(ConfigurationError, match="LUMIN_SECRET_KEY"):
        LuminConfig.from_env(environ)
    with pytest.raises(ConfigurationError):
        LuminConfig.from_env({**environ, "LUMIN_SECRET_KEY": ""})


@pytest.mark.parametrize("make", [secrets.token_urlsafe, secrets.token_hex, secrets.token_bytes])
def test_sc_07_random_keys_are_accepted(make):
    for _ in range(200):
        LuminConfig(client_id="x", client_secret="y", redirect_uri=REDIRECT_URI, secret_key=make(32))


def test_sc_07_the_settings_do_not_show_the_key():
    key = secrets.token_urlsafe(32)
    config = LuminConfig(client_id="x", client_secret="hidden", redirect_uri=REDIRECT_URI, secret_key=key)
    assert key not in repr(config)
    assert "hidden" not in repr(config)


# --- what DESIGN says besides ---------------------------------------------------------------------------


async def test_sc_a_new_key_makes_no_look_a_use_of_the_session(new_each_site):
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    site = new_each_site(secret_key=old, idle_timeout=1200)
    browser = site.browser()
    await browser.sign_in()
    browser = moved(browser, site.with_settings(secret_key=[new, old]))
    for _ in range(3):  # one of them seals anew what the store has
        site.clock.advance(600)
        status = (await browser.fetch("GET", "/auth/session?slide=false")).status_code
    site.clock.advance(600)
    assert (status, (await browser.fetch("GET", "/auth/session?slide=false")).status_code) == (401, 401)


async def test_sc_the_cookie_of_a_lumin_sized_session_is_one_and_small(site):
    browser = site.browser()
    answer = await browser.sign_in()
    [value] = session_cookies(browser).values()
    assert len(f"{SESSION}={value}") <= 1229  # 1.2 KB on the wire
    assert len(set_cookies(answer)[SESSION]) <= 1400


async def test_sc_a_fresh_session_sets_no_cookie_and_leaves_the_answer_alone(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    for _ in range(3):
        answer = await browser.fetch("GET", "/who")
        assert "set-cookie" not in answer.headers
        assert answer.headers["cache-control"] == "private, no-cache"  # where the application says nothing
        assert "vary" not in answer.headers


async def test_sc_a_value_sealed_for_one_purpose_is_read_for_no_other(each_site):
    """Every cookie of ours under every name of ours."""
    browser = each_site.browser()
    await browser.sign_in()
    await browser.navigate("/auth/login?return_to=/x")
    jar = cookies(browser)
    assert len(jar) == 3, "a session, a login, the count of sign-ins"
    for name in jar:
        for other, value in jar.items():
            if other != name:
                answer = await seen_with(each_site, joined({**jar, name: value}))
                expected = 401 if name == SESSION else 200
                assert answer.status == expected, (name, other)
