"""Sign in with Lumin, as middleware: an authenticated Lumin API client on every request.

app = LuminMiddleware(app, LuminConfig(client_id=…, client_secret=…, redirect_uri=…, secret_key=…))

async def view(request):
    response = await request.state.lumin.get("user/info")
"""

from .asgi import LuminMiddleware as LuminMiddleware
from .client import AsyncLuminClient as AsyncLuminClient
from .client import LuminClient as LuminClient
from .config import LUMIN as LUMIN
from .config import AuthorizationServer as AuthorizationServer
from .config import LuminConfig as LuminConfig
from .errors import AuthorizationServerError as AuthorizationServerError
from .errors import ClientMisused as ClientMisused
from .errors import ConfigurationError as ConfigurationError
from .errors import InsufficientScope as InsufficientScope
from .errors import LoginRequired as LoginRequired
from .errors import LuminError as LuminError
from .errors import OAuthError as OAuthError
from .errors import RequestRefused as RequestRefused
from .errors import ServerUnavailable as ServerUnavailable
from .errors import SessionEnded as SessionEnded
from .errors import StoreUnavailable as StoreUnavailable
from .lookup import lumin as lumin
from .ports import AsyncStore as AsyncStore
from .ports import Store as Store
