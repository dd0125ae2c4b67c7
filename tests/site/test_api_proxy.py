"""Which calls of a page pass to the API, and what they look like there: the rules. The edges are in `tests/edges`."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware import ConfigurationError
from lumin_middleware.errors import RequestRefused
from lumin_middleware.model import Request
from lumin_middleware.site.api_proxy import ApiCall, ApiProxy, Head
from tests.api_proxy_cases import ALLOWED, HOSTILE, OURS
from tests.fakes import config as make
from tests.site_rig import ORIGIN, SESSION

TOKEN = "ory_at_"


# --- the rules ------------------------------------------------------------------------------------------


def proxy(*allowed: str, **settings: Any) -> ApiProxy:
    return ApiProxy(make(api_proxy=allowed or ALLOWED, api_url="https://api.example.com/v1", **settings))


def request(target: str, method: str = "GET", **headers: str) -> Request:
    """What an edge makes of a request of this site's own page."""
    raw, _, query = target.partition("?")
    sent = {"sec-fetch-site": "same-origin", "x-csrf": "1", **headers}
    encoded = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in sent.items()]
    return Request(method, unquote(raw), raw, query, encoded)


def passes(target: str, method: str = "GET", **headers: str) -> ApiCall:
    return proxy().call(request(target, method, **headers))


def refusal(target: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as caught:
        passes(target, method, **headers)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize(
    ("target", "method", "sent"),
    [
        ("/auth/api/user/info", "GET", b"/v1/user/info"),
        ("/auth/api/user/info", "HEAD", b"/v1/user/info"),
        ("/auth/api/user/info?a=1&b=%5B%5D&c='[]|\\\"{}", "GET", b"/v1/user/info?a=1&b=%5B%5D&c='[]|\\\"{}"),
        ("/auth/api/signature_request/1", "DELETE", b"/v1/signature_request/1"),
        ("/auth/api/signature_request/1/file?type=agreement", "GET", b"/v1/signature_request/1/file?type=agreement"),
        ("/auth/api/signature_request/", "PATCH", b"/v1/signature_request/"),
        ("/auth/api/signature_request/a%20b%C3%A9%2Bc", "PUT", b"/v1/signature_request/a%20b%C3%A9%2Bc"),
        ("/auth/api/signature_request/~a.b_c-d!$&'()*+,=:@", "GET", b"/v1/signature_request/~a.b_c-d!$&'()*+,=:@"),
        ("/auth/api/signature_request/%2e%2Ehidden/...", "GET", b"/v1/signature_request/%2e%2Ehidden/..."),
        ("/auth/api/documents", "POST", b"/v1/documents"),
    ],
)
def test_what_is_named_passes_as_it_came(target, method, sent):
    call = passes(target, method)
    assert (call.method, call.target) == (method, sent)


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("/auth/api/user/info", "POST"),
        ("/auth/api/user/info/", "GET"),
        ("/auth/api/user/infos", "GET"),
        ("/auth/api/User/Info", "GET"),
        ("/auth/api/user", "GET"),
        ("/auth/api/signature_request", "GET"),
        ("/auth/api/signature_requests/1", "GET"),
        ("/auth/api/documents", "GET"),
        ("/auth/api/documents", "HEAD"),
        ("/auth/api/workspaces/info", "GET"),
        ("/auth/api/v1/user/info", "GET"),
        ("/auth/api/signature_request/1", "OPTIONS"),
        ("/auth/api/signature_request/1", "TRACE"),
        ("/auth/api/signature_request/1", "CONNECT"),
        ("/auth/api/signature_request/1", "get"),
        ("/auth/api/signature_request/1", "PROPFIND"),
    ],
)
def test_what_is_not_named_does_not_pass(target, method):
    assert refusal(target, method) == (403, "not_allowed")


@pytest.mark.parametrize("target", HOSTILE)
def test_a_path_or_query_with_two_readings_is_refused(target):
    assert refusal(target) == (400, "bad_path")


def test_a_path_that_the_server_decoded_in_its_own_way_is_refused():
    strange = Request("GET", "/auth/api/files/x", "/auth/api/files/y", "", [(b"sec-fetch-site", b"same-origin")])
    with pytest.raises(RequestRefused, match="two ways"):
        proxy().call(strange)


