"""ID: the ID token and the user info, at a sign-in and at a refresh."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from tests.acceptance.harness import (
    JWKS,
    REVOKE,
    TOKEN,
    USER_INFO,
    Witness,
    login_cookies,
    session_cookies,
    session_records,
    subject,
)
from tests.site_rig import CLIENT, query

Json = dict[str, Any]
Forger = Callable[[Json, Json, Any], str]

MINUTES = 60
ATTACKER = RSAKey.generate_key(2048, {"kid": "attacker", "use": "sig", "alg": "RS256"})


# --- writing tokens -------------------------------------------------------------------------------------


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Json, payload: bytes | Json, key: Any, alg: str = "RS256") -> str:
    """A token with exactly this header and this payload, and a signature that is right for `key`."""
    first = f"{part(header)}.{part(payload)}"
    return f"{first}.{part(jws.JWSRegistry.algorithms[alg].sign(first.encode(), key))}"


def changed(**claims: Any) -> Forger:
    """The server's own signature over these claims; `...` leaves one out."""

    def forge(header: Json, found: Json, key: Any) -> str:
        merged = {**found, **claims}
        return signed(header, {name: value for name, value in merged.items() if value is not ...}, key)

    return forge


def shifted(name: str, seconds: float) -> Forger:
    """A time claim that many seconds from when the token is written."""
    return lambda header, claims, key: signed(header, {**claims, name: claims["iat"] + seconds}, key)


def payload(write: Callable[[Json], bytes]) -> Forger:
    return lambda header, claims, key: signed(header, write(claims), key)


def headed(**members: Any) -> Forger:
    """The server's own key and claims under another header."""
    return lambda header, claims, key: signed({**header, **members}, claims, key)


def by_attacker(**members: Any) -> Forger:
    """The claims signed with the attacker's key, and a header that recommends it."""
    return lambda header, claims, key: signed({**header, **members}, claims, ATTACKER)


def unsigned(alg: Any, signature: str = "") -> Forger:
    def forge(header: Json, claims: Json, key: Any) -> str:
        bare = {name: value for name, value in header.items() if name != "alg"}
        return f"{part(bare if alg is ... else {**bare, 'alg': alg})}.{part(claims)}.{signature}"

    return forge


def with_signature(change: Callable[[str], str]) -> Forger:
    def forge(header: Json, claims: Json, key: Any) -> str:
        first, second, signature = signed(header, claims, key).split(".")
        return f"{first}.{second}.{change(signature)}"

    return forge


def with_header(raw: object) -> Forger:
    """A header of any bytes before the claims, and a signature that cannot be right."""
    return lambda header, claims, key: f"{part(raw)}.{part(claims)}.AAAA"


def with_payload(change: Json) -> Forger:
    """Other claims under the signature of the right ones."""

    def forge(header: Json, claims: Json, key: Any) -> str:
        first, _, signature = signed(header, claims, key).split(".")
        return f"{first}.{part({**claims, **change})}.{signature}"

    return forge


def hmac_with(secret: Callable[[Any], bytes], alg: str = "HS256") -> Forger:
    def forge(header: Json, claims: Json, key: Any) -> str:
        first = f"{part({**header, 'alg': alg})}.{part(claims)}"
        return f"{first}.{part(hmac.digest(secret(key), first.encode(), f'sha{alg[2:]}'))}"

    return forge


def flipped(signature: str, position: int) -> str:
    raw = bytearray(urlsafe_b64decode(signature + "=="))
    raw[position] ^= 1
    return part(bytes(raw))


# --- the tables: what is wrong, and the token -----------------------------------------------------------

