"""A plain relying party, which checks nothing: the same requests go to Hydra and to the emulator.

`Seen` is what a client can see of an answer, without what is random and without a server's own words.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qs, parse_qsl, quote_plus, urlencode, urlsplit

import httpx2

from .person import Person

REDIRECT_URI = "https://app.example.com/callback"
GOODBYE = "https://app.example.com/bye"
STATE, NONCE = "state-of-some-length", "nonce-of-some-length"
VERIFIER = "verifier-" + "v" * 40
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
SCOPE = "openid offline_access sign:requests"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Seen = Any
Change = str | Sequence[str] | None


class Server(Protocol):
    """Hydra, or the emulator behind the same verbs."""

    base: str
    http: httpx2.Client

    def register(self, redirect_uris: list[str], **metadata: Any) -> dict[str, Any]: ...

    def change(self, client_id: str, *changes: dict[str, Any]) -> None: ...

    def person(self) -> Person: ...

    def new_key(self, kid: str) -> None: ...

    def revoke(self, subject: str) -> None: ...


class Party:
    """A client of its own at `server`, and one person with a browser."""

    def __init__(self, server: Server, method: str = "client_secret_post", **metadata: Any) -> None:
        self.server = server
        self.method = method
        registered = {
            "scope": f"{SCOPE} offline templates",
            "audience": ["https://api.example.com"],
            **metadata,
        }
        uris = registered.pop("redirect_uris", [REDIRECT_URI])
        goodbye = [GOODBYE] if REDIRECT_URI in uris else []  # they must be of one origin
        registered.setdefault("post_logout_redirect_uris", goodbye)
        client = server.register(uris, token_endpoint_auth_method=method, **registered)
        self.redirect_uri = uris[0]
        self.client_id, self.client_secret = client["client_id"], client["client_secret"]
        self.http = server.http
        self.person = server.person()

    def close(self) -> None:
        self.person.close()

    # The authorization endpoint

    def url(self, **changes: Change) -> str:
        """An authorization request. None leaves a parameter out, a list gives it more than once."""
        parameters: dict[str, Change] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": SCOPE,
            "state": STATE,
            "nonce": NONCE,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        return f"{self.server.base}/oauth2/auth?{encoded(parameters)}"

    def authorize(self, **changes: Change) -> list[Seen]:
        """The first thing that a person sees of a request, and where the way ends."""
        return self.follow(self.person.open(self.url(**changes)))

    def follow(self, first: httpx2.Response, **decisions: Any) -> list[Seen]:
        """What was seen first, and the end of the way on from there."""
        seen = [place(first)]
        last = first
        while action := self.person.form(last):
            last = self.person.settle(self.person.decide(action, remember=True, **decisions))
        return seen if last is first else [*seen, place(last)]

    def callback(self, *, person: Person | None = None, decisions: Any = None, **changes: Change) -> dict[str, str]:
        """The callback's parameters after a whole sign-in."""
        return parameters((person or self.person).go(self.url(**changes), remember=True, **(decisions or {})))

    def code(self, **changes: Any) -> str:
        found = self.callback(**changes)
        assert "code" in found, found
        return found["code"]

    # What the client asks

    def post(self, path: str, form: Mapping[str, Change], **headers: str) -> httpx2.Response:
        """An authenticated form POST. None leaves a field out, a list gives it more than once."""
        ours: dict[str, Change] = {}
        if self.method == "client_secret_basic":
            headers.setdefault("Authorization", basic(self.client_id, self.client_secret))
        else:
            ours["client_id"] = self.client_id
            if self.method == "client_secret_post":
                ours["client_secret"] = self.client_secret
        return self.raw(path, encoded({**ours, **form}), **headers)

    def raw(self, path: str, body: str | bytes, **headers: str) -> httpx2.Response:
        return self.http.post(f"{self.server.base}{path}", content=body, headers={**FORM, **headers})

    def redeem(self, code: str, /, **changes: Change) -> httpx2.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return self.post("/oauth2/token", {**form, "code_verifier": VERIFIER, **changes})

    def tokens(self, **changes: Any) -> dict[str, Any]:
        answer = self.redeem(self.code(**changes))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def refresh(self, refresh_token: str | None, /, **changes: Change) -> httpx2.Response:
        return self.post("/oauth2/token", {"grant_type": "refresh_token", "refresh_token": refresh_token, **changes})

    def refreshed(self, tokens: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.refresh(tokens["refresh_token"])
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def revoke(self, token: Change, /, **changes: Change) -> httpx2.Response:
        return self.post("/oauth2/revoke", {"token": token, **changes})

    def userinfo(self, token: str | None, method: str = "GET", **more: Any) -> httpx2.Response:
        headers = more.pop("headers", {})
        if token is not None:
            headers = {"Authorization": f"Bearer {token}", **headers}
        return self.http.request(method, f"{self.server.base}/userinfo", headers=headers, **more)

    def get(self, path: str, method: str = "GET") -> httpx2.Response:
        return self.http.request(method, f"{self.server.base}{path}")

    # What is alive

    def opens(self, tokens: Mapping[str, Any]) -> str:
        """Whether an access token is alive."""
        return "alive" if self.userinfo(tokens["access_token"]).status_code == 200 else "dead"

    def life(self, tokens: Mapping[str, Any]) -> dict[str, str]:
        """What of these tokens is alive; the refresh token is spent by looking."""
        access = self.opens(tokens)
        refresh = "alive" if self.refresh(tokens["refresh_token"]).status_code == 200 else "dead"
        return {"access token": access, "refresh token": refresh}

    # Signing out

    def logout_url(self, **changes: Change) -> str:
        return f"{self.server.base}/oauth2/sessions/logout?{encoded(changes)}"

    def sign_out(self, **changes: Change) -> list[Seen]:
        return self.follow(self.person.open(self.logout_url(**changes)))


def encoded(form: Mapping[str, Change]) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in form.items():
        values = [] if value is None else [value] if isinstance(value, str) else list(value)
        pairs += [(name, each) for each in values]
    return urlencode(pairs)


def basic(client_id: str, secret: str) -> str:
    """RFC 6749, 2.3.1: each half is form-urlencoded first."""
    return raw_basic(f"{quote_plus(client_id)}:{quote_plus(secret)}")


def raw_basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def parameters(location: str) -> dict[str, str]:
    """What a redirect carries, in its query or its fragment."""
    parts = urlsplit(location)
    return dict(parse_qsl(parts.query or parts.fragment, keep_blank_values=True))


# What can be seen


def place(answer: httpx2.Response) -> Seen:
    """Where a person is: at a page, or on the way to the client."""
    if location := answer.headers.get("location"):
        return {"status": answer.status_code, **redirect(location)}
    url = urlsplit(str(answer.url))
    if "You are signed out" in answer.text:
        return "signed out page"
    if url.path == "/error":
        return {"error page": parse_qs(url.query).get("error", [""])[0]}
    if answer.status_code >= 400:
        code = re.search(r"<code>([^<]*)</code>", answer.text)
        return {"error page": code[1] if code else f"status {answer.status_code}"}
    if url.path in ("/login", "/consent", "/logout"):
        return f"{url.path[1:]} page"
    if 'method="post"' in answer.text and "<input" in answer.text:
        names = sorted(re.findall(r'<input[^>]* name="(\w+)"', answer.text))
        return {"form post": names}
    return f"page {url.path}"


def redirect(location: str) -> dict[str, Seen]:
    parts = urlsplit(location)
    found = parameters(location)
    seen: dict[str, Seen] = {
        "to": parts._replace(query="", fragment="").geturl(),
        "parameters": sorted(found),
        "in": "query" if parts.query else "fragment" if parts.fragment else "nothing",
    }
    return seen | {name: found[name] for name in ("error", "scope", "state") if name in found}


HEADERS = ("cache-control", "pragma", "content-type")


def seen(answer: httpx2.Response) -> Seen:
    """What a client can see of an answer that is for it."""
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    found: dict[str, Seen] = {"status": answer.status_code, "headers": headers}
    if challenge := answer.headers.get("www-authenticate"):
        found["challenge"] = re.sub(r'(error_description)="[^"]+"', r"\1", challenge)
    if answer.status_code == 405 or answer.headers.get("content-type", "").startswith("text/"):
        return found  # a page, or the words of a framework
    if answer.content:
        try:
            found["body"] = shape(answer.json())
        except json.JSONDecodeError:
            found["body"] = "text"
    return found


def shape(body: Any) -> Seen:
    """Names and types of members; the value of `error`, and of what never varies."""
    if isinstance(body, Mapping):
        kept = ("error", "token_type", "scope")
        return {name: value if name in kept else shape(value) for name, value in body.items()}
    if isinstance(body, list):
        return sorted({json.dumps(shape(each), sort_keys=True) for each in body})
    return type(body).__name__
