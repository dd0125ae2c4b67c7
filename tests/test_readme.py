"""The README says what is so: its code runs, its table has every setting."""

from __future__ import annotations

import dataclasses
import re
import secrets
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from lumin_middleware import LuminConfig
from lumin_middleware.config import LUMIN
from lumin_middleware.environment import ENVIRONMENT

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture
def names(monkeypatch):
    """What the README's blocks define, run in their order, with secrets in the environment."""
    for name in ("LUMIN_CLIENT_SECRET", "LUMIN_SECRET_KEY"):
        monkeypatch.setenv(name, secrets.token_urlsafe(32))
    found: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(block, "README.md", "exec"), found)
    return found


@pytest.mark.parametrize("name", ["app", "api"])
def test_the_applications_of_the_readme_ask_for_a_sign_in(names, name):
    with TestClient(names[name], base_url="https://app.example.com", follow_redirects=False) as client:
        answer = client.get("/", headers={"accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(LUMIN.authorization_endpoint)


def test_so_does_the_wsgi_application(names):
    transport = httpx2.WSGITransport(names["application"])
    with httpx2.Client(transport=transport, base_url="https://app.example.com") as client:
        assert client.get("/", headers={"accept": "text/html"}).status_code == 303
    names["application"].close()


def test_the_test_of_the_readme_passes(names, lumin_config, signed_in):
    names["test_home"](lumin_config, signed_in)


def _rows():
    table = README.partition("<!-- settings")[2].partition("\n\n")[0]
    for line in table.splitlines()[3:]:
        settings, variables, default, _ = (cell.strip() for cell in line.strip("|").split("|", 3))
        for setting in re.findall(r"`(\w+)`", settings):
            yield setting, re.findall(r"`(\w+)`", variables), default


def test_the_table_has_every_setting_with_its_variable():
    expected = [field.name for field in dataclasses.fields(LuminConfig)]
    assert [setting for setting, _, _ in _rows()] == expected
    by_setting = {setting: [name] for name, (setting, _) in ENVIRONMENT.items()}
    for setting, variables, _ in _rows():
        assert variables == by_setting.get(setting, []), setting


def test_the_table_has_the_defaults():
    for field in dataclasses.fields(LuminConfig):
        default = next(default for setting, _, default in _rows() if setting == field.name)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            assert default == "required", field.name
        elif isinstance(field.default, str | int | float) and not isinstance(field.default, bool):
            assert default.strip("`") == str(field.default), field.name
        elif field.default in (False, None, ()):
            assert default in ("false", "none"), field.name


def test_the_files_that_it_names_are_there():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