ISS: dict[str, Forger] = {
    "missing": changed(iss=...),
    "null": changed(iss=None),
    "empty": changed(iss=""),
    "other": changed(iss="https://evil.example"),
    "longer": lambda header, claims, key: signed(header, {**claims, "iss": claims["iss"] + ".evil.example"}, key),
    "upper case": lambda header, claims, key: signed(header, {**claims, "iss": claims["iss"].upper()}, key),
    "path": lambda header, claims, key: signed(header, {**claims, "iss": claims["iss"] + "/x"}, key),
    "two slashes": lambda header, claims, key: signed(header, {**claims, "iss": claims["iss"] + "//"}, key),
    "list": lambda header, claims, key: signed(header, {**claims, "iss": [claims["iss"]]}, key),
    "number": changed(iss=1),
    "object": changed(iss={}),
}
SUB: dict[str, Forger] = {
    "missing": changed(sub=...),
    "empty": changed(sub=""),
    "null": changed(sub=None),
    "number": changed(sub=1),
    "zero": changed(sub=0),
    "true": changed(sub=True),
    "list": changed(sub=["0b9f7c52"]),
    "empty list": changed(sub=[]),
    "object": changed(sub={"id": 1}),
}
AUD: dict[str, Forger] = {
    "missing": changed(aud=...),
    "null": changed(aud=None),
    "empty": changed(aud=""),
    "empty list": changed(aud=[]),
    "other": changed(aud="other-client"),
    "others": changed(aud=["other-client", "another"]),
    "part of it": changed(aud=CLIENT.client_id[:-1]),
    "more than it": changed(aud=f"{CLIENT.client_id} other"),
    "upper case": changed(aud=CLIENT.client_id.upper()),
    "nested list": changed(aud=[[CLIENT.client_id]]),
    "object": changed(aud={CLIENT.client_id: 1}),
    "number": changed(aud=1),
    "azp is another": changed(aud=[CLIENT.client_id], azp="other-client"),
    "azp is empty": changed(aud=[CLIENT.client_id], azp=""),
    "azp is null": changed(aud=[CLIENT.client_id], azp=None),
    "azp is a list": changed(aud=[CLIENT.client_id], azp=[CLIENT.client_id]),
    "several, azp another": changed(aud=[CLIENT.client_id, "other-client"], azp="other-client"),
    "several, no azp": changed(aud=[CLIENT.client_id, "other-client"]),
    "several, azp ours": changed(aud=[CLIENT.client_id, "other-client"], azp=CLIENT.client_id),
    "several, the other first": changed(aud=["other-client", CLIENT.client_id], azp=CLIENT.client_id),
}
TIME: dict[str, Forger] = {
    "exp missing": changed(exp=...),
    "exp null": changed(exp=None),
    "exp 10 min past": shifted("exp", -10 * MINUTES),
    "exp a second past the tolerance at a refresh": shifted("exp", -301),
    "exp zero": changed(exp=0),
    "exp negative": changed(exp=-1),
    "exp 1e300": changed(exp=1e300),
    "iat 1e300": changed(iat=1e300),
    "iat negative": changed(iat=-1),
    "nbf list": changed(nbf=[1]),
    "auth_time 1e300": changed(auth_time=1e300),
    "exp text": changed(exp="9999999999"),
    "exp true": changed(exp=True),
    "exp list": changed(exp=[9999999999]),
    "exp NaN": payload(lambda claims: json.dumps({**claims, "exp": float("nan")}).encode()),
    "exp infinite": payload(lambda claims: json.dumps({**claims, "exp": float("inf")}).encode()),
    "exp 1e999": payload(lambda claims: json.dumps({**claims, "exp": 7}).replace('"exp": 7', '"exp": 1e999').encode()),
    "iat missing": changed(iat=...),
    "iat null": changed(iat=None),
    "iat 10 min ahead": shifted("iat", 10 * MINUTES),
    "iat text": changed(iat="1"),
    "iat NaN": payload(lambda claims: json.dumps({**claims, "iat": float("nan")}).encode()),
    "iat -infinite": payload(lambda claims: json.dumps({**claims, "iat": float("-inf")}).encode()),
    "nbf 10 min ahead": shifted("nbf", 10 * MINUTES),
    "nbf text": changed(nbf="1"),
    "nbf NaN": payload(lambda claims: json.dumps({**claims, "nbf": float("nan")}).encode()),
}
SIGNATURE: dict[str, Forger] = {
    "first byte flipped": with_signature(lambda signature: flipped(signature, 0)),
    "middle byte flipped": with_signature(lambda signature: flipped(signature, 100)),
    "last byte flipped": with_signature(lambda signature: flipped(signature, -1)),
    "truncated": with_signature(lambda signature: signature[:-8]),
    "one character short": with_signature(lambda signature: signature[:-1]),
    "longer": with_signature(lambda signature: part(urlsafe_b64decode(signature + "==") + b"\0")),
    "empty": with_signature(lambda signature: ""),
    "zeros": with_signature(lambda signature: part(bytes(256))),
    "ones": with_signature(lambda signature: part(b"\0" * 255 + b"\1")),
    "not base64": with_signature(lambda signature: "!" * 342),
    "the attacker's": lambda header, claims, key: signed(header, claims, ATTACKER),
    "payload swapped": with_payload({"email": "root@example.com"}),
    "header swapped": lambda header, claims, key: ".".join(
        [part({**header, "typ": "at+jwt"}), *signed(header, claims, key).split(".")[1:]]
    ),
    "two parts": lambda header, claims, key: signed(header, claims, key).rpartition(".")[0],
    "four parts": lambda header, claims, key: signed(header, claims, key) + ".x",
    "a trailing dot": lambda header, claims, key: signed(header, claims, key) + ".",
    "no token": lambda header, claims, key: "x",
    "only dots": lambda header, claims, key: "..",
    "the payload is a list": payload(lambda claims: json.dumps([claims]).encode()),
    "the payload is text": payload(lambda claims: b'"x"'),
    "the payload is no JSON": payload(lambda claims: b"iss=x"),
    "the payload is not UTF-8": payload(lambda claims: b'{"iss":"\xff"}'),
    "the payload is empty": payload(lambda claims: b""),
    "at_hash of another token": changed(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "at_hash empty": changed(at_hash=""),
    "at_hash a list": changed(at_hash=[]),
}
NONE: dict[str, Forger] = {
    **{f"{alg}, no signature": unsigned(alg) for alg in ("none", "None", "NONE", "nOnE", "", None, [], "none ", 0)},
    **{f"{alg}, junk": unsigned(alg, "AAAA") for alg in ("none", "NONE", "RS256")},
    "missing": unsigned(...),
    "missing, junk": unsigned(..., "AAAA"),
    "no header at all": lambda header, claims, key: f".{part(claims)}.",
    "an empty header": lambda header, claims, key: f"{part({})}.{part(claims)}.",
    "a list of algorithms": unsigned(["RS256", "none"], "AAAA"),
}
HMAC: dict[str, Forger] = {
    **{
        f"{alg} with the {name}": hmac_with(secret, alg)
        for alg in ("HS256", "HS384", "HS512")
        for name, secret in {
            "PEM": lambda key: key.as_pem(private=False),
            "PEM without its newline": lambda key: key.as_pem(private=False).strip(),
            "DER": lambda key: key.as_der(private=False),
            "JWK": lambda key: json.dumps(key.as_dict(private=False)).encode(),
            "JWK in short": lambda key: json.dumps(key.as_dict(private=False), separators=(",", ":")).encode(),
            "modulus": lambda key: urlsafe_b64decode(key.as_dict()["n"] + "=="),
            "client's secret": lambda key: CLIENT.client_secret.encode(),
        }.items()
    },
    "RS384 of the server's own": lambda header, claims, key: signed({**header, "alg": "RS384"}, claims, key, "RS384"),
    "PS256 of the server's own": lambda header, claims, key: signed({**header, "alg": "PS256"}, claims, key, "PS256"),
    "ES256 of the attacker's": lambda header, claims, key: signed(
        {**header, "alg": "ES256"}, claims, ECKey.generate_key("P-256"), "ES256"
    ),
}


def tricks(url: str) -> dict[str, Forger]:
    """Header members that recommend the attacker's key, or ask for what we do not have."""
    public = ATTACKER.as_dict(private=False)
    return {
        "jwk": by_attacker(jwk=public),
        "jwk with the server's kid": lambda header, claims, key: signed(
            {**header, "jwk": {**public, "kid": header["kid"]}}, claims, ATTACKER
        ),
        "jwk of an octet key": by_attacker(jwk={"kty": "oct", "k": "AAAA"}),
        "jku": by_attacker(jku=f"{url}/jwks.json", kid="attacker"),
        "x5u": by_attacker(x5u=f"{url}/cert.pem", kid="attacker"),
        "x5c": by_attacker(x5c=["MIIB"], kid="attacker"),
        "x5t": by_attacker(x5t="AAAA"),
        "iss in the header": by_attacker(iss=url),
        "kid is a path": by_attacker(kid="../../../../dev/null"),
        "kid is a URL": by_attacker(kid=f"{url}/key"),
        "kid is SQL": by_attacker(kid="x' UNION SELECT 'AAAA' --"),
        "kid is a command": by_attacker(kid="|/bin/true"),
        "kid is long": by_attacker(kid="k" * 9_000),
        "kid is empty": by_attacker(kid=""),
        "kid is null": by_attacker(kid=None),
        "kid is a number": by_attacker(kid=0),
        "kid is a list": by_attacker(kid=[]),
        "kid is an object": by_attacker(kid={"$ne": None}),
        "crit unknown": headed(crit=["http://example.com/x"], **{"http://example.com/x": True}),
        "crit empty": headed(crit=[]),
        "crit of a known member": headed(crit=["kid"]),
        "crit is text": headed(crit="kid"),
        "crit is null": headed(crit=None),
        "b64 false": headed(b64=False, crit=["b64"]),
        "b64 false, not critical": headed(b64=False),
        "alg twice": lambda header, claims, key: ".".join(
            [part(f'{{"alg":"none","kid":"{header["kid"]}","alg":"RS256"}}'.encode()), part(claims), "AAAA"]
        ),
        "header is a list": with_header([]),
        "header is text": with_header("RS256"),
        "header is a number": with_header(5),
        "header is null": with_header(None),
        "header is a list of pairs": with_header([["alg", "RS256"]]),
        "header is deep": with_header(b"[" * 5000),
        "header is not UTF-8": with_header(b'{"alg":"\xff"}'),
        "header is not base64": lambda header, claims, key: f"*.{part(claims)}.AAAA",
    }


# --- running them ---------------------------------------------------------------------------------------


async def assert_refused_at_login(site: Any, table: dict[str, Forger]) -> None:
    """Each forgery ends the sign-in: REJECT, and what was redeemed is revoked."""
    wrong = []
    for name, forger in table.items():
        site.clock.advance(2 * MINUTES)  # past every pause: of the circuit breaker, of the look for new keys
        site.emulator.forge_id_token = None
        browser = site.browser()
        url = site.emulator.sign_in(await browser.begin("/x"))
        witness = Witness(site, browser)
        site.emulator.forge_id_token = forger
        revoked = len(site.emulator.calls_to(REVOKE))
        answer = await browser.navigate(url)
        if not (400 <= answer.status_code < 500 or answer.status_code in (502, 503)):
            wrong.append((name, answer.status_code))
            continue
        witness.assert_rejected(answer, token_calls=1)
        assert login_cookies(browser) == {}
        if len(site.emulator.calls_to(REVOKE)) != revoked + 1:
            wrong.append((name, "not revoked"))
    assert wrong == []


async def assert_refused_at_refresh(site: Any, table: dict[str, Forger]) -> None:
    """Each forgery in a refresh response ends the session; nobody goes on with the new tokens."""
    wrong = []
    for name, forger in table.items():
        site.clock.advance(2 * MINUTES)
        site.emulator.forge_id_token = None
        browser = site.browser()
        await browser.sign_in()
        site.clock.advance(3700)
        site.emulator.forge_id_token = forger
        reached, revoked = len(site.app.scopes), len(site.emulator.calls_to(REVOKE))
        answer = await browser.fetch("GET", "/who")
        if answer.status_code != 401 or len(site.app.scopes) != reached:
            wrong.append((name, answer.status_code))
        elif len(site.emulator.calls_to(REVOKE)) != revoked + 1:
            wrong.append((name, "not revoked"))
        site.emulator.forge_id_token = None
        if await subject(browser) is not None:
            wrong.append((name, "still signed in"))
    assert wrong == []
    assert site.emulator.calls_to(USER_INFO) == []


async def assert_left_aside_at_refresh(site: Any, table: dict[str, Forger]) -> None:
    """Each forgery in a refresh response brings no news: the session lives, and nothing of it is believed."""
    wrong = []
    for name, forger in table.items():
        site.clock.advance(2 * MINUTES)
        site.emulator.forge_id_token = None
        browser = site.browser()
        await browser.sign_in()
        before = (await browser.fetch("GET", "/auth/session")).json()["claims"]
        site.clock.advance(3700)
        site.emulator.forge_id_token = lambda header, claims, key, forge=forger: forge(
            header, {**claims, "name": "Somebody Else"}, key
        )
        calls, revoked = len(site.emulator.calls_to(TOKEN)), len(site.emulator.calls_to(REVOKE))
        if await subject(browser) is None:
            wrong.append((name, "signed out"))
            continue
        if (await browser.fetch("GET", "/auth/session")).json()["claims"] != before:
            wrong.append((name, "believed"))
        if len(site.emulator.calls_to(TOKEN)) != calls + 1 or len(site.emulator.calls_to(REVOKE)) != revoked:
            wrong.append((name, "renewed again, or revoked"))
    assert wrong == []


# --- ID-01 … ID-07 --------------------------------------------------------------------------------------


async def test_id_01_another_issuer_is_refused(each_site):
    await assert_refused_at_login(each_site, ISS)


async def test_id_01_another_issuer_at_a_refresh_ends_the_session(each_site):
    await assert_refused_at_refresh(each_site, ISS)


async def test_id_03_no_subject_is_refused(each_site):
    await assert_refused_at_login(each_site, SUB)


async def test_id_03_no_subject_at_a_refresh_ends_the_session(each_site):
    await assert_refused_at_refresh(each_site, SUB)


async def test_id_03_a_subject_of_any_length_and_shape_is_kept_whole_or_refused(each_site):
    """OpenID Connect Core 1.0, 2: at most 255 ASCII characters. Whoever is signed in must be somebody, also later."""
    wrong = []
    strange = ["\ud800", "\0", " ", "é", "a\nb", "a b", "sub x", '"', "\u202e"]
    for sub in ("a" * 255, "a" * 256, "a" * 2100, "a" * 9000, *strange):
        each_site.clock.advance(2 * MINUTES)
        each_site.emulator.forge_id_token = changed(sub=sub)
        browser = each_site.browser()
        try:
            answer = await browser.sign_in("/x")
            if answer.status_code == 303 and await subject(browser) != sub:
                wrong.append(("signed in as somebody else", len(sub)))
            each_site.clock.advance(3700)
            each_site.emulator.forge_id_token = changed(sub="another")
            if answer.status_code == 303 and await subject(browser) is not None:
                wrong.append(("another one's tokens were taken", len(sub)))
        except UnicodeEncodeError:
            wrong.append(("broken", repr(sub)))
    assert wrong == []


async def test_id_04_another_audience_is_refused(each_site):
    await assert_refused_at_login(each_site, AUD)


async def test_id_04_another_audience_at_a_refresh_ends_the_session(each_site):
    await assert_refused_at_refresh(each_site, AUD)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": CLIENT.client_id},
        {"aud": [CLIENT.client_id]},
        {"aud": [CLIENT.client_id], "azp": CLIENT.client_id},
    ],
    ids=["text", "list", "azp"],
)
async def test_id_04_our_audience_is_accepted_as_text_and_as_a_list(each_site, claims):
    each_site.emulator.forge_id_token = changed(**claims)
    browser = each_site.browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"
    each_site.clock.advance(3700)
    assert await subject(browser)


