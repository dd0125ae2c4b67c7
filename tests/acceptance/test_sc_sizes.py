"""SC: sessions of several cookies, and of none."""

from __future__ import annotations

import re
from itertools import permutations
from typing import Any

import pytest

from lumin_middleware.sessions.sealing import Sealer
from tests.acceptance.harness import (
    ATTRIBUTES,
    SESSION,
    TOKEN,
    cookies,
    joined,
    put_cookie,
    seen_with,
    session_cookies,
    subject,
)
from tests.site_rig import Site, set_cookies

pytestmark = pytest.mark.usefixtures("long_keys")

BIG = {"emulator": {"access_token_length": 2800}}
PIECE = re.compile(rf"{SESSION}-\d")


# --- SC-09 ----------------------------------------------------------------------------------------------


async def test_sc_09_a_large_session_is_split_into_cookies_that_browsers_keep(new_site):
    site = new_site(**BIG)
    browser = site.browser()
    answer = await browser.sign_in()
    pieces = {name: line for name, line in set_cookies(answer).items() if PIECE.fullmatch(name)}
    assert len(pieces) > 1
    assert all(len(line) <= 4096 for line in answer.headers.get_list("set-cookie"))
    assert all(line.endswith(ATTRIBUTES) for line in pieces.values())
    assert await subject(browser)


async def test_sc_09_pieces_are_accepted_in_any_order(new_site):
    site = new_site(emulator={"access_token_length": 2800})
    browser = site.browser()
    await browser.sign_in()
    pieces = list(session_cookies(browser).items())
    assert len(pieces) == 2
    for order in permutations(pieces):
        assert (await seen_with(site, joined(dict(order)))).status == 200
        assert (await seen_with(site, joined({"a": "1", **dict(order), "b": "2"}))).status == 200


@pytest.mark.parametrize("length", [2000, 2600, 2700, 2800, 2900, 3000, 5600, 5900, 12_000])
async def test_sc_09_every_size_around_a_limit_is_kept_or_refused(new_site, length):
    site = new_site(emulator={"access_token_length": length})
    browser = site.browser()
    answer = await browser.sign_in("/x")
    assert answer.status_code == 303
    assert all(len(line) <= 4096 for line in answer.headers.get_list("set-cookie"))
    assert await subject(browser)


async def test_sc_09_what_is_too_large_is_said_at_the_sign_in_and_lives_in_the_store(new_site, log):
    site = new_site(emulator={"access_token_length": 30_000})
    browser = site.browser()
    answer = await browser.sign_in("/x")
    assert answer.status_code == 303
    assert await subject(browser)
    assert len(joined(cookies(browser))) < 1000
    assert any("sessions='store'" in line for line in log.lines)


async def test_sc_09_a_session_that_grows_too_large_at_a_refresh_goes_on(new_site, log):
    site = new_site()
    browser = site.browser()
    await browser.sign_in()
    site.emulator.grants.access_token_length = 30_000
    site.clock.advance(3700)
    for _ in range(3):
        assert await subject(browser)
    assert len(site.emulator.calls_to(TOKEN)) == 2
    assert len(joined(cookies(browser))) < 1000
    assert any("sessions='store'" in line for line in log.lines)


async def test_sc_09_in_the_store_size_does_not_matter(new_site):
    site = new_site(sessions="store", emulator={"access_token_length": 30_000})
    browser = site.browser()
    await browser.sign_in()
    assert list(session_cookies(browser)) == [SESSION]
    assert await subject(browser)


# --- SC-11 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes", [(2800, 94), (94, 2800), (94, 9000), (2800, 9000), (9000, 2800), (94, 94), (2800, 94, 9000, 94)], ids=str
)
async def test_sc_11_a_session_that_changes_its_size_leaves_no_old_cookie(new_site, sizes):
    site = new_site(emulator={"access_token_length": sizes[0]})
    browser = site.browser()
    await browser.sign_in()
    for size in sizes[1:]:
        before = set(session_cookies(browser))
        site.emulator.grants.access_token_length = size
        site.clock.advance(3700)
        answer = await browser.fetch("GET", "/who")
        lines = set_cookies(answer)
        written = {name for name, line in lines.items() if not line.startswith(f"{name}=;")}
        for name in before - written:
            assert lines[name] == f"{name}=; Max-Age=0{ATTRIBUTES}"
        assert set(session_cookies(browser)) == written
        assert await subject(browser)
    assert len(site.emulator.calls_to(TOKEN)) == len(sizes)
    assert site.emulator.reuse_events == 0


