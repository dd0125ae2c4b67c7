"""Protected unless a rule says otherwise, for the path that the application sees; and nobody is led away."""

from __future__ import annotations

from urllib.parse import quote, unquote, unquote_to_bytes

import ada_url
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette._utils import get_route_path

from lumin_middleware.errors import RequestRefused
from lumin_middleware.site.access import (
    RETURN_TO_LIMIT,
    Rule,
    Rules,
    accepts_html,
    is_navigation,
    is_page,
    is_prefetch,
    is_same_origin,
    is_whole_page,
    return_to,
)
from tests.fakes import NAVIGATION, ORIGIN, any_text, hostile, request

RULES = Rules(
    public=["/healthz", "/static/*", "/café", "/"],
    optional=["/home", "/blog/*", "/sign/preview"],
    required_scopes={"/sign/*": "sign:requests", "/sign/all": "templates sign:requests", "/blog/edit": "templates"},
)


def rule(raw: str, *, path: str | None = None, mount: str = "", rules: Rules = RULES) -> Rule | str:
    """The rule for a request whose target is `raw`, decoded as servers do; "refused" if it is."""
    decoded = unquote(raw) if path is None else path
    try:
        return rules.rule(request(decoded, raw_path=raw, mount=mount))
    except RequestRefused as error:
        return "refused" if (error.reason, error.status) == ("bad_path", 400) else str(error)


# --- the rules ---

PUBLIC = Rule(public=True)
PROTECTED = Rule()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/healthz", PUBLIC),
        ("/", PUBLIC),
        ("/static/app.js", PUBLIC),
        ("/static/App.JS", PUBLIC),
        ("/static/docs/", PUBLIC),
        ("/static/a/b-c_d.css", PUBLIC),
        ("/static/.well-known", PUBLIC),
        ("/static/...", PUBLIC),
        ("/static/a..b/c..", PUBLIC),
        ("/caf%C3%A9", PUBLIC),
        ("/static/a%20b", PUBLIC),
        ("/static/~a,b=c@d!$&'()*+:", PUBLIC),
        ("/healthz/", PROTECTED),
        ("/healthz2", PROTECTED),
        ("/healthz/x", PROTECTED),
        ("/Healthz", PROTECTED),
        ("/static", PROTECTED),
        ("/static/", PROTECTED),
        ("/STATIC/app.js", PROTECTED),
        ("/staticx/y", PROTECTED),
        ("/x/static/y", PROTECTED),
        ("/x/healthz", PROTECTED),
        ("/public", PROTECTED),
        ("", PROTECTED),
        ("*", PROTECTED),
        ("healthz", PROTECTED),
        ("/home", Rule(optional=True)),
        ("/blog/x", Rule(optional=True)),
        ("/blog/", PROTECTED),
        ("/blog/edit", Rule(scope=("templates",))),
        ("/blog/edit/", Rule(scope=("templates",))),
        ("/blog/EDIT", Rule(scope=("templates",))),
        ("/blog/editor", Rule(optional=True)),
        ("/sign/", Rule(scope=("sign:requests",))),
        ("/sign/preview", Rule(scope=("sign:requests",))),
        ("/sign/all", Rule(scope=("sign:requests", "templates"))),
        ("/sign", Rule(scope=("sign:requests",))),
        ("/SIGN", Rule(scope=("sign:requests",))),
        ("/signature", PROTECTED),
    ],
)
def test_a_path_has_the_rule_of_its_patterns(path, expected):
    assert rule(path) == expected


def test_what_nothing_is_said_of_is_neither_public_nor_optional():
    assert (PROTECTED.public, PROTECTED.optional, PROTECTED.scope) == (False, False, ())
    assert (PUBLIC.public, PUBLIC.optional, PUBLIC.scope) == (True, False, ())


def test_without_rules_everything_is_protected():
    rules = Rules([], [], {})
    for path in ("/", "/healthz", "", "*", "/a%2Fb", "//"):
        assert rule(path, rules=rules) == PROTECTED


def test_a_star_alone_is_everything_below_the_top():
    rules = Rules(["/*"], [], {})
    assert rule("/anything/at/all", rules=rules) == rule("/", rules=rules) == PUBLIC
    assert rule("*", rules=rules) == PROTECTED


