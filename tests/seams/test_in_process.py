"""The property, in process: a hundred thousand requests in all, the same ones each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from django.test import override_settings

from tests.seams import apps, deliver, generate, routes
from tests.seams.rig import People, Place, attack, people, plain

SEED = 11
COUNT = 8_500
"""Requests to each application: with twelve of them, and the plain ones, some 120,000."""

KINDS = [*(("asgi", name) for name in apps.ASGI), *(("wsgi", name) for name in apps.WSGI)]
each_application = pytest.mark.parametrize(("kind", "app"), KINDS, ids=[name for _, name in KINDS])


@pytest.fixture(scope="module")
def sites() -> Iterator[Mapping[bool, People]]:
    with people() as signed_in:
        yield signed_in


@each_application
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:The `root_path` parameter")
async def test_no_spelling_reaches_a_handler_that_asks_for_more(kind, app, sites):
    counts = await attack(kind, app, sites, SEED, COUNT)
    assert counts.wrong == []
    assert counts.requests >= COUNT
    assert len(counts.ran) >= 6, "hardly a handler ran: the requests are refused too soon to show anything"


@each_application
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:The `root_path` parameter")
async def test_each_plainly_written_path_works(kind, app, sites):
    counts = await plain(kind, app, sites)
    assert counts.wrong == []
    assert set(counts.ran) == set(routes.ROUTES)


async def test_a_prefix_that_django_takes_off_by_itself_hides_nothing(sites):
    """FORCE_SCRIPT_NAME, which no scope shows."""
    apps.django_asgi()
    with override_settings(FORCE_SCRIPT_NAME="/static"):
        place = Place("asgi", "Django ASGI", routes.NAMED, sites[False])
        way = deliver.ASGI[0]
        for target, person, status, ran in (
            (b"/static/secret", "nobody", 401, []),
            (b"/static/secret", "member", 200, ["secret"]),
            (b"/static/sign", "member", 403, []),
            (b"/static/static/x", "nobody", 200, ["static"]),
        ):
            assert await place.ask(way, person, generate.Asked("GET", target)) == status, target
            assert ran == apps.RAN
        await place.aclose()


def test_a_seed_gives_the_same_requests():
    def first(seed: int) -> list[generate.Asked]:
        return [asked for asked, _ in zip(generate.requests(seed), range(500), strict=False)]

    assert first(1) == first(1) != first(2)
    assert len(set(first(1))) > 400


def test_the_table_says_of_each_handler_who_may_reach_it():
    for rules in routes.RULESETS:
        assert rules.open | rules.scoped <= set(routes.ROUTES)
        assert not rules.open & rules.scoped
    assert [apps.look_up(path) for path in ("/share", "/share/x/y", "/open/admin", "/nothing")] == [
        *("share", "shared", "admin", None),
    ]
    assert set(routes.PLAIN.values()) == set(routes.ROUTES)
