"""Figures and spans by OpenTelemetry: of a day on both edges; without its API nothing, and nobody notices."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from lumin_middleware.events import ClientRejected, EndedByServer, Loop, ServerTrouble, SignInFailed
from lumin_middleware.runtime import event_loop, threads
from lumin_middleware.runtime.telemetry import SECONDS, OpenTelemetry, Silent, telemetry, timed
from tests.documents import ROOT
from tests.edges import rig
from tests.edges.rig import EDGES, Lumin
from tests.fakes import Store
from tests.patience import PATIENCE
from tests.site_rig import Clock
from tests.test_day import EMAIL, PERSON, Watched, day, settings


class Measured:
    """Providers of this test's own, and what they got."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.spans = InMemorySpanExporter()
        self.meters = MeterProvider([self.reader])
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.opened: list[Any] = []

    # what `OpenTelemetry` asks of the two modules
    Status, StatusCode = Status, StatusCode

    def get_meter(self, name: str) -> Any:
        return self.meters.get_meter(name)

    def get_tracer(self, name: str) -> Any:
        return self.tracers.get_tracer(name)

    def get_current_span(self) -> Any:
        span = self.get_tracer("server").start_span("request")
        self.opened.append(span)
        return span

    def made(self) -> OpenTelemetry:
        return OpenTelemetry(self, self)

    def figures(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Each counter's sum, and each histogram's number, by name and attributes."""
        return {
            (name, tuple(sorted(point.attributes.items()))): getattr(point, "value", getattr(point, "count", 0))
            for name, point in self.points()
        }

    def points(self) -> Iterator[tuple[str, Any]]:
        """What is exported, by name."""
        for resource in self.reader.get_metrics_data().resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield from ((metric.name, point) for point in metric.data.data_points)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    found = Measured()
    for module in (event_loop, threads):
        monkeypatch.setattr(module, "telemetry", found.made)
    return found


@pytest.fixture(scope="module")
def lumin() -> Iterator[Lumin]:
    with rig.lumin() as running:
        yield running


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("sessions", ["cookie", "store"])
async def test_a_day_is_counted_and_named_by_no_person(lumin, measured, edge, sessions):
    site = lumin.site(**settings(sessions=sessions))
    browser = Watched(site, edge)
    await day(site, browser)
    await site.aclose()
    figures = measured.figures()
    assert figures["lumin.sign_ins", (("result", "ok"),)] == 2
    assert figures["lumin.sign_ins", (("result", "access_denied"),)] == 1
    assert figures["lumin.callbacks.refused", (("reason", "unknown_login"),)] == 1
    assert ("lumin.sign_ins", (("result", "unknown_login"),)) not in figures
    assert figures["lumin.renewals", (("result", "ok"),)] == figures["lumin.renewal.duration", ()] >= 1
    assert figures["lumin.renewals", (("result", "ended_by_server"),)] == 1
    assert figures["lumin.client.rejected", (("reason", "invalid_scope"),)] == 1
    assert any(name == "lumin.store.duration" for name, _ in figures)
    assert figures["lumin.seals.read", (("key", "newest"),)] >= 1
    names = [span.name for span in measured.spans.get_finished_spans()]
    assert names.count("lumin.sign_in") == 2
    assert names.count("lumin.renewal") >= 2
    assert set(names) == {"lumin.sign_in", "lumin.renewal"}
    routes = {span.attributes["http.route"] for span in measured.opened}
    assert routes == {"/auth/login", "/auth/callback", "/auth/logout"}
    told = repr(figures) + "".join(span.to_json() for span in measured.spans.get_finished_spans())
    assert not [secret for secret in (*browser.secrets, EMAIL, PERSON) if len(secret) > 3 and secret in told]


def test_what_happens_seldom_is_counted(measured):
    made = measured.made()
    for event in (Loop(), ServerTrouble(reason="circuit_open"), ClientRejected(reason="invalid_client")):
        made.event(event)
    made.event(ServerTrouble(reason="server_unavailable"))
    figures = measured.figures()
    assert figures == {
        ("lumin.loops.broken", ()): 1,
        ("lumin.breaker.open", ()): 1,
        ("lumin.client.rejected", (("reason", "invalid_client"),)): 1,
    }


def test_what_takes_milliseconds_is_told_from_what_takes_a_second(measured):
    """An SDK's own bounds are meant for milliseconds: 2 ms and 4 s would be in one bucket."""
    made = measured.made()
    assert set(made._durations) == {"lumin.renewal.duration", "lumin.store.duration"}
    for name in made._durations:
        for seconds in [0.002] * 99 + [0.3]:
            made.duration(name, seconds)
    points = dict(measured.points())
    assert set(points) == set(made._durations)
    for point in points.values():
        assert tuple(point.explicit_bounds) == SECONDS
        assert point.bucket_counts[0] == 99
        assert point.bucket_counts[SECONDS.index(0.5)] == 1


@pytest.mark.parametrize("edge", EDGES)
async def test_what_strangers_send_to_the_callback_is_no_sign_in_that_failed(lumin, measured, edge):
    site = lumin.site()
    begun = await site.browser(edge).begin("/")
    (state,) = parse_qs(urlsplit(begun).query)["state"]
    for query in (
        *("", "code=x", "code=x&state=y", "error=access_denied", "error=invalid_client&state=y", "state=a&state=b"),
        *("code=%ff&state=%ff", "code=x&state=y&iss=https://evil.example", "code=a b;c", f"code=x&state={state}"),
        *(f"error=access_denied&state={state}", f"error=server_error&state={state}"),
    ):
        assert (await site.browser(edge).navigate(f"/auth/callback?{query}")).status == 400
    await site.aclose()
    refused = {key: number for key, number in measured.figures().items() if key[0] == "lumin.callbacks.refused"}
    assert sum(refused.values()) == 12
    assert "lumin.sign_ins" not in {name for name, _ in measured.figures()}


def test_a_sign_in_that_failed_is_counted_by_its_reason(measured):
    made = measured.made()
    for reason in ("unknown_login", "duplicate_parameter", "bad_query", "cross_origin"):
        made.event(SignInFailed(reason=reason, status=400))
    made.event(SignInFailed(reason="not_set_up", status=400, cause="invalid_client"))
    figures = measured.figures()
    assert {key: number for key, number in figures.items() if key[0] == "lumin.sign_ins"} == {
        ("lumin.sign_ins", (("result", "not_set_up"),)): 1
    }


def test_who_is_signed_out_by_the_server_s_word_was_not_refused_a_renewal(measured):
    made = measured.made()
    made.event(EndedByServer(session="x", subject="", by="logout token"))
    made.event(EndedByServer(session="x", subject=""))
    assert measured.figures() == {("lumin.renewals", (("result", "ended_by_server"),)): 1}


def test_a_span_that_fails_says_how_and_not_why(measured):
    def fail() -> None:
        with measured.made().span("lumin.sign_in"):
            raise ValueError("a secret")

    with pytest.raises(ValueError, match="a secret"):
        fail()
    [span] = measured.spans.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert "a secret" not in span.to_json()


async def test_a_store_s_trouble_is_timed_too(measured):
    store = Store(Clock(), [])
    store.fails = {"get x"}
    wrapped = timed(store, measured.made())
    with pytest.raises(Exception, match="no get x today"):
        await wrapped.get("x:1")
    await wrapped.swap("y:1", None, b"", 1)
    assert set(measured.figures()) == {
        ("lumin.store.duration", (("outcome", "failed"), ("verb", "get"))),
        ("lumin.store.duration", (("outcome", "ok"), ("verb", "swap"))),
    }


def test_without_the_api_nobody_measures(monkeypatch):
    for name in ("opentelemetry", "opentelemetry.metrics", "opentelemetry.trace"):
        monkeypatch.setitem(sys.modules, name, None)
    found = telemetry()
    assert isinstance(found, Silent)
    store = Store(Clock(), [])
    assert timed(store, found) is store
    with found.span("x"):
        found.route("/x")
        found.count("lumin.seals.read", key="newest")
        found.duration("lumin.store.duration", 1.0)
        found.event(Loop())


def test_the_page_about_operating_names_each_figure_and_its_alerts_no_other(measured):
    made = measured.made()
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    ours = {*made._counters, *made._durations}
    assert set(re.findall(r"^\| `(lumin[a-z_.]+)", page, re.MULTILINE)) == ours
    (rules,) = [block for block in page.split("```") if block.startswith("yaml\ngroups:")]
    exported = {
        *(f"{name.replace('.', '_')}_total" for name in made._counters),
        *(f"{name.replace('.', '_')}_seconds_{part}" for name in made._durations for part in ("count", "bucket")),
    }
    assert set(re.findall(r"\b(lumin_\w+)[\[{]", rules)) <= exported
    for alert in re.findall(r"alert: (\w+)", rules):
        assert f"\n### {alert}\n" in page


def test_importing_the_package_does_not_import_it():
    code = "import sys, lumin_middleware; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout == "False\n"
