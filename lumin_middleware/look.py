"""How every page of ours looks: the site's, the emulator's, the demo's. One stylesheet, one template.

It knows of no request and no setting. Nothing comes from elsewhere, no script but by its hash, every word escaped,
nothing moves. Colours are data, so that a test can measure them: text has 4.5:1 against what it stands on, and the
border of a control 3:1 (WCAG 2.2, 1.4.3 and 1.4.11), in light and in dark.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from urllib.parse import urlsplit

# --- colours --------------------------------------------------------------------------------------------

PALETTE: Mapping[str, tuple[str, str]] = {
    "ground": ("#f3f5f8", "#101319"),
    "card": ("#ffffff", "#191d25"),
    "ink": ("#171b22", "#eaedf3"),
    "soft": ("#566072", "#a6b0c0"),
    "line": ("#dde2ea", "#2d3440"),
    "edge": ("#737d8d", "#7a8597"),
    "accent": ("#1d55d8", "#86a9ff"),
    "on-accent": ("#ffffff", "#0c1530"),
    "link": ("#1d55d8", "#86a9ff"),
    "mark": ("#fff3cd", "#3b3110"),
    "on-mark": ("#5c4800", "#ffe08a"),
}
"""Each colour in light and in dark. `line` only divides; `edge` is what a control is seen by."""

TEXT_CONTRAST = 4.5
"""Of text of any size against its ground (WCAG 2.2, 1.4.3, level AA)."""

EDGE_CONTRAST = 3.0
"""Of what a control is seen by against its ground (WCAG 2.2, 1.4.11)."""

MIXES = 20
"""Steps from a colour to black or white, in which one that can be read is looked for: too fine to be seen."""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _channels(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def _luminance(colour: str) -> float:
    # WCAG 2.2, "relative luminance": sRGB made linear, weighed as eyes do.
    linear = [c / 12.92 if (c := each / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for each in _channels(colour)]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _readable(colour: str, grounds: Sequence[str], towards: str) -> str:
    """The colour, or the nearest one on the way to black or white that can be read on all of these grounds."""
    mixes = (_mixed(colour, towards, step / MIXES) for step in range(MIXES + 1))
    return next(each for each in mixes if all(contrast(each, ground) >= TEXT_CONTRAST for ground in grounds))


def with_accent(accent: str) -> Mapping[str, tuple[str, str]]:
    """The palette with a site's own colour, `#rrggbb`, whichever it is: a button has it as it is, and black or white
    upon it, one of which always has 4.5:1; links, borders and the ring of the focus have what of it can be read.
    """
    on_accent = max("#ffffff", "#000000", key=lambda ink: contrast(ink, accent))
    light, dark = zip(*(PALETTE[name] for name in ("ground", "card")), strict=True)
    link = (_readable(accent, light, "#000000"), _readable(accent, dark, "#ffffff"))
    return {**PALETTE, "accent": (accent, accent), "on-accent": (on_accent, on_accent), "link": link}


# --- the stylesheet -------------------------------------------------------------------------------------

_RULES = """
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; background: var(--ground);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere }
main { width: 100%; max-width: 32rem; margin: auto; padding: 1.25rem }
.card { padding: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: .9rem }
.mark { padding: .6rem 1rem; background: var(--mark); color: var(--on-mark); text-align: center; font-size: .875rem }
.site { display: flex; align-items: center; gap: .6rem; margin: 0 0 1.4rem; font-weight: 600 }
.site a { color: inherit }
.site img { max-height: 2.5rem; max-width: 10rem }
h1 { margin: 0 0 .75rem; font-size: 1.4rem; line-height: 1.25 }
h2 { margin: 1.75rem 0 .5rem; font-size: 1rem }
p, ul { margin: 0 0 1rem }
ul { padding-inline-start: 1.2rem }
.card > :last-child { margin-bottom: 0 }
a { color: var(--link) }
small, .soft, .detail, .footnote, .reference { color: var(--soft); font-size: .875rem }
.footnote { margin: 1.4rem 0 0 }
code { font-size: .9em }
.actions { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.4rem 0 0 }
form { margin: 0 }
.button, .actions > a, button { display: inline-block; min-height: 2.9rem; padding: .6rem 1.1rem;
  border: 1px solid var(--edge);
  border-radius: .55rem; background: transparent; color: var(--ink); font: inherit; font-weight: 600;
  text-align: center; text-decoration: none; cursor: pointer }
