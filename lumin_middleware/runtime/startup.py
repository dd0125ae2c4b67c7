"""What is wrong with a site, and how it is told as early as it can be.

A wrong setting fails where the middleware is made. But Starlette makes its middleware when the first message comes, and
servers take an exception there for an application without a lifespan, and start. So what is wrong then is kept, and
fails the lifespan in words; without a lifespan it answers each request.
"""

from __future__ import annotations

import inspect
import os
import secrets
import ssl
from collections.abc import MutableMapping
from urllib.request import getproxies

import httpx2
from starlette.types import Receive, Scope, Send

from ..config import LuminConfig
from ..connections import tls_context
from ..errors import ConfigurationError, LuminError, StoreUnavailable
from ..journal import say
from ..model import Response
from ..reasons import REASONS
from ..site import pages
from .answering import deny, respond


class NotSetUp:
    """An ASGI application in place of one that cannot serve."""

    def __init__(self, error: LuminError) -> None:
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await receive()
                await send({"type": "lifespan.startup.failed", "message": str(self._error)})
                raise self._error  # servers have heard; test clients go by this
            case "http":
                asked = [pages.accepted(scope["headers"], name) for name in (b"accept", b"accept-language")]
                await respond(not_set_up(self._error, *asked), scope, send)
            case "websocket":
                await deny(not_set_up(self._error), scope, receive, send)


def not_set_up(error: LuminError, accept: str = "", accept_language: str = "") -> Response:
    """The answer of a site that cannot serve; the log says why."""
    reference = pages.reference(secrets.token_hex(4))
    say("cannot_serve", error=error, ref=reference)
    reason = REASONS["cannot_serve"]
    headers = [("Retry-After", "5")] if isinstance(error, StoreUnavailable) else []
    if "text/html" in accept.lower():
        draft = pages.Draft(reason.code, links=[("try_again", "")], reason=reason.code, reference=reference)
        return pages.NOBODYS.page(accept_language, error.status_hint, draft, headers=headers)
    return pages.problem(error.status_hint, error.reason, reason.title, headers=headers, reference=reference)


def is_being_served() -> bool:
    """Whether whoever calls this is called by an ASGI application that is called itself."""
    frame = inspect.currentframe()
    while frame is not None:
        scope = frame.f_locals.get("scope")
        if isinstance(scope, MutableMapping) and "type" in scope:
            return True
        frame = frame.f_back
    return False


def require_way_out() -> None:
    """What the environment says of certificates and proxies can be used by every client here.

    Raises `ConfigurationError` that names the variable, and repeats no URL: it may hold a password.
    """
    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if directory and not file and not os.path.isdir(directory):
        raise ConfigurationError("SSL_CERT_DIR", f"names no directory: {directory}")
    try:
        # In any case: httpx2 loads half of itself with the first of these, which no request shall wait for.
        httpx2.HTTPTransport(verify=tls_context()).close()
    except OSError as error:  # of which SSLError is one
        said = f"names no file of certificates: {file}" if file else "is to name one: Python finds no certificates"
        raise ConfigurationError("SSL_CERT_FILE", f"{said} ({_why(error)})") from None
    for scheme, proxy in getproxies().items():
        if scheme in ("http", "https", "all"):
            _require_proxy(_variable(scheme), proxy)


def look_at_root_path(config: LuminConfig, root_path: str) -> None:
    """Says where an application is told that it is below a prefix, and the callback is not."""
    if root_path and not config.callback_path.startswith(f"{root_path.rstrip('/')}/"):
        say("root_path_apart", root_path=root_path, callback=config.callback_path)


def _why(error: OSError) -> str:
    return "it holds none" if isinstance(error, ssl.SSLError) else error.strerror or type(error).__name__


def _variable(scheme: str) -> str:
    names = f"{scheme}_proxy", f"{scheme}_proxy".upper()
    return next((name for name in names if os.environ.get(name)), names[1])


def _require_proxy(name: str, proxy: str) -> None:
    try:
        url = httpx2.URL(proxy if "://" in proxy else f"http://{proxy}")
        url.raw_host.decode().encode("idna")  # as Python looks it up
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing is sent
        httpx2.Client(proxy=url, verify=bare, trust_env=False).close()
    except ImportError:
        raise ConfigurationError(name, "names a SOCKS proxy, which needs: pip install 'httpx2[socks]'") from None
    except (httpx2.InvalidURL, ValueError):
        url = httpx2.URL()
    if not url.host:
        raise ConfigurationError(name, "is no proxy that can be used; give http://host:port")
