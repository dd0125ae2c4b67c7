"""The examples, each from the first page to the last, with the emulator behind it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lumin_middleware import LuminMiddleware
from lumin_middleware.emulator import DEMO_USERS

EXAMPLES = [Path(__file__).parent.parent / "examples" / name for name in ("fastapi_app.py", "starlette_app.py")]
HTML = {"accept": "text/html"}


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def app(request, lumin_environment):
    """The example's application, made anew: it reads its settings when it is imported."""
    spec = importlib.util.spec_from_file_location(request.param.stem, request.param)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


@pytest.fixture
def somebody(app, signed_in):
    return signed_in(app, path="/requests")


def test_anybody_sees_the_welcome_page_and_it_leads_to_the_sign_in(app, lumin_emulator):
    with TestClient(app, base_url="https://testserver", follow_redirects=False) as client:
        welcome = client.get("/", headers=HTML)
        assert welcome.status_code == 200
        assert 'href="/requests"' in welcome.text
        assert "set-cookie" not in welcome.headers
        answer = client.get("/requests", headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{lumin_emulator.base}/oauth2/auth?")


def test_nobody_sends_anything_without_a_sign_in(app, lumin_emulator):
    with TestClient(app, base_url="https://testserver") as client:
        answer = client.post("/requests", data={"title": "Lease"})
    assert (answer.status_code, answer.json()["reason"]) == (401, "no_session")
    assert lumin_emulator.calls == []


def test_the_page_shows_who_is_signed_in_by_what_the_api_says(somebody, lumin_emulator):
    page = somebody.get("/requests", headers=HTML)
    assert page.status_code == 200
    assert f"{DEMO_USERS[0].name}, {DEMO_USERS[0].email}" in page.text
    assert lumin_emulator.calls_to("/v1/user/info")


def test_what_is_sent_reaches_the_api_and_is_listed_as_it_stands_there(somebody, lumin_emulator):
    sent = somebody.post("/requests", data={"title": "Lease"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/requests")
    [found] = lumin_emulator.signature_requests.values()
    assert [signer.email_address for signer in found.signers] == [DEMO_USERS[0].email]
    assert "<li>Lease <small>need to sign</small></li>" in somebody.get("/requests").text
    found.approve()
    assert "<li>Lease <small>approved</small></li>" in somebody.get("/requests").text


def test_everybody_sees_only_what_is_theirs(app, somebody, signed_in):
    somebody.post("/requests", data={"title": "Lease"})
    other = signed_in(app, path="/requests", person=DEMO_USERS[1].sub)
    page = other.get("/requests").text
    assert DEMO_USERS[1].name in page
    assert "Lease" not in page


def test_every_word_from_outside_is_escaped(somebody):
    somebody.post("/requests", data={"title": "<script>alert('$title')</script>"})
    page = somebody.get("/requests").text
    assert "&lt;script&gt;alert(&#x27;$title&#x27;)&lt;/script&gt;" in page
    assert "<script" not in page


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"drop": "before"}])
def test_an_api_that_fails_is_told_politely(fault, somebody, lumin_emulator):
    lumin_emulator.faults.add("/v1/user/info", **fault)
    page = somebody.get("/requests", headers=HTML)
    assert page.status_code == 502
    assert "<h1>Lumin could not do this</h1>" in page.text
    assert somebody.get("/requests", headers=HTML).status_code == 200


def test_what_the_api_refuses_is_told_politely(somebody, lumin_emulator):
    page = somebody.post("/requests", data={"title": "x" * 256})
    assert page.status_code == 502
    assert "422" in page.text
    assert lumin_emulator.signature_requests == {}


def test_somebody_whom_lumin_has_signed_out_signs_in_again(somebody, lumin_emulator):
    lumin_emulator.revoke_all()
    assert somebody.post("/requests", data={"title": "Lease"}).status_code == 401
    answer = somebody.get("/requests", headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{lumin_emulator.base}/oauth2/auth?")


def test_the_one_line_around_a_whole_application_does_so_too(lumin_config, lumin_emulator, signed_in):
    async def home(request: Request) -> Response:
        return Response((await request.state.lumin.get("user/info")).content)

    somebody = signed_in(LuminMiddleware(Starlette(routes=[Route("/", home)]), lumin_config))
    assert somebody.get("/", headers=HTML).status_code == 200
    lumin_emulator.revoke_all()
    assert somebody.get("/", headers=HTML).status_code == 303


def test_the_sign_out_button_signs_out(somebody):
    assert 'action="/auth/logout"' in somebody.get("/requests").text
    out = somebody.post("/auth/logout", headers={**HTML, "sec-fetch-site": "same-origin"})
    assert (out.status_code, out.headers["location"]) == (303, "/auth/logout")
    assert somebody.get("/requests", headers=HTML).status_code == 303


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_at_most_60_lines(path):
    assert len(path.read_text().splitlines()) <= 60


def test_the_examples_differ_only_in_what_is_the_frameworks():
    def ours(path: Path) -> list[str]:
        lines = map(str.strip, path.read_text().splitlines()[1:])
        return sorted(line for line in lines if "await lumin." in line or "<" in line or "LuminConfig." in line)

    first, *others = map(ours, EXAMPLES)
    assert len(first) >= 10
    assert all(other == first for other in others)
