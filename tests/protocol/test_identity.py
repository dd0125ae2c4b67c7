"""Nobody is believed without the server's signature, for this client, this login, and now."""

from __future__ import annotations

import hashlib
import hmac
import json
import warnings
from base64 import urlsafe_b64encode
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from lumin_middleware.checks import ID_TOKEN_ALGORITHMS
from lumin_middleware.errors import AuthorizationServerError
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.protocol.identity import (
    DATE_LIMIT,
    ID_TOKEN_AGE,
    LOGOUT_EVENT,
    LOGOUT_TOKEN_AGE,
    RENEWED_TOLERANCE,
    TOLERANCE,
    AnotherIdentity,
    AnotherIssuer,
    authenticated_at,
    id_token_claims,
    logout_token_claims,
    nonce_digest,
    refreshed_claims,
)
from lumin_middleware.protocol.signatures import TOKEN_LIMIT, UnknownKey, json_web_keys
from tests.fakes import (
    BASE,
    SERVER,
    any_text,
    config,
    hostile,
    id_token,
    json_values,
    jwks,
    other_key,
    signing_key,
    unsigned,
)

NOW = 1_790_000_000
NONCE = "nonce-0123456789abcdef"
NAN = float("nan")
CONFIG = config()


def claims_of(token: str, *, keys: list[Any] | None = None, settings: Any = CONFIG, **options: Any) -> dict[str, Any]:
    known = json_web_keys(jwks()) if keys is None else keys
    return id_token_claims(
        token, known, settings, SERVER, **{"now": NOW + 0.9, "access_token": "access", "nonce": NONCE, **options}
    )


def token(**changes: Any) -> str:
    return id_token(NOW, **{"nonce": NONCE, **changes})


def with_header(header: dict[str, Any], nonce: str) -> str:
    """A token with any header, and a signature of the server's over it."""
    content = {"iss": BASE, "sub": "person-1", "aud": "test-client", "iat": NOW, "exp": NOW + 60, "nonce": nonce}
    head = unsigned(header, content).rpartition(".")[0]
    signature = signing_key().private_key.sign(head.encode(), PKCS1v15(), SHA256())
    return f"{head}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def refused(found: str, **options: Any) -> str:
    with pytest.raises(AuthorizationServerError) as raised:
        claims_of(found, **options)
    assert raised.value.reason == "bad_id_token"
    return str(raised.value)


# --- the claims ---


def test_a_right_token_gives_its_claims():
    found = claims_of(token(name="Ann", custom=[1]))
    assert (found["sub"], found["email"], found["name"], found["custom"]) == (
        "person-1",
        "person@example.com",
        "Ann",
        [1],
    )


RIGHT: dict[str, dict[str, Any]] = {
    "one audience as text": {"aud": "test-client"},
    "the same audience twice": {"aud": ["test-client", "test-client"], "azp": "test-client"},
    "azp": {"azp": "test-client"},
    "sub as long as it may be": {"sub": "s" * 255},
    "a trailing slash": {"iss": f"{BASE}/"},
    "a fraction of a second": {"iat": NOW - 0.5, "exp": NOW + 59.5},
    "as late as our clock may be": {"exp": NOW - TOLERANCE + 1},
    "as early as our clock may be": {"iat": NOW + TOLERANCE, "nbf": NOW + TOLERANCE},
    "as old as a login may be": {"iat": NOW - ID_TOKEN_AGE - TOLERANCE + 1},
    "an old sign-in": {"auth_time": NOW - 10_000_000},
    "no dates where none need be": {"nbf": None, "auth_time": None},
    "the year 1": {"nbf": -62_135_596_800, "auth_time": -62_135_596_800.0},
    "the last date": {"exp": DATE_LIMIT - 1},
    "claims that Hydra adds": {"rat": NOW, "auth_time": NOW, "jti": "x", "sid": "y", "acr": "0", "amr": []},
}


@pytest.mark.parametrize("changes", RIGHT.values(), ids=RIGHT)
def test_what_is_right(changes):
    assert claims_of(token(**changes))["sub"] == changes.get("sub", "person-1")


