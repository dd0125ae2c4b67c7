"""What things weigh: cookies, records, the import."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from lumin_middleware import LuminMiddleware
from lumin_middleware.sessions.cookies import Jar

from .measure import run
from .rig import bare, config, party, session

NEEDED = "import starlette.applications, starlette.authentication, httpx2, authlib.integrations.httpx_client"

MADE = """
import os
from lumin_middleware import LuminConfig, LuminMiddleware

async def app(scope, receive, send): ...

LuminMiddleware(app, LuminConfig(client_id="id", client_secret="secret",
    redirect_uri="https://a.example/auth/callback", secret_key=os.urandom(32), store="memory://"))
"""

IMPORTS = {
    "Python alone": "pass",
    "starlette and httpx2": "import starlette.applications, starlette.authentication, httpx2",
    "Authlib's httpx client": "import authlib.integrations.httpx_client",
    "what it needs: httpx2, Authlib": NEEDED,
    "import lumin_middleware": "import lumin_middleware",
    "what it needs, and TLS": f"{NEEDED}; httpx2.create_ssl_context()",
    "a middleware made": MADE,
}
"""A middleware reads what the machine trusts when it is made, and httpx2 loads half of itself for that."""

COMPARED = (
    ("import lumin_middleware", "what it needs: httpx2, Authlib", " (goal 1.1)"),
    ("import lumin_middleware", "starlette and httpx2", ": Authlib's client is loaded with the middleware"),
    ("a middleware made", "what it needs, and TLS", ""),
)


def main() -> None:
    run(_weights())
    _imports()


async def _weights() -> None:
    print("\nBytes")
    for kind in ("cookie", "store"):
        site = party(LuminMiddleware(bare, config(sessions=kind)))
        new = session()
        lines = site.parts.sessions.set_cookies(new, Jar(b"", site.parts.cookies))
        sent = sum(len(line.partition(";")[0]) for line in lines)
        record = site.parts.sessions._records._seal(new.dump(), new.id)
        print(f"  sessions={kind!r}: Set-Cookie {sum(map(len, lines))}, sent back {sent}, record {len(record)}")
        print(f"    {1_048_576 // (len(record) + 72)} sessions in a MB of store (record and key)")


def _imports() -> None:
    print("\nImport, in a new process (median of 9)")
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(9):
        for name, code in IMPORTS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times[name].append(time.perf_counter() - started)
    alone = statistics.median(times["Python alone"])
    added = {name: statistics.median(each) - alone for name, each in times.items()}
    for name, seconds in added.items():
        print(f"  {name:30} {(alone + seconds) * 1e3:7.1f} ms   added {seconds * 1e3:7.1f} ms")
    for ours, theirs, remark in COMPARED:
        print(f"  {ours}: {added[ours] / added[theirs]:.2f} x {theirs}{remark}")
