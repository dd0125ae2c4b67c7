"""Each step of the protocol sends what the standard says, and takes nothing else back."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lumin_middleware.config import AuthorizationServer
from lumin_middleware.errors import AuthorizationServerError, OAuthError, RequestRefused, ServerUnavailable
from lumin_middleware.model import AuthorizationCode, Errand, TokenSet, Transaction
from lumin_middleware.ports import Answer
from lumin_middleware.protocol import oauth
from lumin_middleware.protocol.oauth import CODE_LIMIT, DEFAULT_LIFETIME, LIFETIME_LIMIT, PARAMETERS_LIMIT
from tests.fakes import BASE, REDIRECT_URI, SERVER, any_text, config, hostile, json_values

TRANSACTION = Transaction("state-1234", "nonce-1234", "verifier-1234", Errand("/page", "openid sign:requests"))
STRICT = AuthorizationServer(
    issuer=BASE,
    authorization_endpoint=f"{BASE}/a",
    token_endpoint=f"{BASE}/t",
    authorization_response_iss_parameter_supported=True,
)
safe_text = st.text(max_size=40)


# --- the authorization request ---


def asked(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)


def test_the_authorization_request_holds_each_parameter_once():
    url = oauth.authorization_request(config(), SERVER, TRANSACTION, {})
    assert url.startswith(f"{BASE}/oauth2/auth?")
    challenge = urlsafe_b64encode(sha256(b"verifier-1234").digest()).rstrip(b"=").decode()
    assert sorted(asked(url)) == [
        ("client_id", "test-client"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
        ("nonce", "nonce-1234"),
        ("redirect_uri", REDIRECT_URI),
        ("response_type", "code"),
        ("scope", "openid sign:requests"),
        ("state", "state-1234"),
    ]
    assert "verifier-1234" not in url


def test_the_query_of_the_endpoint_is_kept():
    server = AuthorizationServer(
        issuer=BASE, authorization_endpoint=f"{BASE}/a?tenant=1&x=%26", token_endpoint=f"{BASE}/t"
    )
    assert asked(oauth.authorization_request(config(), server, TRANSACTION, {}))[:2] == [("tenant", "1"), ("x", "&")]


@hostile
@given(st.dictionaries(st.sampled_from(oauth.PASSED_ON), safe_text, max_size=3))
def test_what_a_browser_adds_is_escaped_and_changes_nothing_else(extra):
    url = oauth.authorization_request(config(), SERVER, TRANSACTION, extra)
    assert url.isascii()
    assert dict(asked(url)) == {**dict(asked(oauth.authorization_request(config(), SERVER, TRANSACTION, {}))), **extra}


def test_a_redirect_uri_with_a_query_arrives_as_it_was_registered():
    uri = "https://app.example.com/auth/cb?a=1&b=%2F+c"
    url = oauth.authorization_request(config(redirect_uri=uri), SERVER, TRANSACTION, {})
    assert dict(asked(url))["redirect_uri"] == uri


def test_only_what_asks_for_a_way_to_sign_in_is_passed_on():
    assert set(oauth.PASSED_ON) == {"login_hint", "prompt", "ui_locales", "max_age", "acr_values"}


# --- the authorization response ---


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("code=c&state=s&scope=openid+sign%3Arequests", {"code": "c", "state": "s", "scope": "openid sign:requests"}),
        (
            "error=consent+request+denied&error_description=",
            {"error": "consent request denied", "error_description": ""},
        ),
        ("code[]=a&state", {"code[]": "a", "state": ""}),
        ("&&a=1&", {"a": "1"}),
        ("a=%zz&b=1%", {"a": "%zz", "b": "1%"}),
        ("a;b=1", {"a;b": "1"}),
    ],
)
def test_the_parameters_of_a_query(query, expected):
    assert oauth.parameters(query) == expected


@pytest.mark.parametrize("query", ["a=1&a=2", "a=1&a=1", "code=x&state=y&code=x", "=1&=2", "a&a"])
def test_a_parameter_that_comes_twice_is_refused(query):
    with pytest.raises(RequestRefused) as raised:
        oauth.parameters(query)
    assert raised.value.reason == "duplicate_parameter"


@pytest.mark.parametrize(
    "query", ["a=%ff", "%c0%af=1", "&".join(f"p{number}=1" for number in range(PARAMETERS_LIMIT + 1))]
)
def test_a_query_that_cannot_be_read_is_refused(query):
    with pytest.raises(RequestRefused) as raised:
        oauth.parameters(query)
    assert raised.value.reason == "bad_query"


@hostile
@given(any_text | st.lists(st.sampled_from(["&", "=", "%", "ff", "a", "+", ";", "%00", "\ud800"])).map("".join))
def test_any_query_is_read_or_refused(query):
    try:
        found = oauth.parameters(query)
    except RequestRefused:
        return
    assert len(found) <= PARAMETERS_LIMIT


def respond(server: AuthorizationServer = SERVER, **found: str) -> AuthorizationCode:
    return oauth.authorization_response(found, TRANSACTION, config(), server)


@pytest.mark.parametrize("issuer", [{}, {"iss": BASE}, {"iss": f"{BASE}/"}])
def test_a_code_of_the_right_server_is_taken(issuer):
    code = respond(code="c0de", state="x", scope="openid", **issuer)
    assert (code.code, code.transaction) == ("c0de", TRANSACTION)


@pytest.mark.parametrize("code", ["c", "a b", "~" * CODE_LIMIT, "".join(map(chr, range(0x20, 0x7F)))])
def test_a_code_is_printable_ascii_of_some_length(code):
    """RFC 6749, appendix A.11."""
    assert respond(code=code).code == code


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, "missing_code"),
        ({"code": ""}, "missing_code"),
        ({"code[]": "c"}, "missing_code"),
        ({"code": "\u00e9"}, "bad_code"),
        ({"code": "a\nb"}, "bad_code"),
        ({"code": "a\0b"}, "bad_code"),
        ({"code": "a\x7f"}, "bad_code"),
        ({"code": "a\tb"}, "bad_code"),
        ({"code": "\ud800"}, "bad_code"),
        ({"code": "c" * (CODE_LIMIT + 1)}, "bad_code"),
        ({"code": "c", "error": "access_denied"}, "bad_callback"),
        ({"code": "", "error": "access_denied"}, "bad_callback"),
        ({"code": "c", "error": ""}, "bad_callback"),
        ({"code": "c", "iss": "https://evil.example"}, "wrong_issuer"),
        ({"code": "c", "iss": ""}, "wrong_issuer"),
        ({"code": "c", "iss": f"{BASE}//"}, "wrong_issuer"),
        ({"code": "c", "iss": BASE.upper()}, "wrong_issuer"),
        ({"code": "c", "iss": BASE.replace("://", "%3A%2F%2F")}, "wrong_issuer"),
        ({"error": "access_denied", "iss": "https://evil.example"}, "wrong_issuer"),
    ],
)
def test_another_answer_is_refused(found, reason):
    with pytest.raises(RequestRefused) as raised:
        respond(**found)
    assert raised.value.reason == reason


@pytest.mark.parametrize("found", [{"code": "c"}, {"error": "access_denied"}])
def test_a_server_that_names_itself_must_do_so_always(found):
    with pytest.raises(RequestRefused) as raised:
        respond(STRICT, **found)
    assert raised.value.reason == "missing_issuer"


def test_a_server_that_names_itself_is_believed_when_it_does():
    assert respond(STRICT, code="c", iss=BASE).code == "c"


@pytest.mark.parametrize(
    "error", ["access_denied", "consent request denied", "server_error", "", "<script>", "x" * 999]
)
def test_the_server_s_error_is_the_server_s(error):
    with pytest.raises(OAuthError) as raised:
        respond(error=error, error_description="why")
    assert (raised.value.error, raised.value.error_description) == (error, "why")
    with pytest.raises(OAuthError):
        respond(STRICT, error=error, iss=BASE)


@hostile
@given(st.dictionaries(st.sampled_from(["code", "error", "iss", "state", "error_description", "scope"]), any_text))
def test_any_answer_is_a_code_or_an_error_of_ours(found):
    for server in (SERVER, STRICT):
        try:
            code = oauth.authorization_response(found, TRANSACTION, config(), server)
        except (RequestRefused, OAuthError):
            continue
        assert code.code == found["code"]
        assert "error" not in found


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (BASE, True),
        (f"{BASE}/", True),
        (f"{BASE}//", False),
        (f"{BASE}/x", False),
        ("", False),
        (None, False),
        ([BASE], False),
    ],
)
def test_an_issuer_may_differ_by_one_trailing_slash(seen, expected):
    assert oauth.same_issuer(seen, BASE) is expected
    assert oauth.same_issuer(seen, f"{BASE}/") is expected


# --- the token response ---

TOKENS = {"access_token": "ory_at_x.y", "token_type": "bearer", "expires_in": 3600, "refresh_token": "ory_rt_x.y"}


def answer(body: object, status: int = 200, media_type: str = "application/json") -> Answer:
    return Answer(status, media_type, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("media_type", ["application/json", "text/json"])
@pytest.mark.parametrize("token_type", ["bearer", "Bearer", "BEARER"])
def test_a_token_response_is_taken_as_it_is(token_type, media_type, status):
    found = {**TOKENS, "token_type": token_type, "id_token": None, "extra": [1]}
    assert oauth.token_response(answer(found, status, media_type)) == found


@pytest.mark.parametrize("name", ["refresh_token", "id_token", "expires_in"])
def test_an_empty_optional_member_is_an_absent_one(name):
    absent, empty = {k: v for k, v in FULL.items() if k != name}, {**FULL, name: ""}
    for before in (None, BEFORE):
        found = [
            oauth.token_set(oauth.token_response(answer(each)), requested="openid", before=before, now=1.0)
            for each in (absent, empty)
        ]
        assert found[0] == found[1]


FULL = {**TOKENS, "id_token": "a.b.c", "scope": "openid sign:requests", "expires_in": 60}

USELESS = {
    "no token_type": {"access_token": "x"},
    "token_type mac": {**TOKENS, "token_type": "mac"},
    "token_type DPoP": {**TOKENS, "token_type": "DPoP"},
    "token_type N_A": {**TOKENS, "token_type": "N_A"},
    "token_type null": {**TOKENS, "token_type": None},
    "token_type list": {**TOKENS, "token_type": ["bearer"]},
    "no access_token": {"token_type": "bearer"},
    "access_token null": {**TOKENS, "access_token": None},
    "access_token empty": {**TOKENS, "access_token": ""},
    "access_token number": {**TOKENS, "access_token": 1},
    "access_token true": {**TOKENS, "access_token": True},
    "access_token list": {**TOKENS, "access_token": ["x"]},
    "access_token with a space": {**TOKENS, "access_token": "a b"},
    "access_token with a line": {**TOKENS, "access_token": "a\r\nX: y"},
    "access_token beyond ASCII": {**TOKENS, "access_token": "é"},
    "access_token half a character": {**TOKENS, "access_token": "\ud800"},
    "refresh_token number": {**TOKENS, "refresh_token": 1},
    "id_token object": {**TOKENS, "id_token": {}},
    "id_token false": {**TOKENS, "id_token": False},
    "nothing": {},
}


@pytest.mark.parametrize("found", USELESS.values(), ids=USELESS)
def test_tokens_that_cannot_be_used_are_an_error(found):
    with pytest.raises(AuthorizationServerError) as raised:
        oauth.token_response(answer(found))
    assert raised.value.reason == "bad_token_response"
    assert not isinstance(raised.value, OAuthError | ServerUnavailable)


UNAVAILABLE = {
    "500": answer({"error": "server_error"}, 500),
    "500 as a refusal": answer({"error": "invalid_grant"}, 500),
    "503": answer(b"", 503, "text/html"),
    "429": answer({"message": "rate limited"}, 429),
    "429 as a refusal": answer({"error": "invalid_grant"}, 429),
}

NO_TOKENS = {
    "html": answer(b"<html>", media_type="text/html"),
    "no media type": answer(TOKENS, media_type=""),
    "tokens as text": answer(TOKENS, media_type="text/plain"),
    "empty": answer(b""),
    "an array": answer([TOKENS]),
    "a string": answer("x"),
    "null": answer(None),
    "not utf-8": answer(b'{"access_token": "\xff"}'),
    "cut": answer(json.dumps(TOKENS).encode()[:-1]),
    "deep": answer(b'{"a":' + b"[" * 100_000),
    "an error with 200": answer({**TOKENS, "error": "invalid_grant"}),
    "an empty error with 200": answer({**TOKENS, "error": ""}),
    "an error of null with 200": answer({**TOKENS, "error": None}),
    "a long number": answer(b'{"expires_in": ' + b"1" * 5000 + b"}"),
    "400 without an error": answer({"message": "no"}, 400),
    "400 with an empty error": answer({"error": ""}, 400),
    "400 with an error that is none": answer({"error": {"code": 1}}, 400),
    "401 html": answer(b"<html>", 401, "text/html"),
    "404": answer(b"", 404, ""),
    "302": answer(TOKENS, 302),
    "201 without tokens": answer(b"", 201),
    "202": answer(TOKENS, 202),
    "two access tokens": answer(b'{"access_token": "a", "access_token": "b", "token_type": "bearer"}'),
    "two scopes": answer(b'{"access_token": "a", "token_type": "bearer", "scope": "openid", "scope": "admin"}'),
    "two lifetimes, one deep": answer(b'{"access_token": "a", "token_type": "bearer", "x": [{"y": 1, "y": 2}]}'),
    "204": answer(b"", 204, ""),
}


@pytest.mark.parametrize("found", UNAVAILABLE.values(), ids=UNAVAILABLE)
def test_a_server_that_cannot_answer_now_is_unavailable(found):
    with pytest.raises(ServerUnavailable):
        oauth.token_response(found)


@pytest.mark.parametrize("found", NO_TOKENS.values(), ids=NO_TOKENS)
def test_whatever_else_somebody_answers_is_no_tokens_and_no_silence(found):
    with pytest.raises(AuthorizationServerError) as raised:
        oauth.token_response(found)
    assert raised.value.reason == "bad_token_response"
    assert not isinstance(raised.value, OAuthError | ServerUnavailable)


def test_what_an_unavailable_server_asks_for_goes_with_the_error():
    with pytest.raises(ServerUnavailable) as raised:
        oauth.token_response(Answer(503, "", b"", 120.0))
    assert (raised.value.said, raised.value.retry_after) == (120, 120)


DATE = "Fri, 31 Dec 1999 23:59:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("300", 300),
        ("301", 300),
        ("9999999999", 300),
        ("9" * 5000, 0),
        ("Fri, 31 Dec 1999 23:59:30 GMT", 30),
        ("Friday, 31-Dec-99 23:59:30 GMT", 30),
        ("Fri Dec 31 23:59:30 1999", 30),
        ("Sat, 01 Jan 2000 12:00:00 GMT", 300),
        ("Fri, 31 Dec 1999 23:58:00 GMT", 0),
        *(
            (value, 0)
            for value in ("", " ", "-1", "+7", "1.5", "7s", "soon", "1e3", "\u0667", "Fri, 99 Foo 1999", "None")
        ),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_by_the_server_s_own_clock(value, seconds):
    assert oauth.retry_after(value, DATE) == seconds


def test_without_a_date_of_the_answer_a_date_says_nothing():
    assert oauth.retry_after(DATE, "") == 0
    assert oauth.retry_after("7", "") == 7


dates = any_text | st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))


@hostile
@given(any_text | dates | st.integers().map(str), dates)
def test_no_retry_after_is_longer_than_its_limit_or_an_error(value, date):
    assert 0 <= oauth.retry_after(value, date) <= oauth.RETRY_AFTER_LIMIT


@pytest.mark.parametrize("status", [400, 401, 403, 404])
@pytest.mark.parametrize(
    ("found", "description"),
    [
        ({"error": "invalid_grant"}, ""),
        ({"error": "invalid_grant", "error_description": "used", "error_hint": "x", "status_code": 400}, "used"),
        ({"error": "invalid_grant", "error_description": ["used"]}, ""),
    ],
)
def test_an_oauth_error_is_one_whatever_its_status(status, found, description):
    with pytest.raises(OAuthError) as raised:
        oauth.token_response(answer(found, status))
    assert (raised.value.error, raised.value.error_description) == ("invalid_grant", description)


bodies = st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
documents = st.dictionaries(
    st.sampled_from(["access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token", "error"]),
    json_values | st.sampled_from(["bearer", "token"]),
).map(lambda value: json.dumps(value).encode())


@hostile
@given(bodies | documents, st.sampled_from([200, 200, 200, 201, 302, 400, 401, 429, 500]), st.booleans())
@example(b'{"access_token": "x", "token_type": "bearer", "expires_in": Infinity}', 200, True)
@example(b'{"access_token": "x", "token_type": "bearer", "expires_in": NaN}', 200, True)
def test_any_answer_of_the_token_endpoint_is_tokens_or_an_error_of_ours(body, status, is_json):
    try:
        found = oauth.token_response(Answer(status, "application/json" if is_json else "text/html", body))
    except AuthorizationServerError:
        return
    assert status in (200, 201)
    tokens = oauth.token_set(found, requested="openid", before=None, now=1000.0)
    assert math.isfinite(tokens.expires_at)
    assert 1000 <= tokens.expires_at <= 1000 + LIFETIME_LIMIT
    assert tokens.access_token.isascii()


# --- token_set ---

BEFORE = TokenSet("old-access", 900.0, 3600.0, ("openid", "templates"), "old-refresh", "old-id")


def tokens(before: TokenSet | None = None, **found: object) -> TokenSet:
    return oauth.token_set(
        {"access_token": "new", "token_type": "bearer", **found},
        requested="openid sign:requests",
        before=before,
        now=100.5,
    )


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (3600, 3600.0),
        (59.5, 59.5),
        ("120", 120.0),
        (1, 1.0),
        (LIFETIME_LIMIT, LIFETIME_LIMIT),
        (None, DEFAULT_LIFETIME),
        (0, 0.0),
        ("0", 0.0),
        (-0.0, 0.0),
        (0.4, 0.4),
        (-1, 0.0),
        ("-3600", 0.0),
        (-1e300, 0.0),
        (float("-inf"), 0.0),
        (-(10**400), 0.0),
        (False, DEFAULT_LIFETIME),
        (True, DEFAULT_LIFETIME),
        ("soon", DEFAULT_LIFETIME),
        ("", DEFAULT_LIFETIME),
        ("nan", DEFAULT_LIFETIME),
        ("inf", DEFAULT_LIFETIME),
        (float("nan"), DEFAULT_LIFETIME),
        (float("inf"), DEFAULT_LIFETIME),
        (LIFETIME_LIMIT + 1, DEFAULT_LIFETIME),
        (10**400, DEFAULT_LIFETIME),
        ([3600], DEFAULT_LIFETIME),
        ({}, DEFAULT_LIFETIME),
    ],
)
def test_the_lifetime_of_a_token(expires_in, lifetime):
    found = tokens(expires_in=expires_in)
    assert (found.lifetime, found.expires_at) == (lifetime, 100.5 + lifetime)


@pytest.mark.parametrize(
    ("scope", "first", "later"),
    [
        ("openid", ("openid",), ("openid",)),
        (" openid   sign:requests ", ("openid", "sign:requests"), ("openid", "sign:requests")),
        (None, ("openid", "sign:requests"), ("openid", "templates")),
        ("", (), ()),  # as Hydra says that nothing was granted
        ("  ", (), ()),
        (["openid", "sign:requests"], (), ()),
        (7, (), ()),
        ('openid "sign" \x00 é sign:requests', ("openid", "sign:requests"), ("openid", "sign:requests")),
    ],
)
def test_a_scope_that_is_left_out_is_as_it_was_asked_for_and_one_that_cannot_be_read_is_none(scope, first, later):
    assert tokens(scope=scope).scope == first
    assert tokens(BEFORE, scope=scope).scope == later


def test_a_refresh_keeps_the_refresh_token_and_not_the_id_token():
    found = tokens(BEFORE)
    assert (found.access_token, found.refresh_token, found.id_token) == ("new", "old-refresh", None)
    assert tokens(BEFORE, refresh_token="rotated", id_token="new-id").refresh_token == "rotated"
    assert tokens(BEFORE, id_token="new-id").id_token == "new-id"
    assert tokens().refresh_token is None


# --- the end-session endpoint, and headers ---

END = f"{BASE}/oauth2/sessions/logout"


def test_without_a_hint_the_bare_request_is_all_that_hydra_takes():
    settings = config(end_session=True, post_logout_redirect_uri="https://app.example.com/bye")
    assert oauth.end_session_request(settings, END, None, "state") == END


def test_with_a_hint_the_request_names_the_client():
    url = oauth.end_session_request(config(end_session=True), END, "a.b.c", "state")
    assert asked(url) == [("id_token_hint", "a.b.c"), ("client_id", "test-client")]


def test_where_it_leads_back_is_sent_with_a_state_and_exactly():
    uri = "https://app.example.com/bye?x=1&y=%2F"
    url = oauth.end_session_request(
        config(end_session=True, post_logout_redirect_uri=uri), f"{END}?tenant=1", "a.b.c", "st&te"
    )
    assert asked(url) == [
        ("tenant", "1"),
        ("id_token_hint", "a.b.c"),
        ("client_id", "test-client"),
        ("post_logout_redirect_uri", uri),
        ("state", "st&te"),
    ]


def test_a_bearer_is_one():
    assert oauth.bearer("x") == "Bearer x"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, 'Bearer realm="lumin"'),
        ({"error": "invalid_token"}, 'Bearer realm="lumin", error="invalid_token"'),
        (
            {"error": "insufficient_scope", "scope": "sign:requests workspaces.read"},
            'Bearer realm="lumin", error="insufficient_scope", scope="sign:requests workspaces.read"',
        ),
    ],
)
def test_the_challenge(parts, expected):
    assert oauth.challenge(**parts) == expected


@hostile
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
def test_no_scope_breaks_out_of_the_challenge(scope):
    header = oauth.challenge(scope=scope)
    assert header.count('"') == 4
    assert "\\" not in header
    assert unquote(header.split('scope="')[1][:-1]) == scope
