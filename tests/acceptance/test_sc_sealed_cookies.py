"""SC: cookies, what they hold, how long they are good, and what becomes of the wrong ones."""

from __future__ import annotations

import base64
import json
import re
import secrets
import string
import zlib
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lumin_middleware import ConfigurationError, LuminConfig
from tests.acceptance.harness import (
    LOGIN,
    SESSION,
    TOKEN,
    Witness,
    call,
    cookies,
    login_cookies,
    put_cookie,
    session_cookies,
    session_records,
    subject,
    with_cookies,
)
from tests.site_rig import CLIENT, FETCH, NAVIGATION, REDIRECT_URI, Browser, Site, query, set_cookies

PIECE = re.compile(rf"{SESSION}-\d")
BIG = {"emulator": {"access_token_length": 2800}}


async def seen_with(site: Site, cookie: str, headers: dict[str, str] = FETCH) -> Any:
    """What a request with this `Cookie` header gets."""
    return await call(site.middleware, "/who", headers={**headers, "cookie": cookie})


def joined(values: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in values.items())


# --- SC-01 ----------------------------------------------------------------------------------------------

ATTRIBUTES = "; Path=/; HttpOnly; SameSite=Lax; Secure"


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
    assert re.fullmatch(r"lumin-[a-z]{6}-login-[0-9a-f]{16}=[^;]+; Max-Age=600; Path=/; HttpOnly; SameSite=Lax", line)


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
        # A navigation is redirected with a login of its own; all but its random parts must be equal.
        names, wanted = [key for key, _ in answer.headers], [key for key, _ in expected.headers]
        if (answer.status, names) != (expected.status, wanted) or (headers is FETCH and answer.body != expected.body):
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
        "eyJ",
        "access_token",
        "refresh",
        "sub",
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


# --- SC-06 ----------------------------------------------------------------------------------------------


def moved(browser: Browser, site: Site) -> Browser:
    """The same browser, whose requests another process answers from now on."""
    other = site.browser()
    other.cookies = browser.cookies
    return other


def keys() -> tuple[bytes, bytes]:
    return secrets.token_bytes(32), secrets.token_bytes(32)


async def test_sc_06_an_old_key_opens_and_the_new_one_seals(new_each_site):
    old, new = keys()
    site = new_each_site(secret_key=old)
    browser = site.browser()
    await browser.sign_in()
    who = await subject(browser)
    before = session_cookies(browser)
    rotated = site.with_settings(secret_key=[new, old])
    carried = moved(browser, rotated)
    assert await subject(carried) == who
    assert session_cookies(carried) != before, "resealed with the next answer"
    assert await subject(carried) == who


@pytest.mark.parametrize("renewed", [False, True], ids=["fresh", "renewed"])
async def test_sc_06_what_was_resealed_outlives_the_old_key(new_each_site, renewed):
    """DESIGN, D5: what was opened with an old key is resealed, so that the old key can go."""
    old, new = keys()
    site = new_each_site(secret_key=old)
    browser = site.browser()
    await browser.sign_in()
    if renewed:
        site.clock.advance(3700)
    who = await subject(browser)
    for setting in ([new, old], [new]):
        browser = moved(browser, site.with_settings(secret_key=setting))
        site.clock.advance(60)
        assert await subject(browser) == who, f"{len(setting)} keys"


async def test_sc_06_without_its_key_a_session_is_none_and_nothing_breaks(new_each_site):
    old, new = keys()
    site = new_each_site(secret_key=old)
    browser = site.browser()
    url = site.emulator.sign_in(await browser.begin("/x"))
    await browser.sign_in()
    gone = site.with_settings(secret_key=new)
    carried = moved(browser, gone)
    assert await subject(carried) is None
    witness = Witness(gone, carried)
    witness.assert_rejected(await carried.navigate(url), token_calls=0)
    assert (await carried.sign_in("/y")).headers["location"] == "/y"


