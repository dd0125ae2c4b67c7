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
from lumin_middleware.protocol.identity import LOGOUT_EVENT, AnotherIdentity, AnotherIssuer
from lumin_middleware.protocol.kept import LOOK_PAUSE, TROUBLE_PAUSE, TooEarly
from lumin_middleware.protocol.metadata import (
    CODE_LIFETIME,
    DISCOVERY_LIFETIME,
    KEYS_LIFETIME,
    Metadata,
    NotPublished,
)
from lumin_middleware.protocol.signatures import BadSignature, UnknownKey
from tests.fakes import (
    BASE,
    SERVER,
    Clock,
    Server,
    Workers,
    World,
    config,
    hostile,
    id_token,
    json_values,
    jwks,
    other_key,
    signing_key,
    unsigned,
)

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


def part(value: object) -> str:
    return unsigned(value, b"").partition(".")[0]


SIGNED_IN = {"iss": BASE, "sub": "person-1", "name": "Ann"}
RENEWED = {**SIGNED_IN, "email": "person@example.com"}


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
        return await self.metadata.id_token_claims(token, config(), access_token="access", nonce="n", **expected)

    def token(self, **changes: Any) -> str:
        return id_token(self.clock(), **{"nonce": "n", **changes})

    def logout_token(self, **changes: Any) -> str:
        claims = {"events": {LOGOUT_EVENT: {}}, "jti": "jti-1", "sid": "sid-1", "sub": None, "exp": None, "email": None}
        return id_token(self.clock(), **{**claims, **changes})

    async def logged_out(self, **changes: Any) -> Mapping[str, Any]:
        return await self.metadata.logout_token_claims(self.logout_token(**changes), config())

    async def renewed(self, token: str, **changes: Any) -> Mapping[str, Any]:
        """The claims of a session, whose name is Ann, after a refresh that brought this ID token."""
        session = dataclasses.replace(await Workers().sign_in(), claims={**SIGNED_IN, **changes})
        tokens = dataclasses.replace(session.tokens, id_token=token)
        return await self.metadata.refreshed_claims(tokens, config(), session)

    def publish(self, **keys: Any) -> None:
        """The server's keys, by their names."""
        published = [{**key.as_dict(private=False), "kid": kid.replace("_", "-")} for kid, key in keys.items()]
        self.say(JWKS, {"keys": published})


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
        "base": None,
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


@pytest.mark.parametrize("name", ["revocation_endpoint", "end_session_endpoint", "jwks_uri"])
async def test_an_empty_member_is_an_absent_one(site, name):
    site.say(WELL_KNOWN, {**DOCUMENT, name: ""})
    assert getattr(await site.metadata.server(), name) is None


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
async def test_trouble_before_the_first_copy_is_said_and_the_server_left_in_peace_for_a_while(site, name):
    trouble(site, WELL_KNOWN, name)
    for _ in range(5):
        with pytest.raises(ServerUnavailable):
            await site.metadata.server()
    assert site.fetched(WELL_KNOWN) == 1
    site.clock.advance(TROUBLE_PAUSE - 5)
    with pytest.raises(ServerUnavailable) as raised:
        await site.metadata.server()
    assert raised.value.retry_after == pytest.approx(5)
    site.say(WELL_KNOWN, DOCUMENT)
    site.clock.advance(5)
    assert (await site.metadata.server()).issuer == BASE


async def test_the_trouble_of_discovery_is_not_taken_for_that_of_the_keys(site):
    site.say(WELL_KNOWN, ServerUnavailable("down"))
    with pytest.raises(ServerUnavailable):
        await site.metadata.server()
    site.clock.advance(TROUBLE_PAUSE - 1)
    with pytest.raises(ServerUnavailable):
        await site.metadata.keys()
    site.say(WELL_KNOWN, DOCUMENT)
    site.clock.advance(1)
    assert await site.metadata.keys()


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
async def test_without_keys_nothing_can_be_verified_and_a_first_failure_has_the_same_pause(site, name):
    if name == "no keys":
        site.say(JWKS, {"keys": []})
    else:
        trouble(site, JWKS, name)
    for _ in range(5):
        with pytest.raises(ServerUnavailable):
            await site.metadata.keys()
        with pytest.raises(ServerUnavailable):
            await site.claims(site.token())
        assert await site.renewed(site.token()) == SIGNED_IN
    assert site.fetched(JWKS) == 1
    site.say(JWKS, jwks())
    site.clock.advance(TROUBLE_PAUSE)
    assert await site.claims(site.token())


