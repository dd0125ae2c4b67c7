"""Each error says whose fault it is, what to answer, and nothing that it should not."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator

import pytest

from lumin_middleware import errors
from lumin_middleware.errors import (
    AuthorizationServerError,
    ClientMisused,
    ConfigurationError,
    InsufficientScope,
    LoginRequired,
    LuminError,
    NotConnected,
    OAuthError,
    Refused,
    RequestRefused,
    ServerUnavailable,
    SessionEnded,
    StoreUnavailable,
    to_be_answered,
)
from lumin_middleware.protocol import breaker, identity, kept, metadata, signatures
from lumin_middleware.sessions import pauses, sealing
from lumin_middleware.site import set_up, sign_in

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
    (NotConnected("nothing", "https://x.example"), 403, "not_connected", "nothing; connect at https://x.example"),
    (Refused("Not on Sundays."), 403, "not_admitted", "Not on Sundays."),
]


@pytest.mark.parametrize(("error", "status", "reason", "text"), MADE, ids=[type(row[0]).__name__ for row in MADE])
def test_an_error_says_what_to_answer_and_why(error, status, reason, text):
    assert (error.status_hint, error.reason, str(error)) == (status, reason, text)


OF_OTHER_MODULES = [
    sealing.KeyMissing("a list", "give it up"),
    pauses.InPause(3.0),
    breaker.CircuitOpen(5),
    identity.AnotherIdentity("no", "bad_id_token"),
    identity.AnotherIssuer("one", "other"),
    kept.TooEarly("not yet"),
    metadata.NotPublished("none", sent=True),
    set_up.NotSetUp(OAuthError("invalid_client", "unknown")),
    sign_in.Overtaken(),
    signatures.BadSignature("no", "bad_id_token"),
    signatures.UnknownKey("no", "bad_id_token"),
]


class Own(LuminError):
    """An application's, which takes what it likes."""

    def __init__(self, one: int, *, other: int) -> None:
        super().__init__(f"{one} and {other}")
        self.one, self.other = one, other


class Both(LoginRequired, OSError):
    """Of ours, and of Python's that has a beginning of its own."""


SENT = [
    *(error for error, *_ in MADE),
    *OF_OTHER_MODULES,
    LuminError("root"),
    ConfigurationError.of([("scope", "is missing"), ("store", "is no URL")]),
    RequestRefused("not_admitted", "No.", status=403),
    ServerUnavailable("late", retry_after=7, said=9, sent=False),
    Own(1, other=2),
    Both("no"),
]


@pytest.mark.parametrize("error", SENT, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_in_another_process_and_in_its_copies(error):
    """A process pool hands on what a worker raised, and waits for ever for what it cannot read."""
    error.add_note("of the worker")
    pickled = [pickle.dumps(error, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for made in [*map(pickle.loads, pickled), copy.copy(error), copy.deepcopy(error)]:
        assert (type(made), str(made), made.args) == (type(error), str(error), error.args)
        assert (made.reason, made.status_hint) == (error.reason, error.status_hint)
        assert comparable(made) == comparable(error)


def comparable(error: LuminError) -> dict[str, object]:
    """What it holds; an error in it by its words."""
    return {name: repr(value) for name, value in vars(error).items()}


def descendants(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from descendants(each)


def test_every_error_of_ours_is_among_those():
    ours = {each for each in descendants(LuminError) if each.__module__.startswith("lumin_middleware")}
    assert ours <= {type(error) for error in SENT}


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
