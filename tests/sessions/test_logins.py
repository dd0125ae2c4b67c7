"""Logins in flight belong to one browser, are good once and for a while, and do not fill its jar."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.model import Errand, Transaction
from lumin_middleware.sessions.cookies import DELETIONS_LIMIT
from lumin_middleware.sessions.logins import (
    CLOCK_SETBACK,
    LIFETIME,
    LOGINS_LIMIT,
    UNDER_WAY,
    Logins,
    person,
)
from lumin_middleware.sessions.past import PAST_LIMIT
from tests.fakes import KEY, OLD_KEY, CookieJar, Workers, any_text, hostile


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

    def begin(self, return_to: str = "/page", needed: tuple[str, ...] = (), *, over: str = "") -> Transaction:
        """A login begins: the browser has its cookie."""
        transaction, secret = self.logins.begin(self.logins.errand(needed, return_to))
        self.browser.take(self.logins.set_cookies(transaction, secret, self.jar, over=over))
        return transaction

    def find(self, state: str, logins: Logins | None = None) -> Transaction | None:
        return (logins or self.logins).find(state, self.jar)

    def login_cookies(self) -> dict[str, str]:
        return {name: value for name, value in self.browser.cookies.items() if "-login-" in name}


@pytest.fixture
def site() -> Site:
    return Site()


# --- a login ---


def test_a_login_is_found_by_its_state_in_the_browser_that_began_it(site):
    transaction = site.begin("/page?x=1")
    assert site.find(transaction.state) == transaction
    assert site.logins.is_own(transaction.state, site.jar)
    site.browser = CookieJar()
    assert site.find(transaction.state) is None
    assert not site.logins.is_own(transaction.state, site.jar)


def test_what_a_login_is_for_is_read_from_its_state_alone(site):
    errand = Errand("/page", "openid templates", "templates", "somebody", {"prompt": "login"}, 2, "localhost:8000")
    transaction, _ = site.logins.begin(errand)
    read = site.process().parts.logins.read(transaction.state)
    assert read == errand
    assert read.began == int(site.clock())


def test_several_logins_are_in_flight_at_once_and_end_in_any_order(site):
    one, two, three = site.begin("/1"), site.begin("/2"), site.begin("/3")
    for transaction in (two, one, three):
        assert site.find(transaction.state) == transaction
        site.browser.take(site.logins.forget(transaction.state, site.jar))
        assert site.find(transaction.state) is None
        assert not site.logins.is_own(transaction.state, site.jar)
    assert site.browser.cookies == {}


def test_no_two_logins_have_anything_in_common(site):
    made = [site.logins.begin(Errand("/", "openid"))[0] for _ in range(1000)]
    values = [value for each in made for value in (each.state, each.nonce, each.code_verifier)]
    assert len(set(values)) == 3000
    assert len({each.state[:32] for each in made}) == 1000


def test_state_nonce_and_verifier_are_as_long_as_they_should_be(site):
    transaction, _ = site.logins.begin(Errand("/", "openid"))
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}[A-Za-z0-9_.-]+", transaction.state)
    assert len(transaction.state) < 300, "it stands in addresses, and Hydra copies it into cookies of its own"
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", transaction.nonce)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43,128}", transaction.code_verifier)  # RFC 7636, 4.1


def test_a_login_asks_for_the_site_s_scopes_and_those_of_the_page(site):
    assert site.begin("/").scope == site.config.scope
    wanted = site.begin("/", ("templates", "sign:requests")).errand
    assert (wanted.scope, wanted.needed) == (f"{site.config.scope} templates", "templates sign:requests")


def test_neither_cookie_nor_state_tells_anything(site):
    transaction = site.begin("/secret-page")
    everything = site.browser.header.decode()
    for secret in (transaction.state, transaction.nonce, transaction.code_verifier, "secret-page"):
        assert secret not in everything
    assert "secret" not in transaction.state


def test_the_cookie_is_a_login_s_and_small(site):
    transaction, secret = site.logins.begin(Errand("/" + "x" * 400, "openid"))
    (line,) = site.logins.set_cookies(transaction, secret, site.jar)
    name = site.party.parts.cookies.login
    pattern = rf"{name}[0-9a-f]{{16}}=[^;]+; Max-Age=1800; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert re.fullmatch(pattern, line)
    assert len(line.partition(";")[0]) < 200


@pytest.mark.parametrize(
    "change", [lambda s: "", lambda s: s[:-1], lambda s: s + "x", lambda s: s.swapcase(), lambda s: "x"]
)
def test_another_state_finds_nothing(site, change):
    transaction = site.begin()
    assert site.find(change(transaction.state)) is None
    assert site.logins.read(change(transaction.state)) is None


@hostile
@given(any_text)
def test_any_state_finds_nothing(state):
    site = Site()
    site.begin()
    assert site.find(state) is None
    assert site.logins.read(state) is None
    assert not site.logins.is_own(state, site.jar)


def test_the_cookie_of_one_login_does_not_do_for_another(site):
    """Somebody who can set cookies puts a login of theirs under the name of mine."""
    mine, other = site.begin("/mine"), site.begin("/other")
    (name, _), (_, value) = site.browser.cookies.items()
    site.browser.cookies[name] = value
    assert site.find(mine.state) is None
    assert not site.logins.is_own(mine.state, site.jar)
    assert site.find(other.state) == other


@pytest.mark.parametrize("value", ["", "x", "a.b.c"])
def test_a_cookie_that_is_not_ours_is_no_login(site, value):
    transaction = site.begin()
    site.browser.cookies = dict.fromkeys(site.browser.cookies, value)
    assert site.find(transaction.state) is None
    assert not site.logins.is_own(transaction.state, site.jar)


def test_a_login_that_came_twice_with_different_values_is_none(site):
    transaction = site.begin()
    header = site.browser.header + b"; " + site.browser.header[:-1] + b"x"
    assert site.logins.find(transaction.state, site.party.parts.cookies.jar(header)) is None


@pytest.mark.parametrize(
    ("passed", "found"),
    [(0, True), (LIFETIME - 1, True), (LIFETIME, False), (-CLOCK_SETBACK, True), (-CLOCK_SETBACK - 1, False)],
)
def test_a_login_is_good_for_half_an_hour_even_if_our_clock_goes_back_a_little(site, passed, found):
    transaction = site.begin()
    site.clock.advance(passed)
    assert (site.find(transaction.state) is not None) is found
    assert site.logins.is_own(transaction.state, site.jar), "it was this browser's all the same"


def test_a_login_outlives_a_change_of_keys_and_not_the_loss_of_one(site):
    old = site.process(secret_key=OLD_KEY).parts.logins
    transaction, secret = old.begin(Errand("/", "openid"))
    site.browser.take(old.set_cookies(transaction, secret, site.jar))
    assert site.find(transaction.state, site.process(secret_key=[KEY, OLD_KEY]).parts.logins) == transaction
    assert site.find(transaction.state) is None


def test_a_session_is_no_login_and_a_login_no_session(site):
    """Sealed for one purpose, a value is of no use for another."""
    transaction = site.begin()
    (name, value), *_ = site.browser.cookies.items()
    sealers = (site.logins.tries._sealer, site.logins._past._sealer, site.party.parts.sessions._sealer)
    for sealer in (*sealers, site.logins._state_sealer):
        assert sealer.unseal(value.encode(), name) is None
        site.browser.cookies[name] = sealer.seal(b"\0" + b"x" * 43, name)
        assert site.find(transaction.state) is None


# --- how many fit into a browser ---


def test_the_logins_of_a_browser_are_bounded_and_the_oldest_go_but_are_remembered(site):
    begun = []
    for _ in range(30):
        begun.append(site.begin())
        site.clock.advance(1)
    assert len(site.login_cookies()) == LOGINS_LIMIT
    assert [site.find(each.state) is not None for each in begun] == [False] * 22 + [True] * 8
    assert all(site.logins.is_own(each.state, site.jar) for each in begun)
    assert len(site.browser.header) < 2500


def test_more_logins_than_anybody_has_are_not_remembered_for_ever(site):
    begun = [site.begin() for _ in range(PAST_LIMIT + 20)]
    assert not site.logins.is_own(begun[0].state, site.jar)
    assert site.logins.is_own(begun[-PAST_LIMIT].state, site.jar)
    assert len(site.browser.header) < 2500
    site.clock.advance(LIFETIME)
    assert not site.logins.is_own(begun[-PAST_LIMIT].state, site.jar)


def test_what_another_tab_writes_meanwhile_forgets_no_login(site):
    """Two tabs begin at one instant: each has seen the same cookies, and only one of the two answers counts."""
    begun = [site.begin() for _ in range(LOGINS_LIMIT)]
    before = site.jar
    answers = []
    for _ in range(2):
        transaction, secret = site.logins.begin(Errand("/", "openid"))
        answers.append(site.logins.set_cookies(transaction, secret, before))
        begun.append(transaction)
    for answer in answers:
        site.browser.take(answer)
    assert all(site.logins.is_own(each.state, site.jar) for each in begun)


@hostile
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 200)), min_size=1, max_size=12))
def test_whatever_pages_they_began_on_the_cookies_stay_small_and_the_last_login_works(begun):
    site = Site()
    for length, seconds in begun:
        last = site.begin("/" + "x" * length)  # the browser's jar checks each Set-Cookie
        site.clock.advance(seconds / 100)
    assert site.find(last.state) == last
    assert len(site.browser.header) < 2500


@pytest.mark.parametrize("count", [1, DELETIONS_LIMIT, 200, 1500])
def test_cookies_that_somebody_made_up_cost_little_and_are_deleted_bit_by_bit(site, count):
    prefix = site.party.parts.cookies.login
    site.browser.cookies = {f"{prefix}{number:016x}": "x" for number in range(count)}
    transaction, secret = site.logins.begin(Errand("/", "openid"))
    written, *deleted = site.logins.set_cookies(transaction, secret, site.jar)
    assert len(deleted) == min(count, DELETIONS_LIMIT)
    assert all(line.split("=")[1].startswith(";") for line in deleted)
    site.browser.take([written, *deleted])
    assert site.find(transaction.state) == transaction


# --- what comes back for nothing ---


def test_a_login_that_waits_takes_no_code_and_counts_its_waits(site):
    transaction = site.begin()
    for times in range(3):
        assert site.logins.waits(transaction.state, site.jar) == times
        site.browser.take([site.logins.wait(transaction.state, site.jar)])
        assert site.find(transaction.state) is None
        assert site.logins.is_own(transaction.state, site.jar)


def test_another_login_is_under_way_until_it_waits_itself_or_ends(site):
    one = site.begin()
    began = one.errand.began
    assert not site.logins.under_way(one.state, site.jar, began)
    other = site.begin()
    assert site.logins.under_way(one.state, site.jar, began)
    site.browser.take([site.logins.wait(other.state, site.jar)])
    assert not site.logins.under_way(one.state, site.jar, began)
    assert site.logins.others(one.state, site.jar)
    site.browser.take(site.logins.forget(other.state, site.jar))
    assert not site.logins.others(one.state, site.jar)


def test_nobody_waits_for_an_older_login_or_one_that_waits_for_a_person(site):
    older = site.begin()
    site.clock.advance(5)
    newer = site.begin()
    began = site.logins.read(newer.state).began
    assert not site.logins.under_way(newer.state, site.jar, began)
    assert site.logins.under_way(older.state, site.jar, site.logins.read(older.state).began)
    site.clock.advance(UNDER_WAY + 1)
    assert not site.logins.under_way(older.state, site.jar, site.logins.read(older.state).began)


def test_a_login_that_is_begun_again_takes_the_place_of_the_first(site):
    first = site.begin()
    second = site.begin(over=first.state)
    assert len(site.login_cookies()) == 1
    assert site.find(second.state) == second
    assert site.find(first.state) is None
    assert site.logins.is_own(first.state, site.jar)
    assert not site.logins.others(second.state, site.jar)


def test_a_login_that_led_somewhere_is_remembered_and_one_that_is_over_is_not(site):
    one, two = site.begin(), site.begin()
    site.browser.take(site.logins.retire(one.state, site.jar))
    assert (site.find(one.state), site.logins.is_own(one.state, site.jar)) == (None, True)
    site.browser.take(site.logins.forget(one.state, site.jar))
    assert not site.logins.is_own(one.state, site.jar)
    assert site.find(two.state) == two


# --- scopes that a page needs, and who asks ---


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
    link = site.process(secret_key=OLD_KEY).parts.logins.ask(("templates",))
    assert site.logins.asked(link) == ()
    assert site.logins.asked("") == ()


async def test_people_are_told_apart_and_nobody_is_nobody(site):
    session = await site.sign_in()
    assert person(session) == person(session) != ""
    assert "person-1" not in person(session)
    assert person(None) == ""
