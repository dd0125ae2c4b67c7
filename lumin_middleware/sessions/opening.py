"""Opening the session's cookie: once each, and by one look where nothing can have changed since."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from ..config import LuminConfig
from ..errors import StoreUnavailable
from ..model import Session
from ..ports import Glance, World
from .cookies import Cookies, Jar
from .due import due_from
from .limits import Limits
from .memo import Memo
from .opened import Came, Carried, Opened
from .sealing import SIGNATURE_LENGTH


class Opening(ABC):
    """Opens the session's cookies of one site, and remembers what they hold."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        self._config = config
        self._world = world
        self._cookies = cookies
        self._begins = cookies.begins
        self._opened: Memo[Opened] = Memo(config.session_memory)
        self._known = self._opened.look
        glance: Glance | None = getattr(world.store, "glance", None)
        self._glance: Callable[[str], bytes | None] | None = glance.get if glance else None
        self._suffix = glance.suffix if glance else ""
        self._clock = world.clock
        self.limits = Limits.of(config, world.clock)

    # --- what differs ---

    _asks: bool
    """Whether the store is asked about a session in which nothing falls due."""

    @abstractmethod
    def _unseal(self, value: bytes) -> Opened | None:
        """What a cookie holds, if we sealed it."""

    @abstractmethod
    def _proved(self, opened: Opened) -> Carried | None:
        """What a cookie carries that no record says anything about."""

    # --- what does not ---

    def _open(self, jar: Jar[Opened]) -> Opened | None:
        """What the cookies hold."""
        if jar.opened is None:
            for value in jar.session_values():
                if (opened := self._opened_before(value) or self._open_new(value)) is not None:
                    jar.opened = opened
                    break
        return jar.opened

    def _opened_before(self, value: bytes) -> Opened | None:
        opened = self._opened.get(value[-SIGNATURE_LENGTH:])
        return opened if opened is not None and opened.is_of(value) else None

    def _open_new(self, value: bytes, came: Came | None = None) -> Opened | None:
        """What a cookie holds. Equal values are opened once, whatever stands beside them in a header."""
        opened = self._unseal(value)
        if opened is not None:
            opened.signature = value[-SIGNATURE_LENGTH:]
            opened.came = came or (value, 0, len(value), b"")
            self._opened.put(opened.signature, opened, opened.weight)
            self._world.telemetry.count("lumin.seals.read", key="newest" if opened.newest_key else "old")
        return opened

    def _settle(self, opened: Opened, raw: bytes | None, session: Session, at_most: float = float("inf")) -> Carried:
        """What a cookie that is good carries. It is remembered where nothing falls due for a while, or for so long."""
        until = min(
            self.limits.slides_at(session),  # which is before the idle limit
            self.limits.ends_at(session.began, session.lasts),
            due_from(session.tokens, self._config.renew_before),
            self._clock() + at_most,
        )
        if until <= self._clock():
            return Carried(session, stale=False)
        carried = opened.settled = Carried(session, stale=False, until=until, raw=raw)
        if raw is not None:
            self._opened.put(opened.signature, opened, opened.weight)
        return carried

    def _unchanged(self, opened: Opened, raw: bytes | None) -> Carried | None:
        """What a cookie was found to carry, where neither time nor its record can have changed that."""
        settled = opened.settled
        if settled is not None and settled.raw == raw and self._clock() < settled.until:
            return settled
        return None

    # --- what need not be asked ---

    def at_once(self, header: bytes, now: float) -> tuple[Carried, bytes] | None:
        """The session in a `Cookie` header, and the header without it, where all is well by one look; else None.

        So it is where `load` would find the same with nobody to wait for and nothing to write: the cookie is as
        browsers write it, nothing falls due, and the record is what it was when that was last looked into, or there
        is none. None says nothing about the session.
        """
        begin = header.find(self._begins)
        if begin < 0:
            return None
        end = header.find(b";", begin)
        if end < 0:
            end = len(header)
        known = self._known
        opened = known(header[end - SIGNATURE_LENGTH : end])
        if opened is not None and (came := opened.came)[0] == header:
            others = came[3]
            opened.used = True
        else:
            looked = self._look(opened, header, begin, end)
            if looked is None:
                return None
            opened, others = looked
        raw = None
        if self._asks:
            glance = self._glance
            if glance is None:
                return None
            try:
                raw = glance(opened.place or self._place(opened))
            except StoreUnavailable:
                return None
        carried = opened.settled
        if carried is None or carried.raw != raw or now >= carried.until:
            carried = self._proved(opened) if raw is None else None
        return None if carried is None else (carried, others)

    def _look(self, opened: Opened | None, header: bytes, begin: int, end: int) -> tuple[Opened, bytes] | None:
        """What a header holds that is not the one that was looked into lately: `opened`, or another cookie's."""
        others = self._cookies.beside(header[:begin], header[end + 1 :])
        if others is None:
            return None
        begin += len(self._begins)
        value, came = header[begin:end], (header, begin, end, others)
        if opened is None or not opened.is_of(value):
            opened = self._open_new(value, came)
            return None if opened is None else (opened, others)
        lately, opened.came = opened.came, came
        if len(header) + len(others) > len(lately[0]) + len(lately[3]):
            self._opened.put(opened.signature, opened, opened.weight)
        return opened, others

    def _place(self, opened: Opened) -> str:
        opened.place = opened.record + self._suffix
        return opened.place
