"""URLs that name no store: each is refused in a sentence, and no file is made."""

from pathlib import Path
from typing import Any

import pytest

from earmark.clock import SystemClock
from earmark.errors import InvalidConfig, StoreError
from earmark.stores.backup import back_up
from earmark.stores.open import open_ledger
from earmark.stores.open_upkeep import open_upkeep

WRONG: dict[str, tuple[Any, str]] = {
    "options": ("sqlite:///x.db?mode=memory", "no options"),
    "a fragment": ("sqlite:///x.db#f", "no options"),
    "a URI": ("sqlite:///file:x.db", "give the path alone"),
    "a lone surrogate": ("sqlite:///\ud800.db", "UTF-8"),
    "a lone surrogate of a server": ("postgresql://a:\ud800@host/db", "UTF-8"),
    "nothing": (None, "not NoneType"),
    "bytes": (b"sqlite:///x.db", "not bytes"),
}


@pytest.mark.parametrize(("url", "why"), WRONG.values(), ids=WRONG)
def test_a_url_that_names_no_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: Any, why: str
) -> None:
    """By the ledger and by what looks after the store."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidConfig, match=why):
        open_ledger(url)
    with pytest.raises(InvalidConfig, match=why):
        open_upkeep(url, SystemClock())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-turn", "-journal"])
def test_a_backup_does_not_take_a_name_of_the_store_itself(tmp_path: Path, end: str) -> None:
    """Also one that is not there at the moment; it says so."""
    url = f"sqlite:///{tmp_path / 'books.db'}"
    open_ledger(url).close()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreError, match="file of the store that is backed up"):
        back_up(
            url,
            tmp_path / f"books.db{end}",
            clock=SystemClock(),
            progress=lambda _what, _count: None,
        )
    assert sorted(tmp_path.iterdir()) == before
