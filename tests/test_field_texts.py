"""The texts of the fields, where `help()` shows them."""

from __future__ import annotations

import dataclasses
import inspect
import pydoc

from lumin_middleware import LuminConfig
from lumin_middleware.field_texts import WithFields, field_texts


def test_help_shows_the_text_of_every_setting():
    shown = " ".join(pydoc.render_doc(LuminConfig, renderer=pydoc.plaintext).replace("|", " ").split())
    texts = field_texts(LuminConfig)
    assert list(texts) == [field.name for field in dataclasses.fields(LuminConfig)]
    for name, text in texts.items():
        assert f"{name}: {' '.join(text.replace('|', ' ').split())}" in shown


def test_without_its_source_a_class_has_its_own_text(monkeypatch):
    def no_source(owner):
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", no_source)
    assert "\n\n" not in str(LuminConfig.__doc__).partition("Times are in seconds.")[2]


def test_a_class_without_a_text_has_those_of_its_fields():
    class Own:
        first: int
        """The first."""
        second: int

    Own.__doc__ = WithFields(None)  # type: ignore[assignment]
    assert str(Own.__doc__).strip() == "first:\n    The first."
