"""What the server says of itself: read late, once, from the right issuer, and kept while it is in trouble."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.config import AuthorizationServer
from lumin_middleware.errors import AuthorizationServerError, ServerUnavailable
from lumin_middleware.ports import Answer
from lumin_middleware.protocol.identity import UnknownKey
from lumin_middleware.protocol.metadata import (
    DISCOVERY_LIFETIME,
    KEYS_LIFETIME,
    TROUBLE_PAUSE,
    UNKNOWN_KEY_PAUSE,
    Metadata,
)
from tests.fakes import BASE, SERVER, Clock, Server, World, config, hostile, id_token, json_values, jwks, other_key

WELL_KNOWN = f"{BASE}/.well-known/openid-configuration"
JWKS = f"{BASE}/.well-known/jwks.json"
DOCUMENT = {
    "issuer": BASE,
    "authorization_endpoint": f"{BASE}/found/auth",
    "token_endpoint": f"{BASE}/found/token",
    "jwks_uri": JWKS,
    "userinfo_endpoint": f"{BASE}/found/userinfo",
    "revocation_endpoint": f"{BASE}/found/revoke",
    "end_session_endpoint": f"{BASE}/found/logout",
    "scopes_supported": ["openid"],
}


class Site:
    """Metadata with a server that answers what a test says."""

    def __init__(self, server: AuthorizationServer = AuthorizationServer.discover(BASE)) -> None:  # noqa: B008
        self.clock = Clock()
        self.server = Server(self.clock, [])
        self.world = World(None, self.server, self.clock)
        self.metadata = Metadata(server, self.world)
        self.say(WELL_KNOWN, DOCUMENT)

    def say(self, url: str, document: object, status: int = 200) -> None:
        if not isinstance(document, Exception):
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            document = Answer(status, "application/json", body)
        self.server.documents[url] = document

    def fetched(self, url: str) -> int:
        return [found for found, _ in self.server.fetched].count(url)

    async def claims(self, token: str, **expected: Any) -> Mapping[str, Any]:
        return await self.metadata.id_token_claims(token, config(), access_token="access", **expected)


@pytest.fixture
def site() -> Site:
    return Site()


TROUBLE = {
    "silence": ServerUnavailable("down"),
    "500": (b"", 500),
    "404": (b"{}", 404),
    "html": (b"<html>", 200),
    "an array": (b"[]", 200),
    "not utf-8": (b"\xff", 200),
    "deep": (b"[" * 100_000, 200),
}


def trouble(site: Site, url: str, name: str) -> None:
    found = TROUBLE[name]
    site.say(url, *(found if isinstance(found, tuple) else (found,)))


# --- discovery ---


async def test_a_server_that_is_configured_is_never_asked():
    site = Site(SERVER)
    assert await site.metadata.server() is SERVER
    assert site.server.fetched == []


async def test_a_server_is_discovered_when_it_is_first_needed(site):
    assert site.server.fetched == []
    found = await site.metadata.server()
    assert dataclasses.asdict(found) == {
        **{name: DOCUMENT[name] for name in ("issuer", *AuthorizationServer.ENDPOINTS)},
        "authorization_response_iss_parameter_supported": False,
        "discovery": False,
    }
    assert site.server.fetched == [(WELL_KNOWN, None)]


async def test_what_is_configured_wins_over_what_is_discovered():
    configured = AuthorizationServer(issuer=BASE, token_endpoint="https://other.example/token", discovery=True)
    found = await Site(configured).metadata.server()
    assert found.token_endpoint == "https://other.example/token"
    assert found.authorization_endpoint == DOCUMENT["authorization_endpoint"]


async def test_only_names_that_we_know_are_taken(site):
    site.say(
        WELL_KNOWN, {**DOCUMENT, "verify": False, "client_id": "x", "discovery": True, "timeout": 0, "__init__": 1}
    )
    assert await site.metadata.server() == await Site().metadata.server()


@pytest.mark.parametrize(("said", "known"), [(True, True), (False, False), ("true", False), (1, False), (None, False)])
async def test_whether_the_server_names_itself_is_discovered(site, said, known):
    site.say(WELL_KNOWN, {**DOCUMENT, "authorization_response_iss_parameter_supported": said})
    assert (await site.metadata.server()).authorization_response_iss_parameter_supported is known


@pytest.mark.parametrize("spelled", [BASE, f"{BASE}/"])
@pytest.mark.parametrize("configured", [BASE, f"{BASE}/"])
async def test_the_issuer_is_as_the_server_spells_it(spelled, configured):
    site = Site(AuthorizationServer.discover(configured))
    site.say(WELL_KNOWN, {**DOCUMENT, "issuer": spelled})
    assert (await site.metadata.server()).issuer == spelled


@pytest.mark.parametrize("issuer", ["https://evil.example", f"{BASE}/x", f"{BASE}//", "", None, [BASE]])
async def test_a_document_of_another_issuer_is_refused_and_logged_with_the_setting(site, caplog, issuer):
    site.say(WELL_KNOWN, {**DOCUMENT, "issuer": issuer})
    with pytest.raises(AuthorizationServerError) as raised:
        await site.metadata.server()
    assert raised.value.reason == "wrong_issuer"
    assert "server.issuer" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"token_endpoint": "http://lumin.example/token"},
        {"token_endpoint": "javascript:x"},
        {"token_endpoint": ""},
        {"token_endpoint": None},
        {"token_endpoint": ["https://lumin.example/token"]},
        {"authorization_endpoint": 7},
        {"jwks_uri": "file:///etc/passwd"},
        {"end_session_endpoint": "https://user:password@lumin.example/"},
        {"revocation_endpoint": "https://lumin.example/\r\nX: y"},
    ],
    ids=repr,
)
async def test_a_document_that_cannot_be_used_is_refused_and_logged(site, caplog, change):
    site.say(WELL_KNOWN, {**DOCUMENT, **change})
    with pytest.raises(AuthorizationServerError) as raised:
        await site.metadata.server()
    assert raised.value.reason == "bad_discovery"
    assert "cannot be used" in caplog.text


@hostile
@given(st.dictionaries(st.sampled_from(list(DOCUMENT)), json_values, max_size=4))
async def test_any_document_is_taken_or_an_error_of_ours(changes):
    site = Site()
    site.say(WELL_KNOWN, json.dumps({**DOCUMENT, **changes}).encode())
    try:
        found = await site.metadata.server()
    except AuthorizationServerError:
        return
    assert found.token_endpoint == DOCUMENT["token_endpoint"]


@pytest.mark.parametrize("name", TROUBLE)
async def test_trouble_before_the_first_copy_is_said_and_the_next_one_asks_again(site, name):
    trouble(site, WELL_KNOWN, name)
    with pytest.raises(ServerUnavailable):
        await site.metadata.server()
    site.say(WELL_KNOWN, DOCUMENT)
    assert (await site.metadata.server()).issuer == BASE


async def test_a_copy_is_kept_for_a_day(site):
    first = await site.metadata.server()
    site.clock.advance(DISCOVERY_LIFETIME - 1)
    assert await site.metadata.server() is first
    site.say(WELL_KNOWN, {**DOCUMENT, "token_endpoint": f"{BASE}/moved"})
    site.clock.advance(1)
    assert (await site.metadata.server()).token_endpoint == f"{BASE}/moved"
    assert site.fetched(WELL_KNOWN) == 2


@pytest.mark.parametrize("name", TROUBLE)
async def test_the_last_good_copy_stays_while_the_server_is_in_trouble(site, name):
    first = await site.metadata.server()
    site.clock.advance(DISCOVERY_LIFETIME)
    trouble(site, WELL_KNOWN, name)
    for _ in range(5):
        assert await site.metadata.server() is first
    assert site.fetched(WELL_KNOWN) == 2
    site.say(WELL_KNOWN, {**DOCUMENT, "token_endpoint": f"{BASE}/moved"})
    site.clock.advance(TROUBLE_PAUSE)
    assert (await site.metadata.server()).token_endpoint == f"{BASE}/moved"


@pytest.mark.parametrize("change", [{"issuer": "https://evil.example"}, {"token_endpoint": "http://lumin.example/x"}])
async def test_the_last_good_copy_stays_when_the_new_one_cannot_be_accepted(site, change):
    first = await site.metadata.server()
    site.clock.advance(DISCOVERY_LIFETIME)
    site.say(WELL_KNOWN, {**DOCUMENT, **change})
    for _ in range(5):
        assert await site.metadata.server() is first
    assert site.fetched(WELL_KNOWN) == 2


async def test_it_is_asked_for_once_however_many_wait(site):
    site.server.suspends = True
    found = await asyncio.gather(*(site.metadata.server() for _ in range(50)))
    assert all(one is found[0] for one in found)
    assert site.fetched(WELL_KNOWN) == 1


async def test_those_who_wait_for_a_server_that_is_down_do_not_ask_one_after_the_other(site):
    """Each would wait for the whole time limit again: the fiftieth for fifty times ten seconds."""
    site.server.suspends = True
    site.say(WELL_KNOWN, ServerUnavailable("down"))
    found = await asyncio.gather(*(site.metadata.server() for _ in range(50)), return_exceptions=True)
    assert {type(one) for one in found} == {ServerUnavailable}
    assert site.fetched(WELL_KNOWN) <= 2


# --- keys ---


async def test_keys_are_read_when_they_are_first_needed_and_kept_for_an_hour(site):
    first = await site.metadata.keys()
    site.clock.advance(KEYS_LIFETIME - 1)
    assert await site.metadata.keys() is first
    assert site.fetched(JWKS) == 1
    site.clock.advance(1)
    assert await site.metadata.keys() is not first
    assert site.fetched(JWKS) == 2


@pytest.mark.parametrize("name", [*TROUBLE, "no keys"])
async def test_the_last_good_keys_stay_while_the_server_is_in_trouble(site, name):
    first = await site.metadata.keys()
    site.clock.advance(KEYS_LIFETIME)
    if name == "no keys":
        site.say(JWKS, {"keys": [{"kty": "oct"}]})
    else:
        trouble(site, JWKS, name)
    for _ in range(5):
        assert await site.metadata.keys() is first
    assert site.fetched(JWKS) == 2
    site.say(JWKS, jwks())
    site.clock.advance(TROUBLE_PAUSE)
    assert await site.metadata.keys() is not first


@pytest.mark.parametrize("name", [*TROUBLE, "no keys"])
async def test_without_keys_nothing_can_be_verified_until_there_are_some(site, name):
    if name == "no keys":
        site.say(JWKS, {"keys": []})
    else:
        trouble(site, JWKS, name)
    with pytest.raises(ServerUnavailable):
        await site.metadata.keys()
    site.say(JWKS, jwks())
    assert await site.metadata.keys()


async def test_keys_are_asked_for_once_however_many_wait(site):
    site.server.suspends = True
    await asyncio.gather(*(site.metadata.keys() for _ in range(50)))
    assert site.fetched(JWKS) == 1


async def test_those_who_wait_for_keys_that_do_not_come_do_not_ask_one_after_the_other(site):
    await site.metadata.server()
    site.server.suspends = True
    site.say(JWKS, ServerUnavailable("down"))
    await asyncio.gather(*(site.metadata.keys() for _ in range(50)), return_exceptions=True)
    assert site.fetched(JWKS) <= 2


async def test_a_server_without_a_jwks_uri_has_no_keys():
    server = AuthorizationServer(issuer=BASE, authorization_endpoint=f"{BASE}/a", token_endpoint=f"{BASE}/t")
    with pytest.raises(AuthorizationServerError) as raised:
        await Site(server).metadata.keys()
    assert raised.value.reason == "no_keys"


# --- ID tokens ---


async def test_a_token_is_verified_with_the_server_s_keys(site):
    assert (await site.claims(id_token(site.clock(), nonce="n"), nonce="n"))["sub"] == "person-1"
    with pytest.raises(AuthorizationServerError):
        await site.claims(id_token(site.clock(), nonce="n"), nonce="another")


async def test_a_new_key_is_found_at_once(site):
    await site.metadata.keys()
    newer = other_key()
    site.say(JWKS, {"keys": [{**newer.as_dict(private=False), "kid": "key-2"}]})
    token = id_token(site.clock(), key=newer, header={"kid": "key-2"})
    assert (await site.claims(token))["sub"] == "person-1"
    assert site.fetched(JWKS) == 2


async def test_made_up_keys_do_not_have_the_server_asked_again_and_again(site):
    good = id_token(site.clock())
    assert await site.claims(good)
    for number in range(100):
        with pytest.raises(AuthorizationServerError):
            await site.claims(id_token(site.clock(), header={"kid": f"made-up-{number}"}))
        assert await site.claims(good)
    assert site.fetched(JWKS) == 2


async def test_which_key_it_is_can_be_looked_up_again_after_a_pause(site):
    await site.metadata.keys()
    unknown = id_token(site.clock(), header={"kid": "made-up"})
    with pytest.raises(UnknownKey):
        await site.claims(unknown)
    site.clock.advance(UNKNOWN_KEY_PAUSE - 1)
    with pytest.raises(ServerUnavailable):
        await site.claims(unknown)
    assert site.fetched(JWKS) == 2
    site.clock.advance(1)
    with pytest.raises(UnknownKey):
        await site.claims(unknown)
    assert site.fetched(JWKS) == 3


async def test_many_tokens_with_a_new_key_look_once(site):
    await site.metadata.keys()
    site.server.suspends = True
    newer = other_key()
    site.say(JWKS, {"keys": [{**newer.as_dict(private=False), "kid": "key-2"}]})
    token = id_token(site.clock(), key=newer, header={"kid": "key-2"})
    found = await asyncio.gather(*(site.claims(token) for _ in range(20)))
    assert {one["sub"] for one in found} == {"person-1"}
    assert site.fetched(JWKS) == 2


async def test_when_the_newer_keys_cannot_be_had_the_token_cannot_be_verified_now(site):
    await site.metadata.keys()
    site.say(JWKS, ServerUnavailable("down"))
    with pytest.raises(ServerUnavailable):
        await site.claims(id_token(site.clock(), header={"kid": "key-2"}))
    assert await site.claims(id_token(site.clock()))


async def test_the_issuer_of_a_token_is_the_discovered_one(site):
    site.say(WELL_KNOWN, {**DOCUMENT, "issuer": f"{BASE}/"})
    assert await site.claims(id_token(site.clock(), iss=f"{BASE}/"))
    with pytest.raises(AuthorizationServerError):
        await site.claims(id_token(site.clock(), iss="https://evil.example"))


async def test_a_logout_token_is_verified_with_the_same_keys(site):
    token = id_token(
        site.clock(), jti="x", sid="y", events={"http://schemas.openid.net/event/backchannel-logout": {}}, exp=None
    )
    assert (await site.metadata.logout_token_claims(token, config()))["sid"] == "y"
    with pytest.raises(AuthorizationServerError):
        await site.metadata.logout_token_claims(id_token(site.clock()), config())
