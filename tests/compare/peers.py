"""What is compared: a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from tests.bench.peers import apache, go

from . import starts
from .starts import Start


@dataclass(frozen=True)
class Bare:
    """What something is measured against: the same without a sign-in."""

    name: str
    start: Start


@dataclass(frozen=True)
class Peer:
    """One of those who sign people in. `asks` is the page that needs a token that lives.

    `shares` is what two hosts of it have in common, in words; "" where it offers nothing.
    """

    name: str
    bare: str
    start: Start
    asks: str = "/api"
    shares: str = ""
    is_ours: bool = False
    version: Callable[[], str] = str
    needs_redis: bool = False


BARE = (
    Bare("Starlette", starts.application("starlette")),
    Bare("Flask", starts.application("flask")),
    Bare("Django", starts.application("django")),
    Bare("Express", starts.express()),
    Bare("the service", starts.service),
)


def _of(*distributions: str) -> Callable[[], str]:
    return lambda: ", ".join(f"{name} {version(name)}" for name in distributions)


def _ours(name: str, bare: str, start: Start, **more: object) -> Peer:
    return Peer(name, bare, start, is_ours=True, version=_of("lumin-middleware"), shares="Redis", **more)  # type: ignore[arg-type]


PEERS = (
    _ours("ours, cookie", "Starlette", starts.application("starlette", "lumin")),
    _ours("ours, store in SQLite", "Starlette", starts.application("starlette", "lumin", "sqlite")),
    _ours("ours, store in Redis", "Starlette", starts.application("starlette", "lumin", "redis"), needs_redis=True),
    Peer(
        "SessionMiddleware + Authlib",
        "Starlette",
        starts.application("starlette", "authlib"),
        shares="the cookie's key",
        version=_of("authlib", "starlette"),
    ),
    _ours("ours on Flask, cookie", "Flask", starts.application("flask", "lumin")),
    Peer(
        "Flask + Authlib",
        "Flask",
        starts.application("flask", "authlib"),
        shares="the cookie's key",
        version=_of("authlib", "flask"),
    ),
    _ours("ours on Django, cookie", "Django", starts.application("django", "lumin")),
    Peer(
        "mozilla-django-oidc",
        "Django",
        starts.application("django", "mozilla"),
        shares="the database",
        version=_of("mozilla-django-oidc", "django"),
    ),
    Peer(
        "express-openid-connect",
        "Express",
        starts.express("openid"),
        shares="the cookie's key",
        version=lambda: "express-openid-connect 3.4.0, express 5.3.0",
    ),
    _ours("ours, nginx, verify held 5 s", "the service", starts.nginx_and_verify(5), asks="/page"),
    _ours("ours, nginx, verify not held", "the service", starts.nginx_and_verify(0), asks="/page"),
    _ours(
        "ours, proxy --engine nginx --cache 5",
        "the service",
        starts.gateway("--engine", "nginx", "--cache", "5"),
        asks="/page",
    ),
    _ours("ours, proxy, built-in", "the service", starts.gateway(), asks="/page"),
    Peer(
        "Apache mod_auth_openidc",
        "the service",
        starts.mod_auth_openidc,
        asks="/page",
        shares="Redis",
        version=lambda: f"mod_auth_openidc {apache.module()[1]}",
    ),
    Peer(
        "oauth2-proxy",
        "the service",
        starts.oauth2_proxy,
        asks="/page",
        shares="Redis",
        version=lambda: f"oauth2-proxy {go.oauth2_proxy()[1]}",
    ),
)
