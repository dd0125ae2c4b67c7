"""The ID token of a refresh: whose it is ends a session or renews its claims; what cannot be verified does neither."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from lumin_middleware.errors import ServerUnavailable, SessionEnded
from lumin_middleware.ports import Answer
from lumin_middleware.protocol.claims import kept_claims
from lumin_middleware.protocol.identity import LOGOUT_EVENT, nonce_digest
from tests.fakes import BASE, SERVER, Process, Workers, id_token, other_key, signing_key, unsigned

WELL_KNOWN = f"{BASE}/.well-known/openid-configuration"
JWKS = SERVER.jwks_uri or ""
NONCE = "nonce-of-the-sign-in"


class Site(Workers):
    """A site with one session, whose access token has expired."""

    async def expired(self, **claims: Any) -> Any:
        session = await self.sign_in()
        session = dataclasses.replace(
            session, generation=1, nonce=nonce_digest(NONCE), claims={**session.claims, "name": "Ann", **claims}
        )
        sessions = self.process().sessions
        assert await sessions.replace(await sessions.newest(session), session)
        self.clock.advance(3600)
        return session

    def publish(self, *keys: dict[str, Any]) -> None:
        self.server.documents[JWKS] = Answer(200, "application/json", json.dumps({"keys": list(keys)}).encode())

    def bring(self, token: str) -> None:
        self.server.extra = {"id_token": token}


@pytest.fixture(params=["cookie", "store"])
def site(request: pytest.FixtureRequest) -> Site:
    return Site(sessions=request.param)


@pytest.fixture
def process(site: Site) -> Process:
    return site.process()


async def test_a_new_id_token_brings_new_claims(site, process):
    session = await site.expired()
    site.bring(id_token(site.clock(), email="new@example.com", nonce=NONCE))
    renewed = await process.renewal.fresh(session)
    assert renewed.claims == {"iss": BASE, "sub": "person-1", "email": "new@example.com", "name": "Ann"}
    assert (renewed.tokens.id_token, renewed.nonce) == (None, session.nonce)


ANOTHERS: dict[str, dict[str, Any]] = {
    "another person": {"sub": "person-2"},
    "nobody": {"sub": None},
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "other-client"},
    "no audience": {"aud": []},
    "another audience, too": {"aud": ["test-client", "other-client"], "azp": "test-client"},
    "another client's": {"azp": "other-client"},
    "another sign-in's": {"nonce": "of-another-sign-in"},
    "another person's, by another key": {"sub": "person-2", "key": other_key()},
    "another person's, expired": {"sub": "person-2", "exp": 1_000_000_000},
}


@pytest.mark.parametrize("changes", ANOTHERS.values(), ids=ANOTHERS)
async def test_tokens_that_are_another_s_are_revoked_and_the_session_ends(site, process, caplog, changes):
    session = await site.expired()
    site.bring(id_token(site.clock(), **changes))
    with pytest.raises(SessionEnded):
        await process.renewal.fresh(session)
    assert site.server.revoked == [site.server.current]
    with pytest.raises(SessionEnded):
        await site.process().sessions.newest(session)
    assert "not this session's" in caplog.text


LEFT_ASIDE: dict[str, tuple[Callable[[float], str], str]] = {
    "by a key that is not published": (lambda now: id_token(now, key=other_key()), "keys"),
    "of a name that nobody knows": (lambda now: id_token(now, key=other_key(), header={"kid": "x"}), "keys"),
    "unsigned": (lambda now: unsigned({"alg": "none"}, claims(now)), "id_token_signed_response_alg"),
    "of another algorithm": (lambda now: unsigned({"alg": "ES256"}, claims(now)), "id_token_signed_response_alg"),
    "expired by our clock": (lambda now: id_token(now - 7200), "clock"),
    "ahead of our clock": (lambda now: id_token(now + 7200), "clock"),
    "with a date that is none": (lambda now: id_token(now, exp=1e300), "exp"),
    "for another access token": (lambda now: id_token(now, at_hash="x"), "at_hash"),
    "an access token": (lambda now: id_token(now, header={"typ": "at+jwt"}), "typ"),
    "an access token of Hydra": (lambda now: id_token(now, client_id="test-client", scp=["openid"]), "access token"),
    "a logout token": (lambda now: id_token(now, events={LOGOUT_EVENT: {}}), "events"),
    "none": (lambda now: "what?", "three parts"),
    "too long": (lambda now: id_token(now, groups=["x" * 100] * 1000), "65536"),
}


def claims(now: float) -> dict[str, Any]:
    return {"iss": BASE, "sub": "person-1", "aud": "test-client", "iat": int(now), "exp": int(now) + 60}


@pytest.mark.parametrize(("write", "named"), LEFT_ASIDE.values(), ids=LEFT_ASIDE)
async def test_what_cannot_be_verified_is_left_aside_and_the_session_lives(site, process, caplog, write, named):
    session = await site.expired()
    for generation in (2, 3):
        site.bring(write(site.clock()))
        session = await process.renewal.fresh(session)
        assert (session.generation, session.claims["email"]) == (generation, "person@example.com")
        site.clock.advance(3600)
    assert site.server.revoked == []
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 2
    assert all(named in message for message in errors)


async def test_an_id_token_that_cannot_be_verified_now_is_left_aside(site, process, caplog):
    session = await site.expired()
    site.server.documents[JWKS] = ServerUnavailable("down")
    site.bring(id_token(site.clock(), email="new@example.com"))
    renewed = await process.renewal.fresh(session)
    assert (renewed.generation, renewed.claims) == (2, session.claims)
    assert "left aside" in caplog.text
    assert [url for url, _ in site.server.fetched].count(JWKS) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["the old key kept", "the old key gone"])
async def test_a_new_key_signs_nobody_out(site, process, kept):
    """Hydra signs refreshed ID tokens with its newest key, and names that of the sign-in in their header."""
    old = {**other_key().as_dict(private=False), "kid": "old"}
    new = {**signing_key().as_dict(private=False), "kid": "new"}
    site.publish(old)
    await process.metadata.keys()
    site.publish(*([old, new] if kept else [new]))
    for number in range(5):
        session = await site.expired()
        site.bring(id_token(site.clock(), email=f"new-{number}@example.com", header={"kid": "old"}))
        assert (await process.renewal.fresh(session)).claims["email"] == f"new-{number}@example.com"
        site.clock.advance(-3600)
    assert [url for url, _ in site.server.fetched].count(JWKS) == 2


async def test_a_key_that_may_not_be_looked_for_yet_signs_nobody_out(site, process):
    session = await site.expired()
    site.bring(id_token(site.clock(), header={"kid": "x"}, key=other_key()))
    session = await process.renewal.fresh(session)
    site.clock.advance(1)
    site.publish({**other_key().as_dict(private=False), "kid": "new"})
    site.bring(id_token(site.clock(), key=other_key(), header={"kid": "new"}, email="new@example.com"))
    session = await process.renewal.fresh(session, rejected=session.tokens.access_token)
    assert (session.generation, session.claims["email"]) == (3, "person@example.com")
    site.clock.advance(60)
    session = await process.renewal.fresh(session, rejected=session.tokens.access_token)
    assert (session.generation, session.claims["email"]) == (4, "new@example.com")


async def test_an_issuer_that_is_learnt_renews(site, process):
    session = await site.expired()
    issuer = "https://slug.projects.oryapis.com"
    document = {"issuer": issuer, "token_endpoint": SERVER.token_endpoint}
    site.server.documents[WELL_KNOWN] = Answer(200, "application/json", json.dumps(document).encode())
    site.bring(id_token(site.clock(), iss=issuer))
    assert (await process.renewal.fresh(session)).claims["iss"] == issuer


async def test_a_drifting_clock_loses_no_news(site, process):
    session = await site.expired()
    site.bring(id_token(site.clock() + 290, email="new@example.com"))
    assert (await process.renewal.fresh(session)).claims["email"] == "new@example.com"


async def test_an_identity_of_the_api_is_not_compared_with_the_server_s(site, process):
    session = await site.expired()
    session = dataclasses.replace(session, claims={"sub": "api-user-1"}, generation=2)
    sessions = site.process().sessions
    assert await sessions.replace(await sessions.newest(session), session)
    site.bring(id_token(site.clock()))
    assert (await process.renewal.fresh(session)).claims == {"sub": "api-user-1"}


async def test_a_site_that_keeps_no_subject_renews_all_the_same():
    site = Site(claims=["email"])
    session = await site.expired()
    found = {"iss": BASE, "sub": "person-1", "email": "person@example.com"}
    session = dataclasses.replace(session, claims=kept_claims(found, site.config))
    site.bring(id_token(site.clock()))
    assert (await site.process().renewal.fresh(session)).generation == 2
