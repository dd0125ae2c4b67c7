"""Each failure has its status, its words for a person, its reason for a program, and gives nothing away."""

from __future__ import annotations

import json
import logging
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ada_url
import pytest
from hypothesis import given

from lumin_middleware.config import AuthorizationServer
from lumin_middleware.errors import (
    AuthorizationServerError,
    ClientMisused,
    InsufficientScope,
    LuminError,
    OAuthError,
    RequestRefused,
    ServerUnavailable,
    StoreUnavailable,
)
from lumin_middleware.model import Request, Response
from lumin_middleware.reasons import REASONS
from lumin_middleware.site.access import RETURN_TO_LIMIT
from lumin_middleware.site.answers import DETAIL_LIMIT, Answers
from lumin_middleware.site.places import target
from tests.fakes import BASE, NAVIGATION, ORIGIN, World, any_text, config, header, hostile, request
from tests.site_rig import Clock

FETCH = {"accept": "application/json", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
CALLBACK = "/auth/callback"
WORLD = World(None, None, Clock())
ANSWERS = Answers(config(after_login="/home"), WORLD)


def asked(path: str = "/page", *, headers: dict[str, str] | None = None, **fields: Any) -> Request:
    return request(path, headers=FETCH if headers is None else headers, **fields)


def said(response: Response) -> dict[str, Any]:
    assert header(response, "Content-Type") == "application/problem+json"
    content = json.loads(response.body)
    assert content["status"] == response.status
    assert re.fullmatch(r"[a-z_]+", content["reason"]), "reasons are a fixed list of words"
    assert content["type"] == f"urn:lumin-middleware:{content['reason']}"
    assert content.get("reference", "") == response.reference
    assert response.reference or response.status == 405
    return content


def text_of(response: Response) -> str:
    assert header(response, "Content-Type") == "text/html; charset=utf-8"
    return response.body.decode()


def led_to(login_url: str) -> str:
    parts = urlsplit(login_url)
    assert parts.path == "/auth/login"
    (found,) = parse_qs(parts.query, strict_parsing=True)["return_to"]
    return found


# --- where a login leads back to ---


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (asked("/page", query="x=1&y=%26"), "/page?x=1&y=%26"),
        (asked("/café", raw_path="/caf%C3%A9"), "/caf%C3%A9"),
        (asked("/page", method="HEAD"), "/page"),
        (asked("/page", method="POST"), "/home"),
        (asked("/api", headers={**FETCH, "referer": f"{ORIGIN}/list?p=2"}), "/list?p=2"),
        (asked("/api", method="POST", headers={**FETCH, "referer": f"{ORIGIN}/list"}), "/list"),
        (asked("/api", headers={**FETCH, "referer": "https://evil.example/list"}), "/api"),
        (asked("/api", headers={**FETCH, "referer": f"{ORIGIN}.evil.example/list"}), "/api"),
        (asked("/api", headers={**FETCH, "referer": f"{ORIGIN}@evil.example/list"}), "/api"),
        (asked("/api", headers={**FETCH, "referer": f"{ORIGIN}//evil.example/list"}), "/home"),
        (asked("/api", headers={**FETCH, "referer": ORIGIN}), "/api"),
        (asked("/part", headers={"hx-request": "true", "hx-current-url": f"{ORIGIN}/whole#x"}), "/whole#x"),
        (
            asked("/part", headers={"hx-request": "true", "hx-current-url": f"{ORIGIN}/a", "referer": f"{ORIGIN}/b"}),
            "/a",
        ),
        (asked("/page", headers={**NAVIGATION, "referer": f"{ORIGIN}/before"}), "/page"),
        (asked("//evil.example"), "/home"),
        (asked("/x" * RETURN_TO_LIMIT), "/home"),
    ],
)
def test_a_login_leads_back_to_where_the_person_is(made, expected):
    assert led_to(ANSWERS.login_url(made)) == expected


@hostile
@given(any_text, any_text)
def test_no_header_leads_a_login_away(path, referer):
    for name in ("referer", "hx-current-url"):
        made = asked(f"/{path}")
        made.headers = [(name.encode(), f"{ORIGIN}/{referer}".encode("utf-8", "surrogatepass"))]
        url = ANSWERS.login_url(made)
        assert url.isascii()
        assert "\n" not in url
        assert "\r" not in url
        assert ada_url.URL(led_to(url), base=ORIGIN).origin == ORIGIN


