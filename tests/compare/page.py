"""What was measured, as a page with charts. It is drawn from docs/figures.json alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .behaviour import AT_ONCE, TABS
from .charts import Bar, bars

Result = dict[str, Any]

_PAGE = """# Figures

What this costs and how it behaves, beside what others do. `make compare` measures it and writes this page: everything
runs in turns within one run, and everybody signs in at one provider. Machines are noisy and differ, so trust ratios,
not times.

| | |
|---|---|
{about}

"Bare" is the same application without a sign-in, by the same server; before a service it is the service alone, and
all that the proxy does is what it adds. A peer is set up as its documents have it, with sessions in the cookie where
it offers that ({files}).

## What a request costs

Somebody who is signed in asks for a page that says hello, over {connections} connections.

![{cpu_title}](images/figures-cpu.svg)

![{rate_title}](images/figures-rate.svg)

![{latency_title}](images/figures-latency.svg)

{loads}

## When the access token expires

The provider rotates refresh tokens, and takes the whole grant back when a spent one is seen. {at_once} requests of one
session come at once, right after its access token has expired: to one host, and in turns to two hosts of one site,
with what each offers for them to share. "Lived" means that the browser's newest cookies renew once more at the next
expiry.

![{refreshes_title}](images/figures-refreshes.svg)

{expiries}

## Whether people get in

{tabs} tabs are opened at once by somebody whom nobody knows, who then goes through the sign-in of one after the other.
A new key is one that the provider begins to sign with between two sign-ins. A large access token has 6,000 characters.
A script gets 401 where it can be told from a person who may be redirected; 302 and its kin lead it to a page that it
cannot read.

![{tabs_title}](images/figures-tabs.svg)

{ways}

## Missing

