"""Forms of strangers are in nobody's way for long. What becomes of one that is kept: `edges/test_kept_forms`."""

from __future__ import annotations

from lumin_middleware.sessions.forms import FORM_LIMIT, FORMS_LIMIT, Form
from tests.fakes import Workers


async def test_after_a_rush_of_strangers_a_form_is_kept_a_moment_later() -> None:
    workers = Workers()
    parts = workers.process().parts
    long = Form("/save", "/edit", [("text", "a" * FORM_LIMIT)])

    async def keep(form: Form) -> bool:
        return await parts.forms.keep(form, parts.cookies.jar(b"")) is not None

    kept = 0
    while await keep(long):
        kept += 1
    assert kept * FORM_LIMIT <= FORMS_LIMIT
    workers.clock.advance(1)
    assert await keep(Form("/save", "/edit", [("text", "somebody's")]))
    workers.clock.advance(9)
    assert await keep(long)