@pytest.mark.parametrize(
    ("raw_path", "query", "expected"),
    [("/a", "", "/a"), ("/a%20b", "c=%26", "/a%20b?c=%26"), ("/\xe9", "\xe9", "/%E9?%E9"), ("/\u3042", "", "/?")],
)
def test_the_target_of_a_request_is_as_it_came_and_ascii(raw_path, query, expected):
    assert target(asked("/", raw_path=raw_path, query=query)) == expected


def test_our_paths_are_the_callback_s_neighbours():
    assert (ANSWERS.login_path, ANSWERS.logout_path) == ("/auth/login", "/auth/logout")
    top = Answers(config(redirect_uri="https://app.example.com/callback"), WORLD)
    assert (top.login_path, top.logout_path) == ("/login", "/logout")


# --- nobody is signed in ---


@pytest.mark.parametrize(
    ("reason", "challenge"),
    [
        ("no_session", 'Bearer realm="lumin"'),
        ("expired", 'Bearer realm="lumin", error="invalid_token"'),
        ("ended", 'Bearer realm="lumin", error="invalid_token"'),
    ],
)
def test_401_says_how_to_sign_in(reason, challenge):
    response = ANSWERS.unauthorized(asked("/page"), reason)
    content = said(response)
    assert (response.status, content["reason"], led_to(content["login_url"])) == (401, reason, "/page")
    assert header(response, "WWW-Authenticate") == challenge
    assert not {"HX-Redirect", "Set-Cookie", "Location"} & {name for name, _ in response.headers}


def test_htmx_is_sent_to_the_login():
    made = asked("/part", headers={"hx-request": "true", "hx-current-url": f"{ORIGIN}/whole"})
    assert led_to(header(ANSWERS.unauthorized(made, "no_session"), "HX-Redirect")) == "/whole"


def test_403_says_which_scope_is_missing():
    error = InsufficientScope("templates workspaces.read")
    challenge = 'Bearer realm="lumin", error="insufficient_scope", scope="templates workspaces.read"'
    for_program = ANSWERS.insufficient_scope(asked(), error, "/auth/login?ask=x")
    assert (for_program.status, header(for_program, "WWW-Authenticate")) == (403, challenge)
    content = said(for_program)
    assert (content["scope"], content["login_url"]) == ("templates workspaces.read", "/auth/login?ask=x")
    for_person = ANSWERS.insufficient_scope(asked(headers=NAVIGATION), error, "/auth/login?ask=x")
    assert (for_person.status, header(for_person, "WWW-Authenticate")) == (403, challenge)
    words = ["View and manage templates", "See the workspace that you signed in with"]
    assert re.findall("<li>([^<]*)</li>", text_of(for_person)) == words
    assert 'href="/auth/login?ask=x"' in text_of(for_person)


def test_in_a_frame_of_this_site_who_lacks_a_scope_sees_the_page_and_is_led_out_of_it():
    response = ANSWERS.insufficient_scope(
        asked(headers=NAVIGATION), InsufficientScope("templates"), "/auth/login?ask=x"
    )
    assert "frame-ancestors 'self'" in header(response, "Content-Security-Policy")
    assert '<a href="/auth/login?ask=x" target="_top">' in text_of(response)


def test_who_was_refused_a_scope_may_go_on_without_it():
    page = text_of(ANSWERS.insufficient_scope(asked(CALLBACK, headers=NAVIGATION), InsufficientScope("templates")))
    assert 'href="/home"' in page
    assert "/auth/login" not in page


def test_a_loop_is_told_with_its_likely_causes():
    response = ANSWERS.looping(asked(headers=NAVIGATION), "/auth/login?return_to=/x")
    page = text_of(response)
    assert response.status == 400
    for cause in ("cookies", "http instead of https", "another name", "clock"):
        assert cause in page
    assert 'href="/auth/login?return_to=/x"' in page


# --- failures ---

