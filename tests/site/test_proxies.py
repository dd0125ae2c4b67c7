"""The proxies whose word is taken, and the client that they tell of (HD-05)."""

from __future__ import annotations

import pytest

from lumin_middleware.site import proxies
from lumin_middleware.site.proxies import Proxies


def test_a_proxy_is_known_again_and_nobody_else_is_remembered(monkeypatch):
    monkeypatch.setattr(proxies, "KNOWN_LIMIT", 2)
    ours = Proxies(["10.0.0.0/8"])
    for _ in range(2):
        assert [ours.trusts(peer) for peer in ("10.0.0.1", "192.0.2.1", "", "x", "10.0.0.2", "10.0.0.3")] == [
            *(True, False, False, False, True, True)
        ]
    assert ours._known == {"10.0.0.1", "10.0.0.2"}


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6", "6.6.6.6"),
        ("10.0.0.1", "127.0.0.1, 6.6.6.6", "6.6.6.6"),
        ("10.0.0.1", "6.6.6.6, 10.0.0.2", "6.6.6.6"),
        ("10.0.0.1", "1.1.1.1, 6.6.6.6, 10.0.0.2, 10.0.0.3", "6.6.6.6"),
        ("10.0.0.1", "6.6.6.6, [::1]:bad", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", ", ".join(["10.0.0.9"] * 100), "10.0.0.9"),
        ("10.0.0.1", " 2001:db8::1 ", "2001:db8::1"),
        ("203.0.113.9", "6.6.6.6", "203.0.113.9"),
        ("", "6.6.6.6", ""),
        ("10.0.0.1", ",", "10.0.0.1"),
    ],
)
def test_hd_05_the_client_is_the_right_most_address_that_is_no_proxy_of_ours(peer, forwarded_for, client):
    assert Proxies(["10.0.0.0/8"]).client(peer, forwarded_for) == client