async def test_sc_06_a_login_that_was_begun_with_the_old_key_completes(new_each_site):
    old, new = keys()
    site = new_each_site(secret_key=old)
    browser = site.browser()
    url = site.emulator.sign_in(await browser.begin("/x"))
    carried = moved(browser, site.with_settings(secret_key=[new, old]))
    assert (await carried.navigate(url)).headers["location"] == "/x"


async def test_sc_06_workers_with_the_keys_in_another_order_understand_each_other(new_each_site):
    """A rolling deployment."""
    old, new = keys()
    site = new_each_site(secret_key=[old, new])
    other = site.with_settings(secret_key=[new, old])
    browser = site.browser()
    await browser.sign_in()
    for turn in range(4):
        browser = moved(browser, site if turn % 2 else other)
        site.clock.advance(3700)
        assert await subject(browser)
    assert site.emulator.reuse_events == 0


# --- SC-07 ----------------------------------------------------------------------------------------------

WEAK: list[Any] = [
    None,
    "",
    b"",
    [],
    [None],
    [""],
    "short",
    "x" * 31,
    b"y" * 31,
    secrets.token_bytes(31),
    secrets.token_urlsafe(18),
    "a" * 64,
    b"\0" * 32,
    b"\xff" * 64,
    "ab" * 32,
    "0123456789" * 4,
    "abcdefghijklmnopqrstuvwxyz0123456789",
    bytes(range(32)),
    "changeme" * 8,
    "your-secret-key-goes-here-0123456789",
    "replace-this-with-32-random-bytes!!!",
    "my-super-secret-password-1234567890!",
    "correct horse battery staple correct horse",
    "This is a passphrase that is long enough",
    12345678901234567890123456789012,
    object(),
    [secrets.token_bytes(32), "short"],
    [secrets.token_bytes(32), None],
    {"key": secrets.token_urlsafe(32)},
]


@pytest.mark.parametrize("key", WEAK, ids=[f"{number}" for number in range(len(WEAK))])
def test_sc_07_a_weak_key_is_refused_at_the_start(key):
    with pytest.raises(ConfigurationError) as refused:
        LuminConfig(client_id="x", client_secret="y", redirect_uri=REDIRECT_URI, secret_key=key)
    assert refused.value.field == "secret_key"
    if isinstance(key, str) and len(key) > 10:
        assert key not in str(refused.value)


def test_sc_07_no_key_at_all_is_refused_and_there_is_no_fallback():
    with pytest.raises((ConfigurationError, TypeError)):
        LuminConfig(client_id="x", client_secret="y", redirect_uri=REDIRECT_URI)
    environ = {"LUMIN_CLIENT_ID": "x", "LUMIN_CLIENT_SECRET": "y", "LUMIN_REDIRECT_URI": REDIRECT_URI}
    with pytest.raises(ConfigurationError, match="LUMIN_SECRET_KEY"):
        LuminConfig.from_env(environ)
    with pytest.raises(ConfigurationError):
        LuminConfig.from_env({**environ, "LUMIN_SECRET_KEY": ""})


@pytest.mark.parametrize("make", [secrets.token_urlsafe, secrets.token_hex, secrets.token_bytes])
def test_sc_07_random_keys_are_accepted(make):
    for _ in range(200):
        LuminConfig(client_id="x", client_secret="y", redirect_uri=REDIRECT_URI, secret_key=make(32))


def test_sc_07_the_settings_do_not_show_the_key():
    key = secrets.token_urlsafe(32)
    config = LuminConfig(client_id="x", client_secret="hidden", redirect_uri=REDIRECT_URI, secret_key=key)
    assert key not in repr(config)
    assert "hidden" not in repr(config)


# --- SC-08 ----------------------------------------------------------------------------------------------


async def test_sc_08_a_session_that_was_not_used_is_over_whatever_the_browser_believes(new_each_site):
    site = new_each_site(idle_timeout=3600, absolute_timeout=36_000)
    browser = site.browser()
    await browser.sign_in()
    site.clock.advance(3599)
    witness_cookies = cookies(browser)
    other = site.browser()
    for name, value in witness_cookies.items():
        put_cookie(other, name, value)
    assert await subject(other)
    site.clock.advance(3601)
    assert await subject(browser) is None


