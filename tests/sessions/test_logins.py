"""Logins in flight belong to one browser, are used once, and neither fill its jar nor go round in circles."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.model import Transaction
from lumin_middleware.sessions.logins import (
    BYTES_LIMIT,
    CLOCK_TOLERANCE,
    DELETIONS_LIMIT,
    LIFETIME,
    LOGINS_LIMIT,
    TRIES_LIMIT,
    TRIES_WINDOW,
    Logins,
)
from lumin_middleware.site.access import RETURN_TO_LIMIT
from tests.fakes import KEY, OLD_KEY, CookieJar, Workers, hostile
from tests.site_rig import SESSION


class Site(Workers):
    """Workers, and one browser that begins logins."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.browser = CookieJar()
        self.party = self.process()
        self.logins = self.party.parts.logins

    @property
    def jar(self) -> Any:
        return self.party.parts.cookies.jar(self.browser.header)

    def begin(self, return_to: str = "/page", needed: tuple[str, ...] = ()) -> Transaction:
        """A login begins: the browser has its cookie."""
        transaction = self.logins.begin(return_to, needed)
        self.browser.take(self.logins.set_cookies(transaction, self.jar))
        return transaction

    def find(self, state: str, logins: Logins | None = None) -> Transaction | None:
        return (logins or self.logins).find(state, self.jar)


@pytest.fixture
def site() -> Site:
    return Site()


# --- a login ---


def test_a_login_is_found_by_its_state_in_the_browser_that_began_it(site):
    transaction = site.begin("/page?x=1")
    assert site.find(transaction.state) == transaction
    site.browser = CookieJar()
    assert site.find(transaction.state) is None


def test_several_logins_are_in_flight_at_once_and_end_in_any_order(site):
    one, two, three = site.begin("/1"), site.begin("/2"), site.begin("/3")
    for transaction in (two, one, three):
        assert site.find(transaction.state) == transaction
        site.browser.take([site.logins.forget(transaction.state)])
        assert site.find(transaction.state) is None
    assert site.browser.cookies == {}


def test_no_two_logins_have_anything_in_common(site):
    made = [site.logins.begin("/") for _ in range(2000)]
    values = [value for each in made for value in (each.state, each.nonce, each.code_verifier)]
    assert len(set(values)) == 6000


def test_state_nonce_and_verifier_are_as_long_as_they_should_be(site):
    transaction = site.logins.begin("/")
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", transaction.state)
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", transaction.nonce)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43,128}", transaction.code_verifier)  # RFC 7636, 4.1


def test_a_login_asks_for_the_site_s_scopes_and_those_of_the_page(site):
    assert site.logins.begin("/").scope == site.config.scope
    wanted = site.logins.begin("/", ("templates", "sign:requests"))
    assert (wanted.scope, wanted.needed) == (f"{site.config.scope} templates", "templates sign:requests")


def test_the_cookie_tells_nothing(site):
    transaction = site.begin("/secret-page")
    everything = site.browser.header.decode()
    for secret in (transaction.state, transaction.nonce, transaction.code_verifier, "secret-page"):
        assert secret not in everything


def test_the_cookie_is_a_login_s(site):
    (line,) = site.logins.set_cookies(site.logins.begin("/"), site.jar)
    pattern = SESSION + r"-login-[0-9a-f]{16}=[^;]+; Max-Age=600; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert re.fullmatch(pattern, line)


@pytest.mark.parametrize(
    "change", [lambda s: "", lambda s: s[:-1], lambda s: s + "x", lambda s: s.swapcase(), lambda s: "x"]
)
def test_another_state_finds_nothing(site, change):
    transaction = site.begin()
    assert site.find(change(transaction.state)) is None


@hostile
@given(st.text(max_size=60))
def test_any_state_finds_nothing(state):
    site = Site()
    site.begin()
    assert site.find(state) is None


def test_the_cookie_of_one_login_does_not_do_for_another(site):
    """Somebody who can set cookies puts a login of theirs under the name of mine."""
    mine, other = site.begin("/mine"), site.begin("/other")
    (name, _), (_, value) = site.browser.cookies.items()
    site.browser.cookies[name] = value
    assert site.find(mine.state) is None
    assert site.find(other.state) == other


@pytest.mark.parametrize("value", ["", "x", "a.b.c"])
def test_a_cookie_that_is_not_ours_is_no_login(site, value):
    transaction = site.begin()
    site.browser.cookies = dict.fromkeys(site.browser.cookies, value)
    assert site.find(transaction.state) is None


