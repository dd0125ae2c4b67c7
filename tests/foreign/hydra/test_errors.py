"""Each error that Hydra gives at the callback and at the token endpoint, made by the real wrong request.

Nobody sees a traceback or a token, what the site tells is in its own words, and whoever is signed in stays so unless
Hydra ended the grant itself.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.site_rig import query

from .person import ErrorPage
from .server import Hydra

pytestmark = pytest.mark.anyio


def changed(url: str, **changes: str | None) -> str:
    """An authorization request with other parameters; None leaves one out."""
    base, _, _ = url.partition("?")
    kept = {name: value for name, value in {**query(url), **changes}.items() if value is not None}
    return f"{base}?{urlencode(kept)}"


def is_clean(answer: Any) -> bool:
    """A page of the site's own, which holds nothing that it should not."""
    text = answer.body.decode()
    return not re.search(r"ory_at_|ory_rt_|ory_ac_|Traceback|code_verifier", text)


# --- at the callback ------------------------------------------------------------------------------------

AT_THE_CALLBACK: dict[str, tuple[dict[str, str | None], dict[str, Any]]] = {
    "access_denied": ({}, {"deny": "login"}),
    "access_denied by consent": ({}, {"deny": "consent"}),
    "login request denied": ({}, {"deny": "login", "error": "login request denied"}),
    "invalid_scope": ({"scope": "openid sign:everything"}, {}),
    "unsupported_response_type": ({"response_type": "token"}, {}),
    "invalid_request": ({"code_challenge_method": "plain"}, {}),
    "invalid_request by prompt": ({"prompt": "select_account"}, {}),
    "login_required": ({"prompt": "none"}, {}),
    "invalid_request by id_token_hint": ({"id_token_hint": "nonsense"}, {}),
    "registration_not_supported": ({"registration": "{}"}, {}),
}


@pytest.mark.parametrize("name", AT_THE_CALLBACK)
async def test_an_error_at_the_callback_is_a_page_and_no_sign_in(new_site, name):
    changes, decisions = AT_THE_CALLBACK[name]
    visitor = new_site().visitor()
    callback = visitor.at_hydra.go(changed(await visitor.begin(), **changes), **decisions)
    assert query(callback)["error"] in name
    answer = await visitor.navigate(callback)
    assert answer.status in (400, 403, 502), answer.body
    assert is_clean(answer)
    assert not await visitor.is_signed_in()


@pytest.mark.parametrize("name", AT_THE_CALLBACK)
async def test_an_error_at_the_callback_takes_nobodys_session(new_site, name):
    changes, decisions = AT_THE_CALLBACK[name]
    visitor = new_site().visitor()
    await visitor.sign_in()
    begun = await visitor.navigate("/auth/login?return_to=/who")
    with_error = visitor.site.hydra.person()  # a browser that Hydra does not know
    callback = with_error.go(changed(begun.header("location"), **changes), **decisions)
    with_error.close()
    await visitor.navigate(callback)
    assert (await visitor.who())["subject"] == "ada"


async def test_a_state_that_is_too_short_comes_back_as_unknown(new_site):
    visitor = new_site().visitor()
    callback = visitor.at_hydra.go(changed(await visitor.begin(), state="short"))
    assert query(callback)["error"] == "invalid_state"
    assert (await visitor.navigate(callback)).status == 400


@pytest.mark.parametrize(
    "changes", [{"client_id": "nobody"}, {"redirect_uri": "https://elsewhere.example/"}, {"response_mode": "pigeon"}]
)
async def test_what_hydra_shows_itself_never_reaches_the_site(new_site, changes):
    visitor = new_site().visitor()
    with pytest.raises(ErrorPage):
        visitor.at_hydra.go(changed(await visitor.begin(), **changes))


async def test_a_callback_opened_twice_keeps_the_session(new_site):
    visitor = new_site().visitor()
    callback = visitor.at_hydra.go(await visitor.begin("/who"))
    assert (await visitor.navigate(callback)).status == 303
    again = await visitor.navigate(callback)
    assert (again.status, again.header("location")) == (303, "/who")
    await visitor.who()


async def test_going_back_to_a_consent_that_was_given_keeps_the_session(new_site):
    visitor = new_site().visitor()
    login = visitor.at_hydra.form(visitor.at_hydra.open(await visitor.begin("/who")))
    consent = visitor.at_hydra.settle(visitor.at_hydra.decide(login))
    assert (await visitor.navigate(visitor.at_hydra.answer(consent))).status == 303
    used = visitor.at_hydra.answer(consent)
    assert query(used)["error"] == "access_denied"
    await visitor.navigate(used)
    await visitor.who()


# --- at the token endpoint: codes -----------------------------------------------------------------------


async def test_a_code_that_somebody_else_redeemed(new_site):
    visitor = new_site().visitor()
    callback = visitor.at_hydra.go(await visitor.begin())
    redeem(visitor.site, query(callback)["code"])  # fails, and uses up the proof
    answer = await visitor.navigate(callback)
    assert answer.status == 400
    assert is_clean(answer)
    assert not await visitor.is_signed_in()


