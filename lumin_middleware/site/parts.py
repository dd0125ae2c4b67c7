"""The parts of one site, made in one place: what keeps, what renews, what rules, what answers.

Read it to see what a site consists of. Each part gets what it needs of those before it; the routes get all of them.
"""

from __future__ import annotations

from ..config import LuminConfig
from ..ports import World
from ..protocol.metadata import Metadata
from ..protocol.token_endpoint import TokenEndpoint
from ..sessions.cookies import Cookies
from ..sessions.ended import Ended
from ..sessions.ending import Ending
from ..sessions.forms import Forms
from ..sessions.grants import Granted
from ..sessions.index import Index
from ..sessions.kinds import sessions
from ..sessions.logins import Logins
from ..sessions.marks import LongPages, Marks
from ..sessions.renewal import Renewal
from .access import Rules
from .answers import Answers


class Parts:
    """What the routes of a site share."""

    def __init__(self, config: LuminConfig, world: World) -> None:
        self.config = config
        self.world = world
        self.metadata = Metadata(config.server, world)
        self.token_endpoint = TokenEndpoint(config, world, self.metadata)
        self.cookies = Cookies(config)
        self.sessions = sessions(config, world, self.cookies)
        self.renewal = Renewal(config, world, self.sessions, self.metadata, self.token_endpoint)
        self.ending = Ending(world, self.sessions, self.renewal.saving, self.token_endpoint)
        self.grants = Granted(config, world, self.metadata, self.token_endpoint)
        self.logins = Logins(config, world, self.cookies)
        self.index = Index(config, world) if config.sessions == "store" or config.backchannel_logout else None
        self.ended = Ended(config, world) if config.backchannel_logout else None
        self.marks = Marks(world)
        self.long_pages = LongPages(config, world)
        self.forms = Forms(config, world, self.cookies)
        self.rules = Rules(
            config.public, config.optional, config.required_scopes, config.callback_path, config.required_auth_age
        )
        self.answers = Answers(config, world)

    @property
    def parts(self) -> Parts:
        """These, for whoever needs no more of a site than its parts."""
        return self

    def inherit(self, other: Parts) -> None:
        """Takes over what `other`, whose event loop is closed, could not save."""
        self.renewal.saving.inherit(other.renewal.saving)
        self.grants.inherit(other.grants)

    async def finish(self) -> None:
        """Saves what could not be saved yet, since this process ends. Raises nothing."""
        await self.renewal.saving.finish()
        await self.grants.finish()
