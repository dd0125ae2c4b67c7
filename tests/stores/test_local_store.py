"""`local_store`: which directory it takes, and what it does where there is none."""

from __future__ import annotations

import logging
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumin_middleware.errors import StoreUnavailable
from lumin_middleware.stores import MemoryStore, SQLiteStore, local_store
from lumin_middleware.stores.local import directories, is_shared

LONG = 3600.0


class Places:
    """Every place that is looked at, below one directory."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.home = root / "home"
        self.runtime = root / "runtime"
        self.temporary = root / "tmp"
        for place in (self.state, self.home, self.runtime, self.temporary):
            place.mkdir(mode=0o700)

    @property
    def found(self) -> list[Path]:
        """The directories of ours, in the order in which they are looked for."""
        return [
            self.state / "lumin-middleware",
            self.home / ".local" / "state" / "lumin-middleware",
            self.runtime / "lumin-middleware",
            self.temporary / f"lumin-middleware-{os.geteuid()}",
        ]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    places = Places(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(places.state))
    monkeypatch.setenv("HOME", str(places.home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(places.runtime))
    monkeypatch.setattr(tempfile, "tempdir", str(places.temporary))
    yield places
    for directory in places.found:
        for file in directory.glob("*.sqlite3") if directory.is_dir() else ():
            SQLiteStore(file).close()


def spoil(directory: Path) -> None:
    """Lets others write to it."""
    directory.mkdir(parents=True)
    directory.chmod(0o777)


def test_the_places_are_looked_at_in_an_order_that_outlives_a_restart(places: Places) -> None:
    assert list(directories()) == [str(directory) for directory in places.found]


@pytest.mark.parametrize("spoilt", range(4))
def test_the_first_place_is_taken_that_others_cannot_write_to(places: Places, spoilt: int) -> None:
    for directory in places.found[:spoilt]:
        spoil(directory)
    store = local_store("fingerprint")
    assert isinstance(store, SQLiteStore)
    store.swap("key", None, b"value", LONG)
    taken = [directory for directory in places.found if directory.is_dir() and list(directory.iterdir())]
    assert taken == [places.found[spoilt]]
    assert (places.found[spoilt] / f"fingerprint@{platform.node()}.sqlite3").is_file()


def test_a_variable_that_is_unset_empty_or_relative_is_passed_over(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    assert list(directories()) == [str(places.found[1]), str(places.found[3])]
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "./runtime")
    assert list(directories()) == [str(places.found[1]), str(places.found[3])]


def test_workers_of_one_configuration_share_a_store_and_others_do_not(places: Places) -> None:
    ours, too, theirs = local_store("ours"), local_store("ours"), local_store("theirs")
    ours.swap("key", None, b"value", LONG)
    assert (too.get("key"), theirs.get("key")) == (b"value", None)
    assert is_shared("ours")
    assert ours.get("key") == b"value"


def test_machines_that_share_a_home_do_not_share_a_store(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    here = local_store("fingerprint")
    monkeypatch.setattr(platform, "node", lambda: "another/machine")
    there = local_store("fingerprint")
    here.swap("key", None, b"value", LONG)
    assert there.get("key") is None


def test_without_a_private_place_it_is_memory_with_a_warning(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    for directory in places.found:
        spoil(directory)
    with caplog.at_level(logging.WARNING):
        store = local_store("fingerprint")
    assert isinstance(store, MemoryStore)
    assert not is_shared("fingerprint")
    record, _ = caplog.records
    assert "Set `store` to sqlite:///path or redis://" in record.getMessage()
    assert str(places.found[0]) in record.getMessage()


def test_the_log_names_the_folder_which_another_home_has_not(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        local_store("fingerprint")
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "own_store" in record.getMessage()
    assert f"folder='{places.found[0]}'" in record.getMessage()


def test_a_place_that_cannot_be_made_is_passed_over(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    places.state.rmdir()
    places.state.touch()
    assert isinstance(local_store("fingerprint"), SQLiteStore)
    assert places.found[1].is_dir()


def test_a_broken_file_is_unavailable_and_no_reason_for_memory(places: Places) -> None:
    places.found[0].mkdir(mode=0o700)
    file = places.found[0] / f"fingerprint@{platform.node()}.sqlite3"
    file.write_bytes(b"\xff" * 4096)
    file.chmod(0o600)
    with pytest.raises(StoreUnavailable):
        local_store("fingerprint")
    file.unlink()


def test_it_goes_by_the_clock_that_it_is_given(places: Places) -> None:
    now = 1_800_000_000.0
    store = local_store("fingerprint", clock=lambda: now)
    store.swap("key", None, b"value", 10)
    now += 10
    assert store.get("key") is None


@pytest.mark.parametrize("fingerprint", ["", "../up", "a/b", "a\0", "ä", "a.b", "a\n"])
def test_a_fingerprint_that_could_name_another_file_is_refused(places: Places, fingerprint: str) -> None:
    with pytest.raises(ValueError, match="a fingerprint is letters"):
        local_store(fingerprint)
