"""What passes a gateway: which headers, up to the service and down to the browser.

What a request says of its sender, and of proxies on its way, is dropped, and what we know is put there instead. What
belongs to one connection stays on it. Rules only: nothing here opens a connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from ..config import LuminConfig
from ..sessions.cookies import Cookies

Header = tuple[bytes, bytes]

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade".split()
)  # RFC 9110, 7.6.1; RFC 2616, 13.5.1

PATH_MOVING = ("x-original-.*", "x-rewrite-.*", "(x-)?script-name", "daphne-root-path", "x-envoy-original-.*")
"""Names of headers by which a service may take a request for one of another path, or below another mount: gunicorn
(`SCRIPT_NAME`), Daphne, what stands behind IIS or Envoy, and what imitates them. They are expressions."""

ODD_NAME = ".*[^a-z0-9-].*"
"""A name that is not letters, digits and dashes: whatever is like CGI may take it for one that is."""

# Who sent a request, and by which way, only we may say, and nobody moves a path that was judged.
_ONLY_OURS = re.compile(
    "|".join(("x-auth-request-.*", "x-forwarded(-.*)?", "forwarded", "x-real-ip", *PATH_MOVING, ODD_NAME)).encode()
)

_NOT_PASSED_UP = frozenset((b"host", b"expect"))  # the server around us has answered `Expect` (RFC 9110, 10.1.1)
_NOT_PASSED_DOWN = frozenset((b"date",))  # the server around us writes its own
_HANDSHAKE = b"sec-websocket-"  # each of the two connections has its own (RFC 6455, 4)


def end_to_end(headers: Iterable[Header], dropped: frozenset[bytes]) -> list[Header]:
    """Without what belongs to one connection, as far as the standard or `Connection` says so."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = {option.strip().lower() for name, value in lowered if name == b"connection" for option in value.split(b",")}
    return [item for item in lowered if item[0] not in _HOP_BY_HOP and item[0] not in named | dropped]


@lru_cache(maxsize=1024)  # browsers say a few dozen
def _may_go_up(name: bytes) -> bool:
    return not _ONLY_OURS.fullmatch(name) and not name.startswith(_HANDSHAKE)


class Forwarding:
    """The headers that pass at one site. `host` is what the service sees as `Host`, `upstream` where it is."""

    def __init__(self, config: LuminConfig, host: bytes, upstream: str) -> None:
        public = urlsplit(config.origin)
        self._fixed: tuple[Header, ...] = (
            (b"host", host),
            (b"x-forwarded-host", public.netloc.encode()),
            (b"x-forwarded-proto", public.scheme.encode()),
        )
        self._addresses = Addresses(config.origin, upstream)
        self._our_cookies = Cookies(config).ours

    def up(self, headers: Iterable[Header], client: str, identity: Iterable[tuple[str, str]]) -> list[Header]:
        """A request's headers for the service; `client` is the address that it came from."""
        passed = [(name, value) for name, value in end_to_end(headers, _NOT_PASSED_UP) if _may_go_up(name)]
        said = [(name.lower().encode(), value.encode()) for name, value in identity]
        return [*self._fixed, (b"x-forwarded-for", client.encode("latin-1")), *said, *passed]

    def down(self, headers: Iterable[Header], *, is_bodiless: bool = False) -> list[Header]:
        """An answer's headers for the browser. A cookie of our name would take the place of somebody's session.

        Where there is no body, its length is that of another answer (RFC 9110, 8.6), which a server would wait for.
        """
        dropped = _NOT_PASSED_DOWN | {b"content-length"} if is_bodiless else _NOT_PASSED_DOWN
        return [
            (name, self._seen_from_outside(name, value))
            for name, value in end_to_end(headers, dropped)
            if not name.startswith(_HANDSHAKE) and not (name == b"set-cookie" and self._is_ours(value))
        ]

    def _seen_from_outside(self, name: bytes, value: bytes) -> bytes:
        if name in (b"location", b"content-location"):
            return self._addresses.public_url(value)
        return self._addresses.public_cookie(value) if name == b"set-cookie" else value

    def _is_ours(self, set_cookie: bytes) -> bool:
        # One without a name comes back as its value alone, which then has the name that it begins with.
        return self._our_cookies.fullmatch(set_cookie.lstrip(b" \t=").partition(b"=")[0].strip()) is not None


class Addresses:
    """What a service calls itself, and what browsers know it as: its address and its path become the site's."""

    def __init__(self, origin: str, upstream: str) -> None:
        url = urlsplit(upstream)
        self._origin = origin.encode()
        self._host = (url.hostname or "").encode()
        self._places = {_place(url.scheme.encode(), url.netloc.encode())}
        self._path = url.path.rstrip("/").encode()
        if self._path:  # which the service puts before its own paths, by whichever name it knows itself
            public = urlsplit(origin)
            self._places.add(_place(public.scheme.encode(), public.netloc.encode()))

    def public_url(self, url: bytes) -> bytes:
        """A URL reference of the service, for a browser; of anywhere else as it is."""
        found = _ABSOLUTE.match(url)
        if found is None:
            return self._below(url) if url.startswith(b"/") else url
        scheme, authority, rest = found.groups()
        if not {_place(scheme or each, authority) for each in (b"http", b"https")} & self._places:
            return url
        return self._origin + self._below(rest)

    def public_cookie(self, set_cookie: bytes) -> bytes:
        """A `Set-Cookie` value: of the service's own host is of this site's, and of its path of the path outside."""
        pair, *attributes = set_cookie.split(b";")
        kept = []
        for attribute in attributes:
            name, _, value = (part.strip() for part in attribute.partition(b"="))
            if name.lower() == b"domain" and value.lstrip(b".").lower() == self._host:
                continue
            is_path = name.lower() == b"path" and value.startswith(b"/")
            kept.append(b" Path=" + self._below(value) if is_path else attribute)
        return b";".join([pair, *kept])

    def _below(self, path: bytes) -> bytes:
        rest = path[len(self._path) :]
        if path.startswith(self._path) and rest[:1] in (b"", b"/", b"?", b"#"):
            return rest if rest.startswith(b"/") else b"/" + rest
        return path


def begins(upstream: str) -> str:
    """An expression of how an absolute URL of a service begins, by whichever scheme and way to write a usual port."""
    behind, usual = urlsplit(upstream), {"http": 80, "https": 443}
    name = re.escape(behind.hostname or "")
    host = rf"\[{name}\]" if ":" in name else name
    if behind.port in (None, usual[behind.scheme]):
        return "|".join(f"(?:{scheme}:)?//{host}(?::{port})?" for scheme, port in usual.items())
    return f"(?:https?:)?//{host}:{behind.port}"


_ABSOLUTE = re.compile(rb"(?i)(?:(https?):)?//([^/?#]*)(.*)")


def _place(scheme: bytes, authority: bytes) -> bytes:
    """Host and port, however they are written."""
    default = b":443" if scheme.lower() == b"https" else b":80"
    return authority.lower().rpartition(b"@")[2].removesuffix(default)
