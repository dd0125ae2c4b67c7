"""Both servers asked the same, and what differs on purpose.

`python -m tests.foreign.hydra.differences` prints what differs; with `--record` it writes what Hydra answered to
answers.json, with which `make test` compares the emulator where there is no Hydra.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from .cases import CASES
from .client import Party, Seen, Server

ANSWERS = Path(__file__).parent / "answers.json"

TWICE_IN = r"^authorization: .* twice$|^code: (code|grant type) twice|^refresh: token twice|^revocation: token twice"
TWICE = "Hydra takes the first; RFC 6749 (3.1 and 3.2) forbids it. Stricter here, so that the mistake shows."

ON_PURPOSE: dict[str, str] = {
    **dict.fromkeys((name for name in CASES if " twice" in name and re.search(TWICE_IN, name)), TWICE),
    "authorization: a public client without a challenge": (
        "Hydra lets it pass unless it is told not to; Lumin's documentation asks public clients for one. Stricter here."
    ),
    "authorization: response type in other letters": (
        "Hydra asks the person first, and then fails with server_error; here it is refused at once."
    ),
}
"""Where the emulator answers otherwise, by case, and why. The documents have the same list (docs/emulator.md)."""


def ask(server: Server, name: str) -> list[Seen]:
    """What the case sees of this server. A case that cannot go on says so as its last line."""
    parties: list[Party] = []

    def new(*arguments: Any, **options: Any) -> Party:
        parties.append(Party(server, *arguments, **options))
        return parties[-1]

    seen: list[Seen] = []
    try:
        for each in CASES[name](new):
            seen.append(each)  # noqa: PERF402  (what was seen before it stopped counts)
    except AssertionError as stopped:
        seen.append({"stopped": str(stopped).partition("\n")[0][:200]})
    finally:
        for party in parties:
            party.close()
    return json.loads(json.dumps(seen))  # type: ignore[no-any-return]


def recorded() -> dict[str, list[Seen]]:
    """What Hydra answered when it was last asked."""
    found: dict[str, list[Seen]] = json.loads(ANSWERS.read_text())
    return found


def main() -> None:
    from .emulated import emulated
    from .server import Hydra

    wanted = [name for name in CASES if all(word in name for word in sys.argv[1:] if word != "--record")]
    with Hydra() as hydra, emulated() as emulator:
        answers = {name: ask(hydra, name) for name in wanted}
        ours = {name: ask(emulator, name) for name in wanted}
    differing = [name for name in wanted if answers[name] != ours[name]]
    for name in differing:
        note = f" (on purpose: {ON_PURPOSE[name]})" if name in ON_PURPOSE else ""
        print(f"\n{name}{note}")
        for index in range(max(len(answers[name]), len(ours[name]))):
            pair = [each[index : index + 1] for each in (answers[name], ours[name])]
            if pair[0] != pair[1]:
                print(f"  hydra    {pair[0]}\n  emulator {pair[1]}")
    print(f"\n{len(wanted)} cases, {len(wanted) - len(differing)} equal, {len(differing)} differ")
    if "--record" in sys.argv:
        ANSWERS.write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
