"""Requests in every spelling: a seed gives the same ones for ever.

Each begins with a path that asks for something, and puts it another way: escapes, letters, slashes, parameters,
fragments, queries, an open path before it, a mount and a header that names it. One in twelve is left plain.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.seams.routes import PLAIN


@dataclass(frozen=True)
class Asked:
    """A request as it stands on the wire: no space, control character or line end in the target."""

    method: str
    target: bytes
    headers: tuple[tuple[str, str], ...] = ()


METHODS = ("GET",) * 8 + ("HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND")
OPEN = ("/static/", "/static/x", "/healthz", "/share/", "/share/x", "/open/", "/maybe/", "/", "/auth/", "/auth/login")
GOALS = tuple(path for path in PLAIN if path.isascii() and "%" not in path)
JOINTS = (
    *("/", "//", "/../", "/../../", "/./", "/.", "/..", "/%2e%2e/", "/.%2e/", "/..%2f", "%2f..%2f", "/%2e/", "%2f"),
    *("%2F%2F", "/..;/", ";/../", "/..;x=y/", ";", ";x=/", "%3b/", "\\..\\", "/..\\", "%5c..%5c", "%5C", "/..%5c"),
    *("/%252e%252e/", "/..%252f", "%252f", "/%25252e%25252e/", "%255c..%255c", "/%c0%ae%c0%ae/", "/..%c0%af", "%c0%af"),
    *("/..%ff/", "/%ef%bc%8e%ef%bc%8e/", "%ef%bc%8f", "?/../", "%3f/../", "%3F", "#/../", "%23/../", "%2523", "%253f"),
    *("%00", "%00/../", "/..%00/", "%2500", "/..%0a/", "%0d%0a/../", "/..%09/", "/%20/../", "%20", "@", ":80/../"),
    *("/...//", "~/../", "*", "/*/../", "/%u002e%u002e/", "&", "|", '"', "/auth/login/../..", "\xa0", "\xff/.."),
)
TAILS = (
    *("/", "//", "///", "%2F", "%2f%2f", "/.", "/..", "/x", "/x/..", ";", ";x", ";x=/y", "%3bx", "%3B", "%253b", "?"),
    *(
        "?x=/static/",
        "%3F",
        "%3fx",
        "%253Fx",
        "#",
        "#x",
        "#/../static/",
        "%23",
        "%23x",
        "%2523x",
        "%00",
        "%2500",
        "%20",
    ),
    *("%0a", "%09", "%7f", "%ff", "%C0%AF", "%5c", "\\", "%255c", "%2f.", "%2f..", "/%2e", "/%2e%2e", "%25", "%", "/*"),
    *("/%2e%2e%2fsecret", "//secret", "%2fsecret", "/;/secret", "%2Fx", "%252fx", "/x/", "~", "/static/x", "/healthz"),
)
MOUNT_HEADERS = ("SCRIPT_NAME", "Daphne-Root-Path")
OTHER_HEADERS = (
    *("Script-Name", "X-Script-Name", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Original-URL", "X-Original-URI"),
    *("X-Rewrite-URL", "X-Envoy-Original-Path", "X-HTTP-Method-Override", "X-Forwarded-Host", "Path-Info", "PATH_INFO"),
)
MOUNTS = (
    *("/static", "/static/a", "/static/x", "/share", "/open", "/maybe", "/healthz", "/x", "/auth", "/app", "/s", "/"),
    *("/static/", "//", "", "/static/%61", "%2Fstatic%2Fa", "static", "/STATIC/a", "/secret", "/sign", "/open/admin"),
    *("/app/auth", "/auth/callback", "/api", "/app/static"),
)


def requests(seed: int, *, prefix: str = "") -> Iterator[Asked]:
    """Requests without end. `prefix` is what the application is mounted at, as far as a client can tell."""
    chance = random.Random(seed)
    while True:
        target, headers = _shape(chance)
        if prefix and chance.random() < 0.8:
            target = prefix + target
        if chance.random() < 0.03:
            target = chance.choice(("http://app.example.com", "https://evil.example", "//app.example.com")) + target
        if chance.random() < 0.1:
            headers += ((chance.choice(OTHER_HEADERS), chance.choice((*MOUNTS, *OPEN, target))),)
        yield Asked(chance.choice(METHODS), wire(target), tuple((name, visible(value)) for name, value in headers))


def _shape(chance: random.Random) -> tuple[str, tuple[tuple[str, str], ...]]:
    goal = chance.choice(GOALS)
    match chance.randrange(12):
        case 0:
            return goal, ()
        case 1 | 2:
            return spelled(chance, goal), ()
        case 3 | 4:
            return spelled(chance, goal) + _tail(chance), ()
        case 5 | 6:
            return chance.choice(OPEN) + chance.choice(JOINTS) + spelled(chance, goal.lstrip("/")) + _tail(chance), ()
        case 7 | 8 | 9:
            return _moved(chance, goal)
        case 10:
            pieces = [*JOINTS, *TAILS, *OPEN, *GOALS, *MOUNTS]
            return "/" + "".join(chance.choice(pieces) for _ in range(chance.randint(1, 6))), ()
        case _:
            joints = (spelled(chance, part) for part in goal.split("/"))
            return chance.choice(("/", "//", "%2f", "/./", "\\")).join(joints) + _tail(chance), ()


def _moved(chance: random.Random, goal: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A target that begins with a mount, or holds it, and a header that says so."""
    mount = chance.choice(MOUNTS)
    if chance.random() < 0.3:
        goal = spelled(chance, goal)
    if chance.random() < 0.2:
        goal = goal.lstrip("/")
    before = chance.choice(("", "", "", *OPEN[:3], "/static"))
    target = before + (spelled(chance, mount) if chance.random() < 0.2 else mount) + goal
    if chance.random() < 0.2:
        target += _tail(chance)
    names = MOUNT_HEADERS if chance.random() < 0.8 else MOUNT_HEADERS[:1]
    return target, tuple((name, before + mount if chance.random() < 0.2 else mount) for name in names)


def _tail(chance: random.Random) -> str:
    return chance.choice(TAILS) if chance.random() < 0.8 else ""


def spelled(chance: random.Random, path: str) -> str:
    """The same path, written otherwise."""
    how = chance.randrange(8)
    if how == 0:
        return "".join(letter.swapcase() if chance.random() < 0.4 else letter for letter in path)
    if how == 1:
        return path.upper()
    if how == 2:
        return "".join(_escaped(letter) if chance.random() < 0.3 else letter for letter in path)
    if how == 3:
        return "".join(_escaped(_escaped(letter)) if chance.random() < 0.3 else letter for letter in path)
    if how == 4:
        return path.replace("/", chance.choice(("//", "%2f", "/./", "/;/", "%252f", "/x/../", "\\")), 2)
    if how == 5:
        return path.replace("i", "\u0131").replace("s", "\u017f")  # which fold to i and s in some alphabets
    return path


def _escaped(text: str) -> str:
    return "".join(f"%{ord(letter):02x}" if letter != "%" else "%25" for letter in text)


def wire(target: str) -> bytes:
    """As bytes of a request line: what would end it is escaped."""
    raw = target.encode("utf-8" if max(map(ord, target), default=0) > 0xFF else "latin-1")
    return b"".join(bytes([each]) if each > 0x20 and each != 0x7F else b"%%%02x" % each for each in raw) or b"/"


def visible(value: str) -> str:
    """As the value of a header."""
    return "".join(letter for letter in value if " " < letter < "\x7f")
