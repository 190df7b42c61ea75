"""What has the name of a store's file, and is none: links, pipes and sockets."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.clock import SystemClock
from earmark.errors import StoreUnavailable
from earmark.stores.backup import back_up
from earmark.stores.open import open_ledger
from earmark.stores.open_upkeep import open_upkeep


@pytest.mark.parametrize("exists", [False, True], ids=["dangling", "of a file"])
def test_a_link_in_place_of_the_lock_file_is_refused(tmp_path: Path, *, exists: bool) -> None:
    """Nothing outside the store's folder is made or locked."""
    folder, outside = tmp_path / "checkout", tmp_path / "outside"
    folder.mkdir()
    if exists:
        outside.write_text("mine")
    (folder / "x.db-turn").symlink_to(outside)
    with pytest.raises(StoreUnavailable, match=r"x\.db-turn is a symbolic link"):
        open_ledger(f"sqlite:///{folder / 'x.db'}")
    assert outside.exists() == exists
    assert not (folder / "x.db").exists()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listens:
        listens.bind(str(path))


@pytest.mark.parametrize("make", [_pipe, _socket])
@pytest.mark.parametrize("name", ["x.db", "x.db-turn"])
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], name: str
) -> None:
    """A pipe nobody writes to would be waited for, for ever."""
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    make(Path(name))
    with pytest.raises(StoreUnavailable, match=f"{name} is no regular file"):
        open_ledger("sqlite:///x.db")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_pipe_is_neither_read_nor_backed_up(tmp_path: Path) -> None:
    """It is refused, and nothing is left of the copy."""
    _pipe(tmp_path / "x.db")
    with pytest.raises(StoreUnavailable, match=r"x\.db is no regular file"):
        open_upkeep(f"sqlite:///{tmp_path / 'x.db'}", SystemClock()).status()
    with pytest.raises(StoreUnavailable, match=r"x\.db is no regular file"):
        back_up(
            f"sqlite:///{tmp_path / 'x.db'}",
            tmp_path / "copy.db",
            clock=SystemClock(),
            progress=lambda _what, _count: None,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]
