"""The README says what is so: its code runs, and what it names is there."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from lumin_middleware.config import LUMIN
from lumin_middleware.errors import ConfigurationError
from tests.docs_blocks import ENVIRONMENT, blocks

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


@pytest.fixture
def unset(monkeypatch):
    for name in [name for name in os.environ if name.startswith("LUMIN_")]:
        monkeypatch.delenv(name)


def application() -> Any:
    found: dict[str, Any] = {}
    (block,) = blocks(README, "python")
    exec(compile(block, "README.md", "exec"), found)
    return found["app"]


def test_the_application_of_the_readme_asks_for_a_sign_in(monkeypatch, unset):
    for name, value in {**ENVIRONMENT, "LUMIN_SECRET_KEY": secrets.token_urlsafe(32)}.items():
        monkeypatch.setenv(name, value)
    with TestClient(application(), base_url="https://app.example.com", follow_redirects=False) as client:
        answer = client.get("/", headers={"accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(LUMIN.authorization_endpoint)


@pytest.mark.usefixtures("unset")
def test_what_the_application_of_the_readme_lacks_is_named_with_its_cure():
    with pytest.raises(ConfigurationError) as raised:
        application()
    assert {f"LUMIN_{name}" for name in ("CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URI", "SECRET_KEY")} <= set(
        re.findall("[A-Z_]+", str(raised.value))
    )


def test_the_files_that_it_names_are_there():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text("utf-8")):
        assert (ROOT / link).exists(), link


def test_the_two_commands_are_targets_of_the_makefile():
    for target in re.findall(r"^\$ make (\w+)", README.read_text("utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
