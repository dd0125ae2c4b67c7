"""A frontend that calls Lumin from the browser and never sees a token.

Run it: lumin-middleware demo examples.spa.server:app
"""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from lumin_middleware import LuminConfig, LuminMiddleware

CALLS = (  # what pages may ask of Lumin; nothing else passes
    "GET /user/info",
    "POST /signature_request/send",
    "GET /signature_request/*",
    "PUT /signature_request/cancel/*",
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Pages(StaticFiles):
    def file_response(self, full_path: str | PathLike[str], *arguments: Any) -> Response:
        response = super().file_response(full_path, *arguments)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache"
        return response


app = Starlette(routes=[Mount("/", Pages(directory=Path(__file__).parent / "static", html=True))])
app.add_middleware(LuminMiddleware, config=replace(LuminConfig.from_env(), public=["/*"], api_proxy=CALLS))
