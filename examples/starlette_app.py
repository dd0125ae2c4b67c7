"""Sign in with Lumin and send yourself something to sign. Run it: lumin-middleware demo"""

from dataclasses import replace
from html import escape
from pathlib import Path
from time import time

from httpx2 import HTTPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from lumin_middleware import LuminConfig, LuminMiddleware, ServerUnavailable

PAGE = Path(__file__).with_name("page.html").read_text("utf-8")
FORMS = """<form method="post"><input name="title" aria-label="Title" value="Photo release" required maxlength="255">
<button class="main">Send</button></form><form method="post" action="/auth/logout"><button>Sign out</button></form>"""
DOCUMENT, WEEK = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf", 604_800  # seconds
sent: dict[str, list[str]] = {}  # whose signature requests; a real site has a database


def page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(PAGE.replace("$title", title).replace("$body", body), status)


async def welcome(request: Request) -> Response:
    return page("Something to sign", '<p>Send it to yourself.</p><a class="button main" href="/requests">Sign in</a>')


async def overview(request: Request) -> Response:
    lumin, rows = request.state.lumin, ""
    me = (await lumin.get("user/info")).raise_for_status().json()["user"]
    for each in sent.get(me["id"], []):
        found = (await lumin.get("signature_request/{}", each)).raise_for_status().json()["signature_request"]
        rows += f"<li>{escape(found['title'])} <small>{escape(found['status'].replace('_', ' ').lower())}</small></li>"
    return page("Your requests", f"<p>You are {escape(me['name'])}, {escape(me['email'])}.</p><ul>{rows}</ul>{FORMS}")


async def send(request: Request) -> Response:
    lumin, title = request.state.lumin, (await request.form()).get("title")
    me = (await lumin.get("user/info")).raise_for_status().json()["user"]
    signers = [{"name": me["name"], "email_address": me["email"]}]
    body = {"title": title, "file_url": DOCUMENT, "signers": signers, "expires_at": int(time() + WEEK) * 1000}
    answer = (await lumin.post("signature_request/send", json=body)).raise_for_status().json()
    sent.setdefault(me["id"], []).append(answer["signature_request"]["signature_request_id"])
    return RedirectResponse("/requests", 303)


async def sorry(request: Request, error: Exception) -> Response:
    return page("Lumin could not do this", f"<p>Please try again.</p><small>{escape(str(error))}</small>", 502)


routes = [Route("/", welcome), Route("/requests", overview), Route("/requests", send, methods=["POST"])]
app = Starlette(routes=routes, exception_handlers={HTTPError: sorry, ServerUnavailable: sorry})
app.add_middleware(LuminMiddleware, config=replace(LuminConfig.from_env(), public=["/"]))
