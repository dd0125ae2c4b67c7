"""The application: where the middleware stands in it, which of its routes ours shadow, which patterns name none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any

from .. import wsgi
from ..asgi import LuminMiddleware
from ..config import LuminConfig
from ..requirements import ROUTES
from ..site.patterns import Narrow, Wide
from .django_checks import django_checks
from .findings import Finding, doubtful, ok, wrong
from .outside import APPLICATION, Layer, of_a_list, of_an_object
from .outside import outside as around

_OURS = (LuminMiddleware, wsgi.LuminMiddleware)
_PLACES = re.compile(r"(\{[^}]*\}|<[^>]*>)")
"""What stands in a route for whatever is in its place."""

_DEEP = 50
"""Layers of an application that are looked through."""


def configured(app: Any) -> LuminConfig | None:
    """The settings of the middleware that stands in an application; None where it has none of its own, or is not there.

    One that Starlette has not made yet reads the environment when it is made, unless it was given settings.
    """
    return next((config for _, config in placed(app)), None)


def placed(app: Any) -> list[tuple[str, LuminConfig | None]]:
    """Below which prefixes the middleware stands in an application, and its settings there, as `configured` has them.

    The prefix is empty where it stands around the whole; there is none where it does not stand in it.
    """
    outside, config, _ = _stands(app)
    return list(_mounted(app)) if outside is None else [("", config)]


def application(app: Any, settings: LuminConfig | None) -> Iterator[Finding]:
    """Looks through an application from outside in. `settings` are those of the environment."""
    outside, config, inside = _stands(app)
    if outside is None and (mounted := list(_mounted(app))):
        for prefix, found in mounted:
            yield from _below(prefix, found or settings)
        return
    if outside is None:
        why = "Every page is open to everybody."
        yield wrong(APPLICATION, "LuminMiddleware does not stand in it", why, "Wrap it: app = LuminMiddleware(app).")
        config, paths = settings, list(_paths(app))
    else:
        names = ", ".join(each.name for each in outside)
        within = f", inside {names}" if outside else ", outside everything else"
        yield ok(APPLICATION, f"LuminMiddleware stands in it{within}")
        if (known := config or settings) is not None:
            yield from around(outside, known, is_wsgi=_is_wsgi(app))
        if "CORSMiddleware" in [type(each).__name__ for each in inside] or "CORSMiddleware" in _names(inside):
            cure = "Put CORSMiddleware outside, so that it answers preflight requests, which carry no cookie."
            yield doubtful(APPLICATION, "CORSMiddleware stands inside", "Preflight requests are answered 401.", cure)
        config, paths = config or settings, list(_paths(app))
    if config is not None:
        yield from _shadowed(config, paths)
        yield from _unused(config, paths)
    yield from django_checks(_through(app))


def _mounted(app: Any, before: str = "") -> Iterator[tuple[str, LuminConfig | None]]:
    """Where ours stands in an application that another one serves below a prefix, and its settings."""
    for layer in _through(app):
        for path, inner in _mounts(layer):
            outside, config, _ = _stands(inner)
            yield from _mounted(inner, before + path) if outside is None else [(before + path, config)]


def _mounts(layer: Any) -> Iterator[tuple[str, Any]]:
    """What a layer serves below a prefix: Starlette's `Mount`, werkzeug's `DispatcherMiddleware`."""
    for route in getattr(layer, "routes", None) or ():
        if type(route).__name__ == "Mount" and getattr(route, "app", None) is not None:
            yield str(getattr(route, "path", "")), route.app
    mounts = getattr(layer, "mounts", None)
    if isinstance(mounts, dict):
        yield from mounts.items()


def _below(prefix: str, config: LuminConfig | None) -> Iterator[Finding]:
    yield ok(
        APPLICATION, f"LuminMiddleware stands in what is mounted at {prefix}; what is not below it is open to everybody"
    )
    if config is not None and not config.callback_path.startswith(f"{prefix}/"):
        why = "Whoever signs in comes back to a path that the mounted application never sees."
        cure = f"Register {config.origin}{prefix}{config.callback_path} with Lumin, and name it as redirect_uri."
        yield wrong(APPLICATION, f"the callback, {config.callback_path}, is not below {prefix}", why, cure)


def _is_wsgi(app: Any) -> bool:
    """Whether ours, which stands in it, is the one for WSGI."""
    return any(isinstance(layer, wsgi.LuminMiddleware) for layer in _through(app))


def _stands(app: Any) -> tuple[list[Layer] | None, LuminConfig | None, list[Any]]:
    """What stands outside of ours (None: ours is not there), its settings, and what stands inside."""
    outside: list[Layer] = []
    layer = app
    for _ in range(_DEEP):
        if isinstance(layer, _OURS):
            return outside, getattr(layer, "config", None), list(_layers(layer.app))
        listed = getattr(layer, "user_middleware", None)  # Starlette's, from outside in
        if isinstance(listed, list):
            for position, each in enumerate(listed):
                kind = getattr(each, "cls", None)
                if isinstance(kind, type) and issubclass(kind, _OURS):
                    config = getattr(each, "kwargs", {}).get("config") or next(iter(getattr(each, "args", ())), None)
                    return outside, config, [each.cls for each in listed[position + 1 :]]
                outside.append(of_a_list(each))
        attribute = "app" if getattr(layer, "app", None) else "wsgi_app"
        following = getattr(layer, attribute, None)
        if following is None or following is layer:
            return None, None, []
        if getattr(following, "__self__", None) is layer:  # Flask's own wsgi_app
            return None, None, []
        outside.append(of_an_object(layer, attribute))
        layer = following
    return None, None, []


def _layers(app: Any) -> Iterator[Any]:
    for _ in range(_DEEP):
        if app is None:
            return
        yield app
        yield from (each.cls for each in getattr(app, "user_middleware", ()))
        app = getattr(app, "app", None)


def _names(layers: Iterable[Any]) -> list[str]:
    return [getattr(each, "__name__", "") for each in layers]


# --- routes ---------------------------------------------------------------------------------------------


def _paths(app: Any) -> Iterator[str]:
    """The paths that an application's router names, as patterns: Starlette's kin, Flask's kin."""
    for layer in _through(app):
        for route in getattr(layer, "routes", None) or ():
            yield from _route(route, "")
        rules = getattr(layer, "url_map", None)
        if rules is not None:
            yield from (str(rule.rule) for rule in rules.iter_rules())


