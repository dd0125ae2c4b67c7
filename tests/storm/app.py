"""The application in the storm, as uvicorn's workers import it: `tests.storm.app:app`.

Everything that it is told stands in the environment. It asks the Lumin API, and says which worker answered,
with which access token (a digest of it), and what the API said.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lumin_middleware import LuminConfig, LuminMiddleware
from tests.limits import lift
from tests.storm.clock import SharedClock

if database := os.environ.get("STORM_DJANGO"):
    from tests.stores import django_database

    # As `docs/stores.md` advises: to open a connection for each verb would be most of what the storm costs.
    django_database.add("default", django_database.on_postgres(database) | {"OPTIONS": {"pool": True}})

lift()  # thousands connect to one emulator at once; how long that takes is no matter


async def ask_the_api(request: Request) -> Response:
    client = request.state.lumin
    answer = await client.get("signature_requests")
    token = hashlib.sha256((await client.access_token()).encode()).hexdigest()
    return JSONResponse({"worker": os.getpid(), "token": token, "api": answer.status_code})


async def say_who_works(request: Request) -> Response:
    return JSONResponse({"worker": os.getpid()})


app = LuminMiddleware(
    Starlette(routes=[Route("/", ask_the_api), Route("/worker", say_who_works)]),
    replace(LuminConfig.from_env(), timeout=float(os.environ["STORM_TIMEOUT"])),
    clock=SharedClock(Path(os.environ["STORM_CLOCK"])),
)
