"""A line is in the words of the list, at its level, and lets nothing through that may be a secret or an address."""

from __future__ import annotations

import logging
import re
import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.journal import LIMIT, PAUSE, Seldom, once, say, shown, trace
from lumin_middleware.reasons import REASONS
from tests.fakes import any_text, hostile
from tests.site_rig import Clock


@pytest.mark.parametrize("code", ["signed_in", "clock_differs", "not_saved", "invalid_client"])
def test_a_line_begins_with_its_code_and_says_from_warning_on_what_to_do(code, caplog):
    caplog.set_level(logging.DEBUG)
    say(code, error=ValueError("because"), empty="", absent=None, number=3)
    reason = REASONS[code]
    [record] = caplog.records
    assert (record.name, record.levelno) == ("lumin_middleware", reason.level)
    cure = f" {reason.cure}" if reason.level >= logging.WARNING else ""
    assert record.getMessage() == f"{code}: {reason.what}{cure} error='because' number=3"


def test_what_is_not_heard_is_not_written(caplog):
    caplog.set_level(logging.ERROR)
    say("clock_differs")
    assert not caplog.records


@pytest.mark.parametrize(
    "address",
    [
        *("ann@example.com", "Ann.O'Neil+x@mail.example.co.uk", "ann%40example.com", "é@ü.example"),
        *("ann%2540example.com", "ann%25252540example.com", "ann\\u0040example.com"),
        *(
            "ann&#64;example.com",
            "ann&#x00040;example.com",
            "ann&commat;example&period;com",
            "ann&amp;amp;#64;example.com",
        ),
        *("ann&#64example.com", "ann@(shop)example.com", "ann@((of)shop)example.com", "ann(a(shop))@example.com"),
        "".join(f"&#{ord(each)};" for each in "ann@example.com"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "/people/{}/x", "no ({})", "user={}&x=1", "<{}>", '"{}"'])
def test_no_address_gets_through(address, around):
    text = shown(around.format(address))
    assert "example" not in text
    assert address[:3] not in text


@pytest.mark.parametrize("at", ["@", "%40", "%2540"])
@pytest.mark.parametrize("around", ["{}", "/people/{}/x", "no ({})", "user={}&x=1", "<{}>", 'a "word" and {}'])
def test_no_name_in_quotes_gets_through_with_its_address(around, at):
    text = shown(around.format(f'"ann (of) smith"{at}example.org'))
    assert not {"ann", "smith", "example"} & set(re.findall("[a-z]+", text))


def test_a_comment_hides_no_address():
    for address in (
        "ann(of the shop)@example.org",
        "ann@(of the shop)example.org",
        "ann(a)@(of the shop)(b)example.org",
    ):
        assert not {"ann", "example"} & set(re.findall("[a-z]+", shown(f"no {address}")))


@pytest.mark.parametrize(
    "text",
    [
        *('"' * 200_000, "(" * 200_000, "%25" * 100_000, '"a' * 100_000, "%" * 200_000),
        *(
            "@(a)" * 50_000,
            "@" + "(a)" * 60_000,
            "@(" * 100_000,
            "&amp;" * 50_000,
            "&" + "amp;" * 50_000,
            "&#" * 100_000,
        ),
    ],
)
def test_a_line_takes_no_longer_than_its_text(text):
    """Minutes, if time grew with the square of it."""
    assert len(shown(text)) < LIMIT + 10


@given(st.binary(min_size=16, max_size=64))
def test_no_random_bytes_get_through(raw):
    for text in (
        raw.hex(),
        secrets.token_urlsafe(24),
        f"ory_ac_{secrets.token_urlsafe(32)}.{secrets.token_urlsafe(32)}",
    ):
        if len(set(text) & set(string.ascii_letters)) > 1 and any(map(str.isdigit, text)):
            assert text not in shown(f"code={text}&state=x")


@pytest.mark.parametrize(
    "text",
    [
        *("/auth/callback", "token_endpoint_auth_method", "https://auth.luminpdf.com/oauth2/token", "ConnectError"),
        *("The requested scope 'sign:requests' is invalid", "/var/lib/some-application/sessions.sqlite3"),
        "client 3f2504e0-4f89-11d3-9a0c-0305e82c3301 is unknown",
        *("/x?a=1&copy=2&amount=3&region=4", "no answer (after 3 s)"),
    ],
)
def test_what_an_operator_needs_gets_through(text):
    assert shown(text) == repr(text)


@hostile
@given(any_text)
def test_no_line_is_broken_and_none_is_long(text):
    found = shown(text)
    assert found.isprintable()
    assert len(shown("x " * LIMIT)) < LIMIT + 10


@pytest.mark.parametrize("value", [b"0" * 40, ["Ab1" * 9], {"key": "Ab1" * 9}, ("a@example.com",), "key_" + "0f" * 20])
def test_whatever_a_particular_is_made_of_it_shows_no_secret(value):
    assert "…" in shown(value)


def test_what_each_request_meets_is_said_once_in_a_while(caplog):
    clock = Clock()
    seldom = Seldom(clock)
    for _ in range(3):
        seldom.say("ends_unknown")
        seldom.say("use_not_written")
    assert len(caplog.records) == 2
    clock.advance(PAUSE)
    seldom.say("ends_unknown")
    assert len(caplog.records) == 3


def test_a_clock_that_goes_back_silences_nobody(caplog):
    clock = Clock()
    seldom = Seldom(clock)
    seldom.say("ends_unknown")
    clock.advance(-3600)
    seldom.say("ends_unknown")
    assert len(caplog.records) == 2


def test_what_is_said_once_is_said_once(caplog):
    clock = Clock()
    mouth = once(clock)
    for _ in range(3):
        mouth.say("no_refresh_token")
        clock.advance(1e9)
    assert len(caplog.records) == 1


def test_each_request_leaves_a_line_at_debug(caplog):
    caplog.set_level(logging.DEBUG)
    trace("no_session", "GET", "/a\nb", 303, "protected", "")
    trace("passed", "GET", "/", None, "public '/'", "nobody is signed in")
    trace("passed", "ann%40example.org", "/", None, "public '/'", "")
    trace("passed", "GET\nx: y", "/", None, "public '/'", "")
    assert caplog.messages == [
        "no_session: GET '/a\\nb' was answered 303; rule: protected",
        "passed: GET '/' went on to the application; rule: public '/'; nobody is signed in",
        "passed: '…@…' '/' went on to the application; rule: public '/'",
        "passed: 'GET\\nx: y' '/' went on to the application; rule: public '/'",
    ]