@pytest.mark.parametrize("sizes", [(2800, 94), (94, 2800)], ids=str)
async def test_sc_11_a_new_sign_in_of_another_size_leaves_no_old_cookie(new_site, sizes):
    site = new_site(emulator={"access_token_length": sizes[0]})
    people = list(site.emulator.users)
    browser = site.browser()
    await browser.sign_in(sub=people[0])
    site.emulator.grants.access_token_length = sizes[1]
    begun = await browser.navigate("/auth/login")
    answer = await browser.navigate(site.emulator.sign_in(begun.headers["location"], sub=people[1]))
    written = {name for name, line in set_cookies(answer).items() if not line.startswith(f"{name}=;")}
    assert set(session_cookies(browser)) <= written
    assert await subject(browser) == people[1]


# --- SC-12 ----------------------------------------------------------------------------------------------


async def pieces_of(site: Site) -> dict[str, str]:
    browser = site.browser()
    await browser.sign_in()
    return session_cookies(browser)


async def test_sc_12_pieces_that_do_not_belong_together_are_nobody(new_site):
    site = new_site(emulator={"access_token_length": 2800})
    old, new = await pieces_of(site), await pieces_of(site)
    names = list(old)
    first, second = names
    wrong = {
        "mixed generations": {**old, first: new[first]},
        "mixed the other way": {**new, first: old[first]},
        "no first": {second: new[second]},
        "only the first": {first: new[first]},
        "swapped": {**new, first: new[second], second: new[first]},
        "all the same": dict.fromkeys(names, new[first]),
        "an empty one": {**new, second: ""},
        "a count too large": {**new, first: "3" + new[first][1:]},
        "a count much too large": {**new, first: "5" + new[first][1:]},
        "a count of zero": {**new, first: "0" + new[first][1:]},
        "a count of one": {**new, first: "1" + new[first][1:]},
        "a count of nine": {**new, first: "9" + new[first][1:]},
        "a count that is none": {**new, first: "-" + new[first][1:]},
        "a long count": {**new, first: "99999999" + new[first][1:]},
    }
    for name, header in wrong.items():
        answer = await seen_with(site, joined(header))
        assert answer.status == 401, name
    assert (await seen_with(site, joined(new))).status == 200


async def test_sc_12_indices_that_we_never_write_are_not_ours(new_site):
    site = new_site(emulator={"access_token_length": 2800})
    good = await pieces_of(site)
    value = good[f"{SESSION}-0"]
    for index in (
        "99999999",
        "-1",
        "01",
        "00",
        "5",
        "+1",
        "1.0",
        "0x1",
        "1e0",
        " 1",
        "%31",
        "\u0661",
        "\u00b2",
        "None",
        "",
    ):
        others = {f"{SESSION}-{index}": value}
        for header in (joined({**good, **others}), joined({**others, **good})):
            assert (await seen_with(site, header.encode().decode("latin-1"))).status == 200, index
        moved = {f"{SESSION}-{index}" if name.endswith("-1") else name: text for name, text in good.items()}
        assert (await seen_with(site, joined(moved).encode().decode("latin-1"))).status == 401, index
    assert (await seen_with(site, joined(good) + f"; {SESSION}-1=x")).status == 401, "a duplicate"
    assert (await seen_with(site, joined(good) + f"; {SESSION}-4=stale")).status == 200, "a stale piece more"


async def test_sc_12_a_thousand_pieces_cost_one_attempt(new_site, monkeypatch):
    """A bound on the work, not on the time: how often anything is opened."""
    site = new_site()
    opened: list[int] = []
    unseal = Sealer.unseal

    def counted(sealer: Sealer, value: bytes, handle: str = "") -> Any:
        opened.append(len(value))
        return unseal(sealer, value, handle)

    monkeypatch.setattr(Sealer, "unseal", counted)
    junk = "A" * 100
    headers = [
        joined({f"{SESSION}-{index}": junk for index in range(500)}),
        joined({f"{SESSION}-{index}": f"5{junk}" for index in range(5)}),
        "; ".join(f"{SESSION}-{index % 5}={index}{junk}" for index in range(500)),
        f"{SESSION}-count=99999999; {SESSION}.count=99999999; {SESSION}-0=99999999",
        "; ".join([f"{SESSION}={junk}"] * 500),
        f"{SESSION}=" + "A" * 60_000,
        f"{SESSION}-0=5" + "A" * 60_000,
    ]
    for header in headers:
        opened.clear()
        assert (await seen_with(site, header)).status == 401
        assert len(opened) <= 2


async def test_sc_12_a_stale_single_cookie_beside_newer_pieces_is_found_out(new_site):
    """A browser that lost the deletion carries both; the store knows which is newest."""
    site = new_site()
    browser = site.browser()
    await browser.sign_in()
    [stale] = session_cookies(browser).items()
    site.emulator.grants.access_token_length = 2800
    site.clock.advance(3700)
    assert await subject(browser)
    put_cookie(browser, *stale)
    for _ in range(3):
        assert await subject(browser)
    assert len(site.emulator.calls_to(TOKEN)) == 2
    assert site.emulator.reuse_events == 0
