"""The way out: proxies, names, certificates, clocks, and whether the API answers."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx2

from ..config import LuminConfig
from ..connections import DIRECT, no_cookies, tls_context
from ..errors import ConfigurationError
from ..runtime.startup import require_way_out
from .findings import Finding, doubtful, ok, wrong

PROXIES, NAMES, SERVER, CLOCK, API = "proxies", "names", "server", "clock", "API"

TOLERANCE, WORTH_SAYING = 60.0, 30.0
"""Seconds that a clock may be off: what ID tokens forgive, and half of it."""


NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
"""What OpenSSL's versions call an answer that is no TLS."""


def client(config: LuminConfig) -> httpx2.Client:
    """A client that goes the way which the middleware goes."""
    return httpx2.Client(
        verify=tls_context(), mounts=DIRECT, cookies=no_cookies(), timeout=config.timeout, follow_redirects=False
    )


def base(config: LuminConfig) -> str:
    """An address of the authorization server."""
    return config.server.token_endpoint or config.server.issuer


def proxies(config: LuminConfig) -> Iterator[Finding]:
    """What the environment says of proxies and certificates."""
    try:
        require_way_out()
    except ConfigurationError as error:
        why = "Nothing of Lumin's can be reached with it."
        yield wrong(PROXIES, f"{error.field} {error.problem}", why, "Correct the variable, or unset it.")
        return
    names = ", ".join(sorted(f"{scheme} by {_place(proxy)}" for scheme, proxy in _proxies().items()))
    trust = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or "the usual certificates"
    yield ok(PROXIES, f"{names or 'none'}; trusted are {trust}")


def _proxies() -> dict[str, str]:
    """Those on our way: `getproxies` has whatever ends in `_PROXY`, such as `LUMIN_API_PROXY`."""
    return {scheme: proxy for scheme, proxy in getproxies().items() if scheme in ("http", "https", "all")}


def _place(proxy: str) -> str:
    """The host and the port of a proxy, read as `require_way_out` reads it. The rest may be a password."""
    return httpx2.URL(proxy if "://" in proxy else f"http://{proxy}").netloc.decode()


def names(config: LuminConfig) -> Iterator[Finding]:
    """Whether the hosts have addresses. Behind a proxy it is the proxy that asks."""
    if _proxies():
        yield ok(NAMES, "are looked up by the proxy")
        return
    hosts: dict[str, str] = {}
    for url, setting in ((base(config), "server"), (config.api_url, "api_url")):
        hosts.setdefault(urlsplit(url).hostname or "", setting)
    for host, setting in hosts.items():
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            yield wrong(
                NAMES,
                f"{host} has no address ({error.strerror or type(error).__name__})",
                "Nobody can sign in, or no call to the API succeeds.",
                f"Look at the name in `{setting}`, and at this machine's resolver (/etc/resolv.conf).",
            )
        else:
            yield ok(NAMES, f"{host} has an address")


def server(config: LuminConfig, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Whether the authorization server answers, over TLS that is trusted; and what time it is there."""
    url = base(config)
    try:
        with client(config) as http:
            answer = http.get(url)
    except httpx2.HTTPError as error:
        yield unreachable(SERVER, url, error, "Nobody can sign in, and no session is renewed.")
        return
    if answer.status_code >= 500:
        why = "It is up, and in trouble of its own; or a proxy before it has no way to it."
        yield wrong(SERVER, f"{url} answers {answer.status_code}", why, "Look at Lumin's status page, then at proxies.")
    else:
        yield ok(SERVER, f"{urlsplit(url).netloc} answers")
    yield from _clock(answer.headers.get("date", ""), clock())


def _clock(date: str, now: float) -> Iterator[Finding]:
    try:
        ahead = now - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        yield doubtful(CLOCK, "the server does not say what time it is", "It cannot be compared.", "Keep it by NTP.")
        return
    what = f"this machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    if abs(ahead) > TOLERANCE:
        yield wrong(CLOCK, what, "ID tokens are refused beyond 60 s, so that nobody can sign in.", "Keep it by NTP.")
    elif abs(ahead) > WORTH_SAYING:
        yield doubtful(CLOCK, what, "ID tokens are refused beyond 60 s.", "Keep it by NTP.")
    else:
        yield ok(CLOCK, "agrees with the server's")


def api(config: LuminConfig) -> Iterator[Finding]:
    """Whether the API is where `api_url` says: without a token it says 401."""
    url = f"{config.api_url.rstrip('/')}/user/info"
    try:
        with client(config) as http:
            status = http.get(url, headers={"Accept": "application/json"}).status_code
    except httpx2.HTTPError as error:
        yield unreachable(API, url, error, "No call to the API succeeds, and whoever has no ID token cannot sign in.")
        return
    if status in (400, 401, 403):
        yield ok(API, f"{config.api_url} answers, and wants a token")
    else:
        yield wrong(
            API,
            f"{url} answers {status}, and not 401",
            "That is not Lumin's API, or it is in trouble.",
            "Compare `api_url` with https://api.luminpdf.com/v1, or look at Lumin's status page.",
        )


def unreachable(check: str, url: str, error: httpx2.HTTPError, why: str) -> Finding:
    """What an address that cannot be reached means."""
    host = urlsplit(url).netloc
    trouble = _tls_trouble(error)
    by = "through the proxy of the environment" if _proxies() else "from this machine"
    cure = f"Look whether it can be reached {by}: `curl -v {url}`."
    if isinstance(error, httpx2.TimeoutException):
        what = f"{host} does not answer in time"
    elif trouble is None:
        what = f"{host} cannot be reached ({type(error).__name__})"
    elif isinstance(trouble, ssl.SSLCertVerificationError):
        what = f"the certificate of {host} is not trusted ({getattr(trouble, 'verify_message', '') or trouble.reason})"
        cure = (
            "Where a proxy of yours looks into TLS, name its authority in SSL_CERT_FILE. Else look at the clock, and "
            "at the address in the settings."
        )
    elif trouble.reason in NO_TLS:
        what = f"{host} does not speak TLS ({trouble.reason})"
        cure = f"Look at the scheme and the port of {url}: what speaks plain http is named with http://."
    else:
        what = f"TLS with {host} broke ({trouble.reason or type(trouble).__name__})"
        cure = f"Look at what stands between, such as a proxy or a firewall that looks into TLS: `curl -v {url}`."
    return wrong(check, what, why, cure)


def _tls_trouble(error: BaseException) -> ssl.SSLError | None:
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__ or found.__context__
    return found
