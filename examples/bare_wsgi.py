"""Sign in with Lumin and send yourself something to sign. Run it: gunicorn examples.bare_wsgi:app"""

from dataclasses import replace
from html import escape
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qs

from lumin_middleware import LuminConfig, lumin
from lumin_middleware.wsgi import LuminMiddleware

PAGE = Path(__file__).with_name("page.html").read_text("utf-8")
FORMS = """<form method="post"><input name="title" aria-label="Title" value="Photo release" required maxlength="255">
<button class="main">Send</button></form><form method="post" action="/auth/logout"><button>Sign out</button></form>"""
DOCUMENT, WEEK = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf", 604_800  # seconds
sent: dict[str, list[str]] = {}  # whose signature requests; a real site has a database


def page(title: str, body: str) -> bytes:
    return PAGE.replace("$title", title).replace("$body", body).encode()


def overview(environ: dict[str, Any]) -> bytes:
    client, rows = lumin(environ), ""
    me = client.get("user/info").raise_for_status().json()["user"]
    for each in sent.get(me["id"], []):
        found = client.get("signature_request/{}", each).raise_for_status().json()["signature_request"]
        rows += f"<li>{escape(found['title'])} <small>{escape(found['status'].replace('_', ' ').lower())}</small></li>"
    return page("Your requests", f"<p>You are {escape(me['name'])}, {escape(me['email'])}.</p><ul>{rows}</ul>{FORMS}")


def send(environ: dict[str, Any]) -> None:
    form = parse_qs(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode())
    client, title = lumin(environ), form["title"][0]
    me = client.get("user/info").raise_for_status().json()["user"]
    signers = [{"name": me["name"], "email_address": me["email"]}]
    body = {"title": title, "file_url": DOCUMENT, "signers": signers, "expires_at": int(time() + WEEK) * 1000}
    answer = client.post("signature_request/send", json=body).raise_for_status().json()
    sent.setdefault(me["id"], []).append(answer["signature_request"]["signature_request_id"])


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    status, headers, body = "200 OK", [("Content-Type", "text/html; charset=utf-8")], b""
    if environ["PATH_INFO"] == "/":
        body = page(
            "Something to sign", '<p>Send it to yourself.</p><a class="button main" href="/requests">Sign in</a>'
        )
    elif environ["REQUEST_METHOD"] == "POST":
        send(environ)
        status, headers = "303 See Other", [*headers, ("Location", "/requests")]
    else:
        body = overview(environ)
    start_response(status, headers)
    return [body]


app = LuminMiddleware(site, replace(LuminConfig.from_env(), public=["/"]))
