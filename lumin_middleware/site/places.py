"""Where our routes are that answers lead to, and where a request says that it comes from."""

from __future__ import annotations

from urllib.parse import quote

from ..config import LuminConfig
from ..model import Request
from .access import percent_encoded


class Places:
    """Where our routes are that answers lead to."""

    def __init__(self, config: LuminConfig) -> None:
        self._config = config
        self.login_path = f"{config.prefix}/login"
        self.logout_path = f"{config.prefix}/logout"
        self.connect_path = f"{config.prefix}/connect"
        self.popup_path = f"{config.prefix}/popup"
        self.form_path = f"{config.prefix}/form"
        self.ways_in = (self.login_path, self.connect_path, self.form_path)

    def login_to(self, wanted: str) -> str:
        """The login that leads to a page."""
        return f"{self.login_path}?return_to={quote(wanted, safe='/')}"

    def ways_after_failing(self, wanted: str, *, as_another: bool) -> list[tuple[str, str]]:
        """The links of a page that says that a sign-in came to nothing: the same once more, and out of a popup."""
        again = self.login_to(wanted)
        links = [("start_again", again)]
        if as_another:  # the server may remember whom it is to be
            links.append(("as_another", f"{again}&prompt=login"))
        if wanted.partition("?")[0] == self.popup_path:  # whose page waits for an answer, and takes this one for a no
            links.append(("close", wanted))
        return links

    def connect_to(self, wanted: str, name: str) -> str:
        """Where somebody gives the grant of this name, which leads to a page then."""
        return f"{self.connect_path}?return_to={quote(wanted, safe='/')}&name={quote(name, safe='')}"


def own_page(request: Request, config: LuminConfig) -> str:
    """The page of this site that a request says it was made from; empty for none. It is not judged yet."""
    page = request.header(b"hx-current-url") or request.header(b"referer")
    return page[len(config.origin) :] if page.startswith(f"{config.origin}/") else ""


def target(request: Request) -> str:
    """The request target in origin form (RFC 9112, 3.2.1), as it came."""
    raw = f"{request.raw_path}?{request.query}" if request.query else request.raw_path
    return percent_encoded(raw.encode("latin-1", "replace"))
