"""ID tokens and keys are Hydra's, and can be wrong where a test wants it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from tests.emulator.party import BASE, POST, Party, ok

pytestmark = pytest.mark.anyio


async def test_an_id_token_holds_hydras_claims(party):
    tokens = await party.tokens()
    claims = await party.claims(tokens["id_token"])
    now, user = int(party.clock.now), next(iter(party.emulator.users.values()))
    half = base64.urlsafe_b64encode(hashlib.sha256(tokens["access_token"].encode()).digest()[:16]).decode()
    assert {name: claims[name] for name in claims if name not in ("sid", "jti")} == {
        "iss": BASE,
        "sub": user.sub,
        "aud": ["post"],
        "iat": now,
        "exp": now + 3600,
        "rat": now,
        "auth_time": now,
        "nonce": "nonce-of-eight",
        "at_hash": half.rstrip("="),
        "email": user.email,
        "email_verified": True,
        "name": user.name,
    }
    assert claims["sid"]
    assert claims["jti"]


async def test_without_a_nonce_the_id_token_has_none(party):
    assert "nonce" not in await party.claims((await party.tokens(nonce=None))["id_token"])


async def test_a_refreshed_id_token_belongs_to_the_same_sign_in(party):
    tokens = await party.tokens()
    before = await party.claims(tokens["id_token"])
    party.clock.now += 100
    after = await party.claims(ok(await party.refresh(tokens["refresh_token"]))["id_token"])
    for same in ("sub", "sid", "auth_time", "nonce", "iss", "aud"):
        assert after[same] == before[same]
    for other in ("iat", "exp", "jti", "at_hash"):
        assert after[other] != before[other]


async def test_a_rotated_key_signs_and_the_old_one_stays_published(party):
    old = (await party.tokens())["id_token"]
    party.emulator.rotate_keys()
    new = (await party.tokens())["id_token"]
    assert (await party.claims(old))["sub"] == (await party.claims(new))["sub"]
    assert len((await party.http.get("/.well-known/jwks.json")).json()["keys"]) == 3


async def test_a_refreshed_id_token_is_signed_by_the_new_key_under_the_old_name(party):
    old = await party.tokens()
    code = party.code()
    party.emulator.rotate_keys()
    keys = (await party.http.get("/.well-known/jwks.json")).json()["keys"]
    for tokens in (ok(await party.refresh(old["refresh_token"])), ok(await party.redeem(code))):
        with pytest.raises(JoseError):
            await party.claims(tokens["id_token"])
        assert tokens["id_token"].partition(".")[0] == old["id_token"].partition(".")[0]
        newest = RSAKey.import_key({name: value for name, value in keys[0].items() if name != "kid"})
        assert jwt.decode(tokens["id_token"], newest, algorithms=["RS256"]).claims["sub"]


async def test_access_tokens_can_be_jwts_that_look_like_id_tokens():
    party = Party(access_token_strategy="jwt")
    tokens = await party.tokens()
    assert await party.alive(tokens)
    claims = await party.claims(tokens["access_token"])
    assert (claims["aud"], claims["client_id"], claims["scp"]) == ([], "post", POST.scope.split())
    assert "nonce" not in claims
    header = json.loads(base64.urlsafe_b64decode(tokens["access_token"].split(".")[0] + "=="))
    assert header["typ"] == "JWT"
    new = ok(await party.refresh(tokens["refresh_token"]))
    assert not await party.alive(tokens)
    assert await party.alive(new)


async def test_an_old_key_can_be_dropped(party):
    old = (await party.tokens())["id_token"]
    party.emulator.rotate_keys(keep=False)
    with pytest.raises(JoseError, match="kid"):
        await party.claims(old)


@pytest.mark.usefixtures("long_keys")
async def test_the_keys_are_published_without_their_private_part(party):
    keys = (await party.http.get("/.well-known/jwks.json")).json()["keys"]
    assert len(keys) == 2  # for ID tokens and for JWT access tokens
    for key in keys:
        assert set(key) == {"kty", "kid", "use", "alg", "n", "e"}
        assert len(base64.urlsafe_b64decode(key["n"] + "==")) == 512


async def test_more_keys_than_lie_ready_are_made(party):
    for _ in range(6):
        party.emulator.rotate_keys()
    keys = (await party.http.get("/.well-known/jwks.json")).json()["keys"]
    assert len({key["n"] for key in keys}) == 8


async def test_a_client_can_have_another_algorithm(party):
    party.emulator.clients["post"] = replace(POST, id_token_signed_response_alg="ES256")
    assert await party.claims((await party.tokens())["id_token"])


async def test_a_forged_id_token_replaces_the_real_one(party):
    assert party.emulator.forge_id_token is None
    party.emulator.forge_id_token = lambda header, claims, key: f"{header['alg']}.{claims['sub']}.{key.kid}"
    alg, sub, kid = (await party.tokens())["id_token"].split(".")
    published = (await party.http.get("/.well-known/jwks.json")).json()["keys"]
    assert (alg, kid) == ("RS256", published[0]["kid"])
    assert sub in party.emulator.users


async def test_a_wrong_clock_shows_in_what_is_issued_and_nowhere_else(party):
    assert party.emulator.clock_skew == 0.0
    party.emulator.clock_skew = -3600.0
    response = await party.redeem(party.code())
    claims = await party.claims(ok(response)["id_token"])
    assert claims["iat"] == claims["auth_time"] == int(party.clock.now) - 3600
    assert claims["exp"] == int(party.clock.now)
    assert response.headers["date"] == "Mon, 21 Sep 2026 13:13:20 GMT"
    assert await party.alive(ok(response))
