"""The comparison runs, and its page says what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.browser_rig import ROOT, environment

from . import page
from .behaviour import AT_ONCE, TABS
from .charts import Bar, bars

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> Path:
    """A folder with what a quick run has written."""
    folder = tmp_path_factory.mktemp("figures")
    command = [sys.executable, "-m", "tests.compare", "--quick", "--to", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_quick_run_measures_ours_and_a_peer(figures):
    found = json.loads((figures / "figures.json").read_text("utf-8"))
    assert found["missing"] == {}
    ours, peer = found["peers"]
    assert ours["name"] == "ours, cookie"
    assert peer["name"] == "SessionMiddleware + Authlib"
    for each in (ours, peer, {"load": found["bare"]["Starlette"]}):
        assert all(each["load"][name] > 0 for name in ("cpu", "rate", "p50", "p99"))
    for hosts in ("one_host", "two_hosts"):
        storm = dict(ours[hosts])
        assert 1 <= storm.pop("refreshes") < AT_ONCE, "one for each expiry; a slow machine sees the next one, too"
        assert storm == {"refused": 0, "is_alive": True, "statuses": {"200": AT_ONCE}}
        assert sum(peer[hosts]["statuses"].values()) == AT_ONCE, "whatever they are"
    assert (ours["tabs"], ours["new_key"], ours["large"], ours["script"]) == (TABS, True, True, "401")
    assert peer["new_key"] is True


def test_its_page_has_all_of_it(figures):
    said = (figures / "figures.md").read_text("utf-8")
    assert "emulator" in said
    assert "tests.compare --quick" in said
    assert said.count("| ours, cookie |") == 3
    for name in page.TITLES:
        assert f"images/figures-{name}.svg" in said
        chart = ElementTree.parse(figures / "images" / f"figures-{name}.svg").getroot()
        assert chart.attrib["role"] == "img"
        assert "SessionMiddleware + Authlib" in chart.findtext(f"{SVG}desc", "")


def test_the_documents_show_the_last_run():
    """`python -m tests.compare --draw` draws them again."""
    docs = ROOT / "docs"
    found = json.loads((docs / "figures.json").read_text("utf-8"))
    assert (docs / "figures.md").read_text("utf-8") == page.text(found)
    for name, chart in page.charts(found).items():
        assert (docs / "images" / f"figures-{name}.svg").read_text("utf-8") == chart


def test_bars_are_as_long_as_what_they_say():
    chart = ElementTree.fromstring(
        bars("<Two> & more", [("a", [Bar("one", 1, "1 µs", "ours"), Bar("two", 2, "2 µs", "lost", until=4)])])
    )
    assert chart.findtext(f"{SVG}title") == "<Two> & more"
    assert chart.findtext(f"{SVG}desc") == "one: 1 µs; two: 2 µs"
    drawn = [each for each in chart.iter(f"{SVG}rect") if each.attrib["class"] != "background"]
    assert [each.attrib["class"] for each in drawn] == ["ours", "lost"]
    one, two = (float(each.attrib["width"]) for each in drawn)
    assert two == pytest.approx(2 * one, abs=0.2)
    [tail] = (each for each in chart.iter(f"{SVG}line") if each.attrib["class"] == "tail")
    assert float(tail.attrib["x2"]) - float(tail.attrib["x1"]) == pytest.approx(two, abs=0.2)
