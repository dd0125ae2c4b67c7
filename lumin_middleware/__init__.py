"""Sign in with Lumin, as middleware: an authenticated Lumin API client on every request.

app = LuminMiddleware(app, LuminConfig(client_id=…, client_secret=…, redirect_uri=…, secret_key=…))

async def view(request):
    response = await request.state.lumin.get("user/info")
"""

from typing import TYPE_CHECKING, Any

from .client import AsyncLuminClient, LuminClient
from .config import LUMIN, AuthorizationServer, LuminConfig
from .errors import (
    AuthorizationServerError,
    ClientMisused,
    ConfigurationError,
    InsufficientScope,
    LoginRequired,
    LuminError,
    NotConnected,
    OAuthError,
    Refused,
    RequestRefused,
    ServerUnavailable,
    SessionEnded,
    StoreUnavailable,
)
from .look import Page
from .lookup import lumin
from .ports import AsyncStore, Store

if TYPE_CHECKING:
    from .asgi import LuminMiddleware
    from .grants import AsyncGrants, Grants

__all__ = [
    "LUMIN",
    "AsyncGrants",
    "AsyncLuminClient",
    "AsyncStore",
    "AuthorizationServer",
    "AuthorizationServerError",
    "ClientMisused",
    "ConfigurationError",
    "Grants",
    "InsufficientScope",
    "LoginRequired",
    "LuminClient",
    "LuminConfig",
    "LuminError",
    "LuminMiddleware",
    "NotConnected",
    "OAuthError",
    "Page",
    "Refused",
    "RequestRefused",
    "ServerUnavailable",
    "SessionEnded",
    "Store",
    "StoreUnavailable",
    "lumin",
]


def __dir__() -> list[str]:
    """What is public; the rooms behind it are not, though Python hangs them here once they are imported."""
    return sorted([*__all__, "__doc__", "__name__", "__file__", "__path__"])


if not TYPE_CHECKING:  # which would have whatever it does not know be anything

    def __getattr__(name: str) -> Any:
        # What a site is made of, and Authlib with it, is loaded when somebody names what makes one: a command or a
        # module of views that names settings, clients and errors waits half as long. Nobody makes one without its name,
        # so that all is there before a server forks and no request waits for the disk.
        if name == "LuminMiddleware":
            from .asgi import LuminMiddleware

            return LuminMiddleware
        if name in ("Grants", "AsyncGrants"):
            from . import grants

            return getattr(grants, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