@given(st.text("./%25eEfF\\;:@?#x/ \x00\u00e9", min_size=1, max_size=12))
def test_whatever_a_path_holds_it_stays_where_it_is_allowed(rest):
    try:
        call = proxy().call(request(f"/auth/api/files/{rest}"))
    except RequestRefused:
        return
    path = call.target.decode().partition("?")[0]
    for _ in range(3):  # however often somebody behind us decodes it
        segments = path.split("/")
        assert path.startswith("/v1/files/")
        assert not {"", ".", ".."} & set(segments[1:-1])
        assert segments[-1] not in (".", "..")
        assert "\\" not in path
        path = unquote(path)


def test_a_base_without_a_path_and_a_callback_at_the_top_do_as_well():
    bare = ApiProxy(
        make(redirect_uri=f"{ORIGIN}/callback", api_url="https://api.example.com", api_proxy=["/user/info"])
    )
    assert bare.concerns("/api/user/info")
    assert bare.call(request("/api/user/info")).target == b"/user/info"
    assert bare.location("/user/info", "https://api.example.com.evil.example/x") is None
    assert bare.location("/user/info", "https://api.example.com/x") == "/api/x"


def test_nothing_concerns_it_unless_something_may_pass():
    assert not ApiProxy(make()).concerns("/auth/api/user/info")
    assert proxy().concerns("/auth/api/user/info")
    assert not proxy().concerns("/auth/api")
    assert not proxy().concerns("/auth/apis/user/info")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("GET /user/info", "must be a list"),
        (["get /user/info"], "'get' is none of"),
        (["OPTIONS /user/info"], "'OPTIONS' is none of"),
        (["GET  /user/info"], "'GET ' is none of"),
        (["user/info"], "must be a path of the API"),
        (["GET user/info"], "must be a path of the API"),
        (["/user/*/info"], "a star stands only at the end"),
        (["/user//info"], "must be a plain path"),
        (["/../info"], "must be a plain path"),
        (["/user%2Finfo"], "must be a plain path"),
        ([7], "must be a path of the API"),
        (None, "must be a list"),
    ],
)
def test_a_wrong_setting_is_refused(value, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        make(api_proxy=value)
    assert caught.value.field == "api_proxy"


@pytest.mark.parametrize("name", ["api", "popup", "lumin.js", "lumin.d.ts"])
def test_the_callback_cannot_have_the_name_of_a_route(name):
    with pytest.raises(ConfigurationError, match="a route of ours"):
        make(redirect_uri=f"{ORIGIN}/auth/{name}")


# --- whose page calls -----------------------------------------------------------------------------------

FOREIGN = {
    "cross-site": {"sec-fetch-site": "cross-site", "x-csrf": "1"},
    "same-site": {"sec-fetch-site": "same-site", "x-csrf": "1"},
    "another origin": {"origin": "https://evil.example", "x-csrf": "1"},
    "null": {"origin": "null", "x-csrf": "1"},
    "another port": {"origin": f"{ORIGIN}:8443", "x-csrf": "1"},
    "http": {"origin": ORIGIN.replace("https", "http"), "x-csrf": "1"},
    "metadata wins": {"sec-fetch-site": "cross-site", "origin": ORIGIN, "x-csrf": "1"},
}
UNPROVEN = {
    "neither": {"x-csrf": "1"},
    "user": {"sec-fetch-site": "none", "x-csrf": "1"},
    "no header": {"sec-fetch-site": "same-origin", "origin": ORIGIN},
    "empty header": {"sec-fetch-site": "same-origin", "x-csrf": ""},
    "another value": {"sec-fetch-site": "same-origin", "x-csrf": "true"},
}


def plain(headers: dict[str, str], method: str) -> Request:
    made = request("/auth/api/signature_request/1", method)
    made.headers = [(name.encode(), value.encode()) for name, value in headers.items()]
    return made


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("headers", [*FOREIGN.values(), *UNPROVEN.values()], ids=[*FOREIGN, *UNPROVEN])
def test_an_unsafe_call_needs_the_header_and_the_own_origin(method, headers):
    with pytest.raises(RequestRefused) as caught:
        proxy().call(plain(headers, method))
    assert (caught.value.status, caught.value.reason) == (403, "cross_origin")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_safe_call_of_another_sites_page_is_refused(method, headers):
    with pytest.raises(RequestRefused):
        proxy().call(plain(headers, method))


@pytest.mark.parametrize("headers", [*UNPROVEN.values(), {}], ids=[*UNPROVEN, "nothing"])
def test_a_safe_call_needs_no_header(headers):
    assert proxy().call(plain(headers, "GET")).method == "GET"


def test_an_old_browser_proves_itself_by_its_origin():
    assert proxy().call(plain({"origin": ORIGIN, "x-csrf": "1"}, "POST")).method == "POST"


@pytest.mark.parametrize("headers", [{"upgrade": "websocket", "connection": "upgrade"}, {"upgrade": "WebSocket"}])
def test_an_upgrade_to_websocket_is_refused(headers):
    assert refusal("/auth/api/files/x", **headers) == (400, "no_websocket")


# --- headers there --------------------------------------------------------------------------------------

PASSED = {
    "accept": "application/json",
    "accept-encoding": "br, gzip",
    "accept-language": "de",
    "content-type": "text/plain",
    "content-encoding": "gzip",
    "content-length": "3",
    "content-disposition": 'attachment; filename="a"',
    "if-match": '"a"',
    "if-none-match": 'W/"b", "c"',
    "if-modified-since": "Tue, 01 Sep 2026 10:00:00 GMT",
    "if-range": '"a"',
    "range": "bytes=0-99",
    "x-lumin-api-version": "1.1",
}
STRIPPED = {
    "authorization": "Bearer stolen",
    "cookie": f"{SESSION}=x",
    "proxy-authorization": "Basic eDp5",
    "proxy-connection": "keep-alive",
    "proxy": "http://evil.example",
    "connection": "keep-alive",
    "keep-alive": "timeout=5",
    "te": "trailers",
    "trailer": "x-sum",
    "transfer-encoding": "identity",
    "upgrade": "h2c",
    "http2-settings": "AAMAAABkAAQAAP__",
    "expect": "100-continue",
    "host": "evil.example",
    "forwarded": "for=6.6.6.6",
    "x-forwarded-for": "6.6.6.6",
    "x-forwarded-host": "evil.example",
    "x-real-ip": "6.6.6.6",
    "x-api-key": "stolen",
    "x-http-method-override": "DELETE",
    "x-original-url": "/v1/admin",
    "x-rewrite-url": "/v1/admin",
    "x-auth-request-user": "somebody",
    "referer": f"{ORIGIN}/secret",
    "user-agent": "Mozilla/5.0",
    "origin": ORIGIN,
    "sec-fetch-site": "same-origin",
    "range-unit": "x",
    "x-csrf": "1",
    "acceptable": "x",
    "contents": "x",
}


def test_only_what_is_on_the_list_reaches_the_api():
    headers = {**PASSED, **STRIPPED}
    headers.pop("transfer-encoding")  # with it there is no length
    asked = plain(headers, "POST")
    asked.headers = [item for item in asked.headers if item[1] != b"h2c"]
    assert dict(proxy().call(asked).headers) == {name.encode(): value.encode() for name, value in PASSED.items()}


@pytest.mark.parametrize("value", ["close, X-Lumin-API-Version", "x-lumin-api-version", "Accept ,X-Lumin-Api-Version"])
def test_what_connection_names_is_for_the_connection_only(value):
    headers = dict(passes("/auth/api/files/x", x_lumin_api_version="1.1", connection=value).headers)
    assert b"x-lumin-api-version" not in headers


def test_a_body_in_chunks_has_no_length():
    headers = passes("/auth/api/files/x", "POST", transfer_encoding="chunked", content_length="3").headers
    assert b"content-length" not in dict(headers)


def test_whoever_takes_no_encoding_gets_none():
    assert (b"accept-encoding", b"identity") in passes("/auth/api/files/x").headers


# --- headers back ---------------------------------------------------------------------------------------

SHOWN = {
    "content-type": "application/pdf",
    "content-length": "3",
    "content-encoding": "gzip",
    "content-language": "de",
    "content-disposition": 'attachment; filename="a.pdf"',
    "content-range": "bytes 0-2/9",
    "content-digest": "sha-256=:x:",
    "accept-ranges": "bytes",
    "allow": "GET",
    "etag": '"a"',
    "last-modified": "Tue, 01 Sep 2026 10:00:00 GMT",
    "retry-after": "7",
    "ratelimit": "limit=10",
    "ratelimit-policy": "10;w=1",
    "x-ratelimit-remaining": "3",
    "x-rate-limit-reset": "3",
    "x-request-id": "abc",
    "x-lumin-trace": "abc",
}
HIDDEN = {
    "set-cookie": f"{SESSION}=; Max-Age=0; Path=/; Secure",
    "set-cookie2": "x=y",
    "clear-site-data": '"cookies"',
    "access-control-allow-origin": "https://evil.example",
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "*",
    "strict-transport-security": "max-age=0",
    "public-key-pins": "x",
    "expect-ct": "x",
    "content-security-policy": "default-src *",
    "content-security-policy-report-only": "default-src *",
    "content-location": "https://evil.example/",
    "cross-origin-opener-policy": "unsafe-none",
    "cross-origin-resource-policy": "cross-origin",
    "permissions-policy": "geolocation=*",
    "referrer-policy": "unsafe-url",
    "x-content-type-options": "sniff",
    "x-frame-options": "ALLOWALL",
    "x-xss-protection": "0",
    "service-worker-allowed": "/",
    "sourcemap": "https://evil.example/map",
    "refresh": "0;url=https://evil.example/",
    "link": "<https://evil.example/x.js>; rel=preload; as=script",
    "alt-svc": 'h3="evil.example:443"',
    "nel": "{}",
    "report-to": "{}",
    "reporting-endpoints": 'x="https://evil.example/"',
    "www-authenticate": 'Basic realm="give me your password"',
    "authentication-info": "x",
    "proxy-authenticate": "Basic",
    "connection": "x-lumin-secret, keep-alive",
    "keep-alive": "timeout=5",
    "x-lumin-secret": "hop by hop",
    "transfer-encoding": "chunked",
    "trailer": "x",
    "upgrade": "h2c",
    "cache-control": "public, max-age=31536000",
    "pragma": "cache",
    "expires": "Thu, 01 Jan 2037 00:00:00 GMT",
    "age": "1",
    "vary": "Accept",
    "server": "internal/1.2",
    "via": "1.1 internal",
    "x-powered-by": "internal",
    "x-accel-redirect": "/etc/passwd",
    "x-sendfile": "/etc/passwd",
    "x-auth-request-user": "somebody",
    "authorization": "Bearer ory_at_x",
}


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def test_only_what_is_on_the_list_reaches_the_page():
    head = passes("/auth/api/files/x").head(200, raw({**SHOWN, **{name.title(): HIDDEN[name] for name in HIDDEN}}))
    assert isinstance(head, Head)
    assert sorted(head.headers) == sorted(raw({**SHOWN, **OURS}))


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_no_length(status):
    head = passes("/auth/api/files/x").head(status, raw({"content-length": "7", "content-type": "x/y", "etag": '"a"'}))
    assert not {b"content-length", b"content-type"} & set(dict(head.headers))
    assert dict(head.headers)[b"etag"] == b'"a"'


@pytest.mark.parametrize("status", [100, 101, 103, 199, 600, 999])
def test_what_is_no_final_answer_is_a_bad_gateway(status):
    assert passes("/auth/api/files/x").head(status, []).status == 502


@pytest.mark.parametrize(
    ("value", "led"),
    [
        ("https://api.example.com/v1/documents/7?x=%20y", "/auth/api/documents/7?x=%20y"),
        ("/v1/documents/7", "/auth/api/documents/7"),
        ("7#part", "/auth/api/files/7"),
        ("../user/info", "/auth/api/user/info"),
        ("?page=2", "/auth/api/files/x?page=2"),
        ("https://api.example.com/v2/documents", None),
        ("https://api.example.com/v1x/documents", None),
        ("https://api.example.com/v1/../admin", None),
        ("https://api.example.com/v1/%2e%2e/admin", None),
        ("https://api.example.com/v1", None),
        ("https://api.example.com:444/v1/x", None),
        ("https://api.example.com@evil.example/v1/x", None),
        ("https://api.example.com.evil.example/v1/x", None),
        ("http://api.example.com/v1/x", None),
        ("//evil.example/v1/x", None),
        ("http://10.0.0.1/internal", None),
        ("http://169.254.169.254/latest/meta-data", None),
        ("/../../auth/logout", None),
        ("javascript:alert(1)", None),
        ("/v1/x y", None),
        ("/v1/x\\y", None),
        ("/v1/x?a b", None),
        ("/v1/\u00e9", None),
        ("http://[::1", None),
        ("", "/auth/api/files/x"),
    ],
)
def test_a_location_leads_a_page_to_the_api_through_us_or_nowhere(value, led):
    head = passes("/auth/api/files/x").head(302, [(b"Location", value.encode("latin-1"))])
    assert dict(head.headers).get(b"location") == (led.encode() if led else None)


def test_two_locations_lead_nowhere():
    head = passes("/auth/api/files/x").head(302, [(b"location", b"/v1/a"), (b"location", b"/v1/b")])
    assert b"location" not in dict(head.headers)
