"""Which calls of a page pass to Lumin's API, and what they look like there: the backend-for-frontend's proxy
("OAuth 2.0 for Browser-Based Applications", 6.1).

Rules only; what carries the calls is `api_calls`. Nothing passes that `api_proxy=` does not name. What passes is a
method, a path and a query byte for byte as they came, and headers from a short list; what comes back is a status, a
body, and headers from another. Cookies, credentials and what belongs to one connection are on neither.

A page of another site can send an unsafe call only without the header `X-CSRF: 1`, which no form can set and no
script may without asking first (Fetch Standard, CORS preflight), and its origin gives it away besides. Safe calls need
no header, so that links, images and downloads can lead here; they change nothing, and what the browser says comes from
another site is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from ..checks import API_METHODS
from ..config import LuminConfig
from ..errors import RequestRefused
from ..model import Request, Response, unchanging
from ..protocol import oauth
from ..reasons import REASONS
from . import pages
from .access import is_same_origin

Header = tuple[bytes, bytes]

SAFE = ("GET", "HEAD")

# --- the rules, as data ---------------------------------------------------------------------------------

_ASKED = re.compile(rb"(?:accept|content|if)(?:-.*)?|range|x-lumin-api-version")
"""The headers of a request that reach the API."""

_ANSWERED = re.compile(
    rb"accept-ranges|allow|content-(?:type|length|encoding|language|disposition|range|digest)|repr-digest|etag"
    rb"|last-modified|retry-after|(?:x-)?rate-?limit(?:-.*)?|x-request-id|x-lumin-.*"
)
"""The headers of an answer that reach the page. No cookie, no challenge, no policy but ours is among them."""

_BODILESS = (204, 304)
_OF_BODY = {b"content-type", b"content-length"}

# What is shown of the API on our origin is data: should a browser open it as a page, it can do nothing there.
_OURS: tuple[Header, ...] = (
    *((name.lower().encode(), value.encode()) for name, value in pages.SAFETY),
    (b"vary", b"Cookie"),
    (
        b"content-security-policy",
        b"sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    ),
)

# A path that only one reading fits: segments that are neither empty nor dots, however encoded, without what any server
# on the way could take for a delimiter or undo twice (RFC 3986, 3.3 and 6.2.2).
_SEGMENT = r"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%(?![01][0-9A-Fa-f]|7[Ff]|2[35Ff]|3[BbFf]|5[Cc])[0-9A-Fa-f]{2})+"
_PATH = re.compile(rf"(?:/{_SEGMENT})+/?")
_DOTS = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")
_QUERY = re.compile(r"[\x21\x22\x24-\x7E]*")


@unchanging
class Head:
    """The head of an answer, as the page may see it."""

    status: int
    headers: list[Header] = field(repr=False)


class ApiProxy:
    """The calls of one site that pass."""

    def __init__(self, config: LuminConfig) -> None:
        self._origin = config.origin
        self._prefix = f"{config.prefix}/api"
        self._api_url = config.api_url.rstrip("/")
        self._base = urlsplit(self._api_url).path
        self._allowed = [_rule(each) for each in config.api_proxy]

    def concerns(self, path: str) -> bool:
        """Whether a path of this site is a call to the API; none is unless some may pass."""
        return bool(self._allowed) and path.startswith(f"{self._prefix}/")

    def call(self, request: Request) -> ApiCall:
        """The call that a request asks for. Raises `RequestRefused`."""
        if request.websocket or request.header(b"upgrade").lower() == "websocket":
            raise RequestRefused("no_websocket", "Lumin's API is not called by WebSocket.")
        path = self._path(request)
        if not any(request.method in methods and _matches(pattern, path) for methods, pattern in self._allowed):
            reason = f"api_proxy does not name {request.method} {path}"
            raise RequestRefused("not_allowed", reason, status=403)
        self._require_own_page(request)
        raw = request.raw_path[len(self._prefix) :]
        target = f"{self._base}{raw}?{request.query}" if request.query else f"{self._base}{raw}"
        return ApiCall(self, request.method, raw, target.encode("ascii"), _asked(request))

    def _path(self, request: Request) -> str:
        """The path below the API's base, decoded; a path that could be taken for another is refused."""
        raw = request.raw_path.removeprefix(self._prefix)
        path = _read(raw) if raw != request.raw_path and _QUERY.fullmatch(request.query) else None
        if path is None or self._prefix + path != request.path:
            raise RequestRefused("bad_path", "The path or the query holds what could be understood in two ways.")
        return path

    def _require_own_page(self, request: Request) -> None:
        if request.method in SAFE:
            own = not _is_foreign(request, self._origin)
        else:
            own = request.header(b"x-csrf") == "1" and is_same_origin(request, self._origin)
        if not own:
            raise RequestRefused("cross_origin", "Only this site's own pages may call, with X-CSRF: 1.", status=403)

    def location(self, path: str, value: str) -> str | None:
        """Where a page finds what the API says is at `value`; None for what is not below the API's base."""
        try:
            url = urljoin(self._api_url + path, value).partition("#")[0]
        except ValueError:
            return None
        below, mark, query = url.removeprefix(self._api_url).partition("?")
        if not url.startswith(self._api_url) or _read(below) is None or not _QUERY.fullmatch(query):
            return None
        return f"{self._prefix}{below}{mark}{query}"


