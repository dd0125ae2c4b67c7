"""The checks of settings, one for each kind of value.

Each returns what it read, or raises `ConfigurationError` with the field, what is wrong, and the cure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .errors import ConfigurationError

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))
"""This machine's own addresses; by name it is `localhost` and whatever ends in `.localhost` (Secure Contexts, 3.1)."""

# Signatures that only the server's private key can make; "none" and HMAC are not on the list, so no
# header can talk us into them (RFC 8725, 3.1).
ID_TOKEN_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

HOST_LIMIT = 253
"""Characters of a host's name (RFC 1035, 2.3.4: 255 bytes on the wire)."""

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")

# A name whose last label is a number would be an address (WHATWG URL, 3.5).
_DOMAIN = re.compile(r"(?:[a-z0-9_-]+\.)*(?!(?:[0-9]+|0x[0-9a-f]*)\Z)[a-z0-9_-]+")

SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749, 3.3


class Secret(str):
    """Text that does not show itself: its `repr` is safe in a log, a traceback, an error report."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('…')"


def kind(value: object) -> str:
    """What was given in another's place. The value itself is not shown: it may be a secret."""
    if value is None:
        return "None"
    return f"the class {value.__name__}" if isinstance(value, type) else f"of the type {type(value).__name__}"


def _text(name: str, value: object, cure: str) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(name, f"must be a text, and is {kind(value)}; {cure}")
    if not value.strip():
        raise ConfigurationError(name, f"is missing; {cure}")
    return value


