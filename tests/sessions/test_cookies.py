"""Our cookies are read by exact names from any header, and what was written comes back."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lumin_middleware.sessions.cookies import (
    HEADER_LIMIT,
    PIECES_LIMIT,
    SESSION_LIMIT,
    SET_COOKIE_LIMIT,
    Cookies,
    Jar,
    _alone,
    _each,
)
from tests.fakes import REDIRECT_URI, CookieJar, config, hostile
from tests.site_rig import SESSION

SECURE, PLAIN = Cookies(config()), Cookies(config(redirect_uri="http://localhost/auth/callback"))
BOTH = pytest.mark.parametrize("cookies", [SECURE, PLAIN], ids=["https", "http"])

DAY = 86_400
ROOM = SET_COOKIE_LIMIT - len(SECURE.set(f"{SESSION}-0", "", DAY))
LARGEST = SECURE.room

OURS = [SESSION, f"{SESSION}-0", f"{SESSION}-1", f"{SESSION}-tries", f"{SESSION}-login-0123456789abcdef"]
NEARLY_OURS = [
    f"{SESSION} ",
    f"{SESSION}-2",
    f"{SESSION}-00",
    f"{SESSION}-01",
    f"{SESSION}--1",
    f"{SESSION}-99999999",
    f"{SESSION}-\u0661",
    f"{SESSION}-login-0123456789abcde",
    f"{SESSION}-login-0123456789abcdef0",
    f"{SESSION}-login-0123456789ABCDEF",
    f"{SESSION}-login-",
    f"{SESSION}-triesx",
    f"\x0b{SESSION}",
    f"\x0c{SESSION}-0",
    f"\x1c{SESSION}\x85",
    f"{SESSION}\xa0",
    "__Host-lumin-zzzzzz",
    "__Host-lumin-zzzzzz-login-0123456789abcdef",
]
NOT_OURS = [
    "__host-lumin",
    f"x{SESSION}",
    "lumin",
    "lumin-0",
    "__Secure-lumin",
    "__Host-lumin",
    "__Host-lumin-0",
    "__Host-lumin-theme",
    "__Host-luminous",
    "__Host-lumin.0",
    f"{SESSION}.0",
    f"{SESSION}x",
]


def value_of(size: int) -> str:
    return ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij.-_0123456789" * (size // 49 + 1))[:size]


def jar(header: str | bytes, cookies: Cookies = SECURE) -> Jar:
    return cookies.jar(header if isinstance(header, bytes) else header.encode("utf-8"))


# --- reading ---


@pytest.mark.parametrize("name", OURS)
def test_our_names_are_read_and_the_application_does_not_see_them(name):
    found = jar(f"a=1; {name}=value; b=2")
    assert found.ours == {name: b"value"}
    assert found.rest == b"a=1; b=2"


@pytest.mark.parametrize("name", NEARLY_OURS)
def test_what_begins_as_ours_do_is_neither_read_nor_passed_on(name):
    """Another site of this host, or what a service would take for one of ours after stripping what we do not."""
    found = jar(f"a=1;{name}=value; b=2".encode("latin-1", "ignore"))
    assert found.ours == {}
    assert found.rest == b"a=1; b=2"


@pytest.mark.parametrize("space", [" ", "\t", " \t "])
def test_only_space_and_tab_may_stand_around_a_cookie_of_ours(space):
    assert jar(f"a=1;{space}{SESSION}=x{space}").ours == {SESSION: b"x"}


@pytest.mark.parametrize("space", ["\x0b", "\x0c", "\r", "\n", "\x00", "\x1c", "\x85", "\xa0"])
def test_what_python_strips_besides_makes_nothing_ours(space):
    assert jar(f"{space}{SESSION}=x".encode("latin-1")).ours == {}
    assert list(jar(f"{SESSION}=x{space}".encode("latin-1")).session_values()) != [b"x"]


def test_a_name_of_the_site_s_own_choice():
    shop = Cookies(config(cookie_name="shop"))
    found = shop.jar(b"__Host-shop=x; shop=1; __Host-shopping=2; __Host-lumin-abcdef=z")
    assert found.ours == {"__Host-shop": b"x"}
    assert found.rest == b"shop=1; __Host-shopping=2"


@pytest.mark.parametrize("uri", [REDIRECT_URI, "http://localhost/auth/callback"])
def test_what_an_application_calls_as_its_site_is_its_own(uri):
    """`shop-cart` beside `cookie_name="shop"`: we take what we set, and nothing else that begins as it does."""
    shop = Cookies(config(cookie_name="shop", redirect_uri=uri))
    name = shop.session
    set_by_us = [name, *shop.pieces, shop.tries, shop.past, f"{shop.login}{'0' * 16}", f"{shop.form}{'f' * 16}"]
    theirs = f"{name}-cart=1; {name}_cart=2; {name}-login=3; {name}-9=4; {name}-tries-left=5"
    found = shop.jar(f"{theirs}; {'; '.join(f'{each}=x' for each in set_by_us)}".encode())
    assert list(found.ours) == set_by_us
    assert found.rest == theirs.encode()


def test_two_sites_have_cookies_of_other_names():
    names = {
        config(**changes).session_cookie
        for changes in ({}, {"client_id": "b"}, {"redirect_uri": "https://app.example.com:444/auth/callback"})
    }
    assert len(names) == 3


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_name_that_only_looks_like_ours_is_the_application_s(name):
    header = f"a=1;{name}=value; b=2"
    found = jar(header)
    assert found.ours == {}
    assert found.rest == header.encode()


@pytest.mark.parametrize(
    "header",
    ["", "a=1", "a=1;b=2;;; c", "=", "=;=", "; ;", f'a="{SESSION}=x"', "__Host-luminous=1;a=2"],
)
def test_a_header_without_ours_is_passed_on_as_it_came(header):
    assert jar(header).rest == header.encode()
    assert list(jar(header).session_values()) == []


@pytest.mark.parametrize(
    ("header", "rest"),
    [
        (f"{SESSION}=x", b""),
        (f"{SESSION}=x; a=1", b"a=1"),
        (f"a=1; {SESSION}=x", b"a=1"),
        (f"a=1;{SESSION}=x;b=2", b"a=1;b=2"),
        (f"\t{SESSION}=x\t; a=1", b"a=1"),
        (f"a; {SESSION}=x; =b; c=", b"a; =b; c="),
        (f"a=\xff\xfe; {SESSION}=x", "a=\xff\xfe".encode()),
    ],
)
def test_malformed_neighbours_do_no_harm(header, rest):
    found = jar(header)
    assert found.ours == {SESSION: b"x"}
    assert found.rest == rest


@pytest.mark.parametrize("header", ["N=a; N=b", "N=a; N=b; N=a", "N=a; x=1; N=a; N=b", "N=; N=a", "N=a; N="])
def test_two_different_cookies_of_one_name_are_none(header):
    found = jar(header.replace("N", SESSION))
    assert found.ours == {SESSION: None}
    assert list(found.session_values()) == []
    assert b"lumin" not in found.rest


def test_two_equal_cookies_of_one_name_are_one():
    assert list(jar(f"{SESSION}=a; {SESSION}=a").session_values()) == [b"a"]


header_pieces = st.sampled_from([*OURS, *NEARLY_OURS[:6], *NOT_OURS[:4], "a", ""]).map(str.encode) | st.binary(
    max_size=20
)
headers = st.lists(st.tuples(header_pieces, st.sampled_from([b"=", b"", b" = "]), st.binary(max_size=30))).map(
    lambda pairs: b";".join(b"".join(pair) for pair in pairs)
) | st.binary(max_size=300)


@hostile
@given(headers)
def test_any_header_can_be_read(header):
    found = jar(header)
    assert all(SECURE.ours.fullmatch(name.encode()) for name in found.ours)
    assert jar(found.rest).ours == {}, "the application sees a cookie of ours"
    for value in found.session_values():
        assert b";" not in value
    assert found.logins().keys() <= found.ours.keys()


@hostile
@given(headers)
def test_what_is_not_ours_reaches_the_application(header):
    theirs = [pair for pair in header.split(b";") if b"__Host-lumin" not in pair.partition(b"=")[0]]
    rest = jar(header).rest.split(b";")
    assert [pair.strip() for pair in theirs if pair.strip()] == [
        pair.strip() for pair in rest if pair.strip() and b"__Host-lumin" not in pair.partition(b"=")[0]
    ]


@BOTH
def test_a_cookie_header_of_64_kb_is_read(cookies):
    header = b"; ".join(b"%s-login-%016x=x" % (cookies.session.encode(), number) for number in range(1500))
    assert len(cookies.jar(header).logins()) == 1500
    assert list(cookies.jar(cookies.session.encode() * 10_000).session_values()) == []


def test_the_logins_are_the_cookies_of_logins():
    found = jar(f"{SESSION}-login-0123456789abcdef=x; {SESSION}=y; {SESSION}-tries=z")
    assert found.logins() == {f"{SESSION}-login-0123456789abcdef": b"x"}


def test_on_plain_http_the_names_have_no_prefix():
    name = PLAIN.session
    assert PLAIN.jar(f"{name}=x; __Host-{name}=y".encode()).ours == {name: b"x"}


@pytest.mark.parametrize(
    "header",
    [
        "P0=1a",  # a single piece is written without a number
        "P0=0a; P1=b",
        "P0=6a; P1=b; P2=c; P3=d; P4=e",
        "P0=99999999a; P1=b",
        "P0=\xb2a; P1=b",
        "P0=2a",
        "P1=b",
        "P0=3a; P2=c",
        "P0=3a; P1=; P2=c",
        "P0=2a; P0=2b; P1=c",
        "P0=; P1=b",
        "P0=-2a; P1=b",
    ],
)
def test_pieces_that_are_not_a_whole_are_none(header):
    assert list(jar(header.replace("P", f"{SESSION}-")).session_values()) == []


@pytest.mark.parametrize("header", ["P0=2ab; P1=cd", "P1=cd; P0=2ab", "P2=zz; P1=cd; x=1; P0=2ab; P4=y"])
def test_pieces_may_come_in_any_order_and_with_stale_ones(header):
    assert list(jar(header.replace("P", f"{SESSION}-")).session_values()) == [b"abcd"]


# --- writing ---


@BOTH
def test_the_attributes_of_a_cookie(cookies):
    secure = "; Secure" if cookies is SECURE else ""
    name = cookies.session
    assert cookies.set(name, "v", 60.9) == f"{name}=v; Max-Age=60; Path=/; HttpOnly; SameSite=Lax{secure}"
    assert cookies.delete(name) == f"{name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax{secure}"
    assert re.fullmatch(r"__Host-lumin-[a-z]{6}" if secure else r"lumin-[a-z]{6}", name)


@hostile
@given(size=st.integers(1, LARGEST), max_age=st.integers(1, 31_536_000), secure=st.booleans())
@example(size=LARGEST, max_age=DAY, secure=True)
@example(size=ROOM, max_age=DAY, secure=True)
@example(size=ROOM + 1, max_age=DAY, secure=True)
@example(size=ROOM + 2, max_age=DAY, secure=True)
def test_a_session_of_any_size_comes_back(size, max_age, secure):
    cookies, browser, value = (SECURE if secure else PLAIN), CookieJar(), value_of(size)
    written = cookies.write_session(value, max_age, {})
    browser.take(written)
    assert all(len(line) <= SET_COOKIE_LIMIT for line in written)
    assert list(cookies.jar(browser.header).session_values()) == [value.encode()]
    assert cookies.jar(browser.header).rest == b""
    assert len(browser.header) <= SESSION_LIMIT


def test_the_largest_session_takes_all_of_its_room():
    browser = CookieJar()
    browser.take(SECURE.write_session(value_of(LARGEST), DAY, {}))
    assert len(browser.cookies) == PIECES_LIMIT
    assert SESSION_LIMIT - 10 < len(browser.header) <= SESSION_LIMIT


def test_a_session_that_fits_is_one_cookie():
    (line,) = SECURE.write_session(value_of(ROOM + 2), DAY, {})
    assert line == SECURE.set(SESSION, value_of(ROOM + 2), DAY)
    assert len(line) == SET_COOKIE_LIMIT
    assert len(SECURE.write_session(value_of(ROOM + 3), DAY, {})) == 2


@hostile
@given(st.lists(st.integers(1, LARGEST), min_size=2, max_size=6))
def test_a_session_that_grows_and_shrinks_leaves_nothing_stale(sizes):
    browser = CookieJar()
    for size in sizes:
        value = value_of(size)
        browser.take(SECURE.write_session(value, DAY, SECURE.jar(browser.header).ours))
        assert list(SECURE.jar(browser.header).session_values()) == [value.encode()]
        whole = 1 if size <= ROOM + 2 else -(-(size + 1) // ROOM)
        assert len(browser.cookies) == whole


def test_a_stale_cookie_is_deleted_with_the_attributes_that_it_was_set_with():
    carried = dict.fromkeys(
        [f"{SESSION}-0", f"{SESSION}-1", f"{SESSION}-tries", f"{SESSION}-login-0123456789abcdef"], b"x"
    )
    written, *deleted = SECURE.write_session("v", DAY, carried)
    assert written.startswith(f"{SESSION}=v;")
    assert deleted == [SECURE.delete(f"{SESSION}-0"), SECURE.delete(f"{SESSION}-1")]


def test_what_a_logout_deletes_is_all_that_came():
    found = jar(f"a=1; {SESSION}=x; {SESSION}=y; {SESSION}-1=z; {SESSION}-tries=t")
    assert SECURE.delete_session(found.ours) == [SECURE.delete(SESSION), SECURE.delete(f"{SESSION}-1")]
    assert SECURE.delete_all(found.ours) == [
        SECURE.delete(name) for name in (SESSION, f"{SESSION}-1", f"{SESSION}-tries")
    ]


@hostile
@given(headers)
def test_nothing_of_a_header_gets_into_what_is_deleted(header):
    for line in SECURE.delete_all(jar(header).ours):
        assert re.fullmatch(rf"{SESSION}[a-z0-9-]*=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure", line)


def test_the_oldest_logins_make_room_for_a_session():
    names = [f"{SESSION}-login-{number:016x}" for number in range(8)]
    header = "; ".join(f"{name}={'x' * 900}" for name in names)
    deleted = SECURE.write_session(value_of(LARGEST), DAY, jar(header).ours)[PIECES_LIMIT:]
    assert deleted == [SECURE.delete(name) for name in names[:6][::-1]]
    kept = jar("; ".join(f"{name}={'x' * 100}" for name in names)).ours
    assert len(SECURE.write_session("v", DAY, kept)) == 1
    assert HEADER_LIMIT < 8190


NAMES = (SESSION, f"{SESSION}-0", f"{SESSION}-tries")
AROUND = ["a=1", "b", "; ", ";", " ", "\t", "=", "x", "\x00", f'"{SESSION}', "__Host-lumin", "lumin", "é"]
PIECES = st.sampled_from([f"{name}{rest}" for name in NAMES for rest in ("=", "=v", "=w ", "")] + AROUND)


@pytest.mark.parametrize("name", [None, "mine"])
@hostile
@given(st.lists(PIECES, max_size=9))
@example(["; ", f"{SESSION}=", ";"])
@example([" ", "; ", f"{SESSION}=", ";"])
@example(["a=1", "; ", f"{SESSION}=v", ";"])
def test_one_cookie_of_ours_is_read_as_if_each_was_looked_at(name, pieces):
    cookies = Cookies(config(**({"cookie_name": name} if name else {})))
    header = "".join(pieces).replace(SESSION, cookies.session).encode()
    found = _alone(header, cookies)
    assert found is None or found == _each(header, cookies)


@pytest.mark.parametrize("header", ["{}=v", "a=1; {}=v", "{}=v; a=1", "a=1; {}=v; b=2"])
def test_a_header_as_browsers_write_it_is_read_the_short_way(header):
    cookies = Cookies(config())
    assert _alone(header.format(cookies.session).encode(), cookies) is not None
