"""The WSGI edge (PEP 3333): the same core, run by threads without an event loop.

Cookies, stores and settings are those of the ASGI edge, so that the two halves of a site share their sessions.
Connections are made lazily in each process, since they do not survive a fork.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, overload
from urllib.parse import quote, unquote_to_bytes

from .asgi import parameters
from .client import LuminClient
from .config import LuminConfig
from .errors import ANSWERED, ConfigurationError, LuminError
from .model import Request, Response, Wanted
from .ports import Store, run
from .runtime.api_calls import WsgiCall
from .runtime.bodies import WsgiBody
from .runtime.startup import not_set_up, require_way_out
from .runtime.threads import ThreadWorld
from .site import pages
from .site.relying_party import RelyingParty, Visit
from .stores import NamedStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_MARK = "lumin.middleware"  # what an environ holds that has passed here: the visit

_OURS = ("lumin", _MARK)  # what the application gets of its own

# Only we may say who somebody is.
_IDENTITY_HEADER = "HTTP_X_AUTH_REQUEST_"

# The two headers that CGI names without HTTP_, and those that are read from another place than the headers.
_UNPREFIXED = ("CONTENT_TYPE", "CONTENT_LENGTH")
_ELSEWHERE = ("HTTP_COOKIE", *(f"HTTP_{name}" for name in _UNPREFIXED))


class LuminMiddleware:
    """Signs people in with Lumin before they reach a WSGI application.

    `LuminMiddleware(app, config)` around any WSGI application; without a config the settings come from the
    environment. A request that passes finds a `LuminClient` in `environ["lumin"]` (None on `public` pages,
    and on `optional` ones when nobody is signed in). Raises `ConfigurationError` for wrong settings.
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
        self.config = config if config is not None else LuminConfig.from_env()
        if inspect.iscoroutinefunction(self.config.admit):
            raise ConfigurationError("admit", "is an async function, and WSGI has no event loop; use a plain one")
        self._clock = clock
        self._store = _store(self.config, clock)
        require_way_out()
        self._several = False
        self._process: tuple[int, RelyingParty, ThreadWorld] | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if _MARK in environ:
            raise ConfigurationError("app", "has LuminMiddleware twice, one around the other; keep one of them")
        self._several = bool(environ.get("wsgi.multiprocess"))
        try:
            party, world = self._party()
        except LuminError as error:
            return _answer(
                not_set_up(error, environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_LANGUAGE", "")),
                environ,
                start_response,
            )
        outcome = run(party.handle(_read(environ)))
        if isinstance(outcome, Response):
            return _answer(outcome, environ, start_response)
        return self._pass_on(outcome, world, environ, start_response)

    def _party(self) -> tuple[RelyingParty, ThreadWorld]:
        process = self._process
        if process is None or process[0] != os.getpid():
            # Two threads may both come here; one of the two worlds is then used for a moment and forgotten.
            world = ThreadWorld(self.config, self._store(), self._clock, several=self._several)
            process = self._process = os.getpid(), RelyingParty(self.config, world), world
        return process[1], process[2]

    def _pass_on(
        self, visit: Visit, world: ThreadWorld, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        client = None if visit.session is None else LuminClient(visit, world.api, world.api_url, Challenge.of)
        passed = _environ_for_app(environ, visit, client)
        passage = _Passage(visit, client, environ, passed, start_response)
        app = self.app if visit.call is None or client is None else WsgiCall(visit, visit.call, client)
        try:
            result = app(passed, passage.start_response)
        except ANSWERED as error:
            if passage.started:
                raise
            return passage.answer(error)
        except BaseException:
            passage.over()
            raise
        if passage.replaced or not _is_complete(result, environ):
            passage.body = result
            return passage
        passage.over()
        return result

    def close(self) -> None:
        """Closes this process's connections. The next request makes new ones."""
        process, self._process = self._process, None
        if process is not None and process[0] == os.getpid():
            process[2].close()


class Challenge:
    """The answer that asks for what is missing: a WSGI application, and its parts for whoever needs them."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = list(response.headers)
        self.body = response.body

    @classmethod
    def of(cls, visit: Visit, wanted: Wanted) -> Self:
        """The one for this request."""
        return cls(run(visit.challenge(wanted)))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return _answer(Response(self.status, self.headers, self.body), environ, start_response)


class _Passage:
    """An answer of the application on its way out; the client lives as long as it."""

    def __init__(
        self,
        visit: Visit,
        client: LuminClient | None,
        environ: WSGIEnvironment,
        passed: WSGIEnvironment,
        start_response: StartResponse,
    ) -> None:
        self.started = False
        self.replaced: LuminError | None = None
        """The error of ours of which the application's 500 says no more than that it happened."""
        self.body: Iterable[bytes] = ()
        self._visit = visit
        self._client = client
        self._environ = environ
        self._passed = passed
        self._start_response = start_response
        self._chunks: Iterator[bytes] | None = None

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """`start_response` with our cookies; the second call of an application replaces the first's headers."""
        if isinstance(self._visit.failed, ANSWERED) and status.startswith("500"):
            self.replaced = self._visit.failed
            return lambda data: None
        self._hand_back()
        if cookies := self._visit.set_cookies():
            headers = pages.with_cookies(headers, cookies)
        elif self._visit.session is not None and pages.says_nothing_of_caching(name for name, _ in headers):
            headers = [*headers, pages.PRIVATE]
        result = self._start_response(status, headers, exc_info) if exc_info else self._start_response(status, headers)
        self.started = True
        return result

    def _hand_back(self) -> None:
        """What the application has found out of its request, for whoever stands before us: `wsgiorg.routing_args`, …"""
        for name in self._passed.keys() - self._environ.keys():
            if name not in _OURS:
                self._environ[name] = self._passed[name]

    def answer(self, error: LuminError) -> Iterable[bytes]:
        """Our answer in place of the application's."""
        self.started, self.replaced = True, None
        self._hand_back()
        response = run(self._visit.answer(error))
        self.over()
        return _answer(response, self._environ, self._start_response)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._chunks is None:
            self._chunks = iter(self.answer(self.replaced) if self.replaced else self.body)
        try:
            chunk = next(self._chunks)
        except ANSWERED as error:
            if self.started:
                raise
            met: LuminError = error
        else:
            if self.replaced is None:
                return chunk
            met = self.replaced
        self._chunks = iter(self.answer(met))
        return next(self._chunks)

    def close(self) -> None:
        try:
            close = getattr(self.body, "close", None)
            if close is not None:
                close()
        finally:
            self.over()

    def over(self) -> None:
        """The application has done its work; its client ends."""
        if self._client is not None:
            self._client.close()


def _store(config: LuminConfig, clock: Callable[[], float]) -> Callable[[], Store]:
    store = config.store
    if isinstance(store, str):
        return NamedStore(  # type: ignore[return-value]
            store, asynchronous=False, fingerprint=config.fingerprint, clock=clock
        )
    if hasattr(store.get, "__code__") and store.get.__code__.co_flags & 0x80:  # CO_COROUTINE
        raise ConfigurationError("store", "is asynchronous, and WSGI needs the blocking kind, such as RedisStore")
    return lambda: store  # type: ignore[return-value]


# --- translating ----------------------------------------------------------------------------------------


def _read(environ: WSGIEnvironment) -> Request:
    mount = _decoded(environ.get("SCRIPT_NAME", ""))
    path = mount + _decoded(environ.get("PATH_INFO", ""))
    return Request(
        method=environ["REQUEST_METHOD"],
        path=path,
        raw_path=_raw_path(environ, mount, path),
        query=environ.get("QUERY_STRING", ""),
        headers=_Headers(environ),
        cookie=environ.get("HTTP_COOKIE", "").encode("latin-1"),
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
            if (name.startswith("HTTP_") and name not in _ELSEWHERE and not name.startswith(_IDENTITY_HEADER))
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


def _environ_for_app(environ: WSGIEnvironment, visit: Visit, client: LuminClient | None) -> WSGIEnvironment:
    """A copy of the environ with the client, and without what only we may say or see."""
    passed = dict(environ)
    if _IDENTITY_HEADER in "\n".join(environ):  # which tells much sooner than a look at each name
        passed = {name: value for name, value in environ.items() if not name.startswith(_IDENTITY_HEADER)}
    passed["lumin"] = client
    passed[_MARK] = visit
    passed.pop("HTTP_COOKIE", None)
    if cookie := visit.cookie:
        passed["HTTP_COOKIE"] = cookie.decode("latin-1")
    return passed


def _is_complete(result: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Whether nothing of the application is left to run. Servers treat such results in ways of their own."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(result, list | tuple) or (isinstance(wrapper, type) and isinstance(result, wrapper))


def _answer(response: Response, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]
