"""The token endpoint answers as Ory Hydra does: codes and refresh tokens."""

from __future__ import annotations

import base64
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from tests.emulator.party import BASIC, POST, PUBLIC, VERIFIER, Party, basic, ok, refused

pytestmark = pytest.mark.anyio


async def test_a_token_response_looks_like_hydras(party):
    response = await party.redeem(party.code())
    tokens = ok(response)
    assert response.headers["content-type"] == "application/json;charset=UTF-8"
    assert response.headers["cache-control"] == "no-store"
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 3600
    assert tokens["scope"] == POST.scope
    for kind, prefix in (("access_token", "ory_at_"), ("refresh_token", "ory_rt_")):
        assert tokens[kind].startswith(prefix)
        assert len(tokens[kind]) == 94
    assert set(tokens) == {"access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"}


async def test_without_offline_access_there_is_no_refresh_token(party):
    assert "refresh_token" not in await party.tokens(scope="openid")


async def test_without_openid_there_is_no_id_token(party):
    assert "id_token" not in await party.tokens(scope="offline_access")


async def test_id_tokens_can_be_left_out_as_lumin_documents_it():
    assert "id_token" not in await Party(id_token=False).tokens()


async def test_access_tokens_can_be_long():
    party = Party(access_token_length=6000)
    tokens = await party.tokens()
    assert (len(tokens["access_token"]), len(tokens["refresh_token"])) == (6000, 94)
    assert await party.alive(tokens)


async def test_a_weak_nonce_fails_only_when_the_code_is_redeemed(party):
    code = party.code(nonce="seven77")
    assert refused(await party.redeem(code)) == (400, "insufficient_entropy")
    assert refused(await party.redeem(code)) == (400, "invalid_grant")
    ok(await party.redeem(party.code(nonce="seven77", scope="sign:requests")))  # no openid, no ID token, no check


@pytest.mark.parametrize("client", [POST, BASIC, PUBLIC], ids=lambda client: client.client_id)
async def test_each_client_authenticates_with_its_own_method(client):
    party = Party(client)
    assert await party.alive(await party.tokens())


@pytest.mark.parametrize(
    ("client", "headers", "form"),
    [
        (POST, {}, {"client_id": "post", "client_secret": "wrong"}),
        (POST, {}, {"client_id": "post"}),
        (POST, {}, {"client_id": "nobody", "client_secret": POST.client_secret}),
        (POST, {"Authorization": basic("post", POST.client_secret)}, {}),
        (
            POST,
            {"Authorization": basic("post", POST.client_secret)},
            {"client_id": "post", "client_secret": POST.client_secret},
        ),
        (BASIC, {}, {"client_id": BASIC.client_id, "client_secret": BASIC.client_secret}),
        (BASIC, {"Authorization": basic(BASIC.client_id, "wrong")}, {}),
        (PUBLIC, {}, {"client_id": "public", "client_secret": "any"}),
    ],
)
async def test_any_other_client_authentication_is_invalid_client(client, headers, form):
    party = Party(client)
    grant = {"grant_type": "authorization_code", "code": party.code(), "redirect_uri": client.redirect_uris[0]}
    response = await party.http.post("/oauth2/token", headers=headers, data=grant | form)
    assert refused(response) == (401, "invalid_client")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Basic !"}, {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()}],
)
async def test_no_client_at_all_is_an_invalid_request(party, headers):
    for path, form in (("/oauth2/token", {"grant_type": "refresh_token"}), ("/oauth2/revoke", {"token": "any"})):
        assert refused(await party.http.post(path, headers=headers, data=form)) == (400, "invalid_request")


async def test_a_secret_that_was_not_encoded_first_is_another_secret():
    raw = base64.b64encode(f"{BASIC.client_id}:p+a".encode()).decode()
    response = await Party(BASIC).http.post(
        "/oauth2/token", headers={"Authorization": f"Basic {raw}"}, data={"grant_type": "refresh_token"}
    )
    assert refused(response) == (400, "invalid_request")  # the lone % of the client id


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"code": "ory_ac_unknown"}, (400, "invalid_grant")),
        ({"code": None}, (400, "invalid_grant")),
        ({"redirect_uri": "https://app.example/other"}, (400, "invalid_grant")),
        ({"redirect_uri": None}, (400, "invalid_grant")),
        ({"grant_type": "password"}, (400, "invalid_request")),
        ({"grant_type": None}, (400, "invalid_request")),
        ({"grant_type": "client_credentials"}, (400, "unauthorized_client")),
    ],
)
async def test_a_wrong_redemption_is_refused_and_leaves_the_code_alone(party, changes, answer):
    code = party.code()
    assert refused(await party.redeem(code, **changes)) == answer
    ok(await party.redeem(code))


@pytest.mark.parametrize("verifier", [None, "", "w" * 43, "v" * 42, "v" * 129, "ø" * 43])
async def test_a_wrong_verifier_uses_up_the_proof(party, verifier):
    code = party.code()
    assert refused(await party.redeem(code, code_verifier=verifier)) == (400, "invalid_grant")
    assert refused(await party.redeem(code)) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 0


