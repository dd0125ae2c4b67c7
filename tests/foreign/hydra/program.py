"""The program: Go builds it as a tool of the module beside this file, into a cache of its own.

`python -m tests.foreign.hydra.program` builds it and prints where it is. Loading takes a minute and building three
the first time, a second afterwards. Nothing of it lands in this checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
MODULE = "github.com/ory/hydra/v2"
OLDEST_GO = (1, 24)  # the first with tools in go.mod; Hydra itself asks for less
HOW_TO_GET_IT = (
    f"The tests before Ory Hydra need Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer and a C compiler "
    "(Debian: gcc; Go comes with `.venv/bin/pip install --group go`); `make test-hydra` then builds it and runs them."
)


class Unavailable(Exception):
    """Hydra cannot be built here; the message is the one sentence that says what to do."""


def version() -> str:
    """The version of Hydra that go.mod names."""
    found = re.search(rf"{re.escape(MODULE)} v(\S+)", (HERE / "go.mod").read_text())
    assert found
    return found[1]


def find_go() -> str:
    """A Go that is new enough and has a C compiler: from PATH, or the one that pip put beside this Python.

    Raises `Unavailable` without.
    """
    for folders in (None, str(Path(sys.executable).parent)):
        go = shutil.which("go", path=folders)
        if go is not None and _is_enough(go):
            return go
    raise Unavailable(HOW_TO_GET_IT)


def _is_enough(go: str) -> bool:
    said = subprocess.run([go, "env", "GOVERSION", "CC"], cwd="/", capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)\S*\s+(\S+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_GO and shutil.which(found[3]) is not None


def build() -> Path:
    """The program, built if need be. Raises `Unavailable`, with Go's own last words where it was Go that failed."""
    go = find_go()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lumin-middleware-tests"
    path = cache / f"hydra-{version()}"
    # `go tool` would keep the program by itself, but takes no build tags. What is up to date is not built again.
    command = [go, "build", "-mod=readonly", "-buildvcs=false", "-tags=sqlite,json1", "-o", str(path), MODULE]
    # To optimize SQLite takes 110 s of processor time, a third of all; the tests would hardly get it back.
    environment = os.environ | {"CGO_ENABLED": "1", "CGO_CFLAGS": "-O0"}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"Go could not build Ory Hydra: {done.stderr.strip()[-600:]}")
    return path


if __name__ == "__main__":
    try:
        print(f"Hydra {version()}: {build()}")
    except Unavailable as unavailable:
        sys.exit(str(unavailable))
