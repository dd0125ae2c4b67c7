"""DO: what a hostile request, or a hostile answer, may cost. Bounds on the work, or on a baseline of the same test."""

from __future__ import annotations

import json
import logging
import re
import time
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.acceptance.harness import LOGIN, SESSION, TOKEN, USER_INFO, Raw, Witness, call, subject
from tests.acceptance.test_id_identity import part, signed
from tests.site_rig import FETCH, NAVIGATION, Site

MEGABYTE = 1024 * 1024


async def cost(make: Callable[[], Awaitable[Any]], times: int = 5) -> float:
    """Seconds of CPU that the cheapest of some runs took of this thread; the server's and other tests' do not count."""
    found = []
    for _ in range(times):
        before = time.thread_time()
        await make()
        found.append(time.thread_time() - before)
    return min(found)


def assert_bounded(answer: Raw) -> None:
    assert answer.status in (200, 303, 400, 401, 403, 405), answer.status
    assert len(answer.all("set-cookie")) <= 25
    assert sum(len(line) for line in answer.all("set-cookie")) < 16_384
    assert len(answer.body) < 16_384


# --- DO-01 ----------------------------------------------------------------------------------------------

NASTY_COOKIES: dict[str, str] = {
    "64 kB of one name": f"{SESSION}=" + "A" * 65_536,
    "64 kB of no name": "A" * 65_536,
    "64 kB of separators": ";" * 65_536,
    "64 kB of equals signs": "=" * 65_536,
    "64 kB of spaces": " " * 65_536,
    "64 kB of small cookies": "; ".join(f"c{number}=v" for number in range(8000)),
    "200 sessions": "; ".join(f"{SESSION}-{number}=x" for number in range(200)),
    "200 logins": "; ".join(f"{LOGIN}{number:016x}=" + "A" * 300 for number in range(200)),
    "2000 logins": "; ".join(f"{LOGIN}{number:016x}=x" for number in range(2000)),
    "2000 of the same": "; ".join([f"{SESSION}=x"] * 2000),
    "names that almost are ours": "; ".join(f"{SESSION}-login-{number:015x}g=x" for number in range(2000)),
    "dots": f"{SESSION}=" + "." * 65_536,
    "pieces that are long": "; ".join(f"{SESSION}-{number}=5" + "A" * 13_000 for number in range(5)),
    "a name of another site's that does not end": "__Host-lumin-abcdef-" + " " * 65_536,
    "the count of sign-ins": f"{SESSION}-tries=" + "[" * 65_536,
}


async def test_do_01_cookies_of_garbage_cost_little_and_sign_nobody_in(each_site):
    baseline = await cost(lambda: call(each_site.middleware, "/x", headers={**FETCH, "cookie": "a=b"}))
    slow = {}
    for name, cookie in NASTY_COOKIES.items():
        for base in (FETCH, NAVIGATION):
            headers = {**base, "cookie": cookie}
            answer = await call(each_site.middleware, "/x", headers=headers)
            assert answer.status == (401 if base is FETCH else 303), name
            assert_bounded(answer)
            spent = await cost(lambda headers=headers: call(each_site.middleware, "/x", headers=headers), 3)
            if spent > baseline * 1000:
                slow[name] = spent
    assert slow == {}
    assert each_site.store._entries == {}


