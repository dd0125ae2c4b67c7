"""Who may come in is decided at the sign-in, before there is a session; whom nobody lets in stays out."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from lumin_middleware import ConfigurationError, LuminConfig, Refused, wsgi
from lumin_middleware.asgi import LuminMiddleware as AsgiMiddleware
from lumin_middleware.config import CLAIMS
from lumin_middleware.errors import RequestRefused
from lumin_middleware.ports import run
from lumin_middleware.site.admission import admitted
from tests.edges import rig
from tests.edges.rig import EDGES
from tests.fakes import config

ANN = {"iss": "https://lumin.example", "sub": "1", "email": "Ann@Example.com", "email_verified": True, "name": "Ann"}


def kept(claims: dict[str, Any], admit: Any) -> dict[str, Any]:
    return run(admitted(claims, config(admit=admit)))


def test_by_default_everybody_may():
    assert kept(ANN, None) == ANN


@pytest.mark.parametrize(
    "patterns", [["*@example.com"], ["ann@example.com"], ["x@y.example", "*@EXAMPLE.com"], ("Ann@Example.com",)]
)
def test_a_verified_address_that_is_named_may(patterns):
    assert kept(ANN, patterns) == ANN


@pytest.mark.parametrize(
    ("patterns", "changes"),
    [
        (["*@example.com"], {"email_verified": False}),
        (["*@example.com"], {"email_verified": "no"}),
        (["*@example.com"], {"email_verified": None}),
        (["*@example.com"], {"email_verified": ""}),
        (["*@example.com"], {"email": "@example.com"}),
        (["*@example.com"], {"email": None}),
        (["*@example.com"], {"email": "ann@sub.example.com"}),
        (["*@example.com"], {"email": "ann@notexample.com"}),
        (["*@example.com"], {"email": "ann@evil.example@example.com"}),
        (["*@example.com"], {"email": "ann@example.com.evil.example"}),
        (["*@kelvin.example"], {"email": "ann@\u212aelvin.example"}),
        (["ann@example.com"], {"email": "anna@example.com"}),
        ([], {}),
    ],
)
def test_any_other_stays_out(patterns, changes):
    with pytest.raises(RequestRefused) as raised:
        kept({**ANN, **changes}, patterns)
    assert (raised.value.reason, raised.value.status) == ("not_admitted", 403)


def test_an_answer_that_knows_no_verification_counts_as_lumins_does():
    assert kept({"sub": "1", "email": "ann@example.com"}, ["*@example.com"])


def test_a_function_may_change_what_is_kept_but_not_who_it_is():
    found = kept(ANN, lambda claims: {**claims, "role": "staff", "sub": "somebody else"})
    assert found == {**ANN, "role": "staff"}
    assert kept(ANN, lambda claims: None) == ANN
    assert kept(ANN, lambda claims: claims.clear()) == ANN, "what it does with its copy is its own affair"


OF_THE_TOKEN = ("aud", "exp", "iat", "nbf", "rat", "jti", "nonce", "at_hash", "c_hash", "azp", "auth_time")


def test_what_is_said_of_the_token_is_not_kept_of_the_person():
    """`{**claims, "role": "staff"}` is what the manual shows."""
    told = {**ANN, **dict.fromkeys(OF_THE_TOKEN, 1)}
    found = kept(told, lambda claims: {**claims, "role": "staff"})
    assert found == {**ANN, "role": "staff"}
    settings = config(admit=lambda claims: claims, claims=["sub", "auth_time"])
    assert run(admitted(told, settings)) == {**ANN, "auth_time": 1}


def test_a_function_refuses_with_a_sentence():
    def admit(claims: dict[str, Any]) -> None:
        raise Refused("Not on Sundays.")

    with pytest.raises(RequestRefused, match=r"Not on Sundays\.") as raised:
        kept(ANN, admit)
    assert raised.value.reason == "not_admitted"


def test_a_function_that_is_broken_lets_nobody_in(caplog):
    with pytest.raises(RequestRefused) as raised:
        kept(ANN, lambda claims: claims["nothing"])
    assert (raised.value.reason, raised.value.status) == ("admit_failed", 500)
    assert "KeyError" in caplog.text
    with pytest.raises(RequestRefused):
        kept(ANN, lambda claims: "yes")


class Timeout(BaseException):
    """As gevent has one."""


@pytest.mark.parametrize("error", [asyncio.CancelledError(), asyncio.InvalidStateError(), Timeout()], ids=repr)
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_function_that_gives_up_lets_nobody_in(kind, error, caplog):
    def admit(claims: dict[str, Any]) -> None:
        raise error

    async def wait(claims: dict[str, Any]) -> None:
        admit(claims)

    with pytest.raises(RequestRefused) as raised:
        kept(ANN, admit if kind == "plain" else wait)
    assert (raised.value.reason, raised.value.status) == ("admit_failed", 500)
    assert type(error).__name__ in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_process_ends_it(error):
    def admit(claims: dict[str, Any]) -> None:
        raise error

    with pytest.raises(error):
        kept(ANN, admit)


def test_settings_say_what_they_can_be():
    environ = {
        "LUMIN_CLIENT_ID": "x",
        "LUMIN_CLIENT_SECRET": "y",
        "LUMIN_REDIRECT_URI": "https://app.example.com/auth/callback",
        "LUMIN_SECRET_KEY": config().keys[0].hex(),
        "LUMIN_ADMIT": "*@example.com, ann@example.org",
    }
    assert LuminConfig.from_env(environ).admit == ("*@example.com", "ann@example.org")
    for wrong in ("*@example.com", ["*"], ["example.com"], ["a@b@c"], [1], 7):
        with pytest.raises(ConfigurationError, match="admit"):
            config(admit=wrong)

    async def admit(claims: dict[str, Any]) -> None: ...

    with pytest.raises(ConfigurationError, match="admit"):
        wsgi.LuminMiddleware(lambda environ, start: [], config(admit=admit, store="memory://"))


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_whoever_is_kept_out_has_no_session_and_no_tokens_and_reads_why(edge, sessions):
    def admit(claims: dict[str, Any]) -> dict[str, Any]:
        if claims["sub"] != people[1].sub:
            raise Refused("Only <Ben> may.")
        return {**claims, "role": "staff"}

    with rig.lumin() as lumin:
        people = list(lumin.emulator.users.values())
        site = lumin.site(sessions=sessions, admit=admit)
        browser = site.browser(edge)
        answer = await browser.sign_in("/page", sub=people[0].sub)
        text = answer.body.decode()
        assert answer.status == 403
        assert "Only &lt;Ben&gt; may." in text
        assert "As somebody else" in text
        assert await browser.subject() is None
        tokens = lumin.emulator.calls_to("/oauth2/revoke")
        assert len(tokens) == 1
        assert (await browser.sign_in("/page", sub=people[1].sub)).header("location") == "/page"
        found = await browser.fetch("GET", "/auth/session")
        assert b'"role": "staff"' in found.body
        assert json.loads(found.body)["claims"].keys() <= {"iss", "sid", "role", *CLAIMS}
        site.clock.advance(3600)
        assert b'"role": "staff"' in (await browser.fetch("GET", "/auth/session")).body
        await site.aclose()


@pytest.mark.parametrize(("edge", "kind"), [("asgi", "plain"), ("asgi", "async"), ("wsgi", "plain")])
async def test_whoever_waited_for_a_function_that_gave_up_has_no_tokens(edge, kind):
    def admit(claims: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    async def wait(claims: dict[str, Any]) -> None:
        admit(claims)

    with rig.lumin() as lumin:
        site = rig.Site(lumin.emulator, lumin.clock, admit=admit)
        if kind == "async":
            await site.aclose()
            site.asgi = AsgiMiddleware(site.asgi_app, replace(site.config, admit=wait), clock=lumin.clock)
        browser = site.browser(edge)
        assert (await browser.sign_in()).status == 500
        assert all(grant.revoked for grant in lumin.emulator.grants)
        assert await browser.subject() is None
        await site.aclose()


async def _pauses(claims: dict[str, Any]) -> None:
    await asyncio.sleep(0)


async def _sleeps(claims: dict[str, Any]) -> None:
    await asyncio.sleep(0.01)


async def _tries_again(claims: dict[str, Any]) -> None:
    with suppress(Exception):
        await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.parametrize("sessions", ["cookie", "store"])
@pytest.mark.parametrize(
    ("waits", "error"), [(_pauses, "NoEventLoop"), (_sleeps, "RuntimeError"), (_tries_again, "NoEventLoop")]
)
async def test_a_function_that_waits_after_all_is_told_of_where_nothing_can(waits, error, sessions, caplog):
    """It cannot be seen at start that what a plain function returns is to be awaited."""
    with rig.lumin() as lumin:
        site = lumin.site(sessions=sessions, admit=lambda claims: waits(claims))
        browser = site.browser("wsgi")
        assert (await browser.sign_in()).status == 500
        lines = [line for line in caplog.messages if line.startswith("admit_failed: ")]
        assert all("under WSGI use a plain one" in line for line in lines)
        assert any(f"error='{error}'" in line for line in lines)
        assert all(grant.revoked for grant in lumin.emulator.grants)
        assert await browser.subject() is None
        elsewhere = site.browser("asgi")
        assert (await elsewhere.sign_in()).status == 303
        assert await elsewhere.subject() is not None
        await site.aclose()
