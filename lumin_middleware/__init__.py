"""Sign in with Lumin, as middleware: an authenticated Lumin API client on every request.

app = LuminMiddleware(app, LuminConfig(client_id=…, client_secret=…, redirect_uri=…, secret_key=…))

async def view(request):
    response = await request.state.lumin.get("user/info")
"""

from .asgi import LuminMiddleware
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
from .grants import AsyncGrants, Grants
from .look import Page
from .lookup import lumin
from .ports import AsyncStore, Store

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