.button:hover, .actions > a:hover, button:hover { border-color: var(--link) }
.main, .actions > a:first-child, .actions > form > button { border-color: var(--link);
  background: var(--accent); color: var(--on-accent) }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
.stack { display: grid; gap: .6rem }
.person { text-align: start }
small { display: block; font-weight: 400 }
fieldset { border: 0; margin: 0 0 .5rem; padding: 0; min-width: 0 }
legend { padding: 0 }
.choice { display: flex; gap: .75rem; align-items: flex-start; padding: .6rem 0 }
.choice > span { min-width: 0 }
[type=checkbox], [type=radio] { flex: none; width: 1.25rem; height: 1.25rem; margin: .15rem 0 0;
  accent-color: var(--link) }
.field { display: flex; flex-wrap: wrap; gap: .6rem }
input:not([type=hidden]) + .main { margin-top: .6rem }
.card > form { margin-top: 1rem }
.field > label { flex: 1 1 12rem; min-width: 0 }
.field > button { align-self: flex-end }
input:not([type=hidden], [type=checkbox], [type=radio]) { display: block; width: 100%; min-height: 2.9rem;
  padding: .55rem .9rem; border: 1px solid var(--edge);
  border-radius: .55rem; background: transparent; color: inherit; font: inherit }
.rows { padding: 0; list-style: none }
.rows li { padding: .65rem 0; border-bottom: 1px solid var(--line) }
.rows li:last-child { border: 0 }
.split { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: center; gap: .3rem 1rem }
.split > span { flex: 1 1 9rem; min-width: 0 }
@media (max-width: 30rem) { main { padding: .75rem } .card { padding: 1.25rem } .actions > * { flex: 1 1 auto }
  .actions button { width: 100% } }
@media (forced-colors: active) { .main, .actions > a:first-child, .actions > form > button { border-width: 3px } }
""".strip()


def stylesheet(palette: Mapping[str, tuple[str, str]] = PALETTE) -> str:
    """The whole stylesheet in these colours."""
    light, dark = ("; ".join(f"--{name}: {pair[at]}" for name, pair in palette.items()) for at in (0, 1))
    root = f":root {{ color-scheme: light dark; {light} }}"
    return f"{root}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{_RULES}\n"


STYLE = stylesheet()
"""The stylesheet of whoever has no colour of their own."""


# --- what a browser may do with it ----------------------------------------------------------------------


def _hash(text: str) -> str:
    """What allows an inline text (Content Security Policy Level 3, 2.3.1)."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(
    style: str = STYLE, *, script: str = "", images: str = "", form_action: str = "'self'", framed: bool = False
) -> str:
    """The Content-Security-Policy of a page: this stylesheet, this script, images from there, forms to there."""
    directives = [
        "default-src 'none'",
        f"style-src {_hash(style)}",
        *([f"script-src {_hash(script)}"] if script else []),
        *([f"img-src {images}"] if images else []),
        bounds(form_action=form_action, framed=framed),
    ]
    return "; ".join(directives)


def bounds(*, form_action: str, framed: bool) -> str:
    """The part of a policy that is ours whoever wrote the page."""
    return (
        f"form-action {form_action}; base-uri 'none'; frame-ancestors {chr(39)}{'self' if framed else 'none'}{chr(39)}"
    )


