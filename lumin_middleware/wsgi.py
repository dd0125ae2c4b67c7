"""The WSGI edge (PEP 3333): the same core, run by threads without an event loop.

Cookies, stores and settings are those of the ASGI edge, so that the two halves of a site share their sessions.
Connections are made lazily in each process, since they do not survive a fork.
"""

from __future__ import annotations

import atexit
import inspect
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import quote, unquote_to_bytes
from weakref import WeakSet

from .asgi import parameters
from .client import LuminClient
from .config import LuminConfig, checked_config
from .errors import ConfigurationError, LuminError
from .model import Request, Response
from .ports import run
from .runtime.api_calls import WsgiCall
from .runtime.bodies import WsgiBody
from .runtime.startup import not_set_up, require_way_out
from .runtime.threads import ThreadWorld
from .runtime.wsgi_passage import IDENTITY_HEADER, MARK, Challenge, WsgiPassage, answer
from .sessions.cookies import Cookies
from .site.relying_party import RelyingParty
from .site.visit import Visit
from .stores import named

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# The two headers that CGI names without HTTP_, and those that are read from another place than the headers.
_UNPREFIXED = ("CONTENT_TYPE", "CONTENT_LENGTH")
_ELSEWHERE = ("HTTP_COOKIE", *(f"HTTP_{name}" for name in _UNPREFIXED))


