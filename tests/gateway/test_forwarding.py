"""What passes a gateway: of its sender a request says what we say, and no connection hears of another."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.gateway.forwarding import Addresses, Forwarding, end_to_end
from tests.fakes import config, hostile

CLIENT = "203.0.113.9"
SAID = [(b"host", b"app.example.com"), (b"x-forwarded-host", b"app.example.com"), (b"x-forwarded-proto", b"https")]
OURS = [*SAID, (b"x-forwarded-for", CLIENT.encode())]
IDENTITY = [("X-Auth-Request-User", "person-1")]

# What a service may take somebody's word from, however it is spelt; an oracle apart from the rule under test.
FORGED = ("x-auth-request-", "x-forwarded-", "x-original-", "x-rewrite-", "x-envoy-original-")
FORGED_WHOLE = ("x-forwarded", "forwarded", "x-real-ip", "host", "script-name", "x-script-name", "daphne-root-path")

WORDS = "X Auth Request User Forwarded For Host Real IP Original Rewrite URL Script Name Daphne Root Path Envoy"
words = st.sampled_from([*WORDS.split(), "Script-Name", "Daphne-Root-Path", "X-Envoy-Original-Path"])
names = st.lists(words, min_size=1, max_size=4).flatmap(
    lambda parts: st.sampled_from(["-", "_", ".", "!", "~"]).map(lambda mark: mark.join(parts))
)
headers = st.lists(st.tuples(names.map(str.encode), st.sampled_from([b"1", b"x-real-ip, cookie", b"close", b""])))


def forwarding(**changes: Any) -> Forwarding:
    return Forwarding(config(**changes), b"app.example.com", "http://127.0.0.1:5173")


@hostile
@given(headers)
def test_nobody_else_says_who_sent_a_request_and_which_way_it_came(headers):
    passed = forwarding().up(headers, CLIENT, IDENTITY)
    ours, others = passed[:5], passed[5:]
    assert ours == [*OURS, (b"x-auth-request-user", b"person-1")]
    for name, _ in others:
        text = name.decode()
        assert re.fullmatch("[a-z0-9-]+", text), "what is like CGI takes any other mark for a dash"
        assert not text.startswith(FORGED)
        assert text not in FORGED_WHOLE


@hostile
@given(st.lists(st.tuples(st.sampled_from([b"Accept", b"X-Of-Theirs", b"cookie", b"via"]), st.binary(max_size=9))))
def test_everything_else_passes_in_its_order_and_as_often_as_it_came(headers):
    lowered = [(name.lower(), value) for name, value in headers]
    assert forwarding().up(headers, CLIENT, ()) == [*OURS, *lowered]
    assert forwarding().down(headers) == lowered


@pytest.mark.parametrize("named", [b"X-Auth-Request-User", b"x-forwarded-for", b"HOST", b"close, X-Forwarded-Proto ,"])
def test_a_connection_option_takes_nothing_away_that_we_say(named):
    passed = forwarding().up([(b"Connection", named), (b"accept", b"*/*")], CLIENT, IDENTITY)
    assert passed == [*OURS, (b"x-auth-request-user", b"person-1"), (b"accept", b"*/*")]


def test_what_connection_names_stays_on_it_in_any_case_and_in_several_headers():
    headers = [(b"CONNECTION", b"close,X-One"), (b"connection", b" x-two "), (b"x-ONE", b"1"), (b"X-Two", b"2")]
    assert end_to_end([*headers, (b"x-three", b"3")], frozenset()) == [(b"x-three", b"3")]


@pytest.mark.parametrize("name", [b"Sec-WebSocket-Key", b"sec-websocket-accept", b"Sec-WebSocket-Protocol"])
def test_a_handshake_is_between_two_and_each_side_has_its_own(name):
    assert forwarding().up([(name, b"x")], CLIENT, ()) == OURS
    assert forwarding().down([(name, b"x")]) == []


def test_an_expectation_ends_here_and_a_date_is_not_written_twice():
    headers = [(b"expect", b"100-continue"), (b"date", b"now")]
    assert forwarding().up(headers, CLIENT, ()) == [*OURS, (b"date", b"now")]
    assert forwarding().down(headers) == [(b"expect", b"100-continue")]


def test_the_port_is_part_of_the_name_and_the_scheme_is_the_settings():
    site = Forwarding(
        config(redirect_uri="http://localhost:8000/auth/callback"), b"127.0.0.1:5173", "http://127.0.0.1:5173"
    )
    assert site.up([(b"x-forwarded-proto", b"https")], "::1", ()) == [
        (b"host", b"127.0.0.1:5173"),
        (b"x-forwarded-host", b"localhost:8000"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-for", b"::1"),
    ]


@pytest.mark.parametrize(
    "redirect_uri",
    ["https://app.example.com/auth/callback", "http://localhost/auth/callback"],
)
def test_a_service_sets_any_cookie_but_one_of_ours(redirect_uri):
    name = config(redirect_uri=redirect_uri).session_cookie
    ours = [name, f"{name}-0", f"{name}-1", f"{name}-tries", f"{name}-login-{'0' * 16}", f" {name}\t"]
    ours += [f"={name}", f" \t= = {name}"]  # whose value comes back where a name would stand
    theirs = [f"{name}-5", f"{name}-x", f"x{name}", f"{name}-login-0", "theirs", "the irs"]
    cookies = [(b"Set-Cookie", f"{each}=x; Path=/".encode()) for each in [*ours, *theirs]]
    passed = forwarding(redirect_uri=redirect_uri).down([*cookies, (b"set-cookie", f"theirs={name}=x".encode())])
    assert [value.partition(b"=")[0].decode() for _, value in passed] == [*theirs, "theirs"]


@pytest.mark.parametrize(
    ("is_bodiless", "left"), [(False, [(b"content-length", b"5"), (b"etag", b"x")]), (True, [(b"etag", b"x")])]
)
def test_where_there_is_no_body_there_is_no_length(is_bodiless, left):
    assert forwarding().down([(b"Content-Length", b"5"), (b"ETag", b"x")], is_bodiless=is_bodiless) == left


# --- what a service calls itself ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("http://10.0.0.7:3000/login?next=/x#y", "https://app.example.com/login?next=/x#y"),
        ("https://10.0.0.7:3000/login", "https://app.example.com/login"),
        ("HTTP://10.0.0.7:3000", "https://app.example.com/"),
        ("http://10.0.0.7:3000?x", "https://app.example.com/?x"),
        ("//10.0.0.7:3000/x", "https://app.example.com/x"),
        ("/x", "/x"),
        ("x/y", "x/y"),
        ("", ""),
        ("?x", "?x"),
        ("http://10.0.0.7/x", "http://10.0.0.7/x"),
        ("http://10.0.0.70:3000/x", "http://10.0.0.70:3000/x"),
        ("http://10.0.0.7:3000.evil.example/x", "http://10.0.0.7:3000.evil.example/x"),
        ("http://elsewhere.example/http://10.0.0.7:3000/", "http://elsewhere.example/http://10.0.0.7:3000/"),
        ("https://app.example.com/x", "https://app.example.com/x"),
        ("mailto:ada@example.com", "mailto:ada@example.com"),
    ],
)
@pytest.mark.parametrize("name", [b"location", b"content-location"])
def test_a_services_own_address_is_this_sites_outside(name, said, seen):
    site = Forwarding(config(), b"10.0.0.7:3000", "http://10.0.0.7:3000")
    assert site.down([(name, said.encode())]) == [(name, seen.encode())]
    assert site.down([(b"x-of-theirs", said.encode())]) == [(b"x-of-theirs", said.encode())]


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("http://inner/base/x?y", "https://app.example.com/x?y"),
        ("http://inner:80/base", "https://app.example.com/"),
        ("http://inner/based/x", "https://app.example.com/based/x"),
        ("https://app.example.com/base/x", "https://app.example.com/x"),
        ("https://app.example.com/x", "https://app.example.com/x"),
        ("/base/x", "/x"),
        ("/base?x", "/?x"),
        ("/base", "/"),
        ("/based", "/based"),
        ("/x/base/", "/x/base/"),
    ],
)
def test_its_path_is_not_seen_outside_either(said, seen):
    assert Addresses("https://app.example.com", "http://inner/base/").public_url(said.encode()) == seen.encode()


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("a=1; Domain=inner; Path=/base/x; Secure", "a=1; Path=/x; Secure"),
        ("a=1;domain=.INNER;path=/base", "a=1; Path=/"),
        ("a=1; Domain=other.example; Path=/y", "a=1; Domain=other.example; Path=/y"),
        ("a=Domain=inner; HttpOnly", "a=Domain=inner; HttpOnly"),
        ("a=1; Path=", "a=1; Path="),
        ("a", "a"),
    ],
)
def test_a_cookie_of_the_services_host_is_of_this_sites(said, seen):
    assert Addresses("https://app.example.com", "http://inner/base").public_cookie(said.encode()) == seen.encode()
