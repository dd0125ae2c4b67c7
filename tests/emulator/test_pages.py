"""The emulator's pages lead a person, and only that person, from sign-in to the callback and out again."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from lumin_middleware.emulator import User
from lumin_middleware.errors import RequestRefused
from tests.emulator.party import BASE, POST, PUBLIC, Party, ok, query
from tests.emulator.person import Form, Person, title

pytestmark = pytest.mark.anyio


@pytest.fixture
def person(party: Party) -> Person:
    return Person(party)


async def test_a_person_signs_in_consents_and_reaches_the_callback(party, person):
    login = await person.open(party.url())
    assert title(login) == "Sign in"
    consent = await person.press(login, "sub")
    assert title(consent) == "Allow post?"
    done = await person.press(consent, "allow")
    assert done.status_code == 303
    answer = query(done.headers["location"])
    assert (answer["scope"], answer["state"]) == (POST.scope, "state-of-eight")
    assert await party.alive(ok(await party.redeem(answer["code"])))


async def test_every_person_can_be_chosen_and_the_hinted_one_comes_first(party, person):
    third = list(party.emulator.users.values())[2]
    login = await person.open(party.url(login_hint=third.email))
    people = [value for name, value in Form(login).buttons if name == "sub"]
    assert people[0] == third.sub
    assert set(people) == set(party.emulator.users)


async def test_the_request_may_come_as_a_form(party, person):
    url, _, form = party.url().partition("?")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await person.http.post(url, content=form, headers=headers)
    assert response.headers["location"].startswith("/login?")


async def test_cancelling_the_sign_in_denies(party, person):
    done = await person.press(await person.open(party.url()), "deny")
    assert query(done.headers["location"])["error"] == "access_denied"


async def test_denying_consent_denies(party, person):
    done = await person.press(await person.press(await person.open(party.url()), "sub"), "deny")
    answer = query(done.headers["location"])
    assert (answer["error"], answer["state"]) == ("access_denied", "state-of-eight")


async def test_unticked_scopes_are_not_granted(party, person):
    done = await person.sign_in(party.url(), scope="openid")
    assert query(done.headers["location"])["scope"] == "openid"


async def test_scopes_that_were_not_asked_for_cannot_be_ticked(party, person):
    done = await person.sign_in(party.url(scope="openid"), scope="templates")
    assert query(done.headers["location"])["scope"] == ""


async def test_somebody_signed_in_is_asked_for_consent_only(party, person):
    await person.sign_in(party.url())
    assert title(await person.open(party.url())) == "Allow post?"


async def test_remembered_consent_asks_nothing(party, person):
    await person.sign_in(party.url(), remember="yes")
    done = await person.open(party.url(prompt="none"))
    assert "code" in query(done.headers["location"])
    other = replace(POST, client_id="other", client_name="Another one")
    party.emulator.clients["other"] = other
    assert title(await person.open(party.url(client_id="other"))) == "Allow Another one?"


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"prompt": "login"}, "Sign in"),
        ({"prompt": "registration"}, "Sign in"),
        ({"prompt": "consent"}, "Allow post?"),
        ({"max_age": "60"}, "Sign in"),
        ({"max_age": "0"}, "Sign in"),
    ],
)
async def test_a_client_can_ask_again(party, person, changes, asked):
    await person.sign_in(party.url(), remember="yes")
    party.clock.now += 60
    page = await person.open(party.url(**changes))
    assert title(page) == asked
    if asked == "Sign in":  # and asks once, not for ever
        done = await person.press(page, "sub")
        assert "code" in query(done.headers["location"])


async def test_a_recent_sign_in_satisfies_max_age(party, person):
    await person.sign_in(party.url(), remember="yes")
    party.clock.now += 59
    assert "code" in query((await person.open(party.url(max_age="60"))).headers["location"])


@pytest.mark.parametrize(("signed_in", "error"), [(False, "login_required"), (True, "consent_required")])
async def test_prompt_none_never_shows_a_page(party, person, signed_in, error):
    if signed_in:
        await person.sign_in(party.url())
    done = await person.open(party.url(prompt="none"))
    assert query(done.headers["location"])["error"] == error


async def test_auth_time_is_that_of_the_sign_in(party, person):
    await person.sign_in(party.url(), remember="yes")
    began = int(party.clock.now)
    party.clock.now += 500
    code = query((await person.open(party.url())).headers["location"])["code"]
    claims = await party.claims(ok(await party.redeem(code))["id_token"])
    assert (claims["auth_time"], claims["iat"]) == (began, began + 500)


async def test_a_form_from_another_browser_is_forbidden(party, person):
    login = await person.open(party.url())
    done = await Person(party).press(login, "sub")
    assert query(done.headers["location"])["error"] == "request_forbidden"


async def test_a_form_sent_twice_is_denied(party, person):
    consent = await person.press(await person.open(party.url()), "sub")
    await person.press(consent, "allow")
    again = await person.press(consent, "allow")
    assert query(again.headers["location"])["error"] == "access_denied"


async def test_of_two_tabs_the_newest_gets_in(party, person):
    first, second = await person.open(party.url(state="first-tab")), await person.open(party.url(state="second-tab"))
    pushed_out = await person.press(first, "sub")
    answer = query(pushed_out.headers["location"])
    assert (answer["error"], answer["state"]) == ("request_forbidden", "first-tab")
    done = await person.press(await person.press(second, "sub"), "allow")
    assert query(done.headers["location"])["state"] == "second-tab"


async def test_tabs_of_two_clients_do_not_disturb_each_other(party, person):
    party.emulator.clients["other"] = replace(POST, client_id="other")
    first, second = await person.open(party.url()), await person.open(party.url(client_id="other"))
    for login in (first, second):
        done = await person.press(await person.press(login, "sub"), "allow")
        assert "code" in query(done.headers["location"])


async def test_tabs_that_go_on_at_once_push_each_other_out_without_a_page(party, person):
    await person.sign_in(party.url(), remember="yes")
    tabs = [await person.http.get(party.url(state=f"tab-number-{number}")) for number in range(3)]
    ends = [query((await person.follow(tab)).headers["location"]) for tab in tabs]
    assert [end.get("error") for end in ends] == ["request_forbidden", "request_forbidden", None]


async def test_an_emulator_can_let_every_tab_through():
    party = Party(one_request_per_browser=False)
    person = Person(party)
    first, second = await person.open(party.url(state="first-tab")), await person.open(party.url(state="second-tab"))
    for login, state in ((first, "first-tab"), (second, "second-tab")):
        done = await person.press(await person.press(login, "sub"), "allow")
        assert query(done.headers["location"])["state"] == state


async def test_a_person_has_half_an_hour(party, person):
    login = await person.open(party.url())
    party.clock.now += 1800
    late = await person.press(login, "sub")
    assert (late.status_code, "location" in late.headers) == (400, False)


@pytest.mark.parametrize(
    "path", ["/login", "/consent", "/logout", "/login?challenge=unknown", "/sign/x", "/files/x", "/x"]
)
async def test_a_page_without_its_request_is_an_error_page(person, path):
    page = await person.http.get(path)
    assert page.status_code in (400, 404)
    assert title(page) == "This request cannot go on"


# What the pages are made of


async def test_pages_allow_nothing_from_elsewhere_and_forms_to_the_callback(party, person):
    login = await person.open(party.url())
    policy = dict(part.split(" ", 1) for part in login.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] == "'self' https://app.example"
    assert policy["style-src"].startswith("'sha256-")
    assert login.headers["cache-control"] == "no-store"
    assert "<script" not in login.text


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("http://127.0.0.1:5123/cb", "http://127.0.0.1:5123"),
        ("http://[::1]:5123/cb", "http:"),
        ("com.example.app:/cb", "com.example.app:"),
    ],
)
async def test_the_policy_knows_every_kind_of_callback(uri, target):
    party = Party(PUBLIC)
    party.emulator.clients["public"] = replace(PUBLIC, redirect_uris=(*PUBLIC.redirect_uris, "com.example.app:/cb"))
    login = await Person(party).open(party.url(redirect_uri=uri))
    assert f"form-action 'self' {target};" in login.headers["content-security-policy"]


async def test_values_are_escaped():
    hostile = '<script>alert("x")</script>'
    party = Party(users=[User(sub=hostile, email=hostile, name=hostile)])
    party.emulator.clients["post"] = replace(POST, client_name=hostile, scope=f"openid {hostile}")
    login = await Person(party).open(party.url(scope="openid", login_hint=hostile))
    person = Person(party)
    consent = await person.press(await person.open(party.url(scope="openid")), "sub")
    home = await person.http.get("/")
    for page in (login, consent, home):
        assert "&lt;script&gt;" in page.text
        assert "<script" not in page.text


async def test_cookies_have_names_of_their_own_and_are_closed_to_scripts(party, person):
    await person.sign_in(party.url())
    names = " ".join(sorted(cookie.name for cookie in person.http.cookies.jar))
    tied = "lumin_emulator_consent_[0-9a-f]{8} lumin_emulator_login_[0-9a-f]{8}"
    assert re.fullmatch(f"{tied} lumin_emulator_session", names)
    response = await Person(party).http.get(party.url())
    (cookie,) = response.headers.get_list("set-cookie")
    assert {part.lower() for part in cookie.split("; ")[1:]} == {"httponly", "path=/", "samesite=lax"}


async def test_the_home_page_says_who_is_known(party, person):
    page = await person.http.get("/")
    assert title(page) == "A local Lumin"
    for user in party.emulator.users.values():
        assert user.email in page.text
    assert POST.client_id in page.text
    assert POST.client_secret not in page.text


# Signing out


class Receiver:
    """A client's back-channel endpoint."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.requests: list[httpx2.Request] = []

    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self.receive)

    def receive(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return httpx2.Response(self.status)


LEAVING = replace(
    POST,
    post_logout_redirect_uris=("https://app.example/bye", "https://app.example/bye?x=1"),
    backchannel_logout_uri="https://app.example/backchannel",
)


def leaving(**options: Any) -> Party:
    party = Party(**options)
    party.emulator.clients["post"] = LEAVING
    return party


def logout(**parameters: str) -> str:
    return "/oauth2/sessions/logout?" + urlencode(parameters)


async def test_somebody_signs_out_after_a_question(party, person):
    await person.sign_in(party.url())
    question = await person.open(logout())
    assert title(question) == "Sign out?"
    assert title(await person.press(question, "confirm")) == "You are signed out"
    assert title(await person.open(party.url())) == "Sign in"
    assert title(await person.open(logout())) == "You are signed out"


async def test_with_a_hint_the_browser_returns_to_the_client_and_others_are_told():
    receiver = Receiver()
    party = leaving(backchannel_transport=receiver.transport())
    person = Person(party)
    code = query((await person.sign_in(party.url())).headers["location"])["code"]
    tokens = ok(await party.redeem(code))
    where = {"post_logout_redirect_uri": "https://app.example/bye?x=1", "state": "s t"}
    question = await person.open(logout(id_token_hint=tokens["id_token"], **where))
    done = await person.press(question, "confirm")
    assert done.headers["location"] == "https://app.example/bye?x=1&state=s+t"
    (request,) = receiver.requests
    assert str(request.url) == "https://app.example/backchannel"
    claims = await party.claims(query("?" + request.content.decode())["logout_token"])
    assert claims.pop("sid") == (await party.claims(tokens["id_token"]))["sid"]
    assert claims.pop("jti")
    assert claims == {
        "iss": BASE,
        "aud": ["post"],
        "iat": int(party.clock.now),
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }
    assert await party.alive(tokens)  # signing out revokes no tokens


async def test_a_test_can_sign_out_without_a_browser():
    receiver = Receiver(status=500)
    party = leaving(backchannel_transport=receiver.transport())
    id_token = (await party.tokens())["id_token"]
    party.clock.now += 10 * 86_400  # a hint may be old
    url = BASE + logout(id_token_hint=id_token, post_logout_redirect_uri="https://app.example/bye")
    assert await party.emulator.sign_out(url) == "https://app.example/bye"
    assert len(receiver.requests) == 1
    assert await party.emulator.sign_out(url) == "https://app.example/bye"
    assert len(receiver.requests) == 1  # there was no sign-in left


@pytest.mark.parametrize(
    "parameters",
    [
        {"state": "s"},
        {"post_logout_redirect_uri": "https://app.example/bye"},
        {"id_token_hint": "not.a.token"},
        {"id_token_hint": "GOOD", "post_logout_redirect_uri": "https://app.example/bye/"},
        {"id_token_hint": "GOOD", "post_logout_redirect_uri": "https://elsewhere.example/"},
    ],
)
async def test_a_bad_sign_out_ends_on_a_page(parameters):
    party = leaving()
    good = (await party.tokens())["id_token"]
    url = logout(**{name: value.replace("GOOD", good) for name, value in parameters.items()})
    page = await Person(party).open(url)
    assert (page.status_code, title(page)) == (400, "This request cannot go on")
    with pytest.raises(RequestRefused):
        await party.emulator.sign_out(BASE + url)


async def test_an_id_token_of_another_issuer_is_no_hint():
    foreign = (await Party(issuer="https://elsewhere.example").tokens())["id_token"]
    with pytest.raises(RequestRefused):
        await leaving().emulator.sign_out(BASE + logout(id_token_hint=foreign))


async def test_a_sign_out_works_once(party, person):
    await person.sign_in(party.url())
    question = await person.open(logout())
    await person.press(question, "confirm")
    assert (await person.press(question, "confirm")).status_code == 400


async def test_a_logout_token_can_be_made_for_any_session(party):
    claims = await party.claims(party.emulator.logout_token("post", "some-sid"))
    assert (claims["sid"], claims["aud"]) == ("some-sid", ["post"])


async def test_the_home_page_shows_what_was_allowed_and_takes_it_back(party, person):
    login = await person.open(party.url())
    done = await person.press(await person.press(login, "sub"), "allow")
    tokens = ok(await party.redeem(query(done.headers["location"])["code"]))
    home = await person.open(f"{BASE}/")
    user = next(iter(party.emulator.users.values()))
    assert "while they are away" in home.text
    assert user.name in home.text
    revoked = await person.http.post("/grants/revoke", data={"grant": "0"})
    assert (revoked.status_code, revoked.headers["location"]) == (303, "/")
    assert not await party.alive(tokens)
    assert "Nothing yet." in (await person.open(f"{BASE}/")).text
    assert (await person.http.post("/grants/revoke", data={"grant": "7"})).status_code == 404
    assert (await person.http.post("/grants/revoke", data={"grant": "-1"})).status_code == 404
