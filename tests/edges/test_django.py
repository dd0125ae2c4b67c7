"""Django with a database, on real servers: `request.user` is whoever is signed in with Lumin."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from joserfc import jws

from lumin_middleware.emulator import DEMO_USERS, Emulator, serve
from tests.browser_rig import ROOT
from tests.edges import servers
from tests.edges.servers import Browser
from tests.patience import PATIENCE

MIRA, TOBIAS, _ = DEMO_USERS
BACKENDS = {
    "any": "lumin_middleware.django.LuminBackend",
    "known": "tests.edges.django_site.NobodyNew",
    "by address": "tests.edges.django_site.ByAddress",
}


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


def _site(
    emulated: Emulator, database: str, edge: str, backend: str = "any", user: str = "auth.User"
) -> Iterator[Site]:
    server, app, views = {
        "asgi": ("uvicorn", "tests.edges.django_site:asgi_app", "-async"),
        "wsgi": ("waitress", "tests.edges.django_site:wsgi_app", ""),
    }[edge]
    with servers.listening() as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        more = {"DJANGO_DATABASE": database, "DJANGO_BACKEND": BACKENDS[backend], "DJANGO_USER": user}
        variables = servers.environment(emulated, origin, "memory://", **more)
        with servers.start(server, app, listener, variables) as running:
            yield Site(emulated, origin, views)
            # Django logs each refusal of a view, and each bug, with where it was made.
            said = running.said()
            assert said.count("Traceback") == said.count("PermissionDenied: ") + said.count("Bug: of the application")


@pytest.fixture(
    scope="module", params=[("asgi", "PostgreSQL"), ("wsgi", "PostgreSQL"), ("wsgi", "SQLite")], ids=" ".join
)
def site(
    request: pytest.FixtureRequest, emulated: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    edge, kind = request.param
    if kind == "PostgreSQL":
        database = request.getfixturevalue("postgres").new_database(f"site_{uuid.uuid4().hex}")
    else:
        database = str(tmp_path_factory.mktemp("django") / "db.sqlite3")
    yield from _site(emulated, database, edge)


@pytest.fixture(params=["any", "by address"])
def named_by_email(
    request: pytest.FixtureRequest, emulated: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A site whose user model has `USERNAME_FIELD = "email"`."""
    database = str(tmp_path_factory.mktemp("django") / "db.sqlite3")
    yield from _site(emulated, database, "wsgi", request.param, "django_people.Person")


