"""The application's client: a token that is good, to the API and nowhere else, until its request is over."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gzip
import inspect
import io
import pickle
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware import client
from lumin_middleware.authorization import DISCARDED, LuminAuth, check_origin
from lumin_middleware.client import AsyncLuminClient, LuminClient
from lumin_middleware.connections import api_client, blocking_api_client
from lumin_middleware.errors import (
    ClientMisused,
    LoginRequired,
    LuminError,
    ServerUnavailable,
    SessionEnded,
    StoreUnavailable,
)
from lumin_middleware.model import NOTHING, Session, TokenSet, Wanted
from tests.fakes import any_text, config, hostile
from tests.patience import PATIENCE

CONTEXT = ssl.create_default_context()
API = "https://api.lumin.example/v1"
ORIGIN = httpx2.URL(API).origin
VERBS = ["get", "head", "options", "post", "put", "patch", "delete"]


class Holder:
    """Who holds a session; renewing it gives the next of its tokens, or raises."""

    def __init__(self, *tokens: str, error: LuminError | None = None) -> None:
        self.tokens = list(tokens or ["access-1"])
        self.error = error
        self.asked: list[str | None] = []
        self.failed: LuminError | None = None
        self.session: Session | None = self._session(self.tokens[0])

    def _session(self, token: str) -> Session:
        tokens = TokenSet(token, 1000.5, 3600, ("openid", "sign:requests"), "refresh-secret")
        return Session("id-secret", 0, 0, 0, tokens, {"sub": "person-1", "email": "e"})

    async def fresh(self, *, rejected: str | None = None) -> Session:
        self.asked.append(rejected)
        if rejected is not None and self.error is not None:
            self.failed = self.error
            raise self.error
        if rejected == self.tokens[0]:
            self.tokens.pop(0)
        self.session = self._session(self.tokens[0])
        return self.session


class Call(NamedTuple):
    """A request as it was when it was sent."""

    method: str
    url: httpx2.URL
    headers: httpx2.Headers
    content: bytes


class Api(httpx2.AsyncBaseTransport, httpx2.BaseTransport):
    """The API, which leaves requests as they are: httpx2's own mock reads a stream into bytes."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: Callable[[Call], httpx2.Response] = lambda call: httpx2.Response(200, json={"ok": True})

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._handle(request, b"".join(request.stream))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._handle(request, b"".join([piece async for piece in request.stream]))

    def _handle(self, request: httpx2.Request, content: bytes) -> httpx2.Response:
        self.calls.append(Call(request.method, request.url, httpx2.Headers(request.headers), content))
        return self.answer(self.calls[-1])


class Rig:
    """A client of one colour before an API that answers what a test says."""

    def __init__(self, colour: type[Any]) -> None:
        self.colour = colour
        self.api = Api()
        make = api_client if colour is AsyncLuminClient else blocking_api_client
        self.http: Any = make(config(api_timeout=7), CONTEXT)
        self.http._mounts = {}  # no proxy of the machine that runs this
        self.http._transport = self.api

    @property
    def calls(self) -> list[Call]:
        return self.api.calls

    def say(self, status: int, **options: Any) -> None:
        self.api.answer = lambda call: httpx2.Response(status, **options)

    def refuse(self, *tokens: str) -> None:
        """The API does not take these tokens."""
        refused = {f"Bearer {token}" for token in tokens}
        self.api.answer = lambda call: httpx2.Response(401 if call.headers["authorization"] in refused else 200)

    def client(self, holder: Holder | None = None) -> Any:
        return self.colour(holder or Holder(), client.Api(self.http, lambda holder, scope: (holder, scope)))

    @property
    def sent(self) -> list[str | None]:
        return [call.headers.get("authorization") for call in self.calls]


async def done(result: Any) -> Any:
    """What came of a call, with or without a loop."""
    return await result if inspect.isawaitable(result) else result