NASTY_TARGETS: dict[str, str] = {
    "1000 parameters": "/auth/callback?" + "&".join(f"p{number}=x" for number in range(1000)),
    "1000 states": "/auth/callback?" + "&".join("state=x" for _ in range(1000)),
    "1 MB of state": "/auth/callback?code=x&state=" + "A" * MEGABYTE,
    "1 MB of encoded state": "/auth/callback?code=x&state=" + "%41" * (MEGABYTE // 3),
    "1 MB of code": "/auth/callback?state=x&code=" + "A" * MEGABYTE,
    "1 MB of separators": "/auth/callback?" + "&" * MEGABYTE,
    "1 MB of semicolons": "/auth/callback?" + ";" * MEGABYTE,
    "1 MB of percent signs": "/auth/callback?state=" + "%" * MEGABYTE,
    "1 MB of return_to": "/auth/login?return_to=/" + "a" * MEGABYTE,
    "64 kB of slashes": "/auth/login?return_to=" + "/" * 65_536,
    "64 kB of dots": "/auth/login?return_to=/" + "./" * 32_768,
    "64 kB of semicolons in dots": "/auth/login?return_to=/.;" + ";" * 1_900,
    "64 kB of path": "/" + "a" * 65_536,
    "64 kB of segments": "/a" * 32_768,
    "64 kB of dot segments": "/" + "../" * 21_000,
    "64 kB of dots and semicolons": "/" + ".;" * 32_000,
    "64 kB of escapes": "/" + "%2e" * 21_000,
    "64 kB of spaces between slashes": "/" + " " * 65_536,
    "a huge login_hint": "/auth/login?login_hint=" + "x" * 65_536,
    "a huge ask": "/auth/login?ask=" + "A" * 65_536,
    "1000 parameters of a login": "/auth/login?" + "&".join(f"p{number}=x" for number in range(1000)),
}


@pytest.mark.by_the_thousand
async def test_do_01_targets_of_garbage_cost_little_and_break_nothing(each_site):
    baseline = await cost(lambda: call(each_site.middleware, "/x", headers=FETCH))
    slow = {}
    for name, target in NASTY_TARGETS.items():
        raw = target.encode("latin-1")
        answer = await call(each_site.middleware, raw, headers=NAVIGATION)
        assert_bounded(answer)
        spent = await cost(lambda raw=raw: call(each_site.middleware, raw, headers=NAVIGATION), 3)
        size = len(raw) / MEGABYTE
        if spent > baseline * (1000 + 9000 * size):
            slow[name] = spent
    assert slow == {}
    assert each_site.emulator.calls_to(TOKEN) == []


async def test_do_01_work_grows_with_the_size_and_not_with_its_square(site):
    """Ten times as much takes some ten times as long, and not a hundred, for all that is looked at by patterns."""
    baseline = await cost(lambda: call(site.middleware, "/x", headers=NAVIGATION))
    for make in (
        lambda n: ("/" + ".;" * n, ""),
        lambda n: ("/" + "%2e" * n, ""),
        lambda n: ("/" + " " * n, ""),
        lambda n: ("/" + "a/." * n, ""),
        lambda n: ("/x", "; ".join(f"{SESSION}-{number % 5}=x" for number in range(n))),
        lambda n: ("/x", f"{SESSION}=" + "." * n),
        lambda n: ("/x", ";" * n),
    ):
        spent = []
        for size in (6_400, 64_000):
            target, cookie = make(size)
            headers = {**NAVIGATION, "cookie": cookie, "accept": "text/html" + ";q=0" * (size // 10)}
            spent.append(await cost(lambda t=target, h=headers: call(site.middleware, t, headers=h), 7))
        assert spent[1] <= 40 * max(spent[0], baseline), spent


async def test_do_01_a_body_that_nobody_asked_for_is_not_read(each_site):
    """Our routes take no body: a client that sends one for ever must not hold a worker."""

    async def endless() -> dict[str, Any]:
        raise AssertionError("somebody read the body")

    for path in ("/auth/login", "/auth/logout", "/auth/session", "/x"):
        for method in ("GET", "PUT") if path == "/auth/login" else ("GET", "POST", "PUT"):  # a POST may be a login
            sent: list[Any] = []
            scope = {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": method,
                "scheme": "https",
                "path": path,
                "raw_path": path.encode(),
                "query_string": b"",
                "headers": [(b"content-length", b"1000000000")],
            }

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            await each_site.middleware(scope, endless, send)
            assert sent[0]["status"] in (200, 303, 401, 403, 405)


@pytest.mark.by_the_thousand
async def test_do_01_a_thousand_strangers_leave_nothing_in_memory(site, caplog):
    """Every cache of a process is bounded, and only a session gets in."""
    caplog.set_level(logging.INFO, "lumin_middleware")  # pytest keeps the lines, of which each request has one at DEBUG
    for number in range(3000):
        headers = {**FETCH, "cookie": f"{SESSION}=stranger{number}; x={number}"}
        await call(site.middleware, "/x", headers=headers)
    tracemalloc.start()
    try:
        for number in range(3000):
            headers = {**FETCH, "cookie": f"{SESSION}=another{number}" + "A" * 2000}
            await call(site.middleware, "/x", headers=headers)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < MEGABYTE


async def test_do_01_many_signed_in_jars_are_remembered_up_to_a_bound(site):
    browser = site.browser()
    await browser.sign_in()
    cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)
    for number in range(1500):
        await call(site.middleware, "/x", headers={**FETCH, "cookie": f"{cookie}; n={number}"})
    tracemalloc.start()
    try:
        for number in range(1500):
            await call(site.middleware, "/x", headers={**FETCH, "cookie": f"{cookie}; m={number}"})
            site.app.scopes.clear()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 16 * MEGABYTE


# --- DO-02 ----------------------------------------------------------------------------------------------


def jwe(header: dict[str, Any], body: bytes = b"x") -> str:
    return ".".join([part(header), part(b"key"), part(b"iv"), part(body), part(b"tag")])


def bombs() -> dict[str, str]:
    """Tokens that cost much to somebody who looks too closely."""
    zipped = zlib.compress(b"\0" * (64 * MEGABYTE), 9)
    deep = "[" * 10_000 + "]" * 10_000
    return {
        "long": f"{part({'alg': 'RS256'})}.{'A' * 900_000}.AAAA",
        "many dots": "." * 500_000,
        "a deep header": f"{part(deep.encode())}.e30.AAAA",
        "a deep member of the header": part(b'{"alg":"RS256","x":' + deep[:7000].encode() + b"}") + ".e30.AAAA",
        "a header with a huge number": part(b'{"alg":"RS256","x":' + b"9" * 9_000 + b"}") + ".e30.AAAA",
        "a JWE that unfolds": jwe({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}, zipped),
        "a JWE with PBES2": jwe({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 1_000_000_000, "p2s": "AAAA"}),
        "a JWE with RSA1_5": jwe({"alg": "RSA1_5", "enc": "A128CBC-HS256"}),
        "a JWE with RSA-OAEP": jwe({"alg": "RSA-OAEP", "enc": "A128GCM"}),
        "a JWE with ECDH": jwe({"alg": "ECDH-ES", "enc": "A128GCM", "epk": {"kty": "EC"}}),
        "three parts with zip": f"{part({'alg': 'RS256', 'zip': 'DEF'})}.{part(zipped[:9000])}.AAAA",
        "three parts with p2c": f"{part({'alg': 'PBES2-HS256+A128KW', 'p2c': 10**9})}.e30.AAAA",
        "a huge kid": f"{part({'alg': 'RS256', 'kid': 'k' * 10_000})}.e30.AAAA",
        "a huge exponent of a signature": f"{part({'alg': 'RS256'})}.e30.{'A' * 9_000}",
    }


async def sign_in_with(site: Site, token: str) -> Any:
    browser = site.browser()
    callback = site.emulator.sign_in(await browser.begin("/x"))
    witness = Witness(site, browser)
    site.emulator.faults.add(TOKEN, body={"access_token": "at", "token_type": "bearer", "id_token": token})
    answer = await browser.navigate(callback)
    witness.assert_rejected(answer)
    return answer


async def test_do_02_tokens_that_are_bombs_are_refused_for_little(each_site):
    await each_site.browser().sign_in()
    normal = await cost(lambda: each_site.browser().sign_in())
    texts, slow, large = set(), {}, {}
    for name, bomb in bombs().items():
        each_site.clock.advance(120)
        tracemalloc.start()
        try:
            before = time.thread_time()
            answer = await sign_in_with(each_site, bomb)
            spent = time.thread_time() - before
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        if spent > 500 * normal:
            slow[name] = spent
        if peak > 50 * MEGABYTE:
            large[name] = peak
        if name.startswith("a JWE"):
            texts.add((answer.status_code, re.sub('<p class="reference">.*?</p>', "", answer.text)))
    assert (slow, large) == ({}, {})
    assert len(texts) == 1, "what is wrong with a JWE is nobody's to learn"


async def test_do_02_an_answer_of_five_megabytes_is_not_read_to_its_end(each_site):
    """The emulator counts nothing here: what is bounded is what this process keeps."""
    for number, path in enumerate((TOKEN, USER_INFO)):
        each_site.clock.advance(120)
        browser = each_site.browser()
        callback = each_site.emulator.sign_in(await browser.begin("/x"))
        if number:
            each_site.emulator.faults.add(TOKEN, body={"access_token": "at", "token_type": "bearer"})
        body = json.dumps({"access_token": "at", "token_type": "bearer", "id_token": "A" * 5 * MEGABYTE})
        each_site.emulator.faults.add(path, status=200, body=body, content_type="application/json")
        answer = await browser.navigate(callback)
        assert answer.status_code in (502, 503)
        assert await subject(browser) is None


async def test_do_02_an_answer_that_unfolds_is_not_unfolded(each_site):
    """`Accept-Encoding: identity`, and what comes compressed all the same is no JSON."""
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = packed.compress(b" " * (64 * MEGABYTE)) + packed.flush()
    browser = each_site.browser()
    callback = each_site.emulator.sign_in(await browser.begin("/x"))
    headers = {"Content-Encoding": "gzip"}
    each_site.emulator.faults.add(TOKEN, status=200, body=body, headers=headers, content_type="application/json")
    tracemalloc.start()
    try:
        answer = await browser.navigate(callback)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code in (502, 503)
    assert peak < 50 * MEGABYTE
    assert each_site.emulator.calls_to(TOKEN)[0].headers["accept-encoding"] == "identity"


async def test_do_02_hostile_claims_do_not_grow_the_cookie(new_each_site):
    site = new_each_site(claims=[f"claim{number}" for number in range(50)])

    def forge(header: dict[str, Any], claims: dict[str, Any], key: Any) -> str:
        return signed(header, {**claims, **{f"claim{number}": "x" * 250 for number in range(50)}}, key)

    site.emulator.forge_id_token = forge
    browser = site.browser()
    answer = await browser.sign_in("/x")
    if answer.status_code == 303:
        assert all(len(line) <= 4096 for line in answer.headers.get_list("set-cookie"))
        session = (await browser.fetch("GET", "/auth/session")).json()
        assert len(json.dumps(session["claims"])) <= 2_300
