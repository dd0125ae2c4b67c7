"""The documentation says what is so: its code runs, its commands are there, its links lead somewhere."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from lumin_middleware import LuminMiddleware, lumin
from lumin_middleware.gateway.snippets import snippet
from tests import spawning
from tests.browser_rig import environment
from tests.docs_blocks import blocks, commands
from tests.fakes import config
from tests.patience import PATIENCE
from tests.proxies.rig import free_port
from tests.visitor import sign_in

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
PROGRAMS = Path(sys.executable).parent

ENDS_BY_ITSELF = ("secret", "snippets")
"""The commands of ours that print something and end; the others serve, and are asked for their help."""

ELSEWHERE = {
    "pip": "the package is installed from this folder here",
    "make": "a target of the Makefile, which has to have it",
    "python3 -m venv": "the tests have an environment",
    ". .venv/bin/activate": "the tests have an environment",
    "python manage.py": "a Django site has it; the store's own tests call these commands",
    "flask": "it serves an application of the reader's",
    "uvicorn": "the start page is followed to its end by a test of its own",
}


def ids(pages):
    return [page.stem for page in pages]


UNDER_PYTEST = "testing.md"
"""The page whose blocks are tests; `test_testing` runs them."""


@pytest.mark.parametrize(
    "page", pages := [page for page in PAGES if blocks(page, "python") and page.name != UNDER_PYTEST], ids=ids(pages)
)
def test_the_python_of_a_page_runs(page):
    done = spawning.run([sys.executable, "-m", "tests.docs_blocks", page], cwd=ROOT, env=environment())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", pages := [page for page in PAGES if commands(page)], ids=ids(pages))
def test_the_commands_of_a_page_are_there(page, tmp_path, lumin_environment):
    for command in commands(page):
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), command
        elif not command.startswith(tuple(ELSEWHERE)):
            if words[0] == "lumin-middleware" and words[1] not in ENDS_BY_ITSELF:
                words.append("--help")
            if words[0] == "lumin-middleware":
                done = spawning.run([PROGRAMS / words[0], *words[1:]], cwd=tmp_path)
            else:
                path = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
                done = subprocess.run(
                    words, cwd=tmp_path, env=path, capture_output=True, text=True, timeout=PATIENCE, check=False
                )
            assert done.returncode == 0, f"{command}: {done.stderr}"


def test_every_page_has_its_place_in_the_navigation():
    settings = tomllib.loads((DOCS / "zensical.toml").read_text("utf-8"))
    named = [page for part in settings["project"]["nav"] for pages in part.values() for page in pages]
    assert sorted(named) == [page.name for page in PAGES]


def test_the_site_builds_without_a_warning(tmp_path):
    copy = tmp_path / "docs"
    subprocess.run(["cp", "-r", DOCS, copy], check=True)
    done = subprocess.run(
        [PROGRAMS / "zensical", "build", "--strict", "--config-file", copy / "zensical.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    site = copy / ".site"
    reference = (site / "api" / "index.html").read_text("utf-8")
    for name in ("AsyncLuminClient.challenge", "wsgi.LuminMiddleware", "django.UserMiddleware", "testing.signed_in"):
        assert f'id="lumin_middleware.{name}"' in reference
    assert not list(site.rglob("*.toml"))
    assert 'data-md-component="source"' not in (site / "index.html").read_text("utf-8"), "it asks api.github.com"
    assert (site / "site.css").exists()


def test_the_site_s_links_into_the_repository_are_those_that_it_has():
    """What lies above `docs` is not on the site, where --strict lets it pass."""
    for page in PAGES:
        assert not re.findall(r"\]\(\.\./", page.read_text("utf-8")), page.name


def test_the_start_page_s_application_says_that_lumin_is_away(
    lumin_environment, lumin_emulator, signed_in, monkeypatch
):
    monkeypatch.setattr("logging.Logger.setLevel", lambda *_: None)  # which is every test's
    names = {}
    (application,) = blocks(DOCS / "start.md", "python")
    exec(compile(application, "app.py", "exec"), names)
    client = signed_in(names["app"])
    for trouble in ({"status": 500}, {"drop": "before"}):
        lumin_emulator.faults.add("/v1/user/info", times=None, **trouble)
        answer = client.get("/")
        assert (answer.status_code, answer.text) == (503, "Lumin does not answer. Please try again in a moment.")
        lumin_emulator.faults.clear()


def test_the_frameworks_page_s_flask_logs_no_error_of_ours(lumin_config, caplog):
    page = next(block for block in blocks(DOCS / "frameworks.md", "python") if "Flask(__name__)" in block)
    names = {"__name__": "shop", "config": replace(lumin_config, optional=["/"])}
    exec(page.replace("LuminMiddleware(app.wsgi_app)", "LuminMiddleware(app.wsgi_app, config)"), names)
    answer = names["app"].test_client().get("/", headers={"accept": "text/html"})
    assert answer.status_code == 303
    assert not [record for record in caplog.records if record.name == names["app"].logger.name]


def names_of(page: str, word: str = "") -> dict:
    """What the Python of a page defines, or of those of its blocks that hold a word."""
    names: dict = {"__name__": "page"}
    for block in blocks(DOCS / page, "python"):
        if word in block:
            exec(compile(block, page, "exec"), names)
    return names


def said(handler: Callable) -> Callable:
    """A view of a function that gives something JSON can say."""

    async def view(request):
        return JSONResponse(await handler(request))

    return view


def calls(names: dict, api_url: str) -> Starlette:
    """An application of the functions of the page about the client."""

    async def sent(request):
        return await names["send"](lumin(request), "Lease", "https://example.com/lease.pdf")

    async def uploaded(request):
        return await names["upload"](lumin(request), "lease.pdf", io.BytesIO(PDF))

    async def status(request):
        return await names["status"](lumin(request), request.path_params["id"])

    async def by_another_library(request):
        headers = await names["header"](lumin(request))
        async with httpx2.AsyncClient() as client:
            return (await client.get(f"{api_url}/user/info", headers=headers)).json()["user"]

    def in_a_thread(request):
        return JSONResponse(names["who"](request))

    return Starlette(
        routes=[
            Route("/", in_a_thread),
            *(Route(f"/{each.__name__}", said(each)) for each in (sent, uploaded, by_another_library)),
            *(Route(f"/{name}", said(names[name])) for name in ("mine", "templates")),
            Route("/status/{id}", said(status)),
            Route("/download/{id}", names["download"]),
            Route("/order/{id}", names["order"]),
            Route("/pay", names["pay"]),
        ],
        exception_handlers={httpx2.HTTPStatusError: as_the_api_says},
    )


def as_the_api_says(request, error):
    return JSONResponse({}, error.response.status_code)


PDF = b"%PDF-1.4 of ours"


def test_the_page_about_the_client_does_what_it_says(lumin_config, lumin_emulator, signed_in):
    known = lumin_emulator.clients[lumin_config.client_id]
    lumin_emulator.clients[known.client_id] = replace(known, scope=f"{known.scope} pdf:files")
    config = replace(lumin_config, scope="openid offline_access sign:requests pdf:files")
    client = signed_in(LuminMiddleware(calls(names_of("calling-lumin.md"), config.api_url), config))

    made = client.get("/sent").json()
    assert [each["signature_request_id"] for each in client.get("/mine").json()] == [made]
    assert client.get(f"/status/{made}").json() == "NEED_TO_SIGN"
    assert client.get(f"/download/{made}").content.startswith(b"%PDF")
    assert client.get("/download/of-nobody").status_code == 404
    assert client.get(f"/order/{made}").status_code == 202
    assert client.get(f"/status/{made}").json() == "CANCELLED"
    assert lumin_emulator.documents[client.get("/uploaded").json()]["size"] == len(PDF)
    assert client.get("/").json() == client.get("/by_another_library").json()
    for path in ("/templates", "/pay"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["scope"]) == (403, "templates")
        begun = client.get(path, headers=A_PAGE)
        assert begun.status_code == 303
    client.get(lumin_emulator.sign_in(begun.headers["location"]), headers=A_PAGE)
    assert client.get("/templates").json()
    assert client.get("/pay").text == "Paid."


A_PAGE = {"accept": "text/html"}


def test_the_testing_page_s_function_without_a_server_reads_what_lumin_answers(lumin_config, lumin_emulator, signed_in):
    titles = names_of("testing.md", "async def open_requests")["open_requests"]
    sent = names_of("calling-lumin.md")["send"]

    async def view(request):
        await sent(lumin(request), "Lease", "https://example.com/lease.pdf")
        return JSONResponse(await titles(lumin(request)))

    client = signed_in(LuminMiddleware(Starlette(routes=[Route("/", view)]), lumin_config))
    assert client.get("/").json() == ["Lease"]


def test_the_background_page_s_handler_asks_once(lumin_environment, lumin_emulator, signed_in, monkeypatch, tmp_path):
    monkeypatch.setenv("LUMIN_STORE", f"sqlite:///{tmp_path}/grants.sqlite3")
    names = names_of("background.md", "challenge(offline=True")
    client = signed_in(LuminMiddleware(Starlette(routes=[Route("/", names["reminders"])])))
    begun = client.get("/", headers=A_PAGE)
    back = client.get(lumin_emulator.sign_in(begun.headers["location"]), headers=A_PAGE)
    assert back.headers["location"] == "/"
    assert client.get("/", headers=A_PAGE).text == "Your signers are reminded while you are away."
    assert [each["name"] for each in client.get("/auth/connections").json()["connections"]] == ["reminders"]


def test_the_frontends_page_s_folder_knows_deep_links(lumin_environment, signed_in, monkeypatch, tmp_path):
    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("the page")
    (tmp_path / "dist" / "assets" / "app.js").write_text("the script")
    monkeypatch.chdir(tmp_path)
    client = signed_in(names_of("frontends.md", "class Folder")["app"], path="/orders/7")
    found = {path: client.get(path) for path in ("/", "/orders/7", "/assets", "/assets/app.js", "/assets/old.js")}
    assert [answer.status_code for answer in found.values()] == [200, 200, 200, 200, 404]
    assert [answer.text for answer in found.values()][:4] == ["the page"] * 3 + ["the script"]
    assert client.get("/../page.py").status_code == 404


def test_the_frontends_page_names_what_nginx_lets_nobody_set():
    text = snippet("nginx", config(), auth="http://127.0.0.1:8001", upstream="http://127.0.0.1:8080")
    own = set(re.findall(r"proxy_set_header X-Auth-Request-(\S+)", text))
    _, _, page = (DOCS / "frontends.md").read_text("utf-8").partition("### What the service is told\n")
    told, dropped = (page.partition("\n### ")[0]).split("**Read no other**")
    set_by_us = set(re.findall(r"^\| `X-Auth-Request-(\S+)`", told, re.MULTILINE))
    emptied = dropped.partition("empty\n")[2].partition(", `X-Forwarded-User`")[0]
    assert own == set_by_us | set(re.findall(r"`(?:X-Auth-Request)?-([\w-]+)`", emptied))
    others = dropped.partition("`X-Forwarded-User`")[2].partition(".")[0]
    names = {"User", *re.findall(r"`-([\w-]+)`", others)}
    assert names <= set(re.findall(r"proxy_set_header X-Forwarded-(\S+)", text))
    assert "X-Auth-Request-Name" not in text


def test_the_frameworks_page_s_mounted_application_signs_in(lumin_environment, lumin_emulator, signed_in, monkeypatch):
    callback = "https://app.example.com/app/auth/callback"
    monkeypatch.setenv("LUMIN_REDIRECT_URI", callback)
    monkeypatch.setenv("LUMIN_PUBLIC", "/free")
    (known,) = lumin_emulator.clients.values()
    lumin_emulator.clients[known.client_id] = replace(known, redirect_uris=(callback,))
    names = names_of("frameworks.md", "from starlette.routing import Route") | {"home": said(free)}
    mounted = next(block for block in blocks(DOCS / "frameworks.md", "python") if "Mount(" in block)
    exec(mounted, names)
    names["inner"].add_route("/free", said(free))
    names["outer"].add_route("/else", said(free))
    with TestClient(names["outer"], base_url="https://app.example.com", follow_redirects=False) as client:
        told = [client.get(path, headers=A_PAGE).status_code for path in ("/else", "/app/free", "/app/x")]
        assert told == [200, 200, 303]
        begun = client.get("/app/x", headers=A_PAGE)
        back = client.get(lumin_emulator.sign_in(begun.headers["location"]), headers=A_PAGE)
        assert back.headers["location"] == "/app/x"
        assert client.get("/app/x").json() == "free"
        assert client.get("/app/auth/session").json()["login_url"] == "/app/auth/login"


async def free(request):
    return "free"


def test_the_list_for_programs_names_every_page():
    listed = re.findall(r"\]\(([^)]+\.md)\)", (DOCS / "llms.txt").read_text("utf-8"))
    assert sorted(listed) == [page.name for page in PAGES]


@contextmanager
def serving(*command: str, cwd: Path, until: str, **variables: str) -> Iterator[str]:
    """A server of the start page, from the line that says that it is there; what it said up to then."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**environment(PYTHONUNBUFFERED="1"), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = ""
        while until not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield said
    finally:
        with process:
            process.kill()


def test_whoever_follows_the_start_page_sees_their_name(tmp_path):
    page = DOCS / "start.md"
    (application,) = blocks(page, "python")
    (tmp_path / "app.py").write_text(application, "utf-8")
    assert "lumin-middleware emulator" in commands(page)
    origin = f"http://127.0.0.1:{free_port()}"
    emulator = ("lumin_middleware", "emulator", "--port", "0", "--redirect-uri", f"{origin}/auth/callback")
    with serving(*emulator, cwd=tmp_path, until="Ctrl-C") as said:
        exported = dict(re.findall(r"^export (\w+)=(.*)$", said, re.MULTILINE))
        assert len(exported) == 6  # as the page says
        uvicorn = ("uvicorn", "app:app", "--port", origin.rpartition(":")[2])
        with (
            serving(*uvicorn, cwd=tmp_path, until="Uvicorn running", **exported),
            httpx2.Client(follow_redirects=True, timeout=PATIENCE) as person,
        ):
            home = sign_in(person, f"{origin}/")
            assert home.text == "Hello, Mira Halden. Lumin says that your address is mira.halden@example.com."
            assert person.get(f"{origin}/").text == home.text
            assert "Sign out" in person.get(f"{origin}/auth/logout", headers={"accept": "text/html"}).text
