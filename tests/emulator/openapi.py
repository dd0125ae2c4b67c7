"""Lumin's own description of its API, where it lies beside the project: every answer in these tests is held to it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import httpx2

FILE = Path(__file__).parents[3] / "shared" / "lumin-openapi.yaml"

NUMBERS = {
    "SignatureRequest": ("created_at", "updated_at", "expires_at"),
    "SignatureRequestSummary": ("created_at",),
}
"""What the description calls strings, and shows as numbers in its own examples."""


@functools.cache
def description() -> dict[str, Any] | None:
    """The description with `NUMBERS` mended, or None where the file is not there."""
    if not FILE.exists():
        return None
    import yaml

    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    for schema, names in NUMBERS.items():
        for name in names:
            found["components"]["schemas"][schema]["properties"][name] = {"type": "integer"}
    return found


def check(method: str, path: str, answer: httpx2.Response) -> None:
    """Hold an answer of the API to the description. Raises `ValidationError`, or `AssertionError`.

    Operations that only Lumin's documents have (`signing-link`, `signing-session`, the list) are not in it.
    """
    if (found := description()) is None or (operation := _operation(found, method, path)) is None:
        return
    from jsonschema import Draft202012Validator

    status = str(answer.status_code)
    responses = operation["responses"]
    response = responses.get(status) or responses.get(f"{status[0]}xx")
    assert response, f"{method} {path} never answers {status}"
    media_type = answer.headers["content-type"].partition(";")[0]
    content = response["content"]
    assert media_type in content, f"{method} {path} never answers {media_type}"
    if media_type == "application/json":
        schema = {**content[media_type]["schema"], "components": found["components"]}
        Draft202012Validator(schema).validate(answer.json())


def _operation(found: dict[str, Any], method: str, path: str) -> dict[str, Any] | None:
    """The operation of a request; a path that is written out goes before one with a parameter."""
    for template in sorted(found["paths"], key=lambda each: each.count("{")):
        if re.fullmatch(re.sub(r"{[^}]*}", "[^/]+", template), path):
            operation: dict[str, Any] | None = found["paths"][template].get(method.lower())
            return operation
    return None
