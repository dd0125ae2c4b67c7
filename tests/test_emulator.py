"""The emulator's authorization server is as strict as Ory Hydra, answer by answer."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from lumin_middleware.emulator import Client, Emulator
from lumin_middleware.errors import RequestRefused

pytestmark = pytest.mark.anyio

BASE = "http://emulator.test:4444"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
POST = Client(
    client_id="post",
    client_secret="a+b c%d&é",
    redirect_uris=("https://app.example/cb?from=lumin%20", "https://app.example/other"),
    scope="openid offline_access sign:requests templates",
    audience=("https://api.example",),
)
BASIC = replace(
    POST, client_id="ba:sic+%", client_secret="p+a:s s%&é", token_endpoint_auth_method="client_secret_basic"
)
PUBLIC = Client(
    client_id="public",
    token_endpoint_auth_method="none",
    redirect_uris=("http://127.0.0.1/cb", "http://[::1]/cb"),
    scope="openid sign:requests",
)


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Party:
    """A plain relying party and its emulator, in one process."""

    def __init__(self, client: Client = POST, **options: Any) -> None:
        self.client = client
        self.clock = Clock()
        self.emulator = Emulator(BASE, clock=self.clock, clients=[POST, BASIC, PUBLIC], **options)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.emulator.app), base_url=BASE)

    def url(self, **changes: str | None) -> str:
        """An authorization URL; None leaves a parameter out."""
        parameters = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uris[0],
            "scope": self.client.scope,
            "state": "state-of-eight",
            "nonce": "nonce-of-eight",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        } | changes
        given = {name: value for name, value in parameters.items() if value is not None}
        return f"{BASE}/oauth2/auth?{urlencode(given)}"

    def callback(self, **changes: str | None) -> dict[str, str]:
        """The parameters that the callback gets."""
        return query(self.emulator.sign_in(self.url(**changes)))

    def code(self, **changes: str | None) -> str:
        return self.callback(**changes)["code"]

    def credentials(self) -> dict[str, Any]:
        """What authenticates the client: arguments for a request."""
        client = self.client
        if client.token_endpoint_auth_method == "client_secret_basic":
            return {"headers": {"Authorization": basic(client.client_id, client.client_secret)}}
        secret = {"client_secret": client.client_secret} if client.client_secret else {}
        return {"data": {"client_id": client.client_id} | secret}

    async def post(self, path: str, **form: str | None) -> httpx2.Response:
        """An authenticated form POST; None leaves a field out."""
        arguments = self.credentials()
        given = arguments.pop("data", {}) | form
        return await self.http.post(
            path, data={name: value for name, value in given.items() if value is not None}, **arguments
        )

    async def redeem(self, code: str, /, **changes: str | None) -> httpx2.Response:
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.client.redirect_uris[0],
            "code_verifier": VERIFIER,
        }
        return await self.post("/oauth2/token", **(form | changes))

    async def tokens(self, **changes: str | None) -> dict[str, Any]:
        """A whole sign-in: the token response."""
        return ok(await self.redeem(self.code(**changes)))

    async def refresh(self, refresh_token: str | None, /, **changes: str | None) -> httpx2.Response:
        form: dict[str, str | None] = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self.post("/oauth2/token", **(form | changes))

    async def api(self, access_token: str, method: str = "GET", path: str = "/v1/user/info", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {access_token}"} | more.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **more)

    async def alive(self, tokens: dict[str, Any]) -> bool:
        """Whether an access token still opens the API."""
        return (await self.api(tokens["access_token"])).status_code == 200

    async def claims(self, id_token: str) -> dict[str, Any]:
        """The claims of an ID token, after checking its signature against the published keys."""
        keys = KeySet.import_key_set((await self.http.get("/.well-known/jwks.json")).json())
        return jwt.decode(id_token, keys, algorithms=["RS256", "ES256"]).claims


def query(url: str) -> dict[str, str]:
    found = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    return {name: value for name, (value,) in found.items()}


def basic(client_id: str, secret: str) -> str:
    """RFC 6749, 2.3.1: each half is form-urlencoded first."""
    return "Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def ok(response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()


def refused(response: httpx2.Response) -> tuple[int, str]:
    """Status and error of a refusal, after checking its form."""
    assert response.headers["content-type"] == "application/json;charset=UTF-8"
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert set(body) == {"error", "error_description"}
    return response.status_code, body["error"]


@pytest.fixture
def party() -> Party:
    return Party()


# The authorization request


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
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "perhaps"}, "invalid_request"),
        ({"audience": "https://other.example"}, "invalid_request"),
    ],
)
async def test_the_callback_is_told_what_is_wrong(party, changes, error):
    answer = party.callback(**changes)
    assert answer["error"] == error
    assert answer["state"] == (changes.get("state", "state-of-eight") or "")
    assert set(answer) == {"from", "error", "error_description", "state"}
    over_http = await party.http.get(party.url(**changes))
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
        {"max_age": "soon"},
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


# The token endpoint


async def test_a_token_response_looks_like_hydras(party):
    response = await party.redeem(party.code())
    tokens = ok(response)
    assert response.headers["content-type"] == "application/json;charset=UTF-8"
    assert response.headers["cache-control"] == "no-store"
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 3600
    assert tokens["scope"] == POST.scope
    for kind, prefix in (("access_token", "ory_at_"), ("refresh_token", "ory_rt_")):
        assert tokens[kind].startswith(prefix)
        assert len(tokens[kind]) == 94
    assert set(tokens) == {"access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"}


async def test_without_offline_access_there_is_no_refresh_token(party):
    assert "refresh_token" not in await party.tokens(scope="openid")


async def test_without_openid_there_is_no_id_token(party):
    assert "id_token" not in await party.tokens(scope="offline_access")


async def test_id_tokens_can_be_left_out_as_lumin_documents_it():
    assert "id_token" not in await Party(id_token=False).tokens()


async def test_access_tokens_can_be_long():
    party = Party(access_token_length=6000)
    tokens = await party.tokens()
    assert (len(tokens["access_token"]), len(tokens["refresh_token"])) == (6000, 94)
    assert await party.alive(tokens)


async def test_a_weak_nonce_fails_only_when_the_code_is_redeemed(party):
    code = party.code(nonce="seven77")
    assert refused(await party.redeem(code)) == (400, "insufficient_entropy")
    assert refused(await party.redeem(code)) == (400, "invalid_grant")
    ok(await party.redeem(party.code(nonce="seven77", scope="sign:requests")))  # no openid, no ID token, no check


@pytest.mark.parametrize("client", [POST, BASIC, PUBLIC], ids=lambda client: client.client_id)
async def test_each_client_authenticates_with_its_own_method(client):
    party = Party(client)
    assert await party.alive(await party.tokens())


@pytest.mark.parametrize(
    ("client", "headers", "form"),
    [
        (POST, {}, {"client_id": "post", "client_secret": "wrong"}),
        (POST, {}, {"client_id": "post"}),
        (POST, {}, {"client_id": "nobody", "client_secret": POST.client_secret}),
        (POST, {}, {}),
        (POST, {"Authorization": basic("post", POST.client_secret)}, {}),
        (
            POST,
            {"Authorization": basic("post", POST.client_secret)},
            {"client_id": "post", "client_secret": POST.client_secret},
        ),
        (BASIC, {}, {"client_id": BASIC.client_id, "client_secret": BASIC.client_secret}),
        (BASIC, {"Authorization": basic(BASIC.client_id, "wrong")}, {}),
        (BASIC, {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()}, {}),
        (BASIC, {"Authorization": "Basic !"}, {}),
        (PUBLIC, {}, {"client_id": "public", "client_secret": "any"}),
    ],
)
async def test_any_other_client_authentication_is_invalid_client(client, headers, form):
    party = Party(client)
    grant = {"grant_type": "authorization_code", "code": party.code(), "redirect_uri": client.redirect_uris[0]}
    response = await party.http.post("/oauth2/token", headers=headers, data=grant | form)
    assert refused(response) == (401, "invalid_client")


async def test_a_secret_that_was_not_encoded_first_is_another_secret():
    raw = base64.b64encode(f"{BASIC.client_id}:p+a".encode()).decode()
    response = await Party(BASIC).http.post(
        "/oauth2/token", headers={"Authorization": f"Basic {raw}"}, data={"grant_type": "refresh_token"}
    )
    assert refused(response) == (400, "invalid_request")  # the lone % of the client id


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"code": "ory_ac_unknown"}, (400, "invalid_grant")),
        ({"code": None}, (400, "invalid_request")),
        ({"redirect_uri": "https://app.example/other"}, (400, "invalid_grant")),
        ({"redirect_uri": None}, (400, "invalid_grant")),
        ({"code_verifier": None}, (400, "invalid_grant")),
        ({"code_verifier": "w" * 43}, (400, "invalid_grant")),
        ({"code_verifier": "v" * 42}, (400, "invalid_grant")),
        ({"code_verifier": "v" * 129}, (400, "invalid_grant")),
        ({"code_verifier": "ø" * 43}, (400, "invalid_grant")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"grant_type": None}, (400, "unsupported_grant_type")),
    ],
)
async def test_a_wrong_redemption_is_refused_and_leaves_the_code_alone(party, changes, answer):
    code = party.code()
    assert refused(await party.redeem(code, **changes)) == answer
    ok(await party.redeem(code))


async def test_a_verifier_without_a_challenge_is_refused(party):
    code = party.code(code_challenge=None, code_challenge_method=None)
    assert refused(await party.redeem(code)) == (400, "invalid_grant")
    ok(await party.redeem(code, code_verifier=None))


async def test_a_code_is_bound_to_its_client(party):
    code = party.code()
    party.client = BASIC
    assert refused(await party.redeem(code)) == (400, "invalid_grant")


async def test_a_code_expires(party):
    code = party.code()
    party.clock.now += 600
    assert refused(await party.redeem(code)) == (400, "invalid_grant")


@pytest.mark.parametrize("name", ["code", "client_secret", "grant_type", "anything"])
async def test_a_parameter_twice_is_refused(party, name):
    form = [
        ("grant_type", "authorization_code"),
        ("code", party.code()),
        ("redirect_uri", POST.redirect_uris[0]),
        ("code_verifier", VERIFIER),
        ("client_id", "post"),
        ("client_secret", POST.client_secret),
        ("anything", "1"),
    ]
    body = urlencode([*form, (name, dict(form)[name])])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await party.http.post("/oauth2/token", content=body, headers=headers)
    assert refused(response) == (400, "invalid_request")


async def test_a_token_request_must_be_a_form(party):
    response = await party.http.post("/oauth2/token", json={"grant_type": "authorization_code"})
    assert refused(response) == (400, "invalid_request")


async def test_a_code_that_comes_twice_takes_its_tokens_with_it(party):
    code = party.code()
    tokens = ok(await party.redeem(code))
    assert party.emulator.reuse_events == 0
    response = await party.redeem(code)
    assert refused(response) == (400, "invalid_grant")
    assert "already been used" in response.json()["error_description"]
    assert party.emulator.reuse_events == 1
    assert not await party.alive(tokens)
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


# Refreshing


async def test_a_refresh_rotates_both_tokens_and_kills_the_old_ones_at_once(party):
    old = await party.tokens()
    new = ok(await party.refresh(old["refresh_token"]))
    assert new["refresh_token"] != old["refresh_token"]
    assert not await party.alive(old)
    assert await party.alive(new)
    assert set(new) == set(old)


async def test_a_spent_refresh_token_revokes_the_chain(party):
    old = await party.tokens()
    new = ok(await party.refresh(old["refresh_token"]))
    response = await party.refresh(old["refresh_token"])
    assert refused(response) == (400, "invalid_grant")
    assert response.json()["error_description"].endswith("The refresh token was already used.")
    assert party.emulator.reuse_events == 1
    assert not await party.alive(new)
    assert refused(await party.refresh(new["refresh_token"])) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 1  # that one was never used, only revoked


async def test_a_chain_of_one_sign_in_leaves_other_sign_ins_alone(party):
    one, other = await party.tokens(), await party.tokens()
    ok(await party.refresh(one["refresh_token"]))
    await party.refresh(one["refresh_token"])
    assert await party.alive(other)


async def test_scope_is_ignored_when_refreshing(party):
    tokens = await party.tokens()
    assert ok(await party.refresh(tokens["refresh_token"], scope="openid"))["scope"] == POST.scope


async def test_a_scope_that_the_client_lost_ends_refreshing(party):
    tokens = await party.tokens()
    party.emulator.clients["post"] = replace(POST, scope="openid offline_access")
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_scope")


@pytest.mark.parametrize("token", ["ory_rt_unknown", "", None])
async def test_an_unknown_refresh_token_is_refused(party, token):
    status, error = refused(await party.refresh(token))
    assert (status, error) == (400, "invalid_request" if token is None else "invalid_grant")


async def test_an_access_token_refreshes_nothing(party):
    tokens = await party.tokens()
    assert refused(await party.refresh(tokens["access_token"])) == (400, "invalid_grant")


async def test_a_refresh_token_is_bound_to_its_client(party):
    tokens = await party.tokens()
    party.client = BASIC
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    party.client = POST
    ok(await party.refresh(tokens["refresh_token"]))


async def test_tokens_expire_by_the_clock():
    party = Party(access_token_lifetime=60, refresh_token_lifetime=120)
    tokens = await party.tokens()
    assert tokens["expires_in"] == 60
    party.clock.now += 60
    assert not await party.alive(tokens)
    party.clock.now += 60
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 0


async def test_within_grace_each_use_gives_another_pair():
    party = Party(refresh_token_grace=10)
    old = await party.tokens()
    first = ok(await party.refresh(old["refresh_token"]))
    assert not await party.alive(old)
    party.clock.now += 9.9
    second = ok(await party.refresh(old["refresh_token"]))
    assert first["refresh_token"] != second["refresh_token"]
    assert await party.alive(first)
    assert await party.alive(second)
    assert party.emulator.reuse_events == 0


async def test_after_grace_reuse_revokes_everything():
    party = Party(refresh_token_grace=10)
    old = await party.tokens()
    new = ok(await party.refresh(old["refresh_token"]))
    party.clock.now += 10
    assert refused(await party.refresh(old["refresh_token"])) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 1
    assert not await party.alive(new)


# ID tokens and keys


async def test_an_id_token_holds_hydras_claims(party):
    tokens = await party.tokens()
    claims = await party.claims(tokens["id_token"])
    now, user = int(party.clock.now), next(iter(party.emulator.users.values()))
    half = base64.urlsafe_b64encode(hashlib.sha256(tokens["access_token"].encode()).digest()[:16]).decode()
    assert {name: claims[name] for name in claims if name not in ("sid", "jti")} == {
        "iss": BASE,
        "sub": user.sub,
        "aud": ["post"],
        "iat": now,
        "exp": now + 3600,
        "rat": now,
        "auth_time": now,
        "nonce": "nonce-of-eight",
        "at_hash": half.rstrip("="),
        "email": user.email,
        "email_verified": True,
        "name": user.name,
    }
    assert claims["sid"]
    assert claims["jti"]


async def test_without_a_nonce_the_id_token_has_none(party):
    assert "nonce" not in await party.claims((await party.tokens(nonce=None))["id_token"])


async def test_a_refreshed_id_token_belongs_to_the_same_sign_in(party):
    tokens = await party.tokens()
    before = await party.claims(tokens["id_token"])
    party.clock.now += 100
    after = await party.claims(ok(await party.refresh(tokens["refresh_token"]))["id_token"])
    for same in ("sub", "sid", "auth_time", "nonce", "iss", "aud"):
        assert after[same] == before[same]
    for other in ("iat", "exp", "jti", "at_hash"):
        assert after[other] != before[other]


async def test_a_rotated_key_signs_and_the_old_one_stays_published(party):
    old = (await party.tokens())["id_token"]
    party.emulator.rotate_keys()
    new = (await party.tokens())["id_token"]
    assert (await party.claims(old))["sub"] == (await party.claims(new))["sub"]
    assert len((await party.http.get("/.well-known/jwks.json")).json()["keys"]) == 2


async def test_an_old_key_can_be_dropped(party):
    old = (await party.tokens())["id_token"]
    party.emulator.rotate_keys(keep=False)
    with pytest.raises(JoseError, match="kid"):
        await party.claims(old)


async def test_the_keys_are_published_without_their_private_part(party):
    (key,) = (await party.http.get("/.well-known/jwks.json")).json()["keys"]
    assert set(key) == {"kty", "kid", "use", "alg", "n", "e"}


async def test_a_client_can_have_another_algorithm(party):
    party.emulator.clients["post"] = replace(POST, id_token_signed_response_alg="ES256")
    assert await party.claims((await party.tokens())["id_token"])


async def test_a_forged_id_token_replaces_the_real_one(party):
    assert party.emulator.forge_id_token is None
    party.emulator.forge_id_token = lambda header, claims, key: f"{header['alg']}.{claims['sub']}.{key.kid}"
    alg, sub, kid = (await party.tokens())["id_token"].split(".")
    (published,) = (await party.http.get("/.well-known/jwks.json")).json()["keys"]
    assert (alg, kid) == ("RS256", published["kid"])
    assert sub in party.emulator.users


async def test_a_wrong_clock_shows_in_what_is_issued_and_nowhere_else(party):
    assert party.emulator.clock_skew == 0.0
    party.emulator.clock_skew = -3600.0
    response = await party.redeem(party.code())
    claims = await party.claims(ok(response)["id_token"])
    assert claims["iat"] == claims["auth_time"] == int(party.clock.now) - 3600
    assert claims["exp"] == int(party.clock.now)
    assert response.headers["date"] == "Mon, 21 Sep 2026 13:13:20 GMT"
    assert await party.alive(ok(response))


# Revocation, userinfo, metadata


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "other", None])
async def test_revoking_either_token_kills_both(party, kind, hint):
    tokens = await party.tokens()
    response = await party.post("/oauth2/revoke", token=tokens[kind], token_type_hint=hint)
    assert (response.status_code, response.content) == (200, b"")
    assert not await party.alive(tokens)
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert party.emulator.reuse_events == 0


async def test_revoking_an_unknown_or_foreign_token_is_200_and_does_nothing(party):
    tokens = await party.tokens()
    assert (await party.post("/oauth2/revoke", token="unknown")).status_code == 200
    party.client = BASIC
    assert (await party.post("/oauth2/revoke", token=tokens["refresh_token"])).status_code == 200
    assert await party.alive(tokens)


async def test_revocation_needs_a_token_and_the_client(party):
    assert refused(await party.post("/oauth2/revoke", token=None)) == (400, "invalid_request")
    wrong = await party.post("/oauth2/revoke", token="any", client_secret="wrong")
    assert refused(wrong) == (401, "invalid_client")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_userinfo_gives_the_claims_without_those_of_the_id_token(party, method):
    tokens = await party.tokens()
    claims = await party.claims(tokens["id_token"])
    answer = (await party.api(tokens["access_token"], method, "/userinfo")).json()
    assert answer == {
        name: value for name, value in claims.items() if name not in ("nonce", "at_hash", "c_hash", "exp", "sid", "jti")
    }


@pytest.mark.parametrize(
    ("headers", "error"),
    [({}, "request_unauthorized"), ({"Authorization": "Bearer unknown"}, "invalid_token")],
)
async def test_userinfo_challenges(party, headers, error):
    response = await party.http.get("/userinfo", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith(f'Bearer error="{error}",error_description="')


@pytest.mark.parametrize("path", ["openid-configuration", "oauth-authorization-server"])
async def test_discovery_names_endpoints_that_are_there(party, path):
    found = (await party.http.get(f"/.well-known/{path}")).json()
    assert found["issuer"] == BASE
    assert "introspection_endpoint" not in found
    assert "authorization_response_iss_parameter_supported" not in found
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "revocation_endpoint"):
        assert (await party.http.get(found[name])).status_code != 404, name


async def test_the_issuer_can_differ_from_the_base():
    party = Party(issuer=f"{BASE}/")
    assert (await party.http.get("/.well-known/openid-configuration")).json()["issuer"] == f"{BASE}/"
    assert (await party.claims((await party.tokens())["id_token"]))["iss"] == f"{BASE}/"


# What tests can do to it


async def test_every_grant_can_be_killed(party):
    tokens, code = await party.tokens(), party.code()
    party.emulator.revoke_all()
    assert not await party.alive(tokens)
    assert refused(await party.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert refused(await party.redeem(code)) == (400, "invalid_grant")


async def test_access_tokens_can_be_expired_while_refresh_tokens_live(party):
    tokens = await party.tokens()
    party.emulator.expire_access_tokens()
    assert not await party.alive(tokens)
    assert (await party.api(tokens["access_token"], path="/userinfo")).status_code == 401
    assert await party.alive(ok(await party.refresh(tokens["refresh_token"])))


async def test_grants_can_be_inspected(party):
    await party.tokens(scope="openid")
    assert len(party.emulator.grants) == 1
    (grant,) = party.emulator.grants
    assert (grant.client_id, grant.scope, grant.revoked) == ("post", ("openid",), False)
    assert [token.kind for token in grant.tokens] == ["access_token"]


async def test_every_request_is_recorded(party):
    code = party.code()
    await party.redeem(code)
    await party.http.get("/v1/user/info?a=1&a=2&b=")
    (call,) = party.emulator.calls_to("/oauth2/token")
    assert (call.method, call.status, call.form["code"]) == ("POST", 200, [code])
    assert call.form["client_secret"] == [POST.client_secret]
    last = party.emulator.calls[-1]
    assert (last.path, last.query, last.status) == ("/v1/user/info", {"a": ["1", "2"], "b": [""]}, 401)
    assert last.headers["host"] == "emulator.test:4444"


async def test_only_the_latest_calls_are_kept(party, monkeypatch):
    monkeypatch.setattr("lumin_middleware.emulator.calls.MOST_CALLS", 2)
    for path in ("/a", "/b", "/c"):
        await party.http.get(path)
    assert [call.path for call in party.emulator.calls] == ["/b", "/c"]


async def test_half_a_form_is_not_acted_upon(party):
    code = party.code()
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": POST.redirect_uris[0]}
    body = urlencode(form | party.credentials()["data"] | {"code_verifier": VERIFIER}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "path": "/oauth2/token", "query_string": b"", "headers": headers}
    await party.emulator.app(scope, receive, send)
    assert not sent
    ok(await party.redeem(code))