WRONG: dict[str, dict[str, Any]] = {
    "iss missing": {"iss": None},
    "iss other": {"iss": "https://evil.example"},
    "iss longer": {"iss": f"{BASE}/x"},
    "iss two slashes": {"iss": f"{BASE}//"},
    "iss a list": {"iss": [BASE]},
    "sub missing": {"sub": None},
    "sub empty": {"sub": ""},
    "sub number": {"sub": 1},
    "sub list": {"sub": ["person-1"]},
    "sub object": {"sub": {"id": 1}},
    "sub false": {"sub": False},
    "sub longer than it may be": {"sub": "s" * 256},
    "sub half a character": {"sub": "s\ud83d"},
    "aud missing": {"aud": None},
    "aud other": {"aud": "other"},
    "aud empty": {"aud": ""},
    "aud empty list": {"aud": []},
    "aud longer": {"aud": "test-client2"},
    "aud in a list of lists": {"aud": [["test-client"]]},
    "aud object": {"aud": {"test-client": 1}},
    "aud with a second entry": {"aud": ["test-client", "other"], "azp": "test-client"},
    "aud with a second entry that is none": {"aud": ["test-client", None], "azp": "test-client"},
    "aud with a second entry that is a list": {"aud": ["test-client", ["test-client"]], "azp": "test-client"},
    "aud several without azp": {"aud": ["test-client", "other"]},
    "azp other": {"azp": "other"},
    "azp empty": {"azp": ""},
    "azp a list": {"azp": ["test-client"]},
    "azp other among several": {"aud": ["test-client", "other"], "azp": "other"},
    "exp missing": {"exp": None},
    "exp past": {"exp": NOW - TOLERANCE},
    "exp ten minutes past": {"exp": NOW - 600},
    "exp text": {"exp": str(NOW + 600)},
    "exp true": {"exp": True},
    "exp never": {"exp": float("inf")},
    "exp not a number": {"exp": float("nan")},
    "iat missing": {"iat": None},
    "iat of last week": {"iat": NOW - 604_800},
    "iat older than a login": {"iat": NOW - ID_TOKEN_AGE - TOLERANCE - 1},
    "auth_time text": {"auth_time": "today"},
    "auth_time true": {"auth_time": True},
    "auth_time never": {"auth_time": float("nan")},
    "auth_time future": {"auth_time": NOW + TOLERANCE + 1},
    "iat future": {"iat": NOW + TOLERANCE + 1},
    "iat text": {"iat": str(NOW)},
    "iat not a number": {"iat": float("nan")},
    "nbf future": {"nbf": NOW + TOLERANCE + 1},
    "nbf text": {"nbf": "now"},
    "jti number": {"jti": 1},
    "nonce missing": {"nonce": None},
    "nonce empty": {"nonce": ""},
    "nonce other": {"nonce": NONCE[:-1] + "x"},
    "nonce shorter": {"nonce": NONCE[:-1]},
    "nonce a list": {"nonce": [NONCE]},
    "nonce true": {"nonce": True},
    "nonce half a character": {"nonce": "\ud800"},
    "at_hash other": {"at_hash": "x"},
    "at_hash empty": {"at_hash": ""},
    "at_hash a list": {"at_hash": ["x"]},
}


NO_DATES: list[Any] = [
    1e300,
    -1,
    -1e300,
    0,
    DATE_LIMIT,
    10**400,
    -(10**400),
    True,
    False,
    "1790000000",
    [],
    {},
    "",
    NAN,
]

NOTHING_SAID = [date for date in NO_DATES if date == "" or (type(date) in (int, float) and date <= 0)]

for name in ("exp", "iat", "nbf", "auth_time"):
    dates = [date for date in NO_DATES if name in ("exp", "iat") or date not in NOTHING_SAID or date is False]
    WRONG |= {f"{name} is no date: {str(date)[:12]}": {name: date} for date in dates}
for name in ("nbf", "auth_time"):
    RIGHT |= {f"{name} says nothing: {str(date)[:12]}": {name: date} for date in NOTHING_SAID}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_what_is_wrong(changes):
    refused(token(**changes))