def test_a_folder_s_own_page_is_named_by_its_name():
    """`/share/` is not below `/share/` for whoever takes it for `/share`, so that it wants to be named, too."""
    for named in ("/share", "/share/"):
        rules = Rules([named, "/share/*"], [], {})
        assert rule("/share/", rules=rules) == rule("/share/x/", rules=rules) == PUBLIC
    assert rule("/share", rules=Rules(["/share", "/share/*"], [], {})) == PUBLIC
    assert rule("/share/", rules=Rules(["/share/*"], [], {})) == rule("/share", rules=Rules(["/share/*"], [], {}))
    assert rule("/share/", rules=Rules(["/share"], ["/share/*"], {})) == Rule(optional=True)
    assert rule("/share/x/", rules=Rules(["/share/*", "/share/x/*"], [], {})) == PUBLIC


@pytest.mark.parametrize("name", ["/docs", "/Docs", "/docs/a.html", "/straße", "/a:b", "/a,b", "/.well-known"])
def test_what_is_named_plainly_is_public_as_it_is_named(name):
    for path in (name, f"{name}/"):
        assert rule(quote(path), path=path, rules=Rules([path], [], {})) == PUBLIC
    for path in (f"{name}/x", f"{name}/X/"):
        assert rule(quote(path), path=path, rules=Rules([f"{name}/*"], [], {})) == PUBLIC


@pytest.mark.parametrize("open_to", ["public", "optional"])
def test_scopes_win_over_what_is_public_or_optional(open_to):
    """Who throws the cookie away gets no further than who has not the scope."""
    settings = {"public": [], "optional": [], open_to: ["/*"]}
    rules = Rules(**settings, required_scopes={"/admin/*": "templates", "/sign": "sign:requests"})
    assert rule("/x", rules=rules) == Rule(**{open_to: True})
    for path in ("/admin/x", "/admin", "/ADMIN/x", "/admin/"):
        assert rule(path, rules=rules) == Rule(scope=("templates",))
    for path in ("/sign", "/sign/", "/Sign", "/sign//", "/sign%2F", "/sign;x", "/sign%3Fx", "/sign%23x", "//x/sign"):
        assert rule(path, rules=rules) == Rule(scope=("sign:requests",)), path
    assert rule("/signs", rules=rules) == Rule(**{open_to: True})


def test_a_pattern_is_text_and_not_an_expression():
    rules = Rules(["/a.c", "/(x|y)", "/[z]", "/end$", "/^"], [], {})
    assert rule("/a.c", rules=rules) == rule("/(x|y)", rules=rules) == rule("/[z]", rules=rules) == PUBLIC
    assert rule("/abc", rules=rules) == rule("/x", rules=rules) == rule("/z", rules=rules) == PROTECTED
    assert rule("/healthz\n", path="/healthz\n") == "refused"


AMBIGUOUS = [
    "/static/a%2Fb",
    "/static/a%2fb",
    "/static/a%5Cb",
    "/static/a%5cb",
    "/static/%00",
    "/static/a%2Ejs",
    "/static/a%2ejs",
    "/static/%252e%252e/admin",
    "/static/%25",
    "/static//admin",
    "//static/x",
    "/static/x;v=1",
    "/static/;/x",
    "/healthz;",
    "/static/\xff",
    "/static%3F/x",
]
REFUSED = [
    "/static/x%3F/..",
    "/static/..%3Fx",
    "/static/.%23",
    "/static/%ff",
    "/static/%c0%af",
    "/static/%c0%ae%c0%ae/x",
    "/static/%EF%BF%BD",
    "/static/x#y",
    "/sign#x",
    "/healthz#",
    "/static/../admin",
    "/static/..",
    "/static/./x",
    "/static/.",
    "/..",
    "/.",
    "../healthz",
    "/static/%2e%2e/admin",
    "/static/%2E./admin",
    "/static/..%2fadmin",
    "/static/..;/admin",
    "/static/..;x=y/admin",
    "/static/.;x/y",
    "/static/..%5cadmin",
    "/static/\\..\\admin",
    "/static\\x",
    "/static/a\tb",
    "/static/a%0ab",
    "/static/a%0d%0ab",
    "/static/a%00/..",
    "/static/%7f",
    "/healthz%00",
]


@pytest.mark.parametrize("raw", AMBIGUOUS)
def test_what_two_readers_may_understand_in_two_ways_is_never_public(raw):
    assert rule(raw) in (PROTECTED, "refused")


