"""The examples with nginx and Caddy: what they say is what `snippets` writes, and following them works."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from lumin_middleware import LuminConfig
from lumin_middleware.emulator import DEMO_CLIENT
from lumin_middleware.gateway.snippets import snippet
from tests.browser_rig import ROOT, environment
from tests.proxies.programs import find
from tests.proxies.rig import Program, free_port, front

EXAMPLES = ROOT / "examples"
FILES = {"nginx": EXAMPLES / "nginx" / "lumin.conf", "caddy": EXAMPLES / "caddy" / "Caddyfile"}


@pytest.mark.parametrize("name", FILES)
def test_the_file_holds_what_the_command_writes(name):
    settings = LuminConfig(
        client_id=DEMO_CLIENT.client_id,
        client_secret=DEMO_CLIENT.client_secret,
        redirect_uri="http://127.0.0.1:8000/auth/callback",
        secret_key=bytes(range(0, 256, 7)),
        sessions="store",
        trusted_proxies=["127.0.0.1"],
    )
    written = snippet(name, settings, auth="http://127.0.0.1:8001", upstream="http://127.0.0.1:3000")
    assert FILES[name].read_text("utf-8").endswith(written)


def commands(folder: Path) -> list[list[str]]:
    """The commands that the example's first comment gives, but for the emulator's and the settings."""
    [file] = [path for path in (folder / "nginx.conf", folder / "Caddyfile") if path.exists()]
    lines = [line.strip("# \n") for line in file.read_text("utf-8").splitlines() if line.startswith("#   ")]
    return [line.removesuffix("&").split() for line in lines if re.match(r"(uvicorn|python|nginx|caddy) ", line)]


@pytest.mark.parametrize("name", FILES)
def test_following_it_leads_to_a_sign_in_before_the_files(name, tmp_path):
    with front() as site, ExitStack() as stack:
        ports = {"8000": str(site.port), "8001": str(free_port()), "3000": str(free_port())}
        folder = tmp_path / name
        folder.mkdir()
        for path in (EXAMPLES / name).iterdir():
            if path.is_file():
                text = re.sub("8000|8001|3000", lambda found: ports[found[0]], path.read_text("utf-8"))
                (folder / path.name).write_text(text.replace("/tmp/", f"{folder}/"))
        variables = {**site.variables, "LUMIN_SESSIONS": "store", "LUMIN_TRUSTED_PROXIES": "127.0.0.1"}
        programs = {"python": [sys.executable], "uvicorn": [sys.executable, "-m", "uvicorn"], name: [find(name)]}
        for index, (program, *arguments) in enumerate(commands(folder)):
            arguments = [each.replace(f"examples/{name}/", f"{folder}/") for each in arguments]
            arguments = [each.replace(f"{folder}/site", str(EXAMPLES / name / "site")) for each in arguments]
            log = tmp_path / f"{index}.log"
            env = environment(**variables, XDG_CONFIG_HOME=str(folder), XDG_DATA_HOME=str(folder))
            running = stack.enter_context(Program([*programs[program], *arguments], log, env=env))
            running.until_it_listens(int(ports[["8001", "3000", "8000"][index]]))
        with site.browser() as browser:
            assert browser.fetch("GET", "/index.html").status_code == 401
            page = browser.sign_in("/index.html")
            assert "<h1>Members only</h1>" in page.text
            assert browser.sign_out().status_code == 303
            assert browser.navigate("/index.html").status_code == 303