@pytest.fixture(params=[AsyncLuminClient, LuminClient], ids=["async", "blocking"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param)


# --- the API ---


@pytest.mark.parametrize("verb", VERBS)
async def test_each_verb_calls_the_api_as_the_person_who_is_signed_in(rig, verb):
    response = await done(getattr(rig.client(), verb)("user/info", params={"a": "1 2"}, headers={"x-more": "1"}))
    assert response.status_code == 200
    (request,) = rig.calls
    assert (request.method, str(request.url)) == (verb.upper(), f"{API}/user/info?a=1+2")
    assert (request.headers["authorization"], request.headers["x-more"]) == ("Bearer access-1", "1")


async def test_any_method_may_be_asked_for(rig):
    await done(rig.client().request("QUERY", "/user/info", json={"a": 1}))
    (request,) = rig.calls
    assert (request.method, str(request.url), request.content) == ("QUERY", f"{API}/user/info", b'{"a":1}')


async def test_each_call_asks_for_a_fresh_token(rig):
    holder = Holder("access-1", "access-2")
    client = rig.client(holder)
    await done(client.get("x"))
    holder.tokens.pop(0)  # renewed meanwhile
    await done(client.get("x"))
    assert rig.sent == ["Bearer access-1", "Bearer access-2"]
    assert holder.asked == [None, None]


async def test_the_application_cannot_overwrite_the_token(rig):
    await done(rig.client().get("x", headers={"Authorization": "Bearer mine"}))
    assert rig.sent == ["Bearer access-1"]
    for auth in (("user", "password"), None, httpx2.BasicAuth("a", "b")):
        with pytest.raises(ClientMisused):
            await done(rig.client().get("x", auth=auth))
    assert len(rig.calls) == 1


# --- 401 ---


async def test_a_token_that_the_api_refuses_is_renewed_once(rig):
    rig.refuse("access-1")
    holder = Holder("access-1", "access-2")
    response = await done(rig.client(holder).post("x", json={"a": 1}))
    assert response.status_code == 200
    assert rig.sent == ["Bearer access-1", "Bearer access-2"]
    assert [request.content for request in rig.calls] == [b'{"a":1}'] * 2
    assert holder.asked == [None, "access-1"]


async def test_a_second_refusal_is_the_answer(rig):
    rig.refuse("access-1", "access-2", "access-3")
    response = await done(rig.client(Holder("access-1", "access-2", "access-3")).get("x"))
    assert response.status_code == 401
    assert rig.sent == ["Bearer access-1", "Bearer access-2"]


@pytest.mark.parametrize("status", [200, 204, 302, 400, 403, 404, 429, 500, 503])
async def test_no_other_status_has_anything_renewed(rig, status):
    rig.say(status)
    holder = Holder("access-1", "access-2")
    assert (await done(rig.client(holder).get("x"))).status_code == status
    assert (len(rig.calls), holder.asked) == (1, [None])


@pytest.mark.parametrize("error", [ServerUnavailable("down"), StoreUnavailable("down")])
async def test_when_nothing_can_be_renewed_now_the_refusal_is_the_answer(rig, error):
    rig.refuse("access-1")
    holder = Holder(error=error)
    assert (await done(rig.client(holder).get("x"))).status_code == 401
    assert len(rig.calls) == 1
    assert holder.failed is None  # the application has met no error of ours; a 500 is its own


async def test_when_the_session_has_ended_the_application_hears_of_it(rig):
    rig.refuse("access-1")
    with pytest.raises(SessionEnded):
        await done(rig.client(Holder(error=SessionEnded("over"))).get("x"))
    assert len(rig.calls) == 1


def pieces() -> Iterator[bytes]:
    yield b"pdf"


async def async_pieces() -> AsyncIterator[bytes]:
    yield b"pdf"


def stream_of(rig: Rig) -> Any:
    return async_pieces() if rig.colour is AsyncLuminClient else pieces()


async def test_a_body_that_came_as_a_stream_is_not_sent_again(rig):
    rig.refuse("access-1")
    holder = Holder("access-1", "access-2")
    response = await done(rig.client(holder).post("x", content=stream_of(rig)))
    assert response.status_code == 401
    assert (len(rig.calls), holder.asked) == (1, [None, "access-1"])
    assert rig.calls[0].headers["transfer-encoding"] == "chunked"
    assert "content-length" not in rig.calls[0].headers


async def test_the_next_upload_has_a_new_token(rig):
    """Else every upload would meet the same, until the refused token expires."""
    rig.refuse("access-1")
    client = rig.client(Holder("access-1", "access-2"))
    said = [
        (await done(client.post("x", files={"file": io.BytesIO(b"%PDF")}))).status_code,
        (await done(client.post("x", content=stream_of(rig)))).status_code,
    ]
    assert said == [401, 200]
    assert rig.sent == ["Bearer access-1", "Bearer access-2"]


@pytest.mark.parametrize("error", [ServerUnavailable("down"), StoreUnavailable("down")])
async def test_where_none_is_to_be_had_now_the_upload_s_refusal_is_the_answer(rig, error):
    rig.refuse("access-1")
    holder = Holder(error=error)
    assert (await done(rig.client(holder).post("x", content=stream_of(rig)))).status_code == 401
    assert (len(rig.calls), holder.failed) == (1, None)


async def test_a_file_is_sent_as_a_form(rig):
    response = await done(rig.client().post("x", files={"file": ("a.pdf", b"%PDF", "application/pdf")}))
    assert response.status_code == 200
    assert rig.calls[0].headers["content-type"].startswith("multipart/form-data; boundary=")


async def test_an_answer_may_be_read_as_it_comes(rig):
    rig.say(200, content=b"pdf")
    streamed = rig.client().stream("GET", "file")
    if rig.colour is AsyncLuminClient:
        async with streamed as response:
            assert (response.status_code, await response.aread()) == (200, b"pdf")
    else:
        with streamed as response:
            assert (response.status_code, response.read()) == (200, b"pdf")
    assert rig.sent == ["Bearer access-1"]


@pytest.mark.parametrize("error", [None, ServerUnavailable("down"), StoreUnavailable("down")])
async def test_a_token_that_is_too_new_to_be_renewed_is_not_sent_again(rig, error):
    """The holder gives the same back: another one would fare no better."""
    rig.refuse("access-1")
    holder = Holder("access-1", error=error)
    holder.tokens = ["access-1", "access-1"]
    assert (await done(rig.client(holder).get("x"))).status_code == 401
    assert (rig.sent, holder.asked) == (["Bearer access-1"], [None, "access-1"])


class Body(httpx2.AsyncByteStream, httpx2.SyncByteStream):
    """A body in pieces that counts how many of them were taken, and whether it was closed."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


PACKED = gzip.compress(b"0" * 100_000)


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (Body(PACKED), 1),
        (Body(b"this is no gzip"), 1),
        (Body(*[b"x" * 10_000] * 100), DISCARDED // 10_000 + 1),
        (Body(), 0),
    ],
    ids=["small", "broken", "endless", "none"],
)
async def test_the_body_of_a_refusal_is_taken_off_the_connection_and_never_unfolded(rig, body, taken, monkeypatch):
    def refuse(call: Call) -> httpx2.Response:
        if call.headers["authorization"] == "Bearer access-2":
            return httpx2.Response(200, content=b"here")
        body.taken, body.closed = 0, False
        return httpx2.Response(401, headers={"content-encoding": "gzip"}, stream=body)

    rig.api.answer = refuse
    response = await done(rig.client(Holder("access-1", "access-2")).get("x"))
    assert (response.status_code, response.content) == (200, b"here")
    assert (body.taken, body.closed) == (taken, True)
    assert [each.content for each in response.history] == [b""]


async def test_a_refusal_that_is_the_answer_is_the_application_s_to_read(rig):
    rig.api.answer = lambda call: httpx2.Response(
        401, headers={"content-encoding": "gzip"}, stream=Body(gzip.compress(b"why"))
    )
    response = await done(rig.client(Holder("access-1", "access-2", "access-3")).get("x"))
    assert (response.status_code, response.content) == (401, b"why")


# --- 401 after a redirect ---

FILES = "https://files.example"


class Redirects:
    """An API that leads somewhere by an answer of a status, and what is answered there by the method."""

    def __init__(self, rig: Rig, there: str, status: int = 303, *, refused: tuple[str, ...] = ("access-1",)) -> None:
        self.there = httpx2.URL(f"{API}/").join(there)
        self.status = status
        self.refused = {None, *(f"Bearer {token}" for token in refused)}
        rig.api.answer = self.answer

    def answer(self, call: Call) -> httpx2.Response:
        if call.url == f"{API}/x":
            return httpx2.Response(self.status, headers={"location": str(self.there)})
        if call.url.host != self.there.host or call.url.path != "/back":
            return httpx2.Response(401 if call.headers.get("authorization") in self.refused else 200)
        return httpx2.Response(302, headers={"location": f"{API}/here"})


@pytest.mark.parametrize("status", [303, 307])
@pytest.mark.parametrize("there", [f"{FILES}/a", "https://api.lumin.example:8443/v1/a", f"{FILES}/back"])
@pytest.mark.parametrize("verb", ["get", "post", "put"])
async def test_what_another_server_says_or_of_no_token_says_nothing_of_the_token(rig, verb, there, status):
    """`/back` leads to the API again, whom httpx2 then sends no token."""
    Redirects(rig, there, status)
    holder = Holder("access-1", "access-2")
    response = await done(getattr(rig.client(holder), verb)("x", follow_redirects=True))
    assert (response.status_code, holder.asked) == (401, [None])
    assert rig.sent == ["Bearer access-1", *[None] * (len(rig.calls) - 1)]
    assert [str(call.url) for call in rig.calls].count(f"{API}/x") == 1


async def test_a_token_that_the_api_refuses_where_its_redirect_leads_is_renewed_and_what_it_took_is_not_repeated(rig):
    """The POST was taken, and its answer led to a GET that was not."""
    Redirects(rig, "made/7")
    response = await done(rig.client(Holder("access-1", "access-2")).post("x", json={}, follow_redirects=True))
    assert response.status_code == 200
    calls = [(call.method, call.url.path, call.headers["authorization"]) for call in rig.calls]
    assert calls == [
        ("POST", "/v1/x", "Bearer access-1"),
        ("GET", "/v1/made/7", "Bearer access-1"),
        ("GET", "/v1/made/7", "Bearer access-2"),
    ]


# --- a connection that was closed ---


class Cuts:
    """An API that cuts off so many calls before it answers; and what came over which pool."""

    def __init__(self, rig: Rig, error: type[Exception], times: int = 1) -> None:
        self.over: list[str] = []
        self.left = times
        self.error = error
        for name, http in (("kept", rig.http), ("new", rig.http._anew)):
            http._mounts = {}
            http._transport = api = Api()
            api.answer = lambda call, name=name: self.answer(name)

    def answer(self, name: str) -> httpx2.Response:
        self.over.append(name)
        if self.left:
            self.left -= 1
            raise self.error("closed")
        return httpx2.Response(200, content=b"here")


AGAIN = [(verb, {}) for verb in ("get", "head", "options", "put", "delete")] + [
    ("put", {"json": {"a": 1}}),
    ("put", {"content": b"pdf"}),
    ("put", {"data": {"a": "1"}}),
    ("put", {"files": {"f": b"pdf"}}),
]


@pytest.mark.parametrize("error", [httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError])
@pytest.mark.parametrize(("verb", "options"), AGAIN)
async def test_what_does_no_harm_is_sent_once_more_on_a_new_connection(rig, error, verb, options):
    cuts = Cuts(rig, error)
    assert (await done(getattr(rig.client(), verb)("x", **options))).status_code == 200
    assert cuts.over == ["kept", "new"]


async def test_a_second_cut_is_an_error(rig):
    cuts = Cuts(rig, httpx2.RemoteProtocolError, times=2)
    with pytest.raises(httpx2.RemoteProtocolError):
        await done(rig.client().get("x"))
    assert cuts.over == ["kept", "new"]


@pytest.mark.parametrize("error", [httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError])
@pytest.mark.parametrize("verb", ["post", "patch"])
async def test_what_may_have_been_done_is_never_sent_twice(rig, error, verb):
    cuts = Cuts(rig, error)
    with pytest.raises(error):
        await done(getattr(rig.client(), verb)("x", json={}))
    assert cuts.over == ["kept"]


async def test_a_body_that_came_as_a_stream_is_not_sent_again_after_a_cut(rig):
    cuts = Cuts(rig, httpx2.RemoteProtocolError)
    with pytest.raises(httpx2.RemoteProtocolError):
        await done(rig.client().put("x", content=async_pieces() if rig.colour is AsyncLuminClient else pieces()))
    assert cuts.over == ["kept"]


@pytest.mark.parametrize("error", [httpx2.ReadTimeout, httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout])
async def test_other_trouble_is_the_application_s_to_see(rig, error):
    cuts = Cuts(rig, error)
    with pytest.raises(error):
        await done(rig.client().get("x"))
    assert cuts.over == ["kept"]


async def test_a_stream_that_was_cut_off_before_it_began_begins_again(rig):
    cuts = Cuts(rig, httpx2.RemoteProtocolError)
    streamed = rig.client().stream("GET", "file")
    if rig.colour is AsyncLuminClient:
        async with streamed as response:
            assert await response.aread() == b"here"
    else:
        with streamed as response:
            assert response.read() == b"here"
    assert cuts.over == ["kept", "new"]


# --- which path ---


@pytest.mark.parametrize(
    ("path", "parts", "sent"),
    [
        ("signature_request/{}", ("id-1",), "/v1/signature_request/id-1"),
        ("signature_request/{}/files/{}", ("a b", 7), "/v1/signature_request/a%20b/files/7"),
        ("x/{}", ("a/b",), "/v1/x/a%2Fb"),
        ("x/{}", ("a?b=c#d",), "/v1/x/a%3Fb%3Dc%23d"),
        ("x/{}", ("100%",), "/v1/x/100%25"),
        ("x/{}", ("%2F",), "/v1/x/%252F"),
        ("x/{}", ("é☃",), "/v1/x/%C3%A9%E2%98%83"),
        ("x/{}", ("{}",), "/v1/x/%7B%7D"),
        ("x/{}", ("...",), "/v1/x/..."),
        ("x/{}.pdf", ("a",), "/v1/x/a.pdf"),
        ("x/{}?y=1", ("a",), "/v1/x/a?y=1"),
        (f"{API}/x/{{}}", ("a",), "/v1/x/a"),
        ("x?next=../y", (), "/v1/x?next=../y"),
        ("a..b/.well-known", (), "/v1/a..b/.well-known"),
    ],
)
async def test_what_comes_from_outside_is_one_segment_of_a_path(rig, path, parts, sent):
    for verb in VERBS:
        await done(getattr(rig.client(), verb)(path, *parts))
    await done(rig.client().request("GET", path, *parts))
    assert {call.url.raw_path.decode() for call in rig.calls} == {sent}


@pytest.mark.parametrize(
    ("path", "parts"),
    [("x/{}", ()), ("x", ("a",)), ("x/{}", ("a", "b")), ("x/{}/{}", ("a",)), ("x/{}", ("",)), ("x/{}", (None,))],
)
async def test_parts_that_do_not_fit_their_path_are_a_mistake(rig, path, parts):
    with pytest.raises(ClientMisused):
        await done(rig.client().get(path, *parts))
    assert rig.calls == []


DOTS = [
    "../../admin",
    "..",
    ".",
    "a/../b",
    "a/./b",
    "/../admin",
    "a/%2e%2e/b",
    "a/%2E./b",
    "a/.%2e/b",
    "a/%2e/b",
    "a/%252e%252e/b",
    "a/%25252e%25252e/b",
    "a%2F..%2Fb",
    "a%252f..%252fb",
    "a\\..\\b",
    "a%5c..%5cb",
    "a/..;/b",
    "a/..;x=1/b",
    "a/..%3bx/b",
    "a/..%00/b",
    "a/..%20/b",
    "a/%09../b",
    "a/..%3fx",
    "a/..%23x",
    "a/%c0%ae%c0%ae/b",
    "a/%e0%80%ae./b",
    "a/..?x=1",
    "a/..#x",
    f"{API}/../admin",
    f"{API}/x/%2e%2e/y",
]


@pytest.mark.parametrize("path", DOTS)
async def test_no_path_leads_up_from_where_it_begins(rig, path):
    holder = Holder()
    with pytest.raises(ClientMisused):
        await done(rig.client(holder).get(path))
    streamed = None
    with pytest.raises(ClientMisused):
        streamed = rig.client(holder).stream("GET", path)
    assert (rig.calls, holder.asked, streamed) == ([], [], None)


@pytest.mark.parametrize("part", ["..", ".", "a/../b", "../admin", "%2e%2e", "..%2fadmin", "..;x", "a\\..\\b"])
async def test_no_part_of_a_path_does(rig, part):
    with pytest.raises(ClientMisused):
        await done(rig.client().get("signature_request/{}", part))
    assert rig.calls == []


def as_others_read(raw_path: str) -> Iterator[str]:
    """What a path may be taken for, decoded never to four times."""
    for _ in range(5):
        yield raw_path
        raw_path = unquote(raw_path)


@hostile
@given(
    st.sampled_from([AsyncLuminClient, LuminClient]),
    any_text
    | st.lists(st.sampled_from([*"/\\.;?#%{ a", "..", "%2e", "%2F", "%5c", "%25", "{}"]), max_size=12).map("".join),
)
async def test_whatever_a_part_is_it_stays_a_part(colour, part):
    rig = Rig(colour)
    with suppress(ClientMisused, UnicodeEncodeError):
        await done(rig.client().get("signature_request/{}/files", part))
    for call in rig.calls:
        raw = call.url.raw_path.decode()
        before, _, rest = raw.removeprefix("/v1/signature_request/").partition("/")
        assert (rest, unquote(before)) == ("files", part)
        for read in as_others_read(raw):
            assert not {".", ".."} & {each.partition(";")[0] for each in re.split(r"[/\\?#]", read)}


# --- nowhere else ---

ELSEWHERE = [
    "https://evil.example/x",
    "https://api.lumin.example.evil.example/x",
    "https://api.lumin.example@evil.example/x",
    "http://api.lumin.example/v1/x",
    "https://api.lumin.example:8443/v1/x",
    "//evil.example/x",
    "http:/x",
    "https:x",
    "ftp://api.lumin.example/x",
    "javascript:alert(1)",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("url", ELSEWHERE)
async def test_the_token_goes_to_the_api_and_nowhere_else(rig, url):
    holder = Holder()
    with pytest.raises((ClientMisused, httpx2.InvalidURL)) as raised:
        await done(rig.client(holder).get(url))
    assert (rig.calls, holder.asked) == ([], [])
    assert "access-1" not in str(raised.value)


@pytest.mark.parametrize("url", [f"{API}/x", "https://api.lumin.example/other", "https://API.lumin.example:443/v1/x"])
async def test_a_whole_url_of_the_api_is_a_path_of_it(rig, url):
    await done(rig.client().get(url))
    assert rig.sent == ["Bearer access-1"]
    assert rig.calls[0].url.origin == ORIGIN


@hostile
@given(
    st.sampled_from([AsyncLuminClient, LuminClient]),
    any_text
    | st.lists(
        st.sampled_from([*"/\\.:@?#% \t", "//", "https:", "evil.example", "api.lumin.example", "..", "%2f"])
    ).map("".join),
)
async def test_no_path_takes_the_token_elsewhere(colour, path):
    rig = Rig(colour)
    with suppress(ClientMisused, httpx2.InvalidURL, UnicodeEncodeError):
        await done(rig.client().get(path))
    assert all(request.url.origin == ORIGIN for request in rig.calls)


async def test_a_redirect_elsewhere_goes_without_the_token(rig):
    def answer(call: Call) -> httpx2.Response:
        elsewhere = {"location": "https://storage.example/file"}
        return httpx2.Response(200) if call.url.host == "storage.example" else httpx2.Response(302, headers=elsewhere)

    rig.api.answer = answer
    response = await done(rig.client().get("file"))
    assert response.status_code == 302
    response = await done(rig.client().get("file", follow_redirects=True))
    assert response.status_code == 200
    assert rig.sent[1:] == ["Bearer access-1", None]


async def test_an_auth_object_alone_guards_its_token_too(rig):
    auth = LuminAuth(Holder(), ORIGIN, rig.http)
    for url in ("https://evil.example/x", "/x"):
        request = httpx2.Request("GET", url)
        flow = auth.async_auth_flow(request)
        with pytest.raises(ClientMisused):
            await flow.asend(None)
        assert "authorization" not in request.headers


# --- one person's call is not another's ---


PATHS = st.text("ab/%2Fé?&=;,+ ~@", max_size=12) | st.text(st.characters(exclude_categories=["C"]), max_size=12)


@given(path=PATHS.filter(lambda path: "//" not in path and ":" not in path))
def test_a_url_is_the_one_that_the_http_client_would_make(path):
    with httpx2.Client(base_url=API, trust_env=False) as http:
        for _ in range(2):
            assert client._url(f"{API}/", path) == http.build_request("GET", path).url


async def test_many_people_share_a_pool_and_nothing_else(rig):
    clients = [rig.client(Holder(f"token-of-{number}")) for number in range(50)]
    for _ in range(4):
        if rig.colour is AsyncLuminClient:
            await asyncio.gather(*(client.get(f"{number}") for number, client in enumerate(clients)))
        else:
            for number, client in enumerate(clients):
                client.get(f"{number}")
    assert len(rig.calls) == 200
    for request in rig.calls:
        assert request.headers["authorization"] == f"Bearer token-of-{request.url.path.rpartition('/')[2]}"


async def test_cookies_of_the_api_are_not_kept(rig):
    rig.say(200, headers={"set-cookie": "who=person-1; Path=/; Max-Age=600"})
    for _ in range(2):
        await done(rig.client().get("x"))
    assert all("cookie" not in request.headers for request in rig.calls)
    assert not list(rig.http.cookies.jar)


def test_the_pool_has_the_time_limits_of_the_settings(rig):
    assert rig.http.timeout == httpx2.Timeout(7, connect=PATIENCE)  # which `limits` put in its place
    assert str(rig.http.base_url) == f"{API}/"
    assert not rig.http.follow_redirects


# --- who, and until when ---


async def test_who_it_is(rig):
    client = rig.client()
    assert client.claims == {"sub": "person-1", "email": "e"}
    assert client.subject == "person-1"
    assert client.scope == frozenset({"openid", "sign:requests"})
    assert client.expires_at == 1000.5
    assert await done(client.access_token()) == "access-1"


def test_what_an_application_writes_on_claims_reaches_no_other_request(rig):
    """All requests of a session in a process share what is known of it."""
    holder = Holder()
    holder.session = dataclasses.replace(holder.session, claims={"sub": "person-1", "realm_access": {"roles": []}})
    written = rig.client(holder).claims
    written["impersonates"] = "bob"
    written["realm_access"]["roles"].append("admin")
    assert rig.client(holder).claims == {"sub": "person-1", "realm_access": {"roles": []}}


async def test_somebody_without_a_name_has_no_subject(rig):
    holder = Holder()
    holder.session = dataclasses.replace(holder.session, claims={})
    assert rig.client(holder).subject is None


def test_a_challenge_is_the_middleware_s(rig):
    holder = Holder()
    assert rig.client(holder).challenge(scope="templates", max_age=60) == (holder, Wanted(("templates",), 60))
    assert rig.client(holder).challenge() == (holder, NOTHING)
    assert rig.client(holder).challenge(offline=True) == (holder, Wanted(grant="default"))
    assert rig.client(holder).challenge(offline=True, name="night") == (holder, Wanted(grant="night"))


def test_where_nobody_is_signed_in_there_is_nobody(rig):
    holder = Holder()
    holder.session = None
    client = rig.client(holder)
    for name in ("claims", "subject", "scope", "expires_at"):
        with pytest.raises(LoginRequired):
            getattr(client, name)


async def test_after_its_request_a_client_is_of_no_use(rig):
    client = rig.client()
    assert repr(client) == f"<{rig.colour.__name__} open>"
    client.close()
    assert repr(client) == f"<{rig.colour.__name__} closed>"
    for verb in VERBS:
        with pytest.raises(ClientMisused, match="over"):
            await done(getattr(client, verb)("x"))
    for use in (client.access_token, client.challenge, lambda: client.stream("GET", "x"), lambda: client.claims):
        with pytest.raises(ClientMisused, match="over"):
            await done(use())
    assert rig.calls == []


async def test_where_the_connections_are_closed_a_call_is_answered_503_and_not_sent(rig):
    """A request may outlive them (`aclose`). Its token still lives, so that nobody else says so."""
    holder = Holder()
    client = rig.client(holder)
    await done(rig.http.aclose() if rig.colour is AsyncLuminClient else rig.http.close())
    for verb in VERBS:
        with pytest.raises(ServerUnavailable, match=r"closed its connections") as raised:
            await done(getattr(client, verb)("x"))
        assert (raised.value.status_hint, raised.value.sent) == (503, False)
    assert holder.failed is raised.value  # where a framework makes a 500 of it, that is answered as 503 as well
    with pytest.raises(ServerUnavailable):
        client.stream("GET", "x")
    assert rig.calls == []


async def test_a_call_that_waits_for_its_token_while_they_are_closed_is_not_sent_either(rig):
    class Slow(Holder):
        async def fresh(self, *, rejected=None):
            await rig.http.aclose() if rig.colour is AsyncLuminClient else rig.http.close()
            return await super().fresh(rejected=rejected)

    holder = Slow()
    with pytest.raises(ServerUnavailable, match=r"closed its connections") as raised:
        await done(rig.client(holder).get("x"))
    assert holder.failed is raised.value
    assert rig.calls == []


def test_a_client_shows_no_secret_and_takes_no_attributes(rig):
    client = rig.client()
    for shown in (repr(client), str(client), repr(client._call("GET", "x", (), {}))):
        assert "access-1" not in shown
        assert "secret" not in shown
    with pytest.raises(AttributeError):
        client.token = "x"


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_client_goes_to_no_other_process(rig, send):
    """Its token would be renewed there by nobody; a task queue is told what to take in its place."""
    client = rig.client()
    with pytest.raises(ClientMisused, match=r"client\.subject.*Grants"):
        send(client)


def test_without_a_loop_a_holder_that_waits_is_an_error():
    class Waits(Holder):
        async def fresh(self, *, rejected: str | None = None) -> Session:
            await asyncio.sleep(0)
            raise AssertionError("it went on")

    with pytest.raises(RuntimeError, match="suspended"):
        Rig(LuminClient).client(Waits()).get("x")


@hostile
@given(st.text(alphabet="/:?#@[]%2eE.\\ab ;\t", max_size=12))
def test_no_path_without_two_slashes_or_a_colon_names_a_host(path):
    """What is not even read as a URL before the call."""
    if "//" in path or ":" in path:
        return
    with suppress(httpx2.InvalidURL):
        url = httpx2.URL(path)
        assert (url.host, url.scheme) == ("", "")


@pytest.mark.parametrize("base", ["http://127.0.0.1:4444", "https://a.example:443", "https://[::1]:8443"])
def test_where_the_token_may_go_is_said_as_an_address(base):
    with pytest.raises(ClientMisused, match=re.escape(f"is not on {base}, and")):
        check_origin(httpx2.URL("https://other.example/x"), httpx2.URL(base).origin)
