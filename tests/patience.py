"""How long a test waits for what must come: so long that no busy machine makes it strike."""

from __future__ import annotations

PATIENCE = 180  # seconds until a test, a process or a page is given up; below pytest's own limit