async def test_sc_08_a_replayed_cookie_is_over_after_the_absolute_limit(new_each_site):
    site = new_each_site(idle_timeout=3600, absolute_timeout=7200)
    browser = site.browser()
    await browser.sign_in()
    kept = [with_cookies(browser, FETCH)]
    for _ in range(8):
        site.clock.advance(850)
        assert await subject(browser)
        kept.append(with_cookies(browser, FETCH))
    site.clock.advance(850)
    for headers in kept:
        assert (await call(site.middleware, "/who", headers=headers)).status == 401
    assert await subject(browser) is None
    site.clock.advance(100_000)
    assert await subject(browser) is None


async def test_sc_08_rolling_and_renewing_never_extend_past_the_absolute_limit(new_each_site):
    site = new_each_site(idle_timeout=7200, absolute_timeout=20_000)
    browser = site.browser()
    answer = await browser.sign_in()
    began = site.clock.now
    lines = [set_cookies(answer)[SESSION]]
    for _ in range(9):
        site.clock.advance(2000)
        answer = await browser.fetch("GET", "/who")
        assert answer.status_code == 200
        lines += [line for name, line in set_cookies(answer).items() if name == SESSION]
        left = began + 20_000 - site.clock.now
        for line in lines[1:]:
            [max_age] = re.findall(r"Max-Age=(\d+)", line)
            assert int(max_age) <= min(7200, left)
        lines[1:] = []
        for _value, expires_at in site.store._entries.values():
            assert expires_at <= began + 20_000 + 660, "no record outlives its session"
    site.clock.advance(2000)
    assert await subject(browser) is None


async def test_sc_08_the_stores_lifetime_is_the_smaller_of_both(new_site):
    site = new_site(sessions="store", idle_timeout=3600, absolute_timeout=5000)
    browser = site.browser()
    await browser.sign_in()
    [expires_at] = [at for key, (_, at) in site.store._entries.items() if key.startswith("session:")]
    assert expires_at == site.clock.now + 3600
    site.clock.advance(3000)
    assert await subject(browser)
    [expires_at] = [at for key, (_, at) in site.store._entries.items() if key.startswith("session:")]
    assert expires_at == site.clock.now + 2000


