"""Values write and read themselves, show no secret, and a code cannot be made up."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware import model
from lumin_middleware.model import (
    _CHECKED,
    AuthorizationCode,
    Errand,
    Request,
    Response,
    Session,
    TokenSet,
    Transaction,
)
from lumin_middleware.protocol import oauth
from tests.fakes import any_text, hostile, json_values
from tests.test_layers import CORE

TOKENS = TokenSet("access-secret", 1000.5, 3600.0, ("openid", "sign:requests"), "refresh-secret", "id-secret")
SESSION = Session("id-of-session", 3, 10.25, 20.0, TOKENS, {"sub": "person-1", "email": "person@example.com"})
TRANSACTION = Transaction("state-secret", "nonce-secret", "verifier-secret", Errand("/page?x=1", "openid"))

finite = st.floats(0, 1e12)
token = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)


def request(headers: list[tuple[bytes, bytes]]) -> Request:
    return Request("GET", "/", "/", "", headers)


def test_a_header_that_comes_once_is_read_without_its_spaces():
    assert request([(b"accept", b" text/html ")]).header(b"accept") == "text/html"


@pytest.mark.parametrize("headers", [[], [(b"origin", b"https://a.example"), (b"origin", b"https://b.example")]])
def test_a_header_that_is_absent_or_comes_twice_is_empty(headers):
    assert request(headers).header(b"origin") == ""


@given(st.binary(max_size=40))
@hostile
def test_any_bytes_of_a_header_can_be_read(value):
    assert request([(b"origin", value)]).header(b"origin") == value.decode("latin-1").strip()


def test_a_response_has_headers_of_its_own():
    Response(200).headers.append(("X", "y"))
    assert Response(200).headers == []


@hostile
@given(
    claims=st.dictionaries(st.text(max_size=10), json_values, max_size=4),
    access=token,
    refresh=token | st.none(),
    id_token=token | st.none(),
    scope=st.lists(token, max_size=4).map(tuple),
    expires_at=finite,
    generation=st.integers(0, 10**6),
)
def test_a_session_is_read_as_it_was_written(claims, access, refresh, id_token, scope, expires_at, generation):
    tokens = TokenSet(access, expires_at, 3600.0, scope, refresh, id_token)
    session = Session("id", generation, 1.5, 99, tokens, claims)
    read = Session.load(session.dump(), 99)
    assert repr_of(read) == repr_of(session)  # `repr`, since NaN is not itself


def repr_of(session: Session) -> str:
    return repr([getattr(session, name) for name in ("id", "generation", "began", "seen", "claims")]) + repr(
        [getattr(session.tokens, name) for name in TokenSet.__slots__]
    )


def test_a_name_that_was_cut_in_the_middle_of_a_character_can_be_kept():
    """JSON may hold half a surrogate pair (RFC 8259, 8.2), and a server that cuts names makes them."""
    session = Session("id", 0, 1.0, 1, TOKENS, {"sub": "person-1", "name": "A\ud83d"})
    assert Session.load(session.dump(), 1).claims["sub"] == "person-1"


def test_when_a_session_was_seen_is_not_written_but_given():
    assert Session.load(SESSION.dump(), 77).seen == 77
    assert b"seen" not in SESSION.dump()


VERSION_1 = (
    b'{"id":"i","gen":3,"began":1.5,"access":"at","refresh":null,"expires":7.5,"life":3600.0,"scope":"openid a",'
    b'"idt":"t","claims":{"sub":"s"},"nonce":"n"%b}'
)


@pytest.mark.parametrize(("more", "auth_time"), [(b"", None), (b',"auth":5.0', 5.0)])
def test_what_version_1_wrote_is_read(more, auth_time):
    tokens = TokenSet("at", 7.5, 3600.0, ("openid", "a"), None, "t")
    session = Session("i", 3, 1.5, 99, tokens, {"sub": "s"}, "n", auth_time)
    assert Session.load(VERSION_1 % more, 99) == session == Session.load(session.dump(), 99)


def test_what_was_written_before_limits_were_kept_is_read():
    written = json.dumps(json.loads(SESSION.dump())[:12]).encode()
    read = Session.load(written, 20.0)
    assert (read, read.lasts, read.idle) == (SESSION, None, None)
    told = dataclasses.replace(SESSION, lasts=604800.0, idle=86400.0)
    read = Session.load(told.dump(), 20.0)
    assert (read, read.lasts, read.idle) == (SESSION, 604800.0, 86400.0)


NO_SESSIONS = [
    *(b"", b"{", b"{}", b'{"id": "x"}', b"\xff", b"[]", b'["id", 0, 1.5]', b"[] []", b"1", b"null", b'"abcdefghijkl"'),
    *(json.dumps([*range(12)]).encode(), json.dumps([*json.loads(SESSION.dump()), 1]).encode(), b"[" * 100_000),
]


@pytest.mark.parametrize("data", NO_SESSIONS, ids=lambda data: repr(data[:20]))
def test_what_is_no_session_is_said_to_be_none(data):
    with pytest.raises(ValueError, match=r"."):
        Session.load(data, 0)


@hostile
@given(
    words=st.lists(st.text(max_size=30), min_size=5, max_size=5),
    extra=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
    again=st.integers(0, 9),
)
def test_an_errand_is_read_as_it_was_written(words, extra, again):
    return_to, scope, needed, asked_by, host = words
    errand = Errand(return_to, scope, needed, asked_by, extra, again, host)
    read = Errand.load(errand.dump(), 17)
    assert (read, read.began) == (errand, 17)


@pytest.mark.parametrize(
    ("ago", "expected"),
    [(-7200, False), (-61, False), (-60, True), (0, True), (360, True), (361, False), (7200, False)],
)
@pytest.mark.parametrize("auth_time", [None, 1000.0])
def test_somebody_proved_who_they_are_lately_and_not_at_a_time_that_lies_ahead(ago, expected, auth_time):
    began = 1000.0 if auth_time is None else 0.0
    session = dataclasses.replace(SESSION, began=began, auth_time=auth_time)
    assert session.is_recent(300, 1000.0 + ago) is expected


# --- what shows -----------------------------------------------------------------------------------------

SHOWN = {
    "model.Request": {"method", "path", "raw_path", "mount", "root_path", "websocket", "peer"},
    "model.Response": {"status", "reason", "reference"},
    "model.TokenSet": {"expires_at", "lifetime", "scope"},
    "model.Session": {"generation", "began", "seen", "tokens", "auth_time", "lasts", "idle"},
    "model.Wanted": {"scope", "max_age", "grant"},
    "model.Errand": {"scope", "needed", "asked_by", "again", "host", "grant", "began"},
    "model.Transaction": {"errand"},
    "ports.Answer": {"status", "media_type", "retry_after"},
    "ports.Glance": {"get", "suffix"},
    "protocol.signatures.SignedToken": {"header"},
    "sessions.grants.Listed": {"name", "workspace", "connected_at"},
    "site.people.SignedIn": {"name", "began"},
    "sessions.records.Record": {"session"},
    "sessions.opened.Carried": {"session", "stale", "until", "seen"},
    "sessions.opened.Opened": {"session", "newest_key", "size", "settled"},
    "sessions.sealing.Unsealed": {"sealed_at", "newest_key"},
    "protocol.span.Span": {"began", "seconds"},
    "sessions.pauses.Pause": {"number", "seconds", "until"},
    "sessions.index.Entry": {"began", "has_sid"},
    "site.access.Rule": {"public", "optional", "scope", "max_age"},
    "site.access.Ruling": {"by", "readings", "rule"},
    "site.holding.Asked": {"rules", "seconds"},
    "site.holding.Outcome": {"rule", "session", "until", "cookies"},
    "site.verify.Question": {"request", "known", "marked", "redirects", "answers", "scope", "yes", "hold"},
    "site.api_proxy.Head": {"status"},
    "site.api_proxy.ApiCall": {"method", "path"},
    "look.Look": {"app_name", "app_url", "accent", "logo"},
    "look.Page": set(),
    "site.pages.Draft": set(),
}
"""The fields that a value's `repr` may show: none that could hold a token, a code, a cookie, a query or a claim. The
values among them (`session`, `request`, …) are in this list themselves."""

OPEN = ("config", "authorization_server", "reasons", "events")
"""Modules whose values are meant to be read: settings, which have a test of their own, and words for the log."""


def _values() -> Iterator[tuple[str, type[Any]]]:
    """Every class of values below the I/O line."""
    for name in CORE:
        module = import_module(f"lumin_middleware.{name}")
        for found in vars(module).values():
            if not isinstance(found, type) or found.__module__ != module.__name__ or name in OPEN:
                continue
            if dataclasses.is_dataclass(found) or hasattr(found, "_fields"):
                yield f"{name}.{found.__name__}", found


def _of_canaries(kind: type[Any]) -> tuple[Any, set[str]]:
    """A value whose every field is a canary of its own, whatever it should be; and the fields."""
    if not dataclasses.is_dataclass(kind):
        return kind(*(f"canary<{name}>" for name in kind._fields)), set(kind._fields)  # type: ignore[attr-defined]
    value, names = object.__new__(kind), {each.name for each in dataclasses.fields(kind)}
    for name in names:
        object.__setattr__(value, name, f"canary<{name}>")
    return value, names


@pytest.mark.parametrize(("name", "kind"), list(_values()), ids=lambda each: each if isinstance(each, str) else "")
def test_no_value_shows_a_secret(name, kind):
    value, names = _of_canaries(kind)
    for show in (repr, str, ascii, "{}".format, lambda value: repr([value]), lambda value: repr({"x": value})):
        shown = {each for each in names if f"canary<{each}>" in show(value)}
        assert shown <= SHOWN.get(name, set()), name


def test_the_list_of_what_shows_is_of_values_that_there_are():
    assert SHOWN.keys() <= {name for name, _ in _values()}


def test_a_code_does_not_show_itself():
    assert repr(AuthorizationCode("c0de", TRANSACTION, checked=_CHECKED)) == "AuthorizationCode(…)"


def test_what_undoes_an_answer_is_not_shown():
    async def undo() -> None: ...

    assert "undo" not in repr(Response(303, undo=undo))


@pytest.mark.parametrize("checked", [None, True, object()])
def test_a_code_cannot_be_made_up(checked):
    with pytest.raises(TypeError):
        AuthorizationCode("code", TRANSACTION, checked=checked)


def test_a_code_is_made_by_the_check_of_the_answer():
    assert oauth._CHECKED is _CHECKED
    code = AuthorizationCode("c0de", TRANSACTION, checked=_CHECKED)
    assert (code.code, code.transaction) == ("c0de", TRANSACTION)


def test_values_do_not_change():
    with pytest.raises(AttributeError):
        TRANSACTION.errand = "more"


def test_the_type_checker_lets_nobody_change_what_each_request_reads():
    said = model.unchanging.__dataclass_transform__
    assert (said["kwargs"] | said)["frozen_default"]  # a word that Python 3.11 does not know yet


@hostile
@given(any_text)
def test_a_request_shows_itself_whatever_it_holds(path):
    assert repr(Request("GET", path, path, path, []))
