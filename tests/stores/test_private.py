"""What stands in for owners, modes and flock where there are none. The rest is in the tests of `SQLiteStore`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lumin_middleware.errors import ConfigurationError
from lumin_middleware.stores import private


def test_where_modes_mean_nothing_only_the_kind_of_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch(0o666)
    directory, path = str(tmp_path), str(file)
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        private.require_private_file(path)
        with pytest.raises(ConfigurationError, match="is no file"):
            private.require_private_file(directory)


def test_without_flock_a_directory_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "fcntl", None)
    with private.locked_directory(str(tmp_path)), private.locked_directory(str(tmp_path)):
        pass
