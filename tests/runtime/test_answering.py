"""An answer that nobody takes is undone, and a store that fails at that is told of and troubles nobody."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lumin_middleware.errors import AuthorizationServerError, LuminError, StoreUnavailable
from lumin_middleware.model import Response
from lumin_middleware.runtime.answering import deliver
from tests.acceptance.harness import http_scope


class Undone:
    """What undoes an answer: counts, and fails with `error` where there is one."""

    def __init__(self, error: LuminError | None = None) -> None:
        self.error = error
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1
        if self.error is not None:
            raise self.error


async def delivered(
    undo: Undone, *, gone: bool = False, repeats: bool = False, send_raises: BaseException | None = None
) -> list[Any]:
    """What was sent of an answer. Where it `repeats`, a server hands out the request again and again."""
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        if repeats:
            return {"type": "http.request"}
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if send_raises is not None:
            raise send_raises
        sent.append(message)

    async def shield(action: Any) -> None:
        await action()

    response = Response(303, [("location", "/")])
    response.undo = undo
    await deliver(response, SimpleNamespace(shield=shield), http_scope("/auth/callback"), receive, send)  # type: ignore[arg-type]
    return sent


@pytest.mark.parametrize("repeats", [False, True])
async def test_what_somebody_takes_is_not_undone(repeats):
    undo = Undone()
    sent = await delivered(undo, repeats=repeats)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert undo.times == 0


@pytest.mark.parametrize("error", [None, StoreUnavailable("down"), AuthorizationServerError("no")], ids=repr)
@pytest.mark.parametrize("how", [{"gone": True}, {"send_raises": OSError()}, {"send_raises": asyncio.CancelledError()}])
async def test_what_nobody_takes_is_undone_as_far_as_it_can_be(how, error, caplog):
    undo = Undone(error)
    if isinstance(how.get("send_raises"), asyncio.CancelledError):
        with pytest.raises(asyncio.CancelledError):
            await delivered(undo, **how)
    else:
        assert await delivered(undo, **how) == []
    assert undo.times == 1
    assert [text.split(":")[0] for text in caplog.messages] == (["not_undone"] if error else [])
