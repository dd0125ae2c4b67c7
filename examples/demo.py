"""Sign in with Lumin, send yourself something to sign, sign it, and see it signed. Run it: lumin-middleware demo"""

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
FORMS = """<form method="post" class="field"><label>Title <input name="title" value="Photo release" required
maxlength="255" pattern=".*\\S.*"></label><button class="main">Send</button></form>
<form method="post" action="/auth/logout"><button>Sign out</button></form>"""
SIGN = """<form method="post" action="/sign"><button name="id" value="{}" aria-label="Sign {}">Sign</button></form>"""
BACK = '<a class="button main" href="/requests">Back</a>'
STATES = {"NEED_TO_SIGN": "waits for you", "APPROVED": "signed"}
DOCUMENT, WEEK = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf", 604_800  # seconds
sent: dict[str, list[str]] = {}  # whose signature requests; a real site has a database


def page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(PAGE.replace("$title", title).replace("$body", body), status)


async def welcome(request: Request) -> Response:
    way_on = "Your requests" if request.user.is_authenticated else "Sign in"
    start = "<p>Send it to yourself, sign it, and see it signed.</p>"
    return page("Something to sign", f'{start}<a class="button main" href="/requests">{way_on}</a>')


async def overview(request: Request) -> Response:
    lumin, rows = request.state.lumin, ""
    me = (await lumin.get("user/info")).raise_for_status().json()["user"]
    for each in sent.get(me["id"], []):
        found = (await lumin.get("signature_request/{}", each)).raise_for_status().json()["signature_request"]
        title, state = escape(found["title"]), STATES.get(found["status"], found["status"].replace("_", " ").lower())
        button = SIGN.format(escape(each), title) if found["status"] == "NEED_TO_SIGN" else ""
        rows += f'<li class="split"><span>{title} <small>{escape(state)}</small></span>{button}</li>'
    listed = f'<ul class="rows">{rows}</ul>' if rows else "<p>Nothing sent yet.</p>"
    return page("Your requests", f"<p>You are {escape(me['name'])}, {escape(me['email'])}.</p>{listed}{FORMS}")


async def send(request: Request) -> Response:
    lumin, title = request.state.lumin, str((await request.form()).get("title", "")).strip()
    if not title:
        return page("The title is missing", f"<p>Nothing was sent. Please give it a title.</p>{BACK}", 400)
    me = (await lumin.get("user/info")).raise_for_status().json()["user"]
    signers = [{"name": me["name"], "email_address": me["email"]}]
    body = {"title": title, "file_url": DOCUMENT, "signers": signers, "expires_at": int(time() + WEEK) * 1000}
    answer = (await lumin.post("signature_request/send", json=body)).raise_for_status().json()
    sent.setdefault(me["id"], []).append(answer["signature_request"]["signature_request_id"])
    return RedirectResponse("/requests", 303)


async def sign(request: Request) -> Response:
    lumin, wanted = request.state.lumin, (await request.form()).get("id")
    me = (await lumin.get("user/info")).raise_for_status().json()["user"]
    if wanted not in sent.get(me["id"], []):
        return page("There is nothing to sign", f"<p>It is none of your requests.</p>{BACK}", 404)
    body = {"signer_email": me["email"]}
    session = (await lumin.post("signature_request/{}/signing-session", wanted, json=body)).raise_for_status().json()
    return RedirectResponse(session["sign_url"], 303)  # a page of Lumin's, which opens once


async def sorry(request: Request, error: Exception) -> Response:
    return page("Lumin could not do this", f"<p>Please try again.</p><p>{escape(str(error))}</p>{BACK}", 502)


routes = [Route("/", welcome), Route("/requests", overview), Route("/requests", send, methods=["POST"])]
routes += [Route("/sign", sign, methods=["POST"])]
app = Starlette(routes=routes, exception_handlers={HTTPError: sorry, ServerUnavailable: sorry})
app.add_middleware(LuminMiddleware, config=replace(LuminConfig.from_env(), optional=["/"]))
