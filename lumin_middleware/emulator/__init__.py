"""A local Lumin: an authorization server that behaves like Ory Hydra, and Lumin's API, in memory.

For development without credentials, and for tests. It is as strict as the real one where that is known,
can be told to fail, and remembers what reached it. It never talks to Lumin, guards nothing of value, and
shares no code with the middleware, so that the two cannot be wrong in the same way.

    with serve(clients=[Client(client_id="app", client_secret="…", redirect_uris=("…",))]) as running:
        callback = running.emulator.sign_in(authorization_url)
"""

from __future__ import annotations

from .calls import Call as Call
from .emulator import Emulator as Emulator
from .faults import Fault as Fault
from .faults import Faults as Faults
from .grants import Grant as Grant
from .grants import Token as Token
from .registry import DEMO_CLIENT as DEMO_CLIENT
from .registry import DEMO_USERS as DEMO_USERS
from .registry import Client as Client
from .registry import User as User
from .registry import Workspace as Workspace
from .server import Running as Running
from .server import run as run
from .server import serve as serve
