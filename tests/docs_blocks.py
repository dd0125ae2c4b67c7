"""The blocks of code in the documentation: `python -m tests.docs_blocks docs/start.md` runs a page's Python, in order.

The settings are those of a site that talks to nobody. Whatever a block calls `app` or `application` is asked for a
page as a browser does, and must answer with a sign-in.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import tempfile
import types
from contextlib import chdir
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient

from lumin_middleware.wsgi import LuminMiddleware

ENVIRONMENT = {
    "LUMIN_CLIENT_ID": "client",
    "LUMIN_CLIENT_SECRET": "secret-of-the-client",
    "LUMIN_REDIRECT_URI": "https://app.example.com/auth/callback",
    "LUMIN_STORE": "memory://",
}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language, in their order."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """What a reader types: the lines of `console` blocks that begin with a prompt."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ").partition("  #")[0].strip() for line in lines if line.startswith("$ ")]


def run(page: Path) -> None:
    """Runs a page's Python blocks in one namespace, and asks each application that they make for a page."""
    sys.modules["page"] = module = types.ModuleType("page")
    names = module.__dict__
    for number, block in enumerate(blocks(page, "python"), 1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
        if "MIDDLEWARE" in names and "DJANGO_SETTINGS_MODULE" not in os.environ:
            settings = {name: value for name, value in names.items() if name.isupper()}
            sys.modules["settings_of_the_page"] = found = types.ModuleType("settings_of_the_page")
            found.__dict__.update(settings, SECRET_KEY="x", ROOT_URLCONF="settings_of_the_page", urlpatterns=[])
            os.environ["DJANGO_SETTINGS_MODULE"] = "settings_of_the_page"
        for name in ("app", "application"):
            if name in names:
                status = ask(names.pop(name))
                assert status == 303, f"{page}, block {number}: {name} answers {status}"


def ask(app: Any) -> int:
    """The status that somebody who is not signed in gets for `/`."""
    headers = {"accept": "text/html"}
    wsgi = getattr(app, "wsgi_app", app)
    if isinstance(wsgi, LuminMiddleware):
        with httpx2.Client(transport=httpx2.WSGITransport(wsgi), base_url="https://app.example.com") as client:
            return client.get("/", headers=headers).status_code
    with TestClient(app, base_url="https://app.example.com", follow_redirects=False) as client:
        return client.get("/", headers=headers).status_code


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT, LUMIN_SECRET_KEY=secrets.token_urlsafe(32))
    page = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("dist").mkdir()  # which a page serves
        run(page)