def test_a_login_that_came_twice_with_different_values_is_none(site):
    transaction = site.begin()
    header = site.browser.header + b"; " + site.browser.header[:-1] + b"x"
    assert site.logins.find(transaction.state, site.party.parts.cookies.jar(header)) is None


@pytest.mark.parametrize(
    ("passed", "found"),
    [(0, True), (LIFETIME - 1, True), (LIFETIME, False), (-CLOCK_TOLERANCE, True), (-CLOCK_TOLERANCE - 1, False)],
)
def test_a_login_is_good_for_ten_minutes_even_if_our_clock_goes_back_a_little(site, passed, found):
    transaction = site.begin()
    site.clock.advance(passed)
    assert (site.find(transaction.state) is not None) is found


def test_a_login_outlives_a_change_of_keys_and_not_the_loss_of_one(site):
    old = site.process(secret_key=OLD_KEY).logins
    transaction = old.begin("/")
    site.browser.take(old.set_cookies(transaction, site.jar))
    assert site.find(transaction.state, site.process(secret_key=[KEY, OLD_KEY]).logins) == transaction
    assert site.find(transaction.state) is None


def test_a_session_is_no_login_and_a_login_no_session(site):
    """Sealed for one purpose, a value is of no use for another."""
    transaction = site.begin()
    (name, value), *_ = site.browser.cookies.items()
    for sealer in (site.logins._tries_sealer, site.logins._used_sealer, site.party.parts.sessions._sealer):
        assert sealer.unseal(value.encode()) is None
        site.browser.cookies[name] = sealer.seal(transaction.dump())
        assert site.find(transaction.state) is None


# --- how many fit into a browser ---


def logins_of(browser: CookieJar) -> dict[str, str]:
    return {name: value for name, value in browser.cookies.items() if "-login-" in name}


def test_the_logins_of_a_browser_are_bounded_and_the_oldest_go(site):
    begun = []
    for _ in range(30):
        begun.append(site.begin())
        site.clock.advance(1)
    assert len(logins_of(site.browser)) <= LOGINS_LIMIT
    assert site.find(begun[-1].state) == begun[-1]
    assert site.find(begun[-2].state) == begun[-2]
    assert site.find(begun[0].state) is None
    sizes = sum(len(name) + len(value) for name, value in logins_of(site.browser).items())
    assert sizes <= BYTES_LIMIT


def test_a_login_that_is_over_makes_room_first(site):
    dead = site.begin()
    site.clock.advance(LIFETIME)
    alive = [site.begin() for _ in range(3)]
    assert site.find(dead.state) is None
    assert all(site.find(each.state) for each in alive)
    assert len(logins_of(site.browser)) == 3


@hostile
@given(st.lists(st.tuples(st.integers(0, RETURN_TO_LIMIT - 1), st.integers(0, 200)), min_size=1, max_size=12))
def test_whatever_pages_they_began_on_the_cookies_stay_small_and_the_last_login_works(begun):
    site = Site()
    for length, seconds in begun:
        last = site.begin("/" + "x" * length)  # the browser's jar checks each Set-Cookie
        site.clock.advance(seconds / 100)
    assert site.find(last.state) == last
    assert sum(len(name) + len(value) for name, value in logins_of(site.browser).items()) <= BYTES_LIMIT


@pytest.mark.parametrize("lengths", [(1, RETURN_TO_LIMIT), (RETURN_TO_LIMIT, 1)])
def test_the_longest_page_leaves_room_for_another_login(site, lengths):
    one, other = (site.begin("/" + "x" * (length - 1)) for length in lengths)
    assert site.find(one.state) == one
    assert site.find(other.state) == other


@pytest.mark.parametrize("count", [1, DELETIONS_LIMIT, 200, 1500])
def test_cookies_that_somebody_made_up_cost_little_and_are_deleted_bit_by_bit(site, count):
    site.browser.cookies = {f"{SESSION}-login-{number:016x}": "x" for number in range(count)}
    transaction = site.logins.begin("/")
    written, *deleted = site.logins.set_cookies(transaction, site.jar)
    assert len(deleted) == min(count, DELETIONS_LIMIT)
    assert all(line.split("=")[1].startswith(";") for line in deleted)
    site.browser.take([written, *deleted])
    assert site.find(transaction.state) == transaction


