"""What a server sends as JSON says one thing, or nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.ports import Answer
from lumin_middleware.protocol.documents import json_answer, json_object, present
from tests.fakes import any_text, hostile, json_values


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'"x"', b"null", b"1", b"{", b"\xff", b'{"a":' + b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"],
    ids=lambda content: content[:8].decode("latin-1"),
)
def test_what_is_no_object_is_none(content):
    assert json_object(content) is None


@pytest.mark.parametrize(
    "content",
    [
        b'{"access_token": "a", "access_token": "b"}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": [{"b": null, "b": 0}]}',
        b'{"a": "", "a": null}',
        b'{"a": [1], "a": [2], "c": 3}',
        b'{"keys": [], "\\u006beys": [1]}',
    ],
)
def test_members_that_contradict_each_other_are_none(content):
    assert json_object(content) is None


def test_a_member_that_repeats_itself_is_one():
    assert json_object(b'{"a": [1, {"b": 2}], "c": 3, "a": [1, {"b": 2}]}') == {"a": [1, {"b": 2}], "c": 3}


@pytest.mark.parametrize(
    ("media_type", "read"),
    [("application/json", True), ("text/json", True)]
    + [(other, False) for other in ("text/html", "text/plain", "", "application/jwt", "application/jsonp", "json")],
)
def test_json_is_announced_in_two_ways(media_type, read):
    assert json_answer(Answer(200, media_type, b'{"a": 1}')) == ({"a": 1} if read else None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, False), ("", False), (" ", True), (0, True), (False, True), ([], True), ({}, True), ("x", True)],
)
def test_nothing_and_an_empty_text_are_absent(value, expected):
    assert present(value) is expected


@hostile
@given(st.dictionaries(any_text, json_values))
def test_any_object_is_read_as_it_is(value):
    assert json_object(json.dumps(value).encode()) == json.loads(json.dumps(value)) or "NaN" in json.dumps(value)


@hostile
@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_none(content):
    assert isinstance(json_object(content), dict | None)