@contextmanager
def claiming(site: Site, **changes: Any) -> Iterator[Browser]:
    """Somebody signs in whose ID token says so; None takes a claim away."""

    def forge(header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
        said = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jws.serialize_compact(header, json.dumps(said), key)  # as ASCII, which can write half a surrogate pair

    site.lumin.forge_id_token = forge
    try:
        with site.browser() as browser:
            assert browser.sign_in("/me").status_code == 303
            yield browser
    finally:
        site.lumin.forge_id_token = None


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


@pytest.mark.parametrize("page", ["/maybe-broken", "/maybe-broken?answer", "/public-broken", "/public-broken?answer"])
def test_a_bug_after_a_look_at_the_user_is_the_application_s(site, page):
    with site.browser() as browser:
        assert browser.navigate(page).status_code == 500
        assert browser.fetch(page).status_code == 500


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
    with claiming(
        site, sub=f"somebody-{verified!r}-{site.views}", email=MIRA.email, email_verified=verified
    ) as browser:
        said = browser.fetch("/me").json()
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


# --- names ----------------------------------------------------------------------------------------------


def test_somebody_of_whom_only_the_name_is_known_has_that_name(site, mira):
    said = mira.fetch("/me").json()
    assert (said["full_name"], said["first_name"], said["last_name"]) == (MIRA.name, MIRA.name, "")
    assert said["shown"] == MIRA.sub  # as Django shows a user: by what tells them apart


def test_given_and_family_name_are_kept_apart(site):
    with claiming(site, sub=f"ada-{site.views}", given_name="Ada", family_name="Lovelace", name="A. L.") as browser:
        said = browser.fetch("/me").json()
    assert (said["first_name"], said["last_name"], said["full_name"]) == ("Ada", "Lovelace", "Ada Lovelace")


LONG = "x" * 400
HOSTILE = {
    "longer than its column": LONG,
    "with a NUL": "A\0da",
    "half a surrogate pair": "A\ud83d",
    "all of it": f"\0\ud83d{LONG}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("claim", ["name", "given_name", "family_name", "email"])
def test_what_a_column_cannot_hold_is_cut_to_what_it_can(site, claim, text):
    """On each page, not at the sign-in alone; PostgreSQL refuses all of these, SQLite only half a pair."""
    sub = f"{claim}-{len(text)}-{ascii(text)[:12]}-{site.views}"
    with claiming(site, sub=sub, **{claim: text}, email_verified=True) as browser:
        for _ in range(2):
            answer = browser.fetch("/me")
            assert answer.status_code == 200
        said = answer.json()
    for field, width in (("first_name", 150), ("last_name", 150), ("email", 254)):
        assert len(said[field]) <= width
        assert not {"\0", "\ud83d"} & set(said[field])


@pytest.mark.parametrize("sub", ["x" * 151, "a\0b", "\0"], ids=["too long", "NUL inside", "NUL alone"])
def test_a_name_that_would_be_another_s_when_it_is_cut_is_nobody_s(site, sub):
    with claiming(site, sub=sub) as browser:
        said = browser.fetch("/maybe").json()
    assert not said["is_authenticated"]


# --- another user model ---------------------------------------------------------------------------------


def test_people_who_are_told_apart_by_a_field_named_email(named_by_email, request):
    """Whether the backend puts the `sub` there or an address, it writes nothing over it, and each page works."""
    is_by_address = request.node.callspec.params["named_by_email"] == "by address"
    with named_by_email.browser() as mira, named_by_email.browser() as tobias:
        mira.sign_in("/me")
        tobias.sign_in("/me", sub=TOBIAS.sub)
        seen = [mira.fetch("/me").json() for _ in range(3)]
        other = tobias.fetch("/me").json()
    assert {each["email"] for each in seen} == {MIRA.email if is_by_address else MIRA.sub}
    assert len({each["id"] for each in seen}) == 1
    assert other["id"] != seen[0]["id"]
    assert other["full_name"] == TOBIAS.name


MEMBERS = """
import sys
import django
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "tests.edges.django_members"],
    AUTH_USER_MODEL=f"django_members.{sys.argv[1]}",
    AUTHENTICATION_BACKENDS=["lumin_middleware.django.LuminBackend", "django.contrib.auth.backends.ModelBackend"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    SILENCED_SYSTEM_CHECKS=["fields.E304", "fields.E305"],
)
django.setup()
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.db import transaction
from types import SimpleNamespace
from lumin_middleware import django as edge
edge.lumin = SimpleNamespace(optional=lambda request: request)  # whoever is signed in
call_command("migrate", run_syncdb=True, verbosity=0)
with transaction.atomic():  # as ATOMIC_REQUESTS has it: what fails inside must not break it
    for sub, address in [each.split("=") for each in sys.argv[2:]]:
        try:
            user = edge._user(SimpleNamespace(claims={"sub": sub, "email": address or None, "name": sub}))
            print(sub, user.email, user.first_name)
        except PermissionDenied as error:
            print(sub, "denied")
"""


@pytest.mark.parametrize(
    ("model", "came", "seen"),
    [
        ("Guest", "a=x@e b=x@e c= d= a=y@e b=y@e b=x@e", "a x@e|b None|c None|d None|a y@e|b None|b x@e"),
        ("Member", "a=x@e b=x@e c=x@e d=y@e a=y@e", "a x@e|b |c denied|d y@e|a x@e"),
    ],
)
def test_an_address_that_another_user_has_keeps_nobody_from_their_pages(model, came, seen):
    """It changed hands, or its user was there before Lumin."""
    done = subprocess.run(
        [sys.executable, "-c", MEMBERS, model, *came.replace("@e", "@e.example").split()],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        check=False,
    )
    found = done.stdout.replace("@e.example", "@e").splitlines()
    names = [line if line.endswith("denied") else line.removesuffix(f" {line.split()[0]}") for line in found]
    assert "|".join(names) == seen, done.stderr
    assert "address_taken" in done.stderr


# --- the way to a sign-in -------------------------------------------------------------------------------


def test_login_required_of_django_comes_back_to_its_page(site):
    with site.browser() as browser:
        answer = browser.navigate("/guarded?x=a%26b")
        assert (answer.status_code, answer.headers["location"]) == (302, "/auth/login?next=/guarded%3Fx%3Da%2526b")
        back = browser.sign_in(answer.headers["location"])
        assert back.headers["location"] == "/guarded?x=a%26b"
        assert browser.navigate("/guarded?x=a%26b").json()["username"] == MIRA.sub


def test_somebody_who_was_switched_off_is_told_so_and_not_sent_round(site):
    """To Django they are anonymous, so that `@login_required` sends them to sign in, straight from the sign-in."""
    led = {"sec-fetch-site": "cross-site"}
    with claiming(site, sub=f"gone-{site.views}") as browser:
        assert browser.fetch("/rename?inactive").status_code == 204
        asked = answer = browser.navigate("/guarded")
        for _ in range(6):
            answer = browser.navigate(answer.headers["location"], **led)
            if answer.status_code != 303:
                break
            browser.navigate(site.lumin.sign_in(answer.headers["location"]), **led)
            answer = browser.navigate("/guarded", **led)
            assert answer.headers["location"] == asked.headers["location"]
    assert answer.status_code == 400
    assert "You are signed in, but this page does not see it." in answer.text


def test_a_view_that_is_def_has_a_client_that_blocks(site, mira):
    assert mira.fetch("/need-blocking").json()["user"]["id"] == MIRA.sub
    site.lumin.revoke_all()
    assert mira.begin("/need-blocking?x=1").startswith(f"{site.lumin.base}/oauth2/auth?")