async def test_id_04_an_audience_that_the_settings_name_is_accepted_beside_ours(new_each_site):
    site = new_each_site(trusted_audiences=["partner"])
    site.emulator.forge_id_token = changed(aud=[CLIENT.client_id, "partner"], azp=CLIENT.client_id)
    browser = site.browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"
    site.clock.advance(3700)
    assert await subject(browser)
    await assert_refused_at_login(site, AUD)


async def test_id_07_a_token_out_of_its_time_is_refused(each_site):
    last_week = {"iat of last week": shifted("iat", -7 * 86_400), "iat of an hour ago": shifted("iat", -60 * MINUTES)}
    await assert_refused_at_login(each_site, TIME | last_week)


@pytest.mark.parametrize("skew", [-7200, 7200])
async def test_id_07_a_clock_that_is_hours_wrong_is_named_and_signs_nobody_out(each_site, log, skew):
    browser = each_site.browser()
    await browser.sign_in()
    each_site.emulator.clock_skew = skew
    assert (await each_site.browser().sign_in()).status_code == 502
    assert any("clock" in line for line in log.lines)
    log.records.clear()
    each_site.clock.advance(3700)
    assert await subject(browser)
    assert [record.levelname for record in log.records if "clock" in record.getMessage()] == ["ERROR"]


