"""A day of a site before Hydra: everything that a person, an operator and an administrator do."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


async def test_somebody_signs_in_and_the_token_lives(new_site):
    visitor = new_site().visitor()
    answer = await visitor.sign_in("/who?a=b")
    assert (answer.status, answer.header("location")) == (303, "/who?a=b"), answer.body
    assert (await visitor.who())["subject"] == "ada"
