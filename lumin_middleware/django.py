"""What Django wants beside `lumin(request)`: `LoginRequired` as the way to a sign-in, and `request.user`.

All of it is optional. In `INSTALLED_APPS` it has `manage.py check` look whether `request.user` can be anybody.

Django's own sessions are never used: `LuminMiddleware` around the application says on each request who is signed in,
so that there is one place to sign out.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth import authenticate, get_backends, get_user_model
from django.contrib.auth.hashers import make_password
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.core.signals import got_request_exception
from django.db import IntegrityError
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string

from .errors import to_be_answered
from .journal import Seldom, once
from .lookup import lumin
from .protocol.claims import verified_email

_seldom = Seldom(time.time)  # each page of theirs would say it again
_once = once(time.time)


class ChallengeMiddleware:
    """Lets an error of ours that a view raises out of Django: `LoginRequired`, and the person is asked to sign in.

    For `MIDDLEWARE`, anywhere in it, under ASGI and WSGI.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        got_request_exception.connect(_let_through)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)


def _let_through(**signal: Any) -> None:
    # Django makes a 500 of every exception, at each middleware anew; only what a receiver of this signal raises
    # gets past it.
    error = sys.exc_info()[1]
    if error is not None and to_be_answered(error) is not None:
        raise error


class UserMiddleware(ChallengeMiddleware):
    """The same, and `request.user` and `request.auser()`: the Django user of whoever is signed in.

    After Django's `AuthenticationMiddleware`, or without it. Who that is, the backends say, of which `LuminBackend`
    is one; they are asked when somebody looks. For somebody who is signed in without a `sub` that is
    `PermissionDenied` (403), unless a backend knows them by something else.
    """

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        super().__init__(get_response)
        if _is_overwritten():
            _once.say("user_overwritten")

    def __call__(self, request: Any) -> Any:
        request.user = SimpleLazyObject(lambda: _user(request))
        request.auser = lambda: sync_to_async(_user)(request)
        return self.get_response(request)


def _user(request: Any) -> Any:
    from django.contrib.auth.models import AnonymousUser

    client = lumin.optional(request)
    if client is None:
        return AnonymousUser()
    claims = client.claims
    try:
        user = authenticate(request, lumin_claims=claims)
    except AddressTaken as error:
        raise PermissionDenied(str(error)) from None
    if user is None and not claims.get("sub"):
        # As an anonymous user they would be sent to sign in again, and come back as nobody again.
        raise PermissionDenied("You are signed in, but Lumin did not say who you are.")
    if user is None and not _is_a_backend_ours():
        _once.say("no_backend")
    return user or AnonymousUser()


class AddressTaken(Exception):
    """Nobody new can be made of somebody: what only one user may have, another has. (`authenticate` makes nobody of
    `PermissionDenied`, and nobody is told why.)"""


