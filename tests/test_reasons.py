"""One list of reasons: each has its words and its level, whatever names one names one of it, the page is current."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lumin_middleware
from lumin_middleware import errors
from lumin_middleware.reasons import GROUPS, NOT_SET_UP, REASONS
from tests.documents import GENERATED, ROOT

PACKAGE = Path(lumin_middleware.__file__).parent

LEVELS = {
    logging.CRITICAL: {*NOT_SET_UP, "astray", "cannot_serve", "client_renews_nobody"},
    logging.ERROR: {
        *("no_id_token", "bad_id_token", "bad_token_response", "bad_user_info", "token_refused", "no_keys"),
        *("bad_discovery", "not_saved", "session_forgotten", "not_this_sessions", "id_token_left_aside"),
        *("sessions_not_saved", "grants_unreadable"),
        *("client_misused", "listener_failed", "admit_failed", "page_failed"),
        *("sessions_not_saved", "grants_unreadable"),
    },
    logging.WARNING: {
        *(
            "server_unavailable",
            "store_unavailable",
            "asked_again",
            "server_error",
            "temporarily_unavailable",
            "sign_in_trouble",
        ),
        *("api_timeout", "api_unreachable", "upstream_unavailable", "upstream_timeout", "circuit_open"),
        *("upstream_broke_off", "api_broke_off", "not_undone", "replaced_not_ended"),
        *("renewal_failed", "client_doubted", "revocation_failed", "server_logout_failed", "signed_out_here_only"),
        *("ends_unknown", "use_not_written", "pause_not_shared", "lease_kept", "still_not_saved", "page_forgotten"),
        "replaced_not_ended",
        *("page_not_found", "no_refresh_token", "key_changed", "memory_not_shared", "no_private_place"),
        *(
            "clock_differs",
            "issuer_learnt",
            "no_identity",
            "address_taken",
            "rejected_newborn",
            "too_large_for_cookies",
        ),
        *("proxy_not_trusted", "logout_token_refused", "events_dropped", "person_refused", "wrong_issuer"),
        *("no_subject", "unknown_variable", "store_file_replaced", "proxy_of_other_rules", "max_age_ignored"),
        *("form_not_kept", "grant_ended", "unseen_session", "another_host", "grants_in_memory"),
        *("root_path_apart", "sessions_unreadable", "user_overwritten", "no_backend"),
    },
    logging.DEBUG: {
        *("no_session", "expired", "ended", "renewed", "method_not_allowed", "waiting", "prefetch"),
        *("session_renewed", "adopted", "began", "ours", "passed", "form_gone"),
    },
}
"""The levels, as `docs/reasons.md` has them; whatever is nowhere here is INFO."""


def test_each_reason_stands_in_the_list_once():
    assert sum(len(group) for _, group in GROUPS) == len(REASONS)


@pytest.mark.parametrize("reason", REASONS.values(), ids=list(REASONS))
def test_a_reason_has_a_code_words_and_its_level(reason):
    assert re.fullmatch("[a-z]+(?:_[a-z]+)*", reason.code)
    for sentence in (reason.what, reason.cure):
        assert re.match("[A-Z`]", sentence)
        assert sentence.endswith(".")
    assert not reason.person or reason.title
    expected = next((level for level, codes in LEVELS.items() if reason.code in codes), logging.INFO)
    assert reason.level == expected
    if reason.status is not None and reason.status >= 400 and reason.status != 405:
        assert reason.title, "who is answered so is told why"


def test_what_nobody_can_mend_alone_says_what_to_do():
    for reason in REASONS.values():
        if reason.level >= logging.WARNING:
            assert len(reason.cure) >= len("Wait."), reason.code
            assert not reason.cure.startswith("Do nothing: this is how"), reason.code


@pytest.mark.parametrize("name", list(GENERATED))
def test_the_generated_page_is_current(name):
    assert (ROOT / name).read_text("utf-8") == GENERATED[name](), "run `make docs`"


# --- whoever names a reason -----------------------------------------------------------------------------

_NAMING = {  # the function or class, and which argument is a reason
    "say": 0,
    "trace": 0,
    "warn": 0,
    "RequestRefused": 0,
    "AuthorizationServerError": 1,
    "SessionEnded": 1,
    "AnotherIdentity": 1,
    "BadSignature": 1,
    "UnknownKey": 1,
    "_page": 1,
}


def named() -> Iterator[tuple[str, str]]:
    """Each reason that the code names, and where."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "emulator" in path.parts or path.name == "reasons.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for code in _of(node):
                yield code, f"{path.name}:{node.lineno}"  # type: ignore[attr-defined]


def _of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        arguments = node.args[_NAMING[name] : _NAMING[name] + 1] if name in _NAMING else []
        arguments += [each.value for each in node.keywords if each.arg == "reason"]
        yield from (each for argument in arguments for each in _texts(argument))
    elif isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "REASONS":
        yield from _texts(node.slice)
    elif isinstance(node, ast.AnnAssign | ast.Assign):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
        if any(getattr(each, "id", getattr(each, "attr", "")) == "reason" for each in targets) and node.value:
            yield from _texts(node.value)


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value


INTERNAL = {"error", "configuration"}
"""Reasons of errors that no request meets: they stop a program from starting."""


def test_whoever_names_a_reason_names_one_of_the_list():
    unknown = {(code, where) for code, where in named() if code not in REASONS and code not in INTERNAL}
    assert not unknown


def test_every_reason_of_the_list_is_named_somewhere():
    code = "\n".join(
        path.read_text("utf-8")
        for path in PACKAGE.rglob("*.py")
        if "emulator" not in path.parts and path.name != "reasons.py"
    )
    assert not [each for each in REASONS if f'"{each}"' not in code and each not in NOT_SET_UP]


def test_every_error_has_a_reason_of_the_list():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LuminError)]
    reasons = {kind.reason for kind in kinds} - {"error", "configuration"}
    assert reasons <= set(REASONS)
