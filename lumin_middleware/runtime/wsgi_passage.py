"""A request on its way through a WSGI application, and the answer on its way out.

The application finds a client, which ends with its answer. The answer gets our cookies with its head. What
`passage` is under ASGI.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from ..client import LuminClient
from ..errors import LuminError, to_be_answered
from ..model import Response, Wanted
from ..ports import run
from ..site import pages
from ..site.visit import Visit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MARK = "lumin.middleware"
"""What an environ holds that has passed here: the visit."""

IDENTITY_HEADER = "HTTP_X_AUTH_REQUEST_"
"""Only we may say who somebody is."""

NAMES_LIMIT, NAME_LENGTH = 1000, 100
"""Names of an environ that are remembered before they are forgotten at once, and the longest in characters: servers and
browsers have a hundred, and the longest of theirs takes half of it. Others are somebody's who wants them kept."""


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
        return answer(Response(self.status, self.headers, self.body), environ, start_response)


class WsgiPassage:
    """An answer of the application on its way out; the client lives as long as it."""

    def __init__(
        self,
        visit: Visit,
        client: LuminClient | None,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> None:
        self._visit = visit
        self._client = client
        self._environ = environ
        self._start_response = start_response
        self._body: Iterable[bytes] = ()
        self._chunks: Iterator[bytes] | None = None
        self._found: tuple[str, ...] = ()
        """The names that the application has added to its environ."""
        self.started = False
        self.replaced: LuminError | None = None
        """The error of ours of which the application's 500 says no more than that it happened."""
        # A copy with the client, and without what only we may say or see.
        passed = self._passed = {**environ}
        if not _harmless.issuperset(passed):
            for name in _identity_headers(passed):
                del passed[name]
        if cookie := visit.cookie:
            passed["HTTP_COOKIE"] = cookie.decode("latin-1")
        else:
            passed.pop("HTTP_COOKIE", None)
        passed["lumin"] = client
        passed[MARK] = visit

    def run(self, app: WSGIApplication) -> Iterable[bytes]:
        """Runs the application; an error of ours that it lets through is answered as our own are."""
        try:
            result = app(self._passed, self.start_response)
        except BaseException as error:
            ours = to_be_answered(error)
            if ours is None or self.started:
                self.over()
                raise
            return self.answer(ours)
        # Where nothing of the application is left to run, servers treat its result in ways of their own.
        wrapper = self._environ.get("wsgi.file_wrapper")
        is_whole = isinstance(result, (list, tuple)) or (isinstance(wrapper, type) and isinstance(result, wrapper))
        if self.replaced is not None or not is_whole:
            self._body = result
            return self
        self.over()
        return result

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """`start_response` with our cookies; the second call of an application replaces the first's headers."""
        visit = self._visit
        self.replaced = None
        if visit.failed is not None and not self.started and status.startswith("500"):
            self.replaced = to_be_answered(visit.failed)
            if self.replaced is not None:
                return lambda data: None
        self._hand_back()
        if visit.writes and (cookies := run(visit.set_cookies())):
            headers = pages.with_cookies(headers, cookies)
        elif visit.session is not None:
            for name, _ in headers:
                if name.lower() in pages.OF_CACHING:
                    break
            else:  # heuristics would let the next person see it
                headers = [*headers, pages.PRIVATE]
        start = self._start_response
        result = start(status, headers, exc_info) if exc_info else start(status, headers)
        self.started = True
        return result

    def _hand_back(self) -> None:
        """What the application has found out of its request, for whoever stands before us: `wsgiorg.routing_args`, …"""
        passed, environ = self._passed, self._environ
        for name in reversed(passed):
            if name == MARK:  # which was the last when the application got it
                break
            if name not in environ:
                self._found += (name,)
        for name in self._found:
            environ[name] = passed.get(name)

    def answer(self, error: LuminError) -> Iterable[bytes]:
        """Our answer in place of the application's."""
        self.started, self.replaced = True, None
        response = run(self._visit.answer(error))
        self.over()
        return answer(response, self._environ, self._start_response)

    def __iter__(self) -> Iterator[bytes]:
        """The application's own iterator, where nothing can come in its answer's place any more."""
        return iter(self._body) if self.started and self._chunks is None else self

    def __next__(self) -> bytes:
        if self._chunks is None:
            self._chunks = iter(self.answer(self.replaced) if self.replaced else self._body)
        try:
            chunk = next(self._chunks)
        except Exception as error:
            # An application that ends without a byte may have said all that it had to say by its status.
            ours = to_be_answered(error) or (self.replaced if isinstance(error, StopIteration) else None)
            if ours is None or self.started:
                raise
            met = ours
        else:
            if self.replaced is None:
                return chunk
            met = self.replaced
        self._chunks = iter(self.answer(met))
        return next(self._chunks)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self.over()

    def over(self) -> None:
        """The application has done its work; its client ends.

        What it has let go of by then, it is let go of here, too: Flask lets go of its request, which holds the environ,
        which holds the visit, which holds what came; all of that would be left to collect.
        """
        if self._client is not None:
            self._client.close()
        self._hand_back()


_harmless: set[str] = set()
"""Names that were looked at and are no identity headers: an environ that has no others is known by one look."""


def _identity_headers(names: Iterable[str]) -> list[str]:
    """Those among the names of an environ; the others are remembered."""
    new = [name for name in names if name not in _harmless]
    harmless = [name for name in new if not name.startswith(IDENTITY_HEADER) and len(name) <= NAME_LENGTH]
    if len(_harmless) + len(harmless) > NAMES_LIMIT:
        _harmless.clear()
    _harmless.update(harmless[:NAMES_LIMIT])
    return [name for name in new if name.startswith(IDENTITY_HEADER)]


def answer(response: Response, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Gives an answer of ours."""
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
    # Some servers (hypercorn) send a head with the first piece of a body, if it is none.
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]