class LuminMiddleware:
    """Signs people in with Lumin before they reach a WSGI application.

    `LuminMiddleware(app, config)` around any WSGI application; without a config the settings come from the
    environment. `clock` gives epoch seconds; every lifetime is measured with it. A request that passes finds a
    `LuminClient` in `environ["lumin"]` (None on `public` pages, and on `optional` ones when nobody is signed in).
    Raises `ConfigurationError` for wrong settings.
    """

    def __init__(
        self, app: WSGIApplication, config: LuminConfig | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        if isinstance(app, LuminMiddleware):
            raise ConfigurationError("app", "is wrapped in LuminMiddleware already; wrap it once")
        if parameters(app) == 3:
            raise ConfigurationError(
                "app", "takes three arguments, as ASGI applications do; wrap it in lumin_middleware.LuminMiddleware"
            )
        self.app = app
        self.config = checked_config(config)
        if inspect.iscoroutinefunction(self.config.admit):
            raise ConfigurationError("admit", "is an async function, and WSGI has no event loop; use a plain one")
        self._clock = clock
        self._store = named.of_setting(
            self.config.store, asynchronous=False, fingerprint=self.config.fingerprint, clock=clock
        )
        require_way_out()
        self._several = False
        _ALL.add(self)
        self._processes: dict[int, tuple[RelyingParty, ThreadWorld]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if MARK in environ:
            raise ConfigurationError("app", "has LuminMiddleware twice, one around the other; keep one of them")
        try:
            found = self._processes.get(os.getpid())
            if found is None:
                self._several = bool(environ.get("wsgi.multiprocess"))
                found = self._party()
        except LuminError as error:
            said = not_set_up(error, environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_LANGUAGE", ""))
            return answer(said, environ, start_response)
        party, world = found
        cookie = environ.get("HTTP_COOKIE", "")
        if "," in cookie:
            cookie = _told_apart(cookie, party.parts.cookies)
        visit: Visit | None = None
        if (path := _plain_path(environ)) is not None:
            look = party.at_once
            visit = look(path, path, cookie.encode("latin-1"), (_read, environ, cookie))
        if visit is None:
            outcome = run(party.handle(_read(environ, cookie)))
            if isinstance(outcome, Response):
                return answer(outcome, environ, start_response)
            visit = outcome
        client = None if visit.session is None else LuminClient(visit, world.api)
        app = self.app if visit.call is None or client is None else WsgiCall(visit, visit.call, client)
        return WsgiPassage(visit, client, environ, start_response).run(app)

    def _party(self) -> tuple[RelyingParty, ThreadWorld]:
        process = os.getpid()
        found = self._processes.get(process)
        if found is None:
            store: Any = self._store()  # the blocking kind: it was looked at
            world = ThreadWorld(self.config, store, self._clock, Challenge.of, several=self._several)
            found = self._processes.setdefault(process, (RelyingParty(self.config, world), world))
            if found[1] is not world:  # another thread came first
                world.close()
        return found

    def close(self) -> None:
        """Closes this process's connections. The next request makes new ones.

        Those of a store that a setting names as well; one that you made is yours to close.
        """
        self.finish()
        found = self._processes.pop(os.getpid(), None)
        if found is not None:
            found[1].close()
        self._store.close()

    def finish(self) -> None:
        """Saves what could not be saved yet. The end of the process does this by itself."""
        found = self._processes.get(os.getpid())
        if found is not None:
            party, world = found
            world.settle()
            run(party.parts.finish())


_ALL: WeakSet[LuminMiddleware] = WeakSet()


@atexit.register  # WSGI has no word for the end of a process
def _finish_all() -> None:
    with ExitStack() as sites:  # each, whatever becomes of the others
        for each in list(_ALL):
            sites.callback(each.finish)


# --- translating ----------------------------------------------------------------------------------------


def _plain_path(environ: WSGIEnvironment) -> str | None:
    """The path of a request that is written so plainly that it and the cookies say it all (`AtOnce`); else None."""
    path: str = environ.get("PATH_INFO", "")
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if not target or environ.get("SCRIPT_NAME") or "state=" in environ.get("QUERY_STRING", ""):
        return None
    is_same = target == path or target.partition("?")[0] == path
    return path if is_same and path.isascii() and "%" not in path else None


def _told_apart(header: str, cookies: Cookies) -> str:
    """A `Cookie` header in which a comma may stand between two lines: gunicorn and waitress join them so.

    A cookie of ours ends at the comma. One that follows a comma nobody gets to see, and it is not believed: it may be
    in the value of another cookie. A neighbour in this domain can set that, from whom browsers take none that is called
    `__Host-…`, and would have people signed in as whom it likes.
    """
    ours = rf"(?:{cookies.withheld.pattern.decode()})[^\x21-\x7E]*=[^,;]*"
    header = re.sub(rf",[^\x21-\x7E]*{ours}", "", header)
    return re.sub(rf"((?:^|;)[ \t]*{ours}),[ \t]*", r"\1; ", header)


def _read(environ: WSGIEnvironment, cookie: str) -> Request:
    mount = _decoded(environ.get("SCRIPT_NAME", ""))
    path = mount + _decoded(environ.get("PATH_INFO", ""))
    return Request(
        method=environ["REQUEST_METHOD"],
        path=path,
        raw_path=_raw_path(environ, mount, path),
        query=environ.get("QUERY_STRING", ""),
        headers=_Headers(environ),
        cookie=cookie.encode("latin-1"),
        mount=mount,
        peer=environ.get("REMOTE_ADDR", ""),
        body=WsgiBody(environ),
    )


class _Headers(Sequence[tuple[bytes, bytes]]):
    """The request's headers, read out of the environ when somebody asks; most requests need none."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ

    @cached_property
    def _items(self) -> list[tuple[bytes, bytes]]:
        return [
            (name.removeprefix("HTTP_").replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self._environ.items()
            if (name.startswith("HTTP_") and name not in _ELSEWHERE and not name.startswith(IDENTITY_HEADER))
            or (name in _UNPREFIXED and value)
        ]

    @overload
    def __getitem__(self, index: int) -> tuple[bytes, bytes]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[bytes, bytes]]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)


def _decoded(text: str) -> str:
    """PEP 3333's text, which holds bytes as if they were Latin-1, as the UTF-8 that it is."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def _raw_path(environ: WSGIEnvironment, mount: str, path: str) -> str:
    """The path as it stood on the wire, where the server tells and it is the path that the application sees."""
    target = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or "").partition("?")[0]
    if "://" in target[:8]:  # absolute form (RFC 9112, 3.2.2)
        target = "/" + target.partition("://")[2].partition("/")[2]
    if "#" in target or (target == path and "%" not in path and path.isascii()):
        return target
    came = unquote_to_bytes(target.encode("latin-1", "replace")).decode("utf-8", "surrogateescape")
    if target and came == path:
        return target
    if target and mount + came == path:
        return _quoted(mount) + target
    return _quoted(path)


def _quoted(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"), safe="/:@!$&'()*+,;=~-._")