async def test_sc_08_a_clock_that_went_back_signs_nobody_out(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    each_site.clock.advance(-50)
    assert await subject(browser)


# --- SC-09 ----------------------------------------------------------------------------------------------


async def test_sc_09_a_large_session_is_split_into_cookies_that_browsers_keep(new_site):
    site = new_site(**BIG)
    browser = site.browser()
    answer = await browser.sign_in()
    pieces = {name: line for name, line in set_cookies(answer).items() if PIECE.fullmatch(name)}
    assert len(pieces) > 1
    assert all(len(line) <= 4096 for line in answer.headers.get_list("set-cookie"))
    assert all(line.endswith(ATTRIBUTES) for line in pieces.values())
    assert await subject(browser)


async def test_sc_09_pieces_are_accepted_in_any_order(new_site):
    site = new_site(emulator={"access_token_length": 2800})
    browser = site.browser()
    await browser.sign_in()
    pieces = list(session_cookies(browser).items())
    assert len(pieces) == 2
    for order in permutations(pieces):
        assert (await seen_with(site, joined(dict(order)))).status == 200
        assert (await seen_with(site, joined({"a": "1", **dict(order), "b": "2"}))).status == 200


@pytest.mark.parametrize("length", [2000, 2600, 2700, 2800, 2900, 3000, 5600, 5900, 12_000])
async def test_sc_09_every_size_around_a_limit_is_kept_or_refused(new_site, length):
    site = new_site(emulator={"access_token_length": length})
    browser = site.browser()
    answer = await browser.sign_in("/x")
    assert answer.status_code == 303
    assert all(len(line) <= 4096 for line in answer.headers.get_list("set-cookie"))
    assert await subject(browser)


async def test_sc_09_what_is_too_large_is_said_at_the_sign_in_and_lives_in_the_store(new_site, log):
    site = new_site(emulator={"access_token_length": 30_000})
    browser = site.browser()
    answer = await browser.sign_in("/x")
    assert answer.status_code == 303
    assert await subject(browser)
    assert len(joined(cookies(browser))) < 1000
    assert any("sessions='store'" in line for line in log.lines)


async def test_sc_09_a_session_that_grows_too_large_at_a_refresh_goes_on(new_site, log):
    site = new_site()
    browser = site.browser()
    await browser.sign_in()
    site.emulator.grants.access_token_length = 30_000
    site.clock.advance(3700)
    for _ in range(3):
        assert await subject(browser)
    assert len(site.emulator.calls_to(TOKEN)) == 2
    assert len(joined(cookies(browser))) < 1000
    assert any("sessions='store'" in line for line in log.lines)


async def test_sc_09_in_the_store_size_does_not_matter(new_site):
    site = new_site(sessions="store", emulator={"access_token_length": 30_000})
    browser = site.browser()
    await browser.sign_in()
    assert list(session_cookies(browser)) == [SESSION]
    assert await subject(browser)


# --- SC-11 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes", [(2800, 94), (94, 2800), (94, 9000), (2800, 9000), (9000, 2800), (94, 94), (2800, 94, 9000, 94)], ids=str
)
async def test_sc_11_a_session_that_changes_its_size_leaves_no_old_cookie(new_site, sizes):
    site = new_site(emulator={"access_token_length": sizes[0]})
    browser = site.browser()
    await browser.sign_in()
    for size in sizes[1:]:
        before = set(session_cookies(browser))
        site.emulator.grants.access_token_length = size
        site.clock.advance(3700)
        answer = await browser.fetch("GET", "/who")
        lines = set_cookies(answer)
        written = {name for name, line in lines.items() if not line.startswith(f"{name}=;")}
        for name in before - written:
            assert lines[name] == f"{name}=; Max-Age=0{ATTRIBUTES}"
        assert set(session_cookies(browser)) == written
        assert await subject(browser)
    assert len(site.emulator.calls_to(TOKEN)) == len(sizes)
    assert site.emulator.reuse_events == 0


@pytest.mark.parametrize("sizes", [(2800, 94), (94, 2800)], ids=str)
async def test_sc_11_a_new_sign_in_of_another_size_leaves_no_old_cookie(new_site, sizes):
    site = new_site(emulator={"access_token_length": sizes[0]})
    people = list(site.emulator.users)
    browser = site.browser()
    await browser.sign_in(sub=people[0])
    site.emulator.grants.access_token_length = sizes[1]
    begun = await browser.navigate("/auth/login")
    answer = await browser.navigate(site.emulator.sign_in(begun.headers["location"], sub=people[1]))
    written = {name for name, line in set_cookies(answer).items() if not line.startswith(f"{name}=;")}
    assert set(session_cookies(browser)) <= written
    assert await subject(browser) == people[1]


# --- SC-12 ----------------------------------------------------------------------------------------------


async def pieces_of(site: Site) -> dict[str, str]:
    browser = site.browser()
    await browser.sign_in()
    return session_cookies(browser)