FAILURES: list[tuple[LuminError, int, str, str]] = [
    (RequestRefused("bad_path", "A trick."), 400, "bad_path", ""),
    (RequestRefused("cross_origin", "Only ours.", status=403), 403, "cross_origin", ""),
    (StoreUnavailable("no answer"), 503, "store_unavailable", "5"),
    (ServerUnavailable("late", retry_after=12.7), 503, "server_unavailable", "13"),
    (ServerUnavailable("late", retry_after=0.2), 503, "server_unavailable", "1"),
    (AuthorizationServerError("bad", "bad_id_token"), 502, "bad_id_token", ""),
    (OAuthError("access_denied", "no"), 403, "access_denied", ""),
    (OAuthError("consent request denied"), 403, "access_denied", ""),
    (OAuthError("login request denied"), 403, "access_denied", ""),
    (OAuthError("server_error"), 502, "server_error", ""),
    (OAuthError("temporarily_unavailable"), 503, "temporarily_unavailable", ""),
    (OAuthError("request_forbidden"), 400, "sign_in_failed", ""),
    (OAuthError("made up <b>\n"), 400, "sign_in_failed", ""),
    (OAuthError(""), 400, "sign_in_failed", ""),
    (ClientMisused("elsewhere"), 500, "client_misused", ""),
]
IDS = [f"{type(error).__name__} {reason}" for error, _, reason, _ in FAILURES]


@pytest.mark.parametrize(("error", "status", "reason", "retry_after"), FAILURES, ids=IDS)
def test_a_failure_is_told_to_a_program_and_to_a_person_with_one_status(error, status, reason, retry_after):
    for_program = ANSWERS.failure(asked(CALLBACK), error)
    for_person = ANSWERS.failure(asked(CALLBACK, headers=NAVIGATION), error)
    assert said(for_program)["reason"] == reason
    assert "Start again" in text_of(for_person)
    for response in (for_program, for_person):
        assert response.status == status
        assert [value for name, value in response.headers if name == "Retry-After"] == (
            [retry_after] if retry_after else []
        )
        assert not {"Set-Cookie", "Location", "WWW-Authenticate"} & {name for name, _ in response.headers}


@pytest.mark.parametrize(("error", "status"), [(error, status) for error, status, *_ in FAILURES], ids=IDS)
def test_a_failure_leaves_one_line_at_the_level_of_its_reason(error, status, caplog):
    caplog.set_level(logging.DEBUG)
    ANSWERS.failure(asked("/page\nForged: line"), error)
    (record,) = caplog.records
    code = record.getMessage().partition(":")[0]
    assert record.levelno == REASONS[code].level
    assert (record.levelno >= logging.WARNING) is (status >= 500)
    assert "\n" not in record.getMessage()
    assert f"status={status}" in record.getMessage()
    assert str(error)[:10].strip() in record.getMessage()


def test_elsewhere_than_at_the_callback_a_refusal_says_what_was_wrong():
    error = RequestRefused("bad_path", "The path is a trick.")
    here = text_of(ANSWERS.failure(asked("/x", headers=NAVIGATION), error))
    assert REASONS["bad_path"].person in here
    assert "The path is a trick." not in here, "these are words for programs"
    assert "Start again" not in text_of(ANSWERS.failure(asked("/x", headers=NAVIGATION), error))
    assert REASONS["bad_path"].person not in text_of(ANSWERS.failure(asked(CALLBACK, headers=NAVIGATION), error))


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("at db.internal:6379"),
        AuthorizationServerError("at db.internal", "x"),
        ServerUnavailable("db.internal"),
    ],
)
def test_a_person_is_not_told_the_particulars(error):
    for headers in (NAVIGATION, FETCH):
        assert b"db.internal" not in ANSWERS.failure(asked(CALLBACK, headers=headers), error).body


def test_the_server_s_words_are_repeated_as_text_and_not_at_length():
    error = OAuthError("access_denied", "<script>alert(1)</script>" + "x" * 10_000)
    page = text_of(ANSWERS.failure(asked(CALLBACK, headers=NAVIGATION), error))
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert page.count("x") < DETAIL_LIMIT + 100
    assert "script" not in json.dumps(said(ANSWERS.failure(asked(CALLBACK), error)))


@hostile
@given(any_text, any_text)
def test_any_error_of_the_server_can_be_told(error, description):
    for headers in (NAVIGATION, FETCH):
        response = ANSWERS.failure(asked(CALLBACK, headers=headers), OAuthError(error, description))
        assert all("\n" not in value for _, value in response.headers)
        if headers is FETCH:
            said(response)


def test_a_new_login_leads_where_the_failed_one_would_have_led():
    error = RequestRefused("invalid_grant", "Too late.")
    page = text_of(ANSWERS.failure(asked(CALLBACK, headers=NAVIGATION), error, return_to="/page?x=1&y=2"))
    (found,) = re.findall(r'href="([^"]*)"', page)
    assert led_to(found.replace("&amp;", "&")) == "/page?x=1&y=2"


