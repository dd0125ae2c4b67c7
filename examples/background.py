"""Say by day what is to be sent at night, and be away then. A web application, and a worker that acts for people.

Both need the same LUMIN_ settings (`lumin-middleware emulator` prints some) and the same store:
    uvicorn examples.background:app          huey_consumer examples.background.huey
"""

from dataclasses import replace
from html import escape
from os import environ
from pathlib import Path
from time import time

from huey import SqliteHuey
from huey.exceptions import RetryTask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from lumin_middleware import Grants, LuminConfig, LuminMiddleware, NotConnected, lumin
from lumin_middleware.errors import ServerUnavailable, StoreUnavailable

config = LuminConfig.from_env()
huey = SqliteHuey(filename=environ.get("QUEUE", "queue.sqlite3"))
grants = Grants(config)

PAGE = Path(__file__).with_name("page.html").read_text("utf-8")
FORM = """<form method="post" action="/send"><input name="title" aria-label="Title" value="Lease" required>
<button class="main">Send tonight</button></form>
<form method="post" action="/auth/disconnect"><button>Do nothing more for me</button></form>
<form method="post" action="/auth/logout"><button>Sign out</button></form>"""
CONNECT = """<p>May this site send it for you while you are away?</p>
<a class="button main" href="/auth/connect">Allow it</a>"""
DOCUMENT, WEEK = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf", 604_800  # seconds


# --- the worker -----------------------------------------------------------------------------------------


@huey.task()  # no retries: whether a POST that broke has arrived, nobody knows, and twice is worse than not at all
def send(subject: str, title: str) -> str:
    """Sends somebody their own document to sign. Who is not connected any more gets nothing, and that is no failure."""
    try:
        with grants.client(subject) as client:
            me = client.get("user/info").raise_for_status().json()["user"]
            signers = [{"name": me["name"], "email_address": me["email"]}]
            body = {"title": title, "file_url": DOCUMENT, "signers": signers, "expires_at": int(time() + WEEK) * 1000}
            answer = client.post("signature_request/send", json=body).raise_for_status().json()
            return str(answer["signature_request"]["signature_request_id"])
    except NotConnected as error:
        return f"not sent: write to them that they can connect at {error.url}"
    except (ServerUnavailable, StoreUnavailable) as error:  # before anything was sent
        raise RetryTask(str(error), delay=float(environ.get("PAUSE", 60))) from error


# --- the web application --------------------------------------------------------------------------------


def overview(request: Request) -> Response:
    client = lumin(request)
    connected = grants.find(str(client.subject))
    body = FORM if connected else CONNECT
    return HTMLResponse(
        PAGE.replace("$title", "Tonight").replace("$body", f"<p>{escape(client.claims['name'])}</p>{body}")
    )


async def order(request: Request) -> Response:
    title = str((await request.form()).get("title"))
    send.schedule((lumin(request).subject, title), delay=float(environ.get("DELAY", 6 * 3600)))
    return RedirectResponse("/", 303)


async def sorry(request: Request, error: Exception) -> Response:
    return HTMLResponse(PAGE.replace("$title", "Not now").replace("$body", escape(str(error))), 503)


routes = [Route("/", overview), Route("/send", order, methods=["POST"])]
app = Starlette(routes=routes, exception_handlers={ServerUnavailable: sorry})
app.add_middleware(LuminMiddleware, config=replace(config, after_logout="/auth/logout"))
