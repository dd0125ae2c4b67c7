"""Vite's dev server behind the gateway, in a real browser: page, assets, and modules replaced while it is open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests import browser_rig as rig
from tests.foreign.node import install
from tests.proxies.rig import LOOPBACK, Front, Program, free_port, front, gateway

HERE = Path(__file__).parent / "vite"


@pytest.fixture
def sources(tmp_path) -> Path:
    """A copy that may be edited."""
    shutil.copytree(HERE, tmp_path / "site", ignore=shutil.ignore_patterns("node_modules"))
    return tmp_path / "site"


@pytest.fixture
def vite(sources, tmp_path) -> Iterator[str]:
    port = free_port()
    command = [install(HERE), str(HERE / "node_modules" / "vite" / "bin" / "vite.js")]
    options = ["--host", LOOPBACK, "--port", str(port), "--strictPort"]
    with Program([*command, str(sources), *options], tmp_path / "vite.log", cwd=sources) as program:
        program.until_it_listens(port)
        yield f"http://{LOOPBACK}:{port}"


@pytest.fixture
def site(vite, tmp_path) -> Iterator[Front]:
    with front() as site, gateway(site, vite, tmp_path / "gateway.log"):
        yield site


@pytest.fixture
def browser() -> Iterator[Browser]:
    with rig.browser() as running:
        yield running


def test_a_person_signs_in_and_sees_each_change_of_the_sources_at_once(site, sources, browser):
    context = browser.new_context(base_url=site.origin)
    watch = rig.Watch(context)
    page = context.new_page()
    sockets = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto("/")
    page.get_by_role("button", name="Mira Halden").click()
    with page.expect_console_message(lambda message: message.text == "[vite] connected."):
        page.get_by_role("button", name="Allow").click()
    heading, kept = page.get_by_role("heading"), page.locator("#kept")
    expect(heading).to_have_text("before")
    expect(heading).to_have_css("color", "rgb(1, 2, 3)")
    before = kept.text_content()
    (sources / "src" / "words.js").write_text('export const words = "after";\n')
    expect(heading).to_have_text("after")
    (sources / "src" / "style.css").write_text("h1 { color: rgb(4, 5, 6); }\n")
    expect(heading).to_have_css("color", "rgb(4, 5, 6)")
    assert kept.text_content() == before, "nothing was loaded anew"
    assert [url.startswith(f"ws://{LOOPBACK}:{site.port}/") for url in sockets] == [True], "and all by the gateway"
    context.close()
    assert watch.faults() == []


def test_nobody_reads_a_source_without_a_sign_in(site):
    with site.browser() as stranger:
        for path in ("/src/main.js", "/@vite/client", "/index.html", "/@fs/etc/passwd"):
            assert stranger.fetch("GET", path).status_code == 401
