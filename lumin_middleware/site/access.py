"""Who may pass where: canonical paths, access rules, `return_to`, navigation or not.

One path decides, and it is the path that the application will see. Where the two could differ the request
is never public; where it is plainly a trick it is refused. A path is passed on as it came, never rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_to_bytes

from ..errors import RequestRefused
from ..model import Request

RETURN_TO_LIMIT = 4000
"""Bytes of a `return_to`: more than any link that people pass on, and half of what common servers take in a line."""

# --- paths ----------------------------------------------------------------------------------------------

# No browser sends these: it resolves dot segments, turns backslashes round and escapes control characters
# (WHATWG URL, 4.4). An application or a server behind might resolve them to another path.
_REFUSED = re.compile(r"[\x00-\x1F\x7F\\]|(?:^|/)\.{1,2}(?:;[^/]*)?(?:/|$)")

# Legitimate, but two readers may understand two things: escaped slashes, backslashes, NUL and dots, escapes
# that are still escapes once decoded, empty segments, path parameters, what no URL may hold.
_AMBIGUOUS_RAW = re.compile(r"%(?:2[fFeE]|5[cC]|00|25)|//|;|[^\x21-\x7E]")
_AMBIGUOUS = re.compile(r"%|//|;")

# What nobody can read in two ways; most paths are like this.
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_-]+)*/?")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a path asks for."""

    public: bool = False
    optional: bool = False
    scope: tuple[str, ...] = ()


PROTECTED = Rule()
PUBLIC = Rule(public=True)


class Rules:
    """The access rules of one site: everything is protected unless a pattern names it."""

    def __init__(self, public: Iterable[str], optional: Iterable[str], required_scopes: Mapping[str, str]) -> None:
        self._public = _patterns(public)
        self._optional = _patterns(optional)
        self._scopes = [(_patterns([pattern]), tuple(scope.split())) for pattern, scope in required_scopes.items()]

    def rule(self, request: Request) -> Rule:
        """The rule for this request. Raises `RequestRefused` for a path that is a trick."""
        path, raw = request.path, request.raw_path
        if request.mount:
            path, raw = _below(request.mount, path), _below(request.mount, raw)
        if path == raw and _PLAIN.fullmatch(path):
            return self._match(path)
        if _REFUSED.search(path) or _REFUSED.search(_decoded(raw)):
            raise RequestRefused("bad_path", "The path holds dot segments, a backslash or control characters.")
        if _AMBIGUOUS_RAW.search(raw) or _AMBIGUOUS.search(path) or _decoded(raw) != path:
            return Rule(
                scope=tuple(dict.fromkeys(scope for read in _readings(path, raw) for scope in self._required(read)))
            )
        return self._match(path)

    def _match(self, path: str) -> Rule:
        if self._public.match(path):
            return PUBLIC
        scope = self._required(path) if self._scopes else ()
        if self._optional.match(path):
            return Rule(optional=True, scope=scope)
        return Rule(scope=scope) if scope else PROTECTED

    def _required(self, path: str) -> tuple[str, ...]:
        return tuple(token for pattern, scope in self._scopes if pattern.match(path) for token in scope)


def _patterns(patterns: Iterable[str]) -> re.Pattern[str]:
    """`/healthz` is exactly that path; `/static/*` everything below `/static/`."""
    each = [re.escape(pattern[:-1]) if pattern.endswith("/*") else re.escape(pattern) + r"\Z" for pattern in patterns]
    return re.compile("|".join(each) or r"(?!)")


def _below(mount: str, path: str) -> str:
    return path[len(mount) :] if path == mount or path.startswith(f"{mount.rstrip('/')}/") else path


def _readings(path: str, raw: str) -> set[str]:
    """What routers, file servers and proxies may take a path for: as it is, decoded once more, slashes merged."""
    readings = {path, raw, unquote(path)}
    return readings | {re.sub("/+", "/", re.sub(";[^/]*", "", each)) for each in readings}


def _decoded(raw: str) -> str:
    return unquote_to_bytes(raw.encode("latin-1", "replace")).decode("utf-8", "surrogateescape")


# --- return_to ------------------------------------------------------------------------------------------

