"""The floors of `pyproject.toml` as pip's constraints: `python -m tests.lowest > constraints.txt`.

What its group `lowest` names exactly is a tool of the tests, and stays as it is named there.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def floors() -> list[str]:
    """`name==floor` for each dependency of the package and of its extras."""
    written = tomllib.loads(PROJECT.read_text("utf-8"))
    project, tools = written["project"], {each.partition("==")[0] for each in written["dependency-groups"]["lowest"]}
    extras = project["optional-dependencies"].values()
    required = [*project["dependencies"], *(each for extra in extras for each in extra)]
    found = (re.match(r"([\w-]+)(?:\[.*\])?>=([\w.]+)", each) for each in required)
    return [f"{each[1]}=={each[2]}" for each in found if each and each[1] not in tools]


if __name__ == "__main__":
    print(*floors(), sep="\n")
