"""Imports point down, and nothing that decides touches sockets, threads, loops or the clock."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lumin_middleware

PACKAGE = Path(lumin_middleware.__file__).parent

CORE = (
    "errors",
    "model",
    "ports",
    "checks",
    "config",
    "sealing",
    "cookies",
    "access",
    "oauth",
    "identity",
    "metadata",
    "records",
    "sessions",
    "logins",
    "index",
    "breaker",
    "token_endpoint",
    "renewal",
    "pages",
    "answers",
    "account",
    "verify",
    "browser",
    "forwarding",
    "api_proxy",
    "sign_in",
    "relying_party",
)
"""What decides, bottom to top: each imports from those before it only."""

EDGE = {
    *("trampoline", "exchange", "client", "event_loop", "threads", "passage", "api_calls", "access_log", "gateway"),
    *("asgi", "wsgi", "lookup", "django", "testing", "store_contract", "snippets", "snippet_texts", "cli"),
    *("stores", "emulator", "__init__", "__main__"),
}
"""What does."""

FORBIDDEN = {
    *("asyncio", "anyio", "threading", "concurrent", "multiprocessing", "subprocess", "signal", "contextvars"),
    *("socket", "ssl", "select", "selectors", "http", "urllib.request", "httpx", "httpx2", "starlette"),
    *("time", "datetime", "random", "secrets", "uuid", "os"),
}

ONE_NAME = {"sealing": {"os.urandom"}, "config": {"os.environ"}}
"""The exceptions: a nonce nobody may choose, and settings that stand in the environment."""

FOREIGN = {
    "sealing": {"cryptography", "itsdangerous"},
    "oauth": {"authlib"},
    "identity": {"joserfc"},
}
"""Whose code the core rests on, beside the standard library's."""


def room(name: str) -> Path:
    """The file of a module of the core, or of a package of it."""
    module = PACKAGE / f"{name}.py"
    return module if module.exists() else PACKAGE / name / "__init__.py"


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """What a module imports, wherever in it: the dotted name, and how many dots stand before it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.level
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.name, node.level) for alias in node.names)


def ours(path: Path) -> set[str]:
    """The modules of the package itself that are imported, by their names below it."""
    depth = len(path.relative_to(PACKAGE).parts)
    found = {name for name, level in imports(path) if level == depth}
    return found | {
        name.partition(".")[2] for name, level in imports(path) if not level and is_of(name, "lumin_middleware")
    }


def foreign(path: Path) -> set[str]:
    return {name for name, level in imports(path) if not level and not is_of(name, "lumin_middleware")}


def is_of(name: str, top: str) -> bool:
    return name == top or name.startswith(f"{top}.")


def everything() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_module_has_a_place():
    modules = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    }
    assert modules - EDGE == set(CORE)


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_downwards_only(name):
    below = set(CORE[: CORE.index(name)])
    assert ours(room(name)) <= below


@pytest.mark.parametrize("name", CORE)
def test_the_core_touches_nothing_that_does(name):
    path = room(name)
    touched = {found for found in foreign(path) if any(is_of(found, forbidden) for forbidden in FORBIDDEN)}
    assert touched <= {found.partition(".")[0] for found in ONE_NAME.get(name, ())}
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert used == ONE_NAME.get(name, set())


@pytest.mark.parametrize("name", CORE)
def test_the_core_rests_on_few(name):
    outside = {found.partition(".")[0] for found in foreign(room(name))} - set(sys.stdlib_module_names)
    assert outside == FOREIGN.get(name, set())


@pytest.mark.parametrize("name", CORE)
def test_the_core_opens_no_file_and_starts_nothing(name):
    called = {
        node.func.id
        for node in ast.walk(tree(room(name)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"open", "print", "input", "exec", "eval", "compile", "__import__"}


def test_the_emulator_knows_nothing_of_ours_but_the_errors():
    for path in sorted((PACKAGE / "emulator").rglob("*.py")):
        assert ours(path) <= {"errors"}, path.name


def test_a_store_knows_nothing_of_ours_but_the_errors_and_what_is_asked_of_it():
    for path in sorted((PACKAGE / "stores").rglob("*.py")):
        assert ours(path) <= {"errors", "ports"}, path.name


@pytest.mark.parametrize(
    ("module", "where"), [("typer", {"cli.py"}), ("redis", {"redis.py"}), ("django", {"django.py"})]
)
def test_what_is_optional_is_imported_in_one_place(module, where):
    found = {path.name for path in everything() if any(is_of(name, module) for name in foreign(path))}
    assert found <= where


def test_nothing_imports_the_other_httpx():
    for path in everything():
        assert "httpx" not in {name.partition(".")[0] for name in foreign(path)}, path


def loaded(code: str, path: Path) -> set[str]:
    """The modules that are there after some code, in a process of its own that also finds those at `path`."""
    script = f"import sys; sys.path.insert(0, {str(path)!r})\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_httpx_1_nor_what_is_optional(tmp_path):
    for name in ("httpx", "typer", "redis", "uvicorn", "django"):
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    found = loaded("import lumin_middleware", tmp_path)
    assert "httpx2" in found
    assert "lumin_middleware.relying_party" in found
    assert not {"httpx", "typer", "redis", "uvicorn", "django", "pytest"} & found
    assert not {name for name in found if is_of(name, "lumin_middleware.emulator")}
    assert "httpx" in loaded("import httpx", tmp_path)


def test_each_module_says_first_what_it_is():
    for path in everything():
        assert ast.get_docstring(tree(path)), path


def test_a_path_through_an_alias_is_seen(tmp_path):
    """The check itself: every way to write an import is one."""
    module = tmp_path / "x.py"
    module.write_text(
        "import a.b as c\nfrom d import e\nfrom . import f\nfrom ..g import h\ndef i():\n    import j\n",
        encoding="utf-8",
    )
    assert set(imports(module)) == {("a.b", 0), ("d", 0), ("f", 1), ("g", 2), ("j", 0)}