@pytest.mark.parametrize("name", TROUBLE)
@pytest.mark.parametrize("required", [True, False])
async def test_keys_are_there_before_they_are_needed_or_the_server_has_none(site, name, required):
    settings = config(id_token="required") if required else config()
    await site.metadata.prepare(settings)
    assert site.fetched(JWKS) == 1
    fresh = Site()
    trouble(fresh, JWKS, name)
    if required or name in ("silence", "500"):
        with pytest.raises(ServerUnavailable):
            await fresh.metadata.prepare(settings)
    else:
        await fresh.metadata.prepare(settings)
    assert fresh.fetched(JWKS) == 1


@pytest.mark.parametrize("required", [True, False])
async def test_a_server_without_a_jwks_uri_is_no_trouble_where_no_id_token_is_required(required):
    server = AuthorizationServer(issuer=BASE, authorization_endpoint=f"{BASE}/a", token_endpoint=f"{BASE}/t")
    if not required:
        await Site(server).metadata.prepare(config())
        return
    with pytest.raises(AuthorizationServerError, match="jwks_uri"):
        await Site(server).metadata.prepare(config(id_token="required"))


@pytest.mark.parametrize("status", [200, 201])
async def test_a_set_is_read_whatever_it_calls_itself(site, status):
    site.server.documents[JWKS] = Answer(status, "text/json", json.dumps(jwks()).encode())
    assert await site.metadata.keys()


async def test_a_set_that_contradicts_itself_is_none(site):
    body = json.dumps(jwks()).encode()
    site.say(JWKS, body[:-1] + b', "keys": []}')
    with pytest.raises(NotPublished):
        await site.metadata.keys()


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
    assert (await site.claims(site.token()))["sub"] == "person-1"
    with pytest.raises(AuthorizationServerError):
        await site.claims(site.token(nonce="another"))


async def test_a_new_key_is_found_at_once(site):
    await site.metadata.keys()
    site.publish(key_2=other_key())
    assert (await site.claims(site.token(key=other_key(), header={"kid": "key-2"})))["sub"] == "person-1"
    assert site.fetched(JWKS) == 2


@pytest.mark.parametrize("header", [{"kid": "key-1"}, {"kid": ""}], ids=["under its own name", "without a name"])
async def test_a_key_that_was_replaced_is_found_at_once(site, header):
    await site.metadata.keys()
    site.publish(key_1=other_key())
    token = site.token(key=other_key(), header=header)
    assert (await site.claims(token))["sub"] == "person-1"
    assert site.fetched(JWKS) == 2
    forged = site.token(header=header)  # by the key that is no longer one
    for _ in range(5):
        with pytest.raises(ServerUnavailable):
            await site.claims(forged)
    assert site.fetched(JWKS) == 2


@pytest.mark.parametrize("kept", [True, False], ids=["beside the old one", "in place of the old one"])
async def test_a_key_that_was_replaced_while_a_code_was_on_its_way_is_found(site, kept):
    """Hydra writes the name of the key with the code, and signs when the code is redeemed."""
    site.publish(old=signing_key())
    await site.metadata.keys()
    site.publish(new=other_key(), **({"old": signing_key()} if kept else {}))
    late = {"key": other_key(), "header": {"kid": "old"}}
    for _ in range(3):
        assert (await site.claims(site.token(**late)))["sub"] == "person-1"
        site.clock.advance(CODE_LIFETIME / 3 - 1)
    assert site.fetched(JWKS) == 2
    site.clock.advance(3)
    with pytest.raises(UnknownKey):
        await site.claims(site.token(**late))