def test_an_audience_beside_us_is_one_that_the_settings_name():
    settings = config(trusted_audiences=["partner"])
    both = token(aud=["test-client", "partner"], azp="test-client")
    assert claims_of(both, settings=settings)["sub"] == "person-1"
    assert "trusted_audiences" in refused(both)
    refused(token(aud=["test-client", "partner"]), settings=settings)
    refused(token(aud=["test-client", "partner"], azp="partner"), settings=settings)
    refused(token(aud=["partner"], azp="test-client"), settings=settings)
    refused(token(aud=["test-client", "partner", "other"], azp="test-client"), settings=settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 7200},
        {"iat": NOW + 7200},
        {"nbf": NOW + 7200},
        {"iat": NOW - 7200},
    ],
    ids=repr,
)
def test_a_date_that_our_clock_denies_names_the_clock(changes):
    message = refused(token(**changes), now=NOW)
    assert "clock" in message
    assert "7200 s" in message


def test_another_issuer_is_told_apart_from_all_else_that_is_wrong():
    with pytest.raises(AnotherIssuer) as raised:
        claims_of(token(iss="https://other.example", exp=1, key=other_key()))
    assert raised.value.issuer == "https://other.example"


def test_an_issuer_that_is_another_is_told_with_the_setting_that_mends_it():
    message = refused(token(iss="https://other.example/" + "x" * 10_000))
    assert "https://other.example" in message
    assert "server.issuer" in message
    assert len(message) < 500


# --- one kind is never taken for another ---

ACCESS_TOKEN = {"nonce": None, "client_id": "test-client", "scp": ["openid"], "ext": {}, "jti": "x"}
OTHER_TYPES = [
    "at+jwt",
    "AT+JWT",
    "application/at+jwt",
    "logout+jwt",
    "secevent+jwt",
    "JOSE+JSON",
    "id",
    7,
    ["JWT"],
    {},
]


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt", "application/JWT", "", None])
def test_the_type_of_an_id_token_is_none_in_particular(typ):
    assert claims_of(token(header={} if typ is None else {"typ": typ}))["sub"] == "person-1"


@pytest.mark.parametrize("typ", OTHER_TYPES, ids=repr)
def test_a_token_that_says_that_it_is_of_another_kind_is(typ):
    signed = with_header({"alg": "RS256", "kid": "key-1", "typ": typ}, NONCE)
    assert "typ" in refused(signed)


