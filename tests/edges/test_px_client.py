"""PX: the client that the application finds, which carries one person's token, to one place, for one request."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from lumin_middleware import ClientMisused, LoginRequired, lumin
from lumin_middleware.emulator import serve
from tests.site_rig import SESSION

TOKEN = "ory_at_"
USER_INFO = "/v1/user/info"


def handle(site: Any, edge: str, asynchronous: Any, blocking: Any) -> None:
    """Lets the application answer with what these say: of the client, for each kind of it."""

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        said = await asynchronous(lumin(Request(scope)))
        await JSONResponse(said)(scope, receive, send)

    def wsgi(environ: Any, start_response: Any) -> Any:
        body = json.dumps(blocking(lumin(environ))).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    site.app(edge).handler = asgi if edge == "asgi" else wsgi


async def test_px_01_the_api_gets_the_token_and_nothing_of_the_browser(edges, edge):
    browser = edges.browser(edge)
    await browser.sign_in()
    await browser.fetch(
        "GET", "/api", **{"authorization": "Basic eDp5", "proxy-authorization": "Basic eDp5", "te": "x"}
    )
    (call,) = edges.emulator.calls_to(USER_INFO)
    assert call.headers["authorization"].startswith(f"Bearer {TOKEN}")
    assert call.headers["host"] == edges.emulator.base.removeprefix("http://")
    assert not {"cookie", "proxy-authorization", "te", "origin", "referer", "sec-fetch-site"} & set(call.headers)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1/user/info",
        "//evil.example/user/info",
        "http://127.0.0.1:1/v1/user/info",
        "https://127.0.0.1/v1/user/info",
        "http:user/info",
    ],
)
async def test_px_01_the_token_goes_nowhere_else(edges, edge, url):
    browser = edges.browser(edge)
    await browser.sign_in()
    refused = []

    async def asynchronous(client: Any) -> Any:
        try:
            await client.get(url)
        except (ClientMisused, httpx2.UnsupportedProtocol) as error:
            refused.append(str(error))
        return []

    def blocking(client: Any) -> Any:
        try:
            client.get(url)
        except (ClientMisused, httpx2.UnsupportedProtocol) as error:
            refused.append(str(error))
        return []

    handle(edges, edge, asynchronous, blocking)
    assert (await browser.fetch("GET", "/")).status == 200
    assert len(refused) == 1
    assert TOKEN not in refused[0]


async def test_px_01_the_token_follows_no_redirect_to_elsewhere(edges, edge):
    browser = edges.browser(edge)
    await browser.sign_in()

    async def asynchronous(client: Any) -> Any:
        return (await client.get("user/info", follow_redirects=True)).status_code

    def blocking(client: Any) -> Any:
        return client.get("user/info", follow_redirects=True).status_code

    handle(edges, edge, asynchronous, blocking)
    with serve() as elsewhere:
        there = {"Location": f"{elsewhere.base}{USER_INFO}"}
        edges.emulator.faults.add(USER_INFO, status=302, headers=there, times=None)
        answer = await browser.fetch("GET", "/")
        assert elsewhere.emulator.calls
        assert not [call for call in elsewhere.emulator.calls if "authorization" in call.headers]
    assert answer.body == b"401"


async def test_px_05_a_cookie_of_the_api_is_nobodys(edges, edge):
    browser = edges.browser(edge)
    await browser.sign_in()
    edges.emulator.faults.add(
        USER_INFO, act=True, headers={"Set-Cookie": f"{SESSION}=x; Path=/"}, status=200, body="{}"
    )
    answer = await browser.fetch("GET", "/api")
    assert answer.all("set-cookie") == []
    await browser.fetch("GET", "/api")
    assert "cookie" not in edges.emulator.calls_to(USER_INFO)[-1].headers
    assert await browser.subject()


async def test_px_06_a_second_401_is_the_answer(edges, edge):
    browser = edges.browser(edge)
    await browser.sign_in()
    edges.emulator.faults.add(USER_INFO, status=401, body="{}", times=None)
    assert (await browser.fetch("GET", "/api")).status == 401
    assert edges.refreshes() == 1
    assert len(edges.emulator.calls_to(USER_INFO)) == 2


async def test_px_06_a_401_where_a_redirect_leads_says_nothing_of_the_token(edges, edge):
    """And the POST, which the API took, is not sent twice."""
    browser = edges.browser(edge)
    await browser.sign_in()

    async def asynchronous(client: Any) -> Any:
        return (await client.post("user/info", json={"a": 1}, follow_redirects=True)).status_code

    def blocking(client: Any) -> Any:
        return client.post("user/info", json={"a": 1}, follow_redirects=True).status_code

    handle(edges, edge, asynchronous, blocking)
    with serve() as elsewhere:
        edges.emulator.faults.add(USER_INFO, status=303, headers={"Location": f"{elsewhere.base}{USER_INFO}"})
        answer = await browser.fetch("GET", "/")
        assert [call.method for call in elsewhere.emulator.calls] == ["GET"]
    assert answer.body == b"401"
    assert [call.method for call in edges.emulator.calls_to(USER_INFO)] == ["POST"]
    assert edges.refreshes() == 0


async def test_px_06_after_an_upload_that_meets_401_the_next_call_has_a_new_token(edges, edge):
    """What was read from a file cannot be sent again; but the next upload need not meet the same."""
    browser = edges.browser(edge)
    await browser.sign_in()

    async def asynchronous(client: Any) -> Any:
        return (await client.post("user/info", files={"file": io.BytesIO(b"%PDF")})).status_code

    def blocking(client: Any) -> Any:
        return client.post("user/info", files={"file": io.BytesIO(b"%PDF")}).status_code

    handle(edges, edge, asynchronous, blocking)
    for status in (401, 200, 200):
        edges.emulator.faults.add(USER_INFO, status=status, body="{}")
    said = [(await browser.fetch("GET", "/")).body for _ in range(3)]
    first, *others = (call.headers["authorization"] for call in edges.emulator.calls_to(USER_INFO))
    assert said == [b"401", b"200", b"200"]
    assert first != others[0] == others[1]
    assert edges.refreshes() == 1


async def test_px_06_uploads_that_all_meet_401_spend_no_more_than_one_refresh_token(edges, edge):
    """The token may well be good, and the API wrong."""
    browser = edges.browser(edge)
    await browser.sign_in()

    async def asynchronous(client: Any) -> Any:
        return [(await client.post("user/info", files={"file": io.BytesIO(b"")})).status_code for _ in range(5)]

    def blocking(client: Any) -> Any:
        return [client.post("user/info", files={"file": io.BytesIO(b"")}).status_code for _ in range(5)]

    handle(edges, edge, asynchronous, blocking)
    edges.emulator.faults.add(USER_INFO, status=401, body="{}", times=None)
    assert json.loads((await browser.fetch("GET", "/")).body) == [401] * 5
    assert len(edges.emulator.calls_to(USER_INFO)) == 5
    assert edges.refreshes() == 1


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 502, 503])
async def test_px_06_every_other_answer_of_the_api_is_the_applications(edges, edge, status):
    browser = edges.browser(edge)
    await browser.sign_in()
    edges.emulator.faults.add(USER_INFO, status=status, body='{"error_code": "x"}')
    answer = await browser.fetch("GET", "/api")
    assert (answer.status, answer.body) == (status, b'{"error_code": "x"}')
    assert edges.refreshes() == 0


async def test_px_06_a_lost_answer_is_an_error_without_the_token(edges, edge):
    browser = edges.browser(edge)
    await browser.sign_in()
    edges.emulator.faults.add(USER_INFO, drop="after")
    with pytest.raises(httpx2.HTTPError) as caught:
        await browser.fetch("GET", "/api")
    assert TOKEN not in f"{caught.value!r} {caught.value.request.headers!r}"
    assert len(edges.emulator.calls_to(USER_INFO)) == 1


async def test_px_08_two_people_never_meet(edges, edge):
    """A thousand requests of two people at once: each is answered with their own token."""
    people = []
    for sub in list(edges.emulator.users)[:2]:
        browser = edges.browser(edge)
        await browser.sign_in(sub=sub)
        people.append((browser, sub, (await browser.fetch("GET", "/token")).body))
    assert people[0][2] != people[1][2]

    async def ask(number: int) -> bool:
        browser, sub, token = people[number % 2]
        if number % 10 < 2:
            return json.loads((await browser.fetch("GET", "/api")).body)["user"]["id"] == sub
        return (await browser.fetch("GET", "/token")).body == token

    for block in range(10):
        assert all(await asyncio.gather(*(ask(block + number) for number in range(100))))
    assert edges.refreshes() == 0


async def test_px_08_two_people_at_one_expiry_get_each_their_own(edges, edge):
    people = []
    for sub in list(edges.emulator.users)[:2]:
        browser = edges.browser(edge)
        await browser.sign_in(sub=sub)
        people.append((browser, sub))
    edges.clock.advance(3600)
    answers = await asyncio.gather(*(people[number % 2][0].fetch("GET", "/api") for number in range(20)))
    found = [json.loads(answer.body)["user"]["id"] for answer in answers]
    assert found == [people[number % 2][1] for number in range(20)]
    assert edges.refreshes() == 2
    assert edges.reuse_events() == 0


async def test_px_08_a_client_is_over_with_its_request(edges, edge):
    browser = edges.browser(edge)
    await browser.sign_in()
    kept = []

    async def asynchronous(client: Any) -> Any:
        kept.append(client)
        return []

    handle(edges, edge, asynchronous, kept.append)
    await browser.fetch("GET", "/")
    for use in (lambda: kept[0].claims, lambda: kept[0].subject, lambda: kept[0].expires_at, lambda: kept[0].scope):
        with pytest.raises(ClientMisused, match="over"):
            use()
    with pytest.raises(ClientMisused, match="over"):
        await kept[0].get("user/info") if edge == "asgi" else kept[0].get("user/info")
    with pytest.raises(ClientMisused, match="over"):
        await kept[0].access_token() if edge == "asgi" else kept[0].access_token()
    assert edges.emulator.calls_to(USER_INFO) == []


async def test_px_08_a_task_left_behind_fails_clearly(edges):
    browser = edges.browser("asgi")
    await browser.sign_in()
    answered, left = asyncio.Event(), []

    async def later(client: Any) -> Any:
        await answered.wait()
        return await client.get("user/info")

    async def asynchronous(client: Any) -> Any:
        left.append(asyncio.create_task(later(client)))
        return []

    handle(edges, "asgi", asynchronous, None)
    await browser.fetch("GET", "/")
    answered.set()
    with pytest.raises(ClientMisused, match="over"):
        await left[0]


async def test_px_08_a_thread_left_behind_fails_clearly(edges):
    browser = edges.browser("wsgi")
    await browser.sign_in()
    answered, errors = threading.Event(), []

    def later(client: Any) -> None:
        answered.wait()
        try:
            client.get("user/info")
        except ClientMisused as error:
            errors.append(error)

    threads = []

    def blocking(client: Any) -> Any:
        threads.append(threading.Thread(target=later, args=[client]))
        threads[0].start()
        return []

    handle(edges, "wsgi", None, blocking)
    await browser.fetch("GET", "/")
    answered.set()
    threads[0].join()
    assert len(errors) == 1


async def test_px_08_where_nobody_is_signed_in_there_is_no_client(new_edges, edge):
    site = new_edges(public=["/free"])
    assert (await site.request(edge, "/free")).status == 200
    (seen,) = site.app(edge).requests
    assert (seen["state"]["lumin"] if edge == "asgi" else seen["lumin"]) is None
    with pytest.raises(LoginRequired):
        lumin(seen)


async def test_px_08_another_sign_in_of_the_call_is_refused(edges, edge):
    browser = edges.browser(edge)
    await browser.sign_in()

    async def asynchronous(client: Any) -> Any:
        return await client.get("user/info", auth=("user", "password"))

    handle(edges, edge, asynchronous, lambda client: client.get("user/info", auth=("user", "password")))
    with pytest.raises(ClientMisused, match="auth="):
        await browser.fetch("GET", "/")
