"""The authorization request is checked as Ory Hydra checks it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

import pytest

from lumin_middleware.errors import RequestRefused
from tests.emulator.party import BASE, POST, PUBLIC, Party, ok, query
from tests.emulator.person import Person

pytestmark = pytest.mark.anyio


async def test_the_callback_holds_code_granted_scope_and_state_and_keeps_its_own_query(party):
    location = party.emulator.sign_in(party.url())
    assert location.startswith("https://app.example/cb?from=lumin%20&code=ory_ac_")
    answer = query(location)
    assert (answer["scope"], answer["state"]) == (POST.scope, "state-of-eight")
    assert set(answer) == {"from", "code", "scope", "state"}  # Hydra sends no iss (RFC 9207)
    assert len(answer["code"]) == 94


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"state": "seven77"}, "invalid_state"),
        ({"state": None}, "invalid_state"),
        ({"scope": "openid sign:everything"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": '"\\é'}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "S512"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"prompt": "none login"}, "login_required"),
        ({"prompt": "select_account"}, "invalid_request"),
        ({"scope": "openid\toffline_access"}, "invalid_scope"),
        ({"id_token_hint": "nonsense"}, "invalid_request"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"prompt": "perhaps"}, "invalid_request"),
        ({"audience": "https://other.example"}, "invalid_request"),
    ],
)
async def test_the_callback_is_told_what_is_wrong(party, changes, error):
    answer = party.callback(**changes)
    assert answer["error"] == error
    assert answer["state"] == (changes.get("state", "state-of-eight") or "")
    assert set(answer) == {"from", "error", "error_description", "state"}
    over_http = await Person(party).sign_in(party.url(**changes))
    assert (over_http.status_code, query(over_http.headers["location"])) == (303, answer)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"redirect_uri": "https://app.example/cb"},
        {"redirect_uri": "https://app.example/cb?from=lumin+"},
        {"redirect_uri": "https://app.example/other/"},
        {"redirect_uri": "https://app.example:443/other"},
        {"redirect_uri": None},
        {"response_mode": "pigeon"},
        {"request": "eyJhbGciOiJub25lIn0.e30."},
        {"request_uri": "https://app.example/request"},
    ],
)
async def test_what_may_not_reach_a_callback_ends_on_a_page(party, changes):
    with pytest.raises(RequestRefused):
        party.emulator.sign_in(party.url(**changes))
    page = await party.http.get(party.url(**changes))
    assert page.status_code in (400, 401, 500)
    assert "location" not in page.headers
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("name", ["state", "scope", "nonce", "response_type"])
async def test_a_parameter_twice_is_told_to_the_callback(party, name):
    location = party.emulator.sign_in(party.url() + f"&{name}=again")
    assert query(location)["error"] == "invalid_request"


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_destination_given_twice_is_never_used(party, name):
    with pytest.raises(RequestRefused):
        party.emulator.sign_in(party.url() + "&" + urlencode({name: "again"}))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5123/cb", "http://[::1]:9/cb", "http://127.0.0.1/cb"])
async def test_a_loopback_address_may_have_any_port(uri):
    assert Party(PUBLIC).emulator.sign_in(Party(PUBLIC).url(redirect_uri=uri)).startswith(f"{uri}?code=")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5123/other", "http://localhost:5123/cb", "https://127.0.0.1:1/cb"])
async def test_nothing_but_the_port_of_a_loopback_address_may_differ(uri):
    with pytest.raises(RequestRefused):
        Party(PUBLIC).emulator.sign_in(Party(PUBLIC).url(redirect_uri=uri))


async def test_without_openid_the_only_registered_uri_is_the_default(party):
    only = replace(POST, redirect_uris=("https://app.example/only",))
    party.emulator.clients["post"] = only
    url = party.url(redirect_uri=None, scope="sign:requests")
    location = party.emulator.sign_in(url)
    assert location.startswith("https://app.example/only?code=")
    ok(await party.redeem(query(location)["code"], redirect_uri=None))


async def test_of_several_registered_uris_none_is_the_default(party):
    with pytest.raises(RequestRefused):
        party.emulator.sign_in(party.url(redirect_uri=None, scope="sign:requests"))


async def test_a_registered_audience_may_be_asked_for(party):
    assert "code" in party.callback(audience="https://api.example")


async def test_a_public_client_must_send_a_challenge():
    party = Party(PUBLIC)
    location = party.emulator.sign_in(party.url(code_challenge=None, code_challenge_method=None))
    assert query(location)["error"] == "invalid_request"


async def test_a_person_can_deny(party):
    answer = query(party.emulator.sign_in(party.url(), deny=True))
    assert (answer["error"], answer["state"]) == ("access_denied", "state-of-eight")
    odd = query(party.emulator.sign_in(party.url(), deny="login request denied"))
    assert odd["error"] == "login request denied"


async def test_a_person_can_grant_less_than_asked(party):
    answer = query(party.emulator.sign_in(party.url(), scope="templates openid and:more"))
    assert answer["scope"] == "openid templates"
    tokens = ok(await party.redeem(answer["code"]))
    assert tokens["scope"] == "openid templates"
    assert "refresh_token" not in tokens


async def test_the_person_is_the_one_named(party):
    second, third = list(party.emulator.users.values())[1:3]
    by_hint = await party.tokens(login_hint=second.email)
    assert (await party.claims(by_hint["id_token"]))["sub"] == second.sub
    code = query(party.emulator.sign_in(party.url(login_hint=second.email), sub=third.sub))["code"]
    named = ok(await party.redeem(code))
    assert (await party.api(named["access_token"])).json()["user"]["name"] == third.name


async def test_only_its_own_authorization_endpoint_is_used(party):
    with pytest.raises(RequestRefused):
        party.emulator.sign_in(party.url().replace(BASE, "https://elsewhere.example"))