async def test_id_07_a_token_out_of_its_time_at_a_refresh_is_left_aside(each_site):
    await assert_left_aside_at_refresh(each_site, TIME)


@pytest.mark.parametrize(("name", "seconds"), [("exp", -60), ("iat", 61), ("nbf", 61)])
async def test_id_07_the_tolerance_at_a_sign_in_is_a_minute(each_site, name, seconds):
    await assert_refused_at_login(each_site, {name: shifted(name, seconds)})
    inside = seconds + 2 if seconds < 0 else seconds - 2
    each_site.emulator.forge_id_token = shifted(name, inside)
    browser = each_site.browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"


@pytest.mark.parametrize("skew", [-50, 50])
async def test_id_07_a_server_whose_clock_is_a_little_wrong_is_accepted(each_site, skew):
    each_site.emulator.clock_skew = skew
    browser = each_site.browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"
    each_site.clock.advance(3700)
    assert await subject(browser)


# --- ID-09 ----------------------------------------------------------------------------------------------


async def test_id_09_another_nonce_is_refused(each_site):
    table = {
        "missing": changed(nonce=...),
        "null": changed(nonce=None),
        "empty": changed(nonce=""),
        "wrong": changed(nonce="A" * 32),
        "number": changed(nonce=1),
        "object": changed(nonce={}),
        "surrogate": changed(nonce="\ud800"),
        "not ASCII": changed(nonce="é" * 32),
        "list": lambda header, claims, key: signed(header, {**claims, "nonce": [claims["nonce"]]}, key),
        "prefix": lambda header, claims, key: signed(header, {**claims, "nonce": claims["nonce"][:-1]}, key),
        "longer": lambda header, claims, key: signed(header, {**claims, "nonce": claims["nonce"] + " "}, key),
        "other case": lambda header, claims, key: signed(header, {**claims, "nonce": claims["nonce"].swapcase()}, key),
    }
    await assert_refused_at_login(each_site, table)