_UNSAFE_TARGET = re.compile(r"[\x00-\x1F\x7F\\]|^/+\s*/|(?:^|/)\.{1,2}(?:;[^/]*)?(?:/|$)")
_LEADS_AWAY = re.compile(r"[\x00-\x1F\x7F]|^/+\s*/")


def return_to(target: str, default: str, origin: str = "") -> str:
    """`target` if it is a path of this site, percent-encoded where it must be; else `default`.

    Judged by its characters, not by a URL parser, since parsers differ: its path begins with one slash and, as it is
    and decoded once, holds no backslash, control character or dot segment. Decoded further, as a proxy or an
    application might, it still begins with one slash wherever its dot segments lead. `origin` may stand before it.
    """
    if origin and target.startswith(f"{origin}/"):
        target = target[len(origin) :]
    if not target.startswith("/") or len(target) > RETURN_TO_LIMIT or re.search(r"[\x00-\x1F\x7F]", target):
        return default
    path = re.split(r"[?#]", target, maxsplit=1)[0]
    for times in range(4):  # as it is, once for us, once for a proxy, once for an application
        if (_UNSAFE_TARGET if times < 2 else _LEADS_AWAY).search(path if times < 2 else _resolved(path)):
            return default
        path = unquote_to_bytes(path.encode("utf-8", "replace")).decode("utf-8", "replace")
    encoded = percent_encoded(target.encode("utf-8", "replace"))
    return encoded if len(encoded) <= RETURN_TO_LIMIT else default


def here(target: str, default: str) -> str:
    """The page that was asked for, if a `Location` with its address leads to it again; else `default`.

    The browser has just asked this site for it, so only how browsers read a `Location` counts (WHATWG URL, 4.4).
    """
    path = re.split(r"[?#]", target, maxsplit=1)[0]
    is_one_path = target.startswith("/") and not path.startswith("//") and not _REFUSED.search(path)
    return target if is_one_path and len(target) <= RETURN_TO_LIMIT else default


def _resolved(path: str) -> str:
    """A path as a browser reads it: backslashes are slashes, and dot segments lead where they lead."""
    segments: list[str] = []
    for segment in path.replace("\\", "/").split("/")[1:]:
        if segment.partition(";")[0] == "..":
            del segments[-1:]
        elif segment.partition(";")[0] != ".":
            segments.append(segment)
    return "/" + "/".join(segments)


def percent_encoded(text: bytes) -> str:
    """Escapes what may not stand in a URL (RFC 3986, 2); what is escaped already stays as it is."""
    return quote(text, safe="/?#[]@!$&'()*+,;=:%-._~")


# --- what kind of request -------------------------------------------------------------------------------

_PREFETCH_HEADERS = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")


def is_prefetch(request: Request) -> bool:
    """Whether the browser asks ahead of the person (Fetch Standard, `Sec-Purpose`; older names besides)."""
    return any(
        key in _PREFETCH_HEADERS and re.search(rb"prefetch|prerender|preview", value) for key, value in request.headers
    )


def is_navigation(request: Request) -> bool:
    """Whether a person is going somewhere and can be sent through a sign-in.

    By Fetch Metadata where the browser sends it, else by `Accept`.
    """
    if request.method not in ("GET", "HEAD") or request.websocket or is_prefetch(request):
        return False
    if request.header(b"x-requested-with") or request.header(b"hx-request"):
        return False
    if mode := request.header(b"sec-fetch-mode"):
        return mode == "navigate" and request.header(b"sec-fetch-dest") in ("", "document")
    return accepts_html(request)


def accepts_html(request: Request) -> bool:
    """Whether `Accept` names HTML. `*/*` does not: that is what programs send."""
    accept = b",".join(value for key, value in request.headers if key == b"accept")
    return re.search(rb"(?i)(?:text/html|application/xhtml\+xml)(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", accept) is not None


def is_same_origin(request: Request, origin: str) -> bool:
    """Whether our own page sent this: by `Sec-Fetch-Site`, else by `Origin`; with neither it is not."""
    if site := request.header(b"sec-fetch-site"):
        return site == "same-origin"
    return request.header(b"origin") == origin
