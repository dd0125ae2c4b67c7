"""An application of `apps` for real servers: `SEAMS_APP` names it ("asgi Litestar"), `SEAMS_RULES` the rules' place."""

from __future__ import annotations

import os
from dataclasses import replace

from lumin_middleware import LuminConfig
from lumin_middleware.asgi import LuminMiddleware as AsgiMiddleware
from lumin_middleware.wsgi import LuminMiddleware as WsgiMiddleware
from tests.seams import apps
from tests.seams.routes import RULESETS

_kind, _, _name = os.environ["SEAMS_APP"].partition(" ")
_rules = RULESETS[int(os.environ.get("SEAMS_RULES", "0"))]
_config = replace(LuminConfig.from_env(), **_rules.settings)

app = AsgiMiddleware(apps.ASGI[_name](), _config) if _kind == "asgi" else WsgiMiddleware(apps.WSGI[_name](), _config)