class LuminBackend:
    """Maps whoever is signed in to a Django user, whose username is the claim `sub`.

    For `AUTHENTICATION_BACKENDS`, beside `ModelBackend` where groups and permissions are wanted. Override
    `create_unknown_user`, `key` or `configure_user` to map otherwise.
    """

    create_unknown_user = True
    """Whether somebody who was never seen gets a user. If not, they are anonymous to Django."""

    def authenticate(self, request: Any, lumin_claims: Mapping[str, Any] | None = None) -> Any:
        """The user of these claims; None without a `sub` that a column can hold, and for a user who is not active."""
        if not lumin_claims or not lumin_claims.get("sub"):
            return None
        users, key = get_user_model()._default_manager, self.key(lumin_claims)
        if any(value != _fitting(field, value) for field, value in key.items()):
            return None  # cut short it might be somebody else's
        user = users.filter(**key).first()
        if user is None and self.create_unknown_user:
            user = self._created(key, _known(lumin_claims))
        return self.configure_user(user, lumin_claims) if user is not None and user.is_active else None

    def _created(self, key: Mapping[str, Any], known: dict[str, str]) -> Any:
        """A new user. Raises `AddressTaken` where the table takes no second one without an address."""
        empty = {"email": None} if "email" not in key and _is_unique("email") and _column("email").null else {}
        given = {field: value for field, value in known.items() if field not in key and _column(field)}
        defaults = {**empty, **_not_another_s(given), "password": make_password(None)}  # none that is usable
        try:
            users = get_user_model()._default_manager
            return users.get_or_create(**key, defaults=defaults)[0]
        except IntegrityError:
            raise AddressTaken("You are signed in, but another user has what only one may have here.") from None

    def get_user(self, user_id: Any) -> Any:
        """The user with this primary key, or None."""
        return get_user_model()._default_manager.filter(pk=user_id).first()

    def key(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        """The field that tells users apart, and its value. An e-mail address can change hands; `sub` cannot."""
        return {get_user_model().USERNAME_FIELD: claims["sub"]}

    def configure_user(self, user: Any, claims: Mapping[str, Any]) -> Any:
        """Brings the user up to date: the e-mail address, unless it is not verified, and the names.

        Where only `name` is known it is the first name, so that `get_full_name()` is right. What tells users apart is
        never written over, and what a column cannot hold is cut to what it can.
        """
        key = self.key(claims)
        changed = {
            field: value
            for field, value in _known(claims).items()
            if field not in key and getattr(user, field, value) != value
        }
        if changed := _not_another_s(changed, user):
            for field, value in changed.items():
                setattr(user, field, value)
            user.save(update_fields=list(changed))
        return user


def _known(claims: Mapping[str, Any]) -> dict[str, str]:
    """What is known of a person, by the user's fields."""
    given, family = claims.get("given_name"), claims.get("family_name")
    known = {
        "email": verified_email(claims),
        "first_name": given or (None if family else claims.get("name")),
        "last_name": family or ("" if claims.get("name") and not given else None),
    }
    return {field: _fitting(field, value) for field, value in known.items() if value is not None}


def _not_another_s(known: dict[str, str], user: Any = None) -> dict[str, str]:
    """Without what another user has where none may have it twice: an address that changed hands, say."""
    others = get_user_model()._default_manager.exclude(pk=None if user is None else user.pk)
    taken = [field for field, value in known.items() if _is_unique(field) and others.filter(**{field: value}).exists()]
    if taken:
        _seldom.say("address_taken")
    return {field: value for field, value in known.items() if field not in taken}


def _column(field: str) -> Any:
    try:
        return get_user_model()._meta.get_field(field)
    except FieldDoesNotExist:
        return None


def _is_unique(field: str) -> bool:
    return getattr(_column(field), "unique", False)


def _fitting(field: str, value: object) -> str:
    """A text as the user's column can hold it: no NUL, no half of a surrogate pair, no longer than it is wide."""
    text = str(value).encode("utf-8", "ignore").decode().replace("\0", "")
    return text[: getattr(_column(field), "max_length", None)]


# --- what `manage.py check` looks at --------------------------------------------------------------------

OURS = f"{__name__}.{UserMiddleware.__name__}"
THEIRS = "django.contrib.auth.middleware.AuthenticationMiddleware"


def check_users(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Whether `request.user` can be anybody, where `UserMiddleware` is to see to that."""
    if _place(OURS) < 0:
        return []
    found = []
    if _is_overwritten():
        said = "Django's AuthenticationMiddleware stands after UserMiddleware, and its user is whom views get."
        found.append(Error(said, hint=f"Put {OURS!r} after it in MIDDLEWARE.", id="lumin_middleware.E001"))
    if not _is_a_backend_ours():
        said = "No backend takes what Lumin says of a person, so that whoever is signed in is nobody to Django."
        hint = "Name 'lumin_middleware.django.LuminBackend' in AUTHENTICATION_BACKENDS."
        found.append(Error(said, hint=hint, id="lumin_middleware.E002"))
    return found


register(check_users)


def _is_overwritten() -> bool:
    """Whether Django's own sessions have the last word about `request.user`."""
    return -1 < _place(OURS) < _place(THEIRS)


def _place(name: str) -> int:
    """Where the last of this class, or of a kind of it, stands in `MIDDLEWARE`; -1 where there is none."""
    kinds = [getattr(import_string(each), "__mro__", ()) for each in settings.MIDDLEWARE]
    named = [[f"{each.__module__}.{each.__qualname__}" for each in kind] for kind in kinds]
    return max((place for place, names in enumerate(named) if name in names), default=-1)


def _is_a_backend_ours() -> bool:
    """Whether a backend takes claims. Django's own take anything by any name, and look at a password."""
    for backend in get_backends():
        taken = inspect.signature(backend.authenticate).parameters
        anything = any(each.kind is each.VAR_KEYWORD for each in taken.values())
        if "lumin_claims" in taken or (anything and not backend.authenticate.__module__.startswith("django.")):
            return True
    return False