def test_a_login_among_made_up_ones_stays_if_it_can_be_seen(site):
    transaction = site.begin()
    site.browser.cookies |= {f"{SESSION}-login-{number:016x}": "x" for number in range(100)}
    site.begin()
    assert site.find(transaction.state) == transaction


# --- used once ---


async def test_a_login_can_be_used_once(site):
    transaction = site.begin("/led/here")
    assert await site.logins.used_for(transaction.state) is None
    assert await site.logins.use(transaction)
    assert not await site.logins.use(transaction)
    assert not await site.process().logins.use(transaction)
    assert await site.process().logins.used_for(transaction.state) == "/led/here"


async def test_that_it_was_used_is_known_as_long_as_it_could_be_used(site):
    transaction = site.begin()
    await site.logins.use(transaction)
    site.clock.advance(LIFETIME + CLOCK_TOLERANCE - 1)
    assert not await site.logins.use(transaction)
    site.clock.advance(1)
    assert site.store.entries() == {}
    assert site.find(transaction.state) is None


async def test_what_the_store_learns_is_that_a_login_was_used(site):
    transaction = site.begin("/secret-page")
    assert site.store.entries() == {}
    await site.logins.use(transaction)
    entries = repr(site.store.entries())
    assert transaction.state not in entries
    assert "secret-page" not in entries


async def test_a_mark_under_another_login_s_key_says_nothing(site):
    one, two = site.begin("/1"), site.begin("/2")
    await site.logins.use(one)
    ((key, mark),) = site.store.entries().items()
    await site.logins.use(two)
    (other,) = set(site.store.entries()) - {key}
    site.store.memory.swap(other, site.store.entries()[other], mark, 60)
    assert await site.logins.used_for(two.state) is None


@pytest.mark.parametrize("step", ["get login", "swap login"])
async def test_a_store_in_trouble_is_not_a_login_that_was_not_used(site, step):
    transaction = site.begin()
    site.store.fails = {step}
    with pytest.raises(StoreUnavailable):
        await (site.logins.use(transaction) if step.startswith("swap") else site.logins.used_for(transaction.state))


# --- scopes that a page needs ---


@hostile
@given(st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20), max_size=5))
def test_what_a_link_asks_for_comes_back(needed):
    site = Site()
    assert site.logins.asked(site.logins.ask(tuple(needed))) == tuple(needed)


@hostile
@given(st.text(st.characters(), max_size=100))
def test_a_link_that_we_did_not_make_asks_for_nothing(text):
    assert Site().logins.asked(text) == ()


def test_a_link_is_no_other_site_s(site):
    link = site.process(secret_key=OLD_KEY).logins.ask(("templates",))
    assert site.logins.asked(link) == ()
    assert site.logins.asked("") == ()


# --- how many there were ---


def sign_in(site: Site, seconds: float = 1) -> None:
    site.browser.take([site.logins.count(site.jar)])
    site.clock.advance(seconds)


def test_the_fourth_sign_in_in_a_minute_is_a_loop(site):
    for number in range(TRIES_LIMIT):
        assert not site.logins.is_looping(site.jar), number
        sign_in(site)
    assert site.logins.is_looping(site.jar)
    sign_in(site)
    assert site.logins.is_looping(site.jar)


def test_sign_ins_that_lie_apart_are_no_loop(site):
    for _ in range(20):
        sign_in(site, TRIES_WINDOW / TRIES_LIMIT)
        assert not site.logins.is_looping(site.jar)


def test_a_loop_is_forgotten_after_a_minute_whatever_the_browser_keeps(site):
    for _ in range(TRIES_LIMIT):
        sign_in(site)
    site.clock.advance(TRIES_WINDOW)
    assert not site.logins.is_looping(site.jar)


def test_a_clock_that_went_far_back_makes_no_loop(site):
    for _ in range(TRIES_LIMIT):
        sign_in(site)
    site.clock.advance(-3600)
    assert not site.logins.is_looping(site.jar)


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "[1,2,3]"])
def test_a_count_that_is_not_ours_counts_nothing(site, value):
    site.browser.cookies[f"{SESSION}-tries"] = value
    assert not site.logins.is_looping(site.jar)
    sign_in(site)
    assert not site.logins.is_looping(site.jar)


def test_the_count_is_small_however_often_it_grows(site):
    for _ in range(50):
        sign_in(site, 0.1)
    assert len(site.browser.cookies[f"{SESSION}-tries"]) < 250
