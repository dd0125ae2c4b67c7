"""Sign in with Lumin and send yourself something to sign. Run it: flask --app examples.flask_app run -p 8000"""

from dataclasses import replace
from html import escape
from pathlib import Path
from time import time

from flask import Flask, Response, request
from httpx2 import HTTPError

from lumin_middleware import LoginRequired, LuminConfig, ServerUnavailable, lumin
from lumin_middleware.wsgi import LuminMiddleware

PAGE = Path(__file__).with_name("page.html").read_text("utf-8")
FORMS = """<form method="post"><input name="title" aria-label="Title" value="Photo release" required maxlength="255">
<button class="main">Send</button></form><form method="post" action="/auth/logout"><button>Sign out</button></form>"""
DOCUMENT, WEEK = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf", 604_800  # seconds
sent: dict[str, list[str]] = {}  # whose signature requests; a real site has a database

app = Flask(__name__)
app.wsgi_app = LuminMiddleware(app.wsgi_app, replace(LuminConfig.from_env(), public=["/"]))  # type: ignore[method-assign]


def page(title: str, body: str, status: int = 200) -> Response:
    return Response(PAGE.replace("$title", title).replace("$body", body), status)


@app.get("/")
def welcome() -> Response:
    return page("Something to sign", '<p>Send it to yourself.</p><a class="button main" href="/requests">Sign in</a>')


@app.get("/requests")
def overview() -> Response:
    client, rows = lumin(request), ""
    me = client.get("user/info").raise_for_status().json()["user"]
    for each in sent.get(me["id"], []):
        found = client.get("signature_request/{}", each).raise_for_status().json()["signature_request"]
        rows += f"<li>{escape(found['title'])} <small>{escape(found['status'].replace('_', ' ').lower())}</small></li>"
    return page("Your requests", f"<p>You are {escape(me['name'])}, {escape(me['email'])}.</p><ul>{rows}</ul>{FORMS}")


@app.post("/requests")
def send() -> Response:
    client, title = lumin(request), request.form["title"]
    me = client.get("user/info").raise_for_status().json()["user"]
    signers = [{"name": me["name"], "email_address": me["email"]}]
    body = {"title": title, "file_url": DOCUMENT, "signers": signers, "expires_at": int(time() + WEEK) * 1000}
    answer = client.post("signature_request/send", json=body).raise_for_status().json()
    sent.setdefault(me["id"], []).append(answer["signature_request"]["signature_request_id"])
    return Response("", 303, {"Location": "/requests"})


def sorry(error: Exception) -> Response:
    return page("Lumin could not do this", f"<p>Please try again.</p><small>{escape(str(error))}</small>", 502)


app.register_error_handler(HTTPError, sorry)
app.register_error_handler(ServerUnavailable, sorry)
app.register_error_handler(LoginRequired, lambda error: ("", 500))  # LuminMiddleware answers in its place
