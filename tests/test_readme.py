"""The README says what is so: its code runs, and what it names is there."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from starlette.testclient import TestClient

from lumin_middleware.config import LUMIN
from tests.docs_blocks import blocks

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def test_the_application_of_the_readme_asks_for_a_sign_in(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", secrets.token_urlsafe(32))
    found: dict[str, object] = {}
    (block,) = blocks(README, "python")
    exec(compile(block, "README.md", "exec"), found)
    with TestClient(found["app"], base_url="https://app.example.com", follow_redirects=False) as client:
        answer = client.get("/", headers={"accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(LUMIN.authorization_endpoint)


def test_the_files_that_it_names_are_there():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text("utf-8")):
        assert (ROOT / link).exists(), link


def test_the_two_commands_are_targets_of_the_makefile():
    for target in re.findall(r"^\$ make (\w+)", README.read_text("utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
