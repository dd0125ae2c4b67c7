"""Imports point down, and nothing that decides touches sockets, threads, loops or the clock."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lumin_middleware
from tests.patience import PATIENCE

PACKAGE = Path(lumin_middleware.__file__).parent

CORE = (
    "errors",
    "reasons",
    "journal",
    "events",
    "model",
    "ports",
    "look",
    *(f"texts.{language}" for language in ("en", "de", "es", "fr", "ja", "vi")),
    "texts",
    "checks",
    "field_texts",
    "authorization_server",
    "secret_keys",
    "requirements",
    "environment",
    "config",
    "protocol.documents",
    "protocol.oauth",
    "protocol.claims",
    "protocol.signatures",
    "protocol.identity",
    "protocol.span",
    "protocol.kept",
    "protocol.metadata",
    "protocol.breaker",
    "protocol.patience",
    "protocol.client_secret",
    "protocol.token_endpoint",
    "sessions.sealing",
    "sessions.cookies",
    "sessions.memo",
    "sessions.due",
    "sessions.limits",
    "sessions.records",
    "sessions.opened",
    "sessions.opening",
    "sessions.sessions",
    "sessions.kinds",
    "sessions.tries",
    "sessions.past",
    "sessions.logins",
    "sessions.marks",
    "sessions.forms",
    "sessions.index",
    "sessions.ended",
    "sessions.lease",
    "sessions.latest",
    "sessions.pauses",
    "sessions.saving",
    "sessions.renewal",
    "sessions.ending",
    "sessions.grants",
    "site.readings",
    "site.patterns",
    "site.access",
    "site.pages",
    "site.sent",
    "site.places",
    "site.answers",
    "site.admission",
    "site.parts",
    "site.back_channel",
    "site.login",
    "site.account",
    "site.holding",
    "site.people",
    "site.proxies",
    "site.verify",
    "site.browser",
    "site.api_proxy",
    "site.set_up",
    "site.sign_in",
    "site.sign_in_pages",
    "site.kept_form",
    "site.arrival",
    "site.callback",
    "site.connect",
    "site.visit",
    "site.at_once",
    "site.relying_party",
)
"""What decides, bottom to top: a wing may import the wings before it, a file the files before it."""

EDGE = (
    *("stores.django.apps", "stores.django.models", "stores.django.store"),
    "stores.django.migrations.0001_initial",
    "stores.django.management.commands.lumin_clean_up",
    "stores.hosts",
    *("stores.wal_index", "stores.private", "stores.sqlite_file", "stores.sqlite", "stores.memory", "stores.dynamodb"),
    *(
        "stores.pulse",
        "stores.turns",
        "stores.postgres_connections",
        "stores.postgres_statements",
        "stores.postgres",
        "stores.redis_clients",
        "stores.redis",
    ),
    *("stores.local", "stores.url", "stores.named", "stores", "stores.contract"),
    *("connections", "api_paths", "authorization", "client"),
    *(
        "runtime.off_loop",
        "runtime.listeners",
        "runtime.surroundings",
        "runtime.telemetry",
        "runtime.bounded",
        "runtime.exchange",
        "runtime.event_loop",
        "runtime.loops",
        "runtime.threads",
        "runtime.answering",
        "runtime.startup",
        "runtime.bodies",
        "runtime.orders",
        "runtime.scopes",
        "runtime.user",
        "runtime.watch",
        "runtime.line",
        "runtime.passage",
        "runtime.wsgi_passage",
        "runtime.api_calls",
    ),
    "lookup",
    "grants",
    *("asgi", "wsgi", "django"),
    *(
        "gateway.forwarding",
        "gateway.access_log",
        "gateway.incoming",
        "gateway.relay",
        "gateway.messages",
        "gateway.reading",
        "gateway.http1",
        "gateway.upstream",
        "gateway.answers",
        "gateway.gateway",
        "gateway.snippet_texts",
        "gateway.nginx_cache",
        "gateway.snippets",
        "gateway.plan",
        "gateway.caddy_engine",
        "gateway.engines",
    ),
    *("nowhere", "explanation"),
    *("doctor.findings", "doctor.settings", "doctor.network", "doctor.metadata", "doctor.client"),
    *("doctor.traces", "doctor.stores"),
    *("doctor.outside", "doctor.django_checks", "doctor.application", "doctor.examination"),
    "emulator",
    *("testing.inside", "testing.fake", "testing.django_client", "testing.clients", "testing"),
    *(
        "cli.stdout",
        "cli.lines",
        "cli.terminal",
        "cli.own_store",
        "cli.secret",
        "cli.emulator",
        "cli.demo",
        "cli.uvicorn_server",
        "cli.worker",
    ),
    *(
        "cli.workers",
        "cli.engine",
        "cli.proxy",
        "cli.snippets",
        "cli.explain",
        "cli.doctor",
        "cli.store",
        "cli.grants",
        "cli.sessions",
        "cli",
    ),
    *("", "__main__"),
)
"""What does, in the same order; `emulator` is a whole of its own, and the empty name is the package itself."""

ORDER = CORE + EDGE

FORBIDDEN = {
    *("asyncio", "anyio", "threading", "concurrent", "multiprocessing", "subprocess", "signal", "contextvars"),
    *("socket", "ssl", "select", "selectors", "http", "urllib.request", "httpx", "httpx2", "starlette"),
    *("time", "datetime", "random", "secrets", "uuid", "os"),
}

ONE_NAME = {"sessions.sealing": {"os.urandom"}, "environment": {"os.environ"}}
"""The exceptions: a nonce nobody may choose, and settings that stand in the environment."""

OPTIONAL = [
    *(
        ("typer", ["cli"]),
        ("redis", ["stores.redis_clients"]),
        ("django", ["django", "stores.django", "cli.store", "doctor.django_checks", "testing.django_client"]),
    ),
    ("psycopg", ["stores.postgres", "stores.postgres_connections"]),
    ("psycopg_pool", ["stores.postgres", "stores.postgres_connections"]),
]
"""What an extra or the application brings, and where alone it is used."""

FOREIGN = {
    "sessions.sealing": {"cryptography", "itsdangerous"},
    "protocol.oauth": {"authlib"},
    "protocol.signatures": {"joserfc"},
}
"""Whose code the core rests on, beside the standard library's."""