async def test_a_verifier_without_a_challenge_is_refused(party):
    code = party.code(code_challenge=None, code_challenge_method=None)
    assert refused(await party.redeem(code)) == (400, "invalid_grant")
    ok(await party.redeem(code, code_verifier=None))


async def test_a_code_is_bound_to_its_client(party):
    code = party.code()
    party.client = BASIC
    assert refused(await party.redeem(code)) == (400, "invalid_grant")


async def test_a_code_expires(party):
    code = party.code()
    party.clock.now += 600
    assert refused(await party.redeem(code)) == (400, "invalid_grant")


@pytest.mark.parametrize("name", ["code", "client_secret", "grant_type", "anything"])
async def test_a_parameter_twice_is_refused(party, name):
    form = [
        ("grant_type", "authorization_code"),
        ("code", party.code()),
        ("redirect_uri", POST.redirect_uris[0]),
        ("code_verifier", VERIFIER),
        ("client_id", "post"),
        ("client_secret", POST.client_secret),
        ("anything", "1"),
    ]
    body = urlencode([*form, (name, dict(form)[name])])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await party.http.post("/oauth2/token", content=body, headers=headers)
    assert refused(response) == (400, "invalid_request")


async def test_a_token_request_must_be_a_form(party):
    response = await party.http.post("/oauth2/token", json={"grant_type": "authorization_code"})
    assert refused(response) == (400, "invalid_request")


async def test_a_code_that_comes_twice_takes_its_tokens_with_it(party):
    code = party.code()
    tokens = ok(await party.redeem(code))
    assert party.emulator.reuse_events == 0
    response = await party.redeem(code)
    assert refused(response) == (400, "invalid_grant")
    assert "already been used" in response.json()["error_description"]
    assert party.emulator.reuse_events == 1
    assert not await party.alive(tokens)
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


# Refreshing


async def test_a_refresh_rotates_both_tokens_and_kills_the_old_ones_at_once(party):
    old = await party.tokens()
    new = ok(await party.refresh(old["refresh_token"]))
    assert new["refresh_token"] != old["refresh_token"]
    assert not await party.alive(old)
    assert await party.alive(new)
    assert set(new) == set(old)


async def test_a_spent_refresh_token_revokes_the_chain(party):
    old = await party.tokens()
    new = ok(await party.refresh(old["refresh_token"]))
    response = await party.refresh(old["refresh_token"])
    assert refused(response) == (400, "invalid_grant")
    assert response.json()["error_description"].endswith("The refresh token was already used.")
    assert party.emulator.reuse_events == 1
    assert not await party.alive(new)
    assert refused(await party.refresh(new["refresh_token"])) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 1  # that one was never used, only revoked


async def test_a_chain_of_one_sign_in_leaves_other_sign_ins_alone(party):
    one, other = await party.tokens(), await party.tokens()
    ok(await party.refresh(one["refresh_token"]))
    await party.refresh(one["refresh_token"])
    assert await party.alive(other)


async def test_scope_is_ignored_when_refreshing(party):
    tokens = await party.tokens()
    assert ok(await party.refresh(tokens["refresh_token"], scope="openid"))["scope"] == POST.scope


async def test_a_scope_that_the_client_lost_ends_refreshing(party):
    tokens = await party.tokens()
    party.emulator.clients["post"] = replace(POST, scope="openid offline_access")
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_scope")


@pytest.mark.parametrize("token", ["ory_rt_unknown", "", None])
async def test_an_unknown_refresh_token_is_refused(party, token):
    status, error = refused(await party.refresh(token))
    assert (status, error) == (400, "invalid_grant")


async def test_an_access_token_refreshes_nothing(party):
    tokens = await party.tokens()
    assert refused(await party.refresh(tokens["access_token"])) == (400, "invalid_grant")


async def test_a_refresh_token_is_bound_to_its_client(party):
    tokens = await party.tokens()
    party.client = BASIC
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    party.client = POST
    ok(await party.refresh(tokens["refresh_token"]))


async def test_tokens_expire_by_the_clock():
    party = Party(access_token_lifetime=60, refresh_token_lifetime=120)
    tokens = await party.tokens()
    assert tokens["expires_in"] == 60
    party.clock.now += 60
    assert not await party.alive(tokens)
    party.clock.now += 60
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 0


async def test_within_grace_each_use_gives_another_pair():
    party = Party(refresh_token_grace=10)
    old = await party.tokens()
    first = ok(await party.refresh(old["refresh_token"]))
    assert not await party.alive(old)
    party.clock.now += 9.9
    second = ok(await party.refresh(old["refresh_token"]))
    assert first["refresh_token"] != second["refresh_token"]
    assert await party.alive(first)
    assert await party.alive(second)
    assert party.emulator.reuse_events == 0


async def test_after_grace_reuse_revokes_everything():
    party = Party(refresh_token_grace=10)
    old = await party.tokens()
    new = ok(await party.refresh(old["refresh_token"]))
    party.clock.now += 10
    assert refused(await party.refresh(old["refresh_token"])) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 1
    assert not await party.alive(new)
