"""Each error says whose fault it is, what to answer, and nothing that it should not."""

from __future__ import annotations

import re

import pytest

from lumin_middleware import errors
from lumin_middleware.errors import (
    AuthorizationServerError,
    ClientMisused,
    ConfigurationError,
    InsufficientScope,
    LoginRequired,
    LuminError,
    OAuthError,
    RequestRefused,
    ServerUnavailable,
    SessionEnded,
    StoreUnavailable,
    to_be_answered,
)
from lumin_middleware.protocol import signatures

MADE = [
    (ConfigurationError("scope", "is missing"), 500, "configuration", "scope: is missing"),
    (LoginRequired("nobody"), 401, "no_session", "nobody"),
    (SessionEnded("over"), 401, "ended", "over"),
    (SessionEnded("over", "expired"), 401, "expired", "over"),
    (InsufficientScope("templates"), 403, "insufficient_scope", "this needs the scope 'templates'"),
    (RequestRefused("bad_path", "A trick."), 400, "bad_path", "A trick."),
    (ClientMisused("not there"), 500, "client_misused", "not there"),
    (AuthorizationServerError("what?"), 502, "server_error", "what?"),
    (AuthorizationServerError("what?", "bad_id_token"), 502, "bad_id_token", "what?"),
    (OAuthError("invalid_grant", "used"), 502, "invalid_grant", "invalid_grant: used"),
    (OAuthError("invalid_grant"), 502, "invalid_grant", "invalid_grant"),
    (ServerUnavailable("late"), 503, "server_unavailable", "late"),
    (StoreUnavailable("gone"), 503, "store_unavailable", "gone"),
]


@pytest.mark.parametrize(("error", "status", "reason", "text"), MADE, ids=[type(row[0]).__name__ for row in MADE])
def test_an_error_says_what_to_answer_and_why(error, status, reason, text):
    assert (error.status_hint, error.reason, str(error)) == (status, reason, text)


ONE, OTHER, FAULT = LoginRequired("one"), StoreUnavailable("other"), ClientMisused("a mistake")


@pytest.mark.parametrize(
    ("error", "answered"),
    [
        (ONE, ONE),
        (OTHER, OTHER),
        (FAULT, None),
        (None, None),
        (ZeroDivisionError(), None),
        (ExceptionGroup("", [ONE, OTHER]), ONE),
        (ExceptionGroup("", [ExceptionGroup("", [OTHER]), ONE]), OTHER),
        (ExceptionGroup("", [ONE, FAULT]), None),
        (ExceptionGroup("", [ONE, ExceptionGroup("", [ValueError()])]), None),
        (BaseExceptionGroup("", [ONE, KeyboardInterrupt()]), None),
    ],
)
def test_what_the_middleware_answers_where_an_application_lets_it_through(error, answered):
    assert to_be_answered(error) is answered


def drawn_tree() -> dict[str, tuple[str, int | None]]:
    """The tree in the module's docstring: each error, its parent, and its status."""
    found: dict[str, tuple[str, int | None]] = {}
    parents = {0: "LuminError"}
    for line in (errors.__doc__ or "").splitlines():
        if drawn := re.fullmatch(r"    ((?:│   |    )*)[├└]── (\w+) .*?(\d{3})?", line):
            depth = len(drawn[1]) // 4 + 1
            parents[depth] = drawn[2]
            found[drawn[2]] = parents[depth - 1], int(drawn[3]) if drawn[3] else None
    return found


def test_the_tree_is_as_it_is_drawn():
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, LuminError) and value is not LuminError
    }
    drawn = drawn_tree()
    assert drawn.keys() == classes.keys()
    for name, (parent, status) in drawn.items():
        assert classes[name].__bases__ == (getattr(errors, parent),)
        assert classes[name].status_hint == (status or 500), name


def test_the_errors_of_other_modules_are_in_the_tree():
    assert issubclass(signatures.UnknownKey, AuthorizationServerError)


def test_what_an_error_holds_besides():
    assert ConfigurationError("scope", "x").field == "scope"
    assert InsufficientScope("a b").scope == "a b"
    assert (OAuthError("e", "d").error, OAuthError("e", "d").error_description) == ("e", "d")
    assert (RequestRefused("r", "m").status, RequestRefused("r", "m", status=403).status) == (400, 403)
    assert (ServerUnavailable("m").retry_after, ServerUnavailable("m", retry_after=7).retry_after) == (30.0, 7)


def test_one_except_catches_them_all():
    assert all(isinstance(error, LuminError) for error, *_ in MADE)
    assert isinstance(SessionEnded("x"), LoginRequired)
    assert not isinstance(StoreUnavailable("x"), AuthorizationServerError)