async def test_sc_12_pieces_that_do_not_belong_together_are_nobody(new_site):
    site = new_site(emulator={"access_token_length": 2800})
    old, new = await pieces_of(site), await pieces_of(site)
    names = list(old)
    assert len(names) >= 3
    first, second, *_, last = names
    wrong = {
        "mixed generations": {**old, first: new[first]},
        "mixed the other way": {**new, first: old[first]},
        "last of another": {**new, last: old[last]},
        "no first": {name: value for name, value in new.items() if name != first},
        "no middle": {name: value for name, value in new.items() if name != second},
        "no last": {name: value for name, value in new.items() if name != last},
        "only the first": {first: new[first]},
        "swapped": {**new, first: new[second], second: new[first]},
        "all the same": dict.fromkeys(names, new[first]),
        "an empty one": {**new, second: ""},
        "a count too small": {**new, first: "2" + new[first][1:]},
        "a count too large": {**new, first: "5" + new[first][1:]},
        "a count of zero": {**new, first: "0" + new[first][1:]},
        "a count of one": {**new, first: "1" + new[first][1:]},
        "a count of nine": {**new, first: "9" + new[first][1:]},
        "a count that is none": {**new, first: "-" + new[first][1:]},
        "a long count": {**new, first: "99999999" + new[first][1:]},
    }
    for name, header in wrong.items():
        answer = await seen_with(site, joined(header))
        assert answer.status == 401, name
    assert (await seen_with(site, joined(new))).status == 200


async def test_sc_12_indices_that_we_never_write_are_not_ours(new_site):
    site = new_site(emulator={"access_token_length": 2800})
    good = await pieces_of(site)
    value = good[f"{SESSION}-0"]
    for index in (
        "99999999",
        "-1",
        "01",
        "00",
        "5",
        "+1",
        "1.0",
        "0x1",
        "1e0",
        " 1",
        "%31",
        "\u0661",
        "\u00b2",
        "None",
        "",
    ):
        others = {f"{SESSION}-{index}": value}
        for header in (joined({**good, **others}), joined({**others, **good})):
            assert (await seen_with(site, header.encode().decode("latin-1"))).status == 200, index
        moved = {f"{SESSION}-{index}" if name.endswith("-1") else name: text for name, text in good.items()}
        assert (await seen_with(site, joined(moved).encode().decode("latin-1"))).status == 401, index
    assert (await seen_with(site, joined(good) + f"; {SESSION}-1=x")).status == 401, "a duplicate"
    assert (await seen_with(site, joined(good) + f"; {SESSION}-4=stale")).status == 200, "a stale piece more"


async def test_sc_12_a_thousand_pieces_cost_one_attempt(new_site, monkeypatch):
    """A bound on the work, not on the time: how often anything is opened."""
    site = new_site()
    opened: list[int] = []
    sealer = site.middleware._party()[0].parts.sessions._sealer
    unseal = sealer.unseal
    monkeypatch.setattr(
        sealer, "unseal", lambda value, handle="": (opened.append(len(value)), unseal(value, handle))[1]
    )
    junk = "A" * 100
    headers = [
        joined({f"{SESSION}-{index}": junk for index in range(500)}),
        joined({f"{SESSION}-{index}": f"5{junk}" for index in range(5)}),
        "; ".join(f"{SESSION}-{index % 5}={index}{junk}" for index in range(500)),
        f"{SESSION}-count=99999999; {SESSION}.count=99999999; {SESSION}-0=99999999",
        "; ".join([f"{SESSION}={junk}"] * 500),
        f"{SESSION}=" + "A" * 60_000,
        f"{SESSION}-0=5" + "A" * 60_000,
    ]
    for header in headers:
        opened.clear()
        assert (await seen_with(site, header)).status == 401
        assert len(opened) <= 2


async def test_sc_12_a_stale_single_cookie_beside_newer_pieces_is_found_out(new_site):
    """A browser that lost the deletion carries both; the store knows which is newest."""
    site = new_site()
    browser = site.browser()
    await browser.sign_in()
    [stale] = session_cookies(browser).items()
    site.emulator.grants.access_token_length = 2800
    site.clock.advance(3700)
    assert await subject(browser)
    put_cookie(browser, *stale)
    for _ in range(3):
        assert await subject(browser)
    assert len(site.emulator.calls_to(TOKEN)) == 2
    assert site.emulator.reuse_events == 0


# --- SC-16 ----------------------------------------------------------------------------------------------


