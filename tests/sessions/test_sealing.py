"""A sealed value opens only for its purpose, its handle and its keys; every other value is simply none."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.sessions import sealing
from lumin_middleware.sessions.sealing import KeyMissing, Sealer, Unsealed, sealed_at
from tests.fakes import KEY, OLD_KEY, Clock, hostile

PURPOSES = ("session", "record", "handle", "login", "tries", "used", "index")
DATA = b'{"access": "ory_at_secret"}'
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."


def sealer(*keys: bytes, purpose: str = "session", clock: Clock | None = None) -> Sealer:
    return Sealer(keys or (KEY,), purpose, clock or Clock())


@hostile
@given(data=st.binary(max_size=500), handle=st.text(max_size=40), purpose=st.sampled_from(PURPOSES))
def test_what_was_sealed_comes_back(data, handle, purpose):
    clock = Clock(1234.9)
    one = sealer(KEY, OLD_KEY, purpose=purpose, clock=clock)
    assert one.unseal(one.seal(data, handle).encode(), handle) == Unsealed(data, 1234, True)


@hostile
@given(data=st.binary(max_size=500), handle=st.text(max_size=10))
def test_a_sealed_value_is_safe_in_a_cookie_and_in_a_header(data, handle):
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}", sealer().seal(data, handle))


@pytest.mark.parametrize("purpose", PURPOSES)
def test_it_opens_for_its_purpose_only(purpose):
    value = sealer(purpose=purpose).seal(DATA).encode()
    for other in PURPOSES:
        assert (sealer(purpose=other).unseal(value) is not None) == (other == purpose)


@hostile
@given(st.text(max_size=20), st.text(max_size=20))
def test_it_opens_with_its_handle_only(one, other):
    value = sealer().seal(DATA, one).encode()
    assert (sealer().unseal(value, other) is not None) == (one == other)


def test_it_opens_with_a_key_of_the_list_only():
    value = sealer(OLD_KEY).seal(DATA).encode()
    assert sealer(KEY).unseal(value) is None
    assert sealer(KEY, OLD_KEY).unseal(value) == Unsealed(DATA, 1_790_000_000, False)
    assert sealer(OLD_KEY, KEY).unseal(value) == Unsealed(DATA, 1_790_000_000, True)


def test_the_newest_key_seals():
    value = sealer(KEY, OLD_KEY).seal(DATA).encode()
    assert sealer(KEY).unseal(value) is not None
    assert sealer(OLD_KEY).unseal(value) is None


def test_what_an_older_key_sealed_for_a_handle_opens_for_it_only():
    value = sealer(OLD_KEY).seal(DATA, "handle").encode()
    assert sealer(KEY, OLD_KEY).unseal(value, "handle") == Unsealed(DATA, 1_790_000_000, False)
    assert sealer(KEY, OLD_KEY).unseal(value, "other") is None
    assert sealer(KEY, OLD_KEY).unseal(value) is None


@pytest.mark.parametrize(
    ("purpose", "handle", "value"),
    [
        (
            "session",
            "",
            b"AbP4pdpzSrJyzYhw8fhV5o8q79Dr_RLdHHjSFRRffoKP_LY.arE7gA.-xGvBJpvoNQtxjF-WVFeddyLzsF5XKRyGMfc80Hjd4s",
        ),
        (
            "record",
            "handle",
            b"AeCR0T-UinHhRofW3sH_TDYzy-bx4lqW6VPxQ9uDHlHyK3g.arE7gA.hZUR5kXdsokuV2nG19W1kMk_dnD_e1s-B848Qe8KdrM",
        ),
    ],
)
def test_what_version_1_sealed_can_be_opened(purpose, handle, value):
    """A deploy signs nobody out: whoever changes the format reads this one too."""
    assert sealer(purpose=purpose).unseal(value, handle) == Unsealed(b"inside", 1_790_000_000, True)


def test_no_two_sealed_values_are_equal():
    assert len({sealer().seal(DATA) for _ in range(200)}) == 200


def test_nothing_of_the_inside_can_be_read():
    value = sealer().seal(DATA)
    raw = b"".join(urlsafe_b64decode(part + "==") for part in value.split("."))
    assert DATA not in raw
    assert b"secret" not in raw
    assert b"secret" not in value.encode()


def test_a_sealer_shows_no_key():
    shown = repr(sealer()) + str(sealer()) + repr(sealer()._signer)
    assert KEY.hex() not in shown
    assert repr(KEY) not in shown


def test_every_single_change_is_found_out():
    value = sealer().seal(b"x").encode()
    for position in range(len(value)):
        for character in (ALPHABET[0:1], ALPHABET[33:34], b".", b"=", b" ", b"\xff"):
            changed = value[:position] + character + value[position + 1 :]
            assert changed == value or sealer().unseal(changed) is None


def test_the_last_character_has_one_spelling():
    """32 bytes in base64 leave two bits unused: four texts, one signature."""
    value = sealer().seal(DATA).encode()
    good = [value[:-1] + bytes([last]) for last in ALPHABET if sealer().unseal(value[:-1] + bytes([last]))]
    assert good == [value]


@pytest.mark.parametrize(
    "change",
    [
        lambda value: b"",
        lambda value: value[:-1],
        lambda value: value[1:],
        lambda value: value + b"A",
        lambda value: value + b"=",
        lambda value: value + b"\n",
        lambda value: b" " + value,
        lambda value: value.rpartition(b".")[0],
        lambda value: value.rpartition(b".")[2],
        lambda value: b"." + value.rpartition(b".")[2],
        lambda value: value.replace(b".", b"..", 1),
        lambda value: value.upper(),
        lambda value: value + value,
        lambda value: b"." * 50,
        lambda value: b"A" * 1_000_000,
    ],
)
def test_a_value_that_was_cut_or_grew_is_none(change):
    assert sealer().unseal(change(sealer().seal(DATA).encode())) is None


@hostile
@given(st.binary(max_size=300) | st.lists(st.sampled_from([bytes([c]) for c in ALPHABET]), max_size=200).map(b"".join))
def test_any_bytes_are_none(value):
    assert sealer(KEY, OLD_KEY).unseal(value) is None
    assert sealer(KEY, OLD_KEY).unseal(value, "handle") is None


# --- signed with the right key, and yet nothing that we wrote ---


def signed(inside: bytes) -> bytes:
    """A value that the signature speaks for."""
    return sealer()._signer.sign(inside)


def encrypted(version: bytes, *, associated: bytes | None = None) -> bytes:
    nonce = b"n" * sealing.NONCE_BYTES
    key = sealing._derive(KEY, "lumin seal session")
    text = AESGCM(key).encrypt(nonce, DATA, version + b"session" if associated is None else associated)
    return urlsafe_b64encode(version + nonce + text).rstrip(b"=")


def test_this_is_how_a_value_is_made():
    assert sealer().unseal(signed(encrypted(sealing.VERSION))) == Unsealed(DATA, 1_790_000_000, True)


@pytest.mark.parametrize(
    "value",
    [
        signed(b""),
        signed(b"!!!!"),
        signed(b"A"),
        signed(b"AQ"),
        signed(b"AQAA"),
        signed(b"\xff\xfe"),
        signed(encrypted(b"\x00")),
        signed(encrypted(b"\x03")),
        signed(encrypted(sealing.VERSION, associated=sealing.VERSION + b"login")),
        signed(encrypted(sealing.VERSION, associated=b"\x01session")),
    ],
)
def test_another_format_or_purpose_is_none_though_its_signature_is_right(value):
    assert sealer().unseal(value) is None


def test_the_signature_is_no_other_signer_s():
    """A site that signs something else with the same secret does not sign for us."""
    for derivation in ("hmac", "concat", "django-concat", "none"):
        foreign = TimestampSigner(KEY, salt="session", key_derivation=derivation, digest_method=sealing.hashlib.sha256)
        assert sealer().unseal(foreign.sign(encrypted(sealing.VERSION))) is None


@hostile
@given(data=st.binary(max_size=200).map(urlsafe_b64encode), newest=st.booleans())
def test_a_signature_is_the_one_of_itsdangerous(data, newest):
    """`TimestampSigner` reads what is signed here, and what it signs is read here: by the first key, or by another."""
    keys = [KEY, OLD_KEY]
    ours = sealing._Signer(keys[::-1], b"session", Clock(1234.9))
    theirs = TimestampSigner(keys[::-1], salt="session", key_derivation="hmac", digest_method=sealing.hashlib.sha256)
    assert theirs.unsign(ours.sign(data)) == data
    theirs = TimestampSigner(
        keys[not newest], salt="session", key_derivation="hmac", digest_method=sealing.hashlib.sha256
    )
    read = ours.unsign_at(theirs.sign(data))
    assert read is not None
    assert (read[0], read[2]) == (data, int(not newest))


# --- what was sealed with a key that is not here ---


@pytest.mark.parametrize("now", [0.0, 1.0, 1_790_000_000.9, 2.0**40])
def test_the_time_of_sealing_can_be_read_without_the_key(now: float) -> None:
    assert sealed_at(Sealer([KEY], "index", Clock(now)).seal(b"anything").encode()) == int(now)


@pytest.mark.parametrize("value", [b"", b"x", b"seen", b"a.b", b"..", b"a.b.c", b"\xff.\xff.\xff"])
def test_what_says_none_was_sealed_long_ago(value: bytes) -> None:
    assert sealed_at(value) == 0


@hostile
@given(st.binary(max_size=80))
def test_whatever_stands_there_has_some_time(value: bytes) -> None:
    assert sealed_at(value) >= 0


def test_the_error_names_the_setting_and_both_cures() -> None:
    error = KeyMissing("this", "wait")
    assert isinstance(error, StoreUnavailable)
    assert str(error) == (
        "this was sealed with a key that is not in secret_key: give every process all keys that are in use, the newest "
        "first; if it is lost, wait"
    )
