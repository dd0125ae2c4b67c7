"""A signature is the server's, by a key that it publishes and the algorithm that was configured, or it is none."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from lumin_middleware.errors import AuthorizationServerError
from lumin_middleware.protocol.signatures import (
    TOKEN_LIMIT,
    UnknownKey,
    json_web_keys,
    require_signature,
    signed_token,
    successors,
)
from tests.fakes import hostile, id_token, json_values, jwks, other_key, signing_key, unsigned

NOW = 1_790_000_000


@cache
def key_for(algorithm: str) -> Any:
    parameters = {"kid": algorithm, "alg": algorithm, "use": "sig"}
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", parameters)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", parameters)
    return RSAKey.import_key(signing_key().as_dict(private=True), parameters)


def named(key: RSAKey, kid: str | None, **members: Any) -> dict[str, Any]:
    """A published key under another name, or under none."""
    found = {**key.as_dict(private=False), "kid": kid, **members}
    return {name: value for name, value in found.items() if value is not None}


def is_signed(token: str, *keys: dict[str, Any], hint: bool = False) -> bool:
    try:
        published = json_web_keys({"keys": list(keys)})
        require_signature(signed_token(token), published, "RS256", others=published if hint else ())
    except UnknownKey:
        return False
    return True


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
    for others in ([], keys):
        with pytest.raises(UnknownKey):
            require_signature(signed_token(id_token(NOW, key=other_key())), keys, "RS256", others=others)


# --- the key that a token names ---


def test_the_key_that_a_token_names_is_the_only_one_that_counts():
    token = id_token(NOW, header={"kid": "old"})
    assert is_signed(token, named(signing_key(), "old"), named(other_key(), "new"))
    assert not is_signed(token, named(signing_key(), "new"))
    assert not is_signed(token, named(other_key(), "old"), named(signing_key(), "new"))
    assert not is_signed(token, named(signing_key(), None))


@pytest.mark.parametrize("kid", ["old", "gone", "new", "", None])
def test_as_a_hint_it_is_the_first_that_is_tried_and_every_other_one_may_have_signed(kid):
    token = id_token(NOW, header={"kid": kid} if kid is not None else {"kid": ""})
    assert is_signed(token, named(other_key(), "old"), named(signing_key(), "new"), hint=True)
    assert is_signed(token, named(signing_key(), None), hint=True)
    assert not is_signed(token, named(other_key(), "old"), named(other_key(), "new"), hint=True)


@pytest.mark.parametrize("change", [{"alg": "RS512"}, {"alg": "PS256"}, {"use": "enc"}], ids=repr)
def test_no_hint_leads_to_a_key_of_another_algorithm_or_use(change):
    token = id_token(NOW, header={"kid": "old"})
    assert not is_signed(token, named(other_key(), "old"), named(signing_key(), "new", **change), hint=True)


def test_the_successors_of_a_key_are_those_that_were_published_since():
    old, new = named(other_key(), "old"), named(signing_key(), "new")
    former, present = json_web_keys({"keys": [old]}), json_web_keys({"keys": [old, new]})
    assert [key.get("kid") for key in successors("old", present, former)] == ["new"]
    assert successors("old", former, former) == []
    assert [key.get("kid") for key in successors("old", json_web_keys({"keys": [new]}), former)] == ["new"]
    for kid in ("new", "made-up", "", None, ["old"], 7):
        assert successors(kid, present, former) == []
    assert successors("old", present, []) == []


@pytest.mark.parametrize("kid", ["", None])
def test_a_token_that_names_no_key_is_by_any_of_them(kid):
    header = {"alg": "RS256"} | ({"kid": kid} if kid is not None else {})
    token = jws.serialize_compact(header, json.dumps({"sub": "s"}), signing_key())
    assert is_signed(token, named(other_key(), "a"), named(signing_key(), "b"))
    assert not is_signed(token, named(other_key(), "a"))


def test_another_algorithm_is_named_with_the_setting():
    token = unsigned({"alg": "PS256"}, {"sub": "s"}, b"x")
    with pytest.raises(AuthorizationServerError, match="id_token_signed_response_alg") as raised:
        require_signature(signed_token(token), json_web_keys(jwks()), "RS256", others=json_web_keys(jwks()))
    assert not isinstance(raised.value, UnknownKey)


def test_a_member_of_the_header_that_nobody_knows_is_passed_over():
    """RFC 7515, 4."""
    head = unsigned({"alg": "RS256", "kid": "key-1", "rat": 1, "x-new": {"a": [1]}}, {"sub": "s"}).rpartition(".")[0]
    signature = jws.JWSRegistry.algorithms["RS256"].sign(head.encode(), signing_key())
    token = f"{head}.{unsigned(signature, b'').partition('.')[0]}"
    assert is_signed(token, signing_key().as_dict(private=False))


# --- what is read ---


def test_three_hundred_groups_are_read():
    token = id_token(NOW, groups=[f"/a/department/of/some/company/team-{number:04}" for number in range(300)])
    assert 16_384 < len(token) < TOKEN_LIMIT
    assert len(signed_token(token).claims["groups"]) == 300
    assert is_signed(token, signing_key().as_dict(private=False))


def test_what_is_longer_is_refused_with_its_size_and_the_limit():
    token = id_token(NOW, groups=["x" * 100] * 1000)
    with pytest.raises(AuthorizationServerError, match=f"{len(token)} .* {TOKEN_LIMIT}"):
        signed_token(token)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"sub": "person-1", "sub": "person-2"}',
        b'{"sub": "person-1", "aud": {"x": 1, "x": 2}}',
        b'{"sub": "a", "su\\u0062": "b"}',
        b'{"exp": 1, "exp": "1"}',
    ],
)
def test_claims_that_contradict_each_other_are_none(payload):
    with pytest.raises(AuthorizationServerError, match="contradict"):
        signed_token(jws.serialize_compact({"alg": "RS256"}, payload, signing_key()))


def test_a_header_that_contradicts_itself_is_none():
    head = unsigned(b'{"alg": "RS256", "kid": "a", "kid": "key-1"}', {"sub": "s"})
    with pytest.raises(AuthorizationServerError, match="contradicts"):
        signed_token(head + "AAAA")