async def test_a_key_that_was_replaced_at_a_time_that_lies_ahead_is_not_found(site):
    site.publish(old=signing_key())
    await site.metadata.keys()
    site.publish(new=other_key(), old=signing_key())
    late = {"key": other_key(), "header": {"kid": "old"}}
    assert (await site.claims(site.token(**late)))["sub"] == "person-1"
    site.clock.advance(-7200)
    with pytest.raises(UnknownKey):
        await site.claims(site.token(**late))


async def test_a_name_decides_among_keys_that_were_published_together(site):
    site.publish(a=signing_key(), b=other_key())
    await site.metadata.keys()
    for header in ({"kid": "a"}, {"kid": "made-up"}):
        with pytest.raises((UnknownKey, TooEarly)):
            await site.claims(site.token(key=other_key(), header=header))


WRONG_KEYS: dict[str, dict[str, Any]] = {
    "a name that nobody knows": {"header": {"kid": "made-up"}},
    "another key": {"key": other_key()},
    "another key without a name": {"key": other_key(), "header": {"kid": ""}},
}


@pytest.mark.parametrize("wrong", WRONG_KEYS.values(), ids=WRONG_KEYS)
async def test_the_server_is_not_asked_for_keys_again_and_again(site, wrong):
    assert await site.claims(site.token())
    for _ in range(100):
        with pytest.raises(AuthorizationServerError):
            await site.claims(site.token(**wrong))
        assert await site.claims(site.token())
    assert site.fetched(JWKS) == 2


@pytest.mark.parametrize("wrong", WRONG_KEYS.values(), ids=WRONG_KEYS)
async def test_which_key_it_is_can_be_looked_up_again_after_a_pause_which_the_error_names(site, wrong):
    await site.metadata.keys()
    with pytest.raises(UnknownKey):
        await site.claims(site.token(**wrong))
    site.clock.advance(LOOK_PAUSE - 7)
    with pytest.raises(TooEarly) as raised:
        await site.claims(site.token(**wrong))
    assert raised.value.retry_after == pytest.approx(7)
    assert site.fetched(JWKS) == 2
    site.clock.advance(7)
    with pytest.raises(UnknownKey):
        await site.claims(site.token(**wrong))
    assert site.fetched(JWKS) == 3


async def test_a_clock_that_is_set_back_makes_no_pause_longer(site):
    await site.metadata.keys()
    for _ in range(3):
        with pytest.raises(UnknownKey):
            await site.claims(site.token(header={"kid": "made-up"}))
        site.clock.advance(-10_000)


async def test_many_tokens_with_a_new_key_look_once(site):
    await site.metadata.keys()
    site.server.suspends = True
    site.publish(key_2=other_key())
    token = site.token(key=other_key(), header={"kid": "key-2"})
    found = await asyncio.gather(*(site.claims(token) for _ in range(20)))
    assert {one["sub"] for one in found} == {"person-1"}
    assert site.fetched(JWKS) == 2


async def test_when_the_newer_keys_cannot_be_had_the_token_cannot_be_verified_now(site):
    await site.metadata.keys()
    site.say(JWKS, ServerUnavailable("down"))
    with pytest.raises(ServerUnavailable):
        await site.claims(site.token(header={"kid": "key-2"}))
    assert await site.claims(site.token())


async def test_the_issuer_of_a_token_is_the_discovered_one(site):
    site.say(WELL_KNOWN, {**DOCUMENT, "issuer": f"{BASE}/"})
    assert await site.claims(site.token(iss=f"{BASE}/"))
    with pytest.raises(AuthorizationServerError):
        await site.claims(site.token(iss="https://evil.example"))


# --- what strangers send ---


async def test_a_logout_token_is_verified_with_the_same_keys(site):
    assert (await site.logged_out())["sid"] == "sid-1"
    with pytest.raises(AuthorizationServerError):
        await site.metadata.logout_token_claims(site.token(), config())


async def test_a_logout_token_without_exp_is_said_to_be_judged_by_iat(site, caplog):
    caplog.set_level("INFO")
    await site.logged_out(exp=int(site.clock()) + 60)
    assert "iat alone" not in caplog.text
    await site.logged_out()
    assert "iat alone" in caplog.text


