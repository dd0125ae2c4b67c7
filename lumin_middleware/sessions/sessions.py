"""Sessions: one interface to those in cookies and those in the store; whoever uses one never asks which it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from ..config import LuminConfig
from ..errors import SessionEnded, StoreUnavailable
from ..events import StoreTrouble
from ..journal import Seldom
from ..model import Session
from ..ports import Glance, World
from .cookies import Cookies, Jar
from .due import due_from
from .limits import Limits
from .memo import Memo
from .opened import Came, Carried, Opened
from .records import Record, Records
from .sealing import SIGNATURE_LENGTH, Sealer

ID_BYTES = 24  # 192 bits; OWASP ASVS 5, 7.2.3 asks for 128


class Sessions(ABC):
    """What both kinds share: limits, the record, and the cookie."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        self._config = config
        self._world = world
        self._cookies = cookies
        self._handle_sealer = Sealer(config.keys, "handle", world.clock)
        self._records = Records(config, world)
        self._begins = cookies.begins
        self._opened: Memo[Opened] = Memo(config.session_memory)
        self._known = self._opened.look
        glance: Glance | None = getattr(world.store, "glance", None)
        self._glance: Callable[[str], bytes | None] | None = glance.get if glance else None
        self._suffix = glance.suffix if glance else ""
        self._clock = world.clock
        self.limits = Limits.of(config, world.clock)
        self.lists_anew: Callable[[Session], Awaitable[bool]] | None = None
        """Seals what lists a session with the newest key, too, if the store takes it; whoever keeps lists says how."""
        self._seldom = Seldom(world.clock)

    # --- what differs ---

    _asks: bool
    """Whether the store is asked about a session in which nothing falls due."""

    @abstractmethod
    async def load(self, jar: Jar[Opened], *, slide: bool = False) -> Carried | None:
        """The session that the cookies carry, if any. With `slide` this counts as its use, for whoever gives the
        browser the cookie that says so.

        Raises `SessionEnded` when there was one, `StoreUnavailable` when it cannot be known.
        """

    @abstractmethod
    async def begin(self, session: Session) -> None:
        """Makes a new session known. Raises `StoreUnavailable`."""

    @abstractmethod
    async def end(self, session_id: str, began: float, lasts: float | None = None) -> Session | None:
        """Ends it for every copy, whoever holds one, for as long as it `lasts`. Raises `StoreUnavailable`.

        Returns what the record held, which may be newer than all that anybody read before.
        """

    @abstractmethod
    def _unrecorded(self, session: Session) -> Record:
        """What it means that the store has no record. Raises `SessionEnded`."""

    @abstractmethod
    def _proved(self, opened: Opened) -> Carried | None:
        """What a cookie carries that no record says anything about."""

    @abstractmethod
    def _lifetime(self, session: Session) -> float:
        """Seconds that the record of a session must live."""

    @abstractmethod
    def _unseal(self, value: bytes) -> Opened | None:
        """What a cookie holds, if we sealed it."""

    @abstractmethod
    def _value(self, session: Session, *, saved: bool) -> str | None:
        """What the cookie holds; None where there is nothing to hold as long as the session is not `saved`."""

    # --- what does not ---

    def check_limits(self, session: Session) -> None:
        """Raises `SessionEnded` past the idle or the absolute limit, whatever the browser believes."""
        self.limits.check(session)

    async def newest(self, session: Session) -> Record:
        """The newest generation that anybody knows. Raises `SessionEnded`, `StoreUnavailable`."""
        raw = await self._records.raw(session.id)
        return self._unrecorded(session) if raw is None else Record(raw, self._recorded(raw, session)[0])

    def _recorded(self, raw: bytes, session: Session) -> tuple[Session, bool]:
        """The newer of a session and its record, and whether the record was sealed with a key that will go."""
        recorded, outdated = self._records.read(raw, session.id)
        return (recorded if recorded.generation > session.generation else session), outdated

    async def current(self, jar: Jar[Opened]) -> Session | None:
        """The session that the cookies carry, if it is one still. Raises `StoreUnavailable`."""
        try:
            carried = await self.load(jar)
        except SessionEnded:
            return None
        return carried.session if carried else None

    async def is_over(self, session: Session) -> bool:
        """Whether a session that is being served has ended, as far as the store can say now."""
        try:
            return await self.has_ended(session)
        except StoreUnavailable as error:
            self.warn("ends_unknown", error)
            return False

    async def has_ended(self, session: Session) -> bool:
        """Whether a session was ended, or is past its absolute limit. Raises `StoreUnavailable`."""
        if self._clock() >= self.limits.ends_at(session.began, session.lasts):
            return True  # which no store need be asked
        try:
            await self.newest(session)
        except SessionEnded:
            return True
        return False

    async def find(self, session_id: str) -> Session | None:
        """The session that the store has under an id, if it has one. Raises `StoreUnavailable`."""
        raw = await self._records.raw(session_id)
        try:
            return self._records.read(raw, session_id)[0] if raw is not None else None
        except SessionEnded:
            return None

    async def replace(self, record: Record, session: Session) -> bool:
        """Writes the record if it is still what `record` says. Raises `StoreUnavailable`."""
        return await self._records.replace(record, self._told(session), self._lifetime(session))

    def _told(self, session: Session) -> Session:
        """The session as it is written."""
        return self.limits.told(session)

    def set_cookies(self, session: Session, jar: Jar[Opened], *, saved: bool = True) -> list[str]:
        """The `Set-Cookie` values that give the browser this session. One that the store does not know yet, although
        it must, is not `saved`: the cookie that the browser has then finds it later.
        """
        value = self._value(session, saved=saved)
        return [] if value is None else self._written(value, session, jar)

    def _written(self, value: str, session: Session, jar: Jar[Opened]) -> list[str]:
        max_age = self.limits.max_age(session)
        return self._cookies.write_session(value, max_age, {} if jar.takes_one else jar.ours)

    async def give_back(self, session: Session, jar: Jar[Opened], *, saved: bool = True) -> list[str]:
        """The same for a session that a request came with some time ago. None where it has ended since: by now the
        browser may have another's cookie, or have been told that it has none.
        """
        return [] if await self.is_over(session) else self.set_cookies(session, jar, saved=saved)

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

    # --- a session that only the store has ---

    def _handle(self, session: Session) -> str:
        """What a cookie holds in place of a session that the store has."""
        return self._handle_sealer.seal(session.id.encode())

    def _from_handle(self, value: bytes) -> Opened | None:
        unsealed = self._handle_sealer.unseal(value)
        if unsealed is None:
            return None
        session_id = unsealed.data.decode()
        return Opened(None, session_id, unsealed.newest_key, len(unsealed.data))

    async def _record(self, session: Session) -> None:
        """Writes the first record of a session. Raises `StoreUnavailable`."""
        if not await self.replace(Record(None, session), session):
            raise StoreUnavailable("a new session's id is taken, so the store does not keep its contract")

    async def _load_recorded(self, opened: Opened, jar: Jar[Opened], *, slide: bool) -> Carried | None:
        raw = await self._world.store.get(opened.record)
        if raw is None:
            return None
        if (carried := self._unchanged(opened, raw)) is not None:
            return carried
        session, outdated = self._records.read(raw, opened.session_id)
        self.check_limits(session)
        slides = slide and self._is_sliding(session)
        if outdated or not opened.newest_key:
            await self._list_anew(opened, session)
        if slides or outdated:
            await self._rewrite(raw, session)
        if slides or outdated or not opened.newest_key:
            return Carried(session, slides or not opened.newest_key)
        return self._settle(opened, raw, session)

    def _unchanged(self, opened: Opened, raw: bytes | None) -> Carried | None:
        """What a cookie was found to carry, where neither time nor its record can have changed that."""
        settled = opened.settled
        if settled is not None and settled.raw == raw and self._clock() < settled.until:
            return settled
        return None

    # --- small things ---

    def warn(self, code: str, error: object, *, often: bool = True) -> None:
        """Logs trouble that each request would meet, once in a while; its event is told `often`, or as seldom."""
        said = self._seldom.say(code, error=error)
        if isinstance(error, StoreUnavailable) and (said or often):
            self._world.tell(StoreTrouble(reason=code, at=self._clock()))

    async def keep_listed(self, session: Session) -> bool:
        """Lists a session where it is not, as when nobody kept lists yet when it began; whether that is known."""
        return self.lists_anew is None or await self.lists_anew(session)

    async def _list_anew(self, opened: Opened, session: Session) -> None:
        """Before anything else of a session is sealed anew: whatever finds out that it must be is used up by that. Once
        for each cookie, since some take no new one."""
        opened.listed = opened.listed or await self.keep_listed(session)

    async def _rewrite(self, raw: bytes, session: Session) -> None:
        """Seals a record anew, now and with the newest key. Whoever else writes meanwhile writes no less."""
        try:
            await self.replace(Record(raw, session), session)
        except StoreUnavailable as error:
            self.warn("use_not_written", error)

    def _is_sliding(self, session: Session) -> bool:
        return self._clock() >= self.limits.slides_at(session)
