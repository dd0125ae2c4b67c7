"""`lumin-middleware grants` and `sessions`: what an operator sees and ends, in words, with the site's own settings."""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from lumin_middleware import Grants, LuminMiddleware
from lumin_middleware.cli import grants as grants_command
from lumin_middleware.cli import sessions as sessions_command
from lumin_middleware.cli import terminal
from lumin_middleware.emulator import DEMO_USERS
from lumin_middleware.stores import SQLiteStore
from tests.cli.test_cli import run
from tests.site_rig import Browser, Site

MIRA, TOBIAS, _ = DEMO_USERS
NOBODY = "Nobody has connected in this store.\n"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Any]:
    store = SQLiteStore(str(tmp_path / "private" / "store"))
    yield store
    store.close()


@pytest.fixture
async def site(new_site: Any, kept: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A site on real time, whose settings are those of the environment; Mira is signed in, and has connected."""
    import time

    site = new_site(sessions="store", store=kept, clock=time.time, emulator={"clock": time.time})
    browser = site.browser()
    await browser.sign_in()
    await connect(browser, "night")
    monkeypatch.setattr(grants_command, "settings_of", lambda app: site.config)
    yield site
    await browser.aclose()


async def connect(browser: Browser, name: str) -> None:
    begun = await browser.begin(f"/auth/connect?name={name}")
    answer = await browser.navigate(browser.site.emulator.sign_in(begun))
    assert answer.status_code == 303


def invoke(commands: Any, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(commands, arguments)
    return done.exit_code, done.output


def grants(*arguments: str) -> tuple[int, str]:
    return invoke(grants_command.grants, *arguments)


def sessions(*arguments: str) -> tuple[int, str]:
    return invoke(sessions_command.sessions, *arguments)


async def test_grants_are_listed_shown_and_revoked(site: Site) -> None:
    assert grants("list") == (0, f"{MIRA.sub}\n")
    code, said = grants("show", MIRA.sub)
    assert code == 0
    assert said.startswith("night  -  20")
    assert "until it is revoked" in said
    assert "offline_access" in said
    assert grants("revoke", MIRA.sub, "--name", "other") == (0, "0 grants ended.\n")
    assert grants("revoke", MIRA.sub) == (0, "1 grant ended.\n")
    assert list(site.emulator.grants)[-1].revoked
    assert grants("list") == (0, NOBODY)
    assert grants("show", MIRA.sub) == (1, "This person has connected nothing in this store.\n")


async def test_sessions_are_listed_and_ended(site: Site) -> None:
    code, said = sessions("list", MIRA.sub)
    assert (code, said.count("\n")) == (0, 1)
    assert sessions("end", MIRA.sub) == (0, "1 session ended.\n")
    assert sessions("list", MIRA.sub) == (0, "")
    assert grants("list") == (0, f"{MIRA.sub}\n")


async def test_a_person_is_forgotten(site: Site) -> None:
    assert grants("forget", MIRA.sub) == (0, "Nothing is left of this person.\n")
    assert sessions("list", MIRA.sub) == (0, "")
    assert grants("list") == (0, NOBODY)
    with Grants(site.config) as found:
        assert found.find(MIRA.sub) == []


async def test_what_cannot_be_done_is_said_in_words(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants_command, "settings_of", lambda app: replace(site.config, sessions="cookie"))
    code, said = sessions("list", MIRA.sub)
    assert code == 1
    assert "set sessions='store'" in said
    assert "Traceback" not in said


async def test_whose_sessions_are_in_cookies_is_told_what_of_them_is_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants_command, "settings_of", lambda app: replace(site.config, sessions="cookie"))
    code, said = grants("forget", MIRA.sub)
    assert code == 1
    assert said.startswith("The grants are ended and gone. The sessions are not (sessions: 'cookie' keeps them")
    assert grants("list") == (0, NOBODY)


def test_without_settings_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants_command, "settings_of", terminal.settings_of)
    for name in ("LUMIN_CLIENT_ID", "LUMIN_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    code, said = grants("list")
    assert code == 1
    assert "LUMIN_CLIENT_ID" in said
    assert "--app module:name" in said


class Awaited:
    """Somebody's own store for an event loop."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.closed = False

    async def get(self, key: str) -> bytes | None:
        return self._store.get(key)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        return self._store.swap(key, old, new, ttl)

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("store", ["a URL", "an object", "an object for an event loop"])
async def test_an_application_with_its_settings_in_code_is_looked_after(
    site: Site, kept: Any, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"a URL": f"sqlite://{kept.path}", "an object": kept}.get(store) or Awaited(kept)
    shop = ModuleType("shop")
    shop.app = LuminMiddleware(lambda *_: None, replace(site.config, store=own))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop", shop)
    monkeypatch.setattr(grants_command, "settings_of", terminal.settings_of)
    assert grants("list", "--app", "shop:app") == (0, f"{MIRA.sub}\n")
    assert grants("show", MIRA.sub, "--app", "shop:app")[1].startswith("night  -  20")
    assert grants("reseal", "--app", "shop:app") == (0, "1 grant sealed with the newest key.\n")
    assert grants("abandon", "--app", "shop:app")[0] == 0
    assert grants("revoke", MIRA.sub, "--app", "shop:app") == (0, "1 grant ended.\n")
    assert sessions("list", MIRA.sub, "--app", "shop:app")[1].count("\n") == 1
    assert sessions("end", MIRA.sub, "--app", "shop:app") == (0, "1 session ended.\n")
    assert grants("forget", MIRA.sub, "--app", "shop:app") == (0, "Nothing is left of this person.\n")
    assert getattr(own, "closed", True)


def test_what_an_application_keeps_in_its_memory_is_said_not_to_be_seen() -> None:
    done = run("grants", "list", "--app", "tests.cli.coded:in_memory")
    assert (done.returncode, done.stdout) == (0, "")
    assert "which is a new and empty store" in done.stderr
    assert NOBODY in done.stderr


async def test_grants_that_nobody_uses_outlive_a_key_when_they_are_sealed_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = secrets.token_bytes(32)
    both, alone = (replace(site.config, secret_key=keys) for keys in ([new, site.config.secret_key], [new]))
    with Grants(alone) as found:
        assert found.find(MIRA.sub) == []
        assert "grants_unreadable" in caplog.text
    monkeypatch.setattr(grants_command, "settings_of", lambda app: both)
    assert grants("reseal") == (0, "1 grant sealed with the newest key.\n")
    with Grants(alone) as found:
        assert found.subjects() == [MIRA.sub]
        assert [grant.name for grant in found.find(MIRA.sub)] == ["night"]
        with found.client(MIRA.sub, name="night") as lumin:
            assert lumin.get("user/info").status_code == 200


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "x"]], ids=" ".join)
def test_certificates_that_cannot_be_used_are_named(arguments: list[str], tmp_path: Path) -> None:
    variables = {
        "LUMIN_CLIENT_ID": "x",
        "LUMIN_CLIENT_SECRET": "y" * 20,
        "LUMIN_REDIRECT_URI": "https://app.example.com/auth/callback",
        "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
        "LUMIN_STORE": f"sqlite:///{tmp_path}/store",
        "SSL_CERT_FILE": "/nowhere.pem",
    }
    done = run("grants", *arguments, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "SSL_CERT_FILE: names no file of certificates: /nowhere.pem (No such file or directory)\n"
