"""A process sees how many of its kind there are, and what time it is elsewhere; what is wrong is said once."""

from __future__ import annotations

import os
import sys
from email.utils import formatdate

import pytest

from lumin_middleware.runtime.surroundings import CLOCK_LIMIT, ClockWatch, warn_of_memory, workers
from lumin_middleware.stores import MemoryStore
from tests.edges import rig
from tests.edges.rig import EDGES
from tests.site_rig import Clock


@pytest.mark.parametrize(
    ("environ", "arguments", "expected"),
    [
        ({}, ["uvicorn", "app:app"], 1),
        ({}, ["uvicorn", "app:app", "--workers", "4"], 4),
        ({}, ["gunicorn", "-w", "3", "app:app"], 3),
        ({}, ["gunicorn", "--workers=2", "app:app"], 2),
        ({}, ["gunicorn", "-w2", "app:app"], 2),
        ({}, ["uvicorn", "--workers"], 1),
        ({}, ["uvicorn", "--workers", "many"], 1),
        ({"WEB_CONCURRENCY": "5"}, ["uvicorn", "app:app"], 5),
        ({"WEB_CONCURRENCY": "5"}, ["uvicorn", "app:app", "--workers", "1"], 1),
        ({"WEB_CONCURRENCY": "auto"}, [], 1),
        ({"GUNICORN_CMD_ARGS": "--bind :80 --workers 4"}, ["gunicorn", "app:app"], 4),
        ({"GUNICORN_CMD_ARGS": "-w4", "WEB_CONCURRENCY": "1"}, ["gunicorn", "app:app"], 4),
        ({"GUNICORN_CMD_ARGS": "--workers 4"}, ["gunicorn", "-w", "1", "app:app"], 1),
        ({"UVICORN_WORKERS": "4"}, ["uvicorn", "app:app"], 4),
        ({"UVICORN_WORKERS": "1", "WEB_CONCURRENCY": "4"}, ["uvicorn", "app:app"], 1),
        ({"UVICORN_WORKERS": "4"}, ["uvicorn", "app:app", "--workers", "1"], 1),
        ({"GRANIAN_WORKERS": "2"}, ["granian", "app:app"], 2),
    ],
)
def test_how_many_workers_there_are_is_what_the_server_was_told(environ, arguments, expected):
    assert workers(environ, arguments) == expected


def test_where_nothing_is_seen_of_a_gunicorn_what_it_was_told_counts(monkeypatch):
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", object())
    monkeypatch.setattr(os, "getppid", lambda: 0)
    assert workers({"WEB_CONCURRENCY": "3"}, []) == 3


def test_memory_is_told_of_only_where_it_is_not_shared(caplog):
    warn_of_memory(MemoryStore(), several=False)
    warn_of_memory(object(), several=True)
    assert not caplog.records
    warn_of_memory(MemoryStore(), several=True)
    assert caplog.messages[0].startswith("memory_not_shared: ")


@pytest.mark.parametrize("edge", EDGES)
async def test_memory_and_several_workers_are_told_of_when_the_first_request_comes(edge, monkeypatch, caplog):
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    monkeypatch.setattr("sys.argv", ["uvicorn"])
    with rig.lumin() as lumin:
        site = lumin.site()
        await site.browser(edge).navigate("/")
        await site.browser(edge).navigate("/")
        assert caplog.text.count("memory_not_shared") == 1
        await site.aclose()


@pytest.mark.parametrize("ahead", [-3600.0, -CLOCK_LIMIT - 1, CLOCK_LIMIT + 1, 7200.0])
def test_a_clock_that_differs_is_told_of_once(ahead, caplog):
    clock = Clock()
    watch = ClockWatch(clock)
    for _ in range(3):
        watch.compare(formatdate(clock() - ahead, usegmt=True))
    assert caplog.text.count("clock") >= 1
    assert len(caplog.records) == 1


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Jan 2026 00:00:00 GMT", "-1"])
def test_what_is_no_date_says_nothing(date, caplog):
    ClockWatch(Clock()).compare(date)
    assert not caplog.records


def test_clocks_that_agree_say_nothing(caplog):
    clock = Clock()
    for off in (-CLOCK_LIMIT + 2, 0.0, CLOCK_LIMIT - 2):
        ClockWatch(clock).compare(formatdate(clock() + off, usegmt=True))
    assert not caplog.records


@pytest.mark.parametrize("edge", EDGES)
async def test_a_site_whose_clock_is_wrong_hears_of_it(edge, caplog):
    with rig.lumin() as lumin:
        site = lumin.site()
        lumin.emulator.clock_skew = 120
        await site.browser(edge).sign_in()
        assert caplog.text.count("clock_differs: ") == 1
        await site.aclose()
