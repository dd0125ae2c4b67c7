"""What is asked of both servers: each case asks, and yields what a client can see and what is alive afterwards.

A case gets `new`, which makes a client with a person of its own: `new("client_secret_basic", scope="openid")`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

from .client import GOODBYE, NONCE, STATE, VERIFIER, Change, Party, Seen, basic, encoded, raw_basic, seen

New = Callable[..., Party]
Case = Callable[[New], Iterator[Seen]]

CASES: dict[str, Case] = {}
OTHER_URI = "https://app.example.com/other"
LOOPBACK = "http://127.0.0.1/callback"


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        assert name not in CASES, name
        CASES[name] = function
        return function

    return add


# --- authorization --------------------------------------------------------------------------------------

REQUESTS: dict[str, dict[str, Change]] = {
    "as it should be": {},
    "state of seven characters": {"state": "seven77"},
    "state of eight characters": {"state": "eight888"},
    "no state": {"state": None},
    "empty state": {"state": ""},
    "no scope": {"scope": None},
    "empty scope": {"scope": ""},
    "openid only": {"scope": "openid"},
    "no openid": {"scope": "offline_access sign:requests"},
    "offline instead of offline_access": {"scope": "openid offline"},
    "a scope that nobody has": {"scope": "openid sign:everything"},
    "a scope with a tab": {"scope": "openid\toffline_access"},
    "a scope twice in one parameter": {"scope": "openid openid"},
    "spaces around the scope": {"scope": " openid  sign:requests "},
    "scope in other letters": {"scope": "OpenID"},
    "response type token": {"response_type": "token"},
    "response type id_token": {"response_type": "id_token"},
    "response type code id_token": {"response_type": "code id_token"},
    "unknown response type": {"response_type": "bread"},
    "response type in other letters": {"response_type": "Code"},
    "no response type": {"response_type": None},
    "empty response type": {"response_type": ""},
    "no challenge": {"code_challenge": None, "code_challenge_method": None},
    "challenge method plain": {"code_challenge_method": "plain"},
    "no challenge method": {"code_challenge_method": None},
    "unknown challenge method": {"code_challenge_method": "S512"},
    "challenge method in other letters": {"code_challenge_method": "s256"},
    "challenge method without a challenge": {"code_challenge": None},
    "challenge of one character": {"code_challenge": "x"},
    "unknown client": {"client_id": "nobody"},
    "no client": {"client_id": None},
    "unregistered redirect URI": {"redirect_uri": "https://app.example.com/elsewhere"},
    "redirect URI with a slash more": {"redirect_uri": "https://app.example.com/callback/"},
    "redirect URI with a query more": {"redirect_uri": "https://app.example.com/callback?a=b"},
    "redirect URI in other letters": {"redirect_uri": "https://APP.example.com/callback"},
    "no redirect URI": {"redirect_uri": None},
    "no redirect URI and no openid": {"redirect_uri": None, "scope": "sign:requests"},
    "empty redirect URI": {"redirect_uri": ""},
    "prompt none": {"prompt": "none"},
    "prompt login": {"prompt": "login"},
    "prompt consent": {"prompt": "consent"},
    "prompt registration": {"prompt": "registration"},
    "prompt select_account": {"prompt": "select_account"},
    "prompt none login": {"prompt": "none login"},
    "prompt login consent": {"prompt": "login consent"},
    "unknown prompt": {"prompt": "perhaps"},
    "empty prompt": {"prompt": ""},
    "unknown prompt without openid": {"prompt": "perhaps", "scope": "sign:requests"},
    "max_age that is no number": {"max_age": "soon"},
    "max_age of nought": {"max_age": "0"},
    "max_age below nought": {"max_age": "-1"},
    "max_age of an hour": {"max_age": "3600"},
    "response mode query": {"response_mode": "query"},
    "response mode fragment": {"response_mode": "fragment"},
    "response mode form_post": {"response_mode": "form_post"},
    "unknown response mode": {"response_mode": "pigeon"},
    "response mode fragment with an error": {"response_mode": "fragment", "scope": "sign:everything"},
    "request object": {"request": "eyJhbGciOiJub25lIn0.e30."},
    "request object without openid": {"request": "eyJhbGciOiJub25lIn0.e30.", "scope": "sign:requests"},
    "request URI": {"request_uri": "https://app.example.com/request"},
    "registration": {"registration": "{}"},
    "id_token_hint that is none": {"id_token_hint": "nonsense"},
    "nonce of seven characters": {"nonce": "seven77"},
    "no nonce": {"nonce": None},
    "registered audience": {"audience": "https://api.example.com"},
    "unregistered audience": {"audience": "https://other.example.com"},
    "parameters that nobody knows": {"colour": "blue", "ui_locales": "de", "display": "popup"},
    "login_hint": {"login_hint": "grace"},
    "state twice": {"state": [STATE, "another-state"]},
    "scope twice": {"scope": ["openid", "sign:requests"]},
    "nonce twice": {"nonce": [NONCE, "another-nonce"]},
    "response type twice": {"response_type": ["code", "token"]},
    "client twice": {"client_id": ["nobody", "nobody"]},
    "redirect URI twice": {"redirect_uri": ["https://app.example.com/callback", OTHER_URI]},
}


def _authorization(changes: dict[str, Change]) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        yield new().authorize(**changes)

    return asked


for _name, _changes in REQUESTS.items():
    CASES[f"authorization: {_name}"] = _authorization(_changes)


@case("authorization: a registered loopback address with any port")
def _(new: New) -> Iterator[Seen]:
    yield new(redirect_uris=[LOOPBACK]).authorize(redirect_uri="http://127.0.0.1:5123/callback")


@case("authorization: a registered localhost with another port")
def _(new: New) -> Iterator[Seen]:
    yield new(redirect_uris=["http://localhost:80/callback"]).authorize(redirect_uri="http://localhost:81/callback")


@case("authorization: of two registered URIs none is the default")
def _(new: New) -> Iterator[Seen]:
    yield new(redirect_uris=[OTHER_URI, LOOPBACK]).authorize(redirect_uri=None, scope="sign:requests")


@case("authorization: the registered URI has a query of its own")
def _(new: New) -> Iterator[Seen]:
    yield new(redirect_uris=["https://app.example.com/callback?from=lumin%20"]).authorize()


@case("authorization: as a form, by POST")
def _(new: New) -> Iterator[Seen]:
    party = new()
    url, _, form = party.url().partition("?")
    answer = party.person.post(url, content=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    yield party.follow(party.person.settle(answer))


@case("authorization: a public client without a challenge")
def _(new: New) -> Iterator[Seen]:
    yield new("none").authorize(code_challenge=None, code_challenge_method=None)


@case("authorization: a person denies the sign-in")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield party.follow(party.person.open(party.url()), deny="login")


@case("authorization: a person denies consent")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield party.follow(party.person.open(party.url()), deny="consent")


@case("authorization: a person grants a part")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield party.follow(party.person.open(party.url()), scope="openid")


@case("authorization: a person grants nothing")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield party.follow(party.person.open(party.url()), scope="")


AGAIN: dict[str, dict[str, Change]] = {
    "nothing": {},
    "prompt none": {"prompt": "none"},
    "prompt login": {"prompt": "login"},
    "prompt consent": {"prompt": "consent"},
    "prompt none with another scope": {"prompt": "none", "scope": "openid templates"},
    "another scope": {"scope": "openid templates"},
    "max_age of nought": {"max_age": "0"},
    "max_age of an hour": {"max_age": "3600"},
    "max_age that is no number": {"max_age": "soon"},
    "max_age below nought": {"max_age": "-1"},
    "prompt select_account": {"prompt": "select_account"},
    "prompt none and max_age of nought": {"prompt": "none", "max_age": "0"},
    "an id_token_hint that is none": {"id_token_hint": "nonsense"},
}


def _again(changes: dict[str, Change]) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        party = new()
        party.callback()
        yield party.authorize(**changes)

    return asked


for _name, _changes in AGAIN.items():
    CASES[f"signed in, consent remembered, then {_name}"] = _again(_changes)


@case("signed in, then an id_token_hint of this person")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield party.authorize(prompt="none", id_token_hint=party.tokens()["id_token"])


@case("signed in, then an id_token_hint of somebody else")
def _(new: New) -> Iterator[Seen]:
    party = new()
    with party.server.person() as other:
        hint = party.redeem(party.callback(person=other, decisions={"sub": "grace"})["code"]).json()["id_token"]
    party.callback()
    yield party.authorize(prompt="none", id_token_hint=hint)


@case("two authorization requests in one browser, the second first")
def _(new: New) -> Iterator[Seen]:
    party = new()
    first, second = (
        party.person.open(party.url(state="the-first-one")),
        party.person.open(party.url(state="the-second")),
    )
    yield party.follow(second)
    yield party.follow(first)


@case("two authorization requests in one browser, the first first")
def _(new: New) -> Iterator[Seen]:
    party = new()
    first, second = (
        party.person.open(party.url(state="the-first-one")),
        party.person.open(party.url(state="the-second")),
    )
    yield party.follow(first)
    yield party.follow(second)


@case("two authorization requests in one browser, of two clients")
def _(new: New) -> Iterator[Seen]:
    one, other = new(), new()
    other.person.close()
    other.person = one.person
    first, second = one.person.open(one.url()), one.person.open(other.url())
    yield one.follow(first)
    yield other.follow(second)


@case("a sign-in that another browser goes on with")
def _(new: New) -> Iterator[Seen]:
    party = new()
    page = party.person.open(party.url())
    party.person.close()
    party.person = party.server.person()
    yield party.follow(page)


@case("a consent form sent twice")
def _(new: New) -> Iterator[Seen]:
    party = new()
    login = party.person.form(party.person.open(party.url()))
    assert login
    consent = party.person.settle(party.person.decide(login, remember=True))
    yield party.follow(consent)
    yield party.follow(consent)


# --- codes ----------------------------------------------------------------------------------------------

REDEMPTIONS: dict[str, dict[str, Change]] = {
    "as it should be": {},
    "another verifier": {"code_verifier": "w" * 43},
    "a verifier of 42 characters": {"code_verifier": "v" * 42},
    "a verifier of 129 characters": {"code_verifier": "v" * 129},
    "a verifier with other characters": {"code_verifier": "ø" * 43},
    "no verifier": {"code_verifier": None},
    "an empty verifier": {"code_verifier": ""},
    "no code": {"code": None},
    "an empty code": {"code": ""},
    "an unknown code": {"code": "ory_ac_unknown"},
    "another redirect URI": {"redirect_uri": OTHER_URI},
    "no redirect URI": {"redirect_uri": None},
    "no grant type": {"grant_type": None},
    "an empty grant type": {"grant_type": ""},
    "an unknown grant type": {"grant_type": "gift"},
    "grant type password": {"grant_type": "password"},
    "grant type client_credentials": {"grant_type": "client_credentials"},
    "two grant types in one": {"grant_type": "authorization_code refresh_token"},
    "grant type refresh_token": {"grant_type": "refresh_token"},
    "a wrong secret": {"client_secret": "wrong"},
    "no secret": {"client_secret": None},
    "an empty secret": {"client_secret": ""},
    "no client": {"client_id": None, "client_secret": None},
    "a secret without its client": {"client_id": None},
    "an unknown client": {"client_id": "nobody"},
    "a scope": {"scope": "openid"},
    "an unknown parameter": {"colour": "blue"},
    "code twice": {"code": ["ory_ac_unknown", "ory_ac_unknown"]},
    "grant type twice": {"grant_type": ["authorization_code", "refresh_token"]},
}


def _redemption(changes: dict[str, Change]) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        party = new()
        code = party.code()
        first = party.redeem(code, **changes)
        yield seen(first)
        again = party.redeem(code)
        yield seen(again)
        if first.status_code == 200:
            yield {"the first answer's": party.life(first.json())}

    return asked


for _name, _changes in REDEMPTIONS.items():
    CASES[f"code: {_name}, then as it should be"] = _redemption(_changes)


@case("code: a wrong verifier, then none at all")
def _(new: New) -> Iterator[Seen]:
    party = new()
    code = party.code()
    yield seen(party.redeem(code, code_verifier="w" * 43))
    yield seen(party.redeem(code, code_verifier=None))


@case("code: a verifier without a challenge, then none")
def _(new: New) -> Iterator[Seen]:
    party = new()
    code = party.code(code_challenge=None, code_challenge_method=None)
    yield seen(party.redeem(code))
    yield seen(party.redeem(code, code_verifier=None))


@case("code: a nonce that is too short, twice")
def _(new: New) -> Iterator[Seen]:
    party = new()
    code = party.code(nonce="seven77")
    yield seen(party.redeem(code))
    yield seen(party.redeem(code))


@case("code: a nonce that is too short, twice, without a challenge")
def _(new: New) -> Iterator[Seen]:
    party = new()
    code = party.code(nonce="seven77", code_challenge=None, code_challenge_method=None)
    yield seen(party.redeem(code, code_verifier=None))
    yield seen(party.redeem(code, code_verifier=None))


@case("code: a nonce that is too short, without openid")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield seen(party.redeem(party.code(nonce="seven77", scope="sign:requests")))


SCOPES = ("openid", "offline_access", "openid offline", "sign:requests", "openid offline_access", None)


def _scope(scope: str | None) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        party = new()
        yield seen(party.redeem(party.code(scope=scope)))

    return asked


for _scopes in SCOPES:
    CASES[f"code: for scope {_scopes}"] = _scope(_scopes)


@case("code: of another client, then as it should be")
def _(new: New) -> Iterator[Seen]:
    one, other = new(), new()
    code = one.code()
    yield seen(other.redeem(code))
    yield seen(one.redeem(code))


@case("code: nothing was granted")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield seen(party.redeem(party.code(decisions={"scope": ""})))


@case("code: without the redirect URI in the authorization request")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield seen(party.redeem(party.code(redirect_uri=None, scope="sign:requests"), redirect_uri=None))


@case("code: a client without the grant type refresh_token")
def _(new: New) -> Iterator[Seen]:
    party = new(grant_types=["authorization_code"])
    yield seen(party.redeem(party.code()))


@case("code: after an administrator ended everything")
def _(new: New) -> Iterator[Seen]:
    party = new()
    code = party.code(decisions={"sub": "hopper"})
    party.server.revoke("hopper")
    yield seen(party.redeem(code))


# --- how a client authenticates -------------------------------------------------------------------------


@case("client: by Basic")
def _(new: New) -> Iterator[Seen]:
    party = new("client_secret_basic")
    yield seen(party.redeem(party.code()))


@case("client: a secret with every kind of character, by Basic")
def _(new: New) -> Iterator[Seen]:
    party = new("client_secret_basic", client_secret='p+a:s s%&é"/')
    yield seen(party.redeem(party.code()))


@case("client: a secret with every kind of character, in the form")
def _(new: New) -> Iterator[Seen]:
    party = new(client_secret='p+a:s s%&é"/')
    yield seen(party.redeem(party.code()))


@case("client: public")
def _(new: New) -> Iterator[Seen]:
    party = new("none")
    tokens = party.redeem(party.code())
    yield seen(tokens)
    yield seen(party.refresh(tokens.json()["refresh_token"]))


@case("client: public, with a secret")
def _(new: New) -> Iterator[Seen]:
    party = new("none")
    yield seen(party.redeem(party.code(), client_secret="any"))


BASICS: dict[str, str] = {
    "Basic for a client that uses the form": "",
    "Basic that is no base64": "Basic !",
    "Basic without a colon": raw_basic("no colon"),
    "Basic with a lone per cent": raw_basic("a%:b"),
    "an empty Basic": "Basic",
    "Bearer": "Bearer something",
    "Basic in other letters": "basic",
}


def _basics(header: str, method: str) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        party = new(method)
        header_of = {"": basic(party.client_id, party.client_secret)}
        header_of["basic"] = header_of[""].replace("Basic", "bAsIc")
        grant = {"grant_type": "refresh_token", "refresh_token": "ory_rt_unknown"}
        for path, form in (("/oauth2/token", grant), ("/oauth2/revoke", {"token": "any"})):
            yield seen(party.raw(path, encoded(form), Authorization=header_of.get(header, header)))

    return asked


for _name, _header in BASICS.items():
    _method = "client_secret_basic" if _header == "basic" else "client_secret_post"
    CASES[f"client: {_name}"] = _basics(_header, _method)


@case("client: Basic and the form at once")
def _(new: New) -> Iterator[Seen]:
    for method in ("client_secret_post", "client_secret_basic"):
        party = new(method)
        both = {"client_id": party.client_id, "client_secret": party.client_secret, "grant_type": "refresh_token"}
        header = basic(party.client_id, party.client_secret)
        yield seen(party.raw("/oauth2/token", encoded(both), Authorization=header))


@case("client: a form for a client that uses Basic")
def _(new: New) -> Iterator[Seen]:
    party = new("client_secret_basic")
    form = {"client_id": party.client_id, "client_secret": party.client_secret, "grant_type": "refresh_token"}
    yield seen(party.raw("/oauth2/token", encoded(form)))
    yield seen(party.raw("/oauth2/revoke", encoded({**form, "token": "any"})))


@case("client: Basic with its name in the form as well")
def _(new: New) -> Iterator[Seen]:
    party = new("client_secret_basic")
    yield seen(party.redeem(party.code(), client_id=party.client_id))


# --- the endpoint itself --------------------------------------------------------------------------------


@case("token endpoint: nothing in the body")
def _(new: New) -> Iterator[Seen]:
    yield seen(new().raw("/oauth2/token", ""))


@case("token endpoint: JSON")
def _(new: New) -> Iterator[Seen]:
    body = json.dumps({"grant_type": "authorization_code"})
    yield seen(new().raw("/oauth2/token", body, **{"Content-Type": "application/json"}))


@case("token endpoint: everything in the query")
def _(new: New) -> Iterator[Seen]:
    party = new()
    form = {"grant_type": "authorization_code", "code": party.code(), "client_id": party.client_id}
    query = encoded({**form, "client_secret": party.client_secret, "code_verifier": VERIFIER})
    yield seen(party.raw(f"/oauth2/token?{query}", ""))


METHODS = [
    ("GET", "/oauth2/token"), ("PUT", "/oauth2/token"), ("GET", "/oauth2/revoke"), ("PUT", "/userinfo"),
    ("POST", "/.well-known/openid-configuration"), ("POST", "/.well-known/jwks.json"),
]  # fmt: skip


def _method_of(method: str, path: str) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        yield {"status": new().get(path, method).status_code}

    return asked


for _verb, _path in METHODS:
    CASES[f"{_verb} {_path}"] = _method_of(_verb, _path)


# --- refreshing -----------------------------------------------------------------------------------------

REFRESHES: dict[str, dict[str, Change]] = {
    "as it should be": {},
    "a smaller scope": {"scope": "openid"},
    "a larger scope": {"scope": "openid offline_access sign:requests templates"},
    "a wrong secret": {"client_secret": "wrong"},
    "no token": {"refresh_token": None},
    "an empty token": {"refresh_token": ""},
    "an unknown token": {"refresh_token": "ory_rt_unknown"},
    "a token of the right length": {"refresh_token": "ory_rt_" + "x" * 43 + "." + "y" * 43},
    "a redirect URI": {"redirect_uri": OTHER_URI},
    "token twice": {"refresh_token": ["ory_rt_unknown", "ory_rt_other"]},
}


def _refresh(changes: dict[str, Change]) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        party = new()
        tokens = party.tokens()
        given: dict[str, Any] = {"refresh_token": tokens["refresh_token"], **changes}
        answer = party.refresh(given.pop("refresh_token"), **given)
        yield seen(answer)
        yield {"the old ones": party.opens(tokens)}
        if answer.status_code == 200:
            yield {"the new ones": party.life(answer.json())}
        else:
            yield {"the old ones": party.life(tokens)}

    return asked


for _name, _changes in REFRESHES.items():
    CASES[f"refresh: {_name}"] = _refresh(_changes)


@case("refresh: a spent token, with all that came after it")
def _(new: New) -> Iterator[Seen]:
    party = new()
    first = party.tokens()
    second = party.refreshed(first)
    third = party.refreshed(second)
    yield seen(party.refresh(first["refresh_token"]))
    yield {"second": party.opens(second), "third": party.life(third)}


@case("refresh: a spent token by another client")
def _(new: New) -> Iterator[Seen]:
    party, other = new(), new()
    first = party.tokens()
    second = party.refreshed(first)
    yield seen(other.refresh(first["refresh_token"]))
    yield {"second": party.opens(second)}


@case("refresh: a live token by another client")
def _(new: New) -> Iterator[Seen]:
    party, other = new(), new()
    tokens = party.tokens()
    yield seen(other.refresh(tokens["refresh_token"]))
    yield party.life(tokens)


@case("refresh: with an access token")
def _(new: New) -> Iterator[Seen]:
    party = new()
    tokens = party.tokens()
    yield seen(party.refresh(tokens["access_token"]))
    yield party.life(tokens)


@case("refresh: the client lost a scope, and has it again")
def _(new: New) -> Iterator[Seen]:
    party = new()
    tokens = party.tokens()
    party.server.change(party.client_id, {"op": "replace", "path": "/scope", "value": "openid offline_access"})
    yield seen(party.refresh(tokens["refresh_token"]))
    had = "openid offline_access sign:requests"
    party.server.change(party.client_id, {"op": "replace", "path": "/scope", "value": had})
    yield party.life(tokens)


@case("refresh: the client lost the grant type, and has it again")
def _(new: New) -> Iterator[Seen]:
    party = new()
    tokens = party.tokens()
    party.server.change(party.client_id, {"op": "replace", "path": "/grant_types", "value": ["authorization_code"]})
    yield seen(party.refresh(tokens["refresh_token"]))
    both = ["authorization_code", "refresh_token"]
    party.server.change(party.client_id, {"op": "replace", "path": "/grant_types", "value": both})
    yield party.life(tokens)


@case("refresh: after an administrator ended everything")
def _(new: New) -> Iterator[Seen]:
    party = new()
    tokens = party.tokens(decisions={"sub": "lovelace"})
    party.server.revoke("lovelace")
    yield {"access token": party.opens(tokens)}
    yield seen(party.refresh(tokens["refresh_token"]))


@case("refresh: the ID token is of the same sign-in")
def _(new: New) -> Iterator[Seen]:
    party = new()
    first = party.tokens()
    before = claims(first["id_token"])
    after = claims(party.refreshed(first)["id_token"])
    yield sorted(before)
    yield sorted(after)
    yield {name: before[name] == after[name] for name in ("sub", "sid", "auth_time", "nonce", "iss", "aud", "rat")}
    yield {name: before[name] == after[name] for name in ("jti", "at_hash")}
    yield header(first["id_token"])


@case("keys: a new key between a code and its redemption, and between a sign-in and a refresh")
def _(new: New) -> Iterator[Seen]:
    party = new()
    code = party.code()
    before = party.tokens()
    published = len(party.get("/.well-known/jwks.json").json()["keys"])
    party.server.new_key(f"another-{party.client_id}")
    for tokens in (party.redeem(code).json(), party.refreshed(before)):
        yield {"kid as before": part(tokens["id_token"], 0)["kid"] == part(before["id_token"], 0)["kid"]}
        yield {"signed by that key": signed_by_its_kid(party, tokens["id_token"])}
    after = party.tokens()
    yield {"kid as before": part(after["id_token"], 0)["kid"] == part(before["id_token"], 0)["kid"]}
    yield {"signed by that key": signed_by_its_kid(party, after["id_token"])}
    yield {"keys more": len(party.get("/.well-known/jwks.json").json()["keys"]) - published}


@case("logout: with an ID token of an older key")
def _(new: New) -> Iterator[Seen]:
    party = new()
    hint = party.tokens()["id_token"]
    party.server.new_key(f"yet-another-{party.client_id}")
    yield party.sign_out(id_token_hint=hint, post_logout_redirect_uri=GOODBYE, state="bye")


# --- revocation -----------------------------------------------------------------------------------------

REVOCATIONS: dict[str, tuple[str, dict[str, Change]]] = {
    "the refresh token": ("refresh_token", {}),
    "the access token": ("access_token", {}),
    "the refresh token, hinted right": ("refresh_token", {"token_type_hint": "refresh_token"}),
    "the refresh token, hinted wrong": ("refresh_token", {"token_type_hint": "access_token"}),
    "the access token, hinted wrong": ("access_token", {"token_type_hint": "refresh_token"}),
    "the access token, hinted oddly": ("access_token", {"token_type_hint": "biscuit"}),
    "the ID token": ("id_token", {}),
    "nothing": ("refresh_token", {"token": None}),
    "an empty token": ("refresh_token", {"token": ""}),
    "an unknown token": ("refresh_token", {"token": "unknown"}),
    "with a wrong secret": ("refresh_token", {"client_secret": "wrong"}),
    "with no client": ("refresh_token", {"client_id": None, "client_secret": None}),
    "by an unknown client": ("refresh_token", {"client_id": "nobody"}),
    "token twice": ("refresh_token", {"token": ["unknown", "other"]}),
}


def _revocation(kind: str, changes: dict[str, Change]) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        party = new()
        tokens = party.tokens()
        given: dict[str, Any] = {"token": tokens[kind], **changes}
        yield seen(party.revoke(given.pop("token"), **given))
        yield party.life(tokens)

    return asked


for _name, (_kind, _changes) in REVOCATIONS.items():
    CASES[f"revocation: {_name}"] = _revocation(_kind, _changes)


@case("revocation: a spent refresh token")
def _(new: New) -> Iterator[Seen]:
    party = new()
    first = party.tokens()
    second = party.refreshed(first)
    yield seen(party.revoke(first["refresh_token"]))
    yield party.life(second)


@case("revocation: an access token that a refresh replaced")
def _(new: New) -> Iterator[Seen]:
    party = new()
    first = party.tokens()
    second = party.refreshed(first)
    yield seen(party.revoke(first["access_token"]))
    yield party.life(second)


@case("revocation: another client's token")
def _(new: New) -> Iterator[Seen]:
    party, other = new(), new()
    tokens = party.tokens()
    yield seen(other.revoke(tokens["refresh_token"]))
    yield party.life(tokens)


@case("revocation: twice")
def _(new: New) -> Iterator[Seen]:
    party = new()
    tokens = party.tokens()
    party.revoke(tokens["refresh_token"])
    yield seen(party.revoke(tokens["refresh_token"]))


@case("revocation: of one sign-in leaves another alone")
def _(new: New) -> Iterator[Seen]:
    party = new()
    one, other = party.tokens(), party.tokens()
    party.revoke(one["refresh_token"])
    yield party.life(other)


@case("revocation: nothing in the body")
def _(new: New) -> Iterator[Seen]:
    yield seen(new().raw("/oauth2/revoke", ""))


# --- userinfo -------------------------------------------------------------------------------------------


@case("userinfo: by GET and by POST")
def _(new: New) -> Iterator[Seen]:
    party = new()
    tokens = party.tokens()
    yield seen(party.userinfo(tokens["access_token"]))
    yield seen(party.userinfo(tokens["access_token"], "POST"))
    yield seen(party.userinfo(None, headers={"Authorization": f"bearer {tokens['access_token']}"}))


@case("userinfo: without scope openid")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield seen(party.userinfo(party.tokens(scope="sign:requests")["access_token"]))


@case("userinfo: the token in the form")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield seen(party.userinfo(None, "POST", data={"access_token": party.tokens()["access_token"]}))


@case("userinfo: the token in the query")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield seen(party.userinfo(None, params={"access_token": party.tokens()["access_token"]}))


TOKENS = {"no token": None, "an unknown token": "unknown", "a token of the right form": "ory_at_x.y"}


def _userinfo(token: str | None) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        yield seen(new().userinfo(token))

    return asked


for _name, _token in TOKENS.items():
    CASES[f"userinfo: {_name}"] = _userinfo(_token)


@case("userinfo: a refresh token")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield seen(party.userinfo(party.tokens()["refresh_token"]))


@case("userinfo: an ID token")
def _(new: New) -> Iterator[Seen]:
    party = new()
    yield seen(party.userinfo(party.tokens()["id_token"]))


@case("userinfo: a revoked token")
def _(new: New) -> Iterator[Seen]:
    party = new()
    tokens = party.tokens()
    party.revoke(tokens["access_token"])
    yield seen(party.userinfo(tokens["access_token"]))


@case("userinfo: Basic")
def _(new: New) -> Iterator[Seen]:
    yield seen(new().userinfo(None, headers={"Authorization": raw_basic("a:b")}))


# --- discovery and keys ---------------------------------------------------------------------------------


@case("discovery: openid-configuration")
def _(new: New) -> Iterator[Seen]:
    party = new()
    answer = party.get("/.well-known/openid-configuration")
    yield seen(answer)
    yield {name: place_of(value, party.server.base) for name, value in sorted(answer.json().items())}


@case("discovery: oauth-authorization-server")
def _(new: New) -> Iterator[Seen]:
    yield {"status": new().get("/.well-known/oauth-authorization-server").status_code}


@case("keys: what is published")
def _(new: New) -> Iterator[Seen]:
    answer = new().get("/.well-known/jwks.json")
    yield seen(answer)
    keys = answer.json()["keys"]
    yield [sorted(key) for key in keys[:2]]  # those of other cases come after
    yield [{name: key[name] for name in ("alg", "kty", "use")} for key in keys[:2]]
    yield [len(base64.urlsafe_b64decode(key["n"] + "==")) * 8 for key in keys[:2]]


# --- signing out ----------------------------------------------------------------------------------------


def _logout(changes: dict[str, Change], *, hinted: bool) -> Case:
    def asked(new: New) -> Iterator[Seen]:
        party = new()
        tokens = party.tokens()
        hint = {"id_token_hint": tokens["id_token"]} if hinted else {}
        yield party.sign_out(**{**hint, **changes})
        yield party.authorize(prompt="none")
        yield party.life(tokens)

    return asked


LOGOUTS: dict[str, tuple[bool, dict[str, Change]]] = {
    "with hint, URI and state": (True, {"post_logout_redirect_uri": GOODBYE, "state": "bye"}),
    "with hint and URI": (True, {"post_logout_redirect_uri": GOODBYE}),
    "with hint": (True, {}),
    "with hint and state": (True, {"state": "bye"}),
    "with hint and an unregistered URI": (True, {"post_logout_redirect_uri": OTHER_URI}),
    "with hint and an empty URI": (True, {"post_logout_redirect_uri": ""}),
    "with nothing": (False, {}),
    "with a URI only": (False, {"post_logout_redirect_uri": GOODBYE}),
    "with a state only": (False, {"state": "bye"}),
    "with a client and a URI": (False, {"client_id": "any", "post_logout_redirect_uri": GOODBYE}),
    "with a hint that is none": (False, {"id_token_hint": "nonsense"}),
}

for _name, (_hinted, _changes) in LOGOUTS.items():
    CASES[f"logout: {_name}"] = _logout(_changes, hinted=_hinted)


@case("logout: twice")
def _(new: New) -> Iterator[Seen]:
    party = new()
    hint = party.tokens()["id_token"]
    party.sign_out(id_token_hint=hint, post_logout_redirect_uri=GOODBYE)
    yield party.sign_out(id_token_hint=hint, post_logout_redirect_uri=GOODBYE, state="bye")


@case("logout: in a browser that never signed in")
def _(new: New) -> Iterator[Seen]:
    yield new().sign_out()


@case("logout: with a hint, in another browser")
def _(new: New) -> Iterator[Seen]:
    party = new()
    hint = party.tokens()["id_token"]
    signed_in, party.person = party.person, party.server.person()
    yield party.sign_out(id_token_hint=hint, post_logout_redirect_uri=GOODBYE, state="bye")
    party.person.close()
    party.person = signed_in
    yield party.authorize(prompt="none")


@case("logout: with a refreshed ID token")
def _(new: New) -> Iterator[Seen]:
    party = new()
    hint = party.refreshed(party.tokens())["id_token"]
    yield party.sign_out(id_token_hint=hint, post_logout_redirect_uri=GOODBYE, state="bye")


@case("logout: by POST")
def _(new: New) -> Iterator[Seen]:
    party = new()
    hint = party.tokens()["id_token"]
    form = encoded({"id_token_hint": hint, "post_logout_redirect_uri": GOODBYE, "state": "bye"})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = party.person.post(party.logout_url().rstrip("?"), content=form, headers=headers)
    yield party.follow(party.person.settle(answer))


@case("logout: a person says no")
def _(new: New) -> Iterator[Seen]:
    party = new()
    hint = party.tokens()["id_token"]
    page = party.person.open(party.logout_url(id_token_hint=hint, post_logout_redirect_uri=GOODBYE))
    yield party.follow(page, deny="logout")[:1]
    yield party.authorize(prompt="none")


# --- reading tokens, without checking anything ----------------------------------------------------------


def part(token: str, index: int) -> dict[str, Any]:
    piece = token.split(".")[index]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)))
    return found


def claims(token: str) -> dict[str, Any]:
    return part(token, 1)


def signed_by_its_kid(party: Party, token: str) -> bool:
    """Whether the published key that the header names verifies the signature."""
    keys = KeySet.import_key_set(party.get("/.well-known/jwks.json").json())
    try:
        jwt.decode(token, keys, algorithms=["RS256"])
    except BadSignatureError:
        return False
    return True


def header(token: str) -> dict[str, Any]:
    found = part(token, 0)
    return {**found, "kid": type(found["kid"]).__name__}


def place_of(value: Any, base: str) -> Any:
    """A member of a document, with the server's own address left out."""
    if isinstance(value, str):
        return value.replace(base, "BASE")
    return sorted(map(str, value)) if isinstance(value, list) else value