FORGED: dict[str, dict[str, Any]] = {**WRONG_KEYS, "another issuer": {"iss": "https://evil.example"}}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
async def test_no_forged_logout_token_shuts_the_window_in_which_a_sign_in_finds_a_new_key(site, forged):
    await site.metadata.keys()
    for _ in range(20):
        with pytest.raises(AuthorizationServerError):
            await site.logged_out(**forged)
    fetched = site.fetched(JWKS)
    assert fetched <= 2
    site.publish(key_2=other_key())
    assert await site.claims(site.token(key=other_key(), header={"kid": "key-2"}))
    assert site.fetched(JWKS) == fetched + 1


async def test_a_logout_token_with_a_wrong_signature_is_refused_and_one_of_an_unknown_key_put_off(site):
    for _ in range(5):
        with pytest.raises(BadSignature):
            await site.logged_out(key=other_key())
    with pytest.raises(TooEarly):
        await site.logged_out(header={"kid": "made-up"})


async def test_no_sign_in_shuts_the_window_in_which_a_logout_token_finds_a_new_key(site):
    await site.metadata.keys()
    with pytest.raises(UnknownKey):
        await site.claims(site.token(header={"kid": "made-up"}))
    site.publish(key_2=other_key())
    assert await site.logged_out(key=other_key(), header={"kid": "key-2"})


@pytest.mark.parametrize("changes", [{"events": {}}, {"aud": "x"}, {"iat": 1}, {"sid": None}], ids=repr)
async def test_a_logout_token_that_is_none_has_nobody_look(site, changes):
    await site.metadata.keys()
    with pytest.raises(AuthorizationServerError):
        await site.logged_out(**changes, header={"kid": "made-up"})
    assert site.fetched(JWKS) == 1


# --- a refresh ---


async def test_a_refresh_brings_new_claims(site):
    assert await site.renewed(site.token()) == RENEWED


@pytest.mark.parametrize("kept", [True, False], ids=["beside the old one", "in place of the old one"])
async def test_a_new_key_that_signs_under_the_old_one_s_name_is_found_at_a_refresh(site, kept):
    """Hydra's refreshed ID tokens go on to name the key of the sign-in."""
    site.publish(old=signing_key())
    await site.metadata.keys()
    site.publish(new=other_key(), **({"old": signing_key()} if kept else {}))
    token = site.token(key=other_key(), header={"kid": "old"})
    assert await site.renewed(token) == RENEWED
    assert site.fetched(JWKS) == 2
    assert await site.renewed(token) == RENEWED
    assert site.fetched(JWKS) == 2


LEFT_ASIDE: dict[str, tuple[dict[str, Any], str]] = {
    **{name: (wrong, "keys") for name, wrong in WRONG_KEYS.items() if "key" in wrong},
    "another algorithm": ({"header": {"alg": "ES256"}}, "id_token_signed_response_alg"),
    "expired": ({"exp": 1_000_000_000}, "clock"),
    "from the future": ({"iat": 4_000_000_000, "exp": 4_000_003_600}, "clock"),
    "no date": ({"exp": 1e300}, "exp"),
    "another access token": ({"at_hash": "x"}, "at_hash"),
    "another kind": ({"header": {"typ": "at+jwt"}}, "typ"),
}


@pytest.mark.parametrize(("changes", "named"), LEFT_ASIDE.values(), ids=LEFT_ASIDE)
async def test_what_cannot_be_verified_is_left_aside_and_the_log_says_why(site, caplog, changes, named):
    if changes.get("header") == {"alg": "ES256"}:
        _, payload, signature = site.token().split(".")
        token = f"{part({'alg': 'ES256', 'kid': 'key-1'})}.{payload}.{signature}"
    else:
        token = site.token(**changes)
    for _ in range(3):  # in the pause, too
        assert await site.renewed(token) == SIGNED_IN
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert named in caplog.records[0].getMessage()
    assert "left aside" in caplog.records[0].getMessage()