OTHER_KINDS: dict[str, dict[str, Any]] = {
    "logout token": {"nonce": None, "events": {LOGOUT_EVENT: {}}, "sid": "x", "jti": "x"},
    "logout token with a nonce": {"events": {LOGOUT_EVENT: {}}},
    "security event": {"events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {}}},
    "events of nothing": {"events": None, "header": {"typ": "at+jwt"}},
    "JWT access token of Hydra": {**ACCESS_TOKEN, "aud": []},
    "JWT access token for us": ACCESS_TOKEN,
    "JWT access token of RFC 9068": {"nonce": None, "client_id": "test-client", "scope": "openid"},
    "userinfo": {"nonce": None, "exp": None},
}


@pytest.mark.parametrize("changes", OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_a_token_of_another_kind_signs_nobody_in_and_renews_nobody_s_claims(changes):
    refused(token(**changes))
    with pytest.raises(AuthorizationServerError):
        renewed(token(**changes))


def test_what_else_the_server_likes_to_say_of_somebody_makes_no_other_kind_of_it():
    """Hydra puts whatever its consent application gives it into the ID token."""
    assert claims_of(token(client_id="x", scope="y", scp=["z"]))["sub"] == "person-1"
    assert renewed(token(nonce=None, at_hash=at_hash("access"), client_id="x"))["sub"] == "person-1"


# --- at a refresh ---

TOKENS = TokenSet("access", NOW + 3600.0, 3600.0, ("openid",), "refresh")


def session(**changes: Any) -> Session:
    claims = {"iss": BASE, "sub": "person-1", "email": "old@example.com", "email_verified": True, "name": "Ann"}
    return Session(
        **{
            "id": "s",
            "generation": 0,
            "began": NOW,
            "seen": NOW,
            "tokens": TOKENS,
            "claims": claims,
            "nonce": nonce_digest(NONCE),
            **changes,
        }
    )


def renewed(found: str, *, before: Session | None = None, now: float = NOW, **changes: Any) -> dict[str, Any]:
    keys = json_web_keys(changes.pop("jwks", jwks()))
    settings = changes.pop("settings", CONFIG)
    return refreshed_claims(
        found, keys, settings, SERVER, now=now, access_token="access", before=before or session(), **changes
    )


def test_a_refresh_brings_new_claims_and_keeps_the_others():
    assert renewed(token(email="new@example.com", email_verified=True, nonce=None)) == {
        "iss": BASE,
        "sub": "person-1",
        "email": "new@example.com",
        "email_verified": True,
        "name": "Ann",
    }


def test_what_admit_left_out_stays_out_and_nothing_is_said_of_an_address_that_the_server_does_not_say():
    asked = replace(CONFIG, admit=lambda claims: {"role": "staff"})
    came = {"email": "new@example.com", "email_verified": False, "name": "Ann of Cleves", "picture": "p", "sid": "s"}
    for kept, said in (
        ({"role": "staff"}, {"role": "staff"}),
        ({"name": "A."}, {"name": "Ann of Cleves"}),
        ({"email": "old@example.com"}, {"email": "new@example.com", "email_verified": False}),
        ({"email_verified": True}, {"email_verified": False}),
    ):
        before = replace(session(), claims={"iss": BASE, "sub": "person-1", **kept})
        named = {"iss": BASE, "sub": "person-1", "sid": "s"}
        assert renewed(token(**came), settings=asked, before=before) == {**named, **said}
        # A list of addresses changes nothing, and leaves nothing out.
        listed = renewed(token(**came), settings=replace(CONFIG, admit=["*@example.com"]), before=before)
        assert listed["name"] == "Ann of Cleves"


def test_what_was_said_of_the_address_before_is_not_said_of_the_new_one():
    assert "email_verified" not in renewed(token(email="new@example.com"))
    assert renewed(token(email=None))["email_verified"] is True


def test_an_identity_of_the_api_is_not_compared_and_stays():
    before = session(claims={"sub": "api-user-1"})
    assert renewed(token(), before=before) == {"sub": "api-user-1"}
    with pytest.raises(AnotherIdentity):
        renewed(token(aud="other"), before=before)


@pytest.mark.parametrize("changes", [{"nonce": None}, {"nonce": ""}, {"nonce": NONCE}], ids=repr)
def test_a_refresh_asks_for_no_nonce(changes):
    assert renewed(token(**changes))["sub"] == "person-1"


@pytest.mark.parametrize(
    "nonce", [NONCE[:-1], NONCE + "x", "another", 1, True, [NONCE], {NONCE: 1}, "\ud800"], ids=repr
)
def test_a_nonce_that_is_there_must_be_that_of_the_sign_in(nonce):
    with pytest.raises(AnotherIdentity, match="nonce"):
        renewed(token(nonce=nonce))


def test_a_session_that_kept_no_nonce_compares_none():
    assert renewed(token(nonce="another"), before=session(nonce=None))["sub"] == "person-1"


ANOTHERS = {name: changes for name, changes in WRONG.items() if name.split()[0] in ("iss", "sub", "aud", "azp")} | {
    "sub another person's": {"sub": "person-2"}
}


@pytest.mark.parametrize("changes", ANOTHERS.values(), ids=ANOTHERS)
def test_names_that_are_not_the_session_s_are_another_s_whoever_signed_them(changes):
    late = {"exp": NOW - 86_400}
    with pytest.raises(AnotherIdentity):
        renewed(token(**changes))
    with pytest.raises(AnotherIdentity):
        renewed(token(**changes, key=other_key()))
    with pytest.raises(AnotherIdentity):
        renewed(token(**changes, **late))
    with pytest.raises(AnotherIdentity):
        renewed(token(**changes), settings=config(id_token_signed_response_alg="ES256"))


UNVERIFIED: dict[str, dict[str, Any]] = {
    name: changes for name, changes in WRONG.items() if name.split()[0] in ("exp", "nbf", "at_hash")
} | {
    "of a key that is not published": {"key": other_key()},
    "of another type": {"header": {"typ": "at+jwt"}},
}
for name in ("at_hash", "exp", "nbf", "iat"):
    UNVERIFIED[f"{name} a list"] = {name: [1]}
for name in ("expired", "iat", "nbf"):
    UNVERIFIED[f"{name} beyond the tolerance"] = {
        "expired": {"exp": NOW - RENEWED_TOLERANCE},
        "iat": {"iat": NOW + RENEWED_TOLERANCE + 1},
        "nbf": {"nbf": NOW + RENEWED_TOLERANCE + 1},
    }[name]
del UNVERIFIED["exp past"], UNVERIFIED["nbf future"]  # which the tolerance of a refresh forgives


@pytest.mark.parametrize("changes", UNVERIFIED.values(), ids=UNVERIFIED)
def test_what_cannot_be_verified_is_not_another_s(changes):
    with pytest.raises(AuthorizationServerError) as raised:
        renewed(token(**changes))
    assert not isinstance(raised.value, AnotherIdentity)


@pytest.mark.parametrize(
    "found", ["", "x", "..", "a.b.c", "W10.e30.AA", "x" * (TOKEN_LIMIT + 1)], ids=lambda text: text[:9]
)
def test_what_is_no_token_is_not_another_s(found):
    with pytest.raises(AuthorizationServerError) as raised:
        renewed(found)
    assert not isinstance(raised.value, AnotherIdentity)


def test_a_refresh_lets_the_clock_drift_further():
    late = token(exp=NOW - RENEWED_TOLERANCE + 1)
    assert renewed(late)["sub"] == "person-1"
    refused(late)
    assert renewed(token(iat=NOW - 10_000_000))["sub"] == "person-1"


def test_the_key_of_the_sign_in_is_a_hint_at_a_refresh_and_the_key_at_a_sign_in():
    """After a new key Hydra signs refreshed tokens with it, and names the old one."""
    old = {**other_key().as_dict(private=False), "kid": "key-1"}
    new = {**signing_key().as_dict(private=False), "kid": "key-2"}
    for published in ([old, new], [new]):
        assert renewed(token(), jwks={"keys": published})["sub"] == "person-1"
        with pytest.raises(UnknownKey):
            claims_of(token(), keys=json_web_keys({"keys": published}))


@hostile
@given(
    st.dictionaries(
        st.sampled_from(["iss", "sub", "aud", "azp", "nonce", "exp", "iat", "typ"]), json_values, max_size=3
    )
)
def test_any_claims_of_a_refresh_are_the_same_person_s_or_refused(changes):
    content = {"iss": BASE, "sub": "person-1", "aud": "test-client", "iat": NOW, "exp": NOW + 60, **changes}
    signed = jws.serialize_compact({"alg": "RS256", "kid": "key-1"}, json.dumps(content), signing_key())
    try:
        found = renewed(signed)
    except AuthorizationServerError:
        return
    assert (found["iss"].rstrip("/"), found["sub"]) == (BASE, "person-1")
    assert content.get("nonce") in (None, "", NONCE)


# --- what is no JSON object ---


@pytest.mark.parametrize("payload", [b"", b"[]", b'"x"', b"null", b"{", b"\xff", b"[" * 5000])
def test_claims_that_are_no_json_object_are_wrong(payload):
    refused(jws.serialize_compact({"alg": "RS256", "kid": "key-1"}, payload, signing_key()))


names = (
    st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "nonce", "azp", "at_hash", "auth_time"])
    | any_text
)


