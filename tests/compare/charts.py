"""Bars, as SVG: text, a title and a description for whoever cannot see them, colours for light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, VALUES = 840, 330, 120
"""Pixels of the whole, of the column of names, and of what is kept free for the numbers."""

ROW, BAR, HEAD, GAP = 26, 14, 44, 16
"""Pixels of a row, its bar, the title, and between groups."""

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.group { font-weight: 600; fill: #59636e }
.ours { fill: #0b7a75 } .others { fill: #8c959f } .lost { fill: #b3261e }
.tail { stroke: #8c959f; stroke-width: 2 } .line { stroke: #d1d9e0 }
.background { fill: #ffffff }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .group { fill: #9ea7b3 }
.ours { fill: #3fc1b6 } .others { fill: #8b949e } .lost { fill: #ff7b72 }
.line { stroke: #3d444d } .background { fill: #0d1117 }
}
"""


@dataclass(frozen=True)
class Bar:
    """One row. `kind` is "ours", "others" or "lost"; `until` draws a line on to a second value; `text` is what it
    says."""

    name: str
    value: float
    text: str
    kind: str = "others"
    until: float | None = None


def bars(title: str, groups: Sequence[tuple[str, Sequence[Bar]]], *, least: float = 0.0) -> str:
    """A chart of bars in groups. `least` is what the scale reaches at least."""
    rows = [bar for _, each in groups for bar in each]
    most = max([least, *(max(bar.value, bar.until or 0) for bar in rows)]) or 1
    scale = (WIDTH - LABELS - VALUES) / most
    said, y = [], HEAD
    for name, each in groups:
        said.append(f'<text class="group" x="12" y="{y + 14}">{escape(name)}</text>')
        y += ROW
        for bar in each:
            said.extend(_row(bar, y, scale))
            y += ROW
        y += GAP
    told = "; ".join(f"{bar.name}: {bar.text}" for bar in rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img" '
        f'aria-labelledby="title description">\n<title id="title">{escape(title)}</title>\n'
        f'<desc id="description">{escape(told)}</desc>\n<style>{_STYLE}</style>\n'
        f'<rect class="background" width="{WIDTH}" height="{y}" rx="6"/>\n'
        f'<text class="title" x="12" y="26">{escape(title)}</text>\n'
        f'<line class="line" x1="{LABELS}" x2="{LABELS}" y1="{HEAD}" y2="{y - GAP}"/>\n'
        + "\n".join(said)
        + "\n</svg>\n"
    )


def _row(bar: Bar, y: int, scale: float) -> list[str]:
    end = LABELS + max(bar.value * scale, 1)
    last = end
    lines = [
        f'<text x="{LABELS - 10}" y="{y + 13}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect class="{bar.kind}" x="{LABELS}" y="{y + 2}" width="{end - LABELS:.1f}" height="{BAR}" rx="2"/>',
    ]
    if bar.until is not None:
        last = max(LABELS + bar.until * scale, end)
        middle = y + 2 + BAR / 2
        lines.append(f'<line class="tail" x1="{end:.1f}" x2="{last:.1f}" y1="{middle}" y2="{middle}"/>')
    lines.append(f'<text x="{last + 8:.1f}" y="{y + 13}">{escape(bar.text)}</text>')
    return lines
