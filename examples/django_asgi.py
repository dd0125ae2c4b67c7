"""Sign in with Lumin and send yourself something to sign. Run it: lumin-middleware demo examples.django_asgi:app"""

from dataclasses import replace
from html import escape
from pathlib import Path
from time import time

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from lumin_middleware import LuminConfig, LuminMiddleware, lumin

PAGE = Path(__file__).with_name("page.html").read_text("utf-8")
FORMS = """<form method="post"><input name="title" aria-label="Title" value="Photo release" required maxlength="255">
<button class="main">Send</button></form><form method="post" action="/auth/logout"><button>Sign out</button></form>"""
DOCUMENT, WEEK = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf", 604_800  # seconds
sent: dict[str, list[str]] = {}  # whose signature requests; a real site has a database


def page(title: str, body: str, status: int = 200) -> HttpResponse:
    return HttpResponse(PAGE.replace("$title", title).replace("$body", body), status=status)


def welcome(request: HttpRequest) -> HttpResponse:
    return page("Something to sign", '<p>Send it to yourself.</p><a class="button main" href="/requests">Sign in</a>')


async def requests(request: HttpRequest) -> HttpResponse:
    client, rows = lumin(request), ""
    if request.method == "POST":
        return await send(request)
    me = (await client.get("user/info")).raise_for_status().json()["user"]
    for each in sent.get(me["id"], []):
        found = (await client.get("signature_request/{}", each)).raise_for_status().json()["signature_request"]
        rows += f"<li>{escape(found['title'])} <small>{escape(found['status'].replace('_', ' ').lower())}</small></li>"
    return page("Your requests", f"<p>You are {escape(me['name'])}, {escape(me['email'])}.</p><ul>{rows}</ul>{FORMS}")


async def send(request: HttpRequest) -> HttpResponse:
    client, title = lumin(request), request.POST["title"]
    me = (await client.get("user/info")).raise_for_status().json()["user"]
    signers = [{"name": me["name"], "email_address": me["email"]}]
    body = {"title": title, "file_url": DOCUMENT, "signers": signers, "expires_at": int(time() + WEEK) * 1000}
    answer = (await client.post("signature_request/send", json=body)).raise_for_status().json()
    sent.setdefault(me["id"], []).append(answer["signature_request"]["signature_request_id"])
    return HttpResponse(status=303, headers={"Location": "/requests"})


def sorry(request: HttpRequest) -> HttpResponse:
    return page("Lumin could not do this", "<p>Please try again.</p>", 502)


urlpatterns, handler500 = [path("", welcome), path("requests", requests)], sorry
# It makes a sign-in of LoginRequired. With a database, UserMiddleware beside it gives you request.user as well.
middleware = ["lumin_middleware.django.ChallengeMiddleware"]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=middleware)
app = LuminMiddleware(get_asgi_application(), replace(LuminConfig.from_env(), public=["/"]))
