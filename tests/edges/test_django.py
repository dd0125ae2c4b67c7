"""Django with a database, on real servers: `request.user` is whoever is signed in with Lumin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from joserfc import jwt

from lumin_middleware.emulator import DEMO_USERS, Emulator, serve
from tests.edges import servers
from tests.edges.servers import Browser

MIRA, TOBIAS, _ = DEMO_USERS
BACKENDS = {"any": "lumin_middleware.django.LuminBackend", "known": "tests.edges.django_site.NobodyNew"}


class Site(NamedTuple):
    """A running Django site. `views` are the endings of its views' paths."""

    lumin: Emulator
    origin: str
    views: str

    def browser(self) -> Browser:
        return Browser(self.origin, self.lumin)


@pytest.fixture(scope="module")
def emulated() -> Iterator[Emulator]:
    with serve() as running:
        yield running.emulator


def _site(emulated: Emulator, database: str, edge: str, backend: str = "any") -> Iterator[Site]:
    server, app, views = {
        "asgi": ("uvicorn", "tests.edges.django_site:asgi_app", "-async"),
        "wsgi": ("waitress", "tests.edges.django_site:wsgi_app", ""),
    }[edge]
    with servers.listening() as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        more = {"DJANGO_DATABASE": database, "DJANGO_BACKEND": BACKENDS[backend]}
        variables = servers.environment(emulated, origin, "memory://", **more)
        with servers.start(server, app, listener, variables) as running:
            yield Site(emulated, origin, views)
            # Django logs each refusal of a view with where it was made.
            assert running.said().count("Traceback") == running.said().count("PermissionDenied: ")


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def site(
    request: pytest.FixtureRequest, emulated: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    database = str(tmp_path_factory.mktemp("django") / "db.sqlite3")
    yield from _site(emulated, database, request.param)


@pytest.fixture
def mira(site: Site) -> Iterator[Browser]:
    with site.browser() as browser:
        browser.sign_in("/me")
        yield browser


def test_the_user_is_whoever_is_signed_in(site, mira):
    said = mira.fetch("/me").json()
    assert (said["username"], said["email"]) == (MIRA.sub, MIRA.email)
    assert said["is_authenticated"]
    assert not said["usable_password"]
    assert mira.fetch(f"/me{site.views}").json() == said


def test_everybody_has_one_user_of_their_own(site, mira):
    first = mira.fetch("/me").json()["id"]
    with site.browser() as other, site.browser() as again:
        other.sign_in("/me", sub=TOBIAS.sub)
        again.sign_in("/me")
        assert other.fetch("/me").json()["username"] == TOBIAS.sub
        assert other.fetch("/me").json()["id"] != first
        assert again.fetch("/me").json()["id"] == first


def test_where_nobody_is_signed_in_the_user_is_anonymous(site):
    with site.browser() as browser:
        said = browser.fetch("/maybe").json()
    assert (said["id"], said["is_authenticated"]) == (None, False)


def test_a_user_is_brought_up_to_date(mira):
    assert mira.fetch("/rename").status_code == 204
    assert mira.fetch("/me").json()["email"] == MIRA.email


def test_a_user_who_was_made_inactive_is_anonymous(site):
    with site.browser() as browser:
        browser.sign_in("/me", sub=TOBIAS.sub)
        assert browser.fetch("/rename?inactive").status_code == 204
        assert not browser.fetch("/me").json()["is_authenticated"]


@pytest.mark.parametrize("verified", [False, "false", "False", 0], ids=repr)
def test_an_address_that_is_not_verified_is_nobody_s(site, verified):
    def forge(header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
        sub = f"somebody-{verified!r}-{site.views}"
        return jwt.encode(header, {**claims, "sub": sub, "email": MIRA.email, "email_verified": verified}, key)

    site.lumin.forge_id_token = forge
    try:
        with site.browser() as browser:
            browser.sign_in("/me")
            said = browser.fetch("/me").json()
    finally:
        site.lumin.forge_id_token = None
    assert (said["is_authenticated"], said["email"]) == (True, "")


@pytest.mark.parametrize("status", [403, 404])
def test_somebody_without_a_name_is_not_passed_on_as_nobody(status):
    """As an anonymous user they would be sent to sign in again, for ever."""
    with serve(id_token=False) as running:
        for edge in ("asgi", "wsgi"):
            for site in _site(running.emulator, ":memory:", edge):
                running.emulator.faults.add("/v1/user/info", status=status, body={})
                with site.browser() as browser:
                    assert browser.sign_in("/me").status_code == 303
                    answers = [browser.fetch(path) for path in ("/me", f"/me{site.views}", "/maybe")]
                    assert {answer.status_code for answer in answers} == {403}


def test_a_login_required_becomes_a_sign_in(site, mira):
    view = f"/need{site.views}"
    assert mira.fetch(view).json()["user"]["id"] == MIRA.sub
    site.lumin.revoke_all()
    assert mira.begin(f"{view}?x=1").startswith(f"{site.lumin.base}/oauth2/auth?")


def test_a_backend_may_make_no_users(emulated, tmp_path):
    database = str(tmp_path / "db.sqlite3")
    for site in _site(emulated, database, "wsgi", "known"):
        with site.browser() as browser:
            browser.sign_in("/me")
            assert not browser.fetch("/me").json()["is_authenticated"]
