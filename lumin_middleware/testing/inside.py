"""Where the middleware stands in an application, and other settings for it there while a test runs.

An application that is made where its module is imported has the settings of that moment: those of the Lumin of another
test, whose port nobody listens at any more, or of one that no test may ask.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from .. import wsgi
from ..asgi import DEPTH, LuminMiddleware
from ..config import LuminConfig

OURS = (LuminMiddleware, wsgi.LuminMiddleware)

_INNER = ("middleware_stack", "wsgi_app", "asgi_app", "app")
"""Where an application holds another: Starlette and its kin, Flask, Quart, and what wraps one."""


def middlewares(app: Any, *, made: bool = True) -> Iterator[Any]:
    """Each of ours in an application, also in what it mounts, as far as anybody can see into it.

    Starlette makes those of its list at the first request; here they are `made` before.
    """
    waiting, seen = [app], set[int]()
    while waiting and len(seen) < DEPTH:
        layer = waiting.pop(0)
        if layer is None or id(layer) in seen:
            continue
        seen.add(id(layer))
        if isinstance(layer, OURS):
            yield layer
            continue
        if made and getattr(layer, "middleware_stack", layer) is None and hasattr(layer, "build_middleware_stack"):
            layer.middleware_stack = layer.build_middleware_stack()
        waiting += [_owner(getattr(layer, name, None)) for name in _INNER]
        waiting += _mounted(layer)


def _owner(application: Any) -> Any:
    """The application that a method of it stands for: Flask's and Quart's own are methods."""
    return getattr(application, "__self__", application)


def _mounted(layer: Any) -> list[Any]:
    """What a layer serves below a prefix: Starlette's `Mount`, werkzeug's `DispatcherMiddleware`."""
    routes, mounts = getattr(layer, "routes", None), getattr(layer, "mounts", None)
    found = [each.app for each in routes if type(each).__name__ == "Mount"] if isinstance(routes, list) else []
    return [*found, *(mounts.values() if isinstance(mounts, dict) else ())]


def without(app: Any) -> Any:
    """The application without ours, where it stands around the whole or in Starlette's list.

    Raises `ValueError` where it is still there. What is given stays as it is.
    """
    while isinstance(app, OURS):
        app = app.app
    listed = getattr(app, "user_middleware", None)
    if isinstance(listed, list) and any(map(_is_ours, listed)):
        app = copy.copy(app)
        app.user_middleware = [each for each in listed if not _is_ours(each)]
        app.middleware_stack = None
    if any(middlewares(app, made=False)):
        raise ValueError(
            "LuminMiddleware stands inside of this application, and the fake cannot take its place from outside; wrap "
            "what it wraps: app.wsgi_app = fake.wrap(app.wsgi_app), or the application that is mounted"
        )
    return app


def _is_ours(listed: Any) -> bool:
    return isinstance(listed.cls, type) and issubclass(listed.cls, OURS)


def lend(app: Any, settings: Callable[[LuminConfig], LuminConfig], stack: ExitStack) -> list[Any]:
    """Gives each of ours in an application what `settings` makes of its own, until `stack` is closed; those that got
    something. What they make with it is to be closed by then, which is not done by an application around them.
    """
    borrowers = []
    for found in list(middlewares(app)):
        own = getattr(found, "config", None)  # whose settings are wrong has none, and says so when it is asked
        if own is None or (lent := settings(own)) is own:
            continue
        kind = LuminMiddleware if isinstance(found, LuminMiddleware) else wsgi.LuminMiddleware
        before = dict(vars(found))
        vars(found).update(vars(kind(found.app, lent, clock=found._clock)))
        stack.callback(vars(found).update, before)
        borrowers.append(found)
    return borrowers