def room(name: str) -> Path:
    """The file of a module, or of a package."""
    path = PACKAGE.joinpath(*name.split("."))
    module = path.with_suffix(".py")
    return module if name and module.exists() else path / "__init__.py"


def name_of(path: Path) -> str:
    """The dotted name of a file, below the package's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """What a module imports, wherever in it: the dotted name, what of it, and how many dots stand before it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, (), 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", tuple(alias.name for alias in node.names), node.level


def ours(path: Path) -> set[str]:
    """The modules of the package itself that are imported, by their names below it."""
    package = path.relative_to(PACKAGE).parts[:-1]
    found = set()
    for name, names, level in imports(path):
        if level:
            base = ".".join([*package[: len(package) - level + 1], *filter(None, [name])])
        elif is_of(name, "lumin_middleware"):
            base = name.partition(".")[2]
        else:
            continue
        modules = {f"{base}.{each}".strip(".") for each in names}
        inner = {module for module in modules if room(module).exists()}
        found |= inner or {base}
    return found


def foreign(path: Path) -> set[str]:
    return {name for name, _, level in imports(path) if not level and not is_of(name, "lumin_middleware")}


def is_of(name: str, top: str) -> bool:
    return name == top or name.startswith(f"{top}.")


def everything() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def is_wing(path: Path) -> bool:
    """A wing's `__init__` says what the wing is for, and is no room itself."""
    return path.name == "__init__.py" and not any(tree(path).body[1:])


def test_every_module_has_a_place():
    modules = {name_of(path) for path in everything() if not is_wing(path)}
    assert {name for name in modules if not is_of(name, "emulator") or name == "emulator"} == set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


def test_a_wing_is_not_left_and_entered_again():
    wings = [name.rpartition(".")[0] for name in ORDER if "." in name]
    assert len(set(wings)) == sum(1 for before, wing in zip(["", *wings], wings, strict=False) if wing != before)


@pytest.mark.parametrize("wing", sorted({name.partition(".")[0] for name in ORDER if "." in name}))
def test_a_wing_says_which_question_it_answers(wing):
    question = (ast.get_docstring(tree(PACKAGE / wing / "__init__.py")) or "").partition("\n")[0]
    assert question.endswith("?")


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_down(name):
    below = set(ORDER[: ORDER.index(name)])
    found = {"emulator" if is_of(each, "emulator") else each for each in ours(room(name))} - {name}
    assert found <= below


@pytest.mark.parametrize("name", CORE)
def test_the_core_touches_nothing_that_does(name):
    path = room(name)
    touched = {found for found in foreign(path) if any(is_of(found, forbidden) for forbidden in FORBIDDEN)}
    assert touched <= {each.partition(".")[0] for each in ONE_NAME.get(name, ())}
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


def test_the_emulator_knows_nothing_of_ours_but_the_errors_and_the_look():
    """It plays somebody else, so that it shares no word of the protocol with us; how pages look is not of that."""
    for path in sorted((PACKAGE / "emulator").rglob("*.py")):
        inner = {name for name in ours(path) if is_of(name, "emulator")}
        assert ours(path) - inner <= {"errors", "look"}, path.name


def test_a_store_knows_nothing_of_ours_but_the_errors_the_log_and_what_is_asked_of_it():
    for path in sorted((PACKAGE / "stores").rglob("*.py")):
        inner = {name for name in ours(path) if is_of(name, "stores")}
        assert ours(path) - inner <= {"errors", "journal", "ports"}, path.name


@pytest.mark.parametrize(("module", "where"), OPTIONAL)
def test_what_is_optional_is_imported_in_one_place(module, where):
    found = {name_of(path) for path in everything() if any(is_of(name, module) for name in foreign(path))}
    assert found
    assert all(any(is_of(name, place) for place in where) for name in found)


def test_nothing_imports_the_other_httpx():
    for path in everything():
        assert "httpx" not in {name.partition(".")[0] for name in foreign(path)}, path


def loaded(code: str, path: Path) -> set[str]:
    """The modules that are there after some code, in a process of its own that also finds those at `path`."""
    script = f"import sys; sys.path.insert(0, {str(path)!r})\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE)
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_httpx_1_nor_what_is_optional(tmp_path):
    for name in ("httpx", "typer", "redis", "psycopg", "uvicorn", "django"):
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    found = loaded("from lumin_middleware import *", tmp_path)
    assert "httpx2" in found
    assert "lumin_middleware.site.relying_party" in found
    assert not {"httpx", "typer", "redis", "psycopg", "uvicorn", "django", "pytest"} & found
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
    assert set(imports(module)) == {
        *(("a.b", (), 0), ("d", ("e",), 0), ("", ("f",), 1), ("g", ("h",), 2), ("j", (), 0)),
    }
