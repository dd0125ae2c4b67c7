"""Whatever is done to a store, in any order: it answers as a dictionary with expiry times would."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from lumin_middleware.ports import Store
from lumin_middleware.stores import AsyncRedisStore, MemoryStore, RedisStore, SQLiteStore
from lumin_middleware.stores.contract import opened

from .redis_server import RedisServer

KEYS = st.sampled_from(["", "a", "A", "a\0", "é"])
VALUES = st.sampled_from([b"", b"\0", b"a", b"A", b"a\0", b"\xff" * 20_000])
LONG = 1e6


class Model(RuleBasedStateMachine):
    """One store through two handles, beside a dict of (value, expiry)."""

    ttls = st.sampled_from([-1.0, 0.0, 1.0, 2.0, LONG])

    def __init__(self, open_pair: Any) -> None:
        super().__init__()
        self.now = 1_800_000_000.0
        self.expected: dict[str, tuple[bytes, float]] = {}
        self.stack = ExitStack()
        self.prefix = f"{uuid.uuid4()}:"
        self.handles: list[Store] = open_pair(self.stack, lambda: self.now)

    def held(self, key: str) -> bytes | None:
        value, expires_at = self.expected.get(key, (None, 0.0))
        return value if expires_at > self.now else None

    @rule(handle=st.integers(0, 1), key=KEYS)
    def get(self, handle: int, key: str) -> None:
        assert self.handles[handle].get(self.prefix + key) == self.held(key)

    def _swap(self, handle: int, key: str, old: bytes | None, new: bytes | None, ttl: float) -> None:
        done = self.held(key) == old
        assert self.handles[handle].swap(self.prefix + key, old, new, ttl) is done
        if done:
            self.expected.pop(key, None)
            if new is not None:
                self.expected[key] = (new, self.now + ttl)

    @rule(handle=st.integers(0, 1), key=KEYS, old=st.none() | VALUES, new=st.none() | VALUES, data=st.data())
    def swap(self, handle: int, key: str, old: bytes | None, new: bytes | None, data: st.DataObject) -> None:
        self._swap(handle, key, old, new, data.draw(self.ttls))

    @rule(handle=st.integers(0, 1), key=KEYS, new=st.none() | VALUES, data=st.data())
    def swap_what_is_held(self, handle: int, key: str, new: bytes | None, data: st.DataObject) -> None:
        self._swap(handle, key, self.held(key), new, data.draw(self.ttls))

    def teardown(self) -> None:
        self.stack.close()


class ModelWithTime(Model):
    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, LONG]))
    def advance(self, seconds: float) -> None:
        self.now += seconds


class ModelWithoutTime(Model):
    """For a store whose clock is not ours: nothing expires while an example lasts."""

    ttls = st.sampled_from([-1.0, 0.0, LONG])


class ModelThatCloses(ModelWithTime):
    @rule(handle=st.integers(0, 1))
    def close(self, handle: int) -> None:
        self.handles[handle].close()  # type: ignore[attr-defined]


def check(model: type[Model], open_pair: Any, *, examples: int, steps: int) -> None:
    limits = settings(max_examples=examples, stateful_step_count=steps, deadline=None, database=None)
    run_state_machine_as_test(partial(model, open_pair), settings=limits)  # type: ignore[no-untyped-call]


def test_memory() -> None:
    def open_pair(stack: ExitStack, clock: Any) -> list[Store]:
        return [MemoryStore(clock=clock)] * 2

    check(ModelWithTime, open_pair, examples=50, steps=40)


def test_sqlite(tmp_path: Path) -> None:
    def open_pair(stack: ExitStack, clock: Any) -> list[Store]:
        return [stack.enter_context(opened(partial(SQLiteStore, tmp_path / "s", clock=clock))) for _ in range(2)]

    check(ModelThatCloses, open_pair, examples=50, steps=40)


@pytest.mark.parametrize("store_class", [RedisStore, AsyncRedisStore])
def test_redis(store_class: Any, redis_server: RedisServer) -> None:
    def open_pair(stack: ExitStack, clock: Any) -> list[Store]:
        return [stack.enter_context(opened(partial(store_class, redis_server.url))) for _ in range(2)]

    check(ModelWithoutTime, open_pair, examples=20, steps=30)
