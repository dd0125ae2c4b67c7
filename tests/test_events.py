"""The events that there are, and the page that tells of them."""

from __future__ import annotations

import re

from lumin_middleware import events
from lumin_middleware.events import Event, OfSession
from tests.documents import ROOT


def test_the_page_about_operating_names_each_event_there_is():
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    table = page.partition("| event | when |")[2].partition("\n\n")[0]
    firsts = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    named = {name for first in firsts for name in re.findall(r"`([A-Z]\w+)`", first)}
    kinds = {each for each in vars(events).values() if isinstance(each, type) and issubclass(each, Event)}
    assert named == {each.__name__ for each in kinds - {Event, OfSession}}
