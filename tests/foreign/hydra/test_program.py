"""Hydra can be built; or else one sentence says what is missing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from . import program
from .conftest import WANTED


def test_hydra_is_there():
    try:
        program.find_go()
    except program.Unavailable as unavailable:
        pytest.skip(str(unavailable))
    if WANTED not in os.environ:
        pytest.skip("The tests before Ory Hydra run with `make test-hydra`, which builds it in five minutes.")
    assert program.build().is_file()


def put(folder: Path, **scripts: str | None) -> None:
    """Programs for PATH; None for one that is not there."""
    folder.mkdir()
    for name, script in scripts.items():
        if script:
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)


@pytest.fixture
def beside_python(monkeypatch, tmp_path) -> Path:
    """A folder that is not there yet; PATH is another one."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python" / "python"))
    return tmp_path / "python"


@pytest.mark.parametrize(
    ("go", "compiler"),
    [(None, "gcc"), ("go1.23.9", "gcc"), ("go1.26.8", None), ("devel", "gcc")],
)
def test_without_a_new_go_or_a_compiler_one_sentence_says_so(beside_python, tmp_path, go, compiler):
    put(tmp_path / "path", go=go and f"echo {go}; echo gcc", gcc=compiler and "true")
    with pytest.raises(program.Unavailable, match=r"^The tests before Ory Hydra need Go 1\.24 .*\.$"):
        program.find_go()


def test_a_new_go_and_a_compiler_are_enough(beside_python, tmp_path):
    put(tmp_path / "path", go="echo go1.24rc1; echo cc", cc="true")
    assert program.find_go() == str(tmp_path / "path" / "go")


@pytest.mark.parametrize("on_path", [None, "echo go1.19.8; echo gcc"])
def test_a_new_go_from_pypi_takes_the_place_of_an_old_one(beside_python, tmp_path, on_path):
    put(tmp_path / "path", go=on_path, gcc="true")
    put(beside_python, go="echo go1.27.3; echo gcc")
    assert program.find_go() == str(beside_python / "go")
