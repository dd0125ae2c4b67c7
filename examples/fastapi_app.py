"""Sign in with Lumin and send yourself something to sign. Run it: lumin-middleware demo examples.fastapi_app:app"""

from dataclasses import replace
from html import escape
from pathlib import Path
from time import time
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from httpx2 import HTTPError

from lumin_middleware import AsyncLuminClient, LuminConfig, LuminMiddleware, ServerUnavailable, lumin

PAGE = Path(__file__).with_name("page.html").read_text("utf-8")
FORMS = """<form method="post"><input name="title" aria-label="Title" value="Photo release" required maxlength="255">
<button class="main">Send</button></form><form method="post" action="/auth/logout"><button>Sign out</button></form>"""
DOCUMENT, WEEK = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf", 604_800  # seconds
sent: dict[str, list[str]] = {}  # whose signature requests; a real site has a database


def page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(PAGE.replace("$title", title).replace("$body", body), status)


async def sorry(request: Request, error: Exception) -> Response:
    return page("Lumin could not do this", f"<p>Please try again.</p><small>{escape(str(error))}</small>", 502)


SignedIn = Annotated[AsyncLuminClient, Depends(lumin)]

app = FastAPI(exception_handlers={HTTPError: sorry, ServerUnavailable: sorry})
app.add_middleware(LuminMiddleware, config=replace(LuminConfig.from_env(), public=["/"]))


@app.get("/")
async def welcome() -> Response:
    return page("Something to sign", '<p>Send it to yourself.</p><a class="button main" href="/requests">Sign in</a>')


@app.get("/requests")
async def overview(lumin: SignedIn) -> Response:
    me = (await lumin.get("user/info")).raise_for_status().json()["user"]
    rows = ""
    for each in sent.get(me["id"], []):
        found = (await lumin.get("signature_request/{}", each)).raise_for_status().json()["signature_request"]
        rows += f"<li>{escape(found['title'])} <small>{escape(found['status'].replace('_', ' ').lower())}</small></li>"
    return page("Your requests", f"<p>You are {escape(me['name'])}, {escape(me['email'])}.</p><ul>{rows}</ul>{FORMS}")


@app.post("/requests")
async def send(lumin: SignedIn, title: Annotated[str, Form()]) -> Response:
    me = (await lumin.get("user/info")).raise_for_status().json()["user"]
    signers = [{"name": me["name"], "email_address": me["email"]}]
    body = {"title": title, "file_url": DOCUMENT, "signers": signers, "expires_at": int(time() + WEEK) * 1000}
    answer = (await lumin.post("signature_request/send", json=body)).raise_for_status().json()
    sent.setdefault(me["id"], []).append(answer["signature_request"]["signature_request_id"])
    return RedirectResponse("/requests", 303)