@pytest.mark.parametrize("changes", [{"sub": "person-2"}, {"iss": "https://evil.example"}, {"aud": "other"}], ids=repr)
@pytest.mark.parametrize("keys", [True, False], ids=["keys", "no keys"])
async def test_what_names_another_is_another_s_though_it_cannot_be_verified(site, changes, keys):
    if not keys:
        site.say(JWKS, ServerUnavailable("down"))
    for wrong in ({}, {"key": other_key()}, {"exp": 1}):
        with pytest.raises(AnotherIdentity):
            await site.renewed(site.token(**changes, **wrong))


async def test_without_an_id_token_the_claims_stay(site):
    session = await Workers().sign_in()
    assert await site.metadata.refreshed_claims(session.tokens, config(), session) == session.claims
    assert site.server.fetched == []


# --- the issuer ---

SLUG = "https://slug.projects.oryapis.com"
AT_BASE = {**DOCUMENT, "token_endpoint": SERVER.token_endpoint}


class AtBase(Site):
    """A server of which only the base is known, and whose document there may say more."""

    def __init__(self, server: AuthorizationServer = SERVER, **changes: Any) -> None:
        super().__init__(server)
        self.say(WELL_KNOWN, {**AT_BASE, "issuer": SLUG, **changes})


def called(site: Site) -> dict[str, Any]:
    """Each way in which a token of that issuer comes."""
    return {
        "a sign-in": lambda iss: site.claims(site.token(iss=iss)),
        "a refresh": lambda iss: site.renewed(site.token(iss=iss)),
        "a logout token": lambda iss: site.logged_out(iss=iss),
    }


WAYS = ("a sign-in", "a refresh", "a logout token")


@pytest.mark.parametrize("way", WAYS)
async def test_an_issuer_that_is_not_the_base_is_learnt_once_and_said_once(caplog, way):
    site = AtBase()
    assert (await site.metadata.server()).issuer == BASE
    assert site.server.fetched == []
    for each in (way, *WAYS, *WAYS):
        assert (await called(site)[each](SLUG))["iss"] == SLUG
    assert site.fetched(WELL_KNOWN) == 1
    assert (await site.metadata.server()).issuer == SLUG
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert "server.issuer" in said[0]
    assert f"AuthorizationServer.at({BASE!r}, issuer={SLUG!r})" in said[0]


async def test_a_trailing_slash_needs_no_learning():
    site = AtBase()
    for way in WAYS:
        assert await called(site)[way](f"{BASE}/")
    assert site.fetched(WELL_KNOWN) == 0


