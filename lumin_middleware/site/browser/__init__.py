"""What a page in the browser gets from us: a module that calls us, its types, and where its popup lands."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...model import Request, Response
from ...sessions.cookies import Jar
from ...sessions.opened import Opened
from ..answers import Answers
from ..pages import Draft

# A channel reaches this site's pages only, and reaches them also where a page on the way to the sign-in has cut the
# popup off from whoever opened it (HTML Standard, Cross-Origin-Opener-Policy).
LANDED = Draft("popup", script='new BroadcastChannel("lumin").postMessage("over");close()')


class BrowserFile:
    """The route of a file of this package. Browsers keep it, and ask each time whether it is still the same."""

    def __init__(self, answers: Answers, name: str, media_type: str) -> None:
        self._answers = answers
        self._body = Path(__file__).with_name(name).read_bytes()
        self._etag = f'"{hashlib.sha256(self._body).hexdigest()[:32]}"'
        self._content = [("Content-Type", f"{media_type}; charset=utf-8"), ("Content-Length", str(len(self._body)))]

    async def __call__(self, request: Request, jar: Jar[Opened]) -> Response:
        if request.method not in ("GET", "HEAD"):
            return self._answers.method_not_allowed("GET, HEAD")
        headers = [("ETag", self._etag), ("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff")]
        if self._etag in request.header(b"if-none-match"):
            return Response(304, headers)
        return Response(200, [*self._content, *headers], self._body)


class Popup:
    """`GET popup`: tells the site's other pages that the sign-in is over, and closes itself."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def __call__(self, request: Request, jar: Jar[Opened]) -> Response:
        if request.method not in ("GET", "HEAD"):
            return self._answers.method_not_allowed("GET, HEAD")
        return self._answers.page(request, 200, LANDED)
