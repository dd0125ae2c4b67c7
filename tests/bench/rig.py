"""What the benchmarks drive: requests as a server hands them over, sessions with Lumin-sized tokens."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import itsdangerous

from lumin_middleware import LuminConfig, LuminMiddleware
from lumin_middleware.model import Session, TokenSet
from lumin_middleware.sessions.cookies import Jar
from lumin_middleware.site.relying_party import RelyingParty

SECRET_KEY = secrets.token_urlsafe(32)


def token(kind: str) -> str:
    """94 characters, as Ory Hydra's."""
    return f"ory_{kind}_{secrets.token_urlsafe(32)}.{secrets.token_urlsafe(32)}"


CLAIMS = {
    "iss": "https://auth.luminpdf.com",
    "sub": "0b9f7c52-5a5e-4d1c-9a58-1f6f2f3e7a01",
    "sid": "7c0c4f1e-8d36-4a08-9d9b-0a3f0f1f2a55",
    "email": "mira.halden@example.com",
    "email_verified": True,
    "name": "Mira Halden",
}


def config(**changes: Any) -> LuminConfig:
    defaults = {
        "client_id": "0f1d2c3b-4a59-4877-9665-a4b3c2d1e0f9",
        "client_secret": secrets.token_urlsafe(32),
        "redirect_uri": "https://app.example.com/auth/callback",
        "secret_key": SECRET_KEY,
        "store": "memory://",
    }
    return LuminConfig(**(defaults | changes))


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """An application that does next to nothing."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


_ASGI = {"version": "3.0", "spec_version": "2.3"}
_SERVER, _CLIENT = ("127.0.0.1", 8000), ("127.0.0.1", 50_000)

# A server makes them anew for each request, so that they are at hand then; so these are one for all.
HEADERS = [
    (b"host", b"app.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0"),
    (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-dest", b"document"),
    (b"sec-fetch-site", b"none"),
]


def scope(cookie: bytes = b"", path: str = "/things/12", **changes: Any) -> dict[str, Any]:
    """A browser's request as uvicorn hands it over."""
    headers = [*HEADERS]
    if cookie:
        headers.append((b"cookie", b"theme=dark; " + cookie + b"; lang=en"))
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": "1.1",
        "server": _SERVER,
        "client": _CLIENT,
        "scheme": "https",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"page=1",
        "root_path": "",
        "headers": headers,
        "state": {},
        **changes,
    }


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b""}


async def send(message: Any) -> None:
    """Nobody listens."""


def call(app: Any, scopes: list[dict[str, Any]]) -> Callable[[], Any]:
    """One request after the other, round and round; each gets a scope of its own, as from a server."""
    turns = itertools.cycle(scopes)
    return lambda: app(dict(next(turns)), receive, send)


def arriving(app: Any, cookies: list[bytes]) -> Callable[[], Any]:
    """The same, with the `Cookie` header made anew for each, as a server makes it of what came."""
    turns = itertools.cycle(cookies)
    return lambda: app(scope(next(turns)), receive, send)


def session() -> Session:
    now = time.time()
    tokens = TokenSet(token("at"), now + 3600, 3600.0, ("openid", "offline_access", "sign:requests"), token("rt"))
    return Session(secrets.token_urlsafe(24), 0, now, now, tokens, CLAIMS)


async def signed_in(party: RelyingParty) -> bytes:
    """The cookie of a new session."""
    new = session()
    await party.parts.sessions.begin(new)
    lines = party.parts.sessions.set_cookies(new, Jar(b"", party.parts.cookies))
    return "; ".join(line.partition(";")[0] for line in lines).encode()


def party(middleware: LuminMiddleware) -> RelyingParty:
    return middleware._party()[0]


def starlette_session(key: str) -> bytes:
    """The cookie of Starlette's `SessionMiddleware` with the same content."""
    new = session()
    tokens = new.tokens
    content = {
        "id": new.id,
        "gen": new.generation,
        "began": new.began,
        "access": tokens.access_token,
        "refresh": tokens.refresh_token,
        "expires": tokens.expires_at,
        "life": tokens.lifetime,
        "scope": " ".join(tokens.scope),
        "idt": tokens.id_token,
        "claims": new.claims,
        "nonce": new.nonce,
    }
    return b"session=" + itsdangerous.TimestampSigner(key).sign(b64encode(json.dumps(content).encode()))