@hostile
@given(st.dictionaries(names, json_values, max_size=4))
def test_any_claims_are_accepted_or_refused_by_us(changes):
    content = {
        "iss": BASE,
        "sub": "person-1",
        "aud": "test-client",
        "iat": NOW,
        "exp": NOW + 60,
        "nonce": NONCE,
        **changes,
    }
    signed = jws.serialize_compact({"alg": "RS256", "kid": "key-1"}, json.dumps(content), signing_key())
    try:
        found = claims_of(signed)
    except AuthorizationServerError:
        return
    assert isinstance(found["sub"], str)
    assert found["sub"]
    assert found["nonce"] == NONCE
    assert found["exp"] > NOW - TOLERANCE


# --- the access token that belongs to it ---


def at_hash(access_token: str, algorithm: str = "sha256") -> str:
    digest = hashlib.new(algorithm, access_token.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def test_the_hash_of_the_access_token_is_compared_where_there_is_one():
    assert claims_of(token(at_hash=at_hash("access")))
    assert "at_hash" in refused(token(at_hash=at_hash("another")))
    assert "at_hash" in refused(token(at_hash=at_hash("access", "sha512")))


# --- the signature ---


@cache
def key_for(algorithm: str) -> Any:
    parameters = {"kid": algorithm, "alg": algorithm, "use": "sig"}
    if algorithm.startswith("ES"):
        curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm]
        return ECKey.generate_key(curve, parameters)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", parameters)
    return RSAKey.import_key(signing_key().as_dict(private=True), parameters)