def _through(app: Any) -> Iterator[Any]:
    """The layers of an application, each once. Flask's own is a method of it, behind whatever wraps that."""
    seen: set[int] = set()
    while app is not None and id(app) not in seen:
        seen.add(id(app))
        yield app
        following = getattr(app, "app", None) or getattr(app, "wsgi_app", None)
        app = getattr(following, "__self__", following)


def _route(route: Any, before: str) -> Iterator[str]:
    path = before + str(getattr(route, "path", ""))
    inner = getattr(route, "routes", None)
    if inner:
        for each in inner:
            yield from _route(each, path)
    elif type(route).__name__ == "Mount":
        yield f"{path}/{{rest:path}}"
    elif path:
        yield path


def _expression(path: str, flags: int = 0) -> re.Pattern[str]:
    """What a route serves, with the last slash or without: frameworks lead from one to the other."""
    return re.compile("".join(_part(each) for each in _PLACES.split(path.rstrip("/"))) + "/?", flags)


def _part(text: str) -> str:
    if text[:1] not in "{<" or not text:
        return re.escape(text)
    return ".*" if "path" in text else "[^/]+"


def _shadowed(config: LuminConfig, paths: list[str]) -> Iterator[Finding]:
    ours = [config.callback_path, *(f"{config.prefix}/{name}" for name in ROUTES)]
    found = [path for path in paths if "{" not in path and "<" not in path and path.rstrip("/") in ours]
    if found:
        why = "The middleware answers them, and the application never sees such a request."
        cure = "Rename them, or move ours: the callback's parent path is the prefix of our routes."
        yield wrong(APPLICATION, f"routes of ours shadow its own: {', '.join(sorted(found))}", why, cure)
    elif paths:
        yield ok(APPLICATION, f"none of its {len(paths)} routes is shadowed by ours")


def _unused(config: LuminConfig, paths: list[str]) -> Iterator[Finding]:
    if not paths:
        return
    scoped = list(dict.fromkeys([*config.required_scopes, *config.required_auth_age]))
    opened = list(dict.fromkeys([*config.public, *config.optional]))
    narrow, wide = Narrow(opened), Wide(scoped)
    unused = [
        *_without_a_route(opened, narrow.find, paths),
        # Of a pattern that names either case a route's own case is one.
        *_without_a_route(scoped, lambda path: wide.find([path]), paths, re.IGNORECASE),
    ]
    if unused:
        why = "It opens or protects nothing; a misspelt one leaves the path that was meant without its rule."
        cure = "Correct it, or take it out; a path that a proxy or a mount serves may be meant."
        yield doubtful(APPLICATION, f"patterns that match no route: {', '.join(unused)}", why, cure)


def _without_a_route(
    patterns: list[str], find: Callable[[str], list[str]], paths: list[str], flags: int = 0
) -> Iterator[str]:
    """The patterns that name no path which a route serves. What they name, `find` says: the rules themselves."""
    routes = [(path, _expression(path, flags)) for path in paths]
    for pattern in patterns:
        if not any(
            expression.fullmatch(each) and pattern in find(each)
            for path, expression in routes
            for each in _both(pattern, path)
        ):
            yield pattern


def _both(pattern: str, path: str) -> Iterator[str]:
    """Paths that a pattern and a route may both have: the pattern's own, and the route's with words of the pattern."""
    folder = pattern.removesuffix("*")
    yield from (folder, folder.rstrip("/"), f"{folder}x") if folder != pattern else (pattern,)
    words = folder.split("/")
    parts = [_PLACES.split(part)[::2] for part in path.split("/")]  # what stands around the places
    yield "/".join((word or "x").join(part) for part, word in zip_longest(parts, words[: len(parts)], fillvalue=""))
