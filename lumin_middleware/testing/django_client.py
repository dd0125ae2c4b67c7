"""Django's test client with `LuminMiddleware` before it.

That client calls Django without the project's WSGI application, and so without what is wrapped around it. Here its
handler is put behind the middleware that the project wraps its application in: its settings, the emulator as Lumin.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from http.cookies import SimpleCookie
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.core.servers.basehttp import get_internal_wsgi_application
from django.http import HttpResponse
from django.test import Client

from ..config import LuminConfig
from ..wsgi import LuminMiddleware

_PASSED = "X-Passed-On"  # marks an answer of Django's on its way through the middleware


def guard(client: Client, at_emulator: Callable[[LuminConfig], LuminConfig], stack: ExitStack) -> None:
    """Puts the middleware before a test client. Raises `ValueError` for another kind of client or project."""
    if not isinstance(client, Client):
        raise ValueError("only Django's blocking test client can be signed in; use django.test.Client()")
    wrapped = get_internal_wsgi_application()
    if not isinstance(wrapped, LuminMiddleware):
        raise ValueError("WSGI_APPLICATION is not wrapped in lumin_middleware.wsgi.LuminMiddleware")
    handler = _Handler(client, at_emulator(wrapped.config))
    stack.callback(handler.close)
    client.handler = handler
    client.defaults["HTTP_SEC_FETCH_SITE"] = "same-origin"  # as of a form of the site's own


class _Handler:
    """In the place of the client's own handler: gets an environ, and gives an `HttpResponse`."""

    def __init__(self, client: Client, config: LuminConfig) -> None:
        self._client = client
        self._django = client.handler
        self._response: Any = None
        self._middleware = LuminMiddleware(self._pass_on, config)
        self.close = self._middleware.close

    def _pass_on(self, environ: Any, start_response: Any) -> list[bytes]:
        self._response = self._django(environ)
        status = f"{self._response.status_code} {self._response.reason_phrase}"
        start_response(status, [*self._response.items(), (_PASSED, "1")])
        return []

    def __call__(self, environ: Any) -> Any:
        told: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            told.update(status=int(status[:3]), headers=headers)

        environ["wsgi.multiprocess"] = False  # Django says otherwise, and would have a store in memory doubted
        body = b"".join(self._middleware(environ, start_response))
        headers = [(name, value) for name, value in told["headers"] if name != _PASSED]
        response = self._response
        if len(headers) == len(told["headers"]):  # an answer of the middleware's own
            response = HttpResponse(body, status=told["status"])
            response.wsgi_request = WSGIRequest(environ)
            self._client.exc_info = None  # which the client would raise although it was answered
        for name, value in headers:
            if name.lower() == "set-cookie":
                response.cookies.update(SimpleCookie(value))
            else:
                response[name] = value
        return response
