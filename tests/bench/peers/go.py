"""oauth2-proxy, which Go builds as a tool of the module beside this file: two minutes the first time."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.foreign.hydra.program import Unavailable, find_go

OAUTH2_PROXY = "github.com/oauth2-proxy/oauth2-proxy/v7"
MODULE = Path(__file__).parent / "oauth2_proxy"


def cache() -> Path:
    """Where what was built once is kept."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lumin-middleware-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def oauth2_proxy() -> tuple[str, str]:
    """The program and its version. Raises `Unavailable`."""
    try:
        go = find_go()
    except Unavailable:
        cure = ".venv/bin/pip install --group go"
        raise Unavailable(f"oauth2-proxy is made by Go, which is missing here or too old: {cure}") from None
    path = cache() / "oauth2-proxy"
    command = [go, "build", "-mod=readonly", "-buildvcs=false", "-o", str(path), OAUTH2_PROXY]
    done = subprocess.run(command, cwd=MODULE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"Go could not build oauth2-proxy: {done.stderr.strip()[-300:]}")
    found = re.search(rf"{re.escape(OAUTH2_PROXY)} v(\S+)", (MODULE / "go.mod").read_text())
    assert found
    return str(path), found[1]
