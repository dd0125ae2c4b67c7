"""The property, through the real fronts: some thousands of requests as bytes on a socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.seams import fronts, wire
from tests.seams.fronts import FRONTS, SERVICES, Service
from tests.seams.routes import RULESETS

SEED = 11
COUNT = 160
"""Requests to each service through each front, beside the plain ones: with fifty pairs, some 11,000 in all."""

NAMES = [f"{service.name}, {service.app}" for service in SERVICES]


@pytest.fixture(scope="module")
def upstreams() -> Iterator[Mapping[Service, str]]:
    """Where each service is."""
    with ExitStack() as stack:
        yield {service: stack.enter_context(fronts.serving(service)) for service in SERVICES}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", SERVICES, ids=NAMES)
@pytest.mark.parametrize("front", FRONTS)
def test_no_bytes_reach_a_handler_that_asks_for_more(front, service, upstreams, tmp_path):
    rules = (FRONTS.index(front) + SERVICES.index(service)) % len(RULESETS)
    with fronts.standing(front, service, upstreams[service], tmp_path, rules) as site:
        assert wire.plain(site).wrong == []
        counts = wire.attack(site, SEED, COUNT)
    assert counts.wrong == []
    assert counts.ran, "no handler ran at all"