def signed_with(algorithm: str, key: Any, *, hash_of_hydra: bool = False, **header: Any) -> str:
    size = f"sha{algorithm[2:]}" if algorithm[2:].isdigit() else "sha512"
    size = "sha256" if hash_of_hydra else size
    content = {"iss": BASE, "sub": "person-1", "aud": "test-client", "iat": NOW, "exp": NOW + 60, "nonce": NONCE}
    content["at_hash"] = at_hash("access", size)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "EdDSA is deprecated")  # to sign with it; to verify warns nobody
        return jws.serialize_compact({"alg": algorithm, **header}, json.dumps(content), key, algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", ID_TOKEN_ALGORITHMS)
def test_each_algorithm_is_verified_when_it_is_the_one_that_the_settings_name(algorithm):
    key = key_for(algorithm)
    keys = json_web_keys({"keys": [key_for(other).as_dict(private=False) for other in ID_TOKEN_ALGORITHMS]})
    settings = config(id_token_signed_response_alg=algorithm)
    for found in (
        signed_with(algorithm, key),
        signed_with(algorithm, key, kid=algorithm),
        signed_with(algorithm, key, hash_of_hydra=True),
    ):
        assert claims_of(found, keys=keys, settings=settings)["sub"] == "person-1"
        if algorithm != "RS256":
            message = refused(found, keys=keys)
            # A hash of another size is seen before the signature is.
            assert "at_hash" in message or ("RS256" in message and "id_token_signed_response_alg" in message)


def test_a_token_may_name_no_key():
    nameless = signed_with("RS256", signing_key())
    keys = json_web_keys(jwks(other_key(), signing_key()))
    assert claims_of(nameless, keys=keys)["sub"] == "person-1"
    assert "signature" in refused(nameless, keys=json_web_keys(jwks(other_key())))


def test_a_key_that_we_do_not_know_may_be_a_new_one():
    with pytest.raises(UnknownKey):
        claims_of(token(header={"kid": "key-2"}))
    with pytest.raises(UnknownKey):
        claims_of(token(), keys=[])


def test_another_key_of_the_same_name_may_have_taken_its_place():
    with pytest.raises(UnknownKey, match="signature"):
        claims_of(token(key=other_key()))


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_nobody_looks_for_the_key_of_a_token_that_is_wrong_whoever_signed_it(changes):
    with pytest.raises(AuthorizationServerError) as raised:
        claims_of(token(**changes, header={"kid": "made up"}))
    assert not isinstance(raised.value, UnknownKey)


def test_every_part_is_signed():
    head, payload, signature = token().split(".")
    other = token(sub="person-2").split(".")
    refused(f"{head}.{other[1]}.{signature}")
    refused(f"{other[0]}.{payload}.{other[2]}")
    refused(f"{head}.{payload}.")
    refused(f"{head}.{payload}.{signature[:-4]}")
    flipped = "A" if signature[10] != "A" else "B"
    refused(f"{head}.{payload}.{signature[:10]}{flipped}{signature[11:]}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, ["RS256"], {"alg": "RS256"}, 0])
@pytest.mark.parametrize("signature", [b"", b"x", b"\0" * 256])
def test_unsigned_is_refused_however_it_is_spelled(algorithm, signature):
    content = {"iss": BASE, "sub": "person-1", "aud": "test-client", "iat": NOW, "exp": NOW + 60, "nonce": NONCE}
    refused(unsigned({"alg": algorithm, "kid": "key-1"}, content, signature))
    refused(unsigned({"kid": "key-1"}, content, signature))


@pytest.mark.parametrize("secret", ["as_pem", "as_der", "as_json"])
def test_the_public_key_is_no_secret_to_sign_with(secret):
    public = signing_key()
    made_of = {
        "as_pem": lambda: public.as_pem(private=False),
        "as_der": lambda: public.as_der(private=False),
        "as_json": lambda: json.dumps(public.as_dict(private=False)).encode(),
    }[secret]()
    content = {"iss": BASE, "sub": "person-1", "aud": "test-client", "iat": NOW, "exp": NOW + 60, "nonce": NONCE}
    head = unsigned({"alg": "HS256", "kid": "key-1"}, content).rpartition(".")[0]
    signature = urlsafe_b64encode(hmac.digest(made_of, head.encode(), "sha256")).rstrip(b"=").decode()
    refused(f"{head}.{signature}")


def embedded() -> dict[str, Any]:
    return other_key().as_dict(private=False)


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": "its own key"},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"kid": "../../dev/null"},
        {"kid": "https://evil.example/key"},
        {"kid": "' OR 1=1 --"},
        {"kid": "k" * 10_000},
        {"kid": ["key-1"]},
        {"kid": {"key-1": 1}},
        {"kid": 1},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"b64": True},
        {"typ": 7},
        {"zip": "DEF"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_the_header_persuades_nobody(header):
    if "jwk" in header:
        header = {"jwk": embedded()}
    forged = {"alg": "RS256", "kid": "key-1", **header}
    content = {"iss": BASE, "sub": "person-1", "aud": "test-client", "iat": NOW, "exp": NOW + 60, "nonce": NONCE}
    head = unsigned(forged, content).rpartition(".")[0]
    other = jws.serialize_compact({"alg": "RS256"}, b"x", other_key()).rpartition(".")[2]
    refused(f"{head}.{other}")


@pytest.mark.parametrize("header", [{"crit": ["x"], "x": 1}, {"b64": True}, {"crit": []}])
def test_an_extension_is_refused_though_the_server_signed_it(header):
    payload = json.dumps({"iss": BASE, "sub": "person-1"})
    head = unsigned({"alg": "RS256", "kid": "key-1", **header}, payload.encode()).rpartition(".")[0]
    raw = signing_key().private_key
    signature = urlsafe_b64encode(raw.sign(head.encode(), PKCS1v15(), SHA256())).rstrip(b"=").decode()
    assert "extension" in refused(f"{head}.{signature}")


@pytest.mark.parametrize(
    "found",
    [
        "",
        "x",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "\ud800.\ud800.\ud800",
        "é.é.é",
        "eyJhbGciOiJSUzI1NiJ9..",
        "W10.e30.AA",
        "bnVsbA.e30.AA",
        "x" * (TOKEN_LIMIT + 1),
        "." * 5_000_000,
    ],
    ids=lambda text: text[:12].encode("unicode-escape").decode(),
)
def test_what_is_no_token_is_refused(found):
    refused(found)


def test_a_token_is_not_looked_at_beyond_a_sane_size():
    padded = token(padding="x" * TOKEN_LIMIT)
    assert "size" in refused(padded)


@hostile
@given(json_values, json_values, st.binary(max_size=20))
def test_any_three_parts_are_refused(header, payload, signature):
    refused(unsigned(header, payload, signature))


# --- a logout token ---


def logout_token(**changes: Any) -> str:
    claims = {"events": {LOGOUT_EVENT: {}}, "jti": "jti-1", "sid": "sid-1", "sub": None, "exp": None, "email": None}
    return id_token(NOW, **{**claims, **changes})


def logged_out(found: str, now: float = NOW) -> dict[str, Any]:
    return logout_token_claims(found, json_web_keys(jwks()), CONFIG, SERVER, now=now)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sub": "person-1"},
        {"sid": None, "sub": "person-1"},
        {"exp": NOW + 60},
        {"events": {LOGOUT_EVENT: {"x": 1}, "y": 1}},
        {"sub": ""},
        {"sid": "", "sub": "person-1"},
        {"header": {"typ": "logout+jwt"}},
        {"header": {"typ": "application/logout+jwt"}},
        {"header": {"typ": "JWT"}},
    ],
)
def test_a_logout_token_names_a_session_or_a_person(changes):
    assert logged_out(logout_token(**changes))["jti"] == "jti-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"events": None},
        {"events": {}},
        {"events": {"other": {}}},
        {"events": [LOGOUT_EVENT]},
        {"events": {LOGOUT_EVENT: None}},
        {"events": {LOGOUT_EVENT: True}},
        {"nonce": "x"},
        {"nonce": ""},
        {"jti": None},
        {"jti": ""},
        {"jti": 1},
        {"sid": None},
        {"sid": ""},
        {"sid": 1},
        {"sid": ["sid-1"]},
        {"sid": "", "sub": ""},
        {"sub": 1},
        {"sub": []},
        {"sid": 0},
        {"header": {"typ": "at+jwt"}},
        {"header": {"typ": "secevent+jwt"}},
        {"aud": ["test-client", "other"], "azp": "test-client"},
        {"iat": 1e300},
        {"iat": -1},
        {"exp": 1e300},
        {"exp": "never"},
        {"iat": NOW - 604_800, "exp": NOW + 60},
        {"iss": "https://evil.example"},
        {"aud": "other"},
        {"aud": None},
        {"iat": None},
        {"iat": NOW + 600},
        {"iat": NOW - LOGOUT_TOKEN_AGE - TOLERANCE - 1},
        {"exp": NOW - 600},
        {"key": "other"},
    ],
    ids=repr,
)
def test_anything_else_ends_no_session(changes):
    if changes.get("key"):
        changes = {"key": other_key()}
    with pytest.raises(AuthorizationServerError):
        logged_out(logout_token(**changes))


