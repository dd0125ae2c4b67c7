"""The texts that stand below the fields of a class: Python keeps none of them, and `help()` is to show them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise


def field_texts(owner: type) -> dict[str, str]:
    """Each field that has a text, in their order. Empty where the source is not there."""
    try:
        (found,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    except OSError:
        return {}
    assert isinstance(found, ast.ClassDef)
    return {
        statement.target.id: inspect.cleandoc(str(text.value.value))
        for statement, text in pairwise(found.body)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


class WithFields:
    """A class's `__doc__` that goes on with the texts of its fields. The source is read when somebody asks."""

    def __init__(self, text: str | None) -> None:
        self._text = inspect.cleandoc(text or "")

    def __get__(self, instance: object, owner: type) -> str:
        sections = (f"{name}:\n{textwrap.indent(text, '    ')}" for name, text in field_texts(owner).items())
        return "\n\n".join((self._text, *sections))
