"""Our cookies are read by exact names from any header, and what was written comes back."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lumin_middleware.errors import LuminError
from lumin_middleware.sessions.cookies import (
    MEMO_LIMIT,
    PIECES_LIMIT,
    SET_COOKIE_LIMIT,
    Cookies,
    Jar,
    Memo,
    SessionTooLarge,
)
from tests.fakes import CookieJar, config, hostile
from tests.site_rig import SESSION

SECURE, PLAIN = Cookies(config()), Cookies(config(redirect_uri="http://localhost/auth/callback"))
BOTH = pytest.mark.parametrize("cookies", [SECURE, PLAIN], ids=["https", "http"])

DAY = 86_400
ROOM = SET_COOKIE_LIMIT - len(SECURE.set(f"{SESSION}-0", "", DAY))
LARGEST = PIECES_LIMIT * ROOM - 1

OURS = [SESSION, f"{SESSION}-0", f"{SESSION}-4", f"{SESSION}-tries", f"{SESSION}-login-0123456789abcdef"]
NOT_OURS = [
    "__host-lumin",
    f"{SESSION} ",
    f"{SESSION}-5",
    f"{SESSION}-00",
    f"{SESSION}-01",
    f"{SESSION}--1",
    f"{SESSION}-99999999",
    f"{SESSION}-\u0661",
    f"{SESSION}.0",
    f"{SESSION}-login-0123456789abcde",
    f"{SESSION}-login-0123456789abcdef0",
    f"{SESSION}-login-0123456789ABCDEF",
    f"{SESSION}-login-",
    f"{SESSION}-triesx",
    f"x{SESSION}",
    "lumin",
    "__Secure-lumin",
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


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_name_that_is_nearly_ours_is_the_application_s(name):
    header = f"a=1;{name}=value; b=2"
    found = jar(header)
    assert found.ours == {}
    assert found.rest == header.encode()


@pytest.mark.parametrize(
    "header",
    ["", "a=1", "a=1;b=2;;; c", SESSION, "=", "=;=", "; ;", f'a="{SESSION}=x"', f"{SESSION}-x=1;a=2"],
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


header_pieces = st.sampled_from([*OURS, *NOT_OURS[:6], "a", ""]).map(str.encode) | st.binary(max_size=20)
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
    theirs = [
        pair
        for pair in header.split(b";")
        if b"=" not in pair or not SECURE.ours.fullmatch(pair.strip().partition(b"=")[0])
    ]
    assert jar(header).rest.strip() == b";".join(theirs).strip()


@BOTH
def test_a_cookie_header_of_64_kb_is_read(cookies):
    header = b"; ".join(b"%s-login-%016x=x" % (cookies.marker, number) for number in range(1500))
    assert len(cookies.jar(header).logins()) == 1500
    assert list(cookies.jar(cookies.marker * 10_000).session_values()) == []


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
@example(size=2 * ROOM - 1, max_age=DAY, secure=True)
@example(size=2 * ROOM, max_age=DAY, secure=True)
def test_a_session_of_any_size_comes_back(size, max_age, secure):
    cookies, browser, value = (SECURE if secure else PLAIN), CookieJar(), value_of(size)
    try:
        written = cookies.write_session(value, max_age, [])
    except SessionTooLarge:
        assert size > PIECES_LIMIT * (SET_COOKIE_LIMIT - len(cookies.set(cookies.pieces[0], "", max_age))) - 1
        return
    browser.take(written)
    assert all(len(line) <= SET_COOKIE_LIMIT for line in written)
    assert list(cookies.jar(browser.header).session_values()) == [value.encode()]
    assert cookies.jar(browser.header).rest == b""


def test_the_largest_session_fits_and_one_byte_more_does_not():
    assert len(SECURE.write_session(value_of(LARGEST), DAY, [])) == PIECES_LIMIT
    with pytest.raises(SessionTooLarge, match="sessions='store'") as raised:
        SECURE.write_session(value_of(LARGEST + 1), DAY, [])
    assert value_of(40) not in str(raised.value)
    assert isinstance(raised.value, LuminError)
    assert (raised.value.status_hint, raised.value.reason) == (502, "session_too_large")


def test_a_session_that_fits_is_one_cookie():
    (line,) = SECURE.write_session(value_of(ROOM + 2), DAY, [])
    assert line == SECURE.set(SESSION, value_of(ROOM + 2), DAY)
    assert len(line) == SET_COOKIE_LIMIT
    assert len(SECURE.write_session(value_of(ROOM + 3), DAY, [])) == 2


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
    carried = [f"{SESSION}-0", f"{SESSION}-1", f"{SESSION}-tries", f"{SESSION}-login-0123456789abcdef"]
    written, *deleted = SECURE.write_session("v", DAY, carried)
    assert written.startswith(f"{SESSION}=v;")
    assert deleted == [SECURE.delete(f"{SESSION}-0"), SECURE.delete(f"{SESSION}-1")]


def test_what_a_logout_deletes_is_all_that_came():
    found = jar(f"a=1; {SESSION}=x; {SESSION}=y; {SESSION}-3=z; {SESSION}-tries=t")
    assert SECURE.delete_session(found.ours) == [SECURE.delete(SESSION), SECURE.delete(f"{SESSION}-3")]
    assert SECURE.delete_all(found.ours) == [
        SECURE.delete(name) for name in (SESSION, f"{SESSION}-3", f"{SESSION}-tries")
    ]


@hostile
@given(headers)
def test_nothing_of_a_header_gets_into_what_is_deleted(header):
    for line in SECURE.delete_all(jar(header).ours):
        assert re.fullmatch(rf"{SESSION}[a-z0-9-]*=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure", line)


# --- remembering ---


def test_a_jar_that_is_remembered_is_the_same_for_an_equal_header():
    cookies = Cookies(config())
    one = cookies.jar(f"{SESSION}=x".encode())
    assert cookies.jar(f"{SESSION}=x".encode()) is not one
    cookies.remember(one)
    assert cookies.jar(f"{SESSION}=x".encode()) is one
    assert cookies.jar(f"{SESSION}=y".encode()) is not one


def test_what_is_remembered_is_bounded_and_the_oldest_goes():
    cookies = Cookies(config())
    jars = [cookies.jar(f"{SESSION}={number}".encode()) for number in range(MEMO_LIMIT + 1)]
    for one in jars:
        cookies.remember(one)
    assert cookies.jar(jars[0].header) is not jars[0]
    assert cookies.jar(jars[1].header) is jars[1]
    assert cookies.jar(jars[-1].header) is jars[-1]


def test_a_memo_forgets_its_oldest_entry():
    memo: Memo[int] = Memo(2)
    for number, key in enumerate((b"a", b"b", b"c")):
        memo.put(key, number)
    assert [memo.get(key) for key in (b"a", b"b", b"c")] == [None, 1, 2]
