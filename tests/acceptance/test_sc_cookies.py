"""SC: the attributes of our cookies, and how they are read."""

from __future__ import annotations

import base64
import json
import re
import secrets
import string
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lumin_middleware import ConfigurationError, LuminConfig
from tests.acceptance.harness import (
    ATTRIBUTES,
    LOGIN,
    SESSION,
    TOKEN,
    Raw,
    call,
    cookies,
    joined,
    login_cookies,
    seen_with,
    session_cookies,
    subject,
)
from tests.site_rig import CLIENT, FETCH, NAVIGATION, query, set_cookies

BIG = {"emulator": {"access_token_length": 2800}}


# --- SC-01 ----------------------------------------------------------------------------------------------


async def test_sc_01_the_session_cookie_has_every_attribute_that_protects_it(each_site):
    browser = each_site.browser()
    answer = await browser.sign_in()
    line = set_cookies(answer)[SESSION]
    assert line.startswith("__Host-")
    value, *attributes = line.split("; ")
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} < set(attributes)
    assert not [attribute for attribute in attributes if attribute.lower().startswith("domain")]
    assert re.fullmatch(rf"{SESSION}=[A-Za-z0-9_.-]+", value)
    for other in set_cookies(answer).values():
        assert other.endswith(ATTRIBUTES), other


@pytest.mark.parametrize("big", [False, True], ids=["one", "pieces"])
async def test_sc_01_a_deletion_repeats_the_attributes(new_each_site, big):
    site = new_each_site(**(BIG if big else {}))
    browser = site.browser()
    await browser.sign_in()
    names = set(cookies(browser))
    answer = await browser.log_out()
    assert set_cookies(answer) == {name: f"{name}=; Max-Age=0{ATTRIBUTES}" for name in names}
    assert cookies(browser) == {}


async def test_sc_01_on_plain_http_on_loopback_the_prefix_and_secure_are_left_out(new_site):
    uri = "http://localhost:8000/auth/callback"
    client = type(CLIENT)(**{**CLIENT.__dict__, "redirect_uris": (uri,)})
    site = new_site(redirect_uri=uri, emulator={"clients": [client]})
    begun = await call(site.middleware, "/x")
    [line] = begun.set_cookies.values()
    assert re.fullmatch(r"lumin-[a-z]{6}-login-[0-9a-f]{16}=[^;]+; Max-Age=1800; Path=/; HttpOnly; SameSite=Lax", line)


@pytest.mark.parametrize(
    "uri",
    ["http://app.example.com/auth/callback", "http://10.0.0.1/auth/callback", "http://localhost.evil.example/a/cb"],
)
async def test_sc_01_plain_http_elsewhere_is_refused_at_the_start(uri):
    with pytest.raises(ConfigurationError) as refused:
        LuminConfig(client_id="x", client_secret="y", redirect_uri=uri, secret_key=secrets.token_bytes(32))
    assert refused.value.field == "redirect_uri"


# --- SC-02 ----------------------------------------------------------------------------------------------


