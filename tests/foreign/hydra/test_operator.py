"""What Hydra's operator decides: whom a hook refuses, what a client may ask for, which keys sign. And what a person
refuses, or does as somebody else.

A refusal is told to the person whom it is about, in true words. It is nobody else's, and no outage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey

from lumin_middleware.protocol.breaker import FAILURES

from .hook import Hook
from .receiver import Receiver, pass_on
from .server import Hydra

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def running_hook() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


@pytest.fixture(scope="module")
def hooked(running_hook: Hook) -> Iterator[Hydra]:
    """Hydra whose tokens a hook has a say in."""
    with Hydra(oauth2={"token_hook": f"{running_hook.base}/"}) as server:
        yield server


@pytest.fixture
def hook(running_hook: Hook) -> Hook:
    """The hook, which has nothing against anybody yet."""
    running_hook.says.clear()
    return running_hook


@pytest.fixture(scope="module")
def keyed() -> Iterator[Hydra]:
    """Hydra with keys of its own, and ID tokens that live for an hour."""
    with Hydra(ttl={"id_token": "1h"}) as server:
        yield server


@pytest.fixture
def name(edge: str, sessions: str) -> str:
    """A person of this test's own."""
    return f"hypatia-{edge}-{sessions}"


def links(answer: Any) -> dict[str, str]:
    """Where the links of a page lead."""
    found = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>([^<]*)</a>', answer.body.decode())
    return {unescape(text).strip(): unescape(href) for href, text in found}


def spoken(caplog: pytest.LogCaptureFixture, level: str) -> str:
    """What the log says at that level."""
    return "\n".join(record.getMessage() for record in caplog.records if record.levelname == level)


# --- a hook ---------------------------------------------------------------------------------------------


async def test_whom_a_hook_refuses_at_a_refresh_is_signed_out_and_nobody_else(new_site, hook, hooked, name):
    site = new_site(hydra=hooked)
    refused, other = site.visitor(), site.visitor()
    await refused.sign_in(sub=name)
    await other.sign_in()
    token = await refused.token()
    hook.says[name] = 403
    site.expire()
    answer = await refused.fetch("GET", "/who")
    assert (answer.status, json.loads(answer.body)["reason"]) == (401, "access_denied")
    assert not hooked.is_alive(token)
    assert (await refused.navigate("/who")).status == 303
    assert (await other.who())["subject"] == "ada"


async def test_whom_a_hook_refuses_at_the_code_may_come_as_somebody_else(new_site, hook, hooked, name):
    """Hydra remembers them, so that to start again would go round with them for ever."""
    hook.says[name] = 403
    visitor = new_site(hydra=hooked).visitor()
    answer = await visitor.sign_in(sub=name, remember=True)
    assert answer.status == 403
    assert "Access was denied" in answer.body.decode()
    assert not await visitor.is_signed_in()
    again = await visitor.navigate(links(answer)["As somebody else"])
    page = visitor.at_hydra.open(again.header("location"))
    assert visitor.at_hydra.form(page), "Hydra was satisfied with the sign-in that it remembers"
    answer = await visitor.navigate(visitor.at_hydra.answer(page, sub="grace"))
    assert (answer.status, answer.header("location")) == (303, "/who")
    assert (await visitor.who())["subject"] == "grace"


@pytest.mark.parametrize(("edge", "sessions"), [("asgi", "cookie"), ("wsgi", "store")])
async def test_a_hook_that_fails_for_one_person_is_nobody_elses_trouble(new_site, hook, hooked, name):
    site = new_site(hydra=hooked)
    unlucky, other = site.visitor(), site.visitor()
    await unlucky.sign_in(sub=name)
    await other.sign_in()
    failed = hooked.requests().count(("POST", "/oauth2/token", 500))
    hook.says[name] = 500
    site.clock.offset += 3610
    for _ in range(FAILURES):  # Hydra asks a hook that fails for three seconds, which is all that a request waits
        answer = await unlucky.fetch("GET", "/who")
        assert (answer.status, answer.header("retry-after") is not None) == (503, True)
        site.clock.offset += 100
    assert hooked.requests().count(("POST", "/oauth2/token", 500)) - failed >= FAILURES
    assert (await other.who())["subject"] == "ada"
    del hook.says[name]
    site.clock.offset += 60
    assert (await unlucky.who())["subject"] == name


# --- the client -----------------------------------------------------------------------------------------


async def test_a_scope_of_the_settings_that_the_client_loses_signs_nobody_out(new_site, hydra, caplog):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    had = site.client["scope"]
    hydra.change(site.client["client_id"], {"op": "replace", "path": "/scope", "value": "openid offline_access"})
    site.clock.offset += 3610
    assert (await visitor.fetch("GET", "/who")).status == 503
    assert "scope" in spoken(caplog, "CRITICAL")
    hydra.change(site.client["client_id"], {"op": "replace", "path": "/scope", "value": had})
    site.clock.offset += 60
    assert (await visitor.who())["subject"] == "ada"


async def test_a_scope_beyond_the_settings_that_the_client_loses_ends_whoever_has_it(new_site, hydra, caplog):
    site = new_site()
    more, plain = site.visitor(), site.visitor()
    await more.sign_in()
    await plain.sign_in(sub="grace")
    refused = await more.fetch("GET", "/challenge?scope=templates")
    again = await more.navigate(json.loads(refused.body)["login_url"])
    await more.return_from(again.header("location"))
    token = await more.token()
    without = " ".join(scope for scope in site.client["scope"].split() if scope != "templates")
    hydra.change(site.client["client_id"], {"op": "replace", "path": "/scope", "value": without})
    site.expire()
    assert not await more.is_signed_in()
    assert not hydra.is_alive(token)
    assert "invalid_scope" in spoken(caplog, "CRITICAL")
    assert (await plain.who())["subject"] == "grace"


