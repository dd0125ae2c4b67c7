"""What of an environ an application gets; the rest of a passage is held by the WSGI edge's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lumin_middleware.runtime import wsgi_passage
from lumin_middleware.runtime.wsgi_passage import WsgiPassage

NOBODY: Any = SimpleNamespace(cookie=b"", session=None, failed=None, writes=False)

FORGED = "HTTP_X_AUTH_REQUEST_USER"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """No name was looked at yet."""
    known: set[str] = set()
    monkeypatch.setattr(wsgi_passage, "_harmless", known)
    return known


def seen(**more: str) -> dict[str, Any]:
    """What the application gets of such a request."""
    got: list[dict[str, Any]] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        got.append({**environ})
        return []

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_ACCEPT": "*/*", **more}
    WsgiPassage(NOBODY, None, environ, lambda *_: lambda data: None).run(app)
    return got[0]


def test_who_somebody_is_nobody_else_says_however_often_the_other_names_came():
    for _ in range(3):
        assert "HTTP_ACCEPT" in seen()
        assert not {name for name in seen(**{FORGED: "mira", f"{FORGED}_2": "mira"}) if name.startswith(FORGED)}


def test_a_name_that_was_looked_at_is_looked_at_once(nothing_known, monkeypatch):
    seen()
    monkeypatch.setattr(wsgi_passage, "_identity_headers", lambda names: pytest.fail("looked at again"))
    assert seen()["HTTP_ACCEPT"] == "*/*"


def test_names_that_somebody_makes_up_are_not_kept_for_ever(nothing_known):
    for number in range(wsgi_passage.NAMES_LIMIT + 10):
        seen(**{f"HTTP_X_{number}": "1"})
        assert len(nothing_known) <= wsgi_passage.NAMES_LIMIT
    long = "HTTP_" + "X" * wsgi_passage.NAME_LENGTH
    assert seen(**{long: "1"})[long] == "1"
    assert long not in nothing_known


def test_one_request_has_only_so_many_names_kept(nothing_known):
    seen(**{f"HTTP_X_{number}": "1" for number in range(3 * wsgi_passage.NAMES_LIMIT)})
    assert len(nothing_known) <= wsgi_passage.NAMES_LIMIT


def replaced(environ: Any, start_response: Any) -> list[bytes]:
    environ["a"] = 1
    start_response("200 OK", [])
    environ["b"] = 2
    environ["a"] = environ.pop("a")
    return [b""]


def started_twice(environ: Any, start_response: Any) -> list[bytes]:
    environ["a"] = "first"
    start_response("200 OK", [])
    environ["a"] = "second"
    try:
        raise KeyError
    except KeyError:
        start_response("500 Internal Server Error", [], sys.exc_info())
    return [b""]


def let_go(environ: Any, start_response: Any) -> Iterator[bytes]:
    environ["a"] = 1
    start_response("200 OK", [])
    yield b""
    del environ["a"]


@pytest.mark.parametrize(
    ("app", "by_each_start", "in_the_end"),
    [
        (replaced, [{"a": 1}], {"a": 1, "b": 2}),
        (started_twice, [{"a": "first"}, {"a": "second"}], {"a": "second"}),
        (let_go, [{"a": 1}], {"a": None}),
    ],
)
def test_what_an_application_has_found_is_there_at_each_start_and_in_the_end(app, by_each_start, in_the_end):
    looks: list[dict[str, Any]] = []
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}

    def found() -> dict[str, Any]:
        return {name: environ[name] for name in ("a", "b") if name in environ}

    passage = WsgiPassage(NOBODY, None, environ, lambda *_: looks.append(found()))
    result: Any = passage.run(app)
    assert [*result] == [b""]
    getattr(result, "close", lambda: None)()
    assert (looks, found()) == (by_each_start, in_the_end)


class Whole(list[bytes]):
    """A result that has its length, and something to close."""

    def close(self) -> None: ...


@pytest.mark.parametrize("result", [[b"here"], (b"here",), Whole([b"here"])])
def test_a_result_that_is_whole_goes_to_the_server_as_it_is(result):
    """Which makes a length of it."""
    assert WsgiPassage(NOBODY, None, {}, lambda *_: None).run(lambda environ, start_response: result) is result
