"""A form that was sent after its session had ended, or without what its page asks for, is not lost: it is kept, and
after the sign-in it is sent once.

Only what a page of this site sent is kept; another site could have somebody's browser send anything. It is sent by the
person's own hand, on a page that no other site can frame.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from ..model import Request, Response, Session
from ..protocol.claims import display_name
from ..sessions.cookies import Jar
from ..sessions.forms import FORM_LIMIT, Form
from ..sessions.logins import person
from ..sessions.opened import Opened
from . import access, pages
from .access import is_navigation, is_page, is_same_origin
from .login import Login
from .pages import Draft
from .parts import Parts
from .places import own_page, target
from .sent import FORM

SHOWN_LIMIT = 100
"""Characters of a path, or of somebody's name, that the page shows: three lines, so that its buttons stay in sight."""

_NAME = re.compile(r"name=([0-9a-f]{16})")


class KeptForm:
    """The route `form`, and what leads there."""

    def __init__(self, parts: Parts, login: Login) -> None:
        self._config = parts.config
        self._sessions = parts.sessions
        self._forms = parts.forms
        self._answers = parts.answers
        self._login = login
        self.path = parts.answers.form_path

    async def keep(self, request: Request, jar: Jar[Opened], session: Session | None) -> tuple[str, list[str]] | None:
        """Where the form of this request waits from now on, and the `Set-Cookie` values for it; None if it does not.

        Raises `RequestRefused` where its body breaks off, or comes too slowly.
        """
        if not self._may_be_kept(request) or request.body is None:
            return None
        fields = _fields(await request.body())
        action = access.here(target(request), "")
        if not fields or not action:
            return None
        page = access.return_to(own_page(request, self._config), self._config.after_login)
        kept = await self._forms.keep(Form(action, page, fields, person(session)), jar)
        return kept and (f"{self.path}?name={kept[0]}", kept[1])

    def _may_be_kept(self, request: Request) -> bool:
        length = request.header(b"content-length")
        return (
            request.method == "POST"
            and is_page(request)
            and is_same_origin(request, self._config.origin)
            and FORM.fullmatch(request.header(b"content-type")) is not None
            and re.fullmatch("[0-9]{1,5}", length) is not None
            and int(length) <= FORM_LIMIT
        )

    async def __call__(self, request: Request, jar: Jar[Opened]) -> Response:
        """`GET form?name=…`: the page that sends it, once, for whoever is signed in."""
        if request.method != "GET":
            return self._answers.method_not_allowed("GET")
        if not is_navigation(request):
            return self._answers.unauthorized(request, "no_session", may_be_page=True)
        session = await self._sessions.current(jar)
        if session is None:
            return await self._login.begin(request, jar, access.here(target(request), self._config.after_login))
        found = _NAME.fullmatch(request.query)
        form = await self._forms.take(found[1], jar, person(session)) if found else None
        if form is None:
            return self._answers.tell(request, 404, "form_gone", GONE)
        answer = self._answers.page(request, 200, _page(form, session), form_action=pages.ANYWHERE)
        answer.headers += pages.set_cookies([self._forms.forget(found[1])] if found else [])
        return answer


def _fields(body: bytes) -> list[tuple[str, str]]:
    """The fields of a form; none where the body is no form in UTF-8 (WHATWG URL, 5.1)."""
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        return []


GONE = Draft("form_gone")


def _page(form: Form, session: Session) -> Draft:
    name = display_name(session.claims)
    return Draft(
        "form",
        text=("form.text", "form.to_as" if name else "form.to", *([] if form.sender else ["form.whose"])),
        values={"target": _short(form.action.partition("?")[0]), "name": _short(name)},
        button=("send", form.action),
        fields=form.fields,
        links=(("do_not_send", form.page),),
    )


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}…"
