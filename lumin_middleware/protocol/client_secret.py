"""What becomes of `invalid_client`: whether our secret is wrong, or the server cannot look it up.

Hydra says the same to both: without its database it answers 401 `invalid_client` to everybody. Nobody can tell the two
apart from one answer. So a secret that worked a moment ago is presumed right until the trouble lasts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger("lumin_middleware")

TRUST = 300.0
"""Seconds for which a secret that has worked is presumed right: longer than a database takes to come back."""

WORDS_PAUSE = 60.0
"""Seconds between two lines in the log that say the same."""

_DOUBT = (
    "The server refuses client_id and client_secret (invalid_client), which worked a moment ago. Either its database"
    " does not answer, and this passes; or the secret was changed at Lumin, and this site needs the new one."
)
_REFUSED = (
    "The server refuses client_id and client_secret (invalid_client): nobody can sign in or be renewed until that is"
    " mended. Compare them, and token_endpoint_auth_method, with your app's details at Lumin. If they are right, the"
    " server's database does not answer. Sessions are kept."
)


class ClientSecret:
    """What the answers of the token endpoint say about our secret."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._worked_at = float("-inf")
        self._spoke_at = {_DOUBT: float("-inf"), _REFUSED: float("-inf")}

    def worked(self) -> None:
        """The server knew us."""
        self._worked_at = self._clock()

    def refused(self) -> None:
        """The server said `invalid_client`; the log hears of it: WARNING at first, CRITICAL when it lasts."""
        now = self._clock()
        presumed = now < self._worked_at + TRUST
        level, words = (logging.WARNING, _DOUBT) if presumed else (logging.CRITICAL, _REFUSED)
        if now >= self._spoke_at[words] + WORDS_PAUSE:
            self._spoke_at[words] = now
            logger.log(level, words)
