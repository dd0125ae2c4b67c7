"""What the stores' verbs cost, and a request with a store that is elsewhere."""

from __future__ import annotations

import itertools
import secrets
import tempfile
from pathlib import Path

from lumin_middleware import LuminMiddleware
from lumin_middleware.stores import AsyncRedisStore, MemoryStore, RedisStore, SQLiteStore
from tests.stores.redis_server import RedisServer, find_binary

from .measure import blocking, in_turns, run, say
from .rig import bare, call, config, party, scope, signed_in

VALUE = secrets.token_bytes(1100)  # a sealed session


def main() -> None:
    run(_verbs())
    run(_requests())


async def _verbs() -> None:
    with tempfile.TemporaryDirectory() as directory, RedisServer(find_binary() or "redis-server") as server:
        stores = {
            "memory": MemoryStore(),
            "SQLite": SQLiteStore(Path(directory).resolve() / "private" / "store"),
            "Redis": RedisStore(server.url),
        }
        redis = AsyncRedisStore(server.url)
        candidates = {}
        for name, store in stores.items():
            store.swap("known", None, VALUE, 3600)
            numbers = itertools.count()
            candidates[f"{name}: get"] = blocking(lambda store=store: store.get("known"))
            candidates[f"{name}: get, absent"] = blocking(lambda store=store: store.get("unknown"))
            candidates[f"{name}: swap, new"] = blocking(
                lambda store=store, numbers=numbers: store.swap(f"n{next(numbers)}", None, VALUE, 1)
            )
            candidates[f"{name}: swap, same again"] = blocking(
                lambda store=store: store.swap("known", VALUE, VALUE, 3600)
            )
        candidates["Redis, asynchronous: get"] = lambda: redis.get("known")
        candidates["Redis, asynchronous: swap, same again"] = lambda: redis.swap("known", VALUE, VALUE, 3600)
        say("The verbs of the stores, 1,100 bytes", await in_turns(candidates))
        await redis.aclose()
        stores["SQLite"].close()
        stores["Redis"].close()


async def _requests() -> None:
    with RedisServer(find_binary() or "redis-server") as server:
        redis = AsyncRedisStore(server.url)
        cookie = LuminMiddleware(bare, config(store=redis))
        strict = LuminMiddleware(bare, config(store=redis, strict_logout=True))
        store = LuminMiddleware(bare, config(store=redis, sessions="store"))
        candidates = {"bare application": call(bare, [scope()])}
        for name, middleware in (("cookie", cookie), ("cookie, strict_logout", strict), ("store", store)):
            candidates[f"ours, {name}, Redis"] = call(middleware, [scope(await signed_in(party(middleware)))])
        candidates["one round trip to Redis"] = lambda: redis.get("unknown")
        say("An authenticated request with Redis, in process", await in_turns(candidates), base="bare application")
        for middleware in (cookie, strict, store):
            await middleware.aclose()
        await redis.aclose()