{missing}
"""

TITLES = {
    "cpu": "CPU added to a request, in microseconds (less is better)",
    "rate": "Requests in a second, over the bare application's (more is better)",
    "latency": "Milliseconds within which half (bar) and 99 % (line) are answered (less is better)",
    "refreshes": f"Refreshes for {AT_ONCE} requests at one expiry, one host and two (right: one; red: the grant died)",
    "tabs": f"Of {TABS} tabs that are opened at once, how many get to their page (all is right)",
}


def write(folder: Path) -> None:
    """Writes figures.md and its charts beside figures.json."""
    found = json.loads((folder / "figures.json").read_text("utf-8"))
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for name, chart in charts(found).items():
        (images / f"figures-{name}.svg").write_text(chart, "utf-8")
    (folder / "figures.md").write_text(text(found), "utf-8")


# --- charts ---------------------------------------------------------------------------------------------


def added(peer: Result, found: Result) -> float:
    """Microseconds of CPU. The service behind a proxy is a program of its own, whose time is not counted."""
    return float(peer["load"]["cpu"] - (0 if _is_proxy(peer) else found["bare"][peer["bare"]]["cpu"]))


def _is_proxy(peer: Result) -> bool:
    return bool(peer["bare"] == "the service")


def rate(peer: Result, found: Result) -> float:
    """Of what the bare application bears."""
    return float(peer["load"]["rate"] / found["bare"][peer["bare"]]["rate"])


def charts(found: Result) -> dict[str, str]:
    """Each chart by its name."""

    def grouped(make: Callable[[Result], list[Bar]]) -> list[tuple[str, list[Bar]]]:
        groups: dict[str, list[Bar]] = {}
        for peer in found["peers"]:
            groups.setdefault(_place(peer), []).extend(make(peer))
        return list(groups.items())

    def kind(peer: Result) -> str:
        return "ours" if peer["is_ours"] else "others"

    def cpu(peer: Result) -> list[Bar]:
        value = max(added(peer, found), 0.0)
        return [Bar(peer["name"], value, f"{value:.0f} µs", kind(peer))]

    def rates(peer: Result) -> list[Bar]:
        return [Bar(peer["name"], rate(peer, found), f"{rate(peer, found):.2f}", kind(peer))]

    def latency(peer: Result) -> list[Bar]:
        p50, p99 = peer["load"]["p50"], peer["load"]["p99"]
        return [Bar(peer["name"], p50, f"{p50:.1f} / {p99:.1f}", kind(peer), p99)]

    def refreshes(peer: Result) -> list[Bar]:
        return [
            Bar(
                f"{peer['name']}, {hosts.replace('_', ' ')}",
                peer[hosts]["refreshes"],
                _grant(peer[hosts]),
                "lost" if peer[hosts]["is_alive"] is False else kind(peer),
            )
            for hosts in ("one_host", "two_hosts")
            if hosts in peer
        ]

    def tabs(peer: Result) -> list[Bar]:
        return [Bar(peer["name"], peer["tabs"], f"{peer['tabs']} of {TABS}", kind(peer))]

    makes = {"cpu": cpu, "rate": rates, "latency": latency, "refreshes": refreshes, "tabs": tabs}
    least = {"rate": 1.0, "refreshes": AT_ONCE, "tabs": TABS}
    return {name: bars(TITLES[name], grouped(make), least=least.get(name, 0.0)) for name, make in makes.items()}


def _place(peer: Result) -> str:
    return "Before a service" if _is_proxy(peer) else f"In {peer['bare']}"


def _grant(expiry: Result) -> str:
    if expiry["is_alive"] is None:
        return "renews nothing"
    return f"{expiry['refreshes']}, {'lived' if expiry['is_alive'] else 'died'}"


# --- the page -------------------------------------------------------------------------------------------


def text(found: Result) -> str:
    """`docs/figures.md`."""
    return _PAGE.format(
        about="\n".join(f"| {name} | {value} |" for name, value in _about(found)),
        files="`tests/compare`",
        connections=found["about"]["connections"],
        at_once=AT_ONCE,
        tabs=TABS,
        loads=_table(("", "CPU added", "rate over bare", "p50", "p99"), _loads(found)),
        expiries=_table(("", "one host", "two hosts", "which share", "answers, one host"), _expiries(found)),
        ways=_table(("", f"{TABS} tabs", "a new key", "a large token", "a script"), _ways(found)),
        missing="\n".join(f"- {name}: {why}" for name, why in found["missing"].items()) or "Nothing.",
        **{f"{name}_title": title for name, title in TITLES.items()},
    )


def _about(found: Result) -> Iterator[tuple[str, str]]:
    about = found["about"]
    yield "date", about["date"]
    yield "machine", f"{about['machine']}; load {about['load']}; {about['minutes']} minutes"
    yield "Python", about["python"]
    yield "provider", about["provider"]
    yield "command", f"`{about['command']}`"
    yield "versions", ", ".join(sorted({each for peer in found["peers"] for each in peer["version"].split(", ")}))


def _loads(found: Result) -> Iterator[tuple[str, ...]]:
    for peer in found["peers"]:
        load = peer["load"]
        yield (
            peer["name"],
            f"{added(peer, found):.0f} µs",
            f"{rate(peer, found):.2f}",
            f"{load['p50']:.1f} ms",
            f"{load['p99']:.1f} ms",
        )


def _expiries(found: Result) -> Iterator[tuple[str, ...]]:
    for peer in found["peers"]:
        one = peer.get("one_host")
        if one is None:
            yield peer["name"], "nobody got in", "", peer["shares"], ""
            continue
        statuses = ", ".join(f"{count} times {status}" for status, count in one["statuses"].items())
        yield peer["name"], _grant(one), _grant(peer["two_hosts"]), peer["shares"], statuses


def _ways(found: Result) -> Iterator[tuple[str, ...]]:
    for peer in found["peers"]:
        gets_in = ("gets in" if peer[key] else "does not get in" for key in ("new_key", "large"))
        yield (peer["name"], str(peer["tabs"]), *gets_in, peer["script"])


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