async def test_id_09_the_nonce_of_another_login_of_this_browser_is_refused(each_site):
    browser = each_site.browser()
    first = await browser.begin("/a")
    second = await browser.begin("/b")
    each_site.emulator.forge_id_token = changed(nonce=query(second)["nonce"])
    witness = Witness(each_site, browser)
    witness.assert_rejected(await browser.navigate(each_site.emulator.sign_in(first)), token_calls=1)


async def test_id_09_a_token_that_was_used_at_an_earlier_login_is_refused(each_site):
    kept: list[str] = []

    def keep(header: Json, claims: Json, key: Any) -> str:
        kept.append(signed(header, claims, key))
        return kept[-1]

    each_site.emulator.forge_id_token = keep
    await each_site.browser().sign_in()
    each_site.emulator.forge_id_token = lambda *_: kept[0]
    browser = each_site.browser()
    url = each_site.emulator.sign_in(await browser.begin("/x"))
    witness = Witness(each_site, browser)
    witness.assert_rejected(await browser.navigate(url), token_calls=1)


# --- ID-11, ID-12, ID-14, ID-16 -------------------------------------------------------------------------


async def test_id_11_the_servers_own_signature_is_accepted(each_site):
    people = list(each_site.emulator.users)
    browser = each_site.browser()
    assert (await browser.sign_in("/x", sub=people[1])).headers["location"] == "/x"
    assert await subject(browser) == people[1]


async def test_id_11_a_signature_that_does_not_fit_is_refused(each_site):
    await assert_refused_at_login(each_site, SIGNATURE)


async def test_id_11_a_signature_that_does_not_fit_at_a_refresh_is_left_aside(each_site):
    await assert_left_aside_at_refresh(each_site, SIGNATURE)