async def test_a_client_that_may_not_refresh_any_more_ends_sessions_and_says_so(new_site, hydra, caplog):
    site = new_site()
    visitor = site.visitor()
    await visitor.sign_in()
    token = await visitor.token()
    grant_types = {"op": "replace", "path": "/grant_types", "value": ["authorization_code"]}
    hydra.change(site.client["client_id"], grant_types)
    site.expire()
    assert not await visitor.is_signed_in()
    assert not hydra.is_alive(token)
    assert "unauthorized_client" in spoken(caplog, "CRITICAL")


# --- keys and clocks ------------------------------------------------------------------------------------

KEYS: dict[str, Any] = {
    **dict.fromkeys(("RS384", "RS512", "PS256", "PS384", "PS512")),
    "ES256": lambda: ECKey.generate_key("P-256"),
    "ES384": lambda: ECKey.generate_key("P-384"),
    "ES512": lambda: ECKey.generate_key("P-521"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
}


def sign_with(hydra: Hydra, algorithm: str, kid: str) -> None:
    """Lets a new key of that algorithm sign from now on."""
    made = KEYS[algorithm]
    hydra.new_key(kid, algorithm=algorithm, key=made().as_dict(private=True) if made else None)


@pytest.mark.parametrize("algorithm", KEYS)
async def test_keys_of_another_algorithm_with_the_setting_to_match(new_site, keyed, algorithm, name):
    sign_with(keyed, algorithm, f"{algorithm}-{name}")
    site = new_site(hydra=keyed, id_token_signed_response_alg=algorithm)
    visitor = site.visitor()
    assert (await visitor.sign_in()).status == 303
    site.expire()
    assert (await visitor.who())["subject"] == "ada"


async def test_a_key_of_another_algorithm_than_the_setting_ends_no_session(new_site, keyed, name, caplog):
    keyed.new_key(f"before-{name}")
    site = new_site(hydra=keyed)
    visitor = site.visitor()
    await visitor.sign_in()
    sign_with(keyed, "ES256", f"other-{name}")
    site.expire()
    assert (await visitor.who())["subject"] == "ada"
    assert (await visitor.session())["claims"]["email"] == "ada@example.com"
    assert "id_token_signed_response_alg" in spoken(caplog, "ERROR")
    assert (await new_site(hydra=keyed).visitor().sign_in()).status == 502


async def test_a_clock_that_is_two_hours_ahead_ends_no_session(new_site, keyed, name, caplog):
    """The host whose clock is right shares the store and goes on, too."""
    keyed.new_key(f"clock-{name}")
    site = new_site(hydra=keyed)
    visitor = site.visitor()
    await visitor.sign_in()
    early = dict(visitor.jar)
    wrong = new_site(
        hydra=keyed, client_id=site.client["client_id"], client_secret=site.client["client_secret"], like=site
    )
    wrong.clock.offset = 7500
    visitor.site = wrong
    assert (await visitor.who())["subject"] == "ada"
    assert "clock" in spoken(caplog, "ERROR")
    caplog.clear()
    answer = await wrong.visitor().sign_in()
    assert answer.status == 502
    assert "clock" in caplog.text
    visitor.site, visitor.jar = site, early
    assert (await visitor.who())["subject"] == "ada"


# --- the person -----------------------------------------------------------------------------------------


async def ask_for_more(visitor: Any) -> str:
    """A page needs a permission that nobody gave yet: where its link leads at Hydra."""
    refused = await visitor.fetch("GET", "/challenge?scope=templates")
    assert refused.status == 403
    again = await visitor.navigate(json.loads(refused.body)["login_url"])
    return str(again.header("location"))


async def test_another_person_than_who_asked_for_more_is_told_so(new_site, caplog):
    caplog.set_level("INFO", logger="lumin_middleware")
    visitor = new_site().visitor()
    await visitor.sign_in()
    answer = await visitor.return_from(await ask_for_more(visitor), sub="grace")
    assert answer.status == 200
    assert "You are grace@example.com now" in answer.body.decode()
    assert "another_person" in spoken(caplog, "INFO")
    assert (await visitor.who())["subject"] == "grace"


async def test_whoever_refuses_to_give_more_stays_signed_in(new_site):
    visitor = new_site().visitor()
    await visitor.sign_in()
    answer = await visitor.return_from(await ask_for_more(visitor), deny="consent")
    assert answer.status == 403
    assert "Permission not given" in answer.body.decode()
    assert (await visitor.navigate(links(answer)["Go on without it"])).status == 200
    assert (await visitor.who())["subject"] == "ada"


async def test_a_sign_in_that_hydra_ends_before_its_callback_comes_to_nothing(new_site, hydra, name):
    with Receiver() as receiver:
        registered = {"backchannel_logout_uri": receiver.uri, "backchannel_logout_session_required": True}
        site = new_site(backchannel_logout=True, registered=registered)
        visitor = site.visitor()
        callback = visitor.at_hydra.go(await visitor.begin(), sub=name, remember=True)
        [sid] = hydra.sign_ins(name, site.client["client_id"])
        hydra.end_sign_in(sid=sid)
        assert (await pass_on(site, receiver.wait())).status == 200
        answer = await visitor.navigate(callback)
        assert answer.status == 400, answer.body
        assert not await visitor.is_signed_in()
        answer = await visitor.sign_in(sub=name)
        if (again := answer.header("location") or "").startswith(hydra.base):
            # Hydra says `error` once to a browser whose sign-in it has ended, and the site begins again by itself.
            await visitor.return_from(again, sub=name)
        assert (await visitor.who())["subject"] == name
