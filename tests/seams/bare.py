"""An application of `apps` for real servers, without the middleware: it stands behind a front. `SEAMS_APP` names it."""

from __future__ import annotations

import os

from tests.seams import apps

_kind, _, _name = os.environ["SEAMS_APP"].partition(" ")

app = (apps.ASGI if _kind == "asgi" else apps.WSGI)[_name]()
