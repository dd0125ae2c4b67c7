"""Revocation, userinfo and metadata answer as Ory Hydra does."""

from __future__ import annotations

import pytest

from tests.emulator.party import BASE, BASIC, Party, ok, refused

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "other", None])
async def test_revoking_either_token_kills_both(party, kind, hint):
    tokens = await party.tokens()
    response = await party.post("/oauth2/revoke", token=tokens[kind], token_type_hint=hint)
    assert (response.status_code, response.content) == (200, b"")
    assert not await party.alive(tokens)
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 0


async def test_revoking_an_unknown_or_foreign_token_is_200_and_does_nothing(party):
    tokens = await party.tokens()
    assert (await party.post("/oauth2/revoke", token="unknown")).status_code == 200
    party.client = BASIC
    assert (await party.post("/oauth2/revoke", token=tokens["refresh_token"])).status_code == 200
    assert await party.alive(tokens)


@pytest.mark.parametrize("token", [None, ""])
async def test_revoking_nothing_does_nothing(party, token):
    assert (await party.post("/oauth2/revoke", token=token)).status_code == 200


async def test_revoking_a_spent_refresh_token_does_nothing(party):
    old = await party.tokens()
    new = ok(await party.refresh(old["refresh_token"]))
    assert (await party.post("/oauth2/revoke", token=old["refresh_token"])).status_code == 200
    assert await party.alive(new)
    ok(await party.refresh(new["refresh_token"]))


async def test_revocation_needs_the_client(party):
    none = await party.post("/oauth2/revoke", token="any", client_id=None, client_secret=None)
    assert refused(none) == (400, "invalid_request")
    wrong = await party.post("/oauth2/revoke", token="any", client_secret="wrong")
    assert refused(wrong) == (401, "invalid_client")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_userinfo_gives_the_claims_without_those_of_the_id_token(party, method):
    tokens = await party.tokens()
    claims = await party.claims(tokens["id_token"])
    answer = (await party.api(tokens["access_token"], method, "/userinfo")).json()
    assert answer == {
        name: value for name, value in claims.items() if name not in ("nonce", "at_hash", "c_hash", "exp", "sid", "jti")
    }


@pytest.mark.parametrize(
    ("headers", "error"),
    [({}, "request_unauthorized"), ({"Authorization": "Bearer unknown"}, "request_unauthorized")],
)
async def test_userinfo_challenges(party, headers, error):
    response = await party.http.get("/userinfo", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith(f'Bearer error="{error}",error_description="')


async def test_userinfo_says_of_a_refresh_token_that_it_is_none(party):
    response = await party.api((await party.tokens())["refresh_token"], path="/userinfo")
    assert response.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert response.json()["error"] == "error"


async def test_userinfo_takes_a_token_from_the_form_and_the_query(party):
    token = (await party.tokens(scope="sign:requests"))["access_token"]
    for response in (
        await party.http.post("/userinfo", data={"access_token": token}),
        await party.http.get("/userinfo", params={"access_token": token}),
    ):
        assert "email" in ok(response)  # whatever the scope


async def test_discovery_names_endpoints_that_are_there(party):
    assert (await party.http.get("/.well-known/oauth-authorization-server")).status_code == 404
    found = (await party.http.get("/.well-known/openid-configuration")).json()
    assert found["issuer"] == BASE
    assert "introspection_endpoint" not in found
    assert "authorization_response_iss_parameter_supported" not in found
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "revocation_endpoint"):
        assert (await party.http.get(found[name])).status_code != 404, name


async def test_the_issuer_can_differ_from_the_base():
    party = Party(issuer=f"{BASE}/")
    assert (await party.http.get("/.well-known/openid-configuration")).json()["issuer"] == f"{BASE}/"
    assert (await party.claims((await party.tokens())["id_token"]))["iss"] == f"{BASE}/"
