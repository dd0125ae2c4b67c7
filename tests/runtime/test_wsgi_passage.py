"""What of an environ an application gets; the rest of a passage is held by the WSGI edge's tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lumin_middleware.runtime import wsgi_passage
from lumin_middleware.runtime.wsgi_passage import WsgiPassage

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

    nobody: Any = SimpleNamespace(cookie=b"", session=None, failed=None, writes=False)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_ACCEPT": "*/*", **more}
    WsgiPassage(nobody, None, environ, lambda *_: lambda data: None).run(app)
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
        assert len(nothing_known) <= wsgi_passage.NAMES_LIMIT + 2  # it forgets before it learns what came
    long = "HTTP_" + "X" * wsgi_passage.NAME_LENGTH
    assert seen(**{long: "1"})[long] == "1"
    assert long not in nothing_known
