"""A limit that a busy machine reaches fails tests that are about something else."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import lumin_middleware
from tests.limits import LIMITS
from tests.patience import PATIENCE

PACKAGE = Path(lumin_middleware.__file__).parent


def holders(name: str) -> list[str]:
    """The modules that have a limit of that name, their own or imported."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        if name in text and name in bound(ast.parse(text)):
            found.append(".".join(("lumin_middleware", *path.relative_to(PACKAGE).with_suffix("").parts)))
    return found


def bound(tree: ast.Module) -> set[str]:
    names = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    return names | {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


def test_no_limit_that_no_setting_changes_strikes_in_the_tests():
    for name in LIMITS:
        assert holders(name)
        for module in holders(name):
            assert getattr(importlib.import_module(module), name) == PATIENCE, module
