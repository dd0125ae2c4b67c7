"""What is known of a person: of the API's answer, in a session, and for those who go by it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.errors import AuthorizationServerError, ServerUnavailable
from lumin_middleware.ports import Answer
from lumin_middleware.protocol.claims import CLAIMS_LIMIT, kept_claims, user_info_claims, verified_email
from tests.fakes import config, hostile, json_values

CONFIG = config()

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


@pytest.mark.parametrize("names", [["email"], ["sub", "email"], ["email", "email_verified"]])
def test_an_address_is_not_kept_without_what_is_said_of_it(names):
    found = kept_claims({"sub": "s", "email": "a@b.example", "email_verified": False}, config(claims=names))
    assert found == {"sub": "s", "email": "a@b.example", "email_verified": False}
    room = CLAIMS_LIMIT - len(json.dumps({"sub": "s", "email": ""})) - 5
    assert kept_claims({"sub": "s", "email": "e" * room, "email_verified": False}, config(claims=names)) in (
        {"sub": "s"},
        {"sub": "s", "email_verified": False},
    )


def test_what_is_said_of_an_address_is_not_kept_without_it_unless_it_is_named():
    assert kept_claims({"sub": "s", "email_verified": True}, config(claims=["email"])) == {"sub": "s"}
    assert kept_claims({"email_verified": True}, config(claims=["email_verified"])) == {"email_verified": True}


def test_an_empty_claim_is_an_absent_one():
    assert kept_claims({"sub": "s", "sid": "", "email": "", "name": "", "picture": "p"}, CONFIG) == {
        "sub": "s",
        "picture": "p",
    }


# --- who goes by an address ---

VOUCHED: list[Any] = [True, "true", "True", "TRUE", None, ""]
NOT_VOUCHED: list[Any] = [False, "false", "False", "FALSE", " false", "no", "0", 0, 1, 0.0, [], [True], {}, {"a": True}]


@pytest.mark.parametrize("verified", VOUCHED, ids=repr)
def test_an_address_that_the_server_vouches_for_is_one_to_go_by(verified):
    assert verified_email({"email": "a@b.example", "email_verified": verified}) == "a@b.example"
    assert verified_email({"email": "a@b.example"}) == "a@b.example"


@pytest.mark.parametrize("verified", NOT_VOUCHED, ids=repr)
def test_an_address_that_is_not_verified_is_nobody_s_however_that_is_said(verified):
    assert verified_email({"email": "a@b.example", "email_verified": verified}) is None


@pytest.mark.parametrize("address", [None, "", 7, ["a@b.example"], {}, True], ids=repr)
def test_what_is_no_address_is_none(address):
    assert verified_email({"email": address}) is None


@hostile
@given(st.dictionaries(st.sampled_from(["email", "email_verified"]), json_values))
def test_any_claims_give_an_address_or_none(claims):
    found = verified_email(claims)
    assert found is None or (found == claims["email"] and claims.get("email_verified") is not False)
