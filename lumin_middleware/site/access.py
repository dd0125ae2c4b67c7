"""Who may pass where: access rules, `return_to`, navigation or not.

Every reading of a path counts (`readings`); where they differ, the rule that protects most applies. A path is passed
on as it came, never rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from ..errors import RequestRefused
from ..model import Request, Session
from .patterns import Narrow, Wide
from .readings import is_ambiguous, is_plain, mounts, readings, refuse_tricks, seen

RETURN_TO_LIMIT = 4000
"""Bytes of a `return_to`: more than any link that people pass on, and half of what common servers take in a line."""

# --- rules ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """What a path asks for. Who needs a scope needs a session, so that a path with scopes is neither open."""

    public: bool = False
    optional: bool = False
    scope: tuple[str, ...] = ()
    max_age: float | None = None
    """Seconds since the person signed in at the server, at most."""

    def is_met_by(self, session: Session, now: float) -> bool:
        """Whether somebody who is signed in may pass. `now` is in epoch seconds."""
        return set(self.scope) <= set(session.tokens.scope) and (
            self.max_age is None or session.is_recent(self.max_age, now)
        )


@dataclass(frozen=True, slots=True)
class Ruling:
    """A rule, and how it was come by."""

    rule: Rule
    by: str
    """The patterns that decided, or why none did."""
    readings: tuple[str, ...] = ()
    """What the path may be taken for, as far as the rules look."""


PROTECTED = Rule()
PUBLIC = Rule(public=True)
OPTIONAL = Rule(optional=True)


class Rules:
    """The access rules of one site: everything is protected unless a pattern names it.

    A path is public, or optional, only if all of its readings are; it needs the scopes, and as recent a sign-in, as any
    of them needs, and those win over `public` and `optional`. `callback_path` tells which mounts are this site's.
    """

    def __init__(
        self,
        public: Iterable[str],
        optional: Iterable[str],
        required_scopes: Mapping[str, str],
        callback_path: str = "",
        required_auth_age: Mapping[str, float] | None = None,
    ) -> None:
        public, optional = tuple(public), tuple(optional)
        self._public = Narrow(public)
        self._open = Narrow((*public, *optional))
        self._ages = dict(required_auth_age or {})
        self._needs = bool(required_scopes or self._ages)
        self._scoped = Wide([*required_scopes, *(each for each in self._ages if each not in required_scopes)])
        self._scopes = {pattern: tuple(scope.split()) for pattern, scope in required_scopes.items()}
        self._callback_path = callback_path

    def rule(self, request: Request) -> Rule:
        """The rule for this request: its path and mount alone decide. Raises `RequestRefused` for a trick."""
        path = request.path
        if path == request.raw_path and not request.mount and not request.root_path:
            rule = self.plainly(path)
            if rule is not None:
                return rule
        refuse_tricks(request)
        own, others = seen(request, self._callback_path)
        if is_ambiguous(request):
            if not self._needs:
                return PROTECTED
            return self._required(readings([*own, *others], mounts(request, self._callback_path))) or PROTECTED
        foreign = mounts(request, self._callback_path, foreign=True)
        return self._rule(readings(own, foreign), readings(others, foreign) if self._needs else ())

    def needs(self, request: Request) -> Rule:
        """What a path asks for that our own routes answer: no pattern opens those, but one may ask for more."""
        rule = self.rule(request) if self._needs else PROTECTED
        return Rule(scope=rule.scope, max_age=rule.max_age)

    def plainly(self, path: str) -> Rule | None:
        """The rule for a path that came as it is, without a mount, and has no reading but itself; None for others."""
        return self._of(path) if is_plain(path) else None

    def ruling(self, request: Request) -> Ruling:
        """The rule for this request, and which patterns it is by. Raises `RequestRefused` for a trick."""
        rule = self.rule(request)
        needs = bool(rule.scope) or rule.max_age is not None
        found = self._readings(request, others=needs)
        if needs:
            patterns = self._scoped.find(found)
            scoped = _named("required_scopes", filter(self._scopes.__contains__, patterns))
            aged = _named("required_auth_age", filter(self._ages.__contains__, patterns))
            return Ruling(rule, " and ".join(filter(None, (scoped, aged))), found)
        public = sorted({pattern for path in found for pattern in self._public.find(path)})
        optional = sorted({pattern for path in found for pattern in self._open.find(path)} - set(public))
        named = " and ".join(filter(None, (_named("public", public), _named("optional", optional))))
        if rule.public or rule.optional:
            return Ruling(rule, named, found)
        if named:
            return Ruling(rule, f"protected, since {named} names not every reading, or the path is ambiguous", found)
        return Ruling(rule, "protected, since no pattern names it", found)

    def _readings(self, request: Request, *, others: bool) -> tuple[str, ...]:
        own, rest = seen(request, self._callback_path)
        foreign = mounts(request, self._callback_path, foreign=not (others and is_ambiguous(request)))
        try:
            return tuple(sorted(readings([*own, *rest] if others else own, foreign)))
        except RequestRefused:  # too many to tell, where none of them counts
            return tuple(own)

    def _of(self, path: str) -> Rule:
        """The rule for a path that has no reading but itself."""
        if self._needs and (rule := self._required((path,))):
            return rule
        if self._public.match(path):
            return PUBLIC
        return OPTIONAL if self._open.match(path) else PROTECTED

    def _rule(self, own: Collection[str], others: Iterable[str]) -> Rule:
        if self._needs and (rule := self._required((*own, *others))):
            return rule
        if all(map(self._public.match, own)):
            return PUBLIC
        return OPTIONAL if all(map(self._open.match, own)) else PROTECTED

    def _required(self, paths: Iterable[str]) -> Rule | None:
        found = self._scoped.find(paths)
        if not found:
            return None
        scope = dict.fromkeys(token for pattern in found for token in self._scopes.get(pattern, ()))
        ages = [self._ages[pattern] for pattern in found if pattern in self._ages]
        return Rule(scope=tuple(scope), max_age=min(ages, default=None))


def _named(setting: str, patterns: Iterable[str]) -> str:
    """The patterns of a setting that decided, in words; empty for none."""
    listed = ", ".join(map(repr, patterns))
    return f"{setting} {listed}" if listed else ""


# --- return_to ------------------------------------------------------------------------------------------

_UNSAFE_TARGET = re.compile(r"[\x00-\x1F\x7F\\]|^/+\s*/|(?:^|/)\.{1,2}(?:;[^/]*)?(?:/|$)")
_NO_LOCATION = re.compile(r"[\x00-\x1F\x7F\\]")
_LEADS_AWAY = re.compile(r"[\x00-\x1F\x7F]|^/+\s*/")


def return_to(target: str, default: str, origin: str = "") -> str:
    """`target` if it is a path of this site, percent-encoded where it must be; else `default`.

    Judged by its characters, not by a URL parser, since parsers differ: its path begins with one slash and, as it is
    and decoded once, holds no backslash, control character or dot segment. Decoded further, as a proxy or an
    application might, it still begins with one slash wherever its dot segments lead. `origin` may stand before it.
    """
    if origin:
        target = own_path(target, origin)
    if not target.startswith("/") or len(target) > RETURN_TO_LIMIT or re.search(r"[\x00-\x1F\x7F]", target):
        return default
    path = re.split(r"[?#]", target, maxsplit=1)[0]
    for times in range(4):  # as it is, once for us, once for a proxy, once for an application
        if (_UNSAFE_TARGET if times < 2 else _LEADS_AWAY).search(path if times < 2 else _resolved(path)):
            return default
        path = unquote_to_bytes(path.encode("utf-8", "replace")).decode("utf-8", "replace")
    encoded = percent_encoded(target.encode("utf-8", "replace"))
    return encoded if len(encoded) <= RETURN_TO_LIMIT else default


def own_path(url: str, origin: str) -> str:
    """A URL of this site without its origin, by whichever scheme a proxy before us saw it; any other as it is."""
    if url.startswith("/"):
        return url
    own = re.match(rf"https?://{re.escape(origin.partition('://')[2])}(?=/)", url)
    return url[own.end() :] if own else url


def here(target: str, default: str) -> str:
    """The page that was asked for, if a `Location` with its address leads to it again; else `default`.

    The browser has just asked this site for it, so only how browsers read a `Location` counts (WHATWG URL, 4.4).
    """
    path = re.split(r"[?#]", target, maxsplit=1)[0]
    is_one_path = target.startswith("/") and not path.startswith("//") and not _NO_LOCATION.search(path)
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


_FRAMES = ("iframe", "frame", "fencedframe", "embed", "object")


def is_navigation(request: Request) -> bool:
    """Whether a person is going somewhere and can be sent through a sign-in.

    Strong signs come before weak ones. `Sec-Fetch-Mode` is the browser's own word: `navigate` is a navigation, also
    when a service worker passes it on (with `Sec-Fetch-Dest: empty`) or Android's WebView names its application (in
    `X-Requested-With`), except into a frame of another page. Where it is missing, `Accept` decides.
    """
    return request.method in ("GET", "HEAD") and is_whole_page(request)


def is_whole_page(request: Request) -> bool:
    """The same of any method: whether what is answered is shown to a person, and not in a frame of another page."""
    return is_page(request) and request.header(b"sec-fetch-dest") not in _FRAMES


def is_of_no_kind(request: Request) -> bool:
    """Whether a request does not say what it is for, as those of programs and of some old browsers."""
    names = {name for name, _ in request.headers}
    said = any(name.startswith(b"sec-fetch-") for name in names) or names & {b"x-requested-with", b"hx-request"}
    return not said and not is_prefetch(request) and request.header(b"accept") in ("", "*/*")


def is_page(request: Request) -> bool:
    """Whether what is answered is shown to a person: a navigation of any method, also into a frame."""
    if request.websocket or is_prefetch(request):
        return False
    if mode := request.header(b"sec-fetch-mode"):
        return mode == "navigate"
    if request.header(b"x-requested-with").lower() == "xmlhttprequest" or request.header(b"hx-request"):
        return False
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


def is_led(request: Request) -> bool:
    """Whether another origin had a part in the way here (Fetch Metadata): for as long as a browser only follows
    redirects, it says of each that one of the addresses before was another's."""
    return request.header(b"sec-fetch-site") in ("cross-site", "same-site")