async def test_id_12_a_token_without_a_signature_is_refused(each_site):
    await assert_refused_at_login(each_site, NONE)


async def test_id_12_a_token_without_a_signature_at_a_refresh_is_left_aside(each_site):
    await assert_left_aside_at_refresh(each_site, NONE)


async def test_id_14_a_mac_with_the_public_key_is_refused(each_site):
    await assert_refused_at_login(each_site, HMAC)


async def test_id_14_a_mac_with_the_public_key_at_a_refresh_is_left_aside(each_site):
    await assert_left_aside_at_refresh(each_site, HMAC)


async def test_id_14_it_is_refused_though_discovery_and_the_keys_speak_for_it(each_site):
    """A JWK Set with an octet key, keys that say HS256, and a discovery document that lists it."""
    base = each_site.emulator.base
    key = RSAKey.generate_key(2048, {"kid": "k"})
    octets = json.dumps(key.as_dict(private=False)).encode()
    keys = [
        {"kty": "oct", "kid": "k", "alg": "HS256", "use": "sig", "k": part(octets)},
        {**key.as_dict(private=False), "alg": "HS256"},
        {**key.as_dict(private=False), "alg": "none"},
    ]
    each_site.emulator.faults.add(JWKS, body={"keys": keys}, times=None)
    document = {
        "issuer": base,
        "authorization_endpoint": f"{base}/oauth2/auth",
        "token_endpoint": f"{base}{TOKEN}",
        "jwks_uri": f"{base}{JWKS}",
        "id_token_signing_alg_values_supported": ["HS256", "none"],
        "revocation_endpoint": f"{base}{REVOKE}",
    }
    each_site.emulator.faults.add("/.well-known/openid-configuration", body=document, times=None)
    server = type(each_site.config.server).discover(base)
    await assert_refused_at_login(
        each_site.with_settings(server=server), {"HS256": hmac_with(lambda _: octets), "none": unsigned("none")}
    )


async def test_id_16_headers_that_bring_their_own_key_are_refused(each_site, listener):
    await assert_refused_at_login(each_site, tricks(listener.url))


async def test_id_16_headers_that_bring_their_own_key_at_a_refresh_are_left_aside(each_site, listener):
    await assert_left_aside_at_refresh(each_site, tricks(listener.url))


# --- ID-17 ----------------------------------------------------------------------------------------------


def without_kid(header: Json, claims: Json, key: Any) -> str:
    return signed({name: value for name, value in header.items() if name != "kid"}, claims, key)


async def test_id_17_no_kid_and_one_key_is_accepted(each_site):
    each_site.emulator.forge_id_token = without_kid
    browser = each_site.browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"


async def test_id_17_no_kid_and_several_keys_has_one_outcome_however_often(each_site):
    for _ in range(2):
        each_site.emulator.rotate_keys()
    each_site.emulator.forge_id_token = without_kid
    outcomes = set()
    for _ in range(6):
        each_site.clock.advance(2 * MINUTES)
        answer = await each_site.browser().sign_in("/x")
        outcomes.add(answer.status_code)
    assert len(outcomes) == 1
    assert outcomes <= {303, 400, 502}


async def test_id_17_no_kid_and_the_attackers_key_is_refused(each_site):
    each_site.emulator.rotate_keys()
    await assert_refused_at_login(
        each_site, {"no kid": lambda header, claims, key: without_kid(header, claims, ATTACKER)}
    )


@pytest.mark.parametrize("use", ["enc", "", 1, ["sig"]])
async def test_id_17_a_key_that_is_not_for_signatures_is_not_used(site, use):
    """RFC 7517, 4.2."""
    key = RSAKey.generate_key(2048, {"kid": "k"})
    site.emulator.faults.add(JWKS, body={"keys": [{**key.as_dict(private=False), "use": use}]}, times=None)
    await assert_refused_at_login(
        site, {"enc": lambda header, claims, _: signed({"alg": "RS256", "kid": "k"}, claims, key)}
    )


# --- ID-20 ----------------------------------------------------------------------------------------------

JSON = "application/json"
NO_USER: dict[str, tuple[int, str | bytes, str]] = {
    "array": (200, "[]", JSON),
    "array of users": (200, '[{"user": {"id": "x"}}]', JSON),
    "HTML": (200, "<html></html>", "text/html"),
    "JSON as HTML": (200, '{"user": {"id": "x"}}', "text/html"),
    "unsigned JWT": (200, f"{part({'alg': 'none'})}.{part({'sub': 'x'})}.", "application/jwt"),
    "empty": (200, "", JSON),
    "null": (200, "null", JSON),
    "no user": (200, "{}", JSON),
    "user is text": (200, '{"user": "x"}', JSON),
    "user is a list": (200, '{"user": [{"id": "x"}]}', JSON),
    "no id": (200, '{"user": {"email": "x@example.com"}}', JSON),
    "empty id": (200, '{"user": {"id": ""}}', JSON),
    "null id": (200, '{"user": {"id": null}}', JSON),
    "number id": (200, '{"user": {"id": 1}}', JSON),
    "list id": (200, '{"user": {"id": ["x"]}}', JSON),
    "deep": (200, "[" * 100_000, JSON),
    "not UTF-8": (200, b'{"user": {"id": "\xff"}}', JSON),
    "too long": (200, '{"user": {"id": "' + "x" * 2_000_000 + '"}}', JSON),
    "201": (201, '{"user": {"id": "x"}}', JSON),
    "302": (302, "", JSON),
    "500": (500, '{"user": {"id": "x"}}', JSON),
    "503": (503, "", JSON),
    "429": (429, "", JSON),
}


