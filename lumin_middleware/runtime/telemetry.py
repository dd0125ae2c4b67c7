"""Figures and spans by OpenTelemetry's API, where it is installed (the extra `otel`); else nothing, and no cost.

Nothing here names a person, a session or a path of the application's. HTTP client spans are httpx2's instrumentor's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ..events import (
    Adopted,
    ClientRejected,
    EndedByServer,
    Event,
    Loop,
    RenewalFailed,
    Renewed,
    ServerTrouble,
    SignedIn,
    SignInFailed,
)
from ..ports import AsyncStore, Telemetry

SCOPE = "lumin_middleware"
"""The name of the instrumentation."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The bounds of what is measured in seconds, as OpenTelemetry's conventions have them for HTTP: an SDK's own are meant
for milliseconds, and would have everything in one bucket, up to five seconds."""

_OF_NO_LOGIN = frozenset({"unknown_login", "bad_query", "duplicate_parameter", "bad_path", "cross_origin"})
"""Why a callback is refused before any login is found that it belongs to: whatever a stranger sends is."""


class Silent:
    """`ports.Telemetry` where nobody measures."""

    def event(self, event: Event) -> None:
        """Nobody counts."""

    def count(self, name: str, **attributes: str) -> None:
        """Nobody counts."""

    def duration(self, name: str, seconds: float, **attributes: str) -> None:
        """Nobody measures."""

    def span(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def route(self, path: str) -> None:
        """Nobody is told."""


class OpenTelemetry:
    """The same by OpenTelemetry."""

    def __init__(self, metrics: Any, trace: Any) -> None:
        meter = metrics.get_meter(SCOPE)
        self._trace = trace
        self._tracer = trace.get_tracer(SCOPE)
        self._counters = {
            name: meter.create_counter(name, description=words)
            for name, words in (
                ("lumin.sign_ins", "sign-ins, by result"),
                ("lumin.callbacks.refused", "callbacks that belong to no login, by reason: anybody can send them"),
                ("lumin.renewals", "attempts to renew a session, by result"),
                ("lumin.renewals.adopted", "renewals of another request or worker that were taken over"),
                ("lumin.breaker.open", "times that the token endpoint was left in peace for a while"),
                ("lumin.client.rejected", "answers by which the server refuses the site itself"),
                ("lumin.loops.broken", "browsers that were told that they go in circles"),
                ("lumin.seals.read", "sealed cookies that were opened, by key: newest or old"),
            )
        }
        self._durations = {
            name: meter.create_histogram(name, unit="s", description=words, explicit_bucket_boundaries_advisory=SECONDS)
            for name, words in (
                ("lumin.renewal.duration", "how long a renewal took, the token endpoint and the store included"),
                ("lumin.store.duration", "how long the store took, by verb and outcome"),
            )
        }

    def event(self, event: Event) -> None:
        """Counts what happened."""
        match event:
            case SignedIn():
                self.count("lumin.sign_ins", result="ok")
            case SignInFailed(reason=reason) if reason in _OF_NO_LOGIN:
                self.count("lumin.callbacks.refused", reason=reason)
            case SignInFailed():
                self.count("lumin.sign_ins", result=event.reason)
            case Renewed():
                self.count("lumin.renewals", result="ok")
                self.duration("lumin.renewal.duration", event.seconds)
            case Adopted():
                self.count("lumin.renewals.adopted")
            case RenewalFailed() | EndedByServer(by=""):
                self.count("lumin.renewals", result=event.reason)
            case ServerTrouble(reason="circuit_open"):
                self.count("lumin.breaker.open")
            case ClientRejected():
                self.count("lumin.client.rejected", reason=event.reason)
            case Loop():
                self.count("lumin.loops.broken")

    def count(self, name: str, **attributes: str) -> None:
        self._counters[name].add(1, attributes)

    def duration(self, name: str, seconds: float, **attributes: str) -> None:
        self._durations[name].record(seconds, attributes)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """An internal span. An error of ours is its status by class, for its words may be a server's."""
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            except Exception as error:
                span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, type(error).__name__))
                raise

    def route(self, path: str) -> None:
        """`http.route` of the server's span, for a route of ours."""
        self._trace.get_current_span().set_attribute("http.route", path)


def telemetry() -> Telemetry:
    """OpenTelemetry where its API is installed; without an SDK it costs next to nothing."""
    try:
        from opentelemetry import metrics, trace
    except ModuleNotFoundError:
        return Silent()
    return OpenTelemetry(metrics, trace)


class TimedStore:
    """A store whose verbs are timed."""

    def __init__(self, store: AsyncStore, measured: Telemetry) -> None:
        self._store = store
        self._measured = measured
        self.local = getattr(store, "local", False)
        self.glance = getattr(store, "glance", None)  # not timed: it takes less than that would

    async def get(self, key: str) -> bytes | None:
        began = time.perf_counter()
        try:
            found = await self._store.get(key)
        except BaseException:
            self._took(began, "get", "failed")
            raise
        self._took(began, "get", "ok")
        return found

    async def swap(self, key: str, old: bytes | None, new: bytes | None, ttl: float) -> bool:
        began = time.perf_counter()
        try:
            done = await self._store.swap(key, old, new, ttl)
        except BaseException:
            self._took(began, "swap", "failed")
            raise
        self._took(began, "swap", "ok")
        return done

    def _took(self, began: float, verb: str, outcome: str) -> None:
        seconds = time.perf_counter() - began
        self._measured.duration("lumin.store.duration", seconds, verb=verb, outcome=outcome)


def timed(store: AsyncStore, measured: Telemetry) -> AsyncStore:
    """The store, timed where somebody measures."""
    return store if isinstance(measured, Silent) else TimedStore(store, measured)
