"""Nobody is believed without the server's signature, for this client, this login, and now."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
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
from lumin_middleware.errors import AuthorizationServerError, ServerUnavailable
from lumin_middleware.ports import Answer
from lumin_middleware.protocol.identity import (
    CLAIMS_LIMIT,
    ID_TOKEN_LIMIT,
    LOGOUT_EVENT,
    LOGOUT_TOKEN_AGE,
    RENEWED_TOLERANCE,
    TOLERANCE,
    UnknownKey,
    id_token_claims,
    json_web_keys,
    kept_claims,
    logout_token_claims,
    user_info_claims,
)
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
CONFIG = config()


def claims_of(token: str, *, keys: list[Any] | None = None, settings: Any = CONFIG, **options: Any) -> dict[str, Any]:
    known = json_web_keys(jwks()) if keys is None else keys
    return id_token_claims(
        token, known, settings, SERVER, **{"now": NOW + 0.9, "access_token": "access", "nonce": NONCE, **options}
    )


def token(**changes: Any) -> str:
    return id_token(NOW, **{"nonce": NONCE, **changes})


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
    "several audiences, issued to us": {"aud": ["test-client", "other"], "azp": "test-client"},
    "azp": {"azp": "test-client"},
    "sub as long as it may be": {"sub": "s" * 255},
    "a trailing slash": {"iss": f"{BASE}/"},
    "a fraction of a second": {"iat": NOW - 0.5, "exp": NOW + 59.5},
    "as late as our clock may be": {"exp": NOW - TOLERANCE + 1},
    "as early as our clock may be": {"iat": NOW + TOLERANCE, "nbf": NOW + TOLERANCE},
    "an old sign-in": {"iat": NOW - 10_000_000},
    "claims that Hydra adds": {"rat": NOW, "auth_time": NOW, "jti": "x", "sid": "y", "acr": "0", "amr": []},
    "more than a number holds": {"exp": 10**400},
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


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_what_is_wrong(changes):
    refused(token(**changes))


def test_a_refresh_asks_for_no_nonce_and_lets_the_clock_drift_further():
    late = id_token(NOW, exp=NOW - RENEWED_TOLERANCE + 1, nonce="of the login")
    assert claims_of(late, nonce=None, tolerance=RENEWED_TOLERANCE)["sub"] == "person-1"
    refused(late, nonce=None)


def test_an_issuer_that_is_another_is_told_with_the_setting_that_mends_it():
    message = refused(token(iss="https://other.example/" + "x" * 10_000))
    assert "https://other.example" in message
    assert "server.issuer" in message
    assert len(message) < 500


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


def signed_with(algorithm: str, key: Any, **header: Any) -> str:
    size = f"sha{algorithm[2:]}" if algorithm[2:].isdigit() else "sha512"
    content = {"iss": BASE, "sub": "person-1", "aud": "test-client", "iat": NOW, "exp": NOW + 60, "nonce": NONCE}
    content["at_hash"] = at_hash("access", size)
    return jws.serialize_compact({"alg": algorithm, **header}, json.dumps(content), key, algorithms=[algorithm])


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ID_TOKEN_ALGORITHMS)
def test_each_algorithm_is_verified_when_it_is_the_one_that_the_settings_name(algorithm):
    key = key_for(algorithm)
    keys = json_web_keys({"keys": [key_for(other).as_dict(private=False) for other in ID_TOKEN_ALGORITHMS]})
    settings = config(id_token_signed_response_alg=algorithm)
    for found in (signed_with(algorithm, key), signed_with(algorithm, key, kid=algorithm)):
        assert claims_of(found, keys=keys, settings=settings)["sub"] == "person-1"
        if algorithm != "RS256":
            assert "RS256" in refused(found, keys=keys)


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


def test_another_key_of_the_same_name_is_a_wrong_signature_and_not_an_unknown_key():
    with pytest.raises(AuthorizationServerError) as raised:
        claims_of(token(key=other_key()))
    assert not isinstance(raised.value, UnknownKey)
    assert "signature" in str(raised.value)


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
        "x" * (ID_TOKEN_LIMIT + 1),
        "." * 5_000_000,
    ],
    ids=lambda text: text[:12].encode("unicode-escape").decode(),
)
def test_what_is_no_token_is_refused(found):
    refused(found)


def test_a_token_is_not_looked_at_beyond_a_sane_size():
    padded = token(padding="x" * ID_TOKEN_LIMIT)
    assert "size" in refused(padded)


@hostile
@given(json_values, json_values, st.binary(max_size=20))
def test_any_three_parts_are_refused(header, payload, signature):
    refused(unsigned(header, payload, signature))


# --- keys ---


def test_the_keys_of_a_set_are_those_that_sign():
    rsa = signing_key().as_dict(private=False)
    found = json_web_keys(
        {
            "keys": [
                rsa,
                {**rsa, "use": "enc"},
                {**rsa, "use": None},
                {"kty": "oct", "k": "AAAA"},
                {"kty": "unknown"},
                {"kty": ["RSA"]},
                {},
                None,
                "RSA",
                {"kty": "RSA"},
                {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
                {name: value for name, value in rsa.items() if name != "use"},
            ]
        }
    )
    assert [key.as_dict(private=False).get("n") for key in found] == [rsa["n"], rsa["n"]]


@pytest.mark.parametrize("document", [None, [], "x", {}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [None]}])
def test_what_is_no_set_has_no_keys(document):
    assert json_web_keys(document) == []


odd = json_values | st.sampled_from(["RSA", "EC", "OKP", "P-256", "X25519", "AQAB", "sig", ["verify"], ["sign"]])


@pytest.mark.filterwarnings("ignore:Key size should be")
@hostile
@given(
    st.sampled_from(["RS256", "ES256", "EdDSA"]),
    st.dictionaries(
        st.sampled_from(["kty", "n", "e", "crv", "x", "y", "use", "alg", "kid", "key_ops"]), odd, max_size=3
    ),
)
def test_any_key_is_taken_or_passed_over_and_signs_for_nobody_else(algorithm, changes):
    keys = json_web_keys({"keys": [{**key_for(algorithm).as_dict(private=False), **changes}]})
    with pytest.raises(AuthorizationServerError):
        claims_of(token(key=other_key()), keys=keys)


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
        {"sub": ""},
        {"sub": 1},
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


def test_an_id_token_is_no_logout_token_and_a_logout_token_signs_nobody_in():
    with pytest.raises(AuthorizationServerError):
        logged_out(token())
    refused(logout_token(sub="person-1", exp=NOW + 60))


def test_a_nonce_of_null_is_a_nonce():
    content = {"iss": BASE, "aud": "test-client", "iat": NOW, "jti": "x", "sid": "y", "events": {LOGOUT_EVENT: {}}}
    signed = jws.serialize_compact({"alg": "RS256"}, json.dumps({**content, "nonce": None}), signing_key())
    with pytest.raises(AuthorizationServerError):
        logged_out(signed)


# --- the API's user info ---


def info(body: object, status: int = 200, media_type: str = "application/json") -> Answer:
    return Answer(status, media_type, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"id": "u1", "email": "a@b.example", "name": "Ann"}, {"sub": "u1", "email": "a@b.example", "name": "Ann"}),
        ({"id": "u1"}, {"sub": "u1"}),
        ({"id": "u1", "email": None, "name": 7, "role": "x"}, {"sub": "u1"}),
    ],
)
def test_the_user_info_gives_claims(user, expected):
    assert user_info_claims(info({"user": user})) == expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 499])
def test_a_refusal_is_nobody(status):
    assert user_info_claims(info({"message": "no"}, status)) is None


@pytest.mark.parametrize("status", [100, 201, 204, 302, 429, 500, 502, 503])
def test_trouble_with_the_api_is_trouble(status):
    with pytest.raises(ServerUnavailable):
        user_info_claims(info({"user": {"id": "u1"}}, status))


@pytest.mark.parametrize(
    "answer",
    [
        info({"user": {"id": "u1"}}, media_type="text/html"),
        info({"user": {"id": "u1"}}, media_type="application/jwt"),
        info(b""),
        info(b"\xff"),
        info(b"[" * 100_000),
        info([]),
        info({}),
        info({"user": None}),
        info({"user": []}),
        info({"user": {}}),
        info({"user": {"id": ""}}),
        info({"user": {"id": 1}}),
        info({"user": {"id": "u" * 256}}),
        info({"user": {"id": "u\ud83d"}}),
        info({"user": {"id": None}}),
        info({"id": "u1"}),
    ],
    ids=lambda answer: answer.body[:30].decode("latin-1"),
)
def test_what_is_no_user_is_an_error(answer):
    with pytest.raises(AuthorizationServerError) as raised:
        user_info_claims(answer)
    assert raised.value.reason == "bad_user_info"


@hostile
@given(
    st.binary(max_size=50) | json_values.map(lambda value: json.dumps({"user": value}).encode()), st.integers(100, 599)
)
def test_any_answer_of_the_api_is_claims_or_nobody_or_an_error_of_ours(body, status):
    try:
        found = user_info_claims(Answer(status, "application/json", body))
    except AuthorizationServerError:
        return
    assert found is None or all(isinstance(value, str) for value in found.values())


# --- what a session keeps ---


def test_a_session_keeps_the_claims_that_the_settings_name_in_their_order():
    found = kept_claims({"picture": "p", "sub": "s", "iss": "i", "sid": "d", "nonce": "n", "custom": 1}, CONFIG)
    assert list(found.items()) == [("iss", "i"), ("sub", "s"), ("sid", "d"), ("picture", "p")]
    assert kept_claims({"custom": [1], "sub": "s"}, config(claims=["sub", "custom"])) == {"sub": "s", "custom": [1]}
    assert kept_claims({"email": "e", "sub": "s"}, config(claims=["email"])) == {"sub": "s", "email": "e"}
    assert kept_claims({}, CONFIG) == {}


def test_claims_that_just_fit_are_kept():
    room = CLAIMS_LIMIT - len(json.dumps({"sub": ""}))
    assert kept_claims({"sub": "s" * room}, CONFIG) == {"sub": "s" * room}
    assert kept_claims({"sub": "s" * (room + 1)}, CONFIG) == {}


@pytest.mark.parametrize("character", ["x", "é", '"', "\ud800"])
def test_what_does_not_fit_is_left_out_and_what_follows_may_fit(character):
    found = kept_claims({"sub": "s", "name": character * CLAIMS_LIMIT, "picture": "p"}, CONFIG)
    assert found == {"sub": "s", "picture": "p"}


@hostile
@given(st.dictionaries(st.sampled_from(["iss", "sid", *CONFIG.claims, "other"]), json_values | st.text(max_size=3000)))
def test_what_is_kept_is_bounded(claims):
    found = kept_claims(claims, CONFIG)
    assert len(json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass")) <= CLAIMS_LIMIT
    assert "other" not in found
    assert all(found[name] is claims[name] for name in found)
