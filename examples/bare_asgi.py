"""Sign in with Lumin and send yourself something to sign. Run it: lumin-middleware demo examples.bare_asgi:app"""

from dataclasses import replace
from html import escape
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qs

from lumin_middleware import LuminConfig, LuminMiddleware, lumin

PAGE = Path(__file__).with_name("page.html").read_text("utf-8")
FORMS = """<form method="post"><input name="title" aria-label="Title" value="Photo release" required maxlength="255">
<button class="main">Send</button></form><form method="post" action="/auth/logout"><button>Sign out</button></form>"""
WELCOME = '<p>Send it to yourself.</p><a class="button main" href="/requests">Sign in</a>'
DOCUMENT, WEEK = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf", 604_800  # seconds
sent: dict[str, list[str]] = {}  # whose signature requests; a real site has a database


def page(title: str, body: str) -> bytes:
    return PAGE.replace("$title", title).replace("$body", body).encode()


async def overview(scope: Any) -> bytes:
    client, rows = lumin(scope), ""
    me = (await client.get("user/info")).raise_for_status().json()["user"]
    for each in sent.get(me["id"], []):
        found = (await client.get("signature_request/{}", each)).raise_for_status().json()["signature_request"]
        rows += f"<li>{escape(found['title'])} <small>{escape(found['status'].replace('_', ' ').lower())}</small></li>"
    return page("Your requests", f"<p>You are {escape(me['name'])}, {escape(me['email'])}.</p><ul>{rows}</ul>{FORMS}")


async def send_title(scope: Any, receive: Any) -> None:
    client, form, more = lumin(scope), b"", True
    while more:
        message = await receive()
        form, more = form + message.get("body", b""), message.get("more_body", False)
    title = parse_qs(form.decode())["title"][0]
    me = (await client.get("user/info")).raise_for_status().json()["user"]
    signers = [{"name": me["name"], "email_address": me["email"]}]
    body = {"title": title, "file_url": DOCUMENT, "signers": signers, "expires_at": int(time() + WEEK) * 1000}
    answer = (await client.post("signature_request/send", json=body)).raise_for_status().json()
    sent.setdefault(me["id"], []).append(answer["signature_request"]["signature_request_id"])


async def site(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    status, headers, body = 200, [(b"content-type", b"text/html; charset=utf-8")], b""
    if scope["path"] == "/":
        body = page("Something to sign", WELCOME)
    elif scope["method"] == "POST":
        await send_title(scope, receive)
        status, headers = 303, [(b"location", b"/requests")]
    else:
        body = await overview(scope)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = LuminMiddleware(site, replace(LuminConfig.from_env(), public=["/"]))
