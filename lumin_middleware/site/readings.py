"""What a path may be taken for: its readings.

One program judges a path and another serves it: a router, an application below a mount, a file server, whatever
that one passes the request on to. Each reads the path in a way of its own. So a rule is never asked about a path, but
about each path that somebody may take it for. A reading is what comes of these steps, in any order and number:

| step | because |
| --- | --- |
| as it came: decoded once, and not at all | most route on the decoded path, some on the bytes of the request line |
| decoded once more | a proxy or an application decodes what was decoded already |
| cut at `?`, `#` or NUL, which were encoded | what is decoded and then put together again ends there |
| a backslash is a slash | so it is to browsers (WHATWG URL, 4.4) and on Windows |
| slashes merged | routers and file servers do |
| parameters dropped | `/sign;x` (RFC 3986, 3.3) is `/sign` to whoever knows them |
| dot segments resolved | RFC 3986, 5.2.4 |
| a first slash added; scheme and host dropped | routers that were given `sign`, `http://host/sign` or `//host/sign` |
| the mount taken away, as a whole prefix, or all up to its first occurrence | frameworks do either, see `seen` |

Two more differences are no steps but are read into the patterns (`access`), since who names a path names it for a
reader of the same kind: the case of letters, and the last slash.

What is plainly a trick has no readings and is refused: dot segments, backslashes and control characters that a
single decoding shows, a raw `#`, and what is not UTF-8.

The rules keep this, which the differential test in `tests/seams` checks: *let the application serve a request as it
serves one of the request's readings, written plainly. Then whoever is served without a session is served what a
pattern of `public` or `optional` names, and whoever is served at all has the scopes of each pattern that names it.*
Nothing here does more than look at text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from urllib.parse import quote, unquote, unquote_to_bytes

from ..errors import RequestRefused
from ..model import Request

LIMIT = 128
"""Readings of one path. What people write has one or two; escapes inside escapes inside escapes have many."""

ROOM = 32_768
"""Characters of all of them beside what came: a path is as long as a stranger likes, and each step reads all of it."""

# What no step changes; most paths are like this: visible ASCII, without dot segments and what begins a step. The
# characters are those that may stand there: the others, up to the last of Unicode, take 2 ms to compile.
_PLAIN = re.compile(r'(?:/(?!\.{1,2}(?:/|\Z))[!"$&-.0-:<=>@-\[\]-~]+)*/?')

# No browser sends these: it resolves dot segments, turns backslashes round and escapes control characters
# (WHATWG URL, 4.4). A replacement character is what servers make of bytes that are not UTF-8, a surrogate what we do.
_REFUSED = re.compile(r"[\x00-\x1F\x7F\\\uFFFD\uD800-\uDFFF]|(?:^|/)\.{1,2}(?:;[^/]*)?(?:[/?#]|$)")

# Legitimate, but readers may understand more than the steps above: escaped slashes, backslashes, NUL and dots, escapes
# that are still escapes once decoded, empty segments, path parameters, what no URL may hold.
_AMBIGUOUS_RAW = re.compile(r"%(?:2[fFeE]|5[cC]|00|25)|//|;|[^\x21-\x7E]")
_AMBIGUOUS = re.compile(r"%|//|;")

_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/]*")


def is_plain(path: str) -> bool:
    """Whether a path has no reading but itself."""
    return _PLAIN.fullmatch(path) is not None


# --- what came ------------------------------------------------------------------------------------------


def seen(request: Request, callback_path: str) -> tuple[list[str], list[str]]:
    """The paths that the application may route on, and others that it may be reached by.

    Rules are written for the first. A mount is believed where the callback lies below it: there rules are written
    without it. Any other may have been sent by a client (`SCRIPT_NAME` before gunicorn, `Daphne-Root-Path`), so
    that the path counts with it and without.
    """
    path, raw, mount = request.path, request.raw_path, request.mount
    if not mount:
        own, others = [path], [raw]
    elif callback_path.startswith(f"{mount}/"):
        own, others = [_below(mount, path), _after(mount, path)], [path, raw, _below(quote(mount), raw)]
    else:
        own, others = [path, _below(mount, path), _after(mount, path)], [raw]
    if request.root_path not in ("", mount):
        own += [_below(request.root_path, each) for each in own]
    return list(dict.fromkeys(own)), others


def _below(mount: str, path: str) -> str:
    """Without the mount, where it is a prefix at the end of a segment: Starlette, and the ASGI specification."""
    return path[len(mount) :] if path == mount or path.startswith(f"{mount}/") else path


def _after(mount: str, path: str) -> str:
    """What follows the first occurrence of the mount, wherever it is: Litestar. As a prefix: Django, Quart, WSGI."""
    _, found, rest = path.partition(mount)
    if not found:
        return path
    return rest if rest[:1] == "/" else f"/{rest}"


def refuse_tricks(request: Request) -> None:
    """Raises `RequestRefused` for a path that no browser sends and that readers would take for different ones."""
    path, raw = request.path, request.raw_path
    if "#" in raw:
        raise RequestRefused("bad_path", "The path holds a fragment.")  # RFC 9112, 3.2: a target has none
    if _REFUSED.search(path) or (raw != path and _REFUSED.search(_decoded(raw))):
        raise RequestRefused("bad_path", "The path holds dot segments, a backslash, control characters or no UTF-8.")


def mounts(request: Request, callback_path: str, *, foreign: bool = False) -> set[str]:
    """What may be taken off the path, more than once; `foreign`: only a mount that is not the site's own.

    The site's own is taken off once, or a plain path that holds its name would be judged by what follows it.
    """
    if not foreign:
        return {request.mount, request.root_path} - {""}
    known = callback_path.startswith(f"{request.mount}/") or request.mount in ("", request.root_path)
    return set() if known else {request.mount}


def is_ambiguous(request: Request) -> bool:
    """Whether readers may disagree about a path beyond its readings: such a path is never public."""
    path, raw = request.path, request.raw_path
    if _AMBIGUOUS_RAW.search(raw) or _AMBIGUOUS.search(path):
        return True
    return _decoded(raw) not in (path, _below(request.mount, path))


def _decoded(raw: str) -> str:
    return unquote_to_bytes(raw.encode("latin-1", "replace")).decode("utf-8", "surrogateescape")


# --- what it may be taken for ---------------------------------------------------------------------------


def readings(paths: Iterable[str], mounts: Collection[str] = ()) -> set[str]:
    """All that these paths may be taken for, also by whoever takes one of these mounts off later than we do.

    Raises `RequestRefused` where that is too much to tell.
    """
    found: set[str] = set()
    waiting = list(paths)
    room = ROOM + sum(map(len, waiting))
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        room -= len(path)
        if len(found) > LIMIT or room < 0:
            raise RequestRefused("bad_path", "The path can be read in too many ways.")
        if not is_plain(path):
            waiting += (step(path) for step in _STEPS)
        waiting += (take_off(mount, path) for mount in mounts for take_off in (_below, _after))
    return found


def _resolved(path: str) -> str:
    """Without dot segments (RFC 3986, 5.2.4)."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            segments = segments[:-1] or [""]
        elif segment != ".":
            segments.append(segment)
    if path.endswith(("/.", "/..")):
        segments.append("")
    return "/".join(segments)


_STEPS = (
    unquote,
    lambda path: re.split(r"[?#\x00]", path, maxsplit=1)[0],
    lambda path: path.replace("\\", "/"),
    lambda path: re.sub("/{2,}", "/", path),
    lambda path: re.sub(";[^/]*", "", path),
    _resolved,
    lambda path: path if path[:1] == "/" else f"/{path}",
    lambda path: _AUTHORITY.sub("", path, count=1) if _AUTHORITY.match(path) else path,
)
"""Each makes a path shorter, plainer, or leaves it as it is, so that the readings come to an end."""
