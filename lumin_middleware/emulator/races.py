"""Requests that come at once with one refresh token or one code, answered as Hydra answers them on PostgreSQL.

Each transaction sees the token unspent, so that several win. Of those who refresh, each winner's spending kills what
the winners before it got: their tokens are dead on arrival. Who loses is asked to retry, or told of a 500.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio
from starlette.responses import Response

from .authorization_request import Parameters
from .grants import AuthorizationCode
from .refusals import refusal
from .token_endpoint import TokenEndpoint, refused_response

Undo = Callable[[], None]

RACE = "lumin_emulator.race"
"""The member of a request's scope by which a fault asks for a race."""

TOGETHER = 0.1
"""Seconds in which requests still come at once: a client's own needs a few milliseconds, on a busy machine more."""

RETRY = "Failed to refresh token. Please retry the request."


@dataclass(eq=False)
class _Heat:
    """The requests with one token, and their answers, once there are any."""

    requests: list[tuple[Mapping[str, str], Parameters]] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)


class Races:
    """Gathers what comes at once. Must be used from one event loop."""

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self._endpoint = endpoint
        self._heats: dict[str, _Heat] = {}

    async def answer(self, headers: Mapping[str, str], given: Parameters) -> Response:
        """The answer to one of the requests, when all are there."""
        form = dict(given)
        contested = form.get("refresh_token") or form.get("code") or ""
        heat = self._heats.setdefault(contested, _Heat())
        place = len(heat.requests)
        heat.requests.append((headers, given))
        await anyio.sleep(TOGETHER)
        if not heat.answers:
            del self._heats[contested]
            heat.answers = self._run(contested, heat)
        return heat.answers[place]

    def _run(self, contested: str, heat: _Heat) -> list[Response]:
        """Half of them win, and at least two where there are two."""
        winners = max(min(len(heat.requests), 2), len(heat.requests) // 2)
        with self._endpoint.state.lock:
            code = self._endpoint.state.find_code(contested)
            undo = self._undo(contested, code)
            answers = []
            for headers, given in heat.requests[:winners]:
                undo()
                answers.append(self._endpoint.token(headers, given))
        lost = refusal("invalid_request", RETRY) if code is None else refusal("server_error")
        return answers + [refused_response(lost) for _ in heat.requests[winners:]]

    def _undo(self, contested: str, code: AuthorizationCode | None) -> Undo:
        """What makes a token as unspent as it was when the race began; nothing where it was spent already."""
        token = self._endpoint.state.find_token(contested, "refresh_token")
        if code is not None and not code.used:
            challenge = code.code_challenge

            def unused() -> None:
                code.used, code.code_challenge = False, challenge

            return unused
        if token is not None and token.spent_at is None and not token.revoked:

            def unspent() -> None:
                token.spent_at, token.revoked = None, False

            return unspent
        return lambda: None