# --- the template ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """Whose pages these are."""

    app_name: str = ""
    app_url: str = ""
    accent: str = ""
    logo: str = ""
    style: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "style", stylesheet(with_accent(self.accent)) if self.accent else STYLE)

    @property
    def images(self) -> str:
        """Where its logo comes from, as a policy says it."""
        if self.logo.startswith("data:"):
            return "data:"
        parts = urlsplit(self.logo)
        return f"https://{parts.netloc}" if parts.scheme else "'self'" if self.logo else ""


PLAIN = Look()


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """A page, in the words of somebody's language. They are for whoever sees it, so that its `repr` holds none."""

    status: int
    language: str
    """A BCP 47 tag, for `lang`."""
    title: str
    text: str = ""
    points: Sequence[str] = ()
    detail: str = ""
    """What the server said; somebody else's words, in their language."""
    links: Sequence[tuple[str, str]] = ()
    """(words, where they lead); the first is the main one, if there is no button. An empty target is this page."""
    button: tuple[str, str] | None = None
    """(words, where it posts to)."""
    fields: Sequence[tuple[str, str]] = ()
    """What it posts, unseen."""
    script: str = ""
    """Ours, and never with anybody's words in it. Its hash is in the policy."""
    framed: bool = False
    """Whether it may stand in a frame of this site; its links then lead the whole window."""
    reason: str = "ours"
    """Why it is shown: a code of `docs/reasons.md`."""
    reference: str = ""
    """What its line in the log has, too."""
    footnote: str = ""
    """The sentence that says to tell both to whoever runs the site."""
    look: Look = PLAIN
    """`app_name`, `app_url`, `accent` and `logo`, as set."""


RIGHT_TO_LEFT = frozenset(("ar", "arc", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"))
"""Languages whose usual script runs from right to left (W3C, "Structural markup and right-to-left text")."""


def document(title: str, content: str, *, language: str = "en", style: str = STYLE, above: str = "") -> str:
    """A whole page around HTML that its caller has escaped; `above` stands before the card."""
    direction = ' dir="rtl"' if language.partition("-")[0].lower() in RIGHT_TO_LEFT else ""
    return (
        f'<!doctype html><html lang="{escape(language)}"{direction}><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f'<body>{above}<main><div class="card">{content}</div></main></body></html>'
    )


def html(page: Page) -> str:
    """A page as HTML."""
    parts = [_site(page.look), f"<h1>{escape(page.title)}</h1>"]
    if page.text:
        parts.append(f"<p>{escape(page.text)}</p>")
    if page.points:
        parts.append("<ul>" + "".join(f"<li>{escape(point)}</li>" for point in page.points) + "</ul>")
    if page.detail:
        parts.append(f'<p class="detail">{escape(page.detail)}</p>')
    if actions := list(_actions(page)):
        parts.append(f'<div class="actions">{"".join(actions)}</div>')
    if page.reference:
        parts.append(f'<p class="footnote">{escape(page.footnote)}</p>')
        parts.append(f'<p class="reference">{escape(page.reason)} · {escape(page.reference)}</p>')
    if page.script:
        parts.append(f"<script>{page.script}</script>")
    title = f"{page.title} · {page.look.app_name}" if page.look.app_name else page.title
    return document(title, "".join(parts), language=page.language, style=page.look.style)


def _site(look: Look) -> str:
    """Whose page it is. The name stands beside the logo, which therefore says nothing of its own."""
    if not look.app_name:
        return ""
    logo = f'<img src="{escape(look.logo)}" alt="">' if look.logo else ""
    name = escape(look.app_name)
    linked = f'<a href="{escape(look.app_url)}">{name}</a>' if look.app_url else name
    return f'<p class="site">{logo}{linked}</p>'


def _actions(page: Page) -> Iterable[str]:
    window = ' target="_top"' if page.framed else ""
    if page.button:
        words, target = page.button
        hidden = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(text)}">' for name, text in page.fields
        )
        yield f'<form method="post" action="{escape(target)}">{hidden}<button>{escape(words)}</button></form>'
    for words, target in page.links:
        yield f'<a href="{escape(target)}"{window}>{escape(words)}</a>'