def test_who_goes_somewhere_gets_a_page_whatever_they_accept():
    made = asked(CALLBACK, headers={"accept": "*/*", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"})
    assert "Start again" in text_of(ANSWERS.failure(made, OAuthError("access_denied")))


def test_a_loop_of_a_site_that_was_opened_under_another_name_is_told_so_first():
    there = asked(headers={**NAVIGATION, "host": "localhost:8000"})
    (first, *_) = re.findall("<li>([^<]*)</li>", text_of(ANSWERS.looping(there, "/auth/login")))
    assert "localhost:8000" in first
    assert ORIGIN in first
    here = asked(headers={**NAVIGATION, "host": "APP.example.com"})
    assert "was opened at" not in text_of(ANSWERS.looping(here, "/auth/login"))


@hostile
@given(any_text)
def test_a_host_is_shown_only_where_it_could_be_one(text):
    made = asked(headers=NAVIGATION)
    made.headers = [(b"host", text.encode("utf-8", "surrogatepass"))]
    assert re.fullmatch(r"[a-z0-9.:\[\]-]*", ANSWERS.host(made))


@pytest.mark.parametrize("host", ["localhost:8000", "www.app.example.com", "[::1]:8000", "127.0.0.1"])
def test_a_host_that_is_not_the_site_s_is_told_from_the_site_s_own(host):
    assert ANSWERS.other_host(asked(headers={**NAVIGATION, "host": host})) == host
    assert ANSWERS.other_host(asked(headers={**NAVIGATION, "host": "app.example.com"})) == ""
    assert ANSWERS.other_host(asked(headers=NAVIGATION)) == ""


def test_what_is_said_of_a_failure_can_be_added_to():
    error = RequestRefused("unknown_login", "x")
    page = text_of(ANSWERS.failure(asked(CALLBACK, headers=NAVIGATION), error, points=("loop.cookies",)))
    assert "<li>The browser refuses cookies, or an extension removes them.</li>" in page


def test_whoever_was_denied_may_come_as_somebody_else():
    made = asked(CALLBACK, headers=NAVIGATION)
    page = text_of(ANSWERS.failure(made, OAuthError("access_denied"), return_to="/page"))
    assert 'href="/auth/login?return_to=/page&amp;prompt=login"' in page


def test_a_store_in_trouble_keeps_nobody_signed_in_who_was_not():
    made = asked(CALLBACK, headers=NAVIGATION)
    assert "still signed in" not in text_of(ANSWERS.failure(made, StoreUnavailable("down")))
    assert "still signed in" in text_of(ANSWERS.failure(asked("/x", headers=NAVIGATION), StoreUnavailable("down")))


def test_another_method_is_told_which_it_may_be():
    response = ANSWERS.method_not_allowed("GET, HEAD")
    assert (response.status, header(response, "Allow")) == (405, "GET, HEAD")
    assert said(response)["reason"] == "method_not_allowed"


# --- logout ---


@pytest.mark.parametrize(
    ("changes", "form_action"),
    [
        ({}, "'self'"),
        ({"end_session": True}, "'self' https: http:"),
        ({"end_session": True, "server": AuthorizationServer.discover(BASE)}, "'self' https: http:"),
        ({"server": AuthorizationServer.discover(BASE)}, "'self'"),
    ],
)
def test_the_logout_page_has_a_button_that_may_lead_as_far_as_the_logout_does(changes, form_action):
    response = Answers(config(**changes), WORLD).logout_page(asked(headers=NAVIGATION))
    assert response.status == 200
    assert f"form-action {form_action};" in header(response, "Content-Security-Policy")
    assert '<form method="post" action="/auth/logout">' in text_of(response)


def test_who_is_signed_out_may_sign_in():
    response = ANSWERS.signed_out(asked(headers=NAVIGATION))
    assert (response.status, response.reason, response.reference) == (200, "signed_out", "")
    assert response.status == 200
    assert 'href="/auth/login"' in text_of(response)


def test_who_is_signed_out_in_the_browser_only_is_told_so(caplog):
    error = StoreUnavailable("no answer")
    for_program = ANSWERS.signed_out_here_only(asked(CALLBACK), error)
    for_person = ANSWERS.signed_out_here_only(asked(CALLBACK, headers=NAVIGATION), error)
    told, lines = said(for_program), caplog.messages
    assert (for_program.status, told["reason"], told["title"]) == (503, "signed_out_here_only", "Signed out here only")
    assert for_person.status == 503
    assert "not yet everywhere" in text_of(for_person)
    assert all(line.startswith("signed_out_here_only: ") for line in lines)
    assert len(lines) == 2
    assert told["reference"] in lines[0]