async def test_sc_16_a_sign_in_makes_a_new_session_and_the_old_one_is_dead_in_the_store(new_site):
    site = new_site(sessions="store")
    browser = site.browser()
    await browser.sign_in()
    old = with_cookies(browser, FETCH)
    [old_record] = session_records(site)
    begun = await browser.navigate("/auth/login")
    await browser.navigate(site.emulator.sign_in(begun.headers["location"]))
    [new_record] = session_records(site)
    assert new_record != old_record
    assert (await call(site.middleware, "/who", headers=old)).status == 401
    assert await subject(browser)


async def test_sc_16_a_planted_cookie_is_not_adopted(each_site):
    """Fixation: the attacker's own session, or any value, is in the jar before the victim signs in."""
    people = list(each_site.emulator.users)
    attacker, victim = each_site.browser(), each_site.browser()
    await attacker.sign_in(sub=people[1])
    planted = session_cookies(attacker)[SESSION]
    put_cookie(victim, SESSION, planted)
    begun = await victim.navigate("/auth/login")
    await victim.navigate(each_site.emulator.sign_in(begun.headers["location"], sub=people[0]))
    assert session_cookies(victim)[SESSION] != planted
    assert await subject(victim) == people[0]
    assert await subject(attacker) in (None, people[1]), "the attacker's cookie never becomes the victim's session"


@pytest.mark.parametrize("planted", ["x", "A" * 300, "..", ""])
async def test_sc_16_a_planted_value_that_is_no_session_is_replaced(each_site, planted):
    browser = each_site.browser()
    put_cookie(browser, SESSION, planted)
    put_cookie(browser, f"{SESSION}-0", f"3{planted}")
    await browser.sign_in()
    assert planted not in session_cookies(browser).values() or planted == ""
    assert list(session_cookies(browser)) == [SESSION]
    assert await subject(browser)


async def test_sc_16_another_person_finds_nothing_of_the_one_before(each_site):
    people = list(each_site.emulator.users)
    browser = each_site.browser()
    await browser.sign_in(sub=people[0])
    begun = await browser.navigate("/auth/login")
    await browser.navigate(each_site.emulator.sign_in(begun.headers["location"], sub=people[1], scope="openid"))
    session = (await browser.fetch("GET", "/auth/session")).json()
    assert session["subject"] == people[1]
    assert session["claims"]["email"] == each_site.emulator.users[people[1]].email
    assert session["scope"] == ["openid"]


async def test_sc_16_a_session_id_is_never_the_same_twice(each_site):
    seen = set()
    for _ in range(50):
        browser = each_site.browser()
        await browser.sign_in()
        seen.add(session_cookies(browser)[SESSION])
    assert len(seen) == 50
    if each_site.config.sessions == "store":
        assert len(session_records(each_site)) == 50


# --- what DESIGN says besides ---------------------------------------------------------------------------


async def test_sc_the_cookie_of_a_lumin_sized_session_is_one_and_small(site):
    browser = site.browser()
    answer = await browser.sign_in()
    [value] = session_cookies(browser).values()
    assert len(f"{SESSION}={value}") <= 1229  # 1.2 KB on the wire
    assert len(set_cookies(answer)[SESSION]) <= 1400


async def test_sc_a_fresh_session_sets_no_cookie_and_leaves_the_answer_alone(each_site):
    browser = each_site.browser()
    await browser.sign_in()
    for _ in range(3):
        answer = await browser.fetch("GET", "/who")
        assert "set-cookie" not in answer.headers
        assert "cache-control" not in answer.headers
        assert "vary" not in answer.headers


async def test_sc_a_value_sealed_for_one_purpose_is_read_for_no_other(each_site):
    """Every cookie of ours under every name of ours."""
    browser = each_site.browser()
    await browser.sign_in()
    await browser.navigate("/auth/login?return_to=/x")
    jar = cookies(browser)
    assert len(jar) == 3, "a session, a login, the count of sign-ins"
    for name in jar:
        for other, value in jar.items():
            if other != name:
                answer = await seen_with(each_site, joined({**jar, name: value}))
                expected = 401 if name == SESSION else 200
                assert answer.status == expected, (name, other)
