"""What Django's own checks say of ours, where the application is Django's: `manage.py check` says the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .findings import Finding, doubtful, wrong
from .outside import APPLICATION

OURS = "lumin_middleware."
"""How the ids of our checks begin."""


def django_checks(layers: Iterable[Any]) -> Iterator[Finding]:
    """A finding for each of our checks that is not content; none where no layer is a handler of Django's."""
    if not any(_is_handler(type(layer)) for layer in layers):
        return
    from django.core.checks import ERROR, run_checks

    cure = "See `manage.py check`."
    try:
        found = run_checks()
    except Exception as error:  # noqa: BLE001  what a check imports, such as the URLs, is the application's
        what = f"Django's checks cannot be made ({type(error).__name__})"
        yield doubtful(APPLICATION, what, "What they would say of ours is not known.", cure)
        return
    for each in found:
        if str(each.id).startswith(OURS):
            level = wrong if each.level >= ERROR else doubtful
            why = "Whoever is signed in with Lumin is not who Django takes them for."
            yield level(APPLICATION, f"{each.msg} ({each.id})", why, each.hint or cure)


def _is_handler(kind: type) -> bool:
    return any(each.__module__.startswith("django.core.handlers.") for each in kind.__mro__)