@pytest.mark.parametrize(("changes", "names"), [({"sub": ""}, {"sid"}), ({"sid": "", "sub": "person-1"}, {"sub"})])
def test_an_empty_name_is_an_absent_one(changes, names):
    assert {"sub", "sid"} & logged_out(logout_token(**changes)).keys() == names


@pytest.mark.parametrize(
    "changes", [{"events": {}}, {"sid": None}, {"aud": "x"}, {"iat": 1}, {"nonce": "n"}, {"jti": ""}], ids=repr
)
def test_nobody_looks_for_the_key_or_the_issuer_of_a_logout_token_that_is_none(changes):
    with pytest.raises(AuthorizationServerError) as raised:
        logged_out(logout_token(**changes, iss="https://other.example", header={"kid": "made up"}))
    assert not isinstance(raised.value, UnknownKey | AnotherIssuer)


def test_an_id_token_is_no_logout_token_and_a_logout_token_signs_nobody_in():
    with pytest.raises(AuthorizationServerError):
        logged_out(token())
    refused(logout_token(sub="person-1", exp=NOW + 60))


def test_a_nonce_of_null_is_a_nonce():
    content = {"iss": BASE, "aud": "test-client", "iat": NOW, "jti": "x", "sid": "y", "events": {LOGOUT_EVENT: {}}}
    signed = jws.serialize_compact({"alg": "RS256"}, json.dumps({**content, "nonce": None}), signing_key())
    with pytest.raises(AuthorizationServerError):
        logged_out(signed)


@pytest.mark.parametrize("auth_time", [None, "", 0, 0.0, -1, -62_135_596_800])
def test_who_does_not_say_when_somebody_signed_in_says_it_by_the_token_itself(auth_time):
    assert authenticated_at({"auth_time": auth_time, "iat": NOW}) == authenticated_at({"iat": NOW}) == NOW
    assert authenticated_at({"auth_time": NOW - 7, "iat": NOW}) == NOW - 7
