"""PX-08: the client on a request is its own person's, and nobody's after the request."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from typing import Any

import httpx2
import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from lumin_middleware import AsyncLuminClient, ClientMisused, LuminMiddleware
from tests.acceptance.harness import USER_INFO, call, cookie_header, with_cookies
from tests.site_rig import FETCH, Site
from tests.site_rig import site as make_site

seen_in_context: contextvars.ContextVar[str | None] = contextvars.ContextVar("seen", default=None)


async def echo(request: Request) -> Response:
    """Who the client, the scope and the context say it is, before and after others had their turn."""
    client = request.state.lumin
    before = seen_in_context.get()
    seen_in_context.set(client.subject)
    first = await client.access_token()
    await asyncio.sleep(0)
    answer = await client.get("user/info")
    await asyncio.sleep(0)
    return JSONResponse(
        {
            "subject": client.subject,
            "user": request.user.identity,
            "api": answer.json()["user"]["id"],
            "token": [first, await client.access_token()],
            "sent": answer.request.headers["authorization"],
            "context": [before, seen_in_context.get()],
            "scope": sorted(request.auth.scopes),
        }
    )


@pytest.mark.by_the_thousand
async def test_px_08_a_thousand_interleaved_requests_of_four_people_never_mix(each_site):
    people = [*each_site.emulator.users, None]
    headers = []
    for number, person in enumerate(people):
        browser = each_site.browser()
        await browser.sign_in(sub=person, scope="openid offline_access" + (" sign:requests" if number % 2 else ""))
        headers.append((person or people[0], number % 2, with_cookies(browser, FETCH)))
    each_site.app.handler = echo
    tokens: dict[int, set[str]] = {number: set() for number in range(len(people))}

    async def one(number: int) -> None:
        person, more, cookies = headers[number]
        answer = await call(each_site.middleware, f"/{number}", headers=cookies)
        assert answer.status == 200, answer.body
        seen = json.loads(answer.body)
        assert seen["subject"] == seen["user"] == seen["api"] == person
        assert seen["token"][0] == seen["token"][1]
        assert seen["sent"] == f"Bearer {seen['token'][0]}"
        assert seen["context"] == [None, person], "what another request set must not be seen"
        assert ("sign:requests" in seen["scope"]) == bool(more)
        tokens[number].add(seen["token"][0])

    for _ in range(10):
        await asyncio.gather(*(one(number) for _ in range(25) for number in range(len(people))))
    assert all(len(own) == 1 for own in tokens.values())
    assert len(set.union(*tokens.values())) == len(people), "nobody has another's token"


async def test_px_08_people_whose_tokens_expire_together_keep_their_own(each_site):
    people = list(each_site.emulator.users)
    headers = {}
    for person in people:
        browser = each_site.browser()
        await browser.sign_in(sub=person)
        headers[person] = with_cookies(browser, FETCH)
    each_site.app.handler = echo
    each_site.clock.advance(3700)
    answers = await asyncio.gather(
        *(call(each_site.middleware, "/x", headers=headers[person]) for _ in range(10) for person in people)
    )
    for person, answer in zip(people * 10, answers, strict=True):
        assert json.loads(answer.body)["subject"] == json.loads(answer.body)["api"] == person
    assert each_site.emulator.reuse_events == 0


async def test_px_08_the_api_sets_no_cookie_that_another_person_sends(each_site):
    people = list(each_site.emulator.users)
    one, two = each_site.browser(), each_site.browser()
    await one.sign_in(sub=people[0])
    await two.sign_in(sub=people[1])
    each_site.app.handler = echo
    each_site.emulator.faults.add(
        USER_INFO, body={"user": {"id": people[0]}}, headers={"Set-Cookie": "api-session=of-one; Path=/"}
    )
    await one.fetch("GET", "/x")
    await two.fetch("GET", "/x")
    await one.fetch("GET", "/x")
    for request in each_site.emulator.calls_to(USER_INFO):
        assert "cookie" not in request.headers


# --- after the request, outside it, without a session ---------------------------------------------------


async def uses(client: AsyncLuminClient) -> list[str]:
    """What every part of a client says that is used too late."""
    found = []

    async def attempt(name: str, operation: Any) -> None:
        try:
            result = operation()
            if asyncio.iscoroutine(result):
                result = await result
            if hasattr(result, "__aenter__"):
                async with result:
                    pass
            found.append(f"{name} worked")
        except ClientMisused as error:
            found.append(f"{name}: {error}")

    for name in ("get", "head", "options", "post", "put", "patch", "delete"):
        await attempt(name, lambda name=name: getattr(client, name)("user/info"))
    await attempt("stream", lambda: client.stream("GET", "user/info"))
    await attempt("access_token", client.access_token)
    for name in ("claims", "subject", "scope", "expires_at"):
        await attempt(name, lambda name=name: getattr(client, name))
    await attempt("challenge", client.challenge)
    return found


async def test_px_08_a_client_that_outlives_its_request_fails_clearly(each_site):
    kept: list[AsyncLuminClient] = []

    async def keep(request: Request) -> Response:
        kept.append(request.state.lumin)
        return Response()

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = keep
    await browser.fetch("GET", "/x")
    calls = len(each_site.emulator.calls)
    found = await uses(kept[0])
    assert not [use for use in found if use.endswith("worked")]
    assert all("request that is over" in use and "Grants" in use for use in found), found
    assert len(each_site.emulator.calls) == calls
    assert "ory_at_" not in repr(kept[0])


async def test_px_08_a_task_that_outlives_its_request_fails_clearly(each_site):
    outcome: list[Any] = []

    async def detach(request: Request) -> Response:
        client = request.state.lumin

        async def later() -> None:
            await over.wait()
            outcome.append(await uses(client))

        tasks.append(asyncio.ensure_future(later()))
        return Response()

    tasks: list[asyncio.Future[None]] = []
    over = asyncio.Event()
    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = detach
    await browser.fetch("GET", "/x")
    over.set()
    await asyncio.gather(*tasks)
    assert not [use for use in outcome[0] if use.endswith("worked")]


async def test_px_08_a_background_task_of_the_answer_works_or_fails_clearly(each_site):
    """Starlette runs it before the application returns, so it still belongs to the request."""
    outcome: list[Any] = []

    async def handler(request: Request) -> Response:
        client = request.state.lumin

        async def after() -> None:
            try:
                outcome.append((await client.get("user/info")).status_code)
            except ClientMisused as error:
                outcome.append(error)

        return Response(background=BackgroundTask(after))

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    await browser.fetch("GET", "/x")
    assert len(outcome) == 1
    assert outcome[0] == 200 or isinstance(outcome[0], ClientMisused)


async def test_px_08_a_client_works_while_the_answer_is_streamed(each_site):
    async def handler(request: Request) -> Response:
        client = request.state.lumin

        async def chunks() -> Any:
            for _ in range(3):
                each_site.clock.advance(3700)
                yield str((await client.get("user/info")).status_code)

        return StreamingResponse(chunks())

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    assert (await browser.fetch("GET", "/x")).text == "200200200"
    assert (await browser.fetch("GET", "/x")).text == "200200200", "the cookie of before finds the newest tokens"
    assert each_site.emulator.reuse_events == 0


async def test_px_08_without_a_session_there_is_no_client(new_each_site):
    site = new_each_site(public=["/free"], optional=["/maybe"])
    browser = site.browser()
    for path in ("/free", "/maybe"):
        assert (await browser.navigate(path)).json()["subject"] is None
        assert site.app.scopes[-1]["state"]["lumin"] is None
    await browser.sign_in("/x")
    await browser.navigate("/free")
    assert site.app.scopes[-1]["state"]["lumin"] is None, "a public page is the same for everybody"
    assert not site.app.scopes[-1]["user"].is_authenticated


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/x",
    "http://evil.example",
    "https:evil.example",
    "\\\\evil.example",
    "ftp://evil.example/",
    "https://api.luminpdf.com.evil.example/",
    "https://127.0.0.1@evil.example/",
]


async def test_px_08_the_token_goes_to_the_api_and_nowhere_else(each_site, listener):
    outcomes: list[Any] = []

    async def handler(request: Request) -> Response:
        client = request.state.lumin
        for url in (*ELSEWHERE, listener.url, listener.url + USER_INFO, f"//{listener.url.partition('//')[2]}/x"):
            try:
                answer = await client.get(url)
                assert answer.request.url.origin == api, url
            except ClientMisused:
                outcomes.append(url)
        return Response()

    api = httpx2.URL(each_site.config.api_url).origin
    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    assert (await browser.fetch("GET", "/x")).status_code == 200
    assert listener.url in outcomes


async def test_px_08_a_redirect_of_the_api_elsewhere_takes_no_token_with_it(each_site, listener):
    async def handler(request: Request) -> Response:
        answer = await request.state.lumin.get("user/info")
        try:
            followed = await request.state.lumin.get("user/info", follow_redirects=True)
            status = followed.status_code
        except ClientMisused:
            status = 0
        return JSONResponse([answer.status_code, status])

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    each_site.emulator.faults.add(
        USER_INFO, status=307, headers={"Location": f"{listener.url}/v1/user/info"}, times=None
    )
    try:
        answer = await browser.fetch("GET", "/x")
        assert answer.status_code == 200
    finally:
        heard = list(listener.heard)
        listener.heard.clear()  # a call is the application's wish; a token in it is not
    assert not [data for data in heard if b"ory_at_" in data or b"authorization" in data.lower()]


async def test_px_08_the_application_cannot_bring_another_sign_in(each_site):
    outcomes: list[str] = []

    async def handler(request: Request) -> Response:
        try:
            await request.state.lumin.get("user/info", auth=("user", "password"))
        except ClientMisused:
            outcomes.append("auth")
        await request.state.lumin.get("user/info", headers={"Authorization": "Bearer stolen"})
        return Response()

    browser = each_site.browser()
    await browser.sign_in()
    each_site.app.handler = handler
    assert (await browser.fetch("GET", "/x")).status_code == 200
    assert outcomes == ["auth"]
    assert "stolen" not in each_site.emulator.calls_to(USER_INFO)[-1].headers["authorization"]


async def test_px_08_two_sites_in_one_process_do_not_share_a_session(new_site):
    one, two = new_site(), new_site()
    browser = one.browser()
    await browser.sign_in()
    assert (await call(two.middleware, "/x", headers={**FETCH, "cookie": cookie_header(browser)})).status == 401
    both = LuminMiddleware(two.app, two.config, clock=two.clock)
    two.processes.append(both)
    assert (await call(both, "/x", headers={**FETCH, "cookie": cookie_header(browser)})).status == 401


def test_px_08_each_event_loop_has_its_own_connections(new_site_for_threads: Site):
    """Two loops in two threads of one process, with one middleware."""
    results: list[str] = []

    async def use() -> None:
        browser = new_site_for_threads.browser()
        await browser.sign_in()
        results.append((await browser.fetch("GET", "/x")).json()["subject"])
        await new_site_for_threads.aclose()

    threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4


@pytest.fixture
def new_site_for_threads() -> Any:
    with make_site() as running:
        yield running
