"""Sessions: one interface to those in cookies and those in the store; whoever uses one never asks which it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable

from ..config import LuminConfig
from ..errors import SessionEnded, StoreUnavailable
from ..events import StoreTrouble
from ..journal import Seldom
from ..model import Session
from ..ports import World
from .cookies import Cookies, Jar
from .opened import Carried, Opened
from .opening import Opening
from .records import Record, Records
from .sealing import Sealer

ID_BYTES = 24  # 192 bits; OWASP ASVS 5, 7.2.3 asks for 128


class Sessions(Opening):
    """What both kinds share: limits, the record, and the cookie."""

    def __init__(self, config: LuminConfig, world: World, cookies: Cookies) -> None:
        super().__init__(config, world, cookies)
        self._handle_sealer = Sealer(config.keys, "handle", world.clock)
        self._records = Records(config, world)
        self.lists_anew: Callable[[Session], Awaitable[bool]] | None = None
        """Seals what lists a session with the newest key, too, if the store takes it; whoever keeps lists says how."""
        self._seldom = Seldom(world.clock)

    # --- what differs ---

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
    def _lifetime(self, session: Session) -> float:
        """Seconds that the record of a session must live."""

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