def spoiled(value: str) -> dict[str, str]:
    """The sealed value with something wrong, by what it is."""
    found = {
        f"byte {at}": value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :] for at in range(len(value))
    }
    found |= {f"first {size}": value[:size] for size in (0, 1, 2, 10, len(value) // 2, len(value) - 1)}
    found |= {f"without the first {size}": value[size:] for size in (1, 4, 44)}
    found |= {f"with {text!r} after": value + text for text in ("A", "=", "==", ".", ".A", "%00", "-", value)}
    found |= {f"with {text!r} before": text + value for text in ("A", "=", ".", "s:", "v2.")}
    body, stamp, signature = value.rsplit(".", 2)
    found["parts swapped"] = f"{signature}.{stamp}.{body}"
    found["no signature"] = f"{body}.{stamp}"
    found["no stamp"] = f"{body}.{signature}"
    found["empty signature"] = f"{body}.{stamp}."
    found["another stamp"] = f"{body}.{base64.urlsafe_b64encode((2**31).to_bytes(4, 'big')).decode()[:6]}.{signature}"
    found["standard base64"] = value.replace("-", "+").replace("_", "/")
    found["padded"] = body + "=" * (-len(body) % 4) + f".{stamp}.{signature}"
    found["other case"] = value.swapcase()
    found["reversed"] = value[::-1]
    last = string.ascii_letters + string.digits + "-_"
    found |= {f"spare bits {other}": value[:-1] + other for other in last if other != value[-1]}
    return {name: text for name, text in found.items() if text != value}


def said(answer: Raw) -> dict[str, Any]:
    """A problem without its reference."""
    return {name: value for name, value in json.loads(answer.body).items() if name != "reference"}


@pytest.mark.parametrize("headers", [FETCH, NAVIGATION], ids=["fetch", "navigation"])
async def test_sc_02_every_way_to_spoil_a_session_has_one_answer(each_site, headers):
    browser = each_site.browser()
    await browser.sign_in()
    value = session_cookies(browser)[SESSION]
    expected = await seen_with(each_site, "", headers)
    different = []
    reached = len(each_site.app.scopes)
    for name, text in spoiled(value).items():
        answer = await seen_with(each_site, f"{SESSION}={text}", headers)
        # A navigation is redirected with a login of its own, and a problem has a reference of its own; all but what is
        # random must be equal.
        names, wanted = [key for key, _ in answer.headers], [key for key, _ in expected.headers]
        if (answer.status, names) != (expected.status, wanted) or (headers is FETCH and said(answer) != said(expected)):
            different.append(name)
    assert different == []
    assert len(each_site.app.scopes) == reached
    assert await subject(browser), "the good one still is"


async def test_sc_02_two_different_cookies_of_our_name_are_none(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    good = f"{SESSION}={session_cookies(browser)[SESSION]}"
    for header in (f"{good}; {SESSION}=x", f"{SESSION}=x; {good}", f"{SESSION}=; {good}", f"{good}; {SESSION}="):
        assert (await seen_with(each_site, header)).status == 401, header
    assert (await seen_with(each_site, f"{good}; {good}")).status == 200


async def test_sc_02_malformed_neighbours_do_no_harm(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    good = f"{SESSION}={session_cookies(browser)[SESSION]}"
    neighbours = [
        "x",
        "=",
        "=x",
        ";",
        ";;",
        "a=b=c",
        'q="unclosed',
        "ünïcödé=ß",
        "a b=c d",
        "[x]=1",
        "$Version=1",
        "x=\t",
    ]
    neighbours += [
        f"{SESSION}",
        f"{SESSION}x=1",
        f"x{SESSION}=1",
        f"{SESSION.lower()}=1",
        f"{SESSION.upper()}=2",
        "lumin=1",
    ]
    neighbours += [f"__Secure-lumin=1; {SESSION}-9=x; {SESSION}-foo=1", "a=" + "b" * 20_000]
    for neighbour in neighbours:
        for header in (
            f"{neighbour}; {good}",
            f"{good}; {neighbour}",
            f"{neighbour};{good};{neighbour}",
            f"{good} ;{neighbour}",
        ):
            answer = await seen_with(each_site, header.encode().decode("latin-1"))
            assert answer.status == 200, header[:80]


async def test_sc_02_the_application_sees_its_own_cookies_and_none_of_ours(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    await browser.navigate("/auth/login")
    good = joined(cookies(browser))
    assert LOGIN in good
    for theirs in ("", "a=1", "a=1; b=2", "session=x; csrftoken=y"):
        answer = await seen_with(each_site, f"{theirs}; {good}" if theirs else good)
        assert json.loads(answer.body)["cookie"] == theirs


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [SESSION, f"{SESSION}-0", f"{SESSION}-1", f"{LOGIN}0123456789abcdef", "x", "", f"{SESSION}-tries"]
            ),
            st.sampled_from(["=", "", "==", " = "]),
            st.binary(max_size=40),
        ),
        max_size=8,
    )
)
async def test_sc_02_no_cookie_header_of_a_strangers_making_signs_in_or_breaks(each_site, pairs):
    header = b";".join(name.encode() + equals.encode() + value for name, equals, value in pairs)
    answer = await call(each_site.middleware, "/who", headers=[(b"accept", b"application/json"), (b"cookie", header)])
    assert answer.status == 401


# --- SC-03 ----------------------------------------------------------------------------------------------


def readings(value: str) -> list[bytes]:
    """Everything that somebody who holds the cookie could try to read out of it."""
    found = [value.encode()]
    for part in (value, *value.split("."), *(value[at:] for at in range(1, 4))):
        for alphabet in (base64.urlsafe_b64decode, base64.b64decode, base64.b32decode, base64.b85decode, bytes.fromhex):
            try:
                raw = (
                    alphabet(part + "=" * (-len(part) % 4))
                    if alphabet in (base64.urlsafe_b64decode, base64.b64decode)
                    else alphabet(part)
                )
            except ValueError:
                continue
            found.append(raw)
            for skip in (0, 1, 2, 12, 13):
                for bits in (15, -15, 31):
                    try:
                        found.append(zlib.decompressobj(bits).decompress(raw[skip:]))
                    except zlib.error:
                        continue
    return found


@pytest.mark.parametrize("end_session", [False, True])
async def test_sc_03_a_cookie_gives_away_nothing(new_each_site, end_session):
    site = new_each_site(end_session=end_session, after_login="/home")
    browser = site.browser()
    url = await browser.begin("/private/page")
    login = login_cookies(browser)
    await browser.navigate(site.emulator.sign_in(url))
    site.clock.advance(3700)
    await subject(browser)
    form = site.emulator.calls_to(TOKEN)[0].form
    [grant] = site.emulator.grants
    known = [token.value for token in grant.tokens] + [CLIENT.client_secret, CLIENT.client_id, grant.user.sub]
    known += [grant.user.email, grant.user.name, query(url)["state"], query(url)["nonce"], form["code_verifier"][0]]
    known += [
        "eyJhbGci",
        "access_token",
        "refresh",
        '"sub"',
        "openid",
        "/private/page",
        "state",
        "nonce",
        *site.config.scope.split(),
    ]
    for name, value in {**login, **cookies(browser)}.items():
        for text in readings(value):
            for secret in known:
                assert secret.encode() not in text, (name, secret)


async def test_sc_03_equal_sessions_do_not_look_alike(each_site):
    """Neither equal text nor equal length of a secret shows through a random nonce."""
    values = []
    for _ in range(4):
        browser = each_site.browser()
        await browser.sign_in()
        values.append(session_cookies(browser)[SESSION])
    assert len({value[:24] for value in values}) == len(values)
