"""What tests can do to the emulator, and see of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.emulator.party import POST, VERIFIER, ok, refused

pytestmark = pytest.mark.anyio


async def test_every_grant_can_be_killed(party):
    tokens, code = await party.tokens(), party.code()
    party.emulator.revoke_all()
    assert not await party.alive(tokens)
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert refused(await party.redeem(code)) == (400, "invalid_grant")


async def test_access_tokens_can_be_expired_while_refresh_tokens_live(party):
    tokens = await party.tokens()
    party.emulator.expire_access_tokens()
    assert not await party.alive(tokens)
    assert (await party.api(tokens["access_token"], path="/userinfo")).status_code == 401
    assert await party.alive(ok(await party.refresh(tokens["refresh_token"])))


async def test_grants_can_be_inspected(party):
    await party.tokens(scope="openid")
    assert len(party.emulator.grants) == 1
    (grant,) = party.emulator.grants
    assert (grant.client_id, grant.scope, grant.revoked) == ("post", ("openid",), False)
    assert [token.kind for token in grant.tokens] == ["access_token"]


async def test_every_request_is_recorded(party):
    code = party.code()
    await party.redeem(code)
    await party.http.get("/v1/user/info?a=1&a=2&b=")
    (call,) = party.emulator.calls_to("/oauth2/token")
    assert (call.method, call.status, call.form["code"]) == ("POST", 200, [code])
    assert call.form["client_secret"] == [POST.client_secret]
    last = party.emulator.calls[-1]
    assert (last.path, last.query, last.status) == ("/v1/user/info", {"a": ["1", "2"], "b": [""]}, 401)
    assert last.headers["host"] == "emulator.test:4444"


async def test_only_the_latest_calls_are_kept(party, monkeypatch):
    monkeypatch.setattr("lumin_middleware.emulator.calls.MOST_CALLS", 2)
    for path in ("/a", "/b", "/c"):
        await party.http.get(path)
    assert [call.path for call in party.emulator.calls] == ["/b", "/c"]


async def test_half_a_form_is_not_acted_upon(party):
    code = party.code()
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": POST.redirect_uris[0]}
    body = urlencode(form | party.credentials()["data"] | {"code_verifier": VERIFIER}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "path": "/oauth2/token", "query_string": b"", "headers": headers}
    await party.emulator.app(scope, receive, send)
    assert not sent
    ok(await party.redeem(code))
