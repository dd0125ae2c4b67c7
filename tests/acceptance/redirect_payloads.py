"""Targets that try to lead away from the site, made from tables of tricks, and targets that are fine."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

EVIL = "evil.example"

# What stands where a site's own path would begin.
SLASHES = ["//", "///", "////", "/////", "//////////"]
BACKSLASHES = ["/\\", "\\/", "\\\\", "\\", "/\\/", "/\\\\", "\\/\\/", "//\\", "\\//", "/\\/\\", "\\\\\\\\", "//\\/"]
CONTROLS = [f"/{chr(code)}/" for code in (*range(0x20), 0x7F)] + [f"{chr(code)}//" for code in (*range(0x21), 0x7F)]
CONTROLS += ["/\t\t/", "/\r\n/", "\t/\t/\t", "/\t\\", "\\\t/", "//\t/", "/\n//", "/\x85/", "/\x80/"]
SPACES = [" //", "  //", "/ /", "/ //", "// ", "/\u00a0/", "/\u2003/", "/\u200b/", "/\u2028/", "/\u3000/", "\ufeff//"]
SPACES += ["/\u00ad/", "/\u200d/", "/\u2060/", "/\ufeff/", "\u180e//"]
ENCODED = [
    "/%2f",
    "/%2F",
    "/%2f/",
    "%2f%2f",
    "%2F%2F",
    "/%2f%2f",
    "//%2f",
    "/%5c",
    "/%5C",
    "/%5c/",
    "%5c%5c",
    "/%5c%5c",
]
ENCODED += [
    "/%09/",
    "/%0a/",
    "/%0d/",
    "/%0d%0a/",
    "/%00/",
    "/%00//",
    "%00//",
    "%20//",
    "/%20/",
    "/%0b/",
    "/%7f/",
    "/%85/",
]
ENCODED += ["/%252f", "/%252f/", "/%255c", "/%2509/", "/%25252f", "%252f%252f", "/%25%32%66", "/%2%66", "/%2%35%63"]
ENCODED += ["/%c0%af", "/%c0%af/", "/%e0%80%af", "/%c1%9c", "/%ef%bc%8f", "/%e3%80%82", "/%u002f", "/&sol;", "/&#47;"]
DOTS = [
    "/./",
    "/.//",
    "/././/",
    "//./",
    "//../",
    "/../",
    "/..//",
    "/../../",
    "/x/..//",
    "/x/../../",
    "./",
    ".//",
    "..",
    "../",
]
DOTS += [
    "../../",
    "/.",
    "/..",
    "/...//",
    "/..;/",
    "/.;//",
    "/;//",
    "/;/../",
    "/%2e/",
    "/%2e//",
    "/%2e%2e/",
    "/%2e%2e//",
]
DOTS += [
    "/.%2e/",
    "/%2e./",
    "/%2e%2f/",
    "/..%2f/",
    "/..%2f",
    "/..%5c",
    "/..\\",
    "/.\\",
    "/x/..\\..\\",
    "/x/%2e%2e/%2e%2e//",
]
DOTS += ["/%252e%252e/", "/%252e%252e%252f", "/..%252f", "/..%00/", "/..%09/", "/.%09./", "/..\t/", "/.\t./", "/x/.;a/"]
USERINFO = ["//app.example.com@", "//app.example.com:443@", "//a:b@", "//@", "//:@", "/@", "@", "//app.example.com%40"]
USERINFO += [
    "https://app.example.com@",
    "https://app.example.com:x@",
    "//app.example.com\\@",
    "https://app.example.com%2f@",
]
SCHEMES = [
    f"{scheme}{slashes}"
    for scheme in (
        "https:",
        "http:",
        "HTTPS:",
        "hTTp:",
        "ftp:",
        "ws:",
        "file:",
        "blob:https:",
        "view-source:https:",
        "x:",
    )
    for slashes in ("", "/", "//", "///", "\\\\", "/\\", "\\/", "\t//", "%2f%2f")
]
SCRIPTS = ["javascript:alert(1)//", "JaVaScRiPt:alert(1)//", "java\tscript:alert(1)//", "java\nscript:alert(1)//"]
SCRIPTS += ["\x01javascript:alert(1)//", " javascript:alert(1)//", "javascript://%0aalert(1)//", "vbscript:msgbox(1)//"]
SCRIPTS += ["data:text/html,<script>alert(1)</script>", "data:text/html;base64,PHNjcmlwdD4=", "data:,", "about:blank#"]
SCRIPTS += [
    "/javascript:alert(1)//",
    "//javascript:alert(1)//",
    "mailto:x@",
    "intent://",
    "jar:",
    "filesystem:https://",
]
LOOKALIKES = [
    "\uff0f\uff0f",
    "/\uff0f",
    "\u2044\u2044",
    "/\u2215",
    "/\uff3c",
    "\uff3c\uff3c",
    "/\u29f8",
    "/\u29f5",
    "/\ufe68",
]
LOOKALIKES += ["\u2571\u2571", "/\u560a", "/\u560d\u560a", "/\u0130/", "/\uff0e\uff0e/", "/\u2024\u2024/", "/\u2025/"]
REFERENCES = [
    "?",
    "#",
    "?//",
    "#//",
    "?url=//",
    ";//",
    ":",
    ":80//",
    "*",
    "",
    ".",
    "x",
    "x//",
    "&//",
    "%",
    "%%",
    "/%",
    "/%%",
]
REFERENCES += ["/?//", "/#//", "/\\?//", "/x?\\//", "/x#\\//", "//?", "//#", "///?", "/?/\\", "/;@", "/:80", "/*"]
INJECTIONS = [
    "/%0d%0aLocation:%20//",
    "/\r\nLocation: //",
    "/\rLocation: //",
    "/\nSet-Cookie: a=b; x=//",
    "/%E5%98%8A%E5%98%8D//",
]
INJECTIONS += [
    '/"><script>alert(1)</script>//',
    "/'//",
    "/`//",
    "/{//",
    "/|//",
    "/^//",
    "/<>//",
    "/%22//",
    "/${jndi:ldap://",
]

PREFIXES = [
    *SLASHES,
    *BACKSLASHES,
    *CONTROLS,
    *SPACES,
    *ENCODED,
    *DOTS,
    *USERINFO,
    *SCHEMES,
    *SCRIPTS,
    *LOOKALIKES,
    *REFERENCES,
    *INJECTIONS,
]
HOSTS = [EVIL, f"{EVIL}/%2e%2e", f"{EVIL}%2f@app.example.com/", "evil\u3002example"]

# These no reading at all makes a path of ours; they must lead to the default.
LISTED = [
    *(f"{prefix}{EVIL}" for prefix in (*SLASHES, *BACKSLASHES, *SCHEMES)),
    *(
        "javascript:alert(1)",
        "data:text/html,x",
        "JAVASCRIPT:alert(1)",
        "vbscript:x",
        "file:///etc/passwd",
        "about:blank",
    ),
    *(f"https:{EVIL}", f"https:/{EVIL}", f"http:/\\{EVIL}", f"/\t/{EVIL}", f"/\n/{EVIL}", f"\t//{EVIL}", f" //{EVIL}"),
    *("", " ", ".", "..", "x", "x/y", "?x", "#x", EVIL, f"@{EVIL}", f"{EVIL}/", "evil.example:443", "*", "%2f", "\\"),
    *("//app.example.com", "//app.example.com/x", "https://app.example.com/x", "http://app.example.com/"),
]

FINE = [
    "/",
    "/path?x=1&y=%26#f",
    "/a%2Fb",
    "/a%2fb",
    "/caf%C3%A9",
    "/caf%c3%a9?q=%c3%a9",
    "/100%25",
    "/a+b?c+d",
    "/a%20b",
    "/x?next=https://evil.example/",
    "/x?a=//evil.example&b=%5C",
    "/x?a=../..",
    "/x#//evil.example",
    "/@user/repo",
    "/a:b",
    "/a;b=c/d",
    "/.well-known/x",
    "/a/.hidden/b",
    "/a/b..c",
    "/...",
    "/~me/$x!*'(),;:@&=+",
    "/x?a[]=1&a[]=2",
    "/x??",
    "/a//b",
    "/x?q=%00",
    "/x?q=%0d%0a",
    "/" + "a" * 1500,
]


def payloads() -> Iterator[str]:
    """Every trick before every host, and what was listed by hand."""
    yield from LISTED
    for prefix in PREFIXES:
        for host in HOSTS if prefix in (*SLASHES, *BACKSLASHES, *USERINFO) else HOSTS[:1]:
            yield prefix + host


def quoted(payload: str) -> str:
    """The payload as one parameter of a query, so that it arrives as it is."""
    return quote(payload.encode("utf-8", "surrogatepass"), safe="")
