"""Hydra as the tests start it."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from .server import Hydra
from .serving import Served


def test_it_is_ready_when_both_of_its_ports_answer():
    """They open in whichever order, and on a busy machine one much later than the other."""
    hydra = Hydra()
    answering = Starlette(routes=[Route("/health/ready", lambda request: JSONResponse({"status": "ok"}))])
    with Served(answering) as one, Served(answering) as other:
        there = [(one.base, other.base), (one.base, hydra.admin), (hydra.base, other.base), (hydra.base, hydra.admin)]
        ready = []
        for hydra.base, hydra.admin in there:
            ready.append(hydra.is_ready())
    hydra.close()
    assert ready == [True, False, False, False]