@pytest.mark.parametrize("raw", REFUSED)
def test_a_trick_is_refused_whatever_the_rule(raw):
    assert rule(raw) == "refused"
    assert rule(raw, rules=Rules([], [], {})) == "refused"


@pytest.mark.parametrize(
    ("raw", "path", "expected"),
    [
        ("/admin", "/healthz", PROTECTED),
        ("/healthz", "/admin", PROTECTED),
        ("/static/x", "/admin", PROTECTED),
        ("/%68ealthz", "/%68ealthz", PROTECTED),
        ("/static/x", "/static/../admin", "refused"),
        ("/static/../admin", "/static/x", "refused"),
        ("/static/x", "/static/\\x", "refused"),
    ],
)
def test_a_server_whose_two_readings_differ_opens_nothing(raw, path, expected):
    assert rule(raw, path=path) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "/sign%2Fx",
        "/sign/a%2Fb",
        "/sign//x",
        "//sign/x",
        "/sign/x;v=1",
        "/sign;v=1/x",
        "/sign/%252e",
        "/%73ign/x",
        "/%2573ign/x",
        "/%252573ign/x",
        "/sign",
        "/sign/",
        "/sign//",
        "/sign%2F",
        "/SIGN/x",
        "/%53IGN%2fx",
        "/x/%252e%252e/sign/x",
        "/x%252f..%255csign",
        "/sign%3Fx",
        "/sign%2500x",
        "/sign%252f%3b%2523",
        "sign/x",
        "http://app.example.com/sign/x",
        "//app.example.com/sign/x",
        "/sign/\xff",
    ],
)
def test_the_scope_of_a_path_is_asked_for_however_it_is_written(raw):
    assert rule(raw) == Rule(scope=("sign:requests",))


def test_letters_are_compared_as_whoever_folds_them_does():
    rules = Rules(["/*"], [], {"/Straße": "templates"})
    for path in ("/straße", "/STRASSE", "/Straße/", "/\u017ftra\u00dfe"):
        assert rule(quote(path), path=path, rules=rules) == Rule(scope=("templates",))


def test_what_can_be_read_in_too_many_ways_is_refused():
    assert rule("/%" + "25" * 200 + "41") == "refused"
    assert rule("/%" + "25" * 3 + "41") == PROTECTED


def test_each_scope_is_asked_for_once():
    assert rule("/sign/all", path="/sign/all;x") == Rule(scope=("sign:requests", "templates"))


# --- below a mount ---

MOUNTED = Rules(
    public=["/healthz", "/static/*", "/café"],
    optional=[],
    required_scopes={"/sign/*": "sign:requests"},
    callback_path="/app/auth/callback",
)
SIGN = Rule(scope=("sign:requests",))


@pytest.mark.parametrize(
    ("mount", "path"),
    [
        ("", "/sign/x"),
        ("/app", "/app/sign/x"),
        ("/app", "/sign/x"),
        ("/app", "/app"),
        ("/app", "/application/sign/x"),
        ("/app", "/app2/sign/x"),
        ("/sign", "/signature"),
        ("/a/b", "/a/b/sign/x"),
    ],
)
def test_the_path_that_counts_is_the_one_that_the_application_routes_on(mount, path):
    routed = get_route_path({"path": path, "root_path": mount})
    for rules in (RULES, MOUNTED):
        assert rule(path, mount=mount, rules=rules) == rule(routed, rules=rules)


def test_below_the_site_s_own_mount_the_patterns_are_the_application_s():
    def below(raw: str, **more: str) -> Rule | str:
        return rule(raw, mount="/app", rules=MOUNTED, **more)

    assert below("/app/healthz") == below("/app/static/App.js") == below("/app/caf%C3%A9") == PUBLIC
    assert below("/app/static/app/x") == PUBLIC  # the name of the mount once more, as any other
    assert below("/app/static/%2e%2e/x") == "refused"
    assert below("/app/static//x") == below("/app/static/") == below("/APP/static/x") == PROTECTED
    assert below("/app/sign") == below("/app/SIGN/x") == below("/app//sign") == below("/sign") == SIGN
    assert below("/healthz", path="/app/healthz") == PUBLIC  # a server that leaves the mount out of one