def url(name: str, value: object, *, query: bool = False) -> SplitResult:
    value = _text(name, value, "give a URL such as https://app.example.com/…")
    seen(name, value)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(name, f"is not a URL: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(name, "must not hold a user name or password")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigurationError(name, f"{value!r} is not an http(s) URL with a host")
    if not _is_as_browsers_write_it(parts):
        raise ConfigurationError(name, f"{value!r} must name its host as browsers write it, such as app.example.com")
    host(name, parts.hostname)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigurationError(
            name, f"{value!r} must be https; http is for localhost, *.localhost, 127.0.0.1 and [::1] only"
        )
    if "#" in value or (parts.query and not query):
        raise ConfigurationError(name, f"{value!r} must not have a {'fragment' if '#' in value else 'query'}")
    if not re.fullmatch(r"[\x21-\x5B\x5D-\x7E]+", value):
        raise ConfigurationError(name, "holds a space, a backslash or a character that is not ASCII; percent-encode it")
    return parts


def query(name: str, text: str, added: Sequence[str]) -> None:
    """The query of a URL to which parameters are `added`: none may come twice (RFC 6749, 3.1)."""
    try:
        found = [each for each, _ in parse_qsl(text, keep_blank_values=True, errors="strict")]
    except ValueError:
        raise ConfigurationError(name, "has a query that cannot be read; leave it out") from None
    if twice := [each for each in found if each in added or found.count(each) > 1]:
        raise ConfigurationError(name, f"has {twice[0]!r} in its query, which would come twice; leave it out")


def host(name: str, value: str) -> None:
    """A host that can be looked up, or an address. The last dot of a name may be written (RFC 1034, 3.1)."""
    labels = value.removesuffix(".").split(".")
    if not is_address(value) and not (len(value) <= HOST_LIMIT and all(map(_LABEL.fullmatch, labels))):
        limits = f"letters, digits, '-' and '_' between single dots, at most 63 in a row and {HOST_LIMIT} in all"
        raise ConfigurationError(name, f"{value[:80]!r} is no host that can be looked up; a name has {limits}")


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine whatever a name server says (Secure Contexts, 3.1; RFC 6761, 6.3)."""
    try:
        return any(ip_address(host) in network for network in LOOPBACK)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_as_browsers_write_it(parts: SplitResult) -> bool:
    """Whether an `Origin` can ever be equal to this one: 10.1 and [0:0::1] are sent as 10.0.0.1 and [::1]."""
    host = parts.hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return _DOMAIN.fullmatch(host) is not None
    written = f"[{address}]" if address.version == 6 else str(address)
    return re.fullmatch(re.escape(written) + "(?::[0-9]*)?", parts.netloc.lower()) is not None


def credential(name: str, value: object) -> None:
    cure = "copy it again from your app's details at Lumin"
    seen(name, _text(name, value, "it is shown in your app's details at Lumin"), cure)


_BY_NAME = {
    "\r": "a carriage return",
    "\n": "a line feed",
    "\t": "a tab",
    "\0": "a NUL",
    "\ufeff": "a byte order mark",
    "\ufffd": "U+FFFD, which stands for a character that was lost",
}

# Of what nobody sees (Unicode, Default_Ignorable_Code_Point) that which no category tells, and an empty Braille cell.
_BLANK = (
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164"
    "\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)

# What shapes the characters around it: between two letters of Persian, Hindi or Mongolian (RFC 5892, A.1 and A.2), or
# two parts of an emoji, and behind a sign, or a character of Chinese, that is written in several ways.
_SHAPING = (
    "(?<=[^\0-\x7f])[\u200c\u200d\u180b-\u180f](?=[^\0-\x7f\u200c\u200d\u180b-\u180f])"
    "|(?<=[\xa9\xae\u203c-\u33ff\U0001f000-\U0001faff])[\ufe0e\ufe0f]|\ufe0f(?=\u20e3)"
    "|(?<=[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\ufe00-\ufe02\U000e0100-\U000e01ef]"
)


def stowaway(text: str) -> str | None:
    """What came along with a text that was copied, or read from a file, and that nobody sees."""
    # Neither expression has to be compiled for a text in ASCII, as most settings are: together they take 2 ms.
    shaped = text if text.isascii() else re.sub(_SHAPING, "", text)
    for character in shaped:
        category = unicodedata.category(character)
        if category == "Cs":
            return "half a character"
        unseen = category in ("Cc", "Cf", "Zl", "Zp") or (category == "Zs" and character not in " \u3000")
        if unseen or character in _BY_NAME or (not character.isascii() and re.match(_BLANK, character)):
            return _BY_NAME.get(character) or f"the invisible character U+{ord(character):04X}"
    return "a space at one of its ends" if text != text.strip() else None


def seen(name: str, text: str, cure: str = "write it by hand", *, shown: bool = False) -> None:
    """That a text, if there is one, is what people see of it. One of several is `shown`, where it is no secret."""
    if text.strip() and (found := stowaway(text)):
        raise ConfigurationError(name, f"{ascii(text) + ' ' if shown else ''}holds {found}; {cure}")


def boolean(name: str, value: object) -> None:
    # A text such as "false" would be true.
    if not isinstance(value, bool):
        raise ConfigurationError(name, f"{value!r} must be True or False")


def size(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(name, "must be a whole number of bytes, 0 or more")


def cookie_name(name: str, value: object) -> None:
    # Of a token's characters (RFC 6265, 4.1.1) those that no server, proxy or script reads in a way of its own.
    if value is not None and not (isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value)):
        raise ConfigurationError(name, "must be letters, digits, '-' and '_', at most 64 of them, without '__Host-'")


def _listed(name: str, value: object, such: str, of: type = object) -> tuple[Any, ...]:
    # A text is one of its letters, and none that anybody means.
    listed = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else None
    if listed is None or not all(isinstance(item, of) for item in listed):
        raise ConfigurationError(name, f"{value!r} must be a list{such}")
    for item in listed:
        if isinstance(item, str):
            seen(name, item, shown=True)
    return listed


def names(name: str, value: object, such: str = " of names, such as ['sub', 'email']") -> tuple[str, ...]:
    return _listed(name, value, such, str)


# Without what stands in an address between quotation marks alone (RFC 5322, 3.2.3): it is of a list, or of a name.
_ADDRESS = re.compile(r"""(?:\*|[^\s@*,"()<>\[\]:;\\]+)@[^\s@*,"()<>\[\]:;\\]+""")


def admission(name: str, value: object) -> object:
    if value is None or callable(value):
        return value
    listed = names(name, value, " of addresses, such as ['ann@example.org', '*@example.com'], or a function")
    for item in listed:
        if not _ADDRESS.fullmatch(item):
            raise ConfigurationError(name, f"{item!r} must be an address, such as 'ann@example.org' or '*@example.com'")
    return listed


def function(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise ConfigurationError(name, "must be a function that takes one argument")


def one_of(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigurationError(name, f"{value!r} is not known; use one of {', '.join(choices)}")


def seconds(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigurationError(
            name, f"{value!r} must be a number of seconds between {_written(low)} and {_written(high)}"
        )


def _written(number: float) -> str:
    """A number as people write it: 31536000, not 3.1536e+07."""
    return str(int(number) if number == int(number) else number)


def scope(name: str, value: object) -> tuple[str, ...]:
    tokens = tuple(value.split(" ")) if isinstance(value, str) else ()
    if not tokens or not all(SCOPE_TOKEN.fullmatch(token) for token in tokens):
        raise ConfigurationError(
            name, f"{value!r} must be scopes separated by one space, such as 'openid sign:requests'"
        )
    return tokens


def plain_scope(name: str, value: object) -> tuple[str, ...]:
    """Scopes as Lumin has them: a comma, which one may hold (RFC 6749, 3.3), was meant to separate two."""
    if isinstance(value, str) and "," in value:
        raise ConfigurationError(name, f"{value!r} holds a comma; scopes are separated by spaces")
    return scope(name, value)


def local_path(name: str, value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"/(?![/\\])[\x21-\x5B\x5D-\x7E]*", value):
        raise ConfigurationError(name, f"{value!r} must be a path of this site, such as '/' or '/home'")


def pattern(name: str, value: object) -> None:
    if isinstance(value, str):
        seen(name, value, shown=True)
    if not isinstance(value, str) or not value.startswith("/"):
        raise ConfigurationError(name, f"{value!r} must begin with a slash, such as '/healthz' or '/static/*'")
    if "*" in value.removesuffix("/*"):
        raise ConfigurationError(name, f"{value!r}: a star stands only at the end, after a slash, as in '/static/*'")
    if re.search(r"[\x00-\x20\x7f\\?#%;]|//|/\.{1,2}(/|$)", value):
        raise ConfigurationError(name, f"{value!r} must be a plain path: no query, escapes, dots or double slashes")


def patterns(name: str, value: object) -> tuple[str, ...]:
    listed = _listed(name, value, " of patterns, such as ['/healthz', '/static/*']")
    for item in listed:
        pattern(name, item)
    return listed


API_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def api_calls(name: str, value: object) -> tuple[str, ...]:
    listed = _listed(name, value, ", such as ['GET /user/info', '/signature_request/*']")
    for item in listed:
        method, _, path = item.rpartition(" ") if isinstance(item, str) else ("", "", "")
        if not path.startswith("/"):
            raise ConfigurationError(name, f"{item!r} must be a path of the API, such as 'GET /user/info'")
        if "/" in method:
            raise ConfigurationError(name, f"{item!r} holds two paths; they are separated by commas")
        if method and method not in API_METHODS:
            raise ConfigurationError(name, f"{item!r}: {method!r} is none of {', '.join(API_METHODS)}")
        pattern(name, path)
    return listed


def networks(name: str, value: object) -> tuple[str, ...]:
    listed = _listed(name, value, " of networks, such as ['127.0.0.1', '10.0.0.0/8']")
    return tuple(_network(name, item) for item in listed)


def _network(name: str, item: object) -> str:
    """A network as peers are compared with it: an IPv4 one that is written as IPv6 (RFC 4291, 2.5.5.2) as IPv4."""
    try:
        network = ip_network(item if isinstance(item, str) else "")
    except ValueError as error:
        raise ConfigurationError(name, f"{item!r} is no IP address or network: {error}") from None
    if "%" in str(item):
        raise ConfigurationError(name, f"{item!r} names an interface, which nobody compares; leave it out")
    mapped = network.network_address.ipv4_mapped if network.version == 6 else None
    if mapped is None or network.prefixlen < 96:
        return str(item)
    return str(mapped if network.prefixlen == 128 else ip_network((mapped, network.prefixlen - 96)))