LYING: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://another.example"},
    "the base": {"issuer": BASE},
    "a slash more": {"issuer": f"{SLUG}/"},
    "no issuer": {"issuer": None},
    "a list": {"issuer": [SLUG]},
    "another token endpoint": {"token_endpoint": f"{SLUG}/oauth2/token"},
    "no token endpoint": {"token_endpoint": None},
    "a token endpoint that is longer": {"token_endpoint": f"{SERVER.token_endpoint}/"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lie", LYING.values(), ids=LYING)
async def test_a_document_that_does_not_say_exactly_that_teaches_nothing(way, lie):
    site = AtBase(**lie)
    for _ in range(5):
        with pytest.raises(AnotherIssuer, match=r"server\.issuer"):
            await called(site)[way](SLUG)
    assert (await site.metadata.server()).issuer == BASE
    assert await called(site)[way](BASE)
    assert site.fetched(WELL_KNOWN) <= 2


@pytest.mark.parametrize("issuer", ["http://slug.example", "javascript:x", "https://user:pw@slug.example", "", "x"])
async def test_what_can_be_no_issuer_is_none_though_token_and_document_agree(issuer):
    with pytest.raises(AnotherIssuer):
        await AtBase(issuer=issuer).claims(Site().token(iss=issuer))


@pytest.mark.parametrize("status", [404, 403, 200])
async def test_a_server_without_a_document_has_the_issuer_that_was_presumed(status):
    site = AtBase()
    site.say(WELL_KNOWN, b"<html>", status)
    for way in WAYS:
        with pytest.raises(AnotherIssuer):
            await called(site)[way](SLUG)
    assert site.fetched(WELL_KNOWN) == 1


@pytest.mark.parametrize("trouble", [ServerUnavailable("down"), Answer(500, "", b""), Answer(429, "", b"")], ids=repr)
async def test_while_the_document_cannot_be_had_nobody_is_refused_for_good(trouble):
    site = AtBase()
    site.server.documents[WELL_KNOWN] = trouble
    for _ in range(3):
        for way in ("a sign-in", "a logout token"):
            with pytest.raises(ServerUnavailable):
                await called(site)[way](SLUG)
        assert await site.renewed(site.token(iss=SLUG)) == SIGNED_IN
    assert site.fetched(WELL_KNOWN) == 1
    site.say(WELL_KNOWN, {**AT_BASE, "issuer": SLUG})
    site.clock.advance(TROUBLE_PAUSE)
    assert await site.claims(site.token(iss=SLUG))


async def test_an_issuer_that_changes_is_learnt_anew_under_the_pause():
    site = AtBase()
    assert await site.claims(site.token(iss=SLUG))
    for number in range(20):
        with pytest.raises(AnotherIssuer):
            await site.claims(site.token(iss=f"https://made-up-{number}.example"))
    assert site.fetched(WELL_KNOWN) == 2
    site.say(WELL_KNOWN, {**AT_BASE, "issuer": BASE})
    site.clock.advance(LOOK_PAUSE)
    assert await site.claims(site.token(iss=BASE))
    assert site.fetched(WELL_KNOWN) == 3


async def test_no_forged_logout_token_shuts_the_window_in_which_a_sign_in_learns_an_issuer():
    site = AtBase(issuer=BASE)
    for number in range(20):
        with pytest.raises(AnotherIssuer):
            await site.logged_out(iss=f"https://made-up-{number}.example")
    site.say(WELL_KNOWN, {**AT_BASE, "issuer": SLUG})
    assert await site.claims(site.token(iss=SLUG))


STRICT = {
    "given": AuthorizationServer.at(BASE, issuer="https://given.example"),
    "given as the base": AuthorizationServer.at(BASE, issuer=BASE),
    "changed": dataclasses.replace(SERVER, issuer="https://given.example"),
    "discovered": AuthorizationServer.discover(BASE),
    "by hand": AuthorizationServer(
        issuer=BASE,
        authorization_endpoint=f"{BASE}/a",
        token_endpoint=SERVER.token_endpoint,
        jwks_uri=SERVER.jwks_uri,
    ),
}


@pytest.mark.parametrize("server", STRICT.values(), ids=STRICT)
async def test_an_issuer_that_was_given_or_discovered_stays(server):
    site = AtBase(server, **({"issuer": BASE} if server.discovery else {}))
    await site.metadata.server()
    site.say(WELL_KNOWN, {**AT_BASE, "issuer": SLUG})
    fetched = site.fetched(WELL_KNOWN)
    for way in WAYS:
        with pytest.raises(AnotherIssuer):
            await called(site)[way](SLUG)
    assert site.fetched(WELL_KNOWN) == fetched


async def test_a_browser_that_names_the_server_s_other_name_is_believed_where_that_is_true():
    """RFC 9207: the issuer in the answer of the authorization endpoint."""
    site = AtBase()
    assert (await site.metadata.server_called(None)).issuer == BASE
    assert (await site.metadata.server_called(BASE)).issuer == BASE
    assert site.fetched(WELL_KNOWN) == 0
    assert (await site.metadata.server_called("https://evil.example")).issuer == BASE
    assert (await site.metadata.server_called(SLUG)).issuer == SLUG
    down = AtBase()
    down.say(WELL_KNOWN, ServerUnavailable("down"))
    assert (await down.metadata.server_called(SLUG)).issuer == BASE


@hostile
@given(st.dictionaries(st.sampled_from(["issuer", "token_endpoint"]), json_values | st.just(SLUG)))
async def test_any_document_at_the_base_teaches_the_truth_or_nothing(changes):
    site = AtBase(**changes)
    try:
        await site.claims(site.token(iss=SLUG))
    except AuthorizationServerError:
        assert (await site.metadata.server()).issuer == BASE
    else:
        assert changes.get("issuer", SLUG) == SLUG
        assert "token_endpoint" not in changes
