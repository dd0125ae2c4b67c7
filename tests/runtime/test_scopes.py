"""Headers parted from cookies, by what is known of their names."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from lumin_middleware.runtime.orders import NAMES_LIMIT, ORDERS_LIMIT, Orders
from lumin_middleware.runtime.scopes import _cookie_at, apart

NAMES = st.sampled_from(
    [b"host", b"cookie", b"accept", b"x-auth-request-user", b"X_Auth-Request_Groups", b"x-auth", b"", b"cookie2"]
)
HEADERS = st.lists(st.tuples(NAMES, st.sampled_from([b"", b"a=1", b"b=2; c=3"])), max_size=8)


@given(HEADERS, st.booleans())
def test_cookies_are_joined_and_nobody_else_says_who_somebody_is(headers, as_tuple):
    came = tuple(headers) if as_tuple else [*headers]
    for _ in range(2):  # found, and remembered
        left, cookie = apart(came)
        cookies = [value for name, value in headers if name == b"cookie"]
        assert cookie == (cookies[0] if len(cookies) == 1 else b"; ".join(filter(None, cookies)))
        identity = re.compile(rb"(?i)x[-_]auth[-_]request[-_]")
        assert left == [each for each in headers if each[0] != b"cookie" and not identity.match(each[0])]
    assert headers == list(came)


def test_few_orders_are_remembered_and_none_that_is_long():
    found = []
    orders = Orders[bytes, int](lambda names: found.append(names) or len(names))
    for _ in range(2):
        assert orders[b"host", b"accept"] == 2
    assert found == [(b"host", b"accept")]
    long = (b"x" * NAMES_LIMIT, b"y")
    for _ in range(2):
        assert orders[long] == 2
    assert found[1:] == [long, long]
    for number in range(3 * ORDERS_LIMIT):
        assert orders[b"%d" % number,] == 1
    assert 0 < len(orders) <= ORDERS_LIMIT
    assert len(_cookie_at) <= ORDERS_LIMIT