async def test_id_20_a_user_info_that_is_none_fails_the_sign_in(new_each_site):
    site = new_each_site(emulator={"id_token": False})
    wrong = []
    for name, (status, body, content_type) in NO_USER.items():
        site.clock.advance(2 * MINUTES)
        site.emulator.faults.clear()
        site.emulator.faults.add(USER_INFO, status=status, body=body, content_type=content_type)
        browser = site.browser()
        answer = await browser.navigate(site.emulator.sign_in(await browser.begin("/x")))
        if answer.status_code not in (400, 502, 503):
            wrong.append((name, answer.status_code))
        assert session_cookies(browser) == {}
    assert wrong == []
    assert session_records(site) == {}
    assert all(grant.revoked for grant in site.emulator.grants)


async def test_id_20_the_access_token_goes_to_user_info_in_the_header_only(new_each_site, listener):
    site = new_each_site(emulator={"id_token": False})
    browser = site.browser()
    await browser.sign_in()
    [request] = site.emulator.calls_to(USER_INFO)
    assert request.method == "GET"
    assert request.headers["authorization"].startswith("Bearer ory_at_")
    assert request.query == {}
    assert request.form == {}
    site.emulator.faults.add(USER_INFO, status=307, headers={"Location": f"{listener.url}/v1/user/info"})
    answer = await site.browser().sign_in()
    assert answer.status_code in (502, 503)


async def test_id_20_with_an_id_token_nobody_asks_for_user_info(each_site):
    await each_site.browser().sign_in()
    assert each_site.emulator.calls_to(USER_INFO) == []


async def test_id_20_whom_nobody_names_is_not_signed_in(new_each_site, log):
    for status in (401, 403, 404):
        site = new_each_site(emulator={"id_token": False})
        site.emulator.faults.add(USER_INFO, status=status, body={})
        browser = site.browser()
        answer = await browser.sign_in("/x")
        assert answer.status_code == 403
        assert session_cookies(browser) == {}
        assert session_records(site) == {}
        assert all(grant.revoked for grant in site.emulator.grants)
        assert any(str(status) in line and "id_token='auto'" in line for line in log.lines)


async def test_id_20_where_that_is_wanted_the_sign_in_goes_on_without_claims(new_each_site, log):
    for status in (401, 403, 404):
        site = new_each_site(emulator={"id_token": False}, id_token="auto")
        site.emulator.faults.add(USER_INFO, status=status, body={})
        browser = site.browser()
        assert (await browser.sign_in("/x")).headers["location"] == "/x"
        seen = (await browser.fetch("GET", "/who")).json()
        assert (seen["authenticated"], seen["subject"]) == (True, None)
        assert any(str(status) in line for line in log.lines)


async def test_id_20_no_id_token_fails_where_one_is_required(new_each_site):
    site = new_each_site(emulator={"id_token": False}, id_token="required")
    browser = site.browser()
    url = site.emulator.sign_in(await browser.begin("/x"))
    witness = Witness(site, browser)
    witness.assert_rejected(await browser.navigate(url), token_calls=1)
    assert len(site.emulator.calls_to(REVOKE)) == 1


# --- one kind is never taken for another ---

EVENT = "http://schemas.openid.net/event/backchannel-logout"


def kinds(header: Json, claims: Json) -> dict[str, tuple[Json, Json]]:
    """Tokens of other kinds that the server signs with the same keys, as header and claims."""
    common = {name: claims[name] for name in ("iss", "sub", "aud", "iat", "exp")}
    access = {**common, "client_id": CLIENT.client_id, "scp": ["openid"], "ext": {}, "jti": "j", "nbf": claims["iat"]}
    info = {name: value for name, value in claims.items() if name not in ("nonce", "at_hash", "exp", "sid", "jti")}
    return {
        "a logout token": ({**header, "typ": "logout+jwt"}, {**common, "sid": "s", "jti": "j", "events": {EVENT: {}}}),
        "a logout token that does not say so": (header, {**common, "sid": "s", "jti": "j", "events": {EVENT: {}}}),
        "a logout token with the nonce": (header, {**claims, "events": {EVENT: {}}}),
        "an access token": ({**header, "typ": "at+jwt"}, {**access, "scope": "openid"}),
        "an access token that does not say so": (header, access),
        "an access token with the nonce": ({**header, "typ": "at+jwt"}, {**claims, **access}),
        "userinfo": (header, info),
        "an authorization response": ({**header, "typ": "oauth-authz-resp+jwt"}, claims),
    }