@pytest.mark.parametrize("mount", ["/static", "/static/x", "/x", "/ap", "/app/", "/app/auth/callback", "static/x", "/"])
def test_a_mount_that_is_not_the_site_s_own_hides_nothing(mount):
    """It may come from the client: what is public must be so with the mount and without it."""
    for rest in ("/secret", "secret", "/", ""):
        found = rule(f"{mount}{rest}", mount=mount, rules=MOUNTED)
        assert found == PROTECTED, rest
    assert rule(f"{mount}/sign/x", mount=mount, rules=MOUNTED) == SIGN
    assert rule("/healthz", mount=mount, rules=MOUNTED) == PUBLIC


def test_what_the_application_takes_away_by_itself_counts():
    rules = Rules(["/api/*", "/docs"], [], {"/admin": "templates"})
    for mount in ("", "/static"):
        own = request("/api/admin", raw_path="/api/admin", mount=mount, root_path="/api")
        assert rules.rule(own) == Rule(scope=("templates",))
        assert rules.rule(request("/api/x", raw_path="/api/x", mount=mount, root_path="/api")) == PROTECTED
    assert rules.rule(request("/api/docs", raw_path="/api/docs", root_path="/api")) == PUBLIC


# --- whatever comes ---

PIECES = [
    *("/", "//", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", ";", "%3b", "%25", "%00", "%0a", "%", "?", "#", " "),
    *("static", "healthz", "sign", "x", "%73tatic", "café", "caf%C3%A9", "%ff", "\uff0f", "%EF%BC%8F", "%20", "*", "~"),
]


def below(prefix: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(PIECES), max_size=8).map(lambda parts: prefix + "".join(parts))


tricky = below("/") | below("/static/")


@hostile
@given(raw=tricky | any_text, mount=st.sampled_from(["", "/static", "/x"]))
@example(raw="/static/%2e%2e/sign/x", mount="")
def test_a_public_path_is_the_same_to_every_reader(raw, mount):
    path = unquote(raw)
    if rule(raw, path=path, mount=mount) != PUBLIC:
        return
    assert unquote_to_bytes(raw.encode("latin-1")) == path.encode()
    assert unquote(path) == path, "a second decoding reads something else"
    routed = get_route_path({"path": path, "root_path": mount})
    assert routed in ("/healthz", "/café", "/") or (routed.startswith("/static/") and routed != "/static/")
    if not set("?#") & set(raw):
        seen = ada_url.URL(raw, base=ORIGIN).pathname
        assert unquote(seen) == path, "a browser would have asked for something else"


@hostile
@given(raw=tricky | any_text, path=tricky | any_text)
def test_any_two_readings_are_judged(raw, path):
    found = rule(raw, path=path)
    assert found == "refused" or isinstance(found, Rule)
    if found == PUBLIC:
        assert unquote_to_bytes(raw.encode("latin-1", "replace")) == path.encode("utf-8", "surrogateescape")


@hostile
@given(below("/sign/"))
def test_a_path_below_a_scope_s_pattern_always_asks_for_it(raw):
    found = rule(raw)
    assert found == "refused" or "sign:requests" in found.scope


# --- return_to ---


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/path?x=1&y=%26#f",
        "/a%2Fb",
        "/caf%C3%A9",
        "/a%20b?q=%20",
        "/?next=https://evil.example/",
        "/?next=//evil.example",
        "/x//y",
        "/a;b=c/d",
        "/.well-known/x",
        "/x...y/..z",
        "/%zz%",
        "/x?a=../..",
        "/x?a=%5C",
        "/#//evil",
        "/@evil.example",
        "/:8000/x",
        "/[x]!$&'()*+,~",
    ],
)
def test_a_path_of_this_site_comes_back_as_it_was(target):
    assert return_to(target, "/default") == target


@pytest.mark.parametrize(
    ("target", "written"),
    [
        ("/café", "/caf%C3%A9"),
        ("/a b", "/a%20b"),
        ('/"<>`{}|^', "/%22%3C%3E%60%7B%7D%7C%5E"),
        ("/x?q=ü&r=1", "/x?q=%C3%BC&r=1"),
        ("/\u560a", "/%E5%98%8A"),
    ],
)
def test_what_a_header_cannot_hold_is_escaped_once(target, written):
    assert return_to(target, "/default") == written
    assert return_to(written, "/default") == written


