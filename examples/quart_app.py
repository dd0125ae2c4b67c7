"""Sign in with Lumin and send yourself something to sign. Run it: lumin-middleware demo examples.quart_app:app"""

from dataclasses import replace
from html import escape
from pathlib import Path
from time import time

from httpx2 import HTTPError
from quart import Quart, Response, redirect, request
from quart.typing import ResponseReturnValue

from lumin_middleware import LuminConfig, LuminMiddleware, ServerUnavailable, lumin

PAGE = Path(__file__).with_name("page.html").read_text("utf-8")
FORMS = """<form method="post"><input name="title" aria-label="Title" value="Photo release" required maxlength="255">
<button class="main">Send</button></form><form method="post" action="/auth/logout"><button>Sign out</button></form>"""
DOCUMENT, WEEK = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf", 604_800  # seconds
sent: dict[str, list[str]] = {}  # whose signature requests; a real site has a database

app = Quart(__name__)
config = replace(LuminConfig.from_env(), public=["/"])
app.asgi_app = LuminMiddleware(app.asgi_app, config)  # type: ignore[assignment, method-assign]


def page(title: str, body: str, status: int = 200) -> Response:
    return Response(PAGE.replace("$title", title).replace("$body", body), status)


@app.get("/")
async def welcome() -> Response:
    return page("Something to sign", '<p>Send it to yourself.</p><a class="button main" href="/requests">Sign in</a>')


@app.get("/requests")
async def overview() -> Response:
    client, rows = lumin(request), ""
    me = (await client.get("user/info")).raise_for_status().json()["user"]
    for each in sent.get(me["id"], []):
        found = (await client.get("signature_request/{}", each)).raise_for_status().json()["signature_request"]
        rows += f"<li>{escape(found['title'])} <small>{escape(found['status'].replace('_', ' ').lower())}</small></li>"
    return page("Your requests", f"<p>You are {escape(me['name'])}, {escape(me['email'])}.</p><ul>{rows}</ul>{FORMS}")


@app.post("/requests")
async def send() -> ResponseReturnValue:
    client, title = lumin(request), (await request.form).get("title")
    me = (await client.get("user/info")).raise_for_status().json()["user"]
    signers = [{"name": me["name"], "email_address": me["email"]}]
    body = {"title": title, "file_url": DOCUMENT, "signers": signers, "expires_at": int(time() + WEEK) * 1000}
    answer = (await client.post("signature_request/send", json=body)).raise_for_status().json()
    sent.setdefault(me["id"], []).append(answer["signature_request"]["signature_request_id"])
    return redirect("/requests", 303)


@app.errorhandler(HTTPError)
@app.errorhandler(ServerUnavailable)
async def sorry(error: Exception) -> Response:
    return page("Lumin could not do this", f"<p>Please try again.</p><small>{escape(str(error))}</small>", 502)