KINDS: dict[str, Forger] = {
    name: lambda header, claims, key, name=name: signed(*kinds(header, claims)[name], key)
    for name in kinds({}, dict.fromkeys(("iss", "sub", "aud", "iat", "exp"), 0))
}


async def test_id_another_kind_of_token_signs_nobody_in(each_site):
    await assert_refused_at_login(each_site, KINDS)


async def test_id_another_kind_of_token_brings_no_news(each_site):
    await assert_left_aside_at_refresh(each_site, KINDS)


async def test_id_a_jwt_access_token_of_hydra_for_nobody_ends_the_session(each_site):
    """Its audience is empty."""
    forge = lambda header, claims, key: signed(  # noqa: E731
        header, {**kinds(header, claims)["an access token that does not say so"][1], "aud": []}, key
    )
    await assert_refused_at_refresh(each_site, {"aud empty": forge})


async def test_id_the_nonce_of_a_refresh_is_that_of_the_sign_in_or_none(each_site):
    await assert_refused_at_refresh(
        each_site, {"another": changed(nonce="A" * 32), "number": changed(nonce=1), "list": changed(nonce=["x"])}
    )
    for forger in (changed(nonce=...), changed(nonce=""), None):
        browser = each_site.browser()
        await browser.sign_in()
        each_site.clock.advance(3700)
        each_site.emulator.forge_id_token = forger
        assert await subject(browser)
        each_site.emulator.forge_id_token = None


@pytest.mark.parametrize("groups", [300, 1200])
async def test_id_a_token_of_many_groups_is_read_up_to_a_limit_which_is_named(each_site, log, groups):
    each_site.emulator.forge_id_token = changed(groups=[f"/company/department/team-{n:020}" for n in range(groups)])
    answer = await each_site.browser().sign_in("/x")
    if groups == 300:
        assert answer.headers["location"] == "/x"
    else:
        assert answer.status_code == 502
        assert any("size" in line and "65536" in line for line in log.lines)


async def test_id_an_address_that_is_not_verified_is_nobody_s(each_site):
    for verified in (False, "false", "False"):
        each_site.emulator.forge_id_token = changed(email_verified=verified)
        browser = each_site.browser()
        await browser.sign_in()
        answer = await browser.fetch("GET", "/auth/verify")
        assert answer.status_code == 204
        assert answer.headers["x-auth-request-user"]
        assert answer.headers["x-auth-request-email"] == ""


# --- what DESIGN says besides ---------------------------------------------------------------------------


async def test_id_claims_of_any_shape_neither_break_a_sign_in_nor_a_request(each_site):
    """Whoever registers at Lumin chooses their own name."""
    names: list[Any] = ["\ud83d", "\0", "x" * 5000, "é" * 900, {"a": 1}, ["x"], 10**30, None, True, "\u202e", "<b>"]
    broken = []
    for name in names:
        each_site.clock.advance(2 * MINUTES)
        each_site.emulator.forge_id_token = changed(name=name, email=name)
        browser = each_site.browser()
        try:
            answer = await browser.sign_in("/x")
            assert answer.status_code == 303
            for path in ("/who", "/auth/session"):
                assert (await browser.fetch("GET", path)).status_code == 200
            each_site.clock.advance(3700)
            assert await subject(browser)
        except Exception as error:
            broken.append((repr(name)[:20], type(error).__name__))
    assert broken == []


async def test_id_deeply_nested_claims_do_not_break_a_sign_in(each_site):
    broken = []
    for depth in (50, 500, *range(880, 1000, 8), 2000):
        each_site.clock.advance(2 * MINUTES)
        deep = "[" * depth + "]" * depth
        each_site.emulator.forge_id_token = payload(
            lambda claims, deep=deep: json.dumps({**claims, "name": 7}).replace('"name": 7', f'"name": {deep}').encode()
        )
        try:
            answer = await each_site.browser().sign_in("/x")
            assert answer.status_code in (303, 400, 502)
        except Exception as error:
            broken.append((depth, type(error).__name__))
    assert broken == []


async def test_id_an_issuer_may_differ_by_one_trailing_slash(each_site):
    """Hydra's versions disagree on it, and a rolling deployment shows both."""
    each_site.emulator.forge_id_token = lambda header, claims, key: signed(
        header, {**claims, "iss": claims["iss"] + "/"}, key
    )
    browser = each_site.browser()
    assert (await browser.sign_in("/x")).headers["location"] == "/x"
    each_site.clock.advance(3700)
    each_site.emulator.forge_id_token = None
    assert await subject(browser)


async def test_id_a_wrong_issuer_is_logged_with_the_setting_that_would_mend_it(each_site, log):
    each_site.emulator.forge_id_token = changed(iss="https://slug.projects.oryapis.com")
    await each_site.browser().sign_in()
    assert any("server.issuer" in line and "slug.projects.oryapis.com" in line for line in log.lines)
