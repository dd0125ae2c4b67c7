"""`python -m tests.bench [name …]`: all benchmarks, or those named."""

from __future__ import annotations

import platform
import sys

from tests.proxies.rig import Program

from . import proxies, requests, servers, sizes, stores

BENCHMARKS = {
    "requests": requests.main,
    "stores": stores.main,
    "sizes": sizes.main,
    "servers": servers.main,
    "proxies": proxies.main,
}


def main(names: list[str]) -> None:
    Program.forks = False
    print(f"Python {platform.python_version()}, {platform.machine()}")
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()


main(sys.argv[1:])