@unchanging
class ApiCall:
    """A call that may pass."""

    proxy: ApiProxy = field(repr=False)
    method: str
    path: str
    """Below the API's base, as it came."""
    target: bytes = field(repr=False)
    """The request target (RFC 9112, 3.2.1): the path with the base before it, and the query."""
    headers: list[Header] = field(repr=False)

    def head(self, status: int, headers: Iterable[Header]) -> Head | Response:
        """What the page gets to see of the answer's head; an answer of ours where that one is none (RFC 9110, 15)."""
        if not 200 <= status <= 599:
            return trouble("api_unreachable")
        came = [(name.lower(), value) for name, value in headers]
        dropped = _of_connection(came) | (_OF_BODY if status in _BODILESS else set())
        kept = [item for item in came if _ANSWERED.fullmatch(item[0]) and item[0] not in dropped]
        if status not in _BODILESS and b"content-type" not in dict(kept):
            kept.append((b"content-type", b"application/octet-stream"))  # RFC 9110, 8.3
        led = [value.decode("latin-1") for name, value in came if name == b"location"]
        if len(led) == 1 and (location := self.proxy.location(self.path, led[0])):
            kept.append((b"location", location.encode()))
        return Head(status, [*kept, *_OURS])


def _rule(text: str) -> tuple[tuple[str, ...], str]:
    """The methods and the pattern of `GET /user/info`. Who may GET may HEAD (RFC 9110, 9.3.2)."""
    method, _, pattern = text.rpartition(" ")
    return {"": API_METHODS, "GET": SAFE}.get(method, (method,)), pattern


def _matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("/*") else path == pattern


def _read(raw: str) -> str | None:
    """A path decoded, if there is one way to do so."""
    if not _PATH.fullmatch(raw):
        return None
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return None
    return None if _DOTS.search(path) else path


def _is_foreign(request: Request, origin: str) -> bool:
    """Whether the browser says that another site's page sent this."""
    if site := request.header(b"sec-fetch-site"):
        return site not in ("same-origin", "none")
    return any(name == b"origin" and value != origin.encode() for name, value in request.headers)


def _asked(request: Request) -> list[Header]:
    came = [(bytes(name), bytes(value)) for name, value in request.headers]
    names = {name for name, _ in came}
    # A body that says its length twice has the one that its chunks give (RFC 9112, 6.3).
    dropped = _of_connection(came) | ({b"content-length"} if b"transfer-encoding" in names else set())
    kept = [item for item in came if _ASKED.fullmatch(item[0]) and item[0] not in dropped]
    # Otherwise the HTTP client would ask for encodings that it knows, and the browser might not.
    return kept if b"accept-encoding" in dict(kept) else [*kept, (b"accept-encoding", b"identity")]


def _of_connection(headers: Iterable[Header]) -> set[bytes]:
    """The headers that `Connection` says are for this connection only (RFC 9110, 7.6.1)."""
    return {option.strip().lower() for name, value in headers if name == b"connection" for option in value.split(b",")}


# --- answers of ours ------------------------------------------------------------------------------------


def trouble(code: str) -> Response:
    """The API cannot be reached, or is too late (RFC 9110, 15.6.3 and 15.6.5)."""
    reason = REASONS[code]
    return pages.problem(reason.status or 502, code, reason.title)


def renewed() -> Response:
    """The API did not take the token, there is a new one, and the body is gone: the page can repeat the call."""
    challenge = [("WWW-Authenticate", oauth.challenge(error="invalid_token"))]
    reason = REASONS["renewed"]
    return pages.problem(401, reason.code, reason.title, headers=challenge)
