"""Hydra can be built; or else one sentence says what is missing."""

from __future__ import annotations

import os

import pytest

from . import program
from .conftest import WANTED


def test_hydra_is_there():
    try:
        program.check_tools()
    except program.Unavailable as unavailable:
        pytest.skip(str(unavailable))
    if WANTED not in os.environ:
        pytest.skip("The tests before Ory Hydra run with `make test-hydra`, which builds it in five minutes.")
    assert program.build().is_file()


@pytest.mark.parametrize(
    ("go", "compiler"),
    [(None, "gcc"), ("go1.23.9", "gcc"), ("go1.26.8", None), ("devel", "gcc")],
)
def test_without_a_new_go_or_a_compiler_one_sentence_says_so(monkeypatch, tmp_path, go, compiler):
    for name, script in (("go", go and f"echo {go}; echo gcc"), ("gcc", compiler and "true")):
        if script:
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(program.Unavailable, match=r"^The tests before Ory Hydra need Go 1\.24 .*\.$"):
        program.check_tools()


def test_a_new_go_and_a_compiler_are_enough(monkeypatch, tmp_path):
    for name, script in (("go", "echo go1.24rc1; echo cc"), ("cc", "true")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    program.check_tools()