def redeem(site: Any, code: str) -> Any:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": site.config.redirect_uri}
    form |= {name: site.client[name] for name in ("client_id", "client_secret")} | {"code_verifier": "w" * 43}
    return site.hydra.http.post(f"{site.hydra.base}/oauth2/token", data=form)


CLIENTS_FAULTS: dict[str, dict[str, Any]] = {
    "invalid_client": {"op": "replace", "path": "/client_secret", "value": "another-secret-of-length"},
    "invalid_client by method": {
        "op": "replace",
        "path": "/token_endpoint_auth_method",
        "value": "client_secret_basic",
    },
    "unauthorized_client": {"op": "replace", "path": "/grant_types", "value": ["refresh_token"]},
}


@pytest.mark.parametrize("name", CLIENTS_FAULTS)
async def test_a_client_that_is_wrong_is_the_sites_fault(new_site, hydra, name, caplog):
    site = new_site()
    visitor = site.visitor()
    callback = visitor.at_hydra.go(await visitor.begin())
    hydra.change(site.client["client_id"], CLIENTS_FAULTS[name])
    answer = await visitor.navigate(callback)
    assert answer.status in (502, 503), answer.body
    assert is_clean(answer)
    assert any(record.levelname in ("ERROR", "CRITICAL") for record in caplog.records)
    assert not re.search(r"ory_(at|rt|ac)_", caplog.text)


async def test_a_client_without_refresh_tokens_signs_in_for_an_hour(new_site):
    visitor = new_site(registered={"grant_types": ["authorization_code"]}).visitor()
    await visitor.sign_in()
    await visitor.who()


# --- at the token endpoint: refresh tokens --------------------------------------------------------------


async def test_a_grant_that_was_revoked_ends_the_session(new_site):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    revoke(site, await visitor.token())
    site.expire()
    assert not await visitor.is_signed_in()
    site.clock.offset = 0.0  # Hydra's clock did not go along
    await visitor.sign_in()
    await visitor.who()


def revoke(site: Any, token: str) -> None:
    form = {"token": token, "client_id": site.client["client_id"], "client_secret": site.client["client_secret"]}
    answer = site.hydra.http.post(f"{site.hydra.base}/oauth2/revoke", data=form)
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["invalid_client", "invalid_client by method"])
async def test_a_client_that_became_wrong_signs_nobody_out(new_site, hydra, name):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    hydra.change(site.client["client_id"], CLIENTS_FAULTS[name])
    site.clock.offset += 3610
    answer = await visitor.fetch("GET", "/who")
    assert answer.status == 503
    secret = site.client["client_secret"]
    hydra.change(
        site.client["client_id"],
        {"op": "replace", "path": "/client_secret", "value": secret},
        {"op": "replace", "path": "/token_endpoint_auth_method", "value": "client_secret_post"},
    )
    site.clock.offset += 60
    assert (await visitor.who())["subject"] == "ada"


# --- Hydra itself is in trouble -------------------------------------------------------------------------


async def test_a_database_that_is_away_signs_nobody_out(new_site, postgres):
    """Hydra then says `invalid_client` to refreshes, and 200 to a revocation that revoked nothing."""
    with Hydra(postgres.new_database(f"away_{id(new_site)}")) as own:
        site = new_site(hydra=own)
        visitor = site.visitor()
        await visitor.sign_in()
        await visitor.who()
        postgres.stop()
        try:
            site.clock.offset += 3610
            assert (await visitor.fetch("GET", "/who")).status == 503
        finally:
            postgres.start()
        for _ in range(3):
            site.clock.offset += 60
            answer = await visitor.fetch("GET", "/who")
            if answer.status == 200:
                break
        assert (await visitor.who())["subject"] == "ada"


async def test_a_sign_out_while_the_database_is_away_holds_here_and_revokes_nothing(new_site, postgres):
    """As docs/renewal.md says: the session is over for every copy of its cookie, and the token lives on unheld."""
    with Hydra(postgres.new_database(f"out_{id(new_site)}")) as own:
        site = new_site(hydra=own)
        visitor = site.visitor()
        await visitor.sign_in()
        token, kept = await visitor.token(), dict(visitor.jar)
        postgres.stop()
        try:
            assert (await visitor.log_out()).status == 303
        finally:
            postgres.start()
        visitor.jar = kept
        assert not await visitor.is_signed_in()
        assert ("POST", "/oauth2/revoke", 200) in own.requests()
        own.wait()
        assert own.is_alive(token)


async def test_a_hydra_that_is_away_signs_nobody_out(new_site):
    with Hydra("sqlite") as own:
        site = new_site(hydra=own)
        visitor = site.visitor()
        await visitor.sign_in()
        own.kill()
        assert (await visitor.fetch("GET", "/who")).status == 200
        site.clock.offset += 3610
        answer = await visitor.fetch("GET", "/who")
        assert answer.status == 503
        assert answer.header("retry-after")
        own.start()
        site.clock.offset += 60
        assert (await visitor.who())["subject"] == "ada"
