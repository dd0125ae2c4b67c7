"""The application of these tests, twice: the same pages for ASGI and for WSGI.

Each counts in `requests` what reaches it, and answers a path by the page of that name, or by saying who it sees.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from lumin_middleware import LoginRequired, lumin

SEND = "signature_request/send"
SIGNERS = [{"name": "Ada", "email_address": "ada@example.com"}]
FORM = {"title": "By form", "signers": json.dumps(SIGNERS), "expires_at": "1790600000000"}
DOCUMENT = b"%PDF-1.4\n" + bytes(range(256)) * 1000
PIECES = [
    b'{"title": "By stream", "file_url": "https://example.com/a.pdf", ',
    b'"expires_at": 1790600000000, "signers": ',
    json.dumps(SIGNERS).encode(),
    b"}",
]
OWN_COOKIES = [
    ("set-cookie", "theme=dark; Path=/"),
    ("set-cookie", "seen=1; Path=/; Expires=Thu, 01 Jan 2037 00:00:00 GMT"),
]


def who(client: Any, path: str, cookie: str) -> dict[str, Any]:
    """What a page can say of its visitor."""
    return {
        "path": path,
        "subject": client.subject if client else None,
        "scope": sorted(client.scope) if client else [],
        "cookie": cookie,
    }


# --- ASGI -----------------------------------------------------------------------------------------------


async def _who(request: Request) -> Response:
    path, cookie = request.scope["path"], request.headers.get("cookie", "")
    return JSONResponse(who(request.state.lumin, path, cookie))


async def _api(request: Request) -> Response:
    answer = await lumin(request).get("user/info")
    return Response(answer.content, answer.status_code, media_type="application/json")


async def _token(request: Request) -> Response:
    return Response(await lumin(request).access_token(), media_type="application/octet-stream")


async def _form(request: Request) -> Response:
    files = {"file": ("a.pdf", DOCUMENT, "application/pdf")}
    answer = await lumin(request).post(SEND, data=FORM, files=files)
    return Response(b"", answer.status_code, media_type="application/json")


async def _stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in PIECES:
            yield piece

    answer = await lumin(request).post(SEND, content=pieces(), headers={"Content-Type": "application/json"})
    return Response(b"", answer.status_code, media_type="application/json")


async def _file(request: Request) -> Response:
    client = lumin(request)

    async def body() -> AsyncIterator[bytes]:
        path = f"signature_request/{request.query_params['id']}/file"
        async with client.stream("GET", path, headers={"Accept": "application/pdf"}) as answer:
            async for data in answer.aiter_bytes(64):
                yield data

    return StreamingResponse(body(), media_type="application/pdf")


async def _swallowed(request: Request) -> Response:
    """What a framework makes of an error that nobody handles."""
    try:
        return await _api(request)
    except LoginRequired:
        return Response(b"Internal Server Error", 500, media_type="text/html")


async def _challenge(request: Request) -> Response:
    response: Response = lumin(request).challenge(scope=request.query_params.get("scope", ""))
    return response


async def _cookies(request: Request) -> Response:
    response = Response(b"ok", media_type="application/octet-stream")
    for name, value in OWN_COOKIES:
        response.headers.append(name, value)
    return response


async def _said(request: Request) -> Response:
    return Response(b"ok", headers=dict(request.query_params))


class AsgiApp:
    """The application for ASGI. `handler`, where set, answers everything."""

    pages: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/api": _api,
        "/token": _token,
        "/form": _form,
        "/stream": _stream,
        "/file": _file,
        "/swallowed": _swallowed,
        "/challenge": _challenge,
        "/cookies": _cookies,
        "/said": _said,
        "/need": _token,
    }

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.handler: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests.append(scope)
        if self.handler is not None:
            await self.handler(scope, receive, send)
        else:
            response = await self.pages.get(scope["path"], _who)(Request(scope, receive))
            await response(scope, receive, send)


# --- WSGI -----------------------------------------------------------------------------------------------

Start = Callable[..., Any]
Environ = dict[str, Any]


def _answer(start_response: Start, body: bytes, status: int = 200, kind: str = "application/json") -> Iterable[bytes]:
    start_response(f"{status} OK", [("content-length", str(len(body))), ("content-type", kind)])
    return [body]


def _wsgi_who(environ: Environ, start_response: Start) -> Iterable[bytes]:
    path = (environ["SCRIPT_NAME"] + environ["PATH_INFO"]).encode("latin-1").decode()
    said = who(environ["lumin"], path, environ.get("HTTP_COOKIE", ""))
    return _answer(start_response, json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode())


def _wsgi_api(environ: Environ, start_response: Start) -> Iterable[bytes]:
    answer = lumin(environ).get("user/info")
    return _answer(start_response, answer.content, answer.status_code)


def _wsgi_token(environ: Environ, start_response: Start) -> Iterable[bytes]:
    return _answer(start_response, lumin(environ).access_token().encode(), kind="application/octet-stream")


def _wsgi_form(environ: Environ, start_response: Start) -> Iterable[bytes]:
    files = {"file": ("a.pdf", DOCUMENT, "application/pdf")}
    answer = lumin(environ).post(SEND, data=FORM, files=files)
    return _answer(start_response, b"", answer.status_code)


def _wsgi_stream(environ: Environ, start_response: Start) -> Iterable[bytes]:
    answer = lumin(environ).post(SEND, content=iter(PIECES), headers={"Content-Type": "application/json"})
    return _answer(start_response, b"", answer.status_code)


def _wsgi_file(environ: Environ, start_response: Start) -> Iterator[bytes]:
    client = lumin(environ)
    start_response("200 OK", [("content-type", "application/pdf")])
    path = f"signature_request/{parse_qs(environ['QUERY_STRING'])['id'][0]}/file"
    with client.stream("GET", path, headers={"Accept": "application/pdf"}) as answer:
        yield from answer.iter_bytes(64)


def _wsgi_swallowed(environ: Environ, start_response: Start) -> Iterable[bytes]:
    try:
        return _wsgi_api(environ, start_response)
    except LoginRequired:
        return _answer(start_response, b"Internal Server Error", 500, "text/html")


def _wsgi_challenge(environ: Environ, start_response: Start) -> Iterable[bytes]:
    scope = parse_qs(environ["QUERY_STRING"]).get("scope", [""])[0]
    answered: Iterable[bytes] = lumin(environ).challenge(scope=scope)(environ, start_response)
    return answered


def _wsgi_cookies(environ: Environ, start_response: Start) -> Iterable[bytes]:
    headers = [("content-length", "2"), ("content-type", "application/octet-stream"), *OWN_COOKIES]
    start_response("200 OK", headers)
    return [b"ok"]


def _wsgi_said(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response(
        "200 OK", [("content-length", "2"), ("content-type", "text/plain"), *parse_qsl(environ["QUERY_STRING"])]
    )
    return [b"ok"]


class WsgiApp:
    """The same for WSGI."""

    pages: dict[str, Callable[[Environ, Start], Iterable[bytes]]] = {
        "/api": _wsgi_api,
        "/token": _wsgi_token,
        "/form": _wsgi_form,
        "/stream": _wsgi_stream,
        "/file": _wsgi_file,
        "/swallowed": _wsgi_swallowed,
        "/challenge": _wsgi_challenge,
        "/cookies": _wsgi_cookies,
        "/said": _wsgi_said,
        "/need": _wsgi_token,
    }

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.handler: Any = None

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        self.requests.append(environ)
        answer = self.handler or self.pages.get(environ["PATH_INFO"], _wsgi_who)
        answered: Iterable[bytes] = answer(environ, start_response)
        return answered
