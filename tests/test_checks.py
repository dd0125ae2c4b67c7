"""Each check takes what is right as it is, and tells with the field's name what is not."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import ada_url
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lumin_middleware import checks
from lumin_middleware.errors import ConfigurationError
from lumin_middleware.site.access import Rules
from tests.fakes import any_text, hostile, request

CHECKS = [
    checks.url,
    checks.credential,
    checks.boolean,
    checks.names,
    checks.scope,
    checks.local_path,
    checks.pattern,
    checks.patterns,
    checks.api_calls,
    checks.networks,
    lambda name, value: checks.seconds(name, value, 0, 60),
    lambda name, value: checks.one_of(name, value, ("one", "other")),
]
values = any_text | st.none() | st.integers() | st.floats() | st.binary(max_size=20) | st.lists(any_text, max_size=3)


def taken(check: Any, value: object) -> Any:
    """What the check reads; an error where it refuses."""
    try:
        return check("field", value)
    except ConfigurationError as error:
        return error


@hostile
@given(st.sampled_from(CHECKS), values)
def test_any_value_is_taken_or_refused_by_its_field(check, value):
    if isinstance(found := taken(check, value), ConfigurationError):
        assert (found.field, str(found)) == ("field", f"field: {found.problem}")


# --- URLs -----------------------------------------------------------------------------------------------

hosts = st.sampled_from(["app.example.com", "APP.example.com", "10.0.0.1", "[::1]", "localhost", "x@y", "", "a:b"])
ports = st.sampled_from(["", ":", ":80", ":443", ":65535", ":65536", ":-1", ":٣"])
rests = st.text(st.sampled_from("/?#.;:@%\\ \t\né0a"), max_size=8).map("/".__add__)


def check_place(url: str) -> None:
    """Where the URL is taken, browsers (WHATWG URL) find the same origin in it."""
    if not isinstance(parts := taken(checks.url, url), ConfigurationError):
        seen = ada_url.URL(url)
        default = {"http": 80, "https": 443}[parts.scheme]
        assert (seen.protocol, seen.hostname.strip("[]")) == (f"{parts.scheme}:", parts.hostname)
        assert int(seen.port or default) == (parts.port or default)


@hostile
@given(st.sampled_from(["https://", "http://", "HTTPS://", "https:/", "//"]), hosts, ports, rests)
def test_a_url_that_is_taken_names_one_place_to_us_and_to_browsers(scheme, host, port, rest):
    check_place(f"{scheme}{host}{port}{rest}")


# Each of these would serve, and then no `Origin` that a browser sends would ever be this site's.
@pytest.mark.parametrize(
    "host", ["[2001:db8:0:0:0:0:0:1]", "010.0.0.1", "10.1", "app%2Eexample.com", "app.example.com<x>", "[::1].example"]
)
def test_a_host_that_browsers_write_otherwise_or_not_at_all_is_refused(host):
    check_place(f"https://{host}/auth/callback")


def test_a_part_of_a_host_has_at_most_63_characters():
    """A longer one nobody can look up (RFC 1035, 2.3.4)."""
    for host in (f"{'a' * 63}.example", f"app.{'a' * 63}"):
        assert checks.url("field", f"https://{host}/x").hostname == host
    for host in (f"{'a' * 64}.example", f"app.{'a' * 64}"):
        assert "at most 63" in str(taken(checks.url, f"https://{host}/x"))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "app.localhost", "a.b.localhost", "127.0.0.1", "127.9.0.2", "[::1]"]
)
def test_plain_http_is_taken_on_this_machine(host):
    assert checks.url("field", f"http://{host}:8000/x").scheme == "http"


@pytest.mark.parametrize(
    "host",
    ["localhost.example", "127.0.0.1.example", "[::1].example", "128.0.0.1", "[::2]", "applocalhost", ".localhost"],
)
def test_plain_http_is_taken_nowhere_else(host):
    assert isinstance(taken(checks.url, f"http://{host}/x"), ConfigurationError)


@pytest.mark.parametrize(
    "host",
    ["a..b", ".a", "a b", "a" * 64, f"{'a' * 64}.example", ".".join(["a" * 49] * 6), "a\0b", "café", "", "[::1]"],
)
def test_a_host_that_nobody_could_look_up_is_refused(host):
    with pytest.raises(ConfigurationError, match="is no host that can be looked up; a name has"):
        checks.host("field", host)
    assert isinstance(taken(checks.url, f"https://{host}/x"), ConfigurationError) or host == "[::1]"


@pytest.mark.parametrize(
    "host", ["a", "a_b", "A.example", "svc.cluster.local.", "127.0.0.1", "::1", "a" * 63, ".".join(["a" * 49] * 5)]
)
def test_a_host_that_can_be_looked_up_is_taken(host):
    checks.host("field", host)


# --- paths and patterns ---------------------------------------------------------------------------------


@hostile
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map("/".__add__), st.booleans())
@example("/", True)
@example("/café", False)
@example("/a.b/.c..", True)
def test_a_pattern_that_is_taken_opens_its_path(text, below):
    text = f"{text.rstrip('/')}/*" if below else text
    path = text[:-1] + "x" if text.endswith("/*") else text
    if not isinstance(taken(checks.pattern, text), ConfigurationError):
        assert Rules([text], (), {}).rule(request(path, raw_path=quote(path))).public


@hostile
@given(st.text(st.sampled_from("/\\.:@?#%a\t\n\r \x85\u2028"), max_size=8).map("/".__add__))
def test_a_local_path_that_is_taken_leads_nowhere_else(path):
    if not isinstance(taken(checks.local_path, path), ConfigurationError):
        assert ada_url.URL(path, base="https://app.example.com/deep/page").origin == "https://app.example.com"


@pytest.mark.parametrize(
    "item", ['["ann@example.org"]', '"ann"@example.org', "<ann@example.org>", "ann@example.org;", "mailto:a@b.example"]
)
def test_an_address_holds_nothing_of_what_stood_around_it(item):
    assert isinstance(taken(checks.admission, [item]), ConfigurationError)
    assert checks.admission("field", ["o'brien+x@example.org", "ann@bücher.example"])


# --- lists ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "items"),
    [
        (checks.names, ("sub", "email")),
        (checks.patterns, ("/a", "/b/*")),
        (checks.api_calls, ("GET /a", "/b/*")),
        (checks.networks, ("127.0.0.1", "::1", "10.0.0.0/8")),
    ],
)
def test_a_list_is_read_once_and_kept_in_its_order(check, items):
    assert check("field", iter(items)) == items
    assert check("field", []) == ()
    for wrong in (items[0], None, [*items, None], [*items, b"/x"], 7):
        assert isinstance(taken(check, wrong), ConfigurationError)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::FFFF:7f00:1", "127.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("fe80::/10", "fe80::/10"),
    ],
)
def test_a_network_is_read_as_peers_are_compared_with_it(written, read):
    """A socket for both kinds shows an IPv4 peer as `::ffff:…`, and its operator names what he sees."""
    assert checks.networks("field", [written]) == (read,)


def test_a_network_names_no_interface():
    with pytest.raises(ConfigurationError, match="leave it out"):
        checks.networks("field", ["fe80::1%eth0"])


# --- the rest -------------------------------------------------------------------------------------------


def test_a_time_may_be_either_limit_and_nothing_beyond():
    for value in (1, 60, 1.0, 59.999):
        checks.seconds("field", value, 1, 60)
    for value in (0.999, 60.001, -1, float("nan"), float("-inf"), True, "30", Decimal(30), 30j, None):
        with pytest.raises(ConfigurationError, match="between 1 and 60"):
            checks.seconds("field", value, 1, 60)


def test_scopes_are_the_visible_characters_but_two():
    every = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("\\", "")
    assert checks.scope("field", f"b a {every} a") == ("b", "a", every, "a")
    for wrong in ('a"b', "a\\b", "a\x7fb", "a\xa0b", "a  b", "a ", "a\n"):
        assert isinstance(taken(checks.scope, wrong), ConfigurationError)


@pytest.mark.parametrize("value", ["openid,templates", "openid, templates", "openid templates,sign:requests", "a,"])
def test_a_comma_between_scopes_is_named(value):
    with pytest.raises(ConfigurationError, match="separated by spaces"):
        checks.plain_scope("scope", value)


@pytest.mark.parametrize("show", [repr, ascii, "{!r}".format, "%r".__mod__, lambda secret: str({"x": [secret]})])
def test_a_secret_stays_hidden_in_whatever_holds_it_and_in_its_copies(show):
    secret = checks.Secret("hunter2")
    for each in (secret, copy.copy(secret), copy.deepcopy([secret])[0], pickle.loads(pickle.dumps(secret))):
        assert each == "hunter2"
        assert "hunter2" not in show(each)
