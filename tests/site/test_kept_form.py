"""The page of a form that was kept: it says where the form goes to, and as whom."""

from __future__ import annotations

from html import escape
from typing import Any

import pytest

from lumin_middleware.model import Session, TokenSet
from lumin_middleware.runtime.user import LuminUser
from lumin_middleware.sessions.forms import Form
from lumin_middleware.site import kept_form
from lumin_middleware.site.kept_form import SHOWN_LIMIT
from lumin_middleware.site.pages import Pages
from tests.fakes import config


def somebody(**claims: Any) -> Session:
    return Session("id", 0, 0, 0, TokenSet("token", 0, 0, ("openid",)), claims)


def shown(session: Session, *, action: str = "/send?x=1", sender: str = "somebody", language: str = "en") -> str:
    draft = kept_form._page(Form(action, "/page", [("title", "Lease")], sender), session)
    return Pages(config()).page(language, 200, draft).body.decode()


@pytest.mark.parametrize(
    "claims",
    [
        {"name": "Ann Oakley", "email": "ann@example.org", "sub": "1"},
        {"name": "Ann <b>Oakley</b> & 'Co' {target} {0}", "sub": "1"},
        {"email": "ann@example.org", "sub": "1"},
        {"email": "ann@example.org", "email_verified": False, "sub": "sub-1"},
        {"sub": "sub-1"},
    ],
)
@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "ja", "vi"])
def test_it_says_where_the_form_goes_to_and_as_whom(claims, language):
    session = somebody(**claims)
    name = LuminUser(session).display_name
    page = shown(session, language=language)
    assert escape(name) in page
    assert "/send" in page.partition("<form")[0].partition("<h1")[2]
    assert "<b>Oakley" not in page


def test_of_whom_nothing_is_known_nothing_is_said():
    page = shown(somebody())
    assert "It goes to /send on this site." in page
    assert "this site, as" not in page


@pytest.mark.parametrize("sender", ["", "somebody"])
def test_a_form_that_may_be_anybody_s_is_said_to_be(sender):
    page = shown(somebody(sub="1"), sender=sender)
    assert ("It is not known who filled it in" in page) == (not sender)


def test_what_is_long_leaves_the_buttons_in_sight():
    page = shown(somebody(name="n" * 2000), action=f"/{'p' * 2000}")
    assert f"/{'p' * (SHOWN_LIMIT - 1)}… on this site, as {'n' * SHOWN_LIMIT}…." in page
    assert f'action="/{"p" * 2000}"' in page


def test_a_path_is_shown_as_the_browser_sends_it():
    """Nothing that turns letters round, or looks like another path, gets onto the page."""
    assert "It goes to /%E2%80%AEpay/%3Cb%3E on this site" in shown(somebody(), action="/%E2%80%AEpay/%3Cb%3E")