AWAY = [
    "",
    "x",
    "?x",
    "#x",
    " /x",
    "\t/x",
    "//evil.example",
    "///evil.example",
    "////evil.example/x",
    "/\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "\\\\evil.example",
    "/ /evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\u3000/evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https://evil.example",
    "http:/\\evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "/%2Fevil.example",
    "/%2f%2fevil.example",
    "/%5Cevil.example",
    "/%5c%5cevil.example",
    "/%252Fevil.example",
    "/%255Cevil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/../",
    "/x/../../y",
    "/x/..",
    "/x/.",
    "/x/%2e%2e/y",
    "/x/%2e%2e%2f",
    "/x/..;/y",
    "/x\r\nSet-Cookie: a=b",
    "/x%0d%0aSet-Cookie:%20a=b",
    "/x\x00",
    "/x\x7f",
    "/x?y\r\nz",
    "/x#y\nz",
    "/" + "x" * RETURN_TO_LIMIT,
    "/" + "x" * 64_000,
]


@pytest.mark.parametrize("target", AWAY)
def test_anything_else_becomes_the_default(target):
    assert return_to(target, "/default") == "/default"


@pytest.mark.parametrize(
    "lead", ["", "/", "//", "\\", "%2f", "%5c", "%09", "\t", "%252f", ".", "/.", "%2e/", "%00", "@"]
)
@pytest.mark.parametrize("slash", ["/", "\\", "%2f", "%5C", "%252F", "\t/", "/ ", "%0d/", "\u2044", "\uff0f"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example%2f..", "evil%E3%80%82example", "user@evil.example:80"])
def test_no_spelling_leads_to_another_site(lead, slash, host):
    stays_here(return_to(f"/{lead}{slash}{host}/x", "/default"))
    stays_here(return_to(f"{lead}{slash}{slash}{host}", "/default"))


def stays_here(found: str) -> None:
    """By the parser of browsers, and whatever a proxy or an application decodes before it redirects again."""
    assert found.isascii()
    for _ in range(3):
        assert ada_url.URL(found, base=f"{ORIGIN}/auth/callback").origin == ORIGIN
        path, _, rest = found.partition("?")
        found = unquote(path, errors="replace") + ("?" + rest if rest else "")


letters = st.sampled_from([*"/\\.;:@?#% \t\r\nx", "//", "%2f", "%5c", "%2e", "%09", "evil.example", "é"])


@hostile
@given(st.lists(letters, max_size=12).map(lambda parts: "/" + "".join(parts)) | st.text(max_size=60).map("/{}".format))
def test_any_target_stays_on_the_site_and_fits_in_a_header(target):
    found = return_to(target, "/default")
    stays_here(found)
    assert all(0x21 <= ord(character) <= 0x7E for character in found)
    assert return_to(found, "/default") == found


def test_half_a_character_is_no_reason_to_fail():
    stays_here(return_to("/\ud800", "/default"))


def test_the_longest_target_is_taken_and_a_longer_one_is_not():
    longest = "/" + "x" * (RETURN_TO_LIMIT - 1)
    assert return_to(longest, "/default") == longest
    assert return_to(longest + "x", "/default") == "/default"


@pytest.mark.parametrize("character", ["x", "é", " ", "\u3042", "\U0001f600", '"'])
def test_what_becomes_of_a_target_is_no_longer_than_what_may_be_sealed(character):
    """It travels in a cookie, and a cookie above 4,096 bytes is dropped by the browser: the login would fail."""
    for length in (100, 500, 700, 1000, 1999):
        assert len(return_to("/" + character * length, "/default")) <= RETURN_TO_LIMIT


# --- what kind of request ---

FRAMES = ("iframe", "frame", "fencedframe", "embed", "object")
FETCHED = {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (NAVIGATION, True),
        (HTML, True),
        ({"accept": "application/xhtml+xml"}, True),
        ({**HTML, "sec-fetch-mode": "navigate"}, True),
        ({"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, True),
        ({}, False),
        ({"accept": "*/*"}, False),
        ({"accept": "application/json"}, False),
        ({**HTML, **FETCHED}, False),
        ({**HTML, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, False),
        ({**HTML, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, False),
        ({**HTML, "sec-fetch-mode": "same-origin"}, False),
        ({**NAVIGATION, "sec-fetch-dest": "empty"}, True),
        ({"sec-fetch-mode": "navigate", "accept": "*/*", "x-requested-with": "com.example.app"}, True),
        ({**NAVIGATION, "x-requested-with": "XMLHttpRequest"}, True),
        ({**NAVIGATION, "hx-request": "true"}, True),
        ({**HTML, "x-requested-with": "com.example.app"}, True),
        ({**HTML, "x-requested-with": "XMLHttpRequest"}, False),
        ({**HTML, "x-requested-with": "xmlhttprequest"}, False),
        ({**HTML, "hx-request": "true"}, False),
        *(({**NAVIGATION, "sec-fetch-dest": frame}, False) for frame in FRAMES),
        ({**NAVIGATION, "sec-purpose": "prefetch"}, False),
        ({**NAVIGATION, "sec-purpose": "prefetch;prerender"}, False),
        ({**NAVIGATION, "purpose": "prefetch"}, False),
        ({**NAVIGATION, "x-purpose": "preview"}, False),
        ({**NAVIGATION, "x-moz": "prefetch"}, False),
        ({**NAVIGATION, "purpose": "work"}, True),
    ],
)
def test_who_is_going_somewhere(headers, expected):
    assert is_navigation(request(headers=headers)) is expected
    assert is_navigation(request(headers=headers, method="HEAD")) is expected


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "QUERY"])
def test_only_get_and_head_go_somewhere(method):
    assert not is_navigation(request(headers=NAVIGATION, method=method))


def test_a_handshake_goes_nowhere():
    assert not is_navigation(request(headers=NAVIGATION, websocket=True))
    assert not is_whole_page(request(headers=NAVIGATION, websocket=True))


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_page_in_a_frame_is_a_page_and_not_a_whole_one(method):
    assert is_whole_page(request(headers=NAVIGATION, method=method))
    for frame in FRAMES:
        framed = request(headers={**NAVIGATION, "sec-fetch-dest": frame}, method=method)
        assert (is_page(framed), is_whole_page(framed)) == (True, False)


def test_a_prefetch_is_known_by_its_header():
    assert is_prefetch(request(headers={"sec-purpose": "prefetch;anonymous-client-ip"}))
    assert not is_prefetch(request(headers={"x-other": "prefetch"}))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html", True),
        ("TEXT/HTML;q=0.1", True),
        ("application/json, text/html ; q=0.5", True),
        ("text/html;q=0.01", True),
        ("text/html;q=0", False),
        ("text/html; q=0.0, application/json", False),
        ("text/html ;q=0.000", False),
        ("text/plain", False),
        ("text/*", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_html_is_accepted_when_it_is_named_and_not_ruled_out(accept, expected):
    assert accepts_html(request(headers={"accept": accept})) is expected


def test_several_accept_headers_are_one_list():
    asked = request()
    asked.headers = [(b"accept", b"application/json"), (b"accept", b"text/html")]
    assert accepts_html(asked)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "https://evil.example"}, True),
        ({"sec-fetch-site": "same-site", "origin": ORIGIN}, False),
        ({"sec-fetch-site": "cross-site", "origin": ORIGIN}, False),
        ({"sec-fetch-site": "none", "origin": ORIGIN}, False),
        ({"origin": ORIGIN}, True),
        ({"origin": f"{ORIGIN}/"}, False),
        ({"origin": f"{ORIGIN}.evil.example"}, False),
        ({"origin": ORIGIN.upper()}, False),
        ({"origin": "null"}, False),
        ({"referer": f"{ORIGIN}/x"}, False),
        ({}, False),
    ],
)
def test_only_our_own_pages_are_of_our_origin(headers, expected):
    assert is_same_origin(request(headers=headers), ORIGIN) is expected


@pytest.mark.parametrize(
    ("path", "by"),
    [
        ("/pay/now", "required_auth_age '/pay/*'"),
        ("/sign/x", "required_scopes '/sign/*'"),
        ("/both", "required_scopes '/both' and required_auth_age '/both'"),
    ],
)
def test_what_a_path_needs_is_named_with_its_setting(path, by):
    rules = Rules(["/pay/*"], [], {"/sign/*": "a", "/both": "b"}, "", {"/pay/*": 300, "/both": 60})
    assert rules.ruling(request(path)).by == by
